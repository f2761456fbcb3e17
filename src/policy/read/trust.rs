//! The keys `trust` and `probe`, and a mirror's `caBundle`.

use super::super::document::{
    AdditionalTrustedCa, CaBundle, MirrorSourcePolicy, ObjectKey, OnUnreachable, OnUntrusted, Probe, Spanned, Trust,
    TrustedCaBundle, Ttl,
};
use super::{Fields, Reader, place};
use crate::yaml::{Node, Value};

pub(super) const TRUST: &[&str] =
    &["registries", "additionalTrustedCAs", "caBundles", "systemRoots", "onUntrusted", "onUnreachable", "denyNetworks"];
pub(super) const ADDITIONAL_TRUSTED_CA: &[&str] = &["name", "data", "registries"];
pub(super) const CA_BUNDLE: &[&str] = &["inline", "configMap", "secret", "file"];
pub(super) const TRUSTED_CA_BUNDLE: &[&str] = &["inline", "configMap", "secret", "file", "registries"];
pub(super) const OBJECT_KEY: &[&str] = &["namespace", "name", "key"];
pub(super) const PROBE: &[&str] = &["timeout", "ttl", "maxConcurrent"];
pub(super) const TTL: &[&str] = &["trusted", "untrusted", "unreachable"];

/// The values of `onUntrusted`.
pub(in crate::policy) const ON_UNTRUSTED: [(&str, OnUntrusted); 2] =
    [("deny", OnUntrusted::Deny), ("warn", OnUntrusted::Warn)];

/// The values of `onUnreachable`.
pub(in crate::policy) const ON_UNREACHABLE: [(&str, OnUnreachable); 3] =
    [("warn", OnUnreachable::Warn), ("deny", OnUnreachable::Deny), ("allow", OnUnreachable::Allow)];

/// The values of `mirrorSourcePolicy`.
pub(in crate::policy) const MIRROR_SOURCE_POLICY: [(&str, MirrorSourcePolicy); 2] = [
    ("NeverContactSource", MirrorSourcePolicy::NeverContactSource),
    ("AllowContactingSource", MirrorSourcePolicy::AllowContactingSource),
];

impl Reader<'_, '_> {
    pub(super) fn trust(&mut self, node: &Node, path: &str) -> Option<Trust> {
        let fields = self.fields(node, path, TRUST)?;
        Some(Trust {
            registries: self.optional(&fields, "registries", Self::texts),
            additional_trusted_cas: self.optional(&fields, "additionalTrustedCAs", |reader, node, path| {
                reader.entries(node, path, Self::additional_trusted_ca)
            }),
            ca_bundles: self.optional(&fields, "caBundles", |reader, node, path| {
                reader.entries(node, path, Self::trusted_ca_bundle)
            }),
            system_roots: self.optional(&fields, "systemRoots", Self::boolean),
            on_untrusted: self
                .optional(&fields, "onUntrusted", |reader, node, path| reader.choice(node, path, &ON_UNTRUSTED)),
            on_unreachable: self
                .optional(&fields, "onUnreachable", |reader, node, path| reader.choice(node, path, &ON_UNREACHABLE)),
            deny_networks: self.optional(&fields, "denyNetworks", Self::texts),
        })
    }

    fn additional_trusted_ca(&mut self, node: &Node, path: &str) -> AdditionalTrustedCa {
        let Some(fields) = self.fields(node, path, ADDITIONAL_TRUSTED_CA) else {
            return AdditionalTrustedCa::default();
        };
        AdditionalTrustedCa {
            name: self.required(&fields, "name", Self::text),
            data: self.required(&fields, "data", Self::text),
            registries: self.optional(&fields, "registries", Self::texts),
        }
    }

    fn trusted_ca_bundle(&mut self, node: &Node, path: &str) -> TrustedCaBundle {
        let Some(fields) = self.fields(node, path, TRUSTED_CA_BUNDLE) else { return TrustedCaBundle::default() };
        let CaBundle { place, inline, config_map, secret, file } = self.bundle_source(node, &fields);
        let registries = self.optional(&fields, "registries", Self::texts);
        TrustedCaBundle { place, inline, config_map, secret, file, registries }
    }

    pub(super) fn ca_bundle(&mut self, node: &Node, path: &str) -> Option<CaBundle> {
        let fields = self.fields(node, path, CA_BUNDLE)?;
        Some(self.bundle_source(node, &fields))
    }

    /// Just one of the ways to say where the certificates are.
    fn bundle_source(&mut self, node: &Node, fields: &Fields<'_>) -> CaBundle {
        let mut written = CA_BUNDLE.iter().filter_map(|&key| Some((key, fields.place_of(key)?)));
        match (written.next(), written.next()) {
            (None, _) => {
                self.faults
                    .error(fields.path, fields.place, "nothing says where the certificates are")
                    .help("write one of `inline`, `configMap`, `secret` and `file`");
            }
            (Some((first, first_place)), Some((second, second_place))) => {
                let line = self.faults.line(first_place);
                let message = format!("`{first}`, on line {line}, says already where the certificates are");
                self.faults
                    .error(fields.path_to(second), second_place, message)
                    .help(format!("leave out `{first}` or `{second}`, or make two entries of it"))
                    .related(first_place, "the other");
            }
            (Some(_), None) => {}
        }
        CaBundle {
            place: Some(node.alias.unwrap_or(fields.place)),
            inline: self.optional(fields, "inline", Self::text),
            config_map: self.optional(fields, "configMap", Self::object_key),
            secret: self.optional(fields, "secret", Self::object_key),
            file: self.optional(fields, "file", Self::text),
        }
    }

    fn object_key(&mut self, node: &Node, path: &str) -> Option<ObjectKey> {
        let fields = self.fields(node, path, OBJECT_KEY)?;
        Some(ObjectKey {
            namespace: self.required(&fields, "namespace", Self::text),
            name: self.required(&fields, "name", Self::text),
            key: self.required(&fields, "key", Self::text),
        })
    }

    pub(super) fn probe(&mut self, node: &Node, path: &str) -> Option<Probe> {
        let fields = self.fields(node, path, PROBE)?;
        Some(Probe {
            timeout: self.optional(&fields, "timeout", Self::duration),
            ttl: self.optional(&fields, "ttl", |reader, node, path| {
                let fields = reader.fields(node, path, TTL)?;
                Some(Ttl {
                    trusted: reader.optional(&fields, "trusted", Self::duration),
                    untrusted: reader.optional(&fields, "untrusted", Self::duration),
                    unreachable: reader.optional(&fields, "unreachable", Self::duration),
                })
            }),
            max_concurrent: self.optional(&fields, "maxConcurrent", Self::count),
        })
    }

    /// The text of a duration, which a bare number is not.
    fn duration(&mut self, node: &Node, path: &str) -> Option<Spanned<String>> {
        if let Value::Number(number) = &node.value {
            let help = format!("write its unit too, such as `{number}s`");
            self.wrong_type(node, path, "a duration", if number.as_u64().is_some() { &help } else { DURATION_HELP });
            return None;
        }
        self.text(node, path)
    }

    fn count(&mut self, node: &Node, path: &str) -> Option<Spanned<u64>> {
        if let Value::Number(number) = &node.value
            && let Some(value) = number.as_u64()
        {
            return Some(Spanned { value, span: place(node) });
        }
        self.wrong_type(node, path, "a whole number", "write digits alone, without quotes");
        None
    }
}

/// How a duration is written.
pub(in crate::policy) const DURATION_HELP: &str = "write it as `500ms`, `2s` or `1h30m`";
