//! Whether the node's runtime would trust a registry's certificate: what Go's `crypto/x509` and `crypto/tls` say of a
//! chain (T3), in code of our own that reads no clock and no socket.
//!
//! Not here: where roots come from (`policy`, `cluster`, `probe`), how a chain is asked for (`probe`), and what follows
//! from a verdict (`review`).

mod fault;
mod interim;

pub use fault::Fault;
pub use interim::{Bundle, Certificate, Pool, Skipped, SkippedKind};
