//! Several replicas, as processes of their own: what they agree on, and how often they write.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::stream::FuturesUnordered;
use futures::{StreamExt, stream};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::api::{DeleteParams, WatchEvent, WatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{
    NAME, SECRET, annotate, bundles, bundles_are_right, certificates, figure, held, secrets, served_at, write_bundles,
};
use crate::lab::{
    Lab, empty_ca_bundle, kubectl, kubectl_with, let_ca_bundles_be_emptied, our_address, part, repository, until, work,
};
use crate::mirrorgate::{NAMESPACE, PART, arguments, get_at, kubeconfig};
use crate::pods::{images, pod};

/// A replica beside the one that the lab runs; killed when it is dropped.
struct Replica {
    child: Child,
    https: u16,
    http: u16,
}

impl Replica {
    async fn start(n: u16) -> Self {
        Self::start_with(n, &[]).await
    }

    async fn start_with(n: u16, more: &[&str]) -> Self {
        let (https, http) = (9443 + n, 9080 + n);
        let listen = [format!("--listen={}:{https}", our_address()), format!("--http-listen={}:{http}", our_address())];
        let log = std::fs::File::create(work().join(format!("logs/replica-{n}.log"))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_mirrorgate"))
            .args(arguments(&[]).await.iter().filter(|argument| !argument.contains("listen=")))
            .args(listen)
            .args(more)
            .env("KUBECONFIG", kubeconfig())
            .env("HOSTNAME", format!("replica-{n}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, https, http }
    }

    async fn is_ready(&self) {
        until("a replica to be ready", 30, async || {
            let (status, _) = get_at(self.http, "/readyz").await.ok()?;
            (status == 200).then_some(())
        })
        .await;
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Every change of the Secret and of both configurations from now on.
struct Changes {
    seen: mpsc::UnboundedReceiver<(String, Instant)>,
    _watches: JoinSet<()>,
}

impl Changes {
    async fn watch(lab: &Lab) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let mut watches = JoinSet::new();
        let of = |name: &str| format!("metadata.name={name}");
        follow("Secret", secrets(lab), of(SECRET), &sender, &mut watches).await;
        let mutating = Api::<MutatingWebhookConfiguration>::all(lab.client.clone());
        follow("Mutating", mutating, of("mirrorgate"), &sender, &mut watches).await;
        let validating = Api::<ValidatingWebhookConfiguration>::all(lab.client.clone());
        follow("Validating", validating, of("mirrorgate"), &sender, &mut watches).await;
        Self { seen, _watches: watches }
    }

    /// All until nothing has changed for so long.
    async fn until_quiet(&mut self, quiet: Duration) -> Vec<(String, Instant)> {
        let mut changes = Vec::new();
        while let Ok(Some(change)) = tokio::time::timeout(quiet, self.seen.recv()).await {
            changes.push(change);
        }
        changes
    }
}

async fn follow<K>(
    kind: &'static str,
    api: Api<K>,
    fields: String,
    sender: &mpsc::UnboundedSender<(String, Instant)>,
    watches: &mut JoinSet<()>,
) where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let list = api.list(&kube::api::ListParams::default().fields(&fields)).await.unwrap();
    let version = list.metadata.resource_version.unwrap();
    let params = WatchParams::default().fields(&fields).timeout(250);
    let mut events = api.watch(&params, &version).await.unwrap().boxed();
    let sender = sender.clone();
    watches.spawn(async move {
        while let Some(Ok(event)) = events.next().await {
            let what = match event {
                WatchEvent::Added(_) => "added",
                WatchEvent::Modified(_) => "modified",
                WatchEvent::Deleted(_) => "deleted",
                WatchEvent::Bookmark(_) | WatchEvent::Error(_) => continue,
            };
            let _nobody_listens = sender.send((format!("{kind} {what}"), Instant::now()));
        }
    });
}

#[tokio::test]
async fn trap_24_three_replicas_from_nothing_agree_on_one_ca_twenty_times() {
    let lab = Lab::alone().await;
    let_ca_bundles_be_emptied().await;
    part("stop", PART, "KILL");
    let mut ready = Vec::new();
    for round in 0..20 {
        secrets(&lab).delete(SECRET, &DeleteParams::default()).await.unwrap();
        write_bundles(b"");
        let mut changes = Changes::watch(&lab).await;
        let start = Instant::now();
        let replicas = [Replica::start(0).await, Replica::start(1).await, Replica::start(2).await];
        for replica in &replicas {
            replica.is_ready().await;
            ready.push(start.elapsed().as_millis());
        }
        // One write for each object, and none after it.
        let changes = changes.until_quiet(Duration::from_millis(1500)).await;
        let mut changes: Vec<String> = changes.into_iter().map(|(what, _)| what).collect();
        changes.sort();
        assert_eq!(changes, ["Mutating modified", "Secret added", "Validating modified"], "round {round}");
        let authorities = held(&lab).await.remove("ca.crt").unwrap();
        assert_eq!(certificates(&authorities).len(), 1);
        assert!(bundles(&lab).await.iter().all(|bundle| *bundle == authorities));
        let first = served_at(replicas[0].https, &authorities).await;
        assert!(first.as_ref().is_some_and(|(_, is_trusted)| *is_trusted), "{first:?}");
        for replica in &replicas {
            assert_eq!(served_at(replica.https, &authorities).await, first);
        }
    }
    ready.sort_unstable();
    figure(&format!("from nothing to ready, of 60 replicas (ms): median {}, most {}", ready[30], ready[59]));
}

/// The other replica as an endpoint of the Service, too.
struct SecondEndpoint(Replica);

const SLICE: &str = "mirrorgate-second-process";

impl SecondEndpoint {
    async fn start() -> Self {
        Self::of(Replica::start(0).await).await
    }

    async fn of(replica: Replica) -> Self {
        replica.is_ready().await;
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": SLICE, "namespace": NAMESPACE,
                "labels": {"kubernetes.io/service-name": "mirrorgate", "endpointslice.kubernetes.io/managed-by": "tests"},
            },
            "ports": [{"name": "https", "port": replica.https, "protocol": "TCP"}],
            "endpoints": [{"addresses": [our_address()], "conditions": {"ready": true}}],
        });
        kubectl_with(&slice.to_string(), &["apply", "-f", "-"]).success();
        Self(replica)
    }
}

impl Drop for SecondEndpoint {
    fn drop(&mut self) {
        kubectl(&["-n", NAMESPACE, "delete", "endpointslice", SLICE]);
    }
}

/// Who starts without a pair while another serves one leaves it to that one to put the Secret back; when nobody has it any
/// more, all is made anew. The other one here is of another way, so that it never puts anything back.
#[tokio::test]
async fn trap_24_who_starts_without_the_secret_makes_no_ca_while_another_replica_serves() {
    let lab = Lab::alone().await;
    bundles_are_right(&lab).await;
    let before = held(&lab).await;
    let other = SecondEndpoint::of(Replica::start_with(0, &["--serving-certificate=own"]).await).await;
    part("stop", PART, "KILL");
    secrets(&lab).delete(SECRET, &DeleteParams::default()).await.unwrap();
    let mut changes = Changes::watch(&lab).await;
    let start = Instant::now();
    let starting = Replica::start(1).await;
    // Without the other one something would be made after six seconds.
    let made = changes.until_quiet(Duration::from_secs(12)).await;
    assert!(made.is_empty(), "{made:?}");
    let (status, report) = get_at(starting.http, "/readyz").await.unwrap();
    assert!(status == 503 && report.contains("there is no Secret mirrorgate-serving"), "{report}");
    let (_, is_trusted) = served_at(other.0.https, &before["ca.crt"]).await.unwrap();
    assert!(is_trusted);

    let ended = Instant::now();
    drop(other);
    starting.is_ready().await;
    let after = held(&lab).await;
    assert!(certificates(&after["ca.crt"]).len() == 1 && after["ca.crt"] != before["ca.crt"]);
    bundles_are_right(&lab).await;
    figure(&format!(
        "the last replica that remembers a deleted Secret ends after {} s: all made anew {} s later",
        (ended - start).as_secs(),
        ended.elapsed().as_secs()
    ));
    drop(starting);
    part("start", PART, "TERM");
}

/// What came of the calls while something else went on.
#[derive(Debug, Default)]
struct Calls {
    well: usize,
    failed: Vec<String>,
}

/// About fifty calls a second until `work` is done.
async fn under_load<T>(lab: &Lab, namespace: &str, work: impl Future<Output = T>) -> (T, Calls) {
    let (mut calls, mut running) = (Calls::default(), FuturesUnordered::new());
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let mut work = std::pin::pin!(work);
    let mut done = None;
    while done.is_none() || !running.is_empty() {
        tokio::select! {
            value = &mut work, if done.is_none() => done = Some(value),
            Some(made) = running.next() => match made {
                Ok(made) if images(&made) != ["nginx:1.27"] => calls.well += 1,
                Ok(_) => calls.failed.push("not rewritten".to_owned()),
                Err(error) => calls.failed.push(error),
            },
            _ = ticks.tick(), if done.is_none() => running.push(lab.dry_run(namespace, pod(&["nginx:1.27"]))),
        }
    }
    (done.unwrap(), calls)
}

#[tokio::test]
async fn trap_24_the_certificate_and_its_ca_are_renewed_under_load_without_a_failed_call() {
    let lab = Lab::alone().await;
    let namespace = lab.namespace(Some("enforce")).await;
    bundles_are_right(&lab).await;
    let second = SecondEndpoint::start().await;
    let before = held(&lab).await;

    let (renewed, calls) = under_load(&lab, &namespace, async {
        annotate(&lab, "certificate").await;
        until("the new certificate", 20, async || {
            let now = held(&lab).await;
            (now["tls.crt"] != before["tls.crt"]).then_some(now)
        })
        .await
    })
    .await;
    assert_eq!(renewed["ca.crt"], before["ca.crt"]);
    figure(&format!("certificate renewed under load: {} calls, {} failed", calls.well, calls.failed.len()));
    assert!(calls.failed.is_empty() && calls.well > 10, "{calls:?}");

    let start = Instant::now();
    let (changed, calls) = under_load(&lab, &namespace, async {
        annotate(&lab, "ca").await;
        let mut most = 0;
        let changed = until("the new CA alone", 90, async || {
            let now = held(&lab).await;
            let authorities = certificates(&now["ca.crt"]).len();
            most = most.max(authorities);
            (now["ca.crt"] != before["ca.crt"] && authorities == 1).then_some(now)
        })
        .await;
        assert_eq!(most, 2, "both CAs were never there together");
        bundles_are_right(&lab).await;
        // Until new connections are made under the new CA alone.
        stream::iter(0..50).then(|_| tokio::time::sleep(Duration::from_millis(20))).collect::<Vec<()>>().await;
        changed
    })
    .await;
    figure(&format!(
        "CA changed under load: {} s, {} calls, {} failed",
        start.elapsed().as_secs(),
        calls.well,
        calls.failed.len()
    ));
    assert!(calls.failed.is_empty() && calls.well > 500, "{calls:?}");
    for port in [8443, second.0.https] {
        let (_, is_trusted) = served_at(port, &changed["ca.crt"]).await.unwrap();
        assert!(is_trusted, "{port} does not serve {NAME} by the new CA");
    }
    let annotations = secrets(&lab).get(SECRET).await.unwrap().metadata.annotations.unwrap_or_default();
    assert!(!annotations.contains_key("mirrorgate.dev/renew"), "{annotations:?}");
}

/// Nobody empties `caBundle` by mistake; what does not, passes.
#[tokio::test]
async fn what_would_empty_a_ca_bundle_is_refused() {
    let lab = Lab::alone().await;
    bundles_are_right(&lab).await;
    let before = bundles(&lab).await;
    let refused = until("the policy to be in force", 30, async || {
        let printed = empty_ca_bundle(&["--dry-run=server"]);
        (!printed.ok).then_some(printed)
    })
    .await;
    assert!(refused.err.contains("this would empty caBundle") && refused.err.contains("(Forbidden)"), "{refused:?}");
    let patch = |kind: &str, patch: serde_json::Value| {
        kubectl(&["patch", kind, "mirrorgate", "--type=json", "-p", &patch.to_string()])
    };
    for (kind, webhook) in [("mutatingwebhookconfiguration", 1), ("validatingwebhookconfiguration", 0)] {
        let path = format!("/webhooks/{webhook}/clientConfig/caBundle");
        assert!(!patch(kind, json!([{"op": "remove", "path": path}])).ok);
        assert!(!patch(kind, json!([{"op": "replace", "path": path, "value": ""}])).ok);
    }
    let manifest = repository().join("manifests/base/webhook.yaml");
    let manifest = manifest.to_str().unwrap();
    assert!(!kubectl(&["replace", "-f", manifest]).ok);
    kubectl(&["apply", "-f", manifest]).success();
    kubectl(&["apply", "--server-side", "--force-conflicts", "-f", manifest]).success();
    let ignore = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]);
    patch("mutatingwebhookconfiguration", ignore).success();
    assert_eq!(bundles(&lab).await, before);
    kubectl(&["delete", "-f", manifest]).success();
}

/// `caBundle` is emptied under load where that is not refused, and mended: what fails are the calls of the moment in between.
#[tokio::test]
async fn an_emptied_ca_bundle_is_mended_within_milliseconds() {
    let lab = Lab::alone().await;
    let_ca_bundles_be_emptied().await;
    let namespace = lab.namespace(Some("enforce")).await;
    bundles_are_right(&lab).await;
    let _second = SecondEndpoint::start().await;
    let authorities = held(&lab).await.remove("ca.crt").unwrap();
    let (mut took, calls) = under_load(&lab, &namespace, async {
        let mut took = Vec::new();
        for _ in 0..20 {
            let mut changes = Changes::watch(&lab).await;
            let empty = json!([
                {"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"},
                {"op": "remove", "path": "/webhooks/1/clientConfig/caBundle"},
            ]);
            let patch = kube::client::Body::from(serde_json::to_vec(&empty).unwrap());
            let request =
                hyper::Request::patch("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/mirrorgate")
                    .header("content-type", "application/json-patch+json")
                    .body(patch)
                    .unwrap();
            lab.client.send(request).await.unwrap();
            // Emptied by us, mended by one of the two.
            let changes = changes.until_quiet(Duration::from_millis(500)).await;
            let what: Vec<&str> = changes.iter().map(|(what, _)| what.as_str()).collect();
            assert_eq!(what, ["Mutating modified", "Mutating modified"]);
            took.push((changes[1].1 - changes[0].1).as_millis());
            assert!(bundles(&lab).await.iter().all(|bundle| *bundle == authorities));
        }
        took
    })
    .await;
    took.sort_unstable();
    figure(&format!(
        "caBundle emptied 20 times under load, mended after (ms): median {}, most {}; {} calls, {} failed",
        took[10],
        took[19],
        calls.well,
        calls.failed.len()
    ));
    assert!(took[19] < 5000, "{took:?}");
    assert!(calls.well > 500, "{calls:?}");
    let of_the_moment = |error: &String| error.contains("x509: certificate signed by unknown authority");
    assert!(calls.failed.iter().all(of_the_moment), "{calls:?}");
}
