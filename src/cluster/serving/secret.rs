//! The Secret as it was seen, and the writing of it: by the version that it is made of, so that who comes too late is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use serde_json::{Value, json};

use crate::serving::{Content, Found, Held, Renewal, Step};

use super::SERVING_SECRET;
use super::watched::{AUTHORITIES, AUTHORITY_KEY, CERTIFICATE, KEY, RENEW, WatchedServing};

/// What there is of the Secret.
#[derive(Clone)]
pub(super) enum Seen {
    Absent,
    Present { held: Arc<Held>, renew: Option<String>, resource_version: String },
}

impl Seen {
    pub(super) fn of(secret: WatchedServing) -> Self {
        let resource_version = secret.meta().resource_version.clone().unwrap_or_default();
        let held = Arc::new(Held::read(secret.content.content));
        Self::Present { held, renew: secret.content.renew, resource_version }
    }

    pub(super) fn found(&self) -> Found<'_> {
        match self {
            Self::Absent => Found::Absent,
            Self::Present { held, .. } => Found::Present(held, self.wish().and_then(Renewal::parse)),
        }
    }

    /// It is not there, or empty.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::Present { held, .. } => held.content().is_empty(),
        }
    }

    /// The value of the annotation that asks for a renewal.
    pub(super) fn wish(&self) -> Option<&str> {
        match self {
            Self::Absent => None,
            Self::Present { renew, .. } => renew.as_deref(),
        }
    }
}

/// Writes it, and takes the wish away that `step` grants.
pub(super) async fn write(
    client: &Client,
    namespace: &str,
    seen: &Seen,
    step: &Step,
    content: &Content,
) -> Result<WatchedServing, kube::Error> {
    let Seen::Present { resource_version, .. } = seen else {
        let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
        return read_back(&secrets.create(&PostParams::default(), &new(content)).await?);
    };
    // The API server refuses it when the version is not the Secret's any more.
    let mut metadata = json!({ "resourceVersion": resource_version });
    if seen.wish().and_then(Renewal::parse).is_some_and(|renewal| step.grants(renewal)) {
        metadata["annotations"] = json!({ RENEW: Value::Null });
    }
    let patch = json!({ "metadata": metadata, "data": encoded(content) });
    let secrets = Api::<WatchedServing>::namespaced(client.clone(), namespace);
    secrets.patch(SERVING_SECRET, &PatchParams::default(), &Patch::Merge(&patch)).await
}

fn new(content: &Content) -> Secret {
    let data = encoded(content).into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Secret {
        metadata: ObjectMeta {
            name: Some(SERVING_SECRET.to_owned()),
            labels: Some([("app.kubernetes.io/name".to_owned(), "mirrorgate".to_owned())].into()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

fn encoded(content: &Content) -> BTreeMap<&'static str, ByteString> {
    let Content { certificate, key, authorities, authority_key } = content;
    [
        (CERTIFICATE, &certificate[..]),
        (KEY, key.as_bytes()),
        (AUTHORITIES, authorities),
        (AUTHORITY_KEY, authority_key.as_bytes()),
    ]
    .map(|(key, value)| (key, ByteString(value.to_vec())))
    .into()
}

fn read_back(made: &Secret) -> Result<WatchedServing, kube::Error> {
    let text = serde_json::to_string(made).map_err(kube::Error::SerdeError)?;
    serde_json::from_str(&text).map_err(kube::Error::SerdeError)
}
