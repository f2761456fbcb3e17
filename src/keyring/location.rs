//! A key of a docker config, or the name of an image, taken apart as Go's `net/url` takes apart what stands behind
//! `https://`. Go 1.26, which the kubelet of Kubernetes 1.36 is built with.

use core::net::Ipv6Addr;
use std::borrow::Cow;
use std::ops::Range;

/// The two parts that count, percent-decoded.
pub(super) struct Location<'t> {
    /// `host[:port]`.
    pub(super) authority: Cow<'t, [u8]>,
    /// Empty, or begins with `/`.
    pub(super) path: Cow<'t, [u8]>,
}

impl<'t> Location<'t> {
    /// None where Go refuses it. Nothing is allocated for a text without `%`.
    pub(super) fn parse(text: &'t [u8]) -> Option<Self> {
        // Nearly every name and key: no user, query, fragment or escape, no control character, and no address of IPv6.
        if text.iter().all(|&byte| is_plain(byte)) {
            let (authority, path) = split_path(text);
            let port = authority.iter().position(|&byte| byte == b':').unwrap_or(authority.len());
            let location = Self { authority: Cow::Borrowed(authority), path: Cow::Borrowed(path) };
            return is_port(&authority[port..]).then_some(location);
        }
        let (text, fragment) = cut(text, b'#');
        unescape(fragment, |_| true)?;
        if text.iter().any(u8::is_ascii_control) {
            return None;
        }
        let (text, _query) = cut(text, b'?');
        let (authority, path) = split_path(text);
        let host = match authority.iter().rposition(|&byte| byte == b'@') {
            Some(at) if !is_user(&authority[..at]) => return None,
            Some(at) => &authority[at + 1..],
            None => authority,
        };
        Some(Self { authority: parse_host(host)?, path: unescape(path, |_| true)? })
    }
}

/// Where host and port are in `host[:port]`, as Go's `net.SplitHostPort` finds them; what it refuses is all host. Of an
/// IPv6 address with a port the brackets fall away, of one without a port they do not.
pub(super) fn split_port(authority: &[u8]) -> (Range<usize>, Range<usize>) {
    let whole = (0..authority.len(), 0..0);
    let Some(colon) = authority.iter().rposition(|&byte| byte == b':') else { return whole };
    let (host, after) = if authority[0] == b'[' {
        match authority.iter().position(|&byte| byte == b']') {
            Some(end) if end + 1 == colon => (1..end, colon),
            _ => return whole,
        }
    } else {
        (0..colon, 0)
    };
    let is_stray = authority[host.start..].contains(&b'[') || authority[after..].contains(&b']');
    // A second colon outside of brackets does not get here: `parse_host` refuses it.
    if is_stray { whole } else { (host, colon + 1..authority.len()) }
}

/// What a host and a path hold as they are.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-'..=b'/' | b':' | b'_')
}

/// What stands before the first slash, and the rest with it.
fn split_path(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|&byte| byte == b'/').unwrap_or(text.len()))
}

/// What stands before and behind the first `separator`.
fn cut(text: &[u8], separator: u8) -> (&[u8], &[u8]) {
    match text.iter().position(|&byte| byte == separator) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

/// `user[:password]` before the `@`; it is dropped.
fn is_user(text: &[u8]) -> bool {
    let (user, password) = cut(text, b':');
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(byte))
        && unescape(user, |_| true).is_some()
        && unescape(password, |_| true).is_some()
}

fn parse_host(host: &[u8]) -> Option<Cow<'_, [u8]>> {
    match host.iter().rposition(|&byte| byte == b'[') {
        Some(0) => {
            let end = host.iter().rposition(|&byte| byte == b']')?;
            // Go knows zones, too, `[fe80::1%25eth0]`. No reference to an image can have one.
            str::from_utf8(&host[1..end]).ok()?.parse::<Ipv6Addr>().ok()?;
            is_port(&host[end + 1..]).then_some(Cow::Borrowed(host))
        }
        Some(_) => None,
        None => {
            let port = host.iter().position(|&byte| byte == b':').unwrap_or(host.len());
            let is_host = is_port(&host[port..]) && host.iter().all(|&byte| is_host_byte(byte));
            // Only what is not ASCII may be escaped in a host, and the percent sign.
            if is_host { unescape(host, |byte| byte == b'%' || !byte.is_ascii()) } else { None }
        }
    }
}

/// Empty, or a colon and any number of digits.
fn is_port(text: &[u8]) -> bool {
    text.is_empty() || text[0] == b':' && text[1..].iter().all(u8::is_ascii_digit)
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"-_.~!$&'()*+,;=:[]<>\"%".contains(&byte)
}

/// Percent-decodes. None where a `%` is not followed by two hexadecimal digits, or by those of a byte that must not be
/// written so.
fn unescape(text: &[u8], may_escape: fn(u8) -> bool) -> Option<Cow<'_, [u8]>> {
    if !text.contains(&b'%') {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, others @ ..] = rest {
        rest = others;
        if *first != b'%' {
            plain.push(*first);
            continue;
        }
        let [high, low, others @ ..] = others else { return None };
        let hex = |digit: u8| char::from(digit).to_digit(16);
        let byte = u8::try_from(hex(*high)? << 4 | hex(*low)?).ok().filter(|&byte| may_escape(byte))?;
        plain.push(byte);
        rest = others;
    }
    Some(Cow::Owned(plain))
}
