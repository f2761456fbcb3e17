//! The API server: the policy ConfigMap, the pull secrets and the CA bundles that it names, each watched by name, and the
//! Events on the ConfigMap; the Secret with the serving certificate, and the `caBundle` of the webhooks.
//!
//! What an API server that is away leaves behind is the last state, in force. Not here: what a policy means (`policy`),
//! and the API server's calls to us (`server`).

mod announcer;
mod bundles;
mod callers;
mod config;
mod events;
mod policy;
#[cfg(test)]
mod scripted;
mod secrets;
mod serving;
mod standing;
mod watched;
mod watches;
mod watching;
mod webhooks;

pub use bundles::BundleWatches;
pub use callers::nobody_calls;
pub use config::{NoCluster, find};
pub use policy::{POLICY_CONFIG_MAP, POLICY_KEY, PolicyWatch};
pub use secrets::{SecondLook, SecretStore, SecretWatches};
pub use serving::{Caretaker, CertificateEvents, SERVING_SECRET, ServingWatch, service_name};
pub use webhooks::{Trusting, WEBHOOKS, WebhookWatches};
