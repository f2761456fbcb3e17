//! A Secret as it is watched: what it covers. Its credentials do not outlive the reading of it.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::keyring::PullSecret;

use super::super::watched::{Kept, Metadata, Watched};

/// One Secret.
pub(super) type WatchedSecret = Watched<Secret, PullSecret>;

impl Kept for PullSecret {
    type Written = Written;

    fn keep(Written { metadata, secret_type, data }: Written) -> (Metadata, Self) {
        (metadata, data.unwrap_or_default().read(&secret_type.unwrap_or_default()))
    }
}

/// The Secret with its credentials; without `Debug`, as is all below.
#[derive(serde::Deserialize)]
pub(in super::super) struct Written {
    metadata: Metadata,
    /// It comes after `data`.
    #[serde(rename = "type")]
    secret_type: Option<String>,
    data: Option<Data>,
}

/// Of `data`, the keys that may hold a docker config.
#[derive(Default)]
struct Data {
    values: Vec<(&'static str, Value)>,
}

enum Value {
    Decoded(Vec<u8>),
    NotBase64,
}

impl Data {
    fn read(&self, secret_type: &str) -> PullSecret {
        let not_base64 = Cell::new(false);
        let secret = PullSecret::read(secret_type, |key| match &self.values.iter().find(|(name, _)| *name == key)?.1 {
            Value::Decoded(bytes) => Some(bytes.as_slice()),
            Value::NotBase64 => {
                not_base64.set(true);
                None
            }
        });
        if not_base64.get() { PullSecret::not_base64(secret_type) } else { secret }
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
                let mut data = Data::default();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    match [".dockerconfigjson", ".dockercfg"].into_iter().find(|wanted| *wanted == key) {
                        Some(key) => data.values.push((key, map.next_value()?)),
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(data)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;
        impl Visitor<'_> for Base64 {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(STANDARD.decode(text).map_or(Value::NotBase64, Value::Decoded))
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Decoded(Vec::new()))
            }
        }
        deserializer.deserialize_any(Base64)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::Resource;

    use super::*;
    use serde_json::{Value as Json, json};

    fn of(secret_type: &str, data: Json) -> WatchedSecret {
        let secret = json!({
            "metadata": {
                "name": "harbor-pull", "namespace": "team-a", "resourceVersion": "7", "uid": "u",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"data\": \"hunter2\"}"},
                "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:data": {}}}],
            },
            "data": data, "immutable": false, "type": secret_type,
        });
        // As the API server sends it: text.
        serde_json::from_str(&secret.to_string()).unwrap()
    }

    fn docker_config(content: &str) -> PullSecret {
        let data = json!({".dockerconfigjson": STANDARD.encode(content), "another": "aHVudGVyMg=="});
        of("kubernetes.io/dockerconfigjson", data).content
    }

    #[test]
    fn s3_the_coverage_is_kept_and_nothing_else() {
        let data = json!({".dockerconfigjson": STANDARD.encode(
            r#"{"auths": {"harbor.corp:5000": {"username": "hunter2", "password": "hunter2", "auth": "aHVudGVyMjpodW50ZXIy"}}}"#
        )});
        let secret = of("kubernetes.io/dockerconfigjson", data);
        assert_eq!(secret.place(), ("team-a", "harbor-pull"));
        assert_eq!(secret.meta().resource_version.as_deref(), Some("7"));
        let bare = ObjectMeta {
            name: secret.meta().name.clone(),
            namespace: secret.meta().namespace.clone(),
            resource_version: secret.meta().resource_version.clone(),
            ..ObjectMeta::default()
        };
        assert_eq!(*secret.meta(), bare);
        let PullSecret::DockerConfig(coverage) = &secret.content else { panic!("{secret:?}") };
        assert!(coverage.covers("harbor.corp:5000/proxy/library/nginx"));
        let debug = format!("{secret:?}");
        assert!(!debug.contains("hunter2") && !debug.contains("aHVudGVyMj"), "{debug}");
    }

    #[test]
    fn s3_the_older_type_is_read_too() {
        let data = json!({".dockercfg": STANDARD.encode(r#"{"harbor.corp": {"auth": "YTpi"}}"#)});
        let PullSecret::DockerConfig(coverage) = of("kubernetes.io/dockercfg", data).content else { panic!() };
        assert!(coverage.covers("harbor.corp/app"));
    }

    /// An object that could not be read would end the watch, and hide all others.
    #[test]
    fn what_is_malformed_is_a_state_and_no_fault_of_the_watch() {
        let config = "kubernetes.io/dockerconfigjson";
        for data in [
            json!(null),
            json!({}),
            json!({".dockerconfigjson": null}),
            json!({".dockerconfigjson": ""}),
            json!({".dockerconfigjson": "%%%"}),
            json!({".dockercfg": "e30="}),
        ] {
            assert!(matches!(of(config, data.clone()).content, PullSecret::Malformed(_)), "{data}");
        }
        for content in ["{", "5", r#"{"auths": [1]}"#, "\u{0}\u{1b}[31m"] {
            assert!(matches!(docker_config(content), PullSecret::Malformed(_)), "{content}");
        }
        assert!(matches!(of("Opaque", json!({".dockerconfigjson": "%%%"})).content, PullSecret::OtherType(_)));
        let nothing: WatchedSecret = serde_json::from_str(r#"{"metadata": {"name": "x"}}"#).unwrap();
        assert!(matches!(nothing.content, PullSecret::OtherType(_)));
    }

    #[test]
    fn data_that_is_not_base64_is_said_to_be() {
        let PullSecret::Malformed(fault) = of("kubernetes.io/dockercfg", json!({".dockercfg": "%%%"})).content else {
            panic!()
        };
        assert!(fault.to_string().contains("base64"), "{fault}");
    }
}
