//! What looks like a key in a policy: in place of a certificate a private key was pasted before, and messages about a
//! policy go to terminals, logs and whoever else edits it.

use std::borrow::Cow;

/// More base64 than this in a row is a certificate, or what was taken for one: perhaps a private key.
const MOST_BASE64: usize = 40;

/// The text with stars from where a certificate or key begins to the ends of the lines, byte for byte as long as it is.
pub(super) fn masked(text: &str) -> Cow<'_, str> {
    if !text.split('\n').any(|line| start(line).is_some()) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (content, end) = match line.strip_suffix('\n') {
            Some(content) => (content, "\n"),
            None => (line, ""),
        };
        let hidden = start(content).unwrap_or(content.len());
        shown.push_str(&content[..hidden]);
        shown.extend(std::iter::repeat_n('*', content.len() - hidden));
        shown.push_str(end);
    }
    Cow::Owned(shown)
}

/// Where what nobody needs to read begins in a line.
fn start(line: &str) -> Option<usize> {
    let armour = line.find("-----BEGIN ");
    [armour, long_base64(line)].into_iter().flatten().min()
}

/// Where the first long run of base64 begins. Names, hosts and digests are none: they have no capitals, and a key has.
fn long_base64(line: &str) -> Option<usize> {
    let (mut start, mut has_capitals) = (0, false);
    for (at, byte) in line.bytes().enumerate() {
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')) {
            (start, has_capitals) = (at + 1, false);
            continue;
        }
        has_capitals |= byte.is_ascii_uppercase();
        if at - start >= MOST_BASE64 && has_capitals {
            return Some(start);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_masked_to_the_ends_of_their_lines_and_digests_are_not() {
        let digest = format!("images: [nginx@sha256:{}]", "0a9f".repeat(16));
        let base64 = "MIGHAgEAMBMG".repeat(4);
        for (text, shown) in [
            ("hosts: [docker.io]".to_owned(), "hosts: [docker.io]".to_owned()),
            (digest.clone(), digest.clone()),
            (format!("Of QA, {digest}"), format!("Of QA, {digest}")),
            (format!("data: {base64} # x\nb: 1\n"), format!("data: {}\nb: 1\n", "*".repeat(52))),
            ("a: |\n  -----BEGIN KEY-----\n".to_owned(), format!("a: |\n  {}\n", "*".repeat(19))),
        ] {
            assert_eq!(masked(&text), shown);
        }
    }
}
