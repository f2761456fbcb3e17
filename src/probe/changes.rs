//! The log line for a registry whose verdict changes.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::{debug, info, warn};

use super::Report;
use super::freshness::is_fine;
use super::question::{Lane, Question};
use crate::review::Verdict;
use crate::telemetry::milliseconds;

/// What was said last of each registry that the policy names in full.
#[derive(Debug, Default)]
pub(super) struct Changes {
    told: HashMap<Arc<str>, (&'static str, &'static str)>,
}

impl Changes {
    /// Tells what is new. Of a registry that only pods name, every probe is told and none is remembered, at a level that
    /// is off by default: else a pod's author could fill the log.
    pub(super) fn tell(&mut self, question: &Question, report: &Report) {
        let registry = question.registry().as_str();
        let (verdict, class) = (report.verdict.as_str(), report.verdict.class());
        let ms = milliseconds(report.took.as_secs_f64());
        let (why, at) = match &report.verdict {
            Verdict::Trusted => (None, None),
            Verdict::Untrusted(untrusted) => (Some(&*untrusted.why), Some(untrusted.at)),
            Verdict::Unreachable(unreachable) => (Some(&*unreachable.why), None),
            Verdict::Unknown(unknown) => (Some(&*unknown.why), None),
        };
        let judged_at = at.map(tracing::field::display);
        if question.lane() != Lane::Named {
            debug!(registry, verdict, class, why, judged_at, ms, "registry");
            return;
        }
        if self.told.insert(registry.into(), (verdict, class)) == Some((verdict, class)) {
            return;
        }
        if is_fine(&report.verdict) {
            info!(registry, verdict, class, why, judged_at, ms, "registry");
        } else {
            warn!(registry, verdict, class, why, judged_at, ms, "registry");
        }
    }

    /// Forgets what is not named any more.
    pub(super) fn retain(&mut self, is_named: impl Fn(&str) -> bool) {
        self.told.retain(|registry, _| is_named(registry));
    }
}
