//! The Secret `mirrorgate-serving` as it is watched: its four values, and what its annotation asks for.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use serde::de::{Deserialize, Deserializer};

use crate::serving::{Content, KeyPem};

use super::super::watched::{Kept, Metadata, Watched};

/// The annotation by which a renewal is asked for.
pub(super) const RENEW: &str = "mirrorgate.dev/renew";

/// The keys of the Secret.
pub(super) const CERTIFICATE: &str = "tls.crt";
pub(super) const KEY: &str = "tls.key";
pub(super) const AUTHORITIES: &str = "ca.crt";
pub(super) const AUTHORITY_KEY: &str = "ca.key";

/// The Secret.
pub(in super::super) type WatchedServing = Watched<Secret, Serving>;

/// What is kept of it. What is printed of it shows no key.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Serving {
    pub(in super::super) content: Content,
    /// The value of the annotation.
    pub(super) renew: Option<String>,
}

impl Kept for Serving {
    type Written = Written;

    fn keep(Written { metadata, data }: Written) -> (Metadata, Self) {
        let WrittenMetadata { name, namespace, resource_version, annotations } = metadata;
        let Annotations { renew } = annotations.unwrap_or_default();
        (Metadata { name, namespace, resource_version }, Self { content: data.unwrap_or_default().into(), renew })
    }
}

/// The Secret with its keys; without `Debug`, as is all below.
#[derive(serde::Deserialize)]
pub(in super::super) struct Written {
    metadata: WrittenMetadata,
    data: Option<Data>,
}

/// [`Metadata`] and the annotations. Not by `flatten`, which would read all that there is into a buffer first.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenMetadata {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    annotations: Option<Annotations>,
}

/// Of the annotations, ours.
#[derive(Default, serde::Deserialize)]
struct Annotations {
    /// [`RENEW`]
    #[serde(rename = "mirrorgate.dev/renew")]
    renew: Option<String>,
}

/// Of `data`, what is ours: [`CERTIFICATE`], [`KEY`], [`AUTHORITIES`], [`AUTHORITY_KEY`].
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Data {
    #[serde(rename = "tls.crt")]
    certificate: Base64,
    #[serde(rename = "tls.key")]
    key: Base64,
    #[serde(rename = "ca.crt")]
    authorities: Base64,
    #[serde(rename = "ca.key")]
    authority_key: Base64,
}

#[derive(Default)]
struct Base64(Vec<u8>);

impl From<Data> for Content {
    fn from(Data { certificate, key, authorities, authority_key }: Data) -> Self {
        Self {
            certificate: certificate.0,
            key: KeyPem::from(key.0),
            authorities: authorities.0,
            authority_key: KeyPem::from(authority_key.0),
        }
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<Cow<'de, str>>::deserialize(deserializer)?.unwrap_or_default();
        // The API server keeps bytes, and sends no other. An error would quote a key, and end the watch.
        Ok(Self(STANDARD.decode(&*text).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use kube::Resource;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_printed_of_the_secret_shows_no_key() {
        let secret = json!({
            "metadata": {
                "name": "mirrorgate-serving", "namespace": "ns", "resourceVersion": "7", "uid": "u",
                "annotations": {RENEW: "ca", "kubectl.kubernetes.io/last-applied-configuration": "{\"hunter2\": 1}"},
                "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:data": {}}}],
            },
            "type": "kubernetes.io/tls",
            "data": {CERTIFICATE: STANDARD.encode("a"), KEY: STANDARD.encode("hunter2"), "other": "AA==", AUTHORITIES: null,
                AUTHORITY_KEY: STANDARD.encode("hunter2")},
        });
        let watched: WatchedServing = serde_json::from_str(&secret.to_string()).unwrap();
        assert_eq!(watched.meta().resource_version.as_deref(), Some("7"));
        assert_eq!(watched.content.renew.as_deref(), Some("ca"));
        let content = &watched.content.content;
        assert_eq!((&*content.certificate, content.key.as_bytes()), (&b"a"[..], &b"hunter2"[..]));
        assert!(content.authorities.is_empty() && !content.is_empty());
        let printed = format!("{watched:?}");
        assert!(!printed.contains("hunter2") && !printed.contains(&STANDARD.encode("hunter2")), "{printed}");
        let broken = secret.to_string().replace(&STANDARD.encode("hunter2"), "hunter2!");
        let watched: WatchedServing = serde_json::from_str(&broken).unwrap();
        assert!(watched.content.content.key.as_bytes().is_empty());
    }

    #[test]
    fn an_empty_secret_is_empty() {
        for data in [json!(null), json!({}), json!({CERTIFICATE: "", KEY: ""})] {
            let secret = json!({"metadata": {"name": "mirrorgate-serving"}, "data": data});
            let watched: WatchedServing = serde_json::from_str(&secret.to_string()).unwrap();
            assert!(watched.content.content.is_empty() && watched.content.renew.is_none());
        }
    }
}
