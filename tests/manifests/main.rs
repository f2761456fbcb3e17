//! What kubectl and helm make of `manifests/`, on a real API server: `tests/run` starts a lab (`tests/lab`) for this suite alone and runs it
//! inside.
//!
//! Nothing of mirrorgate runs here. What it then does is shown by `tests/cluster` and `tests/node`.
//!
//! By hand: `tests/lab/build.sh --packaging`, `tests/lab/up.sh /tmp/lab`, `tests/lab/in.sh /tmp/lab cargo test --offline --test manifests`.

#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod base;
mod chart;
mod lab;
mod objects;
mod overlays;
