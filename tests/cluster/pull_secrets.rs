//! The pull secret of the policy of `manifests/base`, as pods get it beside their own (S2).

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::lab::{Lab, kubectl};
use crate::pods::{MIRROR, images, named_pod, pod};

/// The names in a pod's list, in order.
pub(crate) fn pull_secrets(pod: &Pod) -> Vec<String> {
    pod.spec.as_ref().unwrap().image_pull_secrets.iter().flatten().map(|secret| secret.name.clone()).collect()
}

fn with(account: Option<&str>, secrets: Value) -> Value {
    let mut pod = pod(&["nginx:1.27"]);
    if let Some(account) = account {
        pod["spec"]["serviceAccountName"] = json!(account);
    }
    if secrets != json!("none") {
        pod["spec"]["imagePullSecrets"] = secrets;
    }
    pod
}

async fn account(lab: &Lab, namespace: &str, name: &str, secrets: Value) {
    let account = json!({"metadata": {"name": name}, "imagePullSecrets": secrets});
    Api::<ServiceAccount>::namespaced(lab.client.clone(), namespace)
        .create(&PostParams::default(), &serde_json::from_value(account).unwrap())
        .await
        .unwrap();
}

/// Trap 11: the ServiceAccount plugin fills the list before us, and only where the author left it empty.
#[tokio::test]
async fn s2_ours_comes_after_what_the_author_and_the_service_account_gave() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(Some("enforce")).await;
    account(&lab, &namespace, "with", json!([{"name": "of-the-account"}, {"name": "second"}])).await;
    account(&lab, &namespace, "without", json!([])).await;
    account(&lab, &namespace, "ours-already", json!([{"name": "harbor-pull"}, {"name": "second"}])).await;
    let none = json!("none");
    for (account, secrets, wanted) in [
        (None, none.clone(), vec!["harbor-pull"]),
        (Some("without"), none.clone(), vec!["harbor-pull"]),
        (Some("with"), none.clone(), vec!["of-the-account", "second", "harbor-pull"]),
        (Some("ours-already"), none, vec!["harbor-pull", "second"]),
        (Some("with"), json!([{"name": "mine"}]), vec!["mine", "harbor-pull"]),
        (None, json!([{"name": "mine"}, {"name": "harbor-pull"}]), vec!["mine", "harbor-pull"]),
        // Odd shapes stay as they are.
        (None, json!(null), vec!["harbor-pull"]),
        (None, json!([]), vec!["harbor-pull"]),
        (None, json!([{}]), vec!["", "harbor-pull"]),
        (None, json!([{"name": "mine"}, {"name": "mine"}]), vec!["mine", "mine", "harbor-pull"]),
    ] {
        let made = lab.create(&namespace, with(account, secrets.clone())).await.unwrap();
        assert_eq!(images(&made), [format!("{MIRROR}/docker.io/library/nginx:1.27")]);
        assert_eq!(pull_secrets(&made), wanted, "{account:?} {secrets}");
    }
    // Where nothing is pulled from the mirror, nothing is added.
    let elsewhere = lab.create(&namespace, pod(&["ghcr.io/acme/app:1"])).await.unwrap();
    assert_eq!(pull_secrets(&elsewhere), [""; 0]);
    // Nothing is pulled, and the kubelet asks for a secret all the same (M9).
    let mut never = pod(&["harbor.corp:5000/proxy/quay.io/acme/app:1"]);
    never["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    assert_eq!(pull_secrets(&lab.create(&namespace, never).await.unwrap()), ["harbor-pull"]);
}

#[tokio::test]
async fn a5_audit_mode_adds_no_secret() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(Some("audit")).await;
    let made = lab.create(&namespace, pod(&["nginx:1.27"])).await.unwrap();
    assert_eq!((images(&made), pull_secrets(&made)), (vec!["nginx:1.27"], Vec::new()));
}

/// Trap 10: the list of a pod that is there cannot be changed, and a patch that tries is refused.
#[tokio::test]
async fn u2_u3_a_pod_that_is_there_gets_a_warning_and_no_secret() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(None).await;
    lab.create(&namespace, named_pod("web", &["nginx:1.27"])).await.unwrap();
    lab.label(&namespace, Some("enforce")).await;
    lab.until_a_pod(&namespace, &pod(&["nginx:1.27"]), |made| !pull_secrets(made).is_empty()).await;

    let changed = kubectl(&["-n", &namespace, "set", "image", "pod/web", "app=quay.io/acme/app:2"]).success();
    assert!(changed.err.contains("Warning:") && changed.err.contains("harbor-pull"), "{changed:?}");
    let read = lab.pods(&namespace).get("web").await.unwrap();
    assert_eq!(images(&read), [format!("{MIRROR}/quay.io/acme/app:2")]);
    assert_eq!(pull_secrets(&read), [""; 0]);

    let debug = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox"}]}});
    lab.pods(&namespace)
        .patch_ephemeral_containers("web", &PatchParams::default(), &Patch::Strategic(&debug))
        .await
        .unwrap();
    assert_eq!(pull_secrets(&lab.pods(&namespace).get("web").await.unwrap()), [""; 0]);
}
