//! A manifest without what its Secrets hold, for a diff: its lines of context may be those of a Secret nearby.

use std::borrow::Cow;

use crate::yaml::{Node, Span, Style};

/// What stands for what is not shown.
const MASK: &str = "***";

/// The text with the Secrets among its documents masked, and comments that touch them. Lines stay lines.
pub(super) fn masked<'t>(text: &'t str, documents: &[Node]) -> Cow<'t, str> {
    let mut spans = Vec::new();
    for document in documents {
        find(text, document, &mut spans);
    }
    if spans.is_empty() {
        return Cow::Borrowed(text);
    }
    spans.sort();
    let (mut masked, mut done) = (String::with_capacity(text.len()), 0);
    for Span { start, end } in spans {
        if end <= done {
            continue;
        }
        let start = start.max(done);
        masked += &text[done..start];
        for line in text[start..end].split_inclusive('\n') {
            let content = line.trim_end_matches(['\r', '\n']);
            masked += if content.is_empty() { "" } else { MASK };
            masked += &line[content.len()..];
        }
        done = end;
    }
    masked += &text[done..];
    Cow::Owned(masked)
}

/// Secrets may be in Lists, and in the reviews that are made of them.
fn find(text: &str, node: &Node, spans: &mut Vec<Span>) {
    if matches!(node.field("kind").and_then(Node::as_str), Some("Secret" | "SecretList")) {
        spans.push(with_comments(text, node));
        return aliased(node, spans);
    }
    for item in node.items() {
        find(text, item, spans);
    }
    for entry in node.entries() {
        find(text, &entry.value, spans);
    }
}

/// What stands elsewhere, under the anchor that is named in the Secret.
fn aliased(node: &Node, spans: &mut Vec<Span>) {
    if node.alias.is_some() {
        spans.push(node.span);
    }
    for item in node.items() {
        aliased(item, spans);
    }
    for entry in node.entries() {
        // What is merged says nothing of an alias of its own.
        if entry.merged {
            spans.push(entry.value.span);
        }
        aliased(&entry.value, spans);
    }
}

/// A block ends with its line, and reaches over the comments before and behind it.
fn with_comments(text: &str, node: &Node) -> Span {
    let Span { mut start, mut end } = node.span;
    if node.style != Style::Block {
        return node.span;
    }
    let is_comment = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let comments = text[..line_start].split_inclusive('\n').rev().take_while(|line| is_comment(line));
    let before: usize = comments.map(str::len).sum();
    if before > 0 {
        start = line_start - before;
    }
    if !text[..end].ends_with('\n') {
        end = text[end..].find('\n').map_or(text.len(), |at| end + at + 1);
    }
    end += text[end..].split_inclusive('\n').take_while(|line| is_comment(line)).map(str::len).sum::<usize>();
    Span { start, end }
}
