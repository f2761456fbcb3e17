//! What mirrorgate is kept from doing: it goes on with what it has, says so where an administrator looks, and does it once it can.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;

use super::{
    NAME, a_call_goes_well, annotate, bundles, bundles_are_right, event, held, secrets, served_at, write, write_bundles,
};
use crate::lab::{Lab, kubectl, let_ca_bundles_be_emptied, until};
use crate::mirrorgate::{self, NAMESPACE, readiness, ready};

/// Leaves these verbs of a rule; the next installation puts it back.
fn allow(role: &str, rule: usize, verbs: &[&str]) {
    let patch = json!([{"op": "replace", "path": format!("/rules/{rule}/verbs"), "value": verbs}]);
    kubectl(&["-n", NAMESPACE, "patch", role, "mirrorgate", "--type=json", "-p", &patch.to_string()]).success();
}

/// What another test was told of is none of this one's Events.
fn forget_events() {
    kubectl(&["-n", NAMESPACE, "delete", "events.events.k8s.io", "--all"]).success();
}

const ALL: [&str; 4] = ["get", "list", "watch", "patch"];

#[tokio::test]
async fn a_secret_that_may_not_be_written_is_told_of_and_written_once_it_may() {
    let lab = Lab::alone().await;
    let namespace = lab.namespace(Some("enforce")).await;
    bundles_are_right(&lab).await;
    forget_events();
    let before = held(&lab).await;
    let (served, _) = served_at(8443, &before["ca.crt"]).await.unwrap();
    allow("role", 3, &ALL[..3]);
    annotate(&lab, "certificate").await;
    event(&lab, "CertificateNotWritten", "forbidden").await;
    assert_eq!(held(&lab).await["tls.crt"], before["tls.crt"]);
    assert!(ready().await.is_ok());

    // What is in force serves on where the Secret is gone, and that is said.
    let key = KeyPair::generate().unwrap().serialize_pem();
    write(&lab, &[("tls.key", key.as_bytes())]).await;
    let kept = "[+] certificate (the last good one stays in force: ";
    until("the last good one", 10, async || readiness().await.contains(kept).then_some(())).await;
    assert_eq!(served_at(8443, &before["ca.crt"]).await, Some((served, true)));
    a_call_goes_well(&lab, &namespace).await;

    allow("role", 3, &ALL);
    until("another pair", 40, async || (held(&lab).await["tls.crt"] != before["tls.crt"]).then_some(())).await;
    event(&lab, "CertificateWritten", "can be written again").await;
    until("it to be in order", 10, async || readiness().await.contains("[+] certificate\n").then_some(())).await;
}

#[tokio::test]
async fn a_ca_bundle_that_may_not_be_written_is_told_of_and_written_once_it_may() {
    let lab = Lab::alone().await;
    let_ca_bundles_be_emptied().await;
    bundles_are_right(&lab).await;
    forget_events();
    allow("clusterrole", 0, &ALL[..3]);
    write_bundles(b"");
    event(&lab, "CaBundleNotWritten", "MutatingWebhookConfiguration mirrorgate cannot be written").await;
    until("it to be said", 10, async || {
        let report = readiness().await;
        (report.contains("caBundle of the MutatingWebhookConfiguration mirrorgate is not ours yet")
            && report.contains("forbidden"))
        .then_some(())
    })
    .await;
    assert!(bundles(&lab).await.iter().all(Vec::is_empty));
    assert!(ready().await.is_ok(), "it serves as well as before");

    allow("clusterrole", 0, &ALL);
    bundles_are_right(&lab).await;
    event(&lab, "CaBundleWritten", "MutatingWebhookConfiguration mirrorgate is right again").await;
    until("nothing to be said", 10, async || readiness().await.contains("[+] webhooks\n").then_some(())).await;
}

/// cert-manager's CA injector, say, whose annotation was left there: nobody wins, and the API server is not worn out.
#[tokio::test]
async fn a_ca_bundle_that_somebody_else_writes_too_is_told_of() {
    let lab = Lab::alone().await;
    let_ca_bundles_be_emptied().await;
    bundles_are_right(&lab).await;
    forget_events();
    let configurations = Api::<MutatingWebhookConfiguration>::all(lab.client.clone());
    let without = |webhook: &str| json!({"name": webhook, "clientConfig": {"caBundle": null}});
    let empty = json!({"webhooks": [without("enforce.mirrorgate.dev"), without("audit.mirrorgate.dev")]});
    until("it to be told of", 60, async || {
        configurations.patch("mirrorgate", &PatchParams::default(), &Patch::Strategic(&empty)).await.unwrap();
        readiness().await.contains("somebody else writes it, too, again and again").then_some(())
    })
    .await;
    event(&lab, "CaBundleNotWritten", "is it cert-manager's CA injector?").await;
    // In peace it comes back.
    until("the caBundle of every webhook", 30, async || {
        let authorities = held(&lab).await.remove("ca.crt")?;
        bundles(&lab).await.iter().all(|bundle| *bundle == authorities).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_wish_that_nobody_understands_is_told_of() {
    let lab = Lab::alone().await;
    bundles_are_right(&lab).await;
    let before = held(&lab).await;
    annotate(&lab, "everything").await;
    let words = "the annotation mirrorgate.dev/renew is \"everything\", and not \"certificate\" or \"ca\"";
    until("it to be told of", 10, async || readiness().await.contains(words).then_some(())).await;
    let annotations = secrets(&lab).get(super::SECRET).await.unwrap().metadata.annotations.unwrap_or_default();
    assert_eq!(annotations["mirrorgate.dev/renew"], "everything");
    assert!(held(&lab).await == before);
    annotate(&lab, "certificate").await;
    until("another certificate", 10, async || (held(&lab).await["tls.crt"] != before["tls.crt"]).then_some(())).await;
    until("nothing to be said", 10, async || (!readiness().await.contains("the annotation")).then_some(())).await;
}

/// From 14 days before.
#[tokio::test]
async fn the_end_of_a_certificate_is_told_of_in_time_and_its_successor_too() {
    let lab = Lab::alone().await;
    mirrorgate::run(&["--serving-certificate=own"]).await;
    forget_events();
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authorities = ca.self_signed(&key).unwrap().pem();
    let in_days = |days: i64| {
        let at = Timestamp::now() + SignedDuration::from_hours(24 * days);
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(at.as_second().try_into().unwrap())
    };
    let ends_in = |days: i64| {
        let mut leaf = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        leaf.not_before = in_days(-60);
        leaf.not_after = in_days(days);
        leaf.signed_by(&key, &Issuer::from_params(&ca, &key)).unwrap().pem()
    };
    let write_one = async |days: i64| {
        let (certificate, key) = (ends_in(days), key.serialize_pem());
        let values = [("tls.crt", &certificate), ("tls.key", &key), ("ca.crt", &authorities)];
        write(&lab, &values.map(|(name, value)| (name, value.as_bytes()))).await;
    };
    write_one(10).await;
    event(&lab, "CertificateExpires", "in 9 days").await;
    let said = "[+] certificate (expires at ";
    until("it to be said", 10, async || readiness().await.contains(said).then_some(())).await;
    write_one(300).await;
    event(&lab, "CertificateRenewed", "does not end soon any more").await;
}
