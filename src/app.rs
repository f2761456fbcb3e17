//! What a handler may see: the policy in force, and the metrics.

use std::sync::Arc;

use tokio::sync::watch;

pub use crate::policy::LoadedPolicy;
use crate::telemetry::Metrics;

/// Shared by every request. Nothing in it is written by a request but the metrics.
#[derive(Debug)]
pub struct App {
    metrics: Arc<Metrics>,
    policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
}

impl App {
    /// `policy` has one writer: the task that reads the ConfigMap or the file. It holds none until the first valid one.
    pub fn new(metrics: Arc<Metrics>, policy: watch::Receiver<Option<Arc<LoadedPolicy>>>) -> Self {
        Self { metrics, policy }
    }

    /// The policy in force. Taken once a review: an edit in the midst of it is not half applied.
    pub fn policy(&self) -> Option<Arc<LoadedPolicy>> {
        self.policy.borrow().clone()
    }

    /// Where reviews are counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
