//! JSON, written front to back into one buffer.

use std::fmt;

use super::scan::plain_end;

/// Writes JSON. What is written raw is the caller's syntax, or a text that he knows to need no escapes.
#[derive(Debug, Default)]
pub struct Writer {
    out: String,
}

impl Writer {
    /// With room for so many bytes: a buffer that grows copies what it holds.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { out: String::with_capacity(bytes) }
    }

    /// Writes a piece of JSON as it is.
    pub fn raw(&mut self, json: &str) -> &mut Self {
        self.out.push_str(json);
        self
    }

    /// Writes a string in its quotes, whose text needs no escapes: what it came from allows none of the characters that do.
    pub fn plain(&mut self, text: &str) -> &mut Self {
        debug_assert_eq!(plain_end(text.as_bytes(), 0), text.len(), "`{text}` needs escapes");
        self.raw("\"").raw(text).raw("\"")
    }

    /// Writes a string in its quotes, with escapes where it needs them.
    pub fn string(&mut self, text: &str) -> &mut Self {
        self.raw("\"").escaped(text).raw("\"")
    }

    /// Writes a value in quotes, as it is displayed, with escapes where it needs them.
    pub fn display(&mut self, value: impl fmt::Display) -> &mut Self {
        self.raw("\"");
        // Writing to a `String` does not fail; a value that fails has written what it could.
        let _ = fmt::Write::write_fmt(&mut Escaping(self), format_args!("{value}"));
        self.raw("\"")
    }

    /// Writes a value as it is displayed: JSON.
    pub fn display_raw(&mut self, value: impl fmt::Display) -> &mut Self {
        let _ = fmt::Write::write_fmt(&mut self.out, format_args!("{value}"));
        self
    }

    /// Writes a number.
    pub fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.raw(itoa::Buffer::new().format(number))
    }

    /// Writes an array (`[]`) or an object (`{}`): what `entry` writes for each of `entries`, with commas between.
    pub fn list<T>(
        &mut self,
        brackets: &'static str,
        entries: impl IntoIterator<Item = T>,
        mut entry: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        let (open, close) = brackets.split_at(1);
        let mut separator = open;
        for item in entries {
            self.raw(separator);
            entry(self, item);
            separator = ",";
        }
        if separator == open {
            self.raw(open);
        }
        self.raw(close)
    }

    /// Writes what a closure appends to the buffer: JSON.
    pub fn append(&mut self, write: impl FnOnce(&mut String)) -> &mut Self {
        write(&mut self.out);
        self
    }

    /// What was written so far.
    pub fn as_str(&self) -> &str {
        &self.out
    }

    /// Forgets what was written, and keeps the room for it.
    pub fn clear(&mut self) {
        self.out.clear();
    }

    /// What was written.
    pub fn into_string(self) -> String {
        self.out
    }

    fn escaped(&mut self, text: &str) -> &mut Self {
        let bytes = text.as_bytes();
        let mut start = 0;
        loop {
            let end = plain_end(bytes, start);
            self.out.push_str(&text[start..end]);
            let Some(&byte) = bytes.get(end) else { return self };
            match byte {
                b'"' => self.out.push_str("\\\""),
                b'\\' => self.out.push_str("\\\\"),
                b'\n' => self.out.push_str("\\n"),
                b'\r' => self.out.push_str("\\r"),
                b'\t' => self.out.push_str("\\t"),
                _ => {
                    const HEX: &[u8; 16] = b"0123456789abcdef";
                    self.out.push_str("\\u00");
                    self.out.push(char::from(HEX[usize::from(byte >> 4)]));
                    self.out.push(char::from(HEX[usize::from(byte & 15)]));
                }
            }
            start = end + 1;
        }
    }
}

/// What is displayed into it becomes part of a string.
struct Escaping<'w>(&'w mut Writer);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.escaped(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_comes_back_as_it_was() {
        let every: String = ('\0'..='\u{1ff}').chain(['\u{2028}', '\u{fffd}', '\u{1f980}']).collect();
        for text in ["", "nginx:1.27", r#"a"b\c"#, "\u{0}\u{1f}\u{7f}\u{80}", &every] {
            let mut writer = Writer::default();
            writer.string(text);
            let json = writer.into_string();
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text, "{json}");
            let mut displayed = Writer::default();
            displayed.display(text);
            assert_eq!(displayed.as_str(), json);
        }
    }
}
