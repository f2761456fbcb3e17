//! The serving certificate: what is taken up, what is made, and what is to be done next.
//!
//! Whether a pair may serve is judged as the API server does it, by [`crate::trust`] (T3). A pair that may not leaves the
//! last good one in force, and the log, `/readyz` and the metrics say why. Nothing here speaks to the API server: `cluster`
//! watches the Secret, and does what [`step`] says; and who trusts a certificate (`caBundle`) is its business, too.

mod files;
mod held;
mod in_force;
mod making;
mod pair;
mod step;

pub use files::{CertificateError, CertificateFiles, CertificateSource};
pub use held::{Content, Held};
pub use in_force::{Concerns, InForce, READINESS as CERTIFICATE_READINESS};
pub use making::{AUTHORITY_LIFE, Authority, LEAF_LIFE, Made, MakingError};
pub use pair::{KeyPem, Pair, PairFault};
pub use step::{Awaited, Found, Others, Reason, Renewal, Step, step};
