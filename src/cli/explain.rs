//! `mirrorgate explain`: how one image is read, which rule it meets and why, and what it becomes.

use std::io::{BufRead, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use anstream::println;
use serde::Serialize;

use crate::image::{Escaped, ParseError, Reference};
use crate::policy::{Policy, Route};
use crate::review::{Kept, Outcome, plan_image};

use super::{Output, OutputArgs, policy_file, print_result};

/// Tell how an image is read, which rule of the policy it meets, and what it becomes
///
/// Exit code 1 when an image cannot be read, or its mirror cannot serve it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Images as a pod would name them; `-` alone reads one a line from stdin
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// The policy document; without it only the reading of the image is shown
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { images, policy, output: OutputArgs { output } } = self;
        let policy = match policy {
            None => None,
            Some(path) => match policy_file::load(&path)? {
                Some(policy) => Some(policy),
                None => return Ok(ExitCode::FAILURE),
            },
        };
        let images = if images == ["-"] { lines_of_stdin()? } else { images };
        let explained: Vec<Explained<'_>> = images.iter().map(|image| Explained::new(image, policy.as_ref())).collect();
        match output {
            Output::Json => {
                let mut json = serde_json::to_vec_pretty(&explained)?;
                json.push(b'\n');
                print_result(&json)?;
            }
            Output::Text => {
                for (index, image) in explained.iter().enumerate() {
                    if index > 0 {
                        println!();
                    }
                    image.print();
                }
            }
        }
        Ok(if explained.iter().any(|e| e.error.is_some()) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// The line end is dropped and nothing else is trimmed; empty lines are skipped. What is no UTF-8 is no reference, and is
/// shown as such.
fn lines_of_stdin() -> anyhow::Result<Vec<String>> {
    let mut images = Vec::new();
    for line in stdin().lock().split(b'\n') {
        let line = line?;
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if !line.is_empty() {
            images.push(String::from_utf8_lossy(line).into_owned());
        }
    }
    Ok(images)
}

/// One image of the JSON array: names and shape are an interface.
#[derive(Serialize)]
struct Explained<'a> {
    input: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<Parts<'a>>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    policy: Option<Met<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorParts>,
    /// For the text form.
    #[serde(skip)]
    because: Option<String>,
}

#[derive(Serialize)]
struct Parts<'a> {
    registry: &'a str,
    repository: String,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
    canonical: String,
}

/// What the policy makes of it.
#[derive(Serialize)]
struct Met<'a> {
    mirror: Option<&'a str>,
    host_pattern: Option<String>,
    rewritten: Option<String>,
}

#[derive(Serialize)]
struct ErrorParts {
    kind: &'static str,
    message: String,
}

impl From<&ParseError> for ErrorParts {
    fn from(error: &ParseError) -> Self {
        Self { kind: error.kind().as_str(), message: error.to_string() }
    }
}

impl<'a> Explained<'a> {
    fn new(input: &'a str, policy: Option<&'a Policy>) -> Self {
        let (reference, unreadable) = match Reference::parse(input) {
            Ok(reference) => (Some(Parts::from(reference)), None),
            Err(error) => (None, Some(ErrorParts::from(&error))),
        };
        let mut explained = Self { input, reference, policy: None, error: unreadable, because: None };
        let Some(policy) = policy else { return explained };
        let unchanged = |mirror, host_pattern| Met { mirror, host_pattern, rewritten: Some(input.to_owned()) };
        match plan_image(policy, input) {
            Outcome::Rewritten { to, mirror, pattern } => {
                explained.because = Some(format!("mirror {} lists {pattern}", mirror.name()));
                explained.policy = Some(Met {
                    mirror: Some(mirror.name()),
                    host_pattern: Some(pattern.to_string()),
                    rewritten: Some(to),
                });
            }
            Outcome::Kept(kept) => {
                let pattern = match &kept {
                    Kept::Routed(Route::NotServed { pattern, .. } | Route::IgnoredRegistry { pattern }) => {
                        Some(pattern.to_string())
                    }
                    _ => None,
                };
                explained.because = Some(kept.to_string());
                explained.policy = Some(unchanged(None, pattern));
                // Left alone entirely: that no runtime could read it is not our business.
                explained.error = None;
            }
            Outcome::Unreadable(_) => {}
            Outcome::Unmirrorable { error, mirror } => {
                explained.policy = Some(Met { mirror: Some(mirror.name()), host_pattern: None, rewritten: None });
                explained.error = Some(ErrorParts { kind: "invalid-result", message: error.to_string() });
            }
        }
        explained
    }

    fn print(&self) {
        let Self { input, reference, policy, error, because } = self;
        println!("{}", Escaped::new(input));
        if let Some(Parts { canonical, .. }) = reference {
            println!("  is         {canonical}");
        }
        if let Some(Met { rewritten: Some(to), .. }) = policy {
            if to == input {
                println!("  stays as it is");
            } else {
                println!("  becomes    {to}");
            }
        }
        if let Some(because) = because {
            println!("  because    {because}");
        }
        if let Some(ErrorParts { kind, message }) = error {
            println!("  error      {message} ({kind})");
        }
    }
}

impl<'a> From<Reference<'a>> for Parts<'a> {
    fn from(reference: Reference<'a>) -> Self {
        Self {
            registry: reference.host(),
            repository: reference.repository().into_owned(),
            tag: reference.tag(),
            digest: reference.digest(),
            canonical: reference.to_string(),
        }
    }
}
