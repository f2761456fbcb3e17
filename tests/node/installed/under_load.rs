//! Pods are created all the time in a namespace that enforces, while all that can change does: no call fails.

use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use crate::installed::load::{AT_ONCE, Failure, Load};
use crate::installed::{Installed, Replica, figure, policy, run};
use crate::lab::{empty_ca_bundle, kubectl, until};
use crate::mirrorgate::{NAMESPACE, edit_policy, sha256};
use crate::node::REGISTRY;
use crate::pods::{images, pod};

/// Pods a second, and how many there are at least.
const RATE: u32 = 75;
const CALLS: usize = 10_000;
const LEAST_RATE: f64 = 50.0;
/// What an event leaves behind shows soon after it: connections in the API server's pool, endpoints that it does not know yet.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// Until an API server knows of a change of the webhook configuration or of an endpoint; 133 ms were the most that was seen.
const HEARD: Duration = Duration::from_secs(1);

/// The webhooks, and the kind and place of each.
pub(crate) const WEBHOOKS: [(&str, &str, usize); 3] = [
    ("enforce", "mutatingwebhookconfiguration", 0),
    ("audit", "mutatingwebhookconfiguration", 1),
    ("policy", "validatingwebhookconfiguration", 0),
];

/// A stretch of time in which calls may fail, with which words, and how many of those that are sent.
struct Excuse {
    from: Instant,
    to: Instant,
    words: &'static [&'static str],
    share: f64,
}

impl Excuse {
    /// Whether a call was under way then, and failed by it.
    fn covers(&self, failure: &Failure) -> bool {
        let then = failure.sent <= self.to && failure.answered >= self.from;
        then && self.words.iter().any(|word| failure.text.contains(word))
    }
}

// kubectl blocks its thread: the load has others.
#[tokio::test(flavor = "multi_thread")]
async fn trap_23_no_call_fails_while_replicas_certificates_and_policies_change() {
    let installed = Installed::under(&policy()).await;
    let lab = &installed.lab;
    let namespace = lab.namespace(Some("enforce")).await;
    let image = "docker.io/acme/any:1";
    // The second is what an edited policy makes of it.
    let (other_policy, others) = (policy().replace("{host}/{repository}", "edited/{repository}"), "edited/acme/any:1");
    assert_ne!(other_policy, policy());
    let wanted = [format!("{REGISTRY}/{image}"), format!("{REGISTRY}/{others}")];
    let any = pod(&[image]);
    until("the namespace's pods to be rewritten", 10, async || {
        let made = lab.dry_run(&namespace, any.clone()).await.ok()?;
        (images(&made) == [&wanted[0]]).then_some(())
    })
    .await;
    let mut excuses = Vec::new();
    let load = Load::start(&namespace, serde_json::from_value(any).unwrap(), RATE, &wanted).await;
    tokio::time::sleep(AFTERWARDS).await;

    load.during("certificate renewed");
    let before = serving(&installed).await;
    renew("certificate");
    until("another certificate", 60, async || {
        let now = serving(&installed).await;
        (now.certificate != before.certificate && now.wish.is_none()).then_some(())
    })
    .await;
    assert_eq!(serving(&installed).await.authorities, before.authorities);
    tokio::time::sleep(AFTERWARDS).await;

    load.during("CA changed");
    renew("ca");
    for (step, authorities) in [("both CAs", 2), ("the new CA alone", 1)] {
        until(step, 120, async || {
            let now = serving(&installed).await;
            (now.wish.is_none() && now.authorities.len() == authorities && now.authorities != before.authorities)
                .then_some(())
        })
        .await;
    }
    trusted(&installed).await;
    tokio::time::sleep(AFTERWARDS).await;

    load.during("policy edited every second");
    let config_maps = Api::<ConfigMap>::namespaced(lab.client.clone(), NAMESPACE);
    let mut each_second = tokio::time::interval(Duration::from_secs(1));
    for edit in 0..20 {
        each_second.tick().await;
        let policy = if edit % 2 == 0 { other_policy.clone() } else { policy() };
        edit_policy(&config_maps, &format!("{policy}# {edit}\n")).await.unwrap();
    }
    edit_policy(&config_maps, &policy()).await.unwrap();
    until("the policy from before", 10, async || {
        for replica in installed.replicas().await {
            (replica.policy_in_force().await == sha256(&policy())).then_some(())?;
        }
        Some(())
    })
    .await;

    // In force some seconds after it was installed, and nothing tells when.
    until("what empties caBundle to be refused", 30, async || {
        (!empty_ca_bundle(&["--dry-run=server"]).ok).then_some(())
    })
    .await;
    for (webhook, kind, place) in WEBHOOKS {
        load.during(&format!("caBundle of {webhook} to be emptied"));
        let path = format!("/webhooks/{place}/clientConfig/caBundle");
        let patch = json!([{"op": "replace", "path": path, "value": ""}]).to_string();
        let refused = kubectl(&["patch", kind, "mirrorgate", "--type=json", "-p", &patch]);
        assert!(!refused.ok && refused.err.contains("this would empty caBundle"), "{refused:?}");
        tokio::time::sleep(AFTERWARDS).await;
    }

    for rollout in 1..=3 {
        load.during(&format!("rollout {rollout}"));
        let replicas = installed.replicas().await;
        kubectl(&["-n", NAMESPACE, "rollout", "restart", "deployment/mirrorgate"]).success();
        kubectl(&["-n", NAMESPACE, "rollout", "status", "deployment/mirrorgate", "--timeout=120s"]).success();
        installed.ready().await;
        let is_old = |new: &Replica| replicas.iter().any(|old| old.name == new.name);
        assert!(!installed.replicas().await.iter().any(is_old));
        tokio::time::sleep(AFTERWARDS).await;
    }

    load.during("replica killed");
    let killed = installed.replicas().await.remove(0);
    let from = Instant::now();
    run(Command::new("kill").args(["-KILL", &killed.process.to_string()]));
    until("the killed replica to be known as such", 30, async || (!serves(&installed, &killed).await).then_some(()))
        .await;
    let known = from.elapsed();
    figure("a killed replica is no endpoint any more after", format!("{known:.2?}"));
    // What it had begun; and what is sent there, of two replicas, before the kubelet has seen its end: the API server tries no
    // other when a connection is refused.
    let words = &["EOF", "server closed idle connection", "connection reset", "connection refused", "broken pipe"];
    excuses.push(("replica killed", Excuse { from, to: Instant::now() + HEARD, words, share: 0.5 }));
    until("the next process of the killed replica", 60, async || {
        killed.get("/readyz").await.is_ok_and(|(status, _)| status == 200).then_some(())
    })
    .await;
    installed.ready().await;
    tokio::time::sleep(AFTERWARDS).await;

    load.during("nothing again");
    let rest = Duration::from_secs(1) * u32::try_from(CALLS).unwrap() / RATE;
    tokio::time::sleep(rest.saturating_sub(load.elapsed()) + AFTERWARDS).await;
    let record = load.end().await;
    let rate = record.calls as f64 / record.took.as_secs_f64();
    figure("calls in all, a second", format!("{}, {rate:.1}", record.calls));
    assert!(record.calls >= CALLS && rate >= LEAST_RATE, "{} calls, {rate} a second", record.calls);
    assert_eq!(record.images.len(), wanted.len(), "both policies were in force: {:?}", record.images);
    let (excused, failed): (Vec<&Failure>, Vec<&Failure>) =
        record.failures.iter().partition(|failure| excuses.iter().any(|(_, excuse)| excuse.covers(failure)));
    assert!(failed.is_empty(), "{failed:#?}");
    for (event, excuse) in &excuses {
        let most = AT_ONCE as f64 + (excuse.to - excuse.from).as_secs_f64() * f64::from(RATE) * excuse.share;
        let count = excused.iter().filter(|failure| excuse.covers(failure)).count();
        figure(&format!("failed, {event}"), format!("{count}, at most {most:.0}"));
        assert!(count as f64 <= most, "{event}: {count} of {most}");
    }
}

/// What the Secret holds.
struct Serving {
    certificate: String,
    /// PEM, each.
    authorities: Vec<String>,
    wish: Option<String>,
}

async fn serving(installed: &Installed) -> Serving {
    let secrets = Api::<Secret>::namespaced(installed.lab.client.clone(), NAMESPACE);
    let secret = secrets.get("mirrorgate-serving").await.unwrap();
    let text = |key: &str| String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap();
    let authorities = text("ca.crt").split_inclusive("-----END CERTIFICATE-----\n").map(ToOwned::to_owned).collect();
    let wish = secret.metadata.annotations.as_ref().and_then(|all| all.get("mirrorgate.dev/renew").cloned());
    Serving { certificate: text("tls.crt"), authorities, wish }
}

fn renew(what: &str) {
    let wish = format!("mirrorgate.dev/renew={what}");
    kubectl(&["-n", NAMESPACE, "annotate", "secret", "mirrorgate-serving", &wish]).success();
}

/// Waits until every webhook trusts what the Secret says.
pub(crate) async fn trusted(installed: &Installed) {
    let client = &installed.lab.client;
    let mutating = Api::<MutatingWebhookConfiguration>::all(client.clone());
    let validating = Api::<ValidatingWebhookConfiguration>::all(client.clone());
    until("caBundle of every webhook", 60, async || {
        let (mutating, validating) =
            (mutating.get("mirrorgate").await.unwrap(), validating.get("mirrorgate").await.unwrap());
        let mutating = mutating.webhooks.into_iter().flatten().map(|webhook| webhook.client_config);
        let validating = validating.webhooks.into_iter().flatten().map(|webhook| webhook.client_config);
        let bundles: Vec<_> =
            mutating.chain(validating).map(|config| config.ca_bundle.map(|bundle| bundle.0)).collect();
        assert_eq!(bundles.len(), WEBHOOKS.len());
        let wanted = serving(installed).await.authorities.concat().into_bytes();
        bundles.into_iter().all(|bundle| bundle.as_ref() == Some(&wanted)).then_some(())
    })
    .await;
}

/// Whether the API server may call this very process.
async fn serves(installed: &Installed, replica: &Replica) -> bool {
    let replicas = installed.replicas().await;
    let lives = replicas.iter().any(|now| now.process == replica.process);
    lives || endpoints(installed).await.contains(&replica.address)
}

/// The addresses behind the Service that are called.
async fn endpoints(installed: &Installed) -> Vec<String> {
    let slices = Api::<EndpointSlice>::namespaced(installed.lab.client.clone(), NAMESPACE);
    let ours = ListParams::default().labels("kubernetes.io/service-name=mirrorgate");
    let endpoints = slices.list(&ours).await.unwrap().items.into_iter().flat_map(|slice| slice.endpoints);
    let ready = endpoints.filter(|endpoint| endpoint.conditions.as_ref().is_some_and(|is| is.ready == Some(true)));
    ready.flat_map(|endpoint| endpoint.addresses).collect()
}
