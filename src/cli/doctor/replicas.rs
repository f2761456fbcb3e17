//! mirrorgate's Deployment: how many replicas serve, and of which version; and its Service, by which the API server calls.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::image::{Escaped, Reference};

use super::facts::{Facts, Read, Unread};
use super::finding::{Finding, counted};

const DEPLOYMENT: &str = "deployment";
const SERVICE: &str = "service";

/// The most characters of an image.
const MOST_CHARS: usize = 120;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = deployment(facts);
    findings.push(service(facts));
    findings
}

/// The one finding where nothing of mirrorgate is there: it was never installed, or not in this cluster.
pub(super) fn not_installed(facts: &Facts) -> Option<Finding> {
    let Facts { namespace, deployment, mutating, validating, service, serving, policy, .. } = facts;
    let nothing_is_there = is_absent(deployment)
        && is_absent(mutating)
        && is_absent(validating)
        && is_absent(service)
        && is_absent(serving)
        && is_absent(policy);
    nothing_is_there.then(|| {
        let message = format!(
            "mirrorgate is not installed: nothing of it is in the namespace {namespace} (--namespace names another), and no webhook is its"
        );
        Finding::fault(DEPLOYMENT, message).remedy(facts.install_again())
    })
}

fn is_absent<T>(read: &Read<T>) -> bool {
    matches!(read, Err(Unread::Absent))
}

/// Whether it is known that no replica is ready: then what only a replica does is not done.
pub(super) fn none_is_ready(facts: &Facts) -> bool {
    let status = facts.deployment.as_ref().ok().map(|deployment| deployment.status.as_ref());
    status.is_some_and(|status| status.and_then(|status| status.ready_replicas).unwrap_or(0) == 0)
}

fn deployment(facts: &Facts) -> Vec<Finding> {
    let namespace = &facts.namespace;
    let deployment = match &facts.deployment {
        Ok(deployment) => deployment,
        Err(Unread::Absent) => {
            let message = format!("there is no Deployment mirrorgate in {namespace} (--namespace names another)");
            return vec![Finding::fault(DEPLOYMENT, message).remedy(facts.install_again())];
        }
        Err(why) => return vec![Finding::unread(DEPLOYMENT, "mirrorgate's replicas", why)],
    };
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let (ready, updated) = (status.ready_replicas.unwrap_or(0), status.updated_replicas.unwrap_or(0));
    let image = image(deployment).unwrap_or_default();
    let shown = Escaped::cut(image, MOST_CHARS);
    let look = format!(
        "kubectl -n {namespace} get pods -l app.kubernetes.io/name=mirrorgate -o wide; kubectl -n {namespace} describe pods -l app.kubernetes.io/name=mirrorgate"
    );
    let scale = |to| format!("kubectl -n {namespace} scale deployment mirrorgate --replicas={to}");
    let of = format!("{ready} of {} ready, {shown}", counted(usize::try_from(wanted).unwrap_or(0), "replica"));
    let mut findings = vec![match (wanted, ready) {
        (0, _) => Finding::fault(DEPLOYMENT, "it is scaled to no replica: pods of enforced namespaces are refused")
            .remedy(scale(2)),
        (_, 0) => Finding::fault(DEPLOYMENT, format!("{of}: pods of enforced namespaces are refused")).remedy(look),
        _ if ready < wanted => Finding::warning(DEPLOYMENT, of).remedy(look),
        (1, _) => Finding::warning(
            DEPLOYMENT,
            format!("{of}: while its node is drained, pods of enforced namespaces are refused"),
        )
        .remedy(scale(2)),
        _ if updated < wanted => {
            let rollout = format!("kubectl -n {namespace} rollout status deployment mirrorgate");
            Finding::warning(DEPLOYMENT, format!("{of}; only {updated} are of the newest template")).remedy(rollout)
        }
        _ => Finding::ok(DEPLOYMENT, of),
    }];
    let own = env!("CARGO_PKG_VERSION");
    if let Some(tag) = Reference::parse(image).ok().and_then(|image| image.tag().map(str::to_owned))
        && is_version(&tag)
        && tag.trim_start_matches('v') != own
    {
        let message =
            format!("the replicas are of version {}, and this command is of {own}", Escaped::cut(&tag, MOST_CHARS));
        findings.push(Finding::warning(DEPLOYMENT, format!("{message}: what follows may not fit them")));
    }
    findings
}

fn image(deployment: &Deployment) -> Option<&str> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.iter().find(|container| container.name == "mirrorgate")?.image.as_deref()
}

/// Three numbers; a commit or `latest` says nothing of a version.
fn is_version(tag: &str) -> bool {
    let numbers: Vec<&str> = tag.trim_start_matches('v').split('.').collect();
    numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok())
}

fn service(facts: &Facts) -> Finding {
    let namespace = &facts.namespace;
    let ports = match &facts.service {
        Ok(service) => service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default(),
        Err(Unread::Absent) => {
            let message = format!("there is no Service mirrorgate in {namespace}, by which the API server calls");
            return Finding::fault(SERVICE, message).remedy(facts.restore("service.yaml"));
        }
        Err(why) => return Finding::unread(SERVICE, "the Service by which the API server calls", why),
    };
    if ports.iter().all(|port| port.port != 443) {
        let message = "the Service mirrorgate has no port 443, which the webhooks name";
        return Finding::fault(SERVICE, message).remedy(facts.restore("service.yaml"));
    }
    match &facts.endpoints {
        Err(why) => Finding::unread(SERVICE, "the endpoints of the Service mirrorgate", why),
        Ok(slices) => match slices.iter().map(ready).sum() {
            0 => Finding::fault(
                SERVICE,
                "no ready pod stands behind the Service mirrorgate: pods of enforced namespaces are refused",
            )
            .remedy(format!("kubectl -n {namespace} get endpointslices,pods -l app.kubernetes.io/name=mirrorgate")),
            ready => Finding::ok(SERVICE, format!("mirrorgate.{namespace}.svc:443 has {}", counted(ready, "endpoint"))),
        },
    }
}

/// The endpoints that are dialled.
fn ready(slice: &EndpointSlice) -> usize {
    let is_ready = |conditions: Option<bool>| conditions.unwrap_or(true);
    let endpoints = slice.endpoints.iter();
    endpoints
        .filter(|endpoint| is_ready(endpoint.conditions.as_ref().and_then(|conditions| conditions.ready)))
        .map(|endpoint| endpoint.addresses.len().min(1))
        .sum()
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::super::facts::tests::facts;
    use super::super::finding::State;
    use super::*;

    fn of(wanted: i32, ready: i32, updated: i32, image: &str) -> Vec<Finding> {
        let deployment = from_value(json!({
            "spec": {
                "replicas": wanted, "selector": {},
                "template": {"spec": {"containers": [{"name": "mirrorgate", "image": image}]}},
            },
            "status": {"readyReplicas": ready, "updatedReplicas": updated},
        }));
        deployment_of(deployment.unwrap())
    }

    fn deployment_of(found: Deployment) -> Vec<Finding> {
        deployment(&Facts { deployment: Ok(found), ..facts() })
    }

    #[test]
    fn replicas_are_as_many_as_are_wanted_and_two() {
        let own = concat!("registry.corp/mirrorgate:", env!("CARGO_PKG_VERSION"));
        for (wanted, ready, updated, state) in [
            (2, 2, 2, State::Ok),
            (2, 1, 2, State::Warning),
            (2, 2, 1, State::Warning),
            (1, 1, 1, State::Warning),
            (2, 0, 2, State::Fault),
            (0, 0, 0, State::Fault),
        ] {
            let findings = of(wanted, ready, updated, own);
            assert_eq!((findings.len(), findings[0].state), (1, state), "{wanted} {ready} {updated}: {findings:?}");
            assert_eq!(findings[0].remedy.is_none(), state == State::Ok, "{findings:?}");
        }
    }

    #[test]
    fn another_version_is_told_and_a_tag_that_is_none_is_not() {
        for (image, told) in
            [("mirrorgate:9.9.9", true), ("mirrorgate:v9.9.9", true), ("mirrorgate:main", false), ("mirrorgate", false)]
        {
            assert_eq!(of(2, 2, 2, image).len(), if told { 2 } else { 1 }, "{image}");
        }
    }

    #[test]
    fn what_was_never_installed_is_one_finding() {
        fn gone<T>() -> Read<T> {
            Err(Unread::Absent)
        }
        let nothing = || Facts {
            deployment: gone(),
            mutating: gone(),
            validating: gone(),
            service: gone(),
            serving: gone(),
            policy: gone(),
            ..facts()
        };
        let finding = not_installed(&nothing()).unwrap();
        assert!(finding.state == State::Fault && finding.message.contains("is not installed"), "{finding:?}");
        assert_eq!(finding.remedy.as_deref(), Some("kubectl apply -k manifests/base  # or the overlay of yours"));
        // What may not be read may be there.
        assert_eq!(not_installed(&Facts { policy: facts().policy, ..nothing() }), None);
        assert_eq!(not_installed(&Facts { mutating: Ok(Default::default()), ..nothing() }), None);
    }

    #[test]
    fn a_service_without_a_ready_endpoint_is_a_fault() {
        let of = |port: i32, conditions: serde_json::Value| {
            let found = from_value(json!({"spec": {"ports": [{"port": port}]}})).unwrap();
            let slice =
                json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], "conditions": conditions}]});
            service(&Facts { service: Ok(found), endpoints: Ok(vec![from_value(slice).unwrap()]), ..facts() }).state
        };
        assert_eq!(of(443, json!({"ready": true})), State::Ok);
        assert_eq!(of(443, json!({})), State::Ok);
        assert_eq!(of(443, json!({"ready": false})), State::Fault);
        assert_eq!(of(8443, json!({"ready": true})), State::Fault);
    }
}
