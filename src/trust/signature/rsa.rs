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

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{
        KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
        RSA_PSS_SHA512, RsaEncoding,
    };

    use super::*;

    const MESSAGE: &[u8] = b"mirrorgate";

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn t3_by_hand_and_by_the_provider_is_the_same() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        // After the headers of the sequence and the integer, and its zero.
        let modulus = pair.public_key().as_ref()[9..265].to_vec();
        let key = Key { modulus: &modulus, exponent: 65_537 };
        let schemes: [(Padding, Hash, &'static dyn RsaEncoding); 6] = [
            (Padding::Pkcs1, Hash::Sha256, &RSA_PKCS1_SHA256),
            (Padding::Pkcs1, Hash::Sha384, &RSA_PKCS1_SHA384),
            (Padding::Pkcs1, Hash::Sha512, &RSA_PKCS1_SHA512),
            (Padding::Pss, Hash::Sha256, &RSA_PSS_SHA256),
            (Padding::Pss, Hash::Sha384, &RSA_PSS_SHA384),
            (Padding::Pss, Hash::Sha512, &RSA_PSS_SHA512),
        ];
        let mut counts = [0, 0];
        for (padding, hash, encoding) in schemes {
            let mut signature = vec![0; modulus.len()];
            pair.sign(encoding, &SystemRandom::new(), MESSAGE, &mut signature).unwrap();
            let mut tries: Vec<(Vec<u8>, &[u8])> =
                vec![(signature.clone(), MESSAGE), (signature.clone(), b"mirrorgat")];
            tries.push(([&[0], &signature[..]].concat(), MESSAGE));
            tries.push((signature[1..].to_vec(), MESSAGE));
            tries.push((vec![0xff; modulus.len()], MESSAGE));
            tries.push((modulus.clone(), MESSAGE));
            for at in (0..modulus.len()).step_by(31) {
                let mut changed = signature.clone();
                changed[at] ^= 1;
                tries.push((changed, MESSAGE));
            }
            for other in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
                for padding in [Padding::Pkcs1, Padding::Pss] {
                    let by_hand = by_hand(key, padding, other, MESSAGE, &signature);
                    assert_eq!(by_hand, by_provider(key, padding, other, MESSAGE, &signature));
                }
            }
            for (signature, message) in tries {
                let fits = by_hand(key, padding, hash, message, &signature);
                assert_eq!(fits, by_provider(key, padding, hash, message, &signature), "{padding:?} {hash:?}");
                counts[usize::from(fits)] += 1;
            }
        }
        assert_eq!(counts, [6 * 14, 6]);
    }

    #[test]
    fn t3_keys_below_2048_bits_are_used_as_go_uses_them() {
        // Made by Go: the modulus, a PKCS #1 signature with SHA-512, a PSS signature with SHA-256.
        for [modulus, pkcs1, pss] in [KEY_1024, KEY_1025] {
            let (modulus, pkcs1, pss) = (hex(modulus), hex(pkcs1), hex(pss));
            let key = Key { modulus: &modulus, exponent: 65_537 };
            assert!(verify(key, Padding::Pkcs1, Hash::Sha512, MESSAGE, &pkcs1));
            assert!(verify(key, Padding::Pss, Hash::Sha256, MESSAGE, &pss));
            assert!(!verify(key, Padding::Pkcs1, Hash::Sha256, MESSAGE, &pkcs1));
            assert!(!verify(key, Padding::Pss, Hash::Sha512, MESSAGE, &pss));
            assert!(!verify(key, Padding::Pss, Hash::Sha256, b"", &pss));
            assert!(!verify(key, Padding::Pkcs1, Hash::Sha512, MESSAGE, &pkcs1[1..]));
            assert!(!verify(Key { exponent: 3, ..key }, Padding::Pkcs1, Hash::Sha512, MESSAGE, &pkcs1));
            for at in (0..pss.len()).step_by(7) {
                let (mut pkcs1, mut pss) = (pkcs1.clone(), pss.clone());
                pkcs1[at] ^= 0x10;
                pss[at] ^= 0x10;
                assert!(!verify(key, Padding::Pkcs1, Hash::Sha512, MESSAGE, &pkcs1), "{at}");
                assert!(!verify(key, Padding::Pss, Hash::Sha256, MESSAGE, &pss), "{at}");
            }
        }
    }

    #[test]
    fn t3_keys_that_go_does_not_use_fit_nothing() {
        let block = [&[0, 1][..], &[0xff; 128 - 54], &[0], Hash::Sha256.pkcs1_prefix()].concat();
        let hashed = digest(Hash::Sha256.algorithm(), MESSAGE);
        // With the exponent 1 the block is its own signature.
        let signature = [&block, hashed.as_ref()].concat();
        let modulus = [0xff; 128];
        for exponent in [0, 1, 2, 1 << 31] {
            let key = Key { modulus: &modulus, exponent };
            assert!(!verify(key, Padding::Pkcs1, Hash::Sha256, MESSAGE, &signature), "{exponent}");
        }
        assert!(by_hand(Key { modulus: &modulus, exponent: 1 }, Padding::Pkcs1, Hash::Sha256, MESSAGE, &signature));
    }

    const KEY_1024: [&str; 3] = [
        "d514afca36523c70dd7ea2e882200ca93a34f11a99c176417659db476cf7526d0e2c164258fc25c25657b543ed786c8c\
         6791f3065c952ec3f0d2e022cca106b92fe1922d82e876dd81d1a0079a4da81a5236914131b965ead33ff481fc4b4293\
         e6111e8e5640e905c63b3dec07bace021f051f694ea5c585f99786db43348bd3",
        "7c3a1b6e9cba733ec0faa800e04af9cd2178f71538c20fa37805d6114753b7354f7b93de28dd1f1c42b45f2c87d4327c\
         0318d58f6686ea574bd63dddf9a735181cce6386ea123c5216ca5c51fd83b8ede97a676764ab810a2d9c76d06646d651\
         c559a7b80f4d374c1ae0c8492fff4f9d43c54924b9016ba827e305d78b328557",
        "45950292fb08d8d25f73390298bbc754403a0ec44c311cd29fe78e113e6283ec06e09950a637a08c8afb6edbfae35179\
         67c1ff9fbfc2ea40a1bc2ae85f7cc8489273e6615ac88d422c5045ce635d285603b80b65ddb8a7eef942d6c992cdeaad\
         b876ac204cc7e5e91bcf1b3110c26557f93adee641097fb4d16f4beb7bf1875b",
    ];
    const KEY_1025: [&str; 3] = [
        "017cf751b1cbabdc406ee3e339b8d04ba66b3d3e1cb82a9da4b150332a2737a776b3f334615ea903b7104ea15663357d\
         ae62873abfbff22d1b695c987e0238c5cd4f96d69b64aa88837e3b99e287cc655041e1e0e8cfc2c1465782f29245ba0a\
         dbd603384dd7732c0a8d303583faece8510dd1eef9a4ee1fd3f557f7834017880d",
        "015239eec3c4ed55a45db20b30bbf5b68f01fc639fd1d463ea588d2d5b8b413a703b17e96ef8faa430b9bdb559953583\
         61c2cd77806c13444ea41bae1cbc416230d70ee71046f6bf25ecb55b3fdfd5865341ba78fea79dbbf951ad415e9ceb78\
         4d0dfc364f35c9d03811c54e54fa1d247cb475950997d0c9dfaddd2b7d80319a4b",
        "008fbc290e4ed55ca65de74865a585bce2576b7d8e3e82a7fc3fe182ce06f6a78cecdc048dbf0f269304d4f364fa74ab\
         e0fa3a5edf9b7e8a6fa14820adb4ca60e2601b1132e24291ce752d469ddab5819d0c3ac415269bdefa0c478265d181e9\
         796ef35add5e4de6530e09d21a35fa34fd4cc803f63c76a093c2b4966ad2b48d2a",
    ];
}
