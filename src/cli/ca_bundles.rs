//! The CA bundles of a policy for a command that sees no cluster: files are read, and ConfigMaps and Secrets are those
//! among the manifests.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use crate::policy::{BundleRef, KeyRef, Policy};
use crate::probe::{BundleStore, Bundles, MOST_BUNDLE_BYTES};
use crate::trust::{Bundle, Pool};
use crate::yaml::Node;

use super::review::{of_core, value_of_config_map, value_of_secret};

/// What each bundle of the policy holds. Where that cannot be known here, stderr says why. `namespace` is that of the objects
/// which name none.
pub(super) fn read(policy: &Policy, documents: &[&[Node]], namespace: &str) -> Arc<Bundles> {
    let store = BundleStore::new();
    for bundle in policy.bundles() {
        let certificates =
            content(bundle, documents, namespace).and_then(|pem| match Bundle::read(&pem).certificates {
                certificates if certificates.is_empty() => Err("no certificate in it can be used".to_owned()),
                certificates => Ok(certificates),
            });
        match certificates {
            Ok(certificates) => {
                store.put(bundle, Arc::new(Pool::new(&bundle.to_string(), certificates)));
            }
            Err(why) => {
                anstream::eprintln!("warning: the CA bundle {bundle}: {why}");
                store.fault(bundle, why);
            }
        }
    }
    store.snapshot()
}

/// The bytes of a bundle, or why there are none. What the server does not read for its size is not read here either.
fn content<'d>(bundle: &BundleRef, documents: &[&'d [Node]], namespace: &str) -> Result<Cow<'d, [u8]>, String> {
    let content = whole_content(bundle, documents, namespace)?;
    if content.len() > MOST_BUNDLE_BYTES {
        return Err(format!("it has more than {MOST_BUNDLE_BYTES} bytes"));
    }
    Ok(content)
}

/// At least as much of it as shows that it is too large.
fn whole_content<'d>(bundle: &BundleRef, documents: &[&'d [Node]], namespace: &str) -> Result<Cow<'d, [u8]>, String> {
    let object = |kind, key: &KeyRef| {
        let mut of_kind = documents.iter().flat_map(|documents| of_core(documents, kind));
        of_kind.rfind(|node| is_named(node, key, namespace)).ok_or(match documents {
            [] => "it is in a cluster, and no cluster is asked",
            _ => "it is in a cluster, and not among the manifests",
        })
    };
    let (key, value) = match bundle {
        BundleRef::File(path) => {
            let mut content = Vec::new();
            let read = File::open(path).and_then(|file| {
                file.take(MOST_BUNDLE_BYTES as u64 + 1).read_to_end(&mut content)?;
                Ok(content)
            });
            return read.map(Cow::Owned).map_err(|error| format!("it cannot be read: {error}"));
        }
        BundleRef::ConfigMap(key) => (key, value_of_config_map(object("ConfigMap", key)?, &key.key)),
        BundleRef::Secret(key) => (key, value_of_secret(object("Secret", key)?, &key.key)),
    };
    value.ok_or_else(|| format!("it has no key {}", key.key))?.map_err(str::to_owned)
}

/// Whether an object has this namespace and name; one that names no namespace is in `namespace`.
fn is_named(node: &Node, key: &KeyRef, namespace: &str) -> bool {
    let metadata = |of| node.field("metadata").and_then(|metadata| metadata.field(of)).and_then(Node::as_str);
    metadata("namespace").unwrap_or(namespace) == key.namespace && metadata("name") == Some(&key.name)
}
