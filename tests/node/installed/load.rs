//! Pods, so many a second, whatever becomes of each; and during what it was.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::installed::figure;
use crate::pods::images;

/// The API server waits 5 s for a webhook that says nothing, and may call again where it is told to.
const LONGEST: Duration = Duration::from_secs(30);
/// Calls under way at once: where the machine has other things to do, they do not pile up until the API server gives all of them up.
pub(crate) const AT_ONCE: usize = 32;

/// A load that goes on until it is ended.
pub(crate) struct Load {
    events: Events,
    over: Arc<AtomicBool>,
    calls: JoinSet<Vec<Call>>,
}

/// What happened, each with its begin.
type Events = Arc<Mutex<Vec<(String, Instant)>>>;

/// One creation of a pod, as a dry run.
struct Call {
    /// During which event it ended.
    event: usize,
    sent: Instant,
    took: Duration,
    outcome: Outcome,
}

/// What its client was told: the image that the pod would have, or why there would be none.
enum Outcome {
    Made(String),
    Failed(String),
}

/// What became of all calls.
pub(crate) struct Record {
    pub(crate) calls: usize,
    pub(crate) took: Duration,
    /// Every image that a pod got.
    pub(crate) images: Vec<String>,
    pub(crate) failures: Vec<Failure>,
}

/// A call that failed, or whose pod came back with an image that nobody wanted.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) sent: Instant,
    pub(crate) answered: Instant,
    pub(crate) text: String,
}

impl Load {
    /// So many pods a second, each sent when it is due, however slow the answers to others are. Each gets one of the images that
    /// are wanted, or has failed.
    pub(crate) async fn start(namespace: &str, pod: Pod, a_second: u32, wanted: &[String]) -> Self {
        let pods = Api::<Pod>::namespaced(client().await, namespace);
        let events: Events = Arc::new(Mutex::new(vec![("nothing".to_owned(), Instant::now())]));
        let over = Arc::new(AtomicBool::new(false));
        let (known, end, wanted) = (Arc::clone(&events), Arc::clone(&over), Arc::<[String]>::from(wanted));
        let mut calls = JoinSet::new();
        calls.spawn(async move {
            let mut due = tokio::time::interval(Duration::from_secs(1) / a_second);
            let (mut done, mut running) = (Vec::new(), JoinSet::new());
            while !end.load(Ordering::Relaxed) {
                tokio::select! {
                    _ = due.tick(), if running.len() < AT_ONCE => {
                        running.spawn(call(pods.clone(), pod.clone(), Arc::clone(&wanted), Arc::clone(&known)));
                    }
                    Some(call) = running.join_next() => done.push(call.unwrap()),
                }
            }
            done.extend(running.join_all().await);
            done
        });
        Self { events, over, calls }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.events.lock().unwrap()[0].1.elapsed()
    }

    /// What happens from now on.
    pub(crate) fn during(&self, event: &str) {
        self.events.lock().unwrap().push((event.to_owned(), Instant::now()));
    }

    /// Ends it, and prints what became of the calls in each event.
    pub(crate) async fn end(mut self) -> Record {
        let took = self.elapsed();
        self.over.store(true, Ordering::Relaxed);
        let calls = self.calls.join_next().await.unwrap().unwrap();
        let events = self.events.lock().unwrap();
        let start = events[0].1;
        let ends = events.iter().skip(1).map(|(_, begun)| *begun).chain([start + took]);
        figure("calls", "event | seconds | calls | failed | p50 | p99 | longest");
        for (number, ((event, begun), end)) in events.iter().zip(ends).enumerate() {
            let mut times: Vec<Duration> =
                calls.iter().filter(|call| call.event == number).map(|call| call.took).collect();
            times.sort_unstable();
            let failed = calls.iter().filter(|call| call.event == number && call.failure().is_some()).count();
            let at = |percent: usize| {
                let time = times.get(times.len() * percent / 100).or(times.last()).copied().unwrap_or_default();
                format!("{} ms", time.as_millis())
            };
            let seconds = (end - *begun).as_secs_f64();
            let row =
                format!("{event} | {seconds:.0} | {} | {failed} | {} | {} | {}", times.len(), at(50), at(99), at(100));
            figure("calls", row);
        }
        let failure = |call: &Call| {
            Some(Failure { sent: call.sent, answered: call.sent + call.took, text: call.failure()?.to_owned() })
        };
        let failures = calls.iter().filter_map(failure).collect();
        let mut images: Vec<String> = calls.iter().filter_map(Call::image).map(ToOwned::to_owned).collect();
        images.sort_unstable();
        images.dedup();
        Record { calls: calls.len(), took, images, failures }
    }
}

impl Call {
    fn failure(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Failed(text) => Some(text),
            Outcome::Made(_) => None,
        }
    }

    fn image(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Made(image) => Some(image),
            Outcome::Failed(_) => None,
        }
    }
}

/// A client that tries nothing twice.
async fn client() -> Client {
    let mut config = Config::infer().await.unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

async fn call(pods: Api<Pod>, pod: Pod, wanted: Arc<[String]>, events: Events) -> Call {
    let sent = Instant::now();
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let outcome = match timeout(LONGEST, pods.create(&dry_run, &pod)).await {
        Ok(Ok(made)) => {
            let image = images(&made).concat();
            if wanted.contains(&image) { Outcome::Made(image) } else { Outcome::Failed(format!("got {image}")) }
        }
        Ok(Err(kube::Error::Api(status))) => Outcome::Failed(status.message),
        Ok(Err(error)) => Outcome::Failed(error.to_string()),
        Err(_) => Outcome::Failed(format!("no answer within {LONGEST:?}")),
    };
    let (took, events) = (sent.elapsed(), events.lock().unwrap());
    let (event, begun) = events.last().unwrap();
    if let Outcome::Failed(text) = &outcome {
        let ended = begun.elapsed();
        figure(
            "failed",
            format!("{event}: answered {ended:.2?} after its begin, {took:.2?} after it was sent: {text}"),
        );
    }
    Call { event: events.len() - 1, sent, took, outcome }
}
