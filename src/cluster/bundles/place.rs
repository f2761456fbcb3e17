//! The objects that CA bundles are in, each with the keys that the policy names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::policy::{BundleRef, KeyRef};

use super::super::standing::{Access, with_names};

/// One object, and what is wanted of it: it gets one watch, whatever number of bundles is in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) namespace: Arc<str>,
    pub(super) kind: Kind,
    pub(super) name: Arc<str>,
    /// Another set of keys is another place: what a watch has read is of the keys that it was begun for.
    pub(super) keys: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    /// As RBAC calls it.
    fn resource(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
        }
    }
}

impl Place {
    /// The places of these bundles; those in files have none.
    pub(super) fn of<'b>(bundles: impl Iterator<Item = &'b BundleRef>) -> BTreeSet<Self> {
        let mut places: BTreeMap<(&str, Kind, &str), BTreeSet<String>> = BTreeMap::new();
        for bundle in bundles {
            let (kind, KeyRef { namespace, name, key }) = match bundle {
                BundleRef::ConfigMap(key) => (Kind::ConfigMap, key),
                BundleRef::Secret(key) => (Kind::Secret, key),
                BundleRef::File(_) => continue,
            };
            places.entry((namespace, kind, name)).or_default().insert(key.clone());
        }
        let place = |((namespace, kind, name), keys): ((&str, Kind, &str), _)| Self {
            namespace: namespace.into(),
            kind,
            name: name.into(),
            keys,
        };
        places.into_iter().map(place).collect()
    }

    /// The bundles that are here.
    pub(super) fn bundles(&self) -> impl Iterator<Item = BundleRef> {
        self.keys.iter().map(|key| {
            let key = KeyRef { namespace: self.namespace.to_string(), name: self.name.to_string(), key: key.clone() };
            match self.kind {
                Kind::ConfigMap => BundleRef::ConfigMap(key),
                Kind::Secret => BundleRef::Secret(key),
            }
        })
    }
}

impl Access for Place {
    const ROLE: &'static str = "a Role";

    fn words<'s>(places: impl Iterator<Item = &'s Self>) -> Option<String> {
        let mut roles: BTreeMap<(&str, Kind), Vec<&str>> = BTreeMap::new();
        for Place { namespace, kind, name, keys: _ } in places {
            roles.entry((namespace, *kind)).or_default().push(name);
        }
        let words: Vec<String> = roles
            .into_iter()
            .filter_map(|((namespace, kind), names)| {
                with_names(kind.resource(), names).map(|names| format!("{names} in {namespace}"))
            })
            .collect();
        (!words.is_empty()).then(|| words.join(", and of "))
    }
}
