//! What is wrong with a policy document, where, and how to mend it.
//!
//! Nothing here prints: `drawing` shows a fault with its source line, logs and Events take its one-line form.

use std::fmt;

use super::masking::masked;
use crate::image::Escaped;
use crate::yaml::Span;

/// How much a [`Fault`] weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The document is refused.
    Error,
    /// The document is taken, but somebody should look at this.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// Another place in the document that a [`Fault`] speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// The place, in bytes of the source; within one line.
    pub span: Span,
    /// What stands there.
    pub label: String,
    /// Its line, from 1.
    pub line: usize,
}

/// One thing that is wrong with a policy document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where in the document: `registryMirrors[0].hosts[1]`; empty for the document as a whole.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The place, in bytes of the source; within one line.
    pub span: Span,
    /// Whether the document is refused for it.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
    /// Other places that have to do with it.
    pub related: Vec<Related>,
}

/// One line: `line 12: registryMirrors[0].hosts[1]: message; help`.
impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: ", self.line)?;
        if self.severity == Severity::Warning {
            formatter.write_str("warning: ")?;
        }
        if !self.path.is_empty() {
            write!(formatter, "{}: ", self.path)?;
        }
        formatter.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(formatter, "; {help}"),
            None => Ok(()),
        }
    }
}

/// Every fault of a document that was refused, in the order of the document; its warnings are among them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// The faults for which the document was refused: at least one.
    pub fn errors(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter().filter(|fault| fault.severity == Severity::Error)
    }
}

/// A line for each.
impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{fault}")?;
        }
        Ok(())
    }
}

/// Gathers faults while a document is read and compiled, and knows the lines of its source.
pub(super) struct Collector<'s> {
    source: &'s str,
    /// The byte offset at which each line begins.
    line_starts: Vec<usize>,
    faults: Vec<Fault>,
    /// The globs so far.
    globs: usize,
}

/// The most globs of one document. Compiled together they take some kilobytes each, and whoever may send a document to the
/// policy guard chooses how many there are.
const MOST_GLOBS: usize = 4000;

impl<'s> Collector<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        let newlines = source.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let line_starts = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        Self { source, line_starts, faults: Vec::new(), globs: 0 }
    }

    /// The document's text.
    pub(super) fn source(&self) -> &'s str {
        self.source
    }

    /// The line on which `span` begins, from 1.
    pub(super) fn line(&self, span: Span) -> usize {
        self.line_starts.partition_point(|&start| start <= span.start)
    }

    /// Records an error; the draft takes the mend and other places.
    pub(super) fn error(&mut self, path: impl Into<String>, span: Span, message: impl Into<String>) -> Draft<'_, 's> {
        self.record(Severity::Error, path.into(), span, message.into())
    }

    /// Counts a glob, unless it is just a name. Whether there are too many, which is a fault of the first that is.
    pub(super) fn is_one_glob_too_many(&mut self, path: &str, span: Span, text: &str) -> bool {
        if self.globs <= MOST_GLOBS && text.contains(['*', '?', '[', '{']) {
            self.globs += 1;
            if self.globs > MOST_GLOBS {
                let message = format!("{} is one of more than {MOST_GLOBS} globs, which is the most", quoted(text));
                self.error(path, span, message).help("write fewer, wider ones: `**` crosses `/`");
            }
        }
        self.globs > MOST_GLOBS
    }

    /// Records a warning.
    pub(super) fn warning(&mut self, path: impl Into<String>, span: Span, message: impl Into<String>) -> Draft<'_, 's> {
        self.record(Severity::Warning, path.into(), span, message.into())
    }

    fn record(&mut self, severity: Severity, path: String, span: Span, message: String) -> Draft<'_, 's> {
        let span = self.within_a_line(span);
        let line = self.line(span);
        // The column is counted in the end, for all together.
        self.faults.push(Fault { path, line, column: 1, span, severity, message, help: None, related: Vec::new() });
        Draft { collector: self }
    }

    /// The part of `span` that lies on its first line, so that an underline never runs over a whole block.
    fn within_a_line(&self, span: Span) -> Span {
        let start = floor_boundary(self.source, span.start);
        let end = floor_boundary(self.source, span.end.max(start));
        let first_line = self.source[start..end].split(['\n', '\r']).next().unwrap_or_default();
        Span { start, end: start + first_line.len() }
    }

    /// Whether nothing but warnings was found.
    pub(super) fn is_clean(&self) -> bool {
        self.faults.iter().all(|fault| fault.severity == Severity::Warning)
    }

    /// All faults, in the order of the document.
    pub(super) fn into_faults(mut self) -> Vec<Fault> {
        self.faults.sort_by_key(|fault| fault.span.start);
        let (mut line, mut at, mut column) = (0, 0, 1);
        for fault in &mut self.faults {
            if fault.line != line {
                (line, at, column) = (fault.line, self.line_starts[fault.line - 1], 1);
            }
            // Not from the start of the line for each: ten thousand faults may be in one line.
            let between = &self.source[at..fault.span.start];
            column += between.chars().filter(|&letter| letter != '\u{feff}').count();
            at = fault.span.start;
            fault.column = column;
        }
        self.faults
    }
}

/// The nearest character boundary at or before `at`.
fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A fault that was just recorded.
pub(super) struct Draft<'c, 's> {
    collector: &'c mut Collector<'s>,
}

impl Draft<'_, '_> {
    /// Says how to mend it.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        if let Some(fault) = self.collector.faults.last_mut() {
            fault.help = Some(help.into());
        }
        self
    }

    /// Names another place that has to do with it.
    pub(super) fn related(self, span: Span, label: impl Into<String>) -> Self {
        let span = self.collector.within_a_line(span);
        let line = self.collector.line(span);
        if let Some(fault) = self.collector.faults.last_mut() {
            fault.related.push(Related { span, label: label.into(), line });
        }
        self
    }
}

/// A text of the document, as messages show it: in backquotes, escaped and cut, and without what may be a key.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", Escaped::cut(&masked(text), 120))
}
