//! From text to tree: the parser's events, with anchors, aliases and merge keys worked in.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, StructureStyle, Tag};
use serde_json::Number;

use super::resolve::{Scalar, resolve};
use super::{Entry, Node, Span, Style, SyntaxError, Value};

/// How much a text may ask for. What is over a bound is a [`SyntaxError`] that says so.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Lists and mappings inside each other.
    pub depth: usize,
    /// Nodes of all documents together, aliases expanded.
    pub nodes: usize,
    /// Nodes that came by an alias or merge key ("billion laughs").
    pub aliased: usize,
}

impl Limits {
    /// For the policy, which is at most 1 MiB in a ConfigMap and has no deep structure.
    pub const POLICY: Self = Self { depth: 24, nodes: 500_000, aliased: 10_000 };
    /// For the manifests that users hand to the command line.
    pub const MANIFEST: Self = Self { depth: 200, nodes: 10_000_000, aliased: 1_000_000 };
}

/// Every document of `source`, in order, one node each; a document without content is null, and a text without
/// any document has none. JSON objects may follow each other without `---`, as kubectl takes them. One broken document
/// fails them all.
pub fn parse_documents(source: &str, limits: Limits) -> Result<Vec<Node>, SyntaxError> {
    refuse_control_characters(source)?;
    let mut builder = Builder::new(source, limits);
    let error = match builder.documents() {
        Ok(documents) => return Ok(documents),
        Err(error) => error,
    };
    let Some(objects) = json_objects(source) else { return Err(error) };
    let mut documents = Vec::new();
    for object in objects {
        documents.extend(builder.restarted(&source[..object.end], object.start).documents()?);
    }
    Ok(documents)
}

/// Where the objects of a JSON stream are; nothing unless there are several.
fn json_objects(source: &str) -> Option<Vec<Span>> {
    let json = source.trim_start_matches('\u{feff}');
    if !json.trim_start().starts_with('{') {
        return None;
    }
    let skipped = source.len() - json.len();
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<serde::de::IgnoredAny>();
    let mut objects = Vec::new();
    let mut start = skipped;
    while let Some(value) = values.next() {
        value.ok()?;
        let end = skipped + values.byte_offset();
        objects.push(Span { start, end });
        start = end;
    }
    (objects.len() > 1).then_some(objects)
}

fn events(source: &str, limits: Limits) -> Parser<'_, StrInput<'_>> {
    let options = granit_parser::options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        flow_nesting_limit: limits.depth + 1,
        block_nesting_limit: limits.depth + 1,
    };
    Parser::new_from_str_with_options(source, options)
}

/// libyaml's reader refuses these; a parser of YAML 1.2 need not.
fn refuse_control_characters(source: &str) -> Result<(), SyntaxError> {
    let refused = |character: &char| !matches!(character, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..);
    match source.char_indices().find(|(_, character)| refused(character)) {
        None => Ok(()),
        Some((offset, character)) => Err(SyntaxError {
            message: format!(
                "the control character U+{:04X} is not allowed in YAML; write it as an escape in double quotes",
                u32::from(character)
            ),
            offset,
        }),
    }
}

struct Builder<'s> {
    /// Offsets of the parser are from `base` on.
    base: usize,
    source: &'s str,
    events: Parser<'s, StrInput<'s>>,
    limits: Limits,
    nodes: usize,
    aliased: usize,
    /// By the parser's number; `None` while the anchored collection is still open.
    anchors: HashMap<usize, Option<Built>>,
    /// End of the event that was read last, and of the one before it.
    last: usize,
    before: usize,
}

/// A finished node with what an alias to it costs.
#[derive(Clone)]
struct Built {
    node: Node,
    nodes: usize,
    depth: usize,
}

impl<'s> Builder<'s> {
    fn new(source: &'s str, limits: Limits) -> Self {
        Self {
            base: 0,
            source,
            events: events(source, limits),
            limits,
            nodes: 0,
            aliased: 0,
            anchors: HashMap::new(),
            last: 0,
            before: 0,
        }
    }

    /// On to another part of the source, with what the limits have left.
    fn restarted(&mut self, source: &'s str, base: usize) -> &mut Self {
        *self = Self {
            base,
            events: events(&source[base..], self.limits),
            nodes: self.nodes,
            last: base,
            before: base,
            ..Self::new(source, self.limits)
        };
        self
    }

    fn documents(&mut self) -> Result<Vec<Node>, SyntaxError> {
        let mut documents = Vec::new();
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(documents),
                (Event::DocumentStart(..), _) => {
                    self.anchors.clear();
                    let first = self.next()?;
                    documents.push(self.node(first, 0)?.node);
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'s>, Span), SyntaxError> {
        match self.events.next() {
            None => Ok((Event::StreamEnd, Span { start: self.last, end: self.last })),
            Some(Err(error)) => Err(self.scan_error(&error)),
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or_default();
                let span = Span { start: self.base + range.start, end: self.base + range.end };
                self.before = self.last;
                self.last = span.end;
                Ok((event, span))
            }
        }
    }

    fn scan_error(&self, error: &ScanError) -> SyntaxError {
        let offset = error.marker().byte_offset().map_or(self.last, |offset| self.base + offset).min(self.source.len());
        let mut message = error.kind().to_string();
        if matches!(error.kind(), granit_parser::ErrorKind::RecursionLimitExceeded) {
            message = self.too_deep();
        }
        SyntaxError { message, offset }
    }

    /// The node that `event` begins, `depth` collections deep.
    fn node(&mut self, (event, span): (Event<'s>, Span), depth: usize) -> Result<Built, SyntaxError> {
        let span = self.written(&event, span);
        let fail = |message: String| Err(SyntaxError { message, offset: span.start });
        if !matches!(event, Event::Alias(_)) {
            self.nodes += 1;
        }
        if self.nodes > self.limits.nodes {
            return fail(format!("there are more than {} values", self.limits.nodes));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted => Style::SingleQuoted,
                    ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
                    ScalarStyle::Literal => Style::Literal,
                    ScalarStyle::Folded => Style::Folded,
                };
                let value = match scalar(tag.as_deref(), &text, style).and_then(json) {
                    Ok(value) => value,
                    Err(message) => return fail(message),
                };
                Ok(self.anchored(anchor, Built { node: Node { value, span, style, alias: None }, nodes: 1, depth: 0 }))
            }
            Event::SequenceStart(style, anchor, _) => self.collection(span, style, anchor, depth, Self::sequence),
            Event::MappingStart(style, anchor, _) => self.collection(span, style, anchor, depth, Self::mapping),
            Event::Alias(anchor) => self.alias(anchor, span, depth),
            Event::UnresolvedAlias(_) => fail("there is no anchor of this name before the alias".to_owned()),
            _ => Ok(Built {
                node: Node { value: Value::Null, span, style: Style::Plain, alias: None },
                nodes: 1,
                depth: 0,
            }),
        }
    }

    /// The parser says where the lines of a block scalar are, but not its header, and gives a value that is not
    /// written the white space and comments around it.
    fn written(&self, event: &Event<'_>, span: Span) -> Span {
        match event {
            Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
                let start = block_header(self.source, self.before).filter(|start| *start <= span.start);
                Span { start: start.unwrap_or(span.start), end: span.end }
            }
            Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty() => Span { end: span.start, ..span },
            _ => span,
        }
    }

    fn collection(
        &mut self,
        start: Span,
        style: StructureStyle,
        anchor: usize,
        depth: usize,
        read: fn(&mut Self, usize) -> Result<Content, SyntaxError>,
    ) -> Result<Built, SyntaxError> {
        if depth >= self.limits.depth {
            return Err(SyntaxError { message: self.too_deep(), offset: start.start });
        }
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
        let content = read(self, depth + 1)?;
        let (style, end) = match style {
            StructureStyle::Flow => (Style::Flow, content.close.end),
            // The parser closes it where the next token stands; it ends where its last child does.
            StructureStyle::Block => (Style::Block, content.last.max(start.start)),
        };
        let node = Node { value: content.value, span: Span { start: start.start, end }, style, alias: None };
        Ok(self.anchored(anchor, Built { node, nodes: content.nodes + 1, depth: content.depth + 1 }))
    }

    fn sequence(&mut self, depth: usize) -> Result<Content, SyntaxError> {
        let mut items = Vec::new();
        let mut content = Content::default();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Content { value: Value::Sequence(items), close: span, ..content });
            }
            let item = self.node((event, span), depth)?;
            content.count(&item);
            items.push(item.node);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Content, SyntaxError> {
        let mut entries = Vec::new();
        let mut content = Content::default();
        loop {
            let (event, key_span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Content { value: Value::Mapping(entries), close: key_span, ..content });
            }
            content.last = content.last.max(key_span.end);
            if is_merge_key(&event) {
                let first = self.next()?;
                let merged = self.node(first, depth)?;
                content.count(&merged);
                merge(merged.node, &mut entries)?;
                continue;
            }
            let key = self.key(event, key_span, depth)?;
            let first = self.next()?;
            let value = self.node(first, depth)?;
            content.count(&value);
            content.nodes += 1;
            entries.push(Entry { key, key_span, value: value.node, merged: false });
        }
    }

    /// A key is text to JSON, whatever it was to YAML.
    fn key(&mut self, event: Event<'s>, span: Span, depth: usize) -> Result<String, SyntaxError> {
        let fail = |message: String| SyntaxError { message, offset: span.start };
        if let Event::Scalar(text, style, anchor, tag) = &event
            && *anchor == 0
        {
            self.nodes += 1;
            let style = if *style == ScalarStyle::Plain { Style::Plain } else { Style::DoubleQuoted };
            return scalar(tag.as_deref(), text, style).and_then(Scalar::into_key).map_err(fail);
        }
        // An anchored or aliased key goes the long way. `1.0` is then the key "1" and not "1.0": the same, to Go.
        match self.node((event, span), depth)?.node.value {
            Value::String(text) => Ok(text),
            Value::Bool(value) => Ok(value.to_string()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Null => Err(fail("a key cannot be null; put it in quotes".to_owned())),
            Value::Sequence(_) => Err(fail("a list cannot be a key".to_owned())),
            Value::Mapping(_) => Err(fail("a mapping cannot be a key".to_owned())),
        }
    }

    fn alias(&mut self, anchor: usize, span: Span, depth: usize) -> Result<Built, SyntaxError> {
        let fail = |message: String| Err(SyntaxError { message, offset: span.start });
        let Some(Some(built)) = self.anchors.get(&anchor) else {
            return fail("the value of this anchor contains itself".to_owned());
        };
        self.aliased += built.nodes;
        self.nodes += built.nodes;
        if self.aliased > self.limits.aliased || self.nodes > self.limits.nodes {
            return fail(format!("aliases expand to more than {} values", self.limits.aliased));
        }
        if depth + built.depth > self.limits.depth {
            return fail(self.too_deep());
        }
        let mut built = built.clone();
        built.node.alias = Some(span);
        Ok(built)
    }

    fn anchored(&mut self, anchor: usize, built: Built) -> Built {
        if anchor != 0 {
            self.anchors.insert(anchor, Some(built.clone()));
        }
        built
    }

    fn too_deep(&self) -> String {
        format!("lists and mappings are more than {} deep", self.limits.depth)
    }
}

/// The `|` or `>` of the block scalar that is the first value behind `from`.
fn block_header(source: &str, from: usize) -> Option<usize> {
    let bytes = source.as_bytes();
    let mut at = from;
    loop {
        let until = |end: fn(&u8) -> bool| bytes[at..].iter().position(end).map(|length| at + length);
        match bytes.get(at)? {
            b'|' | b'>' => return Some(at),
            b'#' | b'%' => at = until(|byte| *byte == b'\n')?,
            b'&' | b'!' => at = until(u8::is_ascii_whitespace)?,
            _ => at += 1,
        }
    }
}

/// What is inside a collection.
struct Content {
    value: Value,
    /// The closing event.
    close: Span,
    /// End of the last child.
    last: usize,
    nodes: usize,
    depth: usize,
}

impl Default for Content {
    fn default() -> Self {
        Self { value: Value::Null, close: Span { start: 0, end: 0 }, last: 0, nodes: 0, depth: 0 }
    }
}

impl Content {
    fn count(&mut self, child: &Built) {
        self.nodes += child.nodes;
        self.depth = self.depth.max(child.depth);
        self.last = self.last.max(child.node.alias.unwrap_or(child.node.span).end);
    }
}

/// The scalar as YAML means it.
fn scalar(tag: Option<&Tag>, text: &str, style: Style) -> Result<Scalar, String> {
    match tag {
        None => resolve(None, text, style == Style::Plain),
        Some(tag) => resolve(Some(&full_name(tag)), text, style == Style::Plain),
    }
}

fn full_name(tag: &Tag) -> String {
    format!("{}{}", tag.handle(), tag.suffix())
}

fn json(scalar: Scalar) -> Result<Value, String> {
    Ok(match scalar {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => Value::Bool(value),
        Scalar::Integer(value) => Value::Number(Number::from(value)),
        Scalar::Unsigned(value) => Value::Number(Number::from(value)),
        Scalar::Float(value) => match Scalar::float(value) {
            Some(number) => Value::Number(number),
            None => return Err(format!("JSON has no number {value}; put it in quotes if text is meant")),
        },
        Scalar::Text(text) => Value::String(text),
    })
}

fn is_merge_key(event: &Event<'_>) -> bool {
    match event {
        Event::Scalar(text, style, _, None) => *style == ScalarStyle::Plain && text == "<<",
        Event::Scalar(text, _, _, Some(tag)) => {
            text == "<<" && matches!(full_name(tag).as_str(), "!" | "tag:yaml.org,2002:merge")
        }
        _ => false,
    }
}

/// goyaml.v2 sets merged keys where the `<<` stands: they win over what is above, and lose to what is below. Of a
/// list of mappings the first wins.
fn merge(node: Node, entries: &mut Vec<Entry>) -> Result<(), SyntaxError> {
    let offset = node.alias.unwrap_or(node.span).start;
    let refused = || SyntaxError { message: "`<<` takes a mapping or a list of mappings".to_owned(), offset };
    match node.value {
        Value::Mapping(merged) => {
            entries.extend(merged.into_iter().map(|entry| Entry { merged: true, ..entry }));
            Ok(())
        }
        Value::Sequence(items) if node.alias.is_none() => {
            for item in items.into_iter().rev() {
                let Value::Mapping(merged) = item.value else { return Err(refused()) };
                entries.extend(merged.into_iter().map(|entry| Entry { merged: true, ..entry }));
            }
            Ok(())
        }
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::position;
    use super::*;

    fn one(source: &str) -> Node {
        let mut documents = parse_documents(source, Limits::MANIFEST).unwrap();
        assert_eq!(documents.len(), 1, "documents in {source:?}");
        documents.remove(0)
    }

    fn refused(source: &str, limits: Limits) -> String {
        let error = parse_documents(source, limits).unwrap_err();
        let (line, column) = position(source, error.offset);
        format!("{line}:{column} {}", error.message)
    }

    #[test]
    fn documents_become_what_the_api_server_gets() {
        for (source, expected) in [
            ("a: on\nb: 'on'\nc: 0755\nd: ~\ne:\n", json!({"a": true, "b": "on", "c": 493, "d": null, "e": null})),
            ("{\n\t\"a\": [1, 1.0, 1e3],\n\t\"b\": {}\n}\n", json!({"a": [1, 1, 1000], "b": {}})),
            (r#"{"emoji": "\ud83d\ude00", "slash": "\/"}"#, json!({"emoji": "😀", "slash": "/"})),
            ("\u{feff}a: ö\r\nb: |\r\n  t\r\n  u\r\n", json!({"a": "ö", "b": "t\nu\n"})),
            ("a: !!str 1\nb: !!int '2'\nc: !local 3\nd: ! 4\n", json!({"a": "1", "b": 2, "c": "3", "d": "4"})),
            ("a: 2026-11-21\n2026-11-21: b\n", json!({"a": "2026-11-21", "2026-11-21": "b"})),
            (
                "1: a\ntrue: b\n1.5: c\n1e6: d\n0x10: e\n",
                json!({"1": "a", "true": "b", "1.5": "c", "1e+06": "d", "16": "e"}),
            ),
            ("a: b\na: c\n", json!({"a": "c"})),
            ("a: >-\n  folded\n  line\n\nb: |+\n  kept\n\n", json!({"a": "folded line", "b": "kept\n\n"})),
            ("a:\t1\nb: \"x\ty\"\n", json!({"a": 1, "b": "x\ty"})),
            ("- &x {a: 1}\n- *x\n- &x 2\n- *x\n", json!([{"a": 1}, {"a": 1}, 2, 2])),
            ("&k key: 1\nother: *k\n", json!({"key": 1, "other": "key"})),
            ("- &k key\n- *k : 1\n", json!(["key", {"key": 1}])),
            ("plain\n", json!("plain")),
        ] {
            assert_eq!(one(source).to_json(), expected, "{source:?}");
        }
    }

    #[test]
    fn a_merge_key_counts_where_it_stands() {
        let base = "base: &base {a: 1, b: 2}\nmore: &more {a: 9, c: 3}\n";
        for (mapping, expected) in [
            ("{<<: *base, a: 5}", json!({"a": 5, "b": 2})),
            ("{a: 5, <<: *base}", json!({"a": 1, "b": 2})),
            ("{<<: [*base, *more]}", json!({"a": 1, "b": 2, "c": 3})),
            ("{<<: {a: 7}}", json!({"a": 7})),
            ("{'<<': 1}", json!({"<<": 1})),
            ("{! '<<': {a: 7}}", json!({"a": 7})),
        ] {
            let source = format!("{base}it: {mapping}\n");
            assert_eq!(one(&source).field("it").unwrap().to_json(), expected, "{mapping}");
        }
        let node = one(&format!("{base}it: {{<<: *base, a: 5}}\n"));
        let merged: Vec<_> = node.field("it").unwrap().entries().iter().map(|entry| entry.merged).collect();
        assert_eq!(merged, [true, true, false]);
        for wrong in ["<<: 1", "<<: [1]", "<<: *list"] {
            let message = refused(&format!("list: &list [{{a: 1}}]\nit:\n  {wrong}\n"), Limits::MANIFEST);
            assert!(message.contains("`<<` takes a mapping"), "{message}");
        }
    }

    #[test]
    fn duplicate_keys_stay_visible() {
        let node = one("a: 1\nb: 2\na: 3\n");
        let keys: Vec<_> = node.entries().iter().map(|entry| (entry.key.as_str(), entry.key_span.start)).collect();
        assert_eq!(keys, [("a", 0), ("b", 5), ("a", 10)]);
        assert_eq!(node.field("a").unwrap().to_json(), json!(3));
    }

    #[test]
    fn a_stream_has_any_number_of_documents() {
        for (source, expected) in [
            ("", vec![]),
            ("# only a comment\n", vec![]),
            ("---\n", vec![json!(null)]),
            ("---\na: 1\n---\n# nothing\n---\nb: 2\n...\n", vec![json!({"a": 1}), json!(null), json!({"b": 2})]),
            ("a: 1\n...\n---\nb: 2\n", vec![json!({"a": 1}), json!({"b": 2})]),
            ("--- {a: 1}\n--- # comment\nb: 2\n", vec![json!({"a": 1}), json!({"b": 2})]),
        ] {
            let documents = parse_documents(source, Limits::MANIFEST).unwrap();
            assert_eq!(documents.iter().map(Node::to_json).collect::<Vec<_>>(), expected, "{source:?}");
        }
    }

    #[test]
    fn json_objects_may_follow_each_other() {
        let source = "\u{feff} {\"a\": \"b\"}\n{\"c\": [1]} {}\n";
        let documents = parse_documents(source, Limits::MANIFEST).unwrap();
        let values: Vec<_> = documents.iter().map(Node::to_json).collect();
        assert_eq!(values, [json!({"a": "b"}), json!({"c": [1]}), json!({})]);
        assert_eq!(documents[0].field("a").unwrap().span.slice(source), "\"b\"");
        assert_eq!(documents[1].field("c").unwrap().span.slice(source), "[1]");
        assert_eq!(documents[2].span.slice(source), "{}");
        for broken in ["{\"a\": 1}\n{\"b\"", "{\"a\": 1}\nb: 2\n", "{\"a\": 1}]"] {
            assert!(parse_documents(broken, Limits::MANIFEST).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn every_value_knows_its_place() {
        let source = "\u{feff}plain: a b  # c\nsingle: 'x'\ndouble: !t \"ö\"\nmulti: one\n  two\nliteral: &l |- # |\n  text\n\nfolded: >\n  f\n\
                      flow: {k: [v, w]}\nblock:\n- i: 1\n- |\n  j\nalias: *l\nnothing: # none\nlast: z\n";
        let node = one(source);
        for (key, style, expected) in [
            ("plain", Style::Plain, "a b"),
            ("single", Style::SingleQuoted, "'x'"),
            ("double", Style::DoubleQuoted, "\"ö\""),
            ("multi", Style::Plain, "one\n  two"),
            ("literal", Style::Literal, "|- # |\n  text\n\n"),
            ("folded", Style::Folded, ">\n  f\n"),
            ("flow", Style::Flow, "{k: [v, w]}"),
            ("alias", Style::Literal, "|- # |\n  text\n\n"),
            ("nothing", Style::Plain, ""),
            ("last", Style::Plain, "z"),
        ] {
            let value = node.field(key).unwrap();
            assert_eq!((value.style, value.span.slice(source)), (style, expected), "{key}");
        }
        assert_eq!(node.field("alias").unwrap().alias.unwrap().slice(source), "*l");
        let items = node.field("block").unwrap().items();
        assert_eq!(items[0].span.slice(source), "i: 1");
        assert_eq!(items[1].span.slice(source), "|\n  j\n");
        assert_eq!(node.entries()[0].key_span.slice(source), "plain");
        assert_eq!(node.span.end, source.len() - 1);
    }

    #[test]
    fn what_is_no_yaml_is_refused_with_its_place() {
        for (source, expected) in [
            ("a: b: c\n", "1:5 mapping values are not allowed"),
            ("a:\n\tb: 1\n", "2:2 tabs disallowed"),
            ("a: *nowhere\n", "1:4 there is no anchor of this name"),
            ("a: &x [1, *x]\n", "1:11 the value of this anchor contains itself"),
            ("a: .nan\n", "1:4 JSON has no number"),
            ("a: !!int x\n", "1:10 the value is tagged !!int"),
            ("~: 1\n", "1:1 a key cannot be null"),
            ("[a]: 1\n", "1:1 a list cannot be a key"),
            ("{a: 1}: 1\n", "1:1 a mapping cannot be a key"),
            ("a: \u{1}\n", "1:4 the control character U+0001"),
            ("a: 'open", "unclosed quote"),
            ("a: [1, 2\nb: 3\n", "2:2 "),
        ] {
            let message = refused(source, Limits::MANIFEST);
            assert!(message.contains(expected), "{source:?}: {message}");
        }
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let before = format!("*a{}", level - 1);
            laughs += &format!("a{level}: &a{level} [{}]\n", [before.as_str(); 9].join(", "));
        }
        assert!(refused(&laughs, Limits::POLICY).contains("aliases expand to more than"));
        assert!(refused(&laughs, Limits::MANIFEST).contains("aliases expand to more than"));
        for deep in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000)] {
            let message = refused(&deep, Limits::MANIFEST);
            assert!(message.contains("more than 200 deep"), "{message}");
        }
        let chain: String = (1..300).map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1)).collect();
        assert!(refused(&format!("a0: &a0 []\n{chain}"), Limits::MANIFEST).contains("more than 200 deep"));
        let few = Limits { nodes: 3, ..Limits::POLICY };
        assert!(refused("[1, 2, 3]", few).contains("more than 3 values"));
        assert!(parse_documents("[1, 2]", few).is_ok());
    }
}
