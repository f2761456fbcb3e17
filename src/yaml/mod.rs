//! YAML as Kubernetes reads it (`sigs.k8s.io/yaml`), every node with its place in the source.
//!
//! Kubernetes turns YAML into JSON with a YAML 1.1 reader before anything else looks at it: `on` is true, `0755` is
//! 493, a key `1` becomes `"1"`. Whoever judges a policy or edits a manifest has to see the same values, and has to
//! know where each stands in the text: for a message with a line, or for an edit that leaves all else alone.
//!
//! [`parse_documents`] gives a tree of [`Node`]s; [`Node::to_json`] is what the API server would get. JSON is YAML
//! too. What this module does not do: write YAML, read files, or know what a Pod is.
//!
//! Some differences to the Go code are meant. A mapping keeps all entries that its author wrote, also those under one
//! key, so that duplicates can be reported; [`Node::field`] and [`Node::to_json`] take the last, as Go does. And what
//! Go would find out only when it makes JSON (`.nan`) is a [`SyntaxError`] with its place. Surrogate pairs in double
//! quotes are read, since JSON has them. Lines of a quoted scalar that are indented no more than its mapping are refused.

mod node;
mod parse;
mod resolve;

pub use node::{Entry, Node, Style, Value};
pub use parse::{Limits, parse_documents};

/// A range of bytes of the source, `start` inclusive and `end` exclusive, both on character boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

impl Span {
    /// The part of `source` that the span covers; empty where `source` is not the text that it came from.
    pub fn slice<'s>(&self, source: &'s str) -> &'s str {
        source.get(self.start..self.end).unwrap_or("")
    }
}

/// Why a text is no YAML that Kubernetes could read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// What is wrong, in words without the place, and without any of the text: it may be a password.
    pub message: String,
    /// Byte offset into the source; see [`position`].
    pub offset: usize,
}

/// Line and column of a byte offset, both from 1, the column in characters. A byte order mark at the start takes no
/// column, and an offset behind the end is the end.
pub fn position(source: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(source.len());
    while !source.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &source[..offset];
    let line = before.matches('\n').count() + 1;
    let in_line = before.rsplit('\n').next().unwrap_or("");
    (line, in_line.trim_start_matches('\u{feff}').chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_lines_and_characters_from_one() {
        let source = "a: b\r\nö: ü\nlast";
        for (offset, expected) in
            [(0, (1, 1)), (3, (1, 4)), (6, (2, 1)), (8, (2, 2)), (10, (2, 4)), (13, (3, 1)), (99, (3, 5))]
        {
            assert_eq!(position(source, offset), expected, "offset {offset}");
        }
        assert_eq!(position("\u{feff}a", 3), (1, 1));
        assert_eq!(position("ö", 1), (1, 1), "an offset inside a character is its start");
    }
}
