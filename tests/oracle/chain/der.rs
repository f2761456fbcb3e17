//! Certificates written field by field, so that each can be wrong.

pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const OCTET_STRING: u8 = 0x04;

pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match content.len() {
        length @ 0..0x80 => der.push(length as u8),
        length @ 0x80..0x100 => der.extend([0x81, length as u8]),
        length @ 0x100..0x1_0000 => der.extend([0x82, (length >> 8) as u8, length as u8]),
        length => der.extend([0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8]),
    }
    der.extend_from_slice(content);
    der
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

/// From its numbers.
pub(crate) fn oid(numbers: &[u64]) -> Vec<u8> {
    let mut content = Vec::new();
    for number in std::iter::once(numbers[0] * 40 + numbers[1]).chain(numbers[2..].iter().copied()) {
        let mut digits = vec![(number & 0x7f) as u8];
        let mut rest = number >> 7;
        while rest > 0 {
            digits.insert(0, 0x80 | (rest & 0x7f) as u8);
            rest >>= 7;
        }
        content.extend(digits);
    }
    tlv(0x06, &content)
}

/// Not negative, or the bytes that a negative one has.
pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    tlv(0x02, bytes)
}

pub(crate) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], bytes].concat())
}

/// One attribute a part: its OID's last number (2.5.4.x), the string's tag, its text.
pub(crate) fn name(parts: &[(u64, u8, &str)]) -> Vec<u8> {
    let attribute = |&(kind, tag, text): &(u64, u8, &str)| {
        tlv(0x31, &sequence(&[&oid(&[2, 5, 4, kind]), &tlv(tag, text.as_bytes())]))
    };
    tlv(SEQUENCE, &parts.iter().flat_map(attribute).collect::<Vec<u8>>())
}

/// A GeneralizedTime, or a UTCTime where that can be.
pub(crate) fn time(at: i64, generalized: bool) -> Vec<u8> {
    let at = jiff::Timestamp::from_second(at).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
    if generalized || !(1950..2050).contains(&at.year()) {
        tlv(0x18, at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
    } else {
        tlv(0x17, at.strftime("%y%m%d%H%M%SZ").to_string().as_bytes())
    }
}

/// `2.5.29.number`, or one of the world's own.
#[derive(Clone)]
pub(crate) struct Extension {
    pub(crate) oid: Vec<u8>,
    pub(crate) critical: bool,
    pub(crate) value: Vec<u8>,
}

impl Extension {
    pub(crate) fn new(number: u64, critical: bool, value: Vec<u8>) -> Self {
        Self { oid: oid(&[2, 5, 29, number]), critical, value }
    }

    pub(crate) fn number(&self) -> Option<u8> {
        match self.oid[..] {
            [6, 3, 0x55, 0x1d, number] => Some(number),
            _ => None,
        }
    }

    fn der(&self) -> Vec<u8> {
        let critical = if self.critical { tlv(0x01, &[0xff]) } else { Vec::new() };
        sequence(&[&self.oid, &critical, &tlv(OCTET_STRING, &self.value)])
    }
}

/// All fields of a certificate but its signature.
#[derive(Clone)]
pub(crate) struct Fields {
    /// As it stands: 2 is version 3.
    pub(crate) version: Option<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) algorithm: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) generalized: bool,
    pub(crate) subject: Vec<u8>,
    pub(crate) spki: Vec<u8>,
    pub(crate) unique_ids: bool,
    pub(crate) extensions: Vec<Extension>,
}

impl Fields {
    pub(crate) fn tbs(&self) -> Vec<u8> {
        let version = self.version.map_or_else(Vec::new, |version| tlv(0xa0, &integer(&[version])));
        let validity = sequence(&[&time(self.not_before, self.generalized), &time(self.not_after, self.generalized)]);
        let unique_ids = if self.unique_ids { [tlv(0x81, &[0, 1]), tlv(0x82, &[0, 2])].concat() } else { Vec::new() };
        let extensions = if self.extensions.is_empty() {
            Vec::new()
        } else {
            let all: Vec<u8> = self.extensions.iter().flat_map(Extension::der).collect();
            tlv(0xa3, &tlv(SEQUENCE, &all))
        };
        sequence(&[
            &version,
            &integer(&self.serial),
            &self.algorithm,
            &self.issuer,
            &validity,
            &self.subject,
            &self.spki,
            &unique_ids,
            &extensions,
        ])
    }
}
