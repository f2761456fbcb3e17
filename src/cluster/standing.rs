//! How the watches stand, in words: for the log, `/readyz`, the metric and the Event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::{info, warn};

use crate::telemetry::{Metrics, Readiness};

use super::watching::Fault;

/// This many names are spelled out.
const MOST_NAMES: usize = 10;

/// What a watch looks for, in the words of RBAC.
pub(super) trait Access: Ord + Clone {
    /// The kind of role that allows it, with its article.
    const ROLE: &'static str;

    /// What must be allowed to list and watch: `secrets with resourceNames [a, b]`. `None` where there is none.
    fn words<'s>(selections: impl Iterator<Item = &'s Self>) -> Option<String>
    where
        Self: 's;
}

/// How each watch stands.
#[derive(Debug)]
pub(super) struct Standings<S> {
    watches: BTreeMap<S, Standing>,
}

impl<S> Default for Standings<S> {
    fn default() -> Self {
        Self { watches: BTreeMap::new() }
    }
}

/// How one watch stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Standing {
    /// Whether we know what there is, or know that we may not know.
    answered: bool,
    fault: Option<Fault>,
}

impl<S: Access> Standings<S> {
    /// The watches that there are from now on.
    pub(super) fn keep(&mut self, selections: &BTreeSet<S>) {
        self.watches.retain(|selection, _| selections.contains(selection));
        for selection in selections {
            self.watches.entry(selection.clone()).or_default();
        }
    }

    /// A watch has its list, or broke.
    pub(super) fn set(&mut self, selection: &S, fault: Option<Fault>) {
        let standing = self.watches.entry(selection.clone()).or_default();
        standing.answered |= matches!(fault, None | Some(Fault::Forbidden(_)));
        // An API server that is away has not allowed anything.
        if !matches!((&standing.fault, &fault), (Some(Fault::Forbidden(_)), Some(Fault::Other(_)))) {
            standing.fault = fault;
        }
    }

    /// Whether every watch works.
    pub(super) fn all_up(&self) -> bool {
        self.watches.values().all(|standing| standing.answered && standing.fault.is_none())
    }

    /// Whether every watch was answered; else what is missing.
    pub(super) fn answered(&self) -> Result<(), String> {
        match S::words(self.watches.iter().filter(|(_, standing)| !standing.answered).map(|(selection, _)| selection)) {
            Some(missing) => Err(format!("not listed yet: {missing}")),
            None => Ok(()),
        }
    }

    /// The rule that is missing, and what the API server says.
    pub(super) fn forbidden(&self) -> Option<String> {
        let refused = self.watches.iter().filter_map(|(selection, standing)| match &standing.fault {
            Some(Fault::Forbidden(message)) => Some((selection, message)),
            _ => None,
        });
        let (_, message) = refused.clone().next()?;
        let missing = S::words(refused.map(|(selection, _)| selection))?;
        Some(format!(
            "forbidden: {} must allow list and watch of {missing}; `mirrorgate rbac --policy FILE` prints it ({message})",
            S::ROLE
        ))
    }

    /// Another fault, such as an API server that is away.
    pub(super) fn down(&self) -> Option<&str> {
        self.watches.values().find_map(|standing| match &standing.fault {
            Some(Fault::Other(words)) => Some(words.as_str()),
            _ => None,
        })
    }
}

/// How the watches stand, wherever it is shown but in Events.
#[derive(Debug)]
pub(super) struct Shown {
    /// The part of `/readyz`, and the label of `mirrorgate_watch_up`.
    pub(super) part: &'static str,
    pub(super) resource: &'static str,
    /// What is watched, in words.
    pub(super) what: &'static str,
    /// Whether it was said that a watch broke.
    pub(super) down: bool,
    pub(super) metrics: Arc<Metrics>,
    pub(super) readiness: Arc<Readiness>,
}

/// What `/readyz` remarks on: what we may not watch, and whether we would see a change of the rest.
const FORBIDDEN: &str = "forbidden";
const WATCH: &str = "watch";

impl Shown {
    /// Shows it.
    pub(super) fn update<S: Access>(&mut self, standings: &Standings<S>) {
        let Self { part, resource, what, .. } = *self;
        self.metrics.watch_up(resource, standings.all_up());
        let down = standings.down();
        if let Some(error) = down.filter(|_| !self.down) {
            warn!(error, "the {what} cannot be watched; what was last seen of them stays in force");
        } else if self.down && down.is_none() {
            info!("the {what} are watched again");
        }
        self.down = down.is_some();
        let remark = down.map(|fault| format!("cannot be watched: {fault}; what was last seen of them stays in force"));
        self.readiness.remark(part, WATCH, remark);
        self.readiness.remark(part, FORBIDDEN, standings.forbidden());
    }
}

/// `secrets with resourceNames [a, b]`, of which some are spelled out; `None` without names.
pub(super) fn with_names(resource: &str, mut names: Vec<&str>) -> Option<String> {
    let more = names.len().saturating_sub(MOST_NAMES);
    names.truncate(MOST_NAMES);
    let mut words = format!("{resource} with resourceNames [{}", names.join(", "));
    if more > 0 {
        words.push_str(&format!(", and {more} more"));
    }
    words.push(']');
    (!names.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::super::secrets::Selection;
    use super::*;

    fn named(name: &str) -> Selection {
        Selection::Named(name.into())
    }

    fn standings(selections: &[Selection]) -> Standings<Selection> {
        let mut standings = Standings::default();
        standings.keep(&selections.iter().cloned().collect());
        standings
    }

    /// Trap 22: ready once each was listed; what we may not list is an answer, too, or no pod would ever be made.
    #[test]
    fn trap_22_every_watch_must_be_answered_once() {
        let mut standings = standings(&[named("a"), named("b"), Selection::DockerConfigs]);
        let missing = "not listed yet: secrets with resourceNames [a, b], and of all secrets";
        assert_eq!(standings.answered(), Err(missing.to_owned()));
        standings.set(&named("a"), None);
        standings.set(&named("b"), Some(Fault::Other("refused".to_owned())));
        standings.set(&Selection::DockerConfigs, Some(Fault::Forbidden("no".to_owned())));
        assert_eq!(standings.answered(), Err("not listed yet: secrets with resourceNames [b]".to_owned()));
        standings.set(&named("b"), None);
        standings.set(&named("b"), Some(Fault::Other("refused".to_owned())));
        assert_eq!(standings.answered(), Ok(()));
        assert!(!standings.all_up());
        assert_eq!(standings.down(), Some("refused"));
    }

    #[test]
    fn s5_the_missing_rule_is_named() {
        let names: Vec<Selection> = (10..22).map(|n| named(&format!("s{n}"))).collect();
        let mut standings = standings(&names);
        assert_eq!(standings.forbidden(), None);
        standings.set(&names[1], Some(Fault::Forbidden("secrets is forbidden".to_owned())));
        let rule = "list and watch of secrets with resourceNames [s11]";
        assert!(standings.forbidden().unwrap().contains(rule), "{:?}", standings.forbidden());
        for name in &names {
            standings.set(name, Some(Fault::Forbidden("secrets is forbidden".to_owned())));
        }
        assert!(standings.forbidden().unwrap().contains("s19, and 2 more]; "), "{:?}", standings.forbidden());
        standings.set(&names[0], Some(Fault::Other("refused".to_owned())));
        assert!(standings.forbidden().unwrap().contains("[s10, "), "{:?}", standings.forbidden());
        standings.keep(&[names[0].clone()].into());
        standings.set(&names[0], None);
        assert_eq!(standings.forbidden(), None);
        assert!(standings.all_up());
    }
}
