//! One certificate, right at first, and what can be wrong with it.

use super::der::{Extension, Fields, bit_string, integer, oid, sequence, tlv};
use super::made::{Damage, Key, Made};
use super::names::{name_constraints, names, strange_names};
use super::world::{DAY, Identity, NOW, key, shuffle, subject};
use crate::random::Random;

/// A certificate that can still be changed.
pub(super) struct Draft {
    pub(super) fields: Fields,
    outer_algorithm: Option<Vec<u8>>,
    private: String,
    scheme: &'static str,
    damage: Damage,
}

impl Draft {
    /// With nothing wrong, whatever its level: 0 is the server's.
    pub(super) fn new(random: &mut Random, who: &Identity<'_>, by: &Identity<'_>, level: usize, host: &str) -> Self {
        let (scheme, algorithm) = scheme(random, by.key);
        let mut extensions = Vec::new();
        if !random.one_in(8) {
            extensions.push(Extension::new(14, false, tlv(0x04, &who.key.id())));
            extensions.push(Extension::new(35, false, sequence(&[&tlv(0x80, &by.key.id())])));
        }
        if level == 0 {
            extensions.push(Extension::new(17, random.one_in(8), names(random, host)));
            if random.one_in(2) {
                extensions.push(Extension::new(15, true, tlv(0x03, &[7, 0x80])));
            }
            if random.one_in(2) {
                extensions.push(Extension::new(37, false, sequence(&[&oid(&[1, 3, 6, 1, 5, 5, 7, 3, 1])])));
            }
            if random.one_in(4) {
                extensions.push(Extension::new(19, true, sequence(&[])));
            }
        } else {
            let most = if random.one_in(5) { integer(&[(level - 1 + random.below(3)) as u8]) } else { Vec::new() };
            extensions.push(Extension::new(19, true, sequence(&[&tlv(1, &[0xff]), &most])));
            if !random.one_in(4) {
                extensions.push(Extension::new(15, true, tlv(0x03, &[1, 0x06])));
            }
        }
        if random.one_in(12) {
            extensions.push(Extension::new(32, random.one_in(2), sequence(&[&sequence(&[&oid(&[2, 5, 29, 32, 0])])])));
        }
        if random.one_in(12) {
            shuffle(random, &mut extensions);
        }
        let serial = match random.below(20) {
            0 => vec![0],
            1 => vec![0x7f; 21],
            _ => vec![1 + random.below(127) as u8],
        };
        Self {
            fields: Fields {
                version: Some(2),
                serial,
                algorithm,
                issuer: by.subject.clone(),
                not_before: NOW - 300 * DAY,
                not_after: NOW + 300 * DAY,
                generalized: random.one_in(5),
                subject: who.subject.clone(),
                spki: who.key.public.clone(),
                unique_ids: random.one_in(30),
                extensions,
            },
            outer_algorithm: None,
            private: by.key.private.clone(),
            scheme,
            damage: Damage::None,
        }
    }

    pub(super) fn make(self, random: &mut Random) -> Made {
        let mut tbs = self.fields.tbs();
        if random.one_in(120) {
            let at = random.below(tbs.len());
            tbs[at] = random.below(256) as u8;
        }
        Made {
            tbs,
            algorithm: self.outer_algorithm.unwrap_or(self.fields.algorithm),
            private: Some(self.private),
            scheme: self.scheme,
            damage: self.damage,
            der: Vec::new(),
        }
    }

    /// Puts one thing wrong, or only strange.
    pub(super) fn spoil(&mut self, random: &mut Random, keys: &[Key], level: usize, host: &str, story: &mut String) {
        let mut kind = random.below(24);
        if matches!(kind, 16 | 17 | 20 | 23) && !random.one_in(3) {
            // Mostly unreadable then, which all certificates of a question suffer from.
            kind = 6;
        }
        *story += &format!(" {}@{level}", FAULTS[kind]);
        match kind {
            0 => self.validity(random),
            1 => self.basic_constraints(random),
            2 => self.key_usage(random),
            3 | 4 => self.usages(random),
            5 => self.key_ids(random),
            6..=9 => self.set(Extension::new(30, random.one_in(2), name_constraints(random, host))),
            10 | 11 => {
                let names = strange_names(random, host);
                self.set(Extension::new(17, random.one_in(4), names));
            }
            12 => self.without(17),
            13 => {
                let oid = random.pick(&[
                    &[1, 2, 3, 4][..],
                    &[2, 5, 29, 99],
                    &[2, 5, 29, 36, 1],
                    &[1, 3, 6, 1, 5, 5, 7, 1, 11],
                ]);
                let critical = random.one_in(2);
                self.fields.extensions.push(Extension { oid: super::der::oid(oid), critical, value: vec![5, 0] });
            }
            14 | 15 => self.policies(random),
            16 => {
                self.fields.version = random.below(5).checked_sub(1).map(|version| version as u8);
                if random.one_in(2) {
                    self.fields.extensions.clear();
                }
            }
            17 => {
                self.fields.serial =
                    [vec![0x80], vec![0, 1], vec![], vec![0xff, 0xff], vec![0, 0x80]][random.below(5)].clone()
            }
            18 => self.algorithm(random),
            19 => {
                let at = random.below(4000);
                self.damage = match random.below(6) {
                    0..=2 => Damage::Signature(at),
                    3 => Damage::Longer,
                    4 => Damage::Shorter,
                    _ => Damage::Trailing,
                };
            }
            20 => self.damage = Damage::Anywhere(random.below(4000), random.below(256) as u8),
            21 => {
                // By another key, or for another.
                let other = key(random, keys);
                if random.one_in(2) {
                    self.private = other.private.clone()
                } else {
                    self.fields.spki = other.public.clone()
                }
            }
            22 => self.fields.issuer = subject(random, level + 1, host),
            _ => self.spki(random),
        }
    }

    fn set(&mut self, extension: Extension) {
        if extension.number().is_some() {
            self.without(extension.number().unwrap());
        }
        self.fields.extensions.push(extension);
    }

    fn without(&mut self, number: u8) {
        self.fields.extensions.retain(|extension| extension.number() != Some(number));
    }

    fn validity(&mut self, random: &mut Random) {
        let near = random.below(3) as i64 - 1;
        match random.below(5) {
            0 => self.fields.not_after = NOW - DAY,
            1 => self.fields.not_before = NOW + DAY,
            2 => self.fields.not_after = NOW + near,
            3 => self.fields.not_before = NOW + near,
            _ => (self.fields.not_before, self.fields.not_after) = (NOW - 30_000 * DAY, NOW + 30_000 * DAY),
        }
    }

    fn basic_constraints(&mut self, random: &mut Random) {
        let (yes, no) = (tlv(1, &[0xff]), tlv(1, &[0]));
        let value = match random.below(10) {
            0 => return self.without(19),
            1 => sequence(&[]),
            2 => sequence(&[&no]),
            3 => sequence(&[&yes]),
            4 | 5 => sequence(&[&yes, &integer(&[0])]),
            6 => sequence(&[&yes, &integer(&[random.below(4) as u8])]),
            7 => sequence(&[&integer(&[0])]),
            8 => sequence(&[&yes, &integer(&[0xff])]),
            _ => sequence(&[&tlv(1, &[1])]),
        };
        self.set(Extension::new(19, random.one_in(2), value));
    }

    fn key_usage(&mut self, random: &mut Random) {
        let value = match random.below(6) {
            0 => return self.without(15),
            1 => tlv(3, &[7, 0x80]),
            2 => tlv(3, &[0]),
            3 => tlv(3, &[2, 0x04]),
            4 => tlv(3, &[7, 0, 0x80]),
            _ => tlv(3, &[0, 0x06]),
        };
        self.set(Extension::new(15, random.one_in(2), value));
    }

    fn usages(&mut self, random: &mut Random) {
        let purpose = |number: u64| oid(&[1, 3, 6, 1, 5, 5, 7, 3, number]);
        let any = oid(&[2, 5, 29, 37, 0]);
        let parts: Vec<Vec<u8>> = match random.below(8) {
            0 => vec![],
            1 => vec![purpose(1)],
            2 => vec![purpose(2)],
            3 => vec![purpose(2), purpose(1)],
            4 => vec![any],
            5 => vec![oid(&[1, 2, 3])],
            6 => vec![oid(&[2, 16, 840, 1, 113_730, 4, 1])],
            _ => vec![oid(&[1, 2, 3]), any],
        };
        self.set(Extension::new(37, random.one_in(2), tlv(0x30, &parts.concat())));
    }

    fn key_ids(&mut self, random: &mut Random) {
        match random.below(6) {
            0 => self.without(14),
            1 => self.without(35),
            2 => self.set(Extension::new(14, false, tlv(4, &[1, 2, 3]))),
            3 => self.set(Extension::new(35, false, sequence(&[&tlv(0x80, &[1, 2, 3])]))),
            4 => self.set(Extension::new(35, random.one_in(2), sequence(&[]))),
            _ => self.set(Extension::new(14, random.one_in(2), tlv(4, &[]))),
        }
    }

    fn policies(&mut self, random: &mut Random) {
        let one = |random: &mut Random| match random.below(4) {
            0 => oid(&[2, 5, 29, 32, 0]),
            number => oid(&[1, 2, number as u64]),
        };
        for _ in 0..1 + random.below(3) {
            match random.below(4) {
                0 => {
                    let list: Vec<u8> = (0..random.below(4)).flat_map(|_| sequence(&[&one(random)])).collect();
                    self.set(Extension::new(32, random.one_in(3), tlv(0x30, &list)));
                }
                1 => {
                    let list: Vec<u8> =
                        (0..1 + random.below(3)).flat_map(|_| sequence(&[&one(random), &one(random)])).collect();
                    self.set(Extension::new(33, random.one_in(3), tlv(0x30, &list)));
                }
                2 => {
                    let explicit = if random.one_in(4) { vec![] } else { tlv(0x80, &[random.below(3) as u8]) };
                    let inhibit = if random.one_in(2) { vec![] } else { tlv(0x81, &[random.below(3) as u8]) };
                    self.set(Extension::new(36, random.one_in(3), sequence(&[&explicit, &inhibit])));
                }
                _ => self.set(Extension::new(54, random.one_in(3), integer(&[random.below(3) as u8]))),
            }
        }
    }

    fn algorithm(&mut self, random: &mut Random) {
        let others = [
            rsa_algorithm(4),
            rsa_algorithm(5),
            rsa_algorithm(11),
            sequence(&[&oid(&[1, 2, 840, 10_045, 4, 1])]),
            sequence(&[&oid(&[1, 2, 840, 10_045, 4, 3, 2])]),
            sequence(&[&oid(&[1, 2, 840, 10_045, 4, 3, 4])]),
            sequence(&[&oid(&[1, 3, 101, 112])]),
            sequence(&[&oid(&[1, 3, 101, 112]), &[5, 0]]),
            sequence(&[&oid(&[1, 3, 14, 3, 2, 29])]),
            sequence(&[&oid(&[2, 16, 840, 1, 101, 3, 4, 3, 2])]),
            sequence(&[&oid(&[1, 2, 840, 10_040, 4, 3])]),
            pss_algorithm(1, 20),
            pss_algorithm(2, 48),
            sequence(&[&oid(&[1, 2, 3])]),
        ];
        let other = others[random.below(others.len())].clone();
        if random.one_in(5) { self.outer_algorithm = Some(other) } else { self.fields.algorithm = other }
    }

    /// A key that cannot sign anything here.
    fn spki(&mut self, random: &mut Random) {
        let rsa = |modulus: &[u8], exponent: &[u8], null: &[u8]| {
            let key = sequence(&[&integer(modulus), &integer(exponent)]);
            sequence(&[&sequence(&[&oid(&[1, 2, 840, 113_549, 1, 1, 1]), null]), &bit_string(&key)])
        };
        let modulus = |bytes: usize| [vec![0], vec![0xff; bytes]].concat();
        let plain = |numbers: &[u64], key: &[u8]| sequence(&[&sequence(&[&oid(numbers)]), &bit_string(key)]);
        let number = integer(&[5]);
        self.fields.spki = match random.below(12) {
            0 => rsa(&modulus(1024), &[1, 0, 1], &[5, 0]),
            1 => rsa(&[vec![1], vec![0xff; 1024]].concat(), &[1, 0, 1], &[5, 0]),
            2 => rsa(&modulus(128), &[1, 0, 1], &[]),
            3 => rsa(&[0xff; 128], &[1, 0, 1], &[5, 0]),
            4 => rsa(&modulus(128), &[0], &[5, 0]),
            5 => rsa(&modulus(128), &[1; 9], &[5, 0]),
            6 => plain(&[1, 3, 101, 110], &[7; 32]),
            7 => plain(&[1, 3, 101, 112], &[7; 32]),
            8 => plain(&[1, 3, 101, 112], &[7; 31]),
            9 => plain(&[1, 2, 3], &[]),
            10 => sequence(&[
                &sequence(&[&oid(&[1, 2, 840, 10_040, 4, 1]), &sequence(&[&number, &number, &number])]),
                &bit_string(&number),
            ]),
            _ => sequence(&[
                &sequence(&[&oid(&[1, 2, 840, 10_045, 2, 1]), &oid(&[1, 3, 132, 0, 33])]),
                &bit_string(&[&[4], &[1; 56][..]].concat()),
            ]),
        };
    }
}

const FAULTS: [&str; 24] = [
    "validity",
    "basic-constraints",
    "key-usage",
    "usages",
    "usages",
    "key-ids",
    "constraints",
    "constraints",
    "constraints",
    "constraints",
    "names",
    "names",
    "no-names",
    "extension",
    "policies",
    "policies",
    "version",
    "serial",
    "algorithm",
    "signature",
    "damage",
    "other-key",
    "other-issuer",
    "key",
];

fn rsa_algorithm(number: u64) -> Vec<u8> {
    sequence(&[&oid(&[1, 2, 840, 113_549, 1, 1, number]), &[5, 0]])
}

/// By the last number of the hash's OID.
fn pss_algorithm(hash: u64, salt: u8) -> Vec<u8> {
    let hash = sequence(&[&oid(&[2, 16, 840, 1, 101, 3, 4, 2, hash]), &[5, 0]]);
    let mask = sequence(&[&oid(&[1, 2, 840, 113_549, 1, 1, 8]), &hash]);
    let parameters = sequence(&[&tlv(0xa0, &hash), &tlv(0xa1, &mask), &tlv(0xa2, &integer(&[salt]))]);
    sequence(&[&oid(&[1, 2, 840, 113_549, 1, 1, 10]), &parameters])
}

/// One that the key can be used with, and its identifier.
fn scheme(random: &mut Random, key: &Key) -> (&'static str, Vec<u8>) {
    let ecdsa = |number: u64| sequence(&[&oid(&[1, 2, 840, 10_045, 4, 3, number])]);
    let which = random.below(3);
    match key.kind.as_str() {
        "ed25519" => ("ed25519", sequence(&[&oid(&[1, 3, 101, 112])])),
        "ecdsa" => (["256", "384", "512"][which], ecdsa(2 + which as u64)),
        "rsa" if random.one_in(2) => {
            let salt = if random.one_in(15) { 20 } else { [32, 48, 64][which] };
            let names = if salt == 20 { ["pss*256", "pss*384", "pss*512"] } else { ["pss256", "pss384", "pss512"] };
            let claimed = if random.one_in(2) { [32, 48, 64][which] } else { salt };
            (names[which], pss_algorithm(1 + which as u64, claimed))
        }
        _ => (["256", "384", "512"][which], rsa_algorithm(11 + which as u64)),
    }
}
