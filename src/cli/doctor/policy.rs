//! The policy: the ConfigMap, compiled as the replicas compile it, and the CA bundles that it names.

use crate::cluster::{POLICY_CONFIG_MAP, POLICY_KEY};
use crate::image::Escaped;
use crate::policy::{BundleRef, Compiled, KeyRef, Policy, Severity, dangers};
use crate::trust::Pool;

use super::facts::{Facts, Read, Unread};
use super::finding::{Finding, counted};

const CHECK: &str = "policy";
const CA_BUNDLES: &str = "policy-ca-bundles";

/// The most characters of what is said of a bundle.
const MOST_CHARS: usize = 300;

/// The policy of the ConfigMap, where it is valid, and what is said of it.
pub(super) fn check(facts: &Facts) -> (Option<Policy>, Vec<Finding>) {
    let namespace = &facts.namespace;
    let object = format!("ConfigMap {namespace}/{POLICY_CONFIG_MAP}");
    let edit = format!("kubectl -n {namespace} edit configmap {POLICY_CONFIG_MAP}");
    let text = match &facts.policy {
        Ok(config_map) => config_map.data.as_ref().and_then(|data| data.get(POLICY_KEY)),
        Err(Unread::Absent) => {
            let message = format!("there is no {object}: replicas run on the last one, and a new one never gets ready");
            return (None, vec![Finding::fault(CHECK, message).remedy(facts.restore_policy())]);
        }
        Err(why) => return (None, vec![Finding::unread(CHECK, &object, why)]),
    };
    let Some(text) = text else {
        let message = format!(
            "{object} has no key {POLICY_KEY}: replicas run on the last policy, and a new one never gets ready"
        );
        return (None, vec![Finding::fault(CHECK, message).remedy(edit)]);
    };
    let said = |fault: &crate::policy::Fault| match fault.severity {
        Severity::Error => Finding::fault(CHECK, fault.to_string()).remedy(edit.as_str()),
        Severity::Warning => {
            // The words say already that it is a warning.
            let words = fault.to_string().replacen("warning: ", "", 1);
            Finding::warning(CHECK, words).remedy(edit.as_str())
        }
    };
    match Policy::read(text) {
        Err(faults) => {
            let refused =
                format!("{object} is refused: replicas run on the last good one, and a new one never gets ready");
            let mut findings = vec![Finding::fault(CHECK, refused).remedy(edit.as_str())];
            // What mends them all stands above.
            findings.extend(faults.0.iter().map(|fault| Finding { remedy: None, ..said(fault) }));
            (None, findings)
        }
        Ok(Compiled { policy, warnings }) => {
            let mirrors = counted(policy.mirrors().count(), "mirror");
            let message = format!(
                "{object} is valid, {mirrors}; whether each replica runs it, its /metrics tell (mirrorgate_policy_info)"
            );
            let mut findings = vec![Finding::ok(CHECK, message)];
            findings.extend(warnings.iter().map(said));
            findings.extend(dangers(None, &policy).into_iter().map(|danger| Finding::warning(CHECK, danger)));
            (Some(policy), findings)
        }
    }
}

/// What was found of each CA bundle that the policy names.
pub(super) fn ca_bundles(found: &[(BundleRef, Read<Result<Pool, String>>)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut good = 0;
    for (bundle, found) in found {
        match found {
            Ok(Ok(_)) => good += 1,
            Ok(Err(why)) => {
                let message = format!("{bundle}: {}", Escaped::cut(why, MOST_CHARS));
                findings.push(match filling(bundle, true) {
                    Some(remedy) => Finding::warning(CA_BUNDLES, message).remedy(remedy),
                    None => Finding::unknown(CA_BUNDLES, message),
                });
            }
            Err(Unread::Absent) => findings.push(Finding {
                remedy: filling(bundle, false),
                ..Finding::warning(CA_BUNDLES, format!("{bundle}: it is not there"))
            }),
            Err(why) => findings.push(Finding::unread(CA_BUNDLES, &bundle.to_string(), why)),
        }
    }
    if good > 0 {
        findings.insert(0, Finding::ok(CA_BUNDLES, format!("{} with usable certificates", counted(good, "CA bundle"))));
    }
    findings
}

/// What puts certificates there; a file is not seen from here.
fn filling(bundle: &BundleRef, is_there: bool) -> Option<String> {
    let create = |kind: &str, KeyRef { namespace, name, key }: &KeyRef| {
        let create = format!("kubectl -n {namespace} create {kind} {name} --from-file={key}=ca.crt");
        if !is_there {
            return create;
        }
        // Its other keys and its type stay.
        let resource = kind.split(' ').next().unwrap_or(kind);
        format!(
            "{create} --dry-run=client -o json | kubectl -n {namespace} patch {resource} {name} --type merge --patch-file /dev/stdin"
        )
    };
    match bundle {
        BundleRef::ConfigMap(key) => Some(create("configmap", key)),
        BundleRef::Secret(key) => Some(create("secret generic", key)),
        BundleRef::File(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::{from_value, json};

    use super::super::facts::tests::facts;
    use super::super::finding::State;
    use super::*;

    fn of(data: serde_json::Value) -> (Option<Policy>, Vec<Finding>) {
        let config_map: ConfigMap = from_value(json!({ "data": data })).unwrap();
        check(&Facts { policy: Ok(config_map), ..facts() })
    }

    #[test]
    fn every_fault_is_told_with_its_line() {
        let broken = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\nregistryMirors: []\nprobes: {}\n";
        let (policy, findings) = of(json!({POLICY_KEY: broken}));
        assert!(policy.is_none());
        let told: Vec<_> = findings.iter().map(|finding| (finding.state, finding.message.as_str())).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told.iter().all(|(state, _)| *state == State::Fault));
        assert!(told[1].1.starts_with("line 3: ") && told[1].1.contains("did you mean"), "{told:?}");
        assert!(told[2].1.starts_with("line 4: "), "{told:?}");
    }

    #[test]
    fn of_a_valid_policy_warnings_and_dangers_are_told() {
        for (trust, told) in [("registries: ['*']", (1, 0)), ("registries: ['*'], denyNetworks: [10.0.0.0/8]", (0, 1))]
        {
            let text = format!("apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\ntrust: {{{trust}}}\n");
            let (policy, findings) = of(json!({POLICY_KEY: text}));
            assert!(policy.is_some() && findings[0].state == State::Ok, "{findings:?}");
            assert!(findings[1..].iter().all(|finding| finding.state == State::Warning), "{findings:?}");
            let (warnings, dangers): (Vec<_>, Vec<_>) =
                findings[1..].iter().partition(|finding| finding.remedy.is_some());
            assert_eq!((warnings.len(), dangers.len()), told, "{findings:?}");
        }
    }

    #[test]
    fn a_bundle_is_filled_beside_what_is_there() {
        let key = || KeyRef { namespace: "pki".into(), name: "corp".into(), key: "ca.crt".into() };
        let (config_map, secret) = (BundleRef::ConfigMap(key()), BundleRef::Secret(key()));
        assert_eq!(
            filling(&config_map, false).as_deref(),
            Some("kubectl -n pki create configmap corp --from-file=ca.crt=ca.crt")
        );
        assert_eq!(
            filling(&secret, true).as_deref(),
            Some(
                "kubectl -n pki create secret generic corp --from-file=ca.crt=ca.crt --dry-run=client -o json | kubectl -n pki patch secret corp --type merge --patch-file /dev/stdin"
            )
        );
    }

    #[test]
    fn a_valid_policy_is_ok_and_one_that_is_not_there_is_a_fault() {
        let (policy, findings) = of(json!({POLICY_KEY: include_str!("../../../manifests/base/policy.yaml")}));
        assert!(policy.is_some() && findings[0].state == State::Ok, "{findings:?}");
        assert_eq!(of(json!({"policy.yml": ""})).1[0].state, State::Fault);
        let absent = check(&Facts { policy: Err(Unread::Absent), ..facts() });
        assert_eq!(absent.1[0].state, State::Fault);
        assert_eq!(check(&facts()).1[0].state, State::Unknown);
    }
}
