//! What a person is told.

use serde_json::json;

use crate::lab::{Lab, audit_events, kubectl_with, until};
use crate::pods::{images, named_pod};

#[tokio::test]
async fn a1_every_unreadable_image_is_a_line_of_what_kubectl_prints_and_a_cause() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let mut manifest = named_pod("web", &["nginx:1.27", "Bad/Image:1", "quay.io/acme/app:bad tag"]);
    manifest["spec"]["initContainers"] = json!([{"name": "setup", "image": "-bad"}]);
    let printed = kubectl_with(&manifest.to_string(), &["-n", &namespace, "create", "-f", "-"]);
    assert!(!printed.ok);
    assert!(printed.err.contains("(Forbidden)"), "{printed:?}");
    assert!(printed.err.contains("admission webhook \"enforce.mirrorgate.dev\" denied the request"), "{printed:?}");
    let faulty = [
        ("spec.containers[1].image", "app-1"),
        ("spec.containers[2].image", "app-2"),
        ("spec.initContainers[0].image", "setup"),
    ];
    for (field, container) in faulty {
        let lines: Vec<&str> = printed.err.lines().filter(|line| line.contains(field)).collect();
        let [line] = lines[..] else { panic!("{field} in not one line: {printed:?}") };
        assert!(line.contains(container), "{line}");
    }
    assert!(!printed.err.contains("spec.containers[0]"), "{printed:?}");

    let kube::Error::Api(status) = lab.create(&namespace, manifest).await.unwrap_err() else { panic!() };
    assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
    let mut causes: Vec<String> = status.details.unwrap().causes.iter().map(|cause| cause.field.clone()).collect();
    causes.sort();
    assert_eq!(causes, faulty.map(|(field, _)| field));
    assert!(lab.pods(&namespace).get_opt("web").await.unwrap().is_none());
}

#[tokio::test]
async fn a5_audit_admits_an_unreadable_image_with_a_warning() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(Some("audit")).await;
    let manifest = named_pod("web", &["nginx:1.27", "Bad/Image:1"]).to_string();
    let printed = kubectl_with(&manifest, &["-n", &namespace, "create", "-f", "-"]).success();
    let warned = |line: &&str| line.starts_with("Warning: ") && line.contains("spec.containers[1].image");
    assert_eq!(printed.err.lines().filter(warned).count(), 1, "{printed:?}");
    assert_eq!(images(&lab.pods(&namespace).get("web").await.unwrap()), ["nginx:1.27", "Bad/Image:1"]);
    let events = audit_events(&namespace, "create");
    assert_eq!(events[0]["annotations"]["audit.mirrorgate.dev/decision"], "deny", "{events:?}");
}

/// The Deployment says why it has no pods: conditions and events show the message and nothing else.
#[tokio::test]
async fn a1_a_deployment_shows_why_it_has_no_pods() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": named_pod("web", &["Bad/Image:1"])["spec"]},
        },
    });
    kubectl_with(&deployment.to_string(), &["-n", &namespace, "create", "-f", "-"]).success();
    until("the condition", 20, async || {
        let path = "jsonpath={.status.conditions[?(@.type==\"ReplicaFailure\")].message}";
        let printed = crate::lab::kubectl(&["-n", &namespace, "get", "deployment", "web", "-o", path]).success();
        printed.out.contains("spec.containers[0].image").then_some(())
    })
    .await;
}
