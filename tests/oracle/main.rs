//! Our judgement held against that of the programs we must agree with, on generated input: `tests/oracle/run` builds
//! those (they need Go), and starts this with the folder they are in. `cargo test` alone does not run it.
#![expect(clippy::print_stdout, reason = "what was compared is what this program says")]
#![expect(clippy::unwrap_used, reason = "what cannot be compared stops the comparison")]

mod certificate;
mod chain;
mod keyring;
mod program;
mod random;
mod reference;
mod yaml;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Folder of the oracle programs, a number for the sequence of inputs if another is wanted, and an oracle's name if it is
/// wanted alone.
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| panic!("run tests/oracle/run, which needs Go")));
    let seed = arguments.next().map_or(1, |seed| seed.parse().unwrap());
    let only = arguments.next();

    let mut agreed = true;
    let oracles: [(&str, Compare); 5] = [
        ("reference", reference::compare),
        ("yaml", yaml::compare),
        ("keyring", keyring::compare),
        ("certificate", certificate::compare),
        ("chain", chain::compare),
    ];
    for (name, compare) in oracles.into_iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name)) {
        let Comparison { inputs, disagreements } = compare(&folder, seed);
        for disagreement in disagreements.iter().take(20) {
            println!("{disagreement}");
        }
        println!("{name}: {inputs} inputs, {} disagreements", disagreements.len());
        agreed &= disagreements.is_empty();
    }
    if agreed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Asks the programs in a folder, with inputs that the number determines.
type Compare = fn(&Path, u64) -> Comparison;

/// What came of one oracle.
struct Comparison {
    inputs: usize,
    /// A line or more each, for a person.
    disagreements: Vec<String>,
}
