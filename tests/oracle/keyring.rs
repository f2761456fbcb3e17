//! Pull secrets, against the kubelet's own keyring, `k8s.io/kubernetes/pkg/credentialprovider`.
//!
//! A question is what a pod has, one to three secrets, and the names of some images. Most keys and names are made of the
//! same host, so that they match or nearly do. Keys with an IPv6 zone are left out, but for one that cannot match: Go
//! takes them apart, we refuse them, and no image has one.

use std::collections::BTreeMap;
use std::path::Path;

use mirrorgate::keyring::{DOCKER_CFG, DOCKER_CONFIG_JSON, PullSecret};
use serde::Serialize;
use serde_json::Value;

use super::random::Random;
use super::{Comparison, program};

const QUESTIONS: usize = 15_000;
const NAMES: usize = 4;

#[derive(Serialize)]
struct Question {
    secrets: Vec<Secret>,
    names: Vec<String>,
}

struct Secret {
    secret_type: &'static str,
    data: Vec<u8>,
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::Engine as _;
        let data = base64::engine::general_purpose::STANDARD.encode(&self.data);
        BTreeMap::from([("type", self.secret_type), ("data", &data)]).serialize(serializer)
    }
}

pub(crate) fn compare(folder: &Path, seed: u64) -> Comparison {
    let mut random = Random::new(seed);
    let questions: Vec<Question> = (0..QUESTIONS).map(|_| question(&mut random)).collect();
    let answers = program::ask(&folder.join("keyring"), &questions);
    assert_telling(&questions, &answers);
    let disagreements = questions.iter().zip(&answers).filter_map(|(question, theirs)| disagreement(question, theirs));
    Comparison { inputs: QUESTIONS * NAMES, disagreements: disagreements.collect() }
}

/// Each secret is asked for itself, as the product does it; theirs is the keyring of all of them.
fn disagreement(question: &Question, theirs: &Value) -> Option<String> {
    let ours: Vec<PullSecret> = question.secrets.iter().map(read).collect();
    let is_readable =
        !ours.iter().any(|secret| matches!(secret, PullSecret::Malformed(malformed) if malformed.stops_every_pull()));
    let covers = |name: &String| {
        ours.iter().any(|secret| matches!(secret, PullSecret::DockerConfig(coverage) if coverage.covers(name)))
    };
    let covered: Vec<bool> = question.names.iter().map(covers).collect();
    let agreed =
        theirs["readable"] == is_readable && (!is_readable || theirs["covers"] == Value::from(covered.clone()));
    (!agreed).then(|| {
        let texts: Vec<_> = question.secrets.iter().map(|secret| String::from_utf8_lossy(&secret.data)).collect();
        format!("{texts:#?}\n  names:  {:?}\n  ours:   {ours:?} {covered:?}\n  theirs: {theirs}", question.names)
    })
}

fn read(secret: &Secret) -> PullSecret {
    PullSecret::read(secret.secret_type, |_| Some(&secret.data))
}

/// A comparison on secrets that all cover, or cover nothing, or cannot be read, would say nothing.
fn assert_telling(questions: &[Question], answers: &[Value]) {
    let mut faults: BTreeMap<String, usize> = BTreeMap::new();
    for secret in questions.iter().flat_map(|question| &question.secrets) {
        if let PullSecret::Malformed(malformed) = read(secret) {
            let kind = malformed.to_string().replace(|c: char| c.is_ascii_digit(), "");
            *faults.entry(kind).or_default() += 1;
        }
    }
    let answered: Vec<&Value> = answers.iter().flat_map(|answer| answer["covers"].as_array()).flatten().collect();
    let covered = answered.iter().filter(|covers| **covers == true).count();
    assert!(answered.len() >= 20_000 && answered.len() < QUESTIONS * NAMES * 19 / 20, "{} answers", answered.len());
    assert!(covered > answered.len() / 6 && covered < answered.len() / 2, "{covered} of {} covered", answered.len());
    assert!(faults.len() >= 15 && faults.values().all(|&count| count > 5), "{faults:#?}");
}

fn question(random: &mut Random) -> Question {
    let place = Place::new(random);
    let secrets = (0..if random.one_in(5) { 2 + random.below(2) } else { 1 }).map(|_| secret(random, &place)).collect();
    Question { secrets, names: (0..NAMES).map(|_| name(random, &place)).collect() }
}

/// What keys and names of one question are made of.
struct Place {
    labels: Vec<String>,
    port: &'static str,
    path: Vec<&'static str>,
}

impl Place {
    fn new(random: &mut Random) -> Self {
        let labels = match random.below(8) {
            0 | 1 => vec![random.pick(&["docker.io", "index.docker.io", "registry-1.docker.io"]).to_owned()],
            2 => vec![
                random.pick(&["[fd00::1]", "[::1]", "[FD00::A]", "[::ffff:10.0.0.1]", "[1:2:3:4:5:6:7::]"]).to_owned(),
            ],
            3 => vec![random.pick(&["localhost", "10.0.0.1", "F", "harbor"]).to_owned()],
            _ => (0..1 + random.below(4)).map(|_| label(random)).collect(),
        };
        let path = (0..random.below(4)).map(|_| random.pick(&["team", "app", "library", "v1", "v2", "x"])).collect();
        let labels = labels.iter().flat_map(|text| text.split('.')).map(str::to_owned).collect();
        Self { labels, port: random.pick(&["", "", ":443", ":5000"]), path }
    }
}

fn label(random: &mut Random) -> String {
    random.pick(&["a", "b", "harbor", "registry", "corp", "example", "io", "Quay", "x-1"]).to_owned()
}

fn secret(random: &mut Random, place: &Place) -> Secret {
    let secret_type = match random.below(20) {
        0 => random.pick(&["Opaque", "", "kubernetes.io/DockerConfigJson", "kubernetes.io/dockerconfig"]),
        1..=6 => DOCKER_CFG,
        _ => DOCKER_CONFIG_JSON,
    };
    let mut data = if secret_type == DOCKER_CFG { auths(random, place) } else { document(random, place) };
    match random.below(60) {
        0 => data.clear(),
        1 => data = random.pick(&["null", " ", "[]", "\"x\"", "{}", "1e5", "{} {}", "\u{feff}{}", "true"]).into(),
        2..=6 => mutate(random, &mut data),
        _ => {}
    }
    Secret { secret_type, data }
}

fn document(random: &mut Random, place: &Place) -> Vec<u8> {
    let mut fields = Vec::new();
    for _ in 0..if random.one_in(8) { random.below(4) } else { 1 } {
        let field = match random.below(12) {
            0 => random.pick(&["AUTHS", "Auths", "auth\u{17f}", "aut\u{212a}s", "auth", "auths "]),
            1 => random.pick(&["HttpHeaders", "httpheaders", "HTTPHEADER\u{17f}", "credsStore"]),
            _ => "auths",
        };
        let value = match random.below(30) {
            0 => random.pick(&["null", "[]", "5", "\"x\"", "[[{}]]"]).into(),
            1 => random.pick(&["{\"User-Agent\": \"x\"}", "{\"x\": null}", "{\"x\": {}}", "{\"x\": 5}"]).into(),
            _ => auths(random, place),
        };
        fields.push([text(random, field), b": ".to_vec(), value].concat());
    }
    object(random, &fields)
}

fn auths(random: &mut Random, place: &Place) -> Vec<u8> {
    let entries: Vec<Vec<u8>> = (0..if random.one_in(10) { random.below(5) } else { 1 + random.below(3) })
        .map(|_| {
            let key = key(random, place);
            [text(random, &key), b":".to_vec(), entry(random)].concat()
        })
        .collect();
    object(random, &entries)
}

fn entry(random: &mut Random) -> Vec<u8> {
    if random.one_in(40) {
        return random.pick(&["null", "null", "5", "[]", "\"x\"", "true"]).into();
    }
    let fields: Vec<Vec<u8>> = (0..random.below(4))
        .map(|_| {
            let name = match random.below(10) {
                0 => random.pick(&["AUTH", "Auth", "u\u{17f}ername", "PASSWORD", "eMail", "pa\u{17f}sword"]),
                1 => random.pick(&["identitytoken", "registrytoken", "auths", "serveraddress", "\u{e9}"]),
                2..=5 => "auth",
                _ => random.pick(&["username", "password", "email"]),
            };
            let value = if random.one_in(60) {
                random.pick(&["null", "null", "5", "{}", "[1]", "false", "1e999"]).into()
            } else {
                let value = auth(random);
                text(random, &value)
            };
            [text(random, name), b":".to_vec(), value].concat()
        })
        .collect();
    object(random, &fields)
}

/// Base64 of a pair, seldom nearly so.
fn auth(random: &mut Random) -> String {
    let good = random.pick(&["Zm9vOmJhcg==", "Zm9vOmJhcg", "Zm9vOmJhcgo=", "Og==", "dXNlcjpwYXNzd29yZA==", "Zjo6Og"]);
    match random.below(40) {
        0 => String::new(),
        1 => random
            .pick(&["pants", "cGFudHM=", "Og=", "Og===", "=", "Zm9vOmJh=", "Pz86__8", "Pz86//8", "Oh", "x"])
            .to_owned(),
        2 => {
            let (at, with) =
                (random.below(good.len() + 1), random.pick(&["\n", "\r\n", " ", "=", "\u{a0}", ":", "\0"]));
            format!("{}{with}{}", &good[..at], &good[at..])
        }
        3 => {
            let count = 1 + random.below(9);
            random.word("OgZm9v=:6", count)
        }
        _ => good.to_owned(),
    }
}

fn key(random: &mut Random, place: &Place) -> String {
    const SCHEMES: [&str; 10] =
        ["", "", "", "https://", "https://", "http://", "HTTPS://", "https:/", "//", "https://http://"];
    const USERS: [&str; 5] = ["user:pass@", "u%40@", "u er@", "u%@", "a@b@"];
    const PORTS: [&str; 8] = [":", ":443", ":5000", ":05000", ":*", ":x", ":1:2", ""];
    const PATHS: [&str; 16] = [
        "/",
        "//",
        "/v1/",
        "/v2/",
        "/v1",
        "/v2",
        "/v3/",
        "/v1//",
        "?x",
        "#y",
        "#%",
        "/%zz",
        "/te",
        "/%2574eam",
        "/%74eam",
        "/*",
    ];
    if random.one_in(12) {
        return random
            .pick(&[
                "https://index.docker.io/v1/",
                "index.docker.io",
                "https://index.docker.io/v1",
                "docker.io",
                "*.docker.io",
                "*",
                "*.*",
                "[::1%25eth0]",
                "",
            ])
            .to_owned();
    }
    let mut labels = place.labels.clone();
    if random.one_in(3) {
        let at = random.below(labels.len());
        let (label, cut) = (labels[at].clone(), random.below(labels[at].len() + 1));
        labels[at] = match random.below(5) {
            0 => format!("{}*", label.get(..cut).unwrap_or("")),
            1 => format!("*{}", label.get(cut..).unwrap_or("")),
            2 => format!("*{}*", label.get(cut..).unwrap_or("")),
            3 => format!("{}?", label.get(..cut).unwrap_or("")),
            _ => "*".to_owned(),
        };
    }
    if random.one_in(10) {
        let at = random.below(labels.len() + 1);
        labels.insert(at, random.pick(&["*", "a", "", "\u{e9}", "h%C3%A4fen"]).to_owned());
    }
    if random.one_in(10) && labels.len() > 1 {
        let at = random.below(labels.len());
        labels.remove(at);
    }
    let scheme = random.pick(&SCHEMES);
    let user = if random.one_in(20) { random.pick(&USERS) } else { "" };
    let port = if random.one_in(6) { random.pick(&PORTS) } else { place.port };
    let mut path: String =
        place.path.iter().take(random.below(place.path.len() + 1)).map(|part| format!("/{part}")).collect();
    match random.below(10) {
        0 | 1 => path = random.pick(&PATHS).to_owned() + &path,
        2 | 3 => path += random.pick(&PATHS),
        4 => drop(path.pop()),
        _ => {}
    }
    let mut key = format!("{scheme}{user}{}{port}{path}", labels.join("."));
    if random.one_in(12) {
        key = edit(random, &key, ".:/@*?[]%#\\^ -<>|\u{e9}\u{fffd}\t\u{7f}01aF");
    }
    key
}

/// What the kubelet looks up for an image, now and then one that it never would.
fn name(random: &mut Random, place: &Place) -> String {
    let mut labels = place.labels.clone();
    if random.one_in(6) {
        let at = random.below(labels.len());
        labels[at] = label(random);
    }
    match random.below(12) {
        0 => labels.insert(0, label(random)),
        1 if labels.len() > 1 => drop(labels.remove(0)),
        _ => {}
    }
    let port = if random.one_in(5) { random.pick(&["", ":443", ":5000", ":80"]) } else { place.port };
    let rest: String = (0..random.below(2)).map(|_| random.pick(&["/app", "s/x", "/v1/x", "-1"])).collect();
    let path: String = place.path.iter().map(|part| format!("/{part}")).collect();
    let name = format!("{}{port}{path}{rest}", labels.join("."));
    match random.below(20) {
        0 => random
            .pick(&[
                "docker.io/library/nginx",
                "index.docker.io/x/y",
                "nginx",
                "library/nginx",
                "localhost/x",
                "/x",
                "",
            ])
            .to_owned(),
        1 => edit(random, &name, ".:/@*?[]#\\^ -<>|\u{e9}\t01aF"),
        _ => name,
    }
}

/// A character put in, taken out or exchanged.
fn edit(random: &mut Random, text: &str, strange: &str) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let at = random.below(characters.len() + 1);
    let new = random.word(strange, 1).chars().next().unwrap();
    match random.below(3) {
        0 if at < characters.len() => drop(characters.remove(at)),
        1 if at < characters.len() => characters[at] = new,
        _ => characters.insert(at, new),
    }
    characters.into_iter().collect()
}

/// A JSON string, in which a character can be escaped that need not be.
fn text(random: &mut Random, plain: &str) -> Vec<u8> {
    let mut json = serde_json::to_string(plain).unwrap();
    if random.one_in(15) {
        json = json.replace('/', random.pick(&["\\/", "\\u002f", "\\u002F"]));
    }
    if random.one_in(15) {
        json = json.replacen('a', "\\u0061", 1);
    }
    let mut json = json.into_bytes();
    if random.one_in(100) {
        let odd: [&[u8]; 6] = [b"\\ud800", b"\\ud83d\\ude00", b"\xff", b"\xed\xa0\x80", b"\xe2\x82", b"\xc3\xa9"];
        let (at, with) = (json.len() - 1, odd[random.below(odd.len())]);
        json.splice(at..at, with.iter().copied());
    }
    json
}

fn object(random: &mut Random, fields: &[Vec<u8>]) -> Vec<u8> {
    let (space, separator) = (random.pick(&["", "", " ", "\r\n\t"]), random.pick(&[",", ",", ", "]));
    [b"{", space.as_bytes(), &fields.join(separator.as_bytes()), space.as_bytes(), b"}"].concat()
}

/// A byte or the rest of them taken out, or a byte put in or exchanged.
fn mutate(random: &mut Random, data: &mut Vec<u8>) {
    const STRANGE: &[u8] = b"\"{}[],:\\ \t\n\0\x1f\x7f\xff\xc3nul05-e.a/";
    let at = random.below(data.len() + 1);
    let new = STRANGE[random.below(STRANGE.len())];
    match random.below(6) {
        0 => data.truncate(at),
        1 | 2 if at < data.len() => drop(data.remove(at)),
        3 if at < data.len() => data[at] = new,
        _ => data.insert(at, new),
    }
}
