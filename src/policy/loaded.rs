//! A policy together with the document that it came from.

use std::fmt::Write as _;

use aws_lc_rs::digest;

use super::{Compiled, Fault, Faults, Policy};

/// A policy that is or was in force.
#[derive(Clone, Debug)]
pub struct LoadedPolicy {
    /// The policy.
    pub policy: Policy,
    /// Lower-case hex SHA-256 of the document, as `sha256sum` prints it.
    pub sha256: String,
    /// Counts the policies of this process from 1.
    pub generation: u64,
}

impl LoadedPolicy {
    /// Reads and compiles a document; with its warnings.
    ///
    /// # Errors
    /// Every fault of the document.
    pub fn read(source: &str, generation: u64) -> Result<(Self, Vec<Fault>), Faults> {
        let Compiled { policy, warnings } = Policy::read(source)?;
        Ok((Self::new(policy, source, generation), warnings))
    }

    /// `source` is the document that `policy` was read from.
    pub fn new(policy: Policy, source: &str, generation: u64) -> Self {
        let digest = digest::digest(&digest::SHA256, source.as_bytes());
        let sha256 = digest.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a `String` does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Self { policy, sha256, generation }
    }
}
