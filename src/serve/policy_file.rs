//! `--policy FILE`: the policy without a cluster, read again whenever the file changes. The last good one stays in force
//! (trap 28).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;

use crate::policy::{Faults, LoadedPolicy, Policy};
use crate::telemetry::{Metrics, Readiness};

/// The part of [`Readiness`] that this module sets.
pub(super) const READINESS: &str = "policy";
/// What `/readyz` remarks on: the newest document, and the file that holds it.
const DOCUMENT: &str = "document";
const FILE: &str = "file";

/// The file is looked at this often. A change counts once it was seen twice: an editor may be in the midst of writing,
/// and half a policy can be a valid one.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The one writer of the policy in force.
pub(super) struct PolicyFile {
    path: PathBuf,
    policy: watch::Sender<Option<Arc<LoadedPolicy>>>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    /// The content that was judged last, good or bad.
    judged: Option<Vec<u8>>,
}

/// What came of the first look at the file.
pub(super) enum First {
    InForce(PolicyFile),
    /// Every fault was logged.
    Faulty,
}

impl PolicyFile {
    pub(super) fn new(
        path: PathBuf,
        policy: watch::Sender<Option<Arc<LoadedPolicy>>>,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
    ) -> PolicyFile {
        PolicyFile { path, policy, metrics, readiness, judged: None }
    }

    /// Puts the file in force for the first time.
    pub(super) fn first(mut self) -> anyhow::Result<First> {
        let content = std::fs::read(&self.path).with_context(|| format!("the policy file {}", self.path.display()))?;
        Ok(match self.judge(content) {
            Ok(()) => First::InForce(self),
            Err(_) => First::Faulty,
        })
    }

    /// Follows the file, for ever.
    pub(super) async fn keep(mut self) {
        let mut seen: Option<Vec<u8>> = None;
        let mut away = false;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let content = match tokio::fs::read(&self.path).await {
                Ok(content) => content,
                Err(error) if away => {
                    tracing::debug!(file = %self.path.display(), error = %error, "the policy file cannot be read");
                    continue;
                }
                Err(error) => {
                    away = true;
                    self.say_kept(FILE, &format!("the file cannot be read: {error}"));
                    continue;
                }
            };
            if std::mem::take(&mut away) {
                tracing::info!(file = %self.path.display(), "the policy file can be read again");
                // What was said of the document holds on where the file was put back as it was.
                self.readiness.remark(READINESS, FILE, None);
            }
            if self.judged.as_ref() == Some(&content) {
                seen = None;
            } else if seen.as_ref() == Some(&content) {
                seen = None;
                if let Err(faults) = self.judge(content) {
                    self.say_kept(DOCUMENT, &format!("the file has {} faults", faults.0.len()));
                }
            } else {
                seen = Some(content);
            }
        }
    }

    /// Puts `content` in force when it has no faults, and logs them when it has.
    fn judge(&mut self, content: Vec<u8>) -> Result<(), Faults> {
        let source = String::from_utf8_lossy(&content).into_owned();
        self.judged = Some(content);
        let file = self.path.display();
        match Policy::read(&source) {
            Ok(compiled) => {
                let generation = self.policy.borrow().as_ref().map_or(0, |loaded| loaded.generation) + 1;
                let loaded = LoadedPolicy::new(compiled.policy, &source, generation);
                self.metrics.policy_loaded(generation, &loaded.sha256);
                self.readiness.set(READINESS, Ok(()));
                self.readiness.remark(READINESS, DOCUMENT, None);
                for warning in &compiled.warnings {
                    tracing::warn!("{file}: {warning}");
                }
                tracing::info!(file = %file, generation, sha256 = loaded.sha256, "policy in force");
                self.policy.send_replace(Some(Arc::new(loaded)));
                Ok(())
            }
            Err(faults) => {
                self.metrics.policy_errors(faults.0.len());
                for fault in &faults.0 {
                    tracing::error!("{file}: {fault}");
                }
                Err(faults)
            }
        }
    }

    fn say_kept(&self, about: &'static str, why: &str) {
        tracing::warn!(file = %self.path.display(), "{why}; the last good policy stays in force");
        self.readiness.remark(READINESS, about, Some(format!("the last good one: {why}")));
    }
}
