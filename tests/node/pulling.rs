//! Images that the kubelet pulls, or has, and the secrets that it wants for them.

use std::process::Command;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::node::{self, REGISTRY, SECRET, make_secret, push, refused, running, said};
use crate::pods::{images, named_pod};

/// What the other tests rest on: no pod of these meets mirrorgate.
#[tokio::test]
async fn the_registry_gives_images_to_pods_with_a_secret_only() {
    let lab = node::lab().await;
    let namespace = lab.namespace(None).await;
    make_secret(&namespace, "by-hand", REGISTRY);
    let image = push(&format!("lab/{namespace}:1"));
    lab.create(&namespace, named_pod("without", &[&image])).await.unwrap();
    refused(&lab, &namespace, "without").await;
    said(&lab, &namespace, "without", DENIED).await;

    let mut pod = named_pod("with", &[&image]);
    pod["spec"]["imagePullSecrets"] = json!([{"name": "by-hand"}]);
    lab.create(&namespace, pod).await.unwrap();
    running(&lab, &namespace, "with").await;
}

#[tokio::test]
async fn s1_a_pod_without_a_pull_secret_runs_from_the_mirror() {
    let lab = node::lab().await;
    let namespace = lab.namespace(Some("enforce")).await;
    make_secret(&namespace, SECRET, REGISTRY);
    let written = [format!("docker.io/acme/{namespace}:1"), format!("registry.test/{namespace}/tool:2")];
    let mirrored = [push(&written[0]), push(&written[1])];
    let pod = named_pod("web", &[&written[0], &written[1]]);
    node::create(&namespace, &pod, str::is_empty).await;

    let runs = running(&lab, &namespace, "web").await;
    assert_eq!(images(&runs), mirrored);
    assert_eq!(pull_secrets(&runs), [SECRET]);
    for image in mirrored {
        said(&lab, &namespace, "web", &format!("Successfully pulled image \"{image}\"")).await;
    }
}

#[tokio::test]
async fn trap_12_s6_mirrorgate_says_beforehand_what_the_kubelet_then_says_and_what_mends_it() {
    let lab = node::lab().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let without_port = REGISTRY.split(':').next().unwrap();
    make_secret(&namespace, SECRET, without_port);
    let image = format!("docker.io/acme/{namespace}:1");
    push(&image);
    let pod = named_pod("web", &[&image]);
    let warned = node::create(&namespace, &pod, |warnings| {
        [SECRET, &namespace, REGISTRY, "does not cover"].iter().all(|word| warnings.contains(word))
    })
    .await;

    refused(&lab, &namespace, "web").await;
    let made = lab.pods(&namespace).get("web").await.unwrap();
    assert_eq!(pull_secrets(&made), [SECRET]);
    said(&lab, &namespace, "web", DENIED).await;

    // The command that was given, with what a person knows put in.
    let (_, command) = warned.trim().split_once("; ").unwrap();
    let command = command.replace("USER", "puller").replace("PASSWORD", "pull");
    let mended = Command::new("bash").args(["-o", "pipefail", "-euc", &command]).output().unwrap();
    assert!(mended.status.success(), "{mended:?}");
    let pod = named_pod("mended", &[&image]);
    node::create(&namespace, &pod, str::is_empty).await;
    running(&lab, &namespace, "mended").await;
}

/// The kubelet gives an image that was pulled with a secret only to pods that have one.
#[tokio::test]
async fn trap_41_m9_an_image_that_is_on_the_node_runs_with_the_secret_only() {
    let lab = node::lab().await;
    let before = lab.namespace(None).await;
    make_secret(&before, "by-hand", REGISTRY);
    let there = [push(&format!("lab/{before}:1")), push(&format!("docker.io/acme/{before}:1"))];
    let mut pod = named_pod("first", &[&there[0], &there[1]]);
    pod["spec"]["imagePullSecrets"] = json!([{"name": "by-hand"}]);
    lab.create(&before, pod).await.unwrap();
    running(&lab, &before, "first").await;

    let namespace = lab.namespace(Some("enforce")).await;
    make_secret(&namespace, SECRET, REGISTRY);
    let written = [there[0].clone(), format!("acme/{before}:1")];
    for (n, name, policy) in [(0, "never", "Never"), (1, "if-not-present", "IfNotPresent")] {
        let mut pod = named_pod(name, &[&written[n]]);
        pod["spec"]["containers"][0]["imagePullPolicy"] = json!(policy);
        node::create(&namespace, &pod, str::is_empty).await;
        let runs = running(&lab, &namespace, name).await;
        assert_eq!(images(&runs), [&*there[n]]);
        assert_eq!(pull_secrets(&runs), [SECRET]);
        let said = said(&lab, &namespace, name, "already present on machine").await;
        assert!(!said.contains("Pulling"), "{said}");

        // The same pod where nobody gives it the secret.
        pod["spec"]["containers"][0]["image"] = json!(there[n]);
        lab.create(&before, pod).await.unwrap();
        refused(&lab, &before, name).await;
    }
}

/// What the runtime says of a registry that wants a password.
const DENIED: &str = "no basic auth credentials";

fn pull_secrets(pod: &Pod) -> Vec<&str> {
    let secrets = pod.spec.as_ref().unwrap().image_pull_secrets.iter().flatten();
    secrets.map(|secret| secret.name.as_str()).collect()
}
