//! The probe against registries that are good, bad and lying, on the loopback range, with certificates made here.

mod addresses;
mod answers;
mod authority;
mod commands;
mod empty_root;
mod handshakes;
mod name_server;
mod names;
mod probe_command;
mod registry;
mod verdicts;

use std::net::SocketAddr;
use std::time::Duration;

use mirrorgate::image::Registry;
use mirrorgate::probe::{Dialler, Kind, Report, Target};
use mirrorgate::review::{Unknown, Unreachable, Verdict};
use mirrorgate::trust::Roots;

/// What a probe has in most tests: more than it needs on a busy machine.
const ENOUGH: Duration = Duration::from_secs(10);

/// What it has where it must run out.
const SHORT: Duration = Duration::from_millis(400);

/// The target that most tests ask: a registry by name, dialled at an address of the loopback range.
fn target(registry: &Registry, address: SocketAddr) -> Target<'_> {
    Target {
        registry,
        checked: Kind::Full,
        denied: &[],
        literal_allowed: false,
        timeout: ENOUGH,
        resolve: Some(address),
    }
}

/// Asks `harbor.corp:5000`, which listens there.
async fn probe(address: SocketAddr, roots: &Roots) -> Report {
    let registry = Registry::parse("harbor.corp:5000").unwrap();
    Dialler::new().probe(&target(&registry, address), roots).await
}

/// Verdict, class and sentence.
fn said(report: &Report) -> (&'static str, &'static str, String) {
    let why = match &report.verdict {
        Verdict::Trusted => String::new(),
        Verdict::Untrusted(untrusted) => untrusted.why.to_string(),
        Verdict::Unreachable(Unreachable { why, .. }) | Verdict::Unknown(Unknown { why, .. }) => why.to_string(),
    };
    (report.verdict.as_str(), report.verdict.class(), why)
}

/// Verdict and class, and a part of the sentence.
#[track_caller]
fn assert_said(report: &Report, verdict: &str, class: &str, part: &str) {
    let said = said(report);
    assert_eq!((said.0, said.1), (verdict, class), "{}", said.2);
    assert!(said.2.contains(part), "{part:?} is not in {:?}", said.2);
}
