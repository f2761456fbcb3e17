//! `mirrorgate review`: what the webhook would do to manifests, without a cluster.
//!
//! Each source is read into a tree ([`crate::yaml`]), its pods and templates are found and judged by the same functions
//! that the server runs, and the result is printed in one of four forms.

mod edit;
mod input;
mod judge;
mod manifest;
mod masked;
mod output;
mod secrets;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::image::Registry;
use crate::policy::Policy;
use crate::review::{Mode, Verdicts};
use crate::yaml::{Limits, Node, parse_documents, position};

use super::asking::{Asked, Asking, fix};
use super::{Common, ca_bundles, policy_file, print_result};
use judge::Verdict;
use manifest::Object;
pub(super) use manifest::of_core;
use secrets::Secrets;
pub(super) use secrets::{value_of_config_map, value_of_secret};

/// Show what the webhook would do to manifests
///
/// Reads Pods, Deployments, StatefulSets, DaemonSets, ReplicaSets, ReplicationControllers, Jobs, CronJobs, PodTemplates,
/// Lists of them, and AdmissionReviews, which are answered as the server would. Other kinds pass through untouched.
///
/// Secrets among the manifests are all that the cluster has: what of them the webhook would know decides whether a pull
/// secret covers a registry or is missing. Without any, nobody looked: the pull secrets of the policy are added, and no
/// pod gets a warning for them. Messages and diffs tell nothing of a Secret but the registries that it is for.
///
/// Without --probe no registry is asked, and nothing is said of their certificates. With it each that must be trusted is
/// asked once, from here, as the webhook would ask it; CA bundles in ConfigMaps and Secrets are those among the manifests.
///
/// In a cluster the webhook changes pods, never the templates that they are made from. Here the images and pull secrets in
/// a template stand for those of its pods, and are shown as the pods would have them; the annotation with the original
/// images is shown for pods only.
///
/// Exit code 1 for a denial, or an input that is no manifest; 2 where a file is missing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Manifests: files, folders (*.yaml, *.yml and *.json in them and below), or - for stdin
    #[arg(short, long = "filename", required = true, num_args = 1.., value_name = "FILE")]
    filenames: Vec<PathBuf>,
    /// The policy
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// As for a namespace that opted in to this mode [default: that of the namespace, if it is among the manifests, else
    /// enforce]
    #[arg(long, value_enum)]
    mode: Option<ModeArg>,
    /// The namespace of what names none
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    namespace: String,
    /// Ask the registries that must be trusted, and decide by what they answer
    #[arg(long)]
    probe: bool,
    /// The form of the result
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    /// Images are rewritten, pods may be denied
    Enforce,
    /// Nothing changes; what would is told as warnings
    Audit,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A diff, and what else there is to say
    #[default]
    Text,
    /// For a program: an array with an entry for each object
    Json,
    /// The manifests as they would be, comments and order kept
    Yaml,
    /// RFC 6902: one array a line, for each document with pods or templates
    Patch,
}

/// One source and what was found in it; the error is in words.
struct Reviewed<'d> {
    name: &'d str,
    text: &'d str,
    documents: &'d [Node],
    findings: Result<Vec<Finding<'d>>, String>,
}

/// One object and what becomes of it; the error says why it is no object that the API server would send us.
struct Finding<'d> {
    object: Object<'d>,
    namespace: String,
    mode: Mode,
    verdict: Result<Verdict, String>,
}

impl Args {
    pub(super) fn run(self, common: Common) -> anyhow::Result<ExitCode> {
        let Self { filenames, policy, mode, namespace, probe, output } = self;
        let Some(policy) = policy_file::load(&policy)? else { return Ok(ExitCode::FAILURE) };
        let sources = input::read(&filenames)?;
        let documents: Vec<_> = sources.iter().map(read_documents).collect();
        let modes: Vec<_> = documents.iter().flatten().flat_map(|d| manifest::namespace_modes(d)).collect();
        let readable: Vec<_> = documents.iter().flatten().map(Vec::as_slice).collect();
        let secrets = Secrets::read(&policy, readable.iter().copied(), &namespace);
        let asked = if probe { ask(&policy, &readable, &namespace)? } else { Asked::nobody() };
        let mode_of = |namespace: &str| match mode {
            Some(ModeArg::Enforce) => Mode::Enforce,
            Some(ModeArg::Audit) => Mode::Audit,
            None if modes.iter().any(|(name, mode)| name == namespace && mode == "audit") => Mode::Audit,
            None => Mode::Enforce,
        };
        let reviewed: Vec<_> = sources
            .iter()
            .zip(&documents)
            .map(|(source, documents)| {
                let findings = documents.as_ref().map_err(Clone::clone).map(|documents| {
                    let objects = manifest::objects(documents).into_iter();
                    objects
                        .map(|object| {
                            let namespace = object.namespace().unwrap_or(&namespace).to_owned();
                            let mode = mode_of(&namespace);
                            let verdict = judge::judge(&policy, mode, &namespace, &secrets, &asked.verdicts, &object);
                            let verdict = verdict.map(|verdict| with_fixes(verdict, &policy, &asked));
                            Finding { object, namespace, mode, verdict }
                        })
                        .collect()
                });
                Reviewed {
                    name: &source.name,
                    text: source.text.as_deref().unwrap_or_default(),
                    documents: documents.as_deref().unwrap_or_default(),
                    findings,
                }
            })
            .collect();
        let color = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
        let result = match output {
            Form::Text => output::text(&reviewed, color, !common.quiet),
            Form::Json => output::json(&reviewed)?,
            Form::Yaml => output::yaml(&reviewed)?,
            Form::Patch => output::patch(&reviewed)?,
        };
        print_result(result.as_bytes())?;
        Ok(ExitCode::from(u8::from(report(&reviewed, output))))
    }
}

/// Says on stderr what could not be read and, where the result does not, what is denied. Whether there was any.
fn report(reviewed: &[Reviewed<'_>], output: Form) -> bool {
    let mut found = false;
    for source in reviewed {
        let findings = match &source.findings {
            Ok(findings) => findings,
            Err(error) => {
                found = true;
                anstream::eprintln!("error: {}: {error}", source.name);
                continue;
            }
        };
        for finding in findings {
            let title = finding.title(source.name);
            match &finding.verdict {
                Err(error) => {
                    found = true;
                    anstream::eprintln!("error: {title}: {error}");
                }
                Ok(verdict) if !verdict.allowed => {
                    found = true;
                    if matches!(output, Form::Yaml | Form::Patch) {
                        for cause in &verdict.causes {
                            anstream::eprintln!("denied: {title}: {}: {}", cause.field, cause.message);
                        }
                    }
                }
                Ok(_) => {}
            }
        }
    }
    found
}

/// What the registries answer that the pods of the manifests are pulled from.
fn ask(policy: &Policy, documents: &[&[Node]], namespace: &str) -> anyhow::Result<Asked> {
    let bundles = ca_bundles::read(policy, documents, namespace);
    let unasked = |verdicts: &Verdicts| -> BTreeSet<Registry> {
        let objects = documents.iter().flat_map(|documents| manifest::objects(documents));
        objects.flat_map(|object| judge::unasked(policy, verdicts, &object)).collect()
    };
    Ok(Asking::new(policy, &bundles)?.settle(unasked))
}

/// With what mends each registry that is untrusted.
fn with_fixes(mut verdict: Verdict, policy: &Policy, asked: &Asked) -> Verdict {
    for of_registry in &mut verdict.verdicts {
        of_registry.fix = asked.report(&of_registry.registry).and_then(|report| fix(policy, report));
    }
    verdict
}

fn read_documents(source: &input::Source) -> Result<Vec<Node>, String> {
    let text = source.text.as_ref().map_err(Clone::clone)?;
    parse_documents(text, Limits::MANIFEST).map_err(|error| {
        let (line, column) = position(text, error.offset);
        format!("line {line}, column {column}: {error}")
    })
}
