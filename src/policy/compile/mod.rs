//! Document -> policy: what the values mean, every fault at once.
//!
//! Whatever passes here can be obeyed; whatever could not is refused, with its place and the way to mend it.

use std::collections::{HashMap, HashSet};

use globset::Glob;

mod ca;
mod probe;
mod pull_secrets;
mod trust;

use super::document::{API_VERSION, Document, Ignore, KIND, RegistryMirror, Repositories, Spanned, Texts};
use super::endpoint::Endpoint;
use super::fault::{Collector, quoted};
use super::globs::{ImageGlobs, InvalidGlob, RepositoryGlobs, image_glob, repository_glob};
use super::hosts::{self, HostIndex, HostPattern, InvalidPattern};
use super::mirror::Mirror;
use super::pull_secrets::Source;
use super::template::Template;
use super::trust::Ca;
use super::{Ignored, Policy};
use crate::image::Reference;
use crate::yaml::Span;

/// An image that every template is tried on.
const SAMPLE: &str = "registry.example:5000/library/nginx:1.27";

/// Compiles the document. The policy is whole only if `faults` stays without errors.
pub(super) fn policy(document: &Document, faults: &mut Collector<'_>) -> Policy {
    expect(&document.api_version, "apiVersion", API_VERSION, faults);
    expect(&document.kind, "kind", KIND, faults);

    let entries = document.registry_mirrors.as_ref().map_or(&[][..], |mirrors| &mirrors.value);
    let names = entries.iter().map(|entry| entry.name.as_ref());
    unique_names("registryMirrors", "a mirror", names, faults);
    let read: Vec<Read> = entries.iter().enumerate().map(|(index, entry)| mirror(index, entry, faults)).collect();
    sources(&read, faults);

    let mut policy = Policy {
        mirrors: Vec::new(),
        sources: HostIndex::default(),
        endpoints: hosts::Map::default(),
        pull_secrets: pull_secrets::rules(&read, document, faults),
        on_missing_pull_secret: document.on_missing_pull_secret.as_ref().map(|on| on.value).unwrap_or_default(),
        trust: trust::rules(&read, document.trust.as_ref(), faults),
        probe: probe::settings(document.probe.as_ref(), faults),
        ignored: ignored(document.ignore.as_ref(), faults),
    };
    for Read { mirror, hosts, .. } in read {
        let Some(mirror) = mirror else { continue };
        let at = policy.mirrors.len();
        policy.endpoints.entry(mirror.endpoint().as_str().to_owned()).or_insert(at);
        policy.mirrors.push(mirror);
        for host in hosts {
            policy.sources.entry(host.value).push(at);
        }
    }
    policy
}

fn expect(written: &Option<Spanned<String>>, key: &str, expected: &str, faults: &mut Collector<'_>) {
    if let Some(written) = written
        && written.value != expected
    {
        let message = format!("{} is not understood here", quoted(&written.value));
        faults.error(key, written.span, message).help(format!("write `{key}: {expected}`"));
    }
}

/// Names of the entries of one list, that none may share.
fn unique_names<'d>(
    list: &str,
    what: &str,
    names: impl Iterator<Item = Option<&'d Spanned<String>>>,
    faults: &mut Collector<'_>,
) {
    let mut first_places: HashMap<&str, (usize, Span)> = HashMap::new();
    for (index, name) in names.enumerate() {
        let Some(name) = name else { continue };
        let path = format!("{list}[{index}].name");
        if !is_name(&name.value) {
            faults.error(&path, name.span, format!("{} is no name of {what}", quoted(&name.value))).help(
                "a name has 1 to 63 letters, digits, `-`, `_` and `.`, and begins and ends with a letter or digit",
            );
        }
        let (first_index, first) = *first_places.entry(&name.value).or_insert((index, name.span));
        if first_index != index {
            let line = faults.line(first);
            let each = what.strip_prefix("a ").unwrap_or(what);
            faults
                .error(&path, name.span, format!("the name {} is taken, on line {line}", quoted(&name.value)))
                .help(format!("give each {each} a name of its own"))
                .related(first, "first here");
        }
    }
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// What could be read of a `registryMirrors` entry.
struct Read {
    index: usize,
    name: String,
    endpoint: Option<(Endpoint, Span)>,
    hosts: Vec<Indexed<HostPattern>>,
    pull_secrets: Vec<Source>,
    ca: Option<Ca>,
    /// There if the entry has no fault of its own.
    mirror: Option<Mirror>,
}

/// An entry of a list, with its place in the list and in the source.
struct Indexed<T> {
    index: usize,
    value: T,
    span: Span,
}

fn mirror(index: usize, entry: &RegistryMirror, faults: &mut Collector<'_>) -> Read {
    let path = format!("registryMirrors[{index}]");
    let name = entry.name.as_ref().map_or("", |name| &name.value).to_owned();
    let endpoint = entry.endpoint.as_ref().and_then(|written| endpoint(&path, written, faults));
    if let Some((endpoint, span)) = &endpoint {
        plain_http(&path, endpoint, *span, entry.plain_http.as_ref(), faults);
    }
    let hosts = match &entry.hosts {
        Some(list) if list.value.is_empty() => {
            faults
                .error(format!("{path}.hosts"), list.span, "is an empty list: the mirror would serve nothing")
                .help("list the hosts whose images it serves, or leave the mirror out");
            Vec::new()
        }
        Some(list) => host_patterns(&format!("{path}.hosts"), list, InvalidPattern::help_in_mirror, faults),
        None => Vec::new(),
    };
    let repositories = repositories(&format!("{path}.repositories"), entry.repositories.as_ref(), faults);
    let template = match &entry.path_template {
        Some(written) => template(&path, written, faults),
        None => Some(Template::default()),
    };
    let pulls = entry.pull_from_mirror.as_ref().map(|pulls| pulls.value).unwrap_or_default();
    let source_policy = entry.mirror_source_policy.as_ref().map(|written| written.value).unwrap_or_default();
    let mirror = match (&endpoint, template, repositories) {
        (Some((endpoint, _)), Some(template), Some(repositories)) => {
            let (name, endpoint, has_ca_bundle) = (name.clone(), endpoint.clone(), entry.ca_bundle.is_some());
            let mirror = Mirror::new(name, endpoint, template, repositories, pulls, source_policy, has_ca_bundle);
            let place = entry.path_template.as_ref().or(entry.endpoint.as_ref()).map(|written| written.span);
            try_sample(&path, entry.path_template.is_some(), &mirror, place, faults).then_some(mirror)
        }
        _ => None,
    };
    let pull_secrets = pull_secrets::of_mirror(&path, entry.pull_secrets.as_ref(), faults);
    let ca = entry.ca_bundle.as_ref().and_then(|written| {
        let of_plain_http = endpoint.as_ref().filter(|(endpoint, _)| endpoint.plain_http);
        trust::of_mirror(&path, &name, written, of_plain_http.map(|(_, span)| *span), faults)
    });
    Read { index, name, endpoint, hosts, pull_secrets, ca, mirror }
}

fn endpoint(path: &str, written: &Spanned<String>, faults: &mut Collector<'_>) -> Option<(Endpoint, Span)> {
    match Endpoint::parse(&written.value) {
        Ok(endpoint) => Some((endpoint, written.span)),
        Err(invalid) => {
            faults.error(format!("{path}.endpoint"), written.span, invalid.to_string()).help(invalid.help());
            None
        }
    }
}

/// T6: without TLS only where the policy says so, and never without a word about it.
fn plain_http(
    path: &str,
    endpoint: &Endpoint,
    span: Span,
    written: Option<&Spanned<bool>>,
    faults: &mut Collector<'_>,
) {
    match (endpoint.plain_http, written) {
        (true, Some(Spanned { value: true, span: written })) => {
            let message = "this mirror is used without TLS: whoever is on the network path can read and change what is \
                           pulled";
            faults
                .warning(format!("{path}.plainHTTP"), *written, message)
                .help("serve the mirror by HTTPS where you can");
        }
        (true, _) => {
            faults
                .error(format!("{path}.endpoint"), span, "`http://` is not allowed for this mirror")
                .help("write `https://`; or, where there is none, add `plainHTTP: true` to the mirror");
        }
        (false, Some(Spanned { value: true, span: written })) => {
            let line = faults.line(span);
            faults
                .error(
                    format!("{path}.plainHTTP"),
                    *written,
                    format!("the endpoint, on line {line}, is `https://`: it is not plain HTTP"),
                )
                .help("leave `plainHTTP` out, or write `http://` in the endpoint")
                .related(span, "the endpoint");
        }
        (false, _) => {}
    }
}

fn host_patterns(
    path: &str,
    list: &Texts,
    help: fn(&InvalidPattern) -> String,
    faults: &mut Collector<'_>,
) -> Vec<Indexed<HostPattern>> {
    let mut patterns = Vec::with_capacity(list.value.len());
    for item in once_each(path, list, faults) {
        match HostPattern::parse(item.value) {
            Ok(value) => patterns.push(Indexed { index: item.index, value, span: item.span }),
            Err(invalid) => {
                faults.error(format!("{path}[{}]", item.index), item.span, invalid.to_string()).help(help(&invalid));
            }
        }
    }
    patterns
}

/// The entries of a list that could be read. An entry that is there already is a fault, and left out.
fn once_each<'l>(path: &str, list: &'l Texts, faults: &mut Collector<'_>) -> Vec<Indexed<&'l str>> {
    let mut first_places: HashMap<&str, (usize, Span)> = HashMap::with_capacity(list.value.len());
    let mut items = Vec::with_capacity(list.value.len());
    for (index, item) in list.value.iter().enumerate() {
        let Some(Spanned { value, span }) = item else { continue };
        let (first_index, first) = *first_places.entry(value).or_insert((index, *span));
        if first_index == index {
            items.push(Indexed { index, value: value.as_str(), span: *span });
        } else {
            let line = faults.line(first);
            faults
                .error(
                    format!("{path}[{index}]"),
                    *span,
                    format!("{} is listed twice, first on line {line}", quoted(value)),
                )
                .help("leave one of them out")
                .related(first, "first here");
        }
    }
    items
}

/// `None` if there was a fault.
fn repositories(path: &str, written: Option<&Repositories>, faults: &mut Collector<'_>) -> Option<RepositoryGlobs> {
    let (include, exclude) = written.map_or((None, None), |lists| (lists.include.as_ref(), lists.exclude.as_ref()));
    let place = include.or(exclude).map(|list| list.span);
    if let Some(list) = include
        && list.value.is_empty()
    {
        faults
            .error(format!("{path}.include"), list.span, "is an empty list: the mirror would serve nothing")
            .help("leave it out to serve every repository");
    }
    let include = include.map_or(Some(Vec::new()), |list| globs(&format!("{path}.include"), list, faults));
    let exclude = exclude.map_or(Some(Vec::new()), |list| globs(&format!("{path}.exclude"), list, faults));
    let (mut include, exclude) = (include?, exclude?);
    if include.iter().any(|glob| glob.glob() == "**") {
        include.clear();
    }
    let joined = RepositoryGlobs::new(include, exclude);
    if let (Err(error), Some(place)) = (&joined, place) {
        faults.error(path, place, format!("the globs do not compile together: {error}")).help("write fewer of them");
    }
    joined.ok()
}

fn globs(path: &str, list: &Texts, faults: &mut Collector<'_>) -> Option<Vec<Glob>> {
    let mut whole = true;
    let mut globs = Vec::with_capacity(list.value.len());
    for item in once_each(path, list, faults) {
        if faults.is_one_glob_too_many(&format!("{path}[{}]", item.index), item.span, item.value) {
            return None;
        }
        match repository_glob(item.value) {
            Ok(glob) => globs.push(glob),
            Err(invalid) => {
                whole = false;
                invalid_glob(path, &item, &invalid, faults);
            }
        }
    }
    whole.then_some(globs)
}

fn invalid_glob(path: &str, item: &Indexed<&str>, invalid: &InvalidGlob, faults: &mut Collector<'_>) {
    faults.error(format!("{path}[{}]", item.index), item.span, invalid.to_string()).help(invalid.help());
}

fn template(path: &str, written: &Spanned<String>, faults: &mut Collector<'_>) -> Option<Template> {
    match Template::parse(&written.value) {
        Ok(template) => Some(template),
        Err(invalid) => {
            faults.error(format!("{path}.pathTemplate"), written.span, invalid.to_string()).help(invalid.help());
            None
        }
    }
}

/// Whether the mirror can make a valid reference at all (M6).
fn try_sample(
    path: &str,
    has_template: bool,
    mirror: &Mirror,
    place: Option<Span>,
    faults: &mut Collector<'_>,
) -> bool {
    let Ok(sample) = Reference::parse(SAMPLE) else { return true };
    let (Err(invalid), Some(place)) = (mirror.rewrite(&sample), place) else { return true };
    let key = if has_template { "pathTemplate" } else { "endpoint" };
    faults
        .error(format!("{path}.{key}"), place, format!("tried on `{SAMPLE}`: {invalid}"))
        .help("make the endpoint's path or the template shorter");
    false
}

/// M5: a mirror whose endpoint is an exact host pattern too, of whichever mirror.
fn sources(read: &[Read], faults: &mut Collector<'_>) {
    let mut endpoints: HashMap<&str, (&Read, Span)> = HashMap::new();
    for entry in read {
        if let Some((endpoint, span)) = &entry.endpoint {
            endpoints.entry(endpoint.registry.as_str()).or_insert((entry, *span));
        }
    }
    for entry in read {
        for host in &entry.hosts {
            let Some((mirror, span)) = host.value.exact().and_then(|exact| endpoints.get(exact)) else { continue };
            let line = faults.line(*span);
            let message = format!(
                "a mirror that is also a source: {} is the endpoint of the mirror {}, on line {line}",
                quoted(host.value.as_str()),
                quoted(&mirror.name),
            );
            faults
                .error(format!("registryMirrors[{}].hosts[{}]", entry.index, host.index), host.span, message)
                .help("leave the host out: images that name an endpoint are never rewritten")
                .related(*span, "the endpoint");
        }
    }
}

fn ignored(written: Option<&Ignore>, faults: &mut Collector<'_>) -> Ignored {
    let mut ignored = Ignored::default();
    let Some(written) = written else { return ignored };
    if let Some(list) = &written.images {
        (ignored.images, ignored.image_globs) = ignored_images(list, faults);
    }
    if let Some(list) = &written.registries {
        for pattern in host_patterns("ignore.registries", list, InvalidPattern::help, faults) {
            ignored.registries.entry(pattern.value);
        }
    }
    if let Some(list) = &written.owner_kinds {
        let path = "ignore.ownerKinds";
        for item in once_each(path, list, faults) {
            match owner_kind_mend(item.value) {
                None => {
                    ignored.owner_kinds.insert(item.value.to_owned());
                }
                Some(help) => {
                    faults
                        .error(
                            format!("{path}[{}]", item.index),
                            item.span,
                            format!("{} is no kind of an owner", quoted(item.value)),
                        )
                        .help(help);
                }
            }
        }
    }
    ignored
}

fn ignored_images(list: &Texts, faults: &mut Collector<'_>) -> (HashSet<String>, ImageGlobs) {
    let path = "ignore.images";
    let mut exact = HashSet::new();
    let mut globs = Vec::new();
    for item in once_each(path, list, faults) {
        if item.value.is_empty() {
            faults
                .error(format!("{path}[{}]", item.index), item.span, "is an empty text, which no image is")
                .help("leave it out");
        } else if !item.value.contains('*') {
            exact.insert(item.value.to_owned());
        } else if faults.is_one_glob_too_many(&format!("{path}[{}]", item.index), item.span, item.value) {
            return (exact, ImageGlobs::default());
        } else {
            match image_glob(item.value) {
                Ok(glob) => globs.push((item.value.to_owned(), glob)),
                Err(invalid) => invalid_glob(path, &item, &invalid, faults),
            }
        }
    }
    let globs = ImageGlobs::new(globs).unwrap_or_else(|error| {
        faults
            .error(path, list.span, format!("the globs do not compile together: {error}"))
            .help("write fewer of them");
        ImageGlobs::default()
    });
    (exact, globs)
}

/// How to write a kind that is not `group/Kind` or `Kind`; `None` if it is.
fn owner_kind_mend(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (group, kind) = match parts.as_slice() {
        [kind] => (None, *kind),
        [group, kind] => (Some(*group), *kind),
        [group, version, kind] if is_version(version) && is_dns_name(group) && is_kind(kind) => {
            return Some(format!("leave the version out: `{group}/{kind}`"));
        }
        _ => (Some(""), ""),
    };
    if group.is_some_and(is_version) && is_kind(kind) {
        return Some(format!("kinds of the core group are written without it: `{kind}`"));
    }
    if group.is_none_or(is_dns_name) && is_kind(kind) {
        return None;
    }
    Some("write `group/Kind`, such as `postgresql.cnpg.io/Cluster`, or `Kind` for the core group".to_owned())
}

fn is_kind(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether it is a DNS name in lower case.
fn is_dns_name(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    })
}

/// `v1`, `v2beta1`, ..
fn is_version(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('v') else { return false };
    let digits = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let level = digits.strip_prefix("alpha").or_else(|| digits.strip_prefix("beta"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    rest.len() > digits.len() && (digits.is_empty() || level.is_some_and(is_number))
}
