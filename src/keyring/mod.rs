//! Pull secrets as the kubelet reads them (S3): which images a secret has credentials for, and nothing else of it.
//!
//! [`PullSecret::read`] takes the type and the data of one Secret and keeps the registries and paths that it names;
//! [`Coverage::covers`] then says whether the kubelet would send one of its credentials for an image. The authority is
//! `pkg/credentialprovider` of Kubernetes 1.36: its public tables are in `tests/it/keyring.rs`, and `tests/oracle` holds
//! the two against each other on generated input. User names, passwords and tokens are looked at where they stand, since
//! one that the kubelet cannot read spoils the whole secret, and are copied into nothing.
//!
//! One secret is judged at a time, the kubelet takes all of a pod's together. That differs in two ways:
//! - The key `index.docker.io` serves Docker Hub only when no other key matched, of any secret. Which credentials are
//!   sent depends on it; whether there are any does not, and only that is asked here.
//! - One secret that cannot be read and the kubelet looks up nothing, for no image of the pod, however good its other
//!   secrets are: [`Malformed::stops_every_pull`].
//!
//! Not here: where secrets come from (`cluster`, `cli`), which of them a pod gets (`policy`, `review`).

mod auth;
mod config;
mod coverage;
mod glob;
mod location;

use std::fmt;

pub use coverage::Coverage;

/// The type of Secret that `kubectl create secret docker-registry` makes.
pub const DOCKER_CONFIG_JSON: &str = "kubernetes.io/dockerconfigjson";

/// Its predecessor: what stands in `auths` there is the whole document here.
pub const DOCKER_CFG: &str = "kubernetes.io/dockercfg";

/// How many bytes the data of a Secret may have: 1 MiB, or the API server refuses it.
const MAX_DATA: usize = 1024 * 1024;

/// How many characters of a foreign type are kept.
const MAX_TYPE: usize = 253;

/// What is known of one Secret: never a credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PullSecret {
    /// A docker config, and what it covers.
    DockerConfig(Coverage),
    /// Another type, of which this is the beginning, as its author wrote it: the kubelet ignores such a Secret.
    OtherType(Box<str>),
    /// The right type, and its key is absent, empty or not what it should be.
    Malformed(Malformed),
}

impl PullSecret {
    /// Reads a Secret by its type; `value` gives the decoded bytes of a key of its `data`.
    pub fn read<'d>(secret_type: &str, value: impl Fn(&str) -> Option<&'d [u8]>) -> Self {
        let Some(format) = Format::of(secret_type) else { return Self::other_type(secret_type) };
        let malformed = |fault| Self::Malformed(Malformed { format, fault });
        match value(format.key()) {
            None => malformed(Fault::Absent),
            Some([]) => malformed(Fault::Empty),
            Some(bytes) if bytes.len() > MAX_DATA => malformed(Fault::TooLarge),
            Some(bytes) => config::read(format, bytes).map_or_else(malformed, Self::DockerConfig),
        }
    }

    /// A Secret whose data is not base64, which no API server hands out but a manifest may hold.
    pub fn not_base64(secret_type: &str) -> Self {
        Self::refused(secret_type, Fault::NotBase64)
    }

    /// A Secret whose data is a number, a list or the like, which a manifest may hold too.
    pub fn not_text(secret_type: &str) -> Self {
        Self::refused(secret_type, Fault::NotText)
    }

    fn refused(secret_type: &str, fault: Fault) -> Self {
        match Format::of(secret_type) {
            Some(format) => Self::Malformed(Malformed { format, fault }),
            None => Self::other_type(secret_type),
        }
    }

    fn other_type(secret_type: &str) -> Self {
        Self::OtherType(secret_type.chars().take(MAX_TYPE).collect())
    }
}

/// Why a Secret of the right type is no docker config: where, and what is wrong, without any of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Malformed {
    format: Format,
    fault: Fault,
}

impl Malformed {
    /// Whether the kubelet, given this secret, pulls nothing at all for the pod. Otherwise it passes the secret over.
    pub fn stops_every_pull(&self) -> bool {
        !matches!(self.fault, Fault::Absent | Fault::Empty)
    }
}

impl std::error::Error for Malformed {}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.format.key();
        let entries = match self.format {
            Format::ConfigJson => "`auths` in `.dockerconfigjson`",
            Format::Cfg => "`.dockercfg`",
        };
        match self.fault {
            Fault::Absent => write!(f, "has no key `{key}`"),
            Fault::Empty => write!(f, "`{key}` is empty"),
            Fault::TooLarge => write!(f, "`{key}` is larger than the 1 MiB that a Secret may have"),
            Fault::NotBase64 => write!(f, "`{key}` is not base64"),
            Fault::NotText => write!(f, "`{key}` is not a string"),
            Fault::NotJson { line, column } => write!(f, "`{key}` is not JSON (line {line}, column {column})"),
            Fault::TooDeep => write!(f, "`{key}` is nested more than {} deep", config::MAX_DEPTH),
            Fault::Document => write!(f, "`{key}` is not a JSON object"),
            Fault::Auths => write!(f, "{entries} is not an object"),
            Fault::HttpHeaders => write!(f, "`HttpHeaders` in `{key}` is not an object of strings"),
            Fault::Entry { entry } => write!(f, "entry {entry} of {entries} is not an object"),
            Fault::Field { entry, field } => write!(f, "`{field}` in entry {entry} of {entries} is not a string"),
            Fault::Auth { entry } => {
                write!(f, "`auth` in entry {entry} of {entries} is not the base64 of `user:password`")
            }
        }
    }
}

/// The two ways a docker config is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Format {
    ConfigJson,
    Cfg,
}

impl Format {
    fn of(secret_type: &str) -> Option<Self> {
        match secret_type {
            DOCKER_CONFIG_JSON => Some(Self::ConfigJson),
            DOCKER_CFG => Some(Self::Cfg),
            _ => None,
        }
    }

    /// The key of `data` that holds it.
    fn key(self) -> &'static str {
        match self {
            Self::ConfigJson => ".dockerconfigjson",
            Self::Cfg => ".dockercfg",
        }
    }
}

/// What is wrong. Entries are counted from 1: their keys can hold credentials (`https://user:password@host`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fault {
    Absent,
    Empty,
    TooLarge,
    NotBase64,
    NotText,
    NotJson { line: usize, column: usize },
    TooDeep,
    Document,
    Auths,
    HttpHeaders,
    Entry { entry: usize },
    Field { entry: usize, field: &'static str },
    Auth { entry: usize },
}
