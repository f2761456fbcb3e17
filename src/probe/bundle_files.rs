//! The CA bundles of the policy that are files: read again when they change, also when a volume is swapped.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::files::{FollowedFiles, LOOK_EVERY, News};
use crate::policy::{BundleRef, LoadedPolicy};
use crate::trust::Bundle;

use super::{BundleKeeper, MOST_BUNDLE_BYTES};

/// Follows the files that the policy in force names.
#[derive(Debug)]
pub struct BundleFiles {
    policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
    keeper: Arc<BundleKeeper>,
    files: BTreeMap<BundleRef, FollowedFiles<1>>,
    /// Whether somebody else looks for the bundles that are in a cluster.
    has_cluster: bool,
}

impl BundleFiles {
    /// Without a cluster, bundles in ConfigMaps and Secrets are said not to be there.
    pub fn new(
        policy: watch::Receiver<Option<Arc<LoadedPolicy>>>,
        keeper: Arc<BundleKeeper>,
        has_cluster: bool,
    ) -> Self {
        Self { policy, keeper, files: BTreeMap::new(), has_cluster }
    }

    /// Follows them for as long as the process lives.
    pub async fn run(mut self) -> Infallible {
        self.follow();
        loop {
            self.look().await;
            tokio::select! {
                changed = self.policy.changed() => match changed {
                    Ok(()) => self.follow(),
                    // Whoever wrote the policy has ended, and with it the process ends.
                    Err(_) => pending().await,
                },
                () = tokio::time::sleep(LOOK_EVERY), if !self.files.is_empty() => {}
            }
        }
    }

    fn follow(&mut self) {
        let Some(loaded) = self.policy.borrow_and_update().clone() else { return };
        self.keeper.follow(&loaded);
        let mut old = std::mem::take(&mut self.files);
        for bundle in loaded.policy.bundles() {
            match bundle {
                BundleRef::File(path) => {
                    let new = || FollowedFiles::new([PathBuf::from(path)], MOST_BUNDLE_BYTES as u64);
                    self.files.insert(bundle.clone(), old.remove(bundle).unwrap_or_else(new));
                }
                BundleRef::ConfigMap(_) | BundleRef::Secret(_) if self.has_cluster => {}
                BundleRef::ConfigMap(_) | BundleRef::Secret(_) => {
                    self.keeper.unusable(bundle, "there is no cluster to read it from (`serve --policy`)".to_owned());
                }
            }
        }
    }

    async fn look(&mut self) {
        for (bundle, file) in &mut self.files {
            match file.look().await {
                Some(News::Content([content])) => self.keeper.read(bundle, &Bundle::read(&content)),
                Some(News::Away(error)) => {
                    self.keeper.away(bundle, Some(format!("the file cannot be read: {}", error.source)));
                }
                Some(News::Back) => self.keeper.away(bundle, None),
                None => {}
            }
        }
    }
}
