//! Asks registries for a command: each once, as the server would ask it.

use std::collections::BTreeSet;

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream;
use tokio::runtime::{Builder, Runtime};

use crate::policy::Policy;
use crate::probe::{Bundles, Dialler, Question, Report};

/// Whom registries are asked by.
pub(super) struct Asking<'p> {
    policy: &'p Policy,
    bundles: &'p Bundles,
    dialler: Dialler,
    runtime: Runtime,
}

impl<'p> Asking<'p> {
    pub(super) fn new(policy: &'p Policy, bundles: &'p Bundles) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
        Ok(Self { policy, bundles, dialler: Dialler::new(), runtime })
    }

    /// Asks these registries, in canonical form, as many at a time as the policy says. One that is not checked is not
    /// asked, and not among the reports.
    pub(super) fn ask(&self, registries: &BTreeSet<String>) -> Vec<Report> {
        let questions = registries.iter().filter_map(|registry| Question::new(self.policy, self.bundles, registry));
        let answers = stream::iter(questions).map(async |question| {
            let report = self.dialler.probe(&question.target(), question.roots()).await;
            Report { verdict: question.settle(report.verdict), ..report }
        });
        self.runtime.block_on(answers.buffer_unordered(self.policy.probe().max_concurrent).collect())
    }
}
