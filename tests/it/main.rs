//! The tests of the library and of the command, in one binary.
#![expect(clippy::unwrap_used, reason = "a test stops at its first fault")]

mod architecture;
mod certificates;
mod chart;
mod check_command;
mod containerfile;
mod explain_command;
mod json;
mod keyring;
mod policy;
mod policy_properties;
mod policy_trust;
mod probe;
mod pull_secrets;
mod rbac_command;
mod reference;
mod review;
mod review_command;
mod review_properties;
mod review_pull_secrets;
mod server;
mod serving;
mod trust_chains;
mod trust_decisions;
mod trust_words;
