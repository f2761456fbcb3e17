//! The path template (M6): what a repository is called at the mirror.

use std::fmt;

use super::fault::quoted;
use crate::image::is_repository_component;

/// A template, read: literal text, `{host}` and `{repository}` in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Host,
    Repository,
}

impl Template {
    /// Reads a template, and tries it on a sample.
    pub(super) fn parse(text: &str) -> Result<Template, InvalidTemplate> {
        let template = Template { parts: parts(text)? };
        if !template.parts.contains(&Part::Repository) {
            return Err(InvalidTemplate::NoRepository);
        }
        let mut sample = String::new();
        template.write(&mut sample, "registry.example:5000", "library/", "nginx");
        match sample.split('/').find(|component| !is_repository_component(component)) {
            None => Ok(template),
            Some("") => Err(InvalidTemplate::EmptyComponent),
            Some(component) => Err(InvalidTemplate::Component { component: component.to_owned(), sample }),
        }
    }

    /// Appends what the repository `library` + `path` of `host`, in canonical form, is called.
    pub(super) fn write(&self, out: &mut String, host: &str, library: &str, path: &str) {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Host if !host.contains(['[', ']', ':']) => out.push_str(host),
                Part::Host => out.extend(host.chars().filter_map(|letter| match letter {
                    '[' | ']' => None,
                    ':' => Some('_'),
                    letter => Some(letter),
                })),
                Part::Repository => {
                    out.push_str(library);
                    out.push_str(path);
                }
            }
        }
    }
}

impl Default for Template {
    /// `{repository}`.
    fn default() -> Self {
        Self { parts: vec![Part::Repository] }
    }
}

fn parts(text: &str) -> Result<Vec<Part>, InvalidTemplate> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(brace) = rest.find(['{', '}']) {
        let (literal, from_brace) = rest.split_at(brace);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.to_owned()));
        }
        let Some((name, after)) = from_brace.strip_prefix('{').and_then(|inside| inside.split_once('}')) else {
            return Err(InvalidTemplate::Brace);
        };
        parts.push(match name {
            "host" => Part::Host,
            "repository" => Part::Repository,
            other => return Err(InvalidTemplate::Placeholder { name: other.to_owned() }),
        });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    Ok(parts)
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Literal(text) => formatter.write_str(text),
            Part::Host => formatter.write_str("{host}"),
            Part::Repository => formatter.write_str("{repository}"),
        })
    }
}

/// A text that is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidTemplate {
    #[error("a brace without its partner")]
    Brace,
    #[error("there is no placeholder {}", quoted(&format!("{{{name}}}")))]
    Placeholder { name: String },
    #[error("without `{{repository}}` every image would get the same name")]
    NoRepository,
    #[error("the path has an empty component: a `/` at an end, or two in a row")]
    EmptyComponent,
    #[error("it makes paths like {}, where {} is no valid component", quoted(sample), quoted(component))]
    Component { component: String, sample: String },
}

impl InvalidTemplate {
    /// How to mend it.
    pub(super) fn help(&self) -> &'static str {
        match self {
            Self::Brace | Self::Placeholder { .. } => "the placeholders are `{host}` and `{repository}`",
            Self::NoRepository => "put `{repository}` where the repository's name belongs",
            Self::EmptyComponent => "leave the `/` out",
            Self::Component { .. } => {
                "components are lower-case letters and digits, with single `.`, `_`, `__` or dashes between them"
            }
        }
    }
}
