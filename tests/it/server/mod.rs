//! The server as a process: the real binary on the loopback range, spoken to over TLS with certificates made here.

mod calls;
mod connections;
mod frames;
mod hostile;
mod lifecycle;
mod monitoring;
mod policy_guard;
mod process;
mod verdicts;
mod wire;
