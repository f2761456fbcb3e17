//! Whether the node's runtime would trust a registry's certificate: what Go's `crypto/x509` and `crypto/tls` say of a
//! chain (T3), in code of our own that reads no clock and no socket.
//!
//! Not here: where roots come from (`policy`, `cluster`, `probe`), how a chain is asked for (`probe`), and what follows
//! from a verdict (`review`).

mod bundle;
mod certificate;
mod chains;
mod fault;
mod hostname;
mod judge;
mod name_constraints;
mod pem;
mod policies;
mod pool;
mod public_roots;
mod signature;
mod words;

pub use bundle::{Bundle, Skipped, SkippedKind};
pub use certificate::{
    BasicConstraints, Certificate, Curve, ExtKeyUsage, Facts, InvalidCertificate, Mailbox, NameKind, Oid, PublicKey,
    SignatureAlgorithm, is_domain, uri_host,
};
pub use fault::Fault;
pub use judge::{Judgement, Outcome, Rejection, TrustedBy, judge};
pub use pool::{Pool, Roots};
pub use public_roots::{PUBLIC_ROOTS, public_roots};
pub use signature::{HandshakeFault, TlsVersion, verify_handshake};
