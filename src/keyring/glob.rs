//! Go's `filepath.Match`, which the kubelet gives each label of a host to.

use std::str;

/// Whether the pattern matches all of the name; a pattern that is none matches nothing. `*` is any number of bytes but
/// `/`, `?` one character but `/`, `[a-z]` and `[^a-z]` one of a class, and `\` takes the next character as it is.
pub(super) fn matches(mut pattern: &[u8], mut name: &[u8]) -> bool {
    while !pattern.is_empty() {
        let (has_star, chunk, rest) = first_chunk(pattern);
        pattern = rest;
        if has_star && chunk.is_empty() {
            return !name.contains(&b'/');
        }
        // A chunk that is the last one has to end where the name does.
        let fits = |remainder: &&[u8]| remainder.is_empty() || !rest.is_empty();
        let starts = if has_star { name.iter().take_while(|&&byte| byte != b'/').count() } else { 0 };
        let Some(remainder) = (0..=starts).find_map(|start| match_chunk(chunk, &name[start..]).filter(fits)) else {
            return false;
        };
        name = remainder;
    }
    name.is_empty()
}

/// Whether a text has anything in it that is not taken as it is written.
pub(super) fn is_pattern(text: &[u8]) -> bool {
    text.iter().any(|byte| b"*?[\\".contains(byte))
}

/// Whether stars come first; what follows up to the next star; and the rest.
fn first_chunk(pattern: &[u8]) -> (bool, &[u8], &[u8]) {
    let stars = pattern.iter().take_while(|&&byte| byte == b'*').count();
    let pattern = &pattern[stars..];
    let (mut at, mut is_in_class) = (0, false);
    while at < pattern.len() {
        match pattern[at] {
            b'\\' if at + 1 < pattern.len() => at += 1,
            b'[' => is_in_class = true,
            b']' => is_in_class = false,
            b'*' if !is_in_class => break,
            _ => {}
        }
        at += 1;
    }
    (stars > 0, &pattern[..at], &pattern[at..])
}

/// What is left of the name behind a chunk, which holds no star.
fn match_chunk<'n>(mut chunk: &[u8], mut name: &'n [u8]) -> Option<&'n [u8]> {
    while let [first, rest @ ..] = chunk {
        match first {
            b'[' => {
                let (character, length) = first_character(name)?;
                name = &name[length..];
                let (is_member, rest) = match_class(rest, character)?;
                if !is_member {
                    return None;
                }
                chunk = rest;
            }
            b'?' => {
                let (character, length) = first_character(name)?;
                if character == '/' {
                    return None;
                }
                name = &name[length..];
                chunk = rest;
            }
            _ => {
                let (literal, rest) = if *first == b'\\' { rest.split_first()? } else { (first, rest) };
                name = name.strip_prefix(&[*literal])?;
                chunk = rest;
            }
        }
    }
    Some(name)
}

/// Whether a character is in the class behind a `[`, and what follows its `]`.
fn match_class(class: &[u8], character: char) -> Option<(bool, &[u8])> {
    let (mut class, is_negated) = match class.strip_prefix(b"^") {
        Some(class) => (class, true),
        None => (class, false),
    };
    let (mut is_listed, mut is_first) = (false, true);
    while is_first || class[0] != b']' {
        let (low, rest) = class_character(class)?;
        let (high, rest) = if rest[0] == b'-' { class_character(&rest[1..])? } else { (low, rest) };
        is_listed |= (low..=high).contains(&character);
        (class, is_first) = (rest, false);
    }
    Some((is_listed != is_negated, &class[1..]))
}

/// A character of a class, escaped or not, and what follows it, which is never nothing.
fn class_character(class: &[u8]) -> Option<(char, &[u8])> {
    let class = match class {
        [] | [b'-' | b']', ..] => return None,
        [b'\\', class @ ..] => class,
        _ => class,
    };
    let (character, length) = first_character(class)?;
    let is_broken = character == char::REPLACEMENT_CHARACTER && length == 1;
    let rest = &class[length..];
    (!is_broken && !rest.is_empty()).then_some((character, rest))
}

/// The first character of what should be UTF-8, and its length; of what is not, the replacement character, 1 byte long.
fn first_character(text: &[u8]) -> Option<(char, usize)> {
    let start = &text[..text.len().min(4)];
    let valid = match str::from_utf8(start) {
        Ok(valid) => valid,
        Err(error) => str::from_utf8(&start[..error.valid_up_to()]).ok()?,
    };
    let replacement = (!text.is_empty()).then_some((char::REPLACEMENT_CHARACTER, 1));
    valid.chars().next().map(|character| (character, character.len_utf8())).or(replacement)
}

#[cfg(test)]
mod tests {
    use super::matches;

    /// The table of Go's `path/filepath/match_test.go`.
    #[test]
    fn s3_labels_match_as_with_go() {
        for (pattern, name, is_match) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^b-d]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("a[^a][^a][^a]b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "x", true),
            ("[x\\-]", "-", true),
            ("[x\\-]", "z", false),
            ("[\\-x]", "x", true),
            ("[\\-x]", "-", true),
            ("[\\-x]", "a", false),
            ("[]a]", "]", false),
            ("[-]", "-", false),
            ("[x-]", "x", false),
            ("[x-]", "-", false),
            ("[x-]", "z", false),
            ("[-x]", "x", false),
            ("[-x]", "-", false),
            ("[-x]", "a", false),
            ("\\", "a", false),
            ("[a-b-c]", "a", false),
            ("[", "a", false),
            ("[^", "a", false),
            ("[^bc", "a", false),
            ("a[", "a", false),
            ("a[", "ab", false),
            ("a[", "x", false),
            ("a/b[", "x", false),
            ("*x", "xxx", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), is_match, "{pattern} {name}");
        }
    }
}
