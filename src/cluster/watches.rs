//! Several watches at once, as many as the policy in force needs: started and stopped with it, read as one stream.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, AbortHandle, BoxStream, SelectAll, abortable};
use kube::Resource;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::debug;

use crate::policy::LoadedPolicy;

use super::watching::{Fault, Pauses, Told, Watch};

/// Between the attempts to watch what could not be watched: what is allowed again, or back, is known within seconds.
pub(super) const PAUSES: Pauses = Pauses { first: Duration::from_millis(500), longest: Duration::from_secs(3) };

/// An API server that has just started refuses what it does not know yet to be allowed. A refusal counts once it has
/// stood this long.
const REFUSAL_STANDS: Duration = Duration::from_secs(5);

/// Watches by what each looks for. `T` is what is told of an object, `L` what is kept of a list while it is being read.
pub(super) struct Watches<S, T, L> {
    running: BTreeMap<S, Running<L>>,
    told: SelectAll<BoxStream<'static, (S, Told<T>)>>,
}

/// A watch that runs.
struct Running<L> {
    stop: AbortHandle,
    listing: L,
    /// Since when we are refused.
    refused: Option<Instant>,
}

impl<S, T, L> Watches<S, T, L>
where
    S: Ord + Clone + Debug + Send + 'static,
    T: Send + 'static,
    L: Default,
{
    pub(super) fn new() -> Self {
        Self { running: BTreeMap::new(), told: SelectAll::new() }
    }

    /// Stops the watches of all but `wanted`, and says which these are.
    pub(super) fn keep(&mut self, wanted: &BTreeSet<S>) -> Vec<S> {
        let stopped = self.running.extract_if(.., |selection, _| !wanted.contains(selection));
        stopped
            .map(|(selection, running)| {
                running.stop.abort();
                selection
            })
            .collect()
    }

    /// Stops one; `false` where there is none.
    pub(super) fn stop(&mut self, selection: &S) -> bool {
        let running = self.running.remove(selection);
        running.inspect(|running| running.stop.abort()).is_some()
    }

    pub(super) fn is_running(&self, selection: &S) -> bool {
        self.running.contains_key(selection)
    }

    /// `door` is what becomes of an object before anything else.
    pub(super) fn start<K>(&mut self, selection: S, watch: Watch<K>, door: impl Fn(K) -> T + Send + 'static)
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        debug!(?selection, "watching");
        let of = selection.clone();
        let told = stream::unfold(watch, |mut watch| async { Some((watch.next().await, watch)) })
            .map(move |told| (of.clone(), told.map(|event| through(&door, event))));
        let (told, stop) = abortable(told);
        self.told.push(told.boxed());
        self.running.insert(selection, Running { stop, listing: L::default(), refused: None });
    }

    /// What is kept of the list that this watch is reading; afresh with each of its lists and faults.
    pub(super) fn listing(&mut self, selection: &S) -> Option<&mut L> {
        self.running.get_mut(selection).map(|running| &mut running.listing)
    }

    /// What the next of them tells; waits where there is none. It may be dropped and called again at any time.
    ///
    /// A refusal is a fault like any other until it has stood for a while.
    pub(super) async fn next(&mut self) -> (S, Told<T>) {
        loop {
            let Some((selection, told)) = self.told.next().await else { return pending().await };
            let Some(running) = self.running.get_mut(&selection) else { continue };
            return (selection, running.take(told));
        }
    }
}

/// Waits for another policy; for ever once whoever writes it has ended, and with it the process ends.
pub(super) async fn another(policy: &mut watch::Receiver<Option<Arc<LoadedPolicy>>>) {
    if policy.changed().await.is_err() {
        pending().await
    }
}

fn through<K, T>(door: impl Fn(K) -> T, event: Event<K>) -> Event<T> {
    match event {
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(door(object)),
        Event::InitDone => Event::InitDone,
        Event::Apply(object) => Event::Apply(door(object)),
        Event::Delete(object) => Event::Delete(door(object)),
    }
}

impl<L: Default> Running<L> {
    fn take<T>(&mut self, told: Told<T>) -> Told<T> {
        match told {
            Ok(Event::Init) => {
                self.listing = L::default();
                told
            }
            Ok(Event::InitDone) => {
                self.refused = None;
                told
            }
            Ok(_) => told,
            Err(fault) => {
                self.listing = L::default();
                Err(self.refusal_stands(fault))
            }
        }
    }

    fn refusal_stands(&mut self, fault: Fault) -> Fault {
        let Fault::Forbidden(message) = fault else {
            self.refused = None;
            return fault;
        };
        let since = *self.refused.get_or_insert_with(Instant::now);
        if since.elapsed() < REFUSAL_STANDS { Fault::Other(message) } else { Fault::Forbidden(message) }
    }
}
