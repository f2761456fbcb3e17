//! Bundles, until they are read as Go reads them.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Certificate;

/// The certificates of a PEM text.
pub struct Bundle {
    /// Those that can be used.
    pub certificates: Vec<Arc<Certificate>>,
    /// What cannot.
    pub skipped: Vec<Skipped>,
}

/// A block that is left out.
pub struct Skipped {
    /// The block, from 1.
    pub position: usize,
    /// Its line, from 1.
    pub line: usize,
    /// Why.
    pub what: SkippedKind,
}

/// Why a block is left out.
pub struct SkippedKind(&'static str);

impl fmt::Display for SkippedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Bundle {
    /// Reads a PEM text.
    pub fn read(pem: &[u8]) -> Bundle {
        let text = String::from_utf8_lossy(pem);
        let mut bundle = Bundle { certificates: Vec::new(), skipped: Vec::new() };
        let mut block: Option<(usize, bool, String)> = None;
        let mut position = 0;
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.starts_with("-----BEGIN ") {
                position += 1;
                block = Some((index + 1, line == "-----BEGIN CERTIFICATE-----", String::new()));
            } else if line.starts_with("-----END ") {
                let Some((line, is_certificate, body)) = block.take() else { continue };
                let read = STANDARD.decode(body).ok().filter(|_| is_certificate);
                match read.and_then(|der| Certificate::parse(&der).ok()) {
                    Some(certificate) => bundle.certificates.push(Arc::new(certificate)),
                    None => bundle.skipped.push(Skipped { position, line, what: SkippedKind("it is no certificate") }),
                }
            } else if let Some((_, _, body)) = &mut block {
                body.push_str(line);
            }
        }
        bundle
    }
}
