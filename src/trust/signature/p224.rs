//! ECDSA on P-224, which Go verifies and aws-lc-rs does not offer. Only public values go through here, so nothing is
//! done about time.
//!
//! Numbers are four 64-bit limbs, the lowest first, in Montgomery form (times 2^256) while they are calculated with.

use core::cmp::Ordering;

/// Below 2^256.
type Limbs = [u64; 4];

const ZERO: Limbs = [0; 4];
const LENGTH: usize = 28;

/// What is calculated modulo: the field's prime, or the number of points.
struct Modulus {
    value: Limbs,
    /// 2^512 modulo the value.
    r2: Limbs,
    /// The value's negative inverse modulo 2^64.
    inverse: u64,
}

const FIELD: Modulus = Modulus {
    value: [0x1, 0xffff_ffff_0000_0000, 0xffff_ffff_ffff_ffff, 0xffff_ffff],
    r2: [0xffff_ffff_0000_0001, 0xffff_ffff_0000_0000, 0xffff_fffe_0000_0000, 0xffff_ffff],
    inverse: 0xffff_ffff_ffff_ffff,
};
const ORDER: Modulus = Modulus {
    value: [0x13dd_2945_5c5c_2a3d, 0xffff_16a2_e0b8_f03e, 0xffff_ffff_ffff_ffff, 0xffff_ffff],
    r2: [0x2994_7a69_5f51_7d15, 0xabc8_ff59_31d6_3f4b, 0x6ad1_5f7c_d971_4856, 0xb1e9_7961],
    inverse: 0xd6e2_4270_6a1f_c2eb,
};
const B: Limbs = [0x270b_3943_2355_ffb4, 0x5044_b0b7_d7bf_d8ba, 0x0c04_b3ab_f541_3256, 0xb405_0a85];
const BASE_X: Limbs = [0x3432_80d6_115c_1d21, 0x4a03_c1d3_56c2_1122, 0x6bb4_bf7f_3213_90b9, 0xb70e_0cbd];
const BASE_Y: Limbs = [0x44d5_8199_8500_7e34, 0xcd43_75a0_5a07_4764, 0xb5f7_23fb_4c22_dfe6, 0xbd37_6388];

impl Modulus {
    fn add(&self, a: &Limbs, b: &Limbs) -> Limbs {
        let sum = add_carrying(a, b).0;
        // Both are below 2^224: no carry.
        if compare(&sum, &self.value).is_lt() { sum } else { subtract_borrowing(&sum, &self.value).0 }
    }

    fn subtract(&self, a: &Limbs, b: &Limbs) -> Limbs {
        let (difference, borrows) = subtract_borrowing(a, b);
        if borrows { add_carrying(&difference, &self.value).0 } else { difference }
    }

    /// a × b ÷ 2^256, limb by limb.
    fn multiply(&self, a: &Limbs, b: &Limbs) -> Limbs {
        let mut sum = [0_u64; 6];
        for &limb in a {
            let mut carry = 0;
            for (at, &other) in b.iter().enumerate() {
                (sum[at], carry) = limb.carrying_mul_add(other, sum[at], carry);
            }
            let (top, carries) = sum[4].overflowing_add(carry);
            (sum[4], sum[5]) = (top, u64::from(carries));
            let factor = sum[0].wrapping_mul(self.inverse);
            let mut carry = 0;
            for (at, &other) in self.value.iter().enumerate() {
                (sum[at], carry) = factor.carrying_mul_add(other, sum[at], carry);
            }
            let (top, carries) = sum[4].overflowing_add(carry);
            sum = [sum[1], sum[2], sum[3], top, sum[5] + u64::from(carries), 0];
        }
        let product = [sum[0], sum[1], sum[2], sum[3]];
        if sum[4] == 0 && compare(&product, &self.value).is_lt() {
            product
        } else {
            subtract_borrowing(&product, &self.value).0
        }
    }

    fn enter(&self, value: &Limbs) -> Limbs {
        self.multiply(value, &self.r2)
    }

    fn leave(&self, value: &Limbs) -> Limbs {
        self.multiply(value, &[1, 0, 0, 0])
    }

    /// By Fermat: to the power of the modulus less two, which is prime.
    fn invert(&self, value: &Limbs) -> Limbs {
        let exponent = subtract_borrowing(&self.value, &[2, 0, 0, 0]).0;
        let mut result = self.enter(&[1, 0, 0, 0]);
        for at in (0..8 * LENGTH).rev() {
            result = self.multiply(&result, &result);
            if bit(&exponent, at) {
                result = self.multiply(&result, value);
            }
        }
        result
    }

    /// A number below the modulus, big-endian, of any length.
    fn read(&self, bytes: &[u8]) -> Option<Limbs> {
        let value = limbs(bytes)?;
        compare(&value, &self.value).is_lt().then_some(value)
    }
}

/// In Jacobian coordinates: x ÷ z², y ÷ z³. With z = 0 it is the point at infinity.
#[derive(Clone, Copy)]
struct Point {
    x: Limbs,
    y: Limbs,
    z: Limbs,
}

impl Point {
    const INFINITY: Self = Self { x: ZERO, y: ZERO, z: ZERO };

    /// A point that is on the curve y² = x³ - 3x + b.
    fn new(x: &Limbs, y: &Limbs) -> Option<Self> {
        let f = FIELD;
        let (x, y) = (f.enter(x), f.enter(y));
        let cube = f.multiply(&f.multiply(&x, &x), &x);
        let right = f.subtract(&f.add(&cube, &f.enter(&B)), &f.add(&f.add(&x, &x), &x));
        (f.multiply(&y, &y) == right).then(|| Self { x, y, z: f.enter(&[1, 0, 0, 0]) })
    }

    /// From its uncompressed form.
    fn read(bytes: &[u8]) -> Option<Self> {
        let coordinates = bytes.strip_prefix(&[4]).filter(|rest| rest.len() == 2 * LENGTH)?;
        let (x, y) = coordinates.split_at(LENGTH);
        Self::new(&FIELD.read(x)?, &FIELD.read(y)?)
    }

    fn double(&self) -> Self {
        let f = FIELD;
        let delta = f.multiply(&self.z, &self.z);
        let gamma = f.multiply(&self.y, &self.y);
        let beta = f.multiply(&self.x, &gamma);
        let product = f.multiply(&f.subtract(&self.x, &delta), &f.add(&self.x, &delta));
        let alpha = f.add(&f.add(&product, &product), &product);
        let beta4 = twice(&twice(&beta));
        let x = f.subtract(&f.multiply(&alpha, &alpha), &twice(&beta4));
        let sum = f.add(&self.y, &self.z);
        let z = f.subtract(&f.subtract(&f.multiply(&sum, &sum), &gamma), &delta);
        let gamma_squared8 = twice(&twice(&twice(&f.multiply(&gamma, &gamma))));
        let y = f.subtract(&f.multiply(&alpha, &f.subtract(&beta4, &x)), &gamma_squared8);
        Self { x, y, z }
    }

    fn add(&self, other: &Self) -> Self {
        let f = FIELD;
        if self.z == ZERO {
            return *other;
        }
        if other.z == ZERO {
            return *self;
        }
        let (z1z1, z2z2) = (f.multiply(&self.z, &self.z), f.multiply(&other.z, &other.z));
        let (u1, u2) = (f.multiply(&self.x, &z2z2), f.multiply(&other.x, &z1z1));
        let s1 = f.multiply(&f.multiply(&self.y, &other.z), &z2z2);
        let s2 = f.multiply(&f.multiply(&other.y, &self.z), &z1z1);
        let (h, r) = (f.subtract(&u2, &u1), f.subtract(&s2, &s1));
        if h == ZERO {
            return if r == ZERO { self.double() } else { Self::INFINITY };
        }
        let h2 = f.multiply(&h, &h);
        let h3 = f.multiply(&h2, &h);
        let v = f.multiply(&u1, &h2);
        let x = f.subtract(&f.subtract(&f.multiply(&r, &r), &h3), &twice(&v));
        let y = f.subtract(&f.multiply(&r, &f.subtract(&v, &x)), &f.multiply(&s1, &h3));
        Self { x, y, z: f.multiply(&f.multiply(&self.z, &other.z), &h) }
    }

    /// The x coordinate; none at infinity.
    fn x(&self) -> Option<Limbs> {
        let inverse = (self.z != ZERO).then(|| FIELD.invert(&self.z))?;
        Some(FIELD.leave(&FIELD.multiply(&self.x, &FIELD.multiply(&inverse, &inverse))))
    }
}

fn twice(value: &Limbs) -> Limbs {
    FIELD.add(value, value)
}

/// Whether (r, s), big-endian, is the key's signature of a hash; the key is an uncompressed point.
pub(super) fn verify(key: &[u8], hash: &[u8], r: &[u8], s: &[u8]) -> bool {
    verified(key, hash, r, s).unwrap_or(false)
}

fn verified(key: &[u8], hash: &[u8], r: &[u8], s: &[u8]) -> Option<bool> {
    let n = ORDER;
    let key = Point::read(key)?;
    let (r, s) = (n.read(r)?, n.read(s)?);
    if r == ZERO || s == ZERO {
        return Some(false);
    }
    // The leftmost 224 bits; every hash that is used has as many.
    let hash = limbs(hash.get(..LENGTH)?)?;
    let inverse = n.invert(&n.enter(&s));
    // One factor in Montgomery form, the other not: the product is not.
    let (u1, u2) = (n.multiply(&inverse, &hash), n.multiply(&inverse, &r));
    let base = Point::new(&BASE_X, &BASE_Y)?;
    let both = base.add(&key);
    let mut sum = Point::INFINITY;
    for at in (0..8 * LENGTH).rev() {
        sum = sum.double();
        match (bit(&u1, at), bit(&u2, at)) {
            (true, true) => sum = sum.add(&both),
            (true, false) => sum = sum.add(&base),
            (false, true) => sum = sum.add(&key),
            (false, false) => {}
        }
    }
    let x = sum.x()?;
    let reduced = if compare(&x, &n.value).is_lt() { x } else { subtract_borrowing(&x, &n.value).0 };
    Some(reduced == r)
}

/// A number of at most 256 bits.
fn limbs(bytes: &[u8]) -> Option<Limbs> {
    let first = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len());
    let significant = &bytes[first..];
    let mut limbs = ZERO;
    for (at, &byte) in significant.iter().rev().enumerate() {
        *limbs.get_mut(at / 8)? |= u64::from(byte) << (8 * (at % 8));
    }
    Some(limbs)
}

fn bit(value: &Limbs, at: usize) -> bool {
    value[at / 64] >> (at % 64) & 1 == 1
}

fn compare(a: &Limbs, b: &Limbs) -> Ordering {
    a.iter().rev().cmp(b.iter().rev())
}

fn add_carrying(a: &Limbs, b: &Limbs) -> (Limbs, bool) {
    let (mut sum, mut carry) = (ZERO, false);
    for at in 0..4 {
        let (partial, first) = a[at].overflowing_add(b[at]);
        let (total, second) = partial.overflowing_add(u64::from(carry));
        (sum[at], carry) = (total, first || second);
    }
    (sum, carry)
}

fn subtract_borrowing(a: &Limbs, b: &Limbs) -> (Limbs, bool) {
    let (mut difference, mut borrow) = (ZERO, false);
    for at in 0..4 {
        let (partial, first) = a[at].overflowing_sub(b[at]);
        let (total, second) = partial.overflowing_sub(u64::from(borrow));
        (difference[at], borrow) = (total, first || second);
    }
    (difference, borrow)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};

    use super::super::two_integers;
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn t3_signatures_on_p_224_are_verified_as_go_verifies_them() {
        let key = hex(KEY);
        for (signature, algorithm) in SIGNATURES.into_iter().zip([&SHA256, &SHA384, &SHA512]) {
            let signature = hex(signature);
            let hash = digest(algorithm, b"mirrorgate");
            let (r, s) = two_integers(&signature).unwrap();
            assert!(verify(&key, hash.as_ref(), r, s));
            assert!(!verify(&key, digest(algorithm, b"mirrorgat").as_ref(), r, s));
            assert!(!verify(&key, hash.as_ref(), s, r));
            assert!(!verify(&key, hash.as_ref(), &[0], s) && !verify(&key, hash.as_ref(), r, &[0]));
            let mut other = key.clone();
            other[1] ^= 1;
            assert!(!verify(&other, hash.as_ref(), r, s), "no point of the curve");
            let base = [&[4], &bytes(&BASE_X)[..], &bytes(&BASE_Y)].concat();
            assert!(!verify(&base, hash.as_ref(), r, s), "another key");
            // The order is zero, and -s is as good as s.
            let order = bytes(&ORDER.value);
            assert!(!verify(&key, hash.as_ref(), &order, s) && !verify(&key, hash.as_ref(), r, &order));
            let negative = bytes(&ORDER.subtract(&ZERO, &ORDER.read(s).unwrap()));
            assert!(verify(&key, hash.as_ref(), r, &negative));
        }
    }

    fn bytes(number: &Limbs) -> Vec<u8> {
        number.iter().rev().flat_map(|limb| limb.to_be_bytes()).skip(4).collect()
    }

    #[test]
    fn t3_points_of_p_224_add_up() {
        let base = Point::new(&BASE_X, &BASE_Y).unwrap();
        let mut sum = Point::INFINITY;
        for at in (0..8 * LENGTH).rev() {
            sum = sum.double();
            if bit(&ORDER.value, at) {
                sum = sum.add(&base);
            }
        }
        assert_eq!(sum.x(), None, "the order times the base is infinity");
        assert_eq!(base.add(&base).x(), base.double().x());
        assert_eq!(base.double().add(&base).x(), base.add(&base.double()).x());
        assert_eq!(base.add(&Point::INFINITY).x(), Some(BASE_X));
    }

    /// Made by Go.
    const KEY: &str = "044cd36365a5f1f8f2564eece7d59be14beec5a9facc2ac46238c9542a37e10ac9ead460026e2a8e274ac3f2c8e7f09cb39052b03e106b0bdf";
    const SIGNATURES: [&str; 3] = [
        "303d021c787a7a6d2501c7590fa0fc91c596214d9ad45e2a0ec274f46b66c771021d00b5e1b3fc9f1027be75ab692ce2\
         a15b5a0515052c1ba4595867275d96",
        "303d021c76f29e571af5e3cd393b6f4734062b9d1f00669b820ac7ae0238e2e4021d00921528de749bbc4e8592752f50\
         1c3ed78530f4052affe3e78ffaec8d",
        "303e021d0097b6876894f9d31d3d53d62ea9aa10179e02b16f5270030042a0b9f4021d00aca216594759a041f411ee56\
         77808e6118101af5d694056669211ae7",
    ];
}
