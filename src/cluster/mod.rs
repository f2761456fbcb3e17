//! The API server: the policy ConfigMap and the pull secrets that it names, each watched by name, and the Events on the
//! ConfigMap.
//!
//! What an API server that is away leaves behind is the last state, in force. Not here: what a policy means (`policy`),
//! and the API server's calls to us (`server`).

mod announcer;
mod events;
mod policy;
#[cfg(test)]
mod scripted;
mod secrets;
mod standing;
mod watches;
mod watching;

pub use policy::{POLICY_CONFIG_MAP, POLICY_KEY, PolicyWatch};
pub use secrets::{SecondLook, SecretStore, SecretWatches};
