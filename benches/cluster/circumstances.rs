//! Where and of what it was measured.

use std::fs;
use std::process::Command;

use crate::lab::{Lab, repository};

/// Date, machine and versions, in a sentence or two.
pub(crate) async fn told(lab: &Lab) -> anyhow::Result<String> {
    let first = |file: &str| fs::read_to_string(file).map(|text| text.lines().next().unwrap_or_default().to_owned());
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let load: String = first("/proc/loadavg")?.split(' ').take(3).collect::<Vec<_>>().join(" ");
    // The kernel's boundaries do not count here: what may run is what there is.
    let cores = std::thread::available_parallelism()?;
    let profile: Vec<String> = std::env::vars()
        .filter(|(name, _)| name.starts_with("CARGO_PROFILE_"))
        .map(|(name, value)| format!("; {name}={value}"))
        .collect();
    Ok(format!(
        "Measured on {} with {cores} cores ({model}), Linux {}, load average before {load}; kube-apiserver {}, {} at commit {}, {}{}.",
        jiff::Zoned::now().strftime("%Y-%m-%d"),
        first("/proc/sys/kernel/osrelease")?,
        lab.client.apiserver_version().await?.git_version,
        said(env!("CARGO_BIN_EXE_mirrorgate"), &["--version"]),
        said("git", &["rev-parse", "--short", "HEAD"]),
        said("rustc", &["--version"]),
        profile.concat(),
    ))
}

/// What a program says, or that it cannot.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(repository()).output();
    let said = output.ok().filter(|output| output.status.success());
    said.map_or_else(|| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
