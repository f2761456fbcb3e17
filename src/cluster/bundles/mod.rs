//! The CA bundles that the policy names in ConfigMaps and Secrets: one watch for each object, by its name in its namespace.
//!
//! What is gone, empty, forbidden, or behind an API server that is away stays in force as it was last good. Not here:
//! bundles in files and what becomes of a bundle (`probe`), and what a certificate is worth (`trust`).

mod place;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use kube::runtime::watcher::Event;
use kube::{Api, Client};
use tokio::sync::watch;
use tracing::debug;

use crate::policy::{BundleRef, LoadedPolicy};
use crate::probe::{BundleKeeper, BundleTroubles, CA_BUNDLES_READINESS, MOST_BUNDLE_BYTES};
use crate::telemetry::{Metrics, Readiness};

use super::announcer::{Announcer, Statement, Topic};
use super::standing::{Shown, Standings};
use super::watches::{PAUSES, Watches, another};
use super::watching::{Fault, Told, Watch};
use place::{Kind, Place};
use watched::{ConfigMapKeys, Found, Keys, SecretKeys, WatchedConfigMap, WatchedSecret};

/// The label of `mirrorgate_watch_up`.
const RESOURCE: &str = "ca-bundles";

/// The watches of the CA bundles that the policy in force names, and the Events about all its bundles.
pub struct BundleWatches {
    client: Client,
    policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
    keeper: Arc<BundleKeeper>,
    /// Since which policy the keeper knows of each bundle.
    since: BTreeMap<BundleRef, u64>,
    troubles: watch::Receiver<Arc<BundleTroubles>>,
    watches: Watches<Place, Keys, Option<Keys>>,
    standings: Standings<Place>,
    shown: Shown,
    announcer: Announcer<About>,
    metrics: Arc<Metrics>,
}

impl BundleWatches {
    /// `namespace` is mirrorgate's own, where the policy is; `instance` names this replica in Events.
    pub fn new(
        client: Client,
        namespace: &str,
        instance: String,
        policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
        keeper: Arc<BundleKeeper>,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
    ) -> Self {
        let shown = Shown {
            part: CA_BUNDLES_READINESS,
            resource: RESOURCE,
            what: "CA bundles",
            down: false,
            metrics: Arc::clone(&metrics),
            readiness,
        };
        Self {
            announcer: Announcer::new(client.clone(), namespace, instance, "ReadCaBundles"),
            client,
            policy,
            troubles: keeper.troubles(),
            keeper,
            since: BTreeMap::new(),
            watches: Watches::new(),
            standings: Standings::default(),
            shown,
            metrics,
        }
    }

    /// Watches what the policy in force needs, for as long as the process lives.
    pub async fn run(mut self) -> Infallible {
        self.follow();
        loop {
            tokio::select! {
                () = another(&mut self.policy) => self.follow(),
                (place, told) = self.watches.next() => self.take(&place, told),
                // We hold the keeper, which holds the sender.
                Ok(()) = self.troubles.changed() => self.announce(),
                () = self.announcer.say() => {}
            }
        }
    }

    /// Starts and stops watches, so that they are those of the policy in force.
    fn follow(&mut self) {
        let Some(loaded) = self.policy.borrow_and_update().clone() else { return };
        let before = std::mem::replace(&mut self.since, self.keeper.follow(&loaded));
        let bundles: BTreeSet<&BundleRef> = loaded.policy.bundles().collect();
        self.announcer.retain(|about| about.bundle().is_none_or(|bundle| bundles.contains(bundle)));
        let wanted = Place::of(loaded.policy.bundles());
        self.watches.keep(&wanted);
        self.standings.keep(&wanted);
        for place in wanted {
            // What the keeper has forgotten meanwhile is to be listed again: an object that does not change tells nothing.
            if place.bundles().any(|bundle| before.get(&bundle) != self.since.get(&bundle)) {
                self.watches.stop(&place);
            }
            if !self.watches.is_running(&place) {
                self.start(place);
            }
        }
        self.tell();
    }

    fn start(&mut self, place: Place) {
        let (client, fields) = (self.client.clone(), format!("metadata.name={}", place.name));
        let wanted = place.keys.clone();
        let only_wanted = move |mut keys: Keys| {
            keys.retain(|key, _| wanted.contains(key));
            keys
        };
        match place.kind {
            Kind::ConfigMap => {
                let api: Api<WatchedConfigMap> = Api::namespaced(client, &place.namespace);
                let watch = Watch::new(api, &fields, 1, PAUSES);
                self.watches.start(place, watch, move |object: WatchedConfigMap| {
                    let ConfigMapKeys(keys) = object.content;
                    only_wanted(keys)
                });
            }
            Kind::Secret => {
                let api: Api<WatchedSecret> = Api::namespaced(client, &place.namespace);
                let watch = Watch::new(api, &fields, 1, PAUSES);
                self.watches.start(place, watch, move |object: WatchedSecret| {
                    let SecretKeys(keys) = object.content;
                    only_wanted(keys)
                });
            }
        }
    }

    /// Takes in what a watch saw.
    fn take(&mut self, place: &Place, told: Told<Keys>) {
        if matches!(told, Ok(Event::InitApply(_) | Event::Apply(_) | Event::Delete(_))) {
            self.metrics.watch_object(RESOURCE);
        }
        match told {
            Ok(Event::Init) => {}
            Ok(Event::InitApply(keys)) => {
                if let Some(listing) = self.watches.listing(place) {
                    *listing = Some(keys);
                }
            }
            Ok(Event::InitDone) => {
                let listed = self.watches.listing(place).and_then(Option::take);
                self.found(place, listed.as_ref());
                self.standings.set(place, None);
                self.tell();
            }
            Ok(Event::Apply(keys)) => self.found(place, Some(&keys)),
            Ok(Event::Delete(_)) => self.found(place, None),
            Err(fault) => {
                debug!(?place, ?fault, "the watch broke");
                if let Fault::Forbidden(_) = &fault {
                    for bundle in place.bundles() {
                        self.keeper.refused(&bundle, "mirrorgate may not read it: `mirrorgate rbac` prints the Role");
                    }
                }
                self.standings.set(place, Some(fault));
                self.tell();
            }
        }
    }

    /// Hands in what each bundle of an object holds, or that the object is not there.
    fn found(&self, place: &Place, keys: Option<&Keys>) {
        let kind = place.kind.as_str();
        for (key, bundle) in place.keys.iter().zip(place.bundles()) {
            match keys.map(|keys| keys.get(key)) {
                None => self.keeper.unusable(&bundle, format!("there is no such {kind}")),
                Some(None) => self.keeper.unusable(&bundle, format!("the {kind} has no such key")),
                Some(Some(Found::Bundle(pem))) => self.keeper.read(&bundle, pem),
                Some(Some(Found::NotBase64)) => self.keeper.unusable(&bundle, "it is not base64".to_owned()),
                Some(Some(Found::TooLarge)) => {
                    self.keeper.unusable(&bundle, format!("it has more than {MOST_BUNDLE_BYTES} bytes"));
                }
            }
        }
    }

    /// Says how the watches stand, wherever it is shown.
    fn tell(&mut self) {
        self.shown.update(&self.standings);
        self.announcer.set(About::Access, self.standings.forbidden());
    }

    /// Says how the bundles are, in Events.
    fn announce(&mut self) {
        let troubles = Arc::clone(&self.troubles.borrow_and_update());
        let Some(loaded) = self.policy.borrow().clone() else { return };
        for bundle in loaded.policy.bundles() {
            let of = |troubles: &BTreeMap<BundleRef, String>| troubles.get(bundle).cloned();
            self.announcer.set(About::InForce(bundle.clone()), of(&troubles.not_in_force));
            self.announcer.set(About::LeftOut(bundle.clone()), of(&troubles.left_out));
        }
    }
}

/// What an Event can be about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    /// That we may watch.
    Access,
    /// That the newest state of a bundle is in force.
    InForce(BundleRef),
    /// That all of a bundle is.
    LeftOut(BundleRef),
}

impl About {
    fn bundle(&self) -> Option<&BundleRef> {
        match self {
            Self::Access => None,
            Self::InForce(bundle) | Self::LeftOut(bundle) => Some(bundle),
        }
    }
}

impl Topic for About {
    fn statement(&self, wrong: Option<&str>) -> Statement {
        let (reason, note) = match (self, wrong) {
            (Self::Access, Some(forbidden)) => (
                "CaBundlesForbidden",
                format!("CA bundles: {forbidden}. Until then what was last seen of them stays in force."),
            ),
            (Self::Access, None) => {
                ("CaBundlesAllowed", "The CA bundles that the policy names can be watched.".to_owned())
            }
            (Self::InForce(_), Some(words)) => ("CaBundleNotInForce", words.to_owned()),
            (Self::InForce(bundle), None) => ("CaBundleInForce", format!("{bundle}: what it holds is in force.")),
            (Self::LeftOut(_), Some(words)) => ("CaBundleLeftOut", words.to_owned()),
            (Self::LeftOut(bundle), None) => ("CaBundleInForce", format!("{bundle}: nothing of it is left out.")),
        };
        // What becomes of a bundle is logged where it is found, in a cluster or not.
        Statement { reason, note, is_logged: self.bundle().is_some() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use serde_json::json;

    use super::super::scripted::scripted;
    use super::super::standing::Access;
    use super::*;
    use crate::policy::{KeyRef, Policy};
    use crate::probe::BundleStore;

    const POLICY: &str = "apiVersion: mirrorgate.dev/v1alpha1
kind: Policy
trust:
  registries: [a.corp]
  caBundles:
  - configMap: {namespace: kube-system, name: image-fetcher-ca-bundle, key: ca-bundle}
  - secret: {namespace: registry, name: registry-tls, key: ca.crt}
  - secret: {namespace: registry, name: registry-tls, key: old.crt}
";

    struct Watched {
        watches: BundleWatches,
        store: BundleStore,
        readiness: Arc<Readiness>,
        asked: Arc<Mutex<Vec<String>>>,
        policy: watch::Sender<Option<Arc<LoadedPolicy>>>,
    }

    /// Watches of an API server that lists these items of each object.
    fn watched(items: impl Fn(&str) -> serde_json::Value + Send + Sync + 'static) -> Watched {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let client = scripted(move |uri| {
            log.lock().unwrap().push(uri.to_owned());
            match uri.contains("watch=true") {
                false => (200, json!({"metadata": {"resourceVersion": "5"}, "items": items(uri)}).to_string()),
                true => (500, json!({"code": 500, "message": "etcd is gone"}).to_string()),
            }
        });
        let (metrics, readiness) = (Arc::new(Metrics::new()), Arc::new(Readiness::new(&[])));
        let store = BundleStore::new();
        let keeper = Arc::new(BundleKeeper::new(store.clone(), Arc::clone(&metrics), Arc::clone(&readiness)));
        let loaded = LoadedPolicy::new(Policy::read(POLICY).unwrap().policy, POLICY, 1);
        let (sender, receiver) = watch::channel(Some(Arc::new(loaded)));
        let mut watches =
            BundleWatches::new(client, "ns", "test".to_owned(), receiver, keeper, metrics, Arc::clone(&readiness));
        watches.follow();
        Watched { watches, store, readiness, asked, policy: sender }
    }

    fn config_map() -> BundleRef {
        let (namespace, name, key) = ("kube-system".into(), "image-fetcher-ca-bundle".into(), "ca-bundle".into());
        BundleRef::ConfigMap(KeyRef { namespace, name, key })
    }

    fn pem(name: &str) -> String {
        rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap().cert.pem()
    }

    impl Watched {
        fn place(&self) -> Place {
            Place::of([config_map()].iter()).pop_first().unwrap()
        }

        fn certificates(&self) -> Option<usize> {
            self.store.snapshot().get(&config_map()).map(|pool| pool.len())
        }

        fn told(&mut self, told: Told<Keys>) {
            let place = self.place();
            self.watches.take(&place, told);
        }

        fn changed(&mut self, key: &str, text: &str) {
            let found = Found::Bundle(Arc::new(crate::trust::Bundle::read(text.as_bytes())));
            self.told(Ok(Event::Apply([(key.to_owned(), found)].into())));
        }
    }

    /// S5: one watch for each object, in its namespace, by its name.
    #[tokio::test]
    async fn s5_each_object_is_asked_for_by_its_name_in_its_namespace() {
        let (ca, other) = (pem("a"), pem("b"));
        let mut watched = watched(move |uri| match uri.contains("/configmaps?") {
            true => {
                json!([{"metadata": {"name": "image-fetcher-ca-bundle"}, "data": {"ca-bundle": ca, "other": other}}])
            }
            false => json!([]),
        });
        let ready = async {
            while !watched.readiness.is_ready() {
                let (place, told) = watched.watches.watches.next().await;
                watched.watches.take(&place, told);
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ready).await.unwrap();
        assert_eq!(watched.certificates(), Some(1));
        let mut asked = watched.asked.lock().unwrap().clone();
        asked.retain(|uri| !uri.contains("watch=true"));
        asked.sort();
        assert_eq!(asked.len(), 2, "{asked:?}");
        let wanted = [
            "kube-system/configmaps?&fieldSelector=metadata.name%3Dimage-fetcher-ca-bundle&",
            "registry/secrets?&fieldSelector=metadata.name%3Dregistry-tls&",
        ];
        for (uri, wanted) in asked.iter().zip(wanted) {
            assert!(uri.starts_with(&format!("/api/v1/namespaces/{wanted}")), "{uri}");
        }
        let report = watched.readiness.report();
        assert!(report.contains("secret registry/registry-tls, key ca.crt: there is no such Secret; "), "{report}");
    }

    /// Whoever looks for those in files saw the policy in between, and the watches did not.
    #[tokio::test]
    async fn trap_21_what_the_keeper_has_forgotten_is_listed_again() {
        let ca = pem("a");
        let mut watched = watched(move |uri| match uri.contains("/configmaps?") {
            true => json!([{"metadata": {"name": "image-fetcher-ca-bundle"}, "data": {"ca-bundle": ca}}]),
            false => json!([]),
        });
        async fn until_read(watched: &mut Watched) {
            while watched.certificates() != Some(1) {
                let (place, told) = watched.watches.watches.next().await;
                watched.watches.take(&place, told);
            }
        }
        until_read(&mut watched).await;
        let source = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n";
        let without = LoadedPolicy::new(Policy::read(source).unwrap().policy, source, 2);
        assert!(watched.watches.keeper.follow(&without).is_empty() && watched.certificates().is_none());
        let again = LoadedPolicy::new(Policy::read(POLICY).unwrap().policy, POLICY, 3);
        watched.policy.send_replace(Some(Arc::new(again)));
        watched.watches.follow();
        tokio::time::timeout(Duration::from_secs(20), until_read(&mut watched)).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_gone_or_broken_keeps_the_last_good_one() {
        let mut watched = watched(|_| json!([]));
        watched.told(Ok(Event::Init));
        watched.told(Ok(Event::InitDone));
        assert_eq!(watched.certificates(), None);
        watched.changed("ca-bundle", &format!("{}{}", pem("a"), pem("b")));
        assert_eq!(watched.certificates(), Some(2));
        let words = "configMap kube-system/image-fetcher-ca-bundle, key ca-bundle: ";
        for (what, why) in [
            (Ok(Event::Delete(Keys::new())), "there is no such ConfigMap"),
            (Ok(Event::Apply(Keys::new())), "the ConfigMap has no such key"),
            (Ok(Event::Apply([("ca-bundle".to_owned(), Found::NotBase64)].into())), "it is not base64"),
            (Ok(Event::Apply([("ca-bundle".to_owned(), Found::TooLarge)].into())), "it has more than 1048576 bytes"),
        ] {
            watched.told(what);
            let report = watched.readiness.report();
            let said = format!("{words}{why}; its last good certificates stay in force (2)");
            assert!(report.contains(&said), "{report}");
            assert_eq!(watched.certificates(), Some(2));
        }
        watched.changed("ca-bundle", &pem("c"));
        assert_eq!(watched.certificates(), Some(1));
        assert!(!watched.readiness.report().contains(words), "{}", watched.readiness.report());
    }

    #[tokio::test]
    async fn s5_what_may_not_be_watched_stays_in_force_and_the_missing_role_is_named() {
        let mut watched = watched(|_| json!([]));
        watched.changed("ca-bundle", &pem("a"));
        watched.told(Err(Fault::Forbidden("configmaps is forbidden".to_owned())));
        let report = watched.readiness.report();
        let rule = "forbidden: a Role must allow list and watch of configmaps with resourceNames \
                    [image-fetcher-ca-bundle] in kube-system; `mirrorgate rbac --policy FILE` prints it";
        assert!(report.contains(rule), "{report}");
        assert_eq!(watched.certificates(), Some(1));
        let said = About::Access.statement(watched.watches.standings.forbidden().as_deref());
        assert!(said.reason == "CaBundlesForbidden" && said.note.contains(rule), "{said:?}");
    }

    #[test]
    fn s5_the_missing_rules_are_named_by_namespace() {
        let policy = Policy::read(POLICY).unwrap().policy;
        let places = Place::of(policy.bundles());
        assert_eq!(places.len(), 2, "two keys of one object are one watch");
        let words = "configmaps with resourceNames [image-fetcher-ca-bundle] in kube-system, and of \
                     secrets with resourceNames [registry-tls] in registry";
        assert_eq!(Place::words(places.iter()).as_deref(), Some(words));
    }
}
