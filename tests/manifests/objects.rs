//! Kubernetes objects as kubectl and helm print them.

use std::fmt;

use mirrorgate::yaml::{Limits, parse_documents};
use serde_json::Value;

use crate::lab::{folder, kubectl};

/// An object of a stream of manifests.
pub(crate) struct Object(pub(crate) Value);

/// `Kind/namespace/name`, or `Kind/name`.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        if let Some(namespace) = self.namespace() {
            write!(f, "/{namespace}")?;
        }
        write!(f, "/{}", self.name())
    }
}

impl Object {
    pub(crate) fn kind(&self) -> &str {
        self.0["kind"].as_str().unwrap()
    }

    pub(crate) fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap()
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        self.0["metadata"]["namespace"].as_str()
    }

    /// What is configured about admission by all pods or namespaces of the cluster.
    pub(crate) fn stands_in_the_way(&self) -> bool {
        self.0["apiVersion"].as_str().unwrap().starts_with("admissionregistration.k8s.io/")
    }
}

/// The objects of a YAML stream.
pub(crate) fn objects(yaml: &str) -> Vec<Object> {
    let documents = parse_documents(yaml, Limits::MANIFEST).unwrap();
    documents.iter().map(|document| Object(document.to_json())).filter(|object| !object.0.is_null()).collect()
}

/// What a folder of `manifests/` makes, in its order.
pub(crate) fn kustomized(name: &str) -> Vec<Object> {
    objects(&kubectl(&["kustomize", &folder(name)]).success())
}

/// The one object of a kind, by its name.
#[track_caller]
pub(crate) fn named<'o>(objects: &'o [Object], kind: &str, name: &str) -> &'o Value {
    let mut found = objects.iter().filter(|object| object.kind() == kind && object.name() == name);
    match (found.next(), found.next()) {
        (Some(object), None) => &object.0,
        (None, _) => panic!("there is no {kind} {name}"),
        (Some(_), Some(_)) => panic!("there are two {kind} {name}"),
    }
}
