//! Changes a manifest by byte range: what is not changed stays as its author wrote it, to the last blank.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::yaml::{Limits, Node, Span, Style, Value, parse_documents};

use super::manifest::at;

/// Why a manifest cannot be edited where it stands.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EditError {
    /// One place in the text means two things.
    #[error(
        "line {line} stands for several values by way of an anchor, and they would become different; write them out"
    )]
    Conflict { line: usize },
    /// Checked by reading the result again.
    #[error(
        "document {document} cannot be edited in place: a value that would change is shared by an anchor with one that \
         would not; write it out"
    )]
    Shared { document: usize },
    /// The patch does not fit the document.
    #[error("document {document} has nothing at {pointer}")]
    Nowhere { document: usize, pointer: String },
}

/// The text with operations of RFC 6902 applied, each to a document: `replace` of a string, and `add` of a member, or of
/// an item at the end of a list.
///
/// The result is read again and compared with the patched values: it is right, or an error.
pub(super) fn edit(source: &str, documents: &[Node], operations: &[(usize, Json)]) -> Result<String, EditError> {
    let mut changes = Vec::new();
    // By list, since what goes to the end of one is one change.
    let mut appended: BTreeMap<(usize, &str), Vec<&Json>> = BTreeMap::new();
    for (document, operation) in operations {
        let node = &documents[*document];
        let pointer = operation["path"].as_str().unwrap_or_default();
        let nowhere = || EditError::Nowhere { document: *document, pointer: pointer.to_owned() };
        let value = &operation["value"];
        if let Some(list) = pointer.strip_suffix("/-")
            && at(node, list).is_some_and(|list| matches!(list.value, Value::Sequence(_)))
        {
            appended.entry((*document, list)).or_default().push(value);
            continue;
        }
        let change = match (at(node, pointer), value) {
            (Some(there), value) if pointer.is_empty() => Some(Change::new(there.span, flow(value))),
            (Some(there), Json::String(text)) if matches!(there.value, Value::String(_)) => {
                Some(replace_scalar(source, there, text))
            }
            (there, value) => {
                let (parent, key) = pointer.rsplit_once('/').ok_or_else(nowhere)?;
                let parent = at(node, parent).ok_or_else(nowhere)?;
                let key = key.replace("~1", "/").replace("~0", "~");
                match there {
                    Some(there) => replace_value(source, parent, &key, there, value),
                    None => insert_member(source, parent, &key, value),
                }
            }
        };
        changes.push(change.ok_or_else(nowhere)?);
    }
    for ((document, list), values) in appended {
        changes.extend(at(&documents[document], list).map(|list| append_items(source, list, &values)));
    }
    let edited = apply(source, changes)?;
    verify(&edited, documents, operations)?;
    Ok(edited)
}

/// New text for a range; an empty range is an insertion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    span: Span,
    /// Of inserted lines. Where several blocks end in one place, the inner one goes on first.
    indent: Reverse<usize>,
    text: String,
}

impl Change {
    fn new(span: Span, text: String) -> Self {
        Self { span, indent: Reverse(0), text }
    }

    fn insertion(at: usize, text: String) -> Self {
        Self::new(Span { start: at, end: at }, text)
    }
}

fn apply(source: &str, mut changes: Vec<Change>) -> Result<String, EditError> {
    changes.sort();
    changes.dedup();
    let mut edited = String::with_capacity(source.len() + 64 * changes.len());
    let mut done = 0;
    let mut inserted_at = None;
    for Change { span, indent, text } in changes {
        if span.start < done || inserted_at == Some((span.start, indent)) {
            return Err(EditError::Conflict { line: crate::yaml::position(source, span.start).0 });
        }
        edited += &source[done..span.start];
        edited += &text;
        done = span.end;
        inserted_at = (span.start == span.end).then_some((span.start, indent));
    }
    edited += &source[done..];
    Ok(edited)
}

fn verify(edited: &str, documents: &[Node], operations: &[(usize, Json)]) -> Result<(), EditError> {
    let read = parse_documents(edited, Limits::MANIFEST).unwrap_or_default();
    for (document, node) in documents.iter().enumerate() {
        let mut expected = node.to_json();
        let its: Vec<&Json> = operations.iter().filter(|(of, _)| *of == document).map(|(_, it)| it).collect();
        let patched = serde_json::to_value(&its)
            .and_then(serde_json::from_value::<json_patch::Patch>)
            .is_ok_and(|patch| json_patch::patch(&mut expected, &patch).is_ok());
        if !patched || read.get(document).map(Node::to_json) != Some(expected) {
            return Err(EditError::Shared { document });
        }
    }
    Ok(())
}

/// Other text in the same notation.
fn replace_scalar(source: &str, node: &Node, text: &str) -> Change {
    let written = match node.style {
        Style::Plain if is_plain(text) => text.to_owned(),
        Style::SingleQuoted if is_printable(text) => single_quoted(text),
        Style::Literal | Style::Folded => return replace_in_block(source, node, text),
        _ => double_quoted(text),
    };
    Change::new(node.span, written)
}

/// The text of a block scalar without its header, indentation and line end.
fn replace_in_block(source: &str, node: &Node, text: &str) -> Change {
    let block = node.span.slice(source);
    let lines = block.find('\n').map_or(0, |end| end + 1);
    let old = node.as_str().unwrap_or_default().trim_end();
    match block[lines..].find(old) {
        Some(start) if !old.contains('\n') => {
            let start = node.span.start + lines + start;
            Change::new(Span { start, end: start + old.len() }, text.to_owned())
        }
        // Over several lines: then it becomes one.
        _ => {
            let rest = block.len() - block.trim_end().len();
            Change::new(Span { end: node.span.end - rest, ..node.span }, double_quoted(text))
        }
    }
}

/// Another value for a key that is there: it held `null`, or nothing.
fn replace_value(source: &str, parent: &Node, key: &str, there: &Node, value: &Json) -> Option<Change> {
    if there.span.start < there.span.end {
        return Some(Change::new(there.span, flow(value)));
    }
    let entry = parent.entries().iter().rev().find(|entry| entry.key == key)?;
    let colon = entry.key_span.end + source[entry.key_span.end..].find(':')? + 1;
    Some(Change::insertion(colon, format!(" {}", flow(value))))
}

/// A new key: the last of a block, the first between braces.
fn insert_member(source: &str, parent: &Node, key: &str, value: &Json) -> Option<Change> {
    if !matches!(parent.value, Value::Mapping(_)) {
        return None;
    }
    let line_end = line_end(source);
    if parent.style == Style::Flow {
        let start = parent.span.start + 1;
        let inside = &source[start..parent.span.end - 1];
        let member = format!("{}: {}", Json::from(key), flow(value));
        let text = match inside.trim_start().chars().next() {
            None => member,
            Some(_) => {
                let before = &inside[..inside.len() - inside.trim_start().len()];
                match before.rsplit_once('\n') {
                    Some((_, indent)) => format!("{line_end}{indent}{member},"),
                    None if before.is_empty() => format!("{member}, "),
                    None => format!("{member},"),
                }
            }
        };
        return Some(Change::insertion(start, text));
    }
    let indent = indent(source, parent);
    let mut text = String::new();
    block(&mut text, &indent, list_indent(source, parent), line_end, key, value);
    Some(insert_lines(source, parent, &indent, &text))
}

/// New items behind those of a list.
fn append_items(source: &str, list: &Node, values: &[&Json]) -> Change {
    let line_end = line_end(source);
    if list.style != Style::Flow {
        let indent = dash_indent(source, list);
        let items: Vec<String> = values.iter().map(|value| item(&indent, line_end, value)).collect();
        return insert_lines(source, list, &indent, &items.join(line_end));
    }
    let Some(last) = list.items().last() else {
        let items: Vec<String> = values.iter().map(|value| flow(value)).collect();
        return Change::insertion(list.span.start + 1, items.join(", "));
    };
    let Span { start, end } = last.alias.unwrap_or(last.span);
    // On lines of their own where the last is on one.
    let before = &source[line_start(source, start)..start];
    let separator = if before.trim().is_empty() { format!(",{line_end}{before}") } else { ", ".to_owned() };
    Change::insertion(end, values.iter().map(|value| format!("{separator}{}", flow(value))).collect())
}

/// Lines, without the last line end, behind those of a block.
fn insert_lines(source: &str, block: &Node, indent: &str, lines: &str) -> Change {
    let line_end = line_end(source);
    let end = content_end(source, block);
    let (start, text) = match source[end..].find('\n') {
        _ if source[..end].ends_with('\n') => (end, format!("{lines}{line_end}")),
        Some(at) => (end + at + 1, format!("{lines}{line_end}")),
        None => (source.len(), format!("{line_end}{lines}")),
    };
    Change { indent: Reverse(indent.len()), ..Change::insertion(start, text) }
}

fn line_end(source: &str) -> &'static str {
    if source.contains("\r\n") { "\r\n" } else { "\n" }
}

fn line_start(source: &str, at: usize) -> usize {
    source[..at].rfind('\n').map_or(0, |line_end| line_end + 1)
}

/// What stands before the lines of a block: the dashes of lists around it count as blanks.
fn indent(source: &str, block: &Node) -> String {
    let before = &source[line_start(source, block.span.start)..block.span.start];
    " ".repeat(before.trim_start_matches('\u{feff}').chars().count())
}

/// What stands before the dashes of a block list. The parser has one that is indented no more than its key begin behind
/// its first dash; that is the first thing on its line then.
fn dash_indent(source: &str, list: &Node) -> String {
    let start = list.span.start;
    let first = list.items().first().map(|item| item.alias.unwrap_or(item.span).start);
    if source[start..].starts_with('-') && first != Some(start) {
        return indent(source, list);
    }
    let mut line = line_start(source, start);
    while line > 0 && !source[line..].trim_start_matches(' ').starts_with('-') {
        line = line_start(source, line - 1);
    }
    source[line..].chars().take_while(|character| *character == ' ').collect()
}

/// What stands before the dashes of a list under a key, beyond what stands before the key: as in the lists beside it.
fn list_indent(source: &str, parent: &Node) -> &'static str {
    let is_list =
        |node: &&Node| node.alias.is_none() && node.style == Style::Block && matches!(node.value, Value::Sequence(_));
    let entries = parent.entries().iter().filter(|entry| !entry.merged);
    match entries.map(|entry| &entry.value).find(is_list) {
        Some(list) if dash_indent(source, list).len() > indent(source, parent).len() => "  ",
        _ => "",
    }
}

/// The end of the last line of a block that is not empty. A block scalar brings the empty lines behind it, which mean
/// something only after `+`.
fn content_end(source: &str, node: &Node) -> usize {
    let last = last_scalar(node);
    let written = node.span.slice(source);
    let keeps = last.is_some_and(|last| {
        let header = last.span.slice(source).lines().next().unwrap_or("");
        matches!(last.style, Style::Literal | Style::Folded) && header.split('#').next().unwrap_or("").contains('+')
    });
    if keeps { node.span.end } else { node.span.start + written.trim_end().len() }
}

fn last_scalar(node: &Node) -> Option<&Node> {
    let child = match &node.value {
        Value::Sequence(items) => items.last(),
        Value::Mapping(entries) => entries.iter().rev().find(|entry| !entry.merged).map(|entry| &entry.value),
        _ => return Some(node),
    };
    child.filter(|child| child.alias.is_none()).and_then(last_scalar)
}

/// `key: value` in lines, without the last line end; `list_indent` stands before dashes, beyond the indent of the key.
fn block(text: &mut String, indent: &str, list_indent: &str, line_end: &str, key: &str, value: &Json) {
    *text += indent;
    *text += &scalar(key);
    *text += ":";
    match value {
        Json::Object(members) if !members.is_empty() => {
            for (key, value) in members {
                *text += line_end;
                block(text, &format!("{indent}  "), list_indent, line_end, key, value);
            }
        }
        Json::Array(items) if !items.is_empty() => {
            for value in items {
                *text += line_end;
                *text += &item(&format!("{indent}{list_indent}"), line_end, value);
            }
        }
        Json::String(value) => *text += &format!(" {}", scalar(value)),
        value => *text += &format!(" {}", flow(value)),
    }
}

/// `- key: value` in lines, without the last line end.
fn item(indent: &str, line_end: &str, value: &Json) -> String {
    let mut text = format!("{indent}- ");
    let Some(members) = value.as_object().filter(|members| !members.is_empty()) else { return text + &flow(value) };
    for (number, (key, value)) in members.iter().enumerate() {
        let mut member = String::new();
        block(&mut member, &format!("{indent}  "), "", line_end, key, value);
        if number > 0 {
            text += line_end;
            text += &member;
        } else {
            text += member.trim_start();
        }
    }
    text
}

/// JSON, which is YAML; for a place between braces, or where a line must do.
fn flow(value: &Json) -> String {
    match value {
        Json::String(text) => double_quoted(text),
        Json::Object(members) => {
            let members: Vec<_> =
                members.iter().map(|(key, value)| format!("{}: {}", double_quoted(key), flow(value))).collect();
            format!("{{{}}}", members.join(", "))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        value => value.to_string(),
    }
}

fn scalar(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else if is_printable(text) {
        single_quoted(text)
    } else {
        double_quoted(text)
    }
}

/// Whether the text needs no quotes anywhere: what an image reference or an annotation's key is, without brackets.
fn is_plain(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._/:@-".contains(&byte);
    text.bytes().all(inside)
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && !text.ends_with(':')
        && parse_documents(text, Limits::MANIFEST)
            .is_ok_and(|documents| documents.first().and_then(Node::as_str) == Some(text))
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn single_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// As JSON writes it, and what YAML would not take as it is as an escape.
fn double_quoted(text: &str) -> String {
    let mut written = String::new();
    for character in Json::from(text).to_string().chars() {
        match character {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                written += &format!("\\u{:04x}", u32::from(character));
            }
            _ => written.push(character),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn edited(source: &str, operations: &[(usize, Json)]) -> Result<String, EditError> {
        let documents = parse_documents(source, Limits::MANIFEST).unwrap();
        edit(source, &documents, operations)
    }

    fn replace(path: &str, value: &str) -> (usize, Json) {
        (0, json!({"op": "replace", "path": path, "value": value}))
    }

    #[test]
    fn a_scalar_keeps_its_notation() {
        for (source, text, expected) in [
            ("image: nginx # c\n", "m.io/nginx:1", "image: m.io/nginx:1 # c\n"),
            ("image:   'nginx'\t# c", "m.io/nginx:1", "image:   'm.io/nginx:1'\t# c"),
            ("image: \"ngi\\x6ex\"\r\nb: c\r\n", "m.io/nginx", "image: \"m.io/nginx\"\r\nb: c\r\n"),
            ("image: nginx\n", "[fd00::1]:5000/x", "image: \"[fd00::1]:5000/x\"\n"),
            ("{image: nginx, b: c}\n", "m.io:5000/nginx", "{image: m.io:5000/nginx, b: c}\n"),
            ("{\n\t\"image\": \"nginx\"\n}\n", "m.io/x", "{\n\t\"image\": \"m.io/x\"\n}\n"),
            ("image: >- # nginx\n  nginx\n\n# end\n", "m.io/x", "image: >- # nginx\n  m.io/x\n\n# end\n"),
            ("image: |-\r\n    nginx\r\nb: c\r\n", "m.io/x", "image: |-\r\n    m.io/x\r\nb: c\r\n"),
            ("image: !!str &a nginx\n", "m.io/x", "image: !!str &a m.io/x\n"),
            ("image: \"ngi\\\n  nx\"\n", "m.io/x", "image: \"m.io/x\"\n"),
            ("a: 1\nimage: x\nimage: nginx\n", "m.io/x", "a: 1\nimage: x\nimage: m.io/x\n"),
            ("\u{feff}image: nginx", "m.io/x", "\u{feff}image: m.io/x"),
        ] {
            assert_eq!(edited(source, &[replace("/image", text)]).as_deref(), Ok(expected), "{source:?}");
        }
    }

    #[test]
    fn what_an_anchor_shares_is_edited_once_or_not_at_all() {
        let source = "a: {image: &i nginx}\nb: {image: *i}\n";
        let both = [replace("/a/image", "m.io/x"), replace("/b/image", "m.io/x")];
        assert_eq!(edited(source, &both).as_deref(), Ok("a: {image: &i m.io/x}\nb: {image: *i}\n"));
        assert_eq!(edited(source, &both[..1]), Err(EditError::Shared { document: 0 }));
        let different = [replace("/a/image", "m.io/x"), replace("/b/image", "m.io/y")];
        assert_eq!(edited(source, &different), Err(EditError::Conflict { line: 1 }));
        let merged = "base: &b {image: nginx}\nc: {<<: *b, name: x}\n";
        let both = [replace("/base/image", "m.io/x"), replace("/c/image", "m.io/x")];
        assert_eq!(edited(merged, &both).as_deref(), Ok("base: &b {image: m.io/x}\nc: {<<: *b, name: x}\n"));
    }

    #[test]
    fn a_new_key_goes_where_the_others_are() {
        let annotation = json!({"op": "add", "path": "/metadata/annotations", "value": {"m.dev/o": "{\"a\":\"b\"}"}});
        let one = json!({"op": "add", "path": "/metadata/annotations/m.dev~1o", "value": "{\"a\":\"b\"}"});
        let metadata = json!({"op": "add", "path": "/metadata", "value": {"annotations": {"m.dev/o": "it's"}}});
        for (source, operation, expected) in [
            (
                "metadata:\n  # name\n  name: a  # c\n\nspec: {}\n",
                &annotation,
                "metadata:\n  # name\n  name: a  # c\n  annotations:\n    m.dev/o: '{\"a\":\"b\"}'\n\nspec: {}\n",
            ),
            (
                "spec: 1\r\nmetadata:\r\n    name: a",
                &annotation,
                "spec: 1\r\nmetadata:\r\n    name: a\r\n    annotations:\r\n      m.dev/o: '{\"a\":\"b\"}'",
            ),
            (
                "metadata:\n  labels:\n    a: b\n  # after\nspec: 1\n",
                &annotation,
                "metadata:\n  labels:\n    a: b\n  annotations:\n    m.dev/o: '{\"a\":\"b\"}'\n  # after\nspec: 1\n",
            ),
            (
                "metadata:\n  name: a\n  labels: # none\n# c\nspec: 1\n",
                &annotation,
                "metadata:\n  name: a\n  labels: # none\n  annotations:\n    m.dev/o: '{\"a\":\"b\"}'\n# c\nspec: 1\n",
            ),
            (
                "metadata:\n  annotations:\n    text: |\n      x\n\nspec: 1\n",
                &one,
                "metadata:\n  annotations:\n    text: |\n      x\n    m.dev/o: '{\"a\":\"b\"}'\n\nspec: 1\n",
            ),
            (
                "metadata:\n  annotations:\n    text: |+\n      x\n\nspec: 1\n",
                &one,
                "metadata:\n  annotations:\n    text: |+\n      x\n\n    m.dev/o: '{\"a\":\"b\"}'\nspec: 1\n",
            ),
            (
                "metadata:\n  annotations:\n    m.dev/o: \"old\" # c\n",
                &one,
                "metadata:\n  annotations:\n    m.dev/o: \"{\\\"a\\\":\\\"b\\\"}\" # c\n",
            ),
            (
                "metadata:\n  annotations: {}\n",
                &one,
                "metadata:\n  annotations: {\"m.dev/o\": \"{\\\"a\\\":\\\"b\\\"}\"}\n",
            ),
            (
                "metadata:\n  annotations: # none\n  name: a\n",
                &annotation,
                "metadata:\n  annotations: {\"m.dev/o\": \"{\\\"a\\\":\\\"b\\\"}\"} # none\n  name: a\n",
            ),
            (
                "metadata:\n  annotations: ~ # none\n",
                &annotation,
                "metadata:\n  annotations: {\"m.dev/o\": \"{\\\"a\\\":\\\"b\\\"}\"} # none\n",
            ),
            (
                "metadata: { name: a }\n",
                &annotation,
                "metadata: {\"annotations\": {\"m.dev/o\": \"{\\\"a\\\":\\\"b\\\"}\"}, name: a }\n",
            ),
            (
                "{\n  \"metadata\": {\n    \"name\": \"a\"\n  }\n}\n",
                &annotation,
                "{\n  \"metadata\": {\n    \"annotations\": {\"m.dev/o\": \"{\\\"a\\\":\\\"b\\\"}\"},\n    \"name\": \"a\"\n  }\n}\n",
            ),
            ("kind: Pod", &metadata, "kind: Pod\nmetadata:\n  annotations:\n    m.dev/o: 'it''s'"),
            ("kind: Pod\nmetadata:\n", &metadata, "kind: Pod\nmetadata: {\"annotations\": {\"m.dev/o\": \"it's\"}}\n"),
            (
                "{\"kind\":\"Pod\"}",
                &metadata,
                "{\"metadata\": {\"annotations\": {\"m.dev/o\": \"it's\"}}, \"kind\":\"Pod\"}",
            ),
        ] {
            assert_eq!(edited(source, &[(0, operation.clone())]).as_deref(), Ok(expected), "{source:?}");
        }
    }

    #[test]
    fn a_new_list_is_laid_out_as_those_beside_it() {
        let list = json!({"op": "add", "path": "/spec/secrets", "value": [{"name": "a"}, {"name": "on"}]});
        let flow = "[{\"name\": \"a\"}, {\"name\": \"on\"}]";
        for (source, expected) in [
            (
                "spec:\n  c:\n  - x # c\n",
                "spec:\n  c:\n  - x # c\n  secrets:\n  - name: a\n  - name: 'on'\n".to_owned(),
            ),
            (
                "spec:\r\n  c:\r\n    - x\r\n",
                "spec:\r\n  c:\r\n    - x\r\n  secrets:\r\n    - name: a\r\n    - name: 'on'\r\n".to_owned(),
            ),
            ("spec:\n  c: [x]\n# end", "spec:\n  c: [x]\n  secrets:\n  - name: a\n  - name: 'on'\n# end".to_owned()),
            ("spec:\n  secrets: # none\n  c: 1\n", format!("spec:\n  secrets: {flow} # none\n  c: 1\n")),
            ("spec:\n  secrets: ~ # none\n", format!("spec:\n  secrets: {flow} # none\n")),
            ("spec: {c: [x]}\n", format!("spec: {{\"secrets\": {flow}, c: [x]}}\n")),
            (
                "{\n  \"spec\": {\n    \"c\": []\n  }\n}\n",
                format!("{{\n  \"spec\": {{\n    \"secrets\": {flow},\n    \"c\": []\n  }}\n}}\n"),
            ),
        ] {
            assert_eq!(edited(source, &[(0, list.clone())]), Ok(expected), "{source:?}");
        }
    }

    #[test]
    fn new_items_go_behind_those_of_a_list() {
        let item = |name: &str| (0, json!({"op": "add", "path": "/spec/secrets/-", "value": {"name": name}}));
        for (source, expected) in [
            (
                "spec:\n  secrets: # ours\n  - name: x # first\n\n  c: 1\n",
                "spec:\n  secrets: # ours\n  - name: x # first\n  - name: b\n  - name: a\n\n  c: 1\n",
            ),
            (
                "spec:\r\n  secrets:\r\n    -   name: \"x\"\r\n    - {name: y}",
                "spec:\r\n  secrets:\r\n    -   name: \"x\"\r\n    - {name: y}\r\n    - name: b\r\n    - name: a",
            ),
            ("spec:\n  secrets:\n  - # odd\n  -\n", "spec:\n  secrets:\n  - # odd\n  -\n  - name: b\n  - name: a\n"),
            (
                "spec:\n  secrets:\n  - name: &x y\n  - name: *x\n",
                "spec:\n  secrets:\n  - name: &x y\n  - name: *x\n  - name: b\n  - name: a\n",
            ),
            ("spec: {secrets: []} # c\n", "spec: {secrets: [{\"name\": \"b\"}, {\"name\": \"a\"}]} # c\n"),
            ("spec:\n  secrets: [ ] # c\n", "spec:\n  secrets: [{\"name\": \"b\"}, {\"name\": \"a\"} ] # c\n"),
            (
                "spec:\n  secrets: [ {name: x}, ~, ] # c\n",
                "spec:\n  secrets: [ {name: x}, ~, {\"name\": \"b\"}, {\"name\": \"a\"}, ] # c\n",
            ),
            (
                "{\"spec\": {\"secrets\": [\n\t{\n\t\t\"name\": \"x\"\n\t}\n]}}\n",
                "{\"spec\": {\"secrets\": [\n\t{\n\t\t\"name\": \"x\"\n\t},\n\t{\"name\": \"b\"},\n\t{\"name\": \"a\"}\n]}}\n",
            ),
        ] {
            assert_eq!(edited(source, &[item("b"), item("a")]).as_deref(), Ok(expected), "{source:?}");
        }
        let shared = "spec: {secrets: &s [{name: x}]}\nother: *s\n";
        assert_eq!(edited(shared, &[item("a")]), Err(EditError::Shared { document: 0 }));
        let both = [item("a"), (0, json!({"op": "add", "path": "/other/-", "value": {"name": "a"}}))];
        let expected = "spec: {secrets: &s [{name: x}, {\"name\": \"a\"}]}\nother: *s\n";
        assert_eq!(edited(shared, &both).as_deref(), Ok(expected));
    }

    #[test]
    fn what_goes_to_the_end_of_several_blocks_goes_to_the_inner_one_first() {
        let operations = [
            (0, json!({"op": "add", "path": "/metadata", "value": {"annotations": {"a": "b"}}})),
            (0, json!({"op": "add", "path": "/spec/secrets/-", "value": {"name": "a"}})),
            (0, json!({"op": "add", "path": "/spec/c", "value": 1})),
        ];
        for (end, source_end) in [("\n", "\n"), ("", "")] {
            let source = format!("spec:\n  secrets:\n    - name: x{source_end}");
            let expected = format!(
                "spec:\n  secrets:\n    - name: x\n    - name: a\n  c: 1\nmetadata:\n  annotations:\n    a: b{end}"
            );
            assert_eq!(edited(&source, &operations), Ok(expected), "{source:?}");
        }
    }

    #[test]
    fn a_list_item_is_edited_at_its_own_depth() {
        let source = "items:\n- metadata:\n    name: a\n  spec: 1\n-   kind: Pod\n";
        let operations = [
            (0, json!({"op": "add", "path": "/items/0/metadata/annotations", "value": {"a": "b"}})),
            (0, json!({"op": "add", "path": "/items/1/metadata", "value": {"annotations": {"a": "b"}}})),
        ];
        let expected = "items:\n- metadata:\n    name: a\n    annotations:\n      a: b\n  spec: 1\n-   kind: Pod\n    \
                        metadata:\n      annotations:\n        a: b\n";
        assert_eq!(edited(source, &operations).as_deref(), Ok(expected));
    }

    #[test]
    fn only_the_document_meant_is_edited() {
        let source = "image: a\n---\nimage: a # second\n--- # third\nimage: a\n";
        let operation = (1, json!({"op": "replace", "path": "/image", "value": "m.io/a"}));
        let expected = "image: a\n---\nimage: m.io/a # second\n--- # third\nimage: a\n";
        assert_eq!(edited(source, &[operation]).as_deref(), Ok(expected));
    }
}
