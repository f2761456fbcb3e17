//! JSON, written front to back into one buffer.

use std::fmt;

use super::scan::each_special;

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
        if cfg!(debug_assertions) {
            each_special(text.as_bytes(), |_| panic!("`{text}` needs escapes"));
        }
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
        let (out, bytes) = (&mut self.out, text.as_bytes());
        let mut written = 0;
        each_special(bytes, |at| {
            out.push_str(&text[written..at]);
            out.push('\\');
            written = at;
            // A quote and a backslash stand behind it as they are.
            if bytes[at] < b' ' {
                escape_control(out, bytes[at]);
                written += 1;
            }
        });
        out.push_str(&text[written..]);
        self
    }
}

/// Writes what stands behind the backslash for a control character.
#[cold]
fn escape_control(out: &mut String, byte: u8) {
    match byte {
        b'\n' => out.push('n'),
        b'\r' => out.push('r'),
        b'\t' => out.push('t'),
        _ => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.push_str("u00");
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
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
        let quoted = (0..40).map(|count| r#""a\"#.repeat(count));
        let texts = ["", "nginx:1.27", r#"a"b\c"#, "\u{0}\u{1f}\u{7f}\u{80}", &every].map(str::to_owned);
        for text in texts.into_iter().chain(quoted) {
            let mut writer = Writer::default();
            writer.string(&text);
            let json = writer.into_string();
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text, "{json}");
            let mut displayed = Writer::default();
            displayed.display(&text);
            assert_eq!(displayed.as_str(), json);
        }
    }
}
