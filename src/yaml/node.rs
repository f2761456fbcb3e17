//! The tree that a YAML document becomes.

use serde_json::{Map, Number};

use super::Span;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value as Kubernetes reads it.
    pub value: Value,
    /// Where it is written, without anchor and tag: a quoted scalar with its quotes, a block scalar from its `|` or
    /// `>` on, a flow collection with its brackets, a block collection from its first to the end of its last child.
    /// For a node that stands here by an alias, the place of what the alias names.
    pub span: Span,
    /// How it is written.
    pub style: Style,
    /// Where the `*name` stands that brought the node here.
    pub alias: Option<Span>,
}

/// The notation of a [`Node`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A scalar without quotes; also one that is not written at all (`key:`).
    Plain,
    /// `'...'`
    SingleQuoted,
    /// `"..."`
    DoubleQuoted,
    /// `|`
    Literal,
    /// `>`
    Folded,
    /// A sequence or mapping by indentation.
    Block,
    /// A sequence or mapping in brackets.
    Flow,
}

/// What a node holds: JSON, with everything that YAML adds to it resolved.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` and nothing at all.
    Null,
    /// `true`, `yes`, `on`, `y` and their opposites, unquoted.
    Bool(bool),
    /// A finite number.
    Number(Number),
    /// Text.
    String(String),
    /// A list.
    Sequence(Vec<Node>),
    /// All entries in the order of the document, duplicates too; merged ones stand where their `<<` does.
    Mapping(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key; one that is no string is written as Kubernetes does (`1`, `true`, `1.5`).
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// What it leads to.
    pub value: Node,
    /// It came by a merge key (`<<`), so that a second entry of this name is no slip of the author.
    pub merged: bool,
}

impl Node {
    /// The value under `key`, if this is a mapping that has it. Of several the last one counts.
    pub fn field(&self, key: &str) -> Option<&Node> {
        self.entries().iter().rev().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The entries of a mapping; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a sequence; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether this is `null`, written or not.
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// What the API server gets.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => serde_json::Value::Bool(*value),
            Value::Number(number) => serde_json::Value::Number(number.clone()),
            Value::String(text) => serde_json::Value::String(text.clone()),
            Value::Sequence(items) => serde_json::Value::Array(items.iter().map(Node::to_json).collect()),
            Value::Mapping(entries) => serde_json::Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// What this is, for a message: "a string", "a list".
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(true) => "the boolean true",
            Value::Bool(false) => "the boolean false",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}
