//! The pull secrets of all namespaces, as far as the policy needs them (S5): one watch for each name in it, and one of
//! all docker configs only where names are made for namespaces or discovered.
//!
//! What an API server that is away leaves behind is the last state. What we may no longer watch is not known any more:
//! it could change unseen. Not here: what a secret covers (`keyring`), and what follows from it (`review`).

mod second_look;
mod store;
mod watched;

use std::collections::BTreeSet;
use std::convert::{Infallible, identity};
use std::sync::Arc;

use kube::Client;
use kube::api::Api;
use kube::runtime::watcher::Event;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::keyring::PullSecret;
use crate::policy::LoadedPolicy;
use crate::telemetry::{Metrics, Readiness};

use super::announcer::{Announcer, Statement, Topic};
use super::standing::{Shown, Standings};
use super::watches::{PAUSES, Watches, another};
use super::watching::{Fault, Told, Watch};
pub use second_look::SecondLook;
pub use store::SecretStore;
pub(super) use store::Selection;
use store::{Seen, Writer};
use watched::WatchedSecret;

/// The part of `/readyz`, and the label of `mirrorgate_watch_up`.
const PART: &str = "pull-secrets";
const RESOURCE: &str = "secrets";

/// So many malformed secrets of one list are named in the log.
const MOST_NAMED: usize = 20;

/// The watches of the pull secrets that the policy in force names.
pub struct SecretWatches {
    api: Api<WatchedSecret>,
    policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
    writer: Writer,
    watches: Watches<Selection, WatchedSecret, Vec<Seen>>,
    standings: Standings<Selection>,
    /// Whether each watch of some policy was answered: from then on we serve.
    ready: bool,
    shown: Shown,
    announcer: Announcer<MayWatch>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
}

impl SecretWatches {
    /// `namespace` is mirrorgate's own, where the policy is; `instance` names this replica in Events. The store has no
    /// other writer.
    pub fn new(
        client: Client,
        namespace: &str,
        instance: String,
        policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
        store: Arc<SecretStore>,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
    ) -> Self {
        readiness.set(PART, Err("which are needed is not known yet".to_owned()));
        Self {
            api: Api::all(client.clone()),
            policy,
            writer: Writer::new(store),
            watches: Watches::new(),
            standings: Standings::default(),
            ready: false,
            shown: Shown {
                part: PART,
                resource: RESOURCE,
                what: "pull secrets",
                down: false,
                metrics: Arc::clone(&metrics),
                readiness: Arc::clone(&readiness),
            },
            announcer: Announcer::new(client, namespace, instance, "WatchSecrets"),
            metrics,
            readiness,
        }
    }

    /// Watches what the policy in force needs, for as long as the process lives.
    pub async fn run(mut self) -> Infallible {
        self.follow();
        loop {
            tokio::select! {
                () = another(&mut self.policy) => self.follow(),
                (selection, told) = self.watches.next() => self.take(&selection, told),
                () = self.announcer.say() => {}
            }
        }
    }

    /// Starts and stops watches, so that they are those of the policy in force.
    fn follow(&mut self) {
        let Some(loaded) = self.policy.borrow_and_update().clone() else { return };
        let names = loaded.policy.secret_names().map(|name| Selection::Named(name.into()));
        let all = loaded.policy.needs_all_docker_configs().then_some(Selection::DockerConfigs);
        let wanted: BTreeSet<Selection> = names.chain(all).collect();
        let stopped = self.watches.keep(&wanted);
        // What a watch of its own had is the wide one's now, which has passed it over so far.
        if stopped.iter().any(|selection| matches!(selection, Selection::Named(_)))
            && self.watches.stop(&Selection::DockerConfigs)
        {
            self.writer.forget(&Selection::DockerConfigs);
        }
        self.writer.look_for(&wanted);
        self.standings.keep(&wanted);
        for selection in wanted {
            if !self.watches.is_running(&selection) {
                let watch = Watch::new(self.api.clone(), &selection.fields(), selection.page(), PAUSES);
                self.watches.start(selection, watch, identity);
            }
        }
        self.tell();
    }

    /// Takes in what a watch saw.
    fn take(&mut self, selection: &Selection, told: Told<WatchedSecret>) {
        if matches!(told, Ok(Event::InitApply(_) | Event::Apply(_) | Event::Delete(_))) {
            self.metrics.watch_object(RESOURCE);
        }
        match told {
            Ok(Event::Init) => {}
            Ok(Event::InitApply(secret)) => {
                if let Some(listing) = self.watches.listing(selection) {
                    listing.push(self.writer.seen(secret));
                }
            }
            Ok(Event::InitDone) => {
                let listed = self.watches.listing(selection).map(std::mem::take).unwrap_or_default();
                debug!(?selection, secrets = listed.len(), "listed");
                self.warn_of_malformed(&listed);
                self.writer.list(selection, listed);
                self.standings.set(selection, None);
                self.tell();
            }
            Ok(Event::Apply(secret)) => {
                let seen = self.writer.seen(secret);
                self.warn_of_malformed(std::slice::from_ref(&seen));
                self.writer.set(selection, seen);
            }
            Ok(Event::Delete(secret)) => {
                let (namespace, name) = secret.place();
                self.writer.remove(selection, namespace, name);
            }
            Err(fault) => {
                debug!(?selection, ?fault, "the watch broke");
                if matches!(fault, Fault::Forbidden(_)) {
                    self.writer.forget(selection);
                }
                self.standings.set(selection, Some(fault));
                self.tell();
            }
        }
    }
}

impl SecretWatches {
    /// Says how the watches stand, wherever it is shown.
    fn tell(&mut self) {
        self.shown.update(&self.standings);
        if !self.ready {
            let answered = self.standings.answered();
            self.ready = answered.is_ok();
            self.readiness.set(PART, answered);
        }
        self.announcer.set(MayWatch, self.standings.forbidden());
    }

    /// A secret that cannot be read is one warning, when it is first seen so.
    fn warn_of_malformed(&self, seen: &[Seen]) {
        let news = seen.iter().filter_map(|seen| match &*seen.secret {
            PullSecret::Malformed(fault) if !self.writer.knows(seen) => Some((seen, fault)),
            _ => None,
        });
        for (Seen { namespace, name, .. }, fault) in news.clone().take(MOST_NAMED) {
            warn!(%namespace, secret = %name, %fault, "a pull secret is malformed");
        }
        let more = news.count().saturating_sub(MOST_NAMED);
        if more > 0 {
            warn!("{more} more pull secrets are malformed");
        }
    }
}

/// That we may watch them; said in the log and in an Event.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct MayWatch;

impl Topic for MayWatch {
    fn statement(&self, wrong: Option<&str>) -> Statement {
        let (reason, note) = match wrong {
            Some(forbidden) => {
                ("PullSecretsForbidden", format!("Pull secrets: {forbidden}. Until then nothing is known of them."))
            }
            None => ("PullSecretsAllowed", "The pull secrets that the policy names can be watched.".to_owned()),
        };
        Statement { reason, note, is_logged: false }
    }
}
