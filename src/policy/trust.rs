//! Which registries are checked, and the CAs that vouch for each (T1, T2).
//!
//! Not here: whether a certificate is good (`trust`), and what the bundles hold that are kept elsewhere (`probe`).

use core::net::IpAddr;
use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;

use super::bundle_ref::BundleRef;
use super::document::{OnUnreachable, OnUntrusted};
use super::hosts::{HostIndex, HostPattern};
use super::mirror::Mirror;
use crate::image::Registry;
use crate::trust::Pool;

/// Why a registry is checked (T1).
#[derive(Clone, Copy, Debug)]
pub enum Checked<'p> {
    /// It is this mirror's endpoint. Of one that speaks plain HTTP there is no certificate to judge (T6).
    Mirror(&'p Mirror),
    /// `trust.registries` lists it, by its name or by a `*.suffix`.
    Listed(&'p HostPattern),
    /// Only the `*` of `trust.registries` matches: a pod's author named it, and nobody else.
    Anything,
}

impl<'p> Checked<'p> {
    /// The mirror whose endpoint it is.
    pub fn mirror(self) -> Option<&'p Mirror> {
        match self {
            Self::Mirror(mirror) => Some(mirror),
            Self::Listed(_) | Self::Anything => None,
        }
    }
}

/// Where CAs for a registry come from (T2).
#[derive(Clone, Copy, Debug)]
pub enum CaSource<'p> {
    /// The policy itself holds them.
    Inline(&'p Arc<Pool>),
    /// They are kept elsewhere.
    Bundle(&'p BundleRef),
    /// The public roots (`systemRoots`).
    PublicRoots,
}

/// CAs of the policy, owned.
#[derive(Clone, Debug)]
pub(super) enum Ca {
    Inline(Arc<Pool>),
    Bundle(BundleRef),
}

/// The key `trust` and the mirrors' `caBundle`s, compiled and indexed.
#[derive(Clone, Debug)]
pub(super) struct TrustRules {
    pub(super) registries: HostIndex<()>,
    cas: Vec<Ca>,
    /// From each pattern to the places in `cas`, ascending.
    by_registry: HostIndex<Vec<usize>>,
    bundles: BTreeSet<BundleRef>,
    /// From each pattern to the bundles that it names: looked up for every review, and mostly there are none.
    bundles_by_registry: HostIndex<Vec<BundleRef>>,
    pub(super) system_roots: bool,
    pub(super) on_untrusted: OnUntrusted,
    pub(super) on_unreachable: OnUnreachable,
    pub(super) denied_networks: Vec<IpNet>,
    /// In the order of the document, mirrors first.
    pub(super) probed_ahead: Vec<Registry>,
    /// The addresses that mirrors' endpoints are.
    pub(super) literal_endpoints: Vec<IpAddr>,
}

impl TrustRules {
    /// Rules without a CA.
    pub(super) fn new(system_roots: bool, on_untrusted: OnUntrusted, on_unreachable: OnUnreachable) -> Self {
        Self {
            registries: HostIndex::default(),
            cas: Vec::new(),
            by_registry: HostIndex::default(),
            bundles: BTreeSet::new(),
            bundles_by_registry: HostIndex::default(),
            system_roots,
            on_untrusted,
            on_unreachable,
            denied_networks: Vec::new(),
            probed_ahead: Vec::new(),
            literal_endpoints: Vec::new(),
        }
    }

    /// Takes in CAs that vouch for the registries of these patterns, behind those that are there.
    pub(super) fn add(&mut self, ca: Ca, registries: impl IntoIterator<Item = HostPattern>) {
        let place = self.cas.len();
        for pattern in registries {
            if let Ca::Bundle(bundle) = &ca {
                self.bundles_by_registry.entry(pattern.clone()).push(bundle.clone());
            }
            self.by_registry.entry(pattern).push(place);
        }
        if let Ca::Bundle(bundle) = &ca {
            self.bundles.insert(bundle.clone());
        }
        self.cas.push(ca);
    }

    /// The pattern of `trust.registries` that brings a registry in.
    pub(super) fn listed(&self, registry: &str) -> Option<&HostPattern> {
        self.registries.best(registry).map(|(pattern, ())| pattern)
    }

    /// Every entry that matches counts, not only the best.
    pub(super) fn ca_sources(&self, registry: &str) -> Vec<CaSource<'_>> {
        let mut places: Vec<usize> = self.by_registry.matching(registry).flatten().copied().collect();
        places.sort_unstable();
        places.dedup();
        let own = places.into_iter().map(|place| match &self.cas[place] {
            Ca::Inline(pool) => CaSource::Inline(pool),
            Ca::Bundle(bundle) => CaSource::Bundle(bundle),
        });
        own.chain(self.system_roots.then_some(CaSource::PublicRoots)).collect()
    }

    /// Whether no CA is there for any registry, besides the public roots.
    pub(super) fn has_no_ca(&self) -> bool {
        self.cas.is_empty()
    }

    pub(super) fn bundles(&self) -> impl Iterator<Item = &BundleRef> {
        self.bundles.iter()
    }

    /// Those of [`TrustRules::ca_sources`] that are kept elsewhere; one that several patterns name as often. Allocates
    /// nothing.
    pub(super) fn bundles_of(&self, registry: &str) -> impl Iterator<Item = &BundleRef> {
        let index = (!self.bundles.is_empty()).then_some(&self.bundles_by_registry);
        index.into_iter().flat_map(|index| index.matching(registry)).flatten()
    }
}
