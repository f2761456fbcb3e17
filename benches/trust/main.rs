//! What it costs to judge the chain that a registry sends, from its bytes on. The figures are in `benches/README.md`.
#![expect(clippy::unwrap_used, reason = "a benchmark stops at its first fault")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use mirrorgate::trust::{Certificate, Outcome, Pool, Roots, judge, public_roots};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256,
    SignatureAlgorithm, date_time_ymd,
};

const HOST: &str = "registry.corp";

fn params(name: &str, is_ca: bool) -> CertificateParams {
    let mut params = CertificateParams::new([HOST.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

/// What the server sends (its own certificate, the CA that issued it), and the root above.
fn chain(algorithm: &'static SignatureAlgorithm) -> (Vec<Vec<u8>>, Vec<u8>) {
    let key = || KeyPair::generate_for(algorithm).unwrap();
    let root = params("root", true);
    let root_key = key();
    let root_der = root.self_signed(&root_key).unwrap().der().to_vec();
    let root = Issuer::new(root, root_key);
    let (issuing, issuing_key) = (params("issuing", true), key());
    let issuing_der = issuing.signed_by(&issuing_key, &root).unwrap().der().to_vec();
    let server = params("server", false).signed_by(&key(), &Issuer::new(issuing, issuing_key)).unwrap();
    (vec![server.der().to_vec(), issuing_der], root_der)
}

fn judging(criterion: &mut Criterion) {
    let at: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let mut group = criterion.benchmark_group("judging 3 certificates");
    for (name, algorithm) in [("ECDSA P-256", &PKCS_ECDSA_P256_SHA256), ("RSA 2048", &PKCS_RSA_SHA256)] {
        let (presented, root) = chain(algorithm);
        let root = Arc::new(Certificate::parse(&root).unwrap());
        let roots = Roots::new(vec![Arc::new(Pool::new("corp-root", vec![root])), public_roots()]);
        assert!(matches!(judge(&presented, &roots, HOST, at).outcome, Outcome::Trusted(_)));
        group.bench_function(name, |bencher| bencher.iter(|| judge(black_box(&presented), &roots, HOST, at)));
    }
    group.finish();
}

/// A dozen CAs that all signed each other: Go's limit of 100 attempts ends it.
fn hostile(criterion: &mut Criterion) {
    let at: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let cas: Vec<_> = (0..12)
        .map(|number| Issuer::new(params(&format!("ca {number}"), true), KeyPair::generate().unwrap()))
        .collect();
    let mut presented =
        vec![params("server", false).signed_by(&KeyPair::generate().unwrap(), &cas[0]).unwrap().der().to_vec()];
    for one in 0..cas.len() {
        for other in &cas {
            let params = params(&format!("ca {one}"), true);
            presented.push(params.signed_by(cas[one].key(), other).unwrap().der().to_vec());
        }
    }
    let roots = Roots::new(vec![public_roots()]);
    assert!(matches!(judge(&presented, &roots, HOST, at).outcome, Outcome::Untrusted(_)));
    criterion.bench_function("judging a mesh of 144 CA certificates", |bencher| {
        bencher.iter(|| judge(black_box(&presented), &roots, HOST, at));
    });
}

criterion_group!(benches, judging, hostile);
criterion_main!(benches);
