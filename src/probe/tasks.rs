//! The task that runs all probes, and the only writer of the cache.
//!
//! One task knows what is asked for, what runs and what is kept, so that nothing of it needs a lock: reviews send what
//! they miss, and every answer passes here on its way to them.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::cache::{Kept, Key, Under, VerdictCache};
use super::changes::Changes;
use super::desk::{Desk, Full, Start};
use super::freshness::Freshness;
use super::prober::not_asked;
use super::question::{Lane, Question};
use super::{Bundles, Report};
use crate::policy::LoadedPolicy;
use crate::review::{Unknown, UnknownClass, Unreachable, UnreachableClass, Verdict};
use crate::telemetry::Metrics;

/// A policy and the bundles that come with it, or several edits, are answered together.
const SETTLE: Duration = Duration::from_millis(50);

/// What is due is looked for at most this often: it costs a walk through the cache.
const BETWEEN_SWEEPS: Duration = Duration::from_millis(100);

/// Beyond its own timeout, a probe is given up.
const GRACE: Duration = Duration::from_millis(500);

/// Somebody wants a verdict.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) under: Under,
    pub(super) question: Question,
    pub(super) waiter: Option<oneshot::Sender<Verdict>>,
}

/// How a registry is asked.
type Probe = Box<dyn Fn(Arc<Question>) -> BoxFuture<'static, Report> + Send + Sync>;

/// Owns every probe. Ends when nobody is left who could ask.
pub struct ProbeTasks {
    cache: Arc<VerdictCache>,
    policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
    bundles: watch::Receiver<Arc<Bundles>>,
    asks: mpsc::UnboundedReceiver<Ask>,
    metrics: Arc<Metrics>,
    probe: Probe,
    desk: Desk,
    running: JoinSet<Report>,
    /// By its task: the registry that is asked, and which start of the desk it is.
    starts: HashMap<Id, (Arc<Question>, u64)>,
    aborts: HashMap<u64, AbortHandle>,
    freshness: Freshness,
    changes: Changes,
    /// When something is due in the cache.
    sweep_at: Option<Instant>,
}

impl ProbeTasks {
    pub(super) fn new(
        cache: Arc<VerdictCache>,
        mut policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
        mut bundles: watch::Receiver<Arc<Bundles>>,
        asks: mpsc::UnboundedReceiver<Ask>,
        metrics: Arc<Metrics>,
        probe: Probe,
    ) -> Self {
        // What is there already is probed ahead, too.
        policy.mark_changed();
        bundles.mark_changed();
        Self {
            cache,
            policy,
            bundles,
            asks,
            metrics,
            probe,
            desk: Desk::new(1),
            running: JoinSet::new(),
            starts: HashMap::new(),
            aborts: HashMap::new(),
            freshness: Freshness::default(),
            changes: Changes::default(),
            sweep_at: None,
        }
    }

    /// Runs probes as they are asked for, ahead and again.
    pub async fn run(mut self) {
        let (mut policy, mut bundles) = (self.policy.clone(), self.bundles.clone());
        let (mut has_policies, mut has_bundles) = (true, true);
        let mut settled_at = None;
        loop {
            self.start();
            tokio::select! {
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.ask(ask),
                    None => return,
                },
                Some(ended) = self.running.join_next_with_id() => self.end(ended),
                changed = policy.changed(), if has_policies => match changed {
                    Ok(()) => {
                        if let Some(loaded) = &*policy.borrow_and_update() {
                            self.desk.set_most(loaded.policy.probe().max_concurrent);
                        }
                        settled_at = settled_at.or(Some(Instant::now() + SETTLE));
                    }
                    Err(_) => has_policies = false,
                },
                changed = bundles.changed(), if has_bundles => match changed {
                    Ok(()) => settled_at = settled_at.or(Some(Instant::now() + SETTLE)),
                    Err(_) => has_bundles = false,
                },
                () = at(settled_at) => {
                    settled_at = None;
                    self.look_ahead();
                }
                () = at(self.sweep_at) => self.sweep(),
            }
        }
    }

    /// The policy in force and the bundles: what verdicts are given under now.
    fn in_force(&self) -> Option<(Arc<LoadedPolicy>, Arc<Bundles>)> {
        let loaded = self.policy.borrow().clone()?;
        Some((loaded, Arc::clone(&self.bundles.borrow())))
    }

    fn ask(&mut self, ask: Ask) {
        let Ask { under, question, waiter } = ask;
        let now = Instant::now();
        let kept = self.cache.get(question.registry().as_str(), under, now);
        match (waiter, kept) {
            // The probe ended while the question was on its way.
            (Some(waiter), Some(kept)) => {
                let _ = waiter.send(kept.verdict.clone());
            }
            (waiter, renews) => self.enqueue(under, question, waiter, renews),
        }
    }

    fn enqueue(
        &mut self,
        under: Under,
        question: Question,
        waiter: Option<oneshot::Sender<Verdict>>,
        renews: Option<Arc<Kept>>,
    ) {
        if let Err(Full { waiter: Some(waiter) }) = self.desk.ask(under, question, waiter, renews) {
            let _ = waiter.send(not_asked("too many registries that only pods name are being asked"));
        }
    }

    /// Begins what there is room for.
    fn start(&mut self) {
        for id in self.desk.cancelled() {
            if let Some(abort) = self.aborts.remove(&id) {
                abort.abort();
            }
        }
        while let Some(Start { id, question }) = self.desk.next() {
            let probe = (self.probe)(Arc::clone(&question));
            let asked = Arc::clone(&question);
            let abort = self.running.spawn(async move {
                let longest = asked.timeout() + GRACE;
                timeout(longest, probe).await.unwrap_or_else(|_| overdue(&asked, longest))
            });
            self.starts.insert(abort.id(), (question, id));
            self.aborts.insert(id, abort);
        }
    }

    fn end(&mut self, ended: Result<(Id, Report), JoinError>) {
        let (task, report) = match ended {
            Ok((task, report)) => (task, Ok(report)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some((question, id)) = self.starts.remove(&task) else { return };
        self.aborts.remove(&id);
        let registry = question.registry().as_str();
        let Some(flight) = self.desk.end(registry, id) else { return };
        let report = match report {
            Ok(report) => Report { verdict: question.settle(report.verdict.clone()), ..report },
            Err(error) => {
                tracing::error!(registry, %error, "asking a registry ended in a bug");
                broken(&question)
            }
        };
        self.metrics.probe(report.verdict.as_str(), report.verdict.class(), report.took.as_secs_f64());
        let now = Instant::now();
        let kept = match self.freshness.after_a_blip(flight.renews.as_deref(), &report.verdict, now) {
            Some(in_doubt) => {
                tracing::debug!(registry, class = report.verdict.class(), "no answer; asked again before that counts");
                in_doubt
            }
            None => {
                self.changes.tell(&question, &report);
                self.freshness.of(&question, &report, now)
            }
        };
        let verdict = kept.verdict.clone();
        self.due(now);
        self.cache.put(registry.into(), flight.under, kept);
        // Only now: whoever was answered finds it kept.
        for waiter in flight.waiters {
            let _ = waiter.send(verdict.clone());
        }
    }

    /// Something may be due in the cache at this time, which is looked for then.
    fn due(&mut self, at: Instant) {
        let at = at.max(Instant::now() + BETWEEN_SWEEPS);
        self.sweep_at = Some(self.sweep_at.map_or(at, |sweep_at| sweep_at.min(at)));
    }

    /// Another policy or other bundles: what the policy names is probed before anybody asks, and so is what is in use. Of
    /// whom neither of both changed, the verdict is still there or on its way.
    fn look_ahead(&mut self) {
        let Some((loaded, bundles)) = self.in_force() else { return };
        let named = loaded.policy.probed_ahead().map(|registry| Arc::<str>::from(registry.as_str()));
        let named: BTreeSet<Arc<str>> = named.collect();
        self.changes.retain(|registry| named.contains(registry));
        let now = Instant::now();
        let is_older = |key: &Key| key.under != Under::of(&loaded, &bundles, &key.registry);
        let older = self.cache.iter().filter(|(key, kept)| kept.is_in_use() && now < kept.until && is_older(key));
        let in_use = older.map(|(key, _)| Arc::clone(&key.registry));
        let wanted: BTreeSet<Arc<str>> = named.iter().cloned().chain(in_use).collect();
        for registry in wanted {
            let under = Under::of(&loaded, &bundles, &registry);
            let is_new = self.cache.get(&registry, under, now).is_none();
            if is_new && let Some(question) = Question::new(&loaded.policy, &bundles, &registry) {
                self.enqueue(under, question, None, None);
            }
        }
    }

    /// Probes before its verdict ends what is in use, and what the policy names: of those there are only so many, and the
    /// first pod after a quiet night waits for none.
    fn sweep(&mut self) {
        self.sweep_at = None;
        let Some((loaded, bundles)) = self.in_force() else { return };
        let now = Instant::now();
        let is_named = |registry: &str| loaded.policy.checked(registry).map(Lane::of) == Some(Lane::Named);
        let (mut in_force, mut next, mut wanted) = (0, None::<Instant>, Vec::new());
        for (key, kept) in self.cache.iter().filter(|(_, kept)| now < kept.until) {
            if key.under != Under::of(&loaded, &bundles, &key.registry) {
                continue;
            }
            in_force += 1;
            let is_due = kept.refresh_at <= now;
            let then = if is_due { kept.until } else { kept.refresh_at };
            next = Some(next.map_or(then, |next| next.min(then)));
            let is_wanted = || kept.is_in_use() || kept.doubted || is_named(&key.registry);
            if is_due && is_wanted() {
                wanted.push((key, kept));
            }
        }
        self.metrics.verdict_cache_entries(in_force);
        for (key, kept) in wanted {
            if let Some(question) = Question::new(&loaded.policy, &bundles, &key.registry) {
                self.enqueue(key.under, question, None, Some(kept));
            }
        }
        if let Some(next) = next {
            self.due(next);
        }
    }
}

/// When it is time, if there is one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The report of a probe that did not keep its own timeout.
fn overdue(question: &Question, took: Duration) -> Report {
    let why = format!("no answer within {:?}", question.timeout()).into();
    without_answer(question, Verdict::Unreachable(Unreachable { class: UnreachableClass::TimedOut, why }), took)
}

/// The report of a probe that ended in a bug of ours.
fn broken(question: &Question) -> Report {
    let why = "asking it ended in a bug of mirrorgate, which its log describes".into();
    without_answer(question, Verdict::Unknown(Unknown { class: UnknownClass::CannotJudge, why }), Duration::ZERO)
}

impl fmt::Debug for ProbeTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeTasks").field("desk", &self.desk).finish_non_exhaustive()
    }
}

fn without_answer(question: &Question, verdict: Verdict, took: Duration) -> Report {
    Report { registry: question.registry().clone(), address: None, judgement: None, http_status: None, verdict, took }
}
