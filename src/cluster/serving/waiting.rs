//! What is waited for: the rounds in which the replicas are asked, and that a wait has become too long.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::serving::{Awaited, Step};

use super::super::watching;
use super::replicas::Answers;

/// Between two rounds of asking the replicas, and up to so long after many.
const ROUND: Duration = Duration::from_secs(5);
const ROUND_AT_MOST: Duration = Duration::from_secs(60);
/// So many rounds come in quick succession.
const QUICK: u32 = 4;
/// A change of CAs that waits for the same for so long is told of.
const LONG: Duration = Duration::from_secs(10 * 60);

/// What the replicas answered, as far as the Secret goes that was last seen.
#[derive(Default)]
pub(super) struct Rounds {
    asking: Option<BoxFuture<'static, Answers>>,
    answers: Option<Answers>,
    done: u32,
}

impl Rounds {
    /// Another round, unless one is under way; the very first begins within `first`.
    pub(super) fn ask(&mut self, first: Duration, round: impl Future<Output = Answers> + Send + 'static) {
        if self.asking.is_some() {
            return;
        }
        let pause = jittered(if self.done == 0 { first } else { pause_after(self.done) });
        let round = async move {
            tokio::time::sleep(pause).await;
            round.await
        };
        self.asking = Some(round.boxed());
    }

    /// Waits for answers, for ever where nobody is asked. It may be dropped and called again at any time.
    pub(super) async fn answered(&mut self) {
        match &mut self.asking {
            Some(asking) => self.answers = Some(asking.await),
            None => std::future::pending().await,
        }
        self.asking = None;
        self.done = self.done.saturating_add(1);
    }

    /// Of the last round.
    pub(super) fn answers(&self) -> Option<&Answers> {
        self.answers.as_ref()
    }

    /// What was answered was about another Secret.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

fn pause_after(rounds: u32) -> Duration {
    ROUND.saturating_mul(1 << rounds.saturating_sub(QUICK).min(10)).min(ROUND_AT_MOST)
}

/// How long a change of CAs has been waiting.
#[derive(Debug, Default)]
pub(super) struct Waiting(Option<(Awaited, Instant)>);

impl Waiting {
    /// That this is to be done now.
    pub(super) fn note(&mut self, step: &Step, now: Instant) {
        let awaited = match step {
            Step::Await(Awaited::PutBack) => None,
            Step::Await(awaited) => Some(*awaited),
            _ => None,
        };
        if self.0.map(|(awaited, _)| awaited) != awaited {
            self.0 = awaited.map(|awaited| (awaited, now));
        }
    }

    /// When it will have been too long.
    pub(super) fn too_long_at(&self) -> Option<Instant> {
        self.0.map(|(_, since)| since + LONG)
    }

    /// What has been waited for for too long, in words: `wrong` is what the webhooks lack.
    pub(super) fn too_long(&self, wrong: Option<&str>, answers: Option<&Answers>, now: Instant) -> Option<String> {
        let (awaited, _) = self.0.filter(|(_, since)| now.duration_since(*since) >= LONG)?;
        let wrong = wrong.unwrap_or("its caBundle is another, or has been this one for some seconds only");
        let minutes = LONG.as_secs() / 60;
        Some(match awaited {
            Awaited::PutBack => return None,
            Awaited::Beginning => format!(
                "another CA is due or asked for, and has not been made for {minutes} minutes, as the API server would not know it: {wrong}"
            ),
            Awaited::Webhooks => format!(
                "the new CA has not been signed by for {minutes} minutes, as the API server does not know it: {wrong}; no call fails by that"
            ),
            Awaited::Replicas => format!(
                "the CA before the new one has been kept for {minutes} minutes, as a certificate of the new one is not served by {}; no call fails \
                 by that; delete a pod that does not come back",
                answers.map_or_else(|| "every replica".to_owned(), Answers::missing)
            ),
        })
    }
}

/// Between half of it and all.
pub(super) fn jittered(pause: Duration) -> Duration {
    watching::jittered(pause, RandomState::new().hash_one(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replicas_are_asked_less_and_less_often_but_at_least_once_a_minute() {
        let pauses = [1, 4, 5, 6, 7, 8, 9, u32::MAX].map(|rounds| pause_after(rounds).as_secs());
        assert_eq!(pauses, [5, 5, 10, 20, 40, 60, 60, 60]);
    }

    #[test]
    fn a_change_that_hangs_is_told_of_after_ten_minutes_in_the_same_round() {
        let (start, minute) = (Instant::now(), Duration::from_secs(60));
        let mut waiting = Waiting::default();
        let webhooks = Step::Await(Awaited::Webhooks);
        let told =
            |waiting: &Waiting, minutes: u32| waiting.too_long(Some("caBundle of X"), None, start + minute * minutes);
        waiting.note(&webhooks, start);
        waiting.note(&webhooks, start + 9 * minute);
        assert_eq!(waiting.too_long_at(), Some(start + 10 * minute));
        assert_eq!(told(&waiting, 9), None);
        assert!(told(&waiting, 10).is_some_and(|said| said.contains("caBundle of X")));
        // The next round is another.
        waiting.note(&Step::Await(Awaited::Replicas), start + 10 * minute);
        assert_eq!(told(&waiting, 19), None);
        assert!(told(&waiting, 20).is_some_and(|said| said.contains("is not served by every replica")));
        for other in [Step::Rest, Step::Await(Awaited::PutBack)] {
            waiting.note(&other, start);
            assert_eq!((waiting.too_long_at(), told(&waiting, 60)), (None, None));
        }
    }
}
