//! The policy ConfigMap: read live, the last good one kept (trap 28).
//!
//! One task watches the one object by name, and is the only writer of the policy in force. A broken edit, a deleted
//! ConfigMap and an API server that is away leave the policy as it is; log, metric, `/readyz` and an Event say so.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use kube::api::Api;
use kube::runtime::watcher::Event;
use kube::{Client, Resource};
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::background;
use crate::policy::LoadedPolicy;
use crate::telemetry::{Metrics, Readiness};

use super::events::{Events, Severity};
use super::watching::{Fault, Pauses, Watch};

/// The name of the ConfigMap, in mirrorgate's own namespace.
pub const POLICY_CONFIG_MAP: &str = "mirrorgate-policy";

/// The key of the policy document in it.
pub const POLICY_KEY: &str = "policy.yaml";

/// The part of `/readyz`, and the label of `mirrorgate_watch_up`.
const PART: &str = "policy";
const RESOURCE: &str = "configmaps";

/// What `/readyz` remarks on: the newest document, and whether we would see a newer one. Either can be mended while the
/// other is not.
const DOCUMENT: &str = "document";
const WATCH: &str = "watch";

/// An outage shorter than this gets no Event when it is over: API servers close watches now and then.
const OUTAGE_WORTH_AN_EVENT: Duration = Duration::from_secs(5);

/// Short, for one small list: an edit is in force within a second of the API server's return.
const PAUSES: Pauses = Pauses { first: Duration::from_millis(500), longest: Duration::from_millis(500) };

/// The watch of the policy ConfigMap.
pub struct PolicyWatch {
    api: Api<ConfigMap>,
    namespace: String,
    events: Events,
    sender: watch::Sender<Option<Arc<LoadedPolicy>>>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    /// What was last said of the ConfigMap, so that nothing is said twice.
    last: Last,
    /// When the watch broke, while it is not up again.
    down_since: Option<Instant>,
}

#[derive(PartialEq, Eq)]
enum Last {
    Nothing,
    Absent,
    /// The source as it was read, good or bad; `None` where the key is absent.
    Source(Option<String>),
}

impl PolicyWatch {
    /// `namespace` is mirrorgate's own; `instance` names this replica in Events.
    pub fn new(
        client: Client,
        namespace: &str,
        instance: String,
        sender: watch::Sender<Option<Arc<LoadedPolicy>>>,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
    ) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            namespace: namespace.to_owned(),
            events: Events::new(client, namespace, instance, "ReadPolicy"),
            sender,
            metrics,
            readiness,
            last: Last::Nothing,
            down_since: None,
        }
    }

    /// Watches for as long as the process lives.
    pub async fn run(mut self) -> Infallible {
        let mut watch = Watch::new(self.api.clone(), &format!("metadata.name={POLICY_CONFIG_MAP}"), 1, PAUSES);
        let mut listed = None;
        loop {
            match watch.next().await {
                Ok(Event::Init) => listed = None,
                Ok(Event::InitApply(config_map)) => listed = Some(config_map),
                Ok(Event::InitDone) => self.listed(listed.take()).await,
                Ok(Event::Apply(config_map)) => self.apply(&config_map).await,
                Ok(Event::Delete(_)) => self.absent().await,
                Err(fault) => self.down(&fault),
            }
        }
    }

    /// The watch is up, and this is what is there.
    async fn listed(&mut self, config_map: Option<ConfigMap>) {
        self.metrics.watch_up(RESOURCE, true);
        self.readiness.remark(PART, WATCH, None);
        if let Some(since) = self.down_since.take() {
            self.up(since.elapsed()).await;
        }
        match config_map {
            Some(config_map) => self.apply(&config_map).await,
            None => self.absent().await,
        }
    }

    fn down(&mut self, fault: &Fault) {
        let fault = match fault {
            Fault::Forbidden(message) => format!(
                "forbidden: a Role in {} must allow list and watch of configmaps with resourceNames [{POLICY_CONFIG_MAP}] ({message})",
                self.namespace
            ),
            Fault::Other(words) => words.clone(),
        };
        let kept = if self.has_policy() { "; the last good policy stays in force" } else { "" };
        self.readiness.remark(PART, WATCH, Some(format!("the ConfigMap cannot be watched: {fault}{kept}")));
        if self.down_since.is_none() {
            self.down_since = Some(Instant::now());
            self.metrics.watch_up(RESOURCE, false);
            warn!(error = fault, "the policy ConfigMap cannot be watched{kept}");
        } else {
            debug!(error = fault, "the policy ConfigMap still cannot be watched");
        }
    }

    async fn up(&self, outage: Duration) {
        let seconds = outage.as_secs();
        info!(seconds, "the API server answers again; the policy ConfigMap is watched anew");
        if outage >= OUTAGE_WORTH_AN_EVENT && self.has_policy() {
            let note = format!("The API server was away for {seconds} s; the last good policy stayed in force.");
            self.events.write(self.reference(None), Severity::Normal, "PolicyWatchRestored", &note).await;
        }
    }

    /// The ConfigMap is there, new or edited.
    async fn apply(&mut self, config_map: &ConfigMap) {
        let source = config_map.data.as_ref().and_then(|data| data.get(POLICY_KEY));
        let now = Last::Source(source.cloned());
        if self.last == now {
            return;
        }
        self.last = now;
        let Some(source) = source else {
            let note = format!("The ConfigMap has no key {POLICY_KEY}; put the policy document there.");
            return self.refuse(Some(config_map), "PolicyInvalid", 1, note).await;
        };
        let generation = self.sender.borrow().as_ref().map_or(0, |loaded| loaded.generation) + 1;
        let source = source.clone();
        match background::run(move || LoadedPolicy::read(&source, generation)).await {
            Ok((loaded, warnings)) => {
                let sha256 = loaded.sha256.clone();
                let mirrors = loaded.policy.mirrors().count();
                self.sender.send_replace(Some(Arc::new(loaded)));
                self.metrics.policy_loaded(generation, &sha256);
                self.readiness.set(PART, Ok(()));
                self.readiness.remark(PART, DOCUMENT, None);
                info!(generation, sha256, mirrors, "policy in force");
                for warning in &warnings {
                    warn!(fault = %warning, "policy");
                }
                let note = std::iter::once(format!("Policy {} is in force.", &sha256[..12]))
                    .chain(warnings.iter().map(ToString::to_string))
                    .collect::<Vec<_>>()
                    .join("\n");
                self.events.write(self.reference(Some(config_map)), Severity::Normal, "PolicyLoaded", &note).await;
            }
            Err(faults) => {
                let note = faults.to_string();
                self.refuse(Some(config_map), "PolicyInvalid", faults.0.len(), note).await;
            }
        }
    }

    /// The ConfigMap is not there.
    async fn absent(&mut self) {
        if self.last == Last::Absent {
            return;
        }
        self.last = Last::Absent;
        let note = format!("There is no ConfigMap {POLICY_CONFIG_MAP} in {}.", self.namespace);
        self.refuse(None, "PolicyMissing", 1, note).await;
    }

    /// What is there cannot be obeyed: says so everywhere, and changes nothing.
    async fn refuse(&self, config_map: Option<&ConfigMap>, reason: &str, faults: usize, note: String) {
        self.metrics.policy_errors(faults);
        let note = if self.has_policy() {
            self.readiness.remark(PART, DOCUMENT, Some(format!("the last good policy stays in force: {note}")));
            format!("The last good policy stays in force. {note}")
        } else {
            self.readiness.set(PART, Err(note.clone()));
            note
        };
        error!(reason, faults, "policy not in force: {note}");
        self.events.write(self.reference(config_map), Severity::Warning, reason, &note).await;
    }

    fn has_policy(&self) -> bool {
        self.sender.borrow().is_some()
    }

    fn reference(&self, config_map: Option<&ConfigMap>) -> ObjectReference {
        reference(config_map, &self.namespace)
    }
}

/// What an Event on the policy is about; without the object, the name under which it is expected.
pub(super) fn reference(config_map: Option<&ConfigMap>, namespace: &str) -> ObjectReference {
    config_map.map_or_else(
        || ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("ConfigMap".to_owned()),
            name: Some(POLICY_CONFIG_MAP.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectReference::default()
        },
        |config_map| config_map.object_ref(&()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKEN: &str = "kind: Policy\nregistryMirrors: 5\n";
    const GOOD: &str = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n";

    /// A watch whose Events reach nobody.
    fn watch() -> (PolicyWatch, Arc<Readiness>) {
        // Fails in all but the first call.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let nowhere = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
        let client = Client::try_from(nowhere).unwrap();
        let readiness = Arc::new(Readiness::new(&[PART]));
        let (sender, _) = watch::channel(None);
        let metrics = Arc::new(Metrics::new());
        (PolicyWatch::new(client, "ns", "test".to_owned(), sender, metrics, Arc::clone(&readiness)), readiness)
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the watch lists it")]
    fn config_map(source: &str) -> Option<ConfigMap> {
        let data = [(POLICY_KEY.to_owned(), source.to_owned())].into();
        Some(ConfigMap { data: Some(data), ..ConfigMap::default() })
    }

    /// Trap 28: what is wrong with the newest document is said until it is mended, whatever the watch does.
    #[tokio::test]
    async fn trap_28_a_watch_that_comes_back_leaves_the_fault_of_the_document_said() {
        for (newest, words) in [(config_map(BROKEN), "stays in force: "), (None, "There is no ConfigMap")] {
            let (mut watch, readiness) = watch();
            watch.listed(config_map(GOOD)).await;
            assert_eq!(readiness.report(), "[+] policy\nready\n");
            watch.listed(newest.clone()).await;
            let report = readiness.report();
            assert!(report.starts_with("[+] policy (the last good policy") && report.contains(words), "{report}");
            watch.down(&Fault::Other("refused".to_owned()));
            let down = readiness.report();
            assert!(down.contains(words) && down.contains("cannot be watched: refused"), "{down}");
            watch.listed(newest).await;
            assert_eq!(readiness.report(), report);
            watch.listed(config_map(GOOD)).await;
            assert_eq!(readiness.report(), "[+] policy\nready\n");
        }
    }

    #[tokio::test]
    async fn trap_28_before_a_first_policy_the_fault_of_the_watch_ends_with_it() {
        let (mut watch, readiness) = watch();
        watch.down(&Fault::Other("refused".to_owned()));
        assert_eq!(
            readiness.report(),
            "[-] policy: not there yet (the ConfigMap cannot be watched: refused)\nnot ready\n"
        );
        watch.listed(None).await;
        let report = readiness.report();
        assert!(report.starts_with("[-] policy: There is no ConfigMap mirrorgate-policy in ns.\n"), "{report}");
        watch.down(&Fault::Other("refused".to_owned()));
        watch.listed(None).await;
        assert_eq!(readiness.report(), report);
    }
}
