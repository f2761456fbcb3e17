//! CAs, their certificates, and what is wrong with them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::der::{Extension, Fields, bit_string, integer, name, oid, sequence, tlv};
use super::{Question, base64, read_base64};
use crate::random::Random;

/// The time at which nearly everything is valid.
const NOW: i64 = 1_795_000_000;
const DAY: i64 = 86_400;

/// What certificates are signed with.
pub(crate) struct Key {
    pub(crate) name: String,
    kind: String,
    public: Vec<u8>,
    private: String,
}

impl Key {
    pub(crate) fn read(answer: &Value) -> Self {
        let text = |field: &str| answer[field].as_str().unwrap().to_owned();
        Self {
            name: text("name"),
            kind: text("kind"),
            public: read_base64(&answer["public"]),
            private: text("private"),
        }
    }

    /// As most CAs make it; nothing reads it as a hash.
    fn id(&self) -> Vec<u8> {
        self.public.iter().rev().take(20).copied().collect()
    }
}

/// A certificate, first without its signature.
#[derive(Clone)]
pub(crate) struct Made {
    tbs: Vec<u8>,
    /// Outside of what is signed.
    algorithm: Vec<u8>,
    /// `None`: there is none to make.
    private: Option<String>,
    scheme: &'static str,
    damage: Damage,
    pub(crate) der: Vec<u8>,
}

/// What happens to a certificate once it is signed.
#[derive(Clone, Copy)]
enum Damage {
    None,
    Signature(usize),
    /// A zero byte after the signature.
    Longer,
    Shorter,
    Anywhere(usize, u8),
    Trailing,
}

impl Made {
    pub(crate) fn to_sign(&self) -> Value {
        match &self.private {
            Some(private) => {
                json!({"sign": {"private": private, "scheme": self.scheme, "message": base64(&self.tbs)}})
            }
            None => json!({"chain": {"presented": [base64(&[])], "roots": [], "name": "x", "at": 0}}),
        }
    }

    pub(crate) fn finish(&mut self, signature: &[u8]) {
        let mut signature = signature.to_vec();
        if signature.is_empty() {
            signature = vec![1; 64];
        }
        match self.damage {
            Damage::Signature(at) => {
                let length = signature.len();
                signature[at % length] ^= 1 << (at % 8);
            }
            Damage::Longer => signature.push(0),
            Damage::Shorter => drop(signature.pop()),
            _ => {}
        }
        self.der = sequence(&[&self.tbs, &self.algorithm, &bit_string(&signature)]);
        match self.damage {
            Damage::Anywhere(at, with) => {
                let length = self.der.len();
                self.der[at % length] ^= with.max(1);
            }
            Damage::Trailing => self.der.push(0),
            _ => {}
        }
    }
}

/// Some CAs and what they signed.
pub(crate) struct World {
    /// The server's first, then CAs from below, then others.
    pub(crate) certificates: Vec<Made>,
    /// How many are of the straight chain.
    straight: usize,
    host: String,
    story: Arc<str>,
}

/// A certificate's subject, key and place, before it is written.
struct Identity<'k> {
    subject: Vec<u8>,
    key: &'k Key,
}

impl World {
    pub(crate) fn new(random: &mut Random, keys: &[Key]) -> Self {
        let mut story = String::new();
        let depth = match random.below(16) {
            // A certificate that is its own issuer.
            0 => 0,
            1..=4 => 1 + random.below(8),
            _ => 1 + random.below(3),
        };
        let host = host(random);
        let mut identities: Vec<Identity<'_>> = (0..=depth)
            .map(|level| Identity { subject: subject(random, level, &host), key: key(random, keys) })
            .collect();
        if random.one_in(25) {
            // A subject or key that two of the chain share.
            let (one, other) = (random.below(depth + 1), random.below(depth + 1));
            if random.one_in(2) {
                identities[one].subject = identities[other].subject.clone();
            } else {
                identities[one].key = identities[other].key;
            }
            story += " shared-identity";
        }
        let faulty = random.below(5) != 0;
        let faults = if faulty { 1 + random.below(2) } else { 0 };
        let faulty_levels: Vec<usize> = (0..faults).map(|_| random.below(depth + 1)).collect();
        let mut certificates = Vec::new();
        for level in 0..=depth {
            let issuer = &identities[(level + 1).min(depth)];
            let mut draft = Draft::new(random, &identities[level], issuer, level, &host);
            for _ in faulty_levels.iter().filter(|&&faulty| faulty == level) {
                draft.spoil(random, keys, level, &host, &mut story);
            }
            certificates.push(draft.make(random));
        }
        let straight = certificates.len();
        let others = match random.below(60) {
            // More ways than Go looks at.
            0 => 10 + random.below(20),
            1..=20 => 1 + random.below(4),
            _ => 0,
        };
        for _ in 0..others {
            let level = random.below(depth + 1);
            let other = random.below(depth + 1);
            let key = key(random, keys);
            let stranger = Identity { subject: identities[level].subject.clone(), key };
            let (who, by, what) = match random.below(6) {
                // Cross-signed, also in circles.
                0 | 1 => (&identities[level], &identities[other], "cross-signed"),
                2 => (&identities[level], &identities[level], "self-signed too"),
                3 => (&stranger, &identities[other], "same subject, other key"),
                4 => (&stranger, &stranger, "self-signed stranger"),
                _ => (&identities[level], &identities[(level + 1).min(depth)], "twin"),
            };
            story += &format!(" +{what}@{level}/{other}");
            let mut draft = Draft::new(random, who, by, level, &host);
            if random.one_in(2) {
                draft.spoil(random, keys, level, &host, &mut story);
            }
            certificates.push(draft.make(random));
        }
        Self { certificates, straight, host, story: format!("depth {depth}:{story}").into() }
    }

    /// Some questions about this world.
    pub(crate) fn questions(&self, random: &mut Random) -> Vec<Question> {
        (0..4).map(|first| self.question(random, first == 0)).collect()
    }

    fn question(&self, random: &mut Random, is_plain: bool) -> Question {
        let der = |place: usize| self.certificates[place].der.clone();
        let all = self.certificates.len();
        let mut presented: Vec<Vec<u8>> = (0..self.straight.saturating_sub(1).max(1)).map(der).collect();
        presented.extend((self.straight..all).map(der));
        let mut roots = vec![der(self.straight - 1)];
        let mut name = self.host.clone();
        let mut at = NOW;
        if !is_plain {
            if random.one_in(3) {
                shuffle(random, &mut presented[1..]);
            }
            match random.below(12) {
                0 if presented.len() > 1 => drop(presented.remove(1 + random.below(presented.len() - 1))),
                1 => presented.push(der(random.below(all))),
                2 => presented.truncate(1),
                3 => presented.push(der(self.straight - 1)),
                4 => presented = vec![der(random.below(all))],
                _ => {}
            }
            match random.below(10) {
                0 => roots = vec![der(random.below(all))],
                1 => roots.push(der(random.below(all))),
                2 => roots.push(der(0)),
                3 => roots = (0..1 + random.below(3)).map(|_| der(random.below(all))).collect(),
                4 if self.straight < all => {
                    roots = vec![der(self.straight + random.below(all - self.straight)), der(self.straight - 1)];
                }
                _ => {}
            }
            if random.one_in(6) {
                name = host_near(random, &name);
            }
            if random.one_in(10) {
                at = NOW + [-1, 1, -400, 400, 4_000, -4_000][random.below(6)] * DAY + random.below(3) as i64 - 1;
            }
        }
        Question { presented, roots, name, at, story: Arc::clone(&self.story) }
    }
}

fn shuffle<T>(random: &mut Random, list: &mut [T]) {
    for at in (1..list.len()).rev() {
        list.swap(at, random.below(at + 1));
    }
}

fn key<'k>(random: &mut Random, keys: &'k [Key]) -> &'k Key {
    let named = |name: &str| keys.iter().find(|key| key.name == name).unwrap();
    match random.below(40) {
        0 => named("p224"),
        1 => named("p384"),
        2 => named("p521"),
        3 => named("ed25519"),
        4 => named("rsa2048"),
        5 | 6 => named("rsa1024"),
        7 => loop {
            let key = &keys[random.below(keys.len())];
            if key.kind != "huge-rsa" || random.one_in(20) {
                break key;
            }
        },
        _ => named(random.pick(&["p256-a", "p256-b", "p256-c", "p256-d"])),
    }
}

fn host(random: &mut Random) -> String {
    random
        .pick(&[
            "registry.corp",
            "registry.corp",
            "a.b.example.com",
            "harbor.example.com",
            "x_y.example.com",
            "corp",
            "10.0.0.1",
            "fd00::1",
            "127.0.0.1",
            "xn--mnchen-3ya.example",
        ])
        .to_owned()
}

fn host_near(random: &mut Random, host: &str) -> String {
    match random.below(11) {
        0 => format!("{host}."),
        1 => host.to_uppercase(),
        2 => format!("x.{host}"),
        3 => format!("[{host}]"),
        4 => host.split_once('.').map_or("y", |(_, rest)| rest).to_owned(),
        5 => format!("*.{host}"),
        6 => format!("::ffff:{host}"),
        7 => format!("-{host}"),
        8 => host.replace('.', ".."),
        9 => format!("{host}%eth0"),
        _ => random.pick(&["other.example.com", "10.0.0.2", "fd00::2", ".", "*", "[]", "ä.corp", "a b"]).to_owned(),
    }
}

fn subject(random: &mut Random, level: usize, host: &str) -> Vec<u8> {
    let text = if level == 0 { host.to_owned() } else { format!("CA {level}") };
    match random.below(30) {
        0 => name(&[]),
        1 => name(&[(3, 0x13, &text)]),
        2 => name(&[(6, 0x13, "DE"), (10, 0x0c, "Corp"), (3, 0x0c, &text)]),
        3 => name(&[(3, 0x0c, &text.repeat(200))]),
        4 => name(&[(3, 0x14, "T\u{fc}"), (3, 0x1e, "\0a\0b")]),
        _ => name(&[(3, 0x0c, &text)]),
    }
}

/// A certificate that can still be changed.
struct Draft {
    fields: Fields,
    outer_algorithm: Option<Vec<u8>>,
    private: String,
    scheme: &'static str,
    damage: Damage,
}

impl Draft {
    /// With nothing wrong, whatever its level: 0 is the server's.
    fn new(random: &mut Random, who: &Identity<'_>, by: &Identity<'_>, level: usize, host: &str) -> Self {
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

    fn make(self, random: &mut Random) -> Made {
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
    fn spoil(&mut self, random: &mut Random, keys: &[Key], level: usize, host: &str, story: &mut String) {
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

fn ip_bytes(text: &str) -> Option<Vec<u8>> {
    Some(match text.parse().ok()? {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    })
}

/// Subject alternative names that the host is among.
fn names(random: &mut Random, host: &str) -> Vec<u8> {
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

fn any_name(random: &mut Random, host: &str) -> Vec<u8> {
    let domain = random.pick(DOMAINS);
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

fn strange_names(random: &mut Random, host: &str) -> Vec<u8> {
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

fn name_constraints(random: &mut Random, host: &str) -> Vec<u8> {
    let mut side = |random: &mut Random, tag: u8, count: usize| {
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
    let domain = random.pick(DOMAINS);
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
