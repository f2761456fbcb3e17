//! `mirrorgate explain`: how one image is read, which rule it meets and why, what it becomes, which pull secrets go with
//! it, and whether the registry that it is pulled from must be trusted.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{BufRead, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use anstream::println;
use serde::Serialize;

use crate::image::{Escaped, ParseError, Reference, Registry};
use crate::policy::{Checked, Policy, PullSecretSource, Route};
use crate::probe::Report;
use crate::review::{
    CheckedRegistry, Kept, Outcome, UnknownClass, Verdicts, plan_image, pull_secret_names, settle_image,
};

use super::asking::{Asked, Asking, fix};
use super::{Output, OutputArgs, ca_bundles, policy_file, print_result};

/// Tell how an image is read, which rule of the policy it meets, what it becomes, which pull secrets go with it, and
/// whether the registry that it is pulled from must be trusted
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
    /// The namespace of the pod, whose pull secrets are meant
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    namespace: String,
    /// Ask the registries that must be trusted, and tell what the nodes would say of them; exit code 1 for what is not
    /// trusted
    #[arg(long, requires = "policy")]
    probe: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { images, policy, namespace, probe, output: OutputArgs { output } } = self;
        let policy = match policy {
            None => None,
            Some(path) => match policy_file::load(&path)? {
                Some(policy) => Some(policy),
                None => return Ok(ExitCode::FAILURE),
            },
        };
        let images = if images == ["-"] { lines_of_stdin()? } else { images };
        let under = policy.as_ref().map(|policy| (policy, &*namespace));
        let asked = match &policy {
            Some(policy) if probe => ask(policy, &images)?,
            _ => Asked::nobody(),
        };
        let explained: Vec<Explained<'_>> = images.iter().map(|image| Explained::new(image, under, &asked)).collect();
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
        let is_fine = explained
            .iter()
            .all(|explained| explained.error.is_none() && explained.answer.as_ref().is_none_or(Answer::is_fine));
        Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What the registries answer that the images are pulled from, each asked once.
fn ask(policy: &Policy, images: &[String]) -> anyhow::Result<Asked> {
    let bundles = ca_bundles::read(policy, &[], "");
    let unasked = |verdicts: &Verdicts| -> BTreeSet<Registry> {
        images.iter().filter_map(|image| settle_image(policy, image, verdicts).1).collect()
    };
    Ok(Asking::new(policy, &bundles)?.settle(unasked))
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
    /// For the text form: of pull secrets, what has no name.
    #[serde(skip)]
    nameless: Vec<String>,
    /// For the text form: whether and why the registry must be trusted.
    #[serde(skip)]
    trust: Option<String>,
    /// The registry that it is pulled from, where that is checked or plain HTTP.
    #[serde(skip)]
    pulled_from: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
    #[serde(skip)]
    namespace: &'a str,
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
    pull_secrets: Vec<Cow<'a, str>>,
    trust_checked: bool,
}

/// What a registry answered.
#[derive(Serialize)]
struct Answer {
    verdict: &'static str,
    class: &'static str,
    message: String,
    fix: Option<String>,
}

impl Answer {
    fn new(policy: &Policy, report: &Report) -> Self {
        let Report { registry, verdict, .. } = report;
        let mirror = policy.checked(registry.as_str()).and_then(|checked| checked.mirror());
        let (registry, verdict) = (registry.clone(), verdict.clone());
        let checked = CheckedRegistry { registry, mirror, verdict, images: Default::default() };
        let verdict = &checked.verdict;
        Self {
            verdict: verdict.as_str(),
            class: verdict.class(),
            message: checked.to_string(),
            fix: fix(policy, report),
        }
    }

    /// A plain HTTP mirror that answers has no certificate to trust.
    fn is_fine(&self) -> bool {
        self.verdict == "trusted" || self.class == UnknownClass::PlainHttp.as_str()
    }
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
    /// `under` is the policy and the namespace; mirrors that were found to be down are gone past (M11).
    fn new(input: &'a str, under: Option<(&'a Policy, &'a str)>, asked: &Asked) -> Self {
        let (reference, unreadable) = match Reference::parse(input) {
            Ok(reference) => (Some(Parts::from(reference)), None),
            Err(error) => (None, Some(ErrorParts::from(&error))),
        };
        let (policy, namespace) = under.unzip();
        let mut explained = Self {
            input,
            reference,
            policy: None,
            error: unreadable,
            because: None,
            nameless: Vec::new(),
            trust: None,
            pulled_from: None,
            answer: None,
            namespace: namespace.unwrap_or_default(),
        };
        let Some(policy) = policy else { return explained };
        match settle_image(policy, input, &asked.verdicts).0 {
            Outcome::Rewritten { to, mirror, pattern, .. } => {
                let before = match plan_image(policy, input).0 {
                    Outcome::Rewritten { mirror: first, .. } if first.name() != mirror.name() => {
                        format!(", and mirror {} before it is unreachable", first.name())
                    }
                    _ => String::new(),
                };
                explained.because = Some(format!("mirror {} lists {pattern}{before}", mirror.name()));
                let pull_secrets = explained.pull_secrets(policy, to.as_str());
                let trust_checked = explained.trust_checked(policy, to.as_str());
                explained.policy = Some(Met {
                    mirror: Some(mirror.name()),
                    host_pattern: Some(pattern.to_string()),
                    rewritten: Some(to.to_string()),
                    pull_secrets,
                    trust_checked,
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
                let (pull_secrets, trust_checked) = match kept {
                    Kept::IgnoredText | Kept::Routed(Route::IgnoredImage { .. }) => (Vec::new(), false),
                    _ => (explained.pull_secrets(policy, input), explained.trust_checked(policy, input)),
                };
                explained.policy = Some(Met {
                    mirror: None,
                    host_pattern: pattern,
                    rewritten: Some(input.to_owned()),
                    pull_secrets,
                    trust_checked,
                });
                // Left alone entirely: that no runtime could read it is not our business.
                explained.error = None;
            }
            Outcome::Unreadable(_) => {}
            Outcome::Unmirrorable { error, mirror } => {
                explained.policy = Some(Met {
                    mirror: Some(mirror.name()),
                    host_pattern: None,
                    rewritten: None,
                    pull_secrets: Vec::new(),
                    trust_checked: false,
                });
                explained.error = Some(ErrorParts { kind: "invalid-result", message: error.to_string() });
            }
        }
        let report = explained.pulled_from.as_deref().and_then(|registry| asked.report(registry));
        explained.answer = report.map(|report| Answer::new(policy, report));
        explained
    }

    /// The names of those for the registry that `image` is pulled from.
    fn pull_secrets(&mut self, policy: &'a Policy, image: &str) -> Vec<Cow<'a, str>> {
        let Ok(reference) = Reference::parse(image) else { return Vec::new() };
        let (registry, namespace) = (reference.registry(), self.namespace);
        let mut names = Vec::new();
        for name in pull_secret_names(policy, namespace, &reference) {
            match name {
                Ok(name) => names.push(name),
                Err(invalid) => self.nameless.push(format!("nothing: {invalid}")),
            }
        }
        let mut rules = policy.pull_secrets(registry.as_str(), namespace);
        if rules.any(|rule| rule.source() == PullSecretSource::Discovered) {
            let namespace = Escaped::new(namespace);
            self.nameless.push(format!("every secret in {namespace} that covers it, by `discover: true`"));
        }
        names
    }

    /// Whether the registry that `image` is pulled from must be trusted (T1).
    fn trust_checked(&mut self, policy: &Policy, image: &str) -> bool {
        let Ok(reference) = Reference::parse(image) else { return false };
        let registry = reference.registry();
        let checked = policy.checked(registry.as_str());
        let is_checked = match checked {
            None => false,
            Some(Checked::Mirror(mirror)) => !mirror.plain_http(),
            Some(Checked::Listed(_) | Checked::Anything) => true,
        };
        let why = match checked {
            None => "is no mirror, and `trust.registries` does not list it".to_owned(),
            Some(Checked::Mirror(mirror)) if mirror.plain_http() => {
                format!("is the mirror {}, by plain HTTP: it has no certificate", mirror.name())
            }
            Some(Checked::Mirror(mirror)) => format!("is the mirror {}", mirror.name()),
            Some(Checked::Listed(pattern)) => format!("is listed as {pattern} in `trust.registries`"),
            Some(Checked::Anything) => "is like every registry under `*` in `trust.registries`".to_owned(),
        };
        let word = if is_checked { "checked" } else { "not checked" };
        self.trust = Some(format!("{word}: {registry} {why}"));
        self.pulled_from = checked.map(|_| registry.as_str().to_owned());
        is_checked
    }

    fn print(&self) {
        let Self { input, reference, policy, error, because, nameless, trust, pulled_from: _, answer, namespace } =
            self;
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
        for name in policy.iter().flat_map(|policy| &policy.pull_secrets) {
            println!("  pull with  {name} (as a secret in {})", Escaped::new(namespace));
        }
        for what in nameless {
            println!("  pull with  {what}");
        }
        if let Some(trust) = trust {
            println!("  trust      {trust}");
        }
        if let Some(Answer { message, fix, .. }) = answer {
            println!("  answer     {message}");
            for line in fix.iter().flat_map(|fix| fix.lines()) {
                println!("             {line}");
            }
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
