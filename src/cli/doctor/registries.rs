//! The registries that the policy names, asked from this machine as `mirrorgate probe` asks them; and whether the API server
//! reaches mirrorgate, which a dry run of a pod shows.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;

use crate::policy::{OnUntrusted, Policy};
use crate::probe::{Bundles, Dialler, Question, Report};
use crate::review::{UnknownClass, Verdict};

use super::super::asking;
use super::facts::{Facts, Mode, Read, Unread};
use super::finding::{Finding, State};
use super::reading::{DryRun, Reader};
use super::replicas;
use super::webhooks;

const CHECK: &str = "registries";
const CALL: &str = "webhook-call";

/// All registries together have this long.
const LONGEST: Duration = Duration::from_secs(30);

/// The image of the pod that is not made. No registry is ever called that.
const IMAGE: &str = "registry.invalid/mirrorgate-doctor:dry-run";

/// Asks them all.
pub(super) async fn ask(policy: &Policy, bundles: &Bundles) -> Vec<Report> {
    let dialler = Dialler::new();
    let named = policy.probed_ahead();
    let questions: Vec<Question> =
        named.filter_map(|registry| Question::new(policy, bundles, registry.as_str())).collect();
    let answers = stream::iter(&questions).map(async |question| {
        let report = dialler.probe(&question.target(), question.roots()).await;
        Report { verdict: question.settle(report.verdict), ..report }
    });
    let mut answers = std::pin::pin!(answers.buffered(policy.probe().max_concurrent));
    let mut reports = Vec::new();
    // What is not answered by then is not in the result.
    let all = async {
        while let Some(report) = answers.next().await {
            reports.push(report);
        }
    };
    let _ = tokio::time::timeout(LONGEST, all).await;
    reports
}

pub(super) fn check(policy: &Policy, reports: &[Report]) -> Vec<Finding> {
    let named = policy.probed_ahead().count();
    let mut findings: Vec<Finding> = reports.iter().map(|report| finding(policy, report)).collect();
    if named == 0 {
        findings.push(Finding::ok(CHECK, "the policy names none that is checked"));
    }
    if reports.len() < named {
        let late = named - reports.len();
        findings.push(Finding::unknown(CHECK, format!("{late} of {named} were not asked in {} s", LONGEST.as_secs())));
    }
    findings
}

fn finding(policy: &Policy, report: &Report) -> Finding {
    let Report { registry, verdict, .. } = report;
    let probe = format!("mirrorgate probe {registry}");
    match verdict {
        Verdict::Trusted => {
            Finding::ok(CHECK, format!("{registry} answers this machine, and the nodes would trust it"))
        }
        Verdict::Untrusted(untrusted) => {
            let state = match policy.on_untrusted() {
                OnUntrusted::Deny => State::Fault,
                OnUntrusted::Warn => State::Warning,
            };
            let message = format!("{registry}, asked from this machine: the nodes would refuse it: {}", untrusted.why);
            Finding::new(CHECK, state, message).remedy(asking::fix(policy, report).unwrap_or(probe))
        }
        Verdict::Unreachable(unreachable) => {
            let message = format!("{registry} cannot be reached from this machine: {}", unreachable.why);
            Finding::warning(CHECK, message).remedy(probe)
        }
        Verdict::Unknown(unknown) if unknown.class == UnknownClass::PlainHttp => {
            Finding::ok(CHECK, format!("{registry} answers this machine in plain HTTP"))
        }
        Verdict::Unknown(unknown) => {
            Finding::unknown(CHECK, format!("{registry}, asked from this machine: {}", unknown.why)).remedy(probe)
        }
    }
}

/// Has the API server call the webhook, by a pod that is not made; none where nothing is enforced.
pub(super) async fn call(facts: &Facts, reader: &Reader) -> Option<(String, Read<DryRun>)> {
    let mut opted_in = facts.opted_in().into_iter();
    let (namespace, _) = opted_in.find(|(namespace, mode)| *mode == Mode::Enforce && !namespace.terminating)?;
    Some((namespace.name.clone(), reader.dry_run(&namespace.name, IMAGE).await))
}

pub(super) fn called(facts: &Facts, call: &Option<(String, Read<DryRun>)>) -> Finding {
    let Some((namespace, answer)) = call else {
        return Finding::ok(CALL, "not tried: no namespace is enforced");
    };
    match answer {
        Err(why) => Finding::unread(
            CALL,
            &format!("whether the API server reaches mirrorgate, by a dry run of a pod in {namespace}"),
            why,
        ),
        Ok(DryRun::Refused(why)) if why.contains("failed calling webhook \"enforce.mirrorgate.dev\"") => {
            let what = why.split("failed to call webhook: ").last().unwrap_or(why);
            let fault = Finding::fault(
                CALL,
                format!("the API server cannot call mirrorgate, and refuses the pods of {namespace}: {what}"),
            );
            // Without a replica there is no log, and that there is none is said already.
            match replicas::none_is_ready(facts) {
                true => fault,
                false => fault.remedy(format!(
                    "kubectl -n {} logs -l app.kubernetes.io/name=mirrorgate --tail=20",
                    facts.namespace
                )),
            }
        }
        Ok(DryRun::Refused(why)) if why.contains("admission webhook \"enforce.mirrorgate.dev\" denied") => Finding::ok(
            CALL,
            format!("the API server reaches mirrorgate, which answered for a pod in {namespace} that was not made"),
        ),
        Ok(DryRun::Refused(why)) => Finding::unknown(
            CALL,
            format!("a dry run of a pod in {namespace} was refused, which says nothing of mirrorgate: {why}"),
        ),
        // Without an answer the API server had refused it.
        Ok(DryRun::Taken) if webhooks::fails_closed(facts) => Finding::ok(
            CALL,
            format!("the API server reaches mirrorgate, which let pass a pod in {namespace} that was not made"),
        ),
        Ok(DryRun::Taken) => Finding::unknown(
            CALL,
            format!(
                "a dry run of a pod in {namespace} passed, which it would also unseen: no webhook is known that refuses"
            ),
        ),
    }
}

/// Where nobody is to be asked.
pub(super) fn not_asked() -> Vec<Finding> {
    let left_out = |check| Finding::unknown(check, "not asked (--no-probe)");
    vec![left_out(CALL), left_out(CHECK)]
}

/// Where there is no policy to ask by.
pub(super) fn without_policy() -> Finding {
    Finding::unread(CHECK, "which registries the policy names", &Unread::Failed("the policy is not known".to_owned()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
    use serde_json::{from_value, json};

    use super::super::facts::tests::facts;
    use super::*;

    fn of(answer: Read<DryRun>) -> Finding {
        let enforce = json!({
            "name": "enforce.mirrorgate.dev", "failurePolicy": "Fail",
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": {},
        });
        passing(from_value(json!({"webhooks": [enforce]})).map_err(|_| Unread::Absent), answer)
    }

    fn passing(mutating: Read<MutatingWebhookConfiguration>, answer: Read<DryRun>) -> Finding {
        called(&Facts { mutating, ..facts() }, &Some(("team-a".to_owned(), answer)))
    }

    #[test]
    fn what_passes_says_something_only_where_no_answer_is_a_refusal() {
        let ignoring = json!({
            "name": "enforce.mirrorgate.dev", "failurePolicy": "Ignore",
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": {},
        });
        let ignoring = from_value(json!({"webhooks": [ignoring]})).unwrap();
        for mutating in [Ok(ignoring), Err(Unread::Absent), Ok(MutatingWebhookConfiguration::default())] {
            assert_eq!(passing(mutating, Ok(DryRun::Taken)).state, State::Unknown);
        }
    }

    #[test]
    fn a_registry_that_was_not_asked_in_time_is_told_of() {
        let policy = |rest: &str| {
            let text = format!("apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n{rest}");
            Policy::read(&text).unwrap().policy
        };
        let named = policy("registryMirrors: [{name: a, endpoint: https://a.corp, hosts: [docker.io]}]\n");
        let findings = check(&named, &[]);
        assert_eq!((findings.len(), findings[0].state), (1, State::Unknown), "{findings:?}");
        assert!(findings[0].message.starts_with("1 of 1 were not asked"), "{findings:?}");
        let findings = check(&policy(""), &[]);
        assert_eq!((findings.len(), findings[0].state), (1, State::Ok), "{findings:?}");
    }

    #[test]
    fn the_answer_to_a_dry_run_says_whether_mirrorgate_was_reached() {
        let failed = "Internal error occurred: failed calling webhook \"enforce.mirrorgate.dev\": failed to call webhook: Post \
                      \"https://mirrorgate.mirrorgate-system.svc:443/v1/mutate/enforce?timeout=5s\": tls: failed to verify";
        let denied = "admission webhook \"enforce.mirrorgate.dev\" denied the request: mirrorgate: no";
        for (answer, state) in [
            (Ok(DryRun::Taken), State::Ok),
            (Ok(DryRun::Refused(denied.to_owned())), State::Ok),
            (Ok(DryRun::Refused(failed.to_owned())), State::Fault),
            (Ok(DryRun::Refused("pods \"x\" is forbidden: exceeded quota".to_owned())), State::Unknown),
            (Err(Unread::Absent), State::Unknown),
        ] {
            assert_eq!(of(answer).state, state);
        }
        assert!(of(Ok(DryRun::Refused(failed.to_owned()))).message.contains(": Post "));
        assert_eq!(called(&facts(), &None).state, State::Ok);
    }
}
