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
    /// The first block of a text.
    pub(super) fn first(text: &[u8]) -> Self {
        let mut block = Self::default();
        block.go_to(text, 0);
        block
    }

    /// Goes to the block that begins at `start`: the one behind this, or the first. What is beyond the text is blank.
    #[inline]
    pub(super) fn go_to(&mut self, text: &[u8], start: usize) {
        let rest = text.get(start..).unwrap_or_default();
        match rest.first_chunk::<BLOCK>() {
            Some(bytes) => self.take(bytes),
            None => self.take_last(rest),
        }
    }

    #[cold]
    fn take_last(&mut self, rest: &[u8]) {
        let mut bytes = [b' '; BLOCK];
        bytes[..rest.len()].copy_from_slice(rest);
        self.take(&bytes);
    }

    #[inline]
    fn take(&mut self, bytes: &[u8; BLOCK]) {
        let (chunks, _) = bytes.as_chunks::<CHUNK>();
        // Not in `self` from the beginning: what is written to memory piece by piece is slow to be read back at once.
        let (mut quotes, mut opens, mut closes, mut special) = (0, 0, 0, u8x16::splat(0));
        for (number, chunk) in chunks.iter().enumerate() {
            let bytes = u8x16::from(*chunk);
            let mask = |found: u8x16| u64::from(found.to_bitmask()) << (number * CHUNK);
            // `{` and `[`, and `}` and `]`, differ in this bit alone, and no other byte becomes one of them.
            let brackets = bytes | u8x16::splat(0x20);
            quotes |= mask(bytes.simd_eq(u8x16::splat(b'"')));
            opens |= mask(brackets.simd_eq(u8x16::splat(b'{')));
            closes |= mask(brackets.simd_eq(u8x16::splat(b'}')));
            special |= backslashes(bytes) | controls(bytes);
        }
        (self.quotes, self.opens, self.closes) = (quotes, opens, closes);
        (self.backslashes, self.controls) = (0, 0);
        // Most blocks of what an API server writes have no backslash and no control character.
        if special.to_bitmask() != 0 || self.escapes_next {
            self.take_special(bytes);
        }
    }

    #[cold]
    fn take_special(&mut self, bytes: &[u8; BLOCK]) {
        let (chunks, _) = bytes.as_chunks::<CHUNK>();
        for (number, chunk) in chunks.iter().enumerate() {
            let bytes = u8x16::from(*chunk);
            self.backslashes |= u64::from(backslashes(bytes).to_bitmask()) << (number * CHUNK);
            self.controls |= u64::from(controls(bytes).to_bitmask()) << (number * CHUNK);
        }
        self.quotes &= !self.escape();
    }

    /// Which bytes stand behind a backslash that escapes them.
    fn escape(&mut self) -> u64 {
        let mut escaped = u64::from(self.escapes_next);
        self.escapes_next = false;
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

/// Calls `found` with the place of each byte that cannot stand in a JSON string as it is: `"`, `\` and control characters.
#[inline]
pub(super) fn each_special(bytes: &[u8], mut found: impl FnMut(usize)) {
    let (chunks, rest) = bytes.as_chunks::<CHUNK>();
    let mut look = |at: usize, chunk: [u8; CHUNK]| {
        let chunk = u8x16::from(chunk);
        let special = chunk.simd_eq(u8x16::splat(b'"')) | backslashes(chunk) | controls(chunk);
        let mut mask = special.to_bitmask();
        while mask != 0 {
            found(at + mask.trailing_zeros() as usize);
            mask &= mask - 1;
        }
    };
    for (number, chunk) in chunks.iter().enumerate() {
        look(number * CHUNK, *chunk);
    }
    if !rest.is_empty() {
        let mut chunk = [b' '; CHUNK];
        chunk[..rest.len()].copy_from_slice(rest);
        look(bytes.len() - rest.len(), chunk);
    }
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
                let block = Block::first(&bytes);
                assert_eq!(block.quotes, bits(&bytes, |byte| byte == b'"'));
                assert_eq!(block.backslashes, bits(&bytes, |byte| byte == b'\\'));
                assert_eq!(block.opens, bits(&bytes, |byte| matches!(byte, b'{' | b'[')), "{byte}");
                assert_eq!(block.closes, bits(&bytes, |byte| matches!(byte, b'}' | b']')), "{byte}");
                assert_eq!(block.controls, bits(&bytes, |byte| byte < 0x20), "{byte}");
                let plain = byte >= 0x20 && byte != b'"' && byte != b'\\';
                for length in [place, place + 1, BLOCK] {
                    let mut special = Vec::new();
                    each_special(&bytes[..length], |at| special.push(at));
                    assert_eq!(special, if plain || length == place { vec![] } else { vec![place] });
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
                    block.go_to(text.as_bytes(), start);
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
        let block = Block::first(text);
        let inside = block.in_strings(u64::MAX, false);
        let outside: String =
            text.iter().enumerate().filter(|(at, _)| inside >> at & 1 == 0).map(|(_, &b)| char::from(b)).collect();
        assert_eq!(outside, r#"{":[1,"],":2}"#);
        assert_eq!(block.in_strings(u64::MAX, true), !inside);
    }
}
