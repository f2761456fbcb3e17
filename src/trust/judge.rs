//! What a Go client says of the chain that a TLS server sent: `crypto/tls`'s `verifyServerCertificate` around
//! `crypto/x509`'s `Verify`, in the same order, so that of several faults the same one is told.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::certificate::{Certificate, ExtKeyUsage, InvalidCertificate, PublicKey};
use super::chains::{self, Builder, NoChain};
use super::fault::Fault;
use super::name_constraints::{Constraints, Names, address};
use super::pool::{Intermediates, Roots};
use super::{hostname, policies, signature, words};

/// Larger RSA keys are not taken from a server.
const MOST_RSA_BITS: usize = 8192;

/// What the node's runtime would say of a chain.
#[derive(Debug)]
pub struct Judgement {
    /// What the server sent, read; its own certificate first.
    pub presented: Vec<Result<Arc<Certificate>, InvalidCertificate>>,
    /// Whether it is trusted.
    pub outcome: Outcome,
    /// The time that was used.
    pub at: Timestamp,
}

/// Whether a chain is trusted.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is.
    Trusted(TrustedBy),
    /// It is not.
    Untrusted(Rejection),
    /// That cannot be said: why not. [`judge`] verifies all that Go does, and says this of nothing that it was given; who
    /// asks the server may have to.
    CannotJudge(String),
}

/// Whom a chain leads to.
#[derive(Clone, Debug)]
pub struct TrustedBy {
    /// The trusted certificate; it may be the server's own.
    pub root: Arc<Certificate>,
    /// Where it is from: [`super::Pool::source`].
    pub source: Arc<str>,
}

/// Why a chain is not trusted.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// In one word.
    pub fault: Fault,
    /// The certificate that is at fault: one of those sent, or a trusted one.
    pub at_fault: Option<Arc<Certificate>>,
    /// Its place among those sent.
    pub presented_index: Option<usize>,
    /// Where it is trusted from, if it is a trusted one: [`super::Pool::source`]. Servers often send their root, too.
    pub in_pool: Option<Arc<str>>,
    /// For people. Raw text of certificates is in it: whoever prints it escapes and cuts it.
    pub why: String,
}

/// Judges what a server sent (DER, its own certificate first) under the roots for a host: a DNS name, or an IP.
#[must_use]
pub fn judge(presented: &[Vec<u8>], roots: &Roots, host: &str, at: Timestamp) -> Judgement {
    let presented: Vec<_> = presented.iter().map(|der| Certificate::parse(der).map(Arc::new)).collect();
    let outcome = match verdict(&presented, roots, host, at) {
        Ok(trusted) => Outcome::Trusted(trusted),
        Err(Refusal { fault, at_fault, why }) => {
            let is_at_fault = |sent: &Result<Arc<Certificate>, InvalidCertificate>| {
                sent.as_ref().is_ok_and(|sent| at_fault.as_ref().is_some_and(|at_fault| at_fault.der() == sent.der()))
            };
            let presented_index = match fault {
                Fault::InvalidCertificate => presented.iter().position(Result::is_err),
                _ => presented.iter().position(is_at_fault),
            };
            let pool = at_fault.as_deref().and_then(|at_fault| roots.pool_of(at_fault));
            let in_pool = pool.map(|pool| pool.shared_source());
            Outcome::Untrusted(Rejection { fault, at_fault, presented_index, in_pool, why })
        }
    };
    Judgement { presented, outcome, at }
}

/// A [`Rejection`] whose certificate is not looked up yet.
pub(super) struct Refusal {
    pub(super) fault: Fault,
    pub(super) at_fault: Option<Arc<Certificate>>,
    pub(super) why: String,
}

impl Refusal {
    pub(super) fn new(fault: Fault, at_fault: &Arc<Certificate>, why: impl Into<String>) -> Self {
        Self { fault, at_fault: Some(Arc::clone(at_fault)), why: why.into() }
    }
}

fn verdict(
    presented: &[Result<Arc<Certificate>, InvalidCertificate>],
    roots: &Roots,
    host: &str,
    at: Timestamp,
) -> Result<TrustedBy, Refusal> {
    let sent = readable(presented)?;
    let Some((&leaf, others)) = sent.split_first() else {
        return Err(Refusal {
            fault: Fault::InvalidCertificate,
            at_fault: None,
            why: "the server sent no certificate".to_owned(),
        });
    };
    chains::is_usable(leaf, at).map_err(|unfit| words::unfit(leaf, unfit, leaf, at))?;
    if !hostname::is_for(host, leaf.dns_names(), leaf.ip_addresses().filter_map(address)) {
        return Err(words::other_name(leaf, host));
    }
    let chains = if roots.pool_of(leaf).is_some() {
        vec![vec![leaf]]
    } else {
        let intermediates = Intermediates::new(others.iter().copied());
        Builder::new(roots, intermediates, at).chains(leaf).map_err(|why| match why {
            NoChain::Unfit(certificate, unfit) => words::unfit(certificate, unfit, leaf, at),
            NoChain::NoIssuer { of, rejected } => words::no_issuer(of, rejected, leaf, !others.is_empty()),
            NoChain::TooManyCandidates => words::too_many_candidates(leaf),
        })?
    };
    let chain = usable_chain(leaf, &chains)?;
    if matches!(leaf.public_key(), PublicKey::Dsa | PublicKey::Unknown) {
        let why = "the server's key is of a kind that Go's TLS does not use";
        return Err(Refusal::new(Fault::Other, leaf, why));
    }
    let root = chain.last().copied().unwrap_or(leaf);
    let source = roots.pool_of(root).map(|pool| pool.shared_source()).unwrap_or_default();
    Ok(TrustedBy { root: Arc::clone(root), source })
}

/// Every certificate has to be readable, also those that no chain needs.
fn readable(presented: &[Result<Arc<Certificate>, InvalidCertificate>]) -> Result<Vec<&Arc<Certificate>>, Refusal> {
    presented
        .iter()
        .enumerate()
        .map(|(place, sent)| match sent {
            Err(invalid) => Err(Refusal {
                fault: Fault::InvalidCertificate,
                at_fault: None,
                why: format!("the {} cannot be parsed: {}", words::position(place), invalid.what()),
            }),
            Ok(certificate) => match signature::rsa_bits(certificate).filter(|&bits| bits > MOST_RSA_BITS) {
                Some(bits) => Err(Refusal::new(
                    Fault::Other,
                    certificate,
                    format!(
                        "the {} has an RSA key of {bits} bits; Go takes {MOST_RSA_BITS} at most",
                        words::position(place)
                    ),
                )),
                None => Ok(certificate),
            },
        })
        .collect()
}

/// The first chain that Go would return.
fn usable_chain<'c>(
    leaf: &'c Arc<Certificate>,
    chains: &'c [Vec<&'c Arc<Certificate>>],
) -> Result<&'c [&'c Arc<Certificate>], Refusal> {
    let mut checks = NameChecks::default();
    let (mut broken_constraint, mut wrong_usage, mut no_policy) = (None, None, None);
    for chain in chains {
        if !policies::are_valid(&chain.iter().map(|certificate| certificate.as_ref()).collect::<Vec<_>>()) {
            no_policy = no_policy.or_else(|| Some(words::no_policy(leaf)));
        } else if let Some(certificate) = chain.iter().rev().find(|certificate| !is_for_servers(certificate)) {
            wrong_usage = wrong_usage.or_else(|| Some(words::wrong_usage(certificate, leaf)));
        } else if let Err((ca, what)) = checks.check(chain) {
            broken_constraint = broken_constraint.or_else(|| Some(words::name_constraint(ca, leaf, &what)));
        } else {
            return Ok(chain);
        }
    }
    // With chains of both kinds, Go says no more than that there is no valid one.
    Err(match (broken_constraint, no_policy, wrong_usage) {
        (Some(refusal), _, _) | (None, Some(refusal), _) | (None, None, Some(refusal)) => refusal,
        (None, None, None) => words::no_policy(leaf),
    })
}

/// Without an extended key usage, a certificate is for everything.
fn is_for_servers(certificate: &Certificate) -> bool {
    let usages = certificate.ext_key_usages();
    usages.is_empty() && certificate.unknown_ext_key_usages() == 0
        || usages.iter().any(|usage| matches!(usage, ExtKeyUsage::Any | ExtKeyUsage::ServerAuth))
}

/// The name constraints of chains that are made of the same certificates: each pair of certificates is looked at once.
#[derive(Default)]
struct NameChecks<'c> {
    constraints: HashMap<*const Certificate, Option<Constraints<'c>>>,
    names: HashMap<*const Certificate, Result<Names<'c>, String>>,
    verdicts: HashMap<(*const Certificate, *const Certificate), Result<(), String>>,
}

impl<'c> NameChecks<'c> {
    /// The CA whose constraints are broken, and how.
    fn check(&mut self, chain: &[&'c Arc<Certificate>]) -> Result<(), (&'c Arc<Certificate>, String)> {
        for (place, &certificate) in chain.iter().enumerate() {
            if certificate.raw_alternative_names().is_none() {
                continue;
            }
            for &ca in &chain[place + 1..] {
                self.check_pair(certificate, ca).map_err(|what| (ca, what))?;
            }
        }
        Ok(())
    }

    fn check_pair(&mut self, certificate: &'c Arc<Certificate>, ca: &'c Arc<Certificate>) -> Result<(), String> {
        let pair = (Arc::as_ptr(certificate), Arc::as_ptr(ca));
        let constraints = self.constraints.entry(pair.1).or_insert_with(|| Constraints::of(ca));
        let Some(constraints) = constraints else { return Ok(()) };
        let names = self.names.entry(pair.0).or_insert_with(|| Names::of(certificate));
        let verdict = self.verdicts.entry(pair).or_insert_with(|| match names {
            Ok(names) => constraints.check(names),
            Err(what) => Err(what.clone()),
        });
        verdict.clone()
    }
}
