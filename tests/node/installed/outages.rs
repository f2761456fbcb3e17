//! Without the API server and without etcd, and from nothing: what was in force stays so, and nobody has to help.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use crate::installed::under_load::{WEBHOOKS, trusted};
use crate::installed::{Installed, Replica, figure, policy, run};
use crate::lab::{client, kubectl, let_ca_bundles_be_emptied, part, until};
use crate::mirrorgate::{NAMESPACE, sha256};
use crate::node::REGISTRY;
use crate::pods::{images, pod};

/// How long the API server is away, and etcd.
const WITHOUT_API_SERVER: Duration = Duration::from_secs(120);
const WITHOUT_ETCD: Duration = Duration::from_secs(5);
/// A pod of this image is created, and gets that one.
const IMAGE: &str = "docker.io/acme/any:1";

/// How often replicas start from nothing.
const STARTS: usize = 20;

#[tokio::test]
async fn what_is_in_force_stays_so_without_the_api_server_and_without_etcd() {
    let installed = Installed::under(&policy()).await;
    let namespace = enforced(&installed).await;
    let replicas = installed.replicas().await;
    for (name, away) in [("apiserver", WITHOUT_API_SERVER), ("etcd", WITHOUT_ETCD)] {
        part("stop", name, "KILL");
        let stopped = Instant::now();
        while stopped.elapsed() < away {
            for replica in &replicas {
                let (status, report) = replica.get("/readyz").await.unwrap();
                assert_eq!(status, 200, "without {name}, after {:?}: {report}", stopped.elapsed());
                assert_eq!(replica.policy_in_force().await, sha256(&policy()));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        part("start", name, "TERM");
        until("the API server", 90, async || kubectl(&["get", "--raw", "/readyz"]).ok.then_some(())).await;
        let back = Instant::now();
        // Its clients are new: one of before may wait for what is gone.
        let pods = Api::<Pod>::namespaced(client().await, &namespace);
        let mut last = String::new();
        until("a pod as the policy wants it", 90, async || {
            let made = created(&pods).await;
            if let Err(text) = &made
                && *text != last
            {
                figure(&format!("{name} back since {:.1?}, a pod", back.elapsed()), text);
                last.clone_from(text);
            }
            made.is_ok_and(|image| image == mirrored()).then_some(())
        })
        .await;
        figure(&format!("{name} back: the first pod rewritten after"), format!("{:.1?}", back.elapsed()));
        installed.ready().await;
        let now = installed.replicas().await;
        for old in &replicas {
            let is_there = now.iter().any(|new| (&new.name, new.process) == (&old.name, old.process));
            assert!(is_there, "{} was started anew", old.name);
            until("the watches", 60, async || {
                let (_, report) = old.get("/readyz").await.unwrap();
                (!report.contains("cannot be watched")).then_some(())
            })
            .await;
        }
        figure(&format!("{name} back: all watched again after"), format!("{:.1?}", back.elapsed()));
    }
    // Kubernetes' own clients may wait a minute more before they try again: the next test needs them.
    for client in ["kcm", "scheduler", "kubelet"] {
        part("restart", client, "TERM");
    }
}

/// Trap 24, with pods: `tests/cluster` does it more often, with processes.
#[tokio::test]
async fn trap_24_three_replicas_from_nothing_agree_on_one_ca() {
    let installed = Installed::under(&policy()).await;
    let namespace = enforced(&installed).await;
    let secrets = Api::<Secret>::namespaced(installed.lab.client.clone(), NAMESPACE);
    let mut authorities = Vec::new();
    let_ca_bundles_be_emptied().await;
    for start in 1..=STARTS {
        end(&installed).await;
        secrets.delete("mirrorgate-serving", &DeleteParams::default()).await.unwrap();
        for (_, kind, place) in WEBHOOKS {
            let path = format!("/webhooks/{place}/clientConfig/caBundle");
            let patch = json!([{"op": "replace", "path": path, "value": ""}]).to_string();
            kubectl(&["patch", kind, "mirrorgate", "--type=json", "-p", &patch]).success();
        }

        let begun = Instant::now();
        scale(3);
        let first = until("the Secret", 60, async || secrets.get_opt("mirrorgate-serving").await.unwrap()).await;
        scaled(&installed, 3).await;
        figure(&format!("three replicas from nothing, {start}: ready after"), format!("{:.1?}", begun.elapsed()));
        trusted(&installed).await;
        let replicas = installed.replicas().await;
        assert_eq!(replicas.len(), 3);
        for replica in &replicas {
            let leaf = String::from_utf8(first.data.as_ref().unwrap()["tls.crt"].0.clone()).unwrap();
            let served = served_by(replica);
            assert!(served.contains(leaf.trim()), "{}: {served}", replica.name);
        }
        rewritten(&installed, &namespace).await;
        let last = secrets.get("mirrorgate-serving").await.unwrap();
        assert_eq!(last.metadata.resource_version, first.metadata.resource_version, "it was written once");
        let authority = last.data.unwrap()["ca.crt"].0.clone();
        assert!(!authorities.contains(&authority));
        authorities.push(authority);
    }
    scale(2);
    scaled(&installed, 2).await;
}

/// A namespace that enforces, once it does.
async fn enforced(installed: &Installed) -> String {
    let namespace = installed.lab.namespace(Some("enforce")).await;
    rewritten(installed, &namespace).await;
    namespace
}

async fn rewritten(installed: &Installed, namespace: &str) {
    let pods = installed.lab.pods(namespace);
    until("a pod as the policy wants it", 30, async || (created(&pods).await.ok()? == mirrored()).then_some(())).await;
}

/// The image that a pod would get.
async fn created(pods: &Api<Pod>) -> Result<String, String> {
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let made = pods.create(&dry_run, &serde_json::from_value(pod(&[IMAGE])).unwrap()).await;
    made.map(|made| images(&made).concat()).map_err(|error| error.to_string())
}

fn mirrored() -> String {
    format!("{REGISTRY}/{IMAGE}")
}

/// Waits until there are so many replicas, all of them ready.
async fn scaled(installed: &Installed, replicas: usize) {
    let rollout = ["-n", NAMESPACE, "rollout", "status", "deployment/mirrorgate", "--timeout=120s"];
    kubectl(&rollout).success();
    until("so many replicas", 60, async || (installed.pods().await.len() == replicas).then_some(())).await;
}

/// Ends every replica, without farewell: one that is still there would put the Secret back.
async fn end(installed: &Installed) {
    scale(0);
    until("no replica that stays", 60, async || installed.pods().await.is_empty().then_some(())).await;
    until("no process", 60, async || {
        let left = installed.all_replicas().await;
        for replica in &left {
            // It may have ended since.
            let _ = Command::new("kill").args(["-KILL", &replica.process.to_string()]).output();
        }
        left.is_empty().then_some(())
    })
    .await;
}

fn scale(replicas: usize) {
    let replicas = format!("--replicas={replicas}");
    kubectl(&["-n", NAMESPACE, "scale", "deployment/mirrorgate", &replicas]).success();
}

/// What a replica answers to a handshake, its certificate in PEM among it.
fn served_by(replica: &Replica) -> String {
    let name = format!("mirrorgate.{NAMESPACE}.svc");
    let address = format!("{}:8443", replica.address);
    run(Command::new("openssl").args(["s_client", "-connect", &address, "-servername", &name]).stdin(Stdio::null()))
}
