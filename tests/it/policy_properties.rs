//! Properties of the policy over generated policies and images.

use mirrorgate::image::Reference;
use mirrorgate::policy::{Policy, PullSecretSource, Route};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const ENDPOINTS: &[&str] =
    &["harbor.corp:5000", "harbor.corp", "docker.io", "quay.io.corp", "localhost", "[fd00::1]:5000"];
const PATTERNS: &[&str] = &[
    "docker.io",
    "quay.io",
    "quay.io:443",
    "a.gcr.io",
    "*.gcr.io",
    "*.b.gcr.io",
    "*.corp",
    "*.corp:5000",
    "harbor.corp:5000",
    "harbor.corp",
    "localhost",
    "[fd00::1]:5000",
    "[fd00::1]",
    "*",
];
const HOSTS: &[&str] = &[
    "",
    "docker.io/",
    "index.docker.io/",
    "quay.io/",
    "QUAY.io/",
    "quay.io:443/",
    "a.gcr.io/",
    "gcr.io/",
    "x.a.gcr.io/",
    "x.b.gcr.io/",
    "B.gcr.io/",
    "Harbor.corp:5000/",
    "harbor.corp/",
    "quay.io.corp/",
    "a.corp:5000/",
    "localhost/",
    "localhost:1/",
    "[fd00::1]:5000/",
    "[FD00::1]/",
    "Upper/",
];

prop_compose! {
    fn a_mirror()(
        endpoint in select(ENDPOINTS),
        prefix in select(&["", "/v2", "/v2/proxy", "/docker.io", "/a/b"]),
        patterns in subsequence(PATTERNS, 1..4),
        template in select(&["{repository}", "{host}/{repository}", "x/{repository}", "{repository}/{host}", "a-{host}__{repository}"]),
        include in option::of(select(&["**", "library/*", "a/**", "?", "{a,b}/*"])),
        exclude in option::of(select(&["library/nginx", "**/b", "a*"])),
        pulls in select(&["all", "digest-only", "tag-only"]),
    ) -> serde_json::Value {
        let mut repositories = serde_json::Map::new();
        for (key, glob) in [("include", include), ("exclude", exclude)] {
            if let Some(glob) = glob {
                repositories.insert(key.to_owned(), serde_json::json!([glob]));
            }
        }
        serde_json::json!({
            "endpoint": format!("https://{endpoint}{prefix}"),
            "hosts": patterns,
            "pathTemplate": template,
            "repositories": repositories,
            "pullFromMirror": pulls,
        })
    }
}

prop_compose! {
    /// A valid policy, as JSON.
    pub(crate) fn a_policy()(
        mut mirrors in vec(a_mirror(), 1..5),
        images in subsequence(&["nginx", "auto", "docker.io/library/*", "*/a/*", "quay.io/**"][..], 0..3),
        registries in subsequence(&["a.gcr.io", "*.corp", "[fd00::1]"][..], 0..2),
    ) -> String {
        // M5: what is an endpoint is no source.
        let endpoints: Vec<String> = mirrors.iter().map(|mirror| mirror["endpoint"].to_string()).collect();
        let is_endpoint = |host: &str| {
            endpoints.iter().any(|url| url.trim_matches('"').strip_prefix("https://").unwrap().split('/').next() == Some(host))
        };
        for (index, mirror) in mirrors.iter_mut().enumerate() {
            mirror["name"] = format!("m{index}").into();
            let hosts = mirror["hosts"].as_array_mut().unwrap();
            hosts.retain(|host| !is_endpoint(host.as_str().unwrap()));
            if hosts.is_empty() {
                hosts.push("*".into());
            }
        }
        serde_json::json!({
            "apiVersion": "mirrorgate.dev/v1alpha1",
            "kind": "Policy",
            "registryMirrors": mirrors,
            "ignore": {"images": images, "registries": registries},
        }).to_string()
    }
}

const SECRETS: &[&str] = &["a", "b", "c", "harbor.pull", "{namespace}", "pull-{namespace}"];
const NAMESPACE_GLOBS: &[&str] = &["team-a", "team-*", "*-prod", "t*-?", "*a*", "????", "x", "*"];
const NAMESPACES: &[&str] = &["team-a", "team-b", "team-prod", "prod", "default", "x", "t-x"];

prop_compose! {
    fn a_pull_secret()(
        name in option::weighted(0.8, select(SECRETS)),
        registries in subsequence(PATTERNS, 1..4),
        namespaces in subsequence(NAMESPACE_GLOBS, 0..3),
        everywhere: bool,
    ) -> serde_json::Value {
        let mut entry = serde_json::json!({"namespaces": namespaces, "registries": registries});
        let keys = entry.as_object_mut().unwrap();
        if everywhere && name.is_none() {
            keys.remove("registries");
        }
        if namespaces.is_empty() {
            keys.remove("namespaces");
        }
        match name {
            Some(name) => keys.insert("name".to_owned(), name.into()),
            None => keys.insert("discover".to_owned(), true.into()),
        };
        entry
    }
}

prop_compose! {
    /// A valid policy with pull secrets.
    pub(crate) fn a_policy_with_pull_secrets()(
        policy in a_policy(),
        of_mirrors in vec(subsequence(SECRETS, 0..3), 5),
        entries in vec(a_pull_secret(), 0..12),
        on_missing in option::of(select(&["warn", "skip", "deny"])),
    ) -> serde_json::Value {
        let mut policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
        for (mirror, names) in policy["registryMirrors"].as_array_mut().unwrap().iter_mut().zip(of_mirrors) {
            if !names.is_empty() {
                mirror["pullSecrets"] = serde_json::json!(names);
            }
        }
        // What says the same twice is refused.
        let mut kept: Vec<serde_json::Value> = Vec::new();
        for entry in entries {
            if !kept.iter().any(|other| rule(other) == rule(&entry)) {
                kept.push(entry);
            }
        }
        policy["pullSecrets"] = kept.into();
        if let Some(on_missing) = on_missing {
            policy["onMissingPullSecret"] = on_missing.into();
        }
        policy
    }
}

/// What an entry says: the secret, its registries, its namespaces.
fn rule(entry: &serde_json::Value) -> (String, Vec<&str>, Vec<&str>) {
    let texts = |key: &str| match entry[key].as_array() {
        Some(list) => list.iter().map(|text| text.as_str().unwrap()).collect(),
        None => vec!["*"],
    };
    let namespaces = texts("namespaces");
    let namespaces = if namespaces.contains(&"*") { vec!["*"] } else { namespaces };
    (entry["name"].as_str().unwrap_or("discover: true").to_owned(), texts("registries"), namespaces)
}

/// The secrets for a registry in a namespace, by walking all that the policy says (S2).
fn walked_secrets(policy: &serde_json::Value, registry: &str, namespace: &str) -> Vec<String> {
    let mut secrets = Vec::new();
    for mirror in policy["registryMirrors"].as_array().unwrap() {
        let endpoint = mirror["endpoint"].as_str().unwrap().strip_prefix("https://").unwrap();
        if endpoint.split('/').next() == Some(registry) {
            let names = mirror["pullSecrets"].as_array().into_iter().flatten();
            secrets.extend(names.map(|name| name.as_str().unwrap().to_owned()));
        }
    }
    for entry in policy["pullSecrets"].as_array().unwrap() {
        let (secret, registries, namespaces) = rule(entry);
        if registries.iter().any(|pattern| matches(pattern, registry).is_some())
            && namespaces.iter().any(|glob| glob_matches(glob.as_bytes(), namespace.as_bytes()))
        {
            secrets.push(secret);
        }
    }
    let mut seen = std::collections::HashSet::new();
    secrets.retain(|secret| seen.insert(secret.clone()));
    secrets
}

/// `*` and `?`, said plainly.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    match (glob.split_first(), text.split_first()) {
        (Some((b'*', glob_rest)), _) => (0..=text.len()).any(|skipped| glob_matches(glob_rest, &text[skipped..])),
        (Some((sign, glob_rest)), Some((letter, text_rest))) => {
            (*sign == b'?' || sign == letter) && glob_matches(glob_rest, text_rest)
        }
        (None, None) => true,
        _ => false,
    }
}

prop_compose! {
    pub(crate) fn an_image()(
        host in select(HOSTS),
        path in select(&["nginx", "library/nginx", "a", "a/b", "b/c/d", "auto", "docker.io/library/nginx", "harbor.corp/x"]),
        long in option::weighted(0.05, 200..247_usize),
        tag in option::of(select(&["1", "latest", "v1.2_x-Y"])),
        digest in option::of(Just("a".repeat(64))),
    ) -> String {
        let path = long.map_or(path.to_owned(), |letters| "l".repeat(letters));
        let tag = tag.map_or(String::new(), |tag| format!(":{tag}"));
        let digest = digest.map_or(String::new(), |hex| format!("@sha256:{hex}"));
        format!("{host}{path}{tag}{digest}")
    }
}

/// The image as the pod will carry it; a rewrite that cannot be done leaves it.
fn f(policy: &Policy, image: &str) -> String {
    if policy.ignores_text(image) {
        return image.to_owned();
    }
    let reference = Reference::parse(image).unwrap_or_else(|error| panic!("{image}: {error}"));
    match policy.route(&reference) {
        Route::Mirrored { mirror, .. } => {
            let Ok(to) = mirror.rewrite(&reference) else { return image.to_owned() };
            // What the kubelet compares with the keys of a pull secret (S3).
            let read = Reference::parse(to.as_str()).unwrap();
            assert_eq!(to.name(), format!("{}/{}", read.host(), read.repository()), "{image}");
            to.to_string()
        }
        _ => image.to_owned(),
    }
}

/// M2, said plainly: whether the pattern matches, and how well.
fn matches(pattern: &str, host: &str) -> Option<usize> {
    let host = host.to_ascii_lowercase();
    let split = |text: &str| match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name.to_owned(), Some(port.to_owned())),
        _ => (text.to_owned(), None),
    };
    if pattern == "*" {
        return Some(0);
    }
    let ((wanted, wanted_port), (name, port)) = (split(pattern), split(&host));
    if wanted_port != port {
        return None;
    }
    match wanted.strip_prefix('*') {
        Some(suffix) => (name.ends_with(suffix) && name.len() > suffix.len()).then_some(suffix.len()),
        None => (wanted == name).then_some(usize::MAX),
    }
}

proptest! {
    /// Trap 1.
    #[test]
    fn m5_rewriting_is_a_fixed_point(policy in a_policy(), images in vec(an_image(), 1..20)) {
        let policy = Policy::read(&policy).unwrap_or_else(|faults| panic!("{faults}\n{policy}")).policy;
        for image in images {
            let once = f(&policy, &image);
            prop_assert_eq!(f(&policy, &once), once.clone(), "{}", image);
            if once != image {
                let (before, after) = (Reference::parse(&image).unwrap(), Reference::parse(&once).unwrap());
                prop_assert_eq!((before.tag(), before.digest()), (after.tag(), after.digest()));
                prop_assert_eq!(after.to_string(), once.clone(), "in full form");
                prop_assert!(policy.mirrors().any(|mirror| mirror.endpoint().as_str() == after.host()));
            }
        }
    }

    #[test]
    fn m2_the_index_finds_what_the_rule_says(patterns in subsequence(PATTERNS, 1..8), host in select(HOSTS)) {
        let source = serde_json::json!({
            "apiVersion": "mirrorgate.dev/v1alpha1",
            "kind": "Policy",
            "registryMirrors": [{"name": "m", "endpoint": "https://mirror.example", "hosts": patterns}],
        });
        let policy = Policy::read(&source.to_string()).unwrap().policy;
        let image = format!("{host}x");
        let reference = Reference::parse(&image).unwrap();
        let best = patterns.iter().filter_map(|pattern| Some((matches(pattern, reference.host())?, *pattern)));
        let expected = best.max().map(|(_, pattern)| pattern);
        let found = match policy.route(&reference) {
            Route::Mirrored { pattern, .. } => Some(pattern.as_str()),
            _ => None,
        };
        prop_assert_eq!(found, expected, "{}", image);
    }

    #[test]
    fn s2_the_index_finds_the_secrets_that_a_walk_over_the_policy_finds(
        source in a_policy_with_pull_secrets(),
        lookups in vec((select(HOSTS), select(NAMESPACES)), 1..20),
    ) {
        let policy = Policy::read(&source.to_string()).unwrap_or_else(|faults| panic!("{faults}\n{source}")).policy;
        for (host, namespace) in lookups {
            let reference = format!("{host}x");
            let registry = Reference::parse(&reference).unwrap().registry();
            let found = policy.pull_secrets(registry.as_str(), namespace).map(|rule| match rule.source() {
                PullSecretSource::Discovered => "discover: true".to_owned(),
                PullSecretSource::Named(name) => {
                    let named = name.name_in(namespace).unwrap();
                    assert_eq!(named, name.to_string().replace("{namespace}", namespace));
                    assert!(named == name.to_string().as_str() || policy.needs_all_docker_configs());
                    name.to_string()
                }
            });
            let expected = walked_secrets(&source, registry.as_str(), namespace);
            prop_assert_eq!(found.collect::<Vec<_>>(), expected, "{} in {}", registry, namespace);
        }
    }

    #[test]
    fn no_document_makes_the_reader_panic(
        lines in vec(select(&[
            "apiVersion: mirrorgate.dev/v1alpha1", "kind: Policy", "registryMirrors:", "- name: a", "  name: ä", "  endpoint: https://a.b/c",
            "  endpoint: [", "  hosts: [a.b, '*', ~]", "  hosts:", "  - &x a.b", "  - *x", "ignore:", "  images: ['[*', \"\\u0000\"]", "  repositories: {include: ['**', '{']}",
            "  pathTemplate: '{host}{'", "---", "\t", "? [a]", ": b", "<<: *x", "  plainHTTP: on", "é: \u{feff}",
            "pullSecrets:", "  discover: true", "  registries: ['*', ~]", "  namespaces: ['{', ä-]", "  pullSecrets: ['{', a]",
            "onMissingPullSecret: ~",
        ][..]), 0..14)
    ) {
        let source = lines.join("\n");
        if let Err(faults) = Policy::read(&source) {
            prop_assert!(faults.errors().count() > 0);
            for fault in &faults.0 {
                prop_assert!(fault.line >= 1 && fault.column >= 1 && fault.help.is_some(), "{}", fault);
                prop_assert!(source.get(fault.span.start..fault.span.end).is_some());
            }
        }
    }
}
