//! The public key of a certificate.

use super::curve::Curve;
use super::der::{BitString, Der, INTEGER, SEQUENCE};

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const DSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01];
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// A public key as Go reads it. Equal keys are equal whatever their bytes were.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum PublicKey {
    /// Both more than zero, and that is all that has been looked at.
    Rsa {
        /// Big-endian, its first byte not zero.
        modulus: Box<[u8]>,
        /// At most 2^63 - 1.
        exponent: u64,
    },
    /// On one of the four curves that Go knows.
    Ecdsa {
        /// Which.
        curve: Curve,
        /// A point of the curve: `04 x y`.
        point: Box<[u8]>,
    },
    /// Any 32 bytes.
    Ed25519(Box<[u8; 32]>),
    /// Read and never used: Go verifies nothing with it.
    Dsa,
    /// Of an algorithm that Go does not know.
    Unknown,
}

impl PublicKey {
    /// From the identifier of the algorithm and its parameters (with tag and length; empty where there are none).
    pub(super) fn read(algorithm: &[u8], parameters: &[u8], key: &BitString<'_>) -> Result<Self, &'static str> {
        let key = key.right_aligned();
        match algorithm {
            RSA => rsa(parameters, &key),
            ECDSA => ecdsa(parameters, key),
            ED25519 if !parameters.is_empty() => Err("its Ed25519 key has parameters"),
            ED25519 => {
                let key = <Box<[u8; 32]>>::try_from(key.into_boxed_slice());
                key.map(Self::Ed25519).map_err(|_| "its Ed25519 key is not 32 bytes long")
            }
            DSA => dsa(parameters, &key),
            _ => Ok(Self::Unknown),
        }
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rsa { modulus, .. } => {
                let zeros = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
                write!(f, "RSA {}", modulus.len() * 8 - zeros)
            }
            Self::Ecdsa { curve, .. } => write!(f, "ECDSA {curve:?}"),
            Self::Ed25519(_) => f.write_str("Ed25519"),
            Self::Dsa => f.write_str("DSA"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

fn rsa(parameters: &[u8], key: &[u8]) -> Result<PublicKey, &'static str> {
    if parameters != [5, 0] {
        return Err("its RSA key lacks the NULL that must be its parameters");
    }
    let mut key = Der::new(key).read(SEQUENCE).ok_or("its RSA key cannot be read")?;
    let modulus = key.positive().ok_or("the modulus of its RSA key cannot be read")?;
    let exponent = key.signed(INTEGER).ok_or("the exponent of its RSA key cannot be read")?;
    let modulus = modulus.ok_or("the modulus of its RSA key is zero or negative")?.into();
    let exponent = u64::try_from(exponent).ok().filter(|&exponent| exponent > 0);
    Ok(PublicKey::Rsa { modulus, exponent: exponent.ok_or("the exponent of its RSA key is zero or negative")? })
}

fn ecdsa(parameters: &[u8], key: Vec<u8>) -> Result<PublicKey, &'static str> {
    let curve = Der::new(parameters).oid().ok_or("its ECDSA key does not name a curve")?;
    let curve = Curve::from_oid(curve.0).ok_or("its ECDSA key is on a curve that Go does not know")?;
    if !curve.has(&key) {
        return Err("its ECDSA key is not an uncompressed point of its curve");
    }
    Ok(PublicKey::Ecdsa { curve, point: key.into() })
}

fn dsa(parameters: &[u8], key: &[u8]) -> Result<PublicKey, &'static str> {
    let is_positive = |number: Option<Option<&[u8]>>| match number {
        None => Err("its DSA key cannot be read"),
        Some(None) => Err("a number of its DSA key is zero or negative"),
        Some(Some(_)) => Ok(()),
    };
    is_positive(Der::new(key).positive())?;
    let mut parameters = Der::new(parameters).read(SEQUENCE).ok_or("the parameters of its DSA key cannot be read")?;
    for _ in 0..3 {
        is_positive(parameters.positive())?;
    }
    Ok(PublicKey::Dsa)
}
