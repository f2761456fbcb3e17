//! What is seen of a running server from outside: log, metrics, readiness. It decides nothing.

mod log;
mod metrics;
mod readiness;

pub use log::{Format, JsonLines, Level, Log, init_logging, log_panics, milliseconds};
pub use metrics::Metrics;
pub use readiness::Readiness;
