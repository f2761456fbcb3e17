//! What the Secret `mirrorgate-serving` holds, read.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::trust::{Bundle, Certificate};

use super::making::Authority;
use super::pair::{KeyPem, Pair, PairFault};

/// The values of the Secret, as they stand. An absent one is an empty one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// `tls.crt`: the chain, the serving certificate first.
    pub certificate: Vec<u8>,
    /// `tls.key`
    pub key: KeyPem,
    /// `ca.crt`: whom the API server is to trust.
    pub authorities: Vec<u8>,
    /// `ca.key`: the key of the first of the CAs, where mirrorgate made it.
    pub authority_key: KeyPem,
}

/// The Secret, read.
#[derive(Debug)]
pub struct Held {
    content: Content,
    pair: Result<Pair, PairFault>,
    authorities: Result<Vec<Arc<Certificate>>, PairFault>,
    signs: bool,
}

impl Content {
    /// Whether there is nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { certificate, key, authorities, authority_key } = self;
        [certificate, key.as_bytes(), authorities, authority_key.as_bytes()].iter().all(|value| value.is_empty())
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("certificate", &self.certificate.len()).finish_non_exhaustive()
    }
}

impl Held {
    /// Reads what a Secret holds.
    #[must_use]
    pub fn read(content: Content) -> Self {
        let Content { certificate, key, authorities, authority_key } = &content;
        let pair = Pair::read(certificate, key.as_bytes());
        let authorities = read_authorities(authorities);
        let first = authorities.as_ref().ok().and_then(|authorities| authorities.first());
        let signs = first.is_some_and(|first| Authority::restore(first, authority_key).is_ok());
        Self { content, pair, authorities, signs }
    }

    /// As it stands.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The pair.
    ///
    /// # Errors
    /// When it cannot be used at all.
    pub fn pair(&self) -> Result<&Pair, &PairFault> {
        self.pair.as_ref()
    }

    /// The CAs of `ca.crt`, in their order; none where it cannot be read.
    #[must_use]
    pub fn authorities(&self) -> &[Arc<Certificate>] {
        self.authorities.as_deref().unwrap_or_default()
    }

    /// Whether the key of the first CA is there, and the CA is one of ours.
    #[must_use]
    pub fn signs(&self) -> bool {
        self.signs
    }

    /// Whether the first CA signed the serving certificate, by the names: no two CAs of ours have the same.
    #[must_use]
    pub fn leaf_is_of_the_first(&self) -> bool {
        let first = self.authorities().first();
        let leaf = self.pair.as_ref().ok().map(Pair::leaf);
        first.zip(leaf).is_some_and(|(first, leaf)| first.raw_subject() == leaf.raw_issuer())
    }

    /// Whether the API server would take the pair at that time, calling us by that name, under the CAs of `ca.crt`. These
    /// may be missing where `authorities_needed` says so; then the chain is not looked at.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, authorities_needed: bool, name: &str, now: Timestamp) -> Result<(), PairFault> {
        let pair = self.pair.as_ref().map_err(Clone::clone)?;
        match &self.authorities {
            Ok(authorities) => pair.check(Some(authorities), Some(name), now),
            Err(PairFault::NoAuthority) if !authorities_needed => pair.check(None, Some(name), now),
            Err(fault) => Err(fault.clone()),
        }
    }
}

fn read_authorities(text: &[u8]) -> Result<Vec<Arc<Certificate>>, PairFault> {
    let Bundle { certificates, skipped } = Bundle::read(text);
    match skipped.first() {
        // The API server refuses a caBundle for it.
        Some(skipped) => Err(PairFault::Authority(skipped.to_string())),
        None if certificates.is_empty() => Err(PairFault::NoAuthority),
        None => Ok(certificates),
    }
}
