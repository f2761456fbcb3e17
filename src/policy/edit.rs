//! What an operator should know of an edit that is valid: what it switches off or lets through, against what was there
//! before it.
//!
//! Not here: what is wrong with a document whatever was before (`compile`).

use std::borrow::Cow;

use super::hosts::HostPattern;
use super::{OnUnreachable, OnUntrusted, Policy};

/// How many hosts or networks one sentence names, and how many characters of each: it goes into a warning.
const MOST_NAMED: usize = 3;
const MOST_NAME_CHARS: usize = 40;

/// Stands for the repositories that no glob of the policy was written for.
const SOME_REPOSITORY: &str = "some/other/repository";

/// A sentence for each danger of putting `after` in the place of `before`; of a first policy, nothing was before.
pub fn dangers(before: Option<&Policy>, after: &Policy) -> Vec<String> {
    let mut dangers = Vec::new();
    if let Some(before) = before {
        dangers.extend(no_longer_rewritten(before, after));
        dangers.extend(no_longer_checked(before, after));
    }
    // Where no network is denied at all, the document's own warning says so, edit or not.
    let said = after.denied_networks().is_empty();
    if checks_anything(after) && !said && !before.is_some_and(checks_anything) {
        dangers.push(
            "`*` in trust.registries: whoever may create pods says where mirrorgate connects to, but for trust.denyNetworks"
                .to_owned(),
        );
    }
    if let Some(before) = before {
        dangers.extend(answers(before, after).map(str::to_owned));
        dangers.extend(no_longer_denied(before, after));
    }
    dangers
}

/// Hosts whose images went to a mirror, and do not any more.
fn no_longer_rewritten(before: &Policy, after: &Policy) -> Option<String> {
    let hosts = before.sources.patterns().filter(|pattern| before.may_rewrite(pattern));
    let (kept, lost): (Vec<_>, Vec<_>) = hosts.partition(|pattern| after.may_rewrite(pattern));
    let lost = named(lost.iter().map(|pattern| pattern.as_str().into()))?;
    Some(if after.mirrors.is_empty() {
        let mirrors = match before.mirrors.len() {
            1 => "its only mirror".to_owned(),
            all => format!("all of its {all} mirrors"),
        };
        format!("the policy loses {mirrors}: images of {lost} are pulled from there, and not from a mirror")
    } else if kept.is_empty() {
        format!("no image is rewritten any more, not those of {lost} either")
    } else {
        format!("images of {lost} are not rewritten any more")
    })
}

/// Registries that were listed to be checked, and are not checked any more.
fn no_longer_checked(before: &Policy, after: &Policy) -> Option<String> {
    let lost = before.trust.registries.patterns().filter(|pattern| after.checked(&sample(pattern)).is_none());
    let lost = named(lost.map(|pattern| pattern.as_str().into()))?;
    Some(format!("the certificates of {lost} are not checked any more (trust.registries)"))
}

/// What is done with pods whose registries are no good.
fn answers(before: &Policy, after: &Policy) -> impl Iterator<Item = &'static str> {
    let unreachable = (before.on_unreachable() != after.on_unreachable()).then(|| after.on_unreachable());
    let untrusted = (before.on_untrusted() == OnUntrusted::Deny && after.on_untrusted() == OnUntrusted::Warn).then_some(
        "trust.onUntrusted was deny: pods whose registry the nodes would refuse are admitted with a warning from now on",
    );
    let unreachable = match unreachable {
        Some(OnUnreachable::Deny) => Some(
            "trust.onUnreachable is deny now: while a registry is away, pods that pull from it are refused, even where \
             the nodes have the image",
        ),
        Some(OnUnreachable::Warn | OnUnreachable::Allow) if before.on_unreachable() == OnUnreachable::Deny => {
            Some("trust.onUnreachable was deny: pods whose registry could not be judged are admitted from now on")
        }
        _ => None,
    };
    let roots = (after.trust.system_roots && !before.trust.system_roots)
        .then_some("trust.systemRoots is on now: every public CA vouches for every registry that is checked");
    [untrusted, unreachable, roots].into_iter().flatten()
}

/// Networks that could not be connected to, and can be now.
fn no_longer_denied(before: &Policy, after: &Policy) -> Option<String> {
    let open = before
        .denied_networks()
        .iter()
        .filter(|network| !after.denied_networks().iter().any(|denied| denied.contains(*network)));
    let open = named(open.map(|network| network.to_string().into()))?;
    Some(format!("mirrorgate may connect to {open} from now on (trust.denyNetworks)"))
}

impl Policy {
    /// Whether images of the hosts of a pattern are rewritten, but for such as a rule names more closely.
    fn may_rewrite(&self, pattern: &HostPattern) -> bool {
        let host = sample(pattern);
        self.sources.best(&host).is_some()
            && self.ignored.registries.best(&host).is_none()
            && self.ignored.image_globs.matching(&host, SOME_REPOSITORY).is_none()
    }
}

fn checks_anything(policy: &Policy) -> bool {
    policy.trust.registries.patterns().any(HostPattern::is_any)
}

/// A host that a pattern matches, and that was hardly meant by a closer one.
fn sample(pattern: &HostPattern) -> Cow<'_, str> {
    match (pattern.exact(), pattern.as_str().strip_prefix('*')) {
        (Some(host), _) => host.into(),
        (None, Some(suffix)) if !suffix.is_empty() => format!("some-other-host{suffix}").into(),
        _ => "some-other-host.invalid".into(),
    }
}

/// `a, b, c and 2 more`; nothing where there is none.
fn named<'n>(names: impl Iterator<Item = Cow<'n, str>>) -> Option<String> {
    let names: Vec<_> = names.collect();
    let shown: Vec<_> = names.iter().take(MOST_NAMED).map(|name| short(name)).collect();
    match names.len() {
        0 => None,
        all if all > MOST_NAMED => Some(format!("{} and {} more", shown.join(", "), all - MOST_NAMED)),
        _ => Some(shown.join(", ")),
    }
}

/// The end of a long host says more than its beginning. It is ASCII.
fn short(name: &str) -> Cow<'_, str> {
    match name.len().checked_sub(MOST_NAME_CHARS).and_then(|over| name.get(over..)) {
        Some(end) if end.len() < name.len() => format!("…{end}").into(),
        _ => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rest: &str) -> Policy {
        Policy::read(&format!("apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n{rest}\n")).unwrap().policy
    }

    const MIRRORS: &str =
        "registryMirrors: [{name: a, endpoint: https://a.corp, hosts: [docker.io, '*.gcr.io', quay.io]}]";

    #[test]
    fn an_edit_that_weakens_nothing_is_no_danger() {
        let trust = "trust: {registries: ['*'], denyNetworks: [10.0.0.0/8, 'fd00::/8'], onUnreachable: deny}";
        for (before, after) in [
            (MIRRORS, MIRRORS),
            (MIRRORS, "registryMirrors: [{name: b, endpoint: https://b.corp, hosts: ['*']}]"),
            (
                MIRRORS,
                "registryMirrors: [{name: a, endpoint: https://a.corp, hosts: [docker.io, '*.gcr.io', quay.io]}]\nignore: {registries: [eu.gcr.io], images: ['quay.io/acme/*']}",
            ),
            (trust, trust),
            (trust, "trust: {registries: ['*'], denyNetworks: [0.0.0.0/0, 'fc00::/7'], onUnreachable: deny}"),
            ("trust: {registries: [r.corp]}", "trust: {registries: ['*.corp']}"),
            ("trust: {onUntrusted: warn}", "trust: {onUntrusted: deny}"),
            ("trust: {onUntrusted: warn}", "trust: {onUntrusted: warn}"),
            ("trust: {onUnreachable: warn}", "trust: {onUnreachable: allow}"),
            ("", MIRRORS),
        ] {
            assert_eq!(dangers(Some(&policy(before)), &policy(after)), [""; 0], "{before}\n{after}");
        }
        assert_eq!(dangers(None, &policy(MIRRORS)), [""; 0]);
    }

    #[test]
    fn what_an_edit_switches_off_or_lets_through_is_said() {
        let two = "registryMirrors: [{name: a, endpoint: https://a.corp, hosts: [docker.io]}, {name: b, endpoint: https://b.corp, hosts: [quay.io]}]";
        let listed = "trust: {registries: [a.corp, b.corp, c.corp, d.corp, '*.e.corp'], denyNetworks: [10.0.0.0/8, 192.168.0.0/16], systemRoots: false}";
        for (before, after, said) in [
            (
                two,
                "",
                &[
                    "the policy loses all of its 2 mirrors: images of docker.io, quay.io are pulled from there, and not from a mirror",
                ][..],
            ),
            (
                MIRRORS,
                "ignore: {}",
                &[
                    "the policy loses its only mirror: images of docker.io, *.gcr.io, quay.io are pulled from there, and not from a mirror",
                ],
            ),
            (
                two,
                &format!("{MIRRORS}\nignore: {{registries: ['*']}}"),
                &["no image is rewritten any more, not those of docker.io, quay.io either"],
            ),
            (
                two,
                &format!("{MIRRORS}\nignore: {{images: ['**']}}"),
                &["no image is rewritten any more, not those of docker.io, quay.io either"],
            ),
            (MIRRORS, two, &["images of *.gcr.io are not rewritten any more"]),
            (MIRRORS, &MIRRORS.replace("docker.io", "docke.io"), &["images of docker.io are not rewritten any more"]),
            (
                listed,
                "trust: {registries: [d.corp, '*'], denyNetworks: [10.0.0.0/9], onUntrusted: warn, onUnreachable: deny}",
                &[
                    "`*` in trust.registries: whoever may create pods says where mirrorgate connects to, but for trust.denyNetworks",
                    "trust.onUntrusted was deny: pods whose registry the nodes would refuse are admitted with a warning from now on",
                    "trust.onUnreachable is deny now: while a registry is away, pods that pull from it are refused, even where the nodes have the image",
                    "trust.systemRoots is on now: every public CA vouches for every registry that is checked",
                    "mirrorgate may connect to 10.0.0.0/8, 192.168.0.0/16 from now on (trust.denyNetworks)",
                ],
            ),
            (
                listed,
                "trust: {registries: [x.e.corp], denyNetworks: [0.0.0.0/0], systemRoots: false}",
                &["the certificates of a.corp, b.corp, c.corp and 2 more are not checked any more (trust.registries)"],
            ),
            (
                "trust: {onUnreachable: deny}",
                "",
                &["trust.onUnreachable was deny: pods whose registry could not be judged are admitted from now on"],
            ),
        ] {
            assert_eq!(dangers(Some(&policy(before)), &policy(after)), said, "{before}\n{after}");
        }
    }

    #[test]
    fn a_sentence_stays_short() {
        let host = |letter: &str| format!("{}.corp", vec![letter.repeat(60); 3].join("."));
        let hosts: Vec<String> = "abcde".chars().map(|letter| host(&letter.to_string())).collect();
        let before =
            policy(&format!("registryMirrors: [{{name: a, endpoint: https://a.corp, hosts: [{}]}}]", hosts.join(", ")));
        for danger in dangers(Some(&before), &policy("")) {
            assert!(danger.chars().count() < 240, "{danger}");
        }
    }
}
