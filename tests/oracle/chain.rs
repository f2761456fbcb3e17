//! Chains, against Go's `crypto/x509` as `crypto/tls` uses it: trusted or not, and for which reason.
//!
//! A world is some CAs and the certificates that they and others made, each with faults of its own; it is asked several
//! times, with other names, times, roots, and other certificates sent. The keys are Go's, and new in each run; nothing
//! else is, so that a seed is the same chains again.

mod der;
mod draft;
mod made;
mod names;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use jiff::Timestamp;
use mirrorgate::trust::{Certificate, Outcome, Pool, Roots, judge};
use serde::Serialize;
use serde_json::{Value, json};

use self::made::Key;
use self::world::World;
use super::random::Random;
use super::{Comparison, program};

const WORLDS: usize = 6_000;

/// What is asked about one world.
struct Question {
    /// The server's own first.
    presented: Vec<Vec<u8>>,
    roots: Vec<Vec<u8>>,
    name: String,
    at: i64,
    /// What was done to the world, for a person.
    story: Arc<str>,
}

impl Serialize for Question {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all = |certificates: &[Vec<u8>]| certificates.iter().map(|der| base64(der)).collect::<Vec<_>>();
        let Self { presented, roots, name, at, story: _ } = self;
        json!({"chain": {"presented": all(presented), "roots": all(roots), "name": name, "at": at}})
            .serialize(serializer)
    }
}

pub(crate) fn compare(folder: &Path, seed: u64) -> Comparison {
    let program = folder.join("chain");
    let keys = keys(&program);
    let mut random = Random::new(seed);
    let mut worlds: Vec<World> = (0..WORLDS).map(|_| World::new(&mut random, &keys)).collect();
    sign(&program, &mut worlds);
    let questions: Vec<Question> = worlds.iter().flat_map(|world| world.questions(&mut random)).collect();
    let answers = program::ask(&program, &questions);
    let mut tally = Tally::default();
    let disagreements: Vec<String> =
        questions.iter().zip(&answers).filter_map(|(question, theirs)| tally.disagreement(question, theirs)).collect();
    tally.print();
    if disagreements.is_empty() {
        tally.assert_telling();
    }
    Comparison { inputs: questions.len(), disagreements }
}

fn keys(program: &Path) -> Vec<Key> {
    let answers = program::ask(program, &[json!({"keys": true})]);
    let mut keys: Vec<Key> = answers[0]["keys"].as_array().unwrap().iter().map(Key::read).collect();
    keys.sort_by(|one, other| one.name.cmp(&other.name));
    keys
}

/// Puts a signature under every certificate.
fn sign(program: &Path, worlds: &mut [World]) {
    let asked: Vec<Value> = worlds.iter().flat_map(|world| &world.certificates).map(|made| made.to_sign()).collect();
    let mut signatures = program::ask(program, &asked).into_iter();
    for made in worlds.iter_mut().flat_map(|world| &mut world.certificates) {
        let signature = signatures.next().unwrap();
        made.finish(&read_base64(&signature["signature"]));
    }
}

/// What was compared.
#[derive(Default)]
struct Tally {
    classes: BTreeMap<String, usize>,
    /// In Go's words, without the numbers in them.
    others: BTreeMap<String, usize>,
    cannot_judge: BTreeMap<String, usize>,
    slowest: Duration,
    slowest_story: String,
}

impl Tally {
    fn disagreement(&mut self, question: &Question, theirs: &Value) -> Option<String> {
        let Question { presented, roots, name, at, story } = question;
        let pool = roots.iter().filter_map(|der| Certificate::parse(der).ok()).map(Arc::new).collect();
        let roots = Roots::new(vec![Arc::new(Pool::new("the roots", pool))]);
        let start = Instant::now();
        let judgement = judge(presented, &roots, name, Timestamp::from_second(*at).unwrap());
        let took = start.elapsed();
        if took > self.slowest {
            (self.slowest, self.slowest_story) = (took, story.to_string());
        }
        let ours = match &judgement.outcome {
            Outcome::Trusted(_) => "trusted",
            Outcome::Untrusted(rejection) => rejection.fault.as_str(),
            Outcome::CannotJudge(why) => {
                *self.cannot_judge.entry(why.clone()).or_default() += 1;
                "cannot-judge"
            }
        };
        let class = theirs["class"].as_str().unwrap();
        *self.classes.entry(class.to_owned()).or_default() += 1;
        if class == "other" {
            let says = theirs["says"].as_str().unwrap_or_default().replace(|c: char| c.is_ascii_digit(), "");
            *self.others.entry(says).or_default() += 1;
        }
        (ours != class).then(|| {
            let text = |der: &Vec<u8>| format!("\n  {}", base64(der));
            let sent: String = presented.iter().map(text).collect();
            let trusted: String = question.roots.iter().map(text).collect();
            format!(
                "{story}\n ours: {:?}\n theirs: {theirs}\n name {name}, at {at}, sent:{sent}\n trusted:{trusted}",
                judgement.outcome
            )
        })
    }

    fn print(&self) {
        println!("chain: {:?}", self.classes);
        println!("chain: others: {:#?}", self.others);
        println!("chain: not judged: {:?}", self.cannot_judge);
        println!("chain: the slowest judgement took {:?} (unoptimized): {}", self.slowest, self.slowest_story);
    }

    /// A comparison in which everything is refused for the same reason would say nothing.
    fn assert_telling(&self) {
        let all: usize = self.classes.values().sum();
        let trusted = self.classes.get("trusted").copied().unwrap_or_default();
        assert!(all >= 20_000, "{all} chains");
        assert!(trusted > all / 5 && trusted < all * 4 / 5, "{trusted} of {all} trusted");
        assert!(self.classes.len() == 12 && self.classes.values().all(|&count| count >= 50), "{:?}", self.classes);
        assert!(self.others.len() >= 5, "{:?}", self.others);
        assert_eq!(self.cannot_judge, BTreeMap::new());
    }
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn read_base64(value: &Value) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or_default()).unwrap()
}
