//! The node: its registry, and what becomes of a pod there.

use std::process::Command;

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use crate::lab::{Lab, kubectl_with, repository, until, work};

/// The registry of the lab.
pub(crate) const REGISTRY: &str = "registry.lab.test:5000";

/// Puts an image like no other there, and gives its name.
pub(crate) fn push(path: &str) -> String {
    let image = format!("{REGISTRY}/{path}");
    let mut command = Command::new(repository().join("tests/lab/push.sh"));
    let output = command.arg(work()).arg(&image).output().unwrap();
    assert!(output.status.success(), "{image}: {}", String::from_utf8_lossy(&output.stderr));
    image
}

/// A pull secret with the registry's user and password, under the given key of `auths`.
pub(crate) fn make_secret(namespace: &str, name: &str, key: &str) {
    let config = json!({"auths": {key: {"username": "puller", "password": "pull"}}});
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": {".dockerconfigjson": config.to_string()},
    });
    kubectl_with(&secret.to_string(), &["create", "-f", "-"]).success();
}

/// Waits until every container of the pod runs; gives the pod as it then is.
pub(crate) async fn running(lab: &Lab, namespace: &str, pod: &str) -> Pod {
    let last = outcome(lab, namespace, pod).await;
    if let Err(why) = last {
        panic!("{pod}: {why}\n{}", events(lab, namespace, pod).await.join("\n"));
    }
    lab.pods(namespace).get(pod).await.unwrap()
}

/// Waits until the kubelet says that it gets no image for the pod; gives the reason, such as `ErrImagePull`.
pub(crate) async fn refused(lab: &Lab, namespace: &str, pod: &str) -> String {
    match outcome(lab, namespace, pod).await {
        Ok(()) => panic!("{pod} runs"),
        Err(why) => why,
    }
}

async fn outcome(lab: &Lab, namespace: &str, pod: &str) -> Result<(), String> {
    until(&format!("the kubelet to run {pod}, or to say why not"), 60, async || {
        let status = lab.pods(namespace).get(pod).await.unwrap().status?;
        let containers = status.container_statuses?;
        let refusal = containers.iter().find_map(refusal);
        if let Some(reason) = refusal {
            return Some(Err(reason));
        }
        let runs = |container: &ContainerStatus| container.state.as_ref().is_some_and(|state| state.running.is_some());
        containers.iter().all(runs).then_some(Ok(()))
    })
    .await
}

fn refusal(container: &ContainerStatus) -> Option<String> {
    let reason = container.state.as_ref()?.waiting.as_ref()?.reason.as_deref()?;
    (reason.starts_with("ErrImage") || reason.starts_with("ImagePull")).then(|| reason.to_owned())
}

/// What was said of the pod, as reason and message.
pub(crate) async fn events(lab: &Lab, namespace: &str, pod: &str) -> Vec<String> {
    let events = Api::<Event>::namespaced(lab.client.clone(), namespace);
    let of_the_pod = ListParams::default().fields(&format!("involvedObject.name={pod}"));
    let said = |event: Event| format!("{}: {}", event.reason.unwrap_or_default(), event.message.unwrap_or_default());
    events.list(&of_the_pod).await.unwrap().into_iter().map(said).collect()
}
