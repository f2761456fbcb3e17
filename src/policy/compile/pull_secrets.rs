//! The pull secrets of a document: the mirrors' own, and the entries of `pullSecrets` (S2, S4).

use std::collections::HashMap;

use super::super::document::{Document, PullSecret, Spanned, Texts};
use super::super::fault::{Collector, quoted};
use super::super::hosts::{HostPattern, InvalidPattern};
use super::super::namespaces::{Namespaces, is_any, namespace_glob};
use super::super::pull_secrets::{Entry, PullSecretRules, Source};
use super::{Read, host_patterns, once_each};
use crate::yaml::Span;

/// The names in a mirror's `pullSecrets`.
pub(super) fn of_mirror(path: &str, written: Option<&Texts>, faults: &mut Collector<'_>) -> Vec<Source> {
    let Some(list) = written else { return Vec::new() };
    let path = format!("{path}.pullSecrets");
    if list.value.is_empty() {
        faults
            .error(&path, list.span, "is an empty list: no secret would go with the mirror")
            .help("list the names of its secrets, or leave the key out");
    }
    let names = once_each(&path, list, faults);
    names.iter().filter_map(|item| name(&format!("{path}[{}]", item.index), item.value, item.span, faults)).collect()
}

/// The rules in policy order: those of the mirrors, then the entries of `pullSecrets`.
pub(super) fn rules(mirrors: &[Read], document: &Document, faults: &mut Collector<'_>) -> PullSecretRules {
    let mut rules = Vec::new();
    for mirror in mirrors {
        let Some((endpoint, _)) = &mirror.endpoint else { continue };
        rules.extend(mirror.pull_secrets.iter().map(|source| Entry {
            source: source.clone(),
            registries: vec![HostPattern::from(&endpoint.registry)],
            namespaces: Namespaces::All,
        }));
    }
    let Some(entries) = &document.pull_secrets else { return indexed(rules, None, faults) };
    let mut first_places = HashMap::new();
    for (index, written) in entries.value.iter().enumerate() {
        let path = format!("pullSecrets[{index}]");
        let Some(rule) = entry(&path, written, faults) else { continue };
        let Some(place) = written.place else { continue };
        let (first_index, first) = *first_places.entry(meaning(&rule)).or_insert((index, place));
        if first_index != index {
            let line = faults.line(first);
            faults
                .error(path, place, format!("says the same as the entry on line {line}"))
                .help("leave one of them out")
                .related(first, "first here");
        }
        rules.push(rule);
    }
    indexed(rules, Some(entries.span), faults)
}

fn indexed(rules: Vec<Entry>, place: Option<Span>, faults: &mut Collector<'_>) -> PullSecretRules {
    PullSecretRules::new(rules).unwrap_or_else(|error| {
        // Only entries of the list have globs.
        if let Some(place) = place {
            faults
                .error("pullSecrets", place, format!("the globs over namespaces do not compile together: {error}"))
                .help("write fewer of them");
        }
        PullSecretRules::default()
    })
}

/// `None` if there was a fault.
fn entry(path: &str, written: &PullSecret, faults: &mut Collector<'_>) -> Option<Entry> {
    let source = match (&written.name, &written.discover) {
        (Some(Spanned { value, span }), _) => name(&format!("{path}.name"), value, *span, faults),
        (None, Some(Spanned { value: true, .. })) => Some(Source::Discovered),
        (None, Some(Spanned { value: false, span })) => {
            faults
                .error(format!("{path}.discover"), *span, "an entry that discovers nothing says nothing")
                .help("take the entry out, or write `discover: true`");
            None
        }
        // A fault already, as is a name without registries.
        (None, None) => None,
    };
    let registries = match &written.registries {
        Some(list) => registries(&format!("{path}.registries"), list, written.name.is_some(), faults),
        None => written.name.is_none().then(|| vec![HostPattern::any()]),
    };
    let namespaces = match &written.namespaces {
        Some(list) => namespaces(&format!("{path}.namespaces"), list, faults),
        None => Some(Namespaces::All),
    };
    Some(Entry { source: source?, registries: registries?, namespaces: namespaces? })
}

fn name(path: &str, text: &str, span: Span, faults: &mut Collector<'_>) -> Option<Source> {
    match Source::named(text) {
        Ok(source) => Some(source),
        Err(fault) => {
            faults
                .error(path, span, format!("{} is no name of a secret: {fault}", quoted(text)))
                .help(fault.help(text));
            None
        }
    }
}

fn registries(path: &str, list: &Texts, is_named: bool, faults: &mut Collector<'_>) -> Option<Vec<HostPattern>> {
    if list.value.is_empty() {
        let help = match is_named {
            true => "list the registries that the secret goes with; `\"*\"` is every one",
            false => "leave it out for every registry",
        };
        faults.error(path, list.span, "is an empty list: the entry would apply to no registry").help(help);
        return None;
    }
    let patterns = host_patterns(path, list, InvalidPattern::help, faults);
    (patterns.len() == list.value.len()).then(|| patterns.into_iter().map(|pattern| pattern.value).collect())
}

fn namespaces(path: &str, list: &Texts, faults: &mut Collector<'_>) -> Option<Namespaces> {
    if list.value.is_empty() {
        faults
            .error(path, list.span, "is an empty list: the entry would apply in no namespace")
            .help("leave it out for all namespaces");
        return None;
    }
    let mut globs = Vec::with_capacity(list.value.len());
    for item in once_each(path, list, faults) {
        if faults.is_one_glob_too_many(&format!("{path}[{}]", item.index), item.span, item.value) {
            return None;
        }
        match namespace_glob(item.value) {
            Ok(glob) => globs.push(glob),
            Err(invalid) => {
                faults.error(format!("{path}[{}]", item.index), item.span, invalid.to_string()).help(invalid.help());
            }
        }
    }
    if globs.len() != list.value.len() {
        return None;
    }
    Some(if globs.iter().any(|glob| is_any(glob.glob())) { Namespaces::All } else { Namespaces::Matching(globs) })
}

/// What is the same for two entries of which one could be left out, whatever the order of their lists.
fn meaning(rule: &Entry) -> (Source, Vec<String>, Option<Vec<String>>) {
    let mut registries: Vec<String> = rule.registries.iter().map(|pattern| pattern.as_str().to_owned()).collect();
    registries.sort_unstable();
    let namespaces = match &rule.namespaces {
        Namespaces::All => None,
        Namespaces::Matching(globs) => {
            let mut globs: Vec<String> = globs.iter().map(|glob| glob.glob().to_owned()).collect();
            globs.sort_unstable();
            Some(globs)
        }
    };
    (rule.source.clone(), registries, namespaces)
}
