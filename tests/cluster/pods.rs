//! Pods to create, and what came back.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// Where the policy of `manifests/base` sends docker.io and quay.io.
pub(crate) const MIRROR: &str = "harbor.corp:5000/proxy";

/// A pod with a name of the API server's making, and one container, `app`, for each image (`app`, `app-1`, ...).
pub(crate) fn pod(images: &[&str]) -> Value {
    let name = |n| if n == 0 { "app".to_owned() } else { format!("app-{n}") };
    let containers: Vec<Value> =
        images.iter().enumerate().map(|(n, image)| json!({"name": name(n), "image": image})).collect();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "pod-"}, "spec": {"containers": containers}})
}

/// The same under a name.
pub(crate) fn named_pod(name: &str, images: &[&str]) -> Value {
    let mut pod = pod(images);
    pod["metadata"] = json!({ "name": name });
    pod
}

/// What the pod security standard `restricted` asks for.
pub(crate) fn restrict(pod: &mut Value) {
    pod["spec"]["securityContext"] = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    for container in pod["spec"]["containers"].as_array_mut().unwrap() {
        container["securityContext"] = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    }
}

pub(crate) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap()
}

/// The images of the containers, in order.
pub(crate) fn images(pod: &Pod) -> Vec<&str> {
    pod.spec.as_ref().unwrap().containers.iter().map(|container| container.image.as_deref().unwrap()).collect()
}

/// What the annotation says of the images as their author wrote them.
pub(crate) fn original_images(pod: &Pod) -> Option<BTreeMap<String, String>> {
    let annotation = pod.metadata.annotations.as_ref()?.get("mirrorgate.dev/original-images")?;
    Some(serde_json::from_str(annotation).unwrap())
}

pub(crate) fn originals<const N: usize>(entries: [(&str, &str); N]) -> Option<BTreeMap<String, String>> {
    Some(entries.map(|(name, image)| (name.to_owned(), image.to_owned())).into())
}
