//! A mirror: which references it serves, and what they are called there (M3, M6, M7).

use std::fmt;
use std::sync::Arc;

use super::NotServedReason;
use super::document::{MirrorSourcePolicy, PullFromMirror};
use super::endpoint::Endpoint;
use super::globs::RepositoryGlobs;
use super::template::Template;
use crate::image::{Escaped, Reference, Registry};

/// A `registryMirrors` entry, compiled.
#[derive(Clone, Debug)]
pub struct Mirror {
    name: Arc<str>,
    endpoint: Endpoint,
    /// The endpoint's host and path prefix, with a `/` behind each.
    base: String,
    template: Template,
    repositories: RepositoryGlobs,
    pulls: PullFromMirror,
    source_policy: MirrorSourcePolicy,
    has_ca_bundle: bool,
}

impl Mirror {
    pub(super) fn new(
        name: String,
        endpoint: Endpoint,
        template: Template,
        repositories: RepositoryGlobs,
        pulls: PullFromMirror,
        source_policy: MirrorSourcePolicy,
        has_ca_bundle: bool,
    ) -> Self {
        let mut base = format!("{}/", endpoint.registry.as_str());
        if !endpoint.prefix.is_empty() {
            base.push_str(&endpoint.prefix);
            base.push('/');
        }
        Self { name: name.into(), endpoint, base, template, repositories, pulls, source_policy, has_ca_bundle }
    }

    /// The name, unique in the policy; for metrics and messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name, to be kept.
    pub fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// The registry that is pulled from.
    pub fn endpoint(&self) -> &Registry {
        &self.endpoint.registry
    }

    /// What every name of an image at the mirror begins with: registry and path prefix, with a `/` behind each.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether the endpoint speaks HTTP without TLS (T6).
    pub fn plain_http(&self) -> bool {
        self.endpoint.plain_http
    }

    /// Whether an image may be pulled from the registry that its author named, while the mirrors for it cannot be reached
    /// (M11).
    pub fn may_contact_source(&self) -> bool {
        self.source_policy == MirrorSourcePolicy::AllowContactingSource
    }

    /// Whether it has a `caBundle` of its own: it can have one.
    pub fn has_ca_bundle(&self) -> bool {
        self.has_ca_bundle
    }

    /// Whether the mirror may serve this reference (M3, M7), whose repository in canonical form is given as well, else why
    /// not. Hosts are not looked at.
    pub(super) fn serves(&self, reference: &Reference<'_>, repository: &str) -> Result<(), NotServedReason<'_>> {
        match (self.pulls, reference.digest()) {
            (PullFromMirror::DigestOnly, None) => return Err(NotServedReason::DigestOnly),
            (PullFromMirror::TagOnly, Some(_)) => return Err(NotServedReason::TagOnly),
            _ => {}
        }
        self.repositories.serves(repository)
    }

    /// What the reference is called at this mirror (M6): `endpoint/prefix/template`, with the tag and the digest of
    /// the original and no tag that it did not have.
    ///
    /// Fails where that is no valid reference, or one that would be read as something else.
    pub fn rewrite(&self, reference: &Reference<'_>) -> Result<Rewrite, InvalidResult> {
        let host = reference.registry_name();
        let (tag, digest) = (reference.tag(), reference.digest());
        const ROOM_FOR_THE_REST: usize = 32;
        let length = |part: Option<&str>| part.map_or(0, str::len);
        let mut result = String::with_capacity(
            self.base.len() + host.len() + reference.path().len() + length(tag) + length(digest) + ROOM_FOR_THE_REST,
        );
        result.push_str(&self.base);
        self.template.write(&mut result, &host, reference.library(), reference.path());
        let name_len = result.len();
        for (sign, part) in [(':', tag), ('@', digest)] {
            if let Some(part) = part {
                result.push(sign);
                result.push_str(part);
            }
        }

        // The tag and the digest are the original's: the name alone can be wrong.
        let endpoint = self.endpoint.registry.as_str();
        let reason = match Reference::parse(&result[..name_len]) {
            Err(error) => error.to_string(),
            Ok(read) if read.host() == endpoint && read.repository() == result[endpoint.len() + 1..name_len] => {
                return Ok(Rewrite { image: result, name_len });
            }
            Ok(read) => {
                let read = format!("{read}{}", &result[name_len..]);
                format!("it would be read as {}", Escaped::new(&read))
            }
        };
        Err(InvalidResult { mirror: self.name.to_string(), result, reason })
    }
}

/// What an image is called at a mirror: a valid reference, whose registry is the mirror's endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    image: String,
    /// Of registry and repository.
    name_len: usize,
}

impl Rewrite {
    /// The image, as the pod will carry it.
    pub fn as_str(&self) -> &str {
        &self.image
    }

    /// The same without tag and digest.
    pub fn name(&self) -> &str {
        &self.image[..self.name_len]
    }
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.image)
    }
}

/// A rewrite that would have made no valid reference (M6).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "mirror `{}` cannot serve it: its name there would be `{}`: {reason}",
    Escaped::new(mirror),
    Escaped::cut(result, 400)
)]
pub struct InvalidResult {
    mirror: String,
    result: String,
    reason: String,
}
