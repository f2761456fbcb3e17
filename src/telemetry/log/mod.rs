//! The log: one line an event on stderr, as text for a person or as JSON for a program.

mod gathered;
mod json_lines;

use std::io;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use gathered::GatheredLines;
pub use json_lines::JsonLines;

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One line for a person, coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line, the fields of the event beside `message`.
    Json,
}

/// The least serious event that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Level {
    /// What stops something from working.
    Error,
    /// What somebody should look at.
    Warn,
    /// What happened, one line a review.
    #[default]
    Info,
    /// Connections and what ended them.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    fn filter(self) -> LevelFilter {
        match self {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }
}

/// A duration for the log, to the microsecond: what is behind that is the arithmetic's.
pub fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e3
}

/// The log of this process. When it is dropped, what was said is written.
#[derive(Debug)]
#[must_use]
pub struct Log {
    lines: Option<GatheredLines>,
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(lines) = &self.lines {
            lines.flush();
        }
    }
}

/// Starts the log of this process on stderr. A second call changes nothing.
///
/// Text is written line by line. JSON, which has a line for every review of a busy cluster, is gathered for some
/// milliseconds where there is much of it, or until a warning or an error comes.
///
/// # Errors
/// When the system gives no thread.
pub fn init_logging(format: Format, level: Level, colour: bool) -> io::Result<Log> {
    // The crates below us say little that an operator can use; ours go as far as was asked.
    let ours = level.filter();
    let others = ours.min(if ours == LevelFilter::TRACE { LevelFilter::TRACE } else { LevelFilter::WARN });
    let targets = Targets::new()
        .with_default(others)
        .with_target("mirrorgate", ours)
        // These write down an answer of the API server that they cannot read, and it may hold Secrets; and a refusal
        // each time. What they fail in is ours to log.
        .with_target("kube_client::client", LevelFilter::OFF)
        .with_target("kube_runtime::watcher", LevelFilter::OFF);
    let log = tracing_subscriber::registry().with(targets);
    // Starting it fails when a log was started before, as in tests: that one goes on.
    let (lines, _already_started) = match format {
        Format::Text => {
            let text = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false).with_ansi(colour);
            (None, log.with(text).try_init())
        }
        Format::Json => {
            let lines = GatheredLines::to_stderr()?;
            let taken = lines.clone();
            let json = JsonLines::new(move |line: &[u8], level| taken.push(line, level <= tracing::Level::WARN));
            (Some(lines), log.with(json).try_init())
        }
    };
    Ok(Log { lines })
}

/// Sends panics to the log instead of raw to stderr, so that a JSON log stays JSON.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no text");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(panic = text, place, "a bug in mirrorgate: a task panicked");
    }));
}
