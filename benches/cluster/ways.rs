//! The ways a pod can take through the API server, each for a namespace of its own, so that nothing is switched between rounds.

use std::thread;

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::ceiling::Ceiling;
use crate::creations::Way;
use crate::lab::{Lab, kubectl_with, until};
use crate::mirrorgate;
use crate::registry::{Authority, Registry};
use crate::scene::{self, Scene, bodies};

const IMAGES: [&str; 2] = ["nginx:1.27", "docker.io/prom/node-exporter:v1.8.2"];
const MIRRORED: [&str; 2] = [
    "harbor.corp:5000/proxy/docker.io/library/nginx:1.27",
    "harbor.corp:5000/proxy/docker.io/prom/node-exporter:v1.8.2",
];

/// The ways by their places in [`prepare`]'s list.
pub(crate) const NONE: usize = 0;
pub(crate) const CEILING: usize = 1;
pub(crate) const MIRRORGATE: usize = 2;
pub(crate) const PATCHING: usize = 3;
pub(crate) const POLICY: usize = 4;

/// What mirrorgate asks whether it is trusted. It ends when it is dropped.
pub(crate) fn registry(authority: &Authority) -> Registry {
    Registry::start("harbor.corp", 5000, &authority.serving(&["harbor.corp"]))
}

/// Has all ways in force, and each seen to do what it should.
pub(crate) async fn prepare(lab: &Lab, authority: &Authority) -> anyhow::Result<Vec<Way>> {
    let policy = policy(authority);
    mirrorgate::under(lab, &policy).await;
    let pod = pod();
    let sent = Bytes::from(pod.to_string());
    let mut ways = Vec::new();
    for (name, images, webhook) in [
        ("no webhook", IMAGES, None),
        ("ceiling", IMAGES, Some("ceiling")),
        ("mirrorgate", MIRRORED, Some(mirrorgate::PART)),
        ("ceiling with mirrorgate's patch", MIRRORED, Some("ceiling-with-patch")),
        ("MutatingAdmissionPolicy", MIRRORED, None),
    ] {
        let mode = (webhook == Some(mirrorgate::PART)).then_some("enforce");
        let namespace = lab.namespace(mode).await;
        put_pull_secret(&namespace);
        let images = images.map(|image| format!("\"image\":\"{image}\"")).to_vec();
        ways.push(Way { name, namespace, pod: sent.clone(), images, webhook });
    }
    let made = async |way: usize| lab.dry_run(&ways[way].namespace, pod.clone()).await.map_err(anyhow::Error::msg);
    let plain = made(NONE).await?;
    // The scene has a runtime of its own, which cannot be inside of this one.
    let patch = thread::scope(|scope| scope.spawn(|| patch(&policy, &plain)).join()).unwrap()?;
    for (way, patch, port) in [(CEILING, None, 9443), (PATCHING, Some(&*patch), 9444)] {
        let Some(part) = ways[way].webhook else { continue };
        Ceiling { part, port, patch, called_for: &ways[way].namespace }.start(lab, authority, &pod).await?;
    }
    let admission_policy = include_str!("admission-policy.yaml").replace("NAMESPACE", &ways[POLICY].namespace);
    kubectl_with(&admission_policy, &["apply", "-f", "-"]).success();
    for way in &ways {
        until(way.name, 30, async || {
            let made = lab.dry_run(&way.namespace, pod.clone()).await.ok()?;
            let made = serde_json::to_string(&made).ok()?;
            way.images.iter().all(|image| made.contains(image)).then_some(())
        })
        .await;
    }
    let with_init = with_init_container(&pod);
    for way in [MIRRORGATE, POLICY] {
        let made = lab.dry_run(&ways[way].namespace, with_init.clone()).await.map_err(anyhow::Error::msg)?;
        let image = made.spec.and_then(|spec| spec.init_containers?.first()?.image.clone());
        ensure!(image.as_deref() == Some(MIRRORED[0]), "{}: the init container has {image:?}", ways[way].name);
    }
    let (ours, same) = (made(MIRRORGATE).await?, made(PATCHING).await?);
    ensure!(ours.spec == same.spec, "mirrorgate's pod and that of its own patch differ: {ours:?} {same:?}");
    ensure!(ours.metadata.annotations == same.metadata.annotations, "they are annotated otherwise: {ours:?} {same:?}");
    Ok(ways)
}

/// The policy of the other benches, and whom to trust for its mirror.
fn policy(authority: &Authority) -> String {
    scene::policy(10) + &trust(authority)
}

/// The end of a policy: registries that this CA vouches for are trusted.
pub(crate) fn trust(authority: &Authority) -> String {
    let data = STANDARD.encode(&authority.pem);
    format!("trust:\n  systemRoots: false\n  additionalTrustedCAs:\n  - {{name: bench, data: {data}}}\n")
}

/// One more namespace in which mirrorgate is in force.
pub(crate) async fn namespace(lab: &Lab) -> String {
    let namespace = lab.namespace(Some("enforce")).await;
    put_pull_secret(&namespace);
    namespace
}

/// Whether the API server answers to [`pod`] with the mirror's images.
pub(crate) fn is_rewritten(made: &Pod) -> bool {
    let containers = made.spec.iter().flat_map(|spec| &spec.containers);
    containers.map(|container| container.image.as_deref()).eq(MIRRORED.map(Some))
}

/// The pod of the other benches' small review, with images that every way can rewrite.
pub(crate) fn pod() -> Value {
    let mut review: Value = serde_json::from_slice(&bodies::small()).unwrap();
    let mut pod = review["request"]["object"].take();
    for (container, image) in pod["spec"]["containers"].as_array_mut().unwrap().iter_mut().zip(IMAGES) {
        container["image"] = json!(image);
    }
    // Both at one port: the API server would warn.
    pod["spec"]["containers"][1]["ports"].take();
    let metadata = pod["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| !["namespace", "managedFields", "creationTimestamp"].contains(&key.as_str()));
    pod
}

fn with_init_container(pod: &Value) -> Value {
    let mut pod = pod.clone();
    pod["spec"]["initContainers"] = json!([{"name": "init", "image": IMAGES[0]}]);
    pod
}

/// What these pods are pulled with: without it mirrorgate would warn. It is for one more registry.
pub(crate) fn pull_secret(also: &str) -> Value {
    let entry = json!({"username": "robot", "password": "secret"});
    let config = json!({"auths": {"harbor.corp:5000": entry, also: entry}}).to_string();
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "harbor-pull"},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config},
    })
}

fn put_pull_secret(namespace: &str) {
    kubectl_with(&pull_secret("quay.io").to_string(), &["-n", namespace, "apply", "-f", "-"]).success();
}

/// What mirrorgate answers to the creation of a pod, in base64.
fn patch(policy: &str, pod: &Pod) -> anyhow::Result<String> {
    let mut review: Value = serde_json::from_slice(&bodies::small())?;
    review["request"]["object"] = serde_json::to_value(pod)?;
    let body = review.to_string();
    let answer: Value = serde_json::from_str(&Scene::new(policy, &[body.as_bytes()]).review(body.as_bytes()))?;
    Ok(answer["response"]["patch"].as_str().context("mirrorgate answers without a patch")?.to_owned())
}
