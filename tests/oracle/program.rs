//! An oracle program: a JSON value a line in, a JSON value a line out.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;
use serde_json::Value;

/// The program's answers, one for each input.
pub(crate) fn ask(program: &Path, inputs: &[impl Serialize + Sync]) -> Vec<Value> {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let mut stdin = child.stdin.take().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let answers: Vec<Value> = std::thread::scope(|scope| {
        scope.spawn(move || {
            for input in inputs {
                writeln!(stdin, "{}", serde_json::to_string(input).unwrap()).unwrap();
            }
        });
        stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
    });
    assert!(child.wait().unwrap().success(), "{} failed", program.display());
    assert_eq!(answers.len(), inputs.len(), "{} left inputs without an answer", program.display());
    answers
}
