//! CAs, the certificates that they make, and what is asked about them.

use std::sync::Arc;

use super::Question;
use super::der::name;
use super::draft::Draft;
use super::made::{Key, Made};
use crate::random::Random;

/// The time at which nearly everything is valid.
pub(super) const NOW: i64 = 1_795_000_000;
pub(super) const DAY: i64 = 86_400;

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
pub(super) struct Identity<'k> {
    pub(super) subject: Vec<u8>,
    pub(super) key: &'k Key,
}

impl World {
    pub(crate) fn new(random: &mut Random, keys: &[Key]) -> Self {
        if random.one_in(300) {
            return Self::crowded(random, keys);
        }
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

    /// About as many candidates for the issuer as Go looks at, before the right one.
    fn crowded(random: &mut Random, keys: &[Key]) -> Self {
        let named = |name: &str| keys.iter().find(|key| key.name == name).unwrap();
        let host = "registry.corp".to_owned();
        let identity = |name: &str, key| Identity { subject: self::name(&[(3, 0x0c, name)]), key: named(key) };
        let (server, issuing, root) =
            (identity(&host, "p256-a"), identity("issuing", "p256-b"), identity("root", "p256-c"));
        let stranger = identity("issuing", "p256-d");
        let strangers = 93 + random.below(10);
        let mut certificate = |who: &Identity<'_>, by: &Identity<'_>, level, number: u8| {
            let mut draft = Draft::new(random, who, by, level, &host);
            draft.fields.serial = vec![1, number];
            draft.make(random)
        };
        let mut certificates = vec![certificate(&server, &issuing, 0, 0)];
        certificates.extend((0..strangers).map(|number| certificate(&stranger, &root, 1, number as u8)));
        certificates.push(certificate(&issuing, &root, 1, 0));
        certificates.push(certificate(&root, &root, 2, 0));
        let straight = certificates.len();
        Self { certificates, straight, host, story: format!("{strangers} strangers").into() }
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

pub(super) fn shuffle<T>(random: &mut Random, list: &mut [T]) {
    for at in (1..list.len()).rev() {
        list.swap(at, random.below(at + 1));
    }
}

pub(super) fn key<'k>(random: &mut Random, keys: &'k [Key]) -> &'k Key {
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

pub(super) fn subject(random: &mut Random, level: usize, host: &str) -> Vec<u8> {
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
