//! What a real API server does with us: `tests/run` starts the lab (`tests/lab`) and runs this inside its network.
//!
//! `mirrorgate` runs as a process there, with the rights of its own service account and no others, and is called by its
//! Service. `manifests/base` and `certs/README.md` are applied as they are written. Each test has namespaces of its own;
//! those in `alone` change what all share (the policy, the processes), and so run one at a time.
//!
//! By hand, with a lab in /tmp/lab: `tests/lab/in.sh /tmp/lab cargo test --offline --test cluster`.

#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod alone;
mod answers;
mod bug;
mod controllers;
mod guide;
mod lab;
mod load;
mod manifests;
mod mirrorgate;
mod operations;
mod pods;
mod pull_secrets;
mod registry;
mod rewriting;
mod sidecar_injector;
