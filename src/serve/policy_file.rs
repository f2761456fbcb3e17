//! `--policy FILE`: the policy without a cluster, read again whenever the file changes. The last good one stays in force
//! (trap 28).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::watch;

use crate::background;
use crate::files::{FollowedFiles, News};
use crate::policy::{Fault, Faults, LoadedPolicy};
use crate::telemetry::{Metrics, Readiness};

/// The part of [`Readiness`] that this module sets.
pub(super) const READINESS: &str = "policy";
/// What `/readyz` remarks on: the newest document, and the file that holds it.
const DOCUMENT: &str = "document";
const FILE: &str = "file";

/// No policy is larger (bytes): a ConfigMap has 1 MiB.
const MOST_BYTES: u64 = 16 << 20;

/// The one writer of the policy in force.
pub(super) struct PolicyFile {
    file: FollowedFiles<1>,
    policy: watch::Sender<Option<Arc<LoadedPolicy>>>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
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
        PolicyFile { file: FollowedFiles::new([path], MOST_BYTES), policy, metrics, readiness }
    }

    /// Puts the file in force for the first time.
    pub(super) fn first(mut self) -> anyhow::Result<First> {
        let [content] = self.file.first().context("the policy file")?;
        let source = String::from_utf8_lossy(&content);
        Ok(match self.take(LoadedPolicy::read(&source, 1)) {
            Ok(()) => First::InForce(self),
            Err(_) => First::Faulty,
        })
    }

    /// Follows the file, for ever.
    pub(super) async fn keep(mut self) {
        loop {
            match self.file.next().await {
                News::Content([content]) => {
                    let generation = self.policy.borrow().as_ref().map_or(0, |loaded| loaded.generation) + 1;
                    let read = move || LoadedPolicy::read(&String::from_utf8_lossy(&content), generation);
                    if let Err(faults) = self.take(background::run(read).await) {
                        self.say_kept(DOCUMENT, &format!("the file has {} faults", faults.0.len()));
                    }
                }
                News::Away(error) => self.say_kept(FILE, &format!("the file cannot be read: {}", error.source)),
                News::Back => {
                    tracing::info!(file = %self.path().display(), "the policy file can be read again");
                    // What was said of the document holds on where the file was put back as it was.
                    self.readiness.remark(READINESS, FILE, None);
                }
            }
        }
    }

    fn path(&self) -> &Path {
        let [path] = self.file.paths();
        path
    }

    /// Puts a policy in force when its document has no faults, and logs them when it has.
    fn take(&self, read: Result<(LoadedPolicy, Vec<Fault>), Faults>) -> Result<(), Faults> {
        let file = self.path().display();
        match read {
            Ok((loaded, warnings)) => {
                self.metrics.policy_loaded(loaded.generation, &loaded.sha256);
                self.readiness.set(READINESS, Ok(()));
                self.readiness.remark(READINESS, DOCUMENT, None);
                for warning in &warnings {
                    tracing::warn!("{file}: {warning}");
                }
                tracing::info!(file = %file, generation = loaded.generation, sha256 = loaded.sha256, "policy in force");
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
        tracing::warn!(file = %self.path().display(), "{why}; the last good policy stays in force");
        self.readiness.remark(READINESS, about, Some(format!("the last good one: {why}")));
    }
}
