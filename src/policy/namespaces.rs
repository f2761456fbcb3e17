//! Globs over the names of namespaces, compiled once, at load.
//!
//! A glob that no namespace's name can match is refused: it would be a rule that looks obeyed.

use std::collections::HashMap;

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::fault::quoted;

/// How many characters a namespace's name may have: it is a DNS label.
const MAX_NAMESPACE: usize = 63;

/// The namespaces in which something applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Namespaces {
    All,
    /// Where one of the globs matches; never empty.
    Matching(Vec<Glob>),
}

/// From namespaces to the places of what applies there. Names, `prefix*` and `*suffix` that do not match cost nothing; all
/// other globs are searched for at once, which takes the longer the more there are.
#[derive(Clone, Debug, Default)]
pub(super) struct NamespaceIndex {
    /// What applies in all namespaces; ascending.
    everywhere: Vec<usize>,
    /// Each glob once, however often it is written.
    globs: GlobSet,
    /// For each glob, in the order of `globs`, what applies where it matches; ascending.
    places: Vec<Vec<usize>>,
}

impl NamespaceIndex {
    /// `all` are the namespaces of what stands at place 0, 1, and so on.
    pub(super) fn new<'n>(all: impl IntoIterator<Item = &'n Namespaces>) -> Result<Self, globset::Error> {
        let mut index = Self::default();
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut builder = GlobSetBuilder::new();
        for (place, namespaces) in all.into_iter().enumerate() {
            let Namespaces::Matching(globs) = namespaces else {
                index.everywhere.push(place);
                continue;
            };
            for glob in globs {
                let next = index.places.len();
                let at = *known.entry(glob.glob()).or_insert(next);
                if at == next {
                    builder.add(glob.clone());
                    index.places.push(Vec::new());
                }
                index.places[at].push(place);
            }
        }
        index.globs = builder.build()?;
        Ok(index)
    }

    /// Whether everything applies in all namespaces.
    pub(super) fn is_everywhere(&self) -> bool {
        self.globs.is_empty()
    }

    /// The places of what applies in `namespace`: lists that are ascending each, none of them empty.
    pub(super) fn matching(&self, namespace: &str) -> Vec<&[usize]> {
        let mut lists: Vec<&[usize]> = Vec::new();
        if !self.everywhere.is_empty() {
            lists.push(&self.everywhere);
        }
        if !self.globs.is_empty() {
            lists.extend(self.globs.matches(namespace).into_iter().map(|glob| self.places[glob].as_slice()));
        }
        lists
    }
}

/// Whether the glob matches every namespace.
pub(super) fn is_any(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte == b'*')
}

/// Compiles a glob over namespaces' names.
pub(super) fn namespace_glob(text: &str) -> Result<Glob, InvalidNamespaceGlob> {
    check(text)?;
    Glob::new(text).map_err(|error| InvalidNamespaceGlob::Syntax { reason: error.kind().to_string() })
}

/// Refuses what no namespace can match: their names are lower-case letters, digits and `-`, and no `-` at either end.
fn check(text: &str) -> Result<(), InvalidNamespaceGlob> {
    if text.is_empty() {
        return Err(InvalidNamespaceGlob::Empty);
    }
    let (mut before, mut braces) = (' ', 0_usize);
    for letter in text.chars() {
        match letter {
            'a'..='z' | '0'..='9' | '-' | '*' | '?' | '[' | ']' => {}
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            ',' if braces > 0 => {}
            '!' if before == '[' => {}
            'A'..='Z' => return Err(InvalidNamespaceGlob::UpperCase { text: text.to_owned() }),
            _ => return Err(InvalidNamespaceGlob::Character { letter }),
        }
        before = letter;
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(InvalidNamespaceGlob::Dash { text: text.to_owned() });
    }
    // What stands in brackets and braces is shorter than it is written.
    let least = text.bytes().filter(|&byte| byte != b'*').count();
    if !text.contains(['[', '{']) && least > MAX_NAMESPACE {
        return Err(InvalidNamespaceGlob::TooLong { least });
    }
    Ok(())
}

/// A text that is no glob over namespaces, or one that could never match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidNamespaceGlob {
    #[error("the glob is empty")]
    Empty,
    #[error("the glob can never match: names of namespaces are in lower case")]
    UpperCase { text: String },
    #[error("the glob can never match: no namespace's name contains {}", quoted(&letter.to_string()))]
    Character { letter: char },
    #[error("the glob can never match: no namespace's name begins or ends with `-`")]
    Dash { text: String },
    #[error("the glob can never match: it has {least} characters, and a namespace's name has at most {MAX_NAMESPACE}")]
    TooLong { least: usize },
    #[error("the glob does not compile: {reason}")]
    Syntax { reason: String },
}

impl InvalidNamespaceGlob {
    /// How to mend it.
    pub(super) fn help(&self) -> String {
        match self {
            Self::Empty => "write a namespace, a glob such as `team-*`, or `*`".to_owned(),
            Self::UpperCase { text } => format!("write {}", quoted(&text.to_ascii_lowercase())),
            Self::Character { letter: '!' } => {
                "there is no glob for all but some: list the namespaces that are meant".to_owned()
            }
            Self::Character { .. } => {
                "leave it out: names have lower-case letters, digits and `-`, and `*` stands for any of them".to_owned()
            }
            Self::Dash { text } => {
                let front = if text.starts_with('-') { "*" } else { "" };
                let back = if text.ends_with('-') { "*" } else { "" };
                format!("write {}", quoted(&format!("{front}{text}{back}")))
            }
            Self::TooLong { .. } => "make it shorter".to_owned(),
            Self::Syntax { .. } => {
                "`*` and `?` stand for any letters and any one, `[ab]` and `{a,b}` choose".to_owned()
            }
        }
    }
}
