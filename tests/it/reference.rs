//! References against the public test tables of the distribution project's Go package `reference` (v0.6.0), and the
//! rules R1 to R6 by name. What a table row there says of `Parse` is written here as `ParseNormalizedNamed` answers,
//! which is what runtimes call; `tests/oracle` holds the two against each other on generated input.

use std::collections::HashSet;

use mirrorgate::image::{ParseErrorKind, Reference, Registry};
use proptest::prelude::*;

const F64: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
const HEX64: &str = "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a";

fn parse(input: &str) -> Reference<'_> {
    Reference::parse(input).unwrap_or_else(|error| panic!("{input}: {error}"))
}

fn kind(input: &str) -> &'static str {
    match Reference::parse(input) {
        Ok(reference) => panic!("{input} was read as {reference}"),
        Err(error) => error.kind().as_str(),
    }
}

/// Input, host, repository, tag, digest; in all of them `F64` stands for 64 letters f.
type Row<'a> = (&'a str, &'a str, &'a str, Option<&'a str>, Option<&'a str>);

#[track_caller]
fn assert_read(rows: &[Row<'_>]) {
    for &(input, host, repository, tag, digest) in rows {
        let input = input.replace("F64", F64);
        let digest = digest.map(|digest| digest.replace("F64", F64));
        let reference = parse(&input);
        assert_eq!(reference.host(), host, "{input}");
        assert_eq!(reference.repository(), repository, "{input}");
        assert_eq!(reference.tag(), tag, "{input}");
        assert_eq!(reference.digest(), digest.as_deref(), "{input}");
        let full = reference.to_string();
        assert_eq!(parse(&full), reference, "{input}");
    }
}

// ---- reference_test.go

#[test]
fn distribution_table_reference_parse() {
    assert_read(&[
        ("test_com", "docker.io", "library/test_com", None, None),
        ("test.com:tag", "docker.io", "library/test.com", Some("tag"), None),
        ("test.com:5000", "docker.io", "library/test.com", Some("5000"), None),
        ("test.com/repo:tag", "test.com", "repo", Some("tag"), None),
        ("test:5000/repo", "test:5000", "repo", None, None),
        ("test:5000/repo:tag", "test:5000", "repo", Some("tag"), None),
        ("test:5000/repo@sha256:F64", "test:5000", "repo", None, Some("sha256:F64")),
        ("test:5000/repo:tag@sha256:F64", "test:5000", "repo", Some("tag"), Some("sha256:F64")),
        ("lowercase:Uppercase", "docker.io", "library/lowercase", Some("Uppercase"), None),
        ("Uppercase/lowercase:tag", "Uppercase", "lowercase", Some("tag"), None),
        ("sub-dom1.foo.com/bar/baz/quux", "sub-dom1.foo.com", "bar/baz/quux", None, None),
        (
            "sub-dom1.foo.com/bar/baz/quux:some-long-tag",
            "sub-dom1.foo.com",
            "bar/baz/quux",
            Some("some-long-tag"),
            None,
        ),
        (
            "b.gcr.io/test.example.com/my-app:test.example.com",
            "b.gcr.io",
            "test.example.com/my-app",
            Some("test.example.com"),
            None,
        ),
        ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com", "myimage", Some("xn--n3h.com"), None),
        (
            "xn--7o8h.com/myimage:xn--7o8h.com@sha512:F64F64",
            "xn--7o8h.com",
            "myimage",
            Some("xn--7o8h.com"),
            Some("sha512:F64F64"),
        ),
        ("foo_bar.com:8080", "docker.io", "library/foo_bar.com", Some("8080"), None),
        ("foo/foo_bar.com:8080", "docker.io", "foo/foo_bar.com", Some("8080"), None),
        ("192.168.1.1", "docker.io", "library/192.168.1.1", None, None),
        ("192.168.1.1:tag", "docker.io", "library/192.168.1.1", Some("tag"), None),
        ("192.168.1.1:5000", "docker.io", "library/192.168.1.1", Some("5000"), None),
        ("192.168.1.1/repo", "192.168.1.1", "repo", None, None),
        ("192.168.1.1:5000/repo", "192.168.1.1:5000", "repo", None, None),
        ("192.168.1.1:5000/repo:5050", "192.168.1.1:5000", "repo", Some("5050"), None),
        ("[2001:db8::1]/repo", "[2001:db8::1]", "repo", None, None),
        ("[2001:db8:1:2:3:4:5:6]/repo:tag", "[2001:db8:1:2:3:4:5:6]", "repo", Some("tag"), None),
        ("[2001:db8::1]:5000/repo", "[2001:db8::1]:5000", "repo", None, None),
        ("[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000", "repo", Some("tag"), None),
        ("[2001:db8::1]:5000/repo@sha256:F64", "[2001:db8::1]:5000", "repo", None, Some("sha256:F64")),
        ("[2001:db8::1]:5000/repo:tag@sha256:F64", "[2001:db8::1]:5000", "repo", Some("tag"), Some("sha256:F64")),
        ("[2001:db8::]:5000/repo", "[2001:db8::]:5000", "repo", None, None),
        ("[::1]:5000/repo", "[::1]:5000", "repo", None, None),
        // Serialization, WithTag, WithDigest.
        ("example.com:8000/named", "example.com:8000", "named", None, None),
        ("example.com:8000/named:tagged", "example.com:8000", "named", Some("tagged"), None),
        ("other.com/named@sha256:F64", "other.com", "named", None, Some("sha256:F64")),
        ("test.com/foo:tag", "test.com", "foo", Some("tag"), None),
        ("foo:tag2", "docker.io", "library/foo", Some("tag2"), None),
        ("test.com:8000/foo:tag4", "test.com:8000", "foo", Some("tag4"), None),
        ("test.com:8000/foo:TAG5@sha256:F64", "test.com:8000", "foo", Some("TAG5"), Some("sha256:F64")),
        ("test.com:8000/foo:tag4@sha256:F64", "test.com:8000", "foo", Some("tag4"), Some("sha256:F64")),
    ]);
}

#[test]
fn distribution_table_reference_parse_refused() {
    for (input, expected) in [
        ("", "empty"),
        (":justtag", "invalid-format"),
        ("@sha256:F64", "invalid-format"),
        ("repo@sha256:ffffffffffffffffffffffffffffffffff", "invalid-digest"),
        ("validname@invaliddigest:F64", "unsupported-digest"),
        ("Uppercase:tag", "uppercase-repository"),
        ("test:5000/Uppercase/lowercase:tag", "uppercase-repository"),
        ("aa/asdf$$^/aa", "invalid-repository"),
        ("[2001:db8::1]", "invalid-format"),
        ("[2001:db8::1]:5000", "invalid-format"),
        ("[2001:db8::1]:tag", "invalid-format"),
        ("[fe80::1%eth0]:5000/repo", "invalid-host"),
        ("[fe80::1%@invalidzone]:5000/repo", "invalid-repository"),
    ] {
        assert_eq!(kind(&input.replace("F64", F64)), expected, "{input}");
    }
    let long = "a".repeat(256);
    assert_eq!(kind(&format!("domain/{long}:tag")), "name-too-long");
    assert_eq!(kind(&format!("example.com/{long}")), "name-too-long");
}

#[test]
fn distribution_table_names_of_the_longest_size() {
    // "a" is a host to `Parse` and a namespace of Docker Hub to `ParseNormalizedNamed`.
    let path = format!("{}a", "a/".repeat(127));
    let tagged = format!("{path}:tag-puts-this-over-max");
    assert_eq!(parse(&tagged).repository(), path);
    let path = "a".repeat(255);
    let tagged = format!("example.com/{path}:tag");
    assert_eq!(parse(&tagged).repository(), path);
}

// ---- normalize_test.go

#[test]
fn distribution_table_validate_reference_name() {
    for name in [
        "docker/docker",
        "library/debian",
        "debian",
        "localhost/library/debian",
        "localhost/debian",
        "LOCALDOMAIN/library/debian",
        "LOCALDOMAIN/debian",
        "docker.io/docker/docker",
        "docker.io/library/debian",
        "docker.io/debian",
        "index.docker.io/docker/docker",
        "index.docker.io/library/debian",
        "index.docker.io/debian",
        "127.0.0.1:5000/docker/docker",
        "127.0.0.1:5000/library/debian",
        "127.0.0.1:5000/debian",
        "192.168.0.1",
        "192.168.0.1:80",
        "192.168.0.1:8/debian",
        "192.168.0.2:25000/debian",
        "thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev",
        "[fc00::1]:5000/docker",
        "[fc00::1]:5000/docker/docker",
        "[fc00:1:2:3:4:5:6:7]:5000/library/debian",
        "docker.io/1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a",
        "Docker/docker",
        "DOCKER/docker",
    ] {
        parse(name);
    }
    for (name, expected) in [
        ("https://github.com/docker/docker", "invalid-format"),
        ("docker/Docker", "uppercase-repository"),
        ("-docker", "invalid-format"),
        ("-docker/docker", "invalid-format"),
        ("-docker.io/docker/docker", "invalid-format"),
        ("docker///docker", "invalid-repository"),
        ("docker.io/docker/Docker", "uppercase-repository"),
        ("docker.io/docker///docker", "invalid-repository"),
        ("[fc00::1]", "invalid-format"),
        ("[fc00::1]:5000", "invalid-format"),
        ("fc00::1:5000/debian", "invalid-host"),
        ("[fe80::1%eth0]:5000/debian", "invalid-host"),
        ("[2001:db8:3:4::192.0.2.33]:5000/debian", "invalid-host"),
        (HEX64, "bare-identifier"),
    ] {
        assert_eq!(kind(name), expected, "{name}");
    }
}

#[test]
fn distribution_table_validate_remote_name() {
    for name in [
        "docker/docker",
        "thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev",
        "docker-rules/docker",
        "docker---rules/docker",
        "doc/docker",
        "d/docker",
        "jess/t",
        "dock__er/docker",
    ] {
        parse(name);
    }
    for (name, expected) in [
        ("docker/Docker", "uppercase-repository"),
        ("docker///docker", "invalid-repository"),
        (HEX64, "bare-identifier"),
        ("-docker/docker", "invalid-format"),
        ("docker-/docker", "invalid-repository"),
        ("-docker-/docker", "invalid-format"),
        ("____/____", "invalid-format"),
        ("_docker/_docker", "invalid-format"),
        ("dock..er/docker", "invalid-host"),
        ("dock_.er/docker", "invalid-host"),
        ("dock-.er/docker", "invalid-host"),
        ("docker/", "invalid-repository"),
    ] {
        assert_eq!(kind(name), expected, "{name}");
    }
    let namespace = "this_is_not_a_valid_namespace_because_its_lenth_is_greater_than_255_".repeat(4);
    assert_eq!(kind(&format!("{}/docker", namespace.trim_end_matches('_'))), "name-too-long");
}

#[test]
fn distribution_table_parse_repository_info() {
    for (repository, host, full, others) in [
        ("fooo", "localhost", "localhost/fooo", &["localhost/fooo"][..]),
        ("fooo/bar", "localhost", "localhost/fooo/bar", &["localhost/fooo/bar"]),
        ("fooo", "LOCALDOMAIN", "LOCALDOMAIN/fooo", &["LOCALDOMAIN/fooo"]),
        ("fooo/bar", "LOCALDOMAIN", "LOCALDOMAIN/fooo/bar", &["LOCALDOMAIN/fooo/bar"]),
        ("fooo/bar", "docker.io", "docker.io/fooo/bar", &["fooo/bar", "index.docker.io/fooo/bar"]),
        ("library/ubuntu", "docker.io", "docker.io/library/ubuntu", &["ubuntu", "library/ubuntu"]),
        ("nonlibrary/ubuntu", "docker.io", "docker.io/nonlibrary/ubuntu", &["nonlibrary/ubuntu"]),
        ("other/library", "docker.io", "docker.io/other/library", &["other/library"]),
        ("private/moonbase", "127.0.0.1:8000", "127.0.0.1:8000/private/moonbase", &[]),
        ("privatebase", "127.0.0.1:8000", "127.0.0.1:8000/privatebase", &[]),
        ("private/moonbase", "example.com", "example.com/private/moonbase", &[]),
        ("privatebase", "example.com", "example.com/privatebase", &[]),
        ("private/moonbase", "example.com:8000", "example.com:8000/private/moonbase", &[]),
        ("privatebasee", "example.com:8000", "example.com:8000/privatebasee", &[]),
        (
            "library/ubuntu-12.04-base",
            "docker.io",
            "docker.io/library/ubuntu-12.04-base",
            &["ubuntu-12.04-base", "index.docker.io/library/ubuntu-12.04-base"],
        ),
        ("library/foo", "docker.io", "docker.io/library/foo", &["foo", "docker.io/foo"]),
        ("library/foo/bar", "docker.io", "docker.io/library/foo/bar", &["library/foo/bar"]),
        ("store/foo/bar", "docker.io", "docker.io/store/foo/bar", &["store/foo/bar"]),
        ("bar", "Foo", "Foo/bar", &[]),
        ("bar", "FOO", "FOO/bar", &[]),
    ] {
        for input in others.iter().chain([&full]) {
            let reference = parse(input);
            assert_eq!((reference.host(), reference.repository().as_ref()), (host, repository), "{input}");
            assert_eq!(reference.to_string(), full, "{input}");
            assert_eq!(reference, parse(full), "{input}: equal says the same image");
        }
    }
}

#[test]
fn distribution_table_parse_any_reference() {
    let digest = "sha256:dbcc1c35ac38df41fd2f5e4130b32ffdb93ebae8b3dbe638c23575912276fc9c";
    for (input, full) in [
        ("redis", "docker.io/library/redis"),
        ("redis:latest", "docker.io/library/redis:latest"),
        ("docker.io/library/redis:latest", "docker.io/library/redis:latest"),
        ("redis@DIGEST", "docker.io/library/redis@DIGEST"),
        ("docker.io/library/redis@DIGEST", "docker.io/library/redis@DIGEST"),
        ("dmcgowan/myapp", "docker.io/dmcgowan/myapp"),
        ("dmcgowan/myapp:latest", "docker.io/dmcgowan/myapp:latest"),
        ("docker.io/mcgowan/myapp:latest", "docker.io/mcgowan/myapp:latest"),
        ("dmcgowan/myapp@DIGEST", "docker.io/dmcgowan/myapp@DIGEST"),
        ("docker.io/dmcgowan/myapp@DIGEST", "docker.io/dmcgowan/myapp@DIGEST"),
        (
            "dbcc1c35ac38df41fd2f5e4130b32ffdb93ebae8b3dbe638c23575912276fc9",
            "docker.io/library/dbcc1c35ac38df41fd2f5e4130b32ffdb93ebae8b3dbe638c23575912276fc9",
        ),
        ("dbcc1", "docker.io/library/dbcc1"),
        ("busybox:latest@DIGEST", "docker.io/library/busybox:latest@DIGEST"),
        ("gcr.io/library/busybox:latest@DIGEST", "gcr.io/library/busybox:latest@DIGEST"),
        ("gcr.io/library/busybox", "gcr.io/library/busybox"),
    ] {
        assert_eq!(parse(&input.replace("DIGEST", digest)).to_string(), full.replace("DIGEST", digest));
    }
    // A digest alone names an image there, but no repository to pull it from.
    assert_eq!(kind(&digest["sha256:".len()..]), "bare-identifier");
    // Read by every runtime as the image `sha256` of Docker Hub with a very long tag, hence within a tag's bound.
    assert_eq!(parse(digest).to_string(), format!("docker.io/library/{digest}"));
}

#[test]
fn distribution_table_normalized_split_hostname() {
    for (input, host, repository) in [
        ("test.com/foo", "test.com", "foo"),
        ("test_com/foo", "docker.io", "test_com/foo"),
        ("docker/migrator", "docker.io", "docker/migrator"),
        ("test.com:8080/foo", "test.com:8080", "foo"),
        ("test-com:8080/foo", "test-com:8080", "foo"),
        ("foo", "docker.io", "library/foo"),
        ("xn--n3h.com/foo", "xn--n3h.com", "foo"),
        ("xn--n3h.com:18080/foo", "xn--n3h.com:18080", "foo"),
        ("docker.io/foo", "docker.io", "library/foo"),
        ("docker.io/library/foo", "docker.io", "library/foo"),
        ("docker.io/library/foo/bar", "docker.io", "library/foo/bar"),
    ] {
        let reference = parse(input);
        assert_eq!((reference.host(), reference.repository().as_ref()), (host, repository), "{input}");
    }
}

// ---- regexp_test.go

#[test]
fn distribution_table_domain_regexp() {
    for (host, is_host) in [
        ("test.com", true),
        ("test.com:10304", true),
        ("test.com:http", false),
        ("localhost", true),
        ("localhost:8080", true),
        ("a.b", true),
        ("ab.cd.com", true),
        ("a-b.com", true),
        ("-ab.com", false),
        ("ab-.com", false),
        ("ab.c-om", true),
        ("ab.-com", false),
        ("ab.com-", false),
        ("0101.com", true),
        ("001a.com", true),
        ("b.gbc.io:443", true),
        ("b.gbc.io", true),
        ("xn--n3h.com", true),
        ("Asdf.com", true),
        ("192.168.1.1:75050", true),
        ("192.168.1.1:750050", true),
        ("[fd00:1:2::3]:75050", true),
        ("[fd00:1:2::3]75050", false),
        ("[fd00:1:2::3]::75050", false),
        ("[fd00:1:2::3%eth0]:75050", false),
        ("[fd00123123123]:75050", true),
        ("[2001:0db8:85a3:0000:0000:8a2e:0370:7334]:75050", true),
        ("[2001:0db8:85a3:0000:0000:8a2e:0370:7334]:750505", true),
        ("fd00:1:2::3:75050", false),
    ] {
        let image = format!("{host}/x");
        assert_eq!(Reference::parse(&image).map(|reference| reference.host()).ok(), is_host.then_some(host), "{host}");
    }
}

#[test]
fn distribution_table_full_name_regexp() {
    for (input, expected) in [
        ("short", Some(("docker.io", "library/short"))),
        ("simple/name", Some(("docker.io", "simple/name"))),
        ("library/ubuntu", Some(("docker.io", "library/ubuntu"))),
        ("docker/stevvooe/app", Some(("docker.io", "docker/stevvooe/app"))),
        (
            "aa/aa/aa/aa/aa/aa/aa/aa/aa/bb/bb/bb/bb/bb/bb",
            Some(("docker.io", "aa/aa/aa/aa/aa/aa/aa/aa/aa/bb/bb/bb/bb/bb/bb")),
        ),
        ("aa/aa/bb/bb/bb", Some(("docker.io", "aa/aa/bb/bb/bb"))),
        ("a/a/a/a", Some(("docker.io", "a/a/a/a"))),
        ("a/a/a/a/", None),
        ("a//a/a", None),
        ("a", Some(("docker.io", "library/a"))),
        ("a/aa", Some(("docker.io", "a/aa"))),
        ("a/aa/a", Some(("docker.io", "a/aa/a"))),
        ("foo.com", Some(("docker.io", "library/foo.com"))),
        ("foo.com/", None),
        ("foo.com:8080/bar", Some(("foo.com:8080", "bar"))),
        ("foo.com:http/bar", None),
        ("foo.com/bar", Some(("foo.com", "bar"))),
        ("foo.com/bar/baz", Some(("foo.com", "bar/baz"))),
        ("localhost:8080/bar", Some(("localhost:8080", "bar"))),
        ("sub-dom1.foo.com/bar/baz/quux", Some(("sub-dom1.foo.com", "bar/baz/quux"))),
        ("blog.foo.com/bar/baz", Some(("blog.foo.com", "bar/baz"))),
        ("a^a", None),
        ("aa/asdf$$^/aa", None),
        ("asdf$$^/aa", None),
        ("aa-a/a", Some(("docker.io", "aa-a/a"))),
        ("a-/a/a/a", None),
        ("foo.com/a-/a/a", None),
        ("-foo/bar", None),
        ("foo/bar-", None),
        ("foo-/bar", None),
        ("foo/-bar", None),
        ("_foo/bar", None),
        ("foo_bar", Some(("docker.io", "library/foo_bar"))),
        ("foo_bar.com", Some(("docker.io", "library/foo_bar.com"))),
        ("foo_bar.com:8080/app", None),
        ("foo.com/foo_bar", Some(("foo.com", "foo_bar"))),
        ("____/____", None),
        ("_docker/_docker", None),
        ("docker_/docker_", None),
        ("b.gcr.io/test.example.com/my-app", Some(("b.gcr.io", "test.example.com/my-app"))),
        ("xn--7o8h.com/myimage", Some(("xn--7o8h.com", "myimage"))),
        ("example.com/xn--7o8h.com/myimage", Some(("example.com", "xn--7o8h.com/myimage"))),
        ("example.com/some_separator__underscore/myimage", Some(("example.com", "some_separator__underscore/myimage"))),
        ("example.com/__underscore/myimage", None),
        ("example.com/..dots/myimage", None),
        ("example.com/.dots/myimage", None),
        ("example.com/nodouble..dots/myimage", None),
        ("docker./docker", None),
        (".docker/docker", None),
        ("docker-/docker", None),
        ("-docker/docker", None),
        ("do..cker/docker", None),
        ("do__cker:8080/docker", None),
        ("do__cker/docker", Some(("docker.io", "do__cker/docker"))),
        (
            "registry.io/foo/project--id.module--name.ver---sion--name",
            Some(("registry.io", "foo/project--id.module--name.ver---sion--name")),
        ),
        ("Asdf.com/foo/bar", Some(("Asdf.com", "foo/bar"))),
        ("Foo/FarB", None),
    ] {
        let found = Reference::parse(input);
        let found = found.as_ref().map(|found| (found.host(), found.repository()));
        assert_eq!(found.as_ref().map(|(host, path)| (*host, path.as_ref())).ok(), expected, "{input}");
    }
    assert_eq!(kind(&format!("{}a", "a/".repeat(128))), "name-too-long");
}

#[test]
fn distribution_table_reference_regexp() {
    let digest = "sha256:be178c0543eb17f5f3043021c9e5fcf30285e557a4fc309cce97ff9ca6182912";
    for (input, full) in [
        ("registry.com:8080/myapp:tag", Some("registry.com:8080/myapp:tag")),
        ("registry.com:8080/myapp@DIGEST", Some("registry.com:8080/myapp@DIGEST")),
        ("registry.com:8080/myapp:tag2@DIGEST", Some("registry.com:8080/myapp:tag2@DIGEST")),
        ("registry.com:8080/myapp@sha256:badbadbadbad", None),
        ("registry.com:8080/myapp:invalid~tag", None),
        ("bad_hostname.com:8080/myapp:tag", None),
        ("localhost:8080@DIGEST", Some("docker.io/library/localhost:8080@DIGEST")),
        ("localhost:8080/name@DIGEST", Some("localhost:8080/name@DIGEST")),
        ("localhost:http/name@DIGEST", None),
        ("localhost@DIGEST", Some("docker.io/library/localhost@DIGEST")),
        ("registry.com:8080/myapp@bad", None),
        ("registry.com:8080/myapp@2bad", None),
    ] {
        let input = input.replace("DIGEST", digest);
        let found = Reference::parse(&input).ok().map(|reference| reference.to_string());
        assert_eq!(found, full.map(|full| full.replace("DIGEST", digest)), "{input}");
    }
}

// ---- the rules by name

#[test]
fn r1_the_first_component_is_a_host_by_dot_colon_upper_case_or_localhost() {
    for (input, host) in [
        ("a.b/x", "a.b"),
        ("a:1/x", "a:1"),
        ("localhost/x", "localhost"),
        ("LocalHost/x", "LocalHost"),
        ("Ab/x", "Ab"),
        ("ab/x", "docker.io"),
        ("localhost", "docker.io"),
        ("localhost:5000", "docker.io"),
        ("index.docker.io/x", "docker.io"),
        ("docker.io:443/x", "docker.io:443"),
    ] {
        assert_eq!(parse(input).host(), host, "{input}");
    }
}

#[test]
fn r1_an_empty_domain_of_the_go_package_is_refused_and_never_docker_hub() {
    for input in ["foo_bar.com/x", "a__b.c/x/y:1", "a.b_c/x"] {
        assert_eq!(kind(input), "invalid-host", "{input}");
    }
}

#[test]
fn r2_the_bounds_of_each_part() {
    let word = |count: usize| "a".repeat(count);
    parse(&word(247));
    assert_eq!(kind(&word(248)), "name-too-long", "`library/` counts");
    parse(&format!("docker.io/library/{}", word(247)));
    assert_eq!(kind(&format!("docker.io/library/{}", word(248))), "name-too-long");
    parse(&format!("quay.io/{}", word(255)));
    assert_eq!(kind(&format!("quay.io/{}", word(256))), "name-too-long");
    parse(&format!("x:{}", word(128)));
    assert_eq!(kind(&format!("x:{}", word(129))), "invalid-tag");
    for (input, expected) in [
        ("x:", "invalid-tag"),
        ("x:.a", "invalid-tag"),
        ("x:-a", "invalid-tag"),
        ("x:a/b", "invalid-host"),
        ("q.io/x:a/b", "invalid-tag"),
        ("x:a:b", "invalid-tag"),
        ("x:a~b", "invalid-tag"),
        ("x: a", "invalid-format"),
        ("x:ä", "invalid-format"),
        ("x@", "invalid-digest"),
        ("x@sha256", "invalid-digest"),
        ("x@sha256:", "invalid-digest"),
        ("x@:aa", "invalid-digest"),
        (" x", "invalid-format"),
        ("x\n", "invalid-format"),
        ("x/", "invalid-repository"),
        ("/x", "invalid-format"),
        ("x//y", "invalid-repository"),
        ("docker.io/", "invalid-repository"),
    ] {
        assert_eq!(kind(input), expected, "{input:?}");
    }
}

#[test]
fn r2_a_digest_has_the_length_of_its_algorithm_in_lower_case() {
    for (algorithm, length) in [("sha256", 64), ("sha384", 96), ("sha512", 128)] {
        parse(&format!("x@{algorithm}:{}", "a".repeat(length)));
        for wrong in [length - 1, length + 1] {
            assert_eq!(kind(&format!("x@{algorithm}:{}", "a".repeat(wrong))), "invalid-digest");
        }
        assert_eq!(kind(&format!("x@{algorithm}:{}", "A".repeat(length))), "invalid-digest");
        assert_eq!(kind(&format!("x@{algorithm}:{}", "g".repeat(length))), "invalid-digest");
        assert_eq!(kind(&format!("x:1@{}:{}", algorithm.to_uppercase(), "a".repeat(length))), "invalid-digest");
    }
    for algorithm in ["md5", "sha1", "sha224", "sha512-256", "blake3", "sha256+b64"] {
        assert_eq!(kind(&format!("x@{algorithm}:{}", "a".repeat(64))), "unsupported-digest");
    }
}

#[test]
fn r2_sixty_four_hex_digits_are_refused_only_where_they_stand_alone() {
    assert_eq!(kind(HEX64), "bare-identifier");
    for input in [
        format!("{HEX64}:1"),
        format!("docker.io/{HEX64}"),
        format!("library/{HEX64}"),
        HEX64[1..].to_owned(),
        format!("{HEX64}a"),
    ] {
        parse(&input);
    }
    assert_eq!(kind(&HEX64.to_uppercase()), "uppercase-repository");
}

#[test]
fn r2_an_ipv6_host_is_in_brackets() {
    assert_eq!(parse("[fd00::1]/x").registry().as_str(), "[fd00::1]");
    assert_eq!(kind("fd00::1/x"), "invalid-host");
    assert_eq!(kind("[fd00::1/x"), "invalid-host");
}

#[test]
fn r3_a_tag_beside_a_digest_is_kept() {
    let text = format!("quay.io/a/b:1.2@sha256:{F64}");
    let reference = parse(&text);
    assert_eq!(reference.tag(), Some("1.2"));
    assert_eq!(reference.digest(), text.split_once('@').map(|(_, digest)| digest));
    assert_eq!(reference.to_string(), text);
}

#[test]
fn r5_no_tag_is_added() {
    assert_eq!(parse("nginx").tag(), None);
    assert_eq!(parse("nginx").to_string(), "docker.io/library/nginx");
}

#[test]
fn r6_docker_hub_is_dialled_under_its_other_name() {
    for input in ["nginx", "docker.io/a/b", "index.docker.io/nginx"] {
        assert_eq!(parse(input).registry().dialled_host(), "registry-1.docker.io", "{input}");
    }
    assert_eq!(parse("quay.io/a").registry().dialled_host(), "quay.io");
}

#[test]
fn m2_the_case_of_a_host_is_no_way_around_a_rule() {
    for (input, registry) in [
        ("QUAY.IO/a", "quay.io"),
        ("Docker.IO/nginx", "docker.io"),
        ("Index.Docker.io/library/nginx", "docker.io"),
        ("[FD00::A]:5000/x", "[fd00::a]:5000"),
    ] {
        let reference = parse(input);
        assert_eq!(reference.registry(), Registry::parse(registry).unwrap(), "{input}");
        assert_eq!(reference.to_string(), input, "printed in the author's letters");
    }
}

#[test]
fn trap_2_hosts_without_a_dot_and_the_names_of_docker_hub() {
    for (input, host, repository) in [
        ("localhost:5000/x", "localhost:5000", "x"),
        ("host:5000/x", "host:5000", "x"),
        ("[fd00::1]:5000/x", "[fd00::1]:5000", "x"),
        ("docker.io/nginx", "docker.io", "library/nginx"),
        ("index.docker.io/nginx", "docker.io", "library/nginx"),
        ("index.docker.io/a/nginx", "docker.io", "a/nginx"),
    ] {
        let reference = parse(input);
        assert_eq!((reference.host(), reference.repository().as_ref()), (host, repository), "{input}");
    }
}

#[test]
fn trap_3_an_upper_case_first_component_is_a_host_and_not_docker_hub() {
    let reference = parse("Foo/bar");
    assert_eq!((reference.host(), reference.registry().as_str()), ("Foo", "foo"));
    assert_ne!(reference, parse("foo/bar"));
}

#[test]
fn trap_5_neither_tag_nor_digest_is_dropped() {
    for suffix in [String::new(), ":1".to_owned(), format!("@sha256:{F64}"), format!(":1@sha256:{F64}")] {
        for name in ["docker.io/library/nginx", "quay.io/a/b", "[::1]:1/x"] {
            assert_eq!(parse(&format!("{name}{suffix}")).to_string(), format!("{name}{suffix}"));
        }
    }
}

#[test]
fn each_refusal_names_the_part_at_fault_on_one_short_line() {
    let long = "x".repeat(100_000);
    for (input, named) in [
        ("", "empty"),
        ("-bad", "`-`"),
        ("a b", "blank"),
        ("a\u{202e}b", r"\u{202e}"),
        ("https://quay.io/x", "scheme"),
        ("foo_bar.com/x", "`_`"),
        ("a.b:http/x", "port"),
        ("a.b/c..d/e", "`c..d`"),
        ("a.b//c", "`/` too many"),
        ("Nginx", "`Nginx`"),
        ("a.b/x:t~t", "`t~t`"),
        ("x@md5:ffff", "`md5`"),
        ("x@sha256:ffff", "64"),
        (HEX64, "@sha256:"),
        (&format!("a.b/{long}"), "255"),
        (&format!("a.b/x:{long}"), "128"),
        (&format!("a.b/X{long}"), "upper-case"),
        (&format!("a.b/x@{long}"), "algorithm"),
        (&"\n".repeat(5000), r"\u{a}"),
    ] {
        let message = Reference::parse(input).unwrap_err().to_string();
        assert!(message.contains(named), "{message}");
        assert!(message.chars().count() < 1500 && !message.contains(['\n', '\u{202e}']), "{message}");
    }
}

#[test]
fn every_kind_has_a_word_of_its_own() {
    use ParseErrorKind as Kind;
    let kinds = [
        Kind::Empty,
        Kind::InvalidFormat,
        Kind::InvalidHost,
        Kind::InvalidRepository,
        Kind::UppercaseRepository,
        Kind::NameTooLong,
        Kind::BareIdentifier,
        Kind::InvalidTag,
        Kind::InvalidDigest,
        Kind::UnsupportedDigest,
    ];
    assert_eq!(kinds.iter().map(|kind| kind.as_str()).collect::<HashSet<_>>().len(), kinds.len());
}

// ---- properties

/// Images of the grammar's parts, right and wrong ones.
fn image() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec![
        "",
        "docker.io/",
        "index.docker.io/",
        "Index.docker.io/",
        "quay.io/",
        "QUAY.io/",
        "localhost/",
        "localhost:5000/",
        "host:1/",
        "[fd00::1]:5000/",
        "[::1]/",
        "Foo/",
        "foo_bar.com/",
        "a..b/",
        "a.b:x/",
        "library/",
    ]);
    let path = "[a-z0-9]{1,3}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}(/[a-zA0-9._-]{1,4}){0,2}";
    let tag = "(:[A-Za-z0-9_][A-Za-z0-9._-]{0,5})?|:[.~]";
    let digest =
        "(@sha256:[0-9a-f]{64})?|@sha256:[0-9A-F]{64}|@sha384:[0-9a-f]{96}|@sha512:[0-9a-f]{128}|@md5:[0-9a-f]{32}";
    (host, path, tag, digest).prop_map(|(host, path, tag, digest)| format!("{host}{path}{tag}{digest}"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn r4_what_is_displayed_is_read_back_as_the_same(input in image()) {
        if let Ok(reference) = Reference::parse(&input) {
            let full = reference.to_string();
            prop_assert_eq!(Reference::parse(&full), Ok(reference));
            prop_assert_eq!(Registry::parse(reference.registry().as_str()).map_or(true, |it| it == reference.registry()), true);
            let parts = format!(
                "{}/{}{}{}",
                reference.host(),
                reference.repository(),
                reference.tag().map(|tag| format!(":{tag}")).unwrap_or_default(),
                reference.digest().map(|digest| format!("@{digest}")).unwrap_or_default(),
            );
            prop_assert_eq!(full, parts);
        }
    }

    #[test]
    fn arbitrary_text_is_answered_without_panic(input in any::<String>()) {
        if let Err(error) = Reference::parse(&input) {
            prop_assert!(!error.to_string().contains(|c: char| c.is_control()));
        }
        let _ = Registry::parse(&input);
    }

    #[test]
    fn mutated_images_are_answered_without_panic(
        input in image(), at in any::<prop::sample::Index>(), with in "[\\PC\\pC]{0,2}"
    ) {
        let chars: Vec<char> = input.chars().collect();
        let at = at.index(chars.len());
        let mutated: String = chars[..at].iter().copied().chain(with.chars()).chain(chars[at + 1..].iter().copied()).collect();
        if let Ok(reference) = Reference::parse(&mutated) {
            let full = reference.to_string();
            prop_assert_eq!(Reference::parse(&full), Ok(reference));
        }
    }
}
