//! The policy: what it decides (M rules), and every fault of a document with its place, message and mend.

use mirrorgate::image::Reference;
use mirrorgate::policy::{Compiled, NotServedReason, OnMissingPullSecret, Policy, PullSecretSource, Route};

const EXAMPLE: &str = include_str!("../../examples/policy.yaml");
const HEAD: &str = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n";

fn read(body: &str) -> Compiled {
    let source = format!("{HEAD}{body}");
    Policy::read(&source).unwrap_or_else(|faults| panic!("{faults}\n---\n{source}"))
}

/// A policy of one mirror, `m` at `mirror.corp`, that serves `hosts` under `{host}/{repository}`.
fn one_mirror(hosts: &str) -> Policy {
    let body = format!(
        "registryMirrors:\n- name: m\n  endpoint: https://mirror.corp\n  hosts: {hosts}\n  pathTemplate: '{{host}}/{{repository}}'\n"
    );
    read(&body).policy
}

/// What becomes of an image, or why nothing does.
fn becomes(policy: &Policy, image: &str) -> String {
    if policy.ignores_text(image) {
        return "ignored text".to_owned();
    }
    let reference = Reference::parse(image).unwrap_or_else(|error| panic!("{image}: {error}"));
    match policy.route(&reference) {
        Route::IgnoredImage { pattern } => format!("ignored image {pattern}"),
        Route::IgnoredRegistry { pattern } => format!("ignored registry {pattern}"),
        Route::Endpoint { mirror } => format!("endpoint of {}", mirror.name()),
        Route::Unlisted => "unlisted".to_owned(),
        Route::NotServed { mirror, why, .. } => format!("not served by {}: {why}", mirror.name()),
        Route::Mirrored { mirror, .. } => match mirror.rewrite(&reference) {
            Ok(to) => to.to_string(),
            Err(invalid) => format!("invalid: {invalid}"),
        },
    }
}

#[track_caller]
fn assert_table(policy: &Policy, table: &[(&str, &str)]) {
    for (image, expected) in table {
        assert_eq!(becomes(policy, image), *expected, "{image}");
    }
}

/// The faults of `source`, as `line:column path: message; help`.
fn faults(source: &str) -> Vec<String> {
    let faults = Policy::read(source).err().map_or(Vec::new(), |faults| faults.0);
    let drawn = faults.iter().map(|fault| {
        let help = fault.help.as_deref().unwrap_or("NO HELP");
        format!("{}:{} {}: {}; {help}", fault.line, fault.column, fault.path, fault.message)
    });
    drawn.collect()
}

#[track_caller]
fn assert_faults(source: &str, expected: &[&str]) {
    let found = faults(source);
    assert_eq!(found, expected, "\n{source}\n{}", found.join("\n"));
}

/// Faults of a document whose third line is the first of `body`.
#[track_caller]
fn assert_body_faults(body: &str, expected: &[&str]) {
    assert_faults(&format!("{HEAD}{body}"), expected);
}

/// Faults of one value of the only mirror; it stands on line 6, from column 5 + the key's length.
#[track_caller]
fn assert_mirror_fault(line: &str, expected: &str) {
    let body = format!("registryMirrors:\n- name: m\n  endpoint: https://m.corp\n  {line}\n  hosts: [docker.io]\n");
    assert_body_faults(&body, &[expected]);
}

/// Faults of one endpoint, on line 5.
#[track_caller]
fn assert_endpoint_fault(endpoint: &str, expected: &str) {
    let body = format!("registryMirrors:\n- name: m\n  endpoint: {endpoint}\n  hosts: [docker.io]\n");
    assert_body_faults(&body, &[&format!("5:13 registryMirrors[0].endpoint: {expected}")]);
}

/// Faults of one host, on line 6.
#[track_caller]
fn assert_host_fault(host: &str, expected: &str) {
    let body = format!("registryMirrors:\n- name: m\n  endpoint: https://m.corp\n  hosts: ['{host}']\n");
    assert_body_faults(&body, &[&format!("6:11 registryMirrors[0].hosts[0]: `{host}` is no host pattern: {expected}")]);
}

// ---- M2: hosts ------------------------------------------------------------------------------------------------------

#[test]
fn m2_an_exact_host_matches_itself_and_nothing_else() {
    let policy = one_mirror("[docker.io, 'harbor.corp:5000', '[fd00::1]:5000', localhost]");
    assert_table(
        &policy,
        &[
            ("nginx", "mirror.corp/docker.io/library/nginx"),
            ("index.docker.io/nginx", "mirror.corp/docker.io/library/nginx"),
            ("docker.io:443/nginx", "unlisted"),
            ("harbor.corp:5000/x", "mirror.corp/harbor.corp_5000/x"),
            ("harbor.corp/x", "unlisted"),
            ("harbor.corp:5001/x", "unlisted"),
            ("[fd00::1]:5000/x", "mirror.corp/fd00__1_5000/x"),
            ("[fd00::1]/x", "unlisted"),
            ("[fd00::2]:5000/x", "unlisted"),
            ("localhost/x", "mirror.corp/localhost/x"),
            ("localhost:5000/x", "unlisted"),
        ],
    );
}

#[test]
fn m2_a_suffix_matches_one_or_more_labels_and_its_port_and_not_the_bare_suffix() {
    let policy = one_mirror("['*.gcr.io', '*.corp:5000']");
    assert_table(
        &policy,
        &[
            ("eu.gcr.io/x", "mirror.corp/eu.gcr.io/x"),
            ("a.b.gcr.io/x", "mirror.corp/a.b.gcr.io/x"),
            ("gcr.io/x", "unlisted"),
            ("eu.gcr.io:443/x", "unlisted"),
            ("evilgcr.io/x", "unlisted"),
            ("eu.gcr.io.evil.example/x", "unlisted"),
            ("harbor.corp:5000/x", "mirror.corp/harbor.corp_5000/x"),
            ("harbor.corp/x", "unlisted"),
            ("harbor.corp:50/x", "unlisted"),
            ("corp:5000/x", "unlisted"),
        ],
    );
}

#[test]
fn m2_a_star_matches_every_host_with_and_without_a_port() {
    let policy = one_mirror("['*']");
    assert_table(
        &policy,
        &[
            ("nginx", "mirror.corp/docker.io/library/nginx"),
            ("localhost/x", "mirror.corp/localhost/x"),
            ("host:5000/x", "mirror.corp/host_5000/x"),
            ("[fd00::1]/x", "mirror.corp/fd00__1/x"),
            ("Foo/bar", "mirror.corp/foo/bar"),
        ],
    );
}

#[test]
fn m2_exact_beats_the_longest_suffix_beats_the_star() {
    let policy = read(
        "
registryMirrors:
- {name: any, endpoint: https://m.corp/any, hosts: ['*']}
- {name: short, endpoint: https://m.corp/short, hosts: ['*.example']}
- {name: long, endpoint: https://m.corp/long, hosts: ['*.b.example']}
- {name: exact, endpoint: https://m.corp/exact, hosts: [a.b.example]}
",
    )
    .policy;
    assert_table(
        &policy,
        &[
            ("a.b.example/x", "m.corp/exact/x"),
            ("c.b.example/x", "m.corp/long/x"),
            ("d.c.b.example/x", "m.corp/long/x"),
            ("b.example/x", "m.corp/short/x"),
            ("example/x", "m.corp/any/example/x"),
            ("a.b.example:443/x", "m.corp/any/x"),
        ],
    );
}

#[test]
fn m2_only_the_best_patterns_mirrors_apply() {
    let policy = read(
        "
registryMirrors:
- {name: any, endpoint: https://m.corp/any, hosts: ['*']}
- {name: exact, endpoint: https://m.corp/exact, hosts: [quay.io], repositories: {include: [team/*]}}
",
    )
    .policy;
    assert_table(
        &policy,
        &[
            ("quay.io/team/x", "m.corp/exact/team/x"),
            ("quay.io/other/x", "not served by exact: no `repositories.include` glob matches"),
            ("ghcr.io/other/x", "m.corp/any/other/x"),
        ],
    );
}

#[test]
fn m2_hosts_compare_without_regard_to_case() {
    let policy = one_mirror("[quay.io, '*.gcr.io', docker.io]");
    assert_table(
        &policy,
        &[
            ("QUAY.IO/x", "mirror.corp/quay.io/x"),
            ("EU.gcr.IO/x", "mirror.corp/eu.gcr.io/x"),
            ("Mirror.Corp/x", "endpoint of m"),
            // To a resolver this is Docker Hub, though no runtime puts `library/` in front there.
            ("Index.docker.io/x", "mirror.corp/docker.io/x"),
        ],
    );
}

/// Trap 4: neither a host nor a path matches by a mere prefix or suffix of its text.
#[test]
fn trap_4_no_pattern_matches_across_a_boundary() {
    let policy = read(
        "
registryMirrors:
- {name: m, endpoint: https://m.corp, hosts: [docker.io, quay.io], repositories: {include: ['acme/*']}}
- {name: t, endpoint: https://m.corp, hosts: ['*.trusted.com']}
",
    )
    .policy;
    assert_table(
        &policy,
        &[
            ("quay.io/acme/x", "m.corp/acme/x"),
            ("quay.io/acme-evil/x", "not served by m: no `repositories.include` glob matches"),
            ("quay.io/acme/x/y", "not served by m: no `repositories.include` glob matches"),
            ("docker.io.evil.example/acme/x", "unlisted"),
            ("evil.com/a.trusted.com/x/y", "unlisted"),
        ],
    );
}

// ---- M3, M4, M7: which mirror ---------------------------------------------------------------------------------------

#[test]
fn m3_globs_keep_to_components_and_exclude_goes_before_include() {
    let policy = read(
        "
registryMirrors:
- name: m
  endpoint: https://m.corp
  hosts: [quay.io]
  repositories: {include: ['library/*', 'team/**', 'a?c'], exclude: ['library/scratch-*', 'team/secret/**']}
",
    )
    .policy;
    let excluded = |glob| format!("not served by m: `repositories.exclude` lists `{glob}`");
    assert_table(
        &policy,
        &[
            ("quay.io/library/nginx", "m.corp/library/nginx"),
            ("quay.io/library/a/b", "not served by m: no `repositories.include` glob matches"),
            ("quay.io/team/a/b/c", "m.corp/team/a/b/c"),
            ("quay.io/abc", "m.corp/abc"),
            ("quay.io/a/c", "not served by m: no `repositories.include` glob matches"),
            ("quay.io/library/scratch-x", &excluded("library/scratch-*")),
            ("quay.io/team/secret/x/y", &excluded("team/secret/**")),
            ("quay.io/team/secrets", "m.corp/team/secrets"),
        ],
    );
}

#[test]
fn m3_exclude_works_alone_and_beside_an_include_of_everything() {
    for include in ["", "include: ['**'], "] {
        let body = format!(
            "registryMirrors:\n- {{name: m, endpoint: https://m.corp, hosts: [quay.io], repositories: {{{include}exclude: [x]}}}}\n"
        );
        let policy = read(&body).policy;
        assert_table(
            &policy,
            &[("quay.io/x", "not served by m: `repositories.exclude` lists `x`"), ("quay.io/y/z", "m.corp/y/z")],
        );
    }
}

#[test]
fn m4_alternatives_are_taken_in_document_order() {
    let policy = read(
        "
registryMirrors:
- {name: first, endpoint: https://one.corp, hosts: [quay.io, ghcr.io], repositories: {exclude: [x]}}
- {name: second, endpoint: https://two.corp, hosts: [quay.io]}
- {name: third, endpoint: https://three.corp, hosts: [quay.io]}
- {name: fourth, endpoint: https://four.corp, hosts: [ghcr.io], pullFromMirror: digest-only}
",
    )
    .policy;
    assert_table(
        &policy,
        &[
            ("quay.io/y", "one.corp/y"),
            ("quay.io/x", "two.corp/x"),
            ("ghcr.io/x", "not served by first: `repositories.exclude` lists `x`"),
        ],
    );
}

#[test]
fn m7_a_digest_beside_a_tag_makes_a_digest_reference_and_nothing_is_latest() {
    let policy = read(
        "
registryMirrors:
- {name: d, endpoint: https://d.corp, hosts: [quay.io, ghcr.io], pullFromMirror: digest-only}
- {name: t, endpoint: https://t.corp, hosts: [quay.io, gcr.io], pullFromMirror: tag-only}
",
    )
    .policy;
    let digest = format!("sha256:{}", "a".repeat(64));
    for (image, expected) in [
        (format!("quay.io/x@{digest}"), format!("d.corp/x@{digest}")),
        (format!("quay.io/x:1@{digest}"), format!("d.corp/x:1@{digest}")),
        ("quay.io/x:1".to_owned(), "t.corp/x:1".to_owned()),
        ("quay.io/x".to_owned(), "t.corp/x".to_owned()),
        ("ghcr.io/x".to_owned(), "not served by d: `pullFromMirror: digest-only`, and it has no digest".to_owned()),
        (format!("gcr.io/x@{digest}"), "not served by t: `pullFromMirror: tag-only`, and it has a digest".to_owned()),
    ] {
        assert_eq!(becomes(&policy, &image), expected, "{image}");
    }
    let reference = Reference::parse("ghcr.io/x").unwrap();
    assert!(matches!(policy.route(&reference), Route::NotServed { why: NotServedReason::DigestOnly, .. }));
}

// ---- M5: endpoints --------------------------------------------------------------------------------------------------

#[test]
fn m5_an_endpoint_is_never_rewritten() {
    let policy = read(
        "
registryMirrors:
- {name: a, endpoint: https://harbor.corp:5000/a, hosts: ['*']}
- {name: b, endpoint: https://harbor.corp:5000/b, hosts: ['*.corp:5000']}
",
    )
    .policy;
    assert_table(
        &policy,
        &[
            ("harbor.corp:5000/anything", "endpoint of a"),
            ("HARBOR.corp:5000/anything", "endpoint of a"),
            ("other.corp:5000/x", "harbor.corp:5000/b/x"),
            ("harbor.corp/x", "harbor.corp:5000/a/x"),
        ],
    );
}

#[test]
fn m5_a_mirror_that_is_also_a_source_is_refused_with_both_lines() {
    let source = format!(
        "{HEAD}registryMirrors:\n- name: a\n  endpoint: https://harbor.corp:5000/v2/a\n  hosts: [docker.io]\n- name: b\n  endpoint: https://other.corp\n  hosts:\n  - quay.io\n  - harbor.corp:5000\n"
    );
    assert_faults(
        &source,
        &[
            "11:5 registryMirrors[1].hosts[1]: a mirror that is also a source: `harbor.corp:5000` is the endpoint of the \
           mirror `a`, on line 5; leave the host out: images that name an endpoint are never rewritten",
        ],
    );
    let faults = Policy::read(&source).unwrap_err();
    let [related] = faults.0[0].related.as_slice() else { panic!("{faults:?}") };
    assert_eq!((related.line, &source[related.span.start..related.span.end]), (5, "https://harbor.corp:5000/v2/a"));
}

#[test]
fn m5_a_suffix_or_a_star_may_cover_an_endpoint() {
    for hosts in ["['*.corp']", "['*']"] {
        assert_eq!(becomes(&one_mirror(hosts), "mirror.corp/x"), "endpoint of m");
    }
}

/// Trap 1: rewriting twice is rewriting once, also where the mirror's host holds the source's as text.
#[test]
fn trap_1_rewriting_is_a_fixed_point() {
    let policy = read(
        "
registryMirrors:
- {name: a, endpoint: https://docker.io.corp/quay.io, hosts: [docker.io], pathTemplate: 'docker.io/{host}/{repository}'}
- {name: b, endpoint: https://quay.io.corp:5000, hosts: ['*'], pathTemplate: '{host}/{repository}'}
- {name: c, endpoint: http://localhost, plainHTTP: true, hosts: ['*.corp']}
",
    )
    .policy;
    for image in ["nginx", "quay.io/x:1", "a.corp/x", "[fd00::1]:5000/x", "docker.io.corp/x", "localhost/x", "X/y"] {
        let once = becomes(&policy, image);
        let image = if once.contains(' ') { image } else { &once };
        assert!(becomes(&policy, image).starts_with("endpoint of "), "{image}");
    }
}

// ---- M6: what it becomes --------------------------------------------------------------------------------------------

#[test]
fn m6_a_result_is_endpoint_prefix_and_template_with_tag_and_digest_of_the_original() {
    let policy = Policy::read(EXAMPLE).unwrap().policy;
    let digest = format!("sha256:{}", "0".repeat(64));
    for (image, expected) in [
        ("nginx".to_owned(), "harbor.corp:5000/proxy/docker.io/library/nginx".to_owned()),
        ("quay.io/a/b:1.2".to_owned(), "harbor.corp:5000/proxy/quay.io/a/b:1.2".to_owned()),
        (format!("nginx:1@{digest}"), format!("harbor.corp:5000/proxy/docker.io/library/nginx:1@{digest}")),
        (format!("nginx@{digest}"), format!("harbor.corp:5000/proxy/docker.io/library/nginx@{digest}")),
        ("eu.gcr.io/p/i".to_owned(), "harbor.corp:5000/proxy/eu.gcr.io/p/i".to_owned()),
    ] {
        assert_eq!(becomes(&policy, &image), expected);
    }
}

#[test]
fn m6_the_v2_of_an_endpoint_is_optional_and_no_part_of_the_path() {
    for (endpoint, expected) in [
        ("https://m.corp", "m.corp/x"),
        ("https://m.corp/", "m.corp/x"),
        ("https://m.corp/v2", "m.corp/x"),
        ("https://m.corp/v2/", "m.corp/x"),
        ("https://m.corp/v2/a/b", "m.corp/a/b/x"),
        ("https://m.corp/a/b/", "m.corp/a/b/x"),
        ("https://m.corp/v2x/b", "m.corp/v2x/b/x"),
        ("https://[fd00::1]:5000/a", "[fd00::1]:5000/a/x"),
        ("https://localhost/a", "localhost/a/x"),
        ("https://10.1.2.3/a", "10.1.2.3/a/x"),
    ] {
        let policy =
            read(&format!("registryMirrors:\n- {{name: m, endpoint: '{endpoint}', hosts: [quay.io]}}\n")).policy;
        assert_eq!(becomes(&policy, "quay.io/x"), expected, "{endpoint}");
    }
}

#[test]
fn m6_a_result_that_is_no_reference_is_a_fault_and_never_a_broken_image() {
    let policy = one_mirror("['*']");
    let long = "a".repeat(240);
    let result = becomes(&policy, &format!("registry.example/{long}"));
    let expected =
        format!("invalid: mirror `m` cannot serve it: its name there would be `mirror.corp/registry.example/{long}`: ");
    assert!(result.starts_with(&expected), "{result}");
    // No component of a path begins with `_`.
    let result = becomes(&policy, "[::1]:5000/x");
    assert!(
        result.starts_with("invalid: mirror `m` cannot serve it: its name there would be `mirror.corp/__1_5000/x`: "),
        "{result}"
    );
}

#[test]
fn m6_a_result_that_would_be_read_as_something_else_is_a_fault() {
    let policy = read("registryMirrors:\n- {name: m, endpoint: https://docker.io, hosts: [quay.io]}\n").policy;
    let result = becomes(&policy, "quay.io/x:1");
    assert_eq!(
        result,
        "invalid: mirror `m` cannot serve it: its name there would be `docker.io/x:1`: \
         it would be read as docker.io/library/x:1"
    );
    assert_eq!(becomes(&policy, "quay.io/a/x"), "docker.io/a/x");
}

// ---- M10: what is left alone ----------------------------------------------------------------------------------------

#[test]
fn m10_ignored_images_are_exact_texts_or_globs_over_host_and_repository() {
    let policy = read(
        "
registryMirrors: [{name: m, endpoint: https://m.corp, hosts: ['*']}]
ignore:
  images: [auto, 'nginx:1', 'docker.io/library/pause*', 'quay.io/**', '*/tools/*', '[fd00::1]:5000/*']
",
    )
    .policy;
    assert_table(
        &policy,
        &[
            ("auto", "ignored text"),
            ("auto:1", "m.corp/library/auto:1"),
            ("docker.io/library/auto", "m.corp/library/auto"),
            ("nginx:1", "ignored text"),
            ("pause:3.9", "ignored image docker.io/library/pause*"),
            ("docker.io/library/pause-x", "ignored image docker.io/library/pause*"),
            ("quay.io/a/b/c", "ignored image quay.io/**"),
            ("QUAY.IO/a", "ignored image quay.io/**"),
            ("quay.io:443/a", "m.corp/a"),
            ("ghcr.io/tools/x", "ignored image */tools/*"),
            ("ghcr.io/a/tools/x", "m.corp/a/tools/x"),
            ("[fd00::1]:5000/x", "ignored image [fd00::1]:5000/*"),
            ("f:5000/x", "m.corp/x"),
        ],
    );
    assert!(!policy.ignores_text("quay.io/**"), "a glob is no text");
}

#[test]
fn m10_a_star_alone_ignores_every_image() {
    for star in ["*", "**"] {
        let body = format!(
            "registryMirrors: [{{name: m, endpoint: https://m.corp, hosts: ['*']}}]\nignore: {{images: ['{star}']}}\n"
        );
        let expected = format!("ignored image {star}");
        assert_table(&read(&body).policy, &[("nginx", &expected), ("m.corp/a/b", &expected)]);
    }
}

#[test]
fn m10_ignored_registries_are_not_rewritten() {
    let policy = read(
        "
registryMirrors: [{name: m, endpoint: https://m.corp, hosts: ['*']}]
ignore: {registries: [quay.io, '*.corp', '[fd00::1]']}
",
    )
    .policy;
    assert_table(
        &policy,
        &[
            ("quay.io/x", "ignored registry quay.io"),
            ("Quay.io/x", "ignored registry quay.io"),
            ("a.corp/x", "ignored registry *.corp"),
            ("a.corp:5000/x", "m.corp/x"),
            ("[fd00::1]/x", "ignored registry [fd00::1]"),
            ("m.corp/x", "endpoint of m"),
        ],
    );
}

#[test]
fn m10_owner_kinds_are_group_and_kind_or_a_kind_of_the_core_group() {
    let policy =
        read("ignore: {ownerKinds: [postgresql.cnpg.io/Cluster, ReplicationController, apps/ReplicaSet]}\n").policy;
    for (api_version, kind, expected) in [
        ("postgresql.cnpg.io/v1", "Cluster", true),
        ("postgresql.cnpg.io/v2", "Cluster", true),
        ("evil.example/v1", "Cluster", false),
        ("v1", "Cluster", false),
        ("postgresql.cnpg.io/v1", "Pooler", false),
        ("v1", "ReplicationController", true),
        ("apps/v1", "ReplicationController", false),
        ("apps/v1", "ReplicaSet", true),
        ("", "", false),
    ] {
        assert_eq!(policy.ignores_owner(api_version, kind), expected, "{api_version} {kind}");
    }
}

// ---- S: pull secrets ------------------------------------------------------------------------------------------------

/// The secrets for a registry in a namespace, in their order: names as they come out there, or `discover`.
fn secrets(policy: &Policy, registry: &str, namespace: &str) -> Vec<String> {
    let rules = policy.pull_secrets(registry, namespace);
    let secrets = rules.map(|rule| match rule.source() {
        PullSecretSource::Discovered => "discover".to_owned(),
        PullSecretSource::Named(name) => name.name_in(namespace).map_or_else(|error| error.to_string(), Into::into),
    });
    secrets.collect()
}

#[track_caller]
fn assert_secrets(policy: &Policy, table: &[(&str, &str, &[&str])]) {
    for (registry, namespace, expected) in table {
        assert_eq!(secrets(policy, registry, namespace), *expected, "{registry} in {namespace}");
    }
}

#[test]
fn s2_secrets_come_in_policy_order_the_mirrors_first_and_each_once() {
    let policy = read(
        "
pullSecrets:
- {name: all, registries: ['*']}
- {name: two, registries: [two.corp, quay.io]}
- {name: extra, registries: [one.corp]}
- {discover: true}
- {name: two, registries: ['*.corp'], namespaces: [team-*]}
- {discover: true, registries: [one.corp]}
registryMirrors:
- {name: b, endpoint: https://two.corp/b, hosts: [quay.io], pullSecrets: [two, shared]}
- {name: a, endpoint: https://one.corp, hosts: [quay.io], pullSecrets: [shared, one]}
- {name: c, endpoint: https://two.corp/c, hosts: [ghcr.io], pullSecrets: [shared, late]}
",
    )
    .policy;
    assert_secrets(
        &policy,
        &[
            ("one.corp", "x", &["shared", "one", "all", "extra", "discover"]),
            ("one.corp", "team-x", &["shared", "one", "all", "extra", "discover", "two"]),
            ("two.corp", "x", &["two", "shared", "late", "all", "discover"]),
            ("quay.io", "x", &["all", "two", "discover"]),
            ("other.corp", "team-x", &["all", "discover", "two"]),
        ],
    );
}

/// Unlike the mirrors of M2: a better pattern of another entry takes nothing away.
#[test]
fn s2_every_entry_with_a_matching_registry_applies() {
    let policy = read(
        "
pullSecrets:
- {name: any, registries: ['*']}
- {name: short, registries: ['*.corp']}
- {name: long, registries: ['*.b.corp', '*.corp']}
- {name: exact, registries: [quay.io, a.b.corp]}
- {name: port, registries: ['*.corp:5000']}
- {name: address, registries: ['[fd00::1]:5000']}
",
    )
    .policy;
    assert_secrets(
        &policy,
        &[
            ("a.b.corp", "x", &["any", "short", "long", "exact"]),
            ("b.corp", "x", &["any", "short", "long"]),
            ("corp:5000", "x", &["any"]),
            ("a.b.corp:5000", "x", &["any", "port"]),
            ("quay.io", "x", &["any", "exact"]),
            ("[fd00::1]:5000", "x", &["any", "address"]),
            ("[fd00::1]", "x", &["any"]),
        ],
    );
}

#[test]
fn s2_namespaces_are_names_and_globs() {
    let policy = read(
        "
pullSecrets:
- {name: exact, registries: ['*'], namespaces: [team-a, team-b]}
- {name: front, registries: ['*'], namespaces: ['team-*', 'team-a']}
- {name: back, registries: ['*'], namespaces: ['*-prod']}
- {name: within, registries: ['*'], namespaces: ['t*-?', 'x{1,2}', 'y[0-9]', 'z[!0-9]']}
- {name: all, registries: ['*'], namespaces: ['*', never]}
",
    )
    .policy;
    assert_secrets(
        &policy,
        &[
            ("quay.io", "team-a", &["exact", "front", "within", "all"]),
            ("quay.io", "team-b", &["exact", "front", "within", "all"]),
            ("quay.io", "team-prod", &["front", "back", "all"]),
            ("quay.io", "team", &["all"]),
            ("quay.io", "x1", &["within", "all"]),
            ("quay.io", "x3", &["all"]),
            ("quay.io", "y7", &["within", "all"]),
            ("quay.io", "za", &["within", "all"]),
            ("quay.io", "z0", &["all"]),
        ],
    );
}

#[test]
fn s4_the_pods_namespace_stands_in_a_name_and_what_cannot_be_named_is_said() {
    let policy = read(&format!(
        "
pullSecrets:
- {{name: '{{namespace}}', registries: [one.corp]}}
- {{name: 'a-{{namespace}}.b.{{namespace}}', registries: [one.corp]}}
- {{name: '{}-{{namespace}}', registries: [two.corp]}}
",
        "s".repeat(242)
    ))
    .policy;
    assert_secrets(
        &policy,
        &[
            ("one.corp", "team-a", &["team-a", "a-team-a.b.team-a"]),
            ("two.corp", "0123456789", &[&format!("{}-0123456789", "s".repeat(242))]),
            (
                "two.corp",
                "01234567890",
                &[&format!(
                    "the policy's pull secret `{}…` cannot be named in the namespace `01234567890`: \
                     it would have 254 characters, and may have 253",
                    "s".repeat(120)
                )],
            ),
        ],
    );
    // Namespaces of manifests that no API server has seen.
    for (namespace, reason) in [
        ("", "it is empty"),
        ("../other", "it names a namespace, and that is always the pod's"),
        ("A", "names of secrets are in lower case"),
        ("a_b", "it is no DNS name"),
        ("a\u{202e}", "it is no DNS name"),
    ] {
        let found = secrets(&policy, "one.corp", namespace);
        assert!(found[0].ends_with(&format!("`: {reason}")) && !found[0].contains('\u{202e}'), "{found:?}");
    }
}

#[test]
fn s5_what_has_to_be_watched_follows_from_the_names() {
    let mirror = |secrets: &str| {
        format!(
            "registryMirrors: [{{name: m, endpoint: 'https://m.corp', hosts: [quay.io], pullSecrets: [{secrets}]}}]\n"
        )
    };
    for (body, has, names, all) in [
        (String::new(), false, &[][..], false),
        ("pullSecrets: []\n".to_owned(), false, &[], false),
        (mirror("b, a.c"), true, &["a.c", "b"], false),
        (mirror("b, 'a-{namespace}'"), true, &["b"], true),
        (
            "pullSecrets: [{name: z, registries: [a.corp]}, {name: a, registries: ['*']}, {name: z, registries: ['*']}]\n"
                .to_owned(),
            true,
            &["a", "z"],
            false,
        ),
        ("pullSecrets: [{discover: true}, {name: z, registries: ['*']}]\n".to_owned(), true, &["z"], true),
    ] {
        let policy = read(&body).policy;
        assert_eq!(policy.has_pull_secrets(), has, "{body}");
        assert_eq!(policy.secret_names().collect::<Vec<_>>(), names, "{body}");
        assert_eq!(policy.needs_all_docker_configs(), all, "{body}");
    }
}

#[test]
fn s6_a_missing_secret_is_warned_of_unless_the_policy_says_otherwise() {
    for (body, expected) in [
        ("", OnMissingPullSecret::Warn),
        ("onMissingPullSecret: warn\n", OnMissingPullSecret::Warn),
        ("onMissingPullSecret: skip\n", OnMissingPullSecret::Skip),
        ("onMissingPullSecret: deny\n", OnMissingPullSecret::Deny),
    ] {
        assert_eq!(read(body).policy.on_missing_pull_secret(), expected, "{body}");
    }
    assert_body_faults(
        "onMissingPullSecret: Warn\n",
        &["3:22 onMissingPullSecret: `Warn` is no value of this key; did you mean `warn`?"],
    );
    assert_body_faults(
        "onMissingPullSecret: allow\n",
        &["3:22 onMissingPullSecret: `allow` is no value of this key; the values here are `warn`, `skip`, `deny`"],
    );
}

// ---- The document ---------------------------------------------------------------------------------------------------

#[test]
fn the_shortest_policy_has_no_mirrors() {
    for tail in ["", "registryMirrors: []\n", "ignore: {}\n", "---\n", "...\n"] {
        assert_eq!(read(tail).policy.mirrors().count(), 0, "{tail}");
    }
    assert_eq!(becomes(&read("").policy, "nginx"), "unlisted");
    assert!(Policy::read(&format!("# a comment\n---\n{HEAD}")).is_ok());
}

#[test]
fn json_is_yaml() {
    let source = r#"{"apiVersion": "mirrorgate.dev/v1alpha1", "kind": "Policy", "registryMirrors": [{"name": "m", "endpoint": "https://m.corp", "hosts": ["quay.io"]}]}"#;
    assert_eq!(becomes(&Policy::read(source).unwrap().policy, "quay.io/x"), "m.corp/x");
}

#[test]
fn the_head_is_checked() {
    assert_faults(
        "apiVersion: mirrorgate.dev/v1\nkind: policy\n",
        &[
            "1:13 apiVersion: `mirrorgate.dev/v1` is not understood here; write `apiVersion: mirrorgate.dev/v1alpha1`",
            "2:7 kind: `policy` is not understood here; write `kind: Policy`",
        ],
    );
    assert_faults(
        "registryMirrors: []\n",
        &[
            "1:1 : the key `apiVersion` is missing; write `apiVersion: mirrorgate.dev/v1alpha1`",
            "1:1 : the key `kind` is missing; write `kind: Policy`",
        ],
    );
    assert_faults(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mirrorgate-policy}\ndata: {policy.yaml: ''}\n",
        &["2:7 kind: this is a ConfigMap, not the policy in it; give the text of its key `policy.yaml`"],
    );
}

/// Trap 28: an empty policy must not switch everything off.
#[test]
fn trap_28_a_document_that_says_nothing_is_refused() {
    let expected = "the document is empty; write at least `apiVersion: mirrorgate.dev/v1alpha1` and `kind: Policy`";
    for source in ["", "\n", "# only a comment\n", "---\n---\n", "null\n", "~"] {
        let found = faults(source);
        assert_eq!(found, [format!("1:1 : {expected}")], "{source:?}");
    }
    assert_body_faults(
        "registryMirrors:\n#- name: m\n",
        &["3:16 registryMirrors: has no value; it must be a list; give it a value, or leave the key out"],
    );
}

#[test]
fn only_one_document_is_taken() {
    assert_faults(
        &format!("{HEAD}---\n{HEAD}"),
        &[
            "4:1 : a second document, of which nothing would be obeyed; join both into one, or take out what is behind `---`",
        ],
    );
}

#[test]
fn broken_yaml_is_one_fault_with_its_place() {
    let found = faults(&format!("{HEAD}registryMirrors: [\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("; mend the YAML; nothing else was checked"), "{found:?}");
}

#[test]
fn a_document_that_is_too_large_is_refused() {
    let found = faults(&format!("{HEAD}#{}", "x".repeat(1024 * 1024)));
    let expected = format!(
        "1:1 : the document has {} bytes, and may have 1048576; write fewer hosts, or use `*.suffix` patterns",
        HEAD.len() + 1 + 1024 * 1024
    );
    assert_eq!(found, [expected]);
}

#[test]
fn unknown_keys_are_refused_each_with_a_mend() {
    let keys = "the keys here are `name`, `endpoint`, `hosts`, `repositories`, `pathTemplate`, `pullFromMirror`, `plainHTTP`, `mirrorSourcePolicy`, `caBundle`, `pullSecrets`";
    assert_body_faults(
        "registryMirror: []\nignore: {image: [], owners: []}\nhosts: []\nregistries: []\n",
        &[
            "3:1 registryMirror: unknown key `registryMirror`; did you mean `registryMirrors`?",
            "4:10 ignore.image: unknown key `image`; did you mean `images`?",
            "4:21 ignore.owners: unknown key `owners`; the keys here are `images`, `registries`, `ownerKinds`",
            "5:1 hosts: unknown key `hosts`; `hosts` belongs in an entry of `registryMirrors`",
            "6:1 registries: unknown key `registries`; `registries` belongs in an entry of `pullSecrets`, or under `trust`, or in an entry of `additionalTrustedCAs`, or in an entry of `caBundles`, or under `ignore`",
        ],
    );
    for (key, help) in [
        ("Endpoint", "did you mean `endpoint`?"),
        ("plainHttp", "did you mean `plainHTTP`?"),
        ("path_template", "did you mean `pathTemplate`?"),
        ("include", "`include` belongs under `repositories`"),
        ("discover", "`discover` belongs in an entry of `pullSecrets`"),
        ("onUntrusted", "`onUntrusted` belongs under `trust`"),
        // A key of another system: no key is accepted and then not obeyed.
        ("rewrites", keys),
    ] {
        assert_mirror_fault(
            &format!("{key}: []"),
            &format!("6:3 registryMirrors[0].{key}: unknown key `{key}`; {help}"),
        );
    }
    let found = faults(&format!("{HEAD}rules: {{}}\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("3:1 rules: unknown key `rules`; the keys here are `apiVersion`, "), "{found:?}");
}

#[test]
fn duplicate_keys_are_refused_with_both_lines() {
    assert_faults(
        &format!("{HEAD}ignore: {{}}\nregistryMirrors: []\nignore: {{}}\n"),
        &["5:1 ignore: the key is there twice, before on line 3; leave one of them out"],
    );
}

#[test]
fn types_are_checked_as_yaml_1_1_reads_them() {
    for (line, expected) in [
        (
            "plainHTTP: 'yes'",
            "6:14 registryMirrors[0].plainHTTP: is a string, and must be true or false; write `true` or `false`, without quotes",
        ),
        (
            "pathTemplate: on",
            "6:17 registryMirrors[0].pathTemplate: is the boolean true, and must be a string; put it in quotes: `\"on\"`",
        ),
        (
            "pathTemplate: 0755",
            "6:17 registryMirrors[0].pathTemplate: is a number, and must be a string; put it in quotes: `\"0755\"`",
        ),
        (
            "pathTemplate:",
            "6:15 registryMirrors[0].pathTemplate: has no value; it must be a string; give it a value, or leave the key out",
        ),
        ("pathTemplate: [a]", "6:17 registryMirrors[0].pathTemplate: is a list, and must be a string; write one text"),
        (
            "repositories: ['**']",
            "6:17 registryMirrors[0].repositories: is a list, and must be a mapping; write keys and values below it",
        ),
        (
            "repositories: {include: '**'}",
            "6:27 registryMirrors[0].repositories.include: is a string, and must be a list; write its entries below it, each behind a `- `, or in `[]`",
        ),
        (
            "repositories: {exclude: [1.10]}",
            "6:28 registryMirrors[0].repositories.exclude[0]: is a number, and must be a string; put it in quotes: `\"1.10\"`",
        ),
        (
            "repositories: {exclude: [~]}",
            "6:28 registryMirrors[0].repositories.exclude[0]: has no value; it must be a string; give it a value, or leave the key out",
        ),
        (
            "pullFromMirror: none",
            "6:19 registryMirrors[0].pullFromMirror: `none` is no value of this key; the values here are `all`, `digest-only`, `tag-only`",
        ),
        (
            "pullFromMirror: digest",
            "6:19 registryMirrors[0].pullFromMirror: `digest` is no value of this key; the values here are `all`, `digest-only`, `tag-only`",
        ),
        (
            "pullFromMirror: Tag-Only",
            "6:19 registryMirrors[0].pullFromMirror: `Tag-Only` is no value of this key; did you mean `tag-only`?",
        ),
    ] {
        assert_mirror_fault(line, expected);
    }
    assert_body_faults(
        "registryMirrors:\n- {name: 0755, endpoint: https://m.corp, hosts: [docker.io]}\n",
        &["4:10 registryMirrors[0].name: is a number, and must be a string; put it in quotes: `\"0755\"`"],
    );
    assert_body_faults(
        "registryMirrors:\n  name: m\nignore: []\n",
        &[
            "4:3 registryMirrors: is a mapping, and must be a list; write its entries below it, each behind a `- `, or in `[]`",
            "5:9 ignore: is a list, and must be a mapping; write keys and values below it",
        ],
    );
    assert_faults("- a\n", &["1:1 : is a list, and must be a mapping; write keys and values below it"]);
    for truth in ["on", "yes", "y", "True"] {
        let body = format!(
            "registryMirrors: [{{name: m, endpoint: 'http://m.corp', hosts: [quay.io], plainHTTP: {truth}}}]\n"
        );
        assert_eq!(
            read(&body).policy.mirrors().map(|mirror| mirror.plain_http()).collect::<Vec<_>>(),
            [true],
            "{truth}"
        );
    }
}

#[test]
fn missing_keys_are_named() {
    assert_body_faults(
        "registryMirrors:\n- pullFromMirror: all\n- {}\n",
        &[
            "4:3 registryMirrors[0]: the key `name` is missing; write it; it is for metrics and messages",
            "4:3 registryMirrors[0]: the key `endpoint` is missing; write the mirror's URL, such as `endpoint: https://harbor.corp:5000/proxy`",
            "4:3 registryMirrors[0]: the key `hosts` is missing; list the hosts whose images it serves, such as `hosts: [docker.io]`",
            "5:3 registryMirrors[1]: the key `name` is missing; write it; it is for metrics and messages",
            "5:3 registryMirrors[1]: the key `endpoint` is missing; write the mirror's URL, such as `endpoint: https://harbor.corp:5000/proxy`",
            "5:3 registryMirrors[1]: the key `hosts` is missing; list the hosts whose images it serves, such as `hosts: [docker.io]`",
        ],
    );
}

#[test]
fn names_are_unique_and_fit_a_metric() {
    assert_body_faults(
        "registryMirrors:\n- {name: a, endpoint: https://m.corp, hosts: [quay.io]}\n- {name: b c, endpoint: https://m.corp, hosts: [quay.io]}\n- {name: a, endpoint: https://m.corp, hosts: [quay.io]}\n",
        &[
            "5:10 registryMirrors[1].name: `b c` is no name of a mirror; a name has 1 to 63 letters, digits, `-`, `_` and `.`, and begins and ends with a letter or digit",
            "6:10 registryMirrors[2].name: the name `a` is taken, on line 4; give each mirror a name of its own",
        ],
    );
}

#[test]
fn an_alias_is_checked_as_what_it_stands_for() {
    let found = faults(&format!(
        "{HEAD}registryMirrors:\n- {{name: &n m, endpoint: &e 'https://m.corp', hosts: &h [quay.io]}}\n- {{name: *n, endpoint: *e, hosts: *h}}\n"
    ));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("5:10 registryMirrors[1].name: the name `m` is taken, on line 4"), "{found:?}");
    let found = faults(&format!(
        "{HEAD}registryMirrors:\n- {{name: m, endpoint: 'https://m.corp', hosts: [&h quay.io, *h]}}\n"
    ));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("registryMirrors[0].hosts[1]: `quay.io` is listed twice, first on line 4"), "{found:?}");
    let merged = "registryMirrors:\n- &base {name: m, endpoint: 'https://m.corp', hosts: [quay.io]}\n- {<<: *base, name: other, hosts: [ghcr.io]}\n";
    assert_eq!(becomes(&read(merged).policy, "ghcr.io/x"), "m.corp/x");
}

#[test]
fn every_fault_is_told_at_once() {
    let source = "\
apiVersion: mirrorgate.dev/v1alpha1
kind: Policy
registryMirrors:
- name: a
  endpoint: http://harbor
  hosts: [docker.io, docker.io, 5000, Quay.io]
  pathTemplate: '{registry}'
  repositories:
    include: ['a[']
- hots: []
ignore:
  images: ['x*']
  registries: ['*foo']
  ownerKinds: [cluster]
trust: []
";
    let found = faults(source);
    let places: Vec<&str> = found.iter().map(|fault| fault.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "5:13 registryMirrors[0].endpoint",
            "6:22 registryMirrors[0].hosts[1]",
            "6:33 registryMirrors[0].hosts[2]",
            "6:39 registryMirrors[0].hosts[3]",
            "7:17 registryMirrors[0].pathTemplate",
            "9:15 registryMirrors[0].repositories.include[0]",
            "10:3 registryMirrors[1].hots",
            "10:3 registryMirrors[1]",
            "10:3 registryMirrors[1]",
            "10:3 registryMirrors[1]",
            "12:12 ignore.images[0]",
            "13:16 ignore.registries[0]",
            "14:16 ignore.ownerKinds[0]",
            "15:8 trust",
        ],
        "{}",
        found.join("\n")
    );
}

#[test]
fn hosts_are_written_in_canonical_form() {
    for (host, expected) in [
        ("index.docker.io", "it is not written in canonical form; write `docker.io`"),
        ("Quay.IO", "it is not written in canonical form; write `quay.io`"),
        ("*.GCR.io:443", "it is not written in canonical form; write `*.gcr.io:443`"),
        (
            "harbor",
            "without a dot or a port, a reference reads `harbor` as a repository on Docker Hub; write it with its port: `harbor:443`",
        ),
        ("https://quay.io/v2", "it is a URL; write the host alone: `quay.io`"),
        (
            "quay.io/acme",
            "it names a path; write the host alone, `quay.io`, and choose repositories with `repositories.include`: `acme`",
        ),
        ("quay.io/", "it names a path; write the host alone: `quay.io`"),
        (
            "*foo",
            "a `*` may only stand alone or in front, as `*.`; write `*.suffix` for every host below a suffix, or `*` for every host, with and without a port",
        ),
        (
            "a.*.b",
            "a `*` may only stand alone or in front, as `*.`; write `*.suffix` for every host below a suffix, or `*` for every host, with and without a port",
        ),
        (
            "*.",
            "a `*` may only stand alone or in front, as `*.`; write `*.suffix` for every host below a suffix, or `*` for every host, with and without a port",
        ),
        (
            "*:5000",
            "a `*` may only stand alone or in front, as `*.`; write `*.suffix` for every host below a suffix, or `*` for every host, with and without a port",
        ),
        (
            "*.*.corp",
            "a `*` may only stand alone or in front, as `*.`; write `*.suffix` for every host below a suffix, or `*` for every host, with and without a port",
        ),
        ("harbor.corp:0", "`0` is no port; a port is a number from 1 to 65535, without leading zeros"),
        ("harbor.corp:05000", "`05000` is no port; a port is a number from 1 to 65535, without leading zeros"),
        ("*.corp:65536", "`65536` is no port; a port is a number from 1 to 65535, without leading zeros"),
        ("", "it is empty; write `host`, `host:port`, `*.suffix`, `*.suffix:port` or `*`; IPv6 addresses in brackets"),
    ] {
        if host.is_empty() {
            let source = format!("{HEAD}registryMirrors:\n- name: m\n  endpoint: https://m.corp\n  hosts: ['']\n");
            assert_faults(&source, &[&format!("6:11 registryMirrors[0].hosts[0]: `` is no host pattern: {expected}")]);
        } else {
            assert_host_fault(host, expected);
        }
    }
    for host in [
        "-a.corp", "a..corp", "a_b.corp", "fd00::1", "[fd00::1", "*.[::1]", "a b.corp", "quay.io:", ".corp", "*..corp",
        "[::g]", "ä.corp",
    ] {
        let found =
            faults(&format!("{HEAD}registryMirrors:\n- name: m\n  endpoint: https://m.corp\n  hosts: ['{host}']\n"));
        assert_eq!(found.len(), 1, "{host}: {found:?}");
        assert!(found[0].starts_with("6:11 registryMirrors[0].hosts[0]: "), "{host}: {found:?}");
        assert!(found[0].contains("is no host pattern: "), "{host}: {found:?}");
    }
}

#[test]
fn a_host_is_listed_once_a_mirror() {
    let source = format!(
        "{HEAD}registryMirrors:\n- name: m\n  endpoint: https://m.corp\n  hosts:\n  - quay.io\n  - '*'\n  - quay.io\n"
    );
    assert_faults(
        &source,
        &["9:5 registryMirrors[0].hosts[2]: `quay.io` is listed twice, first on line 7; leave one of them out"],
    );
    assert_eq!(Policy::read(&source).unwrap_err().0[0].related[0].line, 7);
    assert_mirror_fault(
        "repositories: {include: [x, x]}",
        "6:31 registryMirrors[0].repositories.include[1]: `x` is listed twice, first on line 6; leave one of them out",
    );
}

#[test]
fn empty_lists_that_would_switch_a_mirror_off_are_refused() {
    assert_body_faults(
        "registryMirrors:\n- {name: m, endpoint: https://m.corp, hosts: []}\n",
        &[
            "4:46 registryMirrors[0].hosts: is an empty list: the mirror would serve nothing; list the hosts whose images it serves, or leave the mirror out",
        ],
    );
    assert_mirror_fault(
        "repositories: {include: []}",
        "6:27 registryMirrors[0].repositories.include: is an empty list: the mirror would serve nothing; leave it out to serve every repository",
    );
    read("registryMirrors:\n- {name: m, endpoint: https://m.corp, hosts: [quay.io], repositories: {exclude: []}}\n");
}

#[test]
fn endpoints_that_no_reference_can_name_are_refused() {
    for (endpoint, expected) in [
        (
            "harbor.corp",
            "`harbor.corp` is no URL of a registry: it does not begin with `https://`; write `https://harbor.corp`",
        ),
        (
            "HTTPS://harbor.corp",
            "`HTTPS://harbor.corp` is no URL of a registry: it does not begin with `https://`; write `https://harbor.corp`",
        ),
        (
            "ftp://harbor.corp",
            "`ftp://harbor.corp` is no URL of a registry: it does not begin with `https://`; write `https://harbor.corp`",
        ),
        (
            "https:///x",
            "the URL names no host; write `https://host[:port]`, with the path that goes in front of every repository behind it",
        ),
        (
            "https://a:b@harbor.corp",
            "an endpoint has no user name or password; write `https://host[:port]`, with the path that goes in front of every repository behind it",
        ),
        (
            "https://harbor.corp?x=y",
            "an endpoint has no query; write `https://host[:port]`, with the path that goes in front of every repository behind it",
        ),
        (
            "https://harbor.corp#x",
            "an endpoint has no fragment; write `https://host[:port]`, with the path that goes in front of every repository behind it",
        ),
        (
            "https://harbor/x",
            "the host `harbor` cannot stand in a reference: without a dot or a port, a reference reads `harbor` as a repository on Docker Hub; write it with its port: `harbor:443`",
        ),
        (
            "https://index.docker.io",
            "the host `index.docker.io` cannot stand in a reference: it is not written in canonical form; write `docker.io`",
        ),
        (
            "https://Harbor.corp",
            "the host `Harbor.corp` cannot stand in a reference: it is not written in canonical form; write `harbor.corp`",
        ),
        (
            "https://harbor.corp:99999",
            "the host `harbor.corp:99999` cannot stand in a reference: `99999` is no port; a port is a number from 1 to 65535, without leading zeros",
        ),
        (
            "https://harbor.corp/a//b",
            "`` cannot be a component of a repository's path; components are lower-case letters and digits, with single `.`, `_`, `__` or dashes between them",
        ),
        (
            "https://harbor.corp/Proxy",
            "`Proxy` cannot be a component of a repository's path; components are lower-case letters and digits, with single `.`, `_`, `__` or dashes between them",
        ),
        (
            "https://harbor.corp/a%20b",
            "`a%20b` cannot be a component of a repository's path; components are lower-case letters and digits, with single `.`, `_`, `__` or dashes between them",
        ),
        (
            "http://harbor.corp",
            "`http://` is not allowed for this mirror; write `https://`; or, where there is none, add `plainHTTP: true` to the mirror",
        ),
    ] {
        assert_endpoint_fault(endpoint, expected);
    }
    let found = faults(&format!(
        "{HEAD}registryMirrors:\n- {{name: m, endpoint: 'http://harbor', hosts: [quay.io], plainHTTP: true}}\n"
    ));
    assert!(found[0].ends_with("; write it with its port: `harbor:80`"), "{found:?}");
    for host in ["-harbor.corp", "[fd00::1", "harbor.corp:x", "a b.corp"] {
        let found =
            faults(&format!("{HEAD}registryMirrors:\n- {{name: m, endpoint: 'https://{host}', hosts: [quay.io]}}\n"));
        assert_eq!(found.len(), 1, "{host}: {found:?}");
        assert!(found[0].contains(" cannot stand in a reference: "), "{host}: {found:?}");
    }
}

#[test]
fn plain_http_is_said_twice_and_warned_of() {
    let body = |endpoint: &str, plain: &str| {
        format!("registryMirrors:\n- name: m\n  endpoint: {endpoint}\n  hosts: [quay.io]\n  plainHTTP: {plain}\n")
    };
    let compiled = read(&body("http://m.corp", "true"));
    let warnings: Vec<String> = compiled.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "line 7: warning: registryMirrors[0].plainHTTP: this mirror is used without TLS: whoever is on the network path \
          can read and change what is pulled; serve the mirror by HTTPS where you can"
        ]
    );
    assert!(read(&body("https://m.corp", "false")).warnings.is_empty());
    assert_body_faults(
        &body("https://m.corp", "true"),
        &[
            "7:14 registryMirrors[0].plainHTTP: the endpoint, on line 5, is `https://`: it is not plain HTTP; leave `plainHTTP` out, or write `http://` in the endpoint",
        ],
    );
    assert_body_faults(
        &body("http://m.corp", "false"),
        &[
            "5:13 registryMirrors[0].endpoint: `http://` is not allowed for this mirror; write `https://`; or, where there is none, add `plainHTTP: true` to the mirror",
        ],
    );
}

#[test]
fn templates_that_cannot_make_a_valid_reference_are_refused() {
    let dashes = "components are lower-case letters and digits, with single `.`, `_`, `__` or dashes between them";
    for (template, expected) in [
        ("{registry}/{repository}", "there is no placeholder `{registry}`; the placeholders are `{host}` and `{repository}`".to_owned()),
        ("{Host}/{repository}", "there is no placeholder `{Host}`; the placeholders are `{host}` and `{repository}`".to_owned()),
        ("{repository", "a brace without its partner; the placeholders are `{host}` and `{repository}`".to_owned()),
        ("repository}", "a brace without its partner; the placeholders are `{host}` and `{repository}`".to_owned()),
        ("{host}", "without `{repository}` every image would get the same name; put `{repository}` where the repository's name belongs".to_owned()),
        ("", "without `{repository}` every image would get the same name; put `{repository}` where the repository's name belongs".to_owned()),
        ("/{repository}", "the path has an empty component: a `/` at an end, or two in a row; leave the `/` out".to_owned()),
        ("{repository}/", "the path has an empty component: a `/` at an end, or two in a row; leave the `/` out".to_owned()),
        ("{host}//{repository}", "the path has an empty component: a `/` at an end, or two in a row; leave the `/` out".to_owned()),
        ("Proxy/{repository}", format!("it makes paths like `Proxy/library/nginx`, where `Proxy` is no valid component; {dashes}")),
        ("{repository}:x", format!("it makes paths like `library/nginx:x`, where `nginx:x` is no valid component; {dashes}")),
        ("a--{host}..{repository}", format!("it makes paths like `a--registry.example_5000..library/nginx`, where `a--registry.example_5000..library` is no valid component; {dashes}")),
        ("-{repository}", format!("it makes paths like `-library/nginx`, where `-library` is no valid component; {dashes}")),
    ] {
        assert_mirror_fault(&format!("pathTemplate: '{template}'"), &format!("6:17 registryMirrors[0].pathTemplate: {expected}"));
    }
    let long = format!("pathTemplate: '{}/{{repository}}'", "a".repeat(250));
    let body = format!("registryMirrors:\n- name: m\n  endpoint: https://m.corp\n  {long}\n  hosts: [docker.io]\n");
    let found = faults(&format!("{HEAD}{body}"));
    assert!(found[0].starts_with("6:17 registryMirrors[0].pathTemplate: tried on `registry.example:5000/library/nginx:1.27`: mirror `m` cannot serve it: "), "{found:?}");
    for template in
        ["{repository}", "a/{host}/b/{repository}", "x-{repository}", "{host}__{repository}", "{repository}/{host}"]
    {
        read(&format!(
            "registryMirrors:\n- {{name: m, endpoint: https://m.corp, hosts: [quay.io], pathTemplate: '{template}'}}\n"
        ));
    }
}

#[test]
fn globs_that_never_match_or_do_not_compile_are_refused() {
    let never = "the glob can never match: ";
    for (glob, expected) in [
        ("", "the glob is empty; write a glob such as `library/*` or `team/**`".to_owned()),
        ("/library/*", format!("{never}it has an empty path component; leave the extra `/` out")),
        ("library/", format!("{never}it has an empty path component; leave the extra `/` out")),
        (
            "library/nginx:*",
            format!("{never}it is compared without tag and digest; leave out what begins with `:` or `@`"),
        ),
        ("Library/*", format!("{never}names of repositories and registries are in lower case; write it in lower case")),
        ("library/a b", format!("{never}no repository's name contains ` `; leave it out")),
    ] {
        assert_mirror_fault(
            &format!("repositories: {{exclude: ['{glob}']}}"),
            &format!("6:28 registryMirrors[0].repositories.exclude[0]: {expected}"),
        );
    }
    for glob in ["a[", "a{b", "[z-a]"] {
        let found = faults(&format!("{HEAD}ignore: {{images: ['docker.io/library/{glob}*']}}\n"));
        assert_eq!(found.len(), 1, "{glob}: {found:?}");
        assert!(found[0].starts_with("3:19 ignore.images[0]: the glob does not compile: "), "{found:?}");
    }
}

#[test]
fn ignored_images_that_never_match_are_refused() {
    let never = "the glob can never match: ";
    for (image, expected) in [
        (
            "nginx*",
            format!(
                "{never}it is compared with `host/repository`, and `nginx*` has no host; write the host too, as in `docker.io/library/nginx*`"
            ),
        ),
        (
            "library/nginx*",
            format!(
                "{never}it is compared with `host/repository`, and `library/nginx*` has no host; write the host too, as in `docker.io/library/nginx*`"
            ),
        ),
        (
            "docker.io/nginx*",
            format!(
                "{never}every repository of `docker.io` has two components or more; write `docker.io/library/nginx*`, or `docker.io/**` for all"
            ),
        ),
        (
            "index.docker.io/**",
            format!("{never}`index.docker.io` is no registry: it is not written in canonical form; write `docker.io`"),
        ),
        (
            "QUAY.io/**",
            format!("{never}names of repositories and registries are in lower case; write it in lower case"),
        ),
        ("quay.io/a:*", format!("{never}it is compared without tag and digest; leave out what begins with `:` or `@`")),
        ("", "is an empty text, which no image is; leave it out".to_owned()),
    ] {
        assert_body_faults(
            &format!("ignore: {{images: ['{image}']}}\n"),
            &[&format!("3:19 ignore.images[0]: {expected}")],
        );
    }
}

#[test]
fn owner_kinds_have_a_shape() {
    let shape = "write `group/Kind`, such as `postgresql.cnpg.io/Cluster`, or `Kind` for the core group";
    for (kind, help) in [
        ("cluster", shape),
        ("", shape),
        ("apps/", shape),
        ("/Pod", shape),
        ("Apps/Pod", shape),
        ("a/b/c/D", shape),
        ("postgresql.cnpg.io/v1/Cluster", "leave the version out: `postgresql.cnpg.io/Cluster`"),
        ("v1/Pod", "kinds of the core group are written without it: `Pod`"),
    ] {
        assert_body_faults(
            &format!("ignore: {{ownerKinds: ['{kind}']}}\n"),
            &[&format!("3:23 ignore.ownerKinds[0]: `{kind}` is no kind of an owner; {help}")],
        );
    }
}

#[test]
fn a_pull_secret_is_either_named_or_discovered() {
    let mend = "write `name: NAME`, or `discover: true` for every docker-config secret of the namespace that covers the registry";
    assert_body_faults(
        "pullSecrets:\n- registries: ['*']\n- {}\n- name: a\n  discover: true\n  registries: ['*']\n- discover: false\n- name: b\n- discover: 'true'\n- name: 5\n",
        &[
            &format!("4:3 pullSecrets[0]: neither `name` nor `discover: true` says which secret is meant; {mend}"),
            &format!("5:3 pullSecrets[1]: neither `name` nor `discover: true` says which secret is meant; {mend}"),
            "7:3 pullSecrets[2].discover: the secret is named already, on line 6: it is either named or discovered; leave out `name` or `discover`",
            "9:13 pullSecrets[3].discover: an entry that discovers nothing says nothing; take the entry out, or write `discover: true`",
            "10:3 pullSecrets[4]: the key `registries` is missing; list the registries that the secret goes with, such as `registries: [\"harbor.corp:5000\"]`",
            "11:13 pullSecrets[5].discover: is a string, and must be true or false; write `true` or `false`, without quotes",
            "12:3 pullSecrets[6]: the key `registries` is missing; list the registries that the secret goes with, such as `registries: [\"harbor.corp:5000\"]`",
            "12:9 pullSecrets[6].name: is a number, and must be a string; put it in quotes: `\"5\"`",
        ],
    );
    assert_body_faults(
        "pullSecrets: [harbor-pull]\n",
        &["3:15 pullSecrets[0]: is a string, and must be a mapping; write keys and values below it"],
    );
    assert_body_faults(
        "pullSecrets: {name: a}\n",
        &[
            "3:14 pullSecrets: is a mapping, and must be a list; write its entries below it, each behind a `- `, or in `[]`",
        ],
    );
    let source = format!("{HEAD}pullSecrets:\n- name: a\n  discover: true\n  registries: ['*']\n");
    assert_eq!(Policy::read(&source).unwrap_err().0[0].related[0].line, 4);
}

#[test]
fn s4_names_of_secrets_are_dns_names_without_a_namespace() {
    let shape = "a name has lower-case letters, digits, `-` and `.`, and begins and ends, also beside a `.`, with a letter or digit";
    let braces = "write `{namespace}` where the pod's namespace belongs, or no braces";
    let long = "a".repeat(254);
    for (name, expected) in [
        ("", format!("it is empty; {shape}")),
        ("kube-system/harbor", "it names a namespace, and that is always the pod's; write `harbor`".to_owned()),
        (
            "{namespace}/harbor-{namespace}",
            "it names a namespace, and that is always the pod's; write `harbor-{namespace}`".to_owned(),
        ),
        ("harbor/", format!("it names a namespace, and that is always the pod's; {shape}")),
        ("Harbor-Pull", "names of secrets are in lower case; write `harbor-pull`".to_owned()),
        ("Harbor Pull", format!("names of secrets are in lower case; {shape}")),
        ("harbor_pull", format!("it is no DNS name; {shape}")),
        ("-harbor", format!("it is no DNS name; {shape}")),
        ("harbor-", format!("it is no DNS name; {shape}")),
        ("harbor.-x", format!("it is no DNS name; {shape}")),
        ("harbor..x", format!("it is no DNS name; {shape}")),
        (".{namespace}", format!("it is no DNS name; {shape}")),
        ("härbor", format!("it is no DNS name; {shape}")),
        ("*", format!("it is no DNS name; {shape}")),
        ("{namespace}-", format!("it is no DNS name; {shape}")),
        ("harbor-{ns}", format!("the only thing that braces may hold is `{{namespace}}`; {braces}")),
        ("harbor-{Namespace}", format!("the only thing that braces may hold is `{{namespace}}`; {braces}")),
        ("harbor-{namespace", format!("the only thing that braces may hold is `{{namespace}}`; {braces}")),
        ("{{namespace}}", format!("the only thing that braces may hold is `{{namespace}}`; {braces}")),
        (&long, "it would have 254 characters, and may have 253; give the secret a shorter name".to_owned()),
        (
            &format!("{{namespace}}{}", "a".repeat(253)),
            "it would have 254 characters, and may have 253; give the secret a shorter name".to_owned(),
        ),
    ] {
        let shown = if name.len() > 120 { format!("{}…", &name[..120]) } else { name.to_owned() };
        let expected = format!("`{shown}` is no name of a secret: {expected}");
        assert_body_faults(
            &format!("pullSecrets: [{{name: '{name}', registries: ['*']}}]\n"),
            &[&format!("3:22 pullSecrets[0].name: {expected}")],
        );
        assert_mirror_fault(
            &format!("pullSecrets: [ok, '{name}']"),
            &format!("6:21 registryMirrors[0].pullSecrets[1]: {expected}"),
        );
    }
    for name in
        ["a", "0", "a.b-c.d", &"a".repeat(253), "{namespace}{namespace}", &format!("{{namespace}}{}", "a".repeat(252))]
    {
        read(&format!("pullSecrets: [{{name: '{name}', registries: ['*']}}]\n"));
    }
}

#[test]
fn registries_and_namespaces_of_a_pull_secret_are_checked() {
    let never = "the glob can never match: ";
    for (lists, expected) in [
        (
            "registries: []".to_owned(),
            "3:40 pullSecrets[0].registries: is an empty list: the entry would apply to no registry; list the registries that the secret goes with; `\"*\"` is every one".to_owned(),
        ),
        (
            "registries: [Quay.io]".to_owned(),
            "3:41 pullSecrets[0].registries[0]: `Quay.io` is no host pattern: it is not written in canonical form; write `quay.io`".to_owned(),
        ),
        (
            "registries: [quay.io/acme]".to_owned(),
            "3:41 pullSecrets[0].registries[0]: `quay.io/acme` is no host pattern: it names a path; write the host alone: `quay.io`".to_owned(),
        ),
        (
            "registries: [quay.io, quay.io]".to_owned(),
            "3:50 pullSecrets[0].registries[1]: `quay.io` is listed twice, first on line 3; leave one of them out".to_owned(),
        ),
        (
            "registries: ['*'], namespaces: []".to_owned(),
            "3:59 pullSecrets[0].namespaces: is an empty list: the entry would apply in no namespace; leave it out for all namespaces".to_owned(),
        ),
        (
            "registries: ['*'], namespaces: [a, a]".to_owned(),
            "3:63 pullSecrets[0].namespaces[1]: `a` is listed twice, first on line 3; leave one of them out".to_owned(),
        ),
    ] {
        assert_body_faults(&format!("pullSecrets: [{{name: aaaa, {lists}}}]\n"), &[&expected]);
    }
    let character = "leave it out: names have lower-case letters, digits and `-`, and `*` stands for any of them";
    for (glob, expected) in [
        ("", "the glob is empty; write a namespace, a glob such as `team-*`, or `*`".to_owned()),
        ("Team-*", format!("{never}names of namespaces are in lower case; write `team-*`")),
        ("team.a", format!("{never}no namespace's name contains `.`; {character}")),
        ("team_a", format!("{never}no namespace's name contains `_`; {character}")),
        ("team/*", format!("{never}no namespace's name contains `/`; {character}")),
        ("a,b", format!("{never}no namespace's name contains `,`; {character}")),
        ("{a,b},c", format!("{never}no namespace's name contains `,`; {character}")),
        (
            "!team",
            format!(
                "{never}no namespace's name contains `!`; there is no glob for all but some: list the namespaces that are meant"
            ),
        ),
        ("team-", format!("{never}no namespace's name begins or ends with `-`; write `team-*`")),
        ("-prod", format!("{never}no namespace's name begins or ends with `-`; write `*-prod`")),
        ("-", format!("{never}no namespace's name begins or ends with `-`; write `*-*`")),
        (
            &format!("*{}?", "a".repeat(63)),
            format!("{never}it has 64 characters, and a namespace's name has at most 63; make it shorter"),
        ),
    ] {
        assert_body_faults(
            &format!("pullSecrets: [{{discover: true, namespaces: ['{glob}']}}]\n"),
            &[&format!("3:45 pullSecrets[0].namespaces[0]: {expected}")],
        );
    }
    // Longer than a name may be, and yet something matches.
    for glob in [format!("{}*", "a".repeat(63)), format!("[{}]", "ab".repeat(40)), format!("{{{},b}}", "a".repeat(63))]
    {
        read(&format!("pullSecrets: [{{discover: true, namespaces: ['{glob}']}}]\n"));
    }
    for glob in ["a[", "a{b", "[z-a]"] {
        let found = faults(&format!("{HEAD}pullSecrets: [{{discover: true, namespaces: ['{glob}']}}]\n"));
        assert_eq!(found.len(), 1, "{glob}: {found:?}");
        assert!(found[0].starts_with("3:45 pullSecrets[0].namespaces[0]: the glob does not compile: "), "{found:?}");
    }
    assert_body_faults(
        "pullSecrets: [{discover: true, registries: []}]\n",
        &[
            "3:44 pullSecrets[0].registries: is an empty list: the entry would apply to no registry; leave it out for every registry",
        ],
    );
}

#[test]
fn a_mirrors_pull_secrets_are_listed_once_and_not_empty() {
    assert_mirror_fault(
        "pullSecrets: []",
        "6:16 registryMirrors[0].pullSecrets: is an empty list: no secret would go with the mirror; list the names of its secrets, or leave the key out",
    );
    assert_mirror_fault(
        "pullSecrets: [a, b, a]",
        "6:23 registryMirrors[0].pullSecrets[2]: `a` is listed twice, first on line 6; leave one of them out",
    );
    assert_mirror_fault(
        "pullSecrets: [{name: a}]",
        "6:17 registryMirrors[0].pullSecrets[0]: is a mapping, and must be a string; write one text",
    );
    assert_mirror_fault(
        "pullSecrets: a",
        "6:16 registryMirrors[0].pullSecrets: is a string, and must be a list; write its entries below it, each behind a `- `, or in `[]`",
    );
}

#[test]
fn an_entry_that_says_the_same_as_another_is_refused_with_both_lines() {
    let source = format!(
        "{HEAD}pullSecrets:
- {{name: a, registries: [quay.io, '*.corp'], namespaces: [x, w]}}
- {{name: a, registries: [quay.io, '*.corp'], namespaces: [x]}}
- {{name: b, registries: [quay.io, '*.corp'], namespaces: [x, w]}}
- {{namespaces: [w, x], registries: ['*.corp', quay.io], name: a}}
- &d {{discover: true}}
- {{discover: true, registries: ['*'], namespaces: ['**', z]}}
- *d
"
    );
    assert_faults(
        &source,
        &[
            "7:4 pullSecrets[3]: says the same as the entry on line 4; leave one of them out",
            "9:4 pullSecrets[5]: says the same as the entry on line 8; leave one of them out",
            "10:3 pullSecrets[6]: says the same as the entry on line 8; leave one of them out",
        ],
    );
    assert_eq!(Policy::read(&source).unwrap_err().0[0].related[0].line, 4);
    // Mirrors may share an endpoint, and an entry may say more than a mirror's list does.
    read(
        "
registryMirrors:
- {name: a, endpoint: https://m.corp/a, hosts: [quay.io], pullSecrets: [s]}
- {name: b, endpoint: https://m.corp/b, hosts: [ghcr.io], pullSecrets: [s]}
pullSecrets: [{name: s, registries: [m.corp]}]
",
    );
}

#[test]
fn texts_of_the_document_are_escaped_in_messages() {
    let found = faults(&format!("{HEAD}\"a\\u202eb\\n\": 1\nignore: {{registries: [\"x\\ty\"]}}\n"));
    let all = found.join("");
    assert!(!all.contains(['\u{202e}', '\n', '\t']), "{all:?}");
    assert!(all.contains("a\\u{202e}b"), "{all:?}");
}

/// A wrong key planted in each mapping of every example is found, with its line.
#[test]
fn a_wrong_key_planted_anywhere_in_an_example_is_found() {
    for (example, least) in [(EXAMPLE, 10), (include_str!("../../examples/trust.yaml"), 20)] {
        assert!(Policy::read(example).unwrap().warnings.is_empty());
        let lines: Vec<&str> = example.lines().collect();
        let mut planted = 0;
        for (index, line) in lines.iter().enumerate() {
            let text = line.trim_start_matches([' ', '-']);
            let entry = text.split('#').next().unwrap().trim_end();
            let column = line.len() - text.len();
            // Behind the line where it opens no mapping or block of its own.
            if !entry.contains(':') || entry.ends_with([':', '|']) {
                continue;
            }
            let mut copy = lines.clone();
            let wrong = format!("{}bogus: 1", " ".repeat(column));
            copy.insert(index + 1, &wrong);
            let found = faults(&copy.join("\n"));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(&format!("{}:{} ", index + 2, column + 1)), "{found:?}");
            assert!(found[0].contains("bogus: unknown key `bogus`"), "{found:?}");
            planted += 1;
        }
        assert!(planted > least, "{planted}");
    }
}

// ---- The schema -----------------------------------------------------------------------------------------------------

/// The committed schema is what the code says. `UPDATE=1 cargo test` rewrites it.
#[test]
fn the_committed_schema_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/policy.schema.json");
    let text = serde_json::to_string_pretty(&Policy::schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(committed, text, "run the tests once with UPDATE=1 and commit {path}");
}

/// Trap 35, and the figure for loading: everything is compiled at load, and ten thousand hosts are no burden.
#[test]
fn trap_35_ten_thousand_hosts_compile_and_decide() {
    let mut body = "registryMirrors:\n- name: m\n  endpoint: https://m.corp\n  hosts:\n".to_owned();
    for host in 0..10_000 {
        body.push_str(&match host % 2 {
            0 => format!("  - h{host}.example\n"),
            _ => format!("  - \"*.h{host}.example\"\n"),
        });
    }
    let policy = read(&body).policy;
    assert_table(
        &policy,
        &[("h9998.example/x", "m.corp/x"), ("a.b.h9999.example/x", "m.corp/x"), ("h9999.example/x", "unlisted")],
    );
}

/// The same for pull secrets: a thousand teams with a secret each for one registry, and a thousand registries.
/// Compiled together, globs take some kilobytes each: a document with 40,000 would take a replica's memory.
#[test]
fn globs_are_counted_over_the_whole_document() {
    let globs = |from: usize, to: usize| (from..to).map(|n| format!("'r{n}.io/*'")).collect::<Vec<_>>().join(", ");
    let document = |ignored: usize| {
        let included = (0..1000).map(|n| format!("'a{n}/*'")).collect::<Vec<_>>().join(", ");
        let mirror = format!(
            "{{name: m, endpoint: https://m.corp, hosts: [docker.io], repositories: {{include: [{included}], exclude: [only/a-name]}}}}"
        );
        format!("{HEAD}registryMirrors: [{mirror}]\nignore: {{images: [{}]}}\n", globs(0, ignored))
    };
    assert!(Policy::read(&document(3000)).is_ok());
    let faults = Policy::read(&document(5000)).unwrap_err().0;
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].path, "ignore.images[3000]");
    assert!(faults[0].message.contains("`r3000.io/*` is one of more than 4000 globs"), "{}", faults[0]);
}

#[test]
fn trap_35_thousands_of_pull_secrets_compile_and_decide() {
    let mut body = "pullSecrets:\n".to_owned();
    for team in 0..3_000 {
        body.push_str(&match team % 3 {
            0 => format!("- {{name: s{team}, registries: [one.corp], namespaces: ['t{team}-*']}}\n"),
            1 => format!("- {{name: s{team}, registries: [one.corp], namespaces: ['t?{team}', '*-{team}']}}\n"),
            _ => format!("- {{name: s{team}, registries: [h{team}.corp, '*.h{team}.corp']}}\n"),
        });
    }
    let policy = read(&body).policy;
    assert_secrets(
        &policy,
        &[
            ("one.corp", "t2997-x", &["s2997"]),
            ("one.corp", "tx2998", &["s2998"]),
            ("one.corp", "t0-2998", &["s0", "s2998"]),
            ("one.corp", "x", &[]),
            ("h2999.corp", "x", &["s2999"]),
            ("a.h2999.corp", "t0-x", &["s2999"]),
        ],
    );
    assert_eq!(policy.secret_names().count(), 3_000);
}
