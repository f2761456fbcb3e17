//! The policy of a command that works under one: `--policy FILE`.

use std::path::Path;

use anstream::{AutoStream, ColorChoice, eprint};
use anyhow::Context;

use crate::policy::{Examined, Policy};

/// Reads a policy. One with faults is `None`, and they are on stderr with their source lines: exit code 1.
///
/// # Errors
/// A file that cannot be read, or is no UTF-8: exit code 2.
pub(super) fn load(path: &Path) -> anyhow::Result<Option<Policy>> {
    let source =
        std::fs::read_to_string(path).with_context(|| format!("the policy {} cannot be read", path.display()))?;
    let examined = Examined::new(path.display().to_string(), source.into_bytes());
    if examined.policy().is_none() {
        let color = AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
        eprint!("{}", examined.drawings(color));
    }
    Ok(examined.into_policy())
}
