//! What is to be done with the Secret next, where mirrorgate looks after its certificate itself. Every replica asks the
//! same of the same Secret and comes to the same answer; whose write is first wins (trap 24).
//!
//! A CA changes in three steps, of which none fails a call:
//!
//! ```text
//!              ca.crt     tls.crt by
//! steady       A          A
//! begun        B A        A            until the caBundle of every webhook has B, and every API server has that
//! signed       B A        B            until every replica serves it, or the last one by A has expired
//! steady       B          B
//! ```
//! The key of A is not needed after the first step: `ca.key` is always the key of the first CA. It is the step that cannot be
//! taken back, and is not taken before the caBundle of every webhook has A: where that cannot be written, B would never be known.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::trust::{Certificate, Fault};

use super::held::{Content, Held};
use super::making::{AUTHORITY_LIFE, Authority, LEAF_LIFE, MakingError};
use super::pair::PairFault;

/// What there is of the Secret.
#[derive(Clone, Copy, Debug)]
pub enum Found<'h> {
    /// It is not there.
    Absent,
    /// It is there, and maybe with a wish.
    Present(&'h Held, Option<Renewal>),
}

/// What the annotation `mirrorgate.dev/renew` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Another serving certificate.
    Certificate,
    /// Another CA, and a serving certificate of it.
    Authority,
}

/// What is known of the others, as far as the first CA of the Secret goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// Every webhook has had the CAs of the Secret for long enough that every API server knows.
    pub webhooks_have_it: bool,
    /// Every replica serves a certificate that it signed.
    pub replicas_serve_it: bool,
    /// One of them may have what a Secret held that is gone.
    pub may_put_it_back: bool,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Nothing yet.
    Await(Awaited),
    /// Nothing, though the Secret cannot be used: what is in force serves on.
    Keep(PairFault),
    /// The Secret is gone or empty: what is in force goes back there.
    PutBack,
    /// A CA and a serving certificate, for nothing there is of use.
    MakeAll(Reason),
    /// A serving certificate by the first CA.
    Sign(Reason),
    /// A CA, before the one that there is.
    BeginChange(Reason),
    /// The first CA alone is left.
    EndChange,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// That another replica puts the Secret back.
    PutBack,
    /// Before another CA is made: that the webhooks trust the one that there is.
    Beginning,
    /// That the webhooks trust the new CA, too.
    Webhooks,
    /// That every replica serves a certificate of the new CA.
    Replicas,
}

/// Why something is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There was nothing.
    Nothing,
    /// What there is cannot be used.
    Unusable(PairFault),
    /// Two thirds of its life are over.
    Due,
    /// The annotation asked for it.
    Asked,
    /// The CA has changed, and everybody knows the new one.
    NewAuthority,
}

impl Renewal {
    /// Of the annotation's value.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "certificate" => Some(Self::Certificate),
            "ca" => Some(Self::Authority),
            _ => None,
        }
    }
}

impl Step {
    /// Whether calls fail, or soon will, for as long as it is not done.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        match self {
            Self::PutBack | Self::MakeAll(_) => true,
            Self::Sign(reason) => matches!(reason, Reason::Unusable(_)),
            Self::Rest | Self::Await(_) | Self::Keep(_) | Self::BeginChange(_) | Self::EndChange => false,
        }
    }

    /// Whether what the annotation asks for is done with it.
    #[must_use]
    pub fn grants(&self, renewal: Renewal) -> bool {
        match self {
            Self::Rest | Self::Await(_) | Self::Keep(_) | Self::EndChange => false,
            Self::Sign(_) => renewal == Renewal::Certificate,
            Self::PutBack | Self::MakeAll(_) | Self::BeginChange(_) => true,
        }
    }

    /// What the Secret holds afterwards; `None` where nothing is to be written. `in_force` is what this replica serves.
    ///
    /// # Errors
    /// When nothing can be made.
    pub fn perform(
        &self,
        found: Found<'_>,
        in_force: Option<&Held>,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Content>, MakingError> {
        let names = [name.to_owned()];
        let held = match found {
            Found::Present(held, _) => Some(held),
            Found::Absent => None,
        };
        Ok(match self {
            Self::Rest | Self::Await(_) | Self::Keep(_) => None,
            Self::PutBack => in_force.map(|held| held.content().clone()),
            Self::MakeAll(_) => {
                let (authority, made) = Authority::make(now, AUTHORITY_LIFE)?;
                let leaf = authority.sign(&names, now, LEAF_LIFE)?;
                Some(Content {
                    certificate: leaf.certificate.into_bytes(),
                    key: leaf.key,
                    authorities: made.certificate.into_bytes(),
                    authority_key: made.key,
                })
            }
            Self::Sign(_) => {
                // Where the Secret cannot sign, what is in force can: `step` saw to that.
                let held = held.filter(|held| held.signs()).or(in_force).ok_or(MakingError::NotOurs)?;
                let first = held.authorities().first().ok_or(MakingError::NotOurs)?;
                let authority = Authority::restore(first, &held.content().authority_key)?;
                let leaf = authority.sign(&names, now, LEAF_LIFE)?;
                Some(Content { certificate: leaf.certificate.into_bytes(), key: leaf.key, ..held.content().clone() })
            }
            Self::BeginChange(_) => {
                let held = held.ok_or(MakingError::NotOurs)?;
                let (_, made) = Authority::make(now, AUTHORITY_LIFE)?;
                let before = held.authorities().iter().map(|authority| authority.pem());
                let authorities: String = std::iter::once(made.certificate).chain(before).collect();
                Some(Content {
                    authorities: authorities.into_bytes(),
                    authority_key: made.key,
                    ..held.content().clone()
                })
            }
            Self::EndChange => {
                let held = held.ok_or(MakingError::NotOurs)?;
                let first = held.authorities().first().ok_or(MakingError::NotOurs)?;
                Some(Content { authorities: first.pem().into_bytes(), ..held.content().clone() })
            }
        })
    }
}

/// What is to be done next, where the API server calls us by `name`. `in_force` is what was last taken up of the Secret.
#[must_use]
pub fn step(found: Found<'_>, in_force: Option<&Held>, others: Others, name: &str, now: Timestamp) -> Step {
    // Only what can be renewed is worth putting back.
    let good = in_force.filter(|held| held.signs() && is_usable(held, name, now).is_ok());
    let (held, renewal) = match found {
        Found::Present(held, renewal) if !held.content().is_empty() => (held, renewal),
        Found::Present(..) | Found::Absent if good.is_some() => return Step::PutBack,
        // Another CA in its place would be one that nobody trusts yet.
        Found::Present(..) | Found::Absent if others.may_put_it_back => return Step::Await(Awaited::PutBack),
        Found::Present(..) | Found::Absent => return Step::MakeAll(Reason::Nothing),
    };
    if let Err(fault) = is_usable(held, name, now) {
        return mend(held, good, fault, now);
    }
    if !held.signs() {
        follow(held, renewal, others, now)
    } else if held.authorities().len() > 1 {
        go_on(held, renewal, others, now)
    } else {
        renew(held, renewal, others, now)
    }
}

/// A Secret that cannot be used.
fn mend(held: &Held, good: Option<&Held>, fault: PairFault, now: Timestamp) -> Step {
    let first_lives = held.authorities().first().is_some_and(|first| now < first.not_after());
    let is_unreadable = !matches!(fault, PairFault::OtherKey | PairFault::Refused { .. });
    match good {
        // It was written by hand, by mistake or on the way to something: nobody is kept from mending it until it hurts.
        Some(good) if is_unreadable && !is_due(good, now) => Step::Keep(fault),
        _ if held.signs() && first_lives => Step::Sign(Reason::Unusable(fault)),
        Some(_) if !held.signs() => Step::Sign(Reason::Unusable(fault)),
        _ => Step::MakeAll(Reason::Unusable(fault)),
    }
}

/// Somebody else's. It serves as long as it may; then ours follows it, as one CA follows another.
fn follow(held: &Held, renewal: Option<Renewal>, others: Others, now: Timestamp) -> Step {
    match renewal {
        // Nobody here can renew it by its own CA.
        Some(Renewal::Certificate | Renewal::Authority) => begin(Reason::Asked, held, others, now),
        None if is_due(held, now) => begin(Reason::Due, held, others, now),
        None => Step::Rest,
    }
}

/// With one CA.
fn renew(held: &Held, renewal: Option<Renewal>, others: Others, now: Timestamp) -> Step {
    let authority_ends = held.authorities().first().map_or(now, |first| first.not_after());
    let change = match renewal {
        Some(Renewal::Authority) => Some(Reason::Asked),
        Some(Renewal::Certificate) => return Step::Sign(Reason::Asked),
        None => (now + AUTHORITY_LIFE / 3 >= authority_ends).then_some(Reason::Due),
    };
    let change = change.map_or(Step::Rest, |reason| begin(reason, held, others, now));
    // What ends with its CA already gains nothing by another signature.
    let gains = held.pair().is_ok_and(|pair| pair.leaf().not_after() < authority_ends);
    match change {
        Step::Rest | Step::Await(_) if gains && is_due(held, now) => Step::Sign(Reason::Due),
        change => change,
    }
}

/// Another CA, as soon as it can become known.
fn begin(reason: Reason, held: &Held, others: Others, now: Timestamp) -> Step {
    if others.webhooks_have_it || ends(held, now) { Step::BeginChange(reason) } else { Step::Await(Awaited::Beginning) }
}

/// In the midst of a change.
fn go_on(held: &Held, renewal: Option<Renewal>, others: Others, now: Timestamp) -> Step {
    if !held.leaf_is_of_the_first() {
        return if others.webhooks_have_it || ends(held, now) {
            Step::Sign(Reason::NewAuthority)
        } else {
            Step::Await(Awaited::Webhooks)
        };
    }
    // The first CA is as old as the change; what the one before it signed is older.
    let made = |first: &Arc<Certificate>| first.not_after() - AUTHORITY_LIFE;
    let is_over = held.authorities().first().is_some_and(|first| now > made(first) + LEAF_LIFE);
    if others.replicas_serve_it || is_over {
        Step::EndChange
    } else if renewal == Some(Renewal::Certificate) {
        Step::Sign(Reason::Asked)
    } else if is_due(held, now) {
        Step::Sign(Reason::Due)
    } else {
        Step::Await(Awaited::Replicas)
    }
}

/// A certificate that ends is worse than one that some API server may not know yet.
fn ends(held: &Held, now: Timestamp) -> bool {
    held.pair().is_ok_and(|pair| now + SignedDuration::from_hours(24) > pair.leaf().not_after())
}

/// Less than a third of a life is left.
fn is_due(held: &Held, now: Timestamp) -> bool {
    held.pair().is_ok_and(|pair| now + LEAF_LIFE / 3 >= pair.leaf().not_after())
}

/// Whether it would serve. That it is not valid yet is no reason to make another: our clock may be behind, and it is the
/// API server's that counts.
fn is_usable(held: &Held, name: &str, now: Timestamp) -> Result<(), PairFault> {
    match held.check(true, name, now) {
        Err(PairFault::Refused { fault: Fault::NotYetValid, .. }) => Ok(()),
        checked => checked,
    }
}
