//! What a docker config covers: its keys in one normal form, split once, so that matching an image allocates nothing.

use std::fmt;
use std::ops::Range;

use super::glob;
use super::location::{Location, split_port};

/// The key that serves Docker Hub when no other does.
const DOCKER_HUB_KEY: &str = "index.docker.io";

/// The registries and paths that a secret has credentials for, as the kubelet reads them (S3). Equal coverages can be
/// shared: whatever else the secrets hold, and in whatever order and notation, they are equal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Coverage {
    /// The keys, one behind the other. A key that Go reads otherwise than it is written (it holds `%`, `?`, `#` or `@`)
    /// is followed by what is read.
    text: Box<str>,
    keys: Box<[Key]>,
    serves_docker_hub: bool,
}

/// Where it is in `text`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    start: u32,
    end: u32,
    /// None if it is no location, or none that a name can have: it matches nothing.
    pattern: Option<Pattern>,
}

/// Places in `text`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Pattern {
    host: Place,
    port: Place,
    path: Place,
    is_glob: bool,
}

type Place = (u32, u32);

impl Coverage {
    /// From the keys of `auths`, or of a `.dockercfg`, as they are written. One that is no location is passed over, as the
    /// kubelet passes over it.
    pub(super) fn new(mut keys: Vec<Vec<u8>>) -> Self {
        keys.sort_unstable_by(|a, b| b.cmp(a));
        keys.dedup();
        let mut text = String::with_capacity(keys.iter().map(Vec::len).sum());
        let compiled = keys.iter().map(|key| Key::compile(key, &mut text)).collect();
        let serves_docker_hub = keys.iter().any(|key| key == DOCKER_HUB_KEY.as_bytes());
        Self { text: text.into_boxed_str(), keys: compiled, serves_docker_hub }
    }

    /// Whether the kubelet, given the secret, has a credential to send for an image. `name` is its registry and
    /// repository in canonical form, `docker.io/library/nginx`, without tag and digest.
    pub fn covers(&self, name: &str) -> bool {
        self.has_match(name) || self.serves_docker_hub && is_docker_hub(name)
    }

    /// The keys in the kubelet's order, more specific paths first, without scheme, `/v1/` and `/v2/`. They are their
    /// author's text: escape them in messages.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.keys.iter().map(|key| &self.text[range((key.start, key.end))])
    }

    fn has_match(&self, name: &str) -> bool {
        let Some(location) = Location::parse(name.as_bytes()) else { return false };
        let (host, port) = split_port(&location.authority);
        let (host, port) = (&location.authority[host], &location.authority[port]);
        self.keys.iter().filter_map(|key| key.pattern).any(|pattern| {
            self.part(pattern.port) == port
                && location.path.starts_with(self.part(pattern.path))
                && match pattern.is_glob {
                    true => hosts_match(self.part(pattern.host), host),
                    false => self.part(pattern.host) == host,
                }
        })
    }

    fn part(&self, place: Place) -> &[u8] {
        &self.text.as_bytes()[range(place)]
    }
}

/// The keys alone.
impl fmt::Debug for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys()).finish()
    }
}

impl Key {
    /// Appends the key to the text, and what it is matched by unless that is the key itself.
    fn compile(key: &[u8], text: &mut String) -> Self {
        let start = offset(text);
        *text += &String::from_utf8_lossy(key);
        let end = offset(text);
        let pattern = Location::parse(key).and_then(|location| {
            // A name is ASCII: what is no UTF-8 cannot match one.
            let (authority, path) = (str::from_utf8(&location.authority).ok()?, str::from_utf8(&location.path).ok()?);
            let is_as_written = key.iter().eq(location.authority.iter().chain(location.path.iter()));
            let at = if is_as_written { start } else { end };
            if !is_as_written {
                *text += authority;
                *text += path;
            }
            let place = |range: Range<usize>| (at + range.start as u32, at + range.end as u32);
            let (host, port) = split_port(authority.as_bytes());
            Some(Pattern {
                is_glob: glob::is_pattern(&authority.as_bytes()[host.clone()]),
                host: place(host),
                port: place(port),
                path: place(authority.len()..authority.len() + path.len()),
            })
        });
        Self { start, end, pattern }
    }
}

/// A key as the kubelet files it: without scheme, user, query and fragment, and without `/v1` or `/v2` where a slash
/// follows. None where Go's `net/url` refuses it.
pub(super) fn normal_key(written: &str) -> Option<Vec<u8>> {
    let schemeless = written.strip_prefix("https://").or_else(|| written.strip_prefix("http://")).unwrap_or(written);
    let location = Location::parse(schemeless.as_bytes())?;
    let path = &*location.path;
    let path = if path.starts_with(b"/v1/") || path.starts_with(b"/v2/") { &path[3..] } else { path };
    let mut key = location.authority.into_owned();
    key.extend_from_slice(if path == b"/" { b"" } else { path });
    Some(key)
}

/// Label by label, as many on both sides.
fn hosts_match(pattern: &[u8], host: &[u8]) -> bool {
    let labels = |text| <[u8]>::split(text, |&byte| byte == b'.');
    let mut host_labels = labels(host);
    labels(pattern).all(|pattern| host_labels.next().is_some_and(|label| glob::matches(pattern, label)))
        && host_labels.next().is_none()
}

/// Whether the kubelet takes a name for one of Docker Hub: it says so, or its first part is no host.
fn is_docker_hub(name: &str) -> bool {
    match name.split_once('/') {
        None => !name.is_empty(),
        Some(("docker.io" | DOCKER_HUB_KEY, _)) => true,
        Some((first, _)) => !first.is_empty() && !first.contains(['.', ':']),
    }
}

/// Far under 4 GiB: 1 MiB of JSON cannot hold more than six times that in keys.
fn offset(text: &str) -> u32 {
    text.len() as u32
}

fn range((start, end): Place) -> Range<usize> {
    start as usize..end as usize
}
