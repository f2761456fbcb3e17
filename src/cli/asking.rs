//! Asks registries for a command: each once, as the server would ask it.

use std::collections::BTreeSet;

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream;
use tokio::runtime::{Builder, Runtime};

use crate::image::Registry;
use crate::policy::{Checked, Policy};
use crate::probe::{Bundles, Dialler, Question, Report};
use crate::review::{Verdict, Verdicts};

/// What was answered.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) verdicts: Verdicts,
    /// Of each registry that was asked.
    pub(super) reports: Vec<Report>,
}

impl Asked {
    /// Where nobody is to be asked.
    pub(super) fn nobody() -> Self {
        Self { verdicts: Verdicts::not_asked_for(), reports: Vec::new() }
    }

    /// What was seen of a registry, if it was asked.
    pub(super) fn report(&self, registry: &str) -> Option<&Report> {
        self.reports.iter().find(|report| report.registry.as_str() == registry)
    }
}

/// What mends it that a registry is untrusted; nothing where its certificate is not what is wrong.
pub(super) fn fix(policy: &Policy, report: &Report) -> Option<String> {
    let Report { registry, judgement: Some(judgement), verdict: Verdict::Untrusted(untrusted), .. } = report else {
        return None;
    };
    let mirror = policy.checked(registry.as_str()).and_then(Checked::mirror);
    Some(untrusted.whole_mend(registry, mirror, judgement))
}

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

    /// Asks whom `unasked` names by what is known so far, and again until it names nobody, as those are asked too that are
    /// taken in the place of mirrors that are down (M11). One that is not checked is not asked.
    pub(super) fn settle(&self, mut unasked: impl FnMut(&Verdicts) -> BTreeSet<Registry>) -> Asked {
        let mut asked = Asked::default();
        loop {
            let registries = unasked(&asked.verdicts);
            if registries.is_empty() {
                return asked;
            }
            for registry in &registries {
                asked.verdicts.put(registry, Verdict::not_asked());
            }
            for report in self.ask(&registries) {
                asked.verdicts.put(&report.registry, report.verdict.clone());
                asked.reports.push(report);
            }
        }
    }

    /// Asks these registries, in canonical form, as many at a time as the policy says.
    fn ask(&self, registries: &BTreeSet<Registry>) -> Vec<Report> {
        let questions =
            registries.iter().filter_map(|registry| Question::new(self.policy, self.bundles, registry.as_str()));
        let answers = stream::iter(questions).map(async |question| {
            let report = self.dialler.probe(&question.target(), question.roots()).await;
            Report { verdict: question.settle(report.verdict), ..report }
        });
        self.runtime.block_on(answers.buffer_unordered(self.policy.probe().max_concurrent).collect())
    }
}
