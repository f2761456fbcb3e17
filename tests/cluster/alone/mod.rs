//! Tests that change what all others share: run one at a time.

mod outages;
mod policy;
mod pull_secrets;
mod unsent;
