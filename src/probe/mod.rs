//! Registries over the network: which addresses may be dialled, what a registry presents and answers, and the verdicts
//! that are kept of it (P1 to P4).
//!
//! Not here: what a chain is worth (`trust`), which registries are asked and what follows (`review`).

mod bundle_files;
mod bundle_keeper;
mod bundles;
mod connect;
mod dial;
mod guard;
mod handshake;
mod http;
mod resolve;
mod sentences;

pub use bundle_files::BundleFiles;
pub use bundle_keeper::{BundleKeeper, BundleTroubles, CA_BUNDLES_READINESS, MOST_BUNDLE_BYTES};
pub use bundles::{BundleStore, Bundles};
pub use dial::{Dialler, Kind, Report, Target};
pub use resolve::NameSources;
