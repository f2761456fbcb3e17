//! The policy guard, as whoever edits the policy with kubectl meets it (trap 28).

use std::process::Command;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use crate::lab::{Lab, Printed, kubectl, kubectl_with, until, work};
use crate::mirrorgate::{
    NAMESPACE, POLICY, in_force, metric, policy_in_force, policy_with_mirror, ready, requests, sha256,
};

const BROKEN: &str = "apiVersion: mirrorgate.dev/v1alpha1
kind: Policy
registryMirrors:
- name: broken
  endpoint: https://broken.test
  hosts: [docker.io, Quay.io]
  nosuchkey: 1
ignore:
  images: 7
";

/// Writes the policy into a file of this name, makes a ConfigMap of it, and applies that, as an operator does.
fn apply(policy: &str, name: &str, namespace: &str, arguments: &[&str]) -> Printed {
    let folder = work().join("guard");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("policy.yaml");
    std::fs::write(&file, policy).unwrap();
    let from = format!("--from-file={}", file.display());
    let made = ["-n", namespace, "create", "configmap", name, &from, "--dry-run=client", "-o", "yaml"];
    let manifest = kubectl(&made).success().out;
    kubectl_with(&manifest, &[&["-n", namespace, "apply", "-f", "-"], arguments].concat())
}

fn check() -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mirrorgate"));
    let output = command.args(["check", "policy.yaml"]).current_dir(work().join("guard")).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn trap_28_applying_a_broken_policy_is_refused_in_the_words_of_check() {
    let _lab = Lab::alone().await;
    let good = policy_with_mirror("good.test");
    apply(&good, POLICY, NAMESPACE, &[]).success();
    in_force(&good).await;
    for arguments in [&[][..], &["--dry-run=server"], &["--server-side", "--force-conflicts"]] {
        let refused = apply(BROKEN, POLICY, NAMESPACE, arguments);
        let version = env!("CARGO_PKG_VERSION");
        let denied = format!(
            "admission webhook \"policy.mirrorgate.dev\" denied the request: mirrorgate {version} would not obey this policy; \
             the one in force stays\n\n"
        );
        assert!(!refused.ok && refused.err.contains(&format!("{denied}{}", check())), "{}", refused.err);
        assert!(refused.err.contains("policy.yaml: refused, 3 errors, 0 warnings\n"), "{}", refused.err);
    }
    let unkeyed = format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {POLICY}}}, data: {{other: x}}}}");
    let refused = kubectl_with(&unkeyed, &["-n", NAMESPACE, "replace", "-f", "-"]);
    assert!(!refused.ok && refused.err.contains("the ConfigMap has no key policy.yaml under data"), "{}", refused.err);
    assert_eq!((policy_in_force().await, metric("mirrorgate_policy_errors", "").await), (sha256(&good), 0.0));
}

#[tokio::test]
async fn a_dangerous_edit_and_a_deletion_are_warned_of() {
    let lab = Lab::alone().await;
    let good = policy_with_mirror("good.test");
    apply(&good, POLICY, NAMESPACE, &[]).success();
    let head = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n";
    for (policy, warnings) in [
        (format!("{good}trust: {{registries: ['*']}}\n"), &["line 7: warning: trust.registries[0]: "][..]),
        (
            head.to_owned(),
            &[
                "the policy loses its only mirror: images of docker.io, quay.io ",
                "the certificates of * are not checked",
            ],
        ),
        (good.clone(), &[]),
    ] {
        for arguments in [&["--dry-run=server"][..], &[]] {
            let applied = apply(&policy, POLICY, NAMESPACE, arguments).success();
            let lines: Vec<&str> = applied.err.lines().collect();
            assert_eq!(lines.len(), warnings.len(), "{}", applied.err);
            for (line, warning) in lines.iter().zip(warnings) {
                assert!(line.starts_with(&format!("Warning: mirrorgate: {warning}")), "{}", applied.err);
            }
        }
        in_force(&policy).await;
    }
    let deleted = kubectl(&["-n", NAMESPACE, "delete", "configmap", POLICY]).success();
    assert!(deleted.err.starts_with("Warning: mirrorgate: the last good policy stays in force until "), "{deleted:?}");
    until("its absence to be seen", 5, async || (metric("mirrorgate_policy_errors", "").await > 0.0).then_some(()))
        .await;
    assert_eq!(policy_in_force().await, sha256(&good));
    // Made anew, it is guarded, and compared with what is in force.
    assert!(!apply(BROKEN, POLICY, NAMESPACE, &[]).ok);
    let applied = apply(head, POLICY, NAMESPACE, &[]).success();
    assert!(applied.err.starts_with("Warning: mirrorgate: the policy loses its only mirror: "), "{applied:?}");
    drop(lab);
}

/// Only the one object is sent: nobody else's edits wait for us.
#[tokio::test]
async fn other_config_maps_are_not_seen() {
    let lab = Lab::alone().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let before = requests().await;
    for (name, namespace) in [("another-policy", NAMESPACE), (POLICY, namespace.as_str())] {
        assert_eq!(apply(BROKEN, name, namespace, &[]).success().err, "");
        kubectl(&["-n", namespace, "delete", "configmap", name]).success();
    }
    assert_eq!(requests().await, before);
}

/// `Ignore`: without an answer of ours every edit passes, and a broken one changes nothing. What is broken then can be
/// mended, labelled and deleted.
#[tokio::test]
async fn while_the_guard_is_away_a_broken_edit_passes_and_the_running_policy_stays() {
    let lab = Lab::alone().await;
    let config_maps = Api::<ConfigMap>::namespaced(lab.client.clone(), NAMESPACE);
    let good = policy_with_mirror("good.test");
    apply(&good, POLICY, NAMESPACE, &[]).success();
    in_force(&good).await;
    // A port that the Service has not.
    reach_by_port(444);
    until("an edit without the guard", 10, async || apply(BROKEN, POLICY, NAMESPACE, &[]).ok.then_some(())).await;
    until("the broken edit to be seen", 5, async || {
        (metric("mirrorgate_policy_errors", "").await == 3.0).then_some(())
    })
    .await;
    assert_eq!(policy_in_force().await, sha256(&good));
    assert!(ready().await.is_ok());

    reach_by_port(443);
    let also_broken = BROKEN.replace("nosuchkey", "norsuchkey");
    until("the guard", 10, async || (!apply(&also_broken, POLICY, NAMESPACE, &["--dry-run=server"]).ok).then_some(()))
        .await;
    let labelled = kubectl(&["-n", NAMESPACE, "label", "configmap", POLICY, "a=b"]).success();
    assert!(
        labelled.err.starts_with("Warning: mirrorgate: the policy in this ConfigMap was broken before"),
        "{labelled:?}"
    );
    let mended = policy_with_mirror("mended.test");
    assert_eq!(apply(&mended, POLICY, NAMESPACE, &[]).success().err, "");
    in_force(&mended).await;
    config_maps.delete(POLICY, &DeleteParams::default()).await.unwrap();
}

fn reach_by_port(port: u16) {
    let patch = json!({"webhooks": [{"name": "policy.mirrorgate.dev", "clientConfig": {"service": {"port": port}}}]});
    kubectl(&["patch", "validatingwebhookconfiguration", "mirrorgate", "-p", &patch.to_string()]).success();
}
