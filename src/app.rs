//! What a handler may see: the policy in force, the pull secrets that are known, and the metrics.

use std::sync::Arc;

use tokio::sync::watch;

use crate::cluster::SecretStore;
pub use crate::policy::LoadedPolicy;
use crate::review::PullSecrets;
use crate::telemetry::Metrics;

/// Shared by every request. Nothing in it is written by a request but the metrics.
#[derive(Debug)]
pub struct App {
    metrics: Arc<Metrics>,
    policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
    secrets: Arc<SecretStore>,
}

impl App {
    /// `policy` has one writer: the task that reads the ConfigMap or the file. It holds none until the first valid one.
    /// `secrets` is written by the watches of the cluster; without a cluster it is empty, and nothing is known.
    pub fn new(
        metrics: Arc<Metrics>,
        policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
        secrets: Arc<SecretStore>,
    ) -> Self {
        Self { metrics, policy, secrets }
    }

    /// The policy in force. Taken once a review: an edit in the midst of it is not half applied.
    pub fn policy(&self) -> Option<Arc<LoadedPolicy>> {
        self.policy.borrow().clone()
    }

    /// What is known of the pull secrets of a namespace. Taken once a review, as the policy is.
    pub fn pull_secrets(&self, namespace: &str) -> PullSecrets {
        self.secrets.namespace(namespace)
    }

    /// Where reviews are counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
