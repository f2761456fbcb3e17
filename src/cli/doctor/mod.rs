//! `mirrorgate doctor`: whether mirrorgate is healthy in a cluster, line by line with what mends it.
//!
//! [`reading`] asks the API server, with the user's access; each group of checks is a file of functions over what was read,
//! and knows no cluster. What the user may not read is unknown, and the access that it needs is named.

mod access;
mod api_server;
mod certificate;
mod facts;
mod finding;
mod guards;
mod opt_in;
mod output;
mod policy;
mod proxy;
mod pull_secrets;
mod reading;
mod registries;
mod replicas;
mod webhooks;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use kube::Client;

use crate::cluster;
use crate::policy::{BundleRef, Policy};
use crate::probe::{BundleStore, Bundles};

use super::{Common, Output, OutputArgs, print_result, rbac};
use access::{Answers, Left, Needed};
use facts::{Access, Facts, Read, Unread};
use finding::{Finding, State};
use pull_secrets::Known;
use reading::Reader;

/// Examine a cluster: whether mirrorgate is healthy there, line by line, with the command that mends it
///
/// Asks the API server with your kubeconfig, as kubectl finds it, and changes nothing. It goes through no proxy: where
/// HTTPS_PROXY is set, NO_PROXY has to name the API server. What you may not read is `unknown`, with the access that it needs.
/// The registries of the policy are asked from this machine, and the API server is asked for a pod in an enforced namespace that
/// it does not make (a dry run), so that it calls mirrorgate; --no-probe leaves out both.
/// Exit code 1 when there is a fault, 2 without a cluster; warnings alone are 0.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The namespace that mirrorgate runs in
    #[arg(long, value_name = "NAME", default_value = "mirrorgate-system", value_parser = rbac::namespace)]
    namespace: String,
    /// The context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Ask no registry, and make no dry run of a pod
    #[arg(long)]
    no_probe: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Args {
    pub(super) fn run(self, common: Common) -> anyhow::Result<ExitCode> {
        let Self { namespace, context, no_probe, output: OutputArgs { output } } = self;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
        let findings = runtime.block_on(examine(namespace, context, !no_probe))?;
        runtime.shutdown_background();
        let result = match output {
            Output::Json => output::json(&findings)?,
            Output::Text => {
                let color = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
                output::text(&findings, color, common.quiet)
            }
        };
        print_result(result.as_bytes())?;
        let is_healthy = findings.iter().all(|finding| finding.state != State::Fault);
        Ok(if is_healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn examine(namespace: String, context: Option<String>, with_probes: bool) -> anyhow::Result<Vec<Finding>> {
    let mut config = cluster::find(context).await.context("no cluster")?;
    proxy::go_straight(&mut config, &proxy::Environment::read())?;
    let server = config.cluster_url.to_string();
    let client = Client::try_from(config).context("the client of the API server")?;
    let reader = Reader::new(client, namespace);
    let version = match reader.version().await {
        Ok(version) => Ok(version),
        Err(kube::Error::Api(status)) if status.code == 401 => {
            bail!("the API server {server} does not know you: {}", status.message)
        }
        Err(kube::Error::Api(status)) => {
            if status.code != 403 {
                bail!("the API server {server}: {}", status.message);
            }
            Err(Unread::Forbidden(Access::to("get", "", "/version")))
        }
        Err(error) => return Err(error).with_context(|| format!("no cluster: the API server {server}")),
    };
    let facts = reader.facts(version).await;
    let mut findings = api_server::check(&facts);
    if let Some(elsewhere) = webhooks::elsewhere(&facts) {
        findings.push(elsewhere);
        return Ok(findings);
    }
    if let Some(nothing) = replicas::not_installed(&facts) {
        findings.push(nothing);
        return Ok(findings);
    }
    findings.extend(replicas::check(&facts));
    findings.extend(webhooks::check(&facts));
    findings.extend(certificate::check(&facts));
    let (policy, said) = policy::check(&facts);
    findings.extend(said);
    findings.extend(access_of(&facts, policy.as_ref(), &reader).await);
    findings.extend(guards::check(&facts));
    findings.extend(opt_in::check(&facts));
    let bundles = bundles(policy.as_ref(), &reader).await;
    findings.extend(policy::ca_bundles(&bundles));
    if let Some(policy) = &policy {
        findings.extend(secrets(&facts, policy, &reader).await);
    }
    if !with_probes {
        findings.extend(registries::not_asked());
        return Ok(findings);
    }
    findings.push(registries::called(&facts, &registries::call(&facts, &reader).await));
    match &policy {
        Some(policy) => findings.extend(registries::check(policy, &registries::ask(policy, &known(bundles)).await)),
        None => findings.push(registries::without_policy()),
    }
    Ok(findings)
}

async fn access_of(facts: &Facts, policy: Option<&Policy>, reader: &Reader) -> Vec<Finding> {
    let needed = Needed::of(facts, policy);
    let surplus = needed.surplus(facts);
    let first = reader.may(needed.by_itself.iter().take(1).cloned().collect()).await;
    let may_ask = first.iter().all(|(_, answer)| answer.is_ok());
    if !may_ask {
        // Nor is any of the others answered.
        let answers = Answers { by_itself: first, by_the_policy: Vec::new(), surplus: Vec::new() };
        return access::check(facts, policy, &answers, &Left::default());
    }
    let answers = Answers {
        by_itself: reader.may(needed.by_itself).await,
        by_the_policy: reader.may(needed.by_the_policy).await,
        surplus: reader.may(surplus).await,
    };
    let (all, named, bundles) = tokio::join!(
        reader.cluster_role(rbac::ALL),
        reader.cluster_role(rbac::NAMED),
        reader.role_bindings(rbac::BUNDLES)
    );
    access::check(facts, policy, &answers, &Left { all, named, bundles })
}

/// The CA bundles that the policy names.
async fn bundles(
    policy: Option<&Policy>,
    reader: &Reader,
) -> Vec<(BundleRef, Read<Result<crate::trust::Pool, String>>)> {
    let mut found = Vec::new();
    for bundle in policy.iter().flat_map(|policy| policy.bundles()) {
        found.push((bundle.clone(), reader.bundle(bundle).await));
    }
    found
}

/// Those that are good.
fn known(found: Vec<(BundleRef, Read<Result<crate::trust::Pool, String>>)>) -> Arc<Bundles> {
    let store = BundleStore::new();
    for (bundle, found) in found {
        if let Ok(Ok(pool)) = found {
            store.put(&bundle, Arc::new(pool));
        }
    }
    store.snapshot()
}

async fn secrets(facts: &Facts, policy: &Policy, reader: &Reader) -> Vec<Finding> {
    let opted_in = facts.opted_in();
    let namespaces: Vec<&str> = opted_in.iter().map(|(namespace, _)| namespace.name.as_str()).collect();
    if namespaces.is_empty() || !policy.has_pull_secrets() {
        return pull_secrets::check(facts, policy, &Known::default());
    }
    let mut known = Known::default();
    for wanted in pull_secrets::wanted(policy) {
        let (found, unread) = reader.pull_secrets(&wanted, &namespaces).await;
        known.put(&wanted, found, unread);
    }
    let mut findings = pull_secrets::check(facts, policy, &known);
    let (accounts, unread) = reader.service_accounts(&namespaces).await;
    findings.extend(pull_secrets::service_accounts(facts, policy, &accounts, &unread));
    findings
}
