//! A watch that outlives its faults: begun anew after each, for as long as the process lives.

use std::error::Error;
use std::fmt::{self, Debug};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::Resource;
use kube::api::Api;
use kube::core::Status;
use kube::runtime::watcher::{self, Config, Event, watcher};
use serde::de::DeserializeOwned;

/// Why a watch broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// We may not watch this, in the words of the API server.
    Forbidden(String),
    /// Anything else, such as an API server that is away.
    Other(String),
}

/// For a request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A watch that breaks this soon after its list was never up.
const AT_ONCE: Duration = Duration::from_millis(250);

/// What a watch tells.
pub(super) type Told<K> = Result<Event<K>, Fault>;

/// The pauses between two attempts: the first, and the longest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

/// What there is to see of one selection of objects.
///
/// A watch that fails is not resumed but begun anew after a pause: what was missed meanwhile is in its list, and the
/// end of that list tells that the watch is up again.
pub(super) struct Watch<K> {
    api: Api<K>,
    config: Config,
    pauses: Pauses,
    running: Option<BoxStream<'static, watcher::Result<Event<K>>>>,
    /// What came while the end of a list was held back.
    held: Option<watcher::Result<Event<K>>>,
    /// In a row: of attempts that did not last.
    faults: u32,
    listed: Option<Instant>,
}

impl<K> Watch<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    /// Begins when it is first asked. `fields` is the field selector; `page` objects are listed at a time.
    pub(super) fn new(api: Api<K>, fields: &str, page: u32, pauses: Pauses) -> Self {
        let config = Config::default().fields(fields).page_size(page);
        Self { api, config, pauses, running: None, held: None, faults: 0, listed: None }
    }

    /// The next of: a list from `Init` to `InitDone`, the changes after it, a fault. After a fault comes a list. A list
    /// after which the watch breaks at once has no end: who may list and not watch is not up.
    pub(super) async fn next(&mut self) -> Told<K> {
        let running = match &mut self.running {
            Some(running) => running,
            None => {
                if self.faults > 0 {
                    tokio::time::sleep(pause(self.pauses, self.faults, RandomState::new().hash_one(()))).await;
                }
                self.running.insert(watcher(self.api.clone(), self.config.clone()).boxed())
            }
        };
        let mut told = match self.held.take() {
            Some(held) => Some(held),
            None => running.next().await,
        };
        if matches!(told, Some(Ok(Event::InitDone))) {
            self.listed = Some(Instant::now());
            if self.faults > 0
                && let Ok(next) = tokio::time::timeout(AT_ONCE, running.next()).await
            {
                match next {
                    Some(Ok(event)) => self.held = Some(Ok(event)),
                    broken => told = broken,
                }
            }
        }
        let fault = match told {
            Some(Ok(event)) => return Ok(event),
            Some(Err(fault)) => Fault::of(&fault),
            None => Fault::Other("the watch ended".to_owned()),
        };
        self.running = None;
        let lasted = self.listed.take().is_some_and(|listed| listed.elapsed() > self.pauses.longest);
        self.faults = if lasted { 1 } else { self.faults.saturating_add(1) };
        Err(fault)
    }
}

/// Twice as long after each fault, and half of it at random: the replicas do not all come back at once.
fn pause(pauses: Pauses, faults: u32, random: u64) -> Duration {
    let doubled = 1 << faults.saturating_sub(1).min(10);
    let most = pauses.first.saturating_mul(doubled).min(pauses.longest);
    jittered(most, random)
}

/// Between half of it and all.
pub(super) fn jittered(most: Duration, random: u64) -> Duration {
    most.mul_f64(0.5 + random as f64 / u64::MAX as f64 / 2.0)
}

/// What the API server answers to a request, if it does in time.
pub(super) async fn in_time<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(answered) => answered,
        Err(_) => Err(kube::Error::Service(format!("no answer within {} s", TIMEOUT.as_secs()).into())),
    }
}

impl Fault {
    fn of(fault: &watcher::Error) -> Self {
        match fault {
            watcher::Error::InitialListFailed(fault)
            | watcher::Error::WatchStartFailed(fault)
            | watcher::Error::WatchFailed(fault) => Self::of_request(fault),
            watcher::Error::WatchError(status) => Self::of_status(status),
            watcher::Error::NoResourceVersion => Self::Other(fault.to_string()),
        }
    }

    pub(super) fn of_request(fault: &kube::Error) -> Self {
        match fault {
            kube::Error::Api(status) => Self::of_status(status),
            // The words of serde quote what they did not expect, and that may be out of a Secret.
            kube::Error::SerdeError(fault) => {
                Self::Other(format!("an answer that cannot be read (line {}, column {})", fault.line(), fault.column()))
            }
            fault => {
                let mut innermost: &dyn Error = fault;
                while let Some(cause) = innermost.source() {
                    innermost = cause;
                }
                Self::Other(innermost.to_string())
            }
        }
    }

    fn of_status(status: &Status) -> Self {
        match status.code {
            403 => Self::Forbidden(status.message.clone()),
            _ => Self::Other(status.to_string()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(words) | Self::Other(words) => f.write_str(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::super::scripted::scripted;
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_differ() {
        let pauses = Pauses { first: Duration::from_millis(400), longest: Duration::from_secs(4) };
        let between = |faults| (pause(pauses, faults, 0).as_millis(), pause(pauses, faults, u64::MAX).as_millis());
        assert_eq!(between(1), (200, 400));
        assert_eq!(between(2), (400, 800));
        assert_eq!(between(5), (2000, 4000));
        assert_eq!(between(u32::MAX), (2000, 4000));
    }

    #[test]
    fn a_fault_is_told_in_its_innermost_words_and_a_refusal_by_itself() {
        let status = |code, message: &str| {
            let status = Status { code, message: message.to_owned(), ..Status::default() };
            Fault::of(&watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status))))
        };
        assert_eq!(status(403, "secrets is forbidden"), Fault::Forbidden("secrets is forbidden".to_owned()));
        assert!(matches!(status(500, "etcd is gone"), Fault::Other(words) if words.contains("etcd is gone")));
        let unread = serde_json::from_str::<u8>("\"hunter2\"").unwrap_err();
        let Fault::Other(words) = Fault::of(&watcher::Error::WatchFailed(kube::Error::SerdeError(unread))) else {
            panic!("not forbidden")
        };
        assert!(!words.contains("hunter2"), "{words}");
    }

    const PAUSES: Pauses = Pauses { first: Duration::from_millis(10), longest: Duration::from_millis(20) };

    /// What a watch of a ConfigMap tells, in words.
    async fn told(watch: &mut Watch<ConfigMap>) -> String {
        match watch.next().await {
            Ok(Event::Init) => "begins".to_owned(),
            Ok(Event::InitApply(_)) => "listed".to_owned(),
            Ok(Event::InitDone) => "up".to_owned(),
            Ok(Event::Apply(_)) => "changed".to_owned(),
            Ok(Event::Delete(_)) => "deleted".to_owned(),
            Err(fault) => fault.to_string(),
        }
    }

    fn watch_of(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Watch<ConfigMap> {
        Watch::new(Api::all(scripted(answer)), "metadata.name=a", 1, PAUSES)
    }

    const LIST: &str = r#"{"metadata": {"resourceVersion": "5"}, "items": [{"metadata": {"name": "a"}}]}"#;

    /// A watch that is resumed does not tell that it is up again.
    #[tokio::test]
    async fn a_watch_that_breaks_is_begun_anew_with_its_list() {
        let watches = AtomicUsize::new(0);
        let change = json!({"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": "6"}}});
        let mut watch =
            watch_of(move |uri| match uri.contains("watch=true").then(|| watches.fetch_add(1, Ordering::SeqCst)) {
                None => {
                    assert!(uri.contains("limit=1"), "{uri}");
                    (200, LIST.to_owned())
                }
                Some(0) => (500, json!({"code": 500, "message": "etcd is gone"}).to_string()),
                Some(_) => (200, format!("{change}\n")),
            });
        for wanted in ["begins", "listed", "up", "etcd is gone: ", "begins", "listed", "up", "changed"] {
            assert_eq!(told(&mut watch).await, wanted);
        }
    }

    /// Else it would be up and down several times a second.
    #[tokio::test]
    async fn who_may_list_and_not_watch_is_never_up_again() {
        let forbidden = json!({"code": 403, "message": "cannot watch", "reason": "Forbidden", "status": "Failure"});
        let mut watch = watch_of(move |uri| match uri.contains("watch=true") {
            false => (200, LIST.to_owned()),
            true => (403, forbidden.to_string()),
        });
        // The first list is taken in as soon as it is there.
        for wanted in ["begins", "listed", "up", "cannot watch"] {
            assert_eq!(told(&mut watch).await, wanted);
        }
        for _ in 0..5 {
            for wanted in ["begins", "listed", "cannot watch"] {
                assert_eq!(told(&mut watch).await, wanted);
            }
        }
        assert_eq!(watch.faults, 6);
    }
}
