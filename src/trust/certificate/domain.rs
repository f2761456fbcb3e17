//! Domains and mail addresses, as far as Go looks at those in a certificate.

use std::borrow::Cow;

/// Whether Go takes this for a domain, be it empty. One dot may go before a constraint: whatever is below it.
#[must_use]
pub fn is_domain(text: &str, is_constraint: bool) -> bool {
    if text.is_empty() {
        return true;
    }
    let labels = if is_constraint { text.strip_prefix('.').unwrap_or(text) } else { text };
    !text.ends_with('.') && are_labels(labels)
}

fn are_labels(text: &str) -> bool {
    text.split('.').all(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// A mail address (RFC 2821): what is before the `@` without its quotes, and the domain after it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox<'a> {
    /// Its bytes, which need not be letters.
    pub local: Cow<'a, [u8]>,
    /// As it stands; it may be empty.
    pub domain: &'a str,
}

impl<'a> Mailbox<'a> {
    /// `None` where Go sees no mail address.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (local, rest) = match text.strip_prefix('"') {
            Some(quoted) => quoted_local(quoted)?,
            None => plain_local(text)?,
        };
        let domain = rest.strip_prefix('@')?;
        let is_valid = domain.is_empty() || are_labels(domain);
        is_valid.then_some(Self { local: Cow::Owned(local), domain })
    }
}

fn quoted_local(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut local = Vec::new();
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((local, text.get(at + 1..)?)),
            b'\\' => match bytes.next()?.1 {
                byte @ (1..=9 | 11 | 12 | 14..=127) => local.push(byte),
                _ => return None,
            },
            1..=8 | 11 | 12 | 14..=33 | 35..=91 | 93..=127 => local.push(byte),
            _ => return None,
        }
    }
    None
}

/// Letters and dots; what stands after a backslash is taken as it is.
fn plain_local(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut local = Vec::new();
    let mut bytes = text.bytes().enumerate();
    let mut end = text.len();
    while let Some((at, byte)) = bytes.next() {
        let is_atom = byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
        match byte {
            b'\\' => local.push(bytes.next()?.1),
            _ if is_atom => local.push(byte),
            _ => {
                end = at;
                break;
            }
        }
    }
    let has_stray_dot = local.starts_with(b".") || local.ends_with(b".") || local.windows(2).any(|two| two == b"..");
    (!local.is_empty() && !has_stray_dot).then_some((local, text.get(end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t3_domains_are_read_as_go_reads_them() {
        for (text, alone, constraint) in [
            ("", true, true),
            ("a", true, true),
            ("a.b", true, true),
            ("*.b", true, true),
            ("a_b.c", true, true),
            (".b", false, true),
            ("..b", false, false),
            ("a..b", false, false),
            ("b.", false, false),
            (".", false, false),
            ("a b", false, false),
            ("a\u{7f}", false, false),
        ] {
            assert_eq!((is_domain(text, false), is_domain(text, true)), (alone, constraint), "{text:?}");
        }
    }

    #[test]
    fn t3_mail_addresses_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("foo@example.com", Some(("foo", "example.com"))),
            ("foo@", Some(("foo", ""))),
            (r#""a b"@example.com"#, Some(("a b", "example.com"))),
            (r#""a\"b"@x"#, Some(("a\"b", "x"))),
            (r#"""@x"#, Some(("", "x"))),
            (r"a\@b@x", Some(("a@b", "x"))),
            ("a.b@x", Some(("a.b", "x"))),
            (".a@x", None),
            ("a.@x", None),
            ("a..b@x", None),
            ("@x", None),
            ("a@.x", None),
            ("a@x.", None),
            ("a@x y", None),
            ("a b@x", None),
            ("a", None),
            ("", None),
            ("\"a", None),
            ("a\\", None),
        ] {
            let mailbox = Mailbox::parse(text);
            let read = mailbox.as_ref().map(|mailbox| (str::from_utf8(&mailbox.local).unwrap(), mailbox.domain));
            assert_eq!(read, expected, "{text:?}");
        }
    }
}
