//! Verdicts for reviews: those that are kept at once, the others as soon as a probe has them (P4).

use std::fmt;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::cache::{Under, VerdictCache};
use super::question::{Lane, Question};
use super::tasks::{Ask, ProbeTasks};
use super::{Bundles, Dialler, Report};
use crate::image::Registry;
use crate::policy::LoadedPolicy;
use crate::review::{Unknown, UnknownClass, Verdict, Verdicts};
use crate::telemetry::Metrics;

/// Of the registries of one review that the policy does not name in full and of which no verdict is kept, these are
/// asked. A pod has a few images; one with fifty unknown hosts is no pod that anybody needs.
const MOST_OF_A_REVIEW: usize = 16;

/// Answers from the cache, and has asked what is not in it.
pub struct Prober {
    cache: Arc<VerdictCache>,
    bundles: watch::Receiver<Arc<Bundles>>,
    asks: mpsc::UnboundedSender<Ask>,
    metrics: Arc<Metrics>,
}

impl Prober {
    /// The prober, and the task that runs its probes: nothing is dialled until that is run.
    ///
    /// `policy` is the policy in force: what it names is probed ahead, and what is in use is probed again under it.
    pub fn new(
        dialler: Dialler,
        policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
        bundles: watch::Receiver<Arc<Bundles>>,
        metrics: Arc<Metrics>,
    ) -> (Arc<Self>, ProbeTasks) {
        let dialler = Arc::new(dialler);
        Self::with_probe(policy, bundles, metrics, move |question| {
            let dialler = Arc::clone(&dialler);
            async move { dialler.probe(&question.target(), question.roots()).await }
        })
    }

    /// As [`Prober::new`], with another way to ask a registry: for tests and benchmarks.
    pub fn with_probe<P, F>(
        policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
        bundles: watch::Receiver<Arc<Bundles>>,
        metrics: Arc<Metrics>,
        probe: P,
    ) -> (Arc<Self>, ProbeTasks)
    where
        P: Fn(Arc<Question>) -> F + Send + Sync + 'static,
        F: Future<Output = Report> + Send + 'static,
    {
        let cache = Arc::new(VerdictCache::new());
        // Without a bound: every message is of a review in flight, and of those there are only so many.
        let (asks, asked) = mpsc::unbounded_channel();
        let probe = Box::new(move |question| Box::pin(probe(question)) as _);
        let tasks = ProbeTasks::new(Arc::clone(&cache), policy, bundles.clone(), asked, Arc::clone(&metrics), probe);
        (Arc::new(Self { cache, bundles, asks, metrics }), tasks)
    }

    /// Verdicts for these registries under this very policy. Waits until `until` at most for what is
    /// not kept; what is not there by then is unknown, and its probe goes on. Each of them has a verdict in the answer.
    ///
    /// Where all are kept it waits for nothing, and never gives the thread away.
    pub async fn verdicts(&self, loaded: &LoadedPolicy, registries: &[Registry], until: Instant) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let bundles = Arc::clone(&self.bundles.borrow());
        let now = Instant::now();
        let mut missing = Vec::new();
        for registry in registries {
            let name = registry.as_str();
            let under = Under::of(loaded, &bundles, name);
            let Some(kept) = self.cache.get(name, under, now) else {
                missing.push((registry, under));
                continue;
            };
            // Whom nobody asked for by then was not probed again; now somebody does.
            if kept.ask()
                && now >= kept.refresh_at
                && let Some(question) = Question::new(&loaded.policy, &bundles, name)
            {
                let _ = self.asks.send(Ask { under, question, waiter: None });
            }
            verdicts.put(registry, kept.verdict.clone());
        }
        let hits = registries.len() - missing.len();
        self.metrics.verdict_cache_requests("hit", hits as u64);
        if !missing.is_empty() {
            self.wait_for(loaded, &bundles, &missing, until, &mut verdicts).await;
        }
        verdicts
    }

    async fn wait_for(
        &self,
        loaded: &LoadedPolicy,
        bundles: &Bundles,
        missing: &[(&Registry, Under)],
        until: Instant,
        verdicts: &mut Verdicts,
    ) {
        let mut answers = Vec::new();
        let mut put = |registry: &Registry, verdict: Verdict, result| {
            self.metrics.verdict_cache_requests(result, 1);
            verdicts.put(registry, verdict);
        };
        // One body can name a hundred thousand hosts, and the policy hundreds of CAs: what is refused costs a look at the
        // policy's index, and no question is put together.
        let mut not_named = 0;
        let beyond = not_asked("the pod names more unknown registries than are asked for one pod");
        for &(registry, under) in missing {
            let lane = loaded.policy.checked(registry.as_str()).map(Lane::of);
            if lane.is_some_and(|lane| lane != Lane::Named) {
                not_named += 1;
                if not_named > MOST_OF_A_REVIEW {
                    put(registry, beyond.clone(), "refused");
                    continue;
                }
            }
            let Some(question) = Question::new(&loaded.policy, bundles, registry.as_str()) else {
                put(registry, not_asked("the policy does not have it checked"), "refused");
                continue;
            };
            let (waiter, answer) = oneshot::channel();
            // Where nobody receives it, the process ends: the answer fails at once.
            let _ = self.asks.send(Ask { under, question, waiter: Some(waiter) });
            answers.push((registry, answer));
        }
        for (registry, answer) in answers {
            match timeout_at(until, answer).await {
                Ok(Ok(verdict)) => {
                    let was_refused =
                        matches!(&verdict, Verdict::Unknown(unknown) if unknown.class == UnknownClass::NotAsked);
                    put(registry, verdict, if was_refused { "refused" } else { "miss" });
                }
                Ok(Err(_)) => put(registry, not_asked("mirrorgate is stopping"), "refused"),
                Err(_) => put(registry, not_asked("it did not answer in the time that a review may take"), "late"),
            }
        }
    }
}

/// Unknown, as nobody asked.
pub(super) fn not_asked(why: &str) -> Verdict {
    Verdict::Unknown(Unknown { class: UnknownClass::NotAsked, why: why.into() })
}

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures::FutureExt as _;
    use tokio::task::JoinSet;
    use tokio::time::sleep;

    use super::*;
    use crate::policy::{BundleRef, Policy};
    use crate::probe::BundleStore;
    use crate::review::{Unreachable, UnreachableClass};
    use crate::trust::{Bundle, Pool};

    const GOOD: &str = "good.test";
    const OTHER: &str = "other.test";
    const MINUTE: Duration = Duration::from_secs(60);

    /// What each registry answers and after which time; anything else is trusted after 10 ms.
    #[derive(Default)]
    struct Registries {
        answers: Mutex<HashMap<String, (Duration, Verdict)>>,
        asked: Mutex<Vec<(String, Instant)>>,
        running: Mutex<HashMap<String, usize>>,
        most_at_once: AtomicUsize,
    }

    struct Asking {
        registries: Arc<Registries>,
        registry: String,
    }

    impl Drop for Asking {
        fn drop(&mut self) {
            *self.registries.running.lock().unwrap().get_mut(&self.registry).unwrap() -= 1;
        }
    }

    impl Registries {
        fn set(&self, registry: &str, seconds: f64, verdict: Verdict) {
            let answer = (Duration::from_secs_f64(seconds), verdict);
            self.answers.lock().unwrap().insert(registry.to_owned(), answer);
        }

        /// How often it was asked.
        fn dials(&self, registry: &str) -> usize {
            self.asked.lock().unwrap().iter().filter(|(asked, _)| asked == registry).count()
        }

        async fn ask(self: Arc<Self>, question: Arc<Question>) -> Report {
            let registry = question.registry().as_str().to_owned();
            self.asked.lock().unwrap().push((registry.clone(), Instant::now()));
            {
                let mut running = self.running.lock().unwrap();
                let own = running.entry(registry.clone()).or_default();
                *own += 1;
                assert_eq!(*own, 1, "{registry} is asked twice at once");
                self.most_at_once.fetch_max(running.values().sum(), Ordering::Relaxed);
            }
            let _asking = Asking { registries: Arc::clone(&self), registry: registry.clone() };
            let answer = self.answers.lock().unwrap().get(&registry).cloned();
            let (took, verdict) = answer.unwrap_or((Duration::from_millis(10), Verdict::Trusted));
            sleep(took).await;
            assert_ne!(registry, "bug.test", "on purpose");
            Report {
                registry: question.registry().clone(),
                address: None,
                judgement: None,
                http_status: None,
                verdict,
                took,
            }
        }
    }

    struct World {
        prober: Arc<Prober>,
        registries: Arc<Registries>,
        policy: watch::Sender<Option<Arc<LoadedPolicy>>>,
        bundles: BundleStore,
        metrics: Arc<Metrics>,
        tasks: JoinSet<()>,
    }

    impl World {
        fn new(mirrors: &[&str]) -> Self {
            let (policy, in_force) = watch::channel(Some(loaded(mirrors, 1)));
            let bundles = BundleStore::new();
            let registries = Arc::new(Registries::default());
            let asked = Arc::clone(&registries);
            let metrics = Arc::new(Metrics::new());
            let (prober, tasks) =
                Prober::with_probe(in_force, bundles.subscribe(), Arc::clone(&metrics), move |question| {
                    Arc::clone(&asked).ask(question)
                });
            let mut running = JoinSet::new();
            running.spawn(tasks.run());
            Self { prober, registries, policy, bundles, metrics, tasks: running }
        }

        fn in_force(&self) -> Arc<LoadedPolicy> {
            self.policy.borrow().clone().unwrap()
        }

        async fn ask_all(&self, registries: &[&str], seconds: f64) -> Verdicts {
            let until = Instant::now() + Duration::from_secs_f64(seconds);
            self.prober.verdicts(&self.in_force(), &named(registries), until).await
        }

        async fn ask(&self, registry: &str) -> Verdict {
            self.ask_all(&[registry], 5.0).await.get(registry).unwrap().clone()
        }

        /// What is answered at once, without a chance for a probe.
        async fn known(&self, registry: &str) -> &'static str {
            self.ask_all(&[registry], 0.0).await.get(registry).unwrap().class()
        }

        fn edit(&self, mirrors: &[&str]) {
            let generation = self.in_force().generation + 1;
            self.policy.send_replace(Some(loaded(mirrors, generation)));
        }
    }

    fn named(registries: &[&str]) -> Vec<Registry> {
        registries.iter().map(|registry| Registry::parse(registry).unwrap()).collect()
    }

    /// These mirrors, and whatever a pod names. A bundle is for [`GOOD`] and [`OTHER`] alone.
    fn loaded(mirrors: &[&str], generation: u64) -> Arc<LoadedPolicy> {
        let mut source = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\ntrust: {registries: ['*', '*.corp'],\
             caBundles: [{file: /etc/ca.crt, registries: [good.test, other.test]}]}\n"
            .to_owned();
        if !mirrors.is_empty() {
            source += "registryMirrors:\n";
        }
        for mirror in mirrors {
            source += &format!("- {{name: at-{mirror}, endpoint: 'https://{mirror}', hosts: [from.{mirror}]}}\n");
        }
        let policy = Policy::read(&source).unwrap().policy;
        Arc::new(LoadedPolicy::new(policy, &source, generation))
    }

    fn unreachable() -> Verdict {
        Verdict::Unreachable(Unreachable { class: UnreachableClass::TimedOut, why: "no answer".into() })
    }

    #[tokio::test(start_paused = true)]
    async fn p3_what_the_policy_names_is_probed_before_anybody_asks() {
        let world = World::new(&[GOOD]);
        sleep(Duration::from_millis(100)).await;
        // Where all is kept, nothing is waited for.
        let until = Instant::now() + MINUTE;
        let verdicts = world.prober.verdicts(&world.in_force(), &named(&[GOOD, GOOD]), until).now_or_never();
        assert_eq!(verdicts.unwrap().get(GOOD), Some(&Verdict::Trusted));
        // And again under the next policy.
        world.edit(&[GOOD, OTHER]);
        sleep(Duration::from_millis(100)).await;
        assert_eq!((world.known(GOOD).await, world.known(OTHER).await), ("ok", "ok"));
        assert_eq!((world.registries.dials(GOOD), world.registries.dials(OTHER)), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn p3_a_thousand_askers_share_one_dial() {
        let world = Arc::new(World::new(&[]));
        let mut askers = JoinSet::new();
        for _ in 0..1000 {
            let world = Arc::clone(&world);
            askers.spawn(async move { world.ask(GOOD).await });
        }
        while let Some(verdict) = askers.join_next().await {
            assert_eq!(verdict.unwrap(), Verdict::Trusted);
        }
        assert_eq!(world.registries.dials(GOOD), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn trap_15_an_asker_that_leaves_takes_the_probe_from_nobody() {
        let world = Arc::new(World::new(&[]));
        world.registries.set(GOOD, 1.0, Verdict::Trusted);
        let first = tokio::time::timeout(Duration::from_millis(100), world.ask(GOOD));
        let mut second = JoinSet::new();
        let other = Arc::clone(&world);
        second.spawn(async move { other.ask(GOOD).await });
        assert!(first.await.is_err());
        assert_eq!(second.join_next().await.unwrap().unwrap(), Verdict::Trusted);
        assert_eq!(world.registries.dials(GOOD), 1);
        // Also where nobody else waited: what comes of it is kept.
        world.registries.set(OTHER, 1.0, Verdict::Trusted);
        assert!(tokio::time::timeout(Duration::from_millis(100), world.ask(OTHER)).await.is_err());
        sleep(Duration::from_secs(1)).await;
        assert_eq!((world.known(OTHER).await, world.registries.dials(OTHER)), ("ok", 1));
    }

    #[tokio::test(start_paused = true)]
    async fn p4_nobody_waits_longer_than_the_budget_and_what_is_late_is_unknown() {
        let world = World::new(&[]);
        for registry in ["a.test", "b.test", "c.test"] {
            world.registries.set(registry, 30.0, Verdict::Trusted);
        }
        let start = Instant::now();
        let verdicts = world.ask_all(&["a.test", GOOD, "b.test", "c.test"], 1.0).await;
        assert!(start.elapsed() <= Duration::from_millis(1050), "{:?}", start.elapsed());
        assert_eq!(verdicts.get("a.test").unwrap().class(), "not-asked");
        assert_eq!(verdicts.get(GOOD), Some(&Verdict::Trusted));
        let text = world.metrics.encode();
        for line in ["{result=\"late\"} 3", "{result=\"miss\"} 1"] {
            assert!(text.contains(&format!("mirrorgate_verdict_cache_requests_total{line}")), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn trap_15_a_registry_that_hangs_delays_no_other() {
        let world = World::new(&["hole.test", GOOD]);
        world.registries.set("hole.test", 2.0, unreachable());
        let start = Instant::now();
        assert_eq!(world.ask(GOOD).await, Verdict::Trusted);
        assert_eq!(start.elapsed(), Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn trap_15_a_probe_that_never_ends_is_given_up() {
        let world = World::new(&[GOOD]);
        world.registries.set(GOOD, 1e6, Verdict::Trusted);
        assert_eq!(world.ask(GOOD).await.class(), "timed-out");
    }

    /// The policy's own times: 5 m, 30 s, 10 s.
    #[tokio::test(start_paused = true)]
    async fn p3_each_class_is_kept_for_its_own_time() {
        for (verdict, seconds) in [(Verdict::Trusted, 300), (unreachable(), 10), (not_asked("a test"), 10)] {
            let world = World::new(&[]);
            world.registries.set(OTHER, 0.0, verdict.clone());
            assert_eq!(world.ask(OTHER).await, verdict);
            sleep(Duration::from_secs(seconds) - Duration::from_millis(1)).await;
            // A mended registry is accepted when that time is over.
            world.registries.set(OTHER, 0.0, Verdict::Trusted);
            sleep(Duration::from_millis(2)).await;
            assert_eq!((world.ask(OTHER).await, world.registries.dials(OTHER)), (Verdict::Trusted, 2));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn p3_a_mended_registry_is_accepted_at_once_after_a_policy_edit() {
        let world = World::new(&[GOOD]);
        world.registries.set(GOOD, 0.0, unreachable());
        assert_eq!(world.ask(GOOD).await.class(), "timed-out");
        world.registries.set(GOOD, 0.0, Verdict::Trusted);
        assert_eq!(world.ask(GOOD).await.class(), "timed-out");
        world.edit(&[GOOD]);
        assert_eq!(world.ask(GOOD).await, Verdict::Trusted);
    }

    #[tokio::test(start_paused = true)]
    async fn p3_a_steady_workload_never_waits() {
        let world = World::new(&[GOOD]);
        world.registries.set(GOOD, 1.5, Verdict::Trusted);
        // As long as a probe can take, and a little more than a fifth of the time that it is kept.
        world.registries.set("hole.test", 2.3, unreachable());
        assert_eq!((world.ask(GOOD).await.class(), world.ask("hole.test").await.class()), ("ok", "timed-out"));
        for _ in 0..3600 {
            sleep(Duration::from_secs(1)).await;
            assert_eq!((world.known(GOOD).await, world.known("hole.test").await), ("ok", "timed-out"));
        }
        // In an hour: each time at 70 to 80 % of five minutes.
        let dials = world.registries.dials(GOOD);
        assert!((14..=19).contains(&dials), "{dials}");
    }

    #[tokio::test(start_paused = true)]
    async fn p3_what_nobody_asks_for_is_left_to_end() {
        let world = World::new(&[]);
        assert_eq!(world.ask(GOOD).await, Verdict::Trusted);
        sleep(60 * MINUTE).await;
        assert_eq!(world.registries.dials(GOOD), 1);
        assert_eq!(world.known(GOOD).await, "not-asked");
    }

    /// The first pod after a quiet night waits for no registry that the policy names.
    #[tokio::test(start_paused = true)]
    async fn p3_what_the_policy_names_is_renewed_whether_or_not_anybody_asks() {
        let world = World::new(&[GOOD, "hole.test"]);
        world.registries.set("hole.test", 2.3, unreachable());
        sleep(60 * MINUTE).await;
        assert_eq!((world.known(GOOD).await, world.known("hole.test").await), ("ok", "timed-out"));
        // In an hour: one each 210 to 240 s, and each 7.5 s and what it takes.
        let (good, hole) = (world.registries.dials(GOOD), world.registries.dials("hole.test"));
        assert!((14..=19).contains(&good) && (300..=480).contains(&hole), "{good}, {hole}");
    }

    /// Asked for once, behind the time at which it would have been renewed.
    #[tokio::test(start_paused = true)]
    async fn p3_what_is_asked_for_late_is_renewed_then() {
        let world = World::new(&[]);
        assert_eq!(world.ask(GOOD).await, Verdict::Trusted);
        sleep(Duration::from_secs(290)).await;
        assert_eq!(world.known(GOOD).await, "ok");
        sleep(Duration::from_secs(20)).await;
        assert_eq!((world.known(GOOD).await, world.registries.dials(GOOD)), ("ok", 2));
    }

    /// Asks once a second, and says when another answer came first.
    async fn until_not(world: &World, class: &str, most: u64) -> Duration {
        let start = Instant::now();
        for _ in 0..most {
            sleep(Duration::from_secs(1)).await;
            if world.known(GOOD).await != class {
                return start.elapsed();
            }
        }
        panic!("it is {class} still after {most} s");
    }

    #[tokio::test(start_paused = true)]
    async fn trap_15_a_blip_rejects_nobody_and_what_is_down_is_known_a_moment_later() {
        let world = World::new(&[GOOD]);
        assert_eq!(world.ask(GOOD).await, Verdict::Trusted);
        assert_eq!(world.known(GOOD).await, "ok");
        // The first probe that renews it fails, the second does not.
        world.registries.set(GOOD, 2.0, unreachable());
        while world.registries.dials(GOOD) < 2 {
            sleep(Duration::from_millis(100)).await;
        }
        world.registries.set(GOOD, 0.01, Verdict::Trusted);
        for _ in 0..100 {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(world.known(GOOD).await, "ok");
        }
        assert_eq!(world.registries.dials(GOOD), 3);
        // Down for good: noticed when it is to be renewed, and not when the verdict ends.
        world.registries.set(GOOD, 2.0, unreachable());
        let noticed = until_not(&world, "ok", 200).await;
        assert!(noticed < Duration::from_secs(150), "{noticed:?}");
        assert_eq!(world.registries.dials(GOOD), 5);
        // Up again: within the time of what is unreachable.
        world.registries.set(GOOD, 0.01, Verdict::Trusted);
        assert!(until_not(&world, "timed-out", 60).await <= Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn p3_other_roots_never_meet_an_old_verdict() {
        let world = World::new(&[GOOD]);
        assert_eq!(world.ask(GOOD).await, Verdict::Trusted);
        assert_eq!(world.known(GOOD).await, "ok");
        world.bundles.put(&file(), ca());
        assert_eq!(world.known(GOOD).await, "not-asked");
        sleep(Duration::from_millis(100)).await;
        assert_eq!((world.known(GOOD).await, world.registries.dials(GOOD)), ("ok", 2));
        // Probed again before anybody asks.
        world.bundles.put(&file(), ca());
        sleep(Duration::from_millis(100)).await;
        assert_eq!((world.known(GOOD).await, world.registries.dials(GOOD)), ("ok", 3));
        // The same certificates again are no other roots.
        let same = Arc::clone(world.bundles.snapshot().get(&file()).unwrap());
        world.bundles.put(&file(), same);
        assert_eq!(world.known(GOOD).await, "ok");
    }

    /// Neither the verdicts of those that a bundle is not for nor their probes that run.
    #[tokio::test(start_paused = true)]
    async fn p3_a_bundle_that_changes_all_the_time_disturbs_only_those_that_it_is_for() {
        let world = World::new(&[GOOD, "b.corp", "slow.corp"]);
        world.registries.set("slow.corp", 2.0, Verdict::Trusted);
        assert_eq!((world.ask(GOOD).await, world.ask("b.corp").await), (Verdict::Trusted, Verdict::Trusted));
        for _ in 0..20 {
            world.bundles.put(&file(), ca());
            assert_eq!((world.known(GOOD).await, world.known("b.corp").await), ("not-asked", "ok"));
            sleep(Duration::from_millis(300)).await;
            assert_eq!(world.known(GOOD).await, "ok");
        }
        assert_eq!(world.known("slow.corp").await, "ok");
        let dials = [GOOD, "b.corp", "slow.corp"].map(|registry| world.registries.dials(registry));
        assert_eq!(dials, [21, 1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn p3_who_waits_is_told_by_the_newer_roots() {
        let world = Arc::new(World::new(&[]));
        world.registries.set(OTHER, 1.0, unreachable());
        let mut asker = JoinSet::new();
        let other = Arc::clone(&world);
        asker.spawn(async move { other.ask(OTHER).await });
        sleep(Duration::from_millis(500)).await;
        world.registries.set(OTHER, 0.5, Verdict::Trusted);
        world.bundles.put(&file(), ca());
        assert_eq!(world.ask(OTHER).await, Verdict::Trusted);
        assert_eq!(asker.join_next().await.unwrap().unwrap(), Verdict::Trusted);
        assert_eq!(world.registries.dials(OTHER), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn p3_a_newer_policy_goes_first_and_the_older_is_answered_all_the_same() {
        let world = Arc::new(World::new(&[]));
        world.registries.set(OTHER, 1.0, unreachable());
        let mut asker = JoinSet::new();
        let other = Arc::clone(&world);
        asker.spawn(async move { other.ask(OTHER).await });
        sleep(Duration::from_millis(500)).await;
        world.registries.set(OTHER, 0.5, Verdict::Trusted);
        world.edit(&[]);
        let start = Instant::now();
        assert_eq!(world.ask(OTHER).await, Verdict::Trusted);
        assert_eq!(start.elapsed(), Duration::from_millis(500));
        assert_eq!(asker.join_next().await.unwrap().unwrap(), Verdict::Trusted);
        assert_eq!(world.registries.dials(OTHER), 3);
    }

    /// The policy is another before the first asker comes with the older one: of one registry, one is asked at a time.
    #[tokio::test(start_paused = true)]
    async fn p3_who_comes_with_an_older_policy_waits_for_the_newer() {
        let world = Arc::new(World::new(&[]));
        let older = world.in_force();
        world.registries.set(OTHER, 1.0, Verdict::Trusted);
        world.edit(&[]);
        let mut newer = JoinSet::new();
        let other = Arc::clone(&world);
        newer.spawn(async move { other.ask(OTHER).await });
        sleep(Duration::from_millis(500)).await;
        let start = Instant::now();
        let verdicts = world.prober.verdicts(&older, &named(&[OTHER]), start + MINUTE).await;
        assert_eq!((verdicts.get(OTHER), start.elapsed()), (Some(&Verdict::Trusted), Duration::from_millis(1500)));
        assert_eq!(world.registries.dials(OTHER), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_use_is_probed_again_under_the_next_policy() {
        let world = World::new(&[]);
        world.ask_all(&[GOOD, OTHER], 5.0).await;
        assert_eq!(world.known(GOOD).await, "ok");
        world.edit(&[]);
        sleep(Duration::from_millis(100)).await;
        assert_eq!((world.registries.dials(GOOD), world.registries.dials(OTHER)), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn p2_hosts_that_only_pods_name_take_no_turn_from_those_of_the_policy() {
        let world = Arc::new(World::new(&[]));
        let mut pods = JoinSet::new();
        for pod in 0..20 {
            let world = Arc::clone(&world);
            let hosts: Vec<String> = (0..50).map(|host| format!("host{host}.pod{pod}.test")).collect();
            hosts.iter().for_each(|host| world.registries.set(host, 2.0, unreachable()));
            pods.spawn(async move {
                let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
                world.ask_all(&hosts, 9.0).await
            });
        }
        sleep(Duration::from_millis(500)).await;
        // A registry that the policy names from now on, and of which no verdict is kept.
        world.edit(&[GOOD]);
        let start = Instant::now();
        assert_eq!(world.ask(GOOD).await, Verdict::Trusted);
        assert_eq!(start.elapsed(), Duration::from_millis(10));
        let asked = Instant::now();
        while let Some(verdicts) = pods.join_next().await {
            let verdicts = verdicts.unwrap();
            // Of one pod, sixteen are asked; all are answered.
            let beyond = (16..50).all(|host| {
                (0..20)
                    .filter_map(|pod| verdicts.get(&format!("host{host}.pod{pod}.test")))
                    .all(|verdict| verdict.class() == "not-asked")
            });
            assert!(beyond);
        }
        assert!(asked.elapsed() < Duration::from_secs(9));
        // Half of the 32.
        assert!(world.registries.most_at_once.load(Ordering::Relaxed) <= 17);
        // No more than 256 were taken in.
        assert!(world.registries.asked.lock().unwrap().len() <= 258);
        let text = world.metrics.encode();
        assert!(text.contains("mirrorgate_verdict_cache_requests_total{result=\"refused\"} 744"), "{text}");
    }

    /// Nothing is made for each of the hosts that one body names beyond those that are asked.
    #[tokio::test(start_paused = true)]
    async fn p2_what_is_refused_of_one_body_is_refused_in_one_breath() {
        let world = World::new(&[GOOD]);
        let hosts: Vec<String> = (0..5000).map(|host| format!("host{host}.test")).collect();
        let all: Vec<&str> = hosts.iter().map(String::as_str).chain([GOOD]).collect();
        let verdicts = world.ask_all(&all, 5.0).await;
        let why = |host: &String| match verdicts.get(host) {
            Some(Verdict::Unknown(unknown)) => Arc::clone(&unknown.why),
            verdict => panic!("{host}: {verdict:?}"),
        };
        let first = why(&hosts[16]);
        assert!(hosts[16..].iter().all(|host| Arc::ptr_eq(&why(host), &first)), "{first}");
        assert_eq!(
            (verdicts.get("host15.test"), verdicts.get(GOOD)),
            (Some(&Verdict::Trusted), Some(&Verdict::Trusted))
        );
        assert_eq!(world.registries.asked.lock().unwrap().len(), 17);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bug_in_one_probe_ends_neither_the_process_nor_the_wait() {
        let mut world = World::new(&[]);
        assert_eq!(world.ask("bug.test").await.class(), "cannot-judge");
        assert_eq!(world.ask(GOOD).await, Verdict::Trusted);
        assert!(world.tasks.try_join_next().is_none());
    }

    fn ca() -> Arc<Pool> {
        let made = rcgen::generate_simple_self_signed(vec!["ca.test".to_owned()]).unwrap();
        Arc::new(Pool::new("a test", Bundle::read(made.cert.pem().as_bytes()).certificates))
    }

    fn file() -> BundleRef {
        BundleRef::File("/etc/ca.crt".to_owned())
    }
}
