//! What a server presents, and what comes of its handshake (T2 to T4, P1).

use std::sync::Arc;

use mirrorgate::image::Registry;
use mirrorgate::probe::{Dialler, Kind};
use mirrorgate::review::Verdict;
use mirrorgate::trust::{Outcome, Roots};
use rcgen::{DnType, KeyPair, PublicKeyData, date_time_ymd};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{RootCertStore, SignatureAlgorithm, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::authority::{Authority, padding};
use super::registry::{
    Always, UNAUTHORIZED, answer, config, config_of, good, hold, listen, listen_configured, listen_tls,
};
use super::{SHORT, assert_said, probe, said, target};

#[tokio::test]
async fn t3_a_chain_to_a_trusted_ca_is_trusted_and_says_by_which() {
    let authority = Authority::new("corp");
    let server = good(&authority.certify(&["harbor.corp"])).await;
    let report = probe(server.address, &authority.roots()).await;
    assert_said(&report, "trusted", "ok", "");
    assert_eq!((report.http_status, report.address), (Some(401), Some(server.address)));
    let judgement = report.judgement.unwrap();
    let Outcome::Trusted(by) = judgement.outcome else { panic!("{judgement:?}") };
    assert_eq!((&*by.source, by.root.der()), ("the CA of the test", &*authority.der()));
    assert_eq!(server.connections(), 1);
}

/// Each ends before `GET /v2/`.
#[tokio::test]
async fn t4_what_is_not_trusted_is_told_by_its_class_and_sends_no_request() {
    let authority = Authority::new("corp");
    let other = Authority::new("other");
    for (class, part, certified, roots) in [
        ("unknown-authority", "", other.certify(&["harbor.corp"]), authority.roots()),
        ("unknown-authority", "", authority.certify(&["harbor.corp"]), Roots::default()),
        ("name-mismatch", "harbor.corp", authority.certify(&["quay.corp"]), authority.roots()),
        ("name-mismatch", "", authority.certify(&[]), authority.roots()),
        (
            "expired",
            "2021",
            authority.certify_with(&["harbor.corp"], |params| params.not_after = date_time_ymd(2021, 1, 1)),
            authority.roots(),
        ),
        (
            "not-yet-valid",
            "2119",
            authority.certify_with(&["harbor.corp"], |params| params.not_before = date_time_ymd(2119, 1, 1)),
            authority.roots(),
        ),
    ] {
        let server = listen_tls(&certified, |mut stream| async move {
            let mut heard = Vec::new();
            let _end = stream.read_to_end(&mut heard).await;
            assert!(heard.is_empty(), "a request was sent: {}", String::from_utf8_lossy(&heard));
        })
        .await;
        let report = probe(server.address, &roots).await;
        assert_said(&report, "untrusted", class, part);
        assert_eq!(report.http_status, None);
    }
}

#[tokio::test]
async fn t2_a_ca_of_one_host_does_not_vouch_for_another() {
    let (a, b) = (Authority::new("for a"), Authority::new("for b"));
    let server = good(&a.certify(&["a.corp", "b.corp"])).await;
    for (host, roots, expected) in [("a.corp", a.roots(), "ok"), ("b.corp", b.roots(), "unknown-authority")] {
        let registry = Registry::parse(host).unwrap();
        let report = Dialler::new().probe(&target(&registry, server.address), &roots).await;
        assert_eq!(said(&report).1, expected, "{host}");
    }
}

/// It shows a certificate that anyone can have, without its key.
#[tokio::test]
async fn t3_a_server_that_does_not_hold_the_key_is_not_trusted() {
    let authority = Authority::new("corp");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut certified = authority.certify(&["harbor.corp"]);
        certified.key = KeyPair::generate().unwrap();
        let resolver = Arc::new(Always(Arc::new(certified.for_rustls())));
        let server = listen_configured(config_of(resolver, &[version]), hold).await;
        let report = probe(server.address, &authority.roots()).await;
        assert_said(&report, "untrusted", "bad-signature", "does not prove that it holds the key");
    }
}

#[tokio::test]
async fn p1_tls_1_2_and_1_3_and_every_kind_of_key() {
    let authority = Authority::new("corp");
    let keys = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ];
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for algorithm in keys {
            let certified = authority.certify_for(&["harbor.corp"], KeyPair::generate_for(algorithm).unwrap());
            let resolver = Arc::new(Always(Arc::new(certified.for_rustls())));
            let server =
                listen_configured(config_of(resolver, &[version]), |stream| answer(stream, UNAUTHORIZED.into())).await;
            let report = probe(server.address, &authority.roots()).await;
            assert_eq!(said(&report).1, "ok", "{algorithm:?} {version:?}: {:?}", report.verdict);
        }
    }
}

/// A node's Go refuses it in TLS 1.3, where each curve has its hash.
#[tokio::test]
async fn t3_a_hash_that_is_not_the_curve_s_is_taken_in_tls_1_2_only() {
    let authority = Authority::new("corp");
    for (version, verdict, class) in
        [(&rustls::version::TLS12, "trusted", "ok"), (&rustls::version::TLS13, "untrusted", "bad-signature")]
    {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA256).unwrap();
        let certified = authority.certify_for(&["harbor.corp"], key);
        let shown = CertifiedKey::new(
            certified.chain.clone(),
            Arc::new(Signing(SignatureScheme::ECDSA_NISTP256_SHA256, Arc::new(certified.key))),
        );
        let config = config_of(Arc::new(Always(Arc::new(shown))), &[version]);
        let server = listen_configured(config, |stream| answer(stream, UNAUTHORIZED.into())).await;
        let report = probe(server.address, &authority.roots()).await;
        let part = if class == "ok" { "" } else { "a scheme that Go does not take for the key" };
        assert_said(&report, verdict, class, part);
    }
}

/// Not accused of showing another's certificate.
#[tokio::test]
async fn t4_a_server_with_a_small_key_is_told_of_its_size() {
    let authority = Authority::new("corp");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let shown = CertifiedKey::new(
            vec![authority.certify_public(&["harbor.corp"], &Rsa512::new())],
            Arc::new(Signing(SignatureScheme::RSA_PSS_SHA256, Arc::new(KeyPair::generate().unwrap()))),
        );
        let server = listen_configured(config_of(Arc::new(Always(Arc::new(shown))), &[version]), hold).await;
        let report = probe(server.address, &authority.roots()).await;
        let part = "the key of the server's certificate has 512 bits; Go takes 1024 at least";
        assert_said(&report, "untrusted", "bad-signature", part);
    }
}

/// A public key, with a modulus of ones.
struct Rsa512(Vec<u8>);

impl Rsa512 {
    fn new() -> Self {
        Self([&[0x30, 72, 0x02, 65, 0][..], &[0xff; 64], &[0x02, 3, 1, 0, 1]].concat())
    }
}

impl PublicKeyData for Rsa512 {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

/// A key that signs as it is told, without a look at what TLS has for it.
#[derive(Debug)]
struct Signing(SignatureScheme, Arc<KeyPair>);

impl SigningKey for Signing {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Self(self.0, self.1.clone())))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0 {
            SignatureScheme::RSA_PSS_SHA256 => SignatureAlgorithm::RSA,
            _ => SignatureAlgorithm::ECDSA,
        }
    }
}

impl Signer for Signing {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(rcgen::SigningKey::sign(&*self.1, message).unwrap())
    }

    fn scheme(&self) -> SignatureScheme {
        self.0
    }
}

/// What Go sends: the name in lower case; nothing for an address.
#[tokio::test]
async fn p1_the_server_name_is_sent_as_go_sends_it() {
    #[derive(Debug)]
    struct ByName(std::sync::Mutex<Vec<Option<String>>>, Always);
    impl rustls::server::ResolvesServerCert for ByName {
        fn resolve(&self, hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            self.0.lock().unwrap().push(hello.server_name().map(str::to_owned));
            self.1.resolve(hello)
        }
    }
    let authority = Authority::new("corp");
    let certified = authority.certify(&["harbor.corp", "registry-1.docker.io", "127.0.0.1", "fd00::1"]);
    let resolver = Arc::new(ByName(std::sync::Mutex::default(), Always(Arc::new(certified.for_rustls()))));
    let server = listen_configured(config_of(resolver.clone(), &[&rustls::version::TLS13]), |stream| {
        answer(stream, UNAUTHORIZED.into())
    })
    .await;
    for host in ["Harbor.corp:5000", "docker.io", "127.0.0.1:5000", "[fd00::1]:5000"] {
        let registry = Registry::parse(host).unwrap();
        let report = Dialler::new().probe(&target(&registry, server.address), &authority.roots()).await;
        assert_said(&report, "trusted", "ok", "");
    }
    let names = resolver.0.lock().unwrap().clone();
    let expected = [Some("harbor.corp"), Some("registry-1.docker.io"), None, None];
    assert_eq!(names, expected.map(|name| name.map(str::to_owned)));
}

#[tokio::test]
async fn p1_the_handshake_alone_sends_no_request() {
    let authority = Authority::new("corp");
    let server = listen_tls(&authority.certify(&["harbor.corp"]), hold).await;
    let registry = Registry::parse("harbor.corp:5000").unwrap();
    let mut only = target(&registry, server.address);
    only.checked = Kind::HandshakeOnly;
    let report = Dialler::new().probe(&only, &authority.roots()).await;
    assert_said(&report, "trusted", "ok", "");
    assert_eq!(report.http_status, None);
}

#[tokio::test]
async fn p1_a_server_that_speaks_only_http_2_is_judged_by_its_certificate() {
    let authority = Authority::new("corp");
    for (roots, expected) in [(authority.roots(), "ok"), (Roots::default(), "unknown-authority")] {
        let mut config = config(&authority.certify(&["harbor.corp"]));
        config.alpn_protocols = vec![b"h2".to_vec()];
        let server = listen_configured(config, hold).await;
        let report = probe(server.address, &roots).await;
        assert_eq!(said(&report).1, expected);
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn t4_a_demand_for_a_client_certificate_cannot_be_judged_and_a_wish_is_ignored() {
    let authority = Authority::new("corp");
    let mut clients = RootCertStore::empty();
    clients.add(authority.der()).unwrap();
    let clients = Arc::new(clients);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for is_demand in [true, false] {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(clients.clone(), provider.clone());
            let verifier = if is_demand { verifier } else { verifier.allow_unauthenticated() };
            let config = rustls::ServerConfig::builder_with_provider(provider)
                .with_protocol_versions(&[version])
                .unwrap()
                .with_client_cert_verifier(verifier.build().unwrap())
                .with_cert_resolver(Arc::new(Always(Arc::new(authority.certify(&["harbor.corp"]).for_rustls()))));
            let server = listen_configured(config, |stream| answer(stream, UNAUTHORIZED.into())).await;
            let report = probe(server.address, &authority.roots()).await;
            if is_demand {
                assert_said(&report, "unknown", "cannot-judge", "demands a client certificate");
            } else {
                assert_said(&report, "trusted", "ok", "");
            }
            // A node would have ended it before: at the certificate.
            let report = probe(server.address, &Roots::default()).await;
            assert_said(&report, "untrusted", "unknown-authority", "");
        }
    }
}

#[tokio::test]
async fn t4_certificates_beyond_64_kib_cannot_be_judged_and_below_they_are() {
    let authority = Authority::new("corp");
    for (bytes, verdict, class, part) in [
        (70_000, "unknown", "cannot-judge", "64 KiB"),
        (60_000, "trusted", "ok", ""),
        (200_000, "unknown", "cannot-judge", "64 KiB"),
    ] {
        let certified =
            authority.certify_with(&["harbor.corp"], |params| params.custom_extensions.push(padding(bytes)));
        let server = good(&certified).await;
        assert_said(&probe(server.address, &authority.roots()).await, verdict, class, part);
    }
}

#[tokio::test]
async fn t3_a_hundred_certificates_are_judged() {
    let authority = Authority::new("corp");
    // All of one name, and none of them the issuer.
    let others: Vec<_> = (0..99).map(|_| Authority::new("corp").der()).collect();
    let server = good(&authority.certify(&["harbor.corp"]).with(others.clone())).await;
    let report = probe(server.address, &authority.roots()).await;
    assert_said(&report, "trusted", "ok", "");
    assert_eq!(report.judgement.unwrap().presented.len(), 100);
    let server = good(&Authority::new("corp").certify(&["harbor.corp"]).with(others)).await;
    let report = probe(server.address, &authority.roots()).await;
    assert_eq!(said(&report).0, "untrusted", "{:?}", report.verdict);
}

/// Nothing raw of a certificate reaches what is said of it, however long it is (A6).
#[tokio::test]
async fn a6_control_characters_and_10_000_letters_in_a_subject_are_escaped_and_cut() {
    let authority = Authority::new("corp");
    let hostile = "x\u{1b}[31m\u{202e}\n\t".to_owned() + &"y".repeat(10_000);
    let certified = authority.certify_with(&["quay.corp"], |params| {
        params.distinguished_name.push(DnType::CommonName, hostile.clone());
        params.distinguished_name.push(DnType::OrganizationName, hostile.clone());
    });
    let server = good(&certified).await;
    for roots in [authority.roots(), Roots::default()] {
        let report = probe(server.address, &roots).await;
        let Verdict::Untrusted(untrusted) = &report.verdict else { panic!("{:?}", report.verdict) };
        let shown = format!("{untrusted:?}");
        assert!(shown.len() < 10_000, "{} bytes: {shown}", shown.len());
        assert!(!untrusted.why.chars().any(char::is_control), "{:?}", untrusted.why);
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown}");
    }
}

#[tokio::test]
async fn t4_servers_that_do_not_speak_tls() {
    let bad_request = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nClient sent nonsense.\n";
    let http = listen(move |mut stream| async move {
        let _hello = stream.read(&mut [0; 4096]).await;
        let _gone = stream.write_all(bad_request.as_bytes()).await;
    })
    .await;
    let report = probe(http.address, &Roots::default()).await;
    assert_said(&report, "unreachable", "not-tls", "plainHTTP: true");

    let ssh = listen(|mut stream| async move {
        let _gone = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await;
        hold(stream).await;
    })
    .await;
    assert_said(&probe(ssh.address, &Roots::default()).await, "unreachable", "not-tls", "does not speak TLS");
}

#[tokio::test]
async fn t4_servers_that_end_the_handshake() {
    let close = listen(|stream| async move { drop(stream) }).await;
    assert_said(&probe(close.address, &Roots::default()).await, "unreachable", "reset", "closed the connection");
    let hang_up = listen(|mut stream| async move {
        let _hello = stream.read(&mut [0; 4096]).await;
    })
    .await;
    assert_said(&probe(hang_up.address, &Roots::default()).await, "unreachable", "reset", "closed the connection");

    for (alert, part) in [
        (40, "ciphers or key exchanges"),
        (70, "versions of TLS"),
        (112, "does not know the name"),
        (80, "no certificate"),
        (50, "its log"),
    ] {
        let server = listen(move |mut stream| async move {
            let _hello = stream.read(&mut [0; 4096]).await;
            let _gone = stream.write_all(&[21, 3, 3, 0, 2, 2, alert]).await;
        })
        .await;
        let report = probe(server.address, &Roots::default()).await;
        assert_said(&report, "unknown", "cannot-judge", part);
        assert_said(&report, "unknown", "cannot-judge", "before it showed a certificate");
    }
    let nonsense = listen(|mut stream| async move {
        let _hello = stream.read(&mut [0; 4096]).await;
        let _gone = stream.write_all(&[22, 3, 3, 0, 4, 1, 0, 0, 0]).await;
    })
    .await;
    assert_said(&probe(nonsense.address, &Roots::default()).await, "unknown", "cannot-judge", "rules of TLS");
}

#[tokio::test]
async fn p1_a_server_that_sends_without_end_is_cut_off() {
    let flood = listen(|mut stream| async move {
        let _hello = stream.read(&mut [0; 4096]).await;
        // Empty handshake records: nothing that a limit on messages would meet.
        while stream.write_all(&[22, 3, 3, 0, 0].repeat(1000)).await.is_ok() {}
    })
    .await;
    let report = probe(flood.address, &Roots::default()).await;
    assert_eq!(said(&report).0, "unknown", "{:?}", report.verdict);
}

#[tokio::test]
async fn p1_servers_that_are_silent_or_slow_take_no_longer_than_the_time() {
    let silent = listen(hold).await;
    let slow = listen(|mut stream| async move {
        let _hello = stream.read(&mut [0; 4096]).await;
        for byte in [22, 3, 3, 0x10, 0].into_iter().chain(std::iter::repeat(0)) {
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    for (server, part) in [(&silent, "says nothing"), (&slow, "did not end in time")] {
        let registry = Registry::parse("harbor.corp:5000").unwrap();
        let mut short = target(&registry, server.address);
        short.timeout = SHORT;
        let report = Dialler::new().probe(&short, &Roots::default()).await;
        assert_said(&report, "unreachable", "timed-out", part);
        assert!(report.took >= SHORT && report.took < SHORT * 3, "{:?}", report.took);
    }
}
