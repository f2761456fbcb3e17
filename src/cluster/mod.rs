//! The API server: the policy ConfigMap, watched by name, and the Events on it.
//!
//! What an API server that is away leaves behind is the last state, in force. Not here: what a policy means (`policy`),
//! and the API server's calls to us (`server`).

mod events;
mod policy;

pub use policy::{POLICY_CONFIG_MAP, POLICY_KEY, PolicyWatch};
