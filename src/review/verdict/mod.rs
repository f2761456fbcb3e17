//! What is known of registries while one review is decided (T4, T5). What is absent is unknown, never trusted.

use std::sync::Arc;

use smallvec::SmallVec;

use super::numbered::Numbered;
use crate::image::Registry;

mod untrusted;

pub use untrusted::Untrusted;

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
    /// Of a registry that nobody was asked about.
    #[must_use]
    pub fn not_asked() -> Self {
        Self::Unknown(Unknown { class: UnknownClass::NotAsked, why: "nobody was asked".into() })
    }

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
    registries: Numbered<Registry>,
    /// Of each of them.
    verdicts: SmallVec<[Verdict; 2]>,
    /// What is said of every other registry.
    of_others: Option<Verdict>,
}

impl Verdicts {
    /// Where nobody is to be asked, and nothing is made of that.
    #[must_use]
    pub fn not_asked_for() -> Self {
        Self { of_others: Some(Verdict::not_asked()), ..Self::default() }
    }

    /// Takes in what is said of a registry: the last word counts.
    pub fn put(&mut self, registry: &Registry, verdict: Verdict) {
        match self.registries.get(registry) {
            Some(number) => self.verdicts[number] = verdict,
            None => {
                self.registries.push(registry.clone());
                self.verdicts.push(verdict);
            }
        }
    }

    /// Takes in what is said of further registries.
    pub fn extend(&mut self, further: Verdicts) {
        for (registry, verdict) in further.registries.keys().iter().zip(further.verdicts) {
            self.put(registry, verdict);
        }
    }

    /// What is said of a registry, in canonical form; nothing where nobody was asked yet.
    #[must_use]
    pub fn get(&self, registry: &str) -> Option<&Verdict> {
        let known = self.registries.get(registry).map(|number| &self.verdicts[number]);
        known.or(self.of_others.as_ref())
    }

    pub(super) fn are_not_asked_for(&self) -> bool {
        self.of_others.is_some()
    }
}
