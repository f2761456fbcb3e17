//! The API server: the policy ConfigMap, the pull secrets and the CA bundles that it names, each watched by name, and the
//! Events on the ConfigMap.
//!
//! What an API server that is away leaves behind is the last state, in force. Not here: what a policy means (`policy`),
//! and the API server's calls to us (`server`).

mod announcer;
mod bundles;
mod events;
mod policy;
#[cfg(test)]
mod scripted;
mod secrets;
mod standing;
mod watched;
mod watches;
mod watching;

pub use bundles::BundleWatches;
pub use policy::{POLICY_CONFIG_MAP, POLICY_KEY, PolicyWatch};
pub use secrets::{SecondLook, SecretStore, SecretWatches};
