//! Distinguished names: which of them Go reads, and how it shows them.

use std::fmt::Write as _;

use super::der::{
    BMP_STRING, Der, IA5_STRING, NUMERIC_STRING, Oid, PRINTABLE_STRING, SEQUENCE, SET, T61_STRING, UTF8_STRING,
};

/// What goes before an attribute's value, in the order in which Go shows them.
const SHOWN: [(u8, &str); 9] = [
    (5, "SERIALNUMBER"),
    (3, "CN"),
    (11, "OU"),
    (10, "O"),
    (17, "POSTALCODE"),
    (9, "STREET"),
    (7, "L"),
    (8, "ST"),
    (6, "C"),
];

/// Whether Go reads the name, a whole SEQUENCE.
pub(super) fn is_valid(name: Der<'_>) -> bool {
    attributes(name).is_some()
}

/// The name as Go's `pkix.Name` writes itself; `None` where Go does not read it.
pub(super) fn shown(name: &[u8]) -> Option<String> {
    let attributes = attributes(Der::new(name))?;
    let mut parts: Vec<String> = Vec::new();
    for (number, label) in SHOWN {
        let mut values: Vec<&str> =
            attributes.iter().filter(|(oid, _)| oid.0 == [0x55, 4, number]).map(|(_, value)| value.as_str()).collect();
        // One common name and one serial number: the last, unless it is empty.
        if matches!(number, 3 | 5) {
            values.drain(..values.len().saturating_sub(1));
            values.retain(|value| !value.is_empty());
        }
        if !values.is_empty() {
            let values: Vec<String> = values.iter().map(|value| format!("{label}={}", escaped(value))).collect();
            parts.push(values.join("+"));
        }
    }
    let others = attributes.iter().filter(|(oid, _)| !SHOWN.iter().any(|(number, _)| oid.0 == [0x55, 4, *number]));
    parts.extend(others.rev().map(|(oid, value)| format!("{oid}=#{}", hex_of_der(value))));
    Some(parts.join(","))
}

fn attributes(mut name: Der<'_>) -> Option<Vec<(Oid<'_>, String)>> {
    let mut name = name.read(SEQUENCE)?;
    let mut attributes = Vec::new();
    while !name.is_empty() {
        let mut set = name.read(SET)?;
        while !set.is_empty() {
            let mut attribute = set.read(SEQUENCE)?;
            let oid = attribute.oid()?;
            let (tag, value) = attribute.any()?;
            attributes.push((oid, text(tag, value.bytes())?));
        }
    }
    Some(attributes)
}

fn text(tag: u8, value: &[u8]) -> Option<String> {
    let ascii_where = |is_allowed: fn(&u8) -> bool| {
        value.iter().all(is_allowed).then(|| value.iter().map(|&byte| char::from(byte)).collect())
    };
    match tag {
        // As Latin-1, as everybody does.
        T61_STRING => Some(value.iter().map(|&byte| char::from(byte)).collect()),
        PRINTABLE_STRING => ascii_where(|&byte| is_printable(byte) || matches!(byte, b'*' | b'&')),
        UTF8_STRING => str::from_utf8(value).ok().map(str::to_owned),
        BMP_STRING => two_byte_text(value),
        IA5_STRING => ascii_where(u8::is_ascii),
        NUMERIC_STRING => ascii_where(|&byte| byte.is_ascii_digit() || byte == b' '),
        _ => None,
    }
}

fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'\''..=b')' | b'+'..=b'/' | b' ' | b':' | b'=' | b'?')
}

/// UCS-2 without what UTF-16 keeps for itself; a zero at the end is dropped.
fn two_byte_text(value: &[u8]) -> Option<String> {
    let (pairs, []) = value.as_chunks::<2>() else { return None };
    let pairs = pairs.strip_suffix(&[[0, 0]]).unwrap_or(pairs);
    let character = |pair: &[u8; 2]| match u16::from_be_bytes(*pair) {
        0xfffe | 0xffff | 0xfdd0..=0xfdef => None,
        point => char::from_u32(u32::from(point)),
    };
    pairs.iter().map(character).collect()
}

fn escaped(value: &str) -> String {
    let mut shown = String::with_capacity(value.len());
    for (at, character) in value.char_indices() {
        let is_special = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => at == 0 || at == value.len() - 1,
            '#' => at == 0,
            _ => false,
        };
        if is_special {
            shown.push('\\');
        }
        shown.push(character);
    }
    shown
}

/// The value as DER, whatever string it was: a PrintableString if it can be one, else UTF-8.
fn hex_of_der(value: &str) -> String {
    let tag = if value.bytes().all(is_printable) { PRINTABLE_STRING } else { UTF8_STRING };
    let mut hex = format!("{tag:02x}");
    let length = value.len().to_be_bytes();
    let digits = &length[length.iter().take_while(|&&digit| digit == 0).count()..];
    let _ = match value.len() {
        0..=0x7f => write!(hex, "{:02x}", value.len()),
        _ => write!(hex, "{:02x}", 0x80 | digits.len())
            .and_then(|()| digits.iter().try_for_each(|digit| write!(hex, "{digit:02x}"))),
    };
    for byte in value.bytes() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
