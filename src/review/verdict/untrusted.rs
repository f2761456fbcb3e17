//! What is said of a certificate that the nodes would refuse (T4): for a person with nothing but `kubectl` in hand. Which
//! certificate it is, which rule it breaks, and what to add to the policy, or that nothing would help.

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::image::{Escaped, Registry};
use crate::policy::Mirror;
use crate::trust::{Certificate, Facts, Fault, Judgement, PUBLIC_ROOTS, Rejection};

/// The most characters of a distinguished name, or of a sentence that quotes a certificate.
const MOST_NAME_CHARS: usize = 120;
const MOST_WHY_CHARS: usize = 300;

/// The most names of a certificate that are listed, and of how many characters each.
const MOST_NAMES: usize = 5;
const MOST_NAME_OF_LIST_CHARS: usize = 64;

/// The most letters of a common name that go into the name of a CA.
const MOST_NAME_OF_CA_CHARS: usize = 48;

/// The most certificates of a chain that a search for its end looks at.
const MOST_STEPS: usize = 16;

/// Why the nodes would refuse a registry's certificate: what is kept of a rejection, to be said of every pod that meets it.
/// What comes from certificates is escaped and cut.
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
    /// Whether further CAs could make it trusted: not where the server's own certificate is at fault.
    pub depends_on_roots: bool,
    /// The key or bundle of the policy that has the certificate at fault, and whether that is the server's own.
    of_policy: Option<Box<str>>,
    is_servers_own: bool,
    authority: Authority,
}

/// Who signed the end of the chain that the server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Authority {
    /// A certificate that signs itself, sent along: the CA, or the server's own.
    Sent { subject: Box<str>, sha256: Box<str> },
    /// Only its name is known.
    NotSent { issuer: Box<str> },
    /// Nothing could be read.
    Unreadable,
}

impl Untrusted {
    /// What is kept of a rejection.
    #[must_use]
    pub fn new(judgement: &Judgement, rejection: &Rejection) -> Self {
        let authority = match authority(judgement) {
            Some((last, true)) => {
                let Facts { subject, sha256, .. } = last.facts();
                Authority::Sent { subject: named(&subject), sha256: sha256.into() }
            }
            Some((last, false)) => Authority::NotSent { issuer: named(&last.facts().issuer) },
            None => Authority::Unreadable,
        };
        Self {
            fault: rejection.fault,
            at: judgement.at,
            why: Escaped::cut(&rejection.why, MOST_WHY_CHARS).to_string().into(),
            certificate: certificate(judgement, rejection).into(),
            depends_on_roots: depends_on_roots(rejection),
            // Nobody can replace one of the public roots in a policy.
            of_policy: rejection.in_pool.as_deref().filter(|source| *source != PUBLIC_ROOTS).map(named),
            is_servers_own: rejection.presented_index == Some(0),
            authority,
        }
    }

    /// How much memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let authority = match &self.authority {
            Authority::Sent { subject, sha256 } => subject.len() + sha256.len(),
            Authority::NotSent { issuer } => issuer.len(),
            Authority::Unreadable => 0,
        };
        let of_policy = self.of_policy.as_deref().map_or(0, str::len);
        size_of::<Self>() + self.why.len() + self.certificate.len() + of_policy + authority
    }

    /// What mends it: the lines to add to the policy, or that none would help. `mirror` is the one whose endpoint the registry is.
    #[must_use]
    pub fn mend(&self, registry: &Registry, mirror: Option<&Mirror>) -> String {
        self.mend_with(registry, mirror, None)
    }

    /// The same whole: with the certificate to add, where the server sends it.
    #[must_use]
    pub fn whole_mend(&self, registry: &Registry, mirror: Option<&Mirror>, judgement: &Judgement) -> String {
        let sent = authority(judgement).and_then(|(last, is_sent)| is_sent.then(|| last.pem()));
        self.mend_with(registry, mirror, sent.as_deref())
    }

    /// `pem` is the certificate to add, where it is to be shown.
    fn mend_with(&self, registry: &Registry, mirror: Option<&Mirror>, pem: Option<&str>) -> String {
        let nothing = |what: &str| format!("Nothing in the policy mends this: {what}.");
        let owner = format!("whoever runs {registry}");
        if let (Some(source), Some(better)) = (&self.of_policy, better(self.fault)) {
            return match self.is_servers_own {
                false => format!(
                    "This CA is one of the policy's ({source}): replace it by one that {better}, there and on the nodes."
                ),
                // Trusted by itself: without the server's, the policy's helps nothing.
                true => format!(
                    "The server's certificate is itself one of the policy's ({source}): {owner} must replace it by one that \
                     {better}; then replace it there and on the nodes, too."
                ),
            };
        }
        if let (Some(source), Fault::NotYetValid, false) = (&self.of_policy, self.fault, self.is_servers_own) {
            return format!(
                "This CA is one of the policy's ({source}): put one beside it that is valid, there and on the nodes; if {:.0} \
                 is not the time now, set the clock of mirrorgate's node.",
                self.at
            );
        }
        match self.fault {
            Fault::UnknownAuthority => self.add_the_ca(registry, mirror, pem),
            Fault::Expired => nothing(&format!("{owner} must renew the certificate")),
            Fault::NotYetValid => nothing(&format!(
                "the certificate begins later; if {:.0} is not the time now, set the clock of mirrorgate's node",
                self.at
            )),
            Fault::NameMismatch => {
                let of_mirror = |mirror: &Mirror| format!("the endpoint of mirror {}", mirror.name());
                let namer = mirror.map_or("the images".to_owned(), of_mirror);
                nothing(&format!(
                    "{owner} needs a certificate that names {}, or {namer} must name the registry by a name that it has",
                    registry.dialled_host()
                ))
            }
            Fault::BadSignature
            | Fault::NotACa
            | Fault::WrongUsage
            | Fault::NameConstraint
            | Fault::UnhandledExtension
            | Fault::InvalidCertificate
            | Fault::Other => nothing(&format!("{owner} must have the certificate issued anew, without that fault")),
        }
    }

    /// The lines for the policy that make the chain trusted.
    fn add_the_ca(&self, registry: &Registry, mirror: Option<&Mirror>, pem: Option<&str>) -> String {
        let (name, what) = match &self.authority {
            Authority::Sent { subject, sha256 } => {
                // A CA that was renewed under its name goes beside the one before.
                let fingerprint = sha256.get(..8).unwrap_or_default();
                (format!("{}-{fingerprint}", ca_name(subject)), format!("{subject}, SHA-256 {sha256}"))
            }
            Authority::NotSent { issuer } => (ca_name(issuer), format!("{issuer}, which the server does not send")),
            Authority::Unreadable => ("registry-ca".to_owned(), "the CA that signed it".to_owned()),
        };
        // A mirror has one `caBundle`: where there is one, its content is not ours to replace.
        let lines = match mirror.filter(|mirror| !mirror.has_ca_bundle()) {
            Some(mirror) => {
                let pem = match pem {
                    Some(pem) => pem.trim_end().replace('\n', "\n          "),
                    None => format!("<the PEM of {what}>"),
                };
                format!(
                    "  registryMirrors:\n    - name: {}  # in the entry that is there\n      caBundle:\n        \
                     inline: |\n          {pem}",
                    mirror.name()
                )
            }
            None => {
                let data = match pem {
                    Some(pem) => STANDARD.encode(pem),
                    None => format!("<base64 of the PEM of {what}>"),
                };
                format!(
                    "  trust:\n    additionalTrustedCAs:\n      - name: \"{name}\"\n        registries: \
                     [\"{registry}\"]\n        data: {data}"
                )
            }
        };
        let check = match (&self.authority, pem) {
            (Authority::Sent { .. }, None) => format!(
                "Compare the SHA-256 with what the CA's owner says; `mirrorgate probe {registry}` prints the lines whole."
            ),
            (Authority::Sent { .. }, Some(_)) => format!("It is {what}: compare that with what the CA's owner says."),
            (Authority::NotSent { .. } | Authority::Unreadable, _) => "Ask the CA's owner for it.".to_owned(),
        };
        format!(
            "If that CA is to be trusted, add it to the policy:\n{lines}\n{check} The nodes need it, too: with containerd, in \
             /etc/containerd/certs.d/{registry}/ca.crt."
        )
    }
}

/// Go looks at the server's certificate itself, and whether it can read what was sent, before it looks for a CA.
fn depends_on_roots(rejection: &Rejection) -> bool {
    match rejection.fault {
        Fault::NameMismatch | Fault::InvalidCertificate => false,
        Fault::Expired | Fault::NotYetValid | Fault::UnhandledExtension | Fault::WrongUsage => {
            rejection.presented_index != Some(0)
        }
        Fault::UnknownAuthority | Fault::BadSignature | Fault::NotACa | Fault::NameConstraint | Fault::Other => true,
    }
}

/// What a certificate of the policy has to do better, where that is at fault.
fn better(fault: Fault) -> Option<&'static str> {
    match fault {
        Fault::Expired => Some("is valid"),
        Fault::NotACa => Some("may sign the certificates below it"),
        Fault::WrongUsage => Some("is for TLS servers"),
        Fault::NameConstraint => Some("may sign for these names"),
        Fault::UnhandledExtension => Some("has no such extension"),
        Fault::BadSignature => Some("has a larger key"),
        Fault::UnknownAuthority
        | Fault::NotYetValid
        | Fault::NameMismatch
        | Fault::InvalidCertificate
        | Fault::Other => None,
    }
}

/// The last certificate of the chain that the server sends, and whether it signs itself.
fn authority(judgement: &Judgement) -> Option<(&Certificate, bool)> {
    let readable = || judgement.presented.iter().flatten();
    let mut last = readable().next()?;
    for _ in 0..MOST_STEPS {
        if last.raw_subject() == last.raw_issuer() {
            return Some((last, true));
        }
        match readable().find(|next| next.raw_subject() == last.raw_issuer()) {
            Some(next) => last = next,
            None => break,
        }
    }
    Some((last, false))
}

/// The certificate at fault, a fact a line.
fn certificate(judgement: &Judgement, rejection: &Rejection) -> String {
    let sent = judgement.presented.len();
    let which = match rejection.presented_index {
        Some(0) if sent == 1 => "the only one that the server sends".to_owned(),
        Some(0) => format!("the server's own, the first of {sent} that it sends"),
        Some(index) if rejection.in_pool.is_some() => {
            format!("a CA of the policy, and number {} of {sent} that the server sends", index + 1)
        }
        Some(index) => format!("number {} of {sent} that the server sends", index + 1),
        None => "a CA of the policy".to_owned(),
    };
    let Some(at_fault) = &rejection.at_fault else { return format!("  certificate  {which}") };
    let Facts { subject, issuer, sha256, not_before, not_after, is_ca: _, names } = at_fault.facts();
    let (subject, issuer) = (named(&subject), named(&issuer));
    let mut lines = format!(
        "  certificate  {which}\n  subject      {subject}\n  issuer       {issuer}\n  SHA-256      {sha256}\n  \
         valid        {not_before} to {not_after}"
    );
    // Writing to a `String` does not fail.
    let _ = match names.is_empty() {
        true => write!(lines, "\n  names        none"),
        false => write!(lines, "\n  names        {}", Names(&names)),
    };
    lines
}

/// A name for a CA in the policy, out of its common name.
fn ca_name(distinguished_name: &str) -> String {
    let common_name = distinguished_name.split(',').find_map(|part| part.trim().strip_prefix("CN="));
    let words = common_name.unwrap_or(distinguished_name).split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<String> = words.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect();
    let mut name = words.join("-");
    name.truncate(MOST_NAME_OF_CA_CHARS);
    match name.trim_matches('-') {
        "" => "registry-ca".to_owned(),
        name => name.to_owned(),
    }
}

/// A distinguished name as it stands in the certificate, escaped and cut.
fn named(distinguished_name: &str) -> Box<str> {
    match distinguished_name {
        "" => "(empty)".into(),
        name => Escaped::cut(name, MOST_NAME_CHARS).to_string().into(),
    }
}

/// The first of them.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, name) in self.0.iter().take(MOST_NAMES).enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{}", Escaped::cut(name, MOST_NAME_OF_LIST_CHARS))?;
        }
        match self.0.len().saturating_sub(MOST_NAMES) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
