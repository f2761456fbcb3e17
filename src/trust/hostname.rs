//! Whether a certificate is for a host, as Go's `VerifyHostname` sees it: subject alternative names only, never the
//! common name; a wildcard is the whole leftmost label and stands for one label; an IP is looked for among the IPs only.

use core::net::IpAddr;

/// Whether one of the names is for the host: a DNS name, or an IP with or without brackets.
pub(super) fn is_for<'a>(
    host: &str,
    mut dns_names: impl Iterator<Item = &'a str>,
    mut addresses: impl Iterator<Item = IpAddr>,
) -> bool {
    if let Some(address) = address(host) {
        return addresses.any(|candidate| candidate.to_canonical() == address);
    }
    let host = host.to_ascii_lowercase();
    let is_hostname = is_hostname(&host);
    dns_names.any(|name| {
        // What is no hostname on either side may still be the very same text.
        if is_hostname && is_pattern(name) {
            matches(name, &host)
        } else {
            !matches!(name, "" | ".") && !matches!(host.as_str(), "" | ".") && name.eq_ignore_ascii_case(&host)
        }
    })
}

/// The host as an address, if it is one; an IPv4 address in IPv6 form is that IPv4 address.
pub(super) fn address(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).filter(|inner| !inner.is_empty());
    inner.unwrap_or(host).parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Whether a pattern fits a host that is lower case; label by label, the host's last dot left out.
pub(super) fn matches(pattern: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    if pattern.is_empty() || pattern.split('.').count() != host.split('.').count() {
        return false;
    }
    pattern
        .split('.')
        .zip(host.split('.'))
        .enumerate()
        .all(|(at, (pattern, label))| (at == 0 && pattern == "*") || pattern.eq_ignore_ascii_case(label))
}

fn is_hostname(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.split('.').all(is_label)
}

/// A hostname without a last dot, whose first label may be `*`.
fn is_pattern(name: &str) -> bool {
    name != "*" && name.split('.').enumerate().all(|(at, label)| (at == 0 && label == "*") || is_label(label))
}

/// Underscores are no hostname's, but many registries' in private networks.
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t3_names_match_as_go_matches_them() {
        // host, name of the certificate, match
        for (host, name, expected) in [
            ("registry.corp", "registry.corp", true),
            ("Registry.CORP", "registry.corp", true),
            ("registry.corp", "REGISTRY.corp", true),
            ("registry.corp.", "registry.corp", true),
            ("registry.corp", "registry.corp.", false),
            ("a.registry.corp", "*.registry.corp", true),
            ("a.b.registry.corp", "*.registry.corp", false),
            ("registry.corp", "*.registry.corp", false),
            (".registry.corp", "*.registry.corp", false),
            ("corp", "*", false),
            ("a.corp", "*.corp", true),
            ("abc.corp", "a*.corp", false),
            ("a.b.corp", "a.*.corp", false),
            ("a_b.corp", "*.corp", true),
            ("-a.corp", "*.corp", false),
            ("-a.corp", "-a.corp", true),
            ("a b", "A B", true),
            ("*.corp", "*.corp", true),
            ("", "", false),
            (".", ".", false),
            ("a..corp", "a..corp", true),
            ("ä.corp", "*.corp", false),
            ("10.0.0.1", "10.0.0.1", false),
            ("10.0.0.1", "*.0.0.1", false),
            ("10.0.0.01", "10.0.0.01", true),
        ] {
            assert_eq!(is_for(host, [name].into_iter(), std::iter::empty()), expected, "{host} {name}");
        }
    }

    #[test]
    fn t3_an_address_is_looked_for_among_the_addresses() {
        for (host, address, expected) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("[10.0.0.1]", "10.0.0.1", true),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("fd00::1", "fd00::1", true),
            ("[FD00:0::1]", "fd00::1", true),
            ("fd00::1%eth0", "fd00::1", false),
            ("10.0.0.1.", "10.0.0.1", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(is_for(host, std::iter::empty(), [address].into_iter()), expected, "{host} {address}");
        }
    }
}
