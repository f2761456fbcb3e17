//! An object as it is watched: where it is, and what is kept of its content. Nothing else outlives the reading of it:
//! annotations may carry a copy of a whole Secret.

use std::borrow::Cow;
use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};

/// What is kept of the content of an object.
pub(super) trait Kept: Sized {
    /// The object as the API server writes it, as far as it is read.
    type Written: DeserializeOwned;

    /// Its metadata, and what is kept.
    fn keep(written: Self::Written) -> (Metadata, Self);
}

/// An object of the kind `O`, of which only `C` is kept.
#[derive(Clone, Debug)]
pub(super) struct Watched<O, C> {
    /// Name, namespace and resource version.
    metadata: ObjectMeta,
    pub(super) content: C,
    kind: PhantomData<O>,
}

/// As much of the metadata as is read.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) resource_version: Option<String>,
}

impl<O, C> Watched<O, C> {
    /// Namespace and name.
    pub(super) fn place(&self) -> (&str, &str) {
        (self.metadata.namespace.as_deref().unwrap_or_default(), self.metadata.name.as_deref().unwrap_or_default())
    }
}

impl<O: Resource<DynamicType = ()>, C> Resource for Watched<O, C> {
    type DynamicType = ();
    type Scope = O::Scope;

    fn kind(_: &()) -> Cow<'_, str> {
        O::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        O::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        O::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        O::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl<'de, O, C: Kept> Deserialize<'de> for Watched<O, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (Metadata { name, namespace, resource_version }, content) = C::keep(C::Written::deserialize(deserializer)?);
        let metadata = ObjectMeta { name, namespace, resource_version, ..ObjectMeta::default() };
        Ok(Self { metadata, content, kind: PhantomData })
    }
}
