//! The key `probe`: how registries are asked.

use core::fmt;
use std::time::Duration;

use super::super::document::{Probe, Spanned};
use super::super::duration::parse_duration;
use super::super::fault::{Collector, quoted};
use super::super::probe::ProbeSettings;
use super::super::read::DURATION_HELP;

/// The API server waits for a webhook no longer than this.
const TIMEOUT: Bounds = Bounds { least: ("10ms", Duration::from_millis(10)), most: ("30s", Duration::from_secs(30)) };
const TTL: Bounds =
    Bounds { least: ("100ms", Duration::from_millis(100)), most: ("24h", Duration::from_secs(24 * 60 * 60)) };
const MOST_CONCURRENT: usize = 1024;

/// The settings, of which those that are not written are the defaults.
pub(super) fn settings(written: Option<&Probe>, faults: &mut Collector<'_>) -> ProbeSettings {
    let mut settings = ProbeSettings::default();
    let Some(Probe { timeout, ttl, max_concurrent }) = written else { return settings };
    let mut duration = |setting: &mut Duration, key: &str, bounds: &Bounds, written: &Option<Spanned<String>>| {
        if let Some(written) = written {
            *setting = bounded(&format!("probe.{key}"), written, bounds, faults).unwrap_or(*setting);
        }
    };
    duration(&mut settings.timeout, "timeout", &TIMEOUT, timeout);
    if let Some(ttl) = ttl {
        duration(&mut settings.ttl_trusted, "ttl.trusted", &TTL, &ttl.trusted);
        duration(&mut settings.ttl_untrusted, "ttl.untrusted", &TTL, &ttl.untrusted);
        duration(&mut settings.ttl_unreachable, "ttl.unreachable", &TTL, &ttl.unreachable);
    }
    if let Some(Spanned { value, span }) = max_concurrent {
        match usize::try_from(*value) {
            Ok(count @ 1..=MOST_CONCURRENT) => settings.max_concurrent = count,
            _ => {
                faults
                    .error("probe.maxConcurrent", *span, format!("{value} registries cannot be asked at the same time"))
                    .help(format!("write a number from 1 to {MOST_CONCURRENT}"));
            }
        }
    }
    settings
}

/// `None` if there was a fault.
fn bounded(path: &str, written: &Spanned<String>, bounds: &Bounds, faults: &mut Collector<'_>) -> Option<Duration> {
    let Ok(duration) = parse_duration(&written.value) else {
        let message = format!("{} is no duration", quoted(&written.value));
        faults.error(path, written.span, message).help(DURATION_HELP);
        return None;
    };
    let beyond = if duration < bounds.least.1 {
        "short"
    } else if duration > bounds.most.1 {
        "long"
    } else {
        return Some(duration);
    };
    let message = format!("{} is too {beyond}", quoted(&written.value));
    faults.error(path, written.span, message).help(format!("write a duration {bounds}"));
    None
}

/// The least and the most, each with the way to write it.
struct Bounds {
    least: (&'static str, Duration),
    most: (&'static str, Duration),
}

impl fmt::Display for Bounds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "from `{}` to `{}`", self.least.0, self.most.0)
    }
}
