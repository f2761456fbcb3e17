//! What is said of the chain that a registry sends (T3, T4), on certificates made here. That it is what Go says of tens
//! of thousands of others is `tests/oracle/run`'s to show.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mirrorgate::trust::{
    Certificate, Fault, HandshakeFault, Judgement, Outcome, Pool, Roots, TlsVersion, judge, public_roots,
    verify_handshake,
};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P384_SHA384, SanType, SigningKey as _,
    date_time_ymd,
};

/// In the middle of what is valid.
const NOW: &str = "2026-11-21T12:00:00Z";

/// A certificate and its key.
struct Pair {
    params: CertificateParams,
    key: KeyPair,
    der: Vec<u8>,
}

impl Pair {
    /// By another, or by itself.
    fn new(by: Option<&Self>, params: CertificateParams) -> Self {
        Self::with_key(by, params, KeyPair::generate().unwrap())
    }

    fn with_key(by: Option<&Self>, params: CertificateParams, key: KeyPair) -> Self {
        let certificate = match by {
            Some(by) => params.signed_by(&key, &Issuer::from_params(&by.params, &by.key)).unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        let der = certificate.der().to_vec();
        Self { params, key, der }
    }

    fn certificate(&self) -> Arc<Certificate> {
        Arc::new(Certificate::parse(&self.der).unwrap())
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
    params
}

fn ca(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn server(names: &[&str]) -> CertificateParams {
    let mut params = params("server");
    params.subject_alt_names = names
        .iter()
        .map(|name| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into().unwrap()),
        })
        .collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn roots(trusted: &[&Pair]) -> Roots {
    Roots::new(vec![pool("the roots", trusted)])
}

fn pool(source: &str, trusted: &[&Pair]) -> Arc<Pool> {
    Arc::new(Pool::new(source, trusted.iter().map(|pair| pair.certificate()).collect()))
}

fn judged(presented: &[&Pair], trusted: &[&Pair], host: &str) -> Judgement {
    let presented: Vec<Vec<u8>> = presented.iter().map(|pair| pair.der.clone()).collect();
    judge(&presented, &roots(trusted), host, NOW.parse().unwrap())
}

/// `trusted`, or the fault, the place among those sent, and why.
fn said(judgement: &Judgement) -> String {
    match &judgement.outcome {
        Outcome::Trusted(_) => "trusted".to_owned(),
        Outcome::Untrusted(rejection) => {
            let place = rejection.presented_index.map_or("-".to_owned(), |index| index.to_string());
            format!("{} {place}: {}", rejection.fault.as_str(), rejection.why)
        }
        Outcome::CannotJudge(why) => format!("cannot judge: {why}"),
    }
}

#[track_caller]
fn assert_said(presented: &[&Pair], trusted: &[&Pair], host: &str, expected: &str) {
    assert_eq!(said(&judged(presented, trusted, host)), expected);
}

const HOST: &str = "registry.corp";

/// Root, intermediate, server.
fn chain() -> (Pair, Pair, Pair) {
    let root = Pair::new(None, ca("root"));
    let issuing = Pair::new(Some(&root), ca("issuing"));
    let server = Pair::new(Some(&issuing), server(&[HOST]));
    (root, issuing, server)
}

#[test]
fn t3_a_chain_is_found_in_any_order() {
    let (root, issuing, server) = chain();
    let (other, _, _) = chain();
    for presented in [
        vec![&server, &issuing],
        vec![&server, &issuing, &root],
        vec![&server, &root, &issuing],
        vec![&server, &other, &issuing, &issuing, &server],
    ] {
        assert_said(&presented, &[&other, &root], HOST, "trusted");
    }
    assert_said(&[&server], &[&issuing], HOST, "trusted");
    let missing = "unknown-authority 0: the server's certificate is issued by \"CN=issuing\", which is not among the \
                   trusted CAs; the server sent no other certificate";
    assert_said(&[&server], &[&root], HOST, missing);
    let unknown = "unknown-authority 1: the CA certificate \"CN=issuing\" is issued by \"CN=root\", which is not among \
                   the trusted CAs";
    assert_said(&[&server, &issuing], &[], HOST, unknown);
}

#[test]
fn t3_the_trusted_ca_and_its_source_are_told() {
    let (root, issuing, server) = chain();
    let (other, _, _) = chain();
    let presented = [server.der.clone(), issuing.der.clone()];
    for (pools, source) in [
        (vec![pool("one", &[&other]), pool("two", &[&root]), pool("three", &[&root])], "two"),
        (vec![pool("one", &[&issuing]), pool("two", &[&root])], "one"),
        (vec![pool("one", &[&server]), pool("two", &[&root])], "one"),
    ] {
        let trusted = Arc::clone(&pools[if source == "two" { 1 } else { 0 }]);
        let judgement = judge(&presented, &Roots::new(pools), HOST, NOW.parse().unwrap());
        let Outcome::Trusted(by) = judgement.outcome else { panic!("{}", said(&judgement)) };
        assert_eq!((&*by.source, by.root.der()), (source, trusted.certificates()[0].der()));
    }
}

#[test]
fn trap_20_a_self_signed_ca_as_server_certificate_is_trusted_when_it_is_listed() {
    let mut params = server(&[HOST]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages.clear();
    let own = Pair::new(None, params.clone());
    assert_said(&[&own], &[&own], HOST, "trusted");
    let twin = Pair::new(None, params);
    let other_key = "unknown-authority 0: the server's certificate is issued by \"CN=server\"; a CA certificate of that \
                     name is there, but with another key";
    assert_said(&[&own], &[&twin], HOST, other_key);
    let unknown = "unknown-authority 0: the server's certificate is signed by itself and is not among the trusted CAs";
    assert_said(&[&own], &[], HOST, unknown);
    // Listed, a certificate is trusted without a CA, but for its names and dates.
    let (_, _, server) = chain();
    assert_said(&[&server], &[&server], HOST, "trusted");
    let name = "name-mismatch 0: the server's certificate is for registry.corp, not for other.corp";
    assert_said(&[&server], &[&server], "other.corp", name);
}

#[test]
fn t3_dates_count_at_every_level() {
    let expired = |mut params: CertificateParams| {
        params.not_after = date_time_ymd(2026, 11, 21);
        params
    };
    let early = |mut params: CertificateParams| {
        params.not_before = date_time_ymd(2026, 11, 22);
        params
    };
    let unchanged = |params: CertificateParams| params;
    type Change = dyn Fn(CertificateParams) -> CertificateParams;
    let table: [(&Change, &Change, &Change, &str); 6] = [
        (&expired, &unchanged, &unchanged, "expired 0: the server's certificate expired at 2026-11-21T00:00:00Z"),
        (
            &unchanged,
            &expired,
            &unchanged,
            "expired 1: the CA certificate \"CN=issuing\" expired at 2026-11-21T00:00:00Z",
        ),
        (&unchanged, &unchanged, &expired, "expired -: the CA certificate \"CN=root\" expired at 2026-11-21T00:00:00Z"),
        (
            &early,
            &unchanged,
            &unchanged,
            "not-yet-valid 0: the server's certificate is not valid before 2026-11-22T00:00:00Z",
        ),
        (
            &unchanged,
            &early,
            &unchanged,
            "not-yet-valid 1: the CA certificate \"CN=issuing\" is not valid before 2026-11-22T00:00:00Z",
        ),
        (
            &unchanged,
            &unchanged,
            &early,
            "not-yet-valid -: the CA certificate \"CN=root\" is not valid before 2026-11-22T00:00:00Z",
        ),
    ];
    for (of_server, of_issuing, of_root, expected) in table {
        let root = Pair::new(None, of_root(ca("root")));
        let issuing = Pair::new(Some(&root), of_issuing(ca("issuing")));
        let server = Pair::new(Some(&issuing), of_server(server(&[HOST])));
        assert_said(&[&server, &issuing], &[&root], HOST, &format!("{expected}; it is {NOW}"));
    }
    // The first and the last second are valid.
    let server = Pair::new(None, server(&[HOST]));
    for (at, expected) in [
        ("2025-12-31T23:59:59.9Z", "not-yet-valid"),
        ("2026-01-01T00:00:00Z", "trusted"),
        ("2027-01-01T00:00:00Z", "trusted"),
        ("2027-01-01T00:00:00.1Z", "expired"),
    ] {
        let judgement = judge(std::slice::from_ref(&server.der), &roots(&[&server]), HOST, at.parse().unwrap());
        assert_eq!(said(&judgement).split(' ').next(), Some(expected), "{at}");
        assert_eq!(judgement.at, at.parse::<Timestamp>().unwrap());
    }
}

#[test]
fn t3_the_names_are_the_alternative_names() {
    let root = Pair::new(None, ca("root"));
    for (names, host, expected) in [
        (&["*.corp", "b.corp"][..], "registry.corp", "trusted"),
        (&["10.0.0.1", "fd00::1"], "fd00::1", "trusted"),
        (
            &["a.corp", "10.0.0.1"],
            "registry.corp",
            "name-mismatch 0: the server's certificate is for a.corp, 10.0.0.1, not for registry.corp",
        ),
        (&["10.0.0.2"], "10.0.0.1", "name-mismatch 0: the server's certificate is for 10.0.0.2, not for 10.0.0.1"),
        (
            &["registry.corp"],
            "10.0.0.1",
            "name-mismatch 0: the server's certificate is for registry.corp, not for 10.0.0.1; it has no IP among its \
             subject alternative names",
        ),
        (
            &[],
            "server",
            "name-mismatch 0: the server's certificate is for no name at all, and server is wanted; it has no subject \
             alternative name, and the common name does not count",
        ),
    ] {
        let server = Pair::new(Some(&root), server(names));
        assert_said(&[&server], &[&root], host, expected);
    }
}

#[test]
fn t3_an_issuer_has_to_be_a_ca() {
    let root = Pair::new(None, ca("root"));
    let mut no_ca = params("issuing");
    no_ca.is_ca = IsCa::ExplicitNoCa;
    let mut no_signer = ca("issuing");
    no_signer.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let mut short = ca("issuing");
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    for (params, expected) in [
        (params("issuing"), "does not say CA:TRUE in its basic constraints"),
        (no_ca, "does not say CA:TRUE in its basic constraints"),
        (no_signer, "has a key usage that leaves out the signing of certificates"),
    ] {
        let issuing = Pair::new(Some(&root), params);
        let server = Pair::new(Some(&issuing), server(&[HOST]));
        let before =
            "not-a-ca 1: the server's certificate is issued by \"CN=issuing\", and the CA certificate of that name";
        assert_said(&[&server, &issuing], &[&root], HOST, &format!("{before} {expected}"));
    }
    let issuing = Pair::new(Some(&root), short);
    let below = Pair::new(Some(&issuing), ca("below"));
    let under_issuing = Pair::new(Some(&issuing), server(&[HOST]));
    assert_said(&[&under_issuing, &issuing], &[&root], HOST, "trusted");
    let under_below = Pair::new(Some(&below), server(&[HOST]));
    let long = "not-a-ca 2: the CA certificate \"CN=issuing\" allows 0 further CAs between itself and a server (path \
                length), and there are 1";
    assert_said(&[&under_below, &below, &issuing], &[&root], HOST, long);
}

#[test]
fn t3_usages_nest() {
    let (client, any) = (ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::Any);
    let table = [
        (
            vec![],
            vec![client.clone()],
            "wrong-usage 0: the server's certificate is not for TLS servers: its extended key usage leaves out serverAuth",
        ),
        (
            vec![client.clone()],
            vec![],
            "wrong-usage -: the CA certificate \"CN=root\" is not for TLS servers: its extended key usage leaves out serverAuth",
        ),
        (vec![client.clone(), ExtendedKeyUsagePurpose::ServerAuth], vec![any.clone()], "trusted"),
        (vec![any], vec![], "trusted"),
    ];
    for (of_root, of_server, expected) in table {
        let mut params = ca("root");
        params.extended_key_usages = of_root;
        let root = Pair::new(None, params);
        let mut params = server(&[HOST]);
        params.extended_key_usages = of_server;
        let server = Pair::new(Some(&root), params);
        assert_said(&[&server], &[&root], HOST, expected);
    }
}

#[test]
fn t3_name_constraints_hold_for_every_name() {
    let dns = |name: &str| GeneralSubtree::DnsName(name.to_owned());
    let net = GeneralSubtree::IpAddress(CidrSubnet::V4([10, 0, 0, 0], [255, 0, 0, 0]));
    for (permitted, excluded, names, expected) in [
        (vec![dns("corp")], vec![], &[HOST, "corp", "a.b.CORP"][..], "trusted"),
        (vec![dns(".corp")], vec![], &[HOST], "trusted"),
        (vec![dns("corp")], vec![dns("a.registry.corp")], &[HOST], "trusted"),
        (vec![net.clone()], vec![], &[HOST], "trusted"),
        (
            vec![dns("corp")],
            vec![],
            &[HOST, "example.com"],
            "the name example.com is not among those that the CA may sign for",
        ),
        (vec![dns("corp")], vec![], &[HOST, "notcorp"], "the name notcorp is not among those that the CA may sign for"),
        (vec![dns(".corp")], vec![], &[HOST, "corp"], "the name corp is not among those that the CA may sign for"),
        (
            vec![],
            vec![dns("registry.corp")],
            &[HOST],
            "the name registry.corp is among those that the CA may not sign for",
        ),
        (vec![], vec![dns("a.corp")], &[HOST, "*.corp"], "the name *.corp is among those that the CA may not sign for"),
        (vec![net.clone()], vec![], &[HOST, "11.0.0.1"], "the IP 11.0.0.1 is not among those that the CA may sign for"),
        (vec![], vec![net], &[HOST, "10.0.0.1"], "the IP 10.0.0.1 is among those that the CA may not sign for"),
    ] {
        let mut params = ca("root");
        params.name_constraints = Some(NameConstraints { permitted_subtrees: permitted, excluded_subtrees: excluded });
        let root = Pair::new(None, params);
        let issuing = Pair::new(Some(&root), ca("issuing"));
        let server = Pair::new(Some(&issuing), server(names));
        let before = "name-constraint -: the name constraints of the CA certificate \"CN=root\" are broken: ";
        let expected = if expected == "trusted" { expected.to_owned() } else { format!("{before}{expected}") };
        assert_said(&[&server, &issuing], &[&root], HOST, &expected);
    }
}

#[test]
fn t3_unknown_critical_extensions_and_unreadable_certificates_end_it() {
    let (root, issuing, good) = chain();
    let mut strange = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    strange.set_criticality(true);
    let mut params = server(&[HOST]);
    params.custom_extensions.push(strange);
    let server = Pair::new(Some(&issuing), params);
    let expected =
        "unhandled-extension 0: the server's certificate has a critical extension that Go does not know: 1.2.3.4";
    assert_said(&[&server, &issuing], &[&root], HOST, expected);
    let presented = [good.der.clone(), issuing.der.clone(), b"nothing".to_vec()];
    let judgement = judge(&presented, &roots(&[&root]), HOST, NOW.parse().unwrap());
    assert!(judgement.presented[1].is_ok() && judgement.presented[2].is_err());
    let expected = "invalid-certificate 2: the certificate 3 of those that the server sent cannot be parsed: ";
    assert!(said(&judgement).starts_with(expected), "{}", said(&judgement));
    let nothing = judge(&[], &roots(&[&root]), HOST, NOW.parse().unwrap());
    assert_eq!(said(&nothing), "invalid-certificate -: the server sent no certificate");
}

#[test]
fn t3_a_signature_that_does_not_fit_is_told_from_another_ca_of_that_name() {
    let (root, issuing, mut server) = chain();
    let last = server.der.len() - 1;
    server.der[last] ^= 1;
    let broken =
        "bad-signature 0: the signature of the server's certificate does not fit the key of its issuer \"CN=issuing\"";
    assert_said(&[&server, &issuing], &[&root], HOST, broken);
}

#[test]
fn t3_other_curves_are_verified() {
    let root = Pair::with_key(None, ca("root"), KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
    let server = Pair::with_key(Some(&root), server(&[HOST]), KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
    assert_said(&[&server], &[&root], HOST, "trusted");
}

#[test]
fn t3_the_handshake_shows_the_key() {
    let pair = Pair::new(None, server(&[HOST]));
    let certificate = pair.certificate();
    let signature = pair.key.sign(b"transcript").unwrap();
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let verify = |scheme, message: &[u8], signature: &[u8]| {
            verify_handshake(&certificate, version, scheme, message, signature)
        };
        assert_eq!(verify(0x0403, b"transcript", &signature), Ok(()));
        assert_eq!(verify(0x0403, b"another", &signature), Err(HandshakeFault::Bad));
        let other_hash = if version == TlsVersion::V1_2 { HandshakeFault::Bad } else { HandshakeFault::NotForKey };
        assert_eq!(verify(0x0503, b"transcript", &signature), Err(other_hash));
        assert_eq!(verify(0x0804, b"transcript", &signature), Err(HandshakeFault::NotForKey));
        assert_eq!(verify(0x0203, b"transcript", &signature), Err(HandshakeFault::Unsupported));
    }
}

/// `signatureSchemesForPublicKey` of Go's `crypto/tls`.
#[test]
fn t3_tls_1_3_has_one_hash_for_each_curve_and_no_pkcs_1() {
    for (algorithm, scheme, in_1_3) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, 0x0403, Ok(())),
        (&PKCS_ECDSA_P384_SHA384, 0x0503, Ok(())),
        (&rcgen::PKCS_ECDSA_P521_SHA512, 0x0603, Ok(())),
        (&rcgen::PKCS_ECDSA_P521_SHA256, 0x0403, Err(HandshakeFault::NotForKey)),
        (&rcgen::PKCS_ECDSA_P521_SHA384, 0x0503, Err(HandshakeFault::NotForKey)),
        (&rcgen::PKCS_ED25519, 0x0807, Ok(())),
        (&rcgen::PKCS_RSA_SHA256, 0x0401, Err(HandshakeFault::NotForKey)),
    ] {
        let pair = Pair::with_key(None, server(&[HOST]), KeyPair::generate_for(algorithm).unwrap());
        let (certificate, signature) = (pair.certificate(), pair.key.sign(b"transcript").unwrap());
        let verify = |version| verify_handshake(&certificate, version, scheme, b"transcript", &signature);
        assert_eq!(verify(TlsVersion::V1_2), Ok(()), "{algorithm:?}");
        assert_eq!(verify(TlsVersion::V1_3), in_1_3, "{algorithm:?}");
    }
}

#[test]
fn t3_a_mesh_of_cross_signed_cas_ends_after_100_attempts() {
    let cas: Vec<Pair> = (0..12).map(|number| Pair::new(None, ca(&format!("ca {number}")))).collect();
    let mut mesh = Vec::new();
    for one in &cas {
        for other in &cas {
            let issuer = Issuer::from_params(&other.params, &other.key);
            mesh.push(one.params.signed_by(&one.key, &issuer).unwrap().der().to_vec());
        }
    }
    let server = Pair::new(Some(&cas[0]), server(&[HOST]));
    mesh.insert(0, server.der.clone());
    let start = Instant::now();
    let judgement = judge(&mesh, &roots(&[&chain().0]), HOST, NOW.parse().unwrap());
    let took = start.elapsed();
    let Outcome::Untrusted(rejection) = &judgement.outcome else { panic!("{}", said(&judgement)) };
    assert_eq!(rejection.fault, Fault::Other);
    assert!(rejection.why.contains("too many ways"), "{}", rejection.why);
    // Many times what it takes.
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn t3_a_hundred_candidates_are_looked_at() {
    let root = Pair::new(None, ca("root"));
    let issuing = Pair::new(Some(&root), ca("issuing"));
    let mut params = server(&[HOST]);
    // Else the one that is named would be the first.
    params.use_authority_key_identifier_extension = false;
    let server = Pair::new(Some(&issuing), params);
    let strangers: Vec<Pair> = (0..99).map(|_| Pair::new(Some(&root), ca("issuing"))).collect();
    // With 98 others before it, the issuer is the 99th candidate and the root the 100th.
    for (count, expected) in [
        (98, "trusted"),
        (
            99,
            "other 0: the certificates that the server sent can be put together in too many ways: Go stops after 100 attempts",
        ),
    ] {
        let mut presented = vec![&server];
        presented.extend(&strangers[..count]);
        presented.push(&issuing);
        assert_said(&presented, &[&root], HOST, expected);
    }
}

#[test]
fn t3_a_policy_is_shared_where_one_is_required() {
    let policy = |oid: &[u8]| {
        let length = u8::try_from(oid.len()).unwrap();
        let value = [&[0x30, length + 4, 0x30, length + 2, 0x06, length], oid].concat();
        CustomExtension::from_oid_content(&[2, 5, 29, 32], value)
    };
    let required = || CustomExtension::from_oid_content(&[2, 5, 29, 36], vec![0x30, 3, 0x80, 1, 0]);
    let (one, other, any) = (&[0x2a, 3, 4][..], &[0x2a, 3, 5][..], &[0x55, 0x1d, 0x20, 0][..]);
    let missing = "other 0: the chain requires a certificate policy that its certificates do not share";
    for (of_issuing, of_server, expected) in [
        (vec![policy(one), required()], vec![policy(one)], "trusted"),
        (vec![policy(any), required()], vec![policy(one)], "trusted"),
        (vec![policy(one)], vec![policy(other)], "trusted"),
        (vec![policy(one), required()], vec![policy(other)], missing),
        (vec![policy(one), required()], vec![], missing),
        (vec![required()], vec![policy(one)], missing),
        (vec![policy(one)], vec![required()], missing),
    ] {
        let root = Pair::new(None, ca("root"));
        let mut params = ca("issuing");
        params.custom_extensions = of_issuing;
        let issuing = Pair::new(Some(&root), params);
        let mut params = server(&[HOST]);
        params.custom_extensions = of_server;
        let server = Pair::new(Some(&issuing), params);
        assert_said(&[&server, &issuing], &[&root], HOST, expected);
    }
}

#[test]
fn t3_thousands_of_constraints_and_names_take_no_time() {
    let subtrees = |count: usize| -> Vec<GeneralSubtree> {
        (0..count).map(|number| GeneralSubtree::DnsName(format!("x{number}.corp"))).collect()
    };
    let mut params = ca("root");
    let excluded_subtrees = subtrees(10_000);
    params.name_constraints = Some(NameConstraints { permitted_subtrees: vec![], excluded_subtrees });
    let root = Pair::new(None, params);
    let names: Vec<String> = (0..10_000).map(|number| format!("y{number}.corp")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.push(HOST);
    let server = Pair::new(Some(&root), server(&names));
    let start = Instant::now();
    assert_said(&[&server], &[&root], HOST, "trusted");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let mismatch = said(&judged(&[&server], &[&root], "other.corp"));
    assert!(mismatch.len() < 300 && mismatch.contains("y9.corp and 9991 more, not for other.corp"), "{mismatch}");
}

#[test]
fn t3_what_is_said_of_long_subjects_is_short() {
    let root = Pair::new(None, ca(&"ü".repeat(10_000)));
    let server = Pair::new(Some(&root), server(&[HOST]));
    let said = said(&judged(&[&server], &[], HOST));
    assert!(said.starts_with("unknown-authority 0: ") && said.chars().count() < 400, "{said}");
}

#[test]
fn t3_nothing_of_ours_chains_to_the_public_roots() {
    let (_, issuing, server) = chain();
    let presented = [server.der, issuing.der];
    let judgement = judge(&presented, &Roots::new(vec![public_roots()]), HOST, NOW.parse().unwrap());
    let Outcome::Untrusted(rejection) = judgement.outcome else { panic!("trusted") };
    assert_eq!(rejection.fault, Fault::UnknownAuthority);
}
