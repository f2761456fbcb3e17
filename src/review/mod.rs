//! What is done to a pod under a policy: pure, from the pod's JSON to a decision.
//!
//! ```text
//! Pod ─► route ─► settle ─► plan ─► decide ─► Decision { allowed, patch, warnings, causes, audit annotations }
//!                  ▲  └─► which verdicts are missing
//!                  └────── Verdicts
//! ```
//!
//! [`route`] says where each image goes, [`Routed::settle`] whose verdicts are missing, [`plan`] what is to be done; none of
//! them asks anybody anything. [`decide`] turns the plan into an answer for one [`Mode`]. The server, `mirrorgate review`
//! and the benchmarks run these same functions. How a review travels over the wire is
//! not here (`server::wire`), nor is where the policy comes from.

mod decide;
mod numbered;
mod original_images;
mod patch;
mod plan;
mod pod;
mod pull_secrets;
mod secrets;
mod trust;
mod verdict;

pub use decide::{Cause, CauseReason, Decision, decide};
pub use original_images::ORIGINAL_IMAGES;
pub use patch::Patch;
pub use plan::{Kept, Outcome, Plan, PlannedImage, plan, plan_image, route};
pub use pod::{ImageField, ImageList, Owner, Pod};
pub use pull_secrets::{InDoubt, PullSecretPlan, SecretFinding, SecretState, SecretUse, pull_secret_names};
pub use secrets::{Known, PullSecrets, Scope, SecretsByName};
pub use trust::{CheckedRegistry, Routed, TrustPlan, settle_image};
pub use verdict::{Unknown, UnknownClass, Unreachable, UnreachableClass, Untrusted, Verdict, Verdicts};

/// How a namespace opted in; it arrives as the URL path that the API server calls (A8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Pods are changed or denied.
    Enforce,
    /// What would be done is reported, and nothing is done (A5).
    Audit,
}

impl Mode {
    /// The word in labels, paths, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
        }
    }
}

/// Which part of a pod a request can still change (U1 to U3).
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// `CREATE pods`: everything (U1).
    Create,
    /// `UPDATE pods`: containers whose image differs from the old pod's (U2).
    Update {
        /// The pod as it is stored.
        old: &'a Pod<'a>,
    },
    /// `UPDATE pods/ephemeralcontainers`: entries that the old pod does not have (U3).
    EphemeralContainers {
        /// The pod as it is stored.
        old: &'a Pod<'a>,
    },
}
