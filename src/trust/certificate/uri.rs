//! URIs in a certificate, as Go's `net/url` takes them apart: only the host counts.

use core::net::Ipv6Addr;
use std::borrow::Cow;

use super::domain::is_domain;

/// The host of a URI, with its port and brackets, and without its escapes; empty where it has none. `None` where Go
/// does not read the URI.
pub(super) fn host(uri: &str) -> Option<Cow<'_, str>> {
    let (uri, fragment) = uri.split_once('#').unwrap_or((uri, ""));
    if uri.bytes().any(|byte| byte < b' ' || byte == 0x7f) || !is_escaped_well(fragment) {
        return None;
    }
    let none = Some(Cow::Borrowed(""));
    if uri == "*" {
        return none;
    }
    let (scheme, rest) = scheme(uri)?;
    let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
    if !rest.starts_with('/') {
        let first_segment = rest.split('/').next().unwrap_or_default();
        // With a scheme, what follows is not looked at; without, a colon would have made one.
        return if scheme.is_empty() && (first_segment.contains(':') || !is_escaped_well(rest)) { None } else { none };
    }
    let authority = rest.strip_prefix("//").filter(|_| !scheme.is_empty() || !rest.starts_with("///"));
    let Some(authority) = authority else { return if is_escaped_well(rest) { none } else { None } };
    let (authority, path) = authority.split_at(authority.find('/').unwrap_or(authority.len()));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let host = host_of_authority(scheme, host)?;
    let is_valid = is_user(user)
        && is_escaped_well(path)
        && str::from_utf8(&host).is_ok_and(|host| host.is_empty() || is_domain(host, false));
    if !is_valid {
        return None;
    }
    match host {
        Cow::Borrowed(host) => str::from_utf8(host).ok().map(Cow::Borrowed),
        Cow::Owned(host) => String::from_utf8(host).ok().map(Cow::Owned),
    }
}

/// What goes before the first colon, if it is made of a scheme's letters.
fn scheme(uri: &str) -> Option<(&str, &str)> {
    let end = uri.bytes().enumerate().find(|&(at, byte)| match byte {
        b'a'..=b'z' | b'A'..=b'Z' => false,
        b'0'..=b'9' | b'+' | b'-' | b'.' => at == 0,
        _ => true,
    });
    match end {
        Some((0, b':')) => None,
        Some((at, b':')) => Some((&uri[..at], &uri[at + 1..])),
        _ => Some(("", uri)),
    }
}

fn host_of_authority<'a>(scheme: &str, host: &'a str) -> Option<Cow<'a, [u8]>> {
    match host.rfind('[') {
        Some(0) => bracketed(host),
        Some(_) => None,
        None => {
            let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
            let colon = if is_web { host.find(':') } else { host.rfind(':') };
            if colon.is_some_and(|colon| !is_port(&host[colon..])) { None } else { unescaped(host, false) }
        }
    }
}

/// An IPv6 address in brackets, with a zone if need be.
fn bracketed(host: &str) -> Option<Cow<'_, [u8]>> {
    let close = host.rfind(']')?;
    let (inside, port) = (host.get(1..close)?, &host[close + 1..]);
    if !is_port(port) {
        return None;
    }
    let (address, zone) = inside.split_at(inside.find("%25").unwrap_or(inside.len()));
    let unescaped = [unescaped(address, false)?, unescaped(zone, true)?].concat();
    let text = str::from_utf8(&unescaped).ok()?;
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    let is_valid = address.parse::<Ipv6Addr>().is_ok() && zone != Some("");
    is_valid.then(|| Cow::Owned([b"[", unescaped.as_slice(), b"]", port.as_bytes()].concat()))
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_user(text: &str) -> bool {
    is_escaped_well(text)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte))
}

fn is_escaped_well(text: &str) -> bool {
    escapes(text).all(|escape| escape.is_some())
}

/// The byte that each `%` and its two digits stand for; `None` where there are no two digits.
fn escapes(text: &str) -> impl Iterator<Item = Option<u8>> {
    text.split('%').skip(1).map(|after| {
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        u8::from_str_radix(digits, 16).ok()
    })
}

/// A host or the zone of one. In a host, only what is not ASCII may be escaped, and a percent sign; in a zone, also what
/// could stand there as it is, and spaces.
fn unescaped(text: &str, is_zone: bool) -> Option<Cow<'_, [u8]>> {
    let may_stand =
        |byte: u8| byte >= 0x80 || byte.is_ascii_alphanumeric() || b"!$&'()*+,;=:[]<>\"-_.~".contains(&byte);
    let may_be_escaped = |byte: u8| match byte {
        b'%' => true,
        b' ' => is_zone,
        byte if is_zone => byte < 0x80 && may_stand(byte),
        byte => byte >= 0x80,
    };
    let is_valid = text.bytes().all(|byte| byte == b'%' || may_stand(byte))
        && escapes(text).all(|escape| escape.is_some_and(may_be_escaped));
    if !is_valid {
        return None;
    }
    if !text.contains('%') {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    let mut parts = text.split('%');
    let mut plain = parts.next().unwrap_or_default().as_bytes().to_vec();
    for (part, escape) in parts.zip(escapes(text)) {
        plain.push(escape?);
        plain.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t3_uris_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("https://example.com/a%20b?c#d", Some("example.com")),
            ("https://example.com:443", Some("example.com:443")),
            ("spiffe://Trust.domain/x", Some("Trust.domain")),
            ("//example.com", Some("example.com")),
            ("https://user:pass@example.com", Some("example.com")),
            ("https://a@b@example.com", Some("example.com")),
            ("https://[fe80::1]:80/", Some("[fe80::1]:80")),
            ("https://[fe80::1%25eth0]", Some("[fe80::1%eth0]")),
            ("https://1.2.3.4", Some("1.2.3.4")),
            ("urn:uuid:x", Some("")),
            ("mailto:a b%zz", Some("")),
            ("/path", Some("")),
            ("///path", Some("")),
            ("https:///path", Some("")),
            ("path", Some("")),
            ("*", Some("")),
            ("", Some("")),
            ("a:b:c", Some("")),
            ("x://a:b:1", Some("a:b:1")),
            ("#\u{1}", Some("")),
            ("https://a:b:1", None),
            ("https://a:x", None),
            ("https://[1.2.3.4]", None),
            ("https://[fe80::1%25]", None),
            ("https://[fe80::1", None),
            ("https://x[fe80::1]", None),
            ("https://exa mple.com", None),
            ("https://example.com.", None),
            ("https://.example.com", None),
            ("https://ex%41mple.com", None),
            ("https://ex%c3%a4mple.com", None),
            ("https://us er@example.com", None),
            ("https://a/%zz", None),
            ("https://a/#%zz", None),
            ("https://a/\u{1}", None),
            (":x", None),
            ("1:x", None),
            ("a%zz", None),
        ] {
            assert_eq!(host(text).as_deref(), expected, "{text:?}");
        }
    }
}
