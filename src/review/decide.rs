//! A plan becomes an answer: what is changed, what is said, and to whom.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};

use serde::Serialize;
use smallvec::SmallVec;

use crate::image::Escaped;
use crate::json::Writer;

use super::original_images::original_images;
use super::patch::{Patch, PatchBuilder};
use super::plan::{Kept, Outcome, Plan, PlannedImage};
use super::pod::Pod;
use super::pull_secrets::{PullSecretPlan, SecretUse};
use super::trust::{CheckedRegistry, Standing};
use super::verdict::Verdict;
use super::{Change, Mode};

/// The most characters of warnings in one answer: beyond it the API server cuts and drops (A6).
const MOST_WARNING_CHARS: usize = 4096;

/// The most characters of a container's or volume's name, or of an image, in a message.
const MOST_NAME_CHARS: usize = 80;

/// The most faults that a denial spells out; a body can hold images by the hundred thousand.
const MOST_CAUSES: usize = 200;

/// The most registries whose certificates a denial spells out: more than one screen is not read.
const MOST_DETAILS: usize = 3;

/// Who speaks in a warning of audit mode.
const AUDIT: &str = "mirrorgate audit";

/// The answer to one review.
#[derive(Debug, Default)]
pub struct Decision {
    /// Whether the pod is admitted.
    pub allowed: bool,
    /// What the mode would have answered: in audit mode a pod can be admitted that enforce mode would deny.
    pub would_allow: bool,
    /// The changes; empty on a denial, in audit mode, and when nothing changes.
    pub patch: Patch,
    /// Shown to the client by the API server, each free of control characters (A6).
    pub warnings: Vec<String>,
    /// What stands against the pod, also in audit mode; the first 200 faults.
    pub causes: Vec<Cause>,
    /// How many more there are.
    pub further_causes: usize,
    /// What goes behind the causes: of each registry that the nodes would refuse, its certificate and what mends it.
    pub details: Vec<String>,
    /// Keys and values for the API server's audit log (A5).
    pub audit_annotations: SmallVec<[(Cow<'static, str>, Cow<'static, str>); 4]>,
}

/// One fault of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The path as Kubernetes writes it: `spec.containers[0].image`.
    pub field: String,
    /// A word for machines.
    pub reason: CauseReason,
    /// A sentence for people, without the field.
    pub message: String,
}

/// Why a pod is denied, in a word for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum CauseReason {
    /// No runtime can read the image (A3).
    ImageInvalid,
    /// The rewritten image would be no valid reference (M6).
    RewriteInvalid,
    /// The nodes would refuse the certificate of the image's registry (T5).
    RegistryUntrusted,
    /// Nothing can be pulled from the image's registry, or nobody knows what the nodes would say of it, and the policy
    /// denies that (T5).
    RegistryUnreachable,
    /// No pull secret serves the image, and the policy denies that (S6).
    PullSecretMissing,
}

impl CauseReason {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ImageInvalid => "ImageInvalid",
            Self::RewriteInvalid => "RewriteInvalid",
            Self::RegistryUntrusted => "RegistryUntrusted",
            Self::RegistryUnreachable => "RegistryUnreachable",
            Self::PullSecretMissing => "PullSecretMissing",
        }
    }
}

impl Decision {
    /// An answer that admits and says nothing: what is none of our business (U4).
    pub fn pass() -> Self {
        Self { allowed: true, would_allow: true, ..Self::default() }
    }

    /// Why the pod is denied, and what mends it: `kubectl`, events and conditions show nothing else of a denial (A1). Empty
    /// where nothing stands against it.
    pub fn message(&self) -> String {
        let mut message = self.faults();
        for details in &self.details {
            message.push('\n');
            message.push_str(details);
        }
        message
    }

    /// Why the pod is denied: every fault on a line of its own. Empty where nothing stands against it.
    pub fn faults(&self) -> String {
        let mut message = String::new();
        // Writing to a `String` does not fail.
        if let [_, _, ..] = self.causes[..] {
            let _ = write!(message, "{} faults stand against this pod", self.causes.len() + self.further_causes);
        }
        for Cause { field, message: text, .. } in &self.causes {
            let line_break = if message.is_empty() { "" } else { "\n" };
            let _ = write!(message, "{line_break}{field}: {text}");
        }
        if self.further_causes > 0 {
            let _ = write!(message, "\nand {} more", self.further_causes);
        }
        message
    }
}

/// Answers for a planned pod.
pub fn decide(mode: Mode, pod: &Pod<'_>, change: Change<'_>, plan: &Plan<'_, '_>) -> Decision {
    let faulty = plan.images.iter().filter(|planned| planned.outcome.is_fault()).filter_map(image_cause);
    let mut faults = faulty.chain(trust_causes(plan)).chain(secret_causes(plan));
    let causes: Vec<Cause> = faults.by_ref().take(MOST_CAUSES).collect();
    let further_causes = faults.count();
    let would_allow = causes.is_empty();
    let allowed = would_allow || mode == Mode::Audit;
    let details = details(plan);
    let mut decision = Decision { allowed, would_allow, causes, further_causes, details, ..Decision::default() };
    match mode {
        Mode::Enforce if would_allow => {
            decision.patch = patch(pod, change, plan);
            let warnings = trust_warnings("mirrorgate", plan).chain(secret_warnings("mirrorgate", plan));
            decision.warnings = within_the_limit("mirrorgate", warnings.collect(), 0);
        }
        Mode::Enforce => {}
        Mode::Audit => decision.warnings = audit_warnings(plan, &decision),
    }
    decision.audit_annotations = audit_annotations(pod, change, plan, &decision);
    decision
}

fn image_cause(planned: &PlannedImage<'_, '_>) -> Option<Cause> {
    match &planned.outcome {
        Outcome::Unreadable(error) => Some(cause(planned, CauseReason::ImageInvalid, error)),
        Outcome::Unmirrorable { error, .. } => Some(cause(planned, CauseReason::RewriteInvalid, error)),
        Outcome::Rewritten { .. } | Outcome::Kept(_) => None,
    }
}

/// One for each image that is known to have no pull secret, where the policy denies that (S6).
fn secret_causes(plan: &Plan<'_, '_>) -> impl Iterator<Item = Cause> {
    let PullSecretPlan { findings, denies, .. } = &plan.pull_secrets;
    let certain = findings.iter().filter(|finding| *denies && finding.is_certain());
    certain.flat_map(|finding| {
        let images = finding.images.iter().filter_map(|&image| plan.images.get(image));
        images.map(move |planned| cause(planned, CauseReason::PullSecretMissing, &finding.of_image(planned)))
    })
}

/// One for each image of a registry that the policy denies for its verdict (T5).
fn trust_causes(plan: &Plan<'_, '_>) -> impl Iterator<Item = Cause> {
    plan.trust.standing_at(Standing::Denied).flat_map(|checked| {
        let reason = match checked.verdict {
            Verdict::Untrusted(_) => CauseReason::RegistryUntrusted,
            _ => CauseReason::RegistryUnreachable,
        };
        let images = checked.images.iter().filter_map(|&image| plan.images.get(image));
        images.map(move |planned| cause(planned, reason, checked))
    })
}

/// What is said of registries whose verdicts do not stand against the pod, and of mirrors that it goes past (T5, M11).
fn trust_warnings(who: &str, plan: &Plan<'_, '_>) -> impl Iterator<Item = String> {
    let warned = plan.trust.standing_at(Standing::Warned).map(move |checked| format!("{who}: {checked}"));
    let passed = plan.images.iter().filter_map(move |planned| match &planned.outcome {
        Outcome::Kept(Kept::MirrorsUnreachable { mirror }) => {
            let image = Escaped::cut(planned.image, MOST_NAME_CHARS);
            Some(format!("{who}: mirror {} is unreachable: {image} comes from its source", mirror.name()))
        }
        _ => None,
    });
    warned.chain(passed)
}

/// Of each registry that the pod is denied for: what mends it. Of the first few; more are no help.
fn details(plan: &Plan<'_, '_>) -> Vec<String> {
    plan.trust.standing_at(Standing::Denied).filter_map(CheckedRegistry::details).take(MOST_DETAILS).collect()
}

fn cause(planned: &PlannedImage<'_, '_>, reason: CauseReason, fault: &impl Display) -> Cause {
    let entry = planned.field.list.entry();
    let name = Escaped::cut(planned.name, MOST_NAME_CHARS);
    Cause { field: planned.field.to_string(), reason, message: format!("{entry} {name}: {fault}") }
}

/// What is wrong with the pull secrets and does not stand against the pod.
fn secret_warnings(who: &str, plan: &Plan<'_, '_>) -> impl Iterator<Item = String> {
    let PullSecretPlan { findings, denies, .. } = &plan.pull_secrets;
    let findings = findings.iter().filter(|finding| !(*denies && finding.is_certain()));
    findings.map(move |finding| format!("{who}: {finding}"))
}

fn patch(pod: &Pod<'_>, change: Change<'_>, plan: &Plan<'_, '_>) -> Patch {
    let mut patch = PatchBuilder::new(plan.images.len());
    for planned in &plan.images {
        if let Outcome::Rewritten { to, .. } = &planned.outcome {
            patch.replace(planned.field, to.as_str());
        }
    }
    // None where the pod is there already (U2, U3).
    if !plan.pull_secrets.added.is_empty() {
        patch.add_pull_secrets(pod.has_pull_secrets(), plan.pull_secrets.added.iter().map(|name| &**name));
    }
    let old = match change {
        Change::Create => None,
        Change::Update { old } => Some(old),
        // The API server drops every change of metadata there (U3).
        Change::EphemeralContainers { .. } => return patch.finish(),
    };
    if let Some(value) = original_images(pod, old, &plan.images) {
        patch.annotate(pod.has_metadata(), pod.has_annotations(), &value);
    }
    patch.finish()
}

/// Denials first: where not all fits, it is they that must be read.
fn audit_warnings(plan: &Plan<'_, '_>, decision: &Decision) -> Vec<String> {
    let denials = decision
        .causes
        .iter()
        .map(|Cause { field, message, .. }| format!("{AUDIT}: {field} would be denied: {message}"));
    let rewrites = plan.images.iter().filter_map(|planned| {
        let Outcome::Rewritten { to, .. } = &planned.outcome else { return None };
        let image = Escaped::cut(planned.image, MOST_NAME_CHARS);
        Some(format!("{AUDIT}: {} {image} would become {to}", planned.field))
    });
    let added = plan.pull_secrets.added.iter().map(|name| format!("{AUDIT}: the pull secret {name} would be added"));
    let faults = trust_warnings(AUDIT, plan).chain(secret_warnings(AUDIT, plan));
    within_the_limit(AUDIT, denials.chain(faults).chain(rewrites).chain(added).collect(), decision.further_causes)
}

/// As many warnings as the API server passes on whole, and one that counts the rest and what was `unsaid` before.
fn within_the_limit(who: &str, mut warnings: Vec<String>, unsaid: usize) -> Vec<String> {
    let lengths = warnings.iter().map(|warning| warning.chars().count());
    if lengths.clone().sum::<usize>() <= MOST_WARNING_CHARS {
        return warnings;
    }
    const ROOM_FOR_THE_LAST: usize = 100;
    let mut room = MOST_WARNING_CHARS - ROOM_FOR_THE_LAST;
    let fitting = lengths
        .take_while(|length| {
            let fits = *length <= room;
            room = room.saturating_sub(*length);
            fits
        })
        .count();
    let rest = warnings.len() - fitting + unsaid;
    warnings.truncate(fitting);
    warnings.push(format!("{who}: and {rest} more, all of them in the audit log and in mirrorgate's own log"));
    warnings
}

/// In a repeated call the keys end in `-again`, since the API server keeps the first value of a key (A5). It is one when
/// our annotation is there and is not the stored pod's: that one tells of an earlier request.
fn audit_annotations(
    pod: &Pod<'_>,
    change: Change<'_>,
    plan: &Plan<'_, '_>,
    decision: &Decision,
) -> SmallVec<[(Cow<'static, str>, Cow<'static, str>); 4]> {
    let stored = match change {
        Change::Create => None,
        Change::Update { old } | Change::EphemeralContainers { old } => old.original_images(),
    };
    let repeated = pod.original_images().is_some_and(|ours| stored != Some(ours));
    let key =
        |key: &'static str| -> Cow<'static, str> { if repeated { format!("{key}-again").into() } else { key.into() } };
    let mut annotations = SmallVec::new();
    annotations.push((key("decision"), Cow::Borrowed(if decision.would_allow { "allow" } else { "deny" })));
    if let Some(rewrites) = rewrites(plan) {
        annotations.push((key("rewritten"), rewrites.into()));
    }
    if let Some(secrets) = used_secrets(plan) {
        annotations.push((key("pull-secrets"), secrets.into()));
    }
    if let Some(verdicts) = doubtful_verdicts(plan) {
        annotations.push((key("verdicts"), verdicts.into()));
    }
    if !decision.would_allow {
        annotations.push((key("denied"), decision.message().into()));
    }
    annotations
}

/// `[{"field": "spec.containers[0].image", "from": "nginx", "to": "...", "mirror": "harbor"}]`; none without rewrites. A
/// reference needs no escapes: its grammar has none of what does.
fn rewrites(plan: &Plan<'_, '_>) -> Option<String> {
    const BYTES_PER_REWRITE: usize = 256;
    let mut json = Writer::with_capacity(plan.images.len() * BYTES_PER_REWRITE);
    let rewritten = plan.images.iter().filter_map(|planned| match &planned.outcome {
        Outcome::Rewritten { to, mirror, .. } => Some((planned, to, mirror)),
        _ => None,
    });
    let mut any = false;
    json.list("[]", rewritten, |json, (planned, to, mirror)| {
        any = true;
        json.raw(r#"{"field":""#);
        planned.field.write_path(json);
        json.raw(r#"","from":"#).plain(planned.image).raw(r#","to":"#).plain(to.as_str());
        json.raw(r#","mirror":"#).string(mirror.name()).raw("}");
    });
    any.then(|| json.into_string())
}

/// `[{"name": "harbor-pull", "registry": "harbor.corp:5000", "state": "covers"}]`; none where the policy has no secret for
/// the pod.
fn used_secrets(plan: &Plan<'_, '_>) -> Option<String> {
    const BYTES_PER_USE: usize = 128;
    let uses = &plan.pull_secrets.uses;
    let mut json = Writer::with_capacity(uses.len() * BYTES_PER_USE);
    json.list("[]", uses, |json, SecretUse { name, registry, state, .. }| {
        json.raw(r#"{"name":"#).string(name).raw(r#","registry":"#).string(registry.as_str());
        json.raw(r#","state":"#).plain(state.as_str()).raw("}");
    });
    (!uses.is_empty()).then(|| json.into_string())
}

/// `[{"registry": "harbor.corp:5000", "verdict": "untrusted", "class": "expired"}]`: of the first that are not trusted; none
/// where all are, or nobody was to be asked.
fn doubtful_verdicts(plan: &Plan<'_, '_>) -> Option<String> {
    let mut doubtful = plan.trust.doubtful().take(MOST_CAUSES).peekable();
    doubtful.peek()?;
    let mut json = Writer::default();
    json.list("[]", doubtful, |json, CheckedRegistry { registry, verdict, .. }| {
        json.raw(r#"{"registry":"#).string(registry.as_str()).raw(r#","verdict":"#).plain(verdict.as_str());
        json.raw(r#","class":"#).plain(verdict.class()).raw("}");
    });
    Some(json.into_string())
}
