//! The webhook configurations: that they are there, and call for what they are shipped to call for.

use serde::Serialize;
use serde_json::{Value, json};

use crate::yaml::{Limits, parse_documents};

use super::facts::{Facts, Read, SHIPPED_NAMESPACE, Unread, is_name};
use super::finding::Finding;

const CHECK: &str = "webhooks";

/// What ships, from the manifests themselves.
const MANIFESTS: [&str; 2] =
    [include_str!("../../../manifests/base/webhook.yaml"), include_str!("../../../manifests/base/policy-guard.yaml")];

/// The two kinds of configuration; each is called `mirrorgate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Mutating,
    Validating,
}

/// One webhook of a configuration, as it is in the cluster.
#[derive(Clone, Debug)]
pub(super) struct Webhook {
    pub(super) kind: Kind,
    pub(super) name: String,
    content: Value,
    /// PEM; nothing where there is none.
    pub(super) ca_bundle: Vec<u8>,
}

impl Kind {
    pub(super) fn resource(self) -> &'static str {
        match self {
            Self::Mutating => "mutatingwebhookconfiguration",
            Self::Validating => "validatingwebhookconfiguration",
        }
    }

    /// Of the base, in which it ships.
    fn file(self) -> &'static str {
        match self {
            Self::Mutating => "webhook.yaml",
            Self::Validating => "policy-guard.yaml",
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Mutating => "MutatingWebhookConfiguration",
            Self::Validating => "ValidatingWebhookConfiguration",
        }
    }
}

/// Those that ship.
fn shipped(kind: Kind) -> Vec<Value> {
    let documents = MANIFESTS.iter().filter_map(|manifest| parse_documents(manifest, Limits::POLICY).ok()).flatten();
    let of_kind = documents.map(|document| document.to_json()).filter(|document| document["kind"] == kind.as_str());
    of_kind.flat_map(|document| document["webhooks"].as_array().cloned().unwrap_or_default()).collect()
}

/// Those of a configuration in the cluster.
fn read<W: Serialize>(kind: Kind, webhooks: Option<&[W]>, ca_bundle: impl Fn(&W) -> Option<Vec<u8>>) -> Vec<Webhook> {
    let webhook = |webhook: &W| {
        let content = serde_json::to_value(webhook).unwrap_or_default();
        let name = content["name"].as_str().unwrap_or_default().to_owned();
        Webhook { kind, name, content, ca_bundle: ca_bundle(webhook).unwrap_or_default() }
    };
    webhooks.unwrap_or_default().iter().map(webhook).collect()
}

pub(super) fn mutating(facts: &Facts) -> Read<Vec<Webhook>> {
    let configuration = facts.mutating.as_ref().map_err(Clone::clone)?;
    Ok(read(Kind::Mutating, configuration.webhooks.as_deref(), |webhook| {
        webhook.client_config.ca_bundle.as_ref().map(|bundle| bundle.0.clone())
    }))
}

pub(super) fn validating(facts: &Facts) -> Read<Vec<Webhook>> {
    let configuration = facts.validating.as_ref().map_err(Clone::clone)?;
    Ok(read(Kind::Validating, configuration.webhooks.as_deref(), |webhook| {
        webhook.client_config.ca_bundle.as_ref().map(|bundle| bundle.0.clone())
    }))
}

/// Whether a pod of an enforced namespace is known to be refused while mirrorgate does not answer.
pub(super) fn fails_closed(facts: &Facts) -> bool {
    let is_closed =
        |webhook: &Webhook| webhook.name == "enforce.mirrorgate.dev" && webhook.content["failurePolicy"] == "Fail";
    mutating(facts).is_ok_and(|found| found.iter().any(is_closed))
}

/// Where the webhooks call another namespace than was asked for: what else is found there is about nothing, and each remedy
/// would turn them away from the mirrorgate that runs.
pub(super) fn elsewhere(facts: &Facts) -> Option<Finding> {
    let called = [mutating(facts), validating(facts)]
        .into_iter()
        .flatten()
        .flatten()
        .find_map(|webhook| Some(webhook.content["clientConfig"]["service"]["namespace"].as_str()?.to_owned()));
    let called = called.filter(|called| *called != facts.namespace && is_name(called))?;
    let message =
        format!("the webhooks call mirrorgate in {called}, not in {}: nothing else was looked at", facts.namespace);
    Some(Finding::fault(CHECK, message).remedy(format!("mirrorgate doctor --namespace {called}")))
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = of_kind(facts, Kind::Mutating, mutating(facts));
    findings.extend(of_kind(facts, Kind::Validating, validating(facts)));
    findings
}

fn of_kind(facts: &Facts, kind: Kind, found: Read<Vec<Webhook>>) -> Vec<Finding> {
    let configuration = format!("{}/mirrorgate", kind.as_str());
    let found = match found {
        Ok(found) => found,
        Err(Unread::Absent) => {
            return vec![
                match kind {
                    Kind::Mutating => Finding::fault(
                        CHECK,
                        format!("there is no {configuration}: pods of all namespaces pass unseen"),
                    ),
                    Kind::Validating => Finding::warning(
                        CHECK,
                        format!("there is no {configuration}: a broken policy is not refused when it is applied"),
                    ),
                }
                .remedy(facts.restore(kind.file())),
            ];
        }
        Err(why) => return vec![Finding::unread(CHECK, &configuration, &why)],
    };
    let mut findings = Vec::new();
    let mut fine = Vec::new();
    for wanted in shipped(kind) {
        let name = wanted["name"].as_str().unwrap_or_default().to_owned();
        match found.iter().find(|webhook| webhook.name == name) {
            None => findings.push(
                Finding::fault(CHECK, format!("{configuration} has no webhook {name}"))
                    .remedy(facts.restore(kind.file())),
            ),
            Some(webhook) => {
                let faults = differences(facts, &with_namespace(wanted, &facts.namespace), webhook);
                if faults.is_empty() {
                    fine.push(name);
                }
                findings.extend(faults);
            }
        }
    }
    if !fine.is_empty() {
        findings.insert(0, Finding::ok(CHECK, format!("{}, as shipped", fine.join(", "))));
    }
    findings
}

/// What ships is for a namespace of that name.
fn with_namespace(mut wanted: Value, namespace: &str) -> Value {
    if namespace != SHIPPED_NAMESPACE {
        replace(&mut wanted, namespace);
    }
    wanted
}

fn replace(value: &mut Value, namespace: &str) {
    match value {
        Value::String(text) if text == SHIPPED_NAMESPACE => namespace.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, namespace)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, namespace)),
        _ => {}
    }
}

fn differences(facts: &Facts, wanted: &Value, webhook: &Webhook) -> Vec<Finding> {
    let Webhook { kind, name, content, .. } = webhook;
    let mut findings = Vec::new();
    if content["failurePolicy"] != wanted["failurePolicy"] {
        let is = content["failurePolicy"].as_str().unwrap_or_default();
        let shipped = wanted["failurePolicy"].as_str().unwrap_or_default();
        let means = match is {
            "Ignore" => "while no replica answers, pods pass unseen",
            _ => "while no replica answers, what it is called for is refused",
        };
        let patch = json!({"webhooks": [{"name": name, "failurePolicy": shipped}]});
        findings.push(
            Finding::warning(CHECK, format!("{name} has failurePolicy {is}, and ships with {shipped}: {means}"))
                .remedy(format!("kubectl patch {} mirrorgate -p '{patch}'", kind.resource())),
        );
    }
    let empty = json!({});
    let selects_as_shipped = is_as_shipped(&wanted["namespaceSelector"], &content["namespaceSelector"])
        && is_as_shipped(&content["namespaceSelector"], &wanted["namespaceSelector"]);
    let selects_all_pods = content["objectSelector"].is_null() || content["objectSelector"] == empty;
    let is_equal = |field: &str| is_as_shipped(&wanted[field], &content[field]);
    if !selects_as_shipped && wanted["namespaceSelector"].is_object() {
        let message = format!(
            "{name} has another namespaceSelector than ships: namespaces that opted in may be left out, or kube-system and \
             mirrorgate's own not"
        );
        findings.push(Finding::fault(CHECK, message).remedy(facts.restore(kind.file())));
    }
    if !selects_all_pods && wanted["objectSelector"].is_null() {
        let clear = json!({"webhooks": [{"name": name, "objectSelector": null}]});
        let message =
            format!("{name} has an objectSelector: whoever makes a pod chooses by its labels whether it is seen");
        let command = format!("kubectl patch {} mirrorgate -p '{clear}'", kind.resource());
        findings.push(Finding::fault(CHECK, message).remedy(command));
    }
    let others: Vec<&str> = wanted
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.keys().map(String::as_str))
        .filter(|field| !["failurePolicy", "namespaceSelector"].contains(field) && !is_equal(field))
        .collect();
    if !others.is_empty() {
        let message = format!("{name} differs from what ships: {}", others.join(", "));
        findings.push(Finding::warning(CHECK, message).remedy(facts.restore(kind.file())));
    }
    findings
}

/// Whether all that ships is so in the cluster. What ships says nothing of is the API server's default, or whoever's; lists
/// of names have no order.
pub(super) fn is_as_shipped(shipped: &Value, found: &Value) -> bool {
    match (shipped, found) {
        (Value::Object(shipped), found) => shipped.iter().all(|(key, value)| is_as_shipped(value, &found[key])),
        (Value::Array(shipped), Value::Array(found)) if shipped.iter().all(Value::is_string) => {
            shipped.len() == found.len() && shipped.iter().all(|item| found.contains(item))
        }
        (Value::Array(shipped), Value::Array(found)) => {
            shipped.len() == found.len() && shipped.iter().zip(found).all(|(item, found)| is_as_shipped(item, found))
        }
        (shipped, found) => shipped == found,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
    use serde_json::from_value;

    use super::super::facts::tests::facts;
    use super::super::finding::State;
    use super::*;

    /// What ships, as the API server has it, after a change.
    fn with(change: impl FnOnce(&mut Vec<Value>)) -> Vec<Finding> {
        let mut webhooks = shipped(Kind::Mutating);
        for webhook in &mut webhooks {
            webhook["objectSelector"] = json!({});
        }
        change(&mut webhooks);
        let configuration: MutatingWebhookConfiguration = from_value(json!({"webhooks": webhooks})).unwrap();
        of_kind(&facts(), Kind::Mutating, mutating(&Facts { mutating: Ok(configuration), ..facts() }))
    }

    fn states(findings: &[Finding]) -> Vec<State> {
        findings.iter().map(|finding| finding.state).collect()
    }

    #[test]
    fn what_ships_is_fine() {
        let findings = with(|_| {});
        assert_eq!(states(&findings), [State::Ok], "{findings:?}");
        assert!(findings[0].message.contains("enforce.mirrorgate.dev, audit.mirrorgate.dev"));
    }

    #[test]
    fn the_namespace_is_the_one_that_was_asked_for() {
        let webhooks = shipped(Kind::Mutating).into_iter().map(|webhook| with_namespace(webhook, "elsewhere"));
        let configuration: MutatingWebhookConfiguration =
            from_value(json!({"webhooks": webhooks.collect::<Vec<_>>()})).unwrap();
        let there = Facts { namespace: "elsewhere".to_owned(), mutating: Ok(configuration), ..facts() };
        assert_eq!(states(&check(&there))[0], State::Ok);
        assert_eq!(elsewhere(&there), None);
        let here = Facts { namespace: SHIPPED_NAMESPACE.to_owned(), ..there };
        let told = elsewhere(&here).unwrap();
        assert_eq!(told.state, State::Fault);
        assert_eq!(told.remedy.as_deref(), Some("mirrorgate doctor --namespace elsewhere"));
        assert_eq!(elsewhere(&facts()), None);
    }

    #[test]
    fn trap_14_every_change_of_the_selectors_is_a_fault() {
        for change in [
            |webhook: &mut Value| webhook["namespaceSelector"] = json!({}),
            |webhook: &mut Value| webhook["namespaceSelector"]["matchExpressions"] = json!([]),
            |webhook: &mut Value| {
                webhook["namespaceSelector"]["matchExpressions"][0]["values"] = json!(["kube-system"])
            },
            |webhook: &mut Value| webhook["namespaceSelector"]["matchLabels"]["team"] = json!("a"),
            |webhook: &mut Value| webhook["objectSelector"] = json!({"matchLabels": {"a": "b"}}),
        ] {
            let findings = with(|webhooks| change(&mut webhooks[0]));
            assert_eq!(states(&findings), [State::Ok, State::Fault], "{findings:?}");
            assert!(findings[1].message.starts_with("enforce.mirrorgate.dev") && findings[1].remedy.is_some());
        }
    }

    #[test]
    fn names_in_a_selector_have_no_order() {
        let findings = with(|webhooks| {
            let values = &mut webhooks[0]["namespaceSelector"]["matchExpressions"][0]["values"];
            values.as_array_mut().unwrap().reverse();
        });
        assert_eq!(states(&findings), [State::Ok], "{findings:?}");
    }

    #[test]
    fn a_failure_policy_is_put_back_by_a_command() {
        let findings = with(|webhooks| webhooks[0]["failurePolicy"] = json!("Ignore"));
        assert_eq!(states(&findings), [State::Ok, State::Warning], "{findings:?}");
        assert_eq!(
            findings[1].remedy.as_deref(),
            Some(
                r#"kubectl patch mutatingwebhookconfiguration mirrorgate -p '{"webhooks":[{"failurePolicy":"Fail","name":"enforce.mirrorgate.dev"}]}'"#
            )
        );
    }

    #[test]
    fn what_is_called_for_is_compared_field_by_field() {
        let findings = with(|webhooks| {
            webhooks[1]["rules"].as_array_mut().unwrap().pop();
            webhooks[1]["timeoutSeconds"] = json!(30);
        });
        assert_eq!(states(&findings), [State::Ok, State::Warning], "{findings:?}");
        assert!(findings[1].message.ends_with("rules, timeoutSeconds"), "{findings:?}");
        let findings = with(|webhooks| drop(webhooks.pop()));
        assert_eq!(states(&findings), [State::Ok, State::Fault], "{findings:?}");
    }

    #[test]
    fn without_a_configuration_all_pods_pass_unseen() {
        let findings = check(&Facts { mutating: Err(Unread::Absent), ..facts() });
        assert_eq!(findings[0].state, State::Fault);
        assert!(findings[0].remedy.as_deref().is_some_and(|remedy| remedy.ends_with("manifests/base/webhook.yaml")));
    }
}
