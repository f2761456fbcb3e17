//! Signature algorithms, as Go maps their identifiers and parameters.

use super::der::{Der, INTEGER, OBJECT_IDENTIFIER, SEQUENCE};

/// How a certificate says that it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// PKCS #1 1.5 with MD5.
    Md5WithRsa,
    /// PKCS #1 1.5 with SHA-1.
    Sha1WithRsa,
    /// PKCS #1 1.5 with SHA-256.
    Sha256WithRsa,
    /// PKCS #1 1.5 with SHA-384.
    Sha384WithRsa,
    /// PKCS #1 1.5 with SHA-512.
    Sha512WithRsa,
    /// PSS with SHA-256 and a salt of 32 bytes.
    Sha256WithRsaPss,
    /// PSS with SHA-384 and a salt of 48 bytes.
    Sha384WithRsaPss,
    /// PSS with SHA-512 and a salt of 64 bytes.
    Sha512WithRsaPss,
    /// DSA with SHA-1.
    DsaWithSha1,
    /// DSA with SHA-256.
    DsaWithSha256,
    /// ECDSA with SHA-1.
    EcdsaWithSha1,
    /// ECDSA with SHA-256.
    EcdsaWithSha256,
    /// ECDSA with SHA-384.
    EcdsaWithSha384,
    /// ECDSA with SHA-512.
    EcdsaWithSha512,
    /// Ed25519 as it is.
    Ed25519,
    /// No algorithm that Go knows, or parameters that it does not take.
    Unknown,
}

impl SignatureAlgorithm {
    /// From the identifier and its parameters, which have their tag and length and are empty where there are none.
    pub(super) fn read(algorithm: &[u8], parameters: &[u8]) -> Self {
        match algorithm {
            // Parameters count for two only.
            [0x2b, 0x65, 0x70] if parameters.is_empty() => Self::Ed25519,
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10] => pss(parameters).unwrap_or(Self::Unknown),
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, number] => match number {
                4 => Self::Md5WithRsa,
                5 => Self::Sha1WithRsa,
                11 => Self::Sha256WithRsa,
                12 => Self::Sha384WithRsa,
                13 => Self::Sha512WithRsa,
                _ => Self::Unknown,
            },
            // What Microsoft's makecert.exe calls it.
            [0x2b, 14, 3, 2, 29] => Self::Sha1WithRsa,
            [0x2a, 0x86, 0x48, 0xce, 0x38, 4, 3] => Self::DsaWithSha1,
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 2] => Self::DsaWithSha256,
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1] => Self::EcdsaWithSha1,
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2] => Self::EcdsaWithSha256,
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3] => Self::EcdsaWithSha384,
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4] => Self::EcdsaWithSha512,
            _ => Self::Unknown,
        }
    }
}

/// RSA-PSS with one hash for all, and a salt as long as it. Go reads these parameters by its older reader, which does
/// not look at the length of an explicit tag.
fn pss(parameters: &[u8]) -> Option<SignatureAlgorithm> {
    let fields = Der::new(parameters).read(SEQUENCE)?.bytes();
    let mut fields = Der::new(tagged(fields, 0)?);
    let (hash, hash_parameters) = algorithm(&mut fields)?;
    let mut fields = Der::new(tagged(fields.bytes(), 1)?);
    let (mask, mask_parameters) = algorithm(&mut fields)?;
    let mut fields = Der::new(tagged(fields.bytes(), 2)?);
    let salt = fields.signed(INTEGER)?;
    if trailer(fields.bytes())? != 1 {
        return None;
    }
    let (mask_hash, mask_hash_parameters) = algorithm(&mut Der::new(mask_parameters))?;
    let are_null = |parameters: &[u8]| matches!(parameters, [] | [5, 0]);
    let is_one_hash = mask == [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8]
        && mask_hash == hash
        && are_null(hash_parameters)
        && are_null(mask_hash_parameters);
    match (hash, salt) {
        _ if !is_one_hash => None,
        ([0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], 32) => Some(SignatureAlgorithm::Sha256WithRsaPss),
        ([0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], 48) => Some(SignatureAlgorithm::Sha384WithRsaPss),
        ([0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], 64) => Some(SignatureAlgorithm::Sha512WithRsaPss),
        _ => None,
    }
}

/// An identifier and its parameters; more may follow.
fn algorithm<'a>(der: &mut Der<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let mut fields = der.read(SEQUENCE)?;
    let oid = fields.read(OBJECT_IDENTIFIER)?.bytes();
    let parameters = if fields.is_empty() { &[] } else { fields.any_element()?.bytes() };
    Some((oid, parameters))
}

/// What stands after an explicit tag of this number and its length, which is not zero.
fn tagged(fields: &[u8], number: u8) -> Option<&[u8]> {
    let (tag, length, rest) = header(fields)?;
    (tag == u32::from(0xa0 | number) && length > 0 && !rest.is_empty()).then_some(rest)
}

/// The trailer field, 1 if it is not there; whatever else stands in its place is passed over.
fn trailer(fields: &[u8]) -> Option<i64> {
    if fields.is_empty() {
        return Some(1);
    }
    let (tag, length, rest) = header(fields)?;
    if rest.is_empty() {
        return None;
    }
    match (tag, length) {
        (0x83 | 0xa3, 0) => None,
        (0xa3, _) => match header(rest)? {
            (0x02, ..) => Der::new(rest).signed(INTEGER),
            _ => Some(1),
        },
        _ => Some(1),
    }
}

/// A tag (large ones as 31), a length, and what comes after them.
fn header(bytes: &[u8]) -> Option<(u32, u32, &[u8])> {
    let (&tag, mut rest) = bytes.split_first()?;
    if tag & 0x1f == 0x1f {
        let end = rest.iter().position(|digit| digit & 0x80 == 0)?;
        let (digits, after) = rest.split_at(end + 1);
        let number = digits.iter().fold(0, |number: u64, digit| number << 7 | u64::from(digit & 0x7f));
        let is_valid = digits[0] != 0x80 && digits.len() <= 5 && (0x1f..=0x7fff_ffff).contains(&number);
        rest = is_valid.then_some(after)?;
    }
    let (&first, rest) = rest.split_first()?;
    if first & 0x80 == 0 {
        return Some((u32::from(tag), u32::from(first), rest));
    }
    let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
    let is_valid = match digits {
        [] | [0, ..] => false,
        [digit] => *digit >= 0x80,
        [first, _, _, _] => *first < 0x80,
        _ => digits.len() < 4,
    };
    let length = digits.iter().fold(0, |length: u32, &digit| length << 8 | u32::from(digit));
    is_valid.then_some((u32::from(tag), length, rest))
}
