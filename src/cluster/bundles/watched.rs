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
