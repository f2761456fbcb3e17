//! The JSON of a docker config, read as Go's `encoding/json` fills the kubelet's types: names without regard to case,
//! `null` that leaves a text as it is and empties a map, the last of several that counts, unknown fields passed over.
//! What is read are the keys of the entries, and whether the rest has the right types.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::coverage::normal_key;
use super::{Coverage, Fault, Format, auth};

/// How deep Go reads.
pub(super) const MAX_DEPTH: usize = 10_000;

/// Reads all of the bytes.
pub(super) fn read(format: Format, bytes: &[u8]) -> Result<Coverage, Fault> {
    // First whether it is JSON at all, as Go does it: what fails afterwards has the wrong type. Of the errors only the
    // place is used, since their text can quote what was read.
    serde_json::from_slice::<IgnoredAny>(bytes)
        .map_err(|error| Fault::NotJson { line: error.line(), column: error.column() })?;
    if depth(bytes) > MAX_DEPTH {
        return Err(Fault::TooDeep);
    }
    let fault = Cell::new(None);
    let mut auths = Auths { keys: Vec::new(), count: 0, fault: &fault };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let is_read = match format {
        Format::ConfigJson => Object(&mut Document { auths: &mut auths }).deserialize(&mut deserializer),
        Format::Cfg => Object(&mut auths).deserialize(&mut deserializer),
    };
    match is_read {
        Ok(()) => Ok(Coverage::new(auths.keys)),
        Err(_) => Err(fault.get().unwrap_or(Fault::Document)),
    }
}

/// How deep lists and objects are nested in what is JSON.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut is_text, mut is_escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !is_text => depth -= 1,
            _ => {}
        }
    }
    deepest
}

/// What an object, or `null` in its place, is read into.
trait Fields {
    /// Reads or skips the value of a field.
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, values: &mut A) -> Result<(), A::Error>;

    /// `null` stands in the place of the object.
    fn null(&mut self) {}
}

struct Document<'a, 'f> {
    auths: &'a mut Auths<'f>,
}

impl Fields for Document<'_, '_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, values: &mut A) -> Result<(), A::Error> {
        let fault = self.auths.fault;
        if is_named(name, "auths") {
            values.next_value_seed(Object(self.auths)).inspect_err(|_| set(fault, Fault::Auths))
        } else if is_named(name, "HttpHeaders") {
            values.next_value_seed(Object(&mut Headers)).inspect_err(|_| set(fault, Fault::HttpHeaders))
        } else {
            values.next_value().map(|IgnoredAny| ())
        }
    }
}

/// The kubelet makes nothing of them, but reads them.
struct Headers;

impl Fields for Headers {
    fn field<'de, A: MapAccess<'de>>(&mut self, _: &str, values: &mut A) -> Result<(), A::Error> {
        values.next_value_seed(Text(|_: &[u8]| ())).map(|_| ())
    }
}

struct Auths<'f> {
    keys: Vec<Vec<u8>>,
    /// Entries that were begun.
    count: usize,
    /// The first fault.
    fault: &'f Cell<Option<Fault>>,
}

impl Fields for Auths<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, values: &mut A) -> Result<(), A::Error> {
        self.count += 1;
        let mut entry = Entry { number: self.count, is_auth_readable: true, fault: self.fault };
        let read = values.next_value_seed(Object(&mut entry));
        read.inspect_err(|_| set(self.fault, Fault::Entry { entry: self.count }))?;
        if !entry.is_auth_readable {
            set(self.fault, Fault::Auth { entry: self.count });
            return Err(serde::de::Error::custom("auth"));
        }
        self.keys.extend(normal_key(name));
        Ok(())
    }

    fn null(&mut self) {
        self.keys.clear();
    }
}

/// Credentials, of which nothing is kept. An entry without any is an entry all the same.
struct Entry<'f> {
    number: usize,
    /// Of the last `auth` that is not `null`.
    is_auth_readable: bool,
    fault: &'f Cell<Option<Fault>>,
}

impl Fields for Entry<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, values: &mut A) -> Result<(), A::Error> {
        let Some(field) = ["username", "password", "email", "auth"].into_iter().find(|field| is_named(name, field))
        else {
            return values.next_value().map(|IgnoredAny| ());
        };
        let is_readable = |text: &[u8]| field != "auth" || text.is_empty() || auth::is_pair(text);
        let read = values.next_value_seed(Text(is_readable));
        let read = read.inspect_err(|_| set(self.fault, Fault::Field { entry: self.number, field }))?;
        if let Some(is_readable) = read.filter(|_| field == "auth") {
            self.is_auth_readable = is_readable;
        }
        Ok(())
    }
}

fn set(fault: &Cell<Option<Fault>>, new: Fault) {
    fault.set(fault.get().or(Some(new)));
}

/// Go finds a field by its name without regard to case, Unicode's: the long s and the Kelvin sign are letters, too.
fn is_named(written: &str, name: &str) -> bool {
    let fold = |character: char| match character {
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    written.chars().map(fold).eq(name.chars().map(fold))
}

/// Reads an object or `null`.
struct Object<'o, F>(&'o mut F);

impl<'de, F: Fields> DeserializeSeed<'de> for Object<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, F: Fields> Visitor<'de> for Object<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        self.0.null();
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key_seed(Name)? {
            self.0.field(&String::from_utf8_lossy(&name), &mut fields)?;
        }
        Ok(())
    }
}

/// Reads the name of a field, which need not be UTF-8.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, [u8]>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_bytes<E>(self, name: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_vec()))
    }
}

/// Reads a text or `null`, and keeps what the function says of the text.
struct Text<F>(F);

impl<'de, T, F: FnOnce(&[u8]) -> T> DeserializeSeed<'de> for Text<F> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, T, F: FnOnce(&[u8]) -> T> Visitor<'de> for Text<F> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }

    fn visit_bytes<E>(self, text: &[u8]) -> Result<Self::Value, E> {
        Ok(Some((self.0)(text)))
    }
}
