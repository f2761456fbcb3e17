//! The two forms of what registries were found to be.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::image::Escaped;
use crate::probe::Report;
use crate::review::{Unknown, Unreachable, UnreachableClass, Verdict};
use crate::trust::{Certificate, Facts, InvalidCertificate, Judgement, Outcome, Rejection, TrustedBy};

use super::super::paint::Paint;
use super::Probed;

/// The most characters of a distinguished name, and of the names that a certificate is for, on one line.
const MOST_NAME_CHARS: usize = 100;
const MOST_NAMES_CHARS: usize = 160;

/// The most certificates that a person is shown, besides the one at fault.
const MOST_SHOWN: usize = 4;

/// One registry of the JSON array: names and shape are an interface.
#[derive(Serialize)]
struct Entry {
    registry: String,
    address: Option<String>,
    verdict: &'static str,
    class: &'static str,
    message: String,
    http_status: Option<u16>,
    chain: Vec<Link>,
    /// The place in `chain` of the certificate that the verdict is about.
    at_fault: Option<usize>,
    trusted_by: Option<Authority>,
    fix: Option<String>,
    /// The time that the chain was judged by.
    judged_at: Option<String>,
    took_ms: u128,
}

/// A certificate as it was sent.
#[derive(Serialize)]
#[serde(untagged)]
enum Link {
    Read {
        subject: String,
        issuer: String,
        sha256: String,
        not_before: Timestamp,
        not_after: Timestamp,
        is_ca: bool,
        names: Vec<String>,
    },
    Invalid {
        error: String,
    },
}

/// The CA that vouches for the chain, and where it is from.
#[derive(Serialize)]
struct Authority {
    subject: String,
    sha256: String,
    source: String,
}

pub(super) fn json(probed: &[Probed]) -> serde_json::Result<String> {
    let entries: Vec<Entry> = probed.iter().map(Entry::new).collect();
    Ok(serde_json::to_string_pretty(&entries)? + "\n")
}

impl Entry {
    fn new(probed: &Probed) -> Self {
        let Report { registry, address, judgement, http_status, verdict, took } = &probed.report;
        Self {
            registry: registry.to_string(),
            address: address.map(|address| address.to_string()),
            verdict: verdict.as_str(),
            class: verdict.class(),
            message: message(&probed.report),
            http_status: *http_status,
            chain: judgement.iter().flat_map(|judgement| &judgement.presented).map(Link::new).collect(),
            at_fault: judgement.as_ref().and_then(rejection).and_then(|rejection| rejection.presented_index),
            trusted_by: judgement.as_ref().and_then(trusted_by).map(|TrustedBy { root, source }| {
                let Facts { subject, sha256, .. } = root.facts();
                Authority { subject: escaped(&subject), sha256, source: source.to_string() }
            }),
            fix: fix(probed),
            judged_at: judgement.as_ref().map(|judgement| format!("{:.0}", judgement.at)),
            took_ms: took.as_millis(),
        }
    }
}

impl Link {
    fn new(certificate: &Result<std::sync::Arc<Certificate>, InvalidCertificate>) -> Self {
        match certificate {
            Err(invalid) => Self::Invalid { error: escaped(&invalid.to_string()) },
            Ok(certificate) => {
                let Facts { subject, issuer, sha256, not_before, not_after, is_ca, names } = certificate.facts();
                let names = names.iter().map(|name| escaped(name)).collect();
                Self::Read {
                    subject: escaped(&subject),
                    issuer: escaped(&issuer),
                    sha256,
                    not_before,
                    not_after,
                    is_ca,
                    names,
                }
            }
        }
    }
}

/// What a person reads, registry by registry.
pub(super) fn text(probed: &[Probed], color: bool) -> String {
    let texts: Vec<String> = probed.iter().map(|probed| Page { paint: Paint { color } }.of(probed)).collect();
    texts.join("\n")
}

struct Page {
    paint: Paint,
}

impl Page {
    /// The verdict first, then what it rests on, then what mends it.
    fn of(&self, probed: &Probed) -> String {
        let Report { registry, address, judgement, http_status, verdict, took } = &probed.report;
        let paint = self.paint;
        let is_trusted = *verdict == Verdict::Trusted;
        let word = match verdict {
            Verdict::Trusted => paint.green("trusted"),
            Verdict::Untrusted(_) => paint.red("untrusted"),
            Verdict::Unreachable(_) | Verdict::Unknown(_) => paint.yellow(verdict.as_str()),
        };
        let class = if is_trusted { String::new() } else { format!(" ({})", verdict.class()) };
        let mut page = format!("{}: {word}{class}\n  {}\n", paint.bold(registry.as_str()), message(&probed.report));
        if let Some(judgement) = judgement {
            page.push('\n');
            page.push_str(&self.chain(judgement));
        }
        page.push('\n');
        if let Some(address) = address {
            page.push_str(&format!("  address    {address}\n"));
        }
        if let Some(status) = http_status {
            page.push_str(&format!("  GET /v2/   {status}\n"));
        }
        if let Some(judgement) = judgement {
            page.push_str(&format!("  judged at  {:.0}\n", judgement.at));
        }
        page.push_str(&format!("  took       {} ms\n", took.as_millis()));
        if verdict.class() == UnreachableClass::RefusedAddress.as_str() {
            page.push_str("\n  --resolve HOST:PORT:ADDRESS dials an address all the same.\n");
        }
        if let Some(fix) = fix(probed) {
            page.push_str(&format!("\n{}\n", indented(&fix, "  ")));
        }
        page
    }

    fn chain(&self, judgement: &Judgement) -> String {
        let presented = &judgement.presented;
        let at_fault = rejection(judgement).and_then(|rejection| rejection.presented_index);
        let mut chain = match presented.len() {
            1 => "  The server sends one certificate:\n".to_owned(),
            sent => format!("  The server sends {sent} certificates:\n"),
        };
        let mut hidden = 0;
        for (place, certificate) in presented.iter().enumerate() {
            if place >= MOST_SHOWN && Some(place) != at_fault {
                hidden += 1;
                continue;
            }
            let mark = if Some(place) == at_fault { self.paint.red(">") } else { " ".to_owned() };
            let number = place + 1;
            match certificate {
                Err(invalid) => chain.push_str(&format!("  {mark} {number}  {}\n", cut(&invalid.to_string()))),
                Ok(certificate) => {
                    let signed_by = signer(judgement, certificate, place);
                    chain.push_str(&certificate_lines(&format!("{mark} {number}"), &certificate.facts(), &signed_by));
                }
            }
        }
        if hidden > 0 {
            chain.push_str(&format!("       and {hidden} more, which `-o json` lists\n"));
        }
        if let Some(Rejection { presented_index: None, at_fault: Some(root), .. }) = rejection(judgement) {
            let facts = root.facts();
            let signed_by = if facts.subject == facts.issuer { "itself".to_owned() } else { cut(&facts.issuer) };
            chain.push_str("  A trusted CA that it leads to:\n");
            chain.push_str(&certificate_lines(&format!("{}  ", self.paint.red(">")), &facts, &signed_by));
        }
        chain
    }
}

/// Who signed it, by the names: one of those sent, a trusted CA, or nobody who is known here.
fn signer(judgement: &Judgement, certificate: &Certificate, place: usize) -> String {
    let issuer = cut(&certificate.issuer());
    if certificate.raw_issuer() == certificate.raw_subject() {
        return "itself".to_owned();
    }
    if let Some(TrustedBy { root, source }) = trusted_by(judgement)
        && root.raw_subject() == certificate.raw_issuer()
    {
        return format!("{issuer}, trusted: {source}");
    }
    let sent = judgement.presented.iter().enumerate();
    let mut issuers = sent.filter(|(other, sent)| {
        *other != place && sent.as_ref().is_ok_and(|sent| sent.raw_subject() == certificate.raw_issuer())
    });
    match issuers.next() {
        Some((other, _)) => format!("{issuer}, number {}", other + 1),
        None => format!("{issuer}, which is not sent"),
    }
}

fn certificate_lines(number: &str, facts: &Facts, signed_by: &str) -> String {
    let Facts { subject, issuer: _, sha256, not_before, not_after, is_ca, names } = facts;
    let subject = if subject.is_empty() { "(no subject)".to_owned() } else { cut(subject) };
    let ca = if *is_ca { " (a CA)" } else { "" };
    let mut lines = format!(
        "  {number}  {subject}{ca}\n       signed by  {signed_by}\n       valid      {not_before} to {not_after}\n"
    );
    if !names.is_empty() {
        let names = Escaped::cut(&names.join(", "), MOST_NAMES_CHARS).to_string();
        lines.push_str(&format!("       names      {names}\n"));
    }
    lines.push_str(&format!("       SHA-256    {sha256}\n"));
    lines
}

/// One sentence: the registry and what is said of it.
fn message(report: &Report) -> String {
    let registry = &report.registry;
    match &report.verdict {
        Verdict::Trusted => match report.judgement.as_ref().and_then(trusted_by) {
            Some(TrustedBy { root, source }) => {
                let subject = cut(&root.facts().subject);
                format!("the nodes would trust it, by {subject} of {}", Escaped::cut(source, MOST_NAME_CHARS))
            }
            None => format!("the nodes would trust {registry}"),
        },
        Verdict::Untrusted(untrusted) => format!("the nodes would refuse it: {}", untrusted.why),
        Verdict::Unreachable(Unreachable { why, .. }) => format!("nothing can be pulled from it now: {why}"),
        Verdict::Unknown(Unknown { why, .. }) => format!("whether the nodes would trust it is not known: {why}"),
    }
}

/// The lines for the policy, or that none would help; nothing where the certificate is not what is wrong.
fn fix(probed: &Probed) -> Option<String> {
    let Verdict::Untrusted(untrusted) = &probed.report.verdict else { return None };
    let judgement = probed.report.judgement.as_ref()?;
    Some(untrusted.whole_mend(&probed.report.registry, probed.mirror.as_ref(), judgement))
}

fn trusted_by(judgement: &Judgement) -> Option<&TrustedBy> {
    match &judgement.outcome {
        Outcome::Trusted(by) => Some(by),
        Outcome::Untrusted(_) | Outcome::CannotJudge(_) => None,
    }
}

fn rejection(judgement: &Judgement) -> Option<&Rejection> {
    match &judgement.outcome {
        Outcome::Untrusted(rejection) => Some(rejection),
        Outcome::Trusted(_) | Outcome::CannotJudge(_) => None,
    }
}

fn escaped(text: &str) -> String {
    Escaped::new(text).to_string()
}

fn cut(text: &str) -> String {
    Escaped::cut(text, MOST_NAME_CHARS).to_string()
}

fn indented(text: &str, by: &str) -> String {
    let mut indented = String::new();
    for line in text.lines() {
        // Writing to a `String` does not fail.
        let _ = if line.is_empty() { writeln!(indented) } else { writeln!(indented, "{by}{line}") };
    }
    indented.truncate(indented.trim_end().len());
    indented
}
