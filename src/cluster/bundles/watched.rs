//! A ConfigMap or a Secret that CA bundles are in, as it is watched: of each key the certificates. Nothing else of it
//! outlives the reading, a private key least of all.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde::de::{Deserialize, Deserializer, Visitor};

use crate::probe::MOST_BUNDLE_BYTES;
use crate::trust::Bundle;

use super::super::watched::{Kept, Metadata, Watched};

/// One ConfigMap.
pub(super) type WatchedConfigMap = Watched<ConfigMap, ConfigMapKeys>;
/// One Secret.
pub(super) type WatchedSecret = Watched<Secret, SecretKeys>;

/// What the keys of an object hold.
pub(super) type Keys = BTreeMap<String, Found>;

/// What one key holds.
#[derive(Clone)]
pub(super) enum Found {
    Bundle(Arc<Bundle>),
    NotBase64,
    TooLarge,
}

/// `data` in clear and `binaryData` in base64.
#[derive(Clone, Debug)]
pub(super) struct ConfigMapKeys(pub(super) Keys);

/// `data` in base64.
#[derive(Clone, Debug)]
pub(super) struct SecretKeys(pub(super) Keys);

impl Kept for ConfigMapKeys {
    type Written = WrittenConfigMap;

    fn keep(WrittenConfigMap { metadata, data, binary_data }: WrittenConfigMap) -> (Metadata, Self) {
        let clear = data.unwrap_or_default().into_iter().map(|(key, Clear(found))| (key, found));
        let binary = binary_data.unwrap_or_default().into_iter().map(|(key, Encoded(found))| (key, found));
        (metadata, Self(clear.chain(binary).collect()))
    }
}

impl Kept for SecretKeys {
    type Written = WrittenSecret;

    fn keep(WrittenSecret { metadata, data }: WrittenSecret) -> (Metadata, Self) {
        (metadata, Self(data.unwrap_or_default().into_iter().map(|(key, Encoded(found))| (key, found)).collect()))
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct WrittenConfigMap {
    metadata: Metadata,
    data: Option<BTreeMap<String, Clear>>,
    binary_data: Option<BTreeMap<String, Encoded>>,
}

#[derive(serde::Deserialize)]
pub(in super::super) struct WrittenSecret {
    metadata: Metadata,
    data: Option<BTreeMap<String, Encoded>>,
}

/// A value as it stands.
struct Clear(Found);

/// A value in base64.
struct Encoded(Found);

impl Found {
    fn of(pem: &[u8]) -> Self {
        if pem.len() > MOST_BUNDLE_BYTES { Self::TooLarge } else { Self::Bundle(Arc::new(Bundle::read(pem))) }
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle(bundle) => write!(f, "{} certificates", bundle.certificates.len()),
            Self::NotBase64 => f.write_str("not base64"),
            Self::TooLarge => f.write_str("too large"),
        }
    }
}

impl<'de> Deserialize<'de> for Clear {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text(Found::of)).map(Self)
    }
}

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let decoded = |text: &[u8]| STANDARD.decode(text).map_or(Found::NotBase64, |pem| Found::of(&pem));
        deserializer.deserialize_any(Text(decoded)).map(Self)
    }
}

/// A text, or `null`, which is an empty one.
struct Text<F>(F);

impl<F: FnOnce(&[u8]) -> Found> Visitor<'_> for Text<F> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        Ok(self.0(text.as_bytes()))
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(self.0(b""))
    }
}

#[cfg(test)]
mod tests {
    use kube::Resource;
    use serde_json::{Value, json};

    use super::*;

    fn object(content: Value) -> String {
        let mut object = json!({
            "metadata": {
                "name": "registry-ca", "namespace": "registry", "resourceVersion": "7", "uid": "u",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"data\": \"hunter2\"}"},
                "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:data": {}}}],
            },
        });
        object.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
        // As the API server sends it: text.
        object.to_string()
    }

    fn certificates(keys: &Keys, key: &str) -> usize {
        match &keys[key] {
            Found::Bundle(bundle) => bundle.certificates.len(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn of_a_secret_only_certificates_outlive_the_reading() {
        let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let both = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
        let data =
            json!({"ca.crt": STANDARD.encode(both), "tls.key": STANDARD.encode("hunter2"), "none": null, "odd": "%"});
        let secret: WatchedSecret = serde_json::from_str(&object(json!({"data": data, "type": "Opaque"}))).unwrap();
        assert_eq!(secret.place(), ("registry", "registry-ca"));
        assert!(secret.meta().managed_fields.is_none() && secret.meta().annotations.is_none());
        let SecretKeys(keys) = &secret.content;
        assert_eq!((certificates(keys, "ca.crt"), certificates(keys, "tls.key")), (1, 0));
        assert!(matches!(keys["odd"], Found::NotBase64) && certificates(keys, "none") == 0);
        let debug = format!("{secret:?}");
        let key = made.signing_key.serialize_pem();
        assert!(!debug.contains("hunter2") && !debug.contains(key.lines().nth(1).unwrap()), "{debug}");
    }

    #[test]
    fn a_config_map_is_read_in_clear_and_in_base64() {
        let pem = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap().cert.pem();
        let content =
            json!({"data": {"clear": &pem}, "binaryData": {"binary": STANDARD.encode(format!("{pem}{pem}"))}});
        let config_map: WatchedConfigMap = serde_json::from_str(&object(content)).unwrap();
        let ConfigMapKeys(keys) = &config_map.content;
        assert_eq!((certificates(keys, "clear"), certificates(keys, "binary")), (1, 2));
        let empty: WatchedConfigMap = serde_json::from_str(&object(json!({}))).unwrap();
        assert!(empty.content.0.is_empty());
    }

    #[test]
    fn a_bundle_larger_than_reason_is_not_read() {
        let long = "x".repeat(MOST_BUNDLE_BYTES);
        let content = json!({"data": {"fits": &long, "more": format!("{long}x")}});
        let config_map: WatchedConfigMap = serde_json::from_str(&object(content)).unwrap();
        let ConfigMapKeys(keys) = &config_map.content;
        assert!(matches!((&keys["fits"], &keys["more"]), (Found::Bundle(_), Found::TooLarge)));
    }
}
