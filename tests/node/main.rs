//! What a real node does with our decisions: `tests/run` starts a lab with one (`tests/lab`) and runs this inside.
//!
//! mirrorgate runs there as in the cluster suite, whose modules are used, but for `installed`, where it is pods of its own
//! image. The registry has a certificate of the lab's CA, which containerd trusts, and wants a password. `registries` starts
//! others, each with a certificate of another kind.
//!
//! By hand: `tests/lab/up.sh /tmp/lab --node`, then `tests/lab/in.sh /tmp/lab cargo test --offline --test node -- --skip installed::`.

#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

#[path = "../cluster/guide.rs"]
#[expect(dead_code, reason = "the cluster suite uses the rest")]
mod guide;
mod installed;
#[path = "../cluster/lab.rs"]
#[expect(dead_code, reason = "the cluster suite uses the rest")]
mod lab;
#[path = "../cluster/mirrorgate.rs"]
#[expect(dead_code, reason = "the cluster suite uses the rest")]
mod mirrorgate;
mod node;
#[path = "../cluster/pods.rs"]
#[expect(dead_code, reason = "the cluster suite uses the rest")]
mod pods;
mod pulling;
mod registries;
