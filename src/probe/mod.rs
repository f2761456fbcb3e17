//! Registries over the network: which addresses may be dialled, what a registry presents and answers, and the verdicts
//! that are kept of it (P1 to P4).
//!
//! Not here: what a chain is worth (`trust`), which registries are asked and what follows (`review`).
//!
//! # From a question to a verdict
//!
//! ```text
//! review ─► Prober ─► cache: kept ─────────────────────────────────────► Verdicts
//!              └─ missing ─► ProbeTasks ─► desk ─► Dialler ─► cache ─► ────┘
//!                 policy, bundles ──┘  └── ahead, again
//! ```
//!
//! [`Prober`] looks into the cache, which costs no wait, no lock of ours and no allocation for the key. The key is the
//! registry, the generation of the policy and the revision of the CA bundles: under another policy or other roots there is
//! nothing to be found, and nothing has to be thrown away (P3). What is missing is sent to [`ProbeTasks`], the one task
//! that knows what is asked for, what runs and what is kept. The review waits for the answer until its budget ends (P4);
//! that it leaves ends nothing: the probe is the task's, and its verdict is kept for whoever asks next.
//!
//! # Who is asked next
//!
//! - One probe at a time for a registry, shared by everybody who waits for it. When the bundles change, it is begun again
//!   with the new roots; when the policy changes, that of the newer policy goes first, and the other is begun again
//!   behind it if a review still waits for it.
//! - `probe.maxConcurrent` probes at once, in three lanes. Registries that only the `*` brought in may use half of the
//!   room; together with those that a `*.suffix` did, three quarters; the rest is always for those that the policy names
//!   in full. So a pod that names fifty unknown hosts, which hang, takes no turn from a mirror or a listed registry, and a
//!   registry that hangs takes one turn and no other.
//! - What a review waits for goes before what is asked ahead.
//! - Of one review, sixteen registries are asked that the policy does not name in full; of each of the two lanes of such
//!   registries, 256 run or wait. What is beyond is unknown at once.
//!
//! # How long a verdict lives
//!
//! Each class has its time (`probe.ttl`), and a trusted one ends with the certificates it rests on. At 70 to 80 % of it,
//! earlier where a probe that runs into its timeout would take longer than the rest, a verdict that anybody asked for is
//! probed again, and holds meanwhile: a steady workload never waits. One that nobody asked for is left to end. What such a
//! probe says counts at once, with one exception. Where a registry was fine and the probe gets no answer that can be
//! judged, this may be a blip: the verdict holds, and the probe a second later decides. Thus a lost packet rejects no pod,
//! and a mirror that is down is known to be as soon as two probes failed, not when its verdict ends.
//!
//! After a change of policy or bundles, what the policy names in full is probed at once, and so is what was in use.

mod bundle_files;
mod bundle_keeper;
mod bundles;
mod cache;
mod changes;
mod connect;
mod desk;
mod dial;
mod freshness;
mod guard;
mod handshake;
mod http;
mod prober;
mod question;
mod resolve;
mod sentences;
mod tasks;

pub use bundle_files::BundleFiles;
pub use bundle_keeper::{BundleKeeper, BundleTroubles, CA_BUNDLES_READINESS, MOST_BUNDLE_BYTES};
pub use bundles::{BundleStore, Bundles};
pub use dial::{Dialler, Kind, Report, Target};
pub use prober::Prober;
pub use question::{Question, without};
pub use resolve::NameSources;
pub use tasks::ProbeTasks;
