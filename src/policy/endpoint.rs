//! A mirror's endpoint: the registry, and the path that goes in front of every repository there.

use super::fault::quoted;
use super::hosts::{InvalidPatternKind, canonical_registry};
use crate::image::{Registry, is_repository_component};

/// What an `endpoint` URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) registry: Registry,
    /// Path components with `/` between them, without one at either end; often empty.
    pub(super) prefix: String,
    pub(super) plain_http: bool,
}

impl Endpoint {
    /// Reads `http[s]://host[:port][/v2][/prefix]`.
    pub(super) fn parse(text: &str) -> Result<Endpoint, InvalidEndpoint> {
        let (plain_http, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (false, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (true, rest)
        } else {
            return Err(InvalidEndpoint::Scheme { text: text.to_owned() });
        };
        for (sign, part) in [('?', "query"), ('#', "fragment"), ('@', "user name or password")] {
            if rest.contains(sign) {
                return Err(InvalidEndpoint::Part { part });
            }
        }
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() {
            return Err(InvalidEndpoint::NoHost);
        }
        let registry = canonical_registry(host).map_err(|kind| InvalidEndpoint::Host {
            host: host.to_owned(),
            plain_http,
            kind,
        })?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let prefix = match path.strip_prefix("v2") {
            Some("") => "",
            Some(rest) => rest.strip_prefix('/').unwrap_or(path),
            None => path,
        };
        if !prefix.is_empty()
            && let Some(component) = prefix.split('/').find(|component| !is_repository_component(component))
        {
            return Err(InvalidEndpoint::Path { component: component.to_owned() });
        }
        Ok(Endpoint { registry, prefix: prefix.to_owned(), plain_http })
    }
}

/// A text that is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidEndpoint {
    #[error("{} is no URL of a registry: it does not begin with `https://`", quoted(text))]
    Scheme { text: String },
    #[error("an endpoint has no {part}")]
    Part { part: &'static str },
    #[error("the URL names no host")]
    NoHost,
    #[error("the host {} cannot stand in a reference: {kind}", quoted(host))]
    Host { host: String, plain_http: bool, kind: InvalidPatternKind },
    #[error("{} cannot be a component of a repository's path", quoted(component))]
    Path { component: String },
}

impl InvalidEndpoint {
    /// How to mend it.
    pub(super) fn help(&self) -> String {
        match self {
            Self::Scheme { text } => {
                let rest = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
                format!("write {}", quoted(&format!("https://{rest}")))
            }
            Self::Part { .. } | Self::NoHost => {
                "write `https://host[:port]`, with the path that goes in front of every repository behind it".to_owned()
            }
            Self::Host { host, plain_http: true, kind: InvalidPatternKind::OneLabel { .. } } => {
                format!("write it with its port: {}", quoted(&format!("{host}:80")))
            }
            Self::Host { kind: InvalidPatternKind::NotARegistry { .. }, .. } => {
                "write `host`, `host:port` or an address, IPv6 in brackets".to_owned()
            }
            Self::Host { kind, .. } => kind.help(),
            Self::Path { .. } => {
                "components are lower-case letters and digits, with single `.`, `_`, `__` or dashes between them"
                    .to_owned()
            }
        }
    }
}
