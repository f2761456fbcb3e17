//! The serving certificate in the cluster, in its three ways.

mod not_allowed;
mod replicas;
mod self_managed;
mod somebody_elses;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use mirrorgate::image::Registry;
use mirrorgate::probe::{Dialler, Kind, Target};
use mirrorgate::trust::{Bundle, Certificate, Outcome, Pool, Roots};
use serde_json::json;

use crate::lab::{Lab, our_address, until};
use crate::mirrorgate::NAMESPACE;
use crate::pods::{images, pod};

const SECRET: &str = "mirrorgate-serving";
const NAME: &str = "mirrorgate.mirrorgate-system.svc";

fn secrets(lab: &Lab) -> Api<Secret> {
    Api::namespaced(lab.client.clone(), NAMESPACE)
}

/// What the Secret holds; empty where it is not there.
async fn held(lab: &Lab) -> BTreeMap<String, Vec<u8>> {
    let secret = secrets(lab).get_opt(SECRET).await.unwrap();
    let data = secret.and_then(|secret| secret.data).unwrap_or_default();
    data.into_iter().map(|(key, ByteString(value))| (key, value)).collect()
}

/// Writes these values, and leaves the others as they are.
async fn write(lab: &Lab, values: &[(&str, &[u8])]) {
    let data: BTreeMap<&str, ByteString> =
        values.iter().map(|(key, value)| (*key, ByteString(value.to_vec()))).collect();
    let secret = json!({"type": "kubernetes.io/tls", "metadata": {"name": SECRET}, "data": data});
    if secrets(lab).get_opt(SECRET).await.unwrap().is_some() {
        secrets(lab).patch(SECRET, &PatchParams::default(), &Patch::Merge(&secret)).await.unwrap();
    } else {
        let secret = serde_json::from_value(secret).unwrap();
        secrets(lab).create(&PostParams::default(), &secret).await.unwrap();
    }
}

async fn annotate(lab: &Lab, value: &str) {
    let patch = json!({"metadata": {"annotations": {"mirrorgate.dev/renew": value}}});
    secrets(lab).patch(SECRET, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

/// `caBundle` of each webhook that is installed.
async fn bundles(lab: &Lab) -> Vec<Vec<u8>> {
    let mutating = Api::<MutatingWebhookConfiguration>::all(lab.client.clone()).get("mirrorgate").await.unwrap();
    let validating = Api::<ValidatingWebhookConfiguration>::all(lab.client.clone()).get("mirrorgate").await.unwrap();
    let mutating = mutating.webhooks.into_iter().flatten().map(|webhook| webhook.client_config);
    let validating = validating.webhooks.into_iter().flatten().map(|webhook| webhook.client_config);
    mutating
        .chain(validating)
        .map(|config| config.ca_bundle.map(|ByteString(bundle)| bundle).unwrap_or_default())
        .collect()
}

/// Gives every webhook that bundle.
fn write_bundles(bundle: &[u8]) {
    let operations = |webhooks: usize| {
        let path = |n| format!("/webhooks/{n}/clientConfig/caBundle");
        let operations =
            (0..webhooks).map(|n| json!({"op": "add", "path": path(n), "value": ByteString(bundle.to_vec())}));
        operations.collect::<Vec<_>>()
    };
    for (kind, webhooks) in [("mutatingwebhookconfiguration", 2), ("validatingwebhookconfiguration", 1)] {
        let patch = serde_json::Value::Array(operations(webhooks)).to_string();
        crate::lab::kubectl(&["patch", kind, "mirrorgate", "--type=json", "-p", &patch]).success();
    }
}

/// Waits until every webhook has what `ca.crt` of the Secret says.
async fn bundles_are_right(lab: &Lab) {
    until("the caBundle of every webhook", 10, async || {
        let authorities = held(lab).await.remove("ca.crt")?;
        bundles(lab).await.iter().all(|bundle| *bundle == authorities).then_some(())
    })
    .await;
}

fn certificates(pem: &[u8]) -> Vec<Arc<Certificate>> {
    Bundle::read(pem).certificates
}

/// The certificate that is served at a port, and whether it is good under these CAs.
async fn served_at(port: u16, authorities: &[u8]) -> Option<(String, bool)> {
    let registry = Registry::parse(NAME).unwrap();
    let address: SocketAddr = format!("{}:{port}", our_address()).parse().unwrap();
    let target = Target {
        registry: &registry,
        checked: Kind::HandshakeOnly,
        denied: &[],
        literal_allowed: true,
        timeout: Duration::from_secs(5),
        resolve: Some(address),
    };
    let roots = Roots::new(vec![Arc::new(Pool::new("ca.crt", certificates(authorities)))]);
    let judgement = Dialler::new().probe(&target, &roots).await.judgement?;
    let leaf = judgement.presented.first()?.as_ref().ok()?.facts().sha256;
    Some((leaf, matches!(judgement.outcome, Outcome::Trusted(_))))
}

/// Waits until a call of the API server goes well. A change of `caBundle` makes it forget the connections that it has.
async fn a_call_goes_well(lab: &Lab, namespace: &str) {
    until("a pod through the webhook", 10, async || {
        let made = lab.dry_run(namespace, pod(&["nginx:1.27"])).await.ok()?;
        (images(&made) != ["nginx:1.27"]).then_some(())
    })
    .await;
}

/// Waits for an Event of this reason whose note contains the text.
async fn event(lab: &Lab, reason: &str, text: &str) {
    let events = Api::<Event>::namespaced(lab.client.clone(), NAMESPACE);
    until(&format!("an Event {reason} with {text:?}"), 10, async || {
        let found = events.list(&ListParams::default()).await.unwrap().items;
        let is_it = |event: &Event| {
            event.reason.as_deref() == Some(reason) && event.note.as_deref().is_some_and(|note| note.contains(text))
        };
        found.iter().any(is_it).then_some(())
    })
    .await;
}

#[expect(clippy::print_stdout, reason = "shown by --nocapture, for benches/README.md")]
fn figure(text: &str) {
    println!("figure: {text}");
}
