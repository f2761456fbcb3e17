//! Tests that change what all others share: run one at a time.

mod ca_bundles;
mod doctor;
mod emergency;
mod outages;
mod policy;
mod policy_guard;
mod procedures;
mod pull_secrets;
mod serving;
mod unsent;
