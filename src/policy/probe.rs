//! How registries are asked.

use std::time::Duration;

/// The key `probe`, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSettings {
    /// How long one registry may take.
    pub timeout: Duration,
    /// How long it is good that a registry is trusted.
    pub ttl_trusted: Duration,
    /// How long it is good that it is not: at most so long may it take until a mended registry is accepted.
    pub ttl_untrusted: Duration,
    /// How long it is good that it cannot be reached.
    pub ttl_unreachable: Duration,
    /// How many registries are asked at the same time.
    pub max_concurrent: usize,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(2),
            ttl_trusted: Duration::from_secs(5 * 60),
            ttl_untrusted: Duration::from_secs(30),
            ttl_unreachable: Duration::from_secs(10),
            max_concurrent: 32,
        }
    }
}
