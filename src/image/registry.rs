//! A registry: host and port in one canonical form, the key of every rule and verdict.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use super::Escaped;

/// How the registry of Docker Hub is called in references.
pub(super) const DOCKER_HUB: &str = "docker.io";

/// Its older name.
const LEGACY_DOCKER_HUB: &str = "index.docker.io";

/// `host` or `host:port`, in ASCII lower case, as a reference can carry it: `docker.io`, `harbor.corp:5000`,
/// `[fd00::1]:5000`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registry(Arc<str>);

/// Why a text is no registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a registry: {fault}")]
pub struct InvalidRegistry {
    text: String,
    fault: HostFault,
}

/// What is wrong with the host of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HostFault {
    #[error("the host is empty")]
    Empty,
    #[error("it has a scheme; write the host alone")]
    Scheme,
    #[error("it has a blank; take it out")]
    Blank,
    #[error("`{0}` cannot stand in a host, which is letters, digits and `-` between dots")]
    Character(char),
    #[error("a part between dots is empty, or begins or ends with `-`")]
    Label,
    #[error("the brackets do not hold an IPv6 address")]
    Brackets,
    #[error("an IPv6 address must stand in brackets, as in `[fd00::1]:5000`")]
    BareIpv6,
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error(
        "it has no dot and no port, so every runtime takes it for a repository of Docker Hub; write the port, as in `harbor:443`"
    )]
    NotAHost,
}

impl InvalidRegistry {
    /// The fault alone, for a message that has named the text.
    pub fn reason(&self) -> impl fmt::Display + use<> {
        self.fault
    }
}

impl Registry {
    /// Reads exactly what a reference can carry as its host: with a dot or a port, or `localhost`; IPv6 in brackets.
    /// `index.docker.io` is `docker.io` (R1).
    ///
    /// # Errors
    /// What a reference cannot carry there, with the fault.
    pub fn parse(text: &str) -> Result<Self, InvalidRegistry> {
        let invalid = |fault| InvalidRegistry { text: Escaped::cut(text, 100).to_string(), fault };
        if text.contains("://") {
            return Err(invalid(HostFault::Scheme));
        }
        check_host(text).map_err(invalid)?;
        let registry = Self::of_reference(text);
        if !names_a_host(&registry.0) {
            return Err(invalid(HostFault::NotAHost));
        }
        // A reference takes any digits; nothing can be dialled at such a port.
        match registry.split().1.map(str::parse::<u16>) {
            Some(Err(_) | Ok(0)) => Err(invalid(HostFault::Port)),
            _ => Ok(registry),
        }
    }

    /// The host of a parsed reference: valid already. `Index.Docker.io`, which a reference keeps as it is, answers as
    /// Docker Hub does: as another registry it would be a way around a rule.
    pub(super) fn of_reference(host: &str) -> Self {
        Self(registry_of(host).into())
    }

    /// `host` or `host:port`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host alone; IPv6 in its brackets.
    pub fn host(&self) -> &str {
        self.split().0
    }

    /// The port, where one is written that can be dialled.
    pub fn port(&self) -> Option<u16> {
        self.split().1.and_then(|port| port.parse().ok())
    }

    /// The host that is dialled for it: Docker Hub answers under another name than references say (R6).
    pub fn dialled_host(&self) -> &str {
        if &*self.0 == DOCKER_HUB { "registry-1.docker.io" } else { self.host() }
    }

    fn split(&self) -> (&str, Option<&str>) {
        split_port(&self.0)
    }
}

/// As text, where it is a key.
impl Borrow<str> for Registry {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the first component of a reference is a host (R1).
pub(super) fn names_a_host(component: &str) -> bool {
    component.bytes().any(|byte| matches!(byte, b'.' | b':') || byte.is_ascii_uppercase()) || component == "localhost"
}

/// The registry of a parsed reference's host, as [`Registry`] writes it. Allocates only where the author wrote capitals.
pub(super) fn registry_of(host: &str) -> Cow<'_, str> {
    if !host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Borrowed(canonical(host));
    }
    let lower = host.to_ascii_lowercase();
    if lower == LEGACY_DOCKER_HUB { Cow::Borrowed(DOCKER_HUB) } else { Cow::Owned(lower) }
}

/// Docker Hub under its one name.
pub(super) fn canonical(host: &str) -> &str {
    if host == LEGACY_DOCKER_HUB { DOCKER_HUB } else { host }
}

/// Whether a reference can carry `host[:port]` as its host: the grammar's `domain-and-port`.
pub(super) fn check_host(text: &str) -> Result<(), HostFault> {
    if is_domain_and_port(text.as_bytes()) {
        return Ok(());
    }
    let (host, port) = split_port(text);
    if host.is_empty() {
        return Err(HostFault::Empty);
    }
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(if host.contains(':') { HostFault::BareIpv6 } else { HostFault::Port });
    }
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner.strip_suffix(']').ok_or(HostFault::Brackets)?;
        let is_address = !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
        return if is_address { Ok(()) } else { Err(HostFault::Brackets) };
    }
    if host.contains(':') {
        return Err(HostFault::BareIpv6);
    }
    match host.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.')) {
        Some(wrong) if wrong.is_whitespace() => Err(HostFault::Blank),
        Some(wrong) => Err(HostFault::Character(if wrong.is_ascii_graphic() { wrong } else { '\u{fffd}' })),
        None => Err(HostFault::Label),
    }
}

/// Whether this is a domain, and nothing or a port behind it: every host but IPv6 addresses, which stand in brackets.
fn is_domain_and_port(text: &[u8]) -> bool {
    let (domain, port) = match text.iter().position(|&byte| byte == b':') {
        Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
        None => (text, None),
    };
    is_domain(domain) && port.is_none_or(|port| !port.is_empty() && port.iter().all(u8::is_ascii_digit))
}

/// Whether these are labels with dots between them: letters, digits and, within, `-`.
fn is_domain(text: &[u8]) -> bool {
    const WORD: u8 = 1;
    const DOT: u8 = 2;
    const DASH: u8 = 4;
    const KINDS: [u8; 256] = {
        let mut kinds = [0; 256];
        let mut byte = 0_u8;
        while byte.is_ascii() {
            kinds[byte as usize] = match byte {
                b'.' => DOT,
                b'-' => DASH,
                _ if byte.is_ascii_alphanumeric() => WORD,
                _ => 0,
            };
            byte += 1;
        }
        kinds
    };
    /// What may follow each kind.
    const NEXT: [u8; 8] = [0, WORD | DOT | DASH, WORD, 0, WORD | DASH, 0, 0, 0];
    // Every byte is looked at, wrong or not: nobody can foresee where a label ends.
    let (mut allowed, mut kind, mut is_domain) = (WORD, 0, true);
    for &byte in text {
        kind = KINDS[usize::from(byte)];
        is_domain &= kind & allowed != 0;
        allowed = NEXT[usize::from(kind & 7)];
    }
    is_domain && kind == WORD
}

/// The last colon that is not within brackets begins the port.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1_what_a_reference_can_carry_as_its_host() {
        for (text, canonical, host, port) in [
            ("docker.io", "docker.io", "docker.io", None),
            ("index.docker.io", "docker.io", "docker.io", None),
            ("Index.Docker.io", "docker.io", "docker.io", None),
            ("QUAY.io", "quay.io", "quay.io", None),
            ("harbor.corp:5000", "harbor.corp:5000", "harbor.corp", Some(5000)),
            ("harbor:443", "harbor:443", "harbor", Some(443)),
            ("localhost", "localhost", "localhost", None),
            ("[fd00::1]", "[fd00::1]", "[fd00::1]", None),
            ("[FD00::1]:5000", "[fd00::1]:5000", "[fd00::1]", Some(5000)),
            ("10.0.0.1:80", "10.0.0.1:80", "10.0.0.1", Some(80)),
        ] {
            let registry = Registry::parse(text).unwrap();
            assert_eq!((registry.as_str(), registry.host(), registry.port()), (canonical, host, port));
        }
        for (text, expected) in [
            ("", "empty"),
            ("harbor", "Docker Hub"),
            ("https://harbor.corp", "scheme"),
            ("harbor.corp/x", "`/`"),
            ("foo_bar.com", "`_`"),
            ("-a.com", "begins or ends"),
            ("a..com", "between dots"),
            ("a.com:", "port"),
            ("a.com:x", "port"),
            ("a.com:65536", "65535"),
            ("a.com:0", "65535"),
            ("fd00::1", "brackets"),
            ("[fd00::1", "IPv6"),
            ("[]", "IPv6"),
            ("[g::]:1", "IPv6"),
        ] {
            let error = Registry::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn r6_docker_hub_is_dialled_under_another_name() {
        assert_eq!(Registry::parse("docker.io").unwrap().dialled_host(), "registry-1.docker.io");
        assert_eq!(Registry::parse("quay.io:443").unwrap().dialled_host(), "quay.io");
    }
}
