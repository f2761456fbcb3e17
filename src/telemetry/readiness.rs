//! Whether this process can serve, as a value that names what is missing. It is set by the tasks that own the parts
//! and read by `/readyz`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The parts that must be there before the first call, and remarks on each.
#[derive(Debug)]
pub struct Readiness {
    parts: Mutex<BTreeMap<&'static str, Part>>,
    changed: Notify,
}

#[derive(Debug)]
struct Part {
    /// `Err` says what is missing.
    state: Result<(), String>,
    /// Shown beside the state, without failing it; by what they are about, as each comes and goes without the others.
    remarks: BTreeMap<&'static str, String>,
}

impl Readiness {
    /// Not ready until each of `parts` was set.
    #[must_use]
    pub fn new(parts: &[&'static str]) -> Readiness {
        let part =
            |name: &&'static str| (*name, Part { state: Err("not there yet".to_owned()), remarks: BTreeMap::new() });
        Readiness { parts: Mutex::new(parts.iter().map(part).collect()), changed: Notify::new() }
    }

    /// `part` is there, or is missing for the reason given; remarks on it stay. A part that was not listed joins the list.
    pub fn set(&self, part: &'static str, state: Result<(), String>) {
        match self.parts().entry(part) {
            Entry::Occupied(mut part) => part.get_mut().state = state,
            Entry::Vacant(part) => {
                part.insert(Part { state, remarks: BTreeMap::new() });
            }
        }
        self.changed.notify_waiters();
    }

    /// Says something of `part` that does not make it less ready, or takes back what was said of the same thing
    /// (`about`). What was said of other things stays.
    pub fn remark(&self, part: &'static str, about: &'static str, remark: Option<String>) {
        if let Some(part) = self.parts().get_mut(part) {
            match remark {
                Some(remark) => part.remarks.insert(about, remark),
                None => part.remarks.remove(about),
            };
        }
    }

    /// Whether every part is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.parts().values().all(|part| part.state.is_ok())
    }

    /// Waits until every part is there.
    pub async fn ready(&self) {
        loop {
            // Before we look: a change after that is not missed.
            let changed = self.changed.notified();
            if self.is_ready() {
                return;
            }
            changed.await;
        }
    }

    /// One line a part: `[+] policy (a remark)` or `[-] policy: what is missing`, and the verdict last.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = String::new();
        for (name, part) in self.parts().iter() {
            // Writing to a `String` does not fail.
            let _ = match &part.state {
                Ok(()) => write!(text, "[+] {name}"),
                Err(missing) => write!(text, "[-] {name}: {missing}"),
            };
            for remark in part.remarks.values() {
                let _ = write!(text, " ({remark})");
            }
            text.push('\n');
        }
        text.push_str(if self.is_ready() { "ready\n" } else { "not ready\n" });
        text
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<&'static str, Part>> {
        // The map is whole after every statement: a panic elsewhere does not spoil it.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trap 22: ready only when everything is there, and what is missing has a name.
    #[test]
    fn trap_22_readiness_names_what_is_missing() {
        let readiness = Readiness::new(&["policy", "certificate"]);
        assert!(!readiness.is_ready());
        readiness.set("certificate", Ok(()));
        readiness.set("policy", Err("line 3: no such key".to_owned()));
        assert_eq!(readiness.report(), "[+] certificate\n[-] policy: line 3: no such key\nnot ready\n");
        readiness.set("policy", Ok(()));
        readiness.remark("policy", "watch", Some("the API server is away".to_owned()));
        assert!(readiness.is_ready());
        assert_eq!(readiness.report(), "[+] certificate\n[+] policy (the API server is away)\nready\n");
    }

    #[tokio::test]
    async fn who_waits_hears_of_the_last_part() {
        let readiness = Readiness::new(&["policy", "certificate"]);
        readiness.set("certificate", Ok(()));
        let waiting = async {
            tokio::time::timeout(std::time::Duration::from_millis(20), readiness.ready()).await.unwrap_err();
            readiness.ready().await;
        };
        let setting = async {
            tokio::time::sleep(std::time::Duration::from_millis(40)).await;
            readiness.set("policy", Ok(()));
        };
        tokio::join!(waiting, setting);
        readiness.ready().await;
    }

    #[test]
    fn a_remark_on_one_thing_outlives_that_on_another() {
        let readiness = Readiness::new(&["policy"]);
        readiness.remark("policy", "document", Some("the newest is broken".to_owned()));
        readiness.remark("policy", "watch", Some("the API server is away".to_owned()));
        readiness.set("policy", Ok(()));
        assert_eq!(readiness.report(), "[+] policy (the newest is broken) (the API server is away)\nready\n");
        readiness.remark("policy", "watch", None);
        assert_eq!(readiness.report(), "[+] policy (the newest is broken)\nready\n");
    }
}
