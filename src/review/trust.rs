//! Which registries a pod must be able to trust (T1), which of its mirrors it comes from when one is down (M11), and what
//! the verdicts on them mean for the pod (T5).

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::image::{Escaped, Reference, Registry};
use crate::policy::{Alternatives, HostPattern, Mirror, OnUnreachable, OnUntrusted, Policy, Route};

use super::plan::{Kept, Outcome, PlannedImage, plan_image};
use super::verdict::{Unknown, UnknownClass, Unreachable, Untrusted, Verdict, Verdicts};

/// The most characters of a registry in a message: as many as a DNS name and a port have.
const MOST_REGISTRY_CHARS: usize = 260;

/// The images of a pod before it is known which mirrors answer.
#[derive(Debug)]
pub struct Routed<'p, 'a> {
    policy: &'p Policy,
    images: Vec<RoutedImage<'p, 'a>>,
}

#[derive(Debug)]
struct RoutedImage<'p, 'a> {
    /// By the first mirror that serves it.
    planned: PlannedImage<'p, 'a>,
    /// What becomes of it as that one is unreachable (M11).
    instead: Option<Outcome<'p>>,
}

impl<'p, 'a> Routed<'p, 'a> {
    pub(super) fn new(policy: &'p Policy, images: impl Iterator<Item = PlannedImage<'p, 'a>>) -> Self {
        Self { policy, images: images.map(|planned| RoutedImage { planned, instead: None }).collect() }
    }

    /// Chooses among mirrors by what is known of them (M11), and says of which registries a verdict is missing: ask for
    /// those, and settle again until none is missing.
    pub fn settle(&mut self, verdicts: &Verdicts) -> Vec<String> {
        let mut unasked = Vec::new();
        let mut seen = HashSet::new();
        for image in &mut self.images {
            image.fall_back(verdicts);
            let Some(registry) = pulled_from(image.outcome(), image.planned.image) else { continue };
            if verdicts.get(&registry).is_none()
                && !seen.contains(&*registry)
                && self.policy.checked(&registry).is_some()
            {
                unasked.push(registry.clone().into_owned());
                seen.insert(registry.into_owned());
            }
        }
        unasked
    }

    /// The images as they were settled.
    pub(super) fn into_images(self) -> Vec<PlannedImage<'p, 'a>> {
        let settled = |RoutedImage { mut planned, instead }| {
            if let Some(instead) = instead {
                planned.outcome = instead;
            }
            planned
        };
        self.images.into_iter().map(settled).collect()
    }
}

impl<'p> RoutedImage<'p, '_> {
    fn outcome(&self) -> &Outcome<'p> {
        self.instead.as_ref().unwrap_or(&self.planned.outcome)
    }

    fn fall_back(&mut self, verdicts: &Verdicts) {
        self.instead = instead(&self.planned.outcome, self.planned.image, verdicts);
    }
}

/// Settles one image for its text alone, whatever pod names it (M11), and says of which registry a verdict is missing: ask for
/// that, and settle again until none is missing.
pub fn settle_image<'p>(policy: &'p Policy, image: &str, verdicts: &Verdicts) -> (Outcome<'p>, Option<String>) {
    let planned = plan_image(policy, image);
    let settled = instead(&planned, image, verdicts).unwrap_or(planned);
    let is_unasked = |registry: &Cow<'_, str>| verdicts.get(registry).is_none() && policy.checked(registry).is_some();
    let unasked = pulled_from(&settled, image).filter(is_unasked).map(Cow::into_owned);
    (settled, unasked)
}

/// What becomes of an image as its first mirror is down; nothing where that is not so, or the first stays all the same.
fn instead<'p>(planned: &Outcome<'p>, image: &str, verdicts: &Verdicts) -> Option<Outcome<'p>> {
    let Outcome::Rewritten { mirror, pattern, alternatives, .. } = planned else { return None };
    if !is_down(mirror, verdicts) {
        return None;
    }
    next(image, mirror, pattern, *alternatives, verdicts)
}

/// Not when it is untrusted: then the T rules decide, and nothing else is tried.
fn is_down(mirror: &Mirror, verdicts: &Verdicts) -> bool {
    matches!(verdicts.get(mirror.endpoint().as_str()), Some(Verdict::Unreachable(_)))
}

/// The first alternative that is not known to be down; when all are, the source, where every one of them lets it be
/// contacted; else nothing, and the first mirror stays.
fn next<'p>(
    image: &str,
    first: &'p Mirror,
    pattern: &'p HostPattern,
    mut alternatives: Alternatives<'p>,
    verdicts: &Verdicts,
) -> Option<Outcome<'p>> {
    let reference = Reference::parse(image).ok()?;
    let mut may_contact_source = first.may_contact_source();
    while let Some(mirror) = alternatives.next(&reference) {
        if !is_down(mirror, verdicts) {
            return Some(match mirror.rewrite(&reference) {
                Ok(to) => Outcome::Rewritten { to, mirror, pattern, alternatives },
                Err(error) => Outcome::Unmirrorable { error, mirror },
            });
        }
        may_contact_source &= mirror.may_contact_source();
    }
    may_contact_source.then_some(Outcome::Kept(Kept::MirrorsUnreachable { mirror: first }))
}

/// The registry that an image is pulled from; nothing where it is not pulled, or left alone entirely (M9, M10, T1).
fn pulled_from<'i>(outcome: &Outcome<'i>, image: &'i str) -> Option<Cow<'i, str>> {
    match outcome {
        Outcome::Rewritten { mirror, .. } | Outcome::Kept(Kept::Routed(Route::Endpoint { mirror })) => {
            Some(mirror.endpoint().as_str().into())
        }
        Outcome::Kept(Kept::IgnoredText | Kept::NeverPulled | Kept::Routed(Route::IgnoredImage { .. })) => None,
        Outcome::Unreadable(_) | Outcome::Unmirrorable { .. } => None,
        Outcome::Kept(_) => Some(Reference::parse(image).ok()?.registry().as_str().to_owned().into()),
    }
}

/// The registries that the pod is pulled from and that must be trusted, with what is known of each.
#[derive(Debug, Default)]
pub struct TrustPlan<'p> {
    /// In the order of the images; each once.
    pub registries: Vec<CheckedRegistry<'p>>,
    on_untrusted: OnUntrusted,
    on_unreachable: OnUnreachable,
    /// Whether nobody was to be asked: then nothing is said of that.
    is_silent: bool,
}

/// One registry that must be trusted.
#[derive(Debug)]
pub struct CheckedRegistry<'p> {
    /// In canonical form.
    pub registry: Cow<'p, str>,
    /// The mirror whose endpoint it is.
    pub mirror: Option<&'p Mirror>,
    /// What is known of it.
    pub verdict: Verdict,
    /// The images, as places in the plan's.
    pub images: Vec<usize>,
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
        let mut registries: Vec<CheckedRegistry<'p>> = Vec::new();
        let mut places: HashMap<String, Option<usize>> = HashMap::new();
        for (place, planned) in images.iter().enumerate() {
            let Some(registry) = pulled_from(&planned.outcome, planned.image) else { continue };
            if let Some(last) = registries.last_mut()
                && last.registry == registry
            {
                last.images.push(place);
                continue;
            }
            let known = match places.get(&*registry) {
                Some(&known) => known,
                None => {
                    let known = policy.checked(&registry).map(|checked| {
                        let verdict = verdicts.get(&registry).cloned().unwrap_or_else(Verdict::not_asked);
                        let mirror = checked.mirror();
                        let registry = match mirror {
                            Some(mirror) => mirror.endpoint().as_str().into(),
                            None => registry.clone().into_owned().into(),
                        };
                        registries.push(CheckedRegistry { registry, mirror, verdict, images: Vec::new() });
                        registries.len() - 1
                    });
                    places.insert(registry.into_owned(), known);
                    known
                }
            };
            if let Some(known) = known {
                registries[known].images.push(place);
            }
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
        let registry = Registry::parse(&self.registry).ok()?;
        let mend = untrusted.mend(&registry, self.mirror);
        Some(format!("{registry}, judged at {at:.0}:\n{certificate}\n{mend}"))
    }
}

/// One sentence: the registry, what is wrong with it, the class.
impl fmt::Display for CheckedRegistry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registry = Escaped::cut(&self.registry, MOST_REGISTRY_CHARS);
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
