//! What the kernel says of a process.

use std::fmt::Display;
use std::fs;

use anyhow::Context;

/// A line of `/proc/PROCESS/status`, without its name.
pub(crate) fn status(process: impl Display, name: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.with_context(|| format!("{path} has no {name}"))?.trim().to_owned())
}

/// What of a process is kept in memory, in MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) resident: f64,
    /// The most since its start.
    pub(crate) most: f64,
}

impl Memory {
    pub(crate) fn of(process: impl Display) -> anyhow::Result<Memory> {
        let figure = |name: &str| -> anyhow::Result<f64> {
            let text = status(&process, name)?;
            let kilobytes = text.trim_end_matches(" kB").parse::<u64>();
            Ok(kilobytes.with_context(|| format!("{name} {text:?} of process {process}"))? as f64 / 1024.0)
        };
        Ok(Memory { resident: figure("VmRSS:")?, most: figure("VmHWM:")? })
    }
}
