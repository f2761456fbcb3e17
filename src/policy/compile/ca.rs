//! CA certificates of a document: those that stand in it, and the places of those that are kept elsewhere (T2).

use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::super::bundle_ref::{BundleRef, KeyRef};
use super::super::document::{CaBundle, ObjectKey, Spanned, TrustedCaBundle};
use super::super::fault::{Collector, quoted};
use super::super::trust::Ca;
use super::is_dns_name;
use crate::trust::{Bundle, Pool, Skipped, SkippedKind};
use crate::yaml::Span;

/// Base64, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const PEM_BEGIN: &str = "-----BEGIN ";
/// How many characters the name or the key of an object may have.
const MAX_NAME: usize = 253;
/// How many characters the name of a namespace may have.
const MAX_NAMESPACE: usize = 63;

/// The ways to say where certificates are; one of them is there.
pub(super) struct Written<'d> {
    inline: Option<&'d Spanned<String>>,
    config_map: Option<&'d ObjectKey>,
    secret: Option<&'d ObjectKey>,
    file: Option<&'d Spanned<String>>,
}

impl<'d> From<&'d CaBundle> for Written<'d> {
    fn from(bundle: &'d CaBundle) -> Self {
        let CaBundle { place: _, inline, config_map, secret, file } = bundle;
        let (inline, file) = (inline.as_ref(), file.as_ref());
        Self { inline, config_map: config_map.as_ref(), secret: secret.as_ref(), file }
    }
}

impl<'d> From<&'d TrustedCaBundle> for Written<'d> {
    fn from(bundle: &'d TrustedCaBundle) -> Self {
        let TrustedCaBundle { place: _, inline, config_map, secret, file, registries: _ } = bundle;
        let (inline, file) = (inline.as_ref(), file.as_ref());
        Self { inline, config_map: config_map.as_ref(), secret: secret.as_ref(), file }
    }
}

/// The CAs of a bundle; `name` is what messages call those that stand in the document. `None` if there was a fault.
pub(super) fn bundle(path: &str, name: &str, written: &Written<'_>, faults: &mut Collector<'_>) -> Option<Ca> {
    let &Written { inline, config_map, secret, file } = written;
    if let Some(text) = inline {
        return pem(&format!("{path}.inline"), name, text, faults);
    }
    let bundle = if let Some(key) = config_map {
        BundleRef::ConfigMap(object_key(&format!("{path}.configMap"), "a ConfigMap", key, faults)?)
    } else if let Some(key) = secret {
        BundleRef::Secret(object_key(&format!("{path}.secret"), "a Secret", key, faults)?)
    } else {
        BundleRef::File(file_path(&format!("{path}.file"), file?, faults)?)
    };
    Some(Ca::Bundle(bundle))
}

/// Certificates in PEM.
fn pem(path: &str, name: &str, written: &Spanned<String>, faults: &mut Collector<'_>) -> Option<Ca> {
    let Spanned { value: text, span } = written;
    if text.trim().is_empty() {
        no_text(path, *span, faults);
        return None;
    }
    let bundle = Bundle::read(text.as_bytes());
    let help = if faults.source()[span.start..].starts_with('>') {
        "write `|` in place of `>`, which joins the lines"
    } else {
        PEM_HELP
    };
    pool(path, name, bundle, written, help, faults)
}

/// Certificates in PEM, in base64.
pub(super) fn data(path: &str, name: &str, written: &Spanned<String>, faults: &mut Collector<'_>) -> Option<Ca> {
    let Spanned { value: text, span } = written;
    if text.trim().is_empty() {
        no_text(path, *span, faults);
        return None;
    }
    let Some(bytes) = decoded(text) else {
        let (message, help) = match text.contains(PEM_BEGIN) {
            true => (
                "is PEM, and must be the base64 of it",
                "write what `base64 -w0 ca.crt` prints, or the PEM under `inline` in an entry of `caBundles`",
            ),
            false => ("is not base64", "write what `base64 -w0 ca.crt` prints"),
        };
        faults.error(path, *span, message).help(help);
        return None;
    };
    let bundle = Bundle::read(&bytes);
    if matches!(&bundle.skipped[..], [Skipped { what: SkippedKind::EncodedTwice, .. }]) {
        faults.error(path, *span, "is encoded twice").help("write what `base64 -d` makes of it");
        return None;
    }
    pool(path, name, bundle, written, DATA_HELP, faults)
}

const DATA_HELP: &str = "write what `base64 -w0 ca.crt` prints, with the certificates in ca.crt as PEM";

const PEM_HELP: &str =
    "write the certificates as they stand from `-----BEGIN CERTIFICATE-----` to `-----END CERTIFICATE-----`";

/// What can be used of a bundle. Of the rest is said what the nodes' runtime, which leaves it out too, never tells; what
/// stands in it is never shown.
fn pool(
    path: &str,
    name: &str,
    bundle: Bundle,
    written: &Spanned<String>,
    help: &str,
    faults: &mut Collector<'_>,
) -> Option<Ca> {
    let Bundle { certificates, skipped } = bundle;
    if let ([], [only]) = (&certificates[..], &skipped[..]) {
        faults.error(path, written.span, format!("holds no certificate that can be used: {only}")).help(help);
        return None;
    }
    for skipped in &skipped {
        let place = line_of_block_scalar(faults.source(), written, skipped.line).unwrap_or(written.span);
        faults.warning(path, place, skipped.to_string()).help("it is left out; mend it, or take it out");
    }
    if certificates.is_empty() {
        faults.error(path, written.span, "holds no certificate that can be used").help(help);
        return None;
    }
    Some(Ca::Inline(Arc::new(Pool::new(name, certificates))))
}

fn no_text(path: &str, span: Span, faults: &mut Collector<'_>) {
    faults.error(path, span, "is empty: no certificate is in it").help("write the certificates, or take the entry out");
}

/// The bytes of a text in base64 that may be broken into lines.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let letters: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(letters).ok()
}

/// Where a line of a text stands, counted from 1, if the text is written as a block scalar.
fn line_of_block_scalar(source: &str, written: &Spanned<String>, line: usize) -> Option<Span> {
    let text = written.value.lines().nth(line.checked_sub(1)?)?.trim();
    let mut start = written.span.start;
    let lines = source[start..written.span.end].split_inclusive('\n');
    for (index, written) in lines.enumerate() {
        if index == line {
            let indent = written.len() - written.trim_start().len();
            let is_it = !text.is_empty() && written.trim() == text;
            return is_it.then(|| Span { start: start + indent, end: start + indent + text.len() });
        }
        start += written.len();
    }
    None
}

/// `None` if there was a fault.
fn object_key(path: &str, what: &str, written: &ObjectKey, faults: &mut Collector<'_>) -> Option<KeyRef> {
    let ObjectKey { namespace, name, key } = written;
    let is_namespace = |text: &str| text.len() <= MAX_NAMESPACE && !text.contains('.') && is_dns_name(text);
    let is_name = |text: &str| text.len() <= MAX_NAME && is_dns_name(text);
    let mut valid =
        |key: &str, what: &str, written: &Option<Spanned<String>>, is_valid: &dyn Fn(&str) -> bool, help| {
            let Spanned { value, span } = written.as_ref()?;
            if is_valid(value) {
                return Some(value.clone());
            }
            faults.error(format!("{path}.{key}"), *span, format!("{} is no name of {what}", quoted(value))).help(help);
            None
        };
    let namespace = valid("namespace", "a namespace", namespace, &is_namespace, NAMESPACE_HELP);
    let name = valid("name", what, name, &is_name, NAME_HELP);
    let of_object = format!("a key of {what}");
    let key = valid("key", &of_object, key, &is_key, KEY_HELP);
    Some(KeyRef { namespace: namespace?, name: name?, key: key? })
}

const NAMESPACE_HELP: &str = "a namespace is at most 63 lower-case letters, digits and `-`";
const NAME_HELP: &str = "a name is at most 253 lower-case letters, digits, `-` and `.`, and begins and ends, also beside a \
                         `.`, with a letter or digit";
const KEY_HELP: &str = "a key is at most 253 letters, digits, `-`, `_` and `.`";

fn is_key(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.len() <= MAX_NAME
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn file_path(path: &str, written: &Spanned<String>, faults: &mut Collector<'_>) -> Option<String> {
    let Spanned { value: text, span } = written;
    let message = if !text.starts_with('/') {
        "is no absolute path"
    } else if text.ends_with('/') || text.ends_with("/.") || text.ends_with("/..") {
        "is the path of a folder"
    } else if text.chars().any(char::is_control) {
        "holds control characters"
    } else {
        return Some(text.clone());
    };
    faults
        .error(path, *span, format!("{} {message}", quoted(text)))
        .help("write the whole path of the file, such as `/etc/mirrorgate/ca/ca.crt`");
    None
}
