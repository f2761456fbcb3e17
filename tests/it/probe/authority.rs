//! CAs and certificates.

use std::sync::Arc;

use mirrorgate::trust::{Certificate, Pool, Roots};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// A CA.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    pub(super) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// This CA and no other.
    pub(super) fn roots(&self) -> Roots {
        let certificate = Certificate::parse(self.issuer.der()).unwrap();
        Roots::new(vec![Arc::new(Pool::new("the CA of the test", vec![Arc::new(certificate)]))])
    }

    /// A good server certificate for these names and addresses.
    pub(super) fn certify(&self, names: &[&str]) -> Certified {
        self.certify_with(names, |_| {})
    }

    /// A server certificate with a difference.
    pub(super) fn certify_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Certified {
        self.make(names, KeyPair::generate().unwrap(), change)
    }

    /// A good server certificate for this key.
    pub(super) fn certify_for(&self, names: &[&str], key: KeyPair) -> Certified {
        self.make(names, key, |_| {})
    }

    /// A server certificate for a public key of anyone's.
    pub(super) fn certify_public(&self, names: &[&str], key: &impl PublicKeyData) -> CertificateDer<'static> {
        server(names).signed_by(key, &self.issuer).unwrap().der().clone()
    }

    fn make(&self, names: &[&str], key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Certified {
        let mut params = server(names);
        change(&mut params);
        let chain = vec![params.signed_by(&key, &self.issuer).unwrap().der().clone()];
        Certified { chain, key }
    }
}

fn server(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "a registry");
    params.subject_alt_names = names
        .iter()
        .map(|name| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into().unwrap()),
        })
        .collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params
}

/// A certificate, those sent behind it, and its key.
pub(super) struct Certified {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: KeyPair,
}

impl Certified {
    /// Sends more behind it.
    pub(super) fn with(mut self, more: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        self.chain.extend(more);
        self
    }

    pub(super) fn for_rustls(&self) -> CertifiedKey {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        // Not `CertifiedKey::from_der`, which minds whether the key is the certificate's.
        CertifiedKey::new(self.chain.clone(), aws_lc_rs::sign::any_supported_type(&key).unwrap())
    }
}

/// An extension that no one knows, with so many bytes in it.
pub(super) fn padding(bytes: usize) -> CustomExtension {
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 1], vec![0x5a; bytes])
}
