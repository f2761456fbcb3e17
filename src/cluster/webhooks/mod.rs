//! Whom the API server trusts when it calls us: `caBundle` of every webhook is exactly `ca.crt` of the Secret.
//!
//! Both configurations are watched, and what somebody's re-apply takes away is put back as soon as the watch tells. What is
//! right is the Secret's to say, and a replica that overwrites another bundle has asked it just before: replicas that are
//! behind, and those of another version, write nothing (trap 24).

mod mend;
mod watched;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Request;
use hyper::header::CONTENT_TYPE;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::runtime::watcher::Event;
use kube::{Api, Client, Resource};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info};

use crate::image::Escaped;
use crate::telemetry::{Metrics, Readiness};
use crate::trust::Bundle;

use super::announcer::{Announcer, Statement, Topic};
use super::serving::{SERVING_SECRET, WatchedServing};
use super::standing::{Access, Shown, Standings, with_names};
use super::watched::Watched;
use super::watches::Watches;
use super::watching::{Fault, Pauses, Told, Watch, in_time};
use mend::patch;
use watched::Webhooks;

/// The name of both configurations.
pub const WEBHOOKS: &str = "mirrorgate";

/// The part of `/readyz`, and the label of `mirrorgate_watch_up`.
const READINESS: &str = "webhooks";

/// What `/readyz` remarks on.
const CA_BUNDLE: &str = "caBundle";

/// Short: while a bundle is wrong, pods are refused.
const PAUSES: Pauses = Pauses { first: Duration::from_millis(250), longest: Duration::from_secs(1) };
/// So many writes are refused without news from the watch before that is told of.
const MOST_UNHEARD: u32 = 3;
/// Of what the API server answers, in characters.
const MOST_ANSWER: usize = 400;
/// After one that failed; it is tried at once when the configuration changes.
const AGAIN: Duration = Duration::from_secs(1);
/// Without a Secret that tells whose is right, a bundle that stays as it is for so long is nobody's.
const NOBODYS: Duration = Duration::from_secs(10);
/// Who writes a bundle more often than that within such a time writes against somebody, and waits as long.
const MOST_WRITES: usize = 20;
const WRITES_WITHIN: Duration = Duration::from_secs(10);

type WatchedMutating = Watched<MutatingWebhookConfiguration, Webhooks>;
type WatchedValidating = Watched<ValidatingWebhookConfiguration, Webhooks>;

/// Which configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Mutating,
    Validating,
}

/// What all webhooks trust, where they all trust the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusting {
    /// PEM, and since when. Configurations that are not there call nobody.
    pub bundle: Option<(Arc<[u8]>, Instant)>,
    /// Whether any of them trusts anybody, once that is known.
    pub anybody: Option<bool>,
    /// Which of them do not trust what they are to trust.
    pub wrong: Option<String>,
}

/// The watches of the configurations, and what is done about them.
pub struct WebhookWatches {
    client: Client,
    secrets: Api<WatchedServing>,
    /// PEM: what the webhooks are to trust.
    wanted: watch::Receiver<Option<Arc<[u8]>>>,
    trusting: watch::Sender<Trusting>,
    watches: Watches<Kind, Webhooks, Option<Webhooks>>,
    standings: Standings<Kind>,
    shown: Shown,
    /// What was last seen; `None` where there is no such configuration, nothing at all where that is not known.
    seen: BTreeMap<Kind, Option<Webhooks>>,
    /// When a bundle that could not be mended is tried again.
    again: Option<Instant>,
    /// Writes in a row that were refused as if the configuration had changed, without a word of that from the watch.
    unheard: u32,
    /// Since when one is wrong that may be right.
    doubted: Option<Instant>,
    /// When bundles were written lately, the newest last.
    writes: VecDeque<Instant>,
    announcer: Announcer<CannotWrite>,
    readiness: Arc<Readiness>,
}

impl WebhookWatches {
    /// `namespace` is mirrorgate's own, `instance` names this replica in Events. `wanted` is what the webhooks are to trust,
    /// in PEM, once that is known.
    pub fn new(
        client: Client,
        namespace: &str,
        instance: String,
        wanted: watch::Receiver<Option<Arc<[u8]>>>,
        trusting: watch::Sender<Trusting>,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
    ) -> Self {
        readiness.set(READINESS, Err("no CA to be trusted yet".to_owned()));
        let shown = Shown {
            part: READINESS,
            resource: READINESS,
            what: "webhook configurations",
            down: false,
            metrics,
            readiness: Arc::clone(&readiness),
        };
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            announcer: Announcer::new(client.clone(), namespace, instance, "WriteCaBundle"),
            client,
            wanted,
            trusting,
            watches: Watches::new(),
            standings: Standings::default(),
            shown,
            seen: BTreeMap::new(),
            again: None,
            unheard: 0,
            doubted: None,
            writes: VecDeque::new(),
            readiness,
        }
    }

    /// Watches for as long as the process lives.
    pub async fn run(mut self) -> Infallible {
        let fields = format!("metadata.name={WEBHOOKS}");
        let watch = Watch::<WatchedMutating>::new(Api::all(self.client.clone()), &fields, 1, PAUSES);
        self.watches.start(Kind::Mutating, watch, |configuration| configuration.content);
        let watch = Watch::<WatchedValidating>::new(Api::all(self.client.clone()), &fields, 1, PAUSES);
        self.watches.start(Kind::Validating, watch, |configuration| configuration.content);
        self.standings.keep(&BTreeSet::from([Kind::Mutating, Kind::Validating]));
        self.shown.update(&self.standings);
        loop {
            let again = self.again;
            tokio::select! {
                (kind, told) = self.watches.next() => self.take(kind, told),
                changed = self.wanted.changed() => if changed.is_err() { pending().await },
                () = until(again) => {}
                () = self.announcer.say() => continue,
            }
            self.mend().await;
            self.tell();
        }
    }

    fn take(&mut self, kind: Kind, told: Told<Webhooks>) {
        self.unheard = 0;
        match told {
            Ok(Event::Init) => {}
            Ok(Event::InitApply(webhooks)) => {
                if let Some(listing) = self.watches.listing(&kind) {
                    *listing = Some(webhooks);
                }
            }
            Ok(Event::InitDone) => {
                let listed = self.watches.listing(&kind).and_then(Option::take);
                self.seen.insert(kind, listed);
                self.standing(kind, None);
            }
            Ok(Event::Apply(webhooks)) => drop(self.seen.insert(kind, Some(webhooks))),
            Ok(Event::Delete(_)) => drop(self.seen.insert(kind, None)),
            Err(fault) => {
                // What we no longer see may be something else by now.
                self.seen.remove(&kind);
                self.standing(kind, Some(fault));
            }
        }
    }

    fn standing(&mut self, kind: Kind, fault: Option<Fault>) {
        self.standings.set(&kind, fault);
        self.shown.update(&self.standings);
    }

    /// Writes what is not as it should be.
    async fn mend(&mut self) {
        self.again = None;
        let Some(wanted) = self.wanted.borrow_and_update().clone() else { return };
        let bundle = STANDARD.encode(&wanted);
        let mut is_doubted = false;
        for kind in [Kind::Mutating, Kind::Validating] {
            let Some(Some(webhooks)) = self.seen.get(&kind) else { continue };
            let operations = patch(webhooks, &bundle);
            if operations.is_empty() {
                self.announcer.set(CannotWrite(kind), None);
                continue;
            }
            let is_other = |there: &str| !there.is_empty() && there != bundle;
            if webhooks.0.iter().any(|webhook| is_other(webhook.ca_bundle())) {
                let is_right = is_the_secrets(&self.secrets, &wanted).await;
                let since = *self.doubted.get_or_insert_with(Instant::now);
                if !is_right.unwrap_or_else(|| since.elapsed() > NOBODYS) {
                    debug!(configuration = kind.as_str(), "its caBundle is not ours to write: the Secret has changed");
                    is_doubted = true;
                    self.again = Some(Instant::now() + AGAIN);
                    continue;
                }
            }
            if let Some(later) = self.writes_too_often() {
                let why = "somebody else writes it, too, again and again; is it cert-manager's CA injector?";
                self.announcer.set(CannotWrite(kind), Some(why.to_owned()));
                self.again = Some(later);
                continue;
            }
            match write(&self.client, kind, operations).await {
                Ok(webhooks) => {
                    info!(configuration = kind.as_str(), "caBundle written");
                    self.seen.insert(kind, Some(webhooks));
                    self.announcer.set(CannotWrite(kind), None);
                }
                Err(NotWritten::Changed(answer)) => {
                    debug!(configuration = kind.as_str(), answer, "it has changed meanwhile");
                    self.again = Some(Instant::now() + AGAIN);
                    // A failed `test` and a refusal by an admission policy look alike, but the watch tells of the first.
                    self.unheard += 1;
                    if self.unheard >= MOST_UNHEARD {
                        self.announcer.set(CannotWrite(kind), Some(answer));
                    }
                }
                Err(NotWritten::Fault(fault)) => {
                    debug!(configuration = kind.as_str(), %fault, "caBundle not written");
                    self.again = Some(Instant::now() + AGAIN);
                    self.announcer.set(CannotWrite(kind), Some(fault.to_string()));
                }
            }
        }
        if !is_doubted {
            self.doubted = None;
        }
    }

    /// Until when nothing is to be written, where it was too much; else it is taken down that something is.
    fn writes_too_often(&mut self) -> Option<Instant> {
        let now = Instant::now();
        while self.writes.front().is_some_and(|write| now.duration_since(*write) > WRITES_WITHIN) {
            self.writes.pop_front();
        }
        if self.writes.len() >= MOST_WRITES {
            return self.writes.back().map(|newest| *newest + WRITES_WITHIN);
        }
        self.writes.push_back(now);
        None
    }

    /// Says how it stands.
    fn tell(&mut self) {
        let known = self.seen.len() == [Kind::Mutating, Kind::Validating].len();
        let mut webhooks = self.seen.values().flatten().flat_map(|webhooks| &webhooks.0);
        let anybody = known.then(|| webhooks.any(|webhook| !webhook.ca_bundle().is_empty()));
        self.trusting.send_if_modified(|trusting| std::mem::replace(&mut trusting.anybody, anybody) != anybody);
        let Some(wanted) = self.wanted.borrow().clone() else { return };
        let bundle = STANDARD.encode(&wanted);
        let [mutating, validating] = [Kind::Mutating, Kind::Validating].map(|kind| match self.seen.get(&kind) {
            None => Some(format!("the {} {WEBHOOKS} is not listed yet", kind.as_str())),
            Some(Some(webhooks)) if !patch(webhooks, &bundle).is_empty() => {
                Some(format!("caBundle of the {} {WEBHOOKS} is not ours yet", kind.as_str()))
            }
            Some(_) => None,
        });
        let mutating_is_right = mutating.is_none();
        let wrong: Vec<String> = mutating.into_iter().chain(validating).collect();
        let named = (!wrong.is_empty()).then(|| wrong.join("; "));
        let faults = self.announcer.wrong().map(ToOwned::to_owned);
        let remark = (!wrong.is_empty()).then(|| wrong.into_iter().chain(faults).collect::<Vec<_>>().join("; "));
        self.trusting.send_if_modified(|trusting| {
            let is_the_same = trusting.bundle.as_ref().map(|(bundle, _)| bundle) == Some(&wanted);
            let is_news = trusting.wrong != named;
            trusting.wrong = named;
            match (&remark, is_the_same) {
                (None, false) => trusting.bundle = Some((wanted, Instant::now())),
                (Some(_), _) if trusting.bundle.is_some() => trusting.bundle = None,
                _ => return is_news,
            }
            true
        });
        // Once ready, we are: what others do to the configuration is mended, and makes no replica less able to serve. The
        // guard of the policy is asked by `Ignore`, and no pod waits for it: it is remarked on alone.
        if mutating_is_right {
            self.readiness.set(READINESS, Ok(()));
        }
        self.readiness.remark(READINESS, CA_BUNDLE, remark);
    }
}

/// Whether the Secret itself says so, now; nothing where it says nothing.
async fn is_the_secrets(secrets: &Api<WatchedServing>, wanted: &[u8]) -> Option<bool> {
    let secret = in_time(secrets.get_opt(SERVING_SECRET)).await.ok()??;
    let authorities = secret.content.content.authorities;
    (!Bundle::read(&authorities).certificates.is_empty()).then(|| authorities == wanted)
}

async fn write(client: &Client, kind: Kind, operations: Vec<Value>) -> Result<Webhooks, NotWritten> {
    let request = Request::patch(kind.path())
        .header(CONTENT_TYPE, "application/json-patch+json")
        .body(Value::Array(operations).to_string().into_bytes())
        .map_err(|error| NotWritten::Fault(Fault::Other(error.to_string())))?;
    // Both kinds are read alike.
    match in_time(client.request::<WatchedMutating>(request)).await {
        Ok(configuration) => Ok(configuration.content),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {
            Err(NotWritten::Changed(Escaped::cut(&status.message, MOST_ANSWER).to_string()))
        }
        Err(error) => Err(NotWritten::Fault(Fault::of_request(&error))),
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => pending().await,
    }
}

enum NotWritten {
    /// It is not what was seen any more, and the watch tells what it is; if not, the API server's answer says why it refuses.
    Changed(String),
    Fault(Fault),
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Mutating => "MutatingWebhookConfiguration",
            Self::Validating => "ValidatingWebhookConfiguration",
        }
    }

    fn path(self) -> String {
        let kind = match self {
            Self::Mutating => MutatingWebhookConfiguration::url_path(&(), None),
            Self::Validating => ValidatingWebhookConfiguration::url_path(&(), None),
        };
        format!("{kind}/{WEBHOOKS}")
    }
}

impl Access for Kind {
    const ROLE: &'static str = "a ClusterRole";

    fn words<'s>(kinds: impl Iterator<Item = &'s Self>) -> Option<String> {
        let words: Vec<String> = kinds
            .filter_map(|kind| {
                let resource = match kind {
                    Kind::Mutating => "mutatingwebhookconfigurations",
                    Kind::Validating => "validatingwebhookconfigurations",
                };
                with_names(resource, vec![WEBHOOKS])
            })
            .collect();
        (!words.is_empty()).then(|| words.join(", and of "))
    }
}

/// That the `caBundle` of a configuration cannot be written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct CannotWrite(Kind);

impl Topic for CannotWrite {
    fn statement(&self, wrong: Option<&str>) -> Statement {
        let kind = self.0.as_str();
        let (reason, note) = match wrong {
            Some(why) => (
                "CaBundleNotWritten",
                format!("The caBundle of the {kind} {WEBHOOKS} cannot be written, so that calls may fail: {why}"),
            ),
            None => ("CaBundleWritten", format!("The caBundle of the {kind} {WEBHOOKS} is right again.")),
        };
        Statement { reason, note, is_logged: false }
    }
}
