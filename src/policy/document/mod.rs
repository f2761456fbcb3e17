//! The policy document as it is written, and the source of its JSON Schema. It checks nothing.
//!
//! Every value knows its place. What is absent, or was unreadable and is a fault already, is `None`, so that the checks
//! of `compile` run over all that could be read. The doc comments are the schema's descriptions.

use schemars::JsonSchema;

mod trust;

pub(super) use trust::{
    AdditionalTrustedCa, CaBundle, MirrorSourcePolicy, ObjectKey, Probe, Trust, TrustedCaBundle, Ttl,
};
pub use trust::{OnUnreachable, OnUntrusted};

use crate::yaml::Span;

/// The value of `apiVersion`.
pub(super) const API_VERSION: &str = "mirrorgate.dev/v1alpha1";
/// The value of `kind`.
pub(super) const KIND: &str = "Policy";

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Spanned<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// A list of texts; entries that were unreadable keep their place.
pub(super) type Texts = Spanned<Vec<Option<Spanned<String>>>>;

/// mirrorgate's policy: which images come from which mirror, which pull secrets go with them, and which registries must be
/// trusted.
#[derive(Debug, Default, JsonSchema)]
#[schemars(title = "mirrorgate policy", rename = "Policy", rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Document {
    /// The version of this document's form.
    #[schemars(with = "String", extend("const" = API_VERSION))]
    pub(super) api_version: Option<Spanned<String>>,
    /// What this document is.
    #[schemars(with = "String", extend("const" = KIND))]
    pub(super) kind: Option<Spanned<String>>,
    /// The mirrors, and what they serve. Of several that list the same best pattern for a host, the first that serves
    /// the image is taken.
    #[schemars(default, with = "Vec<RegistryMirror>")]
    pub(super) registry_mirrors: Option<Spanned<Vec<RegistryMirror>>>,
    /// Which secrets go with which registries, in which namespaces. Every entry that applies adds its secrets: first
    /// those of the mirrors' own `pullSecrets`, in the order of the mirrors, then those of these entries, in their
    /// order; each secret once. It is always the secret of this name in the pod's namespace.
    #[schemars(default, with = "Vec<PullSecret>")]
    pub(super) pull_secrets: Option<Spanned<Vec<PullSecret>>>,
    /// What is done where a secret is missing, or does not cover the registry. It always shows in a warning, the log
    /// and a metric.
    #[schemars(default, with = "OnMissingPullSecret", extend("default" = "warn"))]
    pub(super) on_missing_pull_secret: Option<Spanned<OnMissingPullSecret>>,
    /// Which registries are checked before a pod may pull from them, and by which CAs.
    #[schemars(default, with = "Trust")]
    pub(super) trust: Option<Trust>,
    /// How registries are asked.
    #[schemars(default, with = "Probe")]
    pub(super) probe: Option<Probe>,
    /// What is left alone.
    #[schemars(default, with = "Ignore")]
    pub(super) ignore: Option<Ignore>,
}

/// A registry that serves copies of other registries' repositories.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RegistryMirror {
    /// A unique name, for metrics and messages: letters, digits, `-`, `_` and `.`, at most 63.
    #[schemars(
        with = "String",
        length(min = 1, max = 63),
        regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
    )]
    pub(super) name: Option<Spanned<String>>,
    /// The mirror's URL: `https://host[:port]`, then the path that goes in front of every repository. A `/v2` behind
    /// the host is optional. An image of this registry is never rewritten.
    #[schemars(with = "String", regex(pattern = r"^https?://[^/?#@]+(/[^?#@]*)?$"))]
    pub(super) endpoint: Option<Spanned<String>>,
    /// The hosts whose images it serves: `host[:port]`, `*.suffix[:port]` or `*`. A pattern without a port does not
    /// match a host with one; `*` matches all. An exact host goes before the longest suffix, that before `*`.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub(super) hosts: Option<Texts>,
    /// The repositories that it serves; all of them by default.
    #[schemars(default, with = "Repositories")]
    pub(super) repositories: Option<Repositories>,
    /// What a repository is called at the mirror, behind the endpoint's path. `{host}` is the host that the image
    /// names, with `_` for the `:` before a port; `{repository}` is the repository.
    #[schemars(default, with = "String", extend("default" = "{repository}"))]
    pub(super) path_template: Option<Spanned<String>>,
    /// Which references it may serve. One with a digest, also beside a tag, is a digest reference; any other is a tag
    /// reference.
    #[schemars(default, with = "PullFromMirror", extend("default" = "all"))]
    pub(super) pull_from_mirror: Option<Spanned<PullFromMirror>>,
    /// Whether the endpoint is `http://`, without TLS: whoever is on the way can change what is pulled.
    #[schemars(rename = "plainHTTP", default, with = "bool", extend("default" = false))]
    pub(super) plain_http: Option<Spanned<bool>>,
    /// What becomes of an image while the mirror, and the other mirrors for its host, cannot be reached. A mirror whose
    /// certificate is refused is no such case.
    #[schemars(default, with = "MirrorSourcePolicy", extend("default" = "NeverContactSource"))]
    pub(super) mirror_source_policy: Option<Spanned<MirrorSourcePolicy>>,
    /// The CAs of this endpoint, which vouch for no other registry.
    #[schemars(default, with = "CaBundle")]
    pub(super) ca_bundle: Option<CaBundle>,
    /// The names of the secrets that go with this endpoint, in all namespaces: short for entries of the document's
    /// `pullSecrets` with this registry. `{namespace}` may stand in them.
    #[schemars(default, with = "Vec<String>", length(min = 1))]
    pub(super) pull_secrets: Option<Texts>,
}

/// Globs over repositories: `*` stays within one component, `**` crosses.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Repositories {
    /// A repository must match one of these; without the list, every repository does.
    #[schemars(default, with = "Vec<String>", length(min = 1))]
    pub(super) include: Option<Texts>,
    /// A repository that matches one of these is not served.
    #[schemars(default, with = "Vec<String>")]
    pub(super) exclude: Option<Texts>,
}

/// Which references a mirror may serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum PullFromMirror {
    /// All of them.
    #[default]
    All,
    /// Those with a digest.
    DigestOnly,
    /// Those without a digest.
    TagOnly,
}

/// A secret that goes with registries: either `name` or `discover` says which.
#[derive(Debug, Default, JsonSchema)]
#[schemars(
    rename_all = "camelCase",
    deny_unknown_fields,
    extend("oneOf" = [
        {"required": ["name", "registries"], "properties": {"discover": false}},
        {"required": ["discover"], "properties": {"name": false}},
    ])
)]
pub(super) struct PullSecret {
    /// Where the entry begins.
    #[schemars(skip)]
    pub(super) place: Option<Span>,
    /// The name of the secret, a DNS name in lower case of at most 253 characters. `{namespace}` in it stands for the
    /// pod's namespace; mirrorgate then has to watch the docker-config secrets of every namespace.
    #[schemars(default, with = "String", regex(pattern = r"^([a-z0-9]|\{namespace\})([a-z0-9.-]|\{namespace\})*$"))]
    pub(super) name: Option<Spanned<String>>,
    /// Instead of a name: every docker-config secret of the namespace that covers the registry. mirrorgate then has to
    /// watch the docker-config secrets of every namespace.
    #[schemars(default, with = "bool", extend("const" = true))]
    pub(super) discover: Option<Spanned<bool>>,
    /// The registries that it goes with, as in `hosts`: those that are really pulled from, so a mirror's endpoint
    /// rather than the host that it serves. One pattern that matches is enough; a better one of another entry takes
    /// nothing away. Needed beside `name`; by default every registry beside `discover`.
    #[schemars(default, with = "Vec<String>", length(min = 1))]
    pub(super) registries: Option<Texts>,
    /// The namespaces whose pods get it: names or globs, `*` for any letters; all namespaces by default.
    #[schemars(default, with = "Vec<String>", length(min = 1))]
    pub(super) namespaces: Option<Texts>,
}

/// What is done where a pull secret is missing, or does not cover the registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum OnMissingPullSecret {
    /// It is added all the same, with a warning: it may be created before the image is pulled.
    #[default]
    Warn,
    /// It is left out, with a warning.
    Skip,
    /// The pod is denied.
    Deny,
}

/// What is left alone.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Ignore {
    /// Images that are left alone entirely: the exact text as a pod's author writes it, or, with a `*`, a glob over
    /// `host/repository` in canonical form, such as `docker.io/library/*`.
    #[schemars(default, with = "Vec<String>")]
    pub(super) images: Option<Texts>,
    /// Hosts whose images are not rewritten, as in `hosts`.
    #[schemars(default, with = "Vec<String>")]
    pub(super) registries: Option<Texts>,
    /// Owners whose pods are not rewritten: `group/Kind`, or `Kind` for the core group. For operators that compare
    /// images with their own.
    #[schemars(default, with = "Vec<String>")]
    pub(super) owner_kinds: Option<Texts>,
}

/// Takes the line ends of the doc comments out of the descriptions.
pub(super) fn join_lines(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(entries) => {
            for (key, value) in entries {
                match value {
                    serde_json::Value::String(text) if key == "description" => *text = text.replace('\n', " "),
                    _ => join_lines(value),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(join_lines),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::Policy;
    use super::super::read::trust::{MIRROR_SOURCE_POLICY, ON_UNREACHABLE, ON_UNTRUSTED};
    use super::super::read::{KEYS, ON_MISSING_PULL_SECRET, PULL_FROM_MIRROR};

    /// The keys that the schema gives the mapping of this name, and those of them that must be there.
    fn keys(name: &str) -> (BTreeSet<String>, BTreeSet<String>) {
        let schema = Policy::schema();
        let mapping = if name == "Policy" { &schema } else { &schema["$defs"][name] };
        assert_eq!(mapping["additionalProperties"], false, "{name}");
        let properties = mapping["properties"].as_object().unwrap().keys().cloned().collect();
        let required = mapping["required"].as_array().into_iter().flatten();
        (properties, required.map(|key| key.as_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn the_schema_and_the_reader_know_the_same_keys() {
        for (name, read) in KEYS {
            assert_eq!(keys(name).0, read.iter().map(|key| key.to_string()).collect(), "{name}");
        }
        let schema = Policy::schema();
        let mappings = schema["$defs"].as_object().unwrap().iter().filter(|(_, value)| value["type"] == "object");
        let mut names: Vec<&str> = mappings.map(|(name, _)| name.as_str()).collect();
        names.push("Policy");
        assert_eq!(names.len(), KEYS.len(), "{names:?}");
    }

    #[test]
    fn the_schema_and_the_reader_know_the_same_required_keys() {
        for (name, place, source) in [
            ("Policy", "", "{x: 1}"),
            ("RegistryMirror", "registryMirrors[0]", "registryMirrors: [{}]"),
            ("AdditionalTrustedCa", "trust.additionalTrustedCAs[0]", "trust: {additionalTrustedCAs: [{}]}"),
            ("ObjectKey", "trust.caBundles[0].configMap", "trust: {caBundles: [{configMap: {}}]}"),
        ] {
            let faults = Policy::read(source).unwrap_err();
            let missing = faults.0.iter().filter(|fault| fault.path == place);
            let missing = missing.filter_map(|fault| fault.message.split('`').nth(1).map(str::to_owned)).collect();
            assert_eq!(keys(name).1, missing, "{name}");
        }
        for name in ["Repositories", "PullSecret", "Ignore", "Trust", "CaBundle", "TrustedCaBundle", "Probe", "Ttl"] {
            assert!(keys(name).1.is_empty(), "{name}");
        }
    }

    #[test]
    fn the_schema_and_the_reader_know_the_same_values() {
        let schema = Policy::schema();
        let values = |name: &str| {
            let values = schema["$defs"][name]["oneOf"].as_array().unwrap();
            values.iter().map(|value| value["const"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(values("PullFromMirror"), PULL_FROM_MIRROR.map(|(name, _)| name));
        assert_eq!(values("OnMissingPullSecret"), ON_MISSING_PULL_SECRET.map(|(name, _)| name));
        assert_eq!(values("OnUntrusted"), ON_UNTRUSTED.map(|(name, _)| name));
        assert_eq!(values("OnUnreachable"), ON_UNREACHABLE.map(|(name, _)| name));
        assert_eq!(values("MirrorSourcePolicy"), MIRROR_SOURCE_POLICY.map(|(name, _)| name));
    }
}
