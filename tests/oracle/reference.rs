//! References, against the distribution project's package `reference`, which kubelet and containerd read images with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mirrorgate::image::{ParseErrorKind, Reference};
use serde_json::{Value, json};

use super::random::Random;
use super::{Comparison, program};

/// Built from the grammar, and as many again that a few edits made of them.
const BUILT: usize = 30_000;

pub(crate) fn compare(folder: &Path, seed: u64) -> Comparison {
    let inputs = inputs(seed);
    let answers = program::ask(&folder.join("reference"), &inputs);
    assert_telling(&inputs);
    let disagreements = inputs.iter().zip(&answers).filter_map(|(input, theirs)| disagreement(input, theirs)).collect();
    Comparison { inputs: inputs.len(), disagreements }
}

/// None where we agree, or differ on purpose. There is one purpose: where the Go package finds a first part that is read
/// as a host, is none, and happens to be a repository's component (`foo_bar.com/x`), it answers with an empty host; we
/// refuse it as an invalid host, and nothing else is refused as that which it reads.
fn disagreement(input: &str, theirs: &Value) -> Option<String> {
    let ours = Reference::parse(input);
    let is_empty_host = theirs["ok"] == true && theirs["domain"].is_null();
    let agreed = match &ours {
        Ok(ours) => {
            theirs["ok"] == true
                && json!(ours.host()) == theirs["domain"]
                && json!(ours.repository()) == theirs["path"]
                && json!(ours.tag()) == theirs["tag"]
                && json!(ours.digest()) == theirs["digest"]
                && json!(ours.to_string()) == theirs["full"]
        }
        Err(error) if is_empty_host => error.kind() == ParseErrorKind::InvalidHost,
        Err(_) => theirs["ok"] == false,
    };
    (!agreed).then(|| format!("{input:?}\n  ours:   {ours:?}\n  theirs: {theirs}"))
}

/// A comparison on inputs that are all refused, or all read, would say nothing.
fn assert_telling(inputs: &[String]) {
    let mut found: BTreeMap<&'static str, usize> = BTreeMap::new();
    for input in inputs {
        *found.entry(Reference::parse(input).map_or_else(|error| error.kind().as_str(), |_| "read")).or_default() += 1;
    }
    assert!(found["read"] > inputs.len() / 4, "{found:?}");
    assert_eq!(found.len(), 11, "every kind of fault, and none: {found:?}");
    assert!(found.iter().all(|(&kind, &count)| count > 20 || kind == "empty"), "{found:?}");
}

fn inputs(seed: u64) -> Vec<String> {
    let mut random = Random::new(seed);
    let built: Vec<String> = (0..BUILT).map(|_| build(&mut random)).collect();
    let mutated: Vec<String> = built.iter().map(|image| mutate(&mut random, image, &built)).collect();
    let odd = [
        "",
        "/",
        ":",
        "@",
        ".",
        "-",
        "[]",
        "[",
        "[]/x",
        "a/",
        "/a",
        "docker.io",
        "localhost",
        "localhost/",
        "::1/a",
        "\u{feff}a",
    ];
    let distinct: BTreeSet<String> = odd.map(String::from).into_iter().chain(built).chain(mutated).collect();
    distinct.into_iter().collect()
}

const LOWER: &str = "abz019";
const ANY: &str = "abzABZ019";
const HEX: &str = "0123456789abcdef";

fn build(random: &mut Random) -> String {
    if random.one_in(200) {
        let length = 63 + random.below(3);
        return random.word(HEX, length);
    }
    let (host, mut path) = (host(random), path(random));
    if random.one_in(40) {
        let length = 246 + random.below(12);
        path = random.word(LOWER, length);
    } else if random.one_in(200) {
        path = random.word(HEX, 64);
    }
    let (tag, digest) = (tag(random), digest(random));
    format!("{host}{path}{tag}{digest}")
}

fn host(random: &mut Random) -> String {
    match random.below(12) {
        0..=2 => String::new(),
        3..=5 => random
            .pick(&[
                "docker.io/",
                "index.docker.io/",
                "library/",
                "localhost/",
                "localhost:5000/",
                "Docker.io/",
                "Index.docker.io/",
                "docker.io./",
                "docker.io:443/",
                "LOCALHOST/",
                "docker.io/library/",
                "registry-1.docker.io/",
            ])
            .to_owned(),
        6 => {
            let length = random.below(12);
            let address = random.word("0123af:::", length);
            format!("[{address}]{}/", port(random))
        }
        _ => {
            let labels: Vec<String> = (0..=random.below(3)).map(|_| label(random)).collect();
            format!("{}{}/", labels.join("."), port(random))
        }
    }
}

fn label(random: &mut Random) -> String {
    let length = 1 + random.below(5);
    let alphabet = random.pick(&[LOWER, LOWER, LOWER, ANY, "ab-", "ab_", "aB--9_."]);
    random.word(alphabet, length)
}

fn port(random: &mut Random) -> String {
    match random.below(6) {
        0 | 1 => format!(":{}", random.below(100_000)),
        2 if random.one_in(6) => random.pick(&[":", ":x", ":1:2", ":0x1", ":００"]).to_owned(),
        _ => String::new(),
    }
}

fn path(random: &mut Random) -> String {
    let components: Vec<String> = (0..=random.below(3)).map(|_| component(random)).collect();
    components.join("/")
}

fn component(random: &mut Random) -> String {
    let mut component = String::new();
    for index in 0..=random.below(3) {
        if index > 0 {
            let separators = [".", "_", "__", "-", "--", "-----"];
            let wrong = ["..", "___", "._", "-.", "_-", ""];
            component += if random.one_in(12) { random.pick(&wrong) } else { random.pick(&separators) };
        }
        let length = 1 + random.below(4);
        let alphabet = if random.one_in(25) { ANY } else { LOWER };
        component += &random.word(alphabet, length);
    }
    component
}

fn tag(random: &mut Random) -> String {
    match random.below(10) {
        0..=4 => String::new(),
        5..=7 => {
            let (first, rest) = (random.word("aZ0_", 1), random.below(8));
            format!(":{first}{}", random.word("aZ0_.-", rest))
        }
        8 => {
            let length = 125 + random.below(7);
            format!(":{}", random.word("aZ0_", length))
        }
        _ => {
            let length = random.below(4);
            format!(":{}", random.word("aZ0_.-:/+ ~é", length))
        }
    }
}

fn digest(random: &mut Random) -> String {
    let sizes = [("sha256", 64), ("sha384", 96), ("sha512", 128)];
    match random.below(12) {
        0..=5 => String::new(),
        6..=9 => {
            let (algorithm, length) = sizes[random.below(sizes.len())];
            format!("@{algorithm}:{}", random.word(HEX, length))
        }
        10 => {
            let algorithm = random.pick(&[
                "sha256",
                "sha384",
                "sha512",
                "SHA256",
                "md5",
                "sha1",
                "sha256+b64",
                "a.b-c_d",
                "1a",
                "a..b",
                "é",
                "",
            ]);
            let length = *[0, 31, 32, 63, 64, 65, 96, 128][..].get(random.below(8)).unwrap();
            format!("@{algorithm}:{}", random.word(HEX, length))
        }
        _ => {
            let (algorithm, length) = sizes[random.below(sizes.len())];
            let alphabet = random.pick(&["0123456789ABCDEF", "0123456789abcdefg", "0123456789abcdef="]);
            format!("@{algorithm}:{}", random.word(alphabet, length))
        }
    }
}

/// One to three edits: a character put in, taken out, exchanged or doubled, or the tail of another image.
fn mutate(random: &mut Random, image: &str, others: &[String]) -> String {
    const STRANGE: &str = ".:/@-_[]AZaz09%+=~ \t\n\0$*\\éİſ\u{212a}\u{202e}０/";
    let mut characters: Vec<char> = image.chars().collect();
    for _ in 0..=random.below(3) {
        let at = random.below(characters.len() + 1);
        let new = random.word(STRANGE, 1).chars().next().unwrap();
        match random.below(6) {
            0 | 1 => characters.insert(at, new),
            2 if at < characters.len() => characters[at] = new,
            3 if at < characters.len() => drop(characters.remove(at)),
            4 if at < characters.len() => characters.insert(at, characters[at]),
            5 => {
                let other: Vec<char> = others[random.below(others.len())].chars().collect();
                let from = random.below(other.len() + 1);
                characters.truncate(at);
                characters.extend(&other[from..]);
            }
            _ => {}
        }
    }
    characters.into_iter().collect()
}
