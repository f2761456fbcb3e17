//! The extensions of a certificate: which of them Go reads, what it makes of each, and which it leaves unhandled.

use std::collections::HashSet;

use core::net::IpAddr;

use crate::image::Escaped;

use super::InvalidCertificate;
use super::der::{BOOLEAN, Der, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Oid, SEQUENCE, Span, context, explicit};
use super::domain::{Mailbox, is_domain};
use super::uri;

/// What an issuer says it is (`basicConstraints`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicConstraints {
    /// Whether it may sign certificates.
    pub is_ca: bool,
    /// How many CAs may stand between it and a leaf.
    pub max_path_len: Option<u64>,
}

/// The purposes of a key that Go knows and that count here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtKeyUsage {
    /// All of them.
    Any,
    /// TLS servers.
    ServerAuth,
    /// TLS clients.
    ClientAuth,
    /// Another that Go knows: code signing, e-mail, IPsec, time stamping, OCSP, and some of Netscape's and Microsoft's.
    Other,
}

/// The kinds of name that Go reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// A mail address, in a constraint also a domain.
    Email,
    /// A DNS name, in a constraint a domain.
    Dns,
    /// A URI, in a constraint a domain.
    Uri,
    /// An address: in a subject 4 or 16 bytes, in a constraint as much again for the mask.
    Ip,
}

impl NameKind {
    fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            0x81 => Some(Self::Email),
            0x82 => Some(Self::Dns),
            0x86 => Some(Self::Uri),
            0x87 => Some(Self::Ip),
            _ => None,
        }
    }
}

/// Names in the order of the certificate.
pub(super) type Names = Box<[(NameKind, Span)]>;

#[derive(Debug)]
pub(super) struct NameConstraints {
    pub(super) permitted: Names,
    pub(super) excluded: Names,
}

/// All that the extensions say. What is absent is empty, zero or `None`, as in Go.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) key_usage: u16,
    pub(super) basic_constraints: Option<BasicConstraints>,
    pub(super) ext_key_usages: Vec<ExtKeyUsage>,
    pub(super) unknown_ext_key_usages: usize,
    /// The value of the extension, and the names in it.
    pub(super) alternative_names: Option<(Span, Names)>,
    pub(super) name_constraints: Option<NameConstraints>,
    pub(super) subject_key_id: Span,
    pub(super) authority_key_id: Span,
    pub(super) policies: Vec<Span>,
    pub(super) policy_mappings: Vec<(Span, Span)>,
    pub(super) require_explicit_policy: Option<i64>,
    pub(super) inhibit_policy_mapping: Option<i64>,
    pub(super) inhibit_any_policy: Option<i64>,
    pub(super) unhandled_critical: Vec<Span>,
}

impl Extensions {
    /// From the SEQUENCE of all of them.
    pub(super) fn read(extensions: &mut Der<'_>) -> Result<Self, InvalidCertificate> {
        let malformed = || InvalidCertificate::malformed("its list of extensions");
        let mut extensions = extensions.read(SEQUENCE).ok_or_else(malformed)?;
        let mut all = Vec::new();
        let mut seen = HashSet::new();
        while !extensions.is_empty() {
            let extension = extensions.read(SEQUENCE).and_then(Extension::read).ok_or_else(malformed)?;
            if !seen.insert(extension.oid) {
                let oid = extension.oid.to_string();
                return Err(InvalidCertificate::new(format!(
                    "the extension {} is there twice",
                    Escaped::cut(&oid, 60)
                )));
            }
            all.push(extension);
        }
        let mut read = Self::default();
        for extension in &all {
            read.add(extension)?;
        }
        Ok(read)
    }

    fn add(&mut self, extension: &Extension<'_>) -> Result<(), InvalidCertificate> {
        let &Extension { oid, oid_place, is_critical, value } = extension;
        let is_handled = match oid.0 {
            [0x55, 0x1d, number] => match self.add_standard(*number, is_critical, value) {
                Some(is_handled) => is_handled?,
                None => return Err(InvalidCertificate::malformed(name_of(*number))),
            },
            // Authority information access.
            [0x2b, 6, 1, 5, 5, 7, 1, 1] => {
                if is_critical {
                    return Err(InvalidCertificate::critical("authority information access"));
                }
                access_descriptions(value)
                    .ok_or_else(|| InvalidCertificate::malformed("its authority information access"))?;
                true
            }
            _ => false,
        };
        if is_critical && !is_handled {
            self.unhandled_critical.push(oid_place);
        }
        Ok(())
    }

    /// An extension whose identifier is `2.5.29.number`: whether it is handled, or `None` where its value cannot be read.
    fn add_standard(
        &mut self,
        number: u8,
        is_critical: bool,
        mut value: Der<'_>,
    ) -> Option<Result<bool, InvalidCertificate>> {
        match number {
            14 | 35 if is_critical => {
                let name = if number == 14 { "subject key identifier" } else { "authority key identifier" };
                return Some(Err(InvalidCertificate::critical(name)));
            }
            14 => self.subject_key_id = value.read(OCTET_STRING)?.span(),
            15 => {
                let bits = value.bit_string()?;
                self.key_usage = (0..9).filter(|&bit| bits.bit(bit)).map(|bit| 1 << bit).sum();
            }
            17 => {
                let place = value.span();
                let names = match alternative_names(value)? {
                    Ok(names) => names,
                    Err(error) => return Some(Err(error)),
                };
                let is_handled = !names.is_empty();
                self.alternative_names = Some((place, names));
                return Some(Ok(is_handled));
            }
            19 => self.basic_constraints = Some(basic_constraints(value)?),
            30 => {
                let (name_constraints, is_handled) = match name_constraints(value)? {
                    Ok(read) => read,
                    Err(error) => return Some(Err(error)),
                };
                self.name_constraints = Some(name_constraints);
                return Some(Ok(is_handled));
            }
            31 => distribution_points(value)?,
            32 => self.policies = policies(value)?,
            33 => self.policy_mappings = policy_mappings(value)?,
            35 => {
                let mut fields = value.read(SEQUENCE)?;
                self.authority_key_id = fields.optional(context(0))?.map(Der::span).unwrap_or_default();
            }
            36 => {
                let mut fields = value.read(SEQUENCE)?;
                let mut number = |tag| if fields.is_next(tag) { fields.signed(tag).map(Some) } else { Some(None) };
                self.require_explicit_policy = number(context(0))?;
                self.inhibit_policy_mapping = number(context(1))?;
            }
            37 => {
                let mut usages = value.read(SEQUENCE)?;
                while !usages.is_empty() {
                    match ext_key_usage(usages.oid()?) {
                        Some(usage) => self.ext_key_usages.push(usage),
                        None => self.unknown_ext_key_usages += 1,
                    }
                }
            }
            54 => self.inhibit_any_policy = Some(value.signed(INTEGER)?),
            _ => return Some(Ok(false)),
        }
        Some(Ok(true))
    }
}

struct Extension<'a> {
    oid: Oid<'a>,
    oid_place: Span,
    is_critical: bool,
    value: Der<'a>,
}

impl<'a> Extension<'a> {
    fn read(mut fields: Der<'a>) -> Option<Self> {
        let mut identifier = fields;
        let oid = fields.oid()?;
        let oid_place = identifier.read(OBJECT_IDENTIFIER)?.span();
        let is_critical = if fields.is_next(BOOLEAN) { fields.boolean()? } else { false };
        Some(Self { oid, oid_place, is_critical, value: fields.read(OCTET_STRING)? })
    }
}

fn name_of(number: u8) -> &'static str {
    match number {
        14 => "its subject key identifier",
        15 => "its key usage",
        17 => "its subject alternative name",
        19 => "its basic constraints",
        30 => "its name constraints",
        31 => "its list of CRL distribution points",
        32 => "its certificate policies",
        33 => "its policy mappings",
        35 => "its authority key identifier",
        36 => "its policy constraints",
        37 => "its extended key usage",
        _ => "its inhibitAnyPolicy",
    }
}

fn basic_constraints(mut value: Der<'_>) -> Option<BasicConstraints> {
    let mut fields = value.read(SEQUENCE)?;
    let is_ca = if fields.is_next(BOOLEAN) { fields.boolean()? } else { false };
    let max_path_len = match fields.is_next(INTEGER) {
        true => Some(u64::try_from(fields.signed(INTEGER)?).ok()?),
        false => None,
    };
    Some(BasicConstraints { is_ca, max_path_len })
}

fn alternative_names(mut value: Der<'_>) -> Option<Result<Names, InvalidCertificate>> {
    let mut fields = value.read(SEQUENCE)?;
    let mut names = Vec::new();
    while !fields.is_empty() {
        let (tag, name) = fields.any()?;
        let Some(kind) = NameKind::from_tag(tag) else { continue };
        if let Err(what) = check_name(kind, name.bytes()) {
            return Some(Err(InvalidCertificate::new(format!("its subject alternative name has {what}"))));
        }
        names.push((kind, name.span()));
    }
    Some(Ok(names.into()))
}

fn check_name(kind: NameKind, name: &[u8]) -> Result<(), &'static str> {
    match kind {
        NameKind::Ip if !matches!(name.len(), 4 | 16) => Err("an IP address that is not 4 or 16 bytes long"),
        NameKind::Ip => Ok(()),
        NameKind::Dns if !name.is_ascii() => Err("a DNS name that is not ASCII"),
        NameKind::Email if !name.is_ascii() => Err("a mail address that is not ASCII"),
        NameKind::Uri => match str::from_utf8(name).ok().filter(|uri| uri.is_ascii()) {
            None => Err("a URI that is not ASCII"),
            Some(uri) => uri::host(uri).map(drop).ok_or("a URI that Go cannot parse"),
        },
        NameKind::Dns | NameKind::Email => Ok(()),
    }
}

/// The constraints, and whether all of them are of kinds that Go knows.
fn name_constraints(mut value: Der<'_>) -> Option<Result<(NameConstraints, bool), InvalidCertificate>> {
    let mut fields = value.read(SEQUENCE)?;
    let permitted = fields.optional(explicit(0))?;
    let excluded = fields.optional(explicit(1))?;
    if !value.is_empty() || !fields.is_empty() {
        return None;
    }
    let is_empty = |subtrees: Option<Der<'_>>| subtrees.is_none_or(Der::is_empty);
    if is_empty(permitted) && is_empty(excluded) {
        return Some(Err(InvalidCertificate::new("its name constraints are empty".to_owned())));
    }
    let mut is_handled = true;
    let mut read = |subtrees: Option<Der<'_>>| match subtrees {
        Some(subtrees) => read_subtrees(subtrees, &mut is_handled),
        None => Some(Ok(Names::default())),
    };
    let (permitted, excluded) = match (read(permitted)?, read(excluded)?) {
        (Ok(permitted), Ok(excluded)) => (permitted, excluded),
        (Err(what), _) | (_, Err(what)) => {
            return Some(Err(InvalidCertificate::new(format!("its name constraints have {what}"))));
        }
    };
    Some(Ok((NameConstraints { permitted, excluded }, is_handled)))
}

fn read_subtrees(mut subtrees: Der<'_>, is_handled: &mut bool) -> Option<Result<Names, &'static str>> {
    let mut names = Vec::new();
    while !subtrees.is_empty() {
        // The distances that may follow are not looked at.
        let (tag, base) = subtrees.read(SEQUENCE)?.any()?;
        match NameKind::from_tag(tag) {
            None => *is_handled = false,
            Some(kind) => match check_constraint(kind, base.bytes()) {
                Ok(()) => names.push((kind, base.span())),
                Err(what) => return Some(Err(what)),
            },
        }
    }
    Some(Ok(names.into()))
}

fn check_constraint(kind: NameKind, base: &[u8]) -> Result<(), &'static str> {
    if kind == NameKind::Ip {
        let (length, is_mask) = (base.len(), is_mask(&base[base.len() / 2..]));
        return match (length, is_mask) {
            (8 | 32, true) => Ok(()),
            (8 | 32, false) => Err("an IP range whose mask has a hole"),
            _ => Err("an IP range that is not 8 or 32 bytes long"),
        };
    }
    let Some(base) = str::from_utf8(base).ok().filter(|base| base.is_ascii()) else {
        return Err("a value that is not ASCII");
    };
    let is_valid = match kind {
        NameKind::Email if base.contains('@') => Mailbox::parse(base).is_some(),
        NameKind::Uri => is_domain(base, true) && base.parse::<IpAddr>().is_err(),
        _ => is_domain(base, true),
    };
    if is_valid { Ok(()) } else { Err("a value that is no domain or mail address") }
}

/// Ones, and then zeros only.
fn is_mask(mask: &[u8]) -> bool {
    let mut rest = mask.iter().skip_while(|byte| **byte == 0xff);
    rest.next().is_none_or(|byte| byte.leading_ones() + byte.trailing_zeros() >= 8) && rest.all(|byte| *byte == 0)
}

/// Read and forgotten, as nothing but its form counts.
fn distribution_points(mut value: Der<'_>) -> Option<()> {
    let mut points = value.read(SEQUENCE)?;
    while !points.is_empty() {
        let mut point = points.read(SEQUENCE)?;
        if let Some(mut name) = point.optional(explicit(0))? {
            let mut full_name = name.read(explicit(0))?;
            while full_name.is_next(context(6)) {
                full_name.read(context(6))?;
            }
        }
    }
    Some(())
}

fn access_descriptions(mut value: Der<'_>) -> Option<()> {
    let mut descriptions = value.read(SEQUENCE)?;
    while !descriptions.is_empty() {
        let mut description = descriptions.read(SEQUENCE)?;
        description.oid()?;
        description.optional(context(6))?;
    }
    Some(())
}

/// Each policy once.
fn policies(mut value: Der<'_>) -> Option<Vec<Span>> {
    let mut list = value.read(SEQUENCE)?;
    let (mut policies, mut seen) = (Vec::new(), HashSet::new());
    while !list.is_empty() {
        let oid = list.read(SEQUENCE)?.read(OBJECT_IDENTIFIER)?;
        if !seen.insert(Oid::unbounded(oid.bytes())?) {
            return None;
        }
        policies.push(oid.span());
    }
    Some(policies)
}

fn policy_mappings(mut value: Der<'_>) -> Option<Vec<(Span, Span)>> {
    let mut list = value.read(SEQUENCE)?;
    let mut mappings = Vec::new();
    while !list.is_empty() {
        let mut mapping = list.read(SEQUENCE)?;
        mappings.push((mapping.read(OBJECT_IDENTIFIER)?.span(), mapping.read(OBJECT_IDENTIFIER)?.span()));
    }
    Some(mappings)
}

fn ext_key_usage(oid: Oid<'_>) -> Option<ExtKeyUsage> {
    match oid.0 {
        [0x55, 0x1d, 0x25, 0] => Some(ExtKeyUsage::Any),
        [0x2b, 6, 1, 5, 5, 7, 3, number] => match number {
            1 => Some(ExtKeyUsage::ServerAuth),
            2 => Some(ExtKeyUsage::ClientAuth),
            3..=9 => Some(ExtKeyUsage::Other),
            _ => None,
        },
        // Microsoft's and Netscape's server gated crypto, and Microsoft's code signing for money and for the kernel.
        [0x2b, 6, 1, 4, 1, 0x82, 0x37, 10, 3, 3]
        | [0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 4, 1]
        | [0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 22]
        | [0x2b, 6, 1, 4, 1, 0x82, 0x37, 61, 1, 1] => Some(ExtKeyUsage::Other),
        _ => None,
    }
}
