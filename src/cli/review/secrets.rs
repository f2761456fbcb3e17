//! The Secrets among the manifests: as far as a review goes they are the cluster's. What they cover is kept, and no credential.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

use crate::keyring::{DOCKER_CONFIG_JSON, PullSecret};
use crate::policy::Policy;
use crate::review::{InDoubt, PullSecrets, Scope, SecretsByName};
use crate::yaml::{Node, Value};

use super::manifest;

/// As Go reads it, which does not ask that the bits left over at the end are zero.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// What the API server makes of a Secret that has no type.
const DEFAULT_TYPE: &str = "Opaque";

/// How many characters the name of a Secret may have.
const MOST_NAME: usize = 253;

/// The Secrets of all manifests.
pub(super) struct Secrets {
    /// Those that the webhook's watches see.
    watched: ByNamespace,
    /// Those that it finds when it looks again, by name.
    all: ByNamespace,
    scope: Arc<Scope>,
}

type ByNamespace = BTreeMap<String, Arc<SecretsByName>>;

impl Secrets {
    /// Reads those among the documents; where there is none at all, nobody could look. `default_namespace` is that of a
    /// Secret which names none.
    pub(super) fn read<'d>(
        policy: &Policy,
        documents: impl Iterator<Item = &'d [Node]>,
        default_namespace: &str,
    ) -> Self {
        let names: BTreeMap<String, bool> = policy.secret_names().map(|name| (name.to_owned(), true)).collect();
        let all_docker_configs = policy.needs_all_docker_configs();
        let (mut watched, mut all) = (ByNamespace::new(), ByNamespace::new());
        let mut has_cluster = false;
        for node in documents.flat_map(|documents| manifest::of_core(documents, "Secret")) {
            has_cluster = true;
            let metadata = |key| node.field("metadata")?.field(key)?.as_str();
            let Some(name) = metadata("name").filter(|name| is_name(name)) else { continue };
            let namespace = metadata("namespace").unwrap_or(default_namespace);
            let secret_type = node.field("type").and_then(Node::as_str).filter(|text| !text.is_empty());
            let secret_type = secret_type.unwrap_or(DEFAULT_TYPE);
            let secret = Arc::new(read(node, secret_type));
            let put = |into: &mut ByNamespace, secret| {
                let of_namespace = into.entry(namespace.to_owned()).or_default();
                Arc::make_mut(of_namespace).insert(name.into(), secret);
            };
            if names.contains_key(name) || all_docker_configs && secret_type == DOCKER_CONFIG_JSON {
                put(&mut watched, Arc::clone(&secret));
            }
            put(&mut all, secret);
        }
        let scope = match has_cluster {
            true => Scope { names, all_docker_configs, has_cluster },
            false => Scope::default(),
        };
        Self { watched, all, scope: Arc::new(scope) }
    }

    /// What the webhook knows of the secrets of one namespace.
    pub(super) fn namespace(&self, namespace: &str) -> PullSecrets {
        let secrets = self.watched.get(namespace).cloned().unwrap_or_default();
        PullSecrets::new(secrets, Arc::clone(&self.scope))
    }

    /// What it knows when it has looked again.
    pub(super) fn look_again(&self, namespace: &str, doubt: &InDoubt) -> PullSecrets {
        let mut known = self.namespace(namespace);
        let all = self.all.get(namespace);
        for name in &doubt.names {
            known.put(name, all.and_then(|all| all.get(&**name)).cloned());
        }
        known
    }
}

/// Whether the API server would take the name, as far as it matters to what is printed and patched.
fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    !text.is_empty() && text.len() <= MOST_NAME && text.bytes().all(is_part)
}

fn read(node: &Node, secret_type: &str) -> PullSecret {
    let values = [".dockerconfigjson", ".dockercfg"].map(|key| (key, written(node, key)));
    let refused = Cell::new(None);
    let secret = PullSecret::read(secret_type, |wanted| {
        let (_, value) = values.iter().find(|(key, _)| *key == wanted)?;
        match value.as_ref()? {
            Ok(bytes) => Some(&**bytes),
            Err(refusal) => {
                refused.set(Some(*refusal));
                None
            }
        }
    });
    match refused.get() {
        None => secret,
        Some(Refusal::NotBase64) => PullSecret::not_base64(secret_type),
        Some(Refusal::NotText) => PullSecret::not_text(secret_type),
    }
}

/// Why the API server would not take the value of a key.
#[derive(Clone, Copy)]
enum Refusal {
    NotBase64,
    NotText,
}

impl Refusal {
    fn as_str(self) -> &'static str {
        match self {
            Self::NotBase64 => "its value is not base64",
            Self::NotText => "its value is no text",
        }
    }
}

/// The bytes under a key of a Secret, or why the API server would not take them.
pub(in crate::cli) fn value_of_secret<'d>(node: &'d Node, key: &str) -> Option<Result<Cow<'d, [u8]>, &'static str>> {
    written(node, key).map(|value| value.map_err(Refusal::as_str))
}

/// The same of a ConfigMap.
pub(in crate::cli) fn value_of_config_map<'d>(
    node: &'d Node,
    key: &str,
) -> Option<Result<Cow<'d, [u8]>, &'static str>> {
    let value = match node.field("data").and_then(|data| data.field(key)) {
        Some(value) => text(value).map(|text| Cow::Borrowed(text.as_bytes())),
        None => decoded(node.field("binaryData")?.field(key)?),
    };
    Some(value.map_err(Refusal::as_str))
}

/// The bytes under a key: those of `stringData`, or else those that `data` has in base64.
fn written<'d>(node: &'d Node, key: &str) -> Option<Result<Cow<'d, [u8]>, Refusal>> {
    let value = |of: &str| node.field(of)?.field(key);
    match value("stringData") {
        Some(value) => Some(text(value).map(|text| Cow::Borrowed(text.as_bytes()))),
        None => Some(decoded(value("data")?)),
    }
}

fn decoded(value: &Node) -> Result<Cow<'_, [u8]>, Refusal> {
    // Go passes over line ends.
    let encoded: Vec<u8> = text(value)?.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    BASE64.decode(encoded).map(Cow::Owned).map_err(|_| Refusal::NotBase64)
}

/// The text of a value; `null` is an empty one.
fn text(value: &Node) -> Result<&str, Refusal> {
    match &value.value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(""),
        _ => Err(Refusal::NotText),
    }
}
