//! A certificate as Go's `crypto/x509` parses it: what Go takes is taken, what it refuses is refused (T3).
//!
//! Whether a certificate is trusted is not said here; `judge` does that, with what can be asked of one here.

mod curve;
mod der;
mod domain;
mod extensions;
mod key;
mod name;
mod signature;
mod time;
mod uri;

use std::borrow::Cow;
use std::fmt::Write as _;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

pub use self::curve::Curve;
pub use self::der::Oid;
use self::der::{BitString, Der, INTEGER, SEQUENCE, Span, context, explicit};
pub use self::domain::{Mailbox, is_domain};
use self::extensions::Extensions;
pub use self::extensions::{BasicConstraints, ExtKeyUsage, NameKind};
pub use self::key::PublicKey;
pub use self::signature::SignatureAlgorithm;

/// A certificate that Go can parse. It keeps its DER.
#[derive(Debug)]
pub struct Certificate {
    der: Box<[u8]>,
    version: u8,
    not_before: Timestamp,
    not_after: Timestamp,
    public_key: PublicKey,
    signature_algorithm: SignatureAlgorithm,
    tbs: Span,
    serial: Span,
    issuer: Span,
    subject: Span,
    spki: Span,
    signature: Span,
    signature_unused_bits: u8,
    extensions: Extensions,
}

/// Why Go cannot parse a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate cannot be parsed: {what}")]
pub struct InvalidCertificate {
    what: Cow<'static, str>,
}

/// What a person is shown of a certificate. The text is as the certificate has it: whoever prints it escapes and cuts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// As Go writes it: `CN=harbor.corp,O=Corp`.
    pub subject: String,
    /// As Go writes it.
    pub issuer: String,
    /// Of the whole certificate, in lower-case hex.
    pub sha256: String,
    /// The first second of its validity.
    pub not_before: Timestamp,
    /// The last second of its validity.
    pub not_after: Timestamp,
    /// Whether its basic constraints say that it is a CA.
    pub is_ca: bool,
    /// The DNS names and then the IP addresses that it is for.
    pub names: Vec<String>,
}

impl InvalidCertificate {
    fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self { what: what.into() }
    }

    fn malformed(part: &str) -> Self {
        Self::new(format!("{part} cannot be read"))
    }

    fn critical(extension: &str) -> Self {
        Self::new(format!("its {extension} is marked critical, which it must not be"))
    }

    /// What is wrong with the certificate, to be put after its name: `its serial number is negative`.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }
}

impl Certificate {
    /// From DER, with nothing after it.
    ///
    /// # Errors
    /// Where Go's `x509.ParseCertificate` has one.
    pub fn parse(der: &[u8]) -> Result<Self, InvalidCertificate> {
        let malformed = InvalidCertificate::malformed;
        let mut input = Der::new(der);
        let mut fields = input.read(SEQUENCE).ok_or_else(|| malformed("its outermost SEQUENCE"))?;
        let tbs = fields.element(SEQUENCE).ok_or_else(|| malformed("its signed part"))?;
        let mut certificate = Self::parse_signed(der, tbs, &mut fields)?;
        let place = fields.bit_string_place().ok_or_else(|| malformed("its signature"))?;
        (certificate.signature, certificate.signature_unused_bits) = place;
        if !input.is_empty() {
            return Err(InvalidCertificate::new("something follows it"));
        }
        Ok(certificate)
    }

    /// The part that is signed; of the outer fields, the signature's algorithm, which has to be the same as inside.
    fn parse_signed(der: &[u8], tbs: Der<'_>, outer: &mut Der<'_>) -> Result<Self, InvalidCertificate> {
        let malformed = InvalidCertificate::malformed;
        let mut fields = { tbs }.read(SEQUENCE).ok_or_else(|| malformed("its signed part"))?;
        let version = version(&mut fields)?;
        let serial = fields.integer(INTEGER).ok_or_else(|| malformed("its serial number"))?;
        if serial.bytes().first().is_some_and(|first| first & 0x80 != 0) {
            return Err(InvalidCertificate::new("its serial number is negative"));
        }
        let algorithm = fields.read(SEQUENCE).ok_or_else(|| malformed("its signature algorithm"))?;
        let outer = outer.read(SEQUENCE).ok_or_else(|| malformed("its outer signature algorithm"))?;
        if outer.bytes() != algorithm.bytes() {
            return Err(InvalidCertificate::new("the signature algorithms inside and outside its signed part differ"));
        }
        let (oid, parameters) =
            algorithm_identifier(algorithm).ok_or_else(|| malformed("the identifier of its signature algorithm"))?;
        let signature_algorithm = SignatureAlgorithm::read(oid, parameters);
        let issuer = fields.element(SEQUENCE).filter(|&issuer| name::is_valid(issuer));
        let issuer = issuer.ok_or_else(|| malformed("its issuer"))?;
        let mut validity = fields.read(SEQUENCE).ok_or_else(|| malformed("its validity"))?;
        let not_before = time::read(&mut validity).ok_or_else(|| malformed("the start of its validity"))?;
        let not_after = time::read(&mut validity).ok_or_else(|| malformed("the end of its validity"))?;
        let subject = fields.element(SEQUENCE).filter(|&subject| name::is_valid(subject));
        let subject = subject.ok_or_else(|| malformed("its subject"))?;
        let spki = fields.element(SEQUENCE).ok_or_else(|| malformed("its public key"))?;
        let public_key = public_key(spki)?;
        let extensions = if version > 1 { extensions(version, &mut fields)? } else { Extensions::default() };
        Ok(Self {
            der: der.into(),
            version,
            not_before,
            not_after,
            public_key,
            signature_algorithm,
            tbs: tbs.span(),
            serial: serial.span(),
            issuer: issuer.span(),
            subject: subject.span(),
            spki: spki.span(),
            signature: Span::default(),
            signature_unused_bits: 0,
            extensions,
        })
    }

    /// The whole certificate.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The whole certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        let base64 = STANDARD.encode(&self.der);
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        let mut rest = &*base64;
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = more;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }

    /// The fingerprint of the whole certificate.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.der).as_ref());
        sha256
    }

    /// What a person is shown.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let sha256 = self.sha256().iter().fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let addresses = self.ip_addresses().filter_map(shown_address);
        Facts {
            subject: self.subject(),
            issuer: self.issuer(),
            sha256,
            not_before: self.not_before,
            not_after: self.not_after,
            is_ca: self.basic_constraints().is_some_and(|constraints| constraints.is_ca),
            names: self.dns_names().map(str::to_owned).chain(addresses).collect(),
        }
    }

    /// The subject as Go writes it.
    #[must_use]
    pub fn subject(&self) -> String {
        name::shown(self.raw_subject()).unwrap_or_default()
    }

    /// The issuer as Go writes it.
    #[must_use]
    pub fn issuer(&self) -> String {
        name::shown(self.raw_issuer()).unwrap_or_default()
    }

    /// The first second of its validity.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last second of its validity.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// What Go's `Verify` reads of a certificate.
impl Certificate {
    /// 1, 2 or 3.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// What the signature is over.
    #[must_use]
    pub fn raw_tbs(&self) -> &[u8] {
        self.tbs.of(&self.der)
    }

    /// As it stands, for comparing: Go compares bytes.
    #[must_use]
    pub fn raw_subject(&self) -> &[u8] {
        self.subject.of(&self.der)
    }

    /// As it stands, for comparing: Go compares bytes.
    #[must_use]
    pub fn raw_issuer(&self) -> &[u8] {
        self.issuer.of(&self.der)
    }

    /// The public key with its algorithm, as it stands.
    #[must_use]
    pub fn raw_spki(&self) -> &[u8] {
        self.spki.of(&self.der)
    }

    /// Big-endian, as it stands.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        self.serial.of(&self.der)
    }

    /// The key, as Go reads it.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// How it says that it is signed.
    #[must_use]
    pub fn signature_algorithm(&self) -> SignatureAlgorithm {
        self.signature_algorithm
    }

    /// The bits of the signature.
    #[must_use]
    pub fn signature(&self) -> Cow<'_, [u8]> {
        let bytes = self.signature.of(&self.der);
        match self.signature_unused_bits {
            0 => Cow::Borrowed(bytes),
            unused => Cow::Owned(BitString { bytes, unused }.right_aligned()),
        }
    }

    /// `None` where the certificate has none, which for a CA of version 3 is a fault.
    #[must_use]
    pub fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.extensions.basic_constraints
    }

    /// The lowest bit is `digitalSignature`, bit 5 `keyCertSign`. 0 where it says nothing: Go makes no difference.
    #[must_use]
    pub fn key_usage(&self) -> u16 {
        self.extensions.key_usage
    }

    /// The purposes that Go knows, in order. None at all, of these and of unknown ones, means any.
    #[must_use]
    pub fn ext_key_usages(&self) -> &[ExtKeyUsage] {
        &self.extensions.ext_key_usages
    }

    /// How many purposes it names that Go does not know.
    #[must_use]
    pub fn unknown_ext_key_usages(&self) -> usize {
        self.extensions.unknown_ext_key_usages
    }

    /// The value of its subject alternative name, if it has that extension.
    #[must_use]
    pub fn raw_alternative_names(&self) -> Option<&[u8]> {
        self.extensions.alternative_names.as_ref().map(|(value, _)| value.of(&self.der))
    }

    /// The DNS names that it is for.
    pub fn dns_names(&self) -> impl Iterator<Item = &str> {
        self.alternative_names(NameKind::Dns).map(text)
    }

    /// The mail addresses that it is for.
    pub fn mail_addresses(&self) -> impl Iterator<Item = &str> {
        self.alternative_names(NameKind::Email).map(text)
    }

    /// As they stand.
    pub fn uris(&self) -> impl Iterator<Item = &str> {
        self.alternative_names(NameKind::Uri).map(text)
    }

    /// 4 or 16 bytes each.
    pub fn ip_addresses(&self) -> impl Iterator<Item = &[u8]> {
        self.alternative_names(NameKind::Ip)
    }

    /// Whether it has that extension.
    #[must_use]
    pub fn has_name_constraints(&self) -> bool {
        self.extensions.name_constraints.is_some()
    }

    /// What a CA may sign for, of all kinds and in order; an IP range is an address and a mask.
    pub fn permitted_names(&self) -> impl Iterator<Item = (NameKind, &[u8])> {
        self.names(self.extensions.name_constraints.as_ref().map(|constraints| &constraints.permitted))
    }

    /// What a CA may not sign for, of all kinds and in order; an IP range is an address and a mask.
    pub fn excluded_names(&self) -> impl Iterator<Item = (NameKind, &[u8])> {
        self.names(self.extensions.name_constraints.as_ref().map(|constraints| &constraints.excluded))
    }

    /// Empty where it has none: Go makes no difference.
    #[must_use]
    pub fn subject_key_id(&self) -> &[u8] {
        self.extensions.subject_key_id.of(&self.der)
    }

    /// Empty where it has none: Go makes no difference.
    #[must_use]
    pub fn authority_key_id(&self) -> &[u8] {
        self.extensions.authority_key_id.of(&self.der)
    }

    /// Critical extensions that Go does not handle.
    pub fn unhandled_critical_extensions(&self) -> impl Iterator<Item = Oid<'_>> {
        self.extensions.unhandled_critical.iter().map(|oid| Oid(oid.of(&self.der)))
    }

    /// The certificate policies, each once.
    pub fn policies(&self) -> impl Iterator<Item = Oid<'_>> {
        self.extensions.policies.iter().map(|oid| Oid(oid.of(&self.der)))
    }

    /// The issuer's policy and the subject's of each mapping.
    pub fn policy_mappings(&self) -> impl Iterator<Item = (Oid<'_>, Oid<'_>)> {
        let oid = |span: Span| Oid(span.of(&self.der));
        self.extensions.policy_mappings.iter().map(move |&(issuer, subject)| (oid(issuer), oid(subject)))
    }

    /// Can be negative, which Go takes as absent.
    #[must_use]
    pub fn require_explicit_policy(&self) -> Option<i64> {
        self.extensions.require_explicit_policy
    }

    /// Can be negative, which Go takes as absent.
    #[must_use]
    pub fn inhibit_policy_mapping(&self) -> Option<i64> {
        self.extensions.inhibit_policy_mapping
    }

    /// Can be negative, which Go takes as absent.
    #[must_use]
    pub fn inhibit_any_policy(&self) -> Option<i64> {
        self.extensions.inhibit_any_policy
    }

    fn alternative_names(&self, kind: NameKind) -> impl Iterator<Item = &[u8]> {
        let names = self.extensions.alternative_names.as_ref().map(|(_, names)| names);
        self.names(names).filter(move |(found, _)| *found == kind).map(|(_, name)| name)
    }

    fn names<'c>(&'c self, names: Option<&'c extensions::Names>) -> impl Iterator<Item = (NameKind, &'c [u8])> {
        names.into_iter().flatten().map(|(kind, name)| (*kind, name.of(&self.der)))
    }
}

/// The host of one of the [`Certificate::uris`], with port and brackets; empty where it has none.
#[must_use]
pub fn uri_host(uri: &str) -> Cow<'_, str> {
    uri::host(uri).unwrap_or_default()
}

/// The subject of something that is nearly a certificate, where it can be found.
pub(super) fn subject_of_unparsable(der: &[u8]) -> Option<String> {
    let mut fields = Der::new(der).read(SEQUENCE)?.read(SEQUENCE)?;
    fields.optional(explicit(0))?;
    // The serial number, the signature's algorithm, the issuer and the dates.
    for _ in 0..4 {
        fields.any()?;
    }
    name::shown(fields.element(SEQUENCE)?.bytes())
}

fn version(fields: &mut Der<'_>) -> Result<u8, InvalidCertificate> {
    let malformed = || InvalidCertificate::malformed("its version");
    let Some(mut field) = fields.optional(explicit(0)).ok_or_else(malformed)? else { return Ok(1) };
    let version = field.signed(INTEGER).filter(|_| field.is_empty()).ok_or_else(malformed)?;
    match version {
        0 => Ok(1),
        1 => Ok(2),
        2 => Ok(3),
        // Go adds one to it without looking, and reads the result, which is far below zero, as no version 3.
        i64::MAX => Ok(1),
        _ => Err(InvalidCertificate::new("its version is not 1, 2 or 3")),
    }
}

/// The identifier of an algorithm, and its parameters with their tag and length, empty where there are none. What
/// follows those does not count.
fn algorithm_identifier<'a>(mut fields: Der<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let oid = fields.oid()?;
    let parameters = if fields.is_empty() { &[] } else { fields.any_element()?.bytes() };
    Some((oid.0, parameters))
}

fn public_key(mut spki: Der<'_>) -> Result<PublicKey, InvalidCertificate> {
    let malformed = InvalidCertificate::malformed;
    let mut fields = spki.read(SEQUENCE).ok_or_else(|| malformed("its public key"))?;
    let algorithm = fields.read(SEQUENCE).and_then(algorithm_identifier);
    let (algorithm, parameters) = algorithm.ok_or_else(|| malformed("the algorithm of its public key"))?;
    let bits = fields.bit_string().ok_or_else(|| malformed("the bits of its public key"))?;
    PublicKey::read(algorithm, parameters, &bits).map_err(InvalidCertificate::new)
}

/// What stands after the public key; only version 3 has extensions.
fn extensions(version: u8, fields: &mut Der<'_>) -> Result<Extensions, InvalidCertificate> {
    let malformed = InvalidCertificate::malformed;
    fields.optional(context(1)).ok_or_else(|| malformed("the unique identifier of its issuer"))?;
    fields.optional(context(2)).ok_or_else(|| malformed("the unique identifier of its subject"))?;
    if version < 3 {
        return Ok(Extensions::default());
    }
    let found = fields.optional(explicit(3)).ok_or_else(|| malformed("its list of extensions"))?;
    found.map_or_else(|| Ok(Extensions::default()), |mut found| Extensions::read(&mut found))
}

/// A name that has been found to be ASCII.
fn text(name: &[u8]) -> &str {
    str::from_utf8(name).unwrap_or_default()
}

/// As Go shows it: an IPv4 address in IPv6 form is an IPv4 address.
fn shown_address(bytes: &[u8]) -> Option<String> {
    let address = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(address.to_canonical().to_string())
}
