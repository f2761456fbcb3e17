//! Trap 14: nothing that must run first waits for us.

use std::fs;
use std::process::Command;

use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};

use crate::installed::{Installed, comes_up, deployment, policy, run};
use crate::lab::{Lab, kubectl, kubectl_with, our_address, part, repository, until, work};
use crate::mirrorgate::NAMESPACE;
use crate::node::{REGISTRY, SECRET, make_secret, push};
use crate::pods::{images, named_pod, original_images};

/// The mirror of this test, a pod: images of ours and of others are pulled from there and nowhere else.
const MIRROR: &str = "front.lab.test:5443";

/// A cluster whose nodes are all new: no image is on the node, no container runs, neither mirrorgate's nor the mirror's from
/// which its image comes, and namespaces enforce.
#[tokio::test]
async fn trap_14_all_comes_up_from_nothing_under_fail_with_the_mirror_in_the_cluster() {
    let lab = Lab::bare().await;
    let mirror = lab.namespace(None).await;
    start_mirror(&mirror);
    drop(lab);
    let installed = Installed::begun(MIRROR, &policy().replace(REGISTRY, MIRROR)).await;
    installed.ready().await;
    let lab = &installed.lab;
    let namespace = lab.namespace(Some("enforce")).await;
    make_secret(&namespace, SECRET, MIRROR);
    let image = format!("docker.io/acme/{namespace}:1");
    push(&image);
    until("the namespace's pods to be rewritten", 10, async || {
        let made = lab.dry_run(&namespace, named_pod("any", &[&image])).await.ok()?;
        original_images(&made).map(|_| ())
    })
    .await;
    comes_up(&namespace, &deployment("web", &image, 1));

    let stopped = Stopped::new("kubelet");
    let at_once = DeleteParams::default().grace_period(0);
    for namespace in [NAMESPACE, &mirror, &namespace] {
        lab.pods(namespace).delete_collection(&at_once, &ListParams::default()).await.unwrap();
    }
    let ctr = |arguments: &[&str]| run(Command::new("ctr").args(["-n", "k8s.io"]).args(arguments));
    until("every container to end", 10, async || {
        let containers = ctr(&["tasks", "ls", "-q"]);
        for container in containers.lines() {
            // It may have ended since.
            let _ = Command::new("ctr").args(["-n", "k8s.io", "tasks", "rm", "-f", container]).output();
        }
        containers.is_empty().then_some(())
    })
    .await;
    for image in ctr(&["images", "ls", "-q"]).lines().filter(|name| !name.contains("/pause")) {
        ctr(&["images", "rm", "--sync", image]);
    }
    until("the namespace to be closed", 30, async || {
        let refused = lab.dry_run(&namespace, named_pod("any", &[&image])).await.err()?;
        refused.contains("failed calling webhook \"enforce.mirrorgate.dev\"").then_some(())
    })
    .await;

    drop(stopped);
    wait_for(&mirror, "mirror");
    installed.ready().await;
    wait_for(&namespace, "web");
    let pods = lab.pods(&namespace).list(&ListParams::default()).await.unwrap().items;
    let alive: Vec<_> = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
    assert_eq!(alive.len(), 1);
    assert_eq!(images(alive[0]), [format!("{MIRROR}/{image}")]);
}

/// A part of the lab that is away as long as this is there.
struct Stopped(&'static str);

impl Stopped {
    fn new(name: &'static str) -> Self {
        part("stop", name, "KILL");
        Self(name)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        part("start", self.0, "TERM");
    }
}

/// The controller of a namespace that was closed tries again after ever longer pauses.
#[track_caller]
fn wait_for(namespace: &str, deployment: &str) {
    let name = format!("deployment/{deployment}");
    let printed = kubectl(&["-n", namespace, "rollout", "status", &name, "--timeout=120s"]);
    assert!(printed.ok, "{printed:?}\n{}", kubectl(&["-n", namespace, "get", "events"]).out);
}

/// A registry with the images of the lab's, whose own image comes from there.
fn start_mirror(namespace: &str) {
    let image = format!("{REGISTRY}/lab/{namespace}-registry:1");
    run(Command::new(repository().join("tests/lab/push.sh")).arg(work()).args([&image, "registry"]));
    make_secret(namespace, "by-hand", REGISTRY);
    let host = MIRROR.split(':').next().unwrap();
    let (folder, pki) = (work().join("mirror"), work().join("pki"));
    fs::create_dir_all(&folder).unwrap();
    let script = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=mirror -CA {0}/ca.crt -CAkey {0}/ca.key \
         -addext subjectAltName=DNS:{host} -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth -keyout tls.key -out tls.crt
         kubectl -n {namespace} create secret tls mirror --cert=tls.crt --key=tls.key",
        pki.display()
    );
    run(Command::new("bash").args(["-euc", &script]).current_dir(&folder));
    let trusted = work().join("node/certs.d").join(MIRROR);
    fs::create_dir_all(&trusted).unwrap();
    fs::copy(pki.join("ca.crt"), trusted.join("ca.crt")).unwrap();

    let configuration = json!({
        "version": "0.1", "log": {"level": "warn", "accesslog": {"disabled": true}},
        "storage": {"filesystem": {"rootdirectory": "/images"}, "maintenance": {"readonly": {"enabled": true}}},
        "auth": {"htpasswd": {"realm": "lab", "path": "/htpasswd"}},
        "http": {
            "addr": MIRROR.replace(host, &our_address()),
            "tls": {"certificate": "/tls/tls.crt", "key": "/tls/tls.key"},
        },
    });
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mirror"},
        "data": {"config.yaml": configuration.to_string()},
    });
    kubectl_with(&config_map.to_string(), &["-n", namespace, "apply", "-f", "-"]).success();
    let mut mirror = deployment("mirror", &image, 1);
    mirror["spec"]["strategy"] = json!({"type": "Recreate"});
    let pod = &mut mirror["spec"]["template"]["spec"];
    pod["hostNetwork"] = json!(true);
    pod["imagePullSecrets"] = json!([{"name": "by-hand"}]);
    pod["volumes"] = json!([
        {"name": "tls", "secret": {"secretName": "mirror"}},
        {"name": "configuration", "configMap": {"name": "mirror"}},
        {"name": "images", "hostPath": {"path": work().join("registry")}},
        {"name": "passwords", "hostPath": {"path": work().join("node/htpasswd")}},
    ]);
    let container: &mut Value = &mut pod["containers"][0];
    container["args"] = json!(["serve", "/configuration/config.yaml"]);
    container["env"] = json!([{"name": "OTEL_TRACES_EXPORTER", "value": "none"}]);
    container["readinessProbe"] = json!({"tcpSocket": {"host": our_address(), "port": 5443}, "periodSeconds": 1});
    container["volumeMounts"] = json!([
        {"name": "tls", "mountPath": "/tls"},
        {"name": "configuration", "mountPath": "/configuration"},
        {"name": "images", "mountPath": "/images", "readOnly": true},
        {"name": "passwords", "mountPath": "/htpasswd", "readOnly": true},
    ]);
    comes_up(namespace, &mirror);
}
