//! Which addresses are never dialled (P2): whoever writes a pod, or owns a name, must not make mirrorgate knock at doors that
//! only it can reach.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Why an address is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Unspecified,
    Loopback,
    LinkLocal,
    Metadata,
    Multicast,
    Broadcast,
    /// A network of `trust.denyNetworks`.
    Denied(IpNet),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unspecified => f.write_str("an address of no machine"),
            Self::Loopback => f.write_str("a loopback address"),
            Self::LinkLocal => f.write_str("a link-local address"),
            Self::Metadata => f.write_str("the address of a cloud's metadata"),
            Self::Multicast => f.write_str("a multicast address"),
            Self::Broadcast => f.write_str("the broadcast address"),
            Self::Denied(network) => write!(f, "in {network} of trust.denyNetworks"),
        }
    }
}

/// Where clouds serve metadata, credentials among it, besides 169.254.0.0/16.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba Cloud
    Ipv4Addr::new(168, 63, 129, 16),   // Azure
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle Cloud
];
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), // AWS
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),  // Google Cloud
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),   // Scaleway
];

/// Why this address must not be dialled, if it must not. An IPv6 address that stands for an IPv4 address is judged as both.
pub(super) fn refusal(address: IpAddr, denied: &[IpNet]) -> Option<Refusal> {
    let denied = |address: IpAddr| {
        let mapped = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
            IpAddr::V6(_) => address,
        };
        let holds = |network: &&IpNet| network.contains(&address) || network.contains(&mapped);
        denied.iter().find(holds).copied().map(Refusal::Denied)
    };
    match address {
        IpAddr::V4(v4) => refusal_v4(v4).or_else(|| denied(address)),
        IpAddr::V6(v6) => refusal_v6(v6)
            .or_else(|| denied(address))
            .or_else(|| embedded(v6).find_map(|v4| refusal_v4(v4).or_else(|| denied(v4.into())))),
    }
}

fn refusal_v4(address: Ipv4Addr) -> Option<Refusal> {
    match address {
        // The whole of 0.0.0.0/8 is this very machine to some systems.
        _ if address.octets()[0] == 0 => Some(Refusal::Unspecified),
        _ if address.is_loopback() => Some(Refusal::Loopback),
        _ if address.is_link_local() => Some(Refusal::LinkLocal),
        _ if METADATA_V4.contains(&address) => Some(Refusal::Metadata),
        _ if address.is_multicast() => Some(Refusal::Multicast),
        _ if address.is_broadcast() => Some(Refusal::Broadcast),
        _ => None,
    }
}

fn refusal_v6(address: Ipv6Addr) -> Option<Refusal> {
    match address {
        _ if address.is_unspecified() => Some(Refusal::Unspecified),
        _ if address.is_loopback() => Some(Refusal::Loopback),
        _ if address.is_unicast_link_local() => Some(Refusal::LinkLocal),
        _ if METADATA_V6.contains(&address) => Some(Refusal::Metadata),
        _ if address.is_multicast() => Some(Refusal::Multicast),
        _ => None,
    }
}

/// The IPv4 addresses that an IPv6 address may stand for: mapped, translated, compatible, NAT64, 6to4 and Teredo.
fn embedded(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let pair = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    let (last, second) = (pair(g, h), pair(b, c));
    let found = match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0 | 0xffff) | (0, 0, 0, 0, 0xffff, 0) => [Some(last), None, None, None],
        (0x64, 0xff9b, 0, 0, 0, 0) => [Some(last), None, None, None],
        // NAT64 within one site: where the address stands depends on the length of the site's prefix, which is 48, 56, 64
        // or 96 bits (RFC 6052), and the rest is zeros.
        (0x64, 0xff9b, 1, ..) => {
            let [_, _, _, _, _, _, x6, x7, _, x9, x10, x11, x12, ..] = address.octets();
            let stands = |found: &Ipv4Addr| found.octets()[0] != 0;
            [
                Some(last).filter(stands),
                Some(Ipv4Addr::new(x6, x7, x9, x10)).filter(stands),
                Some(Ipv4Addr::new(x7, x9, x10, x11)).filter(stands),
                Some(Ipv4Addr::new(x9, x10, x11, x12)).filter(stands),
            ]
        }
        (0x2002, ..) => [Some(second), None, None, None],
        (0x2001, 0, ..) => [Some(pair(c, d)), Some(pair(!g, !h)), None, None],
        _ => [None; 4],
    };
    found.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(address: &str, denied: &[IpNet]) -> Option<Refusal> {
        refusal(address.parse().unwrap(), denied)
    }

    #[test]
    fn p2_trap_17_what_is_never_dialled() {
        for (address, expected) in [
            ("127.0.0.1", Refusal::Loopback),
            ("127.9.9.9", Refusal::Loopback),
            ("::1", Refusal::Loopback),
            ("::ffff:127.0.0.1", Refusal::Loopback),
            ("::127.0.0.1", Refusal::Loopback),
            ("::ffff:0:127.0.0.1", Refusal::Loopback),
            ("64:ff9b::127.0.0.1", Refusal::Loopback),
            ("64:ff9b:1::127.0.0.1", Refusal::Loopback),
            ("64:ff9b:1:7f00:0:100::", Refusal::Loopback),
            ("64:ff9b:1:7f:0:1::", Refusal::Loopback),
            ("64:ff9b:1:0:a9:fea9:fe00:0", Refusal::LinkLocal),
            ("2002:7f00:1::1", Refusal::Loopback),
            ("2001:0:a9fe:a9fe::1", Refusal::LinkLocal),
            ("2001:0:c000:201:0:0:80ff:fffe", Refusal::Loopback),
            ("169.254.169.254", Refusal::LinkLocal),
            ("169.254.0.1", Refusal::LinkLocal),
            ("fe80::1", Refusal::LinkLocal),
            ("febf::1", Refusal::LinkLocal),
            ("::ffff:169.254.169.254", Refusal::LinkLocal),
            ("64:ff9b::a9fe:a9fe", Refusal::LinkLocal),
            ("2002:a9fe:a9fe::", Refusal::LinkLocal),
            ("fd00:ec2::254", Refusal::Metadata),
            ("fd20:ce::254", Refusal::Metadata),
            ("fd00:42::42", Refusal::Metadata),
            ("100.100.100.200", Refusal::Metadata),
            ("168.63.129.16", Refusal::Metadata),
            ("192.0.0.192", Refusal::Metadata),
            ("::ffff:100.100.100.200", Refusal::Metadata),
            ("0.0.0.0", Refusal::Unspecified),
            ("0.1.2.3", Refusal::Unspecified),
            ("::", Refusal::Unspecified),
            ("224.0.0.1", Refusal::Multicast),
            ("ff02::1", Refusal::Multicast),
            ("255.255.255.255", Refusal::Broadcast),
        ] {
            assert_eq!(judged(address, &[]), Some(expected), "{address}");
        }
        for address in [
            "10.0.0.1",
            "192.168.0.1",
            "172.16.0.1",
            "100.64.0.1",
            "169.253.0.1",
            "128.0.0.1",
            "203.0.113.9",
            "fd00::1",
            "2001:db8::1",
            "2606:4700::1111",
            "64:ff9b::10.0.0.1",
            "2002:a00:1::1",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(judged(address, &[]), None, "{address}");
        }
    }

    #[test]
    fn p2_denied_networks_hold_for_every_form_of_an_address() {
        let ten: IpNet = "10.0.0.0/8".parse().unwrap();
        let ula: IpNet = "fd00:1::/32".parse().unwrap();
        let mapped: IpNet = "::ffff:192.0.2.0/120".parse().unwrap();
        let denied = [ten, ula, mapped];
        for (address, network) in [
            ("10.1.2.3", ten),
            ("::ffff:10.1.2.3", ten),
            ("64:ff9b::10.1.2.3", ten),
            ("2002:a01:203::1", ten),
            ("fd00:1::7", ula),
            ("::ffff:192.0.2.7", mapped),
            ("192.0.2.7", mapped),
        ] {
            assert_eq!(judged(address, &denied), Some(Refusal::Denied(network)), "{address}");
        }
        for address in ["11.1.2.3", "fd00:2::7", "::ffff:11.1.2.3"] {
            assert_eq!(judged(address, &denied), None, "{address}");
        }
    }
}
