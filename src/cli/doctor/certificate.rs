//! The serving certificate, and whether `caBundle` of the webhooks vouches for it, as the API server decides it.

use jiff::SignedDuration;

use crate::cluster::{SERVING_SECRET, service_name};
use crate::image::Escaped;
use crate::serving::{Pair, PairFault};
use crate::trust::Bundle;

use super::facts::{Facts, ServingPair, Unread};
use super::finding::{Finding, some_of};
use super::replicas;
use super::webhooks::{self, Webhook};

const CHECK: &str = "certificate";
const CA_BUNDLE: &str = "ca-bundle";

/// A pair that ends sooner should have been renewed.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The most characters of what is said of a certificate.
const MOST_CHARS: usize = 300;

/// Who makes the pair, by the arguments of the Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    /// mirrorgate itself.
    SelfManaged,
    /// Somebody, who also hands in the CA.
    Own,
    CertManager,
    /// Somebody, as files that mirrorgate is told of: it asks the API server for nothing.
    Files,
}

impl Maker {
    /// What the Deployment says; without one, what it says when it ships.
    pub(super) fn of(facts: &Facts) -> Self {
        let pod = facts.deployment.as_ref().ok().and_then(|found| found.spec.as_ref()?.template.spec.as_ref());
        let containers = pod.map(|pod| pod.containers.as_slice()).unwrap_or_default();
        let mut arguments = containers.iter().filter_map(|container| container.args.as_deref()).flatten();
        let mut maker = Self::SelfManaged;
        while let Some(argument) = arguments.next() {
            let value = match argument.as_str() {
                "--serving-certificate" => arguments.next().map(String::as_str),
                argument if argument.starts_with("--tls-cert") || argument.starts_with("--cert-dir") => {
                    return Self::Files;
                }
                argument => argument.strip_prefix("--serving-certificate="),
            };
            match value {
                Some("own") => maker = Self::Own,
                Some("cert-manager") => maker = Self::CertManager,
                _ => {}
            }
        }
        maker
    }

    /// What makes another certificate before the one that there is ends.
    fn renewal(self, namespace: &str) -> String {
        match self {
            Self::SelfManaged => {
                format!("kubectl -n {namespace} annotate secret {SERVING_SECRET} mirrorgate.dev/renew=certificate")
            }
            Self::Own | Self::CertManager | Self::Files => self.replacement(namespace),
        }
    }

    /// What replaces one that cannot serve.
    fn replacement(self, namespace: &str) -> String {
        match self {
            // Whoever makes it puts back what is gone; the last good one is served meanwhile.
            Self::SelfManaged | Self::CertManager => {
                format!("kubectl -n {namespace} delete secret {SERVING_SECRET} --ignore-not-found")
            }
            Self::Own | Self::Files => format!(
                "kubectl -n {namespace} create secret generic {SERVING_SECRET} --type=kubernetes.io/tls --from-file=tls.crt --from-file=tls.key --from-file=ca.crt --dry-run=client -o yaml | kubectl apply -f -  # with a pair made as in certs/README.md"
            ),
        }
    }
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let pair = pair(facts);
    let mut findings = vec![of_pair(facts, Maker::of(facts), pair.as_ref())];
    findings.extend(ca_bundles(facts, pair.and_then(Result::ok).as_ref()));
    findings
}

/// What is served, if it can be read, or else what is wrong with it.
fn pair(facts: &Facts) -> Option<Result<Pair, PairFault>> {
    let ServingPair { chain, key, .. } = facts.serving.as_ref().ok()?;
    let part = |part: &Option<Vec<u8>>| part.clone().unwrap_or_default();
    Some(Pair::read(&part(chain), &part(key)))
}

fn of_pair(facts: &Facts, maker: Maker, pair: Option<&Result<Pair, PairFault>>) -> Finding {
    let Facts { namespace, now, .. } = facts;
    let absent = || match maker {
        Maker::SelfManaged if replicas::none_is_ready(facts) => Finding::fault(
            CHECK,
            format!("there is no Secret {SERVING_SECRET}: a replica makes it as soon as one runs"),
        ),
        Maker::SelfManaged => {
            let message = format!("there is no Secret {SERVING_SECRET}, which the replicas make as soon as they run");
            let restart = format!("kubectl -n {namespace} rollout restart deployment mirrorgate");
            Finding::fault(CHECK, message).remedy(restart)
        }
        Maker::Own | Maker::CertManager => {
            let message = format!("there is no Secret {SERVING_SECRET} in {namespace}, and so nothing to serve");
            Finding::fault(CHECK, message).remedy(maker.replacement(namespace))
        }
        Maker::Files => {
            Finding::unknown(CHECK, format!("it is in files of the pods, and not in the Secret {SERVING_SECRET}"))
        }
    };
    let serving = match &facts.serving {
        Ok(serving) => serving,
        Err(Unread::Absent) => return absent(),
        Err(why) => return Finding::unread(CHECK, "the serving certificate", why),
    };
    let refused = |why: &str| {
        Finding::fault(CHECK, format!("that of the Secret {SERVING_SECRET} cannot serve: {why}"))
            .remedy(maker.replacement(namespace))
    };
    let pair = match pair {
        Some(Ok(pair)) => pair,
        Some(Err(fault)) => return refused(&cut(&fault.to_string())),
        None => return absent(),
    };
    let name = service_name(namespace);
    if let Err(fault) = pair.check(None, Some(&name), *now) {
        return refused(&cut(&fault.to_string()));
    }
    // Files are served without a CA beside them.
    let authorities = serving.authority.as_deref().map(|pem| Bundle::read(pem).certificates);
    if authorities.is_some() || maker != Maker::Files {
        let authorities = authorities.unwrap_or_default();
        if let Err(fault) = pair.check(Some(&authorities), Some(&name), *now) {
            return refused(&cut(&format!("the CA beside it (ca.crt) does not vouch for it: {fault}")));
        }
    }
    let end = pair.leaf().not_after();
    let until = format!("for {name}, until {end:.0}");
    match end.duration_since(*now) < SOON {
        true => Finding::warning(CHECK, format!("it ends soon: {until}")).remedy(maker.renewal(namespace)),
        false => Finding::ok(CHECK, until),
    }
}

fn ca_bundles(facts: &Facts, pair: Option<&Pair>) -> Vec<Finding> {
    let found = [webhooks::mutating(facts), webhooks::validating(facts)].into_iter().flatten().flatten();
    // Others may have put theirs into our configuration.
    let found: Vec<Webhook> = found.filter(|webhook| webhook.name.ends_with(".mirrorgate.dev")).collect();
    if found.is_empty() {
        return Vec::new();
    }
    let mut fine = Vec::new();
    // What is wrong with several in the same way is mended at once.
    let mut wrong: Vec<(String, Vec<&Webhook>)> = Vec::new();
    for webhook in &found {
        match ca_bundle(facts, webhook, pair) {
            Ok(()) => fine.push(webhook.name.as_str()),
            Err(why) => match wrong.iter_mut().find(|(known, all)| *known == why && all[0].kind == webhook.kind) {
                Some((_, all)) => all.push(webhook),
                None => wrong.push((why, vec![webhook])),
            },
        }
    }
    let mut findings = Vec::new();
    if !fine.is_empty() {
        let finding = match pair {
            Some(_) => Finding::ok(CA_BUNDLE, format!("vouches for the serving certificate: {}", some_of(&fine))),
            None => Finding::unknown(
                CA_BUNDLE,
                format!("has CAs, and whether they vouch for the serving certificate is not known: {}", some_of(&fine)),
            ),
        };
        findings.push(finding);
    }
    findings.extend(wrong.into_iter().map(|(why, webhooks)| {
        let names: Vec<&str> = webhooks.iter().map(|webhook| webhook.name.as_str()).collect();
        let said = format!("of {}: {why}", some_of(&names));
        match (&facts.serving, Maker::of(facts)) {
            // There is nothing to put in yet.
            (Err(Unread::Absent), Maker::SelfManaged) => {
                Finding::fault(CA_BUNDLE, format!("{said}; the replicas write it with the Secret {SERVING_SECRET}"))
            }
            _ => Finding::fault(CA_BUNDLE, said).remedy(mend(facts, &webhooks)),
        }
    }));
    findings
}

/// Whether the API server, given this bundle, takes what is served.
fn ca_bundle(facts: &Facts, webhook: &Webhook, pair: Option<&Pair>) -> Result<(), String> {
    if webhook.ca_bundle.is_empty() {
        return Err("it is empty, and no public CA signs for a name of the cluster: every call fails".to_owned());
    }
    let Bundle { certificates, skipped } = Bundle::read(&webhook.ca_bundle);
    if certificates.is_empty() {
        let why: Vec<String> = skipped.iter().take(1).map(|skipped| format!(": {skipped}")).collect();
        return Err(cut(&format!("it has no certificate that can be used{}", why.concat())));
    }
    if let Some(pair) = pair {
        let name = service_name(&facts.namespace);
        return pair.check(Some(&certificates), Some(&name), facts.now).map_err(|fault| cut(&fault.to_string()));
    }
    match certificates.iter().any(|authority| authority.not_after() > facts.now) {
        true => Ok(()),
        false => Err("all its CAs have expired".to_owned()),
    }
}

/// What puts the CA of the Secret into webhooks of one kind, whoever should have.
fn mend(facts: &Facts, webhooks: &[&Webhook]) -> String {
    let namespace = &facts.namespace;
    let has_authority = facts.serving.as_ref().map_or(true, |serving| serving.authority.is_some());
    let authority = match has_authority {
        true => format!("kubectl -n {namespace} get secret {SERVING_SECRET} -o jsonpath='{{.data.ca\\.crt}}'"),
        false => "base64 <ca.crt | tr -d '\\n'".to_owned(),
    };
    let patches = webhooks.iter().map(|webhook| {
        let name = &webhook.name;
        format!(r#"{{"name": "{name}", "clientConfig": {{"caBundle": "'"$ca"'"}}}}"#)
    });
    let patches: Vec<String> = patches.collect();
    let resource = webhooks.first().map_or("", |webhook| webhook.kind.resource());
    format!("ca=$({authority}) && kubectl patch {resource} mirrorgate -p '{{\"webhooks\": [{}]}}'", patches.join(", "))
}

fn cut(text: &str) -> String {
    Escaped::cut(text, MOST_CHARS).to_string()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::{Value, from_value, json};

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::super::facts::tests::facts;
    use super::super::finding::State;
    use super::*;
    use crate::serving::{Authority, LEAF_LIFE, Made};

    const NAME: &str = "mirrorgate.mirrorgate-system.svc";

    /// A CA, and a pair that it signed for a name, with so many days left.
    fn made(name: &str, days: i64) -> (Made, Made) {
        let begin = facts().now - LEAF_LIFE + SignedDuration::from_hours(24 * days);
        let (authority, of_authority) = Authority::make(begin, SignedDuration::from_hours(24 * 3650)).unwrap();
        (of_authority, authority.sign(&[name.to_owned()], begin, LEAF_LIFE).unwrap())
    }

    fn serving(authority: &Made, pair: &Made) -> ServingPair {
        ServingPair {
            chain: Some(pair.certificate.clone().into_bytes()),
            key: Some(pair.key.as_bytes().to_vec()),
            authority: Some(authority.certificate.clone().into_bytes()),
        }
    }

    fn of(serving: ServingPair) -> Finding {
        let facts = Facts { serving: Ok(serving), ..facts() };
        of_pair(&facts, Maker::SelfManaged, pair(&facts).as_ref())
    }

    #[test]
    fn a_pair_is_judged_as_the_api_server_does() {
        let (authority, good) = made(NAME, 60);
        let (other_authority, other) = made(NAME, 60);
        let expect = |serving: ServingPair, state: State, words: &str| {
            let finding = of(serving);
            assert!(finding.state == state && finding.message.contains(words), "{finding:?}");
            assert_eq!(finding.remedy.is_none(), state == State::Ok);
        };
        expect(serving(&authority, &good), State::Ok, "until 2027-01-20");
        let (authority_of_old, old) = made(NAME, 10);
        expect(serving(&authority_of_old, &old), State::Warning, "ends soon");
        let (authority_of_ended, ended) = made(NAME, -1);
        expect(serving(&authority_of_ended, &ended), State::Fault, "expired");
        let (authority_of_foreign, foreign) = made("elsewhere.svc", 60);
        expect(serving(&authority_of_foreign, &foreign), State::Fault, "elsewhere.svc");
        expect(serving(&other_authority, &good), State::Fault, "does not vouch for it");
        let of_another = ServingPair { key: Some(other.key.as_bytes().to_vec()), ..serving(&authority, &good) };
        expect(of_another, State::Fault, "belongs to another certificate");
        expect(ServingPair { key: None, ..serving(&authority, &good) }, State::Fault, "no private key");
        expect(ServingPair::default(), State::Fault, "no certificate");
    }

    #[test]
    fn trap_24_every_ca_bundle_has_to_vouch_for_the_pair() {
        let (authority, good) = made(NAME, 60);
        let (other, _) = made(NAME, 60);
        let with = |bundles: [&str; 2], serving: ServingPair| {
            let names = ["enforce.mirrorgate.dev", "audit.mirrorgate.dev"];
            let webhooks: Vec<Value> = names.iter().zip(bundles).map(|(name, bundle)| {
                let bundle = STANDARD.encode(bundle);
                json!({"name": name, "clientConfig": {"caBundle": bundle}, "sideEffects": "None", "admissionReviewVersions": ["v1"]})
            }).collect();
            let mutating: MutatingWebhookConfiguration = from_value(json!({ "webhooks": webhooks })).unwrap();
            let facts = Facts { serving: Ok(serving), mutating: Ok(mutating), ..facts() };
            check(&facts).split_off(1)
        };
        let of_both = format!("{}{}", other.certificate, authority.certificate);
        let findings = with([&authority.certificate, &of_both], serving(&authority, &good));
        assert_eq!(findings.iter().map(|finding| finding.state).collect::<Vec<_>>(), [State::Ok], "{findings:?}");
        let findings = with([&authority.certificate, &other.certificate], serving(&authority, &good));
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[1].state == State::Fault && findings[1].message.starts_with("of audit.mirrorgate.dev: "));
        let findings = with(["", ""], serving(&authority, &good));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].message.contains("it is empty"), "{findings:?}");
        assert_eq!(
            findings[0].remedy.as_deref(),
            Some(
                r#"ca=$(kubectl -n mirrorgate-system get secret mirrorgate-serving -o jsonpath='{.data.ca\.crt}') && kubectl patch mutatingwebhookconfiguration mirrorgate -p '{"webhooks": [{"name": "enforce.mirrorgate.dev", "clientConfig": {"caBundle": "'"$ca"'"}}, {"name": "audit.mirrorgate.dev", "clientConfig": {"caBundle": "'"$ca"'"}}]}'"#
            )
        );
        // Whether it is the right one cannot be said without the pair.
        let findings = with([&other.certificate, "oops"], ServingPair::default());
        assert_eq!(findings.iter().map(|finding| finding.state).collect::<Vec<_>>(), [State::Unknown, State::Fault]);
    }

    #[test]
    fn what_replicas_make_once_they_run_is_not_mended_by_hand() {
        let of = |ready: i32| {
            let deployment = json!({"spec": {"selector": {}, "template": {}}, "status": {"readyReplicas": ready}});
            let webhook = json!({
                "name": "enforce.mirrorgate.dev", "clientConfig": {}, "sideEffects": "None", "admissionReviewVersions": ["v1"],
            });
            let mutating: MutatingWebhookConfiguration = from_value(json!({ "webhooks": [webhook] })).unwrap();
            let deployment = Ok(from_value(deployment).unwrap());
            check(&Facts { deployment, serving: Err(Unread::Absent), mutating: Ok(mutating), ..facts() })
        };
        assert!(of(0).iter().all(|finding| finding.state == State::Fault && finding.remedy.is_none()), "{:?}", of(0));
        assert_eq!(
            of(1)[0].remedy.as_deref(),
            Some("kubectl -n mirrorgate-system rollout restart deployment mirrorgate")
        );
    }

    #[test]
    fn only_files_are_served_without_a_ca_beside_them() {
        let (_, good) = made(NAME, 60);
        let (_, foreign) = made("elsewhere.svc", 60);
        for (maker, pair_of, state) in [
            (Maker::Files, &good, State::Ok),
            (Maker::Files, &foreign, State::Fault),
            (Maker::Own, &good, State::Fault),
            (Maker::SelfManaged, &good, State::Fault),
        ] {
            let serving = ServingPair { authority: None, ..serving(&good, pair_of) };
            let facts = Facts { serving: Ok(serving), ..facts() };
            let finding = of_pair(&facts, maker, pair(&facts).as_ref());
            assert_eq!(finding.state, state, "{maker:?}: {finding:?}");
        }
    }

    #[test]
    fn each_configuration_is_mended_by_itself_and_others_in_it_are_not_ours() {
        let (authority, good) = made(NAME, 60);
        let webhook = |name: &str| json!({"name": name, "clientConfig": {}, "sideEffects": "None", "admissionReviewVersions": ["v1"]});
        let webhooks = |names: &[&str]| json!({"webhooks": names.iter().map(|name| webhook(name)).collect::<Vec<_>>()});
        let facts = Facts {
            serving: Ok(ServingPair { authority: None, ..serving(&authority, &good) }),
            mutating: Ok(from_value(webhooks(&["enforce.mirrorgate.dev", "somebody.example"])).unwrap()),
            validating: Ok(from_value(webhooks(&["policy.mirrorgate.dev"])).unwrap()),
            ..facts()
        };
        let findings = check(&facts).split_off(1);
        let remedies: Vec<&str> = findings.iter().filter_map(|finding| finding.remedy.as_deref()).collect();
        assert_eq!(remedies.len(), 2, "{findings:?}");
        for (remedy, kind, name) in [
            (remedies[0], "mutatingwebhookconfiguration", "enforce.mirrorgate.dev"),
            (remedies[1], "validatingwebhookconfiguration", "policy.mirrorgate.dev"),
        ] {
            // The Secret has no CA to take it from.
            let start = format!("ca=$(base64 <ca.crt | tr -d '\\n') && kubectl patch {kind} mirrorgate ");
            assert!(remedy.starts_with(&start) && remedy.contains(name) && !remedy.contains("somebody"), "{remedy}");
        }
    }

    #[test]
    fn cas_that_have_all_expired_are_a_fault_whatever_is_served() {
        let begin = facts().now - LEAF_LIFE;
        for (days, state) in [(80, State::Fault), (100, State::Unknown)] {
            let (_, authority) = Authority::make(begin, SignedDuration::from_hours(24 * days)).unwrap();
            let bundle = STANDARD.encode(&authority.certificate);
            let mutating = json!({"webhooks": [{"name": "enforce.mirrorgate.dev", "clientConfig": {"caBundle": bundle},
                "sideEffects": "None", "admissionReviewVersions": ["v1"]}]});
            let findings = check(&Facts { mutating: Ok(from_value(mutating).unwrap()), ..facts() });
            assert_eq!(findings[1].state, state, "{findings:?}");
        }
    }

    #[test]
    fn who_makes_the_pair_is_said_by_the_deployment() {
        let of = |arguments: &[&str]| {
            let container = json!({"name": "mirrorgate", "args": arguments});
            let deployment: Deployment =
                from_value(json!({"spec": {"selector": {}, "template": {"spec": {"containers": [container]}}}}))
                    .unwrap();
            Maker::of(&Facts { deployment: Ok(deployment), ..facts() })
        };
        assert_eq!(of(&["serve"]), Maker::SelfManaged);
        assert_eq!(of(&["serve", "--serving-certificate=self-managed"]), Maker::SelfManaged);
        assert_eq!(of(&["serve", "--serving-certificate=own"]), Maker::Own);
        assert_eq!(of(&["serve", "--serving-certificate", "cert-manager"]), Maker::CertManager);
        assert_eq!(of(&["serve", "--tls-cert=/a", "--tls-key=/b"]), Maker::Files);
        assert_eq!(Maker::of(&facts()), Maker::SelfManaged);
    }
}
