//! The node: mirrorgate under a policy for its registry, and what becomes of a pod there.

use std::process::Command;

use k8s_openapi::api::core::v1::{ConfigMap, ContainerStatus, Event, Pod};
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::lab::{Lab, kubectl_with, repository, until, work};
use crate::mirrorgate::{NAMESPACE, edit_policy, policy_in_force, sha256};

/// The registry of the lab, which is the mirror of `policy.yaml`.
pub(crate) const REGISTRY: &str = "registry.lab.test:5000";
/// The pull secret that the policy names.
pub(crate) const SECRET: &str = "lab-pull";

/// The lab under `policy.yaml`, which all tests share, with the rights to Secrets that `mirrorgate rbac` prints for it.
pub(crate) async fn lab() -> Lab {
    static TURN: Mutex<()> = Mutex::const_new(());
    let lab = Lab::shared().await;
    let _turn = TURN.lock().await;
    let written = repository().join("tests/node/policy.yaml");
    let policy = std::fs::read_to_string(written).unwrap().replace("LAB_WORK", work().to_str().unwrap());
    if policy_in_force().await != sha256(&policy) {
        let file = work().join("node/policy.yaml");
        std::fs::write(&file, &policy).unwrap();
        let rbac = Command::new(env!("CARGO_BIN_EXE_mirrorgate")).args(["rbac", "--policy"]).arg(&file).output();
        let roles = String::from_utf8(rbac.unwrap().stdout).unwrap();
        kubectl_with(&roles, &["apply", "-f", "-"]).success();
        put_in_force(&lab, &policy).await;
    }
    lab
}

/// Makes it the policy, and waits until it is in force.
pub(crate) async fn put_in_force(lab: &Lab, policy: &str) {
    edit_policy(&Api::<ConfigMap>::namespaced(lab.client.clone(), NAMESPACE), policy).await.unwrap();
    until("the policy", 5, async || (policy_in_force().await == sha256(policy)).then_some(())).await;
}

/// Creates the pod once a dry run brings the warnings that are wanted: what was made just before is known then. Gives them,
/// as kubectl printed them.
pub(crate) async fn create(namespace: &str, pod: &Value, wanted: impl Fn(&str) -> bool) -> String {
    let create = |more: &[&str]| {
        let arguments = [&["-n", namespace, "create", "-f", "-"], more].concat();
        kubectl_with(&pod.to_string(), &arguments).success().err
    };
    let mut last = String::new();
    let known = until("a creation with the warnings that are wanted", 10, async || {
        last = create(&["--dry-run=server"]);
        wanted(&last).then_some(())
    });
    known.await;
    let said = create(&[]);
    assert!(wanted(&said), "{said}");
    said
}

/// Puts an image like no other there, and gives its name. A node that has it keeps it: a path is for one test of one run.
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
        panic!("{pod}: {why}\n{}", events(lab, namespace, pod).await);
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

/// Waits until the events of the pod contain the text; gives all of them, each with its reason and message on a line.
pub(crate) async fn said(lab: &Lab, namespace: &str, pod: &str, text: &str) -> String {
    let what = format!("an event on {pod} with {text:?}");
    until(&what, 10, async || Some(events(lab, namespace, pod).await).filter(|said| said.contains(text))).await
}

/// What was said of the pod: each reason and message on a line.
async fn events(lab: &Lab, namespace: &str, pod: &str) -> String {
    let events = Api::<Event>::namespaced(lab.client.clone(), namespace);
    let of_the_pod = ListParams::default().fields(&format!("involvedObject.name={pod}"));
    let said = |event: Event| format!("{}: {}", event.reason.unwrap_or_default(), event.message.unwrap_or_default());
    events.list(&of_the_pod).await.unwrap().into_iter().map(said).collect::<Vec<_>>().join("\n")
}
