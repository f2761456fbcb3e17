//! The faults that a certificate can have, each by itself; and every kind of key that may serve.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use mirrorgate::serving::{AUTHORITY_LIFE, Authority, Content, Held, KeyPem, PairFault};
use mirrorgate::trust::Fault;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};

use super::{NAME, Somebody, days, held, made_at, noon, signed_at};

fn content(certificate: &str, key: &str, authorities: &str) -> Content {
    Content {
        certificate: certificate.as_bytes().to_vec(),
        key: KeyPem::from(key.as_bytes().to_vec()),
        authorities: authorities.as_bytes().to_vec(),
        authority_key: KeyPem::default(),
    }
}

fn check(content: &Content, now: Timestamp) -> Result<(), PairFault> {
    held(content).check(true, NAME, now)
}

/// What the API server would have against it.
fn refused(content: &Content, now: Timestamp) -> (Fault, String) {
    match check(content, now) {
        Err(PairFault::Refused { fault, why }) => (fault, why),
        other => panic!("{other:?}"),
    }
}

/// PEM of the key inside PKCS#8: PKCS#1 or SEC1.
fn inner(key: &KeyPair, label: &str) -> String {
    let der = key.serialize_der();
    // SEQUENCE { version, SEQUENCE { algorithm }, OCTET STRING { the key } }
    let header = |at: usize| match der[at + 1] {
        length @ ..=0x7f => (at + 2, usize::from(length)),
        0x81 => (at + 3, usize::from(der[at + 2])),
        _ => (at + 4, usize::from(der[at + 2]) << 8 | usize::from(der[at + 3])),
    };
    let (version, _) = header(0);
    let (algorithm, length) = header(version + 3);
    let (start, length) = header(algorithm + length);
    let base64 = STANDARD.encode(&der[start..start + length]);
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn every_kind_of_key_in_every_form_can_serve() {
    let ca = Somebody::new();
    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let rsa_4096 = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096).unwrap();
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    for (form, key, pem) in [
        ("ECDSA P-256 in PKCS#8", &ec, ec.serialize_pem()),
        ("ECDSA P-256 in SEC1", &ec, inner(&ec, "EC PRIVATE KEY")),
        (
            "ECDSA P-256 in SEC1 as openssl ecparam writes it",
            &ec,
            parameters.to_owned() + &inner(&ec, "EC PRIVATE KEY"),
        ),
        ("ECDSA P-384 in PKCS#8", &p384, p384.serialize_pem()),
        ("Ed25519 in PKCS#8", &ed25519, ed25519.serialize_pem()),
        ("RSA-2048 in PKCS#8", &rsa, rsa.serialize_pem()),
        ("RSA-2048 in PKCS#1", &rsa, inner(&rsa, "RSA PRIVATE KEY")),
        ("RSA-4096 in PKCS#1", &rsa_4096, inner(&rsa_4096, "RSA PRIVATE KEY")),
    ] {
        let content = content(&ca.signs(NAME, (-1, 90), key), &pem, &ca.pem());
        assert_eq!(check(&content, noon()), Ok(()), "{form}");
    }
}

#[test]
fn the_key_of_another_certificate_is_refused() {
    let (ca, other) = (Somebody::new(), KeyPair::generate().unwrap());
    let certificate = ca.signs(NAME, (-1, 90), &KeyPair::generate().unwrap());
    assert_eq!(check(&content(&certificate, &other.serialize_pem(), &ca.pem()), noon()), Err(PairFault::OtherKey));
}

#[test]
fn an_expired_certificate_is_refused_and_so_is_one_that_is_not_valid_yet() {
    let (ca, key) = (Somebody::new(), KeyPair::generate().unwrap());
    let content = content(&ca.signs(NAME, (-1, 1), &key), &key.serialize_pem(), &ca.pem());
    assert_eq!(check(&content, noon()), Ok(()));
    let (fault, why) = refused(&content, noon() + days(2));
    assert!(fault == Fault::Expired && why.contains("2026-11-22T12:00:00Z"), "{why}");
    let (fault, why) = refused(&content, noon() - days(2));
    assert!(fault == Fault::NotYetValid && why.contains("2026-11-20T12:00:00Z"), "{why}");
    for now in [noon() + days(2), noon() - days(2)] {
        assert!(check(&content, now).unwrap_err().is_of_the_clock());
    }
}

#[test]
fn of_a_ca_that_has_expired_it_is_said_that_it_is_the_ca() {
    let (mut ca, key) = (Somebody::new(), KeyPair::generate().unwrap());
    ca.params.not_after = rcgen::date_time_ymd(2026, 12, 1);
    let content = content(&ca.signs(NAME, (-1, 90), &key), &key.serialize_pem(), &ca.pem());
    assert_eq!(check(&content, noon()), Ok(()));
    let (fault, why) = refused(&content, noon() + days(20));
    assert!(fault == Fault::Expired && why.contains("its CA \"CN=somebody's CA\" expired at 2026-12-01"), "{why}");
}

#[test]
fn a_certificate_without_the_name_of_the_service_is_refused() {
    let (ca, key) = (Somebody::new(), KeyPair::generate().unwrap());
    for name in ["mirrorgate.other.svc", "mirrorgate", "*.svc", "mirrorgate.mirrorgate-system.svc.cluster.local"] {
        let content = content(&ca.signs(name, (-1, 90), &key), &key.serialize_pem(), &ca.pem());
        let (fault, why) = refused(&content, noon());
        assert!(fault == Fault::NameMismatch && why.contains(NAME) && why.contains(name), "{why}");
        assert!(!check(&content, noon()).unwrap_err().is_of_the_clock());
    }
    let content = content(&ca.signs("*.mirrorgate-system.svc", (-1, 90), &key), &key.serialize_pem(), &ca.pem());
    assert_eq!(check(&content, noon()), Ok(()), "a wildcard is a name");
}

#[test]
fn a_chain_in_the_wrong_order_is_refused_with_the_place_of_the_certificate() {
    let (ca, key) = (Somebody::new(), KeyPair::generate().unwrap());
    let leaf = ca.signs(NAME, (-1, 90), &key);
    let in_order = content(&format!("{leaf}{}", ca.pem()), &key.serialize_pem(), &ca.pem());
    assert_eq!(check(&in_order, noon()), Ok(()));
    let wrong = content(&format!("{}{leaf}", ca.pem()), &key.serialize_pem(), &ca.pem());
    assert_eq!(check(&wrong, noon()), Err(PairFault::Order(2)));
}

#[test]
fn what_is_missing_or_no_pem_is_named() {
    let (ca, key) = (Somebody::new(), KeyPair::generate().unwrap());
    let (leaf, key, ca) = (ca.signs(NAME, (-1, 90), &key), key.serialize_pem(), ca.pem());
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let encrypted_by_openssl = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    for (certificate, key, authorities, words) in [
        ("", &*key, &*ca, "there is no certificate"),
        (&*key, &*key, &*ca, "there is no certificate"),
        (&*leaf, "", &*ca, "there is no private key"),
        (&*leaf, &*leaf, &*ca, "there is no private key"),
        (&*leaf, encrypted, &*ca, "the private key is encrypted"),
        (&*leaf, encrypted_by_openssl, &*ca, "the private key is encrypted"),
        (
            &*leaf,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            &*ca,
            "the private key cannot be used: ",
        ),
        (&*leaf, &*key, "", "ca.crt is missing or empty"),
        (&*leaf, &*key, "hello", "ca.crt cannot be used: it holds no PEM block"),
        (&*leaf, &*key, &*format!("{ca}{key}"), "ca.crt cannot be used: block 2 (line 11) is a private key"),
        (
            &*leaf.replacen("MI", "M!", 1),
            &*key,
            &*ca,
            "the certificate cannot be read: block 1 (line 1) does not decode",
        ),
    ] {
        let fault = check(&content(certificate, key, authorities), noon()).unwrap_err().to_string();
        assert!(fault.starts_with(words), "{words}: {fault}");
    }
    // cert-manager has issuers that know no CA.
    let without = content(&leaf, &key, "");
    assert_eq!(held(&without).check(false, NAME, noon()), Ok(()));
    let wrong_name = held(&without).check(false, "other.svc", noon()).unwrap_err();
    assert!(matches!(wrong_name, PairFault::Refused { fault: Fault::NameMismatch, .. }), "{wrong_name}");
}

#[test]
fn a_certificate_of_another_ca_is_refused() {
    let (ca, other, key) = (Somebody::new(), Somebody::new(), KeyPair::generate().unwrap());
    let content = content(&ca.signs(NAME, (-1, 90), &key), &key.serialize_pem(), &other.pem());
    assert_eq!(refused(&content, noon()).0, Fault::UnknownAuthority);
}

#[test]
fn what_a_certificate_says_is_escaped_and_cut() {
    let (ca, key) = (Somebody::new(), KeyPair::generate().unwrap());
    let name = format!("\u{1b}[31m{}", "a".repeat(3000));
    let content = content(&ca.signs(&name, (-1, 90), &key), &key.serialize_pem(), &ca.pem());
    let fault = check(&content, noon()).unwrap_err().to_string();
    assert!(!fault.contains('\u{1b}') && fault.len() < 1000, "{fault}");
}

#[test]
fn what_is_made_serves_for_ninety_days_however_far_a_clock_is_behind() {
    let made = held(&made_at(noon()));
    assert!(made.signs() && made.leaf_is_of_the_first());
    for (now, expected) in [
        (noon() - days(1), Ok(())),
        (noon(), Ok(())),
        (noon() + days(90), Ok(())),
        (noon() - days(1000), Ok(())),
        (noon() + days(91), Err(Fault::Expired)),
    ] {
        let checked = made.check(true, NAME, now).map_err(|fault| match fault {
            PairFault::Refused { fault, .. } => fault,
            other => panic!("{other}"),
        });
        assert_eq!(checked, expected, "{now}");
    }
    let leaf = made.pair().unwrap().leaf();
    assert_eq!(leaf.facts().names, [NAME]);
    assert!(!leaf.facts().is_ca && !leaf.authority_key_id().is_empty());
    assert_eq!(leaf.authority_key_id(), made.authorities()[0].subject_key_id());
    assert!(made.authorities()[0].facts().is_ca);
    assert_eq!(made.authorities()[0].not_after(), noon() + days(3652));
}

/// What outlives its CA is renewed too late.
#[test]
fn no_certificate_outlives_the_ca_that_signs_it() {
    let (authority, ca) = Authority::make(noon(), AUTHORITY_LIFE).unwrap();
    let late = held(&signed_at(&authority, &ca, noon() + days(3600)));
    assert_eq!(late.pair().unwrap().leaf().not_after(), noon() + days(3652));
}

/// A key is most often mangled on its way into a Secret: what is said of it quotes nothing.
#[test]
fn no_fault_quotes_a_key_however_it_is_mangled() {
    let (ca, key) = (Somebody::new(), KeyPair::generate().unwrap());
    let (leaf, pem) = (ca.signs(NAME, (-1, 90), &key), key.serialize_pem());
    let secret: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    for mangled in [
        pem.replace('\n', ""),
        pem.replace('\n', " "),
        pem.replace('\n', "\\n"),
        pem.replacen("-----\n", "-----", 1),
        pem.replacen("\n-----END", "-----END", 1),
        pem.replace("-----END PRIVATE KEY-----", ""),
        pem.replace("-----END PRIVATE KEY-----", "-----END KEY-----"),
        pem.replace("-----BEGIN PRIVATE KEY-----", ""),
        pem.replace("-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY----"),
        pem.replace("BEGIN PRIVATE KEY", "BEGIN RSA PRIVATE KEY").replace("END PRIVATE KEY", "END RSA PRIVATE KEY"),
        pem.replace('M', "%"),
        secret.clone(),
    ] {
        let in_key = content(&leaf, &mangled, &ca.pem());
        let in_both = content(&mangled, &mangled, &mangled);
        let in_authorities = content(&leaf, &pem, &format!("{}{mangled}", ca.pem()));
        for content in [in_key, in_both, in_authorities] {
            let checked = check(&content, noon());
            let told = format!("{checked:?} {}", checked.as_ref().err().map(ToString::to_string).unwrap_or_default());
            let is_quoted = |part: &[u8]| {
                // As text, or as a list of bytes.
                told.contains(str::from_utf8(part).unwrap())
                    || told.contains(format!("{part:?}").trim_matches(['[', ']']))
            };
            let quoted = secret.as_bytes().windows(12).find(|part| is_quoted(part));
            assert!(quoted.is_none(), "{mangled:?}: {told}");
        }
    }
}

/// It is told once, and not with each look at the clock.
#[test]
fn what_the_clock_speaks_against_is_said_in_the_same_words_at_any_time() {
    let (ca, key) = (Somebody::new(), KeyPair::generate().unwrap());
    let content = content(&ca.signs(NAME, (-1, 1), &key), &key.serialize_pem(), &ca.pem());
    assert_eq!(check(&content, noon() + days(2)), check(&content, noon() + days(3)));
    assert_eq!(check(&content, noon() - days(2)), check(&content, noon() - days(3)));
}

#[test]
fn nothing_that_is_printed_shows_a_key() {
    let content = made_at(noon());
    let key = String::from_utf8(content.key.as_bytes().to_vec()).unwrap();
    let line = key.lines().nth(1).unwrap().to_owned();
    let printed =
        format!("{content:?} {:?} {:?} {:?}", content.key, Held::read(content.clone()), held(&content).pair());
    assert!(!printed.contains(&line), "{printed}");
}
