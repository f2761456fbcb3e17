//! CA bundles that are kept elsewhere, by the place that the policy names.

use std::fmt;

/// A CA bundle that is kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BundleRef {
    /// A key of a ConfigMap.
    ConfigMap(KeyRef),
    /// A key of a Secret.
    Secret(KeyRef),
    /// A file, by its absolute path.
    File(String),
}

/// One key of a ConfigMap or a Secret. All three can be names in the API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyRef {
    /// The namespace that the object is in.
    pub namespace: String,
    /// The name of the object.
    pub name: String,
    /// The key in it.
    pub key: String,
}

/// `configMap kube-system/image-fetcher-ca-bundle, key ca-bundle`, or `file /etc/ssl/ca.crt`.
impl fmt::Display for BundleRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfigMap(key) => write!(formatter, "configMap {key}"),
            Self::Secret(key) => write!(formatter, "secret {key}"),
            Self::File(path) => write!(formatter, "file {path}"),
        }
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, key } = self;
        write!(formatter, "{namespace}/{name}, key {key}")
    }
}
