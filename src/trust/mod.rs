//! Whether the node's runtime would trust a registry's certificate: what Go's `crypto/x509` and `crypto/tls` say of a
//! chain (T3), in code of our own that reads no clock and no socket.
//!
//! Not here: where roots come from (`policy`, `cluster`, `probe`), how a chain is asked for (`probe`), and what follows
//! from a verdict (`review`).

mod certificate;
mod fault;
mod interim;

pub use certificate::{
    BasicConstraints, Certificate, Curve, ExtKeyUsage, Facts, InvalidCertificate, Mailbox, NameKind, Oid, PublicKey,
    SignatureAlgorithm, is_domain, uri_host,
};
pub use fault::Fault;
pub use interim::{Bundle, Pool, Skipped, SkippedKind};
