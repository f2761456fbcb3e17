//! `mirrorgate check`: every fault of a policy at once, with its source line.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use anyhow::Context;
use serde::Serialize;

use super::{Common, Output, OutputArgs};
use crate::policy::{Examined, MAX_SOURCE};

/// Arguments of `mirrorgate check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The policies to check; `-` is stdin
    #[arg(required = true, value_name = "POLICY")]
    policies: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    pub(super) fn run(self, common: Common) -> anyhow::Result<ExitCode> {
        let Self { policies, output: OutputArgs { output } } = self;
        let mut unread = None;
        let mut checked = Vec::new();
        for path in &policies {
            match read(path) {
                Ok(bytes) => checked.push(Examined::new(path.display().to_string(), bytes)),
                Err(error) => unread = unread.or(Some(error)),
            }
        }
        let text = match output {
            Output::Text => {
                let color = AutoStream::choice(&std::io::stdout()) != ColorChoice::Never;
                let text =
                    |checked: &Examined| if common.quiet { checked.drawings(color) } else { checked.text(color) };
                checked.iter().map(text).collect()
            }
            Output::Json => {
                let findings: Vec<_> = checked.iter().flat_map(findings).collect();
                serde_json::to_string_pretty(&findings).context("writing the findings")? + "\n"
            }
        };
        super::print_result(text.as_bytes())?;
        match unread {
            Some(error) => Err(error),
            None if checked.iter().all(|checked| checked.policy().is_some()) => Ok(ExitCode::SUCCESS),
            None => Ok(ExitCode::FAILURE),
        }
    }
}

/// Reads a policy, and of one that is too large only so much that this shows.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = MAX_SOURCE as u64 + 1;
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("the policy {} cannot be read", path.display()))?;
    Ok(bytes)
}

/// One entry of the JSON form.
#[derive(Serialize)]
struct Finding<'c> {
    file: &'c str,
    path: &'c str,
    line: usize,
    column: usize,
    severity: &'static str,
    message: &'c str,
    help: Option<&'c str>,
}

/// What was found, for a program.
fn findings(checked: &Examined) -> impl Iterator<Item = Finding<'_>> {
    checked.faults().iter().map(|fault| Finding {
        file: checked.file(),
        path: &fault.path,
        line: fault.line,
        column: fault.column,
        severity: fault.severity.as_str(),
        message: &fault.message,
        help: fault.help.as_deref(),
    })
}
