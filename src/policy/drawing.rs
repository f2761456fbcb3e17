//! Faults drawn for a person: each with its source line underlined, as `mirrorgate check` prints them.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::fault::{Fault, Severity};
use super::masking::masked;
use crate::image::Escaped;
use crate::yaml::Span;

/// Draws the faults of one document.
pub(super) struct Drawing<'s> {
    file: &'s str,
    /// As long as the source, byte for byte.
    shown: std::borrow::Cow<'s, str>,
    renderer: Renderer,
}

impl<'s> Drawing<'s> {
    /// Of a document with this name; in colours for a terminal that wants them.
    pub(super) fn new(file: &'s str, source: &'s str, color: bool) -> Self {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        Self { file, shown: masked(source), renderer }
    }

    /// One fault, and an empty line behind it.
    pub(super) fn fault(&self, fault: &Fault) -> String {
        self.renderer.render(&[report(self.file, &self.shown, fault)]) + "\n\n"
    }
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
    let within = |offset: usize| {
        let before = text.get(..offset.saturating_sub(start).min(text.len()));
        before.map_or(0, |before| visible(before).len())
    };
    let label = (!label.is_empty()).then_some(label);
    let annotation = kind.span(within(span.start)..within(span.end)).label(label);
    let snippet = Snippet::source(visible(text)).line_start(line).annotation(annotation);
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

/// A line as a terminal may be shown it (A6). Tabs are the renderer's.
fn visible(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for (number, part) in line.split('\t').enumerate() {
        if number > 0 {
            shown.push('\t');
        }
        shown.push_str(&Escaped::new(part).to_string());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn render(file: &str, source: &str, faults: &[Fault]) -> String {
        let drawing = Drawing::new(file, source, false);
        faults.iter().map(|fault| drawing.fault(fault)).collect()
    }

    #[test]
    fn a_fault_is_drawn_with_its_line_underlined_and_its_mend() {
        let source = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\nregistryMirors: []\n";
        let faults = Policy::read(source).unwrap_err();
        let drawn = render("p.yaml", source, &faults.0);
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
        let drawn = render("p.yaml", &source, std::slice::from_ref(bad));
        assert!(drawn.contains(" --> p.yaml:1:248\n"), "{drawn}");
        assert!(drawn.contains("a.example, Bad.example, a.example"), "{drawn}");
        assert!(drawn.lines().all(|line| line.len() < 260), "{drawn}");
    }

    /// A key is what is pasted in place of a certificate most often.
    #[test]
    fn t2_a_private_key_in_a_policy_is_never_drawn_nor_quoted() {
        let key = format!("{}\\n{}\\nTail==", "MIGHAgEAMBMG".repeat(5), "ByqGSM49AgEG".repeat(5));
        let pem = format!("-----BEGIN PRIVATE KEY-----\\n{key}\\n-----END PRIVATE KEY-----\\n");
        let data = "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JR0hBZ0VBTUJNRw".repeat(3);
        for trust in [
            format!("caBundles: [{{inline: \"{pem}\"}}]"),
            format!("additionalTrustedCAs: [{{name: a, data: {data}}}]"),
            format!("additionalTrustedCAs: [{{name: a, data: \"{data}\", registries: [Bad.corp]}}]"),
            format!("additionalTrustedCAs: [{{name: \"{pem}\", data: \"{pem}\", registries: [\"{pem}\", {data}]}}]"),
            format!("{{? {data} : 1}}, onUntrusted: \"{pem}\", denyNetworks: [\"{pem}\"]"),
            format!("registries: [\"https://{data}\", \"a/{data}\"], systemRoots: \"{pem}\""),
        ] {
            let source = format!("apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\ntrust: {{{trust}}}\n");
            let faults = Policy::read(&source).unwrap_err();
            let drawn = render("p.yaml", &source, &faults.0);
            assert!(drawn.contains(" --> p.yaml:3:") && drawn.contains("***"), "{drawn}");
            for secret in ["MIGHAgEA", "ByqGSM49", "Tail", "LS0tLS1C", "QUlWQVRF"] {
                assert!(!drawn.contains(secret) && !faults.to_string().contains(secret), "{secret}: {drawn}");
            }
        }
    }

    /// A6: what a terminal would obey, or not show, is written out; the underline stays where it belongs.
    #[test]
    fn a6_hidden_characters_of_the_source_are_written_out() {
        let hidden = |c: char| (c.is_control() && c != '\n') || ('\u{200b}'..='\u{202e}').contains(&c);
        for (source, drawn_as) in [
            ("kind: \"\u{202e}b\u{1b}[31m\"\n", "1 | kind: \"\\u{202e}b\\u{1b}[31m\"\n  |                 ^^^^^^\n"),
            ("\"ke\u{200b}y\": 1\n", "1 | \"ke\\u{200b}y\": 1\n  | ^^^^^^^^^^^^^\n"),
            ("\"ke\\e[31my\": 1\n", "unknown key `ke\\u{1b}[31my`\n"),
        ] {
            let drawn = render("p.yaml", source, &Policy::read(source).unwrap_err().0);
            assert!(!drawn.contains(hidden), "{drawn:?}");
            assert!(drawn.contains(drawn_as), "{drawn}");
        }
    }
}
