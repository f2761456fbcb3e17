//! Pull secret rules: which secret goes with which registry, in which namespaces (S1, S2, S4).
//!
//! Not here: what a secret holds (`keyring`), and whether it is there (`cluster`, `review`).

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::fmt;

use super::fault::quoted;
use super::hosts::{HostIndex, HostPattern};
use super::namespaces::{NamespaceIndex, Namespaces};

/// How many characters the name of a secret may have.
const MAX_NAME: usize = 253;
/// What stands for the pod's namespace in the name of a secret.
const PLACEHOLDER: &str = "{namespace}";

/// An entry of `pullSecrets`, or a name in a mirror's `pullSecrets`, compiled.
#[derive(Clone, Debug)]
pub struct PullSecretRule {
    source: Source,
    place: usize,
    names_registries: bool,
}

/// Which secrets a rule means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullSecretSource<'p> {
    /// The secret of this name.
    Named(SecretName<'p>),
    /// `discover: true`: every docker-config secret of the namespace that covers the registry.
    Discovered,
}

/// The name of a secret as the policy gives it: a DNS subdomain, in which `{namespace}` may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretName<'p> {
    text: &'p str,
}

impl PullSecretRule {
    /// Its place in policy order (S2), from 0.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Whether the rule names registries, and is not for every one there is.
    pub fn names_registries(&self) -> bool {
        self.names_registries
    }

    /// Which secrets are meant.
    pub fn source(&self) -> PullSecretSource<'_> {
        match &self.source {
            Source::Named(text) => PullSecretSource::Named(SecretName { text }),
            Source::Discovered => PullSecretSource::Discovered,
        }
    }
}

impl<'p> SecretName<'p> {
    /// The name for a pod of `namespace`: `{namespace}` is replaced.
    ///
    /// Different names of the policy may come out as the same: `team-{namespace}` and `team-a`, in `a`.
    ///
    /// # Errors
    /// Where that is no name of a secret: it is too long, or the namespace's name is none.
    pub fn name_in(self, namespace: &str) -> Result<Cow<'p, str>, InvalidSecretName> {
        if !self.is_template() {
            return Ok(Cow::Borrowed(self.text));
        }
        let name = self.text.replace(PLACEHOLDER, namespace);
        match check(&name) {
            Ok(()) => Ok(Cow::Owned(name)),
            Err(fault) => {
                Err(InvalidSecretName { written: self.text.to_owned(), namespace: namespace.to_owned(), fault })
            }
        }
    }

    fn is_template(self) -> bool {
        self.text.contains(PLACEHOLDER)
    }
}

/// As the policy writes it.
impl fmt::Display for SecretName<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text)
    }
}

/// A name of the policy that is no name of a secret in one namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy's pull secret {} cannot be named in the namespace {}: {fault}", quoted(written), quoted(namespace))]
pub struct InvalidSecretName {
    written: String,
    namespace: String,
    fault: NameFault,
}

/// Which secrets a rule means, owned. The text of a name has been checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Named(String),
    Discovered,
}

impl Source {
    /// Reads a name, in which `{namespace}` may stand.
    pub(super) fn named(text: &str) -> Result<Source, NameFault> {
        // A namespace is a DNS label: any is to a name what its shortest is, and only its length counts for more.
        let shortest = text.replace(PLACEHOLDER, "x");
        if shortest.contains(['{', '}']) {
            return Err(NameFault::Brace);
        }
        check(&shortest)?;
        Ok(Source::Named(text.to_owned()))
    }
}

/// A rule as it was read, for the index.
pub(super) struct Entry {
    pub(super) source: Source,
    /// One that matches is enough.
    pub(super) registries: Vec<HostPattern>,
    pub(super) namespaces: Namespaces,
}

/// All rules, in policy order, indexed: the mirrors' in the order of the mirrors, then those of `pullSecrets`.
#[derive(Clone, Debug, Default)]
pub(super) struct PullSecretRules {
    rules: Vec<PullSecretRule>,
    /// From each pattern to the places of its rules in `rules`, ascending.
    by_registry: HostIndex<Vec<usize>>,
    by_namespace: NamespaceIndex,
    /// The names without a placeholder.
    names: BTreeSet<String>,
    needs_all_docker_configs: bool,
    /// Whether every rule is for all namespaces, and none names under one pattern what another does: then the rules of a pattern
    /// are what is looked for.
    is_plain: bool,
}

impl PullSecretRules {
    /// Indexes `entries`, which are in policy order.
    pub(super) fn new(entries: Vec<Entry>) -> Result<Self, globset::Error> {
        let mut all = Self {
            by_namespace: NamespaceIndex::new(entries.iter().map(|entry| &entry.namespaces))?,
            ..Self::default()
        };
        for (place, Entry { source, registries, .. }) in entries.into_iter().enumerate() {
            let names_registries = registries.iter().all(|pattern| pattern.as_str() != "*");
            for pattern in registries {
                all.by_registry.entry(pattern).push(place);
            }
            match &source {
                Source::Named(text) if !(SecretName { text }).is_template() => {
                    all.names.insert(text.clone());
                }
                Source::Named(_) | Source::Discovered => all.needs_all_docker_configs = true,
            }
            all.rules.push(PullSecretRule { source, place, names_registries });
        }
        let differ = |places: &Vec<usize>| {
            let mut seen = HashSet::new();
            places.iter().all(|&place| seen.insert(&all.rules[place].source))
        };
        all.is_plain = all.by_namespace.is_everywhere() && all.by_registry.values().all(differ);
        Ok(all)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What the rules are for, each pattern once.
    pub(super) fn registries(&self) -> impl Iterator<Item = &HostPattern> {
        self.by_registry.patterns()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    pub(super) fn needs_all_docker_configs(&self) -> bool {
        self.needs_all_docker_configs
    }

    /// The rules for `registry` in `namespace`, in policy order, each source once. Where no rule is for the registry,
    /// nothing is allocated.
    pub(super) fn matching(&self, registry: &str, namespace: &str) -> impl Iterator<Item = &PullSecretRule> + use<'_> {
        let places = self.places(registry, namespace);
        (0..places.len()).map(move |number| &self.rules[places[number]])
    }

    fn places(&self, registry: &str, namespace: &str) -> Cow<'_, [usize]> {
        let mut of_registry = self.by_registry.matching(registry).map(Vec::as_slice);
        let Some(first) = of_registry.next() else { return Cow::Borrowed(&[]) };
        let second = of_registry.next();
        if second.is_none() && self.is_plain {
            return Cow::Borrowed(first);
        }
        let of_registry: Vec<&[usize]> = [first].into_iter().chain(second).chain(of_registry).collect();
        let of_namespace = self.by_namespace.matching(namespace);
        // Thousands of rules may be for one registry, each in its namespace, or for all namespaces, each for its
        // registry: from the side with fewer, the others are never walked.
        let length = |lists: &[&[usize]]| lists.iter().map(|list| list.len()).sum::<usize>();
        let (fewer, others) = match length(&of_registry) <= length(&of_namespace) {
            true => (of_registry, of_namespace),
            false => (of_namespace, of_registry),
        };
        let mut places = fewer.concat();
        places.retain(|place| others.iter().any(|list| list.binary_search(place).is_ok()));
        places.sort_unstable();
        places.dedup();
        if places.len() > 1 {
            let mut seen = HashSet::with_capacity(places.len());
            places.retain(|&place| seen.insert(&self.rules[place].source));
        }
        Cow::Owned(places)
    }
}

/// Whether `text` is a DNS subdomain (RFC 1123), as the API server wants the names of secrets.
fn check(text: &str) -> Result<(), NameFault> {
    if text.is_empty() {
        return Err(NameFault::Empty);
    }
    if text.contains('/') {
        return Err(NameFault::Slash);
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(NameFault::UpperCase);
    }
    let is_edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().copied().is_some_and(is_edge)
            && bytes.last().copied().is_some_and(is_edge)
            && bytes.iter().all(|&byte| is_edge(byte) || byte == b'-')
    };
    if !text.split('.').all(is_label) {
        return Err(NameFault::Shape);
    }
    match text.len() {
        0..=MAX_NAME => Ok(()),
        length => Err(NameFault::TooLong { length }),
    }
}

/// Why a text is no name of a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NameFault {
    #[error("it is empty")]
    Empty,
    #[error("it names a namespace, and that is always the pod's")]
    Slash,
    #[error("names of secrets are in lower case")]
    UpperCase,
    #[error("it is no DNS name")]
    Shape,
    #[error("it would have {length} characters, and may have {MAX_NAME}")]
    TooLong { length: usize },
    #[error("the only thing that braces may hold is `{PLACEHOLDER}`")]
    Brace,
}

impl NameFault {
    /// How to mend it, `text` being what is written.
    pub(super) fn help(&self, text: &str) -> String {
        let mended = match self {
            Self::Slash => text.rsplit('/').next().unwrap_or_default().to_owned(),
            _ => text.to_ascii_lowercase(),
        };
        match self {
            Self::Slash | Self::UpperCase if Source::named(&mended).is_ok() => format!("write {}", quoted(&mended)),
            Self::TooLong { .. } => "give the secret a shorter name".to_owned(),
            Self::Brace => format!("write `{PLACEHOLDER}` where the pod's namespace belongs, or no braces"),
            Self::Empty | Self::Slash | Self::UpperCase | Self::Shape => {
                "a name has lower-case letters, digits, `-` and `.`, and begins and ends, also beside a `.`, with a \
                 letter or digit"
                    .to_owned()
            }
        }
    }
}
