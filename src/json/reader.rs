//! JSON, read front to back by whoever knows what he looks for.

use std::borrow::Cow;
use std::fmt;

use super::Text;
use super::scan::{BLOCK, Block};
use crate::image::Escaped;

/// The most characters of a key in a message.
const MOST_KEY_CHARS: usize = 80;

/// A place in a JSON text. Each method reads the value that is next.
///
/// Keys, and the values that are read, are checked against the grammar. An object or list that is passed by is followed
/// to its end by its strings and brackets alone: what is in it is not looked at, as nothing depends on it.
///
/// Where a key stands twice in an object, the reader is asked twice and the last one counts; the API server writes none twice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// What is where in the 64 bytes from `block_start` on; it goes forward with `at`.
    block: Block,
    block_start: usize,
}

/// What is wrong with a JSON text, and where.
#[derive(Clone, Debug)]
pub struct Fault(Box<Details>);

#[derive(Clone, Debug)]
struct Details {
    what: What,
    /// Bytes from the start of the text.
    offset: usize,
    /// The keys and indices that lead there, the innermost first.
    path: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// The grammar asks for something else here.
    Syntax(&'static str),
    /// JSON, and not what the reader looks for.
    Shape { expected: &'static str, found: &'static str },
}

impl Fault {
    /// What is wrong, with the keys and indices that lead there, and without the place in the text.
    pub fn reason(&self) -> impl fmt::Display + '_ {
        Reason(&self.0)
    }

    fn within(mut self, step: impl FnOnce() -> String) -> Self {
        self.0.path.push(step());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", Reason(&self.0), self.0.offset)
    }
}

struct Reason<'f>(&'f Details);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { what, offset: _, path } = self.0;
        for (number, step) in path.iter().rev().enumerate() {
            let dot = if number == 0 || step.starts_with('[') { "" } else { "." };
            write!(f, "{dot}{step}")?;
        }
        let colon = if path.is_empty() { "" } else { ": " };
        match what {
            What::Syntax(expected) => write!(f, "{colon}no JSON: expected {expected}"),
            What::Shape { expected, found } => write!(f, "{colon}expected {expected}, found {found}"),
        }
    }
}

impl std::error::Error for Fault {}

impl<'a> Reader<'a> {
    /// At the start of a text.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, block: Block::first(text.as_bytes()), block_start: 0 }
    }

    /// Reads an object: `member` is called behind each key, and reads the value.
    ///
    /// # Errors
    /// What is no JSON, or no object, or what `member` returns, with the key as its path.
    pub fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Result<(), Fault>) -> Result<(), Fault> {
        self.expect(b'{', "an object")?;
        if self.ends(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            member(self, &key).map_err(|fault| fault.within(|| Escaped::cut(&key, MOST_KEY_CHARS).to_string()))?;
            if !self.goes_on(b'}', "`,` or `}`")? {
                return Ok(());
            }
        }
    }

    /// Reads an object into a value that is empty at first: `member` is called behind each key, and reads into it.
    ///
    /// # Errors
    /// As `object`.
    pub fn object_into<T: Default>(
        &mut self,
        mut member: impl FnMut(&mut T, &mut Self, &str) -> Result<(), Fault>,
    ) -> Result<T, Fault> {
        let mut value = T::default();
        self.object(|json, key| member(&mut value, json, key))?;
        Ok(value)
    }

    /// Reads a list: `item` is called before each value, and reads it.
    ///
    /// # Errors
    /// What is no JSON, or no list, or what `item` returns, with the index as its path.
    pub fn list(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        self.expect(b'[', "a list")?;
        if self.ends(b']') {
            return Ok(());
        }
        let mut index = 0_usize;
        loop {
            item(self).map_err(|fault| fault.within(|| format!("[{index}]")))?;
            index += 1;
            if !self.goes_on(b']', "`,` or `]`")? {
                return Ok(());
            }
        }
    }

    /// Reads `null`, or what `value` reads.
    ///
    /// # Errors
    /// What `value` returns.
    pub fn optional<T>(&mut self, value: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<Option<T>, Fault> {
        if self.next() == Some(b'n') {
            self.literal("null")?;
            Ok(None)
        } else {
            value(self).map(Some)
        }
    }

    /// Reads a string.
    ///
    /// # Errors
    /// What is no JSON, no string, or escapes that make no character.
    #[inline]
    pub fn string(&mut self) -> Result<Text<'a>, Fault> {
        if self.next() != Some(b'"') {
            return Err(self.not("a string"));
        }
        let quote = self.at;
        if !self.skip_string()? {
            return Ok(Text(Cow::Borrowed(&self.text[quote + 1..self.at - 1])));
        }
        self.unescaped(quote)
    }

    /// The string from this quote up to here.
    #[cold]
    fn unescaped(&self, quote: usize) -> Result<Text<'a>, Fault> {
        match serde_json::from_str(&self.text[quote..self.at]) {
            Ok(text) => Ok(Text(Cow::Owned(text))),
            Err(_) => Err(Self::fault(quote, What::Syntax("escapes that make characters"))),
        }
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// What is no JSON, or neither.
    pub fn bool(&mut self) -> Result<bool, Fault> {
        match self.next() {
            Some(b't') => self.literal("true").map(|()| true),
            Some(b'f') => self.literal("false").map(|()| false),
            _ => Err(self.not("true or false")),
        }
    }

    /// Passes by a value, and returns its text.
    ///
    /// # Errors
    /// What is no JSON, as far as it is looked at.
    pub fn raw(&mut self) -> Result<&'a str, Fault> {
        self.blanks();
        let start = self.at;
        self.skip()?;
        Ok(&self.text[start..self.at])
    }

    /// Passes by a value.
    ///
    /// # Errors
    /// What is no JSON, as far as it is looked at.
    pub fn skip(&mut self) -> Result<(), Fault> {
        match self.next() {
            Some(b'"') => self.skip_string().map(drop),
            Some(b'{' | b'[') => self.skip_brackets(),
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => Err(self.syntax("a value")),
        }
    }

    /// The end of the text.
    ///
    /// # Errors
    /// There is more than blanks.
    pub fn end(&mut self) -> Result<(), Fault> {
        match self.next() {
            None => Ok(()),
            Some(_) => Err(self.syntax("the end of the text")),
        }
    }

    /// A key and its colon.
    #[inline]
    fn key(&mut self) -> Result<Text<'a>, Fault> {
        if self.next() != Some(b'"') {
            return Err(self.syntax("a key"));
        }
        let key = self.string()?;
        self.colon()?;
        Ok(key)
    }

    #[inline]
    fn colon(&mut self) -> Result<(), Fault> {
        if self.next() != Some(b':') {
            return Err(self.syntax("`:`"));
        }
        self.at += 1;
        Ok(())
    }

    /// Passes by the string whose quote is next, and says whether it has escapes, which are not looked at.
    #[inline]
    fn skip_string(&mut self) -> Result<bool, Fault> {
        // Most end in the block in which they begin, and have nothing special.
        let from = self.at + 1;
        let ahead = self.block_of(from);
        let quotes = self.block.quotes & ahead;
        if quotes != 0 && (self.block.controls | self.block.backslashes) & up_to(quotes) & ahead == 0 {
            self.at = self.block_start + quotes.trailing_zeros() as usize + 1;
            return Ok(false);
        }
        self.skip_long_string(from)
    }

    /// The rest of a string, from this place on.
    fn skip_long_string(&mut self, mut from: usize) -> Result<bool, Fault> {
        let mut has_escapes = false;
        loop {
            let ahead = self.block_of(from);
            let quotes = self.block.quotes & ahead;
            let inside = ahead & up_to(quotes);
            let controls = self.block.controls & inside;
            if controls != 0 {
                self.at = self.block_start + controls.trailing_zeros() as usize;
                return Err(self.syntax("no control character in a string"));
            }
            has_escapes |= self.block.backslashes & inside != 0;
            if quotes != 0 {
                self.at = self.block_start + quotes.trailing_zeros() as usize + 1;
                return Ok(has_escapes);
            }
            from = self.block_start + BLOCK;
            if from >= self.text.len() {
                self.at = self.text.len();
                return Err(self.syntax("`\"` at the end of a string"));
            }
        }
    }

    /// Passes by the object or list whose bracket is next.
    fn skip_brackets(&mut self) -> Result<(), Fault> {
        let mut depth = 0_u32;
        let mut in_string = false;
        let mut from = self.at;
        loop {
            let ahead = self.block_of(from);
            let inside = self.block.in_strings(ahead, in_string);
            let closes = self.block.closes;
            let mut rest = (self.block.opens | closes) & ahead & !inside;
            while rest != 0 {
                let bracket = rest & rest.wrapping_neg();
                // The first one opens: this does not go below zero. Without a branch for what nobody can foresee.
                depth = depth + 1 - 2 * u32::from(closes & bracket != 0);
                if depth == 0 {
                    self.at = self.block_start + bracket.trailing_zeros() as usize + 1;
                    return Ok(());
                }
                rest &= rest - 1;
            }
            in_string = inside >> 63 == 1;
            from = self.block_start + BLOCK;
            if from >= self.text.len() {
                self.at = self.text.len();
                return Err(self.syntax("the brackets to be closed"));
            }
        }
    }

    /// Goes to the block that holds `at`; the bits of the bytes from there on.
    #[inline]
    fn block_of(&mut self, at: usize) -> u64 {
        if at >= self.block_start + BLOCK {
            self.go_to_block_of(at);
        }
        u64::MAX << (at - self.block_start)
    }

    #[inline(never)]
    fn go_to_block_of(&mut self, at: usize) {
        while at >= self.block_start + BLOCK {
            self.block_start += BLOCK;
            self.block.go_to(self.text.as_bytes(), self.block_start);
        }
    }

    fn skip_number(&mut self) -> Result<(), Fault> {
        if self.byte(self.at) == Some(b'-') {
            self.at += 1;
        }
        if self.byte(self.at) == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte(self.at) == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte(self.at) {
            self.at += 1;
        }
        if self.at == start { Err(self.syntax("a digit")) } else { Ok(()) }
    }

    fn literal(&mut self, word: &'static str) -> Result<(), Fault> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.syntax("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    #[inline]
    fn expect(&mut self, bracket: u8, what: &'static str) -> Result<(), Fault> {
        if self.next() != Some(bracket) {
            return Err(self.not(what));
        }
        self.at += 1;
        Ok(())
    }

    /// Whether an object or list ends before its first entry.
    #[inline]
    fn ends(&mut self, bracket: u8) -> bool {
        let ends = self.next() == Some(bracket);
        self.at += usize::from(ends);
        ends
    }

    /// Whether another entry follows, or the object or list ends.
    #[inline]
    fn goes_on(&mut self, bracket: u8, expected: &'static str) -> Result<bool, Fault> {
        match self.next() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == bracket => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.syntax(expected)),
        }
    }

    /// The byte that is next, behind blanks.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.byte(self.at)?;
        if byte > b' ' {
            return Some(byte);
        }
        self.blanks();
        self.byte(self.at)
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.byte(self.at) {
            self.at += 1;
        }
    }

    #[inline]
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// JSON of another shape is next, or no JSON.
    #[cold]
    fn not(&mut self, expected: &'static str) -> Fault {
        let found = match self.next() {
            Some(b'"') => "a string",
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            Some(b'-' | b'0'..=b'9') => "a number",
            Some(b't' | b'f') => "true or false",
            Some(b'n') => "null",
            _ => return self.syntax("a value"),
        };
        Self::fault(self.at, What::Shape { expected, found })
    }

    #[cold]
    fn syntax(&self, expected: &'static str) -> Fault {
        Self::fault(self.at, What::Syntax(expected))
    }

    #[cold]
    fn fault(offset: usize, what: What) -> Fault {
        Fault(Box::new(Details { what, offset, path: Vec::new() }))
    }
}

/// The bits below the lowest of `bits`; all where there is none.
fn up_to(bits: u64) -> u64 {
    (bits & bits.wrapping_neg()).wrapping_sub(1)
}
