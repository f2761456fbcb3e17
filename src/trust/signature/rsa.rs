//! RSA signatures. aws-lc-rs verifies those of 2048 to 8192 bits; Go also those from 1024 bits on, and of trusted CAs
//! with larger keys, which are calculated here. Only public values go through here, so nothing is done about time.

use aws_lc_rs::digest::digest;
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents,
};
use num_bigint::BigUint;

use super::Hash;

/// How the hash is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::trust) enum Padding {
    Pkcs1,
    /// With a salt as long as the hash.
    Pss,
}

/// A key: what Go takes of them to verify with is decided by [`verify`].
#[derive(Clone, Copy)]
pub(super) struct Key<'k> {
    /// Big-endian, without leading zeros.
    pub(super) modulus: &'k [u8],
    pub(super) exponent: u64,
}

impl Key<'_> {
    pub(super) fn bits(&self) -> usize {
        bits(self.modulus)
    }
}

fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| 8 * number.len() - first.leading_zeros() as usize)
}

/// Whether the signature is the key's. Go takes moduli from 1024 bits on, odd, with an odd exponent of 2 to 31 bits.
pub(super) fn verify(key: Key<'_>, padding: Padding, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
    let is_odd = key.modulus.last().is_some_and(|last| last & 1 == 1) && key.exponent & 1 == 1;
    if key.bits() < 1024 || !is_odd || key.exponent < 2 || key.exponent >= 1 << 31 {
        return false;
    }
    if (2048..=8192).contains(&key.bits()) {
        by_provider(key, padding, hash, message, signature)
    } else {
        by_hand(key, padding, hash, message, signature)
    }
}

fn by_provider(key: Key<'_>, padding: Padding, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
    let exponent = key.exponent.to_be_bytes();
    let first = exponent.iter().position(|&byte| byte != 0).unwrap_or(0);
    let algorithm = match (padding, hash) {
        (Padding::Pkcs1, Hash::Sha256) => &RSA_PKCS1_2048_8192_SHA256,
        (Padding::Pkcs1, Hash::Sha384) => &RSA_PKCS1_2048_8192_SHA384,
        (Padding::Pkcs1, Hash::Sha512) => &RSA_PKCS1_2048_8192_SHA512,
        (Padding::Pss, Hash::Sha256) => &RSA_PSS_2048_8192_SHA256,
        (Padding::Pss, Hash::Sha384) => &RSA_PSS_2048_8192_SHA384,
        (Padding::Pss, Hash::Sha512) => &RSA_PSS_2048_8192_SHA512,
    };
    let key = RsaPublicKeyComponents { n: key.modulus, e: &exponent[first..] };
    key.verify(algorithm, message, signature).is_ok()
}

fn by_hand(key: Key<'_>, padding: Padding, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
    let modulus = BigUint::from_bytes_be(key.modulus);
    let number = BigUint::from_bytes_be(signature);
    if signature.len() != key.modulus.len() || number >= modulus {
        return false;
    }
    let packed = number.modpow(&BigUint::from(key.exponent), &modulus).to_bytes_be();
    let mut block = vec![0; key.modulus.len() - packed.len()];
    block.extend(packed);
    let hashed = digest(hash.algorithm(), message);
    match padding {
        Padding::Pkcs1 => is_pkcs1(&block, hash, hashed.as_ref()),
        Padding::Pss => is_pss(&mut block, key.bits() - 1, hash, hashed.as_ref()),
    }
}

/// RFC 8017, 9.2: the block is built anew and compared, nothing in it is read.
fn is_pkcs1(block: &[u8], hash: Hash, hashed: &[u8]) -> bool {
    let info = [hash.pkcs1_prefix(), hashed].concat();
    let Some(filling) = block.len().checked_sub(3 + info.len()).filter(|&filling| filling >= 8) else { return false };
    block == [&[0, 1][..], &vec![0xff; filling], &[0], &info].concat()
}

/// RFC 8017, 9.1.2.
fn is_pss(block: &mut [u8], bits: usize, hash: Hash, hashed: &[u8]) -> bool {
    let hash_length = hashed.len();
    let (leading, block) = block.split_at_mut(block.len() - bits.div_ceil(8));
    let unused_bits = 8 * block.len() - bits;
    let Some(filling) = block.len().checked_sub(2 * hash_length + 2) else { return false };
    let (masked, rest) = block.split_at_mut(filling + 1 + hash_length);
    let (seed, trailer) = rest.split_at(hash_length);
    let unused = !(0xff_u8 >> unused_bits);
    if leading.iter().any(|&byte| byte != 0) || trailer != [0xbc] || masked[0] & unused != 0 {
        return false;
    }
    for (counter, chunk) in (0_u32..).zip(masked.chunks_mut(hash_length)) {
        let mask = digest(hash.algorithm(), &[seed, &counter.to_be_bytes()].concat());
        chunk.iter_mut().zip(mask.as_ref()).for_each(|(byte, mask)| *byte ^= mask);
    }
    masked[0] &= !unused;
    let (filled, salt) = masked.split_at(filling + 1);
    let is_filled = filled.split_last().is_some_and(|(last, zeros)| *last == 1 && zeros.iter().all(|&byte| byte == 0));
    is_filled && digest(hash.algorithm(), &[&[0; 8], hashed, salt].concat()).as_ref() == seed
}
