//! Globs over repositories (M3) and over `host/repository` (M10), compiled once, at load.
//!
//! `*` and `?` stay within one path component, `**` crosses. A glob that no repository can ever match is refused: it
//! would be a rule that looks obeyed.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use super::NotServedReason;
use super::fault::quoted;
use super::hosts::{InvalidPatternKind, canonical_registry};

/// Which repositories a mirror serves: some `include` glob matches, and no `exclude` glob does.
#[derive(Clone, Debug)]
pub(super) struct RepositoryGlobs {
    /// `include` and `exclude` in one set, in this order.
    set: GlobSet,
    include_len: usize,
    exclude: Vec<String>,
}

impl RepositoryGlobs {
    /// Joins compiled globs; an empty `include` stands for every repository.
    pub(super) fn new(include: Vec<Glob>, exclude: Vec<Glob>) -> Result<Self, globset::Error> {
        let exclude_texts = exclude.iter().map(|glob| glob.glob().to_owned()).collect();
        let include_len = include.len();
        let set = set_of(include.into_iter().chain(exclude))?;
        Ok(Self { set, include_len, exclude: exclude_texts })
    }

    /// Whether `repository` is served, else why not.
    pub(super) fn serves(&self, repository: &str) -> Result<(), NotServedReason<'_>> {
        if !self.set.is_match(repository) {
            // The commonest answer, and it allocates nothing.
            return if self.include_len == 0 { Ok(()) } else { Err(NotServedReason::RepositoryNotIncluded) };
        }
        let matching = self.set.matches(repository);
        let included = self.include_len == 0 || matching.first().is_some_and(|&first| first < self.include_len);
        if !included {
            return Err(NotServedReason::RepositoryNotIncluded);
        }
        match matching.iter().find(|&&at| at >= self.include_len) {
            Some(&at) => Err(NotServedReason::RepositoryExcluded { glob: &self.exclude[at - self.include_len] }),
            None => Ok(()),
        }
    }
}

/// Globs over `host/repository` in canonical form (M10).
#[derive(Clone, Debug, Default)]
pub(super) struct ImageGlobs {
    set: GlobSet,
    /// The globs as the policy writes them.
    texts: Vec<String>,
}

impl ImageGlobs {
    pub(super) fn new(globs: Vec<(String, Glob)>) -> Result<Self, globset::Error> {
        let (texts, globs): (Vec<_>, Vec<_>) = globs.into_iter().unzip();
        Ok(Self { set: set_of(globs)?, texts })
    }

    /// The first glob that matches the image; `host` in lower case.
    pub(super) fn matching(&self, host: &str, repository: &str) -> Option<&str> {
        if self.texts.is_empty() {
            return None;
        }
        let first = *self.set.matches(format!("{host}/{repository}")).first()?;
        Some(&self.texts[first])
    }
}

fn set_of(globs: impl IntoIterator<Item = Glob>) -> Result<GlobSet, globset::Error> {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(glob);
    }
    builder.build()
}

/// Compiles a glob over repositories.
pub(super) fn repository_glob(text: &str) -> Result<Glob, InvalidGlob> {
    check_path(text)?;
    compile(text)
}

/// Compiles a glob over `host/repository`. `*` alone matches every image, as it does for hosts.
pub(super) fn image_glob(text: &str) -> Result<Glob, InvalidGlob> {
    if matches!(text, "*" | "**") {
        return compile("**");
    }
    let Some((host, repository)) = text.split_once('/') else {
        return Err(InvalidGlob::NoHost { text: text.to_owned() });
    };
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(InvalidGlob::UpperCase);
    }
    check_path(repository)?;
    let is_address = host.strip_prefix('[').is_some_and(|inside| inside.split(']').next().unwrap_or("").contains(':'));
    let is_literal = is_address || !host.contains(['*', '?', '[', '{', '\\']);
    if is_literal && !host.contains('*') {
        match canonical_registry(host) {
            Ok(_) => {}
            Err(InvalidPatternKind::OneLabel { .. }) => return Err(InvalidGlob::NoHost { text: text.to_owned() }),
            Err(kind) => return Err(InvalidGlob::Host { host: host.to_owned(), kind }),
        }
    }
    if host == "docker.io" && !repository.contains(['/', '{']) && !repository.contains("**") {
        return Err(InvalidGlob::OneComponent { repository: repository.to_owned() });
    }
    // The brackets of an IPv6 address are no character class.
    let escaped = if is_address {
        host.replace('[', "\u{0}").replace(']', "[]]").replace('\u{0}', "[[]")
    } else {
        host.to_owned()
    };
    compile(&format!("{escaped}/{repository}"))
}

fn compile(text: &str) -> Result<Glob, InvalidGlob> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|error| InvalidGlob::Syntax { reason: error.kind().to_string() })
}

/// Refuses what no repository can match: repositories are lower-case components with single `/` between them.
fn check_path(text: &str) -> Result<(), InvalidGlob> {
    if text.is_empty() {
        return Err(InvalidGlob::Empty);
    }
    if text.starts_with('/') || text.ends_with('/') || text.contains("//") {
        return Err(InvalidGlob::EmptyComponent);
    }
    if text.contains([':', '@']) {
        return Err(InvalidGlob::TagOrDigest);
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(InvalidGlob::UpperCase);
    }
    match text.chars().find(|letter| !letter.is_ascii_graphic()) {
        Some(letter) => Err(InvalidGlob::Character { letter }),
        None => Ok(()),
    }
}

/// A text that is no glob, or one that could never match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidGlob {
    #[error("the glob is empty")]
    Empty,
    #[error("the glob can never match: it has an empty path component")]
    EmptyComponent,
    #[error("the glob can never match: it is compared without tag and digest")]
    TagOrDigest,
    #[error("the glob can never match: names of repositories and registries are in lower case")]
    UpperCase,
    #[error("the glob can never match: no repository's name contains {}", quoted(&letter.to_string()))]
    Character { letter: char },
    #[error("the glob can never match: it is compared with `host/repository`, and {} has no host", quoted(text))]
    NoHost { text: String },
    #[error("the glob can never match: {} is no registry: {kind}", quoted(host))]
    Host { host: String, kind: InvalidPatternKind },
    #[error("the glob can never match: every repository of `docker.io` has two components or more")]
    OneComponent { repository: String },
    #[error("the glob does not compile: {reason}")]
    Syntax { reason: String },
}

impl InvalidGlob {
    /// How to mend it.
    pub(super) fn help(&self) -> String {
        match self {
            Self::Empty => "write a glob such as `library/*` or `team/**`".to_owned(),
            Self::EmptyComponent => "leave the extra `/` out".to_owned(),
            Self::TagOrDigest => "leave out what begins with `:` or `@`".to_owned(),
            Self::UpperCase => "write it in lower case".to_owned(),
            Self::Character { .. } => "leave it out".to_owned(),
            Self::NoHost { text } => {
                let image = if text.contains('/') { text.clone() } else { format!("library/{text}") };
                format!("write the host too, as in {}", quoted(&format!("docker.io/{image}")))
            }
            Self::Host { kind: InvalidPatternKind::NotCanonical { canonical }, .. } => {
                format!("write {}", quoted(canonical))
            }
            Self::Host { kind, .. } => kind.help(),
            Self::OneComponent { repository } => format!(
                "write {}, or {} for all",
                quoted(&format!("docker.io/library/{repository}")),
                quoted("docker.io/**")
            ),
            Self::Syntax { .. } => {
                "`*` and `?` match within one component, `**` across components, `[ab]` and `{a,b}` choose; put a \
                 backslash before a sign that means itself"
                    .to_owned()
            }
        }
    }
}
