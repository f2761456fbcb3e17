//! What mirrorgate's service account may do, by the API server's own word: all that it needs, and no more (S5).

use k8s_openapi::api::rbac::v1::ClusterRole;
use serde_json::Value;

use crate::cluster::SERVING_SECRET;
use crate::policy::Policy;
use crate::yaml::{Limits, parse_documents};

use super::super::rbac::{self, SERVICE_ACCOUNT, VERBS};
use super::certificate::Maker;
use super::facts::{Access, Facts, Read, Unread};
use super::finding::{Finding, counted, some_of};

const CHECK: &str = "access";

/// What ships, from the manifest itself.
const MANIFEST: &str = include_str!("../../../manifests/base/rbac.yaml");

/// A policy that names more than this many things is not asked about to the end.
const MOST_ASKS: usize = 400;

/// What mirrorgate needs.
pub(super) struct Needed {
    /// Whatever the policy.
    pub(super) by_itself: Vec<Access>,
    pub(super) by_the_policy: Vec<Access>,
}

impl Needed {
    pub(super) fn of(facts: &Facts, policy: Option<&Policy>) -> Self {
        let maker = Maker::of(facts);
        let by_itself = shipped(&facts.namespace).into_iter().filter(|access| is_needed(maker, access)).collect();
        let mut by_the_policy = Vec::new();
        for role in policy.iter().flat_map(|policy| rbac::roles(policy, &facts.namespace)) {
            for rule in &role.rules {
                let names: Vec<Option<&str>> = match rule.names.as_slice() {
                    [] => vec![None],
                    names => names.iter().copied().map(Some).collect(),
                };
                for (name, verb) in names.into_iter().flat_map(|name| VERBS.map(|verb| (name, verb))) {
                    let mut access = Access::to(verb, "", rule.resource);
                    access.name = name.map(str::to_owned);
                    access.namespace = role.within.map(str::to_owned);
                    by_the_policy.push(access);
                }
            }
        }
        by_the_policy.truncate(MOST_ASKS);
        Self { by_itself, by_the_policy }
    }

    /// What it must not be able to do.
    pub(super) fn surplus(&self, facts: &Facts) -> Vec<Access> {
        let all_secrets = VERBS.map(|verb| Access::to(verb, "", "secrets"));
        let own = |access: Access| access.within(&facts.namespace);
        let others = [
            Access::to("get", "", "secrets"),
            Access::to("create", "", "pods"),
            own(Access::to("update", "", "configmaps")),
            Access::to("*", "*", "*"),
        ];
        let all = all_secrets.into_iter().chain(others);
        all.filter(|access| !self.by_the_policy.contains(access) && !self.by_itself.contains(access)).collect()
    }
}

/// What the manifest gives, in this namespace.
fn shipped(namespace: &str) -> Vec<Access> {
    let documents = parse_documents(MANIFEST, Limits::POLICY).unwrap_or_default();
    let mut all = Vec::new();
    for role in documents.iter().map(|document| document.to_json()) {
        let within = match role["kind"].as_str() {
            Some("Role") => Some(namespace.to_owned()),
            Some("ClusterRole") => None,
            _ => continue,
        };
        for rule in role["rules"].as_array().into_iter().flatten() {
            for (group, resource, verb) in triples(rule) {
                let names = texts(&rule["resourceNames"]);
                let names: Vec<Option<String>> = match names.is_empty() {
                    true => vec![None],
                    false => names.into_iter().map(|name| Some(name.to_owned())).collect(),
                };
                for name in names {
                    all.push(Access { name, namespace: within.clone(), ..Access::to(verb, group, resource) });
                }
            }
        }
    }
    all
}

fn triples(rule: &Value) -> impl Iterator<Item = (&str, &str, &str)> {
    let [groups, resources, verbs] = ["apiGroups", "resources", "verbs"].map(|list| texts(&rule[list]));
    groups.into_iter().flat_map(move |group| {
        let verbs = verbs.clone();
        resources
            .clone()
            .into_iter()
            .flat_map(move |resource| verbs.clone().into_iter().map(move |verb| (group, resource, verb)))
    })
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What ships is for a certificate of mirrorgate's own making; who takes that over may take the access away.
fn is_needed(maker: Maker, Access { verb, resource, name, .. }: &Access) -> bool {
    let is_pair = resource == "secrets" && name.as_deref().is_none_or(|name| name == SERVING_SECRET);
    let is_write = ["create", "update", "patch"].contains(&verb.as_str());
    let is_webhooks = resource.ends_with("webhookconfigurations");
    let is_for_making = is_pair && is_write || resource == "endpointslices";
    match maker {
        Maker::SelfManaged => true,
        Maker::Own => !is_for_making,
        Maker::CertManager => !(is_for_making || is_webhooks),
        Maker::Files => !(is_for_making || is_pair || is_webhooks),
    }
}

/// What was found of roles that the policy may not need any more.
pub(super) struct Left {
    /// The role for all secrets.
    pub(super) all: Read<ClusterRole>,
    /// The one for those that the policy names.
    pub(super) named: Read<ClusterRole>,
    /// The namespaces with a role for CA bundles.
    pub(super) bundles: Read<Vec<String>>,
}

pub(super) fn check(facts: &Facts, policy: Option<&Policy>, answers: &Answers, left: &Left) -> Vec<Finding> {
    let namespace = &facts.namespace;
    let account = format!("system:serviceaccount:{namespace}:{SERVICE_ACCOUNT}");
    let mut findings = Vec::new();
    let mut asked = 0;
    for (answers, remedy) in
        [(&answers.by_itself, facts.restore("rbac.yaml")), (&answers.by_the_policy, from_the_policy(namespace))]
    {
        let mut lacking = Vec::new();
        for (access, answer) in answers {
            match answer {
                Ok(true) => {}
                Ok(false) => lacking.push(access.to_string()),
                Err(why) => {
                    // The same reason for all that follow.
                    findings.push(Finding::unread(CHECK, "what mirrorgate's service account may do", why));
                    return findings;
                }
            }
            asked += 1;
        }
        if !lacking.is_empty() {
            let message = format!("{account} may not {}", some_of(&lacking));
            findings.push(Finding::fault(CHECK, message).remedy(remedy));
        }
    }
    if findings.is_empty() {
        let what = if policy.is_some() { "all that it needs" } else { "all that it needs but for the policy" };
        findings
            .push(Finding::ok(CHECK, format!("{account} may do {what} ({} asked)", counted(asked, "access review"))));
    }
    findings.extend(surplus(namespace, policy, &answers.surplus, left));
    findings
}

/// The API server's answers about each.
pub(super) struct Answers {
    pub(super) by_itself: Vec<(Access, Read<bool>)>,
    pub(super) by_the_policy: Vec<(Access, Read<bool>)>,
    pub(super) surplus: Vec<(Access, Read<bool>)>,
}

fn surplus(namespace: &str, policy: Option<&Policy>, answers: &[(Access, Read<bool>)], left: &Left) -> Vec<Finding> {
    let mut findings = Vec::new();
    let granted = answers.iter().filter(|(_, answer)| *answer == Ok(true)).map(|(access, _)| access.to_string());
    let granted: Vec<String> = granted.collect();
    let Some(policy) = policy else { return findings };
    let has_all = granted.iter().any(|access| is_of_all_secrets(access)) && left.all.is_ok();
    if has_all {
        let message = "the policy discovers no pull secrets, and mirrorgate may still read all Secrets of the cluster";
        let delete = format!("kubectl delete clusterrolebinding,clusterrole {} --ignore-not-found", rbac::ALL);
        findings.push(Finding::warning(CHECK, message).remedy(delete));
    }
    let others: Vec<&String> = granted.iter().filter(|access| !has_all || !is_of_all_secrets(access)).collect();
    if !others.is_empty() {
        let message = format!("mirrorgate's service account may do more than it needs: {}", some_of(&others));
        let look =
            format!("kubectl get clusterrolebindings,rolebindings -A -o wide | grep {namespace}/{SERVICE_ACCOUNT}");
        findings.push(Finding::warning(CHECK, message).remedy(look));
    }
    if let Ok(role) = &left.named {
        let rules = role.rules.as_deref().unwrap_or_default();
        let names = rules.iter().flat_map(|rule| rule.resource_names.as_deref().unwrap_or_default());
        let unneeded: Vec<&String> = names.filter(|name| policy.secret_names().all(|needed| needed != *name)).collect();
        if !unneeded.is_empty() {
            let message =
                format!("mirrorgate may read pull secrets that the policy does not name: {}", some_of(&unneeded));
            let remedy = match policy.secret_names().next() {
                Some(_) => from_the_policy(namespace),
                None => format!("kubectl delete clusterrolebinding,clusterrole {} --ignore-not-found", rbac::NAMED),
            };
            findings.push(Finding::warning(CHECK, message).remedy(remedy));
        }
    }
    let needed: Vec<&str> = rbac::roles(policy, namespace).iter().filter_map(|role| role.within).collect();
    for at in left.bundles.iter().flatten().filter(|at| !needed.contains(&at.as_str())) {
        let message =
            format!("mirrorgate may read objects in {at} for CA bundles, of which the policy names none there");
        let delete = format!("kubectl -n {at} delete rolebinding,role {}", rbac::BUNDLES);
        findings.push(Finding::warning(CHECK, message).remedy(delete));
    }
    findings
}

fn is_of_all_secrets(access: &str) -> bool {
    VERBS.iter().any(|verb| access == format!("{verb} secrets"))
}

/// What gives the access that the policy in the cluster needs.
fn from_the_policy(namespace: &str) -> String {
    let elsewhere = if namespace == "mirrorgate-system" { String::new() } else { format!(" --namespace {namespace}") };
    format!(
        "kubectl -n {namespace} get configmap mirrorgate-policy -o jsonpath='{{.data.policy\\.yaml}}' | mirrorgate rbac --policy /dev/stdin{elsewhere} | kubectl apply -f -"
    )
}

/// Nothing was found, since nobody may look.
impl Default for Left {
    fn default() -> Self {
        let absent = || Err(Unread::Absent);
        Self { all: absent(), named: absent(), bundles: Ok(Vec::new()) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::super::facts::tests::facts;
    use super::super::finding::State;
    use super::*;

    fn policy(lines: &str) -> Policy {
        Policy::read(&format!("apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n{lines}")).unwrap().policy
    }

    const NAMED: &str = "pullSecrets: [{name: harbor-pull, registries: [harbor.corp]}]\n";
    const DISCOVER: &str = "pullSecrets: [{discover: true}]\n";

    /// The answers of an API server by which the account may do what `may` says.
    fn answered(policy: &Policy, may: impl Fn(&str) -> bool) -> Vec<Finding> {
        with(policy, may, &Left::default())
    }

    fn with(policy: &Policy, may: impl Fn(&str) -> bool, left: &Left) -> Vec<Finding> {
        let needed = Needed::of(&facts(), Some(policy));
        let answer = |asks: Vec<Access>| asks.into_iter().map(|ask| (ask.clone(), Ok(may(&ask.to_string())))).collect();
        let answers = Answers {
            surplus: answer(needed.surplus(&facts())),
            by_itself: answer(needed.by_itself),
            by_the_policy: answer(needed.by_the_policy),
        };
        check(&facts(), Some(policy), &answers, left)
    }

    /// As RBAC with the shipped roles answers.
    fn least(policy: &Policy) -> impl Fn(&str) -> bool {
        let needed = Needed::of(&facts(), Some(policy));
        let needed: Vec<String> =
            needed.by_itself.iter().chain(&needed.by_the_policy).map(ToString::to_string).collect();
        move |access| needed.iter().any(|needed| needed == access)
    }

    #[test]
    fn what_is_asked_is_what_ships() {
        let all: Vec<String> = shipped("mirrorgate-system").iter().map(ToString::to_string).collect();
        for needed in [
            "get configmaps/mirrorgate-policy in mirrorgate-system",
            "watch configmaps/mirrorgate-policy in mirrorgate-system",
            "create events.events.k8s.io in mirrorgate-system",
        ] {
            assert!(all.iter().any(|access| access == needed), "{needed}: {all:?}");
        }
    }

    #[test]
    fn s5_least_access_is_ok_and_one_right_less_is_a_fault() {
        let named = policy(NAMED);
        let findings = answered(&named, least(&named));
        assert_eq!((findings.len(), findings[0].state), (1, State::Ok), "{findings:?}");
        let findings = answered(&named, |access| least(&named)(access) && access != "watch secrets/harbor-pull");
        assert_eq!((findings.len(), findings[0].state), (1, State::Fault), "{findings:?}");
        assert!(findings[0].message.ends_with("may not watch secrets/harbor-pull"), "{findings:?}");
        assert!(findings[0].remedy.as_deref().is_some_and(|remedy| remedy.contains("mirrorgate rbac --policy")));
    }

    /// The overlays take rights away: what they take is not missed.
    #[test]
    fn s5_what_is_needed_depends_on_who_makes_the_certificate() {
        let needed = |arguments: &[&str]| {
            let container = json!({"name": "mirrorgate", "args": arguments});
            let spec = json!({"selector": {}, "template": {"spec": {"containers": [container]}}});
            let facts = Facts { deployment: Ok(from_value(json!({ "spec": spec })).unwrap()), ..facts() };
            let needed = Needed::of(&facts, None).by_itself;
            needed.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let read = "watch secrets/mirrorgate-serving in mirrorgate-system";
        let write = "patch secrets/mirrorgate-serving in mirrorgate-system";
        let create = "create secrets in mirrorgate-system";
        let replicas = "list endpointslices.discovery.k8s.io in mirrorgate-system";
        let bundle = "patch mutatingwebhookconfigurations.admissionregistration.k8s.io/mirrorgate";
        let all = [read, bundle, write, create, replicas];
        for (argument, needs) in [
            ("--serving-certificate=self-managed", 5),
            ("--serving-certificate=own", 2),
            ("--serving-certificate=cert-manager", 1),
            ("--cert-dir=/certificates", 0),
        ] {
            let needed = needed(&["serve", argument]);
            for (number, access) in all.into_iter().enumerate() {
                let is_needed = needed.iter().any(|needed| needed == access);
                assert_eq!(is_needed, number < needs, "{argument}: {access}: {needed:?}");
            }
        }
    }

    #[test]
    fn s5_surplus_access_is_a_warning() {
        let named = policy(NAMED);
        let may_more = |access: &str| least(&named)(access) || access == "list secrets";
        let findings = answered(&named, may_more);
        assert_eq!((findings.len(), findings[1].state), (2, State::Warning), "{findings:?}");
        let left = Left { all: Ok(ClusterRole::default()), ..Left::default() };
        let findings = with(&named, may_more, &left);
        assert_eq!(findings.len(), 2, "{findings:?}");
        let delete =
            "kubectl delete clusterrolebinding,clusterrole mirrorgate-discover-pull-secrets --ignore-not-found";
        assert_eq!(findings[1].remedy.as_deref(), Some(delete));
        // Without its binding a role gives nothing.
        let findings = with(&named, least(&named), &left);
        assert_eq!((findings.len(), findings[0].state), (1, State::Ok), "{findings:?}");
        let discovers = policy(DISCOVER);
        let findings = with(&discovers, least(&discovers), &left);
        assert_eq!((findings.len(), findings[0].state), (1, State::Ok), "{findings:?}");
    }

    #[test]
    fn s5_what_an_earlier_policy_needed_is_told() {
        let role =
            from_value(json!({"rules": [{"verbs": ["list"], "resourceNames": ["harbor-pull", "old"]}]})).unwrap();
        let left = Left { named: Ok(role), bundles: Ok(vec!["registry".to_owned()]), ..Left::default() };
        let named = policy(NAMED);
        let findings = with(&named, least(&named), &left);
        let states: Vec<State> = findings.iter().map(|finding| finding.state).collect();
        assert_eq!(states, [State::Ok, State::Warning, State::Warning], "{findings:?}");
        assert!(findings[1].message.ends_with(": old"), "{findings:?}");
        assert_eq!(
            findings[2].remedy.as_deref(),
            Some("kubectl -n registry delete rolebinding,role mirrorgate-ca-bundles")
        );
    }

    #[test]
    fn who_may_not_ask_is_told_which_access_that_needs() {
        let access = Access::to("create", "authorization.k8s.io", "subjectaccessreviews");
        let answers = Answers {
            by_itself: vec![(Access::to("get", "", "pods"), Err(Unread::Forbidden(access)))],
            by_the_policy: Vec::new(),
            surplus: Vec::new(),
        };
        let findings = check(&facts(), None, &answers, &Left::default());
        assert_eq!((findings.len(), findings[0].state), (1, State::Unknown));
        assert!(findings[0].message.contains("create subjectaccessreviews.authorization.k8s.io"), "{findings:?}");
    }
}
