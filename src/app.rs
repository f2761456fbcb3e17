//! What a handler may see: the policy in force, the verdicts of registries, the pull secrets that are known, and the
//! metrics.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::{SecondLook, SecretStore};
use crate::image::Registry;
pub use crate::policy::LoadedPolicy;
use crate::probe::Prober;
use crate::review::{InDoubt, PullSecrets, Verdict, Verdicts};
use crate::telemetry::Metrics;

/// Shared by every request. Nothing in it is written by a request but the metrics.
#[derive(Debug)]
pub struct App {
    metrics: Arc<Metrics>,
    policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
    secrets: Arc<SecretStore>,
    second_look: Option<SecondLook>,
    prober: Option<Arc<Prober>>,
    namespace: String,
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
        Self { metrics, policy, secrets, second_look, prober: None, namespace: String::new() }
    }

    /// In a namespace of its own. Without, no ConfigMap is the policy's.
    #[must_use]
    pub fn in_namespace(self, namespace: String) -> Self {
        Self { namespace, ..self }
    }

    /// With somebody who asks registries. Without, nobody knows anything of them.
    #[must_use]
    pub fn with_prober(self, prober: Arc<Prober>) -> Self {
        Self { prober: Some(prober), ..self }
    }

    /// The policy in force. Taken once a review: an edit in the midst of it is not half applied.
    pub fn policy(&self) -> Option<Arc<LoadedPolicy>> {
        self.policy.borrow().clone()
    }

    /// The namespace that is mirrorgate's own, where the ConfigMap of its policy is.
    pub fn namespace(&self) -> &str {
        &self.namespace
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

    /// What is known of each of these registries under this very policy. Waits for what is not kept, until
    /// `until` at most (P4); what is not there by then is unknown.
    pub async fn verdicts(&self, loaded: &LoadedPolicy, registries: &[Registry], until: Instant) -> Verdicts {
        match &self.prober {
            Some(prober) => prober.verdicts(loaded, registries, until).await,
            None => {
                let mut verdicts = Verdicts::default();
                registries.iter().for_each(|registry| verdicts.put(registry, Verdict::not_asked()));
                verdicts
            }
        }
    }

    /// Where reviews are counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
