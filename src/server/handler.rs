//! One review, from the bytes of its body to the bytes of its answer, with the metrics and the one log line for it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use crate::app::{App, LoadedPolicy};
use crate::image::Escaped;
use crate::review::{
    CheckedRegistry, Decision, Mode, Outcome, Plan, PlannedImage, Pod, PullSecretPlan, SecretUse, Verdicts,
};
use crate::telemetry::milliseconds;

use super::refusal::Refusal;
use super::wire::{self, Request};

/// The most characters of a name from the request in the log.
const MOST_NAME_CHARS: usize = 253;

/// For the second look at pull secrets where registries took all of the time: there is still some before the caller
/// gives up.
const LEAST_SECOND_LOOK: Duration = Duration::from_millis(100);

/// Answers one review. Nobody waits for a registry or the API server past `wait_until` (P4).
///
/// # Errors
/// 400 for a body that is no review, 503 while there is no policy (A2): never a denial.
pub async fn review(app: &App, mode: Mode, body: &[u8], wait_until: Instant) -> Result<String, Refusal> {
    let started = Instant::now();
    let Some(loaded) = app.policy() else {
        app.metrics().admission(mode.as_str(), "OTHER", "error", started.elapsed().as_secs_f64());
        return Err(Refusal::not_ready("no policy is loaded yet; /readyz says why"));
    };
    // `managedFields` is handed on by the API server as its author wrote it, raw bytes and all. A body that is refused for
    // them would be a way past the gate under `failurePolicy: Ignore`; Go reads U+FFFD there, too.
    // The check alone is several times as fast as the mending.
    let text = str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed);
    let answered = match Request::parse(&text) {
        Ok(request) => {
            let plan = plan(app, &loaded, &request, wait_until).await;
            let decision = request.decide(mode, &plan);
            let answer = wire::answer(&request.uid, &decision);
            count(app, mode, &request, &plan, &decision, started);
            log(mode, &request, &plan, &decision, started);
            Ok(answer)
        }
        Err(bad) => Err(Refusal::bad_review(bad)),
    };
    if let Err(refusal) = &answered {
        app.metrics().admission(mode.as_str(), "OTHER", "error", started.elapsed().as_secs_f64());
        info!(mode = mode.as_str(), decision = "error", code = refusal.status, error = %refusal.message, "review");
    }
    answered
}

/// Plans by the verdicts of the registries that the images come from, and by the pull secrets for those.
async fn plan<'p, 'a>(
    app: &App,
    loaded: &'p LoadedPolicy,
    request: &'a Request<'a>,
    wait_until: Instant,
) -> Plan<'p, 'a> {
    let policy = &loaded.policy;
    let mut verdicts = Verdicts::default();
    let mut routed = request.route(policy);
    if let Some(routed) = &mut routed {
        // Once for the first mirrors, and again for the next where some of those are down: the list grows shorter.
        loop {
            let unasked = routed.settle(&verdicts);
            if unasked.is_empty() {
                break;
            }
            verdicts.extend(app.verdicts(loaded, &unasked, wait_until).await);
        }
    }
    let secrets = app.pull_secrets(&request.namespace);
    let mut plan = request.plan(policy, routed, &verdicts, &secrets);
    if let Some(doubt) = plan.pull_secrets.in_doubt() {
        let left = wait_until.saturating_duration_since(Instant::now()).max(LEAST_SECOND_LOOK);
        let looked = app.look_again(&request.namespace, secrets, &doubt, left).await;
        request.plan_pull_secrets(policy, &mut plan, &looked);
    }
    plan
}

fn count(app: &App, mode: Mode, request: &Request<'_>, plan: &Plan<'_, '_>, decision: &Decision, started: Instant) {
    let metrics = app.metrics();
    let seconds = started.elapsed().as_secs_f64();
    metrics.admission(mode.as_str(), request.operation.as_str(), result(decision, plan), seconds);
    for alike in plan.images.chunk_by(|a, b| labels(a) == labels(b)) {
        let (result, mirror) = labels(&alike[0]);
        metrics.images(mirror, result, alike.len() as u64);
    }
    for used in &plan.pull_secrets.uses {
        metrics.pull_secrets(used.state.as_str(), used.images.len() as u64);
    }
    for finding in &plan.pull_secrets.findings {
        if let Some(state) = finding.state_of_no_secret() {
            metrics.pull_secrets(state.as_str(), finding.images.len() as u64);
        }
    }
}

/// What an image is counted as, and under which mirror.
fn labels<'p>(planned: &PlannedImage<'p, '_>) -> (&'static str, Option<&'p Arc<str>>) {
    let mirror = match planned.outcome {
        Outcome::Rewritten { mirror, .. } | Outcome::Unmirrorable { mirror, .. } => Some(mirror.shared_name()),
        Outcome::Kept(_) | Outcome::Unreadable(_) => None,
    };
    (planned.outcome.as_str(), mirror)
}

/// The word for a decision in log and metrics. In audit mode it is what enforce mode would have answered.
fn result(decision: &Decision, plan: &Plan<'_, '_>) -> &'static str {
    let rewrites = plan.images.iter().any(|planned| matches!(planned.outcome, Outcome::Rewritten { .. }));
    match decision.would_allow {
        false => "denied",
        true if rewrites || !plan.pull_secrets.added.is_empty() => "patched",
        true => "allowed",
    }
}

/// The one line for a review. What an author or a client wrote is escaped: the text form of the log is for terminals.
fn log(mode: Mode, request: &Request<'_>, plan: &Plan<'_, '_>, decision: &Decision, started: Instant) {
    let name = |text| Escaped::cut(text, MOST_NAME_CHARS);
    // A pod that is created under a generateName has no name yet.
    let pod = &request.pod;
    let denied = decision.faults();
    info!(
        uid = %name(&request.uid),
        namespace = %name(&request.namespace),
        pod = %name(pod.name()),
        generate_name = %name(pod.generate_name()),
        owner = %OwnerName(pod),
        mode = mode.as_str(),
        operation = request.operation.as_str(),
        dry_run = request.dry_run,
        decision = result(decision, plan),
        denied = (!denied.is_empty()).then_some(denied),
        rewrites = %Rewrites(plan),
        pull_secrets = %UsedSecrets(plan),
        verdicts = %DoubtfulVerdicts(plan),
        ms = milliseconds(started.elapsed().as_secs_f64()),
        "review"
    );
}

struct OwnerName<'a>(&'a Pod<'a>);

impl fmt::Display for OwnerName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.owners().next() {
            Some(owner) => Escaped::cut(&owner.to_string(), MOST_NAME_CHARS).fmt(f),
            None => Ok(()),
        }
    }
}

/// `from=>to`, separated by blanks: a readable image holds none.
struct Rewrites<'v, 'p, 'a>(&'v Plan<'p, 'a>);

impl fmt::Display for Rewrites<'_, '_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for planned in &self.0.images {
            if let Outcome::Rewritten { to, .. } = &planned.outcome {
                write!(f, "{separator}{}=>{to}", planned.image)?;
                separator = " ";
            }
        }
        Ok(())
    }
}

/// `name@registry=state`, separated by blanks, and behind them what is wrong.
struct UsedSecrets<'v, 'p, 'a>(&'v Plan<'p, 'a>);

impl fmt::Display for UsedSecrets<'_, '_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PullSecretPlan { uses, findings, .. } = &self.0.pull_secrets;
        let mut separator = "";
        for SecretUse { name, registry, state, .. } in uses {
            write!(f, "{separator}{name}@{registry}={}", state.as_str())?;
            separator = " ";
        }
        for finding in findings {
            write!(f, "{separator}({finding})")?;
            separator = " ";
        }
        Ok(())
    }
}

/// The most registries of one review in the log: under `"*"` a body can name them by the hundred thousand.
const MOST_VERDICTS: usize = 50;

/// `registry=verdict/class` of what is not trusted, separated by blanks.
struct DoubtfulVerdicts<'v, 'p, 'a>(&'v Plan<'p, 'a>);

impl fmt::Display for DoubtfulVerdicts<'_, '_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut doubtful = self.0.trust.doubtful();
        for CheckedRegistry { registry, verdict, .. } in doubtful.by_ref().take(MOST_VERDICTS) {
            write!(f, "{separator}{registry}={}/{}", verdict.as_str(), verdict.class())?;
            separator = " ";
        }
        match doubtful.count() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
