//! A certificate and its key, as somebody gives them: read, and checked as the API server checks them.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::image::Escaped;
use crate::trust::{self, Bundle, Certificate, Fault, Outcome, Pool, Rejection, Roots, SkippedKind};

/// What is said of a key that is none of these.
const USABLE: &str =
    "it is not RSA with 2048 to 8192 bits, ECDSA over P-256, P-384 or P-521, or Ed25519, or is damaged";
/// Of what a certificate says, in a message.
const SHOWN: usize = 600;

/// PEM with a private key in it. What is printed of it shows nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeyPem(Vec<u8>);

impl KeyPem {
    /// The text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for KeyPem {
    fn from(text: Vec<u8>) -> Self {
        Self(text)
    }
}

impl fmt::Debug for KeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a private key")
    }
}

/// A chain, its own certificate first, and the key that belongs to that one.
#[derive(Clone)]
pub struct Pair {
    chain: Vec<Arc<Certificate>>,
    certified: Arc<CertifiedKey>,
}

/// Why a certificate and a key cannot serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairFault {
    /// No CERTIFICATE block.
    #[error("there is no certificate")]
    NoCertificate,
    /// A block that is no certificate to the API server, which would refuse the whole chain for it.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// No private key.
    #[error("there is no private key")]
    NoKey,
    /// Nobody types a password into a server that starts by itself.
    #[error("the private key is encrypted: store it without a password")]
    EncryptedKey,
    /// A key that cannot be read, or is of a kind that cannot serve.
    #[error("the private key cannot be used: {0}")]
    Key(&'static str),
    /// The key of another certificate.
    #[error("the private key belongs to another certificate")]
    OtherKey,
    /// The key of a certificate further behind.
    #[error("the chain is in the wrong order: the private key belongs to certificate {0}, which has to be the first")]
    Order(usize),
    /// No CA beside the pair, where one is needed.
    #[error("ca.crt is missing or empty: put the CA there that signed the certificate")]
    NoAuthority,
    /// What is in `ca.crt` beside, or in place of, CA certificates.
    #[error("ca.crt cannot be used: {0}")]
    Authority(String),
    /// What the API server would say of it.
    #[error("the API server would refuse it: {why}")]
    Refused {
        /// In one word.
        fault: Fault,
        /// In its words.
        why: String,
    },
}

impl PairFault {
    /// Whether it is one of the clock alone, and our clock may be the one that is wrong.
    #[must_use]
    pub fn is_of_the_clock(&self) -> bool {
        matches!(self, Self::Refused { fault: Fault::Expired | Fault::NotYetValid, .. })
    }
}

impl Pair {
    /// Reads a chain and a key: PKCS#8, PKCS#1 or SEC1.
    ///
    /// # Errors
    /// When they are not of one pair, or cannot be used at all. What the API server thinks of it, [`Pair::check`] says.
    pub fn read(certificate: &[u8], key: &[u8]) -> Result<Self, PairFault> {
        let Bundle { certificates: chain, skipped } = Bundle::read(certificate);
        let is_harmless = |what: &SkippedKind| matches!(what, SkippedKind::PrivateKey | SkippedKind::OtherType(_));
        if let Some(skipped) = skipped.iter().find(|skipped| !is_harmless(&skipped.what)) {
            return Err(PairFault::Certificate(skipped.to_string()));
        }
        if chain.is_empty() {
            return Err(PairFault::NoCertificate);
        }
        let private = PrivateKeyDer::from_pem_slice(key).map_err(|error| no_key(key, &error))?;
        let signing =
            aws_lc_rs::default_provider().key_provider.load_private_key(private).map_err(|_| PairFault::Key(USABLE))?;
        if let Some(public) = signing.public_key() {
            match chain.iter().position(|certificate| certificate.raw_spki() == public.as_ref()) {
                Some(0) => {}
                Some(place) => return Err(PairFault::Order(place + 1)),
                None => return Err(PairFault::OtherKey),
            }
        }
        let sent = chain.iter().map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
        Ok(Self { chain, certified: Arc::new(CertifiedKey::new(sent, signing)) })
    }

    /// Whether the API server would take it at that time, calling it by that name, under these CAs. Without CAs the chain
    /// is not looked at, without a name no particular one is asked for.
    ///
    /// # Errors
    /// What it would say.
    pub fn check(
        &self,
        authorities: Option<&[Arc<Certificate>]>,
        name: Option<&str>,
        now: Timestamp,
    ) -> Result<(), PairFault> {
        let trusted = authorities.unwrap_or(&self.chain[..1]).to_vec();
        let roots = Roots::new(vec![Arc::new(Pool::new("ca.crt", trusted))]);
        let sent: Vec<Vec<u8>> = self.chain.iter().map(|certificate| certificate.der().to_vec()).collect();
        let some_name = self.leaf().facts().names.into_iter().next().unwrap_or_default();
        match trust::judge(&sent, &roots, name.unwrap_or(&some_name), now).outcome {
            Outcome::Trusted(_) => Ok(()),
            Outcome::Untrusted(rejection) => Err(refusal(&rejection, self.leaf())),
            Outcome::CannotJudge(why) => Err(PairFault::Refused { fault: Fault::Other, why }),
        }
    }

    /// The serving certificate itself.
    #[must_use]
    pub fn leaf(&self) -> &Arc<Certificate> {
        &self.chain[0]
    }

    /// For TLS.
    #[must_use]
    pub fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// Whether both show the same certificates.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.chain.iter().map(|certificate| certificate.der()).eq(other.chain.iter().map(|other| other.der()))
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("leaf", &self.leaf().facts()).finish_non_exhaustive()
    }
}

/// Never in the words of who could not read it: they may quote what stands there, and that is a key.
fn no_key(text: &[u8], error: &rustls::pki_types::pem::Error) -> PairFault {
    use rustls::pki_types::pem::Error;
    let contains = |part: &str| text.windows(part.len()).any(|bytes| bytes == part.as_bytes());
    if contains("BEGIN ENCRYPTED PRIVATE KEY") || contains("Proc-Type: 4,ENCRYPTED") {
        return PairFault::EncryptedKey;
    }
    PairFault::Key(match error {
        Error::NoItemsFound => return PairFault::NoKey,
        Error::MissingSectionEnd { .. } => "its block has no END line",
        Error::IllegalSectionStart { .. } => "its BEGIN line is not one: is all of it on one line?",
        Error::Base64Decode(_) => "between its BEGIN line and its END line is something else than base64",
        _ => "it is no PEM that can be read",
    })
}

/// What the API server would say of it: the same words at any time, for as long as it is so.
fn refusal(Rejection { fault, at_fault, why, .. }: &Rejection, leaf: &Arc<Certificate>) -> PairFault {
    let called = |certificate: &Arc<Certificate>| {
        if certificate.der() == leaf.der() { "it".to_owned() } else { format!("its CA \"{}\"", certificate.subject()) }
    };
    let why = match (fault, at_fault) {
        (Fault::Expired, Some(certificate)) => {
            format!("{} expired at {}", called(certificate), certificate.not_after())
        }
        (Fault::NotYetValid, Some(certificate)) => {
            format!("{} is not valid before {}", called(certificate), certificate.not_before())
        }
        _ => why.clone(),
    };
    PairFault::Refused { fault: *fault, why: Escaped::cut(&why, SHOWN).to_string() }
}
