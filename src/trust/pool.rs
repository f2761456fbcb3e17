//! CA certificates, found by their subject.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::certificate::Certificate;

/// CA certificates of one source, indexed as Go's `CertPool`: each certificate once, whatever it is. That it may sign is
/// asked when a chain leads to it.
pub struct Pool {
    source: Arc<str>,
    certificates: Vec<Arc<Certificate>>,
    /// Places of the certificates with a subject, in their order.
    by_subject: HashMap<Vec<u8>, Vec<usize>>,
}

impl Pool {
    /// The source is for people: "additionalTrustedCAs corp-root", "the public roots".
    #[must_use]
    pub fn new(source: &str, certificates: Vec<Arc<Certificate>>) -> Self {
        let mut pool = Self { source: source.into(), certificates: Vec::new(), by_subject: HashMap::new() };
        for certificate in certificates {
            if !pool.has(&certificate) {
                let place = pool.certificates.len();
                pool.by_subject.entry(certificate.raw_subject().to_vec()).or_default().push(place);
                pool.certificates.push(certificate);
            }
        }
        pool
    }

    /// Where the certificates come from, for people.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn shared_source(&self) -> Arc<str> {
        Arc::clone(&self.source)
    }

    /// How many different certificates there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.certificates.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// The certificates, in their order.
    #[must_use]
    pub fn certificates(&self) -> &[Arc<Certificate>] {
        &self.certificates
    }

    fn has(&self, certificate: &Certificate) -> bool {
        self.with_subject(certificate.raw_subject()).any(|own| own.der() == certificate.der())
    }

    fn with_subject(&self, subject: &[u8]) -> impl Iterator<Item = &Arc<Certificate>> {
        self.by_subject.get(subject).into_iter().flatten().filter_map(|&place| self.certificates.get(place))
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("source", &self.source).field("certificates", &self.certificates.len()).finish()
    }
}

/// The certificates that are trusted for one registry (T2): some pools, seen as one.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    pools: Vec<Arc<Pool>>,
}

impl Roots {
    /// A certificate that several pools have counts as the first one's.
    #[must_use]
    pub fn new(pools: Vec<Arc<Pool>>) -> Self {
        Self { pools }
    }

    /// The pools, in their order.
    #[must_use]
    pub fn pools(&self) -> &[Arc<Pool>] {
        &self.pools
    }

    /// The pool that has the very certificate.
    pub(super) fn pool_of(&self, certificate: &Certificate) -> Option<&Arc<Pool>> {
        self.pools.iter().find(|pool| pool.has(certificate))
    }

    /// What may have signed a certificate, by the names.
    pub(super) fn issuers<'r>(&'r self, certificate: &Certificate) -> Vec<&'r Arc<Certificate>> {
        let named = |(place, pool): (usize, &'r Arc<Pool>)| {
            let earlier = &self.pools[..place];
            pool.with_subject(certificate.raw_issuer()).filter(|issuer| !earlier.iter().any(|pool| pool.has(issuer)))
        };
        by_likelihood(certificate, self.pools.iter().enumerate().flat_map(named))
    }
}

/// Certificates that may stand between: those that the server sends after its own.
pub(super) struct Intermediates<'p>(pub(super) Vec<&'p Arc<Certificate>>);

impl<'p> Intermediates<'p> {
    pub(super) fn new(presented: impl Iterator<Item = &'p Arc<Certificate>>) -> Self {
        let mut seen = HashSet::new();
        Self(presented.filter(|certificate| seen.insert(certificate.sha256())).collect())
    }

    pub(super) fn issuers(&self, certificate: &Certificate) -> Vec<&'p Arc<Certificate>> {
        let named = self.0.iter().copied().filter(|issuer| issuer.raw_subject() == certificate.raw_issuer());
        by_likelihood(certificate, named)
    }
}

/// In Go's order, which decides what is tried before the limit, and which fault is told: those whose key identifier is
/// the one that the certificate names, then those where one of the two says none, then the others.
fn by_likelihood<'i>(
    certificate: &Certificate,
    issuers: impl Iterator<Item = &'i Arc<Certificate>>,
) -> Vec<&'i Arc<Certificate>> {
    let named = certificate.authority_key_id();
    let mut issuers: Vec<_> = issuers.collect();
    issuers.sort_by_key(|issuer| {
        let own = issuer.subject_key_id();
        if own == named {
            0
        } else if own.is_empty() != named.is_empty() {
            1
        } else {
            2
        }
    });
    issuers
}
