//! Image references: the grammar and normalisation of the distribution project's `reference` package, which the
//! container runtimes use (R1 to R4).
//!
//! ```text
//! reference  = [ host "/" ] repository [ ":" tag ] [ "@" digest ]
//! repository = component *( "/" component )          at most 255 characters
//! component  = lower-case letters and digits, with ".", "_", "__" or "-"s between them
//! tag        = [A-Za-z0-9_] *127[A-Za-z0-9_.-]
//! digest     = ( "sha256" | "sha384" | "sha512" ) ":" lower-case hex of the algorithm's length
//! ```

use std::borrow::Cow;
use std::fmt;

use super::Escaped;
use super::registry::{DOCKER_HUB, HostFault, Registry, canonical, check_host, names_a_host, registry_of};

/// The most characters of a repository, without its host.
const MOST_REPOSITORY_CHARS: usize = 255;

/// The most characters of a tag.
const MOST_TAG_CHARS: usize = 128;

/// The namespace of Docker Hub's own images.
const LIBRARY: &str = "library/";

/// An image reference. It borrows from the text that it was parsed from, and there is no other way to make one (R4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reference<'a> {
    host: &'a str,
    /// Whether `library/` stands before `path`: always taken off there on Docker Hub, so that equal is equal.
    library: bool,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Reads an image as a container runtime would.
    ///
    /// # Errors
    /// What no runtime can read, with the part at fault.
    pub fn parse(input: &'a str) -> Result<Self, ParseError> {
        parse(input)
            .map_err(|fault| text_fault(input).unwrap_or(fault))
            .map_err(|fault| ParseError { input: Escaped::cut(input, MOST_INPUT_CHARS).to_string(), fault })
    }

    /// The registry in canonical form, with the author's letters: `docker.io`, `QUAY.IO`, `[fd00::1]:5000`.
    pub fn host(&self) -> &'a str {
        self.host
    }

    /// The repository in canonical form: `library/nginx`.
    pub fn repository(&self) -> Cow<'a, str> {
        if self.library { Cow::Owned([LIBRARY, self.path].concat()) } else { Cow::Borrowed(self.path) }
    }

    /// What stands before `path` in the repository: `library/`, or nothing.
    pub fn library(&self) -> &'static str {
        if self.library { LIBRARY } else { "" }
    }

    /// The repository behind `library`.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// The tag, where one is written.
    pub fn tag(&self) -> Option<&'a str> {
        self.tag
    }

    /// The digest with its algorithm, where one is written.
    pub fn digest(&self) -> Option<&'a str> {
        self.digest
    }

    /// The registry as a key: ASCII lower case, and Docker Hub under its one name, whatever case its older one was in.
    pub fn registry(&self) -> Registry {
        Registry::of_reference(self.host)
    }

    /// The text of [`Self::registry`]. Allocates only where the author wrote capitals.
    pub fn registry_name(&self) -> Cow<'a, str> {
        registry_of(self.host)
    }
}

/// The full form; `parse` reads it back as the same reference.
impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, library: _, path, tag, digest } = self;
        write!(f, "{host}/{}{path}", self.library())?;
        if let Some(tag) = tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// The most characters of the input in a message.
const MOST_INPUT_CHARS: usize = 120;

/// Why a text is no image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{input}` is not an image reference: {fault}")]
pub struct ParseError {
    /// Escaped and bounded.
    input: String,
    fault: Fault,
}

impl ParseError {
    /// What is wrong, in a word for machines.
    pub fn kind(&self) -> ParseErrorKind {
        match self.fault {
            Fault::Empty => ParseErrorKind::Empty,
            Fault::Blank | Fault::Character(_) | Fault::Start(_) | Fault::Scheme | Fault::HostAlone => {
                ParseErrorKind::InvalidFormat
            }
            Fault::Host(_) => ParseErrorKind::InvalidHost,
            Fault::EmptyComponent | Fault::Component(_) => ParseErrorKind::InvalidRepository,
            Fault::Uppercase(_) => ParseErrorKind::UppercaseRepository,
            Fault::TooLong(_) => ParseErrorKind::NameTooLong,
            Fault::BareIdentifier => ParseErrorKind::BareIdentifier,
            Fault::EmptyTag | Fault::Tag(_) | Fault::LongTag(_) => ParseErrorKind::InvalidTag,
            Fault::EmptyDigest | Fault::Digest(_) | Fault::DigestHex(..) => ParseErrorKind::InvalidDigest,
            Fault::Algorithm(_) => ParseErrorKind::UnsupportedDigest,
        }
    }
}

/// The kinds of [`ParseError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParseErrorKind {
    /// There is no text.
    Empty,
    /// The text as a whole: a blank, a control or non-ASCII character, a scheme, a beginning that is neither letter nor
    /// digit, an IPv6 host alone.
    InvalidFormat,
    /// The first component must be a host, and is none.
    InvalidHost,
    /// A component of the repository.
    InvalidRepository,
    /// The repository has an upper-case letter.
    UppercaseRepository,
    /// The repository is over 255 characters.
    NameTooLong,
    /// 64 hex digits alone, which are read as the identifier of an image.
    BareIdentifier,
    /// The tag.
    InvalidTag,
    /// The digest.
    InvalidDigest,
    /// The digest's algorithm.
    UnsupportedDigest,
}

impl ParseErrorKind {
    /// The word for machines: `invalid-format`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::InvalidFormat => "invalid-format",
            Self::InvalidHost => "invalid-host",
            Self::InvalidRepository => "invalid-repository",
            Self::UppercaseRepository => "uppercase-repository",
            Self::NameTooLong => "name-too-long",
            Self::BareIdentifier => "bare-identifier",
            Self::InvalidTag => "invalid-tag",
            Self::InvalidDigest => "invalid-digest",
            Self::UnsupportedDigest => "unsupported-digest",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("it is empty")]
    Empty,
    #[error("it has a blank; take it out")]
    Blank,
    #[error("`{0}` cannot stand in a reference")]
    Character(String),
    #[error("it begins with `{0}`, and must begin with a letter or a digit")]
    Start(char),
    #[error("it has a scheme; write it without `https://`")]
    Scheme,
    #[error("it is a host alone; write `/` and a repository behind it")]
    HostAlone,
    #[error("the host is wrong: {0}")]
    Host(HostFault),
    #[error("a component of the repository is empty: there is a `/` too many, or nothing behind the host")]
    EmptyComponent,
    #[error(
        "the component `{0}` of the repository is wrong: lower-case letters and digits, with `.`, `_`, `__` or `-` only between them"
    )]
    Component(String),
    #[error("the repository `{0}` has upper-case letters; write them in lower case")]
    Uppercase(String),
    #[error("the repository has {0} characters, and may have {MOST_REPOSITORY_CHARS}")]
    TooLong(usize),
    #[error(
        "64 hex digits alone are read as the identifier of an image; write a repository, and `@sha256:` before a digest"
    )]
    BareIdentifier,
    #[error("the tag behind `:` is empty")]
    EmptyTag,
    #[error("the tag `{0}` is wrong: letters, digits, `_`, and behind the first also `.` and `-`")]
    Tag(String),
    #[error("the tag has {0} characters, and may have {MOST_TAG_CHARS}")]
    LongTag(usize),
    #[error("the digest behind `@` is empty")]
    EmptyDigest,
    #[error("the digest `{0}` is wrong: it must be an algorithm, `:` and lower-case hex")]
    Digest(String),
    #[error("the digest must have {1} lower-case hex digits behind `{0}:`")]
    DigestHex(&'static str, usize),
    #[error("the digest algorithm `{0}` is not supported: sha256, sha384 or sha512")]
    Algorithm(String),
}

fn parse(input: &str) -> Result<Reference<'_>, Fault> {
    if input.len() == 64 && input.bytes().all(is_lower_hex) {
        return Err(Fault::BareIdentifier);
    }
    let (named, digest) = match split(input, b'@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (input, None),
    };
    let (host, rest) = match split(named, b'/') {
        Some((first, rest)) if names_a_host(first) => {
            check_host(first).map_err(Fault::Host)?;
            (canonical(first), rest)
        }
        _ => (DOCKER_HUB, named),
    };
    let (path, tag) = match split(rest, b':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    check_repository(path)?;
    let (library, path) = match path.strip_prefix(LIBRARY).filter(|name| !name.contains('/')) {
        _ if host != DOCKER_HUB => (false, path),
        Some(name) => (true, name),
        None => (!path.contains('/'), path),
    };
    let length = path.len() + if library { LIBRARY.len() } else { 0 };
    if length > MOST_REPOSITORY_CHARS {
        return Err(Fault::TooLong(length));
    }
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    if let Some(digest) = digest {
        check_digest(digest)?;
    }
    Ok(Reference { host, library, path, tag, digest })
}

/// Around the first of an ASCII sign: for texts as short as these, a good deal faster than `split_once`.
fn split(text: &str, sign: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|byte| byte == sign)?;
    Some((&text[..at], &text[at + 1..]))
}

/// What is wrong with a refused text as a whole, before a part of it is blamed. The parts refuse all of this, too: asked
/// only then, it costs a good image nothing.
fn text_fault(input: &str) -> Option<Fault> {
    let Some(first) = input.chars().next() else { return Some(Fault::Empty) };
    if let Some(wrong) = input.chars().find(|c| !c.is_ascii_graphic()) {
        let escaped = || Escaped::new(wrong.encode_utf8(&mut [0; 4])).to_string();
        return Some(if wrong.is_whitespace() { Fault::Blank } else { Fault::Character(escaped()) });
    }
    if !first.is_ascii_alphanumeric() && first != '[' {
        return Some(Fault::Start(first));
    }
    if input.contains("://") {
        return Some(Fault::Scheme);
    }
    (first == '[' && !input.contains('/')).then_some(Fault::HostAlone)
}

fn check_repository(path: &str) -> Result<(), Fault> {
    if is_repository(path.as_bytes()) {
        return Ok(());
    }
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(Fault::Uppercase(bounded(path)));
    }
    match path.split('/').find(|component| !is_repository_component(component)) {
        Some("") | None => Err(Fault::EmptyComponent),
        Some(component) => Err(Fault::Component(bounded(component))),
    }
}

/// Whether `component` can stand between two `/` of a repository: groups of lower-case letters and digits with `.`, `_`,
/// `__` or any number of `-` between them.
pub fn is_repository_component(component: &str) -> bool {
    !component.contains('/') && is_repository(component.as_bytes())
}

/// Whether these are such components with `/` between them.
fn is_repository(path: &[u8]) -> bool {
    // Behind a letter or digit, behind separators, or where a component begins.
    #[derive(PartialEq)]
    enum At {
        Start,
        Word,
        Underscore,
        Underscores,
        Dot,
        Dashes,
    }
    let mut at = At::Start;
    for &byte in path {
        at = match (byte, at) {
            (b'a'..=b'z' | b'0'..=b'9', _) => At::Word,
            (b'/', At::Word) => At::Start,
            (b'.', At::Word) => At::Dot,
            (b'_', At::Word) => At::Underscore,
            (b'_', At::Underscore) => At::Underscores,
            (b'-', At::Word | At::Dashes) => At::Dashes,
            _ => return false,
        };
    }
    at == At::Word
}

fn check_tag(tag: &str) -> Result<(), Fault> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match tag.as_bytes() {
        [] => Err(Fault::EmptyTag),
        [first, rest @ ..] if is_word(*first) && rest.iter().all(|&b| is_word(b) || matches!(b, b'.' | b'-')) => {
            if tag.len() > MOST_TAG_CHARS { Err(Fault::LongTag(tag.len())) } else { Ok(()) }
        }
        _ => Err(Fault::Tag(bounded(tag))),
    }
}

fn check_digest(digest: &str) -> Result<(), Fault> {
    if digest.is_empty() {
        return Err(Fault::EmptyDigest);
    }
    let Some((algorithm, hex)) = split(digest, b':') else { return Err(Fault::Digest(bounded(digest))) };
    let (name, length) = match algorithm {
        "sha256" => ("sha256", 64),
        "sha384" => ("sha384", 96),
        "sha512" => ("sha512", 128),
        _ if is_well_formed_digest(algorithm, hex) => return Err(Fault::Algorithm(bounded(algorithm))),
        _ => return Err(Fault::Digest(bounded(digest))),
    };
    // Every byte is looked at, wrong or not: so they are several at a time.
    let is_hex = hex.bytes().fold(true, |is_hex, byte| is_hex & is_lower_hex(byte));
    if hex.len() == length && is_hex { Ok(()) } else { Err(Fault::DigestHex(name, length)) }
}

/// Whether this is a digest as the OCI image specification writes it, whatever its algorithm.
fn is_well_formed_digest(algorithm: &str, encoded: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_encoding = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'_' | b'-');
    algorithm.split(['+', '.', '_', '-']).all(is_word) && !encoded.is_empty() && encoded.bytes().all(is_encoding)
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// A part of the input in a message.
fn bounded(part: &str) -> String {
    Escaped::cut(part, MOST_INPUT_CHARS).to_string()
}
