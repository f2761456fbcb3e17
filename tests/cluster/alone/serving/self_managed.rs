//! What becomes of the Secret when others write to it.

use kube::api::DeleteParams;

use super::{
    SECRET, a_call_goes_well, bundles, bundles_are_right, certificates, event, figure, held, secrets, served_at, write,
    write_bundles,
};
use crate::lab::{Lab, let_ca_bundles_be_emptied, part, until, work};
use crate::mirrorgate::{PART, get_at, metric, readiness, ready};

#[tokio::test]
async fn a_secret_that_is_deleted_or_emptied_is_put_back_as_it_was() {
    let lab = Lab::alone().await;
    let namespace = lab.namespace(Some("enforce")).await;
    bundles_are_right(&lab).await;
    let before = held(&lab).await;
    let is_back = async || (held(&lab).await == before).then_some(());

    secrets(&lab).delete(SECRET, &DeleteParams::default()).await.unwrap();
    until("the Secret that was deleted", 5, is_back).await;
    event(&lab, "CertificatePutBack", "is there again").await;

    let nothing: &[u8] = b"";
    write(&lab, &["tls.crt", "tls.key", "ca.crt", "ca.key"].map(|key| (key, nothing))).await;
    until("the Secret that was emptied", 5, is_back).await;
    a_call_goes_well(&lab, &namespace).await;
    assert!(bundles(&lab).await.iter().all(|bundle| *bundle == before["ca.crt"]));
    assert!(ready().await.is_ok() && metric("mirrorgate_certificate_errors", "").await == 0.0);
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_leaves_the_last_good_certificate_in_force_and_says_so() {
    let lab = Lab::alone().await;
    let namespace = lab.namespace(Some("enforce")).await;
    bundles_are_right(&lab).await;
    let before = held(&lab).await;
    let (served, _) = served_at(8443, &before["ca.crt"]).await.unwrap();

    write(&lab, &[("tls.crt", b"broken")]).await;
    until("the metric", 5, async || (metric("mirrorgate_certificate_errors", "").await == 1.0).then_some(())).await;
    let report = readiness().await;
    assert!(report.contains("[+] certificate (the last good one stays in force: "), "{report}");
    event(&lab, "CertificateNotInOrder", "the certificate cannot be read").await;
    assert_eq!(served_at(8443, &before["ca.crt"]).await, Some((served, true)));
    a_call_goes_well(&lab, &namespace).await;
    assert_eq!(held(&lab).await["tls.crt"], b"broken", "it is not ours to overwrite");

    write(&lab, &[("tls.crt", &before["tls.crt"])]).await;
    until("the metric", 5, async || (metric("mirrorgate_certificate_errors", "").await == 0.0).then_some(())).await;
    event(&lab, "CertificateInOrder", "in order again").await;

    // Who starts with it has nothing better: the CA is good, and signs another.
    write(&lab, &[("tls.crt", b"broken")]).await;
    part("restart", PART, "KILL");
    until("a certificate in its place", 10, async || (held(&lab).await["tls.crt"] != b"broken").then_some(())).await;
    until("mirrorgate", 10, async || ready().await.ok()).await;
    assert_eq!(held(&lab).await["ca.crt"], before["ca.crt"]);
    event(&lab, "CertificateMade", "cannot be used").await;
    a_call_goes_well(&lab, &namespace).await;
}

#[tokio::test]
async fn the_key_of_another_certificate_is_replaced_at_once() {
    let lab = Lab::alone().await;
    let namespace = lab.namespace(Some("enforce")).await;
    bundles_are_right(&lab).await;
    let before = held(&lab).await;
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    write(&lab, &[("tls.key", key.as_bytes())]).await;
    until("another pair", 5, async || (held(&lab).await["tls.crt"] != before["tls.crt"]).then_some(())).await;
    assert_eq!(held(&lab).await["ca.crt"], before["ca.crt"]);
    until("it to be served", 5, async || {
        let (_, is_trusted) = served_at(8443, &before["ca.crt"]).await?;
        (is_trusted && metric("mirrorgate_certificate_errors", "").await == 0.0).then_some(())
    })
    .await;
    a_call_goes_well(&lab, &namespace).await;
}

#[tokio::test]
async fn from_nothing_it_is_ready_within_a_second_and_alive_from_the_start() {
    let lab = Lab::alone().await;
    let_ca_bundles_be_emptied().await;
    let mut took = Vec::new();
    for _ in 0..5 {
        part("stop", PART, "KILL");
        secrets(&lab).delete(SECRET, &DeleteParams::default()).await.unwrap();
        write_bundles(b"");
        part("start", PART, "TERM");
        let start = std::time::Instant::now();
        let mut alive = None;
        until("mirrorgate", 10, async || {
            if alive.is_none() && get_at(8080, "/livez").await.is_ok_and(|(status, _)| status == 200) {
                alive = Some(start.elapsed());
            }
            ready().await.ok()
        })
        .await;
        took.push(start.elapsed().as_millis());
        assert!(alive.is_some());
        assert_eq!(certificates(&held(&lab).await["ca.crt"]).len(), 1);
    }
    took.sort_unstable();
    figure(&format!("cold start to ready, with a CA made (ms): {took:?}; the log: {}", work().join("logs").display()));
    assert!(took[2] < 1000, "{took:?}");
}
