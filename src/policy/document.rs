//! The policy document as it is written, and the source of its JSON Schema. It checks nothing.
//!
//! Every value knows its place. What is absent, or was unreadable and is a fault already, is `None`, so that the checks
//! of `compile.rs` run over all that could be read. The doc comments are the schema's descriptions.

use schemars::JsonSchema;

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

/// mirrorgate's policy: which images come from which mirror.
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
    use super::super::read::{KEYS, PULL_FROM_MIRROR};

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
        for (name, source) in [("Policy", "{x: 1}"), ("RegistryMirror", "registryMirrors: [{}]")] {
            let faults = Policy::read(source).unwrap_err();
            let place = if name == "Policy" { "" } else { "registryMirrors[0]" };
            let missing = faults.0.iter().filter(|fault| fault.path == place);
            let missing = missing.filter_map(|fault| fault.message.split('`').nth(1).map(str::to_owned)).collect();
            assert_eq!(keys(name).1, missing, "{name}");
        }
        for name in ["Repositories", "Ignore"] {
            assert!(keys(name).1.is_empty(), "{name}");
        }
    }

    #[test]
    fn the_schema_and_the_reader_know_the_same_values() {
        let schema = Policy::schema();
        let values = schema["$defs"]["PullFromMirror"]["oneOf"].as_array().unwrap();
        let values: Vec<&str> = values.iter().map(|value| value["const"].as_str().unwrap()).collect();
        assert_eq!(values, PULL_FROM_MIRROR.map(|(name, _)| name));
    }
}
