//! What is said of the serving certificate in Events.

use std::convert::Infallible;

use kube::Client;
use tokio::sync::watch;

use crate::serving::{Concerns, Reason, Step};

use super::super::announcer::{Announcer, Statement, Topic};
use super::super::events::Severity;
use super::SERVING_SECRET;

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

/// That the Secret cannot be written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CannotWrite;

impl Topic for CannotWrite {
    fn statement(&self, wrong: Option<&str>) -> Statement {
        let (reason, note) = match wrong {
            Some(why) => ("CertificateNotWritten", format!("The Secret {SERVING_SECRET} cannot be written: {why}")),
            None => ("CertificateWritten", format!("The Secret {SERVING_SECRET} can be written again.")),
        };
        Statement { reason, note, is_logged: false }
    }
}

/// A step that was done.
pub(super) fn done(step: &Step) -> (Severity, Statement) {
    let (reason, what) = match step {
        Step::Rest | Step::Keep(_) => ("CertificateUnchanged", "Nothing was written".to_owned()),
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
