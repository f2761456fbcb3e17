//! `mirrorgate probe`: what a registry presents, who signed it, whether the nodes would trust it, and what mends it if not.

mod output;
mod resolution;
mod roots;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;

use crate::image::Registry;
use crate::policy::{Checked, Mirror, Policy, parse_duration};
use crate::probe::{Dialler, Kind, Report, Target};
use crate::review::Verdict;

use super::{Output, OutputArgs, policy_file, print_result};
use resolution::Resolution;
use roots::RootSources;

/// What a probe has where neither the policy nor the command line says.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The most registries that are asked at once.
const AT_ONCE: usize = 32;

/// Ask registries as the webhook would: what they present, who signed it, whether the nodes would trust it, and what to add
/// to the policy if not
///
/// One TLS handshake and one `GET /v2/`, without credentials and without following redirects. Exit code 1 when one is
/// anything but trusted.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Registries as a reference names them; port 443 where none is given
    #[arg(required = true, value_name = "HOST[:PORT]", value_parser = registry)]
    hosts: Vec<Registry>,
    /// The policy document, whose CAs, networks and time hold
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// CA certificates in PEM, trusted for every registry that is asked
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Do not trust the public roots, whatever the policy says
    #[arg(long)]
    no_system_roots: bool,
    /// Dial that address for this host and port, also one that is never dialled else; IPv6 in brackets
    #[arg(long, value_name = "HOST:PORT:ADDRESS[:PORT]")]
    resolve: Vec<Resolution>,
    /// The time for all of one registry: its name, the connection, the handshake and the answer (the policy's, or 2s)
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    timeout: Option<Duration>,
    #[command(flatten)]
    output: OutputArgs,
}

/// One registry that was asked.
struct Probed {
    report: Report,
    /// The mirror whose endpoint it is.
    mirror: Option<Mirror>,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { hosts, policy, ca, no_system_roots, resolve, timeout, output: OutputArgs { output } } = self;
        let policy = match policy {
            None => None,
            Some(path) => match policy_file::load(&path)? {
                Some(policy) => Some(policy),
                None => return Ok(ExitCode::FAILURE),
            },
        };
        let sources = RootSources::read(&ca, !no_system_roots, policy.as_ref())?;
        let is_used = |resolution: &Resolution| {
            hosts.iter().any(|host| resolution.is_for(host, kind(checked(policy.as_ref(), host))))
        };
        for resolution in resolve.iter().filter(|resolution| !is_used(resolution)) {
            anstream::eprintln!("warning: --resolve {resolution} is for none of the registries that are asked");
        }
        let asking = Asking { policy: policy.as_ref(), sources, resolve, timeout, dialler: Dialler::new() };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
        let probes = futures::stream::iter(&hosts).map(|host| asking.ask(host)).buffered(AT_ONCE);
        let probed: Vec<Probed> = runtime.block_on(probes.collect());
        runtime.shutdown_background();
        let result = match output {
            Output::Json => output::json(&probed)?,
            Output::Text => {
                let color = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
                output::text(&probed, color)
            }
        };
        print_result(result.as_bytes())?;
        let all_trusted = probed.iter().all(|probed| probed.report.verdict == Verdict::Trusted);
        Ok(if all_trusted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// How every registry of one command is asked.
struct Asking<'a> {
    policy: Option<&'a Policy>,
    sources: RootSources,
    resolve: Vec<Resolution>,
    timeout: Option<Duration>,
    dialler: Dialler,
}

impl Asking<'_> {
    async fn ask(&self, registry: &Registry) -> Probed {
        let checked = checked(self.policy, registry);
        let kind = kind(checked);
        let host = registry.host().trim_start_matches('[').trim_end_matches(']');
        let is_literal_endpoint = |policy: &Policy| host.parse().is_ok_and(|host| policy.is_literal_endpoint(host));
        let is_mirror = matches!(checked, Some(Checked::Mirror(_)));
        let policy_timeout = || self.policy.map(|policy| policy.probe().timeout);
        let target = Target {
            registry,
            checked: kind,
            denied: self.policy.map(Policy::denied_networks).unwrap_or_default(),
            literal_allowed: is_mirror && self.policy.is_some_and(is_literal_endpoint),
            timeout: self.timeout.or_else(policy_timeout).unwrap_or(TIMEOUT),
            resolve: self.resolve.iter().find(|resolution| resolution.is_for(registry, kind)).map(Resolution::address),
        };
        let (roots, absent) = self.sources.of(registry, self.policy);
        let mut report = self.dialler.probe(&target, &roots).await;
        report.verdict = roots::settle(report.verdict, &absent);
        let mirror = checked.and_then(Checked::mirror).cloned();
        Probed { report, mirror }
    }
}

/// What the policy has to do with a registry.
fn checked<'p>(policy: Option<&'p Policy>, registry: &Registry) -> Option<Checked<'p>> {
    policy.and_then(|policy| policy.checked(registry.as_str()))
}

/// How it is asked. What the policy does not have checked is asked all the same: by this command line.
fn kind(checked: Option<Checked<'_>>) -> Kind {
    match checked {
        Some(Checked::Mirror(mirror)) if mirror.plain_http() => Kind::Plain,
        Some(Checked::Anything) => Kind::HandshakeOnly,
        Some(Checked::Mirror(_) | Checked::Listed(_)) | None => Kind::Full,
    }
}

fn registry(text: &str) -> Result<Registry, String> {
    Registry::parse(text).map_err(|invalid| invalid.reason().to_string())
}

fn timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("no registry answers in no time".to_owned()),
        Ok(timeout) => Ok(timeout),
        Err(invalid) => Err(invalid.to_string()),
    }
}
