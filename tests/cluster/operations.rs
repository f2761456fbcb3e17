//! What becomes of a pod that is changed or deleted.

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::lab::{Lab, audit_events, kubectl, until};
use crate::pods::{MIRROR, images, named_pod, original_images, originals};

#[tokio::test]
async fn u3_only_the_new_ephemeral_container_is_rewritten() {
    let lab = Lab::shared().await;
    // The pod is older than the label: its own image stays as it was.
    let namespace = lab.namespace(None).await;
    lab.create(&namespace, named_pod("web", &["nginx:1.27"])).await.unwrap();
    lab.label(&namespace, Some("enforce")).await;
    lab.until_a_pod(&namespace, &crate::pods::pod(&["nginx"]), |made| original_images(made).is_some()).await;

    let before = lab.pods(&namespace).get("web").await.unwrap();
    let mut wanted = Vec::new();
    for (container, image, rewritten) in
        [("first", "busybox:1", "docker.io/library/busybox:1"), ("second", "quay.io/acme/tools", "quay.io/acme/tools")]
    {
        let arguments = ["debug", "web", "-n", &namespace, "--attach=false", "--profile=general", "-c", container];
        kubectl(&[&arguments[..], &["--image", image]].concat()).success();
        wanted.push(format!("{MIRROR}/{rewritten}"));
        let after = lab.pods(&namespace).get("web").await.unwrap();
        let spec = after.spec.as_ref().unwrap();
        let ephemeral = spec.ephemeral_containers.as_ref().unwrap();
        let found: Vec<&str> = ephemeral.iter().map(|entry| entry.image.as_deref().unwrap()).collect();
        assert_eq!(found, wanted);
        assert_eq!(images(&after), ["nginx:1.27"]);
        assert_eq!(after.metadata.annotations, before.metadata.annotations);
        assert_eq!(after.metadata.labels, before.metadata.labels);
    }

    let bad = json!({"spec": {"ephemeralContainers": [{"name": "third", "image": "Bad/Image"}]}});
    let pods = lab.pods(&namespace);
    let patched =
        pods.patch_subresource("ephemeralcontainers", "web", &PatchParams::default(), &Patch::Strategic(&bad)).await;
    let kube::Error::Api(status) = patched.unwrap_err() else { panic!() };
    assert_eq!(status.code, 403);
    let faulty: Vec<String> = status.details.unwrap().causes.into_iter().map(|cause| cause.field).collect();
    // A strategic merge puts new entries first.
    assert_eq!(faulty, ["spec.ephemeralContainers[0].image"]);
}

#[tokio::test]
async fn u2_one_changed_image_is_rewritten_and_no_other() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(None).await;
    lab.create(&namespace, named_pod("web", &["nginx:1.27", "quay.io/acme/app:1"])).await.unwrap();
    lab.label(&namespace, Some("enforce")).await;
    lab.until_a_pod(&namespace, &crate::pods::pod(&["nginx"]), |made| original_images(made).is_some()).await;

    let printed = kubectl(&["-n", &namespace, "set", "image", "pod/web", "app-1=quay.io/acme/app:2"]).success();
    assert!(printed.out.contains("image updated"), "{printed:?}");
    let read = lab.pods(&namespace).get("web").await.unwrap();
    assert_eq!(images(&read), ["nginx:1.27", &format!("{MIRROR}/quay.io/acme/app:2")]);
    assert_eq!(original_images(&read), originals([("app-1", "quay.io/acme/app:2")]));
}

#[tokio::test]
async fn u4_a_pod_that_is_being_deleted_is_never_held_up() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(None).await;
    let mut manifest = named_pod("web", &["nginx:1.27"]);
    manifest["metadata"]["finalizers"] = json!(["lab.test/hold"]);
    lab.create(&namespace, manifest).await.unwrap();
    lab.label(&namespace, Some("enforce")).await;
    lab.until_a_pod(&namespace, &crate::pods::pod(&["nginx"]), |made| original_images(made).is_some()).await;

    let pods = lab.pods(&namespace);
    pods.delete("web", &DeleteParams::default()).await.unwrap();
    let patch =
        async |patch: Value| pods.patch("web", &PatchParams::default(), &Patch::Strategic(&patch)).await.unwrap();
    let image = json!({"spec": {"containers": [{"name": "app", "image": "quay.io/acme/Bad:2"}]}});
    assert_eq!(images(&patch(image).await), ["quay.io/acme/Bad:2"]);
    let events = audit_events(&namespace, "patch");
    let annotations = &events.last().unwrap()["annotations"];
    let sent = "mutation.webhook.admission.k8s.io/round_0_index_0";
    assert!(annotations[sent].as_str().is_some_and(|value| value.contains("\"mutated\":false")), "{annotations}");

    patch(json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["lab.test/hold"]}})).await;
    until("the pod's end", 10, async || pods.get_opt("web").await.unwrap().is_none().then_some(())).await;
}
