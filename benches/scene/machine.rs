//! When, where and of what something is measured.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use jiff::Timestamp;

/// Date, machine, compiler and commit: `2026-11-22 08:23 UTC on …, 2 cores, 24684096 kB, Linux …; rustc …; commit …`.
pub(crate) fn told() -> String {
    let mut told = format!(
        "{date} on {model}, {cores} cores, {memory}, Linux {kernel}; {rustc}; commit {commit}",
        date = Timestamp::now().strftime("%Y-%m-%d %H:%M UTC"),
        model = line_of("/proc/cpuinfo", "model name"),
        // What is bound to some of them counts all.
        cores = file("/proc/cpuinfo").matches("processor\t").count(),
        memory = line_of("/proc/meminfo", "MemTotal"),
        kernel = file("/proc/sys/kernel/osrelease").trim(),
        rustc = said("rustc", &["--version"]),
        commit = said("git", &["describe", "--always", "--dirty"]),
    );
    // They change what is built.
    for (name, value) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PROFILE_")) {
        // Writing to a `String` does not fail.
        let _ = write!(told, "; {name}={value}");
    }
    told
}

/// Of 1, 5 and 15 minutes.
pub(crate) fn load_average() -> String {
    file("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(", ")
}

/// What a program says in this repository, or that it cannot.
pub(crate) fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let said = output.ok().filter(|output| output.status.success());
    said.map_or_else(|| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn file(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn line_of(path: &str, name: &str) -> String {
    let text = file(path);
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    line.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}
