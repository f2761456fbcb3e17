//! The pull secrets that the policy names, in the namespaces that opted in: judged as the webhook judges them (S3).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ServiceAccount;

use crate::image::Escaped;
use crate::keyring::{Coverage, PullSecret};
use crate::policy::{OnMissingPullSecret, Policy, PullSecretSource};

use super::facts::{Facts, Mode, Unread};
use super::finding::{Finding, State, counted, some_of};
use super::reading::{FoundSecret, Wanted};

const CHECK: &str = "pull-secrets";
const ACCOUNTS: &str = "service-accounts";

/// More findings of one kind than these are counted, and not written out.
const MOST_FINDINGS: usize = 20;

/// The most characters of a foreign type.
const MOST_CHARS: usize = 80;

/// What is said of a secret that is good for other registries.
const DOES_NOT_COVER: &str = "does not cover";

/// By which a service account refuses pods with secrets that it does not list.
const ENFORCE_MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";

/// The Secrets to be looked for.
pub(super) fn wanted(policy: &Policy) -> Vec<Wanted> {
    let named = policy.secret_names().map(|name| Wanted::Named(name.to_owned()));
    named.chain(policy.needs_all_docker_configs().then_some(Wanted::DockerConfigs)).collect()
}

/// All that was found of them.
#[derive(Default)]
pub(super) struct Known {
    secrets: BTreeMap<(String, String), PullSecret>,
    /// In which namespaces what could not be looked at.
    unread: BTreeMap<(String, Wanted), Unread>,
}

impl Known {
    pub(super) fn put(&mut self, wanted: &Wanted, found: Vec<FoundSecret>, unread: Vec<(String, Unread)>) {
        let places = found.into_iter().map(|found| ((found.namespace, found.name), found.secret));
        self.secrets.extend(places);
        self.unread.extend(unread.into_iter().map(|(namespace, why)| ((namespace, wanted.clone()), why)));
    }

    fn unread(&self, policy: &Policy, namespace: &str, name: &str) -> Option<&Unread> {
        let wanted = match policy.secret_names().any(|known| known == name) {
            true => Wanted::Named(name.to_owned()),
            false => Wanted::DockerConfigs,
        };
        self.unread.get(&(namespace.to_owned(), wanted))
    }
}

/// What images are pulled from, as far as the policy says.
struct Target {
    /// The registry, or one that its pattern stands for.
    registry: String,
    /// As the policy names it. The kubelet takes a pattern as a key, too.
    shown: String,
    /// What their names begin with; nothing where only a pattern is known.
    base: Option<String>,
}

impl Target {
    fn of(registry: &str, base: String) -> Self {
        Self { registry: registry.to_owned(), shown: registry.to_owned(), base: Some(base) }
    }
}

/// The mirrors, and what else the policy has secrets for.
fn targets(policy: &Policy) -> Vec<Target> {
    let mirrors = policy.mirrors().map(|mirror| Target::of(mirror.endpoint().as_str(), mirror.base().to_owned()));
    let others = policy.pull_secret_registries().filter_map(|pattern| match pattern.exact() {
        Some(registry) if policy.is_endpoint(registry) => None,
        Some(registry) => Some(Target::of(registry, format!("{registry}/"))),
        // A secret for a pattern can be missing; whether it covers what nobody has named yet cannot be said.
        None => {
            let suffix = pattern.as_str().strip_prefix("*.")?;
            Some(Target { registry: format!("any.{suffix}"), shown: pattern.as_str().to_owned(), base: None })
        }
    });
    mirrors.chain(others).collect()
}

/// Whether a secret has a credential for anything there.
fn covers(coverage: &Coverage, target: &Target) -> bool {
    let Some(base) = &target.base else { return true };
    let is_below =
        |key: &str| key.starts_with(base.as_str()) && coverage.covers(&format!("{}/x", key.trim_end_matches('/')));
    coverage.covers(&format!("{base}x")) || coverage.keys().any(is_below)
}

/// What is wrong with one secret of a namespace, and for which registries.
#[derive(Default)]
struct Wrong {
    what: String,
    registries: BTreeSet<String>,
}

pub(super) fn check(facts: &Facts, policy: &Policy, known: &Known) -> Vec<Finding> {
    let opted_in = facts.opted_in();
    if !policy.has_pull_secrets() || opted_in.is_empty() {
        let why = if policy.has_pull_secrets() { "no namespace has opted in" } else { "the policy names none" };
        return vec![Finding::ok(CHECK, format!("none is needed: {why}"))];
    }
    let state = match policy.on_missing_pull_secret() {
        OnMissingPullSecret::Deny => State::Fault,
        OnMissingPullSecret::Warn | OnMissingPullSecret::Skip => State::Warning,
    };
    let targets = targets(policy);
    let (mut findings, mut unread) = (Vec::new(), BTreeMap::<String, Vec<&str>>::new());
    let mut fine = 0;
    for (namespace, _) in &opted_in {
        let namespace = namespace.name.as_str();
        let mut wrong = BTreeMap::<String, Wrong>::new();
        let mut is_known = true;
        for target in &targets {
            match judge(policy, known, namespace, target) {
                Judged::Covered => {}
                Judged::Unread(why) => {
                    is_known = false;
                    let namespaces = unread.entry(why.to_string()).or_default();
                    if !namespaces.contains(&namespace) {
                        namespaces.push(namespace);
                    }
                }
                Judged::Wrong(faults) => {
                    for (name, what) in faults {
                        let wrong = wrong.entry(name).or_default();
                        wrong.what = what;
                        wrong.registries.insert(target.shown.clone());
                    }
                }
            }
        }
        if wrong.is_empty() && is_known {
            fine += 1;
        }
        findings.extend(wrong.into_iter().map(|(name, wrong)| finding(state, namespace, &name, wrong)));
    }
    shorten(&mut findings, state);
    for (why, namespaces) in unread {
        findings.push(Finding::unknown(CHECK, format!("the pull secrets of {}: {why}", some_of(&namespaces))));
    }
    if fine > 0 {
        let message = format!(
            "{} that opted in {} what the policy names",
            counted(fine, "namespace"),
            if fine == 1 { "has" } else { "have" }
        );
        findings.insert(0, Finding::ok(CHECK, message));
    }
    findings
}

fn shorten(findings: &mut Vec<Finding>, state: State) {
    let more = findings.len().saturating_sub(MOST_FINDINGS);
    if more > 0 {
        findings.truncate(MOST_FINDINGS);
        findings.push(Finding::new(CHECK, state, format!("and {more} more of the kind")));
    }
}

enum Judged {
    Covered,
    Unread(Unread),
    /// By name, of each secret.
    Wrong(Vec<(String, String)>),
}

/// One secret that covers is enough.
fn judge(policy: &Policy, known: &Known, namespace: &str, target: &Target) -> Judged {
    let (mut wrong, mut unread) = (Vec::new(), None);
    for rule in policy.pull_secrets(&target.registry, namespace) {
        let name = match rule.source() {
            PullSecretSource::Discovered => {
                let mut all = known.secrets.iter().filter(|((at, _), _)| at == namespace);
                let is_covering = |secret: &PullSecret| matches!(secret, PullSecret::DockerConfig(coverage) if covers(coverage, target));
                if all.any(|(_, secret)| is_covering(secret)) {
                    return Judged::Covered;
                }
                match known.unread.get(&(namespace.to_owned(), Wanted::DockerConfigs)) {
                    Some(why) => unread = Some(why.clone()),
                    // A registry that only a rule for all brings in may need none.
                    None if rule.names_registries() || policy.is_endpoint(&target.registry) => {
                        wrong.push(("NAME".to_owned(), "no secret covers".to_owned()));
                    }
                    None => {}
                }
                continue;
            }
            PullSecretSource::Named(name) => match name.name_in(namespace) {
                Ok(name) => name,
                Err(invalid) => {
                    wrong.push((name.to_string(), format!("{invalid}; it is for")));
                    continue;
                }
            },
        };
        let place = (namespace.to_owned(), name.to_string());
        let what = match known.secrets.get(&place) {
            Some(PullSecret::DockerConfig(coverage)) if covers(coverage, target) => return Judged::Covered,
            Some(PullSecret::DockerConfig(_)) => DOES_NOT_COVER.to_owned(),
            Some(PullSecret::OtherType(other)) => {
                format!("is of type {}, which the kubelet ignores; it is for", Escaped::cut(other, MOST_CHARS))
            }
            Some(PullSecret::Malformed(malformed)) => format!("is malformed, {malformed}; it is for"),
            None => match known.unread(policy, namespace, &name) {
                Some(why) => {
                    unread = Some(why.clone());
                    continue;
                }
                None => "is missing; it is for".to_owned(),
            },
        };
        wrong.push((name.into_owned(), what));
    }
    match unread {
        Some(why) => Judged::Unread(why),
        None if wrong.is_empty() => Judged::Covered,
        None => Judged::Wrong(wrong),
    }
}

fn finding(state: State, namespace: &str, name: &str, Wrong { what, registries }: Wrong) -> Finding {
    let registries: Vec<String> = registries.into_iter().collect();
    let server = registries.first().map(String::as_str).unwrap_or_default();
    let create = format!(
        "kubectl -n {namespace} create secret docker-registry {name} --docker-server='{server}' --docker-username=USER --docker-password=PASSWORD"
    );
    let discovered = name == "NAME";
    let subject = if discovered { format!("in {namespace}") } else { format!("{name} in {namespace}") };
    let remedy = if what.starts_with("is missing") || discovered {
        create
    } else if what == DOES_NOT_COVER {
        // It has credentials of other registries, which must not be lost: this shows them, and the new entry comes beside.
        format!(
            "kubectl -n {namespace} get secret {name} -o go-template='{{{{range .data}}}}{{{{base64decode .}}}}{{{{end}}}}' >config.json  # keep what is there, add '{server}' to auths, and put it back under the same key"
        )
    } else {
        // The type of a secret cannot be changed: it is made anew.
        format!("kubectl -n {namespace} delete secret {name} && {create}")
    };
    Finding::new(CHECK, state, format!("{subject} {what} {}", some_of(&registries))).remedy(remedy)
}

/// Service accounts that would refuse pods with the secrets that are added.
pub(super) fn service_accounts(
    facts: &Facts,
    policy: &Policy,
    accounts: &[ServiceAccount],
    unread: &[(String, Unread)],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some((_, why)) = unread.first() {
        let namespaces: Vec<&str> = unread.iter().map(|(namespace, _)| namespace.as_str()).collect();
        let what = format!("the service accounts of {}", some_of(&namespaces));
        findings.push(Finding::unread(ACCOUNTS, &what, why));
    }
    let targets = targets(policy);
    for account in accounts {
        let annotations = account.metadata.annotations.as_ref();
        if annotations.and_then(|all| all.get(ENFORCE_MOUNTABLE)).is_none_or(|value| value != "true") {
            continue;
        }
        let namespace = account.metadata.namespace.as_deref().unwrap_or_default();
        let name = account.metadata.name.as_deref().unwrap_or_default();
        let Some((_, mode)) = facts.opted_in().into_iter().find(|(opted_in, _)| opted_in.name == namespace) else {
            continue;
        };
        let listed = account.image_pull_secrets.as_deref().unwrap_or_default();
        let mut listed: Vec<String> = listed.iter().map(|listed| listed.name.clone()).collect();
        let rules = targets.iter().flat_map(|target| policy.pull_secrets(&target.registry, namespace));
        let added: BTreeSet<String> = rules
            .filter_map(|rule| match rule.source() {
                PullSecretSource::Named(name) => Some(name.name_in(namespace).ok()?.into_owned()),
                PullSecretSource::Discovered => None,
            })
            .filter(|name| !listed.contains(name))
            .collect();
        if added.is_empty() {
            continue;
        }
        let added: Vec<String> = added.into_iter().collect();
        let message = format!(
            "pods of {name} in {namespace} are refused once they get {}, which the account does not list ({ENFORCE_MOUNTABLE})",
            some_of(&added)
        );
        let state = if mode == Mode::Enforce { State::Fault } else { State::Warning };
        listed.extend(added);
        let list: Vec<_> = listed.iter().map(|name| serde_json::json!({ "name": name })).collect();
        let patch = serde_json::json!({ "imagePullSecrets": list });
        let remedy = format!("kubectl -n {namespace} patch serviceaccount {name} -p '{patch}'");
        findings.push(Finding::new(ACCOUNTS, state, message).remedy(remedy));
    }
    if findings.is_empty() {
        let message = "none refuses the pull secrets that are added";
        findings.push(Finding::ok(ACCOUNTS, message));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::super::facts::tests::facts;
    use super::super::facts::{Access, Labelled, MODE};
    use super::*;
    use crate::keyring::DOCKER_CONFIG_JSON;

    const POLICY: &str = "apiVersion: mirrorgate.dev/v1alpha1
kind: Policy
registryMirrors:
- {name: harbor, endpoint: 'https://harbor.corp:5000/proxy', hosts: [docker.io], pullSecrets: [harbor-pull]}
pullSecrets:
- {name: '{namespace}-ghcr', registries: [ghcr.io], namespaces: ['team-b']}
";

    fn policy(lines: &str) -> Policy {
        Policy::read(lines).unwrap().policy
    }

    fn cluster() -> Facts {
        let labelled = |name: &str, mode: &str| Labelled {
            name: name.to_owned(),
            labels: [(MODE.to_owned(), mode.to_owned())].into(),
            ..Labelled::default()
        };
        Facts { namespaces: Ok(vec![labelled("team-a", "enforce"), labelled("team-b", "audit")]), ..facts() }
    }

    fn secret(namespace: &str, name: &str, key: &str) -> FoundSecret {
        let content = json!({"auths": {key: {"auth": "YTpi"}}}).to_string();
        let secret = PullSecret::read(DOCKER_CONFIG_JSON, |_| Some(content.as_bytes()));
        FoundSecret { namespace: namespace.to_owned(), name: name.to_owned(), secret }
    }

    fn known(found: Vec<FoundSecret>) -> Known {
        let mut known = Known::default();
        known.put(&Wanted::DockerConfigs, found, Vec::new());
        known
    }

    fn told(findings: &[Finding]) -> Vec<(State, &str)> {
        findings.iter().map(|finding| (finding.state, finding.message.as_str())).collect()
    }

    #[test]
    fn trap_12_what_is_missing_or_does_not_cover_is_told_by_namespace() {
        let found = || {
            vec![
                secret("team-a", "harbor-pull", "harbor.corp:5000"),
                secret("team-b", "harbor-pull", "harbor.corp:5000/proxy/library"),
                secret("team-b", "team-b-ghcr", "ghcr.io"),
            ]
        };
        let findings = check(&cluster(), &policy(POLICY), &known(found()));
        assert_eq!(told(&findings), [(State::Ok, "2 namespaces that opted in have what the policy names")]);
        let other = vec![secret("team-b", "harbor-pull", "harbor.corp"), secret("team-b", "team-b-ghcr", "ghcr.io")];
        let findings = check(&cluster(), &policy(POLICY), &known(other));
        assert_eq!(
            told(&findings),
            [
                (State::Warning, "harbor-pull in team-a is missing; it is for harbor.corp:5000"),
                (State::Warning, "harbor-pull in team-b does not cover harbor.corp:5000"),
            ]
        );
        assert!(findings[0].remedy.as_deref().is_some_and(|remedy| remedy.starts_with(
            "kubectl -n team-a create secret docker-registry harbor-pull --docker-server='harbor.corp:5000' "
        )));
        assert!(findings[1].remedy.as_deref().is_some_and(|remedy| remedy.starts_with(
            "kubectl -n team-b get secret harbor-pull -o go-template='{{range .data}}{{base64decode .}}{{end}}' >config.json  # keep what is there, add 'harbor.corp:5000'"
        )));
        let deny = policy(&format!("{POLICY}onMissingPullSecret: deny\n"));
        assert_eq!(check(&cluster(), &deny, &known(Vec::new()))[0].state, State::Fault);
    }

    #[test]
    fn only_what_the_kubelet_cannot_read_is_deleted() {
        let of = |kind: &str, content: &str| {
            let secret = PullSecret::read(kind, |_| Some(content.as_bytes()));
            let found = FoundSecret { namespace: "team-a".to_owned(), name: "harbor-pull".to_owned(), secret };
            let findings = check(&cluster(), &policy(POLICY), &known(vec![found]));
            findings.into_iter().find_map(|finding| finding.remedy).unwrap()
        };
        assert!(of("Opaque", "{}").starts_with("kubectl -n team-a delete secret harbor-pull && "));
        assert!(of(DOCKER_CONFIG_JSON, "{").starts_with("kubectl -n team-a delete secret harbor-pull && "));
        assert!(!of(DOCKER_CONFIG_JSON, r#"{"auths": {"other.corp": {"auth": "YTpi"}}}"#).contains("delete"));
    }

    #[test]
    fn a_pattern_is_told_as_it_is_written() {
        let findings = check(&cluster(), &policy(&POLICY.replace("[ghcr.io]", "['*.corp2']")), &known(Vec::new()));
        let told = findings.iter().find(|finding| finding.message.starts_with("team-b-ghcr ")).unwrap();
        assert_eq!(told.message, "team-b-ghcr in team-b is missing; it is for *.corp2");
        assert!(told.remedy.as_deref().is_some_and(|remedy| remedy.contains(" --docker-server='*.corp2' ")));
    }

    #[test]
    fn what_may_not_be_read_is_unknown() {
        let mut known = Known::default();
        let access = Access::to("list", "", "secrets").within("team-a");
        let unread = vec![("team-a".to_owned(), Unread::Forbidden(access))];
        known.put(&Wanted::Named("harbor-pull".to_owned()), Vec::new(), unread);
        let findings = check(&cluster(), &policy(POLICY), &known);
        let unknown: Vec<_> = findings.iter().filter(|finding| finding.state == State::Unknown).collect();
        assert!(unknown.len() == 1 && unknown[0].message.contains("list secrets in team-a"), "{findings:?}");
    }

    #[test]
    fn one_that_is_discovered_has_to_cover_the_mirror() {
        let discover = policy(&POLICY.replace(", pullSecrets: [harbor-pull]", "").replace(
            "- {name: '{namespace}-ghcr', registries: [ghcr.io], namespaces: ['team-b']}",
            "- {discover: true}",
        ));
        let findings = check(&cluster(), &discover, &known(vec![secret("team-a", "any", "harbor.corp:5000")]));
        assert_eq!(told(&findings)[1], (State::Warning, "in team-b no secret covers harbor.corp:5000"), "{findings:?}");
    }

    #[test]
    fn trap_32_an_account_that_enforces_mountable_secrets_has_to_list_what_is_added() {
        let account = |secrets: serde_json::Value| -> ServiceAccount {
            from_value(json!({
                "metadata": {"name": "strict", "namespace": "team-a", "annotations": {ENFORCE_MOUNTABLE: "true"}},
                "imagePullSecrets": secrets,
            }))
            .unwrap()
        };
        let of = |account| service_accounts(&cluster(), &policy(POLICY), &[account], &[]);
        let findings = of(account(json!([{"name": "own"}])));
        assert_eq!(findings[0].state, State::Fault);
        assert_eq!(
            findings[0].remedy.as_deref(),
            Some(
                r#"kubectl -n team-a patch serviceaccount strict -p '{"imagePullSecrets":[{"name":"own"},{"name":"harbor-pull"}]}'"#
            )
        );
        assert_eq!(of(account(json!([{"name": "harbor-pull"}])))[0].state, State::Ok);
        // Audited pods are only said to be refused, and without the annotation none is.
        let labels = [(MODE.to_owned(), "audit".to_owned())].into();
        let audited = vec![Labelled { name: "team-a".to_owned(), labels, ..Labelled::default() }];
        let audited = Facts { namespaces: Ok(audited), ..facts() };
        let findings = service_accounts(&audited, &policy(POLICY), &[account(json!([]))], &[]);
        assert_eq!(findings[0].state, State::Warning, "{findings:?}");
        let mut lenient = account(json!([]));
        lenient.metadata.annotations = Some([(ENFORCE_MOUNTABLE.to_owned(), "false".to_owned())].into());
        assert_eq!(of(lenient)[0].state, State::Ok);
    }
}
