//! YAML tree -> document: keys and types, every fault at once.
//!
//! Hand-written, as a deserialiser stops at its first fault and forgets places. What the values mean is the business
//! of `compile`.

use std::collections::HashMap;

pub(super) mod trust;

pub(super) use trust::DURATION_HELP;

use super::document::{
    Document, Ignore, OnMissingPullSecret, PullFromMirror, PullSecret, RegistryMirror, Repositories, Spanned, Texts,
};
use super::fault::{Collector, quoted};
use super::masking::masked;
use crate::image::Escaped;
use crate::yaml::{Entry, Node, Span, Value};

/// The keys of each mapping of the document, by the name of its Rust type.
pub(super) const KEYS: &[(&str, &[&str])] = &[
    ("Policy", ROOT),
    ("RegistryMirror", REGISTRY_MIRROR),
    ("Repositories", REPOSITORIES),
    ("PullSecret", PULL_SECRET),
    ("Trust", trust::TRUST),
    ("AdditionalTrustedCa", trust::ADDITIONAL_TRUSTED_CA),
    ("CaBundle", trust::CA_BUNDLE),
    ("TrustedCaBundle", trust::TRUSTED_CA_BUNDLE),
    ("ObjectKey", trust::OBJECT_KEY),
    ("Probe", trust::PROBE),
    ("Ttl", trust::TTL),
    ("Ignore", IGNORE),
];
const ROOT: &[&str] =
    &["apiVersion", "kind", "registryMirrors", "pullSecrets", "onMissingPullSecret", "trust", "probe", "ignore"];
const REGISTRY_MIRROR: &[&str] = &[
    "name",
    "endpoint",
    "hosts",
    "repositories",
    "pathTemplate",
    "pullFromMirror",
    "plainHTTP",
    "mirrorSourcePolicy",
    "caBundle",
    "pullSecrets",
];
const PULL_SECRET: &[&str] = &["name", "discover", "registries", "namespaces"];
const REPOSITORIES: &[&str] = &["include", "exclude"];
const IGNORE: &[&str] = &["images", "registries", "ownerKinds"];

/// The values of `pullFromMirror`.
pub(super) const PULL_FROM_MIRROR: [(&str, PullFromMirror); 3] =
    [("all", PullFromMirror::All), ("digest-only", PullFromMirror::DigestOnly), ("tag-only", PullFromMirror::TagOnly)];

/// The values of `onMissingPullSecret`.
pub(super) const ON_MISSING_PULL_SECRET: [(&str, OnMissingPullSecret); 3] =
    [("warn", OnMissingPullSecret::Warn), ("skip", OnMissingPullSecret::Skip), ("deny", OnMissingPullSecret::Deny)];

/// Reads the document at `root`.
pub(super) fn document(root: &Node, faults: &mut Collector<'_>) -> Document {
    let mut reader = Reader { faults };
    let Some(fields) = reader.fields(root, "", ROOT) else { return Document::default() };
    Document {
        api_version: reader.required(&fields, "apiVersion", Reader::text),
        kind: reader.required(&fields, "kind", Reader::text),
        registry_mirrors: reader
            .optional(&fields, "registryMirrors", |reader, node, path| reader.entries(node, path, Reader::mirror)),
        pull_secrets: reader
            .optional(&fields, "pullSecrets", |reader, node, path| reader.entries(node, path, Reader::pull_secret)),
        on_missing_pull_secret: reader.optional(&fields, "onMissingPullSecret", |reader, node, path| {
            reader.choice(node, path, &ON_MISSING_PULL_SECRET)
        }),
        trust: reader.optional(&fields, "trust", Reader::trust),
        probe: reader.optional(&fields, "probe", Reader::probe),
        ignore: reader.optional(&fields, "ignore", Reader::ignore),
    }
}

/// The entries of one mapping, and where it is.
struct Fields<'n> {
    path: &'n str,
    /// Where a missing key is reported: the first key.
    place: Span,
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    /// The value of `key`: the last one, as everywhere.
    fn value(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().rev().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Where `key` is written, if it is.
    fn place_of(&self, key: &str) -> Option<Span> {
        self.entries.iter().rev().find(|entry| entry.key == key).map(|entry| entry.key_span)
    }

    fn path_to(&self, key: &str) -> String {
        join(self.path, key)
    }
}

/// Where a value is written: an alias, not what it stands for.
fn place(node: &Node) -> Span {
    node.alias.unwrap_or(node.span)
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

struct Reader<'f, 's> {
    faults: &'f mut Collector<'s>,
}

impl Reader<'_, '_> {
    fn mirror(&mut self, node: &Node, path: &str) -> RegistryMirror {
        let Some(fields) = self.fields(node, path, REGISTRY_MIRROR) else { return RegistryMirror::default() };
        RegistryMirror {
            name: self.required(&fields, "name", Self::text),
            endpoint: self.required(&fields, "endpoint", Self::text),
            hosts: self.required(&fields, "hosts", Self::texts),
            repositories: self.optional(&fields, "repositories", |reader, node, path| {
                let fields = reader.fields(node, path, REPOSITORIES)?;
                Some(Repositories {
                    include: reader.optional(&fields, "include", Self::texts),
                    exclude: reader.optional(&fields, "exclude", Self::texts),
                })
            }),
            path_template: self.optional(&fields, "pathTemplate", Self::text),
            pull_from_mirror: self
                .optional(&fields, "pullFromMirror", |reader, node, path| reader.choice(node, path, &PULL_FROM_MIRROR)),
            plain_http: self.optional(&fields, "plainHTTP", Self::boolean),
            mirror_source_policy: self.optional(&fields, "mirrorSourcePolicy", |reader, node, path| {
                reader.choice(node, path, &trust::MIRROR_SOURCE_POLICY)
            }),
            ca_bundle: self.optional(&fields, "caBundle", Self::ca_bundle),
            pull_secrets: self.optional(&fields, "pullSecrets", Self::texts),
        }
    }

    fn pull_secret(&mut self, node: &Node, path: &str) -> PullSecret {
        let Some(fields) = self.fields(node, path, PULL_SECRET) else { return PullSecret::default() };
        let name = self.optional(&fields, "name", Self::text);
        let mut discover = self.optional(&fields, "discover", Self::boolean);
        match (fields.place_of("name"), fields.place_of("discover")) {
            (Some(named), Some(discovered)) => {
                discover = None;
                let line = self.faults.line(named);
                self.faults
                    .error(
                        fields.path_to("discover"),
                        discovered,
                        format!("the secret is named already, on line {line}: it is either named or discovered"),
                    )
                    .help("leave out `name` or `discover`")
                    .related(named, "the name");
            }
            (None, None) => {
                let message = "neither `name` nor `discover: true` says which secret is meant";
                self.faults.error(path, fields.place, message).help(
                    "write `name: NAME`, or `discover: true` for every docker-config secret of the namespace that \
                     covers the registry",
                );
            }
            _ => {}
        }
        let registries = match fields.value("name") {
            Some(_) => self.required(&fields, "registries", Self::texts),
            None => self.optional(&fields, "registries", Self::texts),
        };
        let namespaces = self.optional(&fields, "namespaces", Self::texts);
        PullSecret { place: Some(node.alias.unwrap_or(fields.place)), name, discover, registries, namespaces }
    }

    fn ignore(&mut self, node: &Node, path: &str) -> Option<Ignore> {
        let fields = self.fields(node, path, IGNORE)?;
        Some(Ignore {
            images: self.optional(&fields, "images", Self::texts),
            registries: self.optional(&fields, "registries", Self::texts),
            owner_kinds: self.optional(&fields, "ownerKinds", Self::texts),
        })
    }

    /// One of the values that a key knows.
    fn choice<T: Copy>(&mut self, node: &Node, path: &str, values: &[(&str, T)]) -> Option<Spanned<T>> {
        let text = self.text(node, path)?;
        let known = values.iter().find(|(name, _)| *name == text.value);
        if known.is_none() {
            let names: Vec<_> = values.iter().map(|(name, _)| *name).collect();
            self.faults
                .error(path, place(node), format!("{} is no value of this key", quoted(&text.value)))
                .help(mend(&text.value, &names, "values"));
        }
        known.map(|&(_, value)| Spanned { value, span: place(node) })
    }

    /// The entries of a mapping, once its keys are known to be ours and there once each.
    fn fields<'n>(&mut self, node: &'n Node, path: &'n str, keys: &[&str]) -> Option<Fields<'n>> {
        let Value::Mapping(entries) = &node.value else {
            self.wrong_type(node, path, "a mapping", "write keys and values below it");
            return None;
        };
        let mut first_places = HashMap::new();
        for entry in entries {
            let path = join(path, &Escaped::cut(&masked(&entry.key), 120).to_string());
            // A key beside the same key of a merge (`<<`) is written once.
            let first = match entry.merged {
                true => None,
                false => first_places.insert(entry.key.as_str(), entry.key_span),
            };
            if let Some(first) = first {
                let line = self.faults.line(first);
                self.faults
                    .error(&path, entry.key_span, format!("the key is there twice, before on line {line}"))
                    .help("leave one of them out")
                    .related(first, "before here");
            } else if !keys.contains(&entry.key.as_str()) {
                self.faults
                    .error(&path, entry.key_span, format!("unknown key {}", quoted(&entry.key)))
                    .help(unknown_key(&entry.key, keys));
            }
        }
        let place = entries.first().map_or(place(node), |entry| entry.key_span);
        Some(Fields { path, place, entries })
    }

    fn required<'n, T>(
        &mut self,
        fields: &Fields<'n>,
        key: &str,
        read: impl FnOnce(&mut Self, &'n Node, &str) -> Option<T>,
    ) -> Option<T> {
        if fields.value(key).is_none() {
            let help = match key {
                "apiVersion" => format!("write `apiVersion: {}`", super::document::API_VERSION),
                "kind" => format!("write `kind: {}`", super::document::KIND),
                "endpoint" => "write the mirror's URL, such as `endpoint: https://harbor.corp:5000/proxy`".to_owned(),
                "hosts" => "list the hosts whose images it serves, such as `hosts: [docker.io]`".to_owned(),
                "registries" => {
                    "list the registries that the secret goes with, such as `registries: [\"harbor.corp:5000\"]`"
                        .to_owned()
                }
                "data" => "write the base64 of the certificates, as `base64 -w0 ca.crt` prints it".to_owned(),
                "namespace" => "write the namespace that the object is in".to_owned(),
                "key" => "write the key that holds the certificates, such as `key: ca.crt`".to_owned(),
                "name" if !fields.path.ends_with(']') => "write the name of the object".to_owned(),
                _ => "write it; it is for metrics and messages".to_owned(),
            };
            self.faults.error(fields.path, fields.place, format!("the key `{key}` is missing")).help(help);
        }
        self.optional(fields, key, read)
    }

    fn optional<'n, T>(
        &mut self,
        fields: &Fields<'n>,
        key: &str,
        read: impl FnOnce(&mut Self, &'n Node, &str) -> Option<T>,
    ) -> Option<T> {
        let node = fields.value(key)?;
        read(self, node, &fields.path_to(key))
    }

    fn text(&mut self, node: &Node, path: &str) -> Option<Spanned<String>> {
        if let Value::String(text) = &node.value {
            return Some(Spanned { value: text.clone(), span: place(node) });
        }
        let written = node.span.slice(self.faults.source());
        let help = match &node.value {
            Value::Bool(_) | Value::Number(_) => {
                format!("put it in quotes: `\"{}\"`", quoted(written).trim_matches('`'))
            }
            _ => "write one text".to_owned(),
        };
        self.wrong_type(node, path, "a string", &help);
        None
    }

    fn boolean(&mut self, node: &Node, path: &str) -> Option<Spanned<bool>> {
        if let Value::Bool(value) = node.value {
            return Some(Spanned { value, span: place(node) });
        }
        self.wrong_type(node, path, "true or false", "write `true` or `false`, without quotes");
        None
    }

    fn texts(&mut self, node: &Node, path: &str) -> Option<Texts> {
        let items = self.items(node, path)?;
        let value = items.iter().enumerate().map(|(index, item)| match &item.value {
            Value::String(text) => Some(Spanned { value: text.clone(), span: place(item) }),
            _ => self.text(item, &format!("{path}[{index}]")),
        });
        Some(Spanned { value: value.collect(), span: place(node) })
    }

    /// A list of mappings.
    fn entries<T>(
        &mut self,
        node: &Node,
        path: &str,
        mut read: impl FnMut(&mut Self, &Node, &str) -> T,
    ) -> Option<Spanned<Vec<T>>> {
        let items = self.items(node, path)?.iter().enumerate();
        let value = items.map(|(index, item)| read(self, item, &format!("{path}[{index}]"))).collect();
        Some(Spanned { value, span: place(node) })
    }

    fn items<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n [Node]> {
        if let Value::Sequence(items) = &node.value {
            return Some(items);
        }
        self.wrong_type(node, path, "a list", "write its entries below it, each behind a `- `, or in `[]`");
        None
    }

    fn wrong_type(&mut self, node: &Node, path: &str, expected: &str, help: &str) {
        let message = match node.value {
            Value::Null => format!("has no value; it must be {expected}"),
            _ => format!("is {}, and must be {expected}", node.kind()),
        };
        let help = match node.value {
            Value::Null => "give it a value, or leave the key out",
            _ => help,
        };
        self.faults.error(path, place(node), message).help(help);
    }
}

fn unknown_key(key: &str, keys: &[&str]) -> String {
    if closest(key, keys).is_none() {
        let homes = KEYS.iter().filter(|(_, others)| others.contains(&key));
        let homes: Vec<&str> = homes
            .filter_map(|&(name, _)| match name {
                "Policy" => Some("at the top of the document"),
                "RegistryMirror" => Some("in an entry of `registryMirrors`"),
                "Repositories" => Some("under `repositories`"),
                "PullSecret" => Some("in an entry of `pullSecrets`"),
                "Trust" => Some("under `trust`"),
                "AdditionalTrustedCa" => Some("in an entry of `additionalTrustedCAs`"),
                "CaBundle" => Some("under a mirror's `caBundle`"),
                "TrustedCaBundle" => Some("in an entry of `caBundles`"),
                "ObjectKey" => Some("under `configMap` or `secret`"),
                "Probe" => Some("under `probe`"),
                "Ttl" => Some("under `ttl`"),
                "Ignore" => Some("under `ignore`"),
                _ => None,
            })
            .collect();
        if !homes.is_empty() {
            return format!("`{key}` belongs {}", homes.join(", or "));
        }
    }
    mend(key, keys, "keys")
}

/// `did you mean ..?`, or all there are.
fn mend(written: &str, known: &[&str], what: &str) -> String {
    match closest(written, known) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("the {what} here are `{}`", known.join("`, `")),
    }
}

/// The known name that is nearest to `written`, if one is near.
fn closest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    let written = written.to_ascii_lowercase();
    let near = known.iter().map(|name| (distance(&written, &name.to_ascii_lowercase()), *name));
    let (away, name) = near.min_by_key(|&(away, _)| away)?;
    (away <= name.len() / 3).then_some(name)
}

/// How many letters have to be added, dropped or changed; bounded by the length of what is compared.
fn distance(left: &str, right: &str) -> usize {
    if left.len().abs_diff(right.len()) > right.len() {
        return usize::MAX;
    }
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}
