//! What is said of the serving certificate in Events.

use std::convert::Infallible;

use kube::Client;
use tokio::sync::watch;

use crate::image::Escaped;
use crate::serving::{Concerns, Reason, Renewal, Step};

use super::super::announcer::{Announcer, Statement, Topic};
use super::super::events::Severity;
use super::watched::RENEW;
use super::{Caretaker, SERVING_SECRET};

/// Of what an annotation asks for, in characters.
const MOST_WISH: usize = 40;

/// Says in Events what is not as it should be with the serving certificate, wherever it comes from.
pub struct CertificateEvents {
    concerns: watch::Receiver<Concerns>,
    announcer: Announcer<Concern>,
}

/// What may not be as it should be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Concern {
    Newest,
    Expiry,
}

impl CertificateEvents {
    /// `namespace` is mirrorgate's own, `instance` names this replica.
    pub fn new(client: Client, namespace: &str, instance: String, concerns: watch::Receiver<Concerns>) -> Self {
        Self { concerns, announcer: Announcer::new(client, namespace, instance, "ServeCertificate") }
    }

    /// Says it for as long as the process lives.
    pub async fn run(mut self) -> Infallible {
        loop {
            let Concerns { newest, expiry } = self.concerns.borrow_and_update().clone();
            self.announcer.set(Concern::Newest, newest);
            self.announcer.set(Concern::Expiry, expiry);
            tokio::select! {
                changed = self.concerns.changed() => if changed.is_err() { std::future::pending().await },
                () = self.announcer.say() => {}
            }
        }
    }
}

impl Topic for Concern {
    fn statement(&self, wrong: Option<&str>) -> Statement {
        let (reason, note) = match (self, wrong) {
            (Self::Newest, Some(why)) => {
                ("CertificateNotInOrder", format!("The newest serving certificate is not in order: {why}"))
            }
            (Self::Newest, None) => {
                ("CertificateInOrder", "The newest serving certificate is in order again.".to_owned())
            }
            (Self::Expiry, Some(when)) => ("CertificateExpires", format!("The serving certificate {when}.")),
            (Self::Expiry, None) => {
                ("CertificateRenewed", "The serving certificate does not end soon any more.".to_owned())
            }
        };
        Statement { reason, note, is_logged: true }
    }
}

/// What may not go as it should.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Matter {
    /// The Secret cannot be written.
    Writing,
    /// A change of CAs hangs.
    Change,
    /// What the annotation asks for is not done.
    Wish,
}

impl Topic for Matter {
    fn statement(&self, wrong: Option<&str>) -> Statement {
        let (reason, note) = match (self, wrong) {
            (Self::Writing, Some(why)) => {
                ("CertificateNotWritten", format!("The Secret {SERVING_SECRET} cannot be written: {why}"))
            }
            (Self::Writing, None) => {
                ("CertificateWritten", format!("The Secret {SERVING_SECRET} can be written again."))
            }
            (Self::Change, Some(why)) => ("CaChangeWaits", format!("The change of the CA hangs: {why}.")),
            (Self::Change, None) => ("CaChangeGoesOn", "The change of the CA does not hang any more.".to_owned()),
            (Self::Wish, Some(why)) => ("RenewalNotObeyed", format!("No certificate is renewed: {why}.")),
            (Self::Wish, None) => {
                ("RenewalWithdrawn", format!("The annotation {RENEW} that was not obeyed is gone, or another."))
            }
        };
        Statement { reason, note, is_logged: false }
    }
}

/// Why nobody does what the annotation asks for, and what is to be done instead.
pub(super) fn disobeyed(wish: &str, caretaker: Caretaker, namespace: &str) -> Option<String> {
    let is_known = Renewal::parse(wish).is_some();
    let wish = Escaped::cut(wish, MOST_WISH);
    match caretaker {
        Caretaker::Ourselves if is_known => None,
        Caretaker::Ourselves => {
            Some(format!("the annotation {RENEW} is \"{wish}\", and not \"certificate\" or \"ca\""))
        }
        Caretaker::Somebody => Some(format!(
            "the annotation {RENEW}=\"{wish}\" does nothing under --serving-certificate own: write another certificate into the Secret \
             {SERVING_SECRET} yourself, and take the annotation away"
        )),
        Caretaker::CertManager => Some(format!(
            "the annotation {RENEW}=\"{wish}\" does nothing under --serving-certificate cert-manager: ask cert-manager \
             (`cmctl renew -n {namespace} {SERVING_SECRET}`), and take the annotation away"
        )),
    }
}

/// A step that was done.
pub(super) fn done(step: &Step) -> (Severity, Statement) {
    let (reason, what) = match step {
        Step::Rest | Step::Await(_) | Step::Keep(_) => ("CertificateUnchanged", "Nothing was written".to_owned()),
        Step::PutBack => (
            "CertificatePutBack",
            format!("The Secret {SERVING_SECRET} was gone or empty and is there again, as it was"),
        ),
        Step::MakeAll(why) => ("CertificateMade", format!("A CA and a serving certificate were made{}", because(why))),
        Step::Sign(why) => ("CertificateMade", format!("A serving certificate was made{}", because(why))),
        Step::BeginChange(why) => (
            "CaChangeBegun",
            format!(
                "A new CA was made{}. Until every replica serves a certificate of it, both are trusted",
                because(why)
            ),
        ),
        Step::EndChange => {
            ("CaChangeEnded", "The CA has changed; the one before it is not trusted any more".to_owned())
        }
    };
    let severity = match step {
        Step::PutBack | Step::MakeAll(Reason::Unusable(_)) | Step::Sign(Reason::Unusable(_)) => Severity::Warning,
        _ => Severity::Normal,
    };
    (severity, Statement { reason, note: format!("{what}."), is_logged: false })
}

fn because(why: &Reason) -> String {
    match why {
        Reason::Nothing => ", as there were none".to_owned(),
        Reason::Unusable(fault) => format!(", as what there was cannot be used ({fault})"),
        Reason::Due => ", as two thirds of the time of the last one are over".to_owned(),
        Reason::Asked => ", as an annotation asked for it".to_owned(),
        Reason::NewAuthority => " by the new CA".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_that_nobody_grants_is_told_of_with_what_to_do_instead() {
        let told = |wish, caretaker| disobeyed(wish, caretaker, "ns");
        for wish in ["certificate", "ca"] {
            assert_eq!(told(wish, Caretaker::Ourselves), None);
            let own = told(wish, Caretaker::Somebody).unwrap();
            assert!(own.contains("into the Secret mirrorgate-serving yourself"), "{own}");
            let theirs = told(wish, Caretaker::CertManager).unwrap();
            assert!(theirs.contains("`cmctl renew -n ns mirrorgate-serving`"), "{theirs}");
        }
        let unknown = told("all\n", Caretaker::Ourselves).unwrap();
        assert_eq!(unknown, r#"the annotation mirrorgate.dev/renew is "all\u{a}", and not "certificate" or "ca""#);
    }
}
