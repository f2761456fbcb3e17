//! What the API server does not even send: counted by our own counter, so nothing else may be sent meanwhile.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::lab::{Lab, kubectl};
use crate::mirrorgate::requests;
use crate::pods::{MIRROR, images, named_pod, original_images, pod};

#[tokio::test]
async fn trap_10_a_change_of_an_older_pod_without_a_new_image_is_not_sent() {
    let lab = Lab::alone().await;
    for mode in ["enforce", "audit"] {
        let namespace = lab.namespace(None).await;
        lab.create(&namespace, named_pod("web", &["nginx:1.27", "Bad/Image"])).await.unwrap();
        lab.label(&namespace, Some(mode)).await;
        let bad = pod(&["Bad/Image"]);
        // The label is in force once a pod is judged.
        crate::lab::until("the label", 10, async || {
            let before = requests().await;
            let _ = lab.create(&namespace, bad.clone()).await;
            (requests().await > before).then_some(())
        })
        .await;

        let pods = lab.pods(&namespace);
        let before = requests().await;
        let change = async |change: Value| {
            let changed = pods.patch("web", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
            assert_eq!(images(&changed), ["nginx:1.27", "Bad/Image"]);
            assert_eq!(original_images(&changed), None);
        };
        change(json!({"metadata": {"labels": {"a": "b"}}})).await;
        change(json!({"metadata": {"annotations": {"a": "b"}}})).await;
        change(json!({"metadata": {"finalizers": ["lab.test/a"]}})).await;
        change(json!({"spec": {"activeDeadlineSeconds": 1000}})).await;
        change(json!({"metadata": {"finalizers": null}})).await;
        assert_eq!(requests().await, before, "{mode}");

        kubectl(&["-n", &namespace, "set", "image", "pod/web", "app=quay.io/acme/app:2"]).success();
        assert_eq!(requests().await, before + 1.0, "{mode}");
        let changed = pods.get("web").await.unwrap();
        let wanted =
            if mode == "enforce" { format!("{MIRROR}/quay.io/acme/app:2") } else { "quay.io/acme/app:2".into() };
        assert_eq!(images(&changed), [&wanted, "Bad/Image"]);

        kubectl(&["-n", &namespace, "delete", "pod", "web"]).success();
        assert_eq!(requests().await, before + 1.0, "{mode}");
    }
}

/// Trap 39: the conditions stay within the API server's cost limit.
#[tokio::test]
async fn trap_39_the_conditions_hold_for_a_pod_of_a_thousand_containers() {
    let lab = Lab::alone().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let images: Vec<String> = (0..1000).map(|n| format!("quay.io/acme/app:{n}")).collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    lab.create(&namespace, named_pod("many", &images)).await.unwrap();
    let before = requests().await;
    kubectl(&["-n", &namespace, "label", "pod", "many", "a=b"]).success();
    assert_eq!(requests().await, before);
    kubectl(&["-n", &namespace, "set", "image", "pod/many", "app-999=quay.io/acme/app:new"]).success();
    assert_eq!(requests().await, before + 1.0);
    let read = lab.pods(&namespace).get("many").await.unwrap();
    assert_eq!(crate::pods::images(&read)[999], format!("{MIRROR}/quay.io/acme/app:new"));
}
