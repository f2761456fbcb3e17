//! What is said of the Secret and of what is done about it, wherever it is shown; in Events by [`super::announced`].

use tracing::{info, warn};

use crate::serving::{CERTIFICATE_READINESS, Step};

use super::super::watching::Fault;
use super::super::webhooks::Trusting;
use super::announced::{Matter, disobeyed};
use super::secret::Seen;
use super::{SERVING_SECRET, ServingWatch};

/// The label of `mirrorgate_watch_up`.
const RESOURCE: &str = "serving-certificate";

/// What `/readyz` remarks on.
const WATCH: &str = "watch";
const WISH: &str = "renew";
const CHANGE: &str = "change";

impl ServingWatch {
    pub(super) fn up(&mut self) {
        self.metrics.watch_up(RESOURCE, true);
        self.readiness.remark(CERTIFICATE_READINESS, WATCH, None);
        if std::mem::take(&mut self.down) {
            info!("the Secret {SERVING_SECRET} is watched again");
        }
    }

    pub(super) fn down(&mut self, fault: &Fault) {
        let fault = match fault {
            Fault::Forbidden(message) => format!(
                "forbidden: a Role in {} must allow list and watch of secrets with resourceNames [{SERVING_SECRET}] ({message})",
                self.namespace
            ),
            Fault::Other(words) => words.clone(),
        };
        if !std::mem::replace(&mut self.down, true) {
            self.metrics.watch_up(RESOURCE, false);
            warn!(
                error = fault,
                "the Secret {SERVING_SECRET} cannot be watched; what was last seen of it stays in force"
            );
        }
        let remark = format!("the Secret {SERVING_SECRET} cannot be watched: {fault}");
        self.readiness.remark(CERTIFICATE_READINESS, WATCH, Some(remark));
    }

    /// A wish that nobody grants would wait for ever.
    pub(super) fn tell_of_wish(&mut self, seen: &Seen) {
        let disobeyed = seen.wish().and_then(|wish| disobeyed(wish, self.caretaker, &self.namespace));
        self.announcer.set(Matter::Wish, disobeyed.clone());
        self.readiness.remark(CERTIFICATE_READINESS, WISH, disobeyed);
    }

    /// A change of CAs that hangs harms no call, but should not do so unheard.
    pub(super) fn tell_of_waiting(&mut self, step: &Step) {
        self.waiting.note(step, self.acted);
        let Trusting { wrong, .. } = &*self.trusting.borrow();
        let too_long = self.waiting.too_long(wrong.as_deref(), self.rounds.answers(), self.acted);
        self.announcer.set(Matter::Change, too_long.clone());
        self.readiness.remark(CERTIFICATE_READINESS, CHANGE, too_long);
    }
}
