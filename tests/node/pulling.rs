//! Images that the kubelet pulls, or does not.

use serde_json::json;

use crate::lab::Lab;
use crate::node::{REGISTRY, events, make_secret, push, refused, running};
use crate::pods::named_pod;

/// Without us: what the other tests rest on.
#[tokio::test]
async fn the_registry_gives_images_to_pods_with_a_secret_only() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(None).await;
    make_secret(&namespace, "by-hand", REGISTRY);
    let image = push("lab/by-hand:1");
    lab.create(&namespace, named_pod("without", &[&image])).await.unwrap();
    refused(&lab, &namespace, "without").await;
    let said = events(&lab, &namespace, "without").await.join("\n");
    assert!(said.contains("no basic auth credentials"), "{said}");

    let mut pod = named_pod("with", &[&image]);
    pod["spec"]["imagePullSecrets"] = json!([{"name": "by-hand"}]);
    lab.create(&namespace, pod).await.unwrap();
    running(&lab, &namespace, "with").await;
}
