//! Why a chain is not trusted, in one word.

/// What the node's runtime has against a chain (T4). The words are an interface: JSON, metrics and messages hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// No chain leads to a trusted CA; also where one of the right name has another key, as Go says it.
    UnknownAuthority,
    /// A certificate of the chain, or the trusted CA itself, is past its end.
    Expired,
    /// A certificate of the chain, or the trusted CA itself, has not begun.
    NotYetValid,
    /// The certificate is for other names, or for none.
    NameMismatch,
    /// A signature does not fit the very key that the certificate names as its issuer's, or is made by an algorithm or
    /// key that Go refuses.
    BadSignature,
    /// An issuer that may not sign: basic constraints, key usage, path length.
    NotACa,
    /// The extended key usage leaves out servers.
    WrongUsage,
    /// A CA's name constraints leave out the name.
    NameConstraint,
    /// A critical extension that Go does not know.
    UnhandledExtension,
    /// Go cannot parse a certificate of the chain.
    InvalidCertificate,
    /// Anything else that Go refuses.
    Other,
}

impl Fault {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownAuthority => "unknown-authority",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::NameMismatch => "name-mismatch",
            Self::BadSignature => "bad-signature",
            Self::NotACa => "not-a-ca",
            Self::WrongUsage => "wrong-usage",
            Self::NameConstraint => "name-constraint",
            Self::UnhandledExtension => "unhandled-extension",
            Self::InvalidCertificate => "invalid-certificate",
            Self::Other => "other",
        }
    }
}
