//! What becomes of a pod that is created.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::lab::{Lab, audit_events, kubectl, kubectl_with, until};
use crate::pods::{MIRROR, images, name, named_pod, original_images, originals, pod, restrict};
use crate::{mirrorgate, sidecar_injector};

#[tokio::test]
async fn m8_enforce_rewrites_every_place_and_records_the_originals() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let mut pod = named_pod(
        "web",
        &[
            "nginx:1.27",
            "quay.io/acme/app@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "ghcr.io/acme/other:1",
        ],
    );
    pod["metadata"]["annotations"] = json!({"lab.test/kept": "a~b"});
    pod["spec"]["initContainers"] = json!([{"name": "setup", "image": "busybox"}]);
    pod["spec"]["volumes"] =
        json!([{"name": "model", "image": {"reference": "docker.io/acme/model:1", "pullPolicy": "IfNotPresent"}}]);
    lab.create(&namespace, pod).await.unwrap();

    let read: Pod = lab.pods(&namespace).get("web").await.unwrap();
    let digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    assert_eq!(
        images(&read),
        [
            format!("{MIRROR}/docker.io/library/nginx:1.27"),
            format!("{MIRROR}/quay.io/acme/app@{digest}"),
            "ghcr.io/acme/other:1".to_owned()
        ]
    );
    let spec = read.spec.as_ref().unwrap();
    let init = &spec.init_containers.as_ref().unwrap()[0];
    assert_eq!(init.image.as_deref(), Some(format!("{MIRROR}/docker.io/library/busybox").as_str()));
    let volume = spec.volumes.as_ref().unwrap().iter().find(|volume| volume.name == "model").unwrap();
    let reference = volume.image.as_ref().unwrap().reference.as_deref();
    assert_eq!(reference, Some(format!("{MIRROR}/docker.io/acme/model:1").as_str()));
    assert_eq!(
        original_images(&read),
        originals([
            ("app", "nginx:1.27"),
            ("app-1", &format!("quay.io/acme/app@{digest}")),
            ("setup", "busybox"),
            ("volume:model", "docker.io/acme/model:1"),
        ])
    );
    assert_eq!(read.metadata.annotations.as_ref().unwrap()["lab.test/kept"], "a~b");
}

#[tokio::test]
async fn a_namespace_without_the_label_is_left_alone() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(None).await;
    let made = lab.create(&namespace, pod(&["nginx:1.27"])).await.unwrap();
    assert_eq!(images(&made), ["nginx:1.27"]);
    assert_eq!(made.metadata.annotations, None);
}

#[tokio::test]
async fn trap_29_audit_changes_nothing_warns_and_writes_the_audit_log() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(Some("audit")).await;
    let manifest = named_pod("web", &["nginx:1.27", "ghcr.io/acme/other:1"]).to_string();
    let printed = kubectl_with(&manifest, &["-n", &namespace, "create", "-f", "-"]).success();
    let rewritten = format!("{MIRROR}/docker.io/library/nginx:1.27");
    assert!(printed.err.contains("Warning: ") && printed.err.contains(&rewritten), "{printed:?}");

    let read = lab.pods(&namespace).get("web").await.unwrap();
    assert_eq!(images(&read), ["nginx:1.27", "ghcr.io/acme/other:1"]);
    assert_eq!(read.metadata.annotations, None);

    let events = audit_events(&namespace, "create");
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!(event["annotations"]["audit.mirrorgate.dev/decision"], "allow", "{event}");
    let would_be = event["annotations"]["audit.mirrorgate.dev/rewritten"].as_str().unwrap();
    assert!(would_be.contains("spec.containers[0].image") && would_be.contains(&rewritten), "{would_be}");
    assert!(!would_be.contains("ghcr.io"), "{would_be}");
}

#[tokio::test]
async fn the_pod_after_a_switch_from_audit_to_enforce_is_rewritten() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(Some("audit")).await;
    let made = lab.create(&namespace, pod(&["nginx:1.27"])).await.unwrap();
    assert_eq!(images(&made), ["nginx:1.27"]);
    lab.label(&namespace, Some("enforce")).await;
    let rewritten = format!("{MIRROR}/docker.io/library/nginx:1.27");
    let made = lab.until_a_pod(&namespace, &pod(&["nginx:1.27"]), |made| images(made) == [&rewritten]).await;
    assert_eq!(original_images(&made), originals([("app", "nginx:1.27")]));
    lab.label(&namespace, None).await;
    lab.until_a_pod(&namespace, &pod(&["nginx:1.27"]), |made| images(made) == ["nginx:1.27"]).await;
}

#[tokio::test]
async fn u6_a_dry_run_answers_the_same_and_changes_nothing() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let manifest = named_pod("web", &["nginx:1.27"]).to_string();
    let create = |more: &[&str]| {
        let mut arguments = vec!["-n", &namespace, "create", "-f", "-", "-o", "json"];
        arguments.extend(more);
        kubectl_with(&manifest, &arguments)
    };
    let dry: Pod = serde_json::from_str(&create(&["--dry-run=server"]).success().out).unwrap();
    assert!(lab.pods(&namespace).get_opt("web").await.unwrap().is_none());
    let real: Pod = serde_json::from_str(&create(&[]).success().out).unwrap();
    assert_eq!(images(&dry), [format!("{MIRROR}/docker.io/library/nginx:1.27")]);
    assert_eq!(images(&dry), images(&real));
    assert_eq!(original_images(&dry), original_images(&real));

    let bad = named_pod("bad", &["Bad/Image"]).to_string();
    let denied = kubectl_with(&bad, &["-n", &namespace, "create", "-f", "-", "--dry-run=server"]);
    assert!(!denied.ok && denied.err.contains("(Forbidden)"), "{denied:?}");
}

#[tokio::test]
async fn trap_40_a_container_that_a_later_webhook_adds_is_rewritten_too() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let injector = sidecar_injector::start(&lab, &namespace, "quay.io/mesh/proxy:2").await;
    let wanted = [format!("{MIRROR}/docker.io/library/nginx:1.27"), format!("{MIRROR}/quay.io/mesh/proxy:2")];
    let made = lab.until_a_pod(&namespace, &pod(&["nginx:1.27"]), |made| images(made).len() == 2).await;
    assert_eq!(images(&made), wanted);
    assert_eq!(original_images(&made), originals([("app", "nginx:1.27"), ("sidecar", "quay.io/mesh/proxy:2")]));

    let events = audit_events(&namespace, "create");
    let annotations = &events.last().unwrap()["annotations"];
    let text = |key: &str| annotations[key].as_str().unwrap_or_else(|| panic!("no {key}: {annotations}"));
    assert!(text("enforce.mirrorgate.dev/rewritten").contains("nginx"));
    assert!(text("enforce.mirrorgate.dev/rewritten-again").contains("mesh/proxy"));
    injector.stop().await;
}

#[tokio::test]
async fn trap_14_system_namespaces_are_out_of_reach_even_when_labelled() {
    let lab = Lab::shared().await;
    let labelled = lab.namespace(Some("enforce")).await;
    for namespace in ["kube-system", "kube-node-lease", mirrorgate::NAMESPACE] {
        lab.label(namespace, Some("enforce")).await;
    }
    // What is in force for a namespace that was labelled later is in force for these.
    lab.until_a_pod(&labelled, &pod(&["nginx"]), |made| original_images(made).is_some()).await;
    for namespace in ["kube-system", "kube-node-lease", mirrorgate::NAMESPACE] {
        let accounts = kubectl(&["-n", namespace, "get", "serviceaccount", "default"]);
        assert!(accounts.ok, "{accounts:?}");
        let mut manifest = pod(&["nginx:1.27"]);
        restrict(&mut manifest);
        let made = lab.create(namespace, manifest).await.unwrap();
        assert_eq!(images(&made), ["nginx:1.27"], "{namespace}");
        lab.pods(namespace).delete(name(&made), &DeleteParams::default()).await.unwrap();
        lab.label(namespace, None).await;
    }
}

#[tokio::test]
async fn u1_the_mirror_pod_of_a_static_pod_is_untouched() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let mut mirror_pod = named_pod("static-node-1", &["nginx:1.27", "Bad/Image"]);
    mirror_pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "0123"});
    mirror_pod["spec"]["nodeName"] = json!("node-1");
    let made = lab.create(&namespace, mirror_pod).await.unwrap();
    assert_eq!(images(&made), ["nginx:1.27", "Bad/Image"]);
    assert_eq!(original_images(&made), None);
    lab.pods(&namespace).delete(name(&made), &DeleteParams::default().grace_period(0)).await.unwrap();
}

#[tokio::test]
async fn trap_25_nothing_that_an_author_writes_goes_around_the_gate() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let rewritten = format!("{MIRROR}/docker.io/library/nginx:1.27");
    // The API server drops the first two after we have seen them.
    for metadata in [
        json!({"deletionTimestamp": "2020-01-01T00:00:00Z"}),
        json!({"deletionTimestamp": "2020-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0}),
        json!({"labels": {"mirrorgate.dev/mode": "off"}}),
        json!({"annotations": {"mirrorgate.dev/original-images": "{}"}}),
        json!({"annotations": {"mirrorgate.dev/original-images": "no JSON"}}),
    ] {
        let mut manifest = pod(&["nginx:1.27"]);
        let target = manifest["metadata"].as_object_mut().unwrap();
        target.extend(metadata.as_object().unwrap().clone());
        let made = lab.create(&namespace, manifest).await.unwrap();
        assert_eq!(images(&made), [&rewritten], "{metadata}");
    }
}

/// A pod of 1.4 MB of `<`, which arrives as six bytes each.
#[tokio::test]
async fn trap_34_a_large_pod_is_decided_as_any_other() {
    let lab = Lab::shared().await;
    for mode in ["enforce", "audit"] {
        let namespace = lab.namespace(Some(mode)).await;
        let mut manifest = named_pod("large", &["nginx:1.27", "ghcr.io/acme/other:1"]);
        manifest["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "<".repeat(1_400_000)}]);
        lab.create(&namespace, manifest).await.unwrap();
        // Twice the object in one review.
        let patch = json!({"spec": {"containers": [{"name": "app-1", "image": "quay.io/acme/other:2"}]}});
        let parameters = kube::api::PatchParams::default();
        let pods = lab.pods(&namespace);
        pods.patch("large", &parameters, &kube::api::Patch::Strategic(&patch)).await.unwrap();
        let read = pods.get("large").await.unwrap();
        let wanted: [String; 2] = if mode == "enforce" {
            [format!("{MIRROR}/docker.io/library/nginx:1.27"), format!("{MIRROR}/quay.io/acme/other:2")]
        } else {
            ["nginx:1.27".to_owned(), "quay.io/acme/other:2".to_owned()]
        };
        assert_eq!(images(&read), wanted);
        let events = audit_events(&namespace, "patch");
        let annotations = &events.last().unwrap()["annotations"];
        // A5: our annotation is there since the creation, which makes this no repeated call.
        assert_eq!(annotations[format!("{mode}.mirrorgate.dev/decision")], "allow", "{annotations}");
        pods.delete("large", &DeleteParams::default()).await.unwrap();
    }
}

/// Uid, namespace, name or generateName, owner, mode, operation, decision, rewrites, time: one line for each review.
#[tokio::test]
async fn u5_a_review_is_one_line_of_the_log() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let pods = lab.pods(&namespace);
    pods.create(&PostParams::default(), &serde_json::from_value(pod(&["nginx:1.27"])).unwrap()).await.unwrap();
    let line = until("a line of the log", 5, async || {
        let log = std::fs::read_to_string(crate::lab::work().join("logs/mirrorgate.log")).unwrap();
        let mut lines = log.lines().filter(|line| line.contains(&namespace));
        let line: Option<Value> = lines.next().map(|line| serde_json::from_str(line).unwrap());
        assert_eq!(lines.next(), None);
        line
    })
    .await;
    let text = line.to_string();
    let rewritten = format!("{MIRROR}/docker.io/library/nginx:1.27");
    for part in ["\"uid\"", &namespace, "\"pod-\"", "enforce", "CREATE", "patched", &rewritten, "\"ms\""] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}
