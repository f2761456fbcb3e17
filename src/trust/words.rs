//! Faults in the words of people who look after certificates. What a certificate says is cut to a bound, and raw: whoever
//! prints it escapes it.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;

use super::certificate::Certificate;
use super::chains::Unfit;
use super::fault::Fault;
use super::hostname;
use super::judge::Refusal;
use super::name_constraints::address;
use super::signature::SignatureFault;

/// Of a subject, an issuer or a name.
const MOST_CHARS: usize = 200;
/// Of a certificate.
const MOST_NAMES: usize = 10;

/// A certificate by its place among those that were sent.
pub(super) fn position(place: usize) -> String {
    match place {
        0 => "server's certificate".to_owned(),
        _ => format!("certificate {} of those that the server sent", place + 1),
    }
}

/// A certificate by its part in the chain.
fn called(certificate: &Arc<Certificate>, leaf: &Arc<Certificate>) -> String {
    if Arc::ptr_eq(certificate, leaf) || certificate.der() == leaf.der() {
        "the server's certificate".to_owned()
    } else {
        format!("the CA certificate \"{}\"", cut(&certificate.subject()))
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A certificate that may not stand where it would.
pub(super) fn unfit(certificate: &Arc<Certificate>, unfit: Unfit, leaf: &Arc<Certificate>, at: Timestamp) -> Refusal {
    let called = called(certificate, leaf);
    let (fault, why) = match unfit {
        Unfit::Expired => {
            (Fault::Expired, format!("{called} expired at {}; it is {}", seconds(certificate.not_after()), seconds(at)))
        }
        Unfit::NotYetValid => (
            Fault::NotYetValid,
            format!("{called} is not valid before {}; it is {}", seconds(certificate.not_before()), seconds(at)),
        ),
        Unfit::NotACa => (Fault::NotACa, format!("{called} is no CA: its basic constraints do not say CA:TRUE")),
        Unfit::PathTooLong { most, between } => (
            Fault::NotACa,
            format!(
                "{called} allows {most} further CAs between itself and a server (path length), and there are {between}"
            ),
        ),
        Unfit::UnhandledExtension => {
            let mut extensions = String::new();
            for (count, oid) in certificate.unhandled_critical_extensions().take(3).enumerate() {
                let _ = write!(extensions, "{}{oid}", if count == 0 { "" } else { ", " });
            }
            (
                Fault::UnhandledExtension,
                format!("{called} has a critical extension that Go does not know: {}", cut(&extensions)),
            )
        }
    };
    Refusal::new(fault, certificate, why)
}

fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// The server's certificate is for other names.
pub(super) fn other_name(leaf: &Arc<Certificate>, host: &str) -> Refusal {
    let is_address = hostname::address(host).is_some();
    let dns: Vec<String> = leaf.dns_names().take(MOST_NAMES + 1).map(cut).collect();
    let addresses = leaf.ip_addresses().take(MOST_NAMES + 1).filter_map(address);
    let addresses: Vec<String> = addresses.map(|address| address.to_string()).collect();
    let count = leaf.dns_names().count() + leaf.ip_addresses().count();
    let names: Vec<String> = if is_address { [addresses, dns].concat() } else { [dns, addresses].concat() }
        .into_iter()
        .take(MOST_NAMES)
        .collect();
    let host = cut(host);
    let mut why = if names.is_empty() {
        format!("the server's certificate is for no name at all, and {host} is wanted")
    } else {
        let more = if count > names.len() { format!(" and {} more", count - names.len()) } else { String::new() };
        format!("the server's certificate is for {}{more}, not for {host}", names.join(", "))
    };
    if leaf.raw_alternative_names().is_none() {
        why += "; it has no subject alternative name, and the common name does not count";
    } else if is_address && leaf.ip_addresses().next().is_none() {
        why += "; it has no IP among its subject alternative names";
    }
    Refusal::new(Fault::NameMismatch, leaf, why)
}

/// Nothing that has signed a certificate of the chain was found; perhaps something that was to be it.
pub(super) fn no_issuer(
    of: &Arc<Certificate>,
    rejected: Option<(&Arc<Certificate>, SignatureFault)>,
    leaf: &Arc<Certificate>,
    sent_others: bool,
) -> Refusal {
    let called = called(of, leaf);
    let issuer = cut(&of.issuer());
    let Some((candidate, fault)) = rejected else {
        let why = if of.raw_issuer() == of.raw_subject() {
            format!("{called} is signed by itself and is not among the trusted CAs")
        } else {
            let hint =
                if sent_others || !Arc::ptr_eq(of, leaf) { "" } else { "; the server sent no other certificate" };
            format!("{called} is issued by \"{issuer}\", which is not among the trusted CAs{hint}")
        };
        return Refusal::new(Fault::UnknownAuthority, of, why);
    };
    let candidate_is = format!("{called} is issued by \"{issuer}\", and the CA certificate of that name");
    let (fault, at_fault, why) = match fault {
        SignatureFault::Mismatch if is_key_named(of, candidate) => {
            let why = format!("the signature of {called} does not fit the key of its issuer \"{issuer}\"");
            (Fault::BadSignature, of, why)
        }
        SignatureFault::Mismatch => (
            Fault::UnknownAuthority,
            of,
            format!("{called} is issued by \"{issuer}\"; a CA certificate of that name is there, but with another key"),
        ),
        SignatureFault::NotACa => {
            (Fault::NotACa, candidate, format!("{candidate_is} does not say CA:TRUE in its basic constraints"))
        }
        SignatureFault::MayNotSign => {
            let why = format!("{candidate_is} has a key usage that leaves out the signing of certificates");
            (Fault::NotACa, candidate, why)
        }
        SignatureFault::Insecure(name) => {
            (Fault::BadSignature, of, format!("{called} is signed with {name}, which Go refuses as insecure"))
        }
        SignatureFault::Unsupported => (
            Fault::BadSignature,
            of,
            format!(
                "{called} is signed by an algorithm that Go does not know, or that is not for the key of \"{issuer}\""
            ),
        ),
        SignatureFault::SmallKey(bits) => {
            let why = format!("{candidate_is} has an RSA key of {bits} bits; Go takes 1024 at least");
            (Fault::BadSignature, candidate, why)
        }
    };
    Refusal::new(fault, at_fault, why)
}

/// Whether a certificate names the very key that the candidate has, so that there is no other CA to look for.
fn is_key_named(of: &Certificate, candidate: &Certificate) -> bool {
    !candidate.subject_key_id().is_empty() && candidate.subject_key_id() == of.authority_key_id()
}

pub(super) fn too_many_candidates(leaf: &Arc<Certificate>) -> Refusal {
    let why = "the certificates that the server sent can be put together in too many ways: Go stops after 100 attempts";
    Refusal::new(Fault::Other, leaf, why)
}

/// A certificate of the chain whose extended key usage leaves out servers.
pub(super) fn wrong_usage(certificate: &Arc<Certificate>, leaf: &Arc<Certificate>) -> Refusal {
    let why =
        format!("{} is not for TLS servers: its extended key usage leaves out serverAuth", called(certificate, leaf));
    Refusal::new(Fault::WrongUsage, certificate, why)
}

/// A CA of the chain whose name constraints leave out a name.
pub(super) fn name_constraint(ca: &Arc<Certificate>, leaf: &Arc<Certificate>, what: &str) -> Refusal {
    let why = format!("the name constraints of {} are broken: {}", called(ca, leaf), cut(what));
    Refusal::new(Fault::NameConstraint, ca, why)
}

/// A chain in which no policy is left where one has to be.
pub(super) fn no_policy(leaf: &Arc<Certificate>) -> Refusal {
    let why = "the chain requires a certificate policy that its certificates do not share";
    Refusal::new(Fault::Other, leaf, why)
}
