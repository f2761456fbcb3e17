//! Which registries a pod must be able to trust (T1), which of its mirrors it comes from when one is down (M11), and what
//! the verdicts on them mean for the pod (T5).

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;

use crate::image::{Escaped, Reference, Registry};
use crate::policy::{Alternatives, HostPattern, Mirror, OnUnreachable, OnUntrusted, Policy, Route};

use super::numbered::Numbered;
use super::plan::{Kept, Outcome, PlannedImage, plan_image};
use super::verdict::{Unknown, UnknownClass, Unreachable, Untrusted, Verdict, Verdicts};

/// The most characters of a registry in a message: as many as a DNS name and a port have.
const MOST_REGISTRY_CHARS: usize = 260;

/// The images of a pod before it is known which mirrors answer.
#[derive(Debug)]
pub struct Routed<'p, 'a> {
    policy: &'p Policy,
    /// Each by the first mirror that serves it.
    images: Vec<PlannedImage<'p, 'a>>,
    /// What becomes of those whose first mirror is unreachable (M11), by their places in `images`, ascending.
    instead: Vec<(usize, Outcome<'p>)>,
}

impl<'p, 'a> Routed<'p, 'a> {
    pub(super) fn new(policy: &'p Policy, images: impl Iterator<Item = PlannedImage<'p, 'a>>) -> Self {
        Self { policy, images: images.collect(), instead: Vec::new() }
    }

    /// Chooses among mirrors by what is known of them (M11), and says of which registries a verdict is missing, each once: ask
    /// for those, and settle again until none is missing.
    pub fn settle(&mut self, verdicts: &Verdicts) -> SmallVec<[Registry; 2]> {
        let mut unasked = Numbered::default();
        self.instead.clear();
        for (place, planned) in self.images.iter().enumerate() {
            let instead = instead(&planned.outcome, planned.reference, verdicts);
            let outcome = instead.as_ref().unwrap_or(&planned.outcome);
            if let Some(registry) = pulled_from(outcome, planned.reference)
                && unasked.get(registry.as_str()).is_none()
                && lacks_a_verdict(self.policy, verdicts, registry.as_str())
            {
                unasked.push(registry.into_registry());
            }
            self.instead.extend(instead.map(|instead| (place, instead)));
        }
        unasked.into_keys()
    }

    /// The images as they were settled.
    pub(super) fn into_images(mut self) -> Vec<PlannedImage<'p, 'a>> {
        for (place, instead) in self.instead {
            self.images[place].outcome = instead;
        }
        self.images
    }
}

/// Settles one image for its text alone, whatever pod names it (M11), and says of which registry a verdict is missing: ask for
/// that, and settle again until none is missing.
pub fn settle_image<'p>(policy: &'p Policy, image: &str, verdicts: &Verdicts) -> (Outcome<'p>, Option<Registry>) {
    let (planned, reference) = plan_image(policy, image);
    let settled = instead(&planned, reference, verdicts).unwrap_or(planned);
    let unasked = pulled_from(&settled, reference).filter(|from| lacks_a_verdict(policy, verdicts, from.as_str()));
    let unasked = unasked.map(PulledFrom::into_registry);
    (settled, unasked)
}

/// Whether a registry, in canonical form, is to be asked before it is known what becomes of an image.
fn lacks_a_verdict(policy: &Policy, verdicts: &Verdicts, registry: &str) -> bool {
    verdicts.get(registry).is_none() && policy.checked(registry).is_some()
}

/// What becomes of an image as its first mirror is down; nothing where that is not so, or the first stays all the same.
fn instead<'p>(planned: &Outcome<'p>, reference: Option<Reference<'_>>, verdicts: &Verdicts) -> Option<Outcome<'p>> {
    let Outcome::Rewritten { mirror, pattern, alternatives, .. } = planned else { return None };
    if !is_down(mirror, verdicts) {
        return None;
    }
    next(&reference?, mirror, pattern, *alternatives, verdicts)
}

/// Not when it is untrusted: then the T rules decide, and nothing else is tried.
fn is_down(mirror: &Mirror, verdicts: &Verdicts) -> bool {
    matches!(verdicts.get(mirror.endpoint().as_str()), Some(Verdict::Unreachable(_)))
}

/// The first alternative that is not known to be down; when all are, the source, where every one of them lets it be
/// contacted; else nothing, and the first mirror stays.
fn next<'p>(
    reference: &Reference<'_>,
    first: &'p Mirror,
    pattern: &'p HostPattern,
    mut alternatives: Alternatives<'p>,
    verdicts: &Verdicts,
) -> Option<Outcome<'p>> {
    let mut may_contact_source = first.may_contact_source();
    while let Some(mirror) = alternatives.next(reference) {
        if !is_down(mirror, verdicts) {
            return Some(match mirror.rewrite(reference) {
                Ok(to) => Outcome::Rewritten { to, mirror, pattern, alternatives },
                Err(error) => Outcome::Unmirrorable { error, mirror },
            });
        }
        may_contact_source &= mirror.may_contact_source();
    }
    may_contact_source.then_some(Outcome::Kept(Kept::MirrorsUnreachable { mirror: first }))
}

/// The registry that an image is pulled from.
pub(super) enum PulledFrom<'i> {
    /// A mirror's endpoint.
    Endpoint(&'i Registry),
    /// The one that the image names, in canonical form.
    Named(Reference<'i>, Cow<'i, str>),
}

impl<'i> PulledFrom<'i> {
    /// As it stands in the image: an author's letters stay.
    pub(super) fn host(&self) -> &'i str {
        match self {
            Self::Endpoint(registry) => registry.as_str(),
            Self::Named(reference, _) => reference.host(),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Endpoint(registry) => registry.as_str(),
            Self::Named(_, name) => name,
        }
    }

    pub(super) fn into_registry(self) -> Registry {
        match self {
            Self::Endpoint(registry) => registry.clone(),
            Self::Named(reference, _) => reference.registry(),
        }
    }
}

/// Nothing where an image is not pulled, or left alone entirely (M9, M10, T1).
fn pulled_from<'i>(outcome: &Outcome<'i>, reference: Option<Reference<'i>>) -> Option<PulledFrom<'i>> {
    match outcome {
        Outcome::Rewritten { mirror, .. } | Outcome::Kept(Kept::Routed(Route::Endpoint { mirror })) => {
            Some(PulledFrom::Endpoint(mirror.endpoint()))
        }
        Outcome::Kept(Kept::IgnoredText | Kept::NeverPulled | Kept::Routed(Route::IgnoredImage { .. })) => None,
        Outcome::Unreadable(_) | Outcome::Unmirrorable { .. } => None,
        Outcome::Kept(_) => reference.map(|reference| PulledFrom::Named(reference, reference.registry_name())),
    }
}

/// The registries that the pod is pulled from and that must be trusted, with what is known of each.
#[derive(Debug, Default)]
pub struct TrustPlan<'p> {
    /// In the order of the images; each once.
    pub registries: SmallVec<[CheckedRegistry<'p>; 2]>,
    on_untrusted: OnUntrusted,
    on_unreachable: OnUnreachable,
    /// Whether nobody was to be asked: then nothing is said of that.
    is_silent: bool,
}

/// One registry that must be trusted.
#[derive(Debug)]
pub struct CheckedRegistry<'p> {
    /// The registry.
    pub registry: Registry,
    /// The mirror whose endpoint it is.
    pub mirror: Option<&'p Mirror>,
    /// What is known of it.
    pub verdict: Verdict,
    /// The images, as places in the plan's.
    pub images: SmallVec<[usize; 4]>,
}

/// What a verdict means for the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Fine,
    Warned,
    Denied,
}

impl<'p> TrustPlan<'p> {
    pub(super) fn new(policy: &'p Policy, images: &[PlannedImage<'p, '_>], verdicts: &Verdicts) -> Self {
        let mut registries: SmallVec<[CheckedRegistry<'p>; 2]> = SmallVec::new();
        let mut numbers = Numbered::<Registry>::default();
        for (place, planned) in images.iter().enumerate() {
            let Some(registry) = pulled_from(&planned.outcome, planned.reference) else { continue };
            let number = match numbers.get(registry.as_str()) {
                Some(number) => number,
                None => {
                    let Some(checked) = policy.checked(registry.as_str()) else { continue };
                    let verdict = verdicts.get(registry.as_str()).cloned().unwrap_or_else(Verdict::not_asked);
                    let registry = registry.into_registry();
                    let mirror = checked.mirror();
                    registries.push(CheckedRegistry {
                        registry: registry.clone(),
                        mirror,
                        verdict,
                        images: SmallVec::new(),
                    });
                    numbers.push(registry)
                }
            };
            registries[number].images.push(place);
        }
        Self {
            registries,
            on_untrusted: policy.on_untrusted(),
            on_unreachable: policy.on_unreachable(),
            is_silent: verdicts.are_not_asked_for(),
        }
    }

    /// What a verdict means (T5): unreachable and unknown are never as good as trusted.
    pub(super) fn standing(&self, verdict: &Verdict) -> Standing {
        match verdict {
            Verdict::Trusted => Standing::Fine,
            Verdict::Unknown(Unknown { class: UnknownClass::PlainHttp, .. }) => Standing::Fine,
            Verdict::Unknown(Unknown { class: UnknownClass::NotAsked, .. }) if self.is_silent => Standing::Fine,
            Verdict::Untrusted(_) => match self.on_untrusted {
                OnUntrusted::Deny => Standing::Denied,
                OnUntrusted::Warn => Standing::Warned,
            },
            Verdict::Unreachable(_) | Verdict::Unknown(_) => match self.on_unreachable {
                OnUnreachable::Deny => Standing::Denied,
                OnUnreachable::Warn => Standing::Warned,
                OnUnreachable::Allow => Standing::Fine,
            },
        }
    }

    /// The registries that are not known to be trusted; none where nobody was to be asked.
    pub fn doubtful(&self) -> impl Iterator<Item = &CheckedRegistry<'p>> {
        self.registries.iter().filter(|checked| checked.verdict != Verdict::Trusted && !self.is_silent)
    }

    /// The registries of one standing.
    pub(super) fn standing_at(&self, wanted: Standing) -> impl Iterator<Item = &CheckedRegistry<'p>> {
        self.registries.iter().filter(move |checked| self.standing(&checked.verdict) == wanted)
    }
}

impl CheckedRegistry<'_> {
    /// Which certificate it is and what mends it, over several lines, where the certificate is what is wrong.
    pub(super) fn details(&self) -> Option<String> {
        let Verdict::Untrusted(untrusted) = &self.verdict else { return None };
        let Untrusted { at, certificate, .. } = &**untrusted;
        let registry = &self.registry;
        let mend = untrusted.mend(registry, self.mirror);
        Some(format!("{registry}, judged at {at:.0}:\n{certificate}\n{mend}"))
    }
}

/// One sentence: the registry, what is wrong with it, the class.
impl fmt::Display for CheckedRegistry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registry = Escaped::cut(self.registry.as_str(), MOST_REGISTRY_CHARS);
        let class = self.verdict.class();
        match &self.verdict {
            Verdict::Trusted => write!(f, "the nodes would trust {registry}"),
            Verdict::Untrusted(untrusted) => {
                write!(f, "the nodes would refuse {registry}: {} ({class})", untrusted.why)
            }
            Verdict::Unreachable(Unreachable { why, .. }) => {
                write!(f, "nothing can be pulled from {registry} now: {why} ({class})")
            }
            Verdict::Unknown(Unknown { why, .. }) => {
                write!(f, "whether the nodes would trust {registry} is not known: {why} ({class})")
            }
        }
    }
}
