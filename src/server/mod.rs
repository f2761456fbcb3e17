//! The API server's calls to us.
//!
//! ```text
//! listener ─► connection ─► router ─► app
//!  TLS         deadlines     limits
//! ```
//!
//! What a review says is decided behind `App`; here a call is accepted, bounded in bytes and time, and
//! answered by the contract of `admission.k8s.io/v1`.

mod activity;
mod body;
mod connection;
mod crowd;
mod guard;
pub mod handler;
mod health;
mod listener;
mod policy_review;
mod refusal;
mod router;
pub mod wire;

pub use connection::Stage;
pub use health::health_router;
pub use listener::serve_connections;
pub use refusal::Refusal;
pub use router::{LONGEST_BUDGET, MAX_BODY, admission_router};
