//! Certificates and bundles as the nodes' runtime reads them (T2, T3). `tests/oracle` holds the same against Go itself,
//! on certificates that are changed at every place.

use std::time::{Duration, Instant};

use mirrorgate::trust::{Bundle, Certificate, SkippedKind, public_roots};
use proptest::prelude::*;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SerialNumber};

const NAMES: [&str; 2] = ["harbor.corp", "10.1.2.3"];

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(NAMES.map(str::to_owned)).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn der(params: &CertificateParams) -> Vec<u8> {
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn pem(kind: &str, bytes: &[u8]) -> String {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

fn with_extension(oid: &[u64], is_critical: bool, value: &[u8]) -> Vec<u8> {
    let mut params = params("x");
    if oid.last() == Some(&17) {
        params.subject_alt_names.clear();
    }
    let mut extension = CustomExtension::from_oid_content(oid, value.to_vec());
    extension.set_criticality(is_critical);
    params.custom_extensions.push(extension);
    der(&params)
}

/// A part of what is signed, and the two lengths around it.
fn exchanged(mut der: Vec<u8>, part: &[u8], with: &[u8]) -> Vec<u8> {
    let at = der.windows(part.len()).position(|bytes| bytes == part).unwrap();
    der.splice(at..at + part.len(), with.iter().copied());
    let inner = if der[5] == 0x81 { 6 } else { 7 };
    for length in [3, inner] {
        der[length] = u8::try_from(usize::from(der[length]) + with.len() - part.len()).unwrap();
    }
    der
}

/// Subjects of what is taken, and what is said of the rest.
fn read(text: impl AsRef<[u8]>) -> (Vec<String>, Vec<String>) {
    let bundle = Bundle::read(text.as_ref());
    let taken = bundle.certificates.iter().map(|certificate| certificate.subject()).collect();
    (taken, bundle.skipped.iter().map(ToString::to_string).collect())
}

#[test]
fn t2_text_around_and_any_line_end_are_taken() {
    let (one, two) = (pem("CERTIFICATE", &der(&params("one"))), pem("CERTIFICATE", &der(&params("two"))));
    for text in [
        format!("{one}{two}"),
        format!("# Corp's own\nsubject=CN = one\n{one}\n\nand the other\n{two}thanks\n"),
        format!("{one}{two}").replace('\n', "\r\n"),
        format!("{one}{two}").trim_end().to_owned(),
        format!("{one}{two}").replace("-----\n", "----- \t\n"),
    ] {
        assert_eq!(read(&text), (vec!["CN=one".to_owned(), "CN=two".to_owned()], vec![]), "{text:?}");
    }
}

#[test]
fn t2_what_go_passes_over_is_named() {
    let (good, other) = (der(&params("good")), der(&params("other")));
    let (good_pem, other_pem) = (pem("CERTIFICATE", &good), pem("CERTIFICATE", &other));
    let key = KeyPair::generate().unwrap().serialize_pem();
    let mut negative = params("old");
    negative.serial_number = Some(SerialNumber::from_slice(&[0x80]));
    // rcgen writes it with a zero before it, and no library writes it without.
    let negative = exchanged(der(&negative), &[2, 2, 0, 0x80], &[2, 1, 0x80]);

    let body = |text: &str| text.lines().filter(|line| !line.starts_with('-')).collect::<Vec<_>>().join("\n");
    let base64 = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    for (text, expected) in [
        (key.clone(), "block 2 (line 8) is a private key: "),
        (pem("ENCRYPTED PRIVATE KEY", b"x"), "block 2 (line 8) is a private key: "),
        (key.replace("-----END", "----END"), "block 2 (line 8) is a private key: "),
        (pem("TRUSTED CERTIFICATE", &other), "block 2 (line 8) is a TRUSTED CERTIFICATE, "),
        (pem("X509 CERTIFICATE", &other), "block 2 (line 8) is of type `X509 CERTIFICATE`, no CERTIFICATE"),
        (pem("CERTIFICATE\u{202e}\u{7}", &other), r"block 2 (line 8) is of type `CERTIFICATE\u{202e}\u{7}`, "),
        (
            other_pem.replacen("-\n", "-\nName: x\n\n", 1),
            "block 2 (line 8) is a certificate of `CN=other` with header lines",
        ),
        (
            pem("CERTIFICATE", &negative),
            "block 2 (line 8) is a certificate of `CN=old` that nodes cannot parse: its serial number is negative",
        ),
        (
            pem("CERTIFICATE", b"hello"),
            "block 2 (line 8) is a certificate that nodes cannot parse: its outermost SEQUENCE",
        ),
        (
            pem("CERTIFICATE", &[&*other, b"x"].concat()),
            "block 2 (line 8) is a certificate of `CN=other` that nodes cannot parse: something follows it",
        ),
        (format!("\u{feff}{other_pem}"), "block 2 (line 8) does not begin at the start of a line"),
        (
            other_pem.replace('\n', "\n  ").replace("-----BEGIN", "  -----BEGIN"),
            "block 2 (line 8) does not begin at the start of a line",
        ),
        (
            other_pem.replace("END CERTIFICATE", "END CERT"),
            "block 2 (line 8) ends with an END line that is not that of its BEGIN",
        ),
        (other_pem.replacen("MI", "M!", 1), "block 2 (line 8) does not decode"),
        (other_pem.replacen('\n', " ", 1), "block 2 (line 8) does not decode"),
        (other_pem.lines().next().unwrap().to_owned(), "block 2 (line 8) has no END line"),
    ] {
        let lines = good_pem.lines().count();
        let expected = expected.replace("(line 8)", &format!("(line {})", lines + 1));
        // Before another that is taken, and after it.
        let (taken, skipped) = read(format!("{good_pem}{text}\n"));
        assert_eq!(taken, ["CN=good"], "{text}");
        assert!(skipped.len() == 1 && skipped[0].starts_with(&expected), "{text}\n{skipped:?}\nnot {expected}");
        let key_body = body(&key);
        assert!(!skipped[0].contains(key_body.lines().next().unwrap()), "the key is shown");
        assert_eq!(Bundle::read(text.as_bytes()).has_private_key(), expected.contains("a private key"));
    }
    for (text, expected) in [
        (good.clone(), "it is a certificate of `CN=good` in DER"),
        (base64(&good_pem).into_bytes(), "it is base64 of PEM"),
        (base64(&good_pem).as_bytes().chunks(76).collect::<Vec<_>>().join(&b"\n"[..]), "it is base64 of PEM"),
        (body(&good_pem).into_bytes(), "it is a certificate of `CN=good` in base64"),
        (b"hello".to_vec(), "it holds no PEM block"),
    ] {
        let (taken, skipped) = read(&text);
        assert!(
            taken.is_empty() && skipped.len() == 1 && skipped[0].starts_with(expected),
            "{skipped:?}, not {expected}"
        );
    }
    assert_eq!(read(" \r\n\t\n"), (vec![], vec![]));
}

#[test]
fn t2_blocks_are_counted_as_a_person_counts_them() {
    let good = pem("CERTIFICATE", &der(&params("good")));
    let lines = good.lines().count();
    let text = format!("a remark\n{good}{}{good}{}", pem("X", b"x"), pem("Y", b"y"));
    let bundle = Bundle::read(text.as_bytes());
    let places: Vec<_> = bundle.skipped.iter().map(|skipped| (skipped.position, skipped.line)).collect();
    assert_eq!(places, [(2, lines + 2), (4, 2 * lines + 5)]);
    assert!(matches!(&bundle.skipped[1].what, SkippedKind::OtherType(kind) if kind == "Y"));
}

#[test]
fn t2_hostile_bundles_take_no_time() {
    let good = pem("CERTIFICATE", &der(&params("good")));
    const SIZE: usize = 1 << 20;
    let repeated = |part: &str| part.repeat(SIZE / part.len());
    for text in [
        repeated("-----BEGIN CERTIFICATE-----\n"),
        repeated("-----END CERTIFICATE-----\n"),
        repeated("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
        repeated("-----BEGIN CERTIFICATE-----\n:\n-----END CERTIFICATE-----\n"),
        repeated("-----BEGIN A:B-----\n:\n-----END A:B-----\n"),
        repeated("-----BEGIN -----END "),
        repeated("-----BEGIN CERTIFICATE-----\nAAAA\n-----END X-----\n"),
        repeated("\n-----END "),
        repeated("-"),
        repeated("\n"),
        repeated(&good),
        format!("-----BEGIN CERTIFICATE-----\n{}", repeated(":\n")),
        format!("-----BEGIN {}\n{}", repeated("A"), repeated("\n-----END A")),
    ] {
        let start = Instant::now();
        let bundle = Bundle::read(text.as_bytes());
        let took = start.elapsed();
        assert!(took < Duration::from_secs(20), "{took:?} for {:?}", &text[..60]);
        drop(bundle);
    }
}

#[test]
fn t3_facts_are_what_go_shows() {
    let mut params = params("harbor, the \"first\"");
    params.distinguished_name.push(DnType::OrganizationName, "Corp");
    params.distinguished_name.push(DnType::CountryName, "DE");
    let der = der(&params);
    let certificate = Certificate::parse(&der).unwrap();
    let facts = certificate.facts();
    assert_eq!(facts.subject, r#"CN=harbor\, the \"first\",O=Corp,C=DE"#);
    assert_eq!(facts.issuer, facts.subject);
    assert_eq!(facts.names, NAMES);
    assert!(!facts.is_ca && facts.not_before < facts.not_after);
    assert_eq!(facts.sha256.len(), 64);
    assert_eq!(certificate.der(), der);
}

#[test]
fn t3_what_go_refuses_is_refused() {
    for (oid, is_critical, value, expected) in [
        (
            &[2, 5, 29, 17][..],
            false,
            &[0x30, 3, 0x82, 1, 0xe4][..],
            "its subject alternative name has a DNS name that is not ASCII",
        ),
        (
            &[2, 5, 29, 17],
            false,
            &[0x30, 5, 0x87, 3, 1, 2, 3],
            "its subject alternative name has an IP address that is not 4 or 16 bytes long",
        ),
        (
            &[2, 5, 29, 17],
            false,
            &[0x30, 4, 0x86, 2, b'%', b'z'],
            "its subject alternative name has a URI that Go cannot parse",
        ),
        (&[2, 5, 29, 17], false, &[0x31, 0], "its subject alternative name cannot be read"),
        (&[2, 5, 29, 14], true, &[4, 1, 1], "its subject key identifier is marked critical, which it must not be"),
        (&[2, 5, 29, 35], true, &[0x30, 0], "its authority key identifier is marked critical, which it must not be"),
        (&[2, 5, 29, 19], true, &[0x30, 3, 1, 1, 2], "its basic constraints cannot be read"),
        (&[2, 5, 29, 19], true, &[0x30, 3, 2, 1, 0xff], "its basic constraints cannot be read"),
        (&[2, 5, 29, 30], true, &[0x30, 0], "its name constraints are empty"),
        (
            &[2, 5, 29, 30],
            true,
            &[0x30, 7, 0xa0, 5, 0x30, 3, 0x82, 1, b'.'],
            "its name constraints have a value that is no domain or mail address",
        ),
        (
            &[2, 5, 29, 30],
            true,
            &[0x30, 14, 0xa0, 12, 0x30, 10, 0x87, 8, 10, 0, 0, 0, 255, 0, 255, 0],
            "its name constraints have an IP range whose mask has a hole",
        ),
        (&[2, 5, 29, 37], false, &[0x30, 2, 6, 0], "its extended key usage cannot be read"),
        (
            &[1, 3, 6, 1, 5, 5, 7, 1, 1],
            true,
            &[0x30, 0],
            "its authority information access is marked critical, which it must not be",
        ),
    ] {
        let error = Certificate::parse(&with_extension(oid, is_critical, value)).unwrap_err();
        assert_eq!(error.what(), expected);
    }
    let twice = [1, 2].map(|value| CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, value]));
    let mut params = params("x");
    params.custom_extensions.extend(twice);
    let error = Certificate::parse(&der(&params)).unwrap_err();
    assert_eq!(error.to_string(), "the certificate cannot be parsed: the extension 1.2.3.4 is there twice");
}

#[test]
fn t3_what_go_does_not_handle_is_kept() {
    for (oid, is_critical, value, unhandled) in [
        (&[1, 2, 3, 4][..], true, &[5, 0][..], &["1.2.3.4"][..]),
        (&[1, 2, 3, 4], false, &[5, 0], &[]),
        // A subject alternative name with nothing that Go reads.
        (&[2, 5, 29, 17], true, &[0x30, 3, 0x88, 1, 42], &["2.5.29.17"]),
        (&[2, 5, 29, 17], true, &[0x30, 3, 0x82, 1, b'a'], &[]),
        // A constraint on directory names.
        (&[2, 5, 29, 30], true, &[0x30, 8, 0xa0, 6, 0x30, 4, 0xa4, 2, 0x30, 0], &["2.5.29.30"]),
        (&[2, 5, 29, 99], true, &[5, 0], &["2.5.29.99"]),
    ] {
        let certificate = Certificate::parse(&with_extension(oid, is_critical, value)).unwrap();
        let found: Vec<String> = certificate.unhandled_critical_extensions().map(|oid| oid.to_string()).collect();
        assert_eq!(found, unhandled, "{oid:?} {value:?}");
    }
}

/// Go adds one to the version without looking: found by `tests/oracle`.
#[test]
fn t3_the_largest_version_is_the_first() {
    let largest = [0xa0, 10, 2, 8, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let der = exchanged(der(&params("x")), &[0xa0, 3, 2, 1, 2], &largest);
    let certificate = Certificate::parse(&der).unwrap();
    assert_eq!((certificate.version(), certificate.dns_names().count()), (1, 0));
}

#[test]
fn t3_every_public_root_is_read_in_little_memory() {
    let roots = public_roots();
    let bytes: usize = roots.certificates().iter().map(|root| root.der().len()).sum();
    assert!(roots.len() > 100 && bytes < 300_000, "{} roots, {bytes} bytes", roots.len());
    assert!(size_of::<Certificate>() < 640, "{}", size_of::<Certificate>());
}

/// Names of two bytes each, as many as there is room for.
#[test]
fn t3_a_certificate_of_64_kilobytes_takes_no_time() {
    let length = 65_000_u16;
    let names = [0x82, 0].repeat(usize::from(length) / 2);
    let [high, low] = length.to_be_bytes();
    let der = with_extension(&[2, 5, 29, 17], false, &[&[0x30, 0x82, high, low], &*names].concat());
    let extensions: Vec<CustomExtension> =
        (0..3_000).map(|number| CustomExtension::from_oid_content(&[1, 2, 3, number], vec![5, 0])).collect();
    let mut many = params("x");
    many.custom_extensions = extensions;
    let mut long = params(&"x\u{202e}".repeat(16_000));
    long.distinguished_name.push(DnType::OrganizationName, "y".repeat(10_000));
    for der in [der, self::der(&many), self::der(&long)] {
        let start = Instant::now();
        let certificate = Certificate::parse(&der).unwrap();
        let facts = certificate.facts();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?} for {} bytes", start.elapsed(), der.len());
        assert!(!facts.subject.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn t3_no_bytes_stop_the_reader(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let mut der = SEED.clone();
        for (place, byte, how) in changes {
            let at = place.index(der.len());
            match how {
                0 => der[at] = byte,
                1 => der.insert(at, byte),
                _ => drop(der.remove(at)),
            }
        }
        if let Ok(certificate) = Certificate::parse(&der) {
            prop_assert_eq!(certificate.der(), &*der);
            let _ = (certificate.facts(), certificate.signature().len());
        }
        let _ = Bundle::read(&der);
        let _ = Bundle::read(pem("CERTIFICATE", &der).as_bytes());
    }

    #[test]
    fn t2_no_text_stops_the_reader(text in "(-----(BEGIN|END) (CERTIFICATE|A)-----\n?|[A-Za-z:= -]{0,6}|\r?\n){0,30}") {
        let _ = Bundle::read(text.as_bytes());
    }
}

static SEED: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| der(&params("seed")));
