//! The pull secrets of all namespaces, as far as the policy needs them (S5): one watch for each name in it, and one of
//! all docker configs only where names are made for namespaces or discovered.
//!
//! What an API server that is away leaves behind is the last state. What we may no longer watch is not known any more:
//! it could change unseen. Not here: what a secret covers (`keyring`), and what follows from it (`review`).

mod second_look;
mod standing;
mod store;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, AbortHandle, BoxStream, SelectAll, abortable};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;
use kube::runtime::watcher::Event;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::keyring::PullSecret;
use crate::policy::LoadedPolicy;
use crate::telemetry::{Metrics, Readiness};

use super::events::{Events, Severity};
use super::policy::{POLICY_CONFIG_MAP, reference};
use super::watching::{Fault, Pauses, Told, Watch};
pub use second_look::SecondLook;
use standing::Standings;
pub use store::SecretStore;
use store::{Seen, Selection, Writer};
use watched::WatchedSecret;

/// The part of `/readyz`, and the label of `mirrorgate_watch_up`.
const PART: &str = "pull-secrets";
const RESOURCE: &str = "secrets";

/// What `/readyz` remarks on: what we may not watch, and whether we would see a change of the rest.
const FORBIDDEN: &str = "forbidden";
const WATCH: &str = "watch";

/// Between the attempts to watch what could not be watched: what is allowed again, or back, is known within seconds.
const PAUSES: Pauses = Pauses { first: Duration::from_millis(500), longest: Duration::from_secs(3) };

/// An API server that has just started refuses what it does not know yet to be allowed. A refusal counts once it has
/// stood this long.
const REFUSAL_STANDS: Duration = Duration::from_secs(5);

/// Refusals of several watches are told in one breath.
const BREATH: Duration = Duration::from_secs(1);

/// So many malformed secrets of one list are named in the log.
const MOST_NAMED: usize = 20;

/// The watches of the pull secrets that the policy in force names.
pub struct SecretWatches {
    api: Api<WatchedSecret>,
    policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
    writer: Writer,
    running: BTreeMap<Selection, Running>,
    seen: SelectAll<BoxStream<'static, (Selection, Told<WatchedSecret>)>>,
    standings: Standings,
    /// Whether each watch of some policy was answered: from then on we serve.
    ready: bool,
    /// Whether it was said that a watch broke.
    down: bool,
    report: Report,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
}

/// A watch that runs.
struct Running {
    stop: AbortHandle,
    /// The list that is being read.
    listing: Vec<Seen>,
    /// Since when we are refused.
    refused: Option<Instant>,
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
            running: BTreeMap::new(),
            seen: SelectAll::new(),
            standings: Standings::default(),
            ready: false,
            down: false,
            report: Report::new(client, namespace, instance),
            metrics,
            readiness,
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
                Some((selection, event)) = self.seen.next() => self.take(&selection, event),
                () = self.report.say() => {}
            }
        }
    }

    /// Starts and stops watches, so that they are those of the policy in force.
    fn follow(&mut self) {
        let Some(loaded) = self.policy.borrow_and_update().clone() else { return };
        let names = loaded.policy.secret_names().map(|name| Selection::Named(name.into()));
        let all = loaded.policy.needs_all_docker_configs().then_some(Selection::DockerConfigs);
        let wanted: BTreeSet<Selection> = names.chain(all).collect();
        let stopped: Vec<Selection> = self
            .running
            .extract_if(.., |selection, _| !wanted.contains(selection))
            .map(|(selection, running)| {
                running.stop.abort();
                selection
            })
            .collect();
        // What a watch of its own had is the wide one's now, which has passed it over so far.
        if stopped.iter().any(|selection| matches!(selection, Selection::Named(_)))
            && let Some(wide) = self.running.remove(&Selection::DockerConfigs)
        {
            wide.stop.abort();
            self.writer.forget(&Selection::DockerConfigs);
        }
        self.writer.look_for(&wanted);
        self.standings.keep(&wanted);
        for selection in wanted {
            if !self.running.contains_key(&selection) {
                self.start(selection);
            }
        }
        self.tell();
    }

    fn start(&mut self, selection: Selection) {
        debug!(?selection, "watching");
        let watch = Watch::new(self.api.clone(), &selection.fields(), selection.page(), PAUSES);
        let of = selection.clone();
        let events = stream::unfold(watch, move |mut watch| {
            let of = of.clone();
            async move { Some(((of, watch.next().await), watch)) }
        });
        let (events, stop) = abortable(events);
        self.seen.push(events.boxed());
        self.running.insert(selection, Running { stop, listing: Vec::new(), refused: None });
    }

    /// Takes in what a watch saw.
    fn take(&mut self, selection: &Selection, event: Told<WatchedSecret>) {
        let Some(running) = self.running.get_mut(selection) else { return };
        if matches!(event, Ok(Event::InitApply(_) | Event::Apply(_) | Event::Delete(_))) {
            self.metrics.watch_object(RESOURCE);
        }
        match event {
            Ok(Event::Init) => running.listing.clear(),
            Ok(Event::InitApply(secret)) => running.listing.push(self.writer.seen(secret)),
            Ok(Event::InitDone) => {
                running.refused = None;
                let listed = std::mem::take(&mut running.listing);
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
                running.listing = Vec::new();
                let fault = match fault {
                    Fault::Forbidden(message) => {
                        let since = *running.refused.get_or_insert_with(Instant::now);
                        match since.elapsed() < REFUSAL_STANDS {
                            true => Fault::Other(message),
                            false => Fault::Forbidden(message),
                        }
                    }
                    other => {
                        running.refused = None;
                        other
                    }
                };
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
        self.metrics.watch_up(RESOURCE, self.standings.all_up());
        if !self.ready {
            let answered = self.standings.answered();
            self.ready = answered.is_ok();
            self.readiness.set(PART, answered);
        }
        let down = self.standings.down();
        if let Some(error) = down.filter(|_| !self.down) {
            warn!(error, "the pull secrets cannot be watched; what was last seen of them stays in force");
        } else if self.down && down.is_none() {
            info!("the pull secrets are watched again");
        }
        self.down = down.is_some();
        let remark = down.map(|fault| format!("cannot be watched: {fault}; what was last seen of them stays in force"));
        self.readiness.remark(PART, WATCH, remark);
        let forbidden = self.standings.forbidden();
        self.readiness.remark(PART, FORBIDDEN, forbidden.clone());
        self.report.forbidden(forbidden);
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

/// Tells of the rules that are missing, in the log and in an Event on the policy.
struct Report {
    events: Arc<Events>,
    policy: Api<ConfigMap>,
    namespace: String,
    /// What is forbidden, and what of that was said last.
    forbidden: Option<String>,
    said: Option<String>,
    due: Option<Instant>,
    /// The Event that is being written: no watch waits for it.
    writing: Option<BoxFuture<'static, ()>>,
}

impl Report {
    fn new(client: Client, namespace: &str, instance: String) -> Self {
        Self {
            events: Arc::new(Events::new(client.clone(), namespace, instance, "WatchSecrets")),
            policy: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            forbidden: None,
            said: None,
            due: None,
            writing: None,
        }
    }

    fn forbidden(&mut self, forbidden: Option<String>) {
        if forbidden != self.forbidden {
            self.forbidden = forbidden;
            self.due.get_or_insert_with(|| Instant::now() + BREATH);
        }
    }

    /// Says what is due; waits where nothing is. It may be dropped and called again at any time.
    async fn say(&mut self) {
        if let Some(writing) = &mut self.writing {
            writing.await;
            self.writing = None;
            return;
        }
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => pending().await,
        }
        self.due = None;
        if self.said == self.forbidden {
            return;
        }
        self.said.clone_from(&self.forbidden);
        let (severity, reason, note) = match &self.forbidden {
            Some(words) => {
                let note = format!("{words}. Until then nothing is known of them.");
                warn!("pull secrets: {note}");
                (Severity::Warning, "PullSecretsForbidden", note)
            }
            None => {
                let note = "The pull secrets that the policy names can be watched.".to_owned();
                info!("{note}");
                (Severity::Normal, "PullSecretsAllowed", note)
            }
        };
        let (events, policy, namespace) = (Arc::clone(&self.events), self.policy.clone(), self.namespace.clone());
        self.writing = Some(Box::pin(async move {
            // `kubectl describe` shows the Events that carry the object's uid.
            let config_map = policy.get_opt(POLICY_CONFIG_MAP).await.ok().flatten();
            events.write(reference(config_map.as_ref(), &namespace), severity, reason, &note).await;
        }));
    }
}
