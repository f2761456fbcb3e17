//! What was found in a document, as a person is told: the same words from `mirrorgate check` and from the policy guard.

use super::drawing::Drawing;
use super::fault::{Fault, Severity};
use super::{Compiled, Policy};
use crate::yaml::{self, Span};

/// A policy that was read, and what was found in it.
#[derive(Clone, Debug)]
pub struct Examined {
    file: String,
    source: String,
    /// There where it is valid.
    policy: Option<Policy>,
    faults: Vec<Fault>,
}

impl Examined {
    /// Reads a document, which goes by the name `file`.
    pub fn new(file: String, bytes: Vec<u8>) -> Self {
        let source = match String::from_utf8(bytes) {
            Ok(source) => source,
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let source = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let fault = not_utf8(&source, good);
                return Self { file, source, policy: None, faults: vec![fault] };
            }
        };
        let (policy, faults) = match Policy::read(&source) {
            Ok(Compiled { policy, warnings }) => (Some(policy), warnings),
            Err(faults) => (None, faults.0),
        };
        Self { file, source, policy, faults }
    }

    /// The policy, where the document is valid.
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// The policy, where the document is valid.
    pub fn into_policy(self) -> Option<Policy> {
        self.policy
    }

    /// The name of the document.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What was found, in the order of the document; of a valid one warnings alone.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// What was found, in the order of the document.
    pub fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    /// Every fault, drawn with its source line.
    pub fn drawings(&self, color: bool) -> String {
        let drawing = Drawing::new(&self.file, &self.source, color);
        self.faults.iter().map(|fault| drawing.fault(fault)).collect()
    }

    /// Every fault, drawn with its source line, and a line that sums them up.
    pub fn text(&self, color: bool) -> String {
        format!("{}{}\n", self.drawings(color), self.summary())
    }

    /// The same without colours, in about so many bytes: where the faults would take more, the first of them.
    pub fn text_within(&self, bytes: usize) -> String {
        let drawing = Drawing::new(&self.file, &self.source, false);
        let mut text = String::new();
        for (number, fault) in self.faults.iter().enumerate() {
            let drawn = drawing.fault(fault);
            if text.len() + drawn.len() > bytes {
                let summary = self.summary();
                return format!("{text}{summary}; {number} are shown, `mirrorgate check` shows all\n");
            }
            text.push_str(&drawn);
        }
        format!("{text}{}\n", self.summary())
    }

    fn summary(&self) -> String {
        let count = |severity| self.faults.iter().filter(|fault| fault.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let summary = match &self.policy {
            Some(policy) => {
                format!("valid, {}, {}", counted(policy.mirrors().count(), "mirror"), counted(warnings, "warning"))
            }
            None => format!("refused, {}, {}", counted(errors, "error"), counted(warnings, "warning")),
        };
        format!("{}: {summary}", self.file)
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn not_utf8(source: &str, offset: usize) -> Fault {
    let (line, column) = yaml::position(source, offset);
    Fault {
        path: String::new(),
        line,
        column,
        span: Span { start: offset, end: offset + '\u{fffd}'.len_utf8() },
        severity: Severity::Error,
        message: "the text is not UTF-8 here".to_owned(),
        help: Some("save the file as UTF-8".to_owned()),
        related: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_beyond_the_source_are_drawn_too() {
        let file = "p.yaml".to_owned();
        let examined = Examined { file, source: String::new(), policy: None, faults: vec![not_utf8("", 7)] };
        assert!(examined.text(false).contains("not UTF-8"));
    }

    #[test]
    fn of_many_faults_the_first_are_shown_and_all_are_counted() {
        let hosts = "Bad.corp, ".repeat(10_000);
        let source = format!("apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\ntrust: {{registries: [{hosts}]}}\n");
        let examined = Examined::new("policy.yaml".to_owned(), source.into_bytes());
        let text = examined.text_within(4096);
        assert!((2048..4500).contains(&text.len()), "{} bytes", text.len());
        let last = text.lines().last().unwrap();
        assert!(
            last.starts_with("policy.yaml: refused, 10000 errors, 0 warnings; ") && last.ends_with(" shows all"),
            "{last}"
        );
        let shown = &text[..text.len() - last.len() - 1];
        assert!(examined.text(false).starts_with(shown));
    }
}
