//! What a handler may see: the policy in force, the pull secrets that are known, and the metrics.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::cluster::{SecondLook, SecretStore};
pub use crate::policy::LoadedPolicy;
use crate::review::{InDoubt, PullSecrets};
use crate::telemetry::Metrics;

/// Shared by every request. Nothing in it is written by a request but the metrics.
#[derive(Debug)]
pub struct App {
    metrics: Arc<Metrics>,
    policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
    secrets: Arc<SecretStore>,
    second_look: Option<SecondLook>,
}

impl App {
    /// `policy` has one writer: the task that reads the ConfigMap or the file. It holds none until the first valid one.
    /// `secrets` is written by the watches of the cluster; without a cluster it is empty, nothing is known, and there is
    /// nobody to ask a second time.
    pub fn new(
        metrics: Arc<Metrics>,
        policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
        secrets: Arc<SecretStore>,
        second_look: Option<SecondLook>,
    ) -> Self {
        Self { metrics, policy, secrets, second_look }
    }

    /// The policy in force. Taken once a review: an edit in the midst of it is not half applied.
    pub fn policy(&self) -> Option<Arc<LoadedPolicy>> {
        self.policy.borrow().clone()
    }

    /// What is known of the pull secrets of a namespace. Taken once a review, as the policy is.
    pub fn pull_secrets(&self, namespace: &str) -> PullSecrets {
        self.secrets.namespace(namespace)
    }

    /// `known`, with what the API server itself says now of what is in doubt; as it is where there is nobody to ask, or
    /// no answer within `budget`.
    pub async fn look_again(
        &self,
        namespace: &str,
        known: PullSecrets,
        doubt: &InDoubt,
        budget: Duration,
    ) -> PullSecrets {
        match &self.second_look {
            Some(second_look) => second_look.take(namespace, known, doubt, budget).await,
            None => known,
        }
    }

    /// Where reviews are counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
