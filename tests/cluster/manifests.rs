//! What `manifests/base` makes.

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use crate::lab::{Lab, kubectl, kubectl_with, repository};
use crate::mirrorgate::NAMESPACE;

#[tokio::test]
async fn the_opt_in_label_takes_two_values_and_no_other() {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(None).await;
    let label = |value: &str| {
        let label = format!("mirrorgate.dev/mode={value}");
        kubectl(&["label", "namespace", &namespace, "--overwrite", &label])
    };
    for wrong in ["Enforce", "off", "", "enforced", "true"] {
        for printed in [
            label(wrong),
            kubectl_with(
                &format!(
                    "{{apiVersion: v1, kind: Namespace, metadata: {{name: x{namespace}, labels: {{mirrorgate.dev/mode: '{wrong}'}}}}}}"
                ),
                &["create", "-f", "-"],
            ),
        ] {
            assert!(!printed.ok, "{wrong}: {printed:?}");
            let message = format!("the label mirrorgate.dev/mode must be \"enforce\" or \"audit\", not \"{wrong}\"");
            assert!(printed.err.contains(&message), "{printed:?}");
        }
    }
    label("audit").success();
    label("enforce").success();
    kubectl(&["label", "namespace", &namespace, "mirrorgate.dev/mode-"]).success();
}

#[tokio::test]
async fn applied_again_they_leave_the_ca_bundle_alone() {
    let lab = Lab::shared().await;
    let base = repository().join("manifests/base");
    kubectl(&["apply", "-k", base.to_str().unwrap()]).success();
    let configurations = Api::<MutatingWebhookConfiguration>::all(lab.client.clone());
    let webhooks = configurations.get("mirrorgate").await.unwrap().webhooks.unwrap();
    let secrets = Api::<Secret>::namespaced(lab.client.clone(), NAMESPACE);
    let ca = secrets.get("mirrorgate-serving").await.unwrap().data.unwrap().remove("ca.crt").unwrap().0;
    for webhook in &webhooks {
        assert_eq!(webhook.client_config.ca_bundle.as_ref().map(|bundle| &bundle.0), Some(&ca), "{}", webhook.name);
    }
    let of = |webhook: usize| {
        let webhook = &webhooks[webhook];
        (webhook.name.as_str(), webhook.failure_policy.as_deref(), webhook.timeout_seconds)
    };
    assert_eq!(of(0), ("enforce.mirrorgate.dev", Some("Fail"), Some(5)));
    assert_eq!(of(1), ("audit.mirrorgate.dev", Some("Ignore"), Some(5)));
    let mut second = webhooks[1].clone();
    assert_eq!(second.match_conditions, webhooks[0].match_conditions);
    assert_eq!(second.rules, webhooks[0].rules);
    second.match_conditions.take().unwrap();

    let configurations = Api::<ValidatingWebhookConfiguration>::all(lab.client.clone());
    let guard = configurations.get("mirrorgate").await.unwrap().webhooks.unwrap().remove(0);
    assert_eq!(guard.client_config.ca_bundle.map(|bundle| bundle.0), Some(ca));
    let of = (guard.name.as_str(), guard.failure_policy.as_deref(), guard.side_effects.as_str(), guard.timeout_seconds);
    assert_eq!(of, ("policy.mirrorgate.dev", Some("Ignore"), "None", Some(3)));
}

#[tokio::test]
async fn the_service_account_may_do_what_is_used_and_nothing_else() {
    let _lab = Lab::shared().await;
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:mirrorgate");
    let can = |arguments: &[&str]| kubectl(&[&["auth", "can-i", &account, "--quiet"], arguments].concat()).ok;
    for allowed in [
        ["get", "configmap/mirrorgate-policy"],
        ["watch", "configmap/mirrorgate-policy"],
        ["create", "events.events.k8s.io"],
        ["create", "secrets"],
        ["watch", "secret/mirrorgate-serving"],
        ["patch", "secret/mirrorgate-serving"],
        ["list", "endpointslices.discovery.k8s.io"],
        ["watch", "mutatingwebhookconfigurations.admissionregistration.k8s.io/mirrorgate"],
        ["patch", "validatingwebhookconfigurations.admissionregistration.k8s.io/mirrorgate"],
    ] {
        assert!(can(&[allowed[0], allowed[1], "-n", NAMESPACE]), "{allowed:?}");
    }
    // S5: the pull secret that the policy names, in every namespace, and no other.
    for verb in ["list", "watch"] {
        assert!(can(&[verb, "secret/harbor-pull", "--all-namespaces"]), "{verb}");
    }
    for refused in [
        "get configmaps",
        "list configmaps",
        "get secrets",
        "list secrets",
        "watch secrets",
        "get secret/harbor-pull",
        "update secret/harbor-pull",
        "update secret/mirrorgate-serving",
        "delete secret/mirrorgate-serving",
        "get mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "patch mutatingwebhookconfigurations.admissionregistration.k8s.io/other",
        "create mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "delete mutatingwebhookconfigurations.admissionregistration.k8s.io/mirrorgate",
        "update configmap/mirrorgate-policy",
        "get pods",
        "create pods",
    ] {
        let (verb, what) = refused.split_once(' ').unwrap();
        assert!(!can(&[verb, what, "-n", NAMESPACE]), "{refused}");
        assert!(!can(&[verb, what, "-n", "default"]), "{refused} in default");
    }
}

/// S5: what discovery needs is there for who asks for it, and for nobody else.
#[tokio::test]
async fn the_access_to_all_secrets_is_a_component_of_its_own() {
    let _lab = Lab::shared().await;
    let overlay = crate::lab::work().join("overlay");
    std::fs::create_dir_all(&overlay).unwrap();
    let up = "../".repeat(overlay.canonicalize().unwrap().iter().count() - 1);
    let manifests = format!("{up}{}", repository().join("manifests").strip_prefix("/").unwrap().display());
    let built = |components: &str| {
        let text = format!("resources: [{manifests}/base]\n{components}");
        std::fs::write(overlay.join("kustomization.yaml"), text).unwrap();
        kubectl(&["kustomize", overlay.to_str().unwrap()]).success().out
    };
    let role = "name: mirrorgate-discover-pull-secrets\n";
    assert!(!built("").contains(role));
    let with = built(&format!("components: [{manifests}/components/discover-pull-secrets]\n"));
    assert_eq!(with.matches(role).count(), 3, "the role, its binding, and the name in it");
    kubectl_with(&with, &["apply", "--dry-run=server", "-f", "-"]).success();
}

/// Pods that the pod security standard `restricted` refuses would never start; the controller manager made them.
#[tokio::test]
async fn the_pods_of_the_deployment_are_admitted_under_the_restricted_standard() {
    let _lab = Lab::shared().await;
    crate::lab::until("the pods of the Deployment", 30, async || {
        let path = "jsonpath={.status.updatedReplicas} {.status.conditions[?(@.type==\"ReplicaFailure\")].message}";
        let printed = kubectl(&["-n", NAMESPACE, "get", "deployment", "mirrorgate", "-o", path]).success();
        assert!(printed.out.split_once(' ').is_none_or(|(_, failure)| failure.is_empty()), "{printed:?}");
        printed.out.starts_with(|first: char| first.is_ascii_digit()).then_some(())
    })
    .await;
}

#[test]
fn the_policy_is_the_example() {
    let read = |path: &str| {
        let text = std::fs::read_to_string(repository().join(path)).unwrap();
        text.split_once('\n').unwrap().1.to_owned()
    };
    assert_eq!(read("manifests/base/policy.yaml"), read("examples/policy.yaml"));
}
