//! The CA bundles that the policy names in ConfigMaps and Secrets: one watch for each object, by its name in its namespace.
//!
//! What is gone, empty, forbidden, or behind an API server that is away stays in force as it was last good. Not here:
//! bundles in files and what becomes of a bundle (`probe`), and what a certificate is worth (`trust`).

mod place;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::pending;
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
use super::watches::{PAUSES, Watches};
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
                changed = self.policy.changed() => match changed {
                    Ok(()) => self.follow(),
                    // Whoever wrote the policy has ended, and with it the process ends.
                    Err(_) => pending().await,
                },
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
        self.keeper.follow(&loaded);
        let bundles: BTreeSet<&BundleRef> = loaded.policy.bundles().collect();
        self.announcer.retain(|about| about.bundle().is_none_or(|bundle| bundles.contains(bundle)));
        let wanted = Place::of(loaded.policy.bundles());
        self.watches.keep(&wanted);
        self.standings.keep(&wanted);
        for place in wanted {
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
