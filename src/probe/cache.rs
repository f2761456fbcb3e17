//! The verdicts that are kept, each for its own time (P3).
//!
//! The key holds all that a verdict depends on: the registry, the policy and the state of the CA bundles that are for this
//! registry. A verdict that was given under another policy or other roots is not found, whatever its age; what becomes of
//! the bundles of others is nothing to it. The cache is bounded by what it weighs:
//! with the verdicts that say most there are fewer of them.

use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use moka::Equivalent;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::time::Instant;

use super::Bundles;
use crate::policy::LoadedPolicy;
use crate::review::Verdict;

/// At most so many verdicts are kept.
const MOST_VERDICTS: u64 = 10_000;

/// What one entry weighs at least, so that the bound in bytes is one in number, too.
const LEAST_BYTES: u64 = 512;

/// And so many bytes of them, besides what the cache itself needs for each, which is about 400.
const MOST_BYTES: u64 = MOST_VERDICTS * LEAST_BYTES;

/// What a verdict of one registry was given under: a newer one is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Under {
    /// Of the policy.
    pub(super) generation: u64,
    /// Of the CA bundles that are for this registry.
    pub(super) revision: u64,
}

impl Under {
    /// What verdicts of a registry, in canonical form, are given under. Allocates nothing.
    pub(super) fn of(loaded: &LoadedPolicy, bundles: &Bundles, registry: &str) -> Self {
        Self { generation: loaded.generation, revision: bundles.revision_of(loaded.policy.bundles_of(registry)) }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) registry: Arc<str>,
    pub(super) under: Under,
}

/// A key that is looked for: nothing is allocated for it.
#[derive(Hash)]
struct Wanted<'a> {
    registry: &'a str,
    under: Under,
}

impl Equivalent<Key> for Wanted<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.under == key.under && *self.registry == *key.registry
    }
}

/// A verdict, and how long it may be used.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) verdict: Verdict,
    /// It is used before this.
    pub(super) until: Instant,
    /// From here on it is probed again, if anybody asked for it.
    pub(super) refresh_at: Instant,
    /// A probe since then failed, which may have been a blip: the next one decides.
    pub(super) doubted: bool,
    /// Whether anybody asked since the probe.
    asked: AtomicBool,
}

impl Kept {
    pub(super) fn new(verdict: Verdict, until: Instant, refresh_at: Instant) -> Self {
        Self { verdict, until, refresh_at, doubted: false, asked: AtomicBool::new(false) }
    }

    /// The same verdict, no longer: a probe failed, and the one at `refresh_at` decides.
    pub(super) fn in_doubt(&self, refresh_at: Instant) -> Self {
        Self { refresh_at, doubted: true, ..Self::new(self.verdict.clone(), self.until, refresh_at) }
    }

    /// Somebody asks. Whether it is the first since the probe.
    pub(super) fn ask(&self) -> bool {
        // What is asked for all the time is not written to all the time.
        !self.asked.load(Ordering::Relaxed) && !self.asked.swap(true, Ordering::Relaxed)
    }

    /// Whether somebody uses it.
    pub(super) fn is_in_use(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// The bytes of its own, without what the cache needs for it.
    fn size(&self) -> usize {
        let texts = match &self.verdict {
            Verdict::Trusted => 0,
            Verdict::Untrusted(untrusted) => untrusted.bytes(),
            Verdict::Unreachable(unreachable) => unreachable.why.len(),
            Verdict::Unknown(unknown) => unknown.why.len(),
        };
        size_of::<Self>() + texts
    }
}

/// The verdicts in force.
#[derive(Debug)]
pub(super) struct VerdictCache {
    kept: Cache<Key, Arc<Kept>>,
}

/// Ends the entries. That is for their memory alone: what is found is compared with its own end once more.
struct OwnEnd;

impl moka::Expiry<Key, Arc<Kept>> for OwnEnd {
    fn expire_after_create(&self, _: &Key, kept: &Arc<Kept>, _: std::time::Instant) -> Option<Duration> {
        Some(kept.until.saturating_duration_since(Instant::now()))
    }

    /// Without this, an entry that is put in place of another would end when that one does.
    fn expire_after_update(
        &self,
        key: &Key,
        kept: &Arc<Kept>,
        at: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, kept, at)
    }
}

impl VerdictCache {
    pub(super) fn new() -> Self {
        let weight = |key: &Key, kept: &Arc<Kept>| {
            let bytes = (size_of::<Key>() + key.registry.len() + kept.size()) as u64;
            u32::try_from(bytes.max(LEAST_BYTES)).unwrap_or(u32::MAX)
        };
        // The least recently used goes first: another policy (TinyLFU) would hold the much used verdicts of the last
        // generation against those of the new one.
        let kept = Cache::builder()
            .max_capacity(MOST_BYTES)
            .weigher(weight)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(OwnEnd)
            .build();
        Self { kept }
    }

    /// What is in force of a registry. Allocates nothing.
    pub(super) fn get(&self, registry: &str, under: Under, now: Instant) -> Option<Arc<Kept>> {
        self.kept.get(&Wanted { registry, under }).filter(|kept| now < kept.until)
    }

    pub(super) fn put(&self, registry: Arc<str>, under: Under, kept: Kept) {
        self.kept.insert(Key { registry, under }, Arc::new(kept));
    }

    /// All entries, those that are past their end among them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Arc<Key>, Arc<Kept>)> {
        self.kept.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;
    use crate::review::{Unreachable, UnreachableClass, Untrusted};
    use crate::trust::{Certificate, Fault, Judgement, Outcome, Rejection};

    const UNDER: Under = Under { generation: 1, revision: 0 };

    /// As long as it gets: what comes from a certificate is cut, and a fact more or less is left out.
    fn untrusted() -> Verdict {
        static MADE: OnceLock<Judgement> = OnceLock::new();
        let judgement = MADE.get_or_init(|| {
            let mut params = rcgen::CertificateParams::new(vec!["x".repeat(60) + ".test"; 10]).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, "y".repeat(300));
            let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
            let certificate = Arc::new(Certificate::parse(certificate.der()).unwrap());
            let why = "z".repeat(1000);
            let rejection = Rejection {
                fault: Fault::UnknownAuthority,
                at_fault: Some(certificate.clone()),
                presented_index: Some(0),
                in_pool: Some("w".repeat(1000).into()),
                why,
            };
            let at = jiff::Timestamp::UNIX_EPOCH;
            Judgement { presented: vec![Ok(certificate)], outcome: Outcome::Untrusted(rejection), at }
        });
        let Outcome::Untrusted(rejection) = &judgement.outcome else { panic!("it is not trusted") };
        Verdict::Untrusted(Arc::new(Untrusted::new(judgement, rejection)))
    }

    fn unreachable() -> Verdict {
        let why = "nobody answered within 2 s; the address is dialled from the node that mirrorgate runs on".into();
        Verdict::Unreachable(Unreachable { class: UnreachableClass::TimedOut, why })
    }

    fn filled(count: usize, verdict: impl Fn() -> Verdict) -> VerdictCache {
        let cache = VerdictCache::new();
        let until = Instant::now() + Duration::from_secs(3600);
        for host in 0..count {
            cache.put(format!("registry-{host}.team.example:5000").into(), UNDER, Kept::new(verdict(), until, until));
            if host % 100 == 0 {
                cache.kept.run_pending_tasks();
            }
        }
        cache.kept.run_pending_tasks();
        cache
    }

    #[test]
    fn p3_the_cache_is_bounded_in_number_and_in_bytes() {
        let cache = filled(12_000, || Verdict::Trusted);
        assert_eq!(cache.kept.entry_count(), 10_000);
        let cache = filled(12_000, untrusted);
        assert!((1000..9000).contains(&cache.kept.entry_count()), "{}", cache.kept.entry_count());
        assert!(cache.kept.weighted_size() <= MOST_BYTES);
        // The newest are there, under their own key only.
        let now = Instant::now();
        let (newest, oldest) = ("registry-11999.team.example:5000", "registry-0.team.example:5000");
        assert!(cache.get(newest, UNDER, now).is_some() && cache.get(oldest, UNDER, now).is_none());
        for under in [Under { generation: 2, ..UNDER }, Under { revision: 1, ..UNDER }] {
            assert!(cache.get(newest, under, now).is_none());
        }
    }

    /// A much used verdict of the last generation must not keep those of the new one out.
    #[test]
    fn p3_a_full_cache_takes_new_verdicts() {
        let cache = filled(10_000, || Verdict::Trusted);
        for _ in 0..20 {
            for host in 0..10_000 {
                assert!(
                    cache.kept.contains_key(&Wanted {
                        registry: &format!("registry-{host}.team.example:5000"),
                        under: UNDER
                    })
                );
            }
        }
        let until = Instant::now() + Duration::from_secs(60);
        cache.put("new.test".into(), UNDER, Kept::new(Verdict::Trusted, until, until));
        cache.kept.run_pending_tasks();
        assert!(cache.get("new.test", UNDER, Instant::now()).is_some());
    }

    /// In a real clock: what moka itself does.
    #[test]
    fn p3_an_entry_that_replaces_another_has_its_own_end() {
        let cache = VerdictCache::new();
        let now = Instant::now();
        let long = now + Duration::from_secs(3600);
        cache.put("a.test".into(), UNDER, Kept::new(unreachable(), now + Duration::from_millis(50), now));
        cache.put("a.test".into(), UNDER, Kept::new(Verdict::Trusted, long, long));
        std::thread::sleep(Duration::from_millis(80));
        assert!(cache.get("a.test", UNDER, Instant::now()).is_some());
        cache.put("a.test".into(), UNDER, Kept::new(unreachable(), Instant::now() + Duration::from_millis(20), long));
        std::thread::sleep(Duration::from_millis(40));
        assert!(!cache.kept.contains_key(&Wanted { registry: "a.test", under: UNDER }));
    }

    /// By hand, alone: `cargo test --lib figure_of_10_000_verdicts -- --ignored --nocapture`. The aim is 10 MB.
    #[test]
    #[ignore = "a figure"]
    #[expect(clippy::print_stdout, reason = "the figure")]
    fn figure_of_10_000_verdicts() {
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        // What the first of a kind needs once.
        drop((filled(100, unreachable), filled(100, untrusted)));
        for (name, verdict) in [
            ("trusted", Box::new(|| Verdict::Trusted) as Box<dyn Fn() -> Verdict>),
            ("unreachable", Box::new(unreachable)),
            ("untrusted", Box::new(untrusted)),
        ] {
            let before = resident();
            let cache = filled(10_000, verdict);
            let after = resident();
            println!("{name}: {} kept, {} kB", cache.kept.entry_count(), after - before);
            // Not given back, so that the next has to ask for its own.
            std::mem::forget(cache);
        }
    }
}
