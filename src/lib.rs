//! mirrorgate: a Kubernetes admission webhook that points pod images at a mirror.
//!
//! One admission request is a straight line; the state it reads is the policy, the verdicts on registries and the pull
//! secrets that are known, each once:
//!
//! ```text
//! bytes ─► listener ─► router ─► Request ─► route ─► verdicts ─► plan ─► decide ─► Reply ─► bytes
//!           TLS         limits    parse      pure     AWAIT       pure    pure      patch
//! ```
//!
//! | module | is for |
//! | --- | --- |
//! | [`image`] | image references and registries, as the container runtimes read them |
//! | [`json`] | JSON of the request path: read borrowed, skipped fast, written in one go |
//! | [`yaml`] | YAML as Kubernetes reads it, every node with its place in the source |
//! | [`keyring`] | pull secrets: which images the kubelet has credentials for |
//! | [`trust`] | certificates and chains, judged as the nodes' runtime judges them |
//! | [`policy`] | the policy document, and its compiled form that cannot be invalid |
//! | [`review`] | what is done to a pod under a policy, and the patch and words for it |
//! | [`background`] | long work on threads that give way to those that serve |
//! | [`files`] | files that somebody else changes while we run |
//! | [`serving`] | the serving certificate: what is taken up, what is made, what is to be done next |
//! | [`probe`] | registries over the network: names, TLS, the verdicts that are kept |
//! | [`cluster`] | the API server: the policy ConfigMap and the Events on it, the pull secrets that the policy names, the serving certificate |
//! | [`app`] | what a handler may see |
//! | [`server`] | the API server's calls to us: listener, router, wire format, policy guard, health, metrics |
//! | [`serve`] | wires the edges, owns every task, readiness, the order of shutdown |
//! | [`telemetry`] | the log subscriber and the name of every metric |
//! | [`cli`] | one file a subcommand |
//!
//! Imports run one way: `image <- json <- yaml <- keyring <- trust <- policy <- review <- telemetry <- background <- files <- serving <- probe <- cluster <- app <- server <- serve <- cli <- main`.
//! `image`, `json`, `yaml`, `keyring`, `trust`, `policy` and `review` are pure: no clock, no file, no socket, no `async`.

pub mod app;
pub mod background;
pub mod cli;
pub mod cluster;
pub mod files;
pub mod image;
pub mod json;
pub mod keyring;
pub mod policy;
pub mod probe;
pub mod review;
pub mod serve;
pub mod server;
pub mod serving;
pub mod telemetry;
pub mod trust;
pub mod yaml;
