//! Certificates and bundles, against Go's `crypto/x509` and `encoding/pem`: whether a certificate is read and all that is
//! found in it, and which certificates of a PEM text are taken.
//!
//! Certificates that Go made, with every extension it reads, are changed at one or more places of their tree: a value, a
//! tag, a length, a part more or less or elsewhere. The seeds' keys are new in each run; the changes are not.

mod tree;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mirrorgate::trust::{
    Bundle, Certificate, Curve, ExtKeyUsage, InvalidCertificate, NameKind, PublicKey, SignatureAlgorithm, SkippedKind,
    public_roots, uri_host,
};
use serde_json::{Value, json};

use self::tree::Node;
use super::random::Random;
use super::{Comparison, program};

const CERTIFICATES: usize = 40_000;
const TEXTS: usize = 10_000;

pub(crate) fn compare(folder: &Path, seed: u64) -> Comparison {
    let program = folder.join("certificate");
    let mut random = Random::new(seed);
    let seeds: Vec<Vec<u8>> = program::ask(&program, &[json!({"seeds": true})])[0]["seeds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|seed| STANDARD.decode(seed.as_str().unwrap()).unwrap())
        .collect();
    let trees: Vec<Node> = seeds.iter().map(|seed| Node::read(seed).unwrap()).collect();
    let roots = public_roots();
    let whole = seeds.iter().cloned().chain(roots.certificates().iter().map(|root| root.der().to_vec()));
    let changed = (0..CERTIFICATES).map(|_| changed(&mut random, &trees));
    let certificates: Vec<Vec<u8>> = whole.chain(changed).collect();
    let texts: Vec<Vec<u8>> = (0..TEXTS).map(|_| text(&mut random, &seeds)).collect();

    let asked = |field: &str, all: &[Vec<u8>]| -> Vec<Value> {
        let ask = |bytes| json!({field: STANDARD.encode(bytes)});
        program::ask(&program, &all.iter().map(ask).collect::<Vec<Value>>())
    };
    let mut tally = Tally::default();
    let read = asked("der", &certificates);
    let mut disagreements: Vec<String> =
        certificates.iter().zip(&read).filter_map(|(der, theirs)| tally.certificate(der, theirs)).collect();
    let taken = asked("pem", &texts);
    disagreements.extend(texts.iter().zip(&taken).filter_map(|(text, theirs)| tally.text(text, theirs)));
    if disagreements.is_empty() {
        tally.assert_telling();
    }
    Comparison { inputs: certificates.len() + texts.len(), disagreements }
}

fn changed(random: &mut Random, trees: &[Node]) -> Vec<u8> {
    let mut tree = trees[random.below(trees.len())].clone();
    for _ in 0..1 + random.below(3) / 2 {
        tree.change(random, trees);
    }
    if !random.one_in(8) {
        tree.agree_on_algorithm();
    }
    let mut der = tree.der();
    if random.one_in(30) {
        let at = random.below(der.len());
        match random.below(4) {
            0 => der.truncate(at),
            1 => der.push(0),
            2 => drop(der.remove(at)),
            _ => der[at] ^= 1 << random.below(8),
        }
    }
    der
}

/// A few blocks, and something wrong with some of them.
fn text(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    const STRANGE: [&str; 14] = [
        "-----BEGIN CERTIFICATE-----",
        "-----END CERTIFICATE-----",
        "-----END TRUSTED CERTIFICATE-----",
        "-----BEGIN -----",
        "-----END -----",
        "-----BEGIN A:B-----",
        "-----END A:B-----",
        "",
        "Proc-Type: 4,ENCRYPTED",
        ":",
        "# a remark",
        "subject=CN = x",
        "-----BEGIN CERTIFICATE----",
        "AA==",
    ];
    let mut lines: Vec<String> = Vec::new();
    for _ in 0..1 + random.below(4) {
        let kind =
            random.pick(&["CERTIFICATE", "CERTIFICATE", "CERTIFICATE", "TRUSTED CERTIFICATE", "PRIVATE KEY", ""]);
        let base64 = STANDARD.encode(&seeds[random.below(seeds.len())]);
        lines.push(format!("-----BEGIN {kind}-----"));
        let length = [64, 64, 76, 5000][random.below(4)];
        lines.extend(base64.as_bytes().chunks(length).map(|line| String::from_utf8(line.to_vec()).unwrap()));
        lines.push(format!("-----END {kind}-----"));
    }
    for _ in 0..random.below(4) {
        // Most of the changes near a BEGIN or END.
        let marks: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].starts_with("--")).collect();
        let mut at = random.below(lines.len());
        if !random.one_in(4) && !marks.is_empty() {
            at = (marks[random.below(marks.len())] + random.below(3)).saturating_sub(1).min(lines.len() - 1);
        }
        match random.below(6) {
            0 if lines.len() > 1 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[random.below(lines.len())].clone()),
            2 | 3 => lines.insert(at, random.pick(&STRANGE).to_owned()),
            _ => {
                let mut letters: Vec<char> = lines[at].chars().collect();
                let place = [0, letters.len(), random.below(letters.len() + 1)][random.below(3)];
                match random.below(4) {
                    0 if place < letters.len() => drop(letters.remove(place)),
                    _ => {
                        let new = random.word(" \t\r-:=A\u{feff}!\0", 1);
                        letters.splice(place..place, new.chars());
                    }
                }
                lines[at] = letters.into_iter().collect();
            }
        }
    }
    let end = random.pick(&["\n", "\n", "\r\n", "\n\n", " \n"]);
    let mut text = lines.join(end);
    if !random.one_in(4) {
        text += end;
    }
    text.into_bytes()
}

/// What was compared.
#[derive(Default)]
struct Tally {
    read: usize,
    refused: BTreeMap<String, usize>,
    taken: usize,
    skipped: BTreeMap<String, usize>,
}

impl Tally {
    fn certificate(&mut self, der: &[u8], theirs: &Value) -> Option<String> {
        let ours = Certificate::parse(der);
        let (agrees, shown) = match &ours {
            Ok(certificate) => {
                self.read += 1;
                let facts = facts(certificate);
                (theirs["facts"] == facts, differing(&facts, &theirs["facts"]))
            }
            Err(error) => {
                self.note_refusal(error);
                (theirs["error"].is_string(), error.to_string())
            }
        };
        (!agrees).then(|| {
            format!(
                "{}\n  ours:   {shown}\n  theirs: {}",
                STANDARD.encode(der),
                theirs["error"].as_str().unwrap_or("read")
            )
        })
    }

    fn note_refusal(&mut self, error: &InvalidCertificate) {
        let what = error.what().replace(|c: char| c.is_ascii_digit() || c == '.', "");
        *self.refused.entry(what).or_default() += 1;
    }

    fn text(&mut self, text: &[u8], theirs: &Value) -> Option<String> {
        let bundle = Bundle::read(text);
        self.taken += bundle.certificates.len();
        for skipped in &bundle.skipped {
            let kind = match &skipped.what {
                SkippedKind::OtherType(_) => "another type".to_owned(),
                SkippedKind::Headers(_) => "headers".to_owned(),
                SkippedKind::Unparsable(..) => "unparsable".to_owned(),
                SkippedKind::BareBase64(_) => continue,
                other => other.to_string(),
            };
            *self.skipped.entry(kind).or_default() += 1;
        }
        let ours: Vec<String> = bundle.certificates.iter().map(|certificate| certificate.facts().sha256).collect();
        let agrees = match theirs.get("taken") {
            Some(taken) => *taken == json!(ours),
            None => ours.is_empty(),
        };
        (!agrees).then(|| format!("{:?}\n  ours:   {ours:?}\n  theirs: {theirs}", String::from_utf8_lossy(text)))
    }

    /// A comparison of certificates that are all read, or of none, would say nothing.
    fn assert_telling(&self) {
        assert!(self.read > CERTIFICATES / 4 && self.read < CERTIFICATES * 3 / 4, "{} read", self.read);
        assert!(self.refused.len() >= 50, "{:#?}", self.refused);
        assert!(self.taken > TEXTS / 2 && self.taken < TEXTS * 2, "{} taken", self.taken);
        assert!(self.skipped.len() >= 7 && self.skipped.values().all(|&count| count > 5), "{:#?}", self.skipped);
    }
}

fn differing(ours: &Value, theirs: &Value) -> String {
    let Some(facts) = ours.as_object() else { return String::new() };
    let different = facts.iter().filter(|(name, fact)| theirs[name.as_str()] != **fact);
    different
        .map(|(name, fact)| format!("{name}: {fact}, theirs {}", theirs[name.as_str()]))
        .collect::<Vec<_>>()
        .join("; ")
}

fn facts(certificate: &Certificate) -> Value {
    let shown = certificate.facts();
    let names =
        |all: Vec<&str>| format!("[{}]", all.iter().map(|name| hex(name.as_bytes())).collect::<Vec<_>>().join(" "));
    let constraints = |all: Vec<(NameKind, &[u8])>| {
        let of = |kind| all.iter().filter(move |(found, _)| *found == kind).map(|(_, name)| *name);
        let texts = [NameKind::Dns, NameKind::Email, NameKind::Uri]
            .map(|kind| format!("[{}]", of(kind).map(hex).collect::<Vec<_>>().join(" ")));
        let range = |range: &[u8]| {
            let (address, mask) = range.split_at(range.len() / 2);
            format!("{}/{}", hex(address), hex(mask))
        };
        format!("{} [{}]", texts.join(" "), of(NameKind::Ip).map(range).collect::<Vec<_>>().join(" "))
    };
    let raw = [certificate.raw_tbs(), certificate.raw_subject(), certificate.raw_issuer(), certificate.raw_spki()];
    let sha256 = |bytes: &[u8]| hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    let uris: Vec<_> = certificate.uris().map(uri_host).collect();
    let purposes: Vec<&str> = certificate.ext_key_usages().iter().map(|usage| purpose(*usage)).collect();
    let limit = |limit: Option<i64>| limit.map_or("none".to_owned(), |limit| limit.to_string());
    json!({
        "subject": shown.subject,
        "issuer": shown.issuer,
        "not_before": shown.not_before.as_second().to_string(),
        "not_after": shown.not_after.as_second().to_string(),
        "version": certificate.version().to_string(),
        "serial": number(certificate.serial()),
        "raw": raw.map(sha256).join(" "),
        "signature": format!("{} {}", algorithm(certificate.signature_algorithm()), hex(&certificate.signature())),
        "key": key(certificate.public_key()),
        "usage": format!("{} [{}] {}", certificate.key_usage(), purposes.join(" "), certificate.unknown_ext_key_usages()),
        "ca": certificate.basic_constraints().map_or("none".to_owned(), |constraints| {
            let length = constraints.max_path_len.map_or("-1".to_owned(), |length| length.to_string());
            format!("true {} {length}", constraints.is_ca)
        }),
        "names": ([
            names(certificate.dns_names().collect()),
            names(certificate.mail_addresses().collect()),
            names(uris.iter().map(|host| &**host).collect()),
        ]).join(" "),
        "addresses": format!("[{}]", certificate.ip_addresses().map(hex).collect::<Vec<_>>().join(" ")),
        "permitted": constraints(certificate.permitted_names().collect()),
        "excluded": constraints(certificate.excluded_names().collect()),
        "ids": format!("{} {}", hex(certificate.subject_key_id()), hex(certificate.authority_key_id())),
        "unhandled": format!("{:?}", certificate.unhandled_critical_extensions().collect::<Vec<_>>()).replace(',', ""),
        "policies": format!(
            "[{}] [{}]",
            certificate.policies().map(|oid| hex(oid.as_bytes())).collect::<Vec<_>>().join(" "),
            certificate
                .policy_mappings()
                .map(|(issuer, subject)| format!("{}>{}", hex(issuer.as_bytes()), hex(subject.as_bytes())))
                .collect::<Vec<_>>()
                .join(" "),
        ),
        "limits": ([
            limit(certificate.require_explicit_policy()),
            limit(certificate.inhibit_policy_mapping()),
            limit(certificate.inhibit_any_policy()),
        ]).join(" "),
    })
}

fn key(key: &PublicKey) -> String {
    match key {
        PublicKey::Rsa { modulus, exponent } => format!("rsa {} {exponent:x}", number(modulus)),
        PublicKey::Ecdsa { curve, point } => {
            let curve = match curve {
                Curve::P224 => "P-224",
                Curve::P256 => "P-256",
                Curve::P384 => "P-384",
                Curve::P521 => "P-521",
            };
            format!("ecdsa {curve} {}", hex(point))
        }
        PublicKey::Ed25519(key) => format!("ed25519 {}", hex(&**key)),
        PublicKey::Dsa => "dsa".to_owned(),
        PublicKey::Unknown => "unknown".to_owned(),
    }
}

/// Go's number.
fn algorithm(algorithm: SignatureAlgorithm) -> u8 {
    match algorithm {
        SignatureAlgorithm::Unknown => 0,
        SignatureAlgorithm::Md5WithRsa => 2,
        SignatureAlgorithm::Sha1WithRsa => 3,
        SignatureAlgorithm::Sha256WithRsa => 4,
        SignatureAlgorithm::Sha384WithRsa => 5,
        SignatureAlgorithm::Sha512WithRsa => 6,
        SignatureAlgorithm::DsaWithSha1 => 7,
        SignatureAlgorithm::DsaWithSha256 => 8,
        SignatureAlgorithm::EcdsaWithSha1 => 9,
        SignatureAlgorithm::EcdsaWithSha256 => 10,
        SignatureAlgorithm::EcdsaWithSha384 => 11,
        SignatureAlgorithm::EcdsaWithSha512 => 12,
        SignatureAlgorithm::Sha256WithRsaPss => 13,
        SignatureAlgorithm::Sha384WithRsaPss => 14,
        SignatureAlgorithm::Sha512WithRsaPss => 15,
        SignatureAlgorithm::Ed25519 => 16,
    }
}

fn purpose(usage: ExtKeyUsage) -> &'static str {
    match usage {
        ExtKeyUsage::Any => "0",
        ExtKeyUsage::ServerAuth => "1",
        ExtKeyUsage::ClientAuth => "2",
        ExtKeyUsage::Other => "3",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// As Go writes a number that is not negative.
fn number(bytes: &[u8]) -> String {
    let hex = hex(bytes);
    let digits = hex.trim_start_matches('0');
    if digits.is_empty() { "0".to_owned() } else { digits.to_owned() }
}
