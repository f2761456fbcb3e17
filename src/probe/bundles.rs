//! The CA bundles that are kept outside of the policy: ConfigMaps, Secrets, files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;

use crate::policy::BundleRef;
use crate::trust::Pool;

/// The bundles that the policy names, as they were last good. Written by those who watch them; each reader takes a
/// [`Bundles`], which does not change under it.
///
/// A bundle that becomes empty, unreadable or missing keeps its last good certificates: taking them away would reject
/// every pod for somebody's slip of the hand.
#[derive(Clone, Debug)]
pub struct BundleStore {
    sender: Arc<watch::Sender<Arc<Bundles>>>,
}

/// What is known of all bundles at one moment.
#[derive(Clone, Debug, Default)]
pub struct Bundles {
    /// Counts the changes of certificates in all of them.
    changes: u64,
    known: BTreeMap<BundleRef, Known>,
}

/// What is known of one bundle.
#[derive(Clone, Debug, Default)]
struct Known {
    /// As it was last good.
    pool: Option<Arc<Pool>>,
    /// The number of the change that brought its certificates.
    changed: u64,
    /// What is wrong with it now.
    fault: Option<Arc<str>>,
}

impl Bundles {
    /// The certificates of a bundle, as it was last good. `None`: it was never there.
    #[must_use]
    pub fn get(&self, bundle: &BundleRef) -> Option<&Arc<Pool>> {
        self.known.get(bundle)?.pool.as_ref()
    }

    /// A number that grows with every change of certificates in one of these bundles, and in no other. No verdict that
    /// depends on them outlives it (P3).
    #[must_use]
    pub fn revision_of<'a>(&self, bundles: impl IntoIterator<Item = &'a BundleRef>) -> u64 {
        let changes = bundles.into_iter().filter_map(|bundle| self.known.get(bundle)).map(|known| known.changed);
        changes.max().unwrap_or(0)
    }

    /// What is wrong with a bundle now, whether or not it was good before.
    #[must_use]
    pub fn fault(&self, bundle: &BundleRef) -> Option<&str> {
        self.known.get(bundle)?.fault.as_deref()
    }
}

impl BundleStore {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self { sender: Arc::new(watch::Sender::new(Arc::default())) }
    }

    /// What is known now. A new receiver has seen it.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Bundles>> {
        self.sender.subscribe()
    }

    /// What is known now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Bundles> {
        Arc::clone(&self.sender.borrow())
    }

    /// A bundle was read and is good. The same certificates again are no change: a resync of a watch must not cost the
    /// verdicts. Whether it is one.
    pub fn put(&self, bundle: &BundleRef, pool: Arc<Pool>) -> bool {
        self.change(|bundles| {
            let known = bundles.known.entry(bundle.clone()).or_default();
            known.fault = None;
            let is_new = known.pool.as_ref().is_none_or(|old| !are_same(old, &pool));
            if is_new {
                bundles.changes += 1;
                known.changed = bundles.changes;
                known.pool = Some(pool);
            }
            is_new
        })
    }

    /// A bundle cannot be read, or holds no certificate. What it held before stays in force.
    pub fn fault(&self, bundle: &BundleRef, fault: String) {
        self.change(|bundles| {
            bundles.known.entry(bundle.clone()).or_default().fault = Some(fault.into());
            false
        });
    }

    /// Forgets all but these, which are those of the policy in force. That is no change of certificates: a verdict
    /// belongs to its policy already.
    pub fn retain<'a>(&self, bundles: impl IntoIterator<Item = &'a BundleRef>) {
        let named: BTreeSet<&BundleRef> = bundles.into_iter().collect();
        self.change(|bundles| {
            bundles.known.retain(|bundle, _| named.contains(bundle));
            false
        });
    }

    /// Changes what new readers take; those who wait are woken where `change` says that certificates changed.
    fn change(&self, change: impl FnOnce(&mut Bundles) -> bool) -> bool {
        self.sender.send_if_modified(|bundles| change(Arc::make_mut(bundles)))
    }
}

impl Default for BundleStore {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether two pools hold the same certificates: whoever joins a bundle from parts need not keep their order.
fn are_same(one: &Pool, other: &Pool) -> bool {
    let set = |pool: &'_ Pool| pool.certificates().iter().map(|certificate| certificate.sha256()).collect();
    let (one, other): (BTreeSet<[u8; 32]>, BTreeSet<[u8; 32]>) = (set(one), set(other));
    one == other
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Mutex, OnceLock};

    use super::*;
    use crate::trust::Bundle;

    fn file(path: &str) -> BundleRef {
        BundleRef::File(path.into())
    }

    /// Twice the same certificate for the same name.
    fn pool(name: &str) -> Arc<Pool> {
        static MADE: OnceLock<Mutex<HashMap<String, String>>> = OnceLock::new();
        let mut made = MADE.get_or_init(Mutex::default).lock().unwrap();
        let pem = made
            .entry(name.to_owned())
            .or_insert_with(|| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap().cert.pem());
        Arc::new(Pool::new("a test", Bundle::read(pem.as_bytes()).certificates))
    }

    /// What of a pool can be compared.
    fn ders(pool: Option<&Arc<Pool>>) -> Vec<Vec<u8>> {
        pool.iter().flat_map(|pool| pool.certificates()).map(|certificate| certificate.der().to_vec()).collect()
    }

    #[test]
    fn p3_only_other_certificates_are_a_new_revision() {
        let store = BundleStore::new();
        let mut reader = store.subscribe();
        store.put(&file("a"), pool("one"));
        assert!(reader.has_changed().unwrap());
        assert_eq!(reader.borrow_and_update().changes, 1);
        store.put(&file("a"), pool("one"));
        assert!(!reader.has_changed().unwrap() && store.snapshot().changes == 1);
        store.put(&file("a"), pool("two"));
        store.put(&file("b"), pool("two"));
        assert_eq!(reader.borrow_and_update().changes, 3);
    }

    #[test]
    fn p3_each_bundle_has_its_own_revision_and_the_order_of_certificates_does_not_count() {
        let store = BundleStore::new();
        let both = |names: [&str; 2]| {
            let certificates = names.iter().flat_map(|name| pool(name).certificates().to_vec()).collect();
            Arc::new(Pool::new("a test", certificates))
        };
        assert!(store.put(&file("a"), both(["one", "two"])));
        let revision = |paths: &[&str]| {
            let bundles: Vec<BundleRef> = paths.iter().map(|path| file(path)).collect();
            store.snapshot().revision_of(&bundles)
        };
        let before = revision(&["a"]);
        assert!(!store.put(&file("a"), both(["two", "one"])));
        assert!(store.put(&file("b"), pool("two")));
        assert_eq!((revision(&["a"]), revision(&["absent"]), revision(&[])), (before, 0, 0));
        assert!(revision(&["a", "b"]) > before);
    }

    #[test]
    fn a_bundle_that_goes_bad_keeps_its_last_good_certificates() {
        let store = BundleStore::new();
        store.put(&file("a"), pool("one"));
        store.fault(&file("a"), "it is empty".to_owned());
        store.fault(&file("b"), "it is not there".to_owned());
        let bundles = store.snapshot();
        assert_eq!(ders(bundles.get(&file("a"))), ders(Some(&pool("one"))));
        assert_eq!(bundles.fault(&file("a")), Some("it is empty"));
        assert!(bundles.get(&file("b")).is_none() && bundles.fault(&file("b")) == Some("it is not there"));
        assert_eq!(bundles.changes, 1);
        store.put(&file("a"), pool("one"));
        assert_eq!((store.snapshot().fault(&file("a")), store.snapshot().changes), (None, 1));
    }

    #[test]
    fn what_no_policy_names_any_more_is_forgotten() {
        let store = BundleStore::new();
        store.put(&file("a"), pool("one"));
        store.put(&file("b"), pool("two"));
        let before = store.snapshot();
        store.retain([&file("b")]);
        let bundles = store.snapshot();
        assert!(bundles.get(&file("a")).is_none() && bundles.get(&file("b")).is_some());
        assert!(before.get(&file("a")).is_some() && before.changes == bundles.changes);
        // Another bundle of the same name later is another one.
        store.put(&file("a"), pool("one"));
        assert_eq!(store.snapshot().changes, 3);
    }
}
