//! Bytes that mean something in JSON, found 16 at a time by vector instructions, and remembered as bits.

use wide::u8x16;

/// The bytes of one block: as many as a mask has bits.
pub(super) const BLOCK: usize = 64;

const CHUNK: usize = 16;

/// What is where in 64 bytes of a text; bit 0 is for the first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    /// `"` that begin or end a string.
    pub(super) quotes: u64,
    pub(super) backslashes: u64,
    /// `{` and `[`, also in strings.
    pub(super) opens: u64,
    /// `}` and `]`, also in strings.
    pub(super) closes: u64,
    /// Bytes below 0x20, also outside of strings, where some are blanks.
    pub(super) controls: u64,
    /// Whether the last byte is a backslash that escapes the first of the next block.
    escapes_next: bool,
}

impl Block {
    /// The block that begins at `start`, the first byte of which is `escaped` by the one before. What is beyond the text is
    /// blank.
    pub(super) fn new(text: &[u8], start: usize, escaped: bool) -> Self {
        let rest = text.get(start..).unwrap_or_default();
        match rest.first_chunk::<BLOCK>() {
            Some(bytes) => Self::of(bytes, escaped),
            None => {
                let mut bytes = [b' '; BLOCK];
                bytes[..rest.len()].copy_from_slice(rest);
                Self::of(&bytes, escaped)
            }
        }
    }

    /// Whether the first byte of the next block is escaped.
    pub(super) fn escapes_next(&self) -> bool {
        self.escapes_next
    }

    #[inline]
    fn of(bytes: &[u8; BLOCK], first_is_escaped: bool) -> Self {
        let mut block = Self::default();
        let (chunks, _) = bytes.as_chunks::<CHUNK>();
        let mut special = u8x16::splat(0);
        for (number, chunk) in chunks.iter().enumerate() {
            let bytes = u8x16::from(*chunk);
            let mask = |found: u8x16| u64::from(found.to_bitmask()) << (number * CHUNK);
            // `{` and `[`, and `}` and `]`, differ in this bit alone, and no other byte becomes one of them.
            let brackets = bytes | u8x16::splat(0x20);
            block.quotes |= mask(bytes.simd_eq(u8x16::splat(b'"')));
            block.opens |= mask(brackets.simd_eq(u8x16::splat(b'{')));
            block.closes |= mask(brackets.simd_eq(u8x16::splat(b'}')));
            special |= backslashes(bytes) | controls(bytes);
        }
        if special.to_bitmask() != 0 || first_is_escaped {
            block.look_for_special(bytes, first_is_escaped);
        }
        block
    }

    /// Most blocks of what an API server writes have no backslash and no control character.
    #[cold]
    fn look_for_special(&mut self, bytes: &[u8; BLOCK], first_is_escaped: bool) {
        let (chunks, _) = bytes.as_chunks::<CHUNK>();
        for (number, chunk) in chunks.iter().enumerate() {
            let bytes = u8x16::from(*chunk);
            self.backslashes |= u64::from(backslashes(bytes).to_bitmask()) << (number * CHUNK);
            self.controls |= u64::from(controls(bytes).to_bitmask()) << (number * CHUNK);
        }
        let escaped = self.escape(first_is_escaped);
        self.quotes &= !escaped;
    }

    /// Which bytes stand behind a backslash that escapes them.
    fn escape(&mut self, first_is_escaped: bool) -> u64 {
        let mut escaped = u64::from(first_is_escaped);
        let mut backslashes = self.backslashes & !escaped;
        while backslashes != 0 {
            let first = backslashes & backslashes.wrapping_neg();
            let next = first << 1;
            escaped |= next;
            backslashes &= !(first | next);
            self.escapes_next = next == 0;
        }
        escaped
    }

    /// Which bytes are in strings, an opening quote among them and a closing one not, of the bytes of `range`, which
    /// begins outside of a string, or within one if `in_string`.
    pub(super) fn in_strings(&self, range: u64, in_string: bool) -> u64 {
        // Bit n becomes the exclusive or of the bits up to n.
        let mut inside = self.quotes & range;
        for shift in [1, 2, 4, 8, 16, 32] {
            inside ^= inside << shift;
        }
        if in_string { !inside } else { inside }
    }
}

fn backslashes(bytes: u8x16) -> u8x16 {
    bytes.simd_eq(u8x16::splat(b'\\'))
}

fn controls(bytes: u8x16) -> u8x16 {
    let most = u8x16::splat(0x1f);
    bytes.min(most).simd_eq(bytes)
}

/// The place, from `at` on, of the first byte that cannot stand in a JSON string as it is: `"`, `\` or a control
/// character; the length of `bytes` where there is none.
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        let rest = &bytes[at..];
        let chunk = rest.first_chunk::<CHUNK>().copied().unwrap_or_else(|| {
            let mut chunk = [b' '; CHUNK];
            chunk[..rest.len()].copy_from_slice(rest);
            chunk
        });
        let chunk = u8x16::from(chunk);
        let special = chunk.simd_eq(u8x16::splat(b'"')) | backslashes(chunk) | controls(chunk);
        match special.to_bitmask() {
            0 => at += CHUNK,
            mask => return at + mask.trailing_zeros() as usize,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(bytes: &[u8], is: impl Fn(u8) -> bool) -> u64 {
        bytes.iter().enumerate().fold(0, |bits, (at, &byte)| bits | u64::from(is(byte)) << at)
    }

    #[test]
    fn every_byte_at_every_place_is_what_it_is() {
        for place in 0..BLOCK {
            for byte in 0..=u8::MAX {
                let mut bytes = [b'a'; BLOCK];
                bytes[place] = byte;
                let block = Block::of(&bytes, false);
                assert_eq!(block.quotes, bits(&bytes, |byte| byte == b'"'));
                assert_eq!(block.backslashes, bits(&bytes, |byte| byte == b'\\'));
                assert_eq!(block.opens, bits(&bytes, |byte| matches!(byte, b'{' | b'[')), "{byte}");
                assert_eq!(block.closes, bits(&bytes, |byte| matches!(byte, b'}' | b']')), "{byte}");
                assert_eq!(block.controls, bits(&bytes, |byte| byte < 0x20), "{byte}");
                let plain = byte >= 0x20 && byte != b'"' && byte != b'\\';
                for length in [place + 1, BLOCK] {
                    assert_eq!(plain_end(&bytes[..length], 0), if plain { length } else { place });
                    assert_eq!(plain_end(&bytes[..length], place + 1), length);
                }
            }
        }
    }

    #[test]
    fn escaped_quotes_are_none_also_across_blocks() {
        for lead in 56..72 {
            for backslashes in 0..12 {
                let text = format!("{}{}\"{}", "a".repeat(lead), "\\".repeat(backslashes), "b".repeat(80));
                let mut block = Block::default();
                let mut quotes = Vec::new();
                for start in (0..text.len()).step_by(BLOCK) {
                    block = Block::new(text.as_bytes(), start, block.escapes_next());
                    quotes.extend((0..BLOCK).filter(|bit| block.quotes >> bit & 1 == 1).map(|bit| start + bit));
                }
                let expected = if backslashes % 2 == 0 { vec![lead + backslashes] } else { vec![] };
                assert_eq!(quotes, expected, "{text}");
            }
        }
    }

    #[test]
    fn what_is_in_strings() {
        let text = br#"{"a":[1,"b"],"c\"}":2}"#;
        let block = Block::new(text, 0, false);
        let inside = block.in_strings(u64::MAX, false);
        let outside: String =
            text.iter().enumerate().filter(|(at, _)| inside >> at & 1 == 0).map(|(_, &b)| char::from(b)).collect();
        assert_eq!(outside, r#"{":[1,"],":2}"#);
        assert_eq!(block.in_strings(u64::MAX, true), !inside);
    }
}
