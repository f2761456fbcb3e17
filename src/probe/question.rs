//! What is asked of one registry, and under which roots: all that a probe needs, taken from a policy and the CA bundles
//! of one moment.

use core::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::{Bundles, Kind, Target};
use crate::image::{Escaped, Registry};
use crate::policy::{BundleRef, CaSource, Checked, Policy, ProbeSettings};
use crate::review::{Unknown, UnknownClass, Verdict};
use crate::trust::{Pool, Roots, public_roots};

/// The most characters of a bundle's name in a message.
const MOST_NAME_CHARS: usize = 200;

/// One registry, and how it is asked.
#[derive(Clone, Debug)]
pub struct Question {
    registry: Registry,
    lane: Lane,
    kind: Kind,
    denied: Vec<IpNet>,
    literal_allowed: bool,
    settings: ProbeSettings,
    roots: Roots,
    /// Bundles that could vouch for the registry and were never there.
    absent: Vec<BundleRef>,
}

/// Who brought the registry in. The fewer hosts a pod's author can think up, the sooner it is its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// The policy names it in full: there are no more of these than the policy has lines.
    Named,
    /// A `*.suffix` of `trust.registries`.
    Suffix,
    /// Only the `*`.
    Any,
}

impl Lane {
    /// That of a registry that is checked.
    pub(super) fn of(checked: Checked<'_>) -> Self {
        match checked {
            Checked::Mirror(_) => Self::Named,
            Checked::Listed(pattern) if pattern.exact().is_some() => Self::Named,
            Checked::Listed(_) => Self::Suffix,
            Checked::Anything => Self::Any,
        }
    }
}

impl Question {
    /// What is asked of a registry, in canonical form. `None` where the policy does not have it checked: it is not dialled
    /// (P2).
    #[must_use]
    pub fn new(policy: &Policy, bundles: &Bundles, registry: &str) -> Option<Self> {
        let checked = policy.checked(registry)?;
        let registry = Registry::parse(registry).ok()?;
        let lane = Lane::of(checked);
        let kind = match checked {
            Checked::Mirror(mirror) if mirror.plain_http() => Kind::Plain,
            Checked::Mirror(_) | Checked::Listed(_) => Kind::Full,
            Checked::Anything => Kind::HandshakeOnly,
        };
        let (mut pools, mut absent) = (Vec::<Arc<Pool>>::new(), Vec::new());
        for source in policy.ca_sources(registry.as_str()) {
            match source {
                CaSource::Inline(pool) => pools.push(Arc::clone(pool)),
                CaSource::PublicRoots => pools.push(public_roots()),
                CaSource::Bundle(bundle) => match bundles.get(bundle) {
                    Some(pool) => pools.push(Arc::clone(pool)),
                    None => absent.push(bundle.clone()),
                },
            }
        }
        let host = registry.host().trim_start_matches('[').trim_end_matches(']');
        // Of the mirror itself only: under `"*"` a pod's author could name every port of that address.
        let literal_allowed = checked.mirror().is_some()
            && host.parse::<IpAddr>().is_ok_and(|address| policy.is_literal_endpoint(address.to_canonical()));
        Some(Self {
            lane,
            kind,
            denied: policy.denied_networks().to_vec(),
            literal_allowed,
            settings: policy.probe().clone(),
            roots: Roots::new(pools),
            absent,
            registry,
        })
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What the dialler is told.
    #[must_use]
    pub fn target(&self) -> Target<'_> {
        Target {
            registry: &self.registry,
            checked: self.kind,
            denied: &self.denied,
            literal_allowed: self.literal_allowed,
            timeout: self.settings.timeout,
            resolve: None,
        }
    }

    /// The roots that the answer is judged by (T2).
    #[must_use]
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The verdict that an answer comes to.
    #[must_use]
    pub fn settle(&self, verdict: Verdict) -> Verdict {
        without(&self.absent, verdict, |names| {
            let names = Escaped::cut(names, MOST_NAME_CHARS);
            format!(
                "its certificate leads to none of the CAs that are known here and may vouch for it, and this CA bundle was \
                 never readable: {names}"
            )
        })
    }

    pub(super) fn lane(&self) -> Lane {
        self.lane
    }

    pub(super) fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// How long a verdict is used (P3). What is not known leaves as quickly as what is not reachable.
    pub(super) fn ttl(&self, verdict: &Verdict) -> Duration {
        match verdict {
            Verdict::Trusted => self.settings.ttl_trusted,
            Verdict::Unknown(unknown) if unknown.class == UnknownClass::PlainHttp => self.settings.ttl_trusted,
            Verdict::Untrusted(_) => self.settings.ttl_untrusted,
            Verdict::Unreachable(_) | Verdict::Unknown(_) => self.settings.ttl_unreachable,
        }
    }
}

/// A chain that leads to no CA that may vouch for it may lead to one of a bundle that is `absent`: then nobody knows, and
/// `why` says so of the bundles' names. One that is trusted without them is trusted.
#[must_use]
pub fn without(absent: &[BundleRef], verdict: Verdict, why: impl FnOnce(&str) -> String) -> Verdict {
    match &verdict {
        Verdict::Untrusted(untrusted) if untrusted.depends_on_roots && !absent.is_empty() => {
            let names: Vec<String> = absent.iter().map(ToString::to_string).collect();
            let why = why(&names.join("; ")).into();
            Verdict::Unknown(Unknown { class: UnknownClass::CannotJudge, why })
        }
        _ => verdict,
    }
}
