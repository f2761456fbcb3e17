//! The serving certificate, and whether `caBundle` of the webhooks vouches for it, as the API server decides it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::image::Escaped;
use crate::trust::{Bundle, Certificate, Outcome, Pool, Roots, judge};

use super::facts::{Facts, ServingPair, Unread};
use super::finding::{Finding, some_of};
use super::webhooks::{self, Webhook};

const CHECK: &str = "certificate";
const CA_BUNDLE: &str = "ca-bundle";

/// The Secret with the pair.
pub(super) const SECRET: &str = "mirrorgate-serving";

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

    /// What makes another certificate.
    fn renewal(self, namespace: &str) -> String {
        match self {
            Self::SelfManaged => {
                format!("kubectl -n {namespace} annotate secret {SECRET} mirrorgate.dev/renew=certificate --overwrite")
            }
            // cert-manager issues what is not there, and mirrorgate serves what it has meanwhile.
            Self::CertManager => format!("kubectl -n {namespace} delete secret {SECRET}"),
            Self::Own | Self::Files => format!(
                "kubectl -n {namespace} create secret generic {SECRET} --type=kubernetes.io/tls --from-file=tls.crt --from-file=tls.key --from-file=ca.crt --dry-run=client -o yaml | kubectl apply -f -  # with a pair made as in certs/README.md"
            ),
        }
    }
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let maker = Maker::of(facts);
    let chain = chain(facts);
    let mut findings = pair(facts, maker, chain.as_deref());
    findings.extend(ca_bundles(facts, chain.as_deref()));
    findings
}

/// The name by which the API server calls.
fn name(namespace: &str) -> String {
    format!("mirrorgate.{namespace}.svc")
}

/// What is served, if it can be read.
fn chain(facts: &Facts) -> Option<Vec<Arc<Certificate>>> {
    let pem = facts.serving.as_ref().ok()?.chain.as_deref()?;
    Some(Bundle::read(pem).certificates).filter(|chain| !chain.is_empty())
}

fn pair(facts: &Facts, maker: Maker, chain: Option<&[Arc<Certificate>]>) -> Vec<Finding> {
    let Facts { namespace, now, .. } = facts;
    let renewal = maker.renewal(namespace);
    let ServingPair { key, authority, .. } = match &facts.serving {
        Ok(pair) => pair,
        Err(Unread::Absent) if maker == Maker::SelfManaged => {
            let message = format!("there is no Secret {SECRET}, which the replicas make as soon as they run");
            let restart = format!("kubectl -n {namespace} rollout restart deployment mirrorgate");
            return vec![Finding::fault(CHECK, message).remedy(restart)];
        }
        Err(Unread::Absent) => {
            let message = format!("there is no Secret {SECRET} in {namespace}, and so nothing to serve");
            return vec![Finding::fault(CHECK, message).remedy(renewal)];
        }
        Err(why) => return vec![Finding::unread(CHECK, "the serving certificate", why)],
    };
    let (Some(chain), Some(_)) = (chain, key) else {
        let message = format!("the Secret {SECRET} has no certificate and key that can be read (tls.crt, tls.key)");
        return vec![Finding::fault(CHECK, message).remedy(renewal)];
    };
    // Whoever trusts the certificate itself says what else is wrong with it.
    if let Err(why) = vouches(chain, &chain[..1], namespace, *now) {
        return vec![
            Finding::fault(CHECK, format!("the API server refuses the serving certificate: {why}")).remedy(renewal),
        ];
    }
    let end = chain[0].not_after();
    let authorities = authority.as_deref().map(|pem| Bundle::read(pem).certificates).unwrap_or_default();
    if maker != Maker::Files
        && let Err(why) = vouches(chain, &authorities, namespace, *now)
    {
        let message = format!("the CA beside the serving certificate (ca.crt) does not vouch for it: {why}");
        return vec![Finding::fault(CHECK, message).remedy(renewal)];
    }
    let until = format!("for {}, until {end:.0}", name(namespace));
    vec![if end.duration_since(*now) < SOON {
        Finding::warning(CHECK, format!("the serving certificate ends soon: {until}")).remedy(renewal)
    } else {
        Finding::ok(CHECK, until)
    }]
}

fn ca_bundles(facts: &Facts, chain: Option<&[Arc<Certificate>]>) -> Vec<Finding> {
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
        match ca_bundle(facts, webhook, chain) {
            Ok(()) => fine.push(webhook.name.as_str()),
            Err(why) => match wrong.iter_mut().find(|(known, all)| *known == why && all[0].kind == webhook.kind) {
                Some((_, all)) => all.push(webhook),
                None => wrong.push((why, vec![webhook])),
            },
        }
    }
    let mut findings = Vec::new();
    if !fine.is_empty() {
        let finding = match chain {
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
        Finding::fault(CA_BUNDLE, format!("of {}: {why}", some_of(&names))).remedy(mend(facts, &webhooks))
    }));
    findings
}

/// Whether the API server, given this bundle, takes what is served.
fn ca_bundle(facts: &Facts, webhook: &Webhook, chain: Option<&[Arc<Certificate>]>) -> Result<(), String> {
    if webhook.ca_bundle.is_empty() {
        return Err("it is empty, and no public CA signs for a name of the cluster: every call fails".to_owned());
    }
    let Bundle { certificates, skipped } = Bundle::read(&webhook.ca_bundle);
    if certificates.is_empty() {
        let why: Vec<String> = skipped.iter().take(1).map(|skipped| format!(": {skipped}")).collect();
        return Err(cut(&format!("it has no certificate that can be used{}", why.concat())));
    }
    if let Some(chain) = chain {
        return vouches(chain, &certificates, &facts.namespace, facts.now)
            .map_err(|why| format!("the API server refuses the serving certificate: {why}"));
    }
    match certificates.iter().any(|authority| authority.not_after() > facts.now) {
        true => Ok(()),
        false => Err("all its CAs have expired".to_owned()),
    }
}

/// Whether the API server takes a chain under these CAs, and what it says else.
fn vouches(
    chain: &[Arc<Certificate>],
    authorities: &[Arc<Certificate>],
    namespace: &str,
    now: Timestamp,
) -> Result<(), String> {
    let roots = Roots::new(vec![Arc::new(Pool::new("caBundle", authorities.to_vec()))]);
    let sent: Vec<Vec<u8>> = chain.iter().map(|certificate| certificate.der().to_vec()).collect();
    match judge(&sent, &roots, &name(namespace), now).outcome {
        Outcome::Trusted(_) => Ok(()),
        Outcome::Untrusted(rejection) => Err(cut(&rejection.why)),
        Outcome::CannotJudge(why) => Err(cut(&why)),
    }
}

/// What puts the CA of the Secret into webhooks of one kind, whoever should have.
fn mend(facts: &Facts, webhooks: &[&Webhook]) -> String {
    let namespace = &facts.namespace;
    let has_authority = facts.serving.as_ref().map_or(true, |serving| serving.authority.is_some());
    let authority = match has_authority {
        true => format!("kubectl -n {namespace} get secret {SECRET} -o jsonpath='{{.data.ca\\.crt}}'"),
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
