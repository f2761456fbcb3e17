//! `mirrorgate check`: every fault of a policy at once, with its source line.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use anstream::{AutoStream, ColorChoice};
use anyhow::Context;
use serde::Serialize;

use super::{Common, Output, OutputArgs};
use crate::policy::{Fault, MAX_SOURCE, Policy, Severity};
use crate::yaml::{self, Span};

/// Arguments of `mirrorgate check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The policies to check; `-` is stdin
    #[arg(required = true, value_name = "POLICY")]
    policies: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    pub(super) fn run(self, common: Common) -> anyhow::Result<ExitCode> {
        let Self { policies, output: OutputArgs { output } } = self;
        let mut unread = None;
        let mut checked = Vec::new();
        for path in &policies {
            match read(path) {
                Ok(bytes) => checked.push(Checked::new(path, bytes)),
                Err(error) => unread = unread.or(Some(error)),
            }
        }
        let text = match output {
            Output::Text => {
                let color = AutoStream::choice(&std::io::stdout()) != ColorChoice::Never;
                checked.iter().map(|checked| checked.text(color, common.quiet)).collect()
            }
            Output::Json => {
                let findings: Vec<_> = checked.iter().flat_map(Checked::findings).collect();
                serde_json::to_string_pretty(&findings).context("writing the findings")? + "\n"
            }
        };
        super::print_result(text.as_bytes())?;
        match unread {
            Some(error) => Err(error),
            None if checked.iter().all(Checked::is_valid) => Ok(ExitCode::SUCCESS),
            None => Ok(ExitCode::FAILURE),
        }
    }
}

/// Reads a policy, and of one that is too large only so much that this shows.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = MAX_SOURCE as u64 + 1;
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("reading the policy {}", path.display()))?;
    Ok(bytes)
}

/// A policy that was read, and what was found in it.
struct Checked {
    file: String,
    source: String,
    mirrors: Option<usize>,
    faults: Vec<Fault>,
}

impl Checked {
    fn new(path: &Path, bytes: Vec<u8>) -> Self {
        let file = path.display().to_string();
        let source = match String::from_utf8(bytes) {
            Ok(source) => source,
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let source = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let fault = not_utf8(&source, good);
                return Self { file, source, mirrors: None, faults: vec![fault] };
            }
        };
        let (mirrors, faults) = match Policy::read(&source) {
            Ok(compiled) => (Some(compiled.policy.mirrors().count()), compiled.warnings),
            Err(faults) => (None, faults.0),
        };
        Self { file, source, mirrors, faults }
    }

    fn is_valid(&self) -> bool {
        self.mirrors.is_some()
    }

    fn text(&self, color: bool, quiet: bool) -> String {
        let mut text = render(&self.file, &self.source, &self.faults, color);
        let count = |severity| self.faults.iter().filter(|fault| fault.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let summary = match self.mirrors {
            _ if quiet => return text,
            Some(mirrors) => format!("valid, {}, {}", counted(mirrors, "mirror"), counted(warnings, "warning")),
            None => format!("refused, {}, {}", counted(errors, "error"), counted(warnings, "warning")),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}: {summary}", self.file);
        text
    }

    fn findings(&self) -> impl Iterator<Item = Finding<'_>> {
        self.faults.iter().map(|fault| Finding {
            file: &self.file,
            path: &fault.path,
            line: fault.line,
            column: fault.column,
            severity: fault.severity.as_str(),
            message: &fault.message,
            help: fault.help.as_deref(),
        })
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

/// One entry of the JSON form.
#[derive(Serialize)]
struct Finding<'c> {
    file: &'c str,
    path: &'c str,
    line: usize,
    column: usize,
    severity: &'static str,
    message: &'c str,
    help: Option<&'c str>,
}

/// Each fault with its source line underlined, and an empty line behind it.
pub(crate) fn render(file: &str, source: &str, faults: &[Fault], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let source = without_keys(source);
    let mut text = String::new();
    for fault in faults {
        text.push_str(&renderer.render(&[report(file, &source, fault)]));
        text.push_str("\n\n");
    }
    text
}

/// A line with more base64 than this in a row holds a certificate, or what was taken for one: perhaps a private key.
const MOST_BASE64: usize = 40;

/// The source with stars from where certificates begin to the ends of their lines, byte for byte as long as it is. Nobody
/// reads them there, and a private key that was put in their place must not get into a log.
fn without_keys(source: &str) -> String {
    let mut shown = String::with_capacity(source.len());
    for line in source.split_inclusive('\n') {
        let (text, end) = match line.strip_suffix('\n') {
            Some(text) => (text, "\n"),
            None => (line, ""),
        };
        let armour = text.find("-----BEGIN ");
        let hidden = [armour, long_base64(text)].into_iter().flatten().min().unwrap_or(text.len());
        shown.push_str(&text[..hidden]);
        shown.extend(std::iter::repeat_n('*', text.len() - hidden));
        shown.push_str(end);
    }
    shown
}

/// Where the first long run of base64 begins.
fn long_base64(text: &str) -> Option<usize> {
    let mut start = 0;
    for (at, byte) in text.bytes().enumerate() {
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')) {
            start = at + 1;
        } else if at - start >= MOST_BASE64 {
            return Some(start);
        }
    }
    None
}

fn report<'f>(file: &'f str, source: &'f str, fault: &'f Fault) -> Group<'f> {
    let level = match fault.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title =
        if fault.path.is_empty() { fault.message.clone() } else { format!("{}: {}", fault.path, fault.message) };
    let group = Group::with_title(level.primary_title(title));
    let mut group =
        show(group, file, source, fault.span, (fault.line, Some(fault.column)), AnnotationKind::Primary, "");
    for related in &fault.related {
        group = show(group, file, source, related.span, (related.line, None), AnnotationKind::Context, &related.label);
    }
    match &fault.help {
        Some(help) => group.element(Level::HELP.message(help)),
        None => group,
    }
}

/// How many bytes of a long line are shown on each side of a place.
const WINDOW: usize = 100;

/// Adds one place: its name, and as much of its line as a person can take in.
fn show<'f>(
    group: Group<'f>,
    file: &'f str,
    source: &'f str,
    span: Span,
    (line, column): (usize, Option<usize>),
    kind: AnnotationKind,
    label: &'f str,
) -> Group<'f> {
    let before = source.get(..span.start).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let start = char_boundary(source, line_start.max(span.start.saturating_sub(WINDOW)));
    let end = char_boundary(source, span.end.saturating_add(WINDOW));
    let text = source.get(start..end).unwrap_or_default().lines().next().unwrap_or_default();
    let within = |offset: usize| offset.saturating_sub(start).min(text.len());
    let label = (!label.is_empty()).then_some(label);
    let annotation = kind.span(within(span.start)..within(span.end)).label(label);
    let snippet = Snippet::source(text).line_start(line).annotation(annotation);
    if start == line_start {
        return group.element(snippet.path(file));
    }
    let origin = Origin::path(file).line(line);
    let origin = match column {
        Some(column) => origin.char_column(column),
        None => origin,
    };
    group.element(origin).element(snippet)
}

/// The nearest character boundary at or before `offset`.
fn char_boundary(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_drawn_with_its_line_underlined_and_its_mend() {
        let source = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\nregistryMirors: []\n";
        let faults = Policy::read(source).unwrap_err();
        let drawn = render("p.yaml", source, &faults.0, false);
        let expected = "\
error: registryMirors: unknown key `registryMirors`
 --> p.yaml:3:1
  |
3 | registryMirors: []
  | ^^^^^^^^^^^^^^
  |
  = help: did you mean `registryMirrors`?

";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn of_a_long_line_only_a_part_is_drawn() {
        let good = "a.example, ".repeat(20);
        let source = format!("registryMirrors: [{{hosts: [{good}Bad.example, {good}]}}]\n");
        let faults = Policy::read(&source).unwrap_err();
        let bad = faults.0.iter().find(|fault| fault.message.contains("canonical")).unwrap();
        let drawn = render("p.yaml", &source, std::slice::from_ref(bad), false);
        assert!(drawn.contains(" --> p.yaml:1:248\n"), "{drawn}");
        assert!(drawn.contains("a.example, Bad.example, a.example"), "{drawn}");
        assert!(drawn.lines().all(|line| line.len() < 260), "{drawn}");
    }

    /// A key is what is pasted in place of a certificate most often.
    #[test]
    fn t2_a_private_key_in_a_policy_is_never_drawn() {
        let key = format!("{}\\n{}\\nTail==", "MIGHAgEAMBMG".repeat(5), "ByqGSM49AgEG".repeat(5));
        let pem = format!("-----BEGIN PRIVATE KEY-----\\n{key}\\n-----END PRIVATE KEY-----\\n");
        let data = "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JR0hBZ0VBTUJNRw".repeat(3);
        for trust in [
            format!("caBundles: [{{inline: \"{pem}\"}}]"),
            format!("additionalTrustedCAs: [{{name: a, data: {data}}}]"),
            format!("additionalTrustedCAs: [{{name: a, data: \"{data}\", registries: [Bad.corp]}}]"),
        ] {
            let source = format!("apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\ntrust: {{{trust}}}\n");
            let faults = Policy::read(&source).unwrap_err();
            let drawn = render("p.yaml", &source, &faults.0, false);
            assert!(drawn.contains(" --> p.yaml:3:") && drawn.contains("***"), "{drawn}");
            for secret in ["MIGHAgEA", "ByqGSM49", "Tail", "LS0tLS1C", "QUlWQVRF"] {
                assert!(!drawn.contains(secret) && !faults.to_string().contains(secret), "{secret}: {drawn}");
            }
        }
    }

    #[test]
    fn places_beyond_the_source_are_drawn_too() {
        assert!(render("p.yaml", "", &[not_utf8("", 7)], false).contains("not UTF-8"));
    }
}
