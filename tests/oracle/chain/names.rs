//! Alternative names, and constraints on them: many that match or nearly do, a few that cannot be read.

use super::der::{name, oid, sequence, tlv};
use crate::random::Random;

fn ip_bytes(text: &str) -> Option<Vec<u8>> {
    Some(match text.parse().ok()? {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    })
}

/// Subject alternative names that the host is among.
pub(super) fn names(random: &mut Random, host: &str) -> Vec<u8> {
    let own = match ip_bytes(host) {
        Some(mut bytes) => {
            if bytes.len() == 4 && random.one_in(6) {
                bytes = [&[0; 10][..], &[0xff, 0xff], &bytes].concat();
            }
            tlv(0x87, &bytes)
        }
        None => {
            let wildcard = host.split_once('.').map(|(_, rest)| format!("*.{rest}"));
            let text = match (random.below(6), wildcard) {
                (0 | 1, Some(wildcard)) => wildcard,
                (2, _) => host.to_uppercase(),
                _ => host.to_owned(),
            };
            tlv(0x82, text.as_bytes())
        }
    };
    let mut all: Vec<Vec<u8>> = (0..random.below(3)).map(|_| any_name(random, host)).collect();
    all.insert(random.below(all.len() + 1), own);
    tlv(0x30, &all.concat())
}

const DOMAINS: &[&str] = &[
    "example.com",
    "registry.corp",
    "corp",
    "a.example.com",
    "b.example.com",
    "A.EXAMPLE.com",
    "harbor.example.com",
    "example.org",
    "a-b.example.com",
    "com",
    "xn--mnchen-3ya.example",
];

/// Between a domain and those below it, others sort that only begin alike from the end.
const FAMILY: &[&str] = &["example.com", "x-example.com", "a.example.com", "z.example.com", "x-a.example.com"];

fn domain(random: &mut Random) -> &'static str {
    if random.one_in(2) { random.pick(FAMILY) } else { random.pick(DOMAINS) }
}

fn any_name(random: &mut Random, host: &str) -> Vec<u8> {
    let domain = domain(random);
    match random.below(12) {
        0..=3 => tlv(0x82, domain.as_bytes()),
        4 => tlv(0x82, format!("*.{domain}").as_bytes()),
        5 => tlv(
            0x82,
            random
                .pick(&[
                    "",
                    ".",
                    "*",
                    ".example.com",
                    "example.com.",
                    "a b",
                    "a..b",
                    "\u{e4}",
                    "*.*.corp",
                    "a*.corp",
                    "-x.corp",
                ])
                .as_bytes(),
        ),
        6 => tlv(0x81, format!("{}@{domain}", random.pick(&["a", "A", "\"a b\"", "a.b", "", "a\\@b"])).as_bytes()),
        7 => tlv(0x81, random.pick(&["a@", "a", "@b", "a@b.", "a@B.c"]).as_bytes()),
        8 => {
            let host = random.pick(&[
                "example.com",
                "a.example.com:80",
                "[::1]",
                "10.0.0.1",
                "EXAMPLE.org",
                "",
                "[::1]:80",
                "user@corp",
                "a:b:1",
            ]);
            tlv(0x86, format!("{}{host}/x", random.pick(&["https://", "spiffe://", "//", "x:"])).as_bytes())
        }
        9 => tlv(0x87, &random_ip(random)),
        10 => tlv(0x87, if random.one_in(5) { &[1; 5] } else { &[1; 4] }),
        _ => match random.below(4) {
            0 => tlv(0x88, &[0x2a, 3]),
            1 => tlv(0xa4, &name(&[(3, 0x0c, "x")])),
            2 => tlv(0xa0, &oid(&[1, 2, 3])),
            _ => tlv(0x82, host.as_bytes()),
        },
    }
}

pub(super) fn strange_names(random: &mut Random, host: &str) -> Vec<u8> {
    let all: Vec<u8> = (0..random.below(5)).flat_map(|_| any_name(random, host)).collect();
    if random.one_in(15) { all } else { tlv(0x30, &all) }
}

fn random_ip(random: &mut Random) -> Vec<u8> {
    let v4 = [10, random.below(2) as u8, 0, random.below(3) as u8];
    match random.below(4) {
        0 | 1 => v4.to_vec(),
        2 => [&[0; 10][..], &[0xff, 0xff], &v4].concat(),
        _ => [&[0xfd, 0, 0, random.below(2) as u8][..], &[0; 11], &[random.below(3) as u8]].concat(),
    }
}

pub(super) fn name_constraints(random: &mut Random, host: &str) -> Vec<u8> {
    let side = |random: &mut Random, tag: u8, count: usize| {
        let subtrees: Vec<u8> = (0..count).flat_map(|_| sequence(&[&constraint(random, host)])).collect();
        if count == 0 { Vec::new() } else { tlv(tag, &subtrees) }
    };
    let (permitted, excluded) = match random.below(5) {
        0 | 1 => (1 + random.below(4), 0),
        2 | 3 => (0, 1 + random.below(4)),
        _ => (1 + random.below(3), random.below(4)),
    };
    let permitted = side(random, 0xa0, permitted);
    let excluded = side(random, 0xa1, excluded);
    sequence(&[&permitted, &excluded])
}

fn constraint(random: &mut Random, host: &str) -> Vec<u8> {
    let domain = domain(random);
    if random.one_in(40) {
        return unreadable_constraint(random);
    }
    match random.below(15) {
        0..=3 => tlv(0x82, domain.as_bytes()),
        4 => tlv(0x82, format!(".{domain}").as_bytes()),
        5 => tlv(0x82, random.pick(&["", "*.corp", "*", "*.example.com", "a"]).as_bytes()),
        6 => {
            let host = if host.contains(':') || host.starts_with('1') { "corp" } else { host };
            tlv(0x82, host.as_bytes())
        }
        7 => tlv(0x81, random.pick(&["a@example.com", "A@EXAMPLE.com", "\"a b\"@corp", "a", "a.b@corp"]).as_bytes()),
        8 => tlv(0x81, random.pick(&["example.com", ".example.com", "", "corp", "b"]).as_bytes()),
        9 => tlv(0x86, random.pick(&["example.com", ".example.com", "corp", "", "ORG"]).as_bytes()),
        10..=13 => {
            let base = match ip_bytes(host) {
                Some(own) if random.one_in(2) => own,
                _ => random_ip(random),
            };
            let ones = random.below(8 * base.len() + 1);
            let mask: Vec<u8> = (0..base.len())
                .map(|at| match ones.saturating_sub(8 * at) {
                    8.. => 0xff,
                    bits => !(0xff_u16 >> bits) as u8,
                })
                .collect();
            tlv(0x87, &[base, mask].concat())
        }
        _ => tlv(0xa4, &name(&[(3, 0x0c, "x")])),
    }
}

fn unreadable_constraint(random: &mut Random) -> Vec<u8> {
    match random.below(5) {
        0 => tlv(0x82, random.pick(&[".", "corp.", "a b", "..corp", "\u{e4}"]).as_bytes()),
        1 => tlv(0x81, random.pick(&["@", "a@b@c", "a b"]).as_bytes()),
        2 => tlv(0x86, random.pick(&["10.0.0.1", "::1", "a b"]).as_bytes()),
        3 => tlv(0x87, &[1; 9]),
        _ => tlv(0x87, &[1; 8]),
    }
}
