//! What is to be done to a pod, and nothing of how it is answered.

use std::collections::HashMap;
use std::fmt;

use crate::image::{ParseError, Reference};
use crate::policy::{Alternatives, HostPattern, InvalidResult, Mirror, Policy, Rewrite, Route};

use super::Change;
use super::pod::{ImageField, ImageList, NamedImage, Pod};
use super::pull_secrets::{PullSecretPlan, pull_secrets};
use super::secrets::PullSecrets;
use super::trust::{Routed, TrustPlan};
use super::verdict::Verdicts;

/// What is to be done to one pod.
#[derive(Debug, Default)]
pub struct Plan<'p, 'a> {
    /// Every image that this request may still change, in the pod's order.
    pub images: Vec<PlannedImage<'p, 'a>>,
    /// The registries that must be trusted for them.
    pub trust: TrustPlan<'p>,
    /// The pull secrets that go with them.
    pub pull_secrets: PullSecretPlan<'p>,
}

/// One image of the pod, and what becomes of it.
#[derive(Debug)]
pub struct PlannedImage<'p, 'a> {
    /// Where it stands.
    pub field: ImageField,
    /// The container's or volume's name.
    pub name: &'a str,
    /// The image as its author wrote it.
    pub image: &'a str,
    /// The same as it was read; none where no runtime can read it, or its text alone decided.
    pub(super) reference: Option<Reference<'a>>,
    /// What becomes of it.
    pub outcome: Outcome<'p>,
}

/// What becomes of an image.
#[derive(Debug)]
pub enum Outcome<'p> {
    /// It comes from a mirror (M6).
    Rewritten {
        /// The image as the pod will carry it.
        to: Rewrite,
        /// The mirror it comes from.
        mirror: &'p Mirror,
        /// The host pattern that led there.
        pattern: &'p HostPattern,
        /// The mirrors that come after this one (M11).
        alternatives: Alternatives<'p>,
    },
    /// It stays byte for byte as it is (R5).
    Kept(Kept<'p>),
    /// No runtime can read it (A3).
    Unreadable(ParseError),
    /// The mirror would have to serve it, and no reference says so (M6).
    Unmirrorable {
        /// What is wrong with the result.
        error: InvalidResult,
        /// The mirror that was meant.
        mirror: &'p Mirror,
    },
}

/// Why an image stays as it is.
#[derive(Debug)]
pub enum Kept<'p> {
    /// `ignore.images` holds this very text (M10).
    IgnoredText,
    /// The pull policy is `Never`: nothing is pulled (M9).
    NeverPulled,
    /// `ignore.ownerKinds` holds the kind of an owner (M10).
    IgnoredOwner,
    /// Its mirrors are unreachable, and let the source be contacted (M11).
    MirrorsUnreachable {
        /// The first of them.
        mirror: &'p Mirror,
    },
    /// The policy leads it nowhere else.
    Routed(Route<'p>),
}

impl fmt::Display for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IgnoredText => f.write_str("ignore.images lists this text"),
            Self::NeverPulled => f.write_str("its pull policy is Never: nothing is pulled"),
            Self::IgnoredOwner => f.write_str("ignore.ownerKinds lists the kind of an owner of the pod"),
            Self::MirrorsUnreachable { mirror } => {
                write!(
                    f,
                    "mirror {} is unreachable, and its mirrorSourcePolicy is AllowContactingSource",
                    mirror.name()
                )
            }
            Self::Routed(route) => match route {
                Route::IgnoredImage { pattern } => write!(f, "ignore.images has the glob {pattern}"),
                Route::IgnoredRegistry { pattern } => write!(f, "ignore.registries lists {pattern}"),
                Route::Endpoint { mirror } => write!(f, "it is at the endpoint of mirror {} already", mirror.name()),
                Route::Unlisted => f.write_str("no mirror lists its registry"),
                Route::NotServed { pattern, mirror, why } => {
                    write!(f, "mirror {} lists {pattern} and does not serve this image: {why}", mirror.name())
                }
                Route::Mirrored { mirror, .. } => write!(f, "mirror {} serves it", mirror.name()),
            },
        }
    }
}

impl Outcome<'_> {
    /// Whether it stands against the pod.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Unreadable(_) | Self::Unmirrorable { .. })
    }

    /// Whether a pull policy other than `Never` would have it pulled: not where it is left alone, or no runtime reads it.
    fn would_be_pulled(&self) -> bool {
        !matches!(self, Self::Unreadable(_) | Self::Kept(Kept::IgnoredText | Kept::Routed(Route::IgnoredImage { .. })))
    }

    /// The word for it in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Rewritten { .. } => "rewritten",
            Self::Kept(_) => "kept",
            Self::Unreadable(_) => "unreadable",
            Self::Unmirrorable { .. } => "unmirrorable",
        }
    }
}

impl<'p> Plan<'p, '_> {
    /// Plans the pull secrets anew, by what is known of them now.
    pub fn plan_pull_secrets(
        &mut self,
        policy: &'p Policy,
        namespace: &str,
        secrets: &PullSecrets,
        pod: &Pod<'_>,
        change: Change<'_>,
    ) {
        self.pull_secrets = pull_secrets(policy, namespace, pod, change, &self.images, secrets);
    }
}

/// Routes the images that the change may still alter (U1 to U3), each to the first mirror that serves it.
pub fn route<'p, 'a>(policy: &'p Policy, pod: &'a Pod<'a>, change: Change<'_>) -> Routed<'p, 'a> {
    // Found by name and not by search: a pod may have as many containers as fit into a body.
    let stored = match change {
        Change::Create => HashMap::new(),
        Change::Update { old } | Change::EphemeralContainers { old } => old.images_by_name(),
    };
    let ignored_owner = pod.owners().any(|owner| policy.ignores_owner(owner.api_version(), owner.kind()));
    Routed::new(
        policy,
        pod.images().filter(|image| is_open_to(change, &stored, image)).map(
            |NamedImage { field, name, image, never_pulled }| {
                let (mut outcome, reference) = plan_image(policy, image);
                if never_pulled && outcome.would_be_pulled() {
                    outcome = Outcome::Kept(Kept::NeverPulled);
                } else if let (true, Outcome::Rewritten { .. } | Outcome::Unmirrorable { .. }) =
                    (ignored_owner, &outcome)
                {
                    outcome = Outcome::Kept(Kept::IgnoredOwner);
                }
                PlannedImage { field, name, image, reference, outcome }
            },
        ),
    )
}

/// Plans for images that were routed and settled. `secrets` are those of the pod's namespace.
pub fn plan<'p, 'a>(
    policy: &'p Policy,
    routed: Routed<'p, 'a>,
    verdicts: &Verdicts,
    namespace: &str,
    secrets: &PullSecrets,
    pod: &'a Pod<'a>,
    change: Change<'_>,
) -> Plan<'p, 'a> {
    let images = routed.into_images();
    let trust = TrustPlan::new(policy, &images, verdicts);
    let pull_secrets = pull_secrets(policy, namespace, pod, change, &images, secrets);
    Plan { images, trust, pull_secrets }
}

/// What becomes of an image for its text alone, whatever pod names it; and the image, where it was read for that.
pub fn plan_image<'p, 'a>(policy: &'p Policy, image: &'a str) -> (Outcome<'p>, Option<Reference<'a>>) {
    if policy.ignores_text(image) {
        return (Outcome::Kept(Kept::IgnoredText), None);
    }
    let reference = match Reference::parse(image) {
        Ok(reference) => reference,
        Err(error) => return (Outcome::Unreadable(error), None),
    };
    let outcome = match policy.route(&reference) {
        Route::Mirrored { pattern, mirror, alternatives } => match mirror.rewrite(&reference) {
            Ok(to) => Outcome::Rewritten { to, mirror, pattern, alternatives },
            Err(error) => Outcome::Unmirrorable { error, mirror },
        },
        route => Outcome::Kept(Kept::Routed(route)),
    };
    (outcome, Some(reference))
}

/// Whether the API server still takes a change of this image (U2, U3).
fn is_open_to(change: Change<'_>, stored: &HashMap<(ImageList, &str), &str>, image: &NamedImage<'_>) -> bool {
    let list = image.field.list;
    let stored = stored.get(&(list, image.name));
    match change {
        Change::Create => true,
        Change::Update { .. } => {
            matches!(list, ImageList::Containers | ImageList::InitContainers) && stored != Some(&image.image)
        }
        Change::EphemeralContainers { .. } => list == ImageList::EphemeralContainers && stored.is_none(),
    }
}
