//! The admission policies that ship: the one that refuses labels with a slip in their value, and the one that keeps `caBundle` from
//! being emptied. Each is a ValidatingAdmissionPolicy and a binding of the same name.

use serde_json::{Value, json};

use crate::yaml::{Limits, parse_documents};

use super::facts::{AdmissionPolicy, Facts, MODE, Unread};
use super::finding::Finding;
use super::webhooks::is_as_shipped;

const POLICY: &str = "ValidatingAdmissionPolicy";
const BINDING: &str = "ValidatingAdmissionPolicyBinding";

/// One that ships.
pub(super) struct Guard {
    check: &'static str,
    /// Of the policy and of its binding.
    pub(super) name: &'static str,
    /// Of the base, in which both are, and what is in it.
    file: &'static str,
    manifest: &'static str,
    /// What may happen without it.
    consequence: &'static str,
}

pub(super) const CA_BUNDLE: Guard = Guard {
    check: "ca-bundle-policy",
    name: "mirrorgate-ca-bundle",
    file: "ca-bundle.yaml",
    manifest: include_str!("../../../manifests/base/ca-bundle.yaml"),
    consequence: "whoever replaces a webhook configuration empties its caBundle, and pods of enforced namespaces are refused until \
                  it is written again",
};

pub(super) const LABEL: Guard = Guard {
    check: "opt-in-policy",
    name: "mirrorgate-opt-in-label",
    file: "opt-in-label.yaml",
    manifest: include_str!("../../../manifests/base/opt-in-label.yaml"),
    consequence: "a label with a slip in its value is taken, and the namespace's pods pass unseen",
};

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    vec![
        CA_BUNDLE.check(facts, &facts.bundle_policy, "refuses what would empty caBundle of the webhooks"),
        LABEL.check(facts, &facts.label_policy, &format!("refuses other values of the label {MODE}")),
    ]
}

impl Guard {
    fn check(&self, facts: &Facts, found: &AdmissionPolicy, does: &str) -> Finding {
        let Self { check, name, file, consequence, .. } = *self;
        let warning = |message: String| Finding::warning(check, message).remedy(facts.restore(file));
        let AdmissionPolicy { policy, binding } = found;
        for (what, unread) in [(POLICY, policy.as_ref().err()), (BINDING, binding.as_ref().err())] {
            match unread {
                None => {}
                Some(Unread::Absent) => return warning(format!("there is no {what} {name}: {consequence}")),
                Some(why) => return Finding::unread(check, &format!("{what} {name}"), why),
            }
        }
        let binding = binding.as_ref().ok().and_then(|binding| binding.spec.as_ref());
        let actions = binding.and_then(|spec| spec.validation_actions.as_deref()).unwrap_or_default();
        if !actions.iter().any(|action| action == "Deny") {
            return warning(format!("the binding {name} does not deny: {consequence}"));
        }
        let policy = policy.as_ref().ok().and_then(|policy| serde_json::to_value(policy.spec.as_ref()?).ok());
        let binding = binding.and_then(|spec| serde_json::to_value(spec).ok());
        for (kind, spec) in [(POLICY, policy), (BINDING, binding)] {
            if !self.is_as_shipped(kind, spec.unwrap_or_default()) {
                return warning(format!(
                    "the {kind} {name} is not as shipped; if it lets pass what it is there for: {consequence}"
                ));
            }
        }
        Finding::ok(check, format!("{name} {does}"))
    }

    fn is_as_shipped(&self, kind: &str, mut found: Value) -> bool {
        let mut shipped = self.shipped(kind);
        with_defaults(&mut found);
        with_defaults(&mut shipped);
        is_as_shipped(&shipped, &found) && is_as_shipped(&found, &shipped)
    }

    /// The spec that ships of this kind.
    fn shipped(&self, kind: &str) -> Value {
        let documents = parse_documents(self.manifest, Limits::POLICY).unwrap_or_default();
        let mut documents = documents.iter().map(|document| document.to_json());
        let document = documents.find(|document| document["kind"] == kind);
        document.map(|mut document| document["spec"].take()).unwrap_or_default()
    }
}

/// What the API server fills in.
fn with_defaults(spec: &mut Value) {
    let Some(constraints) = spec.get_mut("matchConstraints").and_then(Value::as_object_mut) else { return };
    constraints.entry("matchPolicy").or_insert_with(|| json!("Equivalent"));
    constraints.entry("namespaceSelector").or_insert_with(|| json!({}));
    constraints.entry("objectSelector").or_insert_with(|| json!({}));
    for rule in constraints.get_mut("resourceRules").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(rule) = rule.as_object_mut() {
            rule.entry("scope").or_insert_with(|| json!("*"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::from_value;

    use super::super::facts::tests::facts;
    use super::super::finding::State;
    use super::*;

    const GUARDS: [&Guard; 2] = [&CA_BUNDLE, &LABEL];

    /// What ships, after a change of the specs of policy and binding.
    fn changed(guard: &Guard, change: impl FnOnce(&mut Value, &mut Value)) -> Finding {
        let (mut policy, mut binding) = (guard.shipped(POLICY), guard.shipped(BINDING));
        with_defaults(&mut policy);
        change(&mut policy, &mut binding);
        let found = AdmissionPolicy {
            policy: Ok(from_value(json!({ "spec": policy })).unwrap()),
            binding: Ok(from_value(json!({ "spec": binding })).unwrap()),
        };
        guard.check(&facts(), &found, "does")
    }

    #[test]
    fn an_admission_policy_that_lets_some_pass_is_told() {
        for guard in GUARDS {
            let state = |change: &dyn Fn(&mut Value, &mut Value)| changed(guard, change).state;
            assert_eq!(state(&|_, _| {}), State::Ok, "{}", guard.name);
            let some = || json!({"namespaceSelector": {"matchLabels": {"x": "y"}}});
            assert_eq!(state(&|_, binding| binding["matchResources"] = some()), State::Warning);
            assert_eq!(state(&|_, binding| binding["policyName"] = json!("another")), State::Warning);
            assert_eq!(state(&|policy, _| policy["validations"][0]["expression"] = json!("true")), State::Warning);
            let selector = || some()["namespaceSelector"].take();
            assert_eq!(
                state(&|policy, _| policy["matchConstraints"]["namespaceSelector"] = selector()),
                State::Warning
            );
            let never = || json!([{"name": "never", "expression": "false"}]);
            assert_eq!(state(&|policy, _| policy["matchConditions"] = never()), State::Warning);
        }
    }

    #[test]
    fn an_admission_policy_has_to_be_there_and_to_deny() {
        for guard in GUARDS {
            let with = |actions: Value| changed(guard, |_, binding| binding["validationActions"] = actions);
            assert_eq!(with(json!(["Deny"])).state, State::Ok);
            let warns = with(json!(["Warn"]));
            assert_eq!(warns.state, State::Warning);
            let remedy = format!("kubectl apply -f manifests/base/{}", guard.file);
            assert_eq!(warns.remedy.as_deref(), Some(&*remedy));
            let absent = AdmissionPolicy { policy: Err(Unread::Absent), binding: Err(Unread::Absent) };
            let absent = guard.check(&facts(), &absent, "does");
            assert!(absent.state == State::Warning && absent.remedy == warns.remedy, "{absent:?}");
        }
        let unread = check(&facts());
        assert_eq!(
            unread.iter().map(|finding| finding.check).collect::<Vec<_>>(),
            ["ca-bundle-policy", "opt-in-policy"]
        );
        assert!(unread.iter().all(|finding| finding.state == State::Unknown));
    }
}
