//! What is said of a registry that cannot be reached or judged: sentences of ours, with a hint where there is one, and never
//! the words of a network error (A6). Each stands behind "nothing can be pulled from .. now:" or "it is not known:".

use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::AlertDescription;

use crate::image::Escaped;
use crate::review::{Unknown, UnknownClass, Unreachable, UnreachableClass, Verdict};

use super::guard::Refusal;
use super::handshake::NoHandshake;
use super::resolve::NoAddress;

/// The most characters of a sentence that came from elsewhere.
const MOST_CHARS: usize = 300;

pub(super) const UNSUPPORTED_SIGNATURE: &str =
    "the server signs the handshake by an algorithm, or with a key, that mirrorgate cannot check";

fn unreachable(class: UnreachableClass, why: impl Into<Arc<str>>) -> Verdict {
    Verdict::Unreachable(Unreachable { class, why: why.into() })
}

/// An unknown of ours; `why` may come from a certificate.
pub(super) fn cannot_judge(why: &str) -> Verdict {
    let why = Escaped::cut(why, MOST_CHARS).to_string().into();
    Verdict::Unknown(Unknown { class: UnknownClass::CannotJudge, why })
}

pub(super) fn no_address(fault: NoAddress) -> Verdict {
    let why = match fault {
        NoAddress::NoSuchName => "no name server has an address for its name",
        NoAddress::NoAnswer => return no_address_in_time(),
        NoAddress::Failed => "the name servers fail to look its name up",
    };
    unreachable(UnreachableClass::NoSuchName, why)
}

pub(super) fn no_address_in_time() -> Verdict {
    unreachable(UnreachableClass::TimedOut, "no name server answered in time")
}

pub(super) fn refused_address(address: IpAddr, refusal: &Refusal, of: usize) -> Verdict {
    let one_of =
        if of > 1 { format!("one of its {of} addresses, {address},") } else { format!("its address, {address},") };
    unreachable(UnreachableClass::RefusedAddress, format!("{one_of} is never dialled: {refusal}"))
}

pub(super) fn no_connection_in_time() -> Verdict {
    unreachable(UnreachableClass::TimedOut, "no connection came about in time: a firewall, or nothing at that address")
}

pub(super) fn not_connected(kind: ErrorKind) -> Verdict {
    let (class, why) = match kind {
        ErrorKind::ConnectionRefused => (UnreachableClass::Refused, "nobody listens at its address and port"),
        ErrorKind::TimedOut => return no_connection_in_time(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
            (UnreachableClass::Reset, "it closed the connection at once")
        }
        ErrorKind::PermissionDenied => (UnreachableClass::Refused, "this machine forbids connections to its address"),
        _ => (UnreachableClass::Refused, "no route leads to its address from here"),
    };
    unreachable(class, why)
}

pub(super) fn no_server_name() -> Verdict {
    cannot_judge("its name cannot be asked for in a TLS handshake")
}

pub(super) fn not_tls(is_http: bool) -> Verdict {
    let why = if is_http {
        "it speaks plain HTTP where HTTPS is meant; a mirror that has no TLS needs `plainHTTP: true`"
    } else {
        "what listens there does not speak TLS"
    };
    unreachable(UnreachableClass::NotTls, why)
}

pub(super) fn tls_where_plain() -> Verdict {
    let why = "it speaks TLS where plain HTTP is meant; take `plainHTTP` away from the mirror and write https://";
    unreachable(UnreachableClass::NotTls, why)
}

pub(super) fn wants_client_certificate() -> Verdict {
    cannot_judge("the server demands a client certificate, and mirrorgate has none")
}

pub(super) fn no_handshake(fault: NoHandshake, has_shown_certificate: bool) -> Verdict {
    let why = match fault {
        NoHandshake::Reset => {
            let why = "it closed the connection during the TLS handshake";
            return unreachable(UnreachableClass::Reset, why);
        }
        NoHandshake::NothingInCommon => {
            "it speaks no version, cipher or key exchange of TLS that mirrorgate speaks, though the nodes may"
        }
        NoHandshake::TooLarge => "its certificates take more than 64 KiB, which mirrorgate does not read",
        NoHandshake::Http2Only => "it agrees on no protocol of HTTP",
        NoHandshake::Alert(alert) => return cannot_judge(&of_alert(alert, has_shown_certificate)),
        NoHandshake::Other => "what it sends breaks the rules of TLS",
    };
    cannot_judge(why)
}

fn of_alert(alert: AlertDescription, has_shown_certificate: bool) -> String {
    let when = if has_shown_certificate { "after" } else { "before" };
    let why = match alert {
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "it may speak only ciphers or key exchanges that mirrorgate lacks"
        }
        AlertDescription::ProtocolVersion => "it may speak only versions of TLS before 1.2",
        AlertDescription::UnrecognisedName => "it does not know the name that it was asked for",
        AlertDescription::InternalError => "it may have no certificate",
        _ => "its log may say why",
    };
    format!("the server ended the TLS handshake {when} it showed a certificate (alert {}): {why}", u8::from(alert))
}

pub(super) fn no_handshake_in_time(is_silent: bool) -> Verdict {
    let why = if is_silent { "it takes connections and says nothing" } else { "its TLS handshake did not end in time" };
    unreachable(UnreachableClass::TimedOut, why)
}

pub(super) fn not_judged() -> Verdict {
    cannot_judge("mirrorgate is being shut down")
}

pub(super) fn no_answer_in_time() -> Verdict {
    unreachable(UnreachableClass::TimedOut, "it did not answer GET /v2/ in time")
}

pub(super) fn bad_status(status: u16) -> Verdict {
    let why = format!("it answers GET /v2/ with status {status}, as no registry that works does");
    unreachable(UnreachableClass::BadAnswer, why)
}

pub(super) fn not_http() -> Verdict {
    unreachable(UnreachableClass::BadAnswer, "its answer to GET /v2/ is no HTTP/1.1, or its head is larger than 16 KiB")
}

pub(super) fn ended_before_an_answer() -> Verdict {
    unreachable(UnreachableClass::Reset, "it closed the connection instead of answering GET /v2/")
}

pub(super) fn plain_http() -> Verdict {
    let why = "it answers in plain HTTP, where there is no certificate to judge".into();
    Verdict::Unknown(Unknown { class: UnknownClass::PlainHttp, why })
}
