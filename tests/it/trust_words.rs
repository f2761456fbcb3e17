//! What is said of a registry whose certificate the nodes would refuse (T4): which certificate it is, which rule it breaks,
//! and the lines that mend it.

use std::sync::Arc;

use jiff::Timestamp;
use mirrorgate::image::Registry;
use mirrorgate::policy::Policy;
use mirrorgate::review::Untrusted;
use mirrorgate::trust::{Bundle, Judgement, Outcome, Pool, Rejection, Roots, judge};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};

const HOST: &str = "harbor.corp";

/// Within the dates of every certificate here that is not said to be out of them.
const AT: &str = "2026-06-01T12:00:00Z";

/// What is done to a CA, the class that comes of it, and words of what mends it.
type Case<'c> = (&'c dyn Fn(&mut CertificateParams), &'c str, &'c str);

fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

fn authority(common_name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params(common_name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(params: CertificateParams, issuer: &CertifiedIssuer<'static, KeyPair>) -> Vec<u8> {
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().to_vec()
}

fn judged(chain: &[Vec<u8>], roots: &[&CertifiedIssuer<'static, KeyPair>], at: &str) -> (Judgement, Rejection) {
    let pems: String = roots.iter().map(|root| root.pem()).collect();
    let pool = Pool::new("additionalTrustedCAs corp", Bundle::read(pems.as_bytes()).certificates);
    let at: Timestamp = at.parse().unwrap();
    let judgement = judge(chain, &Roots::new(vec![Arc::new(pool)]), HOST, at);
    let Outcome::Untrusted(rejection) = judgement.outcome.clone() else { panic!("{judgement:?}") };
    (judgement, rejection)
}

/// A policy with a mirror at that registry, and more in its entry.
fn mirror(more: &str) -> Policy {
    let source = format!(
        "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\nregistryMirrors:\n- name: harbor\n  \
         endpoint: https://harbor.corp:5000\n  hosts: [docker.io]\n{more}"
    );
    Policy::read(&source).unwrap_or_else(|faults| panic!("{faults}")).policy
}

fn registry() -> Registry {
    Registry::parse("harbor.corp:5000").unwrap()
}

#[test]
fn t4_an_authority_that_the_server_sends_is_named_and_its_lines_are_whole_for_who_asks() {
    let ca = authority("Corp Root CA, G2");
    let chain = [leaf(params("harbor", &[HOST]), &ca), ca.der().to_vec()];
    let (judgement, rejection) = judged(&chain, &[], AT);
    let untrusted = Untrusted::new(&judgement, &rejection);
    assert!(untrusted.certificate.contains("  names        "), "{}", untrusted.certificate);

    let of_policy = mirror("");
    for mirror in [None, Some(of_policy.mirrors().next().unwrap())] {
        let short = untrusted.mend(&registry(), mirror);
        let sha256 = judgement.presented[1].as_ref().unwrap().facts().sha256;
        assert!(short.contains(&sha256) && short.contains("mirrorgate probe harbor.corp:5000"), "{short}");
        assert!(short.lines().count() <= 10 && short.lines().all(|line| line.len() < 260), "{short}");

        // The lines can be pasted, and mend it.
        let whole = untrusted.whole_mend(&registry(), mirror, &judgement);
        let lines: Vec<&str> = whole.lines().filter(|line| line.starts_with("  ")).collect();
        let rest = match mirror {
            Some(_) => lines.join("\n").replace(
                "    - name: harbor  # in the entry that is there\n",
                "    - name: harbor\n      endpoint: https://harbor.corp:5000\n      hosts: [docker.io]\n",
            ),
            None => lines.join("\n"),
        };
        let rest: String = rest.lines().map(|line| format!("{}\n", &line[2..])).collect();
        let source = format!("apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n{rest}");
        let policy = Policy::read(&source).unwrap_or_else(|faults| panic!("{faults}\n{source}")).policy;
        let pools = policy.ca_sources("harbor.corp:5000").into_iter().filter_map(|source| match source {
            mirrorgate::policy::CaSource::Inline(pool) => Some(Arc::clone(pool)),
            _ => None,
        });
        let mended = judge(&chain, &Roots::new(pools.collect()), HOST, AT.parse().unwrap());
        assert!(matches!(mended.outcome, Outcome::Trusted(_)), "{mended:?}");
    }
}

#[test]
fn t4_an_authority_that_the_server_does_not_send_is_named_by_its_issuer() {
    let ca = authority("Corp Root CA");
    let (judgement, rejection) = judged(&[leaf(params("harbor", &[HOST]), &ca)], &[&authority("Another")], AT);
    let mend = Untrusted::new(&judgement, &rejection).mend(&registry(), None);
    for words in
        ["      - name: \"corp-root-ca\"\n", "<base64 of the PEM of CN=Corp Root CA, which the server does not send>"]
    {
        assert!(mend.contains(words), "{mend}");
    }
    assert!(mend.contains("/etc/containerd/certs.d/harbor.corp:5000/ca.crt"), "{mend}");
}

#[test]
fn t4_what_the_policy_cannot_mend_is_said_to_be_so() {
    let ca = authority("Corp Root CA");
    let good = || leaf(params("harbor", &[HOST]), &ca);
    let other = || leaf(params("harbor", &["other.corp"]), &ca);
    let mut expired = params("harbor", &[HOST]);
    expired.not_after = date_time_ymd(2026, 2, 1);
    let expired = leaf(expired, &ca);
    for (chain, at, class, words) in [
        (
            other(),
            AT,
            "name-mismatch",
            "Nothing in the policy mends this: whoever runs harbor.corp:5000 needs a certificate that names harbor.corp",
        ),
        (expired, AT, "expired", "Nothing in the policy mends this: whoever runs harbor.corp:5000 must renew"),
        (good(), "2025-06-01T12:00:00Z", "not-yet-valid", "2025-06-01T12:00:00Z is not the time now, set the clock"),
    ] {
        let (judgement, rejection) = judged(&[chain], &[&ca], at);
        let untrusted = Untrusted::new(&judgement, &rejection);
        assert_eq!(untrusted.fault.as_str(), class);
        let mend = untrusted.mend(&registry(), mirror("").mirrors().next());
        assert!(mend.contains(words) && !mend.contains("caBundle"), "{mend}");
    }
}

/// T4: the trusted CA itself can be the one that is out of its dates.
#[test]
fn t4_an_expired_ca_of_the_policy_is_to_be_replaced_there() {
    let mut old = params("Corp Root CA", &[]);
    old.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    old.not_after = date_time_ymd(2026, 2, 1);
    let ca = CertifiedIssuer::self_signed(old, KeyPair::generate().unwrap()).unwrap();
    let (judgement, rejection) = judged(&[leaf(params("harbor", &[HOST]), &ca)], &[&ca], AT);
    let untrusted = Untrusted::new(&judgement, &rejection);
    assert_eq!(untrusted.fault.as_str(), "expired");
    assert!(untrusted.certificate.starts_with("  certificate  a CA of the policy\n"), "{}", untrusted.certificate);
    let mend = untrusted.mend(&registry(), None);
    assert!(mend.contains("replace it by one that is valid"), "{mend}");
}

/// T4: where a CA of the policy is what is wrong, it is what is to be replaced, whether the server sends it along or not.
#[test]
fn t4_a_ca_of_the_policy_that_is_at_fault_is_to_be_replaced_there() {
    let mut strange = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    strange.set_criticality(true);
    let table: [Case<'_>; 7] = [
        (&|params| params.not_after = date_time_ymd(2026, 2, 1), "expired", "is valid"),
        (&|params| params.not_before = date_time_ymd(2026, 12, 1), "not-yet-valid", "put one beside it that is valid"),
        (
            &|params| params.is_ca = IsCa::ExplicitNoCa,
            "not-a-ca",
            "replace it by one that may sign the certificates below it",
        ),
        (
            &|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature],
            "not-a-ca",
            "may sign the certificates below it",
        ),
        (
            &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            "wrong-usage",
            "is for TLS servers",
        ),
        (
            &|params| {
                params.name_constraints = Some(NameConstraints {
                    permitted_subtrees: vec![GeneralSubtree::DnsName("other.corp".to_owned())],
                    excluded_subtrees: vec![],
                });
            },
            "name-constraint",
            "may sign for these names",
        ),
        (&|params| params.custom_extensions.push(strange.clone()), "unhandled-extension", "has no such extension"),
    ];
    for (change, class, better) in table {
        let mut params = params("Corp Root CA", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let leaf = leaf(self::params("harbor", &[HOST]), &ca);
        for (chain, which) in [
            (vec![leaf.clone()], "  certificate  a CA of the policy\n"),
            (
                vec![leaf.clone(), ca.der().to_vec()],
                "  certificate  a CA of the policy, and number 2 of 2 that the server sends\n",
            ),
        ] {
            let (judgement, rejection) = judged(&chain, &[&ca], AT);
            assert_eq!(rejection.in_pool.as_deref(), Some("additionalTrustedCAs corp"), "{rejection:?}");
            let untrusted = Untrusted::new(&judgement, &rejection);
            assert_eq!(untrusted.fault.as_str(), class);
            assert!(untrusted.certificate.starts_with(which), "{}", untrusted.certificate);
            let mend = untrusted.mend(&registry(), None);
            assert!(mend.starts_with("This CA is one of the policy's (additionalTrustedCAs corp): "), "{mend}");
            assert!(mend.contains(better) && mend.contains("there and on the nodes"), "{mend}");
        }
        // Where it is not the policy's, it is not said to be.
        let (judgement, rejection) = judged(&[leaf, ca.der().to_vec()], &[&authority("Another")], AT);
        assert_eq!(rejection.in_pool, None);
        let mend = Untrusted::new(&judgement, &rejection).mend(&registry(), None);
        assert!(!mend.contains("one of the policy's"), "{mend}");
    }
}

/// T4: trusted by itself, the server's certificate is to be renewed by its owner first.
#[test]
fn t4_an_expired_certificate_that_is_trusted_by_itself_is_to_be_replaced_on_both_sides() {
    let mut own = params("harbor", &[HOST]);
    own.not_after = date_time_ymd(2026, 2, 1);
    let own = CertifiedIssuer::self_signed(own, KeyPair::generate().unwrap()).unwrap();
    let (judgement, rejection) = judged(&[own.der().to_vec()], &[&own], AT);
    let mend = Untrusted::new(&judgement, &rejection).mend(&registry(), None);
    let expected = "The server's certificate is itself one of the policy's (additionalTrustedCAs corp): whoever runs \
                    harbor.corp:5000 must replace it by one that is valid; then replace it there and on the nodes, too.";
    assert_eq!(mend, expected);
}

/// Trap 17, A6: nothing raw of a certificate gets into a message, and no more of it than can be read.
#[test]
fn a6_hostile_names_are_escaped_and_cut() {
    let hostile = format!("evil\u{1b}[31m\u{202e}\n{}", "x".repeat(10_000));
    let ca = authority(&hostile);
    let names: Vec<String> = (0..500).map(|n| format!("n{n}.{}.corp", "y".repeat(60))).collect();
    let mut params = params(&hostile, &names.iter().map(String::as_str).collect::<Vec<_>>());
    params.distinguished_name.push(DnType::OrganizationName, &*hostile);
    let chain = [leaf(params, &ca), ca.der().to_vec()];
    let (judgement, rejection) = judged(&chain, &[], AT);
    let untrusted = Untrusted::new(&judgement, &rejection);
    let texts = [
        untrusted.why.to_string(),
        untrusted.certificate.to_string(),
        untrusted.mend(&registry(), None),
        untrusted.mend(&registry(), mirror("").mirrors().next()),
    ];
    for text in texts {
        assert!(!text.contains(['\u{1b}', '\u{202e}']) && text.len() < 2000, "{text}");
        assert!(text.lines().all(|line| line.chars().count() < 600), "{text}");
    }
}

/// Lines that are refused, or that put another CA out of force, mend nothing.
#[test]
fn t4_the_lines_go_beside_what_the_policy_has() {
    let ca = authority("2027");
    let chain = [leaf(params("harbor", &[HOST]), &ca), ca.der().to_vec()];
    let (judgement, rejection) = judged(&chain, &[], AT);
    let untrusted = Untrusted::new(&judgement, &rejection);
    let policy = mirror("  caBundle: {configMap: {namespace: a, name: b, key: c}}\n");
    let whole = untrusted.whole_mend(&registry(), policy.mirrors().next(), &judgement);
    assert!(whole.contains("additionalTrustedCAs") && !whole.contains("caBundle"), "{whole}");
    let sha256 = judgement.presented[1].as_ref().unwrap().facts().sha256;
    assert!(whole.contains(&format!("name: \"2027-{}\"", &sha256[..8])), "{whole}");
}
