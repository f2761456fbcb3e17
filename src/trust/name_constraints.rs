//! Name constraints, as Go checks them: those of every CA of a chain, against every name of each certificate below it
//! (not only of the server's). Names of directories are not looked at.
//!
//! Constraints are sorted and searched, not compared one by one: 64 kB of certificates hold ten thousand of them and
//! as many names. Go's order decides a few odd cases (overlapping networks with host bits set), so it is ours too.

use core::cmp::Ordering;
use core::net::IpAddr;
use std::borrow::Cow;
use std::collections::HashSet;

use super::certificate::{Certificate, Mailbox, NameKind, is_domain, uri_host};

/// What one certificate permits and excludes, ready to be asked.
pub(super) struct Constraints<'c> {
    permitted: Kinds<'c>,
    excluded: Kinds<'c>,
}

/// The constraints of one side; none of a kind leaves that kind alone.
struct Kinds<'c> {
    dns: Option<Domains<'c>>,
    addresses: Option<Networks>,
    emails: Option<Emails<'c>>,
    uris: Option<Domains<'c>>,
}

/// All names of one certificate that constraints are held against.
pub(super) struct Names<'c> {
    dns: Vec<&'c str>,
    addresses: Vec<IpAddr>,
    /// With the text.
    mailboxes: Vec<(Mailbox<'c>, &'c str)>,
    /// Host, and the text.
    uris: Vec<(String, &'c str)>,
}

impl<'c> Names<'c> {
    /// What is wrong, when a name is of a form that no constraint can be held against: Go refuses the chain then.
    pub(super) fn of(certificate: &'c Certificate) -> Result<Self, String> {
        let uris = certificate.uris().map(|uri| Ok((host_of(uri)?, uri)));
        let uris = uris.collect::<Result<_, String>>()?;
        let mailboxes = certificate.mail_addresses().map(|text| {
            let mailbox = Mailbox::parse(text).map(|mailbox| (mailbox, text));
            mailbox.ok_or_else(|| format!("{text} is no mail address that name constraints can be held against"))
        });
        Ok(Self {
            mailboxes: mailboxes.collect::<Result<_, String>>()?,
            uris,
            dns: certificate.dns_names().collect(),
            addresses: certificate.ip_addresses().filter_map(address).collect(),
        })
    }
}

/// Of 4 or 16 bytes.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// The host that constraints are held against; an IP, or no host, cannot be.
fn host_of(uri: &str) -> Result<String, String> {
    let host = uri_host(uri);
    if host.is_empty() {
        return Err(format!("the URI {uri} has no host to hold against the CA's name constraints"));
    }
    let host = if host.contains(':') && !host.ends_with(']') {
        let is_bracketed = host.starts_with('[');
        host.rsplit_once(':')
            .map(|(name, _)| name)
            .and_then(|name| if is_bracketed { name.strip_prefix('[')?.strip_suffix(']') } else { Some(name) })
            .filter(|name| !name.contains(['[', ']']) && (is_bracketed || !name.contains(':')))
            .ok_or_else(|| format!("the URI {uri} has a host that cannot be read"))?
            .to_owned()
    } else {
        host.to_ascii_lowercase()
    };
    let without_zone = host.split_once('%').filter(|(_, zone)| !zone.is_empty()).map_or(host.as_str(), |(ip, _)| ip);
    let is_address = match without_zone.parse::<IpAddr>() {
        Ok(address) => address.is_ipv6() || without_zone.len() == host.len(),
        Err(_) => host.starts_with('[') && host.ends_with(']'),
    };
    if is_address {
        return Err(format!("the URI {uri} names an IP, which cannot be held against name constraints"));
    }
    Ok(host)
}

impl<'c> Constraints<'c> {
    /// `None` if the certificate has no name constraints.
    pub(super) fn of(certificate: &'c Certificate) -> Option<Self> {
        certificate.has_name_constraints().then(|| Self {
            permitted: Kinds::new(certificate.permitted_names(), false),
            excluded: Kinds::new(certificate.excluded_names(), true),
        })
    }

    /// What is wrong with the first name that may not be.
    pub(super) fn check(&self, names: &Names<'_>) -> Result<(), String> {
        let Self { permitted, excluded } = self;
        for &address in &names.addresses {
            verdict(
                || format!("the IP {address}"),
                permitted.addresses.as_ref().map(|networks| networks.hold(address)),
                excluded.addresses.as_ref().map(|networks| networks.hold(address)),
            )?;
        }
        for &name in &names.dns {
            if !is_domain(name, false) {
                return Err(format!("the name {name} is no DNS name that name constraints can be held against"));
            }
            verdict(
                || format!("the name {name}"),
                permitted.dns.as_ref().map(|domains| domains.hold(name)),
                excluded.dns.as_ref().map(|domains| domains.hold(name)),
            )?;
        }
        for (host, uri) in &names.uris {
            if !is_domain(host, false) {
                return Err(format!("the URI {uri} has no host that name constraints can be held against"));
            }
            verdict(
                || format!("the URI {uri}"),
                permitted.uris.as_ref().map(|domains| domains.hold(host)),
                excluded.uris.as_ref().map(|domains| domains.hold(host)),
            )?;
        }
        for (mailbox, text) in &names.mailboxes {
            verdict(
                || format!("the mail address {text}"),
                permitted.emails.as_ref().map(|emails| emails.hold(mailbox)),
                excluded.emails.as_ref().map(|emails| emails.hold(mailbox)),
            )?;
        }
        Ok(())
    }
}

fn verdict(name: impl Fn() -> String, is_permitted: Option<bool>, is_excluded: Option<bool>) -> Result<(), String> {
    if is_permitted == Some(false) {
        return Err(format!("{} is not among those that the CA may sign for", name()));
    }
    if is_excluded == Some(true) {
        return Err(format!("{} is among those that the CA may not sign for", name()));
    }
    Ok(())
}

impl<'c> Kinds<'c> {
    fn new(names: impl Iterator<Item = (NameKind, &'c [u8])>, is_excluded: bool) -> Self {
        let (mut dns, mut networks, mut emails, mut uris) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (kind, name) in names {
            // The parser left nothing but ASCII.
            let text = || core::str::from_utf8(name).unwrap_or_default();
            match kind {
                NameKind::Dns => dns.push(text()),
                NameKind::Email => emails.push(text()),
                NameKind::Uri => uris.push(text()),
                NameKind::Ip => networks.extend(Network::read(name)),
            }
        }
        let domains = |domains: Vec<&'c str>| (!domains.is_empty()).then(|| Domains::new(domains, is_excluded));
        Self {
            addresses: (!networks.is_empty()).then(|| Networks::new(networks)),
            emails: (!emails.is_empty()).then(|| Emails::new(&emails, is_excluded)),
            dns: domains(dns),
            uris: domains(uris),
        }
    }
}

/// Domains: `corp` holds itself and all below it, `.corp` only what is below it, and the empty one everything.
enum Domains<'c> {
    All,
    Some {
        sorted: Vec<&'c str>,
        /// The excluded domains without their first label, lower case: a wildcard above an excluded name is excluded.
        parents: HashSet<String>,
    },
}

impl<'c> Domains<'c> {
    fn new(mut domains: Vec<&'c str>, is_excluded: bool) -> Self {
        if domains.iter().any(|domain| domain.is_empty()) {
            return Self::All;
        }
        sort_and_prune(&mut domains, compare_domains, is_below);
        let parents = if is_excluded {
            let parents = domains.iter().filter_map(|domain| without_first_label(domain));
            parents.map(str::to_ascii_lowercase).collect()
        } else {
            HashSet::new()
        };
        Self::Some { sorted: domains, parents }
    }

    fn hold(&self, name: &str) -> bool {
        let Self::Some { sorted, parents } = self else { return true };
        search(sorted, |domain| compare_domains(domain, name), |domain| is_below(domain, name))
            || name.starts_with('*')
                && without_first_label(name).is_some_and(|rest| parents.contains(&rest.to_ascii_lowercase()))
    }
}

/// An address and a mask, of the same family. Bits of the address outside the mask are kept: Go sorts by them.
#[derive(Clone, Copy)]
struct Network {
    address: IpAddr,
    mask: IpAddr,
}

impl Network {
    /// Twice 4 or 16 bytes.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (base, mask) = bytes.split_at(bytes.len() / 2);
        Some(Self { address: address(base)?, mask: address(mask)? })
    }
}

/// Networks, IPv4 and IPv6 apart.
struct Networks {
    v4: Vec<Network>,
    v6: Vec<Network>,
}

impl Networks {
    fn new(networks: Vec<Network>) -> Self {
        let (mut v4, mut v6): (Vec<_>, Vec<_>) = networks.into_iter().partition(|network| network.address.is_ipv4());
        for networks in [&mut v4, &mut v6] {
            // The bytes of one family compare as its addresses do.
            sort_and_prune(
                networks,
                |a, b| a.address.cmp(&b.address).then(a.mask.cmp(&b.mask)),
                |a, b| contains(a, b.address) && contains(a, last_address(b)),
            );
        }
        Self { v4, v6 }
    }

    fn hold(&self, address: IpAddr) -> bool {
        let networks = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        search(networks, |network| network.address.cmp(&address), |network| contains(network, address))
    }
}

/// Whole addresses (what is before the `@` as it is, the domain in lower case), and domains of addresses.
struct Emails<'c> {
    mailboxes: HashSet<(Cow<'c, [u8]>, String)>,
    domains: Option<Domains<'c>>,
}

impl<'c> Emails<'c> {
    fn new(emails: &[&'c str], is_excluded: bool) -> Self {
        let (mailboxes, domains): (Vec<&str>, Vec<&str>) = emails.iter().partition(|email| email.contains('@'));
        Self {
            mailboxes: mailboxes.into_iter().filter_map(Mailbox::parse).map(Self::key).collect(),
            domains: (!domains.is_empty()).then(|| Domains::new(domains, is_excluded)),
        }
    }

    fn key(mailbox: Mailbox<'_>) -> (Cow<'_, [u8]>, String) {
        (mailbox.local, mailbox.domain.to_ascii_lowercase())
    }

    fn hold(&self, mailbox: &Mailbox<'_>) -> bool {
        !self.mailboxes.is_empty() && self.mailboxes.contains(&Self::key(mailbox.clone()))
            || self.domains.as_ref().is_some_and(|domains| domains.hold(mailbox.domain))
    }
}

/// Leaves out what the one kept before it holds.
fn sort_and_prune<T: Copy>(set: &mut Vec<T>, compare: impl Fn(T, T) -> Ordering, holds: impl Fn(T, T) -> bool) {
    set.sort_by(|&a, &b| compare(a, b));
    set.dedup_by(|later, kept| holds(*kept, *later));
}

/// Whether the constraint at the value's place, or the last one before it, holds the value.
fn search<T: Copy>(sorted: &[T], compare: impl Fn(T) -> Ordering, holds: impl Fn(T) -> bool) -> bool {
    let at = sorted.partition_point(|&constraint| compare(constraint) == Ordering::Less);
    if sorted.get(at).is_some_and(|&constraint| compare(constraint) == Ordering::Equal) {
        return true;
    }
    sorted.get(at.saturating_sub(1)).is_some_and(|&constraint| holds(constraint))
}

/// From the end, without regard to case, and a dot before everything else: so a domain comes right before those below.
fn compare_domains(a: &str, b: &str) -> Ordering {
    let key = |b: u8| if b == b'.' { 0 } else { b.to_ascii_lowercase() };
    a.bytes().rev().map(key).cmp(b.bytes().rev().map(key))
}

/// Whether a domain is a whole-label suffix of a name.
fn is_below(domain: &str, name: &str) -> bool {
    let (domain, name) = (domain.as_bytes(), name.as_bytes());
    let Some(start) = name.len().checked_sub(domain.len()) else { return false };
    name[start..].eq_ignore_ascii_case(domain) && (start == 0 || domain.starts_with(b".") || name[start - 1] == b'.')
}

/// From the first dot on.
fn without_first_label(name: &str) -> Option<&str> {
    name.find('.').map(|dot| &name[dot..])
}

/// As Go's `IPNet.Contains`: an IPv4 address in IPv6 form is that IPv4 address, in the network and in the question.
fn contains(network: Network, address: IpAddr) -> bool {
    match (network.address.to_canonical(), network.mask, address.to_canonical()) {
        (IpAddr::V4(base), mask, IpAddr::V4(address)) => {
            let mask = match mask {
                IpAddr::V4(mask) => mask.to_bits(),
                // The low 32 bits are what is meant.
                #[expect(clippy::cast_possible_truncation, reason = "the rest of the mask is not looked at")]
                IpAddr::V6(mask) => mask.to_bits() as u32,
            };
            base.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(base), IpAddr::V6(mask), IpAddr::V6(address)) => {
            base.to_bits() & mask.to_bits() == address.to_bits() & mask.to_bits()
        }
        _ => false,
    }
}

fn last_address(network: Network) -> IpAddr {
    match (network.address, network.mask) {
        (IpAddr::V4(base), IpAddr::V4(mask)) => IpAddr::V4((base.to_bits() | !mask.to_bits()).into()),
        (IpAddr::V6(base), IpAddr::V6(mask)) => IpAddr::V6((base.to_bits() | !mask.to_bits()).into()),
        (address, _) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t3_a_domain_is_found_among_many() {
        let family = ["example.com", "x-example.com", "a.example.com", "EXAMPLE.com", "z.example.org", ".corp"];
        for (domains, name, permitted, excluded) in [
            (&family[..], "example.com", true, true),
            (&family, "z.EXAMPLE.com", true, true),
            (&family, "y.x-example.com", true, true),
            (&family, "y-example.com", false, false),
            (&family, "example.org", false, false),
            (&family, "a.corp", true, true),
            (&family, "corp", false, false),
            // A wildcard that would be for an excluded name too; to be permitted, it has to be below as a whole.
            (&family, "*.example.org", false, true),
            (&family, "*.org", false, false),
            (&family, "*.z.example.org", true, true),
            (&["z.example.org"], "*", false, false),
            (&["a", ""], "anything", true, true),
            (&["a"], "", false, false),
        ] {
            assert_eq!(Domains::new(domains.to_vec(), false).hold(name), permitted, "{name} permitted");
            assert_eq!(Domains::new(domains.to_vec(), true).hold(name), excluded, "{name} excluded");
        }
    }

    #[test]
    fn t3_an_address_is_found_as_go_finds_it() {
        let network = |text: &str| {
            let (base, mask) = text.split_once('/').unwrap();
            Network { address: base.parse().unwrap(), mask: mask.parse().unwrap() }
        };
        for (networks, address, expected) in [
            (&["10.0.0.0/255.0.0.0", "192.168.0.0/255.255.0.0"][..], "10.1.2.3", true),
            (&["10.0.0.0/255.0.0.0", "192.168.0.0/255.255.0.0"], "192.168.255.255", true),
            (&["10.0.0.0/255.0.0.0", "192.168.0.0/255.255.0.0"], "192.169.0.0", false),
            (&["10.0.0.0/255.0.0.0", "10.1.0.0/255.255.0.0", "10.2.0.0/255.255.0.0"], "10.3.0.0", true),
            (&["10.0.0.0/255.0.0.0"], "fd00::1", false),
            (&["fd00::/ff00::"], "fd12::1", true),
            (&["::/::"], "10.0.0.1", false),
            (&["10.0.0.0/255.0.0.0"], "::ffff:10.0.0.1", false),
            (&["::ffff:10.0.0.0/ffff:ffff:ffff:ffff:ffff:ffff:ff00::"], "::ffff:10.0.0.1", true),
            // Sorted by their bits outside the mask too, and only the one before the address is looked at.
            (&["10.5.0.1/255.0.0.0"], "10.1.0.0", true),
            (&["9.0.0.0/255.0.0.0", "10.5.0.1/255.0.0.0"], "10.1.0.0", false),
        ] {
            let networks = Networks::new(networks.iter().map(|text| network(text)).collect());
            assert_eq!(networks.hold(address.parse().unwrap()), expected, "{address}");
        }
    }
}
