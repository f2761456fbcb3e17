//! What is found of the CA bundles that are kept elsewhere: taken into force where it is good, and told of where it is not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::image::Escaped;
use crate::policy::{BundleRef, LoadedPolicy};
use crate::telemetry::{Metrics, Readiness};
use crate::trust::{Bundle, Pool};

use super::BundleStore;

/// The part of [`Readiness`] that tells of CA bundles.
pub const CA_BUNDLES_READINESS: &str = "ca-bundles";
/// What `/readyz` remarks on: bundles whose newest state is not in force, and blocks of others that are left out.
const NOT_IN_FORCE: &str = "not in force";
const LEFT_OUT: &str = "left out";

/// A larger bundle is not read (bytes): the public roots are a fifth of it, and a ConfigMap has no more.
pub const MOST_BUNDLE_BYTES: usize = 1 << 20;

/// So many blocks of a bundle that are left out are spelled out, and so many bundles in `/readyz`.
const MOST_NAMED: usize = 5;
/// The most characters of what is said of one block: a subject may be long.
const MOST_CHARS: usize = 300;

/// The one writer of a [`BundleStore`], for all sources. Whoever finds something of a bundle hands it in here.
#[derive(Debug)]
pub struct BundleKeeper {
    store: BundleStore,
    state: Mutex<State>,
    troubles: watch::Sender<Arc<BundleTroubles>>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
}

#[derive(Debug, Default)]
struct State {
    /// Of the policy whose bundles these are.
    generation: u64,
    bundles: BTreeMap<BundleRef, Found>,
    /// Whether all bundles of some policy were looked at: from then on we serve.
    ready: bool,
}

/// What was found of one bundle.
#[derive(Debug, Default)]
struct Found {
    /// The policy since which it is known without a break.
    since: u64,
    /// Whether it was looked at.
    answered: bool,
    /// Whether we may not read it.
    refused: bool,
    /// Why its content is not in force.
    content: Option<String>,
    /// Why its content cannot be read at the moment.
    away: Option<String>,
    /// What of its content is left out.
    left_out: Option<String>,
}

/// What is wrong with the bundles of the policy in force, in words for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleTroubles {
    /// Bundles whose newest state is not in force, and why.
    pub not_in_force: BTreeMap<BundleRef, String>,
    /// Bundles of which something is left out, and what.
    pub left_out: BTreeMap<BundleRef, String>,
}

impl BundleKeeper {
    /// The store has no other writer.
    #[must_use]
    pub fn new(store: BundleStore, metrics: Arc<Metrics>, readiness: Arc<Readiness>) -> Self {
        readiness.set(CA_BUNDLES_READINESS, Err("which are needed is not known yet".to_owned()));
        metrics.ca_bundle_errors(0);
        Self { store, state: Mutex::default(), troubles: watch::Sender::default(), metrics, readiness }
    }

    /// From now on the bundles of this policy count, and no others. Each of those who look for bundles may tell it.
    ///
    /// Returns since which policy each bundle is known without a break. Where that is not what it was, all that was handed
    /// in before is forgotten: a policy in between, which the caller may never have seen, did not name the bundle. Then it
    /// is to be looked for from the start, also by whoever looked for it all the time.
    #[must_use]
    pub fn follow(&self, loaded: &LoadedPolicy) -> BTreeMap<BundleRef, u64> {
        let mut state = self.state();
        let is_newer = loaded.generation > state.generation;
        if is_newer {
            state.generation = loaded.generation;
            let named: BTreeSet<&BundleRef> = loaded.policy.bundles().collect();
            state.bundles.retain(|bundle, _| named.contains(bundle));
            for &bundle in &named {
                let new = || Found { since: loaded.generation, ..Found::default() };
                state.bundles.entry(bundle.clone()).or_insert_with(new);
            }
            self.store.retain(named);
        }
        let since = state.bundles.iter().map(|(bundle, found)| (bundle.clone(), found.since)).collect();
        if is_newer {
            self.tell(state);
        }
        since
    }

    /// This is what a bundle holds.
    pub fn read(&self, bundle: &BundleRef, pem: &Bundle) {
        let Bundle { certificates, skipped } = pem;
        let said: Vec<String> = skipped
            .iter()
            .take(MOST_NAMED)
            .map(|skipped| Escaped::cut(&skipped.to_string(), MOST_CHARS).to_string())
            .collect();
        let more = skipped.len().saturating_sub(MOST_NAMED);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let said = (!said.is_empty()).then(|| format!("{}{more}", said.join("; ")));
        if certificates.is_empty() {
            let why = match said {
                Some(said) => format!("it has no certificate that can be used: {said}"),
                None => "it has no certificate".to_owned(),
            };
            return self.unusable(bundle, why);
        }
        self.found(bundle, |found| {
            found.content = None;
            found.away = None;
            found.refused = false;
            if let Some(said) = said.as_ref().filter(|_| found.left_out != said) {
                warn!(%bundle, "of a CA bundle something is left out: {said}");
            }
            found.left_out = said;
            if self.store.put(bundle, Arc::new(Pool::new(&bundle.to_string(), certificates.clone()))) {
                info!(%bundle, certificates = certificates.len(), "CA bundle in force");
                warn_of_expired(bundle, pem);
            }
        });
    }

    /// What a bundle holds cannot be used, or it is gone: what it held before stays in force.
    pub fn unusable(&self, bundle: &BundleRef, why: String) {
        self.found(bundle, |found| {
            self.store.fault(bundle, why.clone());
            found.content = Some(why);
            found.refused = false;
            found.left_out = None;
        });
    }

    /// A bundle cannot be read at the moment, or, with `None`, it can again and holds what it held before.
    pub fn away(&self, bundle: &BundleRef, why: Option<String>) {
        self.found(bundle, |found| {
            match (why.as_ref().or(found.content.as_ref()), self.store.snapshot().get(bundle)) {
                (Some(why), _) => self.store.fault(bundle, why.clone()),
                (None, Some(pool)) => {
                    self.store.put(bundle, Arc::clone(pool));
                }
                (None, None) => {}
            }
            found.away = why;
        });
    }

    /// A bundle may not be watched; whoever is refused tells of that.
    pub fn refused(&self, bundle: &BundleRef, why: &str) {
        self.found(bundle, |found| {
            self.store.fault(bundle, why.to_owned());
            found.refused = true;
        });
    }

    /// What is wrong, as it changes.
    #[must_use]
    pub fn troubles(&self) -> watch::Receiver<Arc<BundleTroubles>> {
        self.troubles.subscribe()
    }

    fn found(&self, bundle: &BundleRef, change: impl FnOnce(&mut Found)) {
        let mut state = self.state();
        // Of a bundle that no policy names any more nothing is kept.
        let Some(found) = state.bundles.get_mut(bundle) else { return };
        found.answered = true;
        change(found);
        self.tell(state);
    }

    fn tell(&self, mut state: MutexGuard<'_, State>) {
        if !state.ready {
            let missing: Vec<String> = state
                .bundles
                .iter()
                .filter(|(_, found)| !found.answered)
                .map(|(bundle, _)| bundle.to_string())
                .collect();
            state.ready = missing.is_empty();
            let state = if state.ready { Ok(()) } else { Err(format!("not looked at yet: {}", few(&missing))) };
            self.readiness.set(CA_BUNDLES_READINESS, state);
        }
        let bundles = self.store.snapshot();
        let troubles = BundleTroubles {
            not_in_force: state
                .bundles
                .iter()
                .filter_map(|(bundle, found)| {
                    let why = found.away.as_ref().or(found.content.as_ref())?;
                    let kept = match bundles.get(bundle) {
                        Some(pool) => format!("its last good certificates stay in force ({})", pool.len()),
                        None => "nothing of it is in force".to_owned(),
                    };
                    Some((bundle.clone(), format!("{bundle}: {why}; {kept}")))
                })
                .collect(),
            left_out: state
                .bundles
                .iter()
                .filter_map(|(bundle, found)| {
                    let left_out = found.left_out.as_ref()?;
                    Some((bundle.clone(), format!("{bundle}: left out: {left_out}")))
                })
                .collect(),
        };
        let before = self.troubles.send_replace(Arc::new(troubles.clone()));
        for (bundle, words) in &troubles.not_in_force {
            if before.not_in_force.get(bundle) != Some(words) {
                warn!("a CA bundle is not in force: {words}");
            }
        }
        for bundle in before.not_in_force.keys() {
            if state.bundles.contains_key(bundle) && !troubles.not_in_force.contains_key(bundle) {
                info!(%bundle, "what this CA bundle holds is in force again");
            }
        }
        let remark = |troubles: &BTreeMap<BundleRef, String>| {
            let words: Vec<&String> = troubles.values().collect();
            (!words.is_empty()).then(|| few(&words))
        };
        self.readiness.remark(CA_BUNDLES_READINESS, NOT_IN_FORCE, remark(&troubles.not_in_force));
        self.readiness.remark(CA_BUNDLES_READINESS, LEFT_OUT, remark(&troubles.left_out));
        let refused = state
            .bundles
            .iter()
            .filter(|(bundle, found)| found.refused && !troubles.not_in_force.contains_key(*bundle));
        self.metrics.ca_bundle_errors(troubles.not_in_force.len() + refused.count());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is whole after every statement: a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first of many, and how many more there are.
fn few(words: &[impl AsRef<str>]) -> String {
    let said: Vec<&str> = words.iter().take(MOST_NAMED).map(AsRef::as_ref).collect();
    match words.len().saturating_sub(MOST_NAMED) {
        0 => said.join("; "),
        more => format!("{}; and {more} more", said.join("; ")),
    }
}

/// No policy can know it: it reads no clock.
fn warn_of_expired(bundle: &BundleRef, pem: &Bundle) {
    let now = Timestamp::now();
    let expired = pem.certificates.iter().map(|certificate| certificate.facts()).filter(|facts| facts.not_after < now);
    for facts in expired.take(MOST_NAMED) {
        let subject = Escaped::cut(&facts.subject, MOST_CHARS).to_string();
        warn!(%bundle, subject, not_after = %facts.not_after, "a CA of this bundle has expired: it vouches for nothing");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    struct Kept {
        keeper: BundleKeeper,
        store: BundleStore,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
    }

    fn kept(files: &[&str]) -> Kept {
        let (metrics, readiness) = (Arc::new(Metrics::new()), Arc::new(Readiness::new(&[])));
        let store = BundleStore::new();
        let keeper = BundleKeeper::new(store.clone(), Arc::clone(&metrics), Arc::clone(&readiness));
        let _ = keeper.follow(&policy(files, 1));
        Kept { keeper, store, metrics, readiness }
    }

    fn policy(files: &[&str], generation: u64) -> LoadedPolicy {
        let bundles: String = files.iter().map(|path| format!("  - file: {path}\n")).collect();
        let bundles = if bundles.is_empty() { String::new() } else { format!("  caBundles:\n{bundles}") };
        let source =
            format!("apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\ntrust:\n  registries: [a.corp]\n{bundles}");
        LoadedPolicy::new(Policy::read(&source).unwrap().policy, &source, generation)
    }

    fn file(path: &str) -> BundleRef {
        BundleRef::File(path.into())
    }

    fn pem(name: &str) -> String {
        rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap().cert.pem()
    }

    fn bundle(pem: &str) -> Bundle {
        Bundle::read(pem.as_bytes())
    }

    impl Kept {
        fn errors(&self) -> String {
            let text = self.metrics.encode();
            text.lines().find_map(|line| line.strip_prefix("mirrorgate_ca_bundle_errors ")).unwrap().to_owned()
        }

        fn certificates(&self, path: &str) -> Option<usize> {
            self.store.snapshot().get(&file(path)).map(|pool| pool.len())
        }
    }

    /// Trap 22: what cannot be read is an answer, too, or no pod would ever be made.
    #[test]
    fn trap_22_ready_once_each_bundle_was_looked_at() {
        let kept = kept(&["/a", "/b"]);
        let report = kept.readiness.report();
        assert!(report.starts_with("[-] ca-bundles: not looked at yet: file /a; file /b\n"), "{report}");
        kept.keeper.read(&file("/a"), &bundle(&pem("a")));
        assert!(!kept.readiness.is_ready());
        kept.keeper.away(&file("/b"), Some("the file cannot be read: gone".to_owned()));
        assert!(kept.readiness.is_ready());
        // Later policies are served from their first moment on, as what is not known yet is not judged.
        let _ = kept.keeper.follow(&policy(&["/c"], 2));
        assert_eq!(kept.readiness.report(), "[+] ca-bundles\nready\n");
        let none = self::kept(&[]);
        assert!(none.readiness.is_ready());
    }

    #[test]
    fn a_bundle_that_goes_bad_keeps_its_last_good_certificates_and_says_so_until_it_is_mended() {
        let kept = kept(&["/a"]);
        let a = file("/a");
        let good = format!("{}{}", pem("a"), pem("b"));
        kept.keeper.read(&a, &bundle(&good));
        assert_eq!((kept.certificates("/a"), &*kept.errors()), (Some(2), "0"));
        for (text, why) in [
            ("", "it has no certificate"),
            ("no PEM at all", "it has no certificate"),
            ("-----BEGIN", "no certificate"),
        ] {
            kept.keeper.read(&a, &bundle(text));
            let troubles = kept.keeper.troubles().borrow().not_in_force[&a].clone();
            assert!(troubles.starts_with("file /a: ") && troubles.contains(why), "{troubles}");
            assert!(troubles.ends_with("; its last good certificates stay in force (2)"), "{troubles}");
            assert!(kept.readiness.report().contains(&troubles), "{}", kept.readiness.report());
            assert_eq!((kept.certificates("/a"), &*kept.errors()), (Some(2), "1"));
        }
        let revision = || kept.store.snapshot().revision_of([&a]);
        let before = revision();
        kept.keeper.read(&a, &bundle(&good));
        assert_eq!((kept.certificates("/a"), &*kept.errors()), (Some(2), "0"));
        assert_eq!(kept.readiness.report(), "[+] ca-bundles\nready\n");
        assert_eq!(**kept.keeper.troubles().borrow(), BundleTroubles::default());
        assert_eq!(revision(), before, "nothing changed");
    }

    #[test]
    fn a_bundle_that_was_never_good_says_that_nothing_of_it_is_in_force() {
        let kept = kept(&["/a"]);
        kept.keeper.unusable(&file("/a"), "there is no such ConfigMap".to_owned());
        let words = "file /a: there is no such ConfigMap; nothing of it is in force";
        assert_eq!(kept.keeper.troubles().borrow().not_in_force[&file("/a")], words);
        assert_eq!(kept.store.snapshot().fault(&file("/a")), Some("there is no such ConfigMap"));
    }

    /// A file that was bad, went away and is back as it was is still bad.
    #[test]
    fn what_is_away_and_back_is_as_it_was() {
        let kept = kept(&["/a"]);
        let a = file("/a");
        let fault = || kept.store.snapshot().fault(&a).map(str::to_owned);
        kept.keeper.read(&a, &bundle(&pem("a")));
        kept.keeper.away(&a, Some("gone".to_owned()));
        assert_eq!((fault().as_deref(), &*kept.errors()), (Some("gone"), "1"));
        kept.keeper.away(&a, None);
        assert_eq!((fault(), &*kept.errors()), (None, "0"));
        kept.keeper.unusable(&a, "bad".to_owned());
        kept.keeper.away(&a, Some("gone".to_owned()));
        kept.keeper.away(&a, None);
        assert_eq!((fault().as_deref(), &*kept.errors()), (Some("bad"), "1"));
    }

    #[test]
    fn one_bad_certificate_is_left_out_and_named_and_the_others_are_in_force() {
        let kept = kept(&["/a"]);
        let a = file("/a");
        let bad = "-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n";
        kept.keeper.read(&a, &bundle(&format!("{}{}", bad.repeat(8), pem("a"))));
        assert_eq!((kept.certificates("/a"), &*kept.errors()), (Some(1), "0"));
        let said = kept.keeper.troubles().borrow().left_out[&a].clone();
        assert!(said.starts_with("file /a: left out: block 1 (line 1) "), "{said}");
        assert!(said.contains("; block 5 (line 13) ") && said.ends_with("; and 3 more"), "{said}");
        assert!(kept.readiness.report().contains(&said) && kept.readiness.is_ready());
        kept.keeper.read(&a, &bundle(&pem("a")));
        assert!(kept.keeper.troubles().borrow().left_out.is_empty());
    }

    #[test]
    fn a_private_key_is_called_out_and_never_shown() {
        let kept = kept(&["/a"]);
        let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let key = made.signing_key.serialize_pem();
        for text in [format!("{}{key}", made.cert.pem()), key.clone()] {
            kept.keeper.read(&file("/a"), &bundle(&text));
            assert_eq!(kept.certificates("/a"), Some(1));
            let shown = format!("{}{:?}", kept.readiness.report(), kept.keeper);
            let report = kept.readiness.report();
            assert!(report.contains("private key"), "{report}");
            for line in key.lines().filter(|line| !line.starts_with("-----")) {
                assert!(!shown.contains(&line[..20]), "{report}");
            }
        }
    }

    #[test]
    fn s5_a_bundle_that_may_not_be_read_counts_until_it_is_read() {
        let kept = kept(&["/a", "/b"]);
        kept.keeper.refused(&file("/a"), "mirrorgate may not read it");
        assert_eq!(kept.errors(), "1");
        kept.keeper.unusable(&file("/b"), "it is empty".to_owned());
        kept.keeper.refused(&file("/b"), "mirrorgate may not read it");
        assert_eq!(kept.errors(), "2");
        kept.keeper.read(&file("/a"), &bundle(&pem("a")));
        kept.keeper.read(&file("/b"), &bundle(&pem("b")));
        assert_eq!(kept.errors(), "0");
    }

    #[test]
    fn what_the_policy_drops_is_forgotten_and_an_older_policy_is_not_followed() {
        let kept = kept(&["/a", "/b"]);
        kept.keeper.read(&file("/a"), &bundle(&pem("a")));
        kept.keeper.unusable(&file("/b"), "bad".to_owned());
        let _ = kept.keeper.follow(&policy(&["/a", "/c"], 3));
        assert_eq!((kept.certificates("/a"), &*kept.errors()), (Some(1), "0"));
        let _ = kept.keeper.follow(&policy(&["/b"], 2));
        assert_eq!(kept.certificates("/a"), Some(1));
        // A source that is still on its way to the new policy changes nothing.
        kept.keeper.read(&file("/b"), &bundle(&pem("b")));
        assert_eq!(kept.certificates("/b"), None);
    }
}
