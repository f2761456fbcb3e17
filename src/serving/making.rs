//! What mirrorgate makes itself: CAs, and the serving certificates that they sign.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};

use crate::trust::Certificate;

use super::pair::KeyPem;

/// Of a CA in the cluster.
pub const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(24 * 3652);
/// Of a serving certificate in the cluster, counted from when it was made.
pub const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(24 * 90);
/// 2020-01-01T00:00:00Z. Clocks differ, and all replicas must take what one of them makes: it is valid since long ago, so that a
/// clock that is ahead makes nothing that begins in the future of the others.
const SINCE: Timestamp = Timestamp::constant(1_577_836_800, 0);

/// How the subject of each of our CAs begins; the rest is of its key, so that no two have the same.
const AUTHORITY: &str = "mirrorgate CA ";

/// A certificate in PEM, and its key.
#[derive(Clone, Debug)]
pub struct Made {
    /// The certificate.
    pub certificate: String,
    /// Its key, in PKCS#8.
    pub key: KeyPem,
}

/// Why nothing could be made.
#[derive(Debug, thiserror::Error)]
pub enum MakingError {
    /// A bad name, in most cases.
    #[error("making a certificate for {names}: {source}")]
    Certificate {
        /// The names asked for.
        names: String,
        /// What rcgen says.
        source: rcgen::Error,
    },
    /// Only what we made ourselves can we sign for.
    #[error("the CA in ca.crt is not one that mirrorgate made, or ca.key is not its key")]
    NotOurs,
}

/// A CA of our own, whose key signs certificates for as long as it is kept.
#[derive(Debug)]
pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Authority {
    /// Makes one.
    ///
    /// # Errors
    /// When the crypto provider has one.
    pub fn make(now: Timestamp, life: SignedDuration) -> Result<(Self, Made), MakingError> {
        let failed = |source| MakingError::Certificate { names: AUTHORITY.trim_end().to_owned(), source };
        let key = KeyPair::generate().map_err(failed)?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.der_bytes());
        let id: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let (not_before, not_after) = (SINCE.min(now), now + life);
        let authority = Self {
            params: authority_params(&format!("{AUTHORITY}{id}"), not_before, not_after),
            key,
            not_before,
            not_after,
        };
        let certificate = authority.params.self_signed(&authority.key).map_err(failed)?.pem();
        let key = KeyPem::from(authority.key.serialize_pem().into_bytes());
        Ok((authority, Made { certificate, key }))
    }

    /// One that was made before.
    ///
    /// # Errors
    /// When we did not make it, or the key is another's.
    pub fn restore(certificate: &Certificate, key: &KeyPem) -> Result<Self, MakingError> {
        let text = str::from_utf8(key.as_bytes()).map_err(|_| MakingError::NotOurs)?;
        let key = KeyPair::from_pem(text).map_err(|_| MakingError::NotOurs)?;
        let subject = certificate.subject();
        let name =
            subject.strip_prefix("CN=").filter(|name| name.starts_with(AUTHORITY)).ok_or(MakingError::NotOurs)?;
        if key.subject_public_key_info() != certificate.raw_spki() {
            return Err(MakingError::NotOurs);
        }
        let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
        Ok(Self { params: authority_params(name, not_before, not_after), key, not_before, not_after })
    }

    /// Signs a serving certificate for these names, with a key of its own. It is valid since the CA is: one whose clock is
    /// far behind takes it, too, and has no reason to make another.
    ///
    /// # Errors
    /// When a name cannot be in a certificate.
    pub fn sign(&self, names: &[String], now: Timestamp, life: SignedDuration) -> Result<Made, MakingError> {
        let failed = |source| MakingError::Certificate { names: names.join(", "), source };
        let mut leaf = CertificateParams::new(names).map_err(failed)?;
        leaf.distinguished_name = named("mirrorgate");
        set_validity(&mut leaf, self.not_before, (now + life).min(self.not_after));
        leaf.use_authority_key_identifier_extension = true;
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(failed)?;
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = leaf.signed_by(&key, &issuer).map_err(failed)?.pem();
        Ok(Made { certificate, key: KeyPem::from(key.serialize_pem().into_bytes()) })
    }
}

fn authority_params(name: &str, not_before: Timestamp, not_after: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    set_validity(&mut params, not_before, not_after);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    distinguished_name
}

/// In whole seconds: a certificate has no more.
fn set_validity(params: &mut CertificateParams, not_before: Timestamp, not_after: Timestamp) {
    let since_1970 = |at: Timestamp| Duration::from_secs(u64::try_from(at.as_second()).unwrap_or_default());
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_1970(not_before);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970(not_after);
}
