//! Certificates that others make: by hand, or by cert-manager.

use std::process::{Command, Stdio};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize,
};

use super::{NAME, a_call_goes_well, bundles, bundles_are_right, event, held, served_at, write, write_bundles};
use crate::lab::{Lab, let_ca_bundles_be_emptied, our_address, repository, until, work};
use crate::mirrorgate::{self, get_at, metric, readiness, ready};

/// A CA, and what it signs.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
    /// Its certificate.
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "somebody's CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    fn signs(&self, name: &str, (from, to): (i32, i32), key: &KeyPair) -> String {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "somebody's server");
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        params.signed_by(key, &Issuer::from_params(&self.params, &self.key)).unwrap().pem()
    }
}

async fn write_pair(lab: &Lab, certificate: &str, key: &str, authorities: &str) {
    let values = [("tls.crt", certificate), ("tls.key", key), ("ca.crt", authorities)];
    write(lab, &values.map(|(name, value)| (name, value.as_bytes()))).await;
}

/// Years in which the lab runs, and others.
const NOW: (i32, i32) = (2020, 2100);

#[tokio::test]
async fn your_own_certificate_is_made_as_its_page_says_and_waited_for() {
    let lab = Lab::alone().await;
    let namespace = lab.namespace(Some("enforce")).await;
    mirrorgate::run(&["--serving-certificate=own"]).await;
    let missing = "[-] certificate: there is no Secret mirrorgate-serving in mirrorgate-system";
    until("it to be missed", 10, async || readiness().await.contains(missing).then_some(())).await;
    assert!(get_at(8080, "/livez").await.is_ok_and(|(status, _)| status == 200));
    // Who comes before there is one waits for it: without, the handshake would fail, and a call with it.
    let mut early = Command::new("openssl");
    early
        .args(["s_client", "-connect", &format!("{}:8443", our_address())])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let early = early.spawn().unwrap();

    let page = std::fs::read_to_string(repository().join("certs/README.md")).unwrap();
    let commands = page.split("```sh own\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = work().join("own-certificate");
    std::fs::create_dir_all(&folder).unwrap();
    let output = Command::new("bash").args(["-euc", commands]).current_dir(&folder).output().unwrap();
    assert!(output.status.success(), "certs/README.md: {}", String::from_utf8_lossy(&output.stderr));
    until("mirrorgate", 10, async || ready().await.ok()).await;
    bundles_are_right(&lab).await;
    assert_eq!(bundles(&lab).await[0], std::fs::read(folder.join("ca.crt")).unwrap());
    a_call_goes_well(&lab, &namespace).await;
    let served = String::from_utf8(early.wait_with_output().unwrap().stdout).unwrap();
    let certificate = std::fs::read_to_string(folder.join("tls.crt")).unwrap();
    assert!(served.contains(certificate.trim()), "{served}");
}

#[tokio::test]
async fn each_fault_of_a_certificate_leaves_the_last_good_one_in_force_and_is_told_of() {
    let lab = Lab::alone().await;
    let namespace = lab.namespace(Some("enforce")).await;
    mirrorgate::run(&["--serving-certificate=own"]).await;
    let (ca, key, other) = (Authority::new(), KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let (good, pem) = (ca.signs(NAME, NOW, &key), key.serialize_pem());
    write_pair(&lab, &good, &pem, &ca.pem).await;
    until("mirrorgate", 10, async || ready().await.ok()).await;
    let (served, is_trusted) = served_at(8443, ca.pem.as_bytes()).await.unwrap();
    assert!(is_trusted);

    let chain_backwards = format!("{}{good}", ca.pem);
    for (certificate, key, authorities, words) in [
        (&*good, &*other.serialize_pem(), &*ca.pem, "the private key belongs to another certificate"),
        (&*ca.signs(NAME, (2020, 2021), &key), &*pem, &*ca.pem, "expired at 2021-01-01"),
        (&*ca.signs(NAME, (2099, 2100), &key), &*pem, &*ca.pem, "is not valid before 2099-01-01"),
        (&*ca.signs("mirrorgate.other.svc", NOW, &key), &*pem, &*ca.pem, "mirrorgate.other.svc"),
        (&*chain_backwards, &*pem, &*ca.pem, "the chain is in the wrong order"),
        (&*good, &*pem, &*Authority::new().pem, "refuse it"),
        (&*good, &*pem, "", "ca.crt is missing or empty"),
        (&*good, "", &*ca.pem, "there is no private key"),
        ("", "", "", "the Secret mirrorgate-serving in mirrorgate-system is empty"),
    ] {
        write_pair(&lab, certificate, key, authorities).await;
        let kept = "[+] certificate (the last good one stays in force: ";
        until(words, 5, async || {
            let report = readiness().await;
            (report.contains(kept) && report.contains(words)).then_some(())
        })
        .await;
        assert_eq!(metric("mirrorgate_certificate_errors", "").await, 1.0, "{words}");
        event(&lab, "CertificateNotInOrder", words).await;
        assert_eq!(served_at(8443, ca.pem.as_bytes()).await, Some((served.clone(), true)), "{words}");
        assert!(bundles(&lab).await.iter().all(|bundle| *bundle == ca.pem.as_bytes()), "{words}");
        a_call_goes_well(&lab, &namespace).await;
    }
    super::secrets(&lab).delete(super::SECRET, &Default::default()).await.unwrap();
    until("it to be missed", 5, async || readiness().await.contains("there is no Secret").then_some(())).await;
    a_call_goes_well(&lab, &namespace).await;
    write_pair(&lab, &ca.signs(NAME, NOW, &other), &other.serialize_pem(), &ca.pem).await;
    until("the metric", 5, async || (metric("mirrorgate_certificate_errors", "").await == 0.0).then_some(())).await;
    assert!(served_at(8443, ca.pem.as_bytes()).await.is_some_and(|(now, is_trusted)| is_trusted && now != served));
}

/// The API server's own TLS client decides which kinds of keys can serve.
#[tokio::test]
async fn the_api_server_takes_every_kind_of_key() {
    let lab = Lab::alone().await;
    let namespace = lab.namespace(Some("enforce")).await;
    mirrorgate::run(&["--serving-certificate=own"]).await;
    for (kind, key) in [
        ("ECDSA P-256", KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()),
        ("ECDSA P-384", KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()),
        ("Ed25519", KeyPair::generate_for(&PKCS_ED25519).unwrap()),
        ("RSA-2048", KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()),
        ("RSA-4096", KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096).unwrap()),
    ] {
        // Another caBundle: the API server makes new connections.
        let ca = Authority::new();
        write_pair(&lab, &ca.signs(NAME, NOW, &key), &key.serialize_pem(), &ca.pem).await;
        until(kind, 10, async || {
            let (_, is_trusted) = served_at(8443, ca.pem.as_bytes()).await?;
            is_trusted.then_some(())
        })
        .await;
        bundles_are_right(&lab).await;
        a_call_goes_well(&lab, &namespace).await;
    }
}

#[tokio::test]
async fn of_cert_managers_certificate_nothing_is_written() {
    let lab = Lab::alone().await;
    let namespace = lab.namespace(Some("enforce")).await;
    mirrorgate::run(&["--serving-certificate=cert-manager"]).await;
    let_ca_bundles_be_emptied().await;
    let (ca, key) = (Authority::new(), KeyPair::generate().unwrap());
    // As its CA injector does.
    write_bundles(ca.pem.as_bytes());
    for _ in 0..2 {
        let renewed = ca.signs(NAME, NOW, &key);
        write_pair(&lab, &renewed, &key.serialize_pem(), &ca.pem).await;
        let served = super::certificates(renewed.as_bytes())[0].facts().sha256;
        until("the certificate", 5, async || {
            (served_at(8443, ca.pem.as_bytes()).await? == (served.clone(), true)).then_some(())
        })
        .await;
    }
    until("mirrorgate", 10, async || ready().await.ok()).await;
    a_call_goes_well(&lab, &namespace).await;
    write_bundles(b"");
    // Neither the bundle nor the annotation is ours: a renewal, which is seen, changes nothing of them.
    super::annotate(&lab, "ca").await;
    let renewed = ca.signs(NAME, NOW, &KeyPair::generate().unwrap());
    write(&lab, &[("tls.crt", renewed.as_bytes())]).await;
    until("the fault", 5, async || (metric("mirrorgate_certificate_errors", "").await == 1.0).then_some(())).await;
    assert!(bundles(&lab).await.iter().all(Vec::is_empty));
    assert_eq!(held(&lab).await["tls.crt"], renewed.as_bytes());
}
