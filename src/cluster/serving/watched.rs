//! The Secret `mirrorgate-serving` as it is watched: its four values, and what its annotation asks for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

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

    fn keep(Written { metadata: WrittenMetadata { metadata, annotations }, data }: Written) -> (Metadata, Self) {
        let Renew(renew) = annotations.unwrap_or_default();
        (metadata, Self { content: data.unwrap_or_default().0, renew })
    }
}

/// The Secret with its keys; without `Debug`, as is all below.
#[derive(serde::Deserialize)]
pub(in super::super) struct Written {
    metadata: WrittenMetadata,
    data: Option<Data>,
}

#[derive(serde::Deserialize)]
struct WrittenMetadata {
    #[serde(flatten)]
    metadata: Metadata,
    annotations: Option<Renew>,
}

/// Of the annotations, ours.
#[derive(Default)]
struct Renew(Option<String>);

#[derive(Default)]
struct Data(Content);

struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Renew {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = BTreeMap::<Cow<'de, str>, Option<String>>::deserialize(deserializer);
        all.map(|mut all| Self(all.remove(RENEW).flatten()))
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Data;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the data of a Secret")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
                let mut content = Content::default();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    match &*key {
                        CERTIFICATE => content.certificate = map.next_value::<Base64>()?.0,
                        KEY => content.key = KeyPem::from(map.next_value::<Base64>()?.0),
                        AUTHORITIES => content.authorities = map.next_value::<Base64>()?.0,
                        AUTHORITY_KEY => content.authority_key = KeyPem::from(map.next_value::<Base64>()?.0),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Data(content))
            }
        }
        deserializer.deserialize_map(Keys)
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
