//! CA certificates in PEM: what Go's `AppendCertsFromPEM` takes of a text, and a name for all that it passes over
//! without a word.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;

use crate::image::Escaped;

use super::certificate::subject_of_unparsable;
use super::pem::{self, BASE64, BEGIN, Block};
use super::{Certificate, InvalidCertificate};

/// Subjects and types of blocks in a message are cut to so many characters.
const SHOWN: usize = 100;

/// What Go's `AppendCertsFromPEM` takes of a text, and what it does not.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    /// In the order of the text; one that stands there twice is here twice.
    pub certificates: Vec<Arc<Certificate>>,
    /// In the order of the text.
    pub skipped: Vec<Skipped>,
}

/// A part of a bundle that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Which block of the text it is, from 1 on.
    pub position: usize,
    /// The line where it begins, from 1 on.
    pub line: usize,
    /// What it is.
    pub what: SkippedKind,
}

/// Why a part of a bundle is not taken. Written out, it follows the name of the part: "block 2 is a private key ..".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkippedKind {
    /// A private key, which has no business there. Nothing of it is kept.
    PrivateKey,
    /// OpenSSL's form of a certificate with remarks on what it is trusted for.
    TrustedCertificate,
    /// A block of a type that is no certificate's.
    OtherType(String),
    /// A certificate with headers, which Go passes over.
    Headers(Option<String>),
    /// A certificate that Go cannot parse, with its subject where that could be read.
    Unparsable(InvalidCertificate, Option<String>),
    /// Something, a byte order mark or spaces say, stands before its BEGIN.
    NotAtLineStart,
    /// A BEGIN without an END.
    NoEnd,
    /// Its END is for another type, or has something after it.
    OtherEnd,
    /// What is between BEGIN and END is no base64, or the lines have been put together.
    NotBase64,
    /// The whole text is a certificate in DER, of this subject.
    Der(String),
    /// The whole text is the base64 of PEM.
    EncodedTwice,
    /// The whole text is a certificate in base64 without BEGIN and END, of this subject.
    BareBase64(String),
    /// The whole text is nothing of that.
    NoPem,
}

impl Bundle {
    /// Reads a text, or whatever it is. Time and memory grow with its length and no faster.
    #[must_use]
    pub fn read(text: &[u8]) -> Self {
        let mut reader = Reader { text, bundle: Self::default(), position: 0, line: 1, counted: 0 };
        let mut at = 0;
        while let Some(block) = pem::next_block(text, at) {
            reader.skip_over(at, block.place.start);
            at = block.place.end;
            reader.take(block);
        }
        reader.skip_over(at, text.len());
        if reader.position == 0 && !text.iter().all(|&byte| pem::is_space(byte)) {
            reader.skip(0, without_blocks(text));
        }
        reader.bundle
    }

    /// Whether a private key is among what was skipped.
    #[must_use]
    pub fn has_private_key(&self) -> bool {
        self.skipped.iter().any(|skipped| skipped.what == SkippedKind::PrivateKey)
    }
}

struct Reader<'t> {
    text: &'t [u8],
    bundle: Bundle,
    /// Of the block that was met last.
    position: usize,
    /// The line in which `counted` stands.
    line: usize,
    counted: usize,
}

impl Reader<'_> {
    /// A block that Go reads.
    fn take(&mut self, block: Block<'_>) {
        let what = if is_private_key(block.kind) {
            SkippedKind::PrivateKey
        } else if block.kind == b"CERTIFICATE" && block.has_headers {
            SkippedKind::Headers(subject_of_unparsable(&block.bytes))
        } else if block.kind == b"CERTIFICATE" {
            match Certificate::parse(&block.bytes) {
                Ok(certificate) => {
                    self.position += 1;
                    return self.bundle.certificates.push(Arc::new(certificate));
                }
                Err(error) => SkippedKind::Unparsable(error, subject_of_unparsable(&block.bytes)),
            }
        } else {
            other_type(block.kind)
        };
        self.skip(block.place.start, what);
    }

    /// What Go reads no block in.
    fn skip_over(&mut self, from: usize, to: usize) {
        let mut at = from;
        while let Some(begin) = pem::find(&self.text[at..to], BEGIN).map(|found| at + found) {
            at = begin + BEGIN.len();
            let next = pem::find(&self.text[at..to], BEGIN).map_or(to, |found| at + found);
            self.skip(begin, undecoded(&self.text[at..next], begin == 0 || self.text[begin - 1] == b'\n'));
            at = next;
        }
    }

    fn skip(&mut self, begin: usize, what: SkippedKind) {
        self.position += 1;
        self.line += self.text[self.counted..begin].iter().filter(|byte| **byte == b'\n').count();
        self.counted = begin;
        self.bundle.skipped.push(Skipped { position: self.position, line: self.line, what });
    }
}

/// Why Go does not read a block, of which this is all that follows its BEGIN.
fn undecoded(rest: &[u8], is_at_line_start: bool) -> SkippedKind {
    let (line, after) = pem::line(rest, 0);
    let kind = line.strip_suffix(b"-----").unwrap_or(line);
    if is_private_key(kind) {
        return SkippedKind::PrivateKey;
    }
    if !is_at_line_start {
        return SkippedKind::NotAtLineStart;
    }
    let end = pem::find(rest, b"-----END ").map(|end| pem::line(rest, end).0);
    match end {
        None => SkippedKind::NoEnd,
        Some(_) if kind == line => SkippedKind::NotBase64,
        Some(end) if end.strip_prefix(b"-----END ").and_then(|end| end.strip_prefix(kind)) != Some(b"-----") => {
            SkippedKind::OtherEnd
        }
        Some(_) if kind == b"CERTIFICATE" || after == rest.len() => SkippedKind::NotBase64,
        Some(_) => other_type(kind),
    }
}

fn is_private_key(kind: &[u8]) -> bool {
    pem::find(kind, b"PRIVATE KEY").is_some()
}

fn other_type(kind: &[u8]) -> SkippedKind {
    match kind {
        b"TRUSTED CERTIFICATE" => SkippedKind::TrustedCertificate,
        // More than is ever shown is not kept.
        _ => SkippedKind::OtherType(String::from_utf8_lossy(kind).chars().take(SHOWN + 1).collect()),
    }
}

/// What a text is that has no block at all.
fn without_blocks(text: &[u8]) -> SkippedKind {
    if let Ok(certificate) = Certificate::parse(text) {
        return SkippedKind::Der(certificate.subject());
    }
    let letters: Vec<u8> = text.iter().copied().filter(|&byte| !pem::is_space(byte)).collect();
    let Ok(decoded) = BASE64.decode(letters) else { return SkippedKind::NoPem };
    if pem::find(&decoded, BEGIN).is_some() {
        return SkippedKind::EncodedTwice;
    }
    Certificate::parse(&decoded)
        .map_or(SkippedKind::NoPem, |certificate| SkippedKind::BareBase64(certificate.subject()))
}

/// For a person: `block 2 (line 31) is a private key ..`.
impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, line, what } = self;
        if what.is_of_whole_text() {
            write!(f, "it {what}")
        } else {
            write!(f, "block {position} (line {line}) {what}")
        }
    }
}

impl SkippedKind {
    /// Whether the text has no blocks.
    fn is_of_whole_text(&self) -> bool {
        matches!(self, Self::Der(_) | Self::EncodedTwice | Self::BareBase64(_) | Self::NoPem)
    }
}

impl fmt::Display for SkippedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |subject: &Option<String>| subject.as_deref().map(of).unwrap_or_default();
        match self {
            Self::PrivateKey => f.write_str(
                "is a private key: take it out of the bundle, and replace the key if others could read the bundle",
            ),
            Self::TrustedCertificate => f.write_str(
                "is a TRUSTED CERTIFICATE, which only OpenSSL reads: `openssl x509 -in FILE` writes it as a CERTIFICATE",
            ),
            Self::OtherType(kind) => write!(f, "is of type `{}`, no CERTIFICATE", Escaped::cut(kind, SHOWN)),
            Self::Headers(subject) => write!(
                f,
                "is a certificate{} with header lines, which nodes pass over: take out the lines with a colon after its BEGIN",
                of(subject)
            ),
            Self::Unparsable(error, subject) => write!(f, "is a certificate{} that nodes cannot parse: {}", of(subject), error.what()),
            Self::NotAtLineStart => {
                f.write_str("does not begin at the start of a line: a byte order mark or spaces before BEGIN have to go")
            }
            Self::NoEnd => f.write_str("has no END line"),
            Self::OtherEnd => f.write_str("ends with an END line that is not that of its BEGIN"),
            Self::NotBase64 => f.write_str("does not decode: between its BEGIN line and its END line is something else than base64"),
            Self::Der(subject) => {
                write!(f, "is a certificate{} in DER: `openssl x509 -inform der -in FILE` writes it as PEM", self::of(subject))
            }
            Self::EncodedTwice => f.write_str("is base64 of PEM: it has been encoded once too often"),
            Self::BareBase64(subject) => {
                write!(f, "is a certificate{} in base64, without the BEGIN and END lines of PEM", self::of(subject))
            }
            Self::NoPem => f.write_str("holds no PEM block"),
        }
    }
}

fn of(subject: &str) -> String {
    if subject.is_empty() { " without a subject".to_owned() } else { format!(" of `{}`", Escaped::cut(subject, SHOWN)) }
}
