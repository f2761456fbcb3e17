//! Whether a point lies on one of the curves that Go knows: it parses no certificate whose key does not.
//!
//! In the open and not constant in time, which public keys do not ask for; P-224 is among the curves, which the provider
//! of signatures lacks.

/// A curve y² = x³ - 3x + b over a prime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// secp224r1
    P224,
    /// secp256r1
    P256,
    /// secp384r1
    P384,
    /// secp521r1
    P521,
}

impl Curve {
    pub(super) fn from_oid(oid: &[u8]) -> Option<Self> {
        match oid {
            [0x2b, 0x81, 0x04, 0x00, 0x21] => Some(Self::P224),
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07] => Some(Self::P256),
            [0x2b, 0x81, 0x04, 0x00, 0x22] => Some(Self::P384),
            [0x2b, 0x81, 0x04, 0x00, 0x23] => Some(Self::P521),
            _ => None,
        }
    }

    /// An uncompressed point, `04 x y`.
    pub(super) fn has(self, point: &[u8]) -> bool {
        match self {
            Self::P224 => is_on(P224_PRIME, P224_B, 28, point),
            Self::P256 => is_on(P256_PRIME, P256_B, 32, point),
            Self::P384 => is_on(P384_PRIME, P384_B, 48, point),
            Self::P521 => is_on(P521_PRIME, P521_B, 66, point),
        }
    }
}

/// A number, its lowest 64 bits first; one bit at least is over, for the sum of two.
type Number<const N: usize> = [u64; N];

const ONES: u64 = u64::MAX;
const P224_PRIME: Number<4> = [1, 0xffff_ffff_0000_0000, ONES, 0xffff_ffff];
const P224_B: Number<4> = [0x270b_3943_2355_ffb4, 0x5044_b0b7_d7bf_d8ba, 0x0c04_b3ab_f541_3256, 0xb405_0a85];
const P256_PRIME: Number<5> = [ONES, 0xffff_ffff, 0, 0xffff_ffff_0000_0001, 0];
const P256_B: Number<5> =
    [0x3bce_3c3e_27d2_604b, 0x651d_06b0_cc53_b0f6, 0xb3eb_bd55_7698_86bc, 0x5ac6_35d8_aa3a_93e7, 0];
const P384_PRIME: Number<7> = [0xffff_ffff, 0xffff_ffff_0000_0000, ONES - 1, ONES, ONES, ONES, 0];
const P384_B: Number<7> = [
    0x2a85_c8ed_d3ec_2aef,
    0xc656_398d_8a2e_d19d,
    0x0314_088f_5013_875a,
    0x181d_9c6e_fe81_4112,
    0x988e_056b_e3f8_2d19,
    0xb331_2fa7_e23e_e7e4,
    0,
];
const P521_PRIME: Number<9> = [ONES, ONES, ONES, ONES, ONES, ONES, ONES, ONES, 0x1ff];
const P521_B: Number<9> = [
    0xef45_1fd4_6b50_3f00,
    0x3573_df88_3d2c_34f1,
    0x1652_c0bd_3bb1_bf07,
    0x5619_3951_ec7e_937b,
    0xb8b4_8991_8ef1_09e1,
    0xa2da_725b_99b3_15f3,
    0x929a_21a0_b685_40ee,
    0x953e_b961_8e1c_9a1f,
    0x51,
];

fn is_on<const N: usize>(prime: Number<N>, b: Number<N>, length: usize, point: &[u8]) -> bool {
    let Some((&4, coordinates)) = point.split_first() else { return false };
    if coordinates.len() != 2 * length {
        return false;
    }
    let (x, y) = coordinates.split_at(length);
    let (x, y): (Number<N>, Number<N>) = (number(x), number(y));
    if !is_less(&x, &prime) || !is_less(&y, &prime) {
        return false;
    }
    let add = |one: &Number<N>, other: &Number<N>| sum(one, other, &prime);
    let cube = product(&product(&x, &x, &prime), &x, &prime);
    // y² + 3x = x³ + b needs no subtraction.
    add(&product(&y, &y, &prime), &add(&add(&x, &x), &x)) == add(&cube, &b)
}

/// Of big-endian bytes.
fn number<const N: usize>(bytes: &[u8]) -> Number<N> {
    let mut number = [0; N];
    for (place, byte) in bytes.iter().rev().enumerate() {
        number[place / 8] |= u64::from(*byte) << (place % 8 * 8);
    }
    number
}

fn is_less<const N: usize>(one: &Number<N>, other: &Number<N>) -> bool {
    one.iter().rev().lt(other.iter().rev())
}

/// Of two numbers below the prime, modulo it.
fn sum<const N: usize>(one: &Number<N>, other: &Number<N>, prime: &Number<N>) -> Number<N> {
    let (mut sum, mut carry) = ([0; N], false);
    for place in 0..N {
        let (partial, over) = one[place].overflowing_add(other[place]);
        let (partial, more) = partial.overflowing_add(u64::from(carry));
        (sum[place], carry) = (partial, over || more);
    }
    if is_less(&sum, prime) {
        return sum;
    }
    let mut borrow = false;
    for place in 0..N {
        let (partial, under) = sum[place].overflowing_sub(prime[place]);
        let (partial, more) = partial.overflowing_sub(u64::from(borrow));
        (sum[place], borrow) = (partial, under || more);
    }
    sum
}

/// Of two numbers below the prime, modulo it, bit by bit: a key is looked at once.
fn product<const N: usize>(one: &Number<N>, other: &Number<N>, prime: &Number<N>) -> Number<N> {
    let mut product = [0; N];
    for bit in (0..64 * N).rev() {
        product = sum(&product, &product, prime);
        if one[bit / 64] >> (bit % 64) & 1 == 1 {
            product = sum(&product, other, prime);
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generator(curve: Curve) -> Vec<u8> {
        let hex = match curve {
            Curve::P224 => {
                "b70e0cbd6bb4bf7f321390b94a03c1d356c21122343280d6115c1d21bd376388b5f723fb4c22dfe6cd4375a05a07476444d5819985007e34"
            }
            Curve::P256 => {
                "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
            }
            Curve::P384 => {
                "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab73617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f"
            }
            Curve::P521 => {
                "00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650"
            }
        };
        let digits = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        std::iter::once(4).chain(digits).collect()
    }

    #[test]
    fn t3_a_key_is_a_point_of_its_curve() {
        for curve in [Curve::P224, Curve::P256, Curve::P384, Curve::P521] {
            let point = generator(curve);
            assert!(curve.has(&point), "{curve:?}");
            for at in 0..point.len() {
                let mut other = point.clone();
                other[at] ^= 1;
                assert!(!curve.has(&other), "{curve:?} with byte {at} changed");
            }
            assert!(!curve.has(&point[..point.len() - 1]) && !curve.has(&[]));
            let mut beyond = point.clone();
            beyond[1..].fill(0xff);
            assert!(!curve.has(&beyond));
        }
    }
}
