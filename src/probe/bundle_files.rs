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
    /// With each, since which policy the keeper knows of it.
    files: BTreeMap<BundleRef, (u64, FollowedFiles<1>)>,
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
        let since = self.keeper.follow(&loaded);
        let mut old = std::mem::take(&mut self.files);
        for bundle in loaded.policy.bundles() {
            match bundle {
                BundleRef::File(path) => {
                    let since = since.get(bundle).copied().unwrap_or_default();
                    // Of what the keeper has forgotten meanwhile, a file that does not change tells nothing again.
                    let known = old.remove(bundle).filter(|(known_since, _)| *known_since == since);
                    let new = || (since, FollowedFiles::new([PathBuf::from(path)], MOST_BUNDLE_BYTES as u64));
                    self.files.insert(bundle.clone(), known.unwrap_or_else(new));
                }
                BundleRef::ConfigMap(_) | BundleRef::Secret(_) if self.has_cluster => {}
                BundleRef::ConfigMap(_) | BundleRef::Secret(_) => {
                    self.keeper.unusable(bundle, "there is no cluster to read it from (`serve --policy`)".to_owned());
                }
            }
        }
    }

    async fn look(&mut self) {
        for (bundle, (_, file)) in &mut self.files {
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::policy::Policy;
    use crate::probe::BundleStore;
    use crate::telemetry::{Metrics, Readiness};

    fn files(bundles: &str) -> (BundleFiles, BundleStore, Arc<Readiness>) {
        let (metrics, readiness) = (Arc::new(Metrics::new()), Arc::new(Readiness::new(&[])));
        let store = BundleStore::new();
        let keeper = Arc::new(BundleKeeper::new(store.clone(), metrics, Arc::clone(&readiness)));
        let source = format!(
            "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\ntrust:\n  registries: [a.corp]\n  caBundles:\n{bundles}"
        );
        let loaded = LoadedPolicy::new(Policy::read(&source).unwrap().policy, &source, 1);
        let (_, policy) = watch::channel(Some(Arc::new(loaded)));
        let mut files = BundleFiles::new(policy, keeper, false);
        files.follow();
        (files, store, readiness)
    }

    fn write(path: &Path, certificates: usize) {
        let pem = |_| rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap().cert.pem();
        fs::write(path, (0..certificates).map(pem).collect::<String>()).unwrap();
    }

    #[tokio::test]
    async fn trap_21_a_file_is_read_again_when_it_changes_and_a_missing_one_keeps_its_last_good_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        let (mut files, store, readiness) = files(&format!("  - file: {}\n", path.display()));
        let bundle = BundleRef::File(path.display().to_string());
        let certificates = || store.snapshot().get(&bundle).map(|pool| pool.len());
        files.look().await;
        assert_eq!(certificates(), None);
        assert!(readiness.is_ready() && readiness.report().contains("the file cannot be read: No such file"));
        write(&path, 2);
        files.look().await;
        files.look().await;
        assert_eq!((certificates(), readiness.report().as_str()), (Some(2), "[+] ca-bundles\nready\n"));
        write(&path, 3);
        files.look().await;
        files.look().await;
        assert_eq!(certificates(), Some(3));
        fs::remove_file(&path).unwrap();
        files.look().await;
        assert!(readiness.report().contains("its last good certificates stay in force (3)"), "{}", readiness.report());
        fs::write(&path, vec![b'x'; MOST_BUNDLE_BYTES + 1]).unwrap();
        files.look().await;
        assert_eq!(certificates(), Some(3));
    }

    /// Whoever looks for those in the cluster saw the policy in between, and the follower of files did not.
    #[tokio::test]
    async fn trap_21_a_file_is_read_again_when_the_keeper_has_forgotten_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        write(&path, 2);
        let bundle = BundleRef::File(path.display().to_string());
        let (mut files, store, _) = files(&format!("  - file: {}\n", path.display()));
        let named = files.policy.borrow().clone().unwrap();
        let certificates = || store.snapshot().get(&bundle).map(|pool| pool.len());
        while certificates() != Some(2) {
            files.look().await;
        }
        let source = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n";
        let without = LoadedPolicy::new(Policy::read(source).unwrap().policy, source, 2);
        assert!(files.keeper.follow(&without).is_empty() && certificates().is_none());
        let again = LoadedPolicy { generation: 3, ..(*named).clone() };
        let (_sender, policy) = watch::channel(Some(Arc::new(again)));
        files.policy = policy;
        files.follow();
        files.look().await;
        files.look().await;
        assert_eq!(certificates(), Some(2));
    }

    #[tokio::test]
    async fn without_a_cluster_a_bundle_in_it_is_said_not_to_be_there() {
        let (mut files, _, readiness) = files("  - secret: {namespace: a, name: b, key: ca.crt}\n");
        files.look().await;
        let words =
            "secret a/b, key ca.crt: there is no cluster to read it from (`serve --policy`); nothing of it is in force";
        assert!(readiness.is_ready() && readiness.report().contains(words), "{}", readiness.report());
    }
}
