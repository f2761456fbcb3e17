//! How long a verdict is used, and when it is probed again (P3).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::Duration;

use tokio::time::Instant;

use super::Report;
use super::cache::Kept;
use super::question::Question;
use crate::review::{UnknownClass, Verdict};
use crate::trust::Outcome;

/// A probe may take as long as its timeout; the verdict it renews must hold as long, and this much longer.
const SLACK: Duration = Duration::from_millis(500);

/// So long after a probe that failed where the one before did not, the next one decides.
const SECOND_TRY: Duration = Duration::from_secs(1);

/// Spreads what was probed at the same time: a hundred registries that a policy names, or the replicas of mirrorgate.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    spread: RandomState,
    count: u64,
}

impl Freshness {
    /// The verdict with its times. What is trusted is so for as long as its certificates are good, at most. It is renewed
    /// at 70 to 80 % of them, or sooner where a probe could take longer than the rest.
    pub(super) fn of(&mut self, question: &Question, report: &Report, now: Instant) -> Kept {
        let ttl = question.ttl(&report.verdict).min(ends_in(report).unwrap_or(Duration::MAX));
        self.count += 1;
        // From 0 to 1.
        let random = self.spread.hash_one(self.count) as f64 / u64::MAX as f64;
        let ahead = ttl.mul_f64(0.2 + 0.1 * random).max(question.timeout() + SLACK).min(ttl / 2);
        Kept::new(report.verdict.clone(), now + ttl, now + ttl - ahead)
    }

    /// What holds of a verdict after a probe that was to renew it. Where that one could not say anything about a registry
    /// that was fine, the verdict stays and the next probe, a moment later, decides: what is but a blip rejects nobody, and
    /// what is down is known a moment later. `None`: what the probe says counts at once.
    pub(super) fn after_a_blip(&self, renews: Option<&Kept>, verdict: &Verdict, now: Instant) -> Option<Kept> {
        let before = renews.filter(|before| now < before.until && !before.doubted && is_fine(&before.verdict))?;
        let may_be_a_blip = matches!(verdict, Verdict::Unreachable(_) | Verdict::Unknown(_)) && !is_fine(verdict);
        may_be_a_blip.then(|| before.in_doubt(now + SECOND_TRY))
    }
}

/// How long it is until the first of the certificates ends that a trusted registry presents, or its CA.
fn ends_in(report: &Report) -> Option<Duration> {
    let judgement = report.judgement.as_ref()?;
    let Outcome::Trusted(by) = &judgement.outcome else { return None };
    let certificates = judgement.presented.iter().flatten().chain([&by.root]);
    // One that is past its end already is not part of what is trusted.
    let end = certificates.map(|certificate| certificate.not_after()).filter(|&end| judgement.at <= end).min()?;
    // The rest of the probe came after the judgement, and took no longer than all of it.
    Some(Duration::try_from(end.duration_since(judgement.at)).ok()?.saturating_sub(report.took))
}

/// Whether a registry is as it should be; one of plain HTTP cannot be better than that.
pub(super) fn is_fine(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Trusted => true,
        Verdict::Unknown(unknown) => unknown.class == UnknownClass::PlainHttp,
        Verdict::Untrusted(_) | Verdict::Unreachable(_) => false,
    }
}
