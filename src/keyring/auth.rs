//! The field `auth` of an entry: base64 of `user:password`. Only whether it is that; the decoded bytes are kept nowhere.

/// Whether Go's `encoding/base64` decodes the text, padded or not, with a colon in it.
pub(super) fn is_pair(text: &[u8]) -> bool {
    let (mut digits, mut padding, mut bits, mut has_colon) = (0_usize, 0_usize, 0_u32, false);
    // Go passes over line ends wherever they stand.
    for &byte in text.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')) {
        if byte == b'=' {
            padding += 1;
            continue;
        }
        let Some(digit) = digit(byte).filter(|_| padding == 0) else { return false };
        bits = bits << 6 | digit;
        digits += 1;
        // Bits that are left over at the end may be anything.
        has_colon |= match digits % 4 {
            0 => bits as u8 == b':',
            1 => false,
            2 => (bits >> 4) as u8 == b':',
            _ => (bits >> 2) as u8 == b':',
        };
    }
    let is_whole = match padding {
        0 => digits % 4 != 1,
        1 | 2 => (digits + padding).is_multiple_of(4),
        _ => false,
    };
    is_whole && has_colon
}

fn digit(byte: u8) -> Option<u32> {
    Some(match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}
