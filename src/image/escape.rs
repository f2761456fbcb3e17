//! Foreign text in a message (A6): what a terminal would obey, or not show, is written out.

use std::fmt::{self, Write as _};

/// Text from a pod, a policy or a network, for a message: control, bidi and zero-width characters come out as `\u{..}`.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a> {
    text: &'a str,
    most_chars: usize,
}

impl<'a> Escaped<'a> {
    /// The whole text.
    pub fn new(text: &'a str) -> Self {
        Self { text, most_chars: usize::MAX }
    }

    /// At most so many characters of the text, and `…` where it goes on.
    pub fn cut(text: &'a str, most_chars: usize) -> Self {
        Self { text, most_chars }
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nearly always that is all of it.
        let plain = self.text.bytes().take(self.most_chars).take_while(|byte| matches!(byte, b' '..=b'~')).count();
        let (plain, rest) = self.text.split_at(plain);
        f.write_str(plain)?;
        for (count, c) in rest.chars().enumerate() {
            if count == self.most_chars - plain.len() {
                return f.write_char('…');
            }
            if is_hidden(c) { write!(f, "{}", c.escape_unicode())? } else { f.write_char(c)? }
        }
        Ok(())
    }
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a6_hidden_characters_are_written_out() {
        for (text, shown) in [
            ("nginx:1.27 ü 漢", "nginx:1.27 ü 漢"),
            ("a\tb\r\n\u{1b}[31m", r"a\u{9}b\u{d}\u{a}\u{1b}[31m"),
            ("\u{202e}x\u{200b}\u{feff}\u{9f}", r"\u{202e}x\u{200b}\u{feff}\u{9f}"),
        ] {
            assert_eq!(Escaped::new(text).to_string(), shown);
        }
        assert_eq!(Escaped::cut("äöü", 3).to_string(), "äöü");
        assert_eq!(Escaped::cut("äöüx", 3).to_string(), "äöü…");
    }
}
