//! The Secret `mirrorgate-serving`: watched by every replica, taken up without a restart, and, where mirrorgate looks after
//! its certificate itself, written by whoever is first ([`crate::serving::step`]). No leader: each write names the version
//! that it is made of, and who comes too late reads again (trap 24).

mod announced;
mod replicas;
mod secret;
mod telling;
mod waiting;
mod watched;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::Client;
use kube::api::Api;
use kube::runtime::watcher::Event;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::debug;

use crate::serving::{Awaited, Found, Held, InForce, Others, Step, step};
use crate::telemetry::{Metrics, Readiness};

use super::announcer::Announcer;
use super::watching::{Fault, Pauses, Told, Watch, in_time};
use super::webhooks::Trusting;
use announced::{Matter, done};
use replicas::{Answers, Question, ask};
use secret::{Seen, write};
use waiting::{Rounds, Waiting, jittered};

pub use announced::CertificateEvents;
pub(super) use watched::WatchedServing;

/// The name of the Secret, in mirrorgate's own namespace.
pub const SERVING_SECRET: &str = "mirrorgate-serving";

const PAUSES: Pauses = Pauses { first: Duration::from_millis(250), longest: Duration::from_secs(1) };
/// After a write that failed, and up to so long after several.
const AGAIN: Duration = Duration::from_millis(500);
const AGAIN_AT_MOST: Duration = Duration::from_secs(30);
/// The clock is looked at so often.
const TICK: Duration = Duration::from_secs(30);
/// What is not urgent is done some time within this, so that the replicas do not all do it.
const CALM: Duration = Duration::from_secs(2);
/// For a replica that has it to put a Secret back that is gone, and to do so where one is known to have it.
const PATIENCE: Duration = Duration::from_secs(3);
const PATIENCE_AT_MOST: Duration = Duration::from_secs(60);
/// What is over so soon is not spoken of.
const SOON: Duration = Duration::from_secs(1);
/// Until every API server has surely heard of a changed webhook configuration.
const HEARD: Duration = Duration::from_secs(10);

/// Who makes the serving certificate, and writes `caBundle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caretaker {
    /// mirrorgate does both.
    Ourselves,
    /// Somebody makes it, with its CA in `ca.crt`; mirrorgate writes `caBundle`.
    Somebody,
    /// cert-manager does both.
    CertManager,
}

/// The watch of the Secret, and what is done about it.
pub struct ServingWatch {
    client: Client,
    secrets: Api<WatchedServing>,
    namespace: String,
    /// By which the API server calls us.
    name: String,
    caretaker: Caretaker,
    in_force: Arc<InForce>,
    seen: Option<Seen>,
    /// Since when there is no Secret, or an empty one.
    gone: Option<Instant>,
    /// What is in force, with all that is needed to put it back.
    good: Option<Arc<Held>>,
    authorities: watch::Sender<Option<Arc<[u8]>>>,
    trusting: watch::Receiver<Trusting>,
    rounds: Rounds,
    waiting: Waiting,
    /// A step that is not urgent, and when it is done.
    due: Option<(Step, Instant)>,
    /// Of writes, in a row, and when the next may be.
    failures: u32,
    again: Option<Instant>,
    /// When it was last looked at what is to be done.
    acted: Instant,
    down: bool,
    announcer: Announcer<Matter>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
}

impl ServingWatch {
    /// `namespace` is mirrorgate's own, `instance` names this replica in Events. What the webhooks are to trust is sent to
    /// `authorities`, and what they do comes from `trusting`.
    #[expect(clippy::too_many_arguments, reason = "each is another edge that `serve` ties together")]
    pub fn new(
        client: Client,
        namespace: &str,
        instance: String,
        caretaker: Caretaker,
        in_force: Arc<InForce>,
        authorities: watch::Sender<Option<Arc<[u8]>>>,
        trusting: watch::Receiver<Trusting>,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            announcer: Announcer::new(client.clone(), namespace, instance, "ServeCertificate"),
            client,
            namespace: namespace.to_owned(),
            name: service_name(namespace),
            caretaker,
            in_force,
            seen: None,
            gone: None,
            good: None,
            authorities,
            trusting,
            rounds: Rounds::default(),
            waiting: Waiting::default(),
            due: None,
            failures: 0,
            again: None,
            acted: Instant::now(),
            down: false,
            metrics,
            readiness,
        }
    }

    /// Watches for as long as the process lives.
    pub async fn run(mut self) -> Infallible {
        let watch = Watch::new(self.secrets.clone(), &format!("metadata.name={SERVING_SECRET}"), 1, PAUSES);
        // Between its events a watch is not to be dropped: it would lose them.
        let mut told = stream::unfold(watch, |mut watch| async { Some((watch.next().await, watch)) }).boxed();
        let mut listed = None;
        loop {
            let wake = self.wake();
            tokio::select! {
                Some(told) = told.next() => self.take(told, &mut listed),
                () = self.rounds.answered() => {}
                Ok(()) = self.trusting.changed() => {}
                () = tokio::time::sleep_until(wake) => {}
                () = self.announcer.say() => continue,
            }
            self.act().await;
        }
    }

    fn take(&mut self, told: Told<WatchedServing>, listed: &mut Option<WatchedServing>) {
        match told {
            Ok(Event::Init) => *listed = None,
            Ok(Event::InitApply(secret)) => *listed = Some(secret),
            Ok(Event::InitDone) => {
                self.up();
                self.see(listed.take().map_or(Seen::Absent, Seen::of));
            }
            Ok(Event::Apply(secret)) => self.see(Seen::of(secret)),
            Ok(Event::Delete(_)) => self.see(Seen::Absent),
            Err(fault) => self.down(&fault),
        }
    }

    fn see(&mut self, seen: Seen) {
        self.gone = seen.is_gone().then(|| self.gone.unwrap_or_else(Instant::now));
        self.seen = Some(seen);
        // What was known of the others was of another Secret.
        self.rounds.forget();
        // What failed may work now.
        self.again = None;
    }

    /// Does what is to be done, as far as that is possible.
    async fn act(&mut self) {
        self.acted = Instant::now();
        if self.again.is_some_and(|again| again <= self.acted) {
            self.again = None;
        }
        // Each round but the last writes something.
        for _ in 0..4 {
            let Some(seen) = self.seen.clone() else { return };
            let now = Timestamp::now();
            let step = match self.caretaker {
                Caretaker::Ourselves => self.next_step(&seen, now),
                Caretaker::Somebody | Caretaker::CertManager => Step::Rest,
            };
            self.tell_of_wish(&seen);
            self.tell_of_waiting(&step);
            if !self.is_soon_over(&step) {
                self.take_up(&seen, now);
            }
            self.ask_replicas(&seen, &step);
            if !self.is_time_for(&step) || !self.perform(&seen, step, now).await {
                return;
            }
        }
    }

    fn next_step(&self, seen: &Seen, now: Timestamp) -> Step {
        let webhooks_have_it = match seen {
            Seen::Absent => false,
            Seen::Present { held, .. } => self.heard_at(held).is_some_and(|heard| heard <= Instant::now()),
        };
        let others = Others {
            webhooks_have_it,
            replicas_serve_it: self.rounds.answers().is_some_and(Answers::all),
            may_put_it_back: self.others_may_put_it_back(),
        };
        step(seen.found(), self.good.as_deref(), others, &self.name, now)
    }

    /// Whether one of the others may have what the Secret held: who serves a certificate has its CA, too.
    fn others_may_put_it_back(&self) -> bool {
        // Where no webhook trusts anybody there are no others, nor were there.
        if self.trusting.borrow().anybody == Some(false) {
            return false;
        }
        // Who has one itself knows that it cannot be put back.
        let nobody_has_it = self.good.is_some() || self.rounds.answers().is_some_and(Answers::none);
        let patience = if nobody_has_it { PATIENCE * 2 } else { PATIENCE_AT_MOST };
        self.gone.is_some_and(|since| since.elapsed() < patience)
    }

    /// Whether it is about to be seen to that the Secret is of no use.
    fn is_soon_over(&self, step: &Step) -> bool {
        match step {
            Step::Await(Awaited::PutBack) => self.gone.is_some_and(|since| since.elapsed() < SOON),
            step => step.is_urgent() && self.again.is_none() && self.due.is_none(),
        }
    }

    /// When every API server has heard that the webhooks trust what the Secret says, if they do.
    fn heard_at(&self, held: &Held) -> Option<Instant> {
        let Trusting { bundle, .. } = &*self.trusting.borrow();
        bundle
            .as_ref()
            .filter(|(bundle, _)| **bundle == held.content().authorities[..])
            .map(|(_, since)| *since + HEARD)
    }

    /// Puts what the Secret holds in force, if it is in order.
    fn take_up(&mut self, seen: &Seen, now: Timestamp) {
        let held = match seen {
            Seen::Present { held, .. } if !held.content().is_empty() => held,
            Seen::Present { .. } => {
                return self.in_force.refuse(&format!("the Secret {SERVING_SECRET} in {} is empty", self.namespace));
            }
            Seen::Absent => {
                return self.in_force.refuse(&format!("there is no Secret {SERVING_SECRET} in {}", self.namespace));
            }
        };
        let check = |held: &Held| held.check(self.caretaker != Caretaker::CertManager, &self.name, now);
        let (pair, checked) = match (held.pair(), check(held)) {
            (Ok(pair), checked) => (pair, checked),
            (Err(fault), _) => return self.in_force.refuse(&format!("the Secret {SERVING_SECRET}: {fault}")),
        };
        let good = self.good.clone();
        let is_good = |_: &_| good.as_deref().is_some_and(|good| check(good).is_ok());
        self.in_force.offer(pair, checked.clone(), is_good, now);
        let is_in_force = self.in_force.pair().is_some_and(|in_force| in_force.is_same(pair));
        if is_in_force && (checked.is_ok() || self.good.is_none()) {
            self.good = Some(Arc::clone(held));
            if self.caretaker != Caretaker::CertManager {
                let authorities = &held.content().authorities[..];
                self.authorities.send_if_modified(|sent| {
                    let is_news = sent.as_deref() != Some(authorities);
                    *sent = Some(authorities.into());
                    is_news
                });
            }
        }
    }

    fn ask_replicas(&mut self, seen: &Seen, step: &Step) {
        let question = match (step, seen.found()) {
            (Step::Await(Awaited::PutBack), _) if self.good.is_none() => Question::Serves,
            (Step::Await(Awaited::Replicas), Found::Present(held, _)) => {
                let Some(first) = held.authorities().first() else { return };
                Question::ServesBy(Arc::clone(first))
            }
            _ => return,
        };
        self.rounds.ask(SOON, ask(self.client.clone(), self.namespace.clone(), self.name.clone(), question));
    }

    /// Whether a step is to be done now. What is not urgent is put off for a moment.
    fn is_time_for(&mut self, step: &Step) -> bool {
        if matches!(step, Step::Rest | Step::Await(_) | Step::Keep(_)) {
            self.due = None;
            return false;
        }
        let pause = self.pause_before(step);
        if self.again.is_some() || pause.is_zero() {
            return self.again.is_none();
        }
        match &self.due {
            Some((due, at)) if due == step => *at <= Instant::now(),
            _ => {
                self.due = Some((step.clone(), Instant::now() + pause));
                false
            }
        }
    }

    fn pause_before(&self, step: &Step) -> Duration {
        match step {
            // Who has missed something would put back what is older.
            Step::PutBack if self.good.as_ref().is_none_or(|good| self.heard_at(good).is_none()) => PATIENCE,
            step if step.is_urgent() => Duration::ZERO,
            _ => jittered(CALM),
        }
    }

    /// Writes what a step makes; `true` when there is something new to be looked at.
    async fn perform(&mut self, seen: &Seen, step: Step, now: Timestamp) -> bool {
        self.due = None;
        let content = match step.perform(seen.found(), self.good.as_deref(), &self.name, now) {
            Ok(Some(content)) => content,
            Ok(None) => return false,
            Err(error) => {
                self.failed(&step, &error.to_string());
                return false;
            }
        };
        match in_time(write(&self.client, &self.namespace, seen, &step, &content)).await {
            Ok(secret) => {
                self.failures = 0;
                self.announcer.set(Matter::Writing, None);
                self.announcer.tell(done(&step));
                self.see(Seen::of(secret));
                true
            }
            // Somebody was faster, or has deleted it.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                debug!(error = status.message, "the Secret {SERVING_SECRET} has changed meanwhile");
                self.read_again(&step).await
            }
            Err(error) => {
                self.failed(&step, &Fault::of_request(&error).to_string());
                false
            }
        }
    }

    async fn read_again(&mut self, step: &Step) -> bool {
        match in_time(self.secrets.get_opt(SERVING_SECRET)).await {
            Ok(secret) => {
                self.see(secret.map_or(Seen::Absent, Seen::of));
                true
            }
            Err(error) => {
                self.failed(step, &Fault::of_request(&error).to_string());
                false
            }
        }
    }

    fn failed(&mut self, step: &Step, why: &str) {
        let pause = AGAIN.saturating_mul(1 << self.failures.min(10)).min(AGAIN_AT_MOST);
        self.failures = self.failures.saturating_add(1);
        self.again = Some(Instant::now() + jittered(pause));
        self.announcer.set(Matter::Writing, Some(why.to_owned()));
        // What the Secret holds is no good then, or not there.
        if step.is_urgent() {
            self.in_force
                .refuse(&format!("the Secret {SERVING_SECRET} in {} cannot be written: {why}", self.namespace));
        }
    }

    /// When there is something to be done without news.
    fn wake(&self) -> Instant {
        let heard = match &self.seen {
            Some(Seen::Present { held, .. }) => self.heard_at(held),
            _ => None,
        };
        let due = self.due.as_ref().map(|(_, at)| *at);
        let gone = [SOON, PATIENCE * 2, PATIENCE_AT_MOST].map(|patience| self.gone.map(|since| since + patience));
        // What was past then was looked at.
        let times = [due, self.again, heard, self.waiting.too_long_at()];
        let ahead = times.into_iter().chain(gone).flatten().filter(|at| *at > self.acted);
        ahead.fold(Instant::now() + TICK, Instant::min)
    }
}

/// By which the API server calls us.
#[must_use]
pub fn service_name(namespace: &str) -> String {
    format!("mirrorgate.{namespace}.svc")
}
