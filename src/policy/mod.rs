//! The policy document, and its compiled form that cannot be invalid.
//!
//! [`Policy::read`] takes the text of a document and gives a [`Policy`], or every fault of it at once, each with its
//! place and the way to mend it. [`Policy::route`] then says which rule an image meets, and [`Mirror::rewrite`] what it
//! becomes, and [`Policy::pull_secrets`] which secrets go with the registry that it is pulled from. Deciding costs the
//! same with ten hosts and with ten thousand: exact hosts are in a hash map, suffixes are looked up label by label, globs
//! are compiled once.
//!
//! Not here: the pod, and what is done to it (`review`); where the document comes from (`cluster`, `serve`).

use core::net::IpAddr;
use std::collections::HashSet;

mod bundle_ref;
mod compile;
mod document;
mod drawing;
mod duration;
mod edit;
mod endpoint;
mod examined;
mod fault;
mod globs;
mod hosts;
mod loaded;
mod masking;
mod mirror;
mod namespaces;
mod probe;
mod pull_secrets;
mod read;
mod template;
mod trust;

pub use bundle_ref::{BundleRef, KeyRef};
pub use document::{OnMissingPullSecret, OnUnreachable, OnUntrusted};
pub use duration::{InvalidDuration, parse_duration};
pub use edit::dangers;
pub use examined::Examined;
pub use fault::{Fault, Faults, Related, Severity};
pub use hosts::{HostPattern, InvalidPattern};
pub use loaded::LoadedPolicy;
pub use mirror::{InvalidResult, Mirror, Rewrite};
pub use probe::ProbeSettings;
pub use pull_secrets::{InvalidSecretName, PullSecretRule, PullSecretSource, SecretName};
pub use trust::{CaSource, Checked};

use crate::image::{Reference, Registry};
use crate::yaml::{self, Limits, Span, Value};
use fault::Collector;

/// How many bytes a document may have: 1 MiB, which is what a ConfigMap can hold.
pub const MAX_SOURCE: usize = 1024 * 1024;

/// A valid policy, ready to decide. Immutable; only [`Policy::read`] makes one.
#[derive(Clone, Debug)]
pub struct Policy {
    /// In the order of the document.
    mirrors: Vec<Mirror>,
    /// The hosts that are rewritten, with the places of their mirrors in `mirrors`, in the order of the document.
    sources: hosts::HostIndex<Vec<usize>>,
    /// From each endpoint's registry to the place of its first mirror.
    endpoints: hosts::Map<usize>,
    pull_secrets: pull_secrets::PullSecretRules,
    on_missing_pull_secret: OnMissingPullSecret,
    trust: trust::TrustRules,
    probe: ProbeSettings,
    ignored: Ignored,
}

/// What is left alone (M10).
#[derive(Clone, Debug, Default)]
struct Ignored {
    /// As authors write them.
    images: HashSet<String>,
    image_globs: globs::ImageGlobs,
    registries: hosts::HostIndex<()>,
    /// `group/Kind`, or `Kind` of the core group.
    owner_kinds: HashSet<String>,
}

/// A policy, and what somebody should look at although it is valid.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The policy.
    pub policy: Policy,
    /// In the order of the document; all of [`Severity::Warning`].
    pub warnings: Vec<Fault>,
}

/// The rule that an image meets, and what follows.
#[derive(Clone, Copy, Debug)]
pub enum Route<'p> {
    /// A glob of `ignore.images` matches (M10): left alone entirely.
    IgnoredImage {
        /// The glob, as the policy writes it.
        pattern: &'p str,
    },
    /// `ignore.registries` lists the host (M10): not rewritten.
    IgnoredRegistry {
        /// The best of the matching patterns.
        pattern: &'p HostPattern,
    },
    /// The image is at a mirror's endpoint already (M5): never rewritten.
    Endpoint {
        /// The first mirror with this endpoint.
        mirror: &'p Mirror,
    },
    /// No mirror lists the host (M2).
    Unlisted,
    /// Mirrors list the host, and none serves this image (M3, M7).
    NotServed {
        /// The best of the matching patterns.
        pattern: &'p HostPattern,
        /// The first mirror that lists it.
        mirror: &'p Mirror,
        /// Why this one does not serve the image.
        why: NotServedReason<'p>,
    },
    /// The mirror to take (M4): see [`Mirror::rewrite`].
    Mirrored {
        /// The best of the matching patterns.
        pattern: &'p HostPattern,
        /// The first mirror under it that serves the image.
        mirror: &'p Mirror,
        /// The mirrors behind it under the same pattern (M11).
        alternatives: Alternatives<'p>,
    },
}

/// Mirrors under one host pattern that have not been looked at, in the order of the document (M4).
#[derive(Clone, Copy)]
pub struct Alternatives<'p> {
    mirrors: &'p [Mirror],
    places: &'p [usize],
}

impl<'p> Alternatives<'p> {
    /// The next mirror that serves the reference.
    pub fn next(&mut self, reference: &Reference<'_>) -> Option<&'p Mirror> {
        let repository = reference.repository();
        while let Some((&place, rest)) = self.places.split_first() {
            self.places = rest;
            let mirror = &self.mirrors[place];
            if mirror.serves(reference, &repository).is_ok() {
                return Some(mirror);
            }
        }
        None
    }
}

impl std::fmt::Debug for Alternatives<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.places.iter().map(|&place| self.mirrors[place].name())).finish()
    }
}

/// Why a mirror does not serve an image of a host that it lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotServedReason<'p> {
    /// No `repositories.include` glob matches.
    RepositoryNotIncluded,
    /// A `repositories.exclude` glob matches.
    RepositoryExcluded {
        /// The glob, as the policy writes it.
        glob: &'p str,
    },
    /// `pullFromMirror: digest-only`, and the reference has no digest.
    DigestOnly,
    /// `pullFromMirror: tag-only`, and the reference has a digest.
    TagOnly,
}

impl std::fmt::Display for NotServedReason<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RepositoryNotIncluded => formatter.write_str("no `repositories.include` glob matches"),
            Self::RepositoryExcluded { glob } => write!(formatter, "`repositories.exclude` lists `{glob}`"),
            Self::DigestOnly => formatter.write_str("`pullFromMirror: digest-only`, and it has no digest"),
            Self::TagOnly => formatter.write_str("`pullFromMirror: tag-only`, and it has a digest"),
        }
    }
}

impl Policy {
    /// Reads and compiles a document.
    ///
    /// # Errors
    /// Every fault of the document at once, its warnings among them, in the order of the document.
    pub fn read(source: &str) -> Result<Compiled, Faults> {
        let start = Span { start: 0, end: 0 };
        if source.len() > MAX_SOURCE {
            let mut faults = Collector::new("");
            let message = format!("the document has {} bytes, and may have {MAX_SOURCE}", source.len());
            faults.error("", start, message).help("write fewer hosts, or use `*.suffix` patterns");
            return Err(Faults(faults.into_faults()));
        }
        let mut faults = Collector::new(source);
        let policy = match yaml::parse_documents(source, Limits::POLICY) {
            Ok(documents) => of_documents(&documents, &mut faults),
            Err(error) => {
                let span = Span { start: error.offset, end: error.offset + 1 };
                faults.error("", span, error.message).help("mend the YAML; nothing else was checked");
                None
            }
        };
        match policy {
            Some(policy) if faults.is_clean() => Ok(Compiled { policy, warnings: faults.into_faults() }),
            _ => Err(Faults(faults.into_faults())),
        }
    }

    /// Whether `ignore.images` lists this very text (M10). Ask before parsing: the text need not be a reference.
    pub fn ignores_text(&self, image: &str) -> bool {
        self.ignored.images.contains(image)
    }

    /// Whether `ignore.ownerKinds` lists the kind (M10). `api_version` is as in an owner reference: `apps/v1`, `v1`.
    pub fn ignores_owner(&self, api_version: &str, kind: &str) -> bool {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.ignored.owner_kinds.iter().any(|listed| match listed.split_once('/') {
            Some((listed_group, listed_kind)) => listed_group == group && listed_kind == kind,
            None => group.is_empty() && listed == kind,
        })
    }

    /// The rule that `reference` meets (M1-M5, M7, M10).
    ///
    /// `ignore.images` goes first, then endpoints, `ignore.registries`, and the mirrors of the best host pattern.
    pub fn route<'p>(&'p self, reference: &Reference<'_>) -> Route<'p> {
        let host = reference.registry_name();
        let repository = reference.repository();
        if let Some(pattern) = self.ignored.image_globs.matching(&host, &repository) {
            return Route::IgnoredImage { pattern };
        }
        if let Some(&first) = self.endpoints.get(&*host) {
            return Route::Endpoint { mirror: &self.mirrors[first] };
        }
        if let Some((pattern, ())) = self.ignored.registries.best(&host) {
            return Route::IgnoredRegistry { pattern };
        }
        let Some((pattern, alternatives)) = self.sources.best(&host) else { return Route::Unlisted };
        let mut first_refusal = None;
        for (number, &at) in alternatives.iter().enumerate() {
            let mirror = &self.mirrors[at];
            match mirror.serves(reference, &repository) {
                Ok(()) => {
                    let alternatives = Alternatives { mirrors: &self.mirrors, places: &alternatives[number + 1..] };
                    return Route::Mirrored { pattern, mirror, alternatives };
                }
                Err(why) => first_refusal = first_refusal.or(Some((mirror, why))),
            }
        }
        match first_refusal {
            Some((mirror, why)) => Route::NotServed { pattern, mirror, why },
            None => Route::Unlisted,
        }
    }

    /// The mirrors, in the order of the document.
    pub fn mirrors(&self) -> impl Iterator<Item = &Mirror> {
        self.mirrors.iter()
    }

    /// The rules for the pull secrets of a pod of `namespace` that pulls from `registry`, in canonical form (S1): those
    /// of the mirrors in their order, then those of `pullSecrets` in theirs (S2). What several of them name is there
    /// once.
    ///
    /// An entry applies if any of its patterns matches: unlike for mirrors (M2), a better pattern of another takes
    /// nothing away, since a pod may carry several secrets for one registry. Rules of other registries cost nothing, nor
    /// do those of other namespaces, where these are names, `prefix*` or `*suffix`.
    pub fn pull_secrets<'p>(
        &'p self,
        registry: &str,
        namespace: &str,
    ) -> impl Iterator<Item = &'p PullSecretRule> + use<'p> {
        self.pull_secrets.matching(registry, namespace)
    }

    /// Whether a registry, in canonical form, is a mirror's endpoint.
    pub fn is_endpoint(&self, registry: &str) -> bool {
        self.endpoints.contains_key(registry)
    }

    /// Whether there are rules for pull secrets at all.
    pub fn has_pull_secrets(&self) -> bool {
        !self.pull_secrets.is_empty()
    }

    /// The registries that there are rules for pull secrets for, each pattern once.
    pub fn pull_secret_registries(&self) -> impl Iterator<Item = &HostPattern> {
        self.pull_secrets.registries()
    }

    /// The names of pull secrets that are the same in every namespace, sorted, each once (S5).
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        self.pull_secrets.names()
    }

    /// Whether there are secrets whose names the policy does not fix: `discover: true`, or `{namespace}` in a name (S5).
    pub fn needs_all_docker_configs(&self) -> bool {
        self.pull_secrets.needs_all_docker_configs()
    }

    /// What is done where a pull secret is missing or does not cover the registry (S6).
    pub fn on_missing_pull_secret(&self) -> OnMissingPullSecret {
        self.on_missing_pull_secret
    }

    /// Whether a registry, in canonical form, is checked before a pod may pull from it, and why (T1). Allocates nothing.
    pub fn checked(&self, registry: &str) -> Option<Checked<'_>> {
        if let Some(&first) = self.endpoints.get(registry) {
            return Some(Checked::Mirror(&self.mirrors[first]));
        }
        let pattern = self.trust.listed(registry)?;
        Some(if pattern.is_any() { Checked::Anything } else { Checked::Listed(pattern) })
    }

    /// Where the CAs for a registry, in canonical form, come from (T2): the `caBundle` of the mirrors that are there,
    /// `additionalTrustedCAs` and `caBundles` that are for it, in the order of the document, then the public roots. None
    /// of them vouches for a registry that is not its own.
    pub fn ca_sources(&self, registry: &str) -> Vec<CaSource<'_>> {
        self.trust.ca_sources(registry)
    }

    /// The CA bundles that are kept elsewhere, each once, sorted.
    pub fn bundles(&self) -> impl Iterator<Item = &BundleRef> {
        self.trust.bundles()
    }

    /// Those of them that hold CAs for a registry, in canonical form: all that its verdict depends on besides the policy.
    /// One may come more than once. Allocates nothing.
    pub fn bundles_of(&self, registry: &str) -> impl Iterator<Item = &BundleRef> {
        self.trust.bundles_of(registry)
    }

    /// The registries that are known before any pod names them: the mirrors' endpoints, and those that
    /// `trust.registries` lists by name. Each once.
    pub fn probed_ahead(&self) -> impl Iterator<Item = &Registry> {
        self.trust.probed_ahead.iter()
    }

    /// What is done with a pod that pulls from a registry whose certificate the nodes would refuse (T5).
    pub fn on_untrusted(&self) -> OnUntrusted {
        self.trust.on_untrusted
    }

    /// What is done with a pod that pulls from a registry that cannot be reached, or of which nothing is known (T5).
    pub fn on_unreachable(&self) -> OnUnreachable {
        self.trust.on_unreachable
    }

    /// The networks that are never connected to, besides those that never are (P2). None holds IPv4 addresses as IPv6.
    pub fn denied_networks(&self) -> &[ipnet::IpNet] {
        &self.trust.denied_networks
    }

    /// Whether a mirror's endpoint is this very address (P2). It says nothing of a name that has the address.
    pub fn is_literal_endpoint(&self, address: IpAddr) -> bool {
        self.trust.literal_endpoints.contains(&address.to_canonical())
    }

    /// How registries are asked.
    pub fn probe(&self) -> &ProbeSettings {
        &self.probe
    }

    /// The JSON Schema of the document.
    pub fn schema() -> serde_json::Value {
        let mut schema = schemars::schema_for!(document::Document).to_value();
        document::join_lines(&mut schema);
        schema
    }
}

/// The policy of the only document of a source that says anything.
fn of_documents(documents: &[yaml::Node], faults: &mut Collector<'_>) -> Option<Policy> {
    let mut documents = documents.iter().filter(|document| !matches!(document.value, Value::Null));
    let Some(document) = documents.next() else {
        faults.error("", Span { start: 0, end: faults.source().len() }, "the document is empty").help(format!(
            "write at least `apiVersion: {}` and `kind: {}`",
            document::API_VERSION,
            document::KIND
        ));
        return None;
    };
    if let Some(second) = documents.next() {
        faults
            .error("", second.span, "a second document, of which nothing would be obeyed")
            .help("join both into one, or take out what is behind `---`")
            .related(document.span, "the first document");
    }
    if let Some(kind) = document.field("kind")
        && matches!(&kind.value, Value::String(text) if text == "ConfigMap")
    {
        faults
            .error("kind", kind.span, "this is a ConfigMap, not the policy in it")
            .help("give the text of its key `policy.yaml`");
        return None;
    }
    let document = read::document(document, faults);
    Some(compile::policy(&document, faults))
}
