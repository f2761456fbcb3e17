//! The key `trust`: which registries are checked, and which CAs vouch for which (T1, T2, T6).

use core::net::IpAddr;
use std::collections::{HashMap, HashSet};

use ipnet::IpNet;

use super::super::bundle_ref::BundleRef;
use super::super::document::{AdditionalTrustedCa, CaBundle, Spanned, Texts, Trust, TrustedCaBundle};
use super::super::fault::{Collector, quoted};
use super::super::hosts::{HostIndex, HostPattern, InvalidPattern};
use super::super::trust::{Ca, TrustRules};
use super::ca;
use super::{Indexed, Read, host_patterns, once_each, unique_names};
use crate::image::Registry;
use crate::yaml::Span;

/// How many registries one message names.
const MOST_NAMED: usize = 3;

/// The CAs of a mirror. One that speaks plain HTTP, whose endpoint is at `plain_http`, has no use for them.
pub(super) fn of_mirror(
    path: &str,
    name: &str,
    written: &CaBundle,
    plain_http: Option<Span>,
    faults: &mut Collector<'_>,
) -> Option<Ca> {
    let path = format!("{path}.caBundle");
    if let (Some(endpoint), Some(place)) = (plain_http, written.place) {
        let line = faults.line(endpoint);
        faults
            .error(&path, place, format!("the endpoint, on line {line}, is `http://`: it has no certificate"))
            .help("leave `caBundle` out, or serve the mirror by HTTPS")
            .related(endpoint, "the endpoint");
    }
    ca::bundle(&path, &format!("caBundle of the mirror {name}"), &written.into(), faults)
}

/// The rules of the document.
pub(super) fn rules(mirrors: &[Read], written: Option<&Trust>, faults: &mut Collector<'_>) -> TrustRules {
    one_scheme_each(mirrors, faults);
    let nothing = Trust::default();
    let written = written.unwrap_or(&nothing);
    let mut rules = TrustRules::new(
        written.system_roots.as_ref().is_none_or(|roots| roots.value),
        written.on_untrusted.as_ref().map(|on| on.value).unwrap_or_default(),
        written.on_unreachable.as_ref().map(|on| on.value).unwrap_or_default(),
    );
    let list = written.registries.as_ref();
    let listed = list.map_or(Vec::new(), |list| host_patterns("trust.registries", list, InvalidPattern::help, faults));
    never_plain_http(mirrors, &listed, faults);
    let checked = CheckedHosts::new(mirrors, &listed);

    for Read { endpoint, ca, .. } in mirrors {
        let Some((endpoint, _)) = endpoint else { continue };
        if let Ok(address) = endpoint.registry.host().trim_matches(['[', ']']).parse::<IpAddr>() {
            rules.literal_endpoints.push(address.to_canonical());
        }
        if let Some(ca) = ca {
            rules.add(ca.clone(), [HostPattern::from(&endpoint.registry)]);
        }
    }
    if let Some(entries) = &written.additional_trusted_cas {
        additional_trusted_cas(&entries.value, &checked, &mut rules, faults);
    }
    if let Some(entries) = &written.ca_bundles {
        ca_bundles(&entries.value, &checked, &mut rules, faults);
    }
    if let Some(list) = &written.deny_networks {
        rules.denied_networks = denied_networks(list, faults);
    }
    rules.probed_ahead = known(mirrors, &listed);
    for pattern in &listed {
        rules.registries.entry(pattern.value.clone());
    }
    if let Some(any) = listed.iter().find(|pattern| pattern.value.is_any())
        && written.deny_networks.as_ref().is_none_or(|list| list.value.is_empty())
    {
        faults
            .warning(
                format!("trust.registries[{}]", any.index),
                any.span,
                "with `*`, whoever may create pods says where mirrorgate connects to, and no network is denied",
            )
            .help("list the networks that it must not reach in `trust.denyNetworks`, such as `10.0.0.0/8`");
    }
    if let Some(Spanned { value: false, span }) = &written.system_roots {
        without_a_ca(&rules, mirrors, &listed, *span, faults);
    }
    rules
}

/// A registry speaks either TLS or plain HTTP: what is known of it is known by its name.
fn one_scheme_each(mirrors: &[Read], faults: &mut Collector<'_>) {
    let mut first_places = HashMap::new();
    for mirror in mirrors {
        let Some((endpoint, span)) = &mirror.endpoint else { continue };
        let (plain_http, first) =
            *first_places.entry(endpoint.registry.as_str()).or_insert((endpoint.plain_http, *span));
        if plain_http != endpoint.plain_http {
            let line = faults.line(first);
            let (scheme, other) = if plain_http { ("https", "http") } else { ("http", "https") };
            let message = format!(
                "`{scheme}://` for {}, which is `{other}://` on line {line}",
                quoted(endpoint.registry.as_str())
            );
            faults
                .error(format!("registryMirrors[{}].endpoint", mirror.index), *span, message)
                .help("write the same for both: one port speaks one of them")
                .related(first, "the other endpoint");
        }
    }
}

/// T6: a registry that must be trusted has a certificate.
fn never_plain_http(mirrors: &[Read], listed: &[Indexed<HostPattern>], faults: &mut Collector<'_>) {
    let mut index = HostIndex::<Vec<usize>>::default();
    for (place, pattern) in listed.iter().enumerate() {
        index.entry(pattern.value.clone()).push(place);
    }
    for mirror in mirrors {
        let Some((endpoint, span)) = mirror.endpoint.as_ref().filter(|(endpoint, _)| endpoint.plain_http) else {
            continue;
        };
        let registry = endpoint.registry.as_str();
        for pattern in index.matching(registry).flatten().map(|&place| &listed[place]) {
            let line = faults.line(*span);
            let message = format!(
                "{} takes in the mirror {}, on line {line}, whose endpoint is `http://`: it has no certificate to check",
                quoted(pattern.value.as_str()),
                quoted(&mirror.name)
            );
            faults
                .error(format!("trust.registries[{}]", pattern.index), pattern.span, message)
                .help("serve the mirror by HTTPS, or list what is to be checked without it")
                .related(*span, "the endpoint");
        }
    }
}

fn additional_trusted_cas(
    entries: &[AdditionalTrustedCa],
    checked: &CheckedHosts,
    rules: &mut TrustRules,
    faults: &mut Collector<'_>,
) {
    let list = "trust.additionalTrustedCAs";
    unique_names(list, "a CA", entries.iter().map(|entry| entry.name.as_ref()), faults);
    for (index, AdditionalTrustedCa { name, data, registries }) in entries.iter().enumerate() {
        let path = format!("{list}[{index}]");
        let name = name.as_ref().map_or("", |name| &name.value);
        let source = format!("additionalTrustedCAs {name}");
        let ca = data.as_ref().and_then(|data| ca::data(&format!("{path}.data"), &source, data, faults));
        let registries = vouched_for(&path, registries.as_ref(), checked, faults);
        if let (Some(ca), Some(registries)) = (ca, registries) {
            rules.add(ca, registries);
        }
    }
}

fn ca_bundles(entries: &[TrustedCaBundle], checked: &CheckedHosts, rules: &mut TrustRules, faults: &mut Collector<'_>) {
    let mut first_places: HashMap<(BundleRef, Vec<String>), (usize, Span)> = HashMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let path = format!("trust.caBundles[{index}]");
        let ca = ca::bundle(&path, &path, &entry.into(), faults);
        let registries = vouched_for(&path, entry.registries.as_ref(), checked, faults);
        let (Some(ca), Some(registries), Some(place)) = (ca, registries, entry.place) else { continue };
        if let Ca::Bundle(bundle) = &ca {
            let mut names: Vec<String> = registries.iter().map(|pattern| pattern.as_str().to_owned()).collect();
            names.sort_unstable();
            let (first_index, first) = *first_places.entry((bundle.clone(), names)).or_insert((index, place));
            if first_index != index {
                let line = faults.line(first);
                faults
                    .error(&path, place, format!("says the same as the entry on line {line}"))
                    .help("leave one of them out")
                    .related(first, "first here");
            }
        }
        rules.add(ca, registries);
    }
}

/// The registries that CAs vouch for; `None` if there was a fault.
fn vouched_for(
    path: &str,
    written: Option<&Texts>,
    checked: &CheckedHosts,
    faults: &mut Collector<'_>,
) -> Option<Vec<HostPattern>> {
    let Some(list) = written else { return Some(vec![HostPattern::any()]) };
    let path = format!("{path}.registries");
    if list.value.is_empty() {
        faults
            .error(path, list.span, "is an empty list: the CAs would vouch for no registry")
            .help("leave it out for every registry");
        return None;
    }
    let patterns = host_patterns(&path, list, InvalidPattern::help, faults);
    for pattern in &patterns {
        if checked.meets(&pattern.value) {
            continue;
        }
        let text = pattern.value.as_str();
        let help = match checked.with_another_port(text) {
            Some(other) => {
                format!("did you mean {}? A pattern without a port does not match a host with one", quoted(other))
            }
            None => "list it in `trust.registries`, or leave it out".to_owned(),
        };
        let message = format!("no registry that is checked matches {}", quoted(text));
        faults.warning(format!("{path}[{}]", pattern.index), pattern.span, message).help(help);
    }
    (patterns.len() == list.value.len()).then(|| patterns.into_iter().map(|pattern| pattern.value).collect())
}

/// The hosts of mirrors and of `trust.registries`.
struct CheckedHosts {
    patterns: HostIndex<()>,
    /// Every suffix that is above one of the patterns.
    above: HashSet<String>,
    /// From hosts to the registries there.
    ports: HashMap<String, String>,
}

impl CheckedHosts {
    fn new(mirrors: &[Read], listed: &[Indexed<HostPattern>]) -> Self {
        let mut hosts = Self { patterns: HostIndex::default(), above: HashSet::new(), ports: HashMap::new() };
        let endpoints = mirrors.iter().filter_map(|mirror| mirror.endpoint.as_ref());
        let endpoints = endpoints.map(|(endpoint, _)| HostPattern::from(&endpoint.registry));
        for pattern in endpoints.chain(listed.iter().map(|pattern| pattern.value.clone())) {
            if let Some(registry) = pattern.exact().and_then(|exact| Registry::parse(exact).ok()) {
                hosts.ports.entry(registry.host().to_owned()).or_insert_with(|| registry.as_str().to_owned());
            }
            let suffixes = pattern.as_str().match_indices('.').map(|(dot, _)| pattern.as_str()[dot + 1..].to_owned());
            hosts.above.extend(suffixes);
            hosts.patterns.entry(pattern);
        }
        hosts
    }

    /// Whether a registry that is checked can match `pattern`.
    fn meets(&self, pattern: &HostPattern) -> bool {
        if let Some(exact) = pattern.exact() {
            return self.patterns.best(exact).is_some();
        }
        match pattern.as_str().strip_prefix("*.") {
            Some(suffix) => self.above.contains(suffix) || self.patterns.best(&format!("x.{suffix}")).is_some(),
            None => true,
        }
    }

    fn with_another_port(&self, text: &str) -> Option<&str> {
        let registry = Registry::parse(text).ok()?;
        self.ports.get(registry.host()).map(String::as_str)
    }
}

fn denied_networks(list: &Texts, faults: &mut Collector<'_>) -> Vec<IpNet> {
    let path = "trust.denyNetworks";
    let mut networks = Vec::with_capacity(list.value.len());
    for item in once_each(path, list, faults) {
        match network(item.value) {
            Ok(network) => networks.push(network),
            Err((message, help)) => {
                let message = format!("{} {message}", quoted(item.value));
                faults.error(format!("{path}[{}]", item.index), item.span, message).help(help);
            }
        }
    }
    networks
}

/// Reads a network, or says what is wrong with it and how to mend that.
fn network(text: &str) -> Result<IpNet, (&'static str, String)> {
    let Ok(network) = text.parse::<IpNet>() else {
        return Err(match text.parse::<IpAddr>() {
            Ok(address) => (
                "has no prefix length",
                format!(
                    "write the network with it, as in `10.0.0.0/8`; that address alone is `{}`",
                    IpNet::from(address)
                ),
            ),
            Err(_) => ("is no network", "write it as `10.0.0.0/8` or `fd00::/8`".to_owned()),
        });
    };
    const MAPPED: u8 = 96;
    if let IpAddr::V6(address) = network.addr()
        && let Some(address) = address.to_ipv4_mapped()
        && let Some(length) = network.prefix_len().checked_sub(MAPPED)
    {
        return Err(("is an IPv4 network, written as IPv6", format!("write `{address}/{length}`")));
    }
    if network.addr() != network.network() {
        return Err(("has bits behind its prefix", format!("write `{}`", network.trunc())));
    }
    Ok(network)
}

/// The registries that have a name in the policy, each once.
fn known(mirrors: &[Read], listed: &[Indexed<HostPattern>]) -> Vec<Registry> {
    let endpoints = mirrors.iter().filter_map(|mirror| mirror.endpoint.as_ref());
    let endpoints = endpoints.map(|(endpoint, _)| endpoint.registry.clone());
    let exact = listed.iter().filter_map(|pattern| Registry::parse(pattern.value.exact()?).ok());
    let mut seen = HashSet::new();
    endpoints.chain(exact).filter(|registry| seen.insert(registry.clone())).collect()
}

/// Says of registries for which no CA is there at all that nothing they present can be trusted.
fn without_a_ca(
    rules: &TrustRules,
    mirrors: &[Read],
    listed: &[Indexed<HostPattern>],
    place: Span,
    faults: &mut Collector<'_>,
) {
    let endpoints = mirrors.iter().filter_map(|mirror| mirror.endpoint.as_ref());
    let endpoints = endpoints.filter(|(endpoint, _)| !endpoint.plain_http);
    let endpoints = endpoints.map(|(endpoint, _)| endpoint.registry.as_str());
    // A CA for some of the hosts that a pattern takes in may be all that is wanted.
    let listed = listed.iter().filter(|pattern| pattern.value.exact().is_some() || rules.has_no_ca());
    let mut seen = HashSet::new();
    let bare: Vec<&str> = endpoints
        .chain(listed.map(|pattern| pattern.value.as_str()))
        .filter(|registry| seen.insert(*registry) && rules.ca_sources(registry).is_empty())
        .collect();
    if bare.is_empty() {
        return;
    }
    let mut named: Vec<String> = bare.iter().take(MOST_NAMED).map(|registry| quoted(registry)).collect();
    if bare.len() > MOST_NAMED {
        named.push(format!("{} more", bare.len() - MOST_NAMED));
    }
    let message = format!("no CA is there for {}: whatever is presented there is refused", named.join(", "));
    faults
        .warning("trust.systemRoots", place, message)
        .help("give a `caBundle` to the mirror, or list a CA under `additionalTrustedCAs` or `caBundles`");
}
