//! The log: one line an event on stderr, as text for a person or as JSON for a program.

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

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

/// Starts the log of this process on stderr. A second call changes nothing.
pub fn init_logging(format: Format, level: Level, colour: bool) {
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
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = match format {
        Format::Text => lines.with_ansi(colour).boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    // It fails when a log was started before, as in tests: that one goes on.
    let _already_started = tracing_subscriber::registry().with(lines.with_filter(targets)).try_init();
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
