//! The keys `trust` and `probe`, and those of a mirror that go with them, as they are written.

use schemars::JsonSchema;

use super::{Spanned, Texts};
use crate::yaml::Span;

/// Which registries are checked before a pod may pull from them, and by which CAs. What is judged is the certificate of a
/// registry, as the nodes' container runtime judges it; never the content of an image.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::policy) struct Trust {
    /// The registries that are checked besides the mirrors, as in `hosts`. `"*"` checks whatever a pod names: then
    /// authors of pods decide what mirrorgate connects to.
    #[schemars(default, with = "Vec<String>")]
    pub(in crate::policy) registries: Option<Texts>,
    /// CAs with a name each, in the document itself.
    #[schemars(rename = "additionalTrustedCAs", default, with = "Vec<AdditionalTrustedCa>")]
    pub(in crate::policy) additional_trusted_cas: Option<Spanned<Vec<AdditionalTrustedCa>>>,
    /// CAs that are kept elsewhere, read live; or in the document as PEM.
    #[schemars(default, with = "Vec<TrustedCaBundle>")]
    pub(in crate::policy) ca_bundles: Option<Spanned<Vec<TrustedCaBundle>>>,
    /// Whether the public CAs are trusted too, for every registry.
    #[schemars(default, with = "bool", extend("default" = true))]
    pub(in crate::policy) system_roots: Option<Spanned<bool>>,
    /// What is done with a pod that pulls from a registry whose certificate the nodes would refuse.
    #[schemars(default, with = "OnUntrusted", extend("default" = "deny"))]
    pub(in crate::policy) on_untrusted: Option<Spanned<OnUntrusted>>,
    /// What is done with a pod that pulls from a registry that cannot be reached, or of which nothing is known yet.
    #[schemars(default, with = "OnUnreachable", extend("default" = "warn"))]
    pub(in crate::policy) on_unreachable: Option<Spanned<OnUnreachable>>,
    /// Networks that are never connected to, such as `10.0.0.0/8`, besides loopback, link-local and metadata addresses.
    #[schemars(default, with = "Vec<String>")]
    pub(in crate::policy) deny_networks: Option<Texts>,
}

/// CA certificates under a name.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::policy) struct AdditionalTrustedCa {
    /// A unique name, for messages: letters, digits, `-`, `_` and `.`, at most 63.
    #[schemars(
        with = "String",
        length(min = 1, max = 63),
        regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
    )]
    pub(in crate::policy) name: Option<Spanned<String>>,
    /// One or more PEM certificates in base64, line breaks allowed.
    #[schemars(with = "String", length(min = 1))]
    pub(in crate::policy) data: Option<Spanned<String>>,
    /// The registries that they vouch for, as in `hosts`; every one by default.
    #[schemars(default, with = "Vec<String>", length(min = 1))]
    pub(in crate::policy) registries: Option<Texts>,
}

/// Where the CAs of one mirror are: one of these.
#[derive(Debug, Default, JsonSchema)]
#[schemars(
    rename_all = "camelCase",
    deny_unknown_fields,
    extend("oneOf" = [
        {"required": ["inline"]},
        {"required": ["configMap"]},
        {"required": ["secret"]},
        {"required": ["file"]},
    ])
)]
pub(in crate::policy) struct CaBundle {
    /// Where it begins.
    #[schemars(skip)]
    pub(in crate::policy) place: Option<Span>,
    /// PEM certificates.
    #[schemars(default, with = "String", length(min = 1))]
    pub(in crate::policy) inline: Option<Spanned<String>>,
    /// A key of a ConfigMap, with PEM certificates.
    #[schemars(default, with = "ObjectKey")]
    pub(in crate::policy) config_map: Option<ObjectKey>,
    /// A key of a Secret, with PEM certificates.
    #[schemars(default, with = "ObjectKey")]
    pub(in crate::policy) secret: Option<ObjectKey>,
    /// The absolute path of a file with PEM certificates, as mirrorgate sees it.
    #[schemars(default, with = "String", regex(pattern = r"^/"))]
    pub(in crate::policy) file: Option<Spanned<String>>,
}

/// Where CAs are: one of `inline`, `configMap`, `secret` and `file`; and what they are for.
#[derive(Debug, Default, JsonSchema)]
#[schemars(
    rename_all = "camelCase",
    deny_unknown_fields,
    extend("oneOf" = [
        {"required": ["inline"]},
        {"required": ["configMap"]},
        {"required": ["secret"]},
        {"required": ["file"]},
    ])
)]
pub(in crate::policy) struct TrustedCaBundle {
    /// Where the entry begins.
    #[schemars(skip)]
    pub(in crate::policy) place: Option<Span>,
    /// PEM certificates.
    #[schemars(default, with = "String", length(min = 1))]
    pub(in crate::policy) inline: Option<Spanned<String>>,
    /// A key of a ConfigMap, with PEM certificates.
    #[schemars(default, with = "ObjectKey")]
    pub(in crate::policy) config_map: Option<ObjectKey>,
    /// A key of a Secret, with PEM certificates.
    #[schemars(default, with = "ObjectKey")]
    pub(in crate::policy) secret: Option<ObjectKey>,
    /// The absolute path of a file with PEM certificates, as mirrorgate sees it.
    #[schemars(default, with = "String", regex(pattern = r"^/"))]
    pub(in crate::policy) file: Option<Spanned<String>>,
    /// The registries that they vouch for, as in `hosts`; every one by default.
    #[schemars(default, with = "Vec<String>", length(min = 1))]
    pub(in crate::policy) registries: Option<Texts>,
}

/// One key of a ConfigMap or a Secret.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::policy) struct ObjectKey {
    /// The namespace that it is in.
    #[schemars(with = "String", length(max = 63), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub(in crate::policy) namespace: Option<Spanned<String>>,
    /// Its name.
    #[schemars(with = "String", length(max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub(in crate::policy) name: Option<Spanned<String>>,
    /// The key in it, such as `ca.crt`.
    #[schemars(with = "String", length(max = 253), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub(in crate::policy) key: Option<Spanned<String>>,
}

/// What is done with a pod that pulls from a registry whose certificate the nodes would refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum OnUntrusted {
    /// It is denied.
    #[default]
    Deny,
    /// It is admitted, with a warning.
    Warn,
}

/// What is done with a pod that pulls from a registry that cannot be reached, or of which nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum OnUnreachable {
    /// It is admitted, with a warning.
    #[default]
    Warn,
    /// It is denied.
    Deny,
    /// It is admitted.
    Allow,
}

/// What becomes of an image while its mirror cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub(in crate::policy) enum MirrorSourcePolicy {
    /// It is pulled from the mirror all the same.
    #[default]
    NeverContactSource,
    /// It is pulled from the registry that its author named.
    AllowContactingSource,
}

/// How registries are asked.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::policy) struct Probe {
    /// How long one registry may take: from `10ms` to `30s`.
    #[schemars(default, with = "String", regex(pattern = DURATION), extend("default" = "2s"))]
    pub(in crate::policy) timeout: Option<Spanned<String>>,
    /// How long an answer is good for.
    #[schemars(default, with = "Ttl")]
    pub(in crate::policy) ttl: Option<Ttl>,
    /// How many registries are asked at the same time, from 1 to 1024.
    #[schemars(default, with = "u16", range(min = 1, max = 1024), extend("default" = 32))]
    pub(in crate::policy) max_concurrent: Option<Spanned<u64>>,
}

/// How long an answer is good for: from `100ms` to `24h`.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::policy) struct Ttl {
    /// That a registry is trusted.
    #[schemars(default, with = "String", regex(pattern = DURATION), extend("default" = "5m"))]
    pub(in crate::policy) trusted: Option<Spanned<String>>,
    /// That it is not: so long may it take until a mended registry is accepted.
    #[schemars(default, with = "String", regex(pattern = DURATION), extend("default" = "30s"))]
    pub(in crate::policy) untrusted: Option<Spanned<String>>,
    /// That it cannot be reached.
    #[schemars(default, with = "String", regex(pattern = DURATION), extend("default" = "10s"))]
    pub(in crate::policy) unreachable: Option<Spanned<String>>,
}

/// `500ms`, `2s`, `1h30m`.
const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$";
