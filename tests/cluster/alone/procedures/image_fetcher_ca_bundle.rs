//! The ConfigMap `image-fetcher-ca-bundle`, edited by others while we run, and a private project with a pull secret.

use std::fs;

use super::{bundle_errors, event, namespace, policy_in_force};
use crate::guide::Guide;
use crate::lab::{Lab, kubectl, until};
use crate::mirrorgate;
use crate::registry::{Authority, Registry};

const POD: &str = "kubectl -n team-a run web --image=harbor.corp:5000/private/app:1 --dry-run=server -o \
                   jsonpath='{.spec.imagePullSecrets[*].name}'";
const EVENTS: &str = "kubectl -n mirrorgate-system events --for configmap/mirrorgate-policy";

fn on_bundle(verb: &str, more: &[&str]) {
    let of = [verb, "-n", "kube-system", "configmap", "image-fetcher-ca-bundle"];
    kubectl(&[&of[..], more].concat()).success();
}

#[tokio::test]
async fn several_cas_in_one_config_map_are_edited_by_others_while_we_run() {
    let lab = Lab::alone().await;
    namespace(&lab).await;
    let process = mirrorgate::process();
    let [root, harbor_ca, new_root] = ["Corp Root", "Harbor CA", "New Root"].map(Authority::new);
    let harbor = Registry::start("harbor.corp", 5000, &harbor_ca.serving(&["harbor.corp"]));
    let mut guide = Guide::open("image-fetcher-ca-bundle.md");
    guide.has("corp-root.crt", &root.pem);
    guide.has("harbor-ca.crt", &harbor_ca.pem);
    guide.has("new-root.crt", &new_root.pem);

    guide.run();
    guide.run();
    policy_in_force(&guide).await;
    let without = guide.console(POD);
    assert!(!without.ok && without.err.contains("private-project"), "{without:?}");
    guide.run();
    until("the pull secret", 5, async || guide.console(POD).ok.then_some(())).await;
    guide.shows(&guide.console(POD).success().out);
    let public = ["-n", "team-a", "run", "web", "--image=harbor.corp:5000/public/app:1", "--dry-run=server"];
    let public = kubectl(&public);
    assert!(!public.ok && public.err.contains("private-project"), "{public:?}");

    // A CA that somebody adds.
    harbor.present(&new_root.serving(&["harbor.corp"]));
    guide.run();
    until("the new CA", 5, async || guide.console(POD).ok.then_some(())).await;

    // Broken in several ways.
    for (data, what) in
        [(r#"{"ca-bundle": "oops"}"#, "no PEM"), (r#"{"ca-bundle": null, "ca_bundle": "x"}"#, "no such key")]
    {
        on_bundle("patch", &["-p", &format!(r#"{{"data": {data}}}"#)]);
        let said = async || mirrorgate::readiness().await.contains(what).then_some(());
        until(what, 5, said).await;
        guide.console(POD).success();
    }
    on_bundle("delete", &[]);
    bundle_errors(1.0).await;
    guide.console(POD).success();
    guide.shows(&event("CaBundleNotInForce", "image-fetcher-ca-bundle, key ca-bundle: there is no such").await);

    // One bad certificate beside good ones.
    let bundle = guide.folder().join("ca-bundle");
    let file = format!("--from-file={}", bundle.display());
    let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(&bundle, format!("{}{bad}{}", root.pem, new_root.pem)).unwrap();
    on_bundle("create", &[&file]);
    bundle_errors(0.0).await;
    guide.console(POD).success();
    guide.shows(&event("CaBundleLeftOut", "image-fetcher-ca-bundle, key ca-bundle: left out: block 2 (line ").await);
    guide.shows(guide.console(EVENTS).success().out.lines().next().unwrap());

    // The CA is taken out.
    fs::write(&bundle, &root.pem).unwrap();
    on_bundle("delete", &[]);
    on_bundle("create", &[&file]);
    let refused = until("the denial", 5, async || Some(guide.console(POD)).filter(|printed| !printed.ok)).await;
    assert!(refused.err.contains("harbor.corp:5000"), "{refused:?}");
    guide.end();
    assert_eq!(mirrorgate::process(), process, "it was restarted");
    on_bundle("delete", &[]);
}
