//! The CAs that a registry is judged by on the command line: those of the policy that are in it or in files, `--ca`, and the
//! public roots (T2).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};

use crate::image::Registry;
use crate::policy::{BundleRef, CaSource, Policy};
use crate::probe::{MOST_BUNDLE_BYTES, without};
use crate::review::Verdict;
use crate::trust::{Bundle, Pool, Roots, public_roots};

/// What was read for all registries of one command.
pub(super) struct RootSources {
    /// `--ca`, each file once.
    given: Vec<Arc<Pool>>,
    with_public_roots: bool,
    /// The bundles of the policy that are files and could be read.
    files: BTreeMap<BundleRef, Arc<Pool>>,
}

impl RootSources {
    /// Reads the files, and says on stderr what in them is no use.
    ///
    /// # Errors
    /// A `--ca` file that cannot be read, or has no usable certificate.
    pub(super) fn read(ca: &[PathBuf], with_public_roots: bool, policy: Option<&Policy>) -> anyhow::Result<Self> {
        let mut given = Vec::new();
        for path in ca {
            let pool = pool(path, &format!("--ca {}", path.display()))?;
            given.push(Arc::new(pool));
        }
        let mut files = BTreeMap::new();
        for bundle in policy.into_iter().flat_map(Policy::bundles) {
            let BundleRef::File(path) = bundle else { continue };
            match pool(Path::new(path), &bundle.to_string()) {
                Ok(pool) => drop(files.insert(bundle.clone(), Arc::new(pool))),
                Err(error) => anstream::eprintln!("warning: {error:#}"),
            }
        }
        Ok(Self { given, with_public_roots, files })
    }

    /// The roots of one registry, and the bundles that could vouch for it and are not at hand.
    pub(super) fn of(&self, registry: &Registry, policy: Option<&Policy>) -> (Roots, Vec<BundleRef>) {
        let (mut pools, mut absent) = (self.given.clone(), Vec::new());
        let sources = policy.map_or_else(|| vec![CaSource::PublicRoots], |policy| policy.ca_sources(registry.as_str()));
        for source in sources {
            match source {
                CaSource::Inline(pool) => pools.push(pool.clone()),
                CaSource::Bundle(bundle) => match self.files.get(bundle) {
                    Some(pool) => pools.push(pool.clone()),
                    None => absent.push(bundle.clone()),
                },
                CaSource::PublicRoots if self.with_public_roots => pools.push(public_roots()),
                CaSource::PublicRoots => {}
            }
        }
        (Roots::new(pools), absent)
    }
}

/// The verdict that an answer comes to, where bundles are not at hand.
pub(super) fn settle(verdict: Verdict, absent: &[BundleRef]) -> Verdict {
    without(absent, verdict, |names| {
        format!(
            "its certificate leads to none of the CAs that are known here and may vouch for it, and this bundle of the \
             policy is not: {names}; give its certificates by --ca FILE"
        )
    })
}

fn pool(path: &Path, source: &str) -> anyhow::Result<Pool> {
    let text = std::fs::read(path).with_context(|| format!("{source} cannot be read"))?;
    if text.len() > MOST_BUNDLE_BYTES {
        bail!("{source} has more than {MOST_BUNDLE_BYTES} bytes");
    }
    let Bundle { certificates, skipped } = Bundle::read(&text);
    if certificates.is_empty() {
        let why: Vec<String> = skipped.iter().map(|skipped| format!(": {skipped}")).collect();
        bail!("{source} has no usable certificate{}", why.join(""));
    }
    for skipped in skipped {
        anstream::eprintln!("warning: {source}: {skipped}");
    }
    Ok(Pool::new(source, certificates))
}
