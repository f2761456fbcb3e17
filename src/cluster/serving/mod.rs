//! The Secret `mirrorgate-serving`: watched by every replica, taken up without a restart, and, where mirrorgate looks after
//! its certificate itself, written by whoever is first ([`crate::serving::step`]). No leader: each write names the version
//! that it is made of, and who comes too late reads again (trap 24).

mod announced;
mod replicas;
mod watched;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::watcher::Event;
use kube::{Client, Resource};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use crate::image::Escaped;
use crate::serving::{
    CERTIFICATE_READINESS, Content, Found, Held, InForce, Others, Reason, Renewal, Step, step, waits_for_replicas,
};
use crate::telemetry::{Metrics, Readiness};

use super::announcer::Announcer;
use super::watching::{Fault, Pauses, Told, Watch};
use super::webhooks::Trusting;
use announced::{CannotWrite, done};
use watched::{AUTHORITIES, AUTHORITY_KEY, CERTIFICATE, KEY, RENEW};

pub use announced::CertificateEvents;
pub(super) use watched::WatchedServing;

/// The name of the Secret, in mirrorgate's own namespace.
pub const SERVING_SECRET: &str = "mirrorgate-serving";

/// The label of `mirrorgate_watch_up`.
const RESOURCE: &str = "serving-certificate";

/// What `/readyz` remarks on.
const WATCH: &str = "watch";
const WISH: &str = "renew";

const PAUSES: Pauses = Pauses { first: Duration::from_millis(250), longest: Duration::from_secs(1) };
/// For a request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// After a write that failed, and up to so long after several.
const AGAIN: Duration = Duration::from_millis(500);
const AGAIN_AT_MOST: Duration = Duration::from_secs(30);
/// The clock is looked at so often.
const TICK: Duration = Duration::from_secs(30);
/// What is not urgent is done some time within this, so that the replicas do not all do it.
const CALM: Duration = Duration::from_secs(2);
/// For a replica that has it to put a Secret back that is gone.
const PATIENCE: Duration = Duration::from_secs(3);
/// Until every API server has surely heard of a changed webhook configuration.
const HEARD: Duration = Duration::from_secs(10);
/// Between two rounds of asking the replicas.
const ROUND: Duration = Duration::from_secs(5);

/// Who makes the serving certificate, and writes `caBundle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caretaker {
    /// mirrorgate does both.
    Ourselves,
    /// Somebody makes it, with its CA in `ca.crt`; mirrorgate writes `caBundle`.
    Somebody,
    /// cert-manager does both.
    CertManager,
}

/// The watch of the Secret, and what is done about it.
pub struct ServingWatch {
    client: Client,
    secrets: Api<WatchedServing>,
    namespace: String,
    /// By which the API server calls us.
    name: String,
    caretaker: Caretaker,
    in_force: Arc<InForce>,
    seen: Option<Seen>,
    /// What is in force, with all that is needed to put it back.
    good: Option<Arc<Held>>,
    authorities: watch::Sender<Option<Arc<[u8]>>>,
    trusting: watch::Receiver<Trusting>,
    /// Whether all replicas serve what the first CA of the Secret signed, and who asks them.
    replicas_serve_it: bool,
    asking: Option<BoxFuture<'static, bool>>,
    /// A step that is not urgent, and when it is done.
    due: Option<(Step, Instant)>,
    /// Of writes, in a row, and when the next may be.
    failures: u32,
    again: Option<Instant>,
    /// When it was last looked at what is to be done.
    acted: Instant,
    down: bool,
    announcer: Announcer<CannotWrite>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
}

/// What there is of the Secret.
#[derive(Clone)]
enum Seen {
    Absent,
    Present { held: Arc<Held>, renew: Option<String>, resource_version: String },
}

impl Seen {
    fn of(secret: WatchedServing) -> Self {
        let resource_version = secret.meta().resource_version.clone().unwrap_or_default();
        let held = Arc::new(Held::read(secret.content.content));
        Self::Present { held, renew: secret.content.renew, resource_version }
    }

    fn found(&self) -> Found<'_> {
        match self {
            Self::Absent => Found::Absent,
            Self::Present { held, renew, .. } => Found::Present(held, renew.as_deref().and_then(Renewal::parse)),
        }
    }
}

impl ServingWatch {
    /// `namespace` is mirrorgate's own, `instance` names this replica in Events. What the webhooks are to trust is sent to
    /// `authorities`, and what they do comes from `trusting`.
    #[expect(clippy::too_many_arguments, reason = "each is another edge that `serve` ties together")]
    pub fn new(
        client: Client,
        namespace: &str,
        instance: String,
        caretaker: Caretaker,
        in_force: Arc<InForce>,
        authorities: watch::Sender<Option<Arc<[u8]>>>,
        trusting: watch::Receiver<Trusting>,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            announcer: Announcer::new(client.clone(), namespace, instance, "ServeCertificate"),
            client,
            namespace: namespace.to_owned(),
            name: service_name(namespace),
            caretaker,
            in_force,
            seen: None,
            good: None,
            authorities,
            trusting,
            replicas_serve_it: false,
            asking: None,
            due: None,
            failures: 0,
            again: None,
            acted: Instant::now(),
            down: false,
            metrics,
            readiness,
        }
    }

    /// Watches for as long as the process lives.
    pub async fn run(mut self) -> Infallible {
        let watch = Watch::new(self.secrets.clone(), &format!("metadata.name={SERVING_SECRET}"), 1, PAUSES);
        // Between its events a watch is not to be dropped: it would lose them.
        let mut told = stream::unfold(watch, |mut watch| async { Some((watch.next().await, watch)) }).boxed();
        let mut listed = None;
        loop {
            let wake = self.wake();
            tokio::select! {
                Some(told) = told.next() => self.take(told, &mut listed),
                serve_it = asked(&mut self.asking) => {
                    self.asking = None;
                    self.replicas_serve_it = serve_it;
                }
                Ok(()) = self.trusting.changed() => {}
                () = tokio::time::sleep_until(wake) => {}
                () = self.announcer.say() => continue,
            }
            self.act().await;
        }
    }

    fn take(&mut self, told: Told<WatchedServing>, listed: &mut Option<WatchedServing>) {
        match told {
            Ok(Event::Init) => *listed = None,
            Ok(Event::InitApply(secret)) => *listed = Some(secret),
            Ok(Event::InitDone) => {
                self.up();
                self.see(listed.take().map_or(Seen::Absent, Seen::of));
            }
            Ok(Event::Apply(secret)) => self.see(Seen::of(secret)),
            Ok(Event::Delete(_)) => self.see(Seen::Absent),
            Err(fault) => self.down(&fault),
        }
    }

    fn up(&mut self) {
        self.metrics.watch_up(RESOURCE, true);
        self.readiness.remark(CERTIFICATE_READINESS, WATCH, None);
        if std::mem::take(&mut self.down) {
            info!("the Secret {SERVING_SECRET} is watched again");
        }
    }

    fn down(&mut self, fault: &Fault) {
        let fault = match fault {
            Fault::Forbidden(message) => format!(
                "forbidden: a Role in {} must allow list and watch of secrets with resourceNames [{SERVING_SECRET}] ({message})",
                self.namespace
            ),
            Fault::Other(words) => words.clone(),
        };
        if !std::mem::replace(&mut self.down, true) {
            self.metrics.watch_up(RESOURCE, false);
            warn!(
                error = fault,
                "the Secret {SERVING_SECRET} cannot be watched; what was last seen of it stays in force"
            );
        }
        let remark = format!("the Secret {SERVING_SECRET} cannot be watched: {fault}");
        self.readiness.remark(CERTIFICATE_READINESS, WATCH, Some(remark));
    }

    fn see(&mut self, seen: Seen) {
        self.seen = Some(seen);
        // What was known of the others was of another Secret.
        self.replicas_serve_it = false;
        self.asking = None;
        // What failed may work now.
        self.again = None;
    }

    /// Does what is to be done, as far as that is possible.
    async fn act(&mut self) {
        self.acted = Instant::now();
        if self.again.is_some_and(|again| again <= self.acted) {
            self.again = None;
        }
        // Each round but the last writes something.
        for _ in 0..4 {
            let Some(seen) = self.seen.clone() else { return };
            let now = Timestamp::now();
            let step = match self.caretaker {
                Caretaker::Ourselves => self.next_step(&seen, now),
                Caretaker::Somebody | Caretaker::CertManager => Step::Rest,
            };
            self.tell_of_wish(&seen);
            if !step.is_urgent() || self.again.is_some() || self.due.is_some() {
                self.take_up(&seen, now);
            }
            self.ask_replicas(&seen);
            if !self.is_time_for(&step) || !self.perform(&seen, step, now).await {
                return;
            }
        }
    }

    fn next_step(&self, seen: &Seen, now: Timestamp) -> Step {
        let others = match seen {
            Seen::Absent => Others::default(),
            Seen::Present { held, .. } => Others {
                webhooks_have_it: self.heard_at(held).is_some_and(|heard| heard <= Instant::now()),
                replicas_serve_it: self.replicas_serve_it,
            },
        };
        step(seen.found(), self.good.as_deref(), others, &self.name, now)
    }

    /// When every API server has heard that the webhooks trust what the Secret says, if they do.
    fn heard_at(&self, held: &Held) -> Option<Instant> {
        let Trusting { bundle, .. } = &*self.trusting.borrow();
        bundle
            .as_ref()
            .filter(|(bundle, _)| **bundle == held.content().authorities[..])
            .map(|(_, since)| *since + HEARD)
    }

    /// Puts what the Secret holds in force, if it is in order.
    fn take_up(&mut self, seen: &Seen, now: Timestamp) {
        let held = match seen {
            Seen::Present { held, .. } if !held.content().is_empty() => held,
            Seen::Present { .. } => {
                return self.in_force.refuse(&format!("the Secret {SERVING_SECRET} in {} is empty", self.namespace));
            }
            Seen::Absent => {
                return self.in_force.refuse(&format!("there is no Secret {SERVING_SECRET} in {}", self.namespace));
            }
        };
        let check = |held: &Held| held.check(self.caretaker != Caretaker::CertManager, &self.name, now);
        let (pair, checked) = match (held.pair(), check(held)) {
            (Ok(pair), checked) => (pair, checked),
            (Err(fault), _) => return self.in_force.refuse(&format!("the Secret {SERVING_SECRET}: {fault}")),
        };
        let good = self.good.clone();
        let is_good = |_: &_| good.as_deref().is_some_and(|good| check(good).is_ok());
        self.in_force.offer(pair, checked.clone(), is_good, now);
        let is_in_force = self.in_force.pair().is_some_and(|in_force| in_force.is_same(pair));
        if is_in_force && (checked.is_ok() || self.good.is_none()) {
            self.good = Some(Arc::clone(held));
            if self.caretaker != Caretaker::CertManager {
                let authorities = &held.content().authorities[..];
                self.authorities.send_if_modified(|sent| {
                    let is_news = sent.as_deref() != Some(authorities);
                    *sent = Some(authorities.into());
                    is_news
                });
            }
        }
    }

    /// A wish that nobody understands would wait for ever.
    fn tell_of_wish(&self, seen: &Seen) {
        let unknown = match seen {
            Seen::Present { renew: Some(renew), .. } if Renewal::parse(renew).is_none() => Some(renew),
            _ => None,
        };
        let remark = unknown.map(|renew| {
            format!("the annotation {RENEW} is \"{}\", and not \"certificate\" or \"ca\"", Escaped::cut(renew, 40))
        });
        self.readiness.remark(CERTIFICATE_READINESS, WISH, remark);
    }

    fn ask_replicas(&mut self, seen: &Seen) {
        let Seen::Present { held, .. } = seen else { return };
        if self.asking.is_some() || self.caretaker != Caretaker::Ourselves || !waits_for_replicas(held) {
            return;
        }
        let Some(first) = held.authorities().first().cloned() else { return };
        let asked = replicas::serve_it(self.client.clone(), self.namespace.clone(), self.name.clone(), first);
        let asked = async move {
            tokio::time::sleep(jittered(ROUND)).await;
            asked.await
        };
        self.asking = Some(asked.boxed());
    }

    /// Whether a step is to be done now. What is not urgent is put off for a moment.
    fn is_time_for(&mut self, step: &Step) -> bool {
        if matches!(step, Step::Rest | Step::Keep(_)) {
            self.due = None;
            return false;
        }
        let pause = self.pause_before(step);
        if self.again.is_some() || pause.is_zero() {
            return self.again.is_none();
        }
        match &self.due {
            Some((due, at)) if due == step => *at <= Instant::now(),
            _ => {
                self.due = Some((step.clone(), Instant::now() + pause));
                false
            }
        }
    }

    fn pause_before(&self, step: &Step) -> Duration {
        // Where webhooks trust somebody there are, or were, other replicas, that would put back what they have.
        let are_others = self.trusting.borrow().anybody != Some(false);
        match step {
            Step::MakeAll(Reason::Nothing) if are_others => PATIENCE * 2,
            // Who has missed something would put back what is older.
            Step::PutBack if self.good.as_ref().is_none_or(|good| self.heard_at(good).is_none()) => PATIENCE,
            step if step.is_urgent() => Duration::ZERO,
            _ => jittered(CALM),
        }
    }

    /// Writes what a step makes; `true` when there is something new to be looked at.
    async fn perform(&mut self, seen: &Seen, step: Step, now: Timestamp) -> bool {
        self.due = None;
        let content = match step.perform(seen.found(), self.good.as_deref(), &self.name, now) {
            Ok(Some(content)) => content,
            Ok(None) => return false,
            Err(error) => {
                self.failed(&step, &error.to_string());
                return false;
            }
        };
        match timeout(TIMEOUT, self.write(seen, &step, &content)).await {
            Ok(Ok(secret)) => {
                self.failures = 0;
                self.announcer.set(CannotWrite, None);
                self.announcer.tell(done(&step));
                self.see(Seen::of(secret));
                true
            }
            // Somebody was faster, or has deleted it.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                debug!(error = status.message, "the Secret {SERVING_SECRET} has changed meanwhile");
                self.read_again(&step).await
            }
            Ok(Err(error)) => {
                self.failed(&step, &Fault::of_request(&error).to_string());
                false
            }
            Err(_) => {
                self.failed(&step, "timed out");
                false
            }
        }
    }

    async fn write(&mut self, seen: &Seen, step: &Step, content: &Content) -> Result<WatchedServing, kube::Error> {
        let Seen::Present { resource_version, renew, .. } = seen else {
            let secret = new_secret(content);
            let secrets = Api::<Secret>::namespaced(self.client.clone(), &self.namespace);
            let made = secrets.create(&PostParams::default(), &secret).await?;
            return read_back(&made);
        };
        // The API server refuses it when the version is not the Secret's any more.
        let mut metadata = json!({ "resourceVersion": resource_version });
        let renewal = renew.as_deref().and_then(Renewal::parse);
        if renewal.is_some_and(|renewal| step.grants(renewal)) {
            metadata["annotations"] = json!({ RENEW: Value::Null });
        }
        let patch = json!({ "metadata": metadata, "data": encoded(content) });
        self.secrets.patch(SERVING_SECRET, &PatchParams::default(), &Patch::Merge(&patch)).await
    }

    async fn read_again(&mut self, step: &Step) -> bool {
        match timeout(TIMEOUT, self.secrets.get_opt(SERVING_SECRET)).await {
            Ok(Ok(secret)) => {
                self.see(secret.map_or(Seen::Absent, Seen::of));
                true
            }
            Ok(Err(error)) => {
                self.failed(step, &Fault::of_request(&error).to_string());
                false
            }
            Err(_) => {
                self.failed(step, "timed out");
                false
            }
        }
    }

    fn failed(&mut self, step: &Step, why: &str) {
        let pause = AGAIN.saturating_mul(1 << self.failures.min(10)).min(AGAIN_AT_MOST);
        self.failures = self.failures.saturating_add(1);
        self.again = Some(Instant::now() + jittered(pause));
        self.announcer.set(CannotWrite, Some(why.to_owned()));
        // What the Secret holds is no good then, or not there.
        if step.is_urgent() {
            self.in_force
                .refuse(&format!("the Secret {SERVING_SECRET} in {} cannot be written: {why}", self.namespace));
        }
    }

    /// When there is something to be done without news.
    fn wake(&self) -> Instant {
        let heard = match &self.seen {
            Some(Seen::Present { held, .. }) => self.heard_at(held),
            _ => None,
        };
        let due = self.due.as_ref().map(|(_, at)| *at);
        // What was past then was looked at.
        let ahead = [due, self.again, heard].into_iter().flatten().filter(|at| *at > self.acted);
        ahead.fold(Instant::now() + TICK, Instant::min)
    }
}

/// By which the API server calls us.
#[must_use]
pub fn service_name(namespace: &str) -> String {
    format!("mirrorgate.{namespace}.svc")
}

async fn asked(asking: &mut Option<BoxFuture<'static, bool>>) -> bool {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

/// Between half of it and all.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(());
    pause.mul_f64(0.5 + random as f64 / u64::MAX as f64 / 2.0)
}

fn new_secret(content: &Content) -> Secret {
    let data = encoded(content).into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Secret {
        metadata: ObjectMeta {
            name: Some(SERVING_SECRET.to_owned()),
            labels: Some([("app.kubernetes.io/name".to_owned(), "mirrorgate".to_owned())].into()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

fn encoded(content: &Content) -> BTreeMap<&'static str, ByteString> {
    let Content { certificate, key, authorities, authority_key } = content;
    [
        (CERTIFICATE, &certificate[..]),
        (KEY, key.as_bytes()),
        (AUTHORITIES, authorities),
        (AUTHORITY_KEY, authority_key.as_bytes()),
    ]
    .map(|(key, value)| (key, ByteString(value.to_vec())))
    .into()
}

fn read_back(made: &Secret) -> Result<WatchedServing, kube::Error> {
    let text = serde_json::to_string(made).map_err(kube::Error::SerdeError)?;
    serde_json::from_str(&text).map_err(kube::Error::SerdeError)
}
