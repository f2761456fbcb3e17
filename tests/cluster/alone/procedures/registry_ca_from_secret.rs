//! A registry whose CA and serving pair are in one Secret, made by its user or by cert-manager.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{bundle_errors, event, namespace, policy_in_force};
use crate::guide::Guide;
use crate::lab::{Lab, kubectl, kubectl_with, until, work};
use crate::mirrorgate;
use crate::registry::{Authority, Registry, Serving};

const POD: &str =
    "kubectl -n team-a run web --image=nginx:1.27 --dry-run=server -o jsonpath='{.spec.containers[0].image}'";

fn has(guide: &Guide, authority: &Authority, serving: &Serving) {
    guide.has("ca.crt", &authority.pem);
    guide.has("tls.crt", &serving.certificate_pem);
    guide.has("tls.key", &serving.key_pem);
}

#[tokio::test]
async fn the_ca_of_a_mirror_is_in_a_secret_beside_its_serving_pair() {
    let lab = Lab::alone().await;
    namespace(&lab).await;
    kubectl(&["delete", "namespace", "registry", "--ignore-not-found"]).success();
    let process = mirrorgate::process();
    let [old, new] = ["Registry CA", "New Registry CA"].map(Authority::new);
    let [of_old, of_new] = [&old, &new].map(|authority| authority.serving(&["registry.corp"]));
    let registry = Registry::start("registry.corp", 5443, &of_old);
    let mut guide = Guide::open("registry-ca-from-secret.md");

    // Made by the user.
    has(&guide, &old, &of_old);
    guide.run();
    guide.run();
    policy_in_force(&guide).await;
    guide.shows(&guide.console(POD).success().out);

    // Renewed: both for a while.
    guide.has("old-ca.crt", &old.pem);
    guide.has("new-ca.crt", &new.pem);
    guide.run();
    registry.present(&of_new);
    guide.console(POD).success();

    // In the shape of cert-manager. What it held last counts until it is there again, also while its issuer has no CA.
    kubectl(&["-n", "registry", "delete", "secret", "registry-tls"]).success();
    bundle_errors(1.0).await;
    guide.console(POD).success();
    event("CaBundleNotInForce", "registry-tls, key ca.crt: there is no such Secret").await;
    let mut secret = by_cert_manager(&new, &of_new);
    kubectl_with(&secret.to_string(), &["create", "-f", "-"]).success();
    bundle_errors(0.0).await;
    guide.console(POD).success();
    secret["data"].as_object_mut().unwrap().remove("ca.crt");
    kubectl_with(&secret.to_string(), &["replace", "-f", "-"]).success();
    bundle_errors(1.0).await;
    guide.console(POD).success();
    event("CaBundleNotInForce", "registry-tls, key ca.crt: the Secret has no such key").await;

    // The old CA is out by now.
    secret["data"]["ca.crt"] = json!(STANDARD.encode(&new.pem));
    kubectl_with(&secret.to_string(), &["replace", "-f", "-"]).success();
    bundle_errors(0.0).await;
    registry.present(&of_old);
    secret["data"]["ca.crt"] = json!(STANDARD.encode(Authority::new("Third CA").pem));
    kubectl_with(&secret.to_string(), &["replace", "-f", "-"]).success();
    until("the denial", 5, async || (!guide.console(POD).ok).then_some(())).await;
    event("CaBundleInForce", "registry-tls, key ca.crt: what it holds is in force").await;

    let events = guide.run().out;
    assert!(events.contains("CaBundleInForce"), "{events}");
    guide.end();
    assert_eq!(mirrorgate::process(), process, "it was restarted");

    // Of the private keys nothing is anywhere that we write to.
    let log = fs::read_to_string(work().join("logs/mirrorgate.log")).unwrap();
    for serving in [&of_old, &of_new] {
        let line = serving.key_pem.lines().nth(1).unwrap();
        assert!(!log.contains(line) && !events.contains(line), "a private key got out");
    }
    kubectl(&["delete", "namespace", "registry", "--wait=false"]).success();
}

fn by_cert_manager(authority: &Authority, serving: &Serving) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {
            "name": "registry-tls", "namespace": "registry",
            "annotations": {
                "cert-manager.io/alt-names": "registry.corp", "cert-manager.io/certificate-name": "registry",
                "cert-manager.io/common-name": "", "cert-manager.io/ip-sans": "", "cert-manager.io/issuer-group": "",
                "cert-manager.io/issuer-kind": "ClusterIssuer", "cert-manager.io/issuer-name": "corp-ca",
                "cert-manager.io/uri-sans": "",
            },
            "labels": {"controller.cert-manager.io/fao": "true"},
        },
        "data": {
            "ca.crt": STANDARD.encode(&authority.pem), "tls.crt": STANDARD.encode(&serving.certificate_pem),
            "tls.key": STANDARD.encode(&serving.key_pem),
        },
    })
}
