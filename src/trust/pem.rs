//! PEM as Go's `encoding/pem` finds it in a text: the same blocks, and none where Go finds none.

use std::ops::Range;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

pub(super) const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"\n-----END ";
const DASHES: &[u8] = b"-----";

/// Bits that are over in the last letter are passed over, as Go does it.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// A block that Go takes.
pub(super) struct Block<'t> {
    /// From its BEGIN to what follows its END line.
    pub(super) place: Range<usize>,
    /// What stands after BEGIN.
    pub(super) kind: &'t [u8],
    pub(super) has_headers: bool,
    pub(super) bytes: Vec<u8>,
}

/// The first block at or after this place. Each byte is looked at a few times at most, whatever the text.
pub(super) fn next_block(text: &[u8], from: usize) -> Option<Block<'_>> {
    let mut from = from;
    loop {
        let end = from + find(&text[from..], END)?;
        let trailer = end + END.len();
        match block_before(text, from, end) {
            Search::Found(block) => return Some(block),
            Search::GoOn => from = trailer,
            Search::GiveUp => return None,
        }
    }
}

enum Search<'t> {
    Found(Block<'t>),
    /// No block ends at this END.
    GoOn,
    /// Go sees nothing in what is left of the text.
    GiveUp,
}

/// The block whose END line begins, with the newline before it, at `end`: its BEGIN is the last one before it.
fn block_before(text: &[u8], from: usize, end: usize) -> Search<'_> {
    let trailer = end + END.len();
    let Some(begin) = find_last(&text[from..end], BEGIN).map(|at| from + at) else { return Search::GoOn };
    if begin > from && text[begin - 1] != b'\n' {
        return Search::GoOn;
    }
    let (line, mut at) = line(text, begin + BEGIN.len());
    let Some(kind) = line.strip_suffix(DASHES) else { return Search::GoOn };
    let mut has_headers = false;
    loop {
        if at == text.len() {
            return Search::GiveUp;
        }
        let (header, next) = self::line(text, at);
        if !header.contains(&b':') {
            break;
        }
        (has_headers, at) = (true, next);
    }
    if at > trailer {
        return Search::GiveUp;
    }
    if has_headers && at > end {
        return Search::GoOn;
    }
    let is_end = text[trailer..].strip_prefix(kind).and_then(|rest| rest.strip_prefix(DASHES));
    let Some(rest) = is_end.filter(|rest| self::line(rest, 0).0.is_empty()) else { return Search::GoOn };
    let base64: Vec<u8> =
        text.get(at..end).unwrap_or_default().iter().copied().filter(|byte| !is_space(*byte)).collect();
    let Ok(bytes) = BASE64.decode(base64) else { return Search::GoOn };
    let (_, after) = self::line(text, text.len() - rest.len());
    Search::Found(Block { place: begin..after, kind, has_headers, bytes })
}

/// A line without its end and the spaces before that, and where the next one begins.
pub(super) fn line(text: &[u8], from: usize) -> (&[u8], usize) {
    let rest = &text[from..];
    let (line, next) = match rest.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&rest[..end], from + end + 1),
        None => (rest, text.len()),
    };
    let line = if next > from + line.len() { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
    let end = line.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(0, |last| last + 1);
    (&line[..end], next)
}

/// What may stand between the letters of base64.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

pub(super) fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn find_last(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).rposition(|window| window == wanted)
}
