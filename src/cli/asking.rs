//! Asks registries for a command: each once, as the server would ask it.

use std::collections::BTreeSet;

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream;
use tokio::runtime::{Builder, Runtime};

use crate::policy::Policy;
use crate::probe::{Bundles, Dialler, Question};
use crate::review::{Verdict, Verdicts};

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

    /// Asks these registries, in canonical form, as many at a time as the policy says, and puts a verdict on each to those
    /// that are known. One that is not checked is not asked.
    pub(super) fn ask(&self, registries: &BTreeSet<String>, verdicts: &mut Verdicts) {
        for registry in registries {
            verdicts.put(registry, Verdict::not_asked());
        }
        let questions = registries.iter().filter_map(|registry| Question::new(self.policy, self.bundles, registry));
        let answers = stream::iter(questions).map(async |question| {
            let report = self.dialler.probe(&question.target(), question.roots()).await;
            (question.registry().as_str().to_owned(), question.settle(report.verdict))
        });
        let answers = answers.buffer_unordered(self.policy.probe().max_concurrent).collect::<Vec<_>>();
        for (registry, verdict) in self.runtime.block_on(answers) {
            verdicts.put(&registry, verdict);
        }
    }
}
