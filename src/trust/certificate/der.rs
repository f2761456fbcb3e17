//! DER as Go's `cryptobyte` reads it: one-byte tags, definite lengths in their shortest form, values in place.

use std::fmt;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const NUMERIC_STRING: u8 = 0x12;
pub(super) const PRINTABLE_STRING: u8 = 0x13;
pub(super) const T61_STRING: u8 = 0x14;
pub(super) const IA5_STRING: u8 = 0x16;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const BMP_STRING: u8 = 0x1e;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// A tag of the context, of a value that holds no other.
pub(super) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// A tag of the context, around other values.
pub(super) const fn explicit(number: u8) -> u8 {
    0xa0 | number
}

/// Bytes of a certificate that are still to be read, and where in it they stand.
///
/// A read that fails may leave the reader anywhere: whoever meets one gives up.
#[derive(Clone, Copy)]
pub(super) struct Der<'a> {
    rest: &'a [u8],
    at: usize,
}

/// A part of a certificate, by its place in the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(super) fn of(self, der: &[u8]) -> &[u8] {
        der.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

impl<'a> Der<'a> {
    pub(super) fn new(der: &'a [u8]) -> Self {
        Self { rest: der, at: 0 }
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.rest
    }

    /// Lengths are four bytes at most, so that every place in a value fits.
    pub(super) fn span(self) -> Span {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { start: place(self.at), end: place(self.at + self.rest.len()) }
    }

    pub(super) fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn is_next(self, tag: u8) -> bool {
        self.rest.first() == Some(&tag)
    }

    /// The tag and the content of the next value.
    pub(super) fn any(&mut self) -> Option<(u8, Self)> {
        let (tag, element, header) = self.next()?;
        Some((tag, Self { rest: &element.rest[header..], at: element.at + header }))
    }

    /// The next value with its tag and length.
    pub(super) fn any_element(&mut self) -> Option<Self> {
        self.next().map(|(_, element, _)| element)
    }

    /// The content of the next value, which has this tag.
    pub(super) fn read(&mut self, tag: u8) -> Option<Self> {
        self.any().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    /// The next value with its tag and length; it has this tag.
    pub(super) fn element(&mut self, tag: u8) -> Option<Self> {
        self.next().filter(|(found, ..)| *found == tag).map(|(_, element, _)| element)
    }

    /// The content of the next value if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Option<Self>> {
        if self.is_next(tag) { self.read(tag).map(Some) } else { Some(None) }
    }

    pub(super) fn boolean(&mut self) -> Option<bool> {
        match self.read(BOOLEAN)?.rest {
            [0] => Some(false),
            [0xff] => Some(true),
            _ => None,
        }
    }

    /// The two's complement of an integer, as short as it can be.
    pub(super) fn integer(&mut self, tag: u8) -> Option<Self> {
        let number = self.read(tag)?;
        match number.rest {
            [] => None,
            [0, next, ..] if next & 0x80 == 0 => None,
            [0xff, next, ..] if next & 0x80 != 0 => None,
            _ => Some(number),
        }
    }

    pub(super) fn signed(&mut self, tag: u8) -> Option<i64> {
        let bytes = self.integer(tag)?.rest;
        let start = if bytes.first()? & 0x80 == 0 { 0 } else { -1 };
        (bytes.len() <= 8).then(|| bytes.iter().fold(start, |number, &byte| (number << 8) | i64::from(byte)))
    }

    /// The magnitude of an integer that is more than zero.
    pub(super) fn positive(&mut self) -> Option<Option<&'a [u8]>> {
        let bytes = self.integer(INTEGER)?.rest;
        Some(match bytes {
            [0] => None,
            [0, magnitude @ ..] => Some(magnitude),
            [first, ..] if first & 0x80 != 0 => None,
            _ => Some(bytes),
        })
    }

    pub(super) fn oid(&mut self) -> Option<Oid<'a>> {
        let content = self.read(OBJECT_IDENTIFIER)?;
        Oid::new(content.rest)
    }

    pub(super) fn bit_string(&mut self) -> Option<BitString<'a>> {
        let content = self.read(BIT_STRING)?;
        let (&unused, bytes) = content.rest.split_first()?;
        let padding_is_zero = |last: &u8| last & ((1_u16 << unused) - 1) as u8 == 0;
        let is_valid = unused <= 7 && bytes.last().map_or(unused == 0, padding_is_zero);
        is_valid.then_some(BitString { bytes, unused })
    }

    /// Where the bytes of a bit string stand, and how many of its last bits are unused.
    pub(super) fn bit_string_place(&mut self) -> Option<(Span, u8)> {
        let mut copy = *self;
        let unused = self.bit_string()?.unused;
        let content = copy.read(BIT_STRING)?;
        Some((Self { rest: content.rest.get(1..)?, at: content.at + 1 }.span(), unused))
    }

    fn next(&mut self) -> Option<(u8, Self, usize)> {
        let (&tag, &first) = (self.rest.first()?, self.rest.get(1)?);
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (header, length) = if first & 0x80 == 0 {
            (2, usize::from(first))
        } else {
            let count = usize::from(first & 0x7f);
            let digits = self.rest.get(2..2 + count).filter(|digits| (1..=4).contains(&digits.len()))?;
            let length = digits.iter().fold(0, |length: u64, &digit| (length << 8) | u64::from(digit));
            if length < 0x80 || digits[0] == 0 || length + 2 + count as u64 > u64::from(u32::MAX) {
                return None;
            }
            (2 + count, usize::try_from(length).ok()?)
        };
        let (element, rest) = self.rest.split_at_checked(header + length)?;
        let element = Self { rest: element, at: self.at };
        *self = Self { rest, at: self.at + header + length };
        Some((tag, element, header))
    }
}

/// Bits, the last of them unused.
pub(super) struct BitString<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) unused: u8,
}

impl BitString<'_> {
    /// The first bit is the highest of the first byte.
    pub(super) fn bit(&self, number: usize) -> bool {
        self.bytes.get(number / 8).is_some_and(|byte| byte >> (7 - number % 8) & 1 == 1)
    }

    /// The bits as a number: the unused ones are moved out at the end.
    pub(super) fn right_aligned(&self) -> Vec<u8> {
        let mut before = 0;
        let shift = |&byte: &u8| {
            let both = u16::from(before) << 8 | u16::from(byte);
            before = byte;
            (both >> self.unused) as u8
        };
        self.bytes.iter().map(shift).collect()
    }
}

/// An object identifier, by the bytes of its content: equal bytes are equal identifiers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid<'a>(pub(super) &'a [u8]);

impl<'a> Oid<'a> {
    /// The policy that stands for any: 2.5.29.32.0.
    pub(crate) const ANY_POLICY: Oid<'static> = Oid(&[0x55, 0x1d, 0x20, 0]);

    pub(crate) fn is_any_policy(&self) -> bool {
        *self == Self::ANY_POLICY
    }

    /// Every component in its shortest form and below 2^31.
    fn new(content: &'a [u8]) -> Option<Self> {
        let is_valid = !content.is_empty()
            && Self::components_of(content).all(|component| {
                component.is_some_and(|digits| {
                    digits[0] != 0x80 && (digits.len() < 5 || digits.len() == 5 && digits[0] < 0x88)
                })
            });
        is_valid.then_some(Self(content))
    }

    /// The bytes of its content.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// As [`Self::new`], with components of any size: policies are never turned into numbers.
    pub(super) fn unbounded(content: &'a [u8]) -> Option<Self> {
        let is_valid = !content.is_empty()
            && Self::components_of(content).all(|component| component.is_some_and(|digits| digits[0] != 0x80));
        is_valid.then_some(Self(content))
    }

    /// The digits to base 128 of each component; the first holds two numbers. `None` where one has no end.
    fn components_of(content: &'a [u8]) -> impl Iterator<Item = Option<&'a [u8]>> {
        content.split_inclusive(|byte| byte & 0x80 == 0).map(|digits| {
            let has_end = digits.last().is_some_and(|byte| byte & 0x80 == 0);
            has_end.then_some(digits)
        })
    }
}

/// Numbers with dots. One that is too large to be shown, which only a policy's can be, is `?`.
impl fmt::Display for Oid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, digits) in Self::components_of(self.0).flatten().enumerate() {
            let number = (digits.len() <= 9)
                .then(|| digits.iter().fold(0, |number: u64, digit| number << 7 | u64::from(digit & 0x7f)));
            match (index, number) {
                (0, Some(both)) if both < 80 => write!(f, "{}.{}", both / 40, both % 40)?,
                (0, Some(both)) => write!(f, "2.{}", both - 80)?,
                (_, Some(number)) => write!(f, ".{number}")?,
                (0, None) => f.write_str("2.?")?,
                (_, None) => f.write_str(".?")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Oid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
