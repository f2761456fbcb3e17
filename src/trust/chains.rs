//! Chains from a server's certificate to a trusted one, as Go builds them: every way there is, over the certificates
//! that the server sent in any order, until a hundred candidates have been looked at.

use std::sync::Arc;

use jiff::Timestamp;

use super::certificate::{Certificate, PublicKey};
use super::pool::{Intermediates, Roots};
use super::signature::{self, SignatureFault};

/// Go's limit, over all ways: hostile meshes of cross-signed certificates end here.
const MOST_CANDIDATES: usize = 100;

type Chain<'c> = Vec<&'c Arc<Certificate>>;

/// Why there is no chain.
#[derive(Debug)]
pub(super) enum NoChain<'c> {
    /// A certificate that would stand in the chain may not.
    Unfit(&'c Arc<Certificate>, Unfit),
    /// Nothing that has signed the certificate was found, but perhaps something that was to be it.
    NoIssuer {
        of: &'c Arc<Certificate>,
        rejected: Option<(&'c Arc<Certificate>, SignatureFault)>,
    },
    TooManyCandidates,
}

/// Why a certificate may not stand where it would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    UnhandledExtension,
    NotYetValid,
    Expired,
    NotACa,
    /// Its path length, and how many certificates stand between it and the server's.
    PathTooLong {
        most: u64,
        between: u64,
    },
}

/// Where in a chain a certificate would stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Intermediate,
    Root,
}

pub(super) struct Builder<'c> {
    roots: &'c Roots,
    intermediates: Intermediates<'c>,
    at: Timestamp,
    candidates: usize,
}

impl<'c> Builder<'c> {
    pub(super) fn new(roots: &'c Roots, intermediates: Intermediates<'c>, at: Timestamp) -> Self {
        Self { roots, intermediates, at, candidates: 0 }
    }

    /// All chains, each leaf first; at least one.
    pub(super) fn chains(&mut self, leaf: &'c Arc<Certificate>) -> Result<Vec<Chain<'c>>, NoChain<'c>> {
        self.extend(&vec![leaf], leaf)
    }

    /// All chains that begin with these certificates, the last of which is `last`.
    ///
    /// Which of several faults is told is Go's choice: the last one that an issuer by signature had; without any such
    /// issuer, that there is none, with what the first candidate lacked.
    fn extend(&mut self, chain: &Chain<'c>, last: &'c Arc<Certificate>) -> Result<Vec<Chain<'c>>, NoChain<'c>> {
        let mut chains = Vec::new();
        let mut fault = None;
        let mut rejected = None;
        let roots = self.roots.issuers(last).into_iter().map(|issuer| (Place::Root, issuer));
        let intermediates = self.intermediates.issuers(last).into_iter().map(|issuer| (Place::Intermediate, issuer));
        for (place, candidate) in roots.chain(intermediates) {
            self.candidates += 1;
            if self.candidates > MOST_CANDIDATES {
                fault = Some(NoChain::TooManyCandidates);
                break;
            }
            if matches!(candidate.public_key(), PublicKey::Unknown) || is_in_chain(candidate, chain) {
                continue;
            }
            if let Err(why) = signature::check_issued(last, candidate) {
                rejected.get_or_insert((candidate, why));
                continue;
            }
            if let Err(why) = self.fits(candidate, place, chain.len()) {
                fault = Some(NoChain::Unfit(candidate, why));
                continue;
            }
            let mut longer = chain.clone();
            longer.push(candidate);
            match place {
                Place::Root => chains.push(longer),
                Place::Intermediate => match self.extend(&longer, candidate) {
                    Ok(found) => chains.extend(found),
                    Err(NoChain::TooManyCandidates) => {
                        fault = Some(NoChain::TooManyCandidates);
                        break;
                    }
                    Err(why) => fault = Some(why),
                },
            }
        }
        if chains.is_empty() {
            return Err(fault.unwrap_or(NoChain::NoIssuer { of: last, rejected }));
        }
        Ok(chains)
    }

    /// An issuer after so many certificates of a chain. Key usage is looked at with the signature only.
    fn fits(&self, issuer: &Certificate, place: Place, below: usize) -> Result<(), Unfit> {
        is_usable(issuer, self.at)?;
        let constraints = issuer.basic_constraints();
        if place == Place::Intermediate && !constraints.is_some_and(|constraints| constraints.is_ca) {
            return Err(Unfit::NotACa);
        }
        let between = below as u64 - 1;
        match constraints.and_then(|constraints| constraints.max_path_len) {
            Some(most) if between > most => Err(Unfit::PathTooLong { most, between }),
            _ => Ok(()),
        }
    }
}

/// What is asked of every certificate of a chain, the trusted one and the server's included.
pub(super) fn is_usable(certificate: &Certificate, at: Timestamp) -> Result<(), Unfit> {
    if certificate.unhandled_critical_extensions().next().is_some() {
        return Err(Unfit::UnhandledExtension);
    }
    if at < certificate.not_before() {
        return Err(Unfit::NotYetValid);
    }
    if at > certificate.not_after() {
        return Err(Unfit::Expired);
    }
    Ok(())
}

/// Whether a chain has the candidate, or its like: the same subject, key and alternative names under another issuer,
/// which would make circles of cross-signed certificates.
fn is_in_chain(candidate: &Certificate, chain: &Chain<'_>) -> bool {
    for certificate in chain {
        if candidate.raw_subject() != certificate.raw_subject() || candidate.raw_spki() != certificate.raw_spki() {
            continue;
        }
        match (candidate.raw_alternative_names(), certificate.raw_alternative_names()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one == other => return true,
            (Some(_), Some(_)) => {}
            // Go looks no further then.
            _ => return false,
        }
    }
    false
}
