//! The forms of the result: for a person, for a program, as manifests, as patches.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value as Json;
use similar::TextDiff;

use crate::image::Escaped;
use crate::review::{Mode, SecretState};
use crate::yaml::{Limits, parse_documents};

use super::super::paint::Paint;
use super::edit::{EditError, edit};
use super::judge::{FieldCause, Image, PullSecretUse, RegistryVerdict, Verdict};
use super::masked::masked;
use super::{Finding, Reviewed};

/// The most characters of a name in a line.
const MOST_NAME_CHARS: usize = 120;

/// A diff of each source, then what is denied and warned of, then, if asked for, the registries that were asked, the pull
/// secrets, and one line that sums up.
pub(super) fn text(reviewed: &[Reviewed<'_>], color: bool, sum_up: bool) -> String {
    let paint = Paint { color };
    let mut out = String::new();
    for source in reviewed {
        match edited(source, false) {
            Ok(Some(edited)) => diff(&mut out, source, &edited, paint),
            Ok(None) => {}
            Err(error) => without_diff(&mut out, source, &error),
        }
    }
    let mut said = String::new();
    for (source, finding, verdict) in verdicts(reviewed) {
        if let Some(answer) = &verdict.answer {
            said += &serde_json::to_string_pretty(answer).unwrap_or_default();
            said += "\n";
        }
        let known: Vec<_> =
            if sum_up { registries(verdict).chain(pull_secrets(verdict)).collect() } else { Vec::new() };
        if verdict.allowed && verdict.warnings.is_empty() && known.is_empty() {
            continue;
        }
        let _ = writeln!(said, "{}:", finding.title(source.name));
        // In audit mode the warnings tell of them.
        for FieldCause { field, message, .. } in verdict.causes.iter().filter(|_| !verdict.allowed) {
            let _ = writeln!(said, "  {}: {field}: {message}", paint.red("denied"));
        }
        for line in verdict.details.iter().filter(|_| !verdict.allowed).flat_map(|details| details.lines()) {
            let _ = writeln!(said, "  {line}");
        }
        for warning in &verdict.warnings {
            let _ = writeln!(said, "  {}: {warning}", paint.yellow("warning"));
        }
        for line in known {
            let _ = writeln!(said, "  {line}");
        }
    }
    let summary = if sum_up { summary(reviewed) } else { String::new() };
    for part in [said, summary] {
        if !out.is_empty() && !part.is_empty() {
            out.push('\n');
        }
        out += &part;
    }
    out
}

/// A line for each registry that was asked.
fn registries(verdict: &Verdict) -> impl Iterator<Item = String> {
    verdict.verdicts.iter().filter(|asked| !asked.is_not_asked()).map(
        |RegistryVerdict { registry, verdict, class, .. }| {
            let registry = Escaped::cut(registry, MOST_NAME_CHARS);
            if *class == "ok" {
                format!("registry {registry}: {verdict}")
            } else {
                format!("registry {registry}: {verdict} ({class})")
            }
        },
    )
}

/// A line for each pull secret.
fn pull_secrets(verdict: &Verdict) -> impl Iterator<Item = String> {
    verdict.pull_secrets.iter().map(|PullSecretUse { name, registry, state, images }| {
        let line = format!("pull secret {name} for {}: {}", Escaped::cut(registry, MOST_NAME_CHARS), state.as_str());
        let of_all = verdict.pull_secrets.iter().filter(|other| (&other.name, &other.registry) == (name, registry));
        let images_of_all: usize = of_all.map(|other| other.images.len()).sum();
        if *state == SecretState::Unknown {
            format!("{line}, as no Secret is among the manifests")
        } else if images_of_all > images.len() {
            format!("{line} {} of {}", images.len(), count(images_of_all, "image"))
        } else {
            line
        }
    })
}

/// One entry for each object.
pub(super) fn json(reviewed: &[Reviewed<'_>]) -> anyhow::Result<String> {
    let mut entries = Vec::new();
    for source in reviewed {
        match &source.findings {
            Err(error) => entries.push(Entry { source: source.name, error: Some(error), ..Entry::default() }),
            Ok(findings) => entries.extend(findings.iter().map(|finding| Entry::new(source, finding))),
        }
    }
    Ok(serde_json::to_string_pretty(&entries)? + "\n")
}

/// The manifests as they would be, one stream.
pub(super) fn yaml(reviewed: &[Reviewed<'_>]) -> anyhow::Result<String> {
    let mut stream = String::new();
    for source in reviewed.iter().filter(|source| source.findings.is_ok()) {
        let edited = edited(source, true).with_context(|| format!("cannot write {}", source.name))?;
        let text = edited.as_deref().unwrap_or(source.text);
        if stream.is_empty() {
            stream += text;
            continue;
        }
        let text = text.trim_start_matches('\u{feff}');
        if !stream.ends_with('\n') {
            stream.push('\n');
        }
        if text.starts_with('%') {
            stream += "...\n";
        } else if !text.starts_with("---") {
            stream += "---\n";
        }
        stream += text;
    }
    Ok(stream)
}

/// One RFC 6902 patch a line, for each document with pods or templates in it.
pub(super) fn patch(reviewed: &[Reviewed<'_>]) -> anyhow::Result<String> {
    let mut lines = String::new();
    for source in reviewed {
        let mut documents: Vec<(usize, Vec<Json>)> = Vec::new();
        for finding in source.findings.iter().flatten() {
            let Ok(verdict) = &finding.verdict else { continue };
            let document = finding.object.document;
            if documents.last().is_none_or(|(last, _)| *last != document) {
                documents.push((document, Vec::new()));
            }
            if let Some((_, operations)) = documents.last_mut() {
                operations.extend(in_document(finding, verdict).map(|(_, operation)| operation));
            }
        }
        for (_, operations) in documents {
            lines += &serde_json::to_string(&operations)?;
            lines.push('\n');
        }
    }
    Ok(lines)
}

#[derive(Default, Serialize)]
struct Entry<'r> {
    source: &'r str,
    document: usize,
    #[serde(rename = "apiVersion")]
    api_version: &'r str,
    kind: &'r str,
    namespace: &'r str,
    name: &'r str,
    mode: &'r str,
    allowed: bool,
    patch: &'r [Json],
    warnings: &'r [String],
    causes: &'r [FieldCause],
    images: &'r [Image],
    pull_secrets: &'r [PullSecretUse],
    verdicts: &'r [RegistryVerdict],
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'r Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'r str>,
}

impl<'r> Entry<'r> {
    fn new(source: &'r Reviewed<'_>, finding: &'r Finding<'_>) -> Self {
        let entry = Self {
            source: source.name,
            document: finding.object.document,
            api_version: &finding.object.api_version,
            kind: &finding.object.kind,
            namespace: &finding.namespace,
            name: finding.object.name(),
            mode: finding.mode.as_str(),
            ..Self::default()
        };
        match &finding.verdict {
            Err(error) => Self { error: Some(error), ..entry },
            Ok(verdict) => {
                let Verdict { allowed, patch, warnings, causes, images, pull_secrets, verdicts, .. } = verdict;
                let (allowed, answer) = (*allowed, verdict.answer.as_ref());
                Self { allowed, patch, warnings, causes, images, pull_secrets, verdicts, answer, ..entry }
            }
        }
    }
}

fn verdicts<'r>(
    reviewed: &'r [Reviewed<'_>],
) -> impl Iterator<Item = (&'r Reviewed<'r>, &'r Finding<'r>, &'r Verdict)> {
    reviewed.iter().flat_map(|source| {
        let findings = source.findings.iter().flatten();
        findings.filter_map(move |finding| Some((source, finding, finding.verdict.as_ref().ok()?)))
    })
}

/// The operations of an object with their paths in its document; none for a review, whose pod is not ours to change.
fn in_document<'f>(finding: &'f Finding<'_>, verdict: &'f Verdict) -> impl Iterator<Item = (usize, Json)> {
    let pointer = if verdict.answer.is_some() { "/request/object" } else { &finding.object.pointer };
    verdict.patch.iter().map(move |operation| {
        let mut operation = operation.clone();
        operation["path"] = format!("{pointer}{}", operation["path"].as_str().unwrap_or_default()).into();
        (finding.object.document, operation)
    })
}

/// The text after all changes; nothing where there are none. A review becomes its answer, if that is asked for.
fn edited(source: &Reviewed<'_>, with_answers: bool) -> Result<Option<String>, EditError> {
    let mut operations = Vec::new();
    for finding in source.findings.iter().flatten() {
        match &finding.verdict {
            Ok(Verdict { answer: Some(answer), .. }) if with_answers => {
                let operation = serde_json::json!({"op": "replace", "path": finding.object.pointer, "value": answer});
                operations.push((finding.object.document, operation));
            }
            Ok(Verdict { answer: Some(_), .. }) | Err(_) => {}
            Ok(verdict) => operations.extend(in_document(finding, verdict)),
        }
    }
    if operations.is_empty() { Ok(None) } else { edit(source.text, source.documents, &operations).map(Some) }
}

fn diff(out: &mut String, source: &Reviewed<'_>, edited: &str, paint: Paint) {
    let old = masked(source.text, source.documents);
    let documents = match old {
        Cow::Borrowed(_) => Vec::new(),
        // It was read when it was edited.
        Cow::Owned(_) => parse_documents(edited, Limits::MANIFEST).unwrap_or_default(),
    };
    let new = masked(edited, &documents);
    let diff = TextDiff::from_lines(&*old, &*new);
    let (before, after) = (format!("{} (as it is)", source.name), format!("{} (as admitted)", source.name));
    let unified = diff.unified_diff().header(&before, &after).to_string();
    for (number, line) in unified.split_inclusive('\n').enumerate() {
        let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
        *out += &match text.as_bytes().first() {
            _ if number < 2 => paint.bold(text),
            Some(b'+') => paint.green(text),
            Some(b'-') => paint.red(text),
            Some(b'@') => paint.cyan(text),
            _ => text.to_owned(),
        };
        *out += end;
    }
}

/// Where the text cannot be edited, the images and the names of the pull secrets say what would change.
fn without_diff(out: &mut String, source: &Reviewed<'_>, error: &EditError) {
    let _ = writeln!(out, "{} (no diff: {error})", source.name);
    for finding in source.findings.iter().flatten() {
        let Ok(verdict) = &finding.verdict else { continue };
        for Image { field, input, rewritten, .. } in verdict.images.iter().filter(|image| image.changes()) {
            let _ = writeln!(out, "  {field}: {input} -> {}", rewritten.as_deref().unwrap_or_default());
        }
        for name in &verdict.added {
            let _ = writeln!(out, "  {}spec.imagePullSecrets: + {name}", finding.object.field_prefix());
        }
    }
}

fn summary(reviewed: &[Reviewed<'_>]) -> String {
    let (mut objects, mut denied, mut images) = (0, 0, 0);
    let (mut rewritten, mut added, mut would_rewrite, mut would_add) = (0, 0, 0, 0);
    for (_, finding, verdict) in verdicts(reviewed) {
        objects += 1;
        images += verdict.images.len();
        denied += usize::from(!verdict.allowed);
        let changing = verdict.images.iter().filter(|image| image.changes()).count();
        match finding.mode {
            Mode::Enforce if verdict.allowed => {
                rewritten += changing;
                added += verdict.added.len();
            }
            Mode::Enforce => {}
            Mode::Audit => {
                would_rewrite += changing;
                would_add += verdict.added.len();
            }
        }
    }
    if objects == 0 {
        // What could not be read is said on stderr, and may have had some.
        let all_read = reviewed.iter().all(|source| source.findings.is_ok());
        return if all_read { "nothing to do: no pod and no pod template\n".to_owned() } else { String::new() };
    }
    let mut parts = Vec::new();
    if rewritten > 0 {
        parts.push(format!("{rewritten} of {} rewritten", count(images, "image")));
    }
    if added > 0 {
        parts.push(format!("{} added", count(added, "pull secret")));
    }
    if would_rewrite > 0 {
        parts.push(format!("{would_rewrite} of {} would be rewritten (audit)", count(images, "image")));
    }
    if would_add > 0 {
        parts.push(format!("{} would be added (audit)", count(would_add, "pull secret")));
    }
    if denied > 0 {
        parts.push(format!("{denied} of {} denied", count(objects, "object")));
    }
    let said = match parts.is_empty() {
        true => format!("nothing to do: {} in {}", count(images, "image"), count(objects, "object")),
        false => parts.join(", "),
    };
    let of_all = verdicts(reviewed).flat_map(|(_, _, verdict)| &verdict.verdicts);
    let not_asked: BTreeSet<_> = of_all.filter(|asked| asked.is_not_asked()).map(|asked| &asked.registry).collect();
    match not_asked.len() {
        0 => said + "\n",
        1 => said + "; 1 registry not asked (--probe asks)\n",
        more => format!("{said}; {more} registries not asked (--probe asks)\n"),
    }
}

fn count(number: usize, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

impl Finding<'_> {
    /// `pod.yaml: Pod team-a/web`
    pub(super) fn title(&self, source: &str) -> String {
        let name = |text| Escaped::cut(text, MOST_NAME_CHARS);
        format!("{source}: {} {}/{}", self.object.kind, name(&self.namespace), name(self.object.name()))
    }
}
