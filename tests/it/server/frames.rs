//! HTTP/2 frames (RFC 9113) by hand, for clients that no library would be.

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// HPACK: a literal that is not indexed, its name new.
fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        integer(block, text.len());
        block.extend(text.as_bytes());
    }
}

/// HPACK: a length, with a prefix of 7 bits.
fn integer(block: &mut Vec<u8>, value: usize) {
    let Some(mut rest) = value.checked_sub(127) else { return block.push(u8::try_from(value).unwrap()) };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// `POST /v1/mutate/enforce` with further headers of these values.
fn head(values: &[String]) -> Vec<u8> {
    // `:method POST` and `:scheme https` of the static table.
    let mut block = vec![0x83, 0x87];
    literal(&mut block, ":path", "/v1/mutate/enforce");
    literal(&mut block, ":authority", "localhost");
    literal(&mut block, "content-type", "application/json");
    for (number, value) in values.iter().enumerate() {
        literal(&mut block, &format!("x-{number}"), value);
    }
    block
}

/// A request whose body does not come, or, without `body`, has none.
pub(super) fn request(stream: u32, values: &[String], body: bool) -> Vec<u8> {
    frame(HEADERS, if body { END_HEADERS } else { END_HEADERS | END_STREAM }, stream, &head(values))
}

/// A whole call.
pub(super) fn call(stream: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = request(stream, &[], true);
    bytes.extend(frame(DATA, END_STREAM, stream, body));
    bytes
}

pub(super) fn headers_without_end(stream: u32) -> Vec<u8> {
    frame(HEADERS, 0, stream, &head(&[]))
}

/// So many bytes more of headers, which do not end either.
pub(super) fn continuation(stream: u32, bytes: usize) -> Vec<u8> {
    let mut block = Vec::new();
    if bytes > 0 {
        literal(&mut block, "x", &"y".repeat(bytes));
    }
    frame(CONTINUATION, 0, stream, &block)
}

pub(super) fn reset(stream: u32) -> Vec<u8> {
    const CANCEL: u32 = 8;
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

pub(super) fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

pub(super) fn ping() -> Vec<u8> {
    frame(PING, 0, 0, &[7; 8])
}
