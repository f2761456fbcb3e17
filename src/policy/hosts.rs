//! Host patterns (M2) and the index in which the best one for a host is found.
//!
//! The same patterns serve every list of hosts in the policy. They are no globs: `[::1]` is an address here, not a
//! character class.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use super::fault::quoted;
use crate::image::Registry;

/// From hosts to what the policy has for them. Its keys are the policy's alone: nobody whom it must be guarded against can
/// choose them, so that the hash may be a fast one.
pub(super) type Map<T> = HashMap<String, T, foldhash::fast::RandomState>;

/// A host pattern: `host[:port]`, `*.suffix[:port]` or `*`, in canonical form.
///
/// A pattern without a port does not match a host with one. `*.suffix` matches one or more labels in front of the
/// suffix and not the bare suffix. `*` matches every host, with and without a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    text: String,
}

enum Shape<'a> {
    Exact(&'a str),
    /// What comes after `*.`, its port included.
    Suffix(&'a str),
    Any,
}

impl HostPattern {
    /// `*`.
    pub(super) fn any() -> HostPattern {
        HostPattern { text: "*".to_owned() }
    }

    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<HostPattern, InvalidPattern> {
        let fault = |kind| InvalidPattern { text: quoted(text), kind };
        if text == "*" {
            return Ok(HostPattern { text: text.to_owned() });
        }
        if text.is_empty() {
            return Err(fault(InvalidPatternKind::Empty));
        }
        if let Some((_, rest)) = text.split_once("://") {
            let host = rest.split('/').next().unwrap_or_default().to_owned();
            return Err(fault(InvalidPatternKind::Url { host }));
        }
        if let Some((host, path)) = text.split_once('/') {
            return Err(fault(InvalidPatternKind::Path { host: host.to_owned(), path: path.to_owned() }));
        }
        let (front, host) = match text.strip_prefix("*.") {
            Some(suffix) => ("*.", suffix),
            None => ("", text),
        };
        if host.contains('*') || host.is_empty() {
            return Err(fault(InvalidPatternKind::Star));
        }
        // A suffix is checked as the end of a host.
        let whole = if front.is_empty() { Cow::Borrowed(host) } else { Cow::Owned(format!("x.{host}")) };
        let registry = canonical_registry(&whole).map_err(|kind| match kind {
            InvalidPatternKind::NotCanonical { canonical } if !front.is_empty() => {
                let suffix = canonical.strip_prefix("x.").unwrap_or(&canonical);
                fault(InvalidPatternKind::NotCanonical { canonical: format!("*.{suffix}") })
            }
            kind => fault(kind),
        })?;
        if !front.is_empty() && registry.as_str().starts_with('[') {
            return Err(fault(InvalidPatternKind::Star));
        }
        Ok(HostPattern { text: text.to_owned() })
    }

    /// The pattern as the policy writes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The registry that the pattern names, if it names just one.
    pub fn exact(&self) -> Option<&str> {
        match self.shape() {
            Shape::Exact(host) => Some(host),
            Shape::Suffix(_) | Shape::Any => None,
        }
    }

    /// Whether it is `*`.
    pub(super) fn is_any(&self) -> bool {
        self.text == "*"
    }

    fn shape(&self) -> Shape<'_> {
        match self.text.strip_prefix('*') {
            None => Shape::Exact(&self.text),
            Some("") => Shape::Any,
            Some(suffix) => Shape::Suffix(suffix.strip_prefix('.').unwrap_or(suffix)),
        }
    }
}

/// The pattern that matches this registry and no other.
impl From<&Registry> for HostPattern {
    fn from(registry: &Registry) -> Self {
        Self { text: registry.as_str().to_owned() }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Reads `text` as a registry that is written in its canonical form and has a port that can be dialled.
pub(super) fn canonical_registry(text: &str) -> Result<Registry, InvalidPatternKind> {
    // One label in front of no port is what a reference reads as a repository on Docker Hub.
    let one_label = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if one_label && !text.eq_ignore_ascii_case("localhost") {
        return Err(InvalidPatternKind::OneLabel { host: text.to_owned() });
    }
    if let Some(port) = port(text)
        && (port.starts_with('0') || port.parse::<u16>().is_err())
    {
        return Err(InvalidPatternKind::Port { port: port.to_owned() });
    }
    let registry = Registry::parse(text)
        .map_err(|invalid| InvalidPatternKind::NotARegistry { reason: invalid.reason().to_string() })?;
    if registry.as_str() == text {
        Ok(registry)
    } else {
        Err(InvalidPatternKind::NotCanonical { canonical: registry.as_str().to_owned() })
    }
}

/// What stands where a port does.
fn port(text: &str) -> Option<&str> {
    let (host, port) = text.rsplit_once(':')?;
    let is_whole_host = if host.starts_with('[') { host.ends_with(']') } else { !host.contains(':') };
    is_whole_host.then_some(port)
}

/// A text that is no host pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} is no host pattern: {kind}")]
pub struct InvalidPattern {
    text: String,
    kind: InvalidPatternKind,
}

impl InvalidPattern {
    /// How to mend it.
    pub fn help(&self) -> String {
        self.kind.help()
    }

    /// How to mend it among the hosts of a mirror.
    pub(super) fn help_in_mirror(&self) -> String {
        match &self.kind {
            InvalidPatternKind::Path { host, path } if !path.is_empty() => format!(
                "write the host alone, {}, and choose repositories with `repositories.include`: {}",
                quoted(host),
                quoted(path)
            ),
            kind => kind.help(),
        }
    }
}

/// Why a text is no host (pattern) in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidPatternKind {
    #[error("it is empty")]
    Empty,
    #[error("it is a URL")]
    Url { host: String },
    #[error("it names a path")]
    Path { host: String, path: String },
    #[error("a `*` may only stand alone or in front, as `*.`")]
    Star,
    #[error("without a dot or a port, a reference reads {} as a repository on Docker Hub", quoted(host))]
    OneLabel { host: String },
    #[error("{reason}")]
    NotARegistry { reason: String },
    #[error("it is not written in canonical form")]
    NotCanonical { canonical: String },
    #[error("{} is no port", quoted(port))]
    Port { port: String },
}

impl InvalidPatternKind {
    pub(super) fn help(&self) -> String {
        match self {
            Self::Empty | Self::NotARegistry { .. } => {
                "write `host`, `host:port`, `*.suffix`, `*.suffix:port` or `*`; IPv6 addresses in brackets".to_owned()
            }
            Self::Url { host } | Self::Path { host, .. } => format!("write the host alone: {}", quoted(host)),
            Self::Star => {
                "write `*.suffix` for every host below a suffix, or `*` for every host, with and without a port"
                    .to_owned()
            }
            Self::OneLabel { host } => format!("write it with its port: {}", quoted(&format!("{host}:443"))),
            Self::NotCanonical { canonical } => format!("write {}", quoted(canonical)),
            Self::Port { .. } => "a port is a number from 1 to 65535, without leading zeros".to_owned(),
        }
    }
}

/// Host patterns with a value each; finds the best pattern for a host (M2): exact, else the longest suffix, else `*`.
#[derive(Clone, Debug)]
pub(super) struct HostIndex<T> {
    entries: Vec<(HostPattern, T)>,
    /// From `host[:port]` to the place in `entries`.
    exact: Map<usize>,
    /// From `suffix[:port]` to the place in `entries`.
    suffixes: Map<usize>,
    any: Option<usize>,
}

impl<T> Default for HostIndex<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), exact: Map::default(), suffixes: Map::default(), any: None }
    }
}

impl<T: Default> HostIndex<T> {
    /// The value of `pattern`, made if there is none yet.
    pub(super) fn entry(&mut self, pattern: HostPattern) -> &mut T {
        let next = self.entries.len();
        let at = match pattern.shape() {
            Shape::Exact(host) => *self.exact.entry(host.to_owned()).or_insert(next),
            Shape::Suffix(suffix) => *self.suffixes.entry(suffix.to_owned()).or_insert(next),
            Shape::Any => *self.any.get_or_insert(next),
        };
        if at == next {
            self.entries.push((pattern, T::default()));
        }
        &mut self.entries[at].1
    }
}

impl<T> HostIndex<T> {
    /// The patterns, in the order in which they came.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &HostPattern> {
        self.entries.iter().map(|(pattern, _)| pattern)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, value)| value)
    }

    /// The best pattern for `host`, which must be in lower case, and its value. Allocates nothing.
    pub(super) fn best(&self, host: &str) -> Option<(&HostPattern, &T)> {
        let at = self.exact.get(host).copied().or_else(|| self.suffixes_of(host).next()).or(self.any)?;
        let (pattern, value) = &self.entries[at];
        Some((pattern, value))
    }

    /// The values of all patterns that match `host`, which must be in lower case; the best pattern's first. Allocates
    /// nothing.
    pub(super) fn matching(&self, host: &str) -> impl Iterator<Item = &T> {
        let exact = self.exact.get(host).copied().into_iter();
        exact.chain(self.suffixes_of(host)).chain(self.any).map(|at| &self.entries[at].1)
    }

    /// The longest first: takes labels off the front one by one. Keys hold their port, so that ports are compared with
    /// the rest.
    fn suffixes_of(&self, host: &str) -> impl Iterator<Item = usize> {
        let end = if self.suffixes.is_empty() || host.starts_with('[') { 0 } else { host.len() };
        let dots = host[..end].bytes().enumerate().filter(|&(_, byte)| byte == b'.');
        dots.filter_map(|(dot, _)| self.suffixes.get(&host[dot + 1..])).copied()
    }
}
