//! Signatures, as Go verifies them: by aws-lc-rs where it can, and by hand what it leaves out (small and very large RSA
//! keys, P-224). SHA-1 and MD5 are refused as Go refuses them.

mod p224;
mod rsa;

use aws_lc_rs::digest::{self, digest};
use aws_lc_rs::signature::{ED25519, EcdsaVerificationAlgorithm, UnparsedPublicKey};

use self::rsa::Padding;
use super::certificate::{Certificate, Curve, PublicKey, SignatureAlgorithm};

/// Those that Go takes in certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }

    /// The DER that goes before the hash (RFC 8017, 9.2, note 1).
    fn pkcs1_prefix(self) -> &'static [u8] {
        match self {
            Self::Sha256 => b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
            Self::Sha384 => b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
            Self::Sha512 => b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
        }
    }
}

/// Why a certificate does not count as issued by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignatureFault {
    /// The issuer is no CA, by its basic constraints.
    NotACa,
    /// The issuer's key usage leaves out the signing of certificates.
    MayNotSign,
    /// By an algorithm that counts as broken: its name.
    Insecure(&'static str),
    /// By an algorithm that Go does not know, or that is not for the issuer's kind of key.
    Unsupported,
    /// By an RSA key of so many bits, which are too few.
    SmallKey(usize),
    /// Not by that key.
    Mismatch,
}

/// `keyCertSign`.
const KEY_CERT_SIGN: u16 = 1 << 5;

/// Whether a certificate's signature is by another's key, and that key may sign certificates.
pub(super) fn check_issued(certificate: &Certificate, issuer: &Certificate) -> Result<(), SignatureFault> {
    // Certificates before version 3 cannot say that they are CAs; those of version 3 have to.
    let is_ca = issuer.basic_constraints().map_or(issuer.version() != 3, |constraints| constraints.is_ca);
    if !is_ca {
        return Err(SignatureFault::NotACa);
    }
    if issuer.key_usage() != 0 && issuer.key_usage() & KEY_CERT_SIGN == 0 {
        return Err(SignatureFault::MayNotSign);
    }
    let scheme = Scheme::of(certificate.signature_algorithm())?;
    scheme.verify(issuer.public_key(), certificate.raw_tbs(), &certificate.signature())
}

/// What a TLS server shows with its signature: that it holds the key of its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFault {
    /// It is not that key's signature.
    Bad,
    /// By a scheme that is not for that key, so that it is not looked at.
    NotForKey,
    /// By an RSA key of so many bits, which are too few whatever they sign.
    SmallKey(usize),
    /// By a scheme that Go does not offer.
    Unsupported,
}

/// Those of which Go's client speaks one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// Any hash goes with any curve, and RSA may sign by PKCS #1.
    V1_2,
    /// Each curve has its hash, and PKCS #1 is gone.
    V1_3,
}

/// Whether a TLS handshake's signature is by the key of the server's certificate. The scheme is TLS's number
/// (`SignatureScheme`), which 1.2 and 1.3 share.
pub fn verify_handshake(
    leaf: &Certificate,
    version: TlsVersion,
    scheme: u16,
    message: &[u8],
    signature: &[u8],
) -> Result<(), HandshakeFault> {
    let scheme = match scheme {
        0x0401 => Scheme::Rsa(Padding::Pkcs1, Hash::Sha256),
        0x0501 => Scheme::Rsa(Padding::Pkcs1, Hash::Sha384),
        0x0601 => Scheme::Rsa(Padding::Pkcs1, Hash::Sha512),
        0x0804 => Scheme::Rsa(Padding::Pss, Hash::Sha256),
        0x0805 => Scheme::Rsa(Padding::Pss, Hash::Sha384),
        0x0806 => Scheme::Rsa(Padding::Pss, Hash::Sha512),
        0x0403 => Scheme::Ecdsa(Hash::Sha256),
        0x0503 => Scheme::Ecdsa(Hash::Sha384),
        0x0603 => Scheme::Ecdsa(Hash::Sha512),
        0x0807 => Scheme::Ed25519,
        _ => return Err(HandshakeFault::Unsupported),
    };
    if version == TlsVersion::V1_3 && !scheme.is_of_tls_1_3(leaf.public_key()) {
        return Err(HandshakeFault::NotForKey);
    }
    scheme.verify(leaf.public_key(), message, signature).map_err(|fault| match fault {
        SignatureFault::SmallKey(bits) => HandshakeFault::SmallKey(bits),
        SignatureFault::Unsupported => HandshakeFault::NotForKey,
        SignatureFault::Mismatch
        | SignatureFault::NotACa
        | SignatureFault::MayNotSign
        | SignatureFault::Insecure(_) => HandshakeFault::Bad,
    })
}

/// How something is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Rsa(Padding, Hash),
    Ecdsa(Hash),
    Ed25519,
}

impl Scheme {
    fn of(algorithm: SignatureAlgorithm) -> Result<Self, SignatureFault> {
        Ok(match algorithm {
            SignatureAlgorithm::Sha256WithRsa => Self::Rsa(Padding::Pkcs1, Hash::Sha256),
            SignatureAlgorithm::Sha384WithRsa => Self::Rsa(Padding::Pkcs1, Hash::Sha384),
            SignatureAlgorithm::Sha512WithRsa => Self::Rsa(Padding::Pkcs1, Hash::Sha512),
            SignatureAlgorithm::Sha256WithRsaPss => Self::Rsa(Padding::Pss, Hash::Sha256),
            SignatureAlgorithm::Sha384WithRsaPss => Self::Rsa(Padding::Pss, Hash::Sha384),
            SignatureAlgorithm::Sha512WithRsaPss => Self::Rsa(Padding::Pss, Hash::Sha512),
            SignatureAlgorithm::EcdsaWithSha256 => Self::Ecdsa(Hash::Sha256),
            SignatureAlgorithm::EcdsaWithSha384 => Self::Ecdsa(Hash::Sha384),
            SignatureAlgorithm::EcdsaWithSha512 => Self::Ecdsa(Hash::Sha512),
            SignatureAlgorithm::Ed25519 => Self::Ed25519,
            SignatureAlgorithm::Md5WithRsa => return Err(SignatureFault::Insecure("MD5 with RSA")),
            SignatureAlgorithm::Sha1WithRsa => return Err(SignatureFault::Insecure("SHA-1 with RSA")),
            SignatureAlgorithm::DsaWithSha1 => return Err(SignatureFault::Insecure("SHA-1 with DSA")),
            SignatureAlgorithm::EcdsaWithSha1 => return Err(SignatureFault::Insecure("SHA-1 with ECDSA")),
            SignatureAlgorithm::DsaWithSha256 | SignatureAlgorithm::Unknown => return Err(SignatureFault::Unsupported),
        })
    }

    /// Whether TLS 1.3 has it for such a key: P-224 signs nothing there. Go also minds whether an RSA key is large enough
    /// for the hash; a signature by one that is not does not verify anyway.
    fn is_of_tls_1_3(self, key: &PublicKey) -> bool {
        match (self, key) {
            (Self::Ecdsa(hash), PublicKey::Ecdsa { curve, .. }) => matches!(
                (curve, hash),
                (Curve::P256, Hash::Sha256) | (Curve::P384, Hash::Sha384) | (Curve::P521, Hash::Sha512)
            ),
            (Self::Rsa(Padding::Pss, _), PublicKey::Rsa { .. }) | (Self::Ed25519, PublicKey::Ed25519(_)) => true,
            _ => false,
        }
    }

    fn verify(self, key: &PublicKey, message: &[u8], signature: &[u8]) -> Result<(), SignatureFault> {
        let fits = match (self, key) {
            (Self::Rsa(padding, hash), PublicKey::Rsa { modulus, exponent }) => {
                let key = rsa::Key { modulus, exponent: *exponent };
                if key.bits() < 1024 {
                    return Err(SignatureFault::SmallKey(key.bits()));
                }
                rsa::verify(key, padding, hash, message, signature)
            }
            (Self::Ecdsa(hash), PublicKey::Ecdsa { curve, point }) => ecdsa(*curve, point, hash, message, signature),
            (Self::Ed25519, PublicKey::Ed25519(key)) => {
                UnparsedPublicKey::new(&ED25519, key.as_slice()).verify(message, signature).is_ok()
            }
            _ => return Err(SignatureFault::Unsupported),
        };
        if fits { Ok(()) } else { Err(SignatureFault::Mismatch) }
    }
}

fn ecdsa(curve: Curve, point: &[u8], hash: Hash, message: &[u8], signature: &[u8]) -> bool {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
        ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
        ECDSA_P521_SHA512_ASN1,
    };
    let algorithm: &'static EcdsaVerificationAlgorithm = match (curve, hash) {
        (Curve::P224, _) => {
            let hashed = digest(hash.algorithm(), message);
            return two_integers(signature).is_some_and(|(r, s)| p224::verify(point, hashed.as_ref(), r, s));
        }
        (Curve::P256, Hash::Sha256) => &ECDSA_P256_SHA256_ASN1,
        (Curve::P256, Hash::Sha384) => &ECDSA_P256_SHA384_ASN1,
        (Curve::P256, Hash::Sha512) => &ECDSA_P256_SHA512_ASN1,
        (Curve::P384, Hash::Sha256) => &ECDSA_P384_SHA256_ASN1,
        (Curve::P384, Hash::Sha384) => &ECDSA_P384_SHA384_ASN1,
        (Curve::P384, Hash::Sha512) => &ECDSA_P384_SHA512_ASN1,
        (Curve::P521, Hash::Sha256) => &ECDSA_P521_SHA256_ASN1,
        (Curve::P521, Hash::Sha384) => &ECDSA_P521_SHA384_ASN1,
        (Curve::P521, Hash::Sha512) => &ECDSA_P521_SHA512_ASN1,
    };
    UnparsedPublicKey::new(algorithm, point).verify(message, signature).is_ok()
}

/// The size of a certificate's RSA key.
pub(super) fn rsa_bits(certificate: &Certificate) -> Option<usize> {
    match certificate.public_key() {
        PublicKey::Rsa { modulus, exponent } => Some(rsa::Key { modulus, exponent: *exponent }.bits()),
        _ => None,
    }
}

/// A DER sequence of two positive integers and nothing else. Lengths of one byte are enough: longer integers are above
/// the curve's order.
fn two_integers(signature: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x30, length, integers @ ..] = signature else { return None };
    let (r, rest) = integer(integers)?;
    let (s, rest) = integer(rest)?;
    (*length < 0x80 && usize::from(*length) == integers.len() && rest.is_empty()).then_some((r, s))
}

/// A positive integer, and what follows it.
fn integer(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x02, length, rest @ ..] = der else { return None };
    let (value, rest) = rest.split_at_checked(usize::from(*length))?;
    let is_valid = match value {
        [] | [0x80..=0xff, ..] => false,
        [0, next, ..] => *next >= 0x80,
        _ => true,
    };
    is_valid.then_some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t3_signatures_of_two_integers_are_der() {
        for (signature, expected) in [
            (&b"\x30\x06\x02\x01\x01\x02\x01\x02"[..], Some((&b"\x01"[..], &b"\x02"[..]))),
            (b"\x30\x07\x02\x02\x00\x80\x02\x01\x02", Some((b"\x00\x80", b"\x02"))),
            (b"\x30\x06\x02\x01\x00\x02\x01\x02", Some((b"\x00", b"\x02"))),
            (b"\x30\x06\x02\x01\x81\x02\x01\x02", None),
            (b"\x30\x07\x02\x02\x00\x01\x02\x01\x02", None),
            (b"\x30\x05\x02\x00\x02\x01\x02", None),
            (b"\x30\x06\x02\x01\x01\x02\x01\x02\x00", None),
            (b"\x30\x07\x02\x01\x01\x02\x01\x02\x00", None),
            (b"\x30\x81\x06\x02\x01\x01\x02\x01\x02", None),
            (b"\x30\x03\x02\x01\x01", None),
            (b"", None),
        ] {
            assert_eq!(two_integers(signature), expected, "{signature:x?}");
        }
    }
}
