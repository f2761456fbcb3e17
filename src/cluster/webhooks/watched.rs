//! A webhook configuration as it is watched: whom each of its webhooks trusts.

use serde_json::Value;

use super::super::watched::{Kept, Metadata};

/// What is kept of a configuration.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
pub(super) struct Webhooks(pub(super) Vec<Webhook>);

/// One webhook.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Webhook {
    pub(super) name: String,
    /// Whole, as the API server has it: what was seen is what is written over.
    pub(super) client_config: Value,
}

#[derive(serde::Deserialize)]
pub(in super::super) struct Written {
    metadata: Metadata,
    webhooks: Option<Webhooks>,
}

impl Webhook {
    /// Base64, as it stands; empty where there is none.
    pub(super) fn ca_bundle(&self) -> &str {
        self.client_config["caBundle"].as_str().unwrap_or_default()
    }
}

impl Kept for Webhooks {
    type Written = Written;

    fn keep(Written { metadata, webhooks }: Written) -> (Metadata, Self) {
        (metadata, webhooks.unwrap_or_default())
    }
}
