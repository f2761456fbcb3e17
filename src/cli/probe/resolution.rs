//! `--resolve HOST:PORT:ADDRESS[:PORT]`: another address for a name, as curl takes it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::image::Registry;
use crate::probe::Kind;

/// One `--resolve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolution {
    text: String,
    host: String,
    port: u16,
    address: SocketAddr,
}

/// What is wrong with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidResolution {
    #[error("it must be HOST:PORT:ADDRESS or HOST:PORT:ADDRESS:PORT, as in harbor.corp:5000:127.0.0.1:5001")]
    Form,
    #[error("the address must be IPv4, or IPv6 in brackets, as in harbor.corp:443:[::1]:8443")]
    Address,
    #[error("a port is a number from 1 to 65535")]
    Port,
}

impl Resolution {
    /// Whether it is the address of this registry, which is asked so.
    pub(super) fn is_for(&self, registry: &Registry, kind: Kind) -> bool {
        let names = [registry.host(), registry.dialled_host()];
        names.contains(&&*self.host) && registry.port().unwrap_or(kind.usual_port()) == self.port
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl FromStr for Resolution {
    type Err = InvalidResolution;

    fn from_str(text: &str) -> Result<Self, InvalidResolution> {
        let (host, rest) = host_in_front(text).ok_or(InvalidResolution::Form)?;
        let (asked, rest) = rest.split_once(':').ok_or(InvalidResolution::Form)?;
        let (address, dialled) = match host_in_front(rest) {
            Some((address, dialled)) => (address, Some(dialled)),
            None => (rest, None),
        };
        let address: IpAddr = match address.strip_prefix('[').and_then(|address| address.strip_suffix(']')) {
            Some(ipv6) => IpAddr::V6(ipv6.parse().map_err(|_| InvalidResolution::Address)?),
            None => IpAddr::V4(address.parse().map_err(|_| InvalidResolution::Address)?),
        };
        let port = |text: &str| text.parse().ok().filter(|port| *port > 0).ok_or(InvalidResolution::Port);
        let asked = port(asked)?;
        Ok(Self {
            text: text.to_owned(),
            host: host.to_ascii_lowercase(),
            port: asked,
            address: SocketAddr::new(address, dialled.map_or(Ok(asked), port)?),
        })
    }
}

/// As it was written.
impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A host and what stands behind its colon; an IPv6 address keeps its brackets.
fn host_in_front(text: &str) -> Option<(&str, &str)> {
    let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':')? };
    let (host, rest) = text.split_at(end);
    Some((host, rest.strip_prefix(':')?)).filter(|(host, _)| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolution_is_read_with_ipv6_on_either_side() {
        for (text, registry, address) in [
            ("harbor.corp:5000:10.0.0.1", "harbor.corp:5000", "10.0.0.1:5000"),
            ("Harbor.corp:443:127.0.0.1:8443", "harbor.corp", "127.0.0.1:8443"),
            ("[fd00::1]:5000:[::1]:5001", "[fd00::1]:5000", "[::1]:5001"),
            ("[fd00::1]:5000:[::1]", "[fd00::1]:5000", "[::1]:5000"),
            ("docker.io:443:127.0.0.1", "docker.io", "127.0.0.1:443"),
            ("registry-1.docker.io:443:127.0.0.1", "docker.io", "127.0.0.1:443"),
        ] {
            let resolution: Resolution = text.parse().unwrap();
            assert!(resolution.is_for(&Registry::parse(registry).unwrap(), Kind::Full), "{text}");
            assert_eq!(resolution.address().to_string(), address, "{text}");
            assert_eq!(resolution.to_string(), text);
        }
        let resolution: Resolution = "harbor.corp:5000:10.0.0.1".parse().unwrap();
        assert!(!resolution.is_for(&Registry::parse("harbor.corp").unwrap(), Kind::Full));
        assert!(!resolution.is_for(&Registry::parse("quay.corp:5000").unwrap(), Kind::Full));
    }

    #[test]
    fn t6_a_plain_http_mirror_without_a_port_is_at_80() {
        let registry = Registry::parse("mirror.lab").unwrap();
        let is_for = |text: &str, kind| text.parse::<Resolution>().unwrap().is_for(&registry, kind);
        assert!(is_for("mirror.lab:80:10.0.0.1", Kind::Plain) && !is_for("mirror.lab:443:10.0.0.1", Kind::Plain));
        assert!(is_for("mirror.lab:443:10.0.0.1", Kind::Full) && !is_for("mirror.lab:80:10.0.0.1", Kind::Full));
    }

    #[test]
    fn what_is_no_resolution() {
        for (text, fault) in [
            ("", InvalidResolution::Form),
            ("harbor.corp", InvalidResolution::Form),
            ("harbor.corp:5000", InvalidResolution::Form),
            (":5000:10.0.0.1", InvalidResolution::Form),
            ("[fd00::1:5000:10.0.0.1", InvalidResolution::Form),
            ("harbor.corp:5000:", InvalidResolution::Address),
            ("harbor.corp:5000:elsewhere.corp", InvalidResolution::Address),
            ("harbor.corp:5000:::1", InvalidResolution::Address),
            ("harbor.corp:5000:[10.0.0.1]", InvalidResolution::Address),
            ("harbor.corp:x:10.0.0.1", InvalidResolution::Port),
            ("harbor.corp:0:10.0.0.1", InvalidResolution::Port),
            ("harbor.corp:5000:10.0.0.1:65536", InvalidResolution::Port),
        ] {
            assert_eq!(text.parse::<Resolution>(), Err(fault), "{text}");
        }
    }
}
