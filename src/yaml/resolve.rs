//! What a scalar means: the rules of `resolve.go` of goyaml.v2 and of `convertToJSONableObject` of sigs.k8s.io/yaml.
//!
//! Where the two differ from the YAML 1.1 specification, they count and not the specification: base 60 is text, `y`
//! is a boolean, a date is text, `08` is the number 8.

use base64::Engine as _;
use serde_json::Number;

/// A scalar with its meaning, before it has to be JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Integer(i64),
    /// An integer over `i64::MAX`.
    Unsigned(u64),
    /// Also infinite or not a number.
    Float(f64),
    Text(String),
}

/// `tag` is the full tag (`tag:yaml.org,2002:int`), or nothing for the author's silence; `plain` says that the text
/// was not quoted and is no block scalar. The error is in words.
pub(super) fn resolve(tag: Option<&str>, text: &str, plain: bool) -> Result<Scalar, String> {
    let short = match tag {
        None if plain => "",
        None => return Ok(Scalar::Text(text.to_owned())),
        Some(tag) => match tag.strip_prefix("tag:yaml.org,2002:") {
            Some(short @ ("str" | "bool" | "int" | "float" | "null" | "timestamp")) => short,
            Some("binary") => return binary(text),
            _ => return Ok(Scalar::Text(text.to_owned())),
        },
    };
    if short == "str" {
        return Ok(Scalar::Text(text.to_owned()));
    }
    let scalar = untagged(text);
    match (short, &scalar) {
        ("", _) | ("null", Scalar::Null) | ("bool", Scalar::Bool(_)) | ("float", Scalar::Float(_)) => Ok(scalar),
        ("int", Scalar::Integer(_) | Scalar::Unsigned(_)) => Ok(scalar),
        #[expect(clippy::cast_precision_loss, reason = "that is what the tag asks for")]
        ("float", Scalar::Integer(integer)) => Ok(Scalar::Float(*integer as f64)),
        ("timestamp", Scalar::Text(text)) if is_date(text) => Ok(scalar),
        (wanted, _) => Err(format!("the value is tagged !!{wanted}, which it cannot be")),
    }
}

impl Scalar {
    /// The number as JSON; `None` for one that JSON cannot hold. A whole number is written without a fraction, as Go
    /// writes it.
    pub(super) fn float(float: f64) -> Option<Number> {
        if float.fract() == 0.0 && !(float == 0.0 && float.is_sign_negative()) {
            let digits = float.to_string();
            if let Ok(integer) = digits.parse::<i64>() {
                return Some(integer.into());
            }
            if let Ok(integer) = digits.parse::<u64>() {
                return Some(integer.into());
            }
        }
        Number::from_f64(float)
    }

    /// The scalar as the key of a mapping. The error is in words.
    pub(super) fn into_key(self) -> Result<String, String> {
        Ok(match self {
            Self::Text(text) => text,
            Self::Bool(value) => value.to_string(),
            Self::Integer(integer) => integer.to_string(),
            Self::Float(float) => float_key(float),
            Self::Null => return Err("a key cannot be null; put it in quotes".to_owned()),
            Self::Unsigned(_) => return Err("the number is too large for a key that is not in quotes".to_owned()),
        })
    }
}

fn untagged(text: &str) -> Scalar {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Scalar::Bool(false),
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ => number(text).unwrap_or_else(|| Scalar::Text(text.to_owned())),
    }
}

fn number(text: &str) -> Option<Scalar> {
    match text.as_bytes().first()? {
        // Here it is not goyaml.v2 that drops underscores, but `strconv.ParseFloat`: each between two digits.
        b'.' => {
            let parts: Vec<&str> = text.split('_').collect();
            let digit = |character: char| character.is_ascii_digit();
            let between = |pair: &[&str]| pair[0].ends_with(digit) && pair[1].starts_with(digit);
            if parts.windows(2).all(between) { finite(&parts.concat()) } else { None }
        }
        b'+' | b'-' | b'0'..=b'9' => {
            let digits = text.replace('_', "");
            integer(&digits).or_else(|| if is_decimal(&digits) { finite(&digits) } else { None }).or_else(|| {
                // Go's second look at `0b` takes a sign behind it.
                let signed = digits.strip_prefix("0b").filter(|rest| rest.starts_with(['+', '-']))?;
                i64::from_str_radix(signed, 2).ok().map(Scalar::Integer)
            })
        }
        _ => None,
    }
}

/// `strconv.ParseInt(text, 0, 64)`, and `ParseUint` where that overflows.
fn integer(text: &str) -> Option<Scalar> {
    let (negative, magnitude) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match magnitude.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &magnitude[2..]),
        [b'0', b'b' | b'B', ..] => (2, &magnitude[2..]),
        [b'0', b'o' | b'O', ..] => (8, &magnitude[2..]),
        [b'0', _, ..] => (8, &magnitude[1..]),
        _ => (10, magnitude),
    };
    // Rust takes a sign behind the prefix, Go does not.
    if !digits.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        return 0i64.checked_sub_unsigned(value).map(Scalar::Integer);
    }
    match i64::try_from(value) {
        Ok(value) => Some(Scalar::Integer(value)),
        Err(_) => (!text.starts_with('+')).then_some(Scalar::Unsigned(value)),
    }
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`
fn is_decimal(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    all_digits(whole)
        && all_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|digits| !digits.is_empty() && all_digits(digits))
}

/// A float; one that is too large is an error to Go, and so text.
fn finite(text: &str) -> Option<Scalar> {
    text.parse().ok().filter(|float: &f64| float.is_finite()).map(Scalar::Float)
}

/// Go would parse the date; it becomes text all the same, so the look of it is enough.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 8 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-'
}

fn binary(text: &str) -> Result<Scalar, String> {
    let encoded: String = text.chars().filter(|character| !matches!(character, '\r' | '\n')).collect();
    match base64::engine::general_purpose::STANDARD.decode(encoded) {
        Ok(bytes) => Ok(Scalar::Text(String::from_utf8_lossy(&bytes).into_owned())),
        Err(_) => Err("the value is tagged !!binary, but is not base64".to_owned()),
    }
}

/// `strconv.FormatFloat(key, 'g', -1, 32)`, with YAML's names for what is not finite.
fn float_key(float: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "Go formats keys with 32 bits")]
    let float = float as f32;
    if float.is_nan() {
        return ".nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { ".inf".to_owned() } else { "-.inf".to_owned() };
    }
    let scientific = format!("{float:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{float}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Scalar {
        resolve(None, text, true).unwrap()
    }

    #[test]
    fn plain_scalars_mean_what_they_mean_to_go() {
        for text in ["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"] {
            assert_eq!(plain(text), Scalar::Bool(true), "{text}");
        }
        for text in ["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"] {
            assert_eq!(plain(text), Scalar::Bool(false), "{text}");
        }
        for text in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(plain(text), Scalar::Null, "{text}");
        }
        for (text, expected) in [
            ("0", 0),
            ("-1", -1),
            ("+12", 12),
            ("0755", 493),
            ("-0755", -493),
            ("0o17", 15),
            ("0x1F", 31),
            ("0b101", 5),
            ("-0b101", -5),
            ("0b-1", -1),
            ("1_000", 1000),
            ("1__0_", 10),
            ("0_7", 7),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(plain(text), Scalar::Integer(expected), "{text}");
        }
        assert_eq!(plain("18446744073709551615"), Scalar::Unsigned(u64::MAX));
        for (text, expected) in [
            ("1.5", 1.5),
            ("-.5", -0.5),
            (".5", 0.5),
            (".8_0", 0.8),
            (".5e1_0", 5e9),
            ("1.", 1.0),
            ("1e3", 1000.0),
            ("1_0.5", 10.5),
            ("08", 8.0),
            ("+18446744073709551615", 18_446_744_073_709_551_615.0),
            (".inf", f64::INFINITY),
            ("-.Inf", f64::NEG_INFINITY),
        ] {
            assert_eq!(plain(text), Scalar::Float(expected), "{text}");
        }
        for text in [
            "yEs",
            "nULL",
            "tRUE",
            "1:30",
            "190:20:30",
            "2026-11-21",
            "0x",
            "0xg",
            "0b2",
            "0o8",
            "1e",
            "1e400",
            ".",
            "-",
            "+",
            "..",
            "._5",
            ".5_",
            ".5__0",
            ".5_e3",
            "_1",
            "1.2.3",
            "1.5Gi",
            "100m",
            "<<",
            "=",
            "-0b-1",
            "0x-1",
            "--1",
            ".5.",
            "inf",
            "nan",
            "1e5e",
            "+.e1",
        ] {
            assert_eq!(plain(text), Scalar::Text(text.to_owned()), "{text}");
        }
    }

    #[test]
    fn whole_floats_are_written_without_a_fraction() {
        for (float, expected) in [
            (1e3, "1000"),
            (1e19, "10000000000000000000"),
            (-2.0, "-2"),
            (1.5, "1.5"),
            (-0.0, "-0.0"),
            (1e300, "1e+300"),
        ] {
            assert_eq!(Scalar::float(float).unwrap().to_string(), expected);
        }
        assert_eq!(Scalar::float(f64::INFINITY), None);
    }

    #[test]
    fn quotes_and_tags_decide_before_the_text_does() {
        let tagged = |short: &str, text: &str, plain| resolve(Some(&format!("tag:yaml.org,2002:{short}")), text, plain);
        assert_eq!(resolve(None, "on", false), Ok(Scalar::Text("on".to_owned())));
        assert_eq!(tagged("str", "1", true), Ok(Scalar::Text("1".to_owned())));
        assert_eq!(tagged("int", "1", false), Ok(Scalar::Integer(1)));
        assert_eq!(tagged("float", "1", true), Ok(Scalar::Float(1.0)));
        assert_eq!(tagged("bool", "off", false), Ok(Scalar::Bool(false)));
        assert_eq!(tagged("null", "", false), Ok(Scalar::Null));
        assert_eq!(tagged("binary", "YWI=", true), Ok(Scalar::Text("ab".to_owned())));
        assert_eq!(tagged("timestamp", "2026-11-21", true), Ok(Scalar::Text("2026-11-21".to_owned())));
        assert_eq!(tagged("set", "1", true), Ok(Scalar::Text("1".to_owned())));
        assert_eq!(resolve(Some("!mine"), "1", true), Ok(Scalar::Text("1".to_owned())));
        for (short, text) in [
            ("int", "1.5"),
            ("int", "x"),
            ("bool", "1"),
            ("null", "x"),
            ("float", "x"),
            ("binary", "?"),
            ("timestamp", "x"),
        ] {
            assert!(tagged(short, text, true).is_err(), "!!{short} {text}");
        }
    }

    #[test]
    fn keys_are_written_as_go_writes_them() {
        for (text, expected) in [
            ("1", "1"),
            ("0x10", "16"),
            ("on", "true"),
            ("n", "false"),
            ("1.5", "1.5"),
            ("1e5", "100000"),
            ("1e6", "1e+06"),
            ("1234567.5", "1.2345675e+06"),
            ("1e-5", "1e-05"),
            ("-2.5e-7", "-2.5e-07"),
            ("0.0001", "0.0001"),
            ("1.0", "1"),
            (".inf", ".inf"),
            ("1e39", ".inf"),
            (".nan", ".nan"),
            ("text", "text"),
        ] {
            assert_eq!(plain(text).into_key().as_deref(), Ok(expected), "{text}");
        }
        assert!(plain("~").into_key().is_err());
        assert!(plain("18446744073709551615").into_key().is_err());
    }
}
