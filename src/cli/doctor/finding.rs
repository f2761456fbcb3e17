//! One line of the result: what was looked at, how it is, and what mends it.

use serde::Serialize;

use super::facts::Unread;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    /// It works, and somebody should look at it.
    Warning,
    /// Pods are refused, pass unseen, or will.
    Fault,
    /// It could not be looked at.
    Unknown,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
            Self::Unknown => "unknown",
        }
    }
}

/// One entry of the JSON array: names and shape are an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) state: State,
    pub(super) message: String,
    /// What is typed to mend it, or lines for the policy.
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, State::Ok, message)
    }

    pub(super) fn warning(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, State::Warning, message)
    }

    pub(super) fn fault(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, State::Fault, message)
    }

    pub(super) fn unknown(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, State::Unknown, message)
    }

    /// Of what could not be read: `what` it is about, and which access is needed.
    pub(super) fn unread(check: &'static str, what: &str, why: &Unread) -> Self {
        Self::unknown(check, format!("{what}: {why}"))
    }

    pub(super) fn new(check: &'static str, state: State, message: impl Into<String>) -> Self {
        Self { check, state, message: message.into(), remedy: None }
    }

    #[must_use]
    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// The first of some names, and how many more there are.
pub(super) fn some_of<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(SHOWN);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// `1 namespace`, `2 namespaces`.
pub(super) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
