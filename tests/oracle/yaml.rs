//! YAML, against `sigs.k8s.io/yaml`, which kubectl and the API server read manifests with.
//!
//! What is generated is what manifests hold: scalars of every look, as values, items and keys, in block and flow, quoted
//! and tagged. The corners where a reader of YAML 1.2 parts from libyaml are not: a colon or dash that ends or begins a
//! plain scalar between brackets, and a tab behind the dash of an item.

use std::collections::BTreeSet;
use std::path::Path;

use mirrorgate::yaml::{Limits, parse_documents};
use serde_json::Value;

use super::random::Random;
use super::{Comparison, program};

const SCALARS: usize = 30_000;
const DOCUMENTS: usize = 10_000;

pub(crate) fn compare(folder: &Path, seed: u64) -> Comparison {
    let mut random = Random::new(seed);
    let scalars = (0..SCALARS).map(|_| scalar_document(&mut random));
    let mut inputs: BTreeSet<String> = scalars.collect();
    inputs.extend((0..DOCUMENTS).map(|_| {
        let mut document = String::new();
        mapping(&mut random, &mut document, 0, 0);
        document
    }));
    let inputs: Vec<String> = inputs.into_iter().collect();
    let answers = program::ask(&folder.join("yaml"), &inputs);
    let read = answers.iter().filter(|answer| answer["ok"] == true).count();
    assert!(read > inputs.len() / 2 && read < inputs.len(), "{read} of {} were read", inputs.len());
    let disagreements = inputs.iter().zip(&answers).filter_map(|(input, theirs)| disagreement(input, theirs)).collect();
    Comparison { inputs: inputs.len(), disagreements }
}

fn disagreement(input: &str, theirs: &Value) -> Option<String> {
    let ours = parse_documents(input, Limits::MANIFEST)
        .map(|documents| documents.first().map_or(Value::Null, mirrorgate::yaml::Node::to_json));
    let agreed = match &ours {
        // By way of text, as theirs came: serde_json does not read every float to the last bit.
        Ok(ours) => {
            let ours: Value = serde_json::from_str(&ours.to_string()).unwrap();
            theirs["ok"] == true && ours == theirs["value"]
        }
        Err(_) => theirs["ok"] == false,
    };
    (!agreed).then(|| format!("{input:?}\n  ours:   {ours:?}\n  theirs: {theirs}"))
}

/// What looks like a number, a boolean, null, a date, or nearly so.
fn scalar(random: &mut Random) -> String {
    const PARTS: [&str; 33] = [
        "0",
        "1",
        "7",
        "8",
        "9",
        "_",
        "-",
        "+",
        ".",
        "e",
        "E",
        "x",
        "b",
        "o",
        "F",
        "inf",
        "nan",
        "y",
        "N",
        "yes",
        "No",
        "on",
        "OFF",
        "true",
        "False",
        "null",
        "~",
        "T",
        "Z",
        "2026-11-21",
        "<<",
        ":",
        "a",
    ];
    loop {
        let text: String = (0..1 + random.below(5)).map(|_| random.pick(&PARTS)).collect();
        let is_plain_everywhere = !text.starts_with(':') && !text.ends_with(':') && text != "-";
        if is_plain_everywhere {
            return text;
        }
    }
}

fn scalar_document(random: &mut Random) -> String {
    let text = scalar(random);
    match random.below(9) {
        0 => format!("a: {text}\n"),
        1 => format!("- {text}\n"),
        2 => format!("{text}: 1\n"),
        3 => format!("[{text}]\n"),
        4 => format!("{{a: {text}}}\n"),
        5 => {
            let tag = random.pick(&["int", "float", "bool", "null", "str", "foo"]);
            format!("a: !!{tag} {text}\n")
        }
        6 => format!("a: '{text}'\n'{text}b': \"{text}\"\n"),
        7 => format!("- &x {text}\n- *x\n"),
        _ => format!("a: |\n  {text}\nb: >-\n  {text}\n  {text}\n"),
    }
}

fn mapping(random: &mut Random, document: &mut String, indent: usize, depth: usize) {
    for index in 0..1 + random.below(3) {
        *document += &" ".repeat(indent);
        *document += &if random.one_in(4) { scalar(random) } else { format!("key{index}") };
        document.push(':');
        value(random, document, indent, depth + 1);
    }
}

fn value(random: &mut Random, document: &mut String, indent: usize, depth: usize) {
    let comment = if random.one_in(3) { " # comment: [" } else { "" };
    match random.below(if depth > 4 { 5 } else { 8 }) {
        0 => *document += &format!(" {}{comment}\n", scalar(random)),
        1 => {
            let separator = if document.ends_with(':') { '\t' } else { ' ' };
            *document += &format!("{separator}'{}'{comment}\r\n", scalar(random));
        }
        2 => *document += &format!(" \"\\x41{}\\n\\u00e9\"{comment}\n", scalar(random)),
        3 => *document += &format!(" [{}, {{a: {}, b}}, ]{comment}\n", scalar(random), scalar(random)),
        4 => {
            let header = random.pick(&["|", "|-", "|+", ">", ">-", "|2"]);
            let indent = " ".repeat(indent + 2);
            *document += &format!(" {header}{comment}\n{indent}one\n\n{indent}  two: #\n{indent}three\n\n");
        }
        5 | 6 => {
            *document += &format!("{comment}\n");
            let indent = indent + 1 + random.below(4);
            mapping(random, document, indent, depth);
        }
        _ => {
            *document += &format!("{comment}\n");
            for _ in 0..1 + random.below(3) {
                *document += &format!("{}-", " ".repeat(indent));
                value(random, document, indent, depth + 1);
            }
        }
    }
}
