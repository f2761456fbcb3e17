//! What is known of registries while one review is decided (T4, T5). What is absent is unknown, never trusted.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::trust::Fault;

/// What the probe says of one registry. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The nodes would trust it, and it answers.
    Trusted,
    /// The nodes would refuse its certificate.
    Untrusted(Arc<Untrusted>),
    /// Nothing can be pulled from it now, whatever its certificate.
    Unreachable(Unreachable),
    /// Nobody knows.
    Unknown(Unknown),
}

/// Why the nodes would refuse a certificate, ready to be said: what comes from the certificate is escaped and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted {
    /// The class.
    pub fault: Fault,
    /// The time that the certificate was judged by.
    pub at: Timestamp,
    /// One sentence: which rule the certificate breaks, and by what.
    pub why: Box<str>,
    /// What the certificate at fault says: a fact a line.
    pub certificate: Box<str>,
    /// What mends it: lines for the policy, or that none would help.
    pub mend: Box<str>,
}

/// Why nothing can be pulled from a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// The class.
    pub class: UnreachableClass,
    /// A sentence of ours, with a hint where there is one; never the words of a network error (A6).
    pub why: Arc<str>,
}

/// Why nothing can be pulled from a registry, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnreachableClass {
    /// No such name, or no address under it.
    NoSuchName,
    /// Nobody listens there.
    Refused,
    /// No answer in time.
    TimedOut,
    /// The connection ended early.
    Reset,
    /// An address that is never dialled (P2).
    RefusedAddress,
    /// What answers does not speak TLS; or it speaks TLS where plain HTTP is named.
    NotTls,
    /// What answers is no registry that works: another status than 200, 401, 403, 429 or a redirect, or no HTTP (P1).
    BadAnswer,
}

/// Why nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The class.
    pub class: UnknownClass,
    /// A sentence of ours.
    pub why: Arc<str>,
}

/// Why nobody knows, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnknownClass {
    /// The certificate was not seen or cannot be judged here, or a CA bundle that could matter is not there.
    CannotJudge,
    /// Nobody asked, or no answer was there in time (P4).
    NotAsked,
    /// A plain HTTP mirror that answers: it has no certificate to judge (T6).
    PlainHttp,
}

impl Verdict {
    /// `trusted`, `untrusted`, `unreachable` or `unknown`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Untrusted(_) => "untrusted",
            Self::Unreachable(_) => "unreachable",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The class within that: `ok`, `unknown-authority`, `timed-out`, ..
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Trusted => "ok",
            Self::Untrusted(untrusted) => untrusted.fault.as_str(),
            Self::Unreachable(unreachable) => unreachable.class.as_str(),
            Self::Unknown(unknown) => unknown.class.as_str(),
        }
    }
}

impl UnreachableClass {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSuchName => "no-such-name",
            Self::Refused => "refused",
            Self::TimedOut => "timed-out",
            Self::Reset => "reset",
            Self::RefusedAddress => "refused-address",
            Self::NotTls => "not-tls",
            Self::BadAnswer => "bad-answer",
        }
    }
}

impl UnknownClass {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CannotJudge => "cannot-judge",
            Self::NotAsked => "not-asked",
            Self::PlainHttp => "plain-http",
        }
    }
}

/// The verdicts that one review rests on.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    by_registry: BTreeMap<Arc<str>, Verdict>,
}

impl Verdicts {
    /// Takes in what is said of a registry, in canonical form.
    pub fn put(&mut self, registry: &str, verdict: Verdict) {
        self.by_registry.insert(registry.into(), verdict);
    }

    /// What is said of a registry; nothing where nobody was asked.
    #[must_use]
    pub fn get(&self, registry: &str) -> Option<&Verdict> {
        self.by_registry.get(registry)
    }
}
