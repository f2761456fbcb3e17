//! Registries over the network: which addresses may be dialled, what a registry presents and answers, and the verdicts
//! that are kept of it (P1 to P4).
//!
//! Not here: what a chain is worth (`trust`), which registries are asked and what follows (`review`).

mod bundles;

pub use bundles::{BundleStore, Bundles};
