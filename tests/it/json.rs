//! The JSON reader of the request path: what it reads, it takes or refuses as serde_json does, and reads the same out of
//! it; what it passes by, it passes by whole.

use mirrorgate::json::{Reader, Writer};
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

/// Reads everything there is into a `Value`, by the reader's own methods; numbers as their text.
fn read(json: &mut Reader<'_>) -> Result<Value, mirrorgate::json::Fault> {
    let start = json.clone();
    let raw = json.raw()?;
    *json = start;
    Ok(match raw.as_bytes()[0] {
        b'{' => {
            let mut object = serde_json::Map::new();
            json.object(|json, key| {
                object.insert(key.to_owned(), read(json)?);
                Ok(())
            })?;
            object.into()
        }
        b'[' => {
            let mut list = Vec::new();
            json.list(|json| {
                list.push(read(json)?);
                Ok(())
            })?;
            list.into()
        }
        b'"' => json.string()?.to_string().into(),
        b't' | b'f' => json.bool()?.into(),
        b'n' => json.optional(read)?.into(),
        _ => json.raw()?.into(),
    })
}

/// `value` as `read` gives it.
fn with_numbers_as_text(value: Value) -> Value {
    match value {
        Value::Number(number) => number.to_string().into(),
        Value::Array(list) => list.into_iter().map(with_numbers_as_text).collect(),
        Value::Object(object) => object
            .into_iter()
            .map(|(key, value)| (key, with_numbers_as_text(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other,
    }
}

/// Reads every part of a text.
fn reads(text: &str) -> bool {
    let mut json = Reader::new(text);
    read(&mut json).is_ok() && json.end().is_ok()
}

/// As `reads`; numbers have no limits there.
fn serde_json_reads(text: &str) -> bool {
    let limited = match serde_json::from_str::<Value>(text) {
        Ok(_) => true,
        Err(error) => error.to_string().contains("out of range"),
    };
    limited && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter_map("a number of JSON", |number| serde_json::Number::from_f64(number).map(Value::from)),
        any::<String>().prop_map(Value::from),
        "[ -~]{0,24}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|entries| entries.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// JSON, or what is left of it once a few bytes are others.
fn nearly_json() -> impl Strategy<Value = String> {
    let bytes = prop_oneof![
        "[\\[\\]{}\",:\\\\ \n\t.eE+-]".prop_map(|text: String| text.into_bytes()[0]),
        "[0-9a-z]".prop_map(|text: String| text.into_bytes()[0]),
        any::<u8>(),
    ];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), bytes, 0..3_u8), 0..4);
    (any_json(), any::<bool>(), edits).prop_map(|(value, pretty, edits)| {
        let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        let mut bytes = text.into_bytes();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => bytes[at] = byte,
                _ if at < bytes.len() => _ = bytes.remove(at),
                _ => {}
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn takes_what_serde_json_takes(text in nearly_json()) {
        prop_assert_eq!(reads(&text), serde_json_reads(&text), "{}", text);
    }

    #[test]
    fn passes_by_whole_values(value in any_json(), pretty in any::<bool>(), lead in 0..70_usize, behind in "[,\\]} \"]{0,3}") {
        let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        let padded = format!("{}{text}{behind}", " ".repeat(lead));
        let mut json = Reader::new(&padded);
        prop_assert_eq!(json.raw().unwrap(), &text);
        prop_assert_eq!(json.end().is_ok(), behind.trim().is_empty());
    }

    #[test]
    fn reads_what_serde_json_reads(value in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        prop_assert_eq!(read(&mut Reader::new(&text)).unwrap(), with_numbers_as_text(value));
    }

    #[test]
    fn what_is_written_reads_back(texts in prop::collection::vec(any::<String>(), 0..4)) {
        let mut json = Writer::default();
        json.list("[]", &texts, |json, text| {
            json.string(text);
        });
        prop_assert_eq!(serde_json::from_str::<Vec<String>>(&json.into_string()).unwrap(), texts);
    }
}

#[test]
fn the_corners_of_the_grammar() {
    for text in [
        "",
        " ",
        "nul",
        "nulll",
        "truefalse",
        "01",
        "-",
        "-01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "0x1",
        "1 2",
        "[1,]",
        "{,}",
        "[",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "\"",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\t\"",
        "\u{feff}1",
        "\u{a0}1",
        "[]]",
        "{\"a\" : [ 1 , -0.5e-7 , true ] }\r\n\t ",
        "-0",
        "0",
        "1E400",
        "\"\\ud800\"",
        "[[],{},\"\"]",
        "[}",
        "{]",
    ] {
        assert_eq!(reads(text), serde_json_reads(text), "{text:?}");
    }
    // However deep: nothing is kept for what is passed by.
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert_eq!(Reader::new(&deep).raw().unwrap(), deep);
    assert!(Reader::new(&deep[..deep.len() - 1]).raw().is_err());
}

#[test]
fn a_fault_names_the_path_and_what_is_there() {
    let read = |text: &'static str| {
        let mut json = Reader::new(text);
        let read = json.object(|json, key| match key {
            "spec" => json.object(|json, _| json.list(|json| json.object(|json, _| json.string().map(drop)))),
            _ => json.skip(),
        });
        read.and_then(|()| json.end()).unwrap_err()
    };
    for (text, expected) in [
        (
            r#"{"spec":{"containers":[{},{"image":7}]}}"#,
            "spec.containers[1].image: expected a string, found a number at byte 35",
        ),
        (r#"{"spec":[]}"#, "spec: expected an object, found a list at byte 8"),
        (r#"{"spec":{"a":null}}"#, "spec.a: expected a list, found null at byte 13"),
        (r#"{"x":tru}"#, "x: no JSON: expected a value at byte 5"),
        (r#"{"x":1"#, "no JSON: expected `,` or `}` at byte 6"),
        (r#"{}{"#, "no JSON: expected the end of the text at byte 2"),
        (
            r#"{"spec":{"a":[{"b":"\ud800"}]}}"#,
            "spec.a[0].b: no JSON: expected escapes that make characters at byte 19",
        ),
    ] {
        assert_eq!(read(text).to_string(), expected);
    }
    assert_eq!(read(r#"{"spec":[]}"#).reason().to_string(), "spec: expected an object, found a list");
}
