//! Pull secrets (S3) against the public tables of the kubelet's `pkg/credentialprovider` (Kubernetes 1.36): each of its
//! tests is one of ours, under its name. `tests/oracle` holds the two against each other on generated input.

use std::fmt::Write as _;

use mirrorgate::keyring::{Coverage, DOCKER_CFG, DOCKER_CONFIG_JSON, Malformed, PullSecret};
use proptest::prelude::*;

/// `foo:bar`.
const AUTH: &str = "Zm9vOmJhcg==";

fn read(secret_type: &str, key: &str, data: impl AsRef<[u8]>) -> PullSecret {
    PullSecret::read(secret_type, |asked| (asked == key).then_some(data.as_ref()))
}

fn read_json(data: impl AsRef<[u8]>) -> PullSecret {
    read(DOCKER_CONFIG_JSON, ".dockerconfigjson", data)
}

fn read_cfg(data: impl AsRef<[u8]>) -> PullSecret {
    read(DOCKER_CFG, ".dockercfg", data)
}

#[track_caller]
fn covered(secret: PullSecret) -> Coverage {
    match secret {
        PullSecret::DockerConfig(coverage) => coverage,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn malformed(secret: PullSecret) -> Malformed {
    match secret {
        PullSecret::Malformed(malformed) => malformed,
        other => panic!("{other:?}"),
    }
}

/// What a `.dockercfg` with these keys covers.
fn coverage(keys: &[&str]) -> Coverage {
    let entries: Vec<String> = keys.iter().map(|key| format!("{}: {{\"auth\": \"{AUTH}\"}}", json(key))).collect();
    covered(read_cfg(format!("{{{}}}", entries.join(", "))))
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

// ---- keyring_test.go

#[test]
fn s3_kubelet_table_urls_match() {
    for (key, name, matches) in [
        // match when there is no path component
        ("*.kubernetes.io", "prefix.kubernetes.io", true),
        ("prefix.*.io", "prefix.kubernetes.io", true),
        ("prefix.kubernetes.*", "prefix.kubernetes.io", true),
        ("*-good.kubernetes.io", "prefix-good.kubernetes.io", true),
        // match with path components
        ("*.kubernetes.io/blah", "prefix.kubernetes.io/blah", true),
        ("prefix.*.io/foo", "prefix.kubernetes.io/foo/bar", true),
        // match with path components and ports
        ("*.kubernetes.io:1111/blah", "prefix.kubernetes.io:1111/blah", true),
        ("prefix.*.io:1111/foo", "prefix.kubernetes.io:1111/foo/bar", true),
        // no match when number of parts mismatch
        ("*.kubernetes.io", "kubernetes.io", false),
        ("*.*.kubernetes.io", "prefix.kubernetes.io", false),
        ("*.*.kubernetes.io", "kubernetes.io", false),
        ("*kubernetes.io", "a.kubernetes.io", false),
        // match when number of parts match
        ("*kubernetes.io", "kubernetes.io", true),
        ("*.*.*.kubernetes.io", "a.b.c.kubernetes.io", true),
        // no match when some parts mismatch
        ("kubernetes.io", "kubernetes.com", false),
        ("k*.io", "quay.io", false),
        // no match when ports mismatch
        ("*.kubernetes.io:1234/blah", "prefix.kubernetes.io:1111/blah", false),
        ("prefix.*.io/foo", "prefix.kubernetes.io:1111/foo/bar", false),
    ] {
        assert_eq!(coverage(&[key]).covers(name), matches, "{key} {name}");
    }
}

#[test]
fn s3_kubelet_table_docker_keyring_for_glob() {
    for (key, name) in [
        ("https://hello.kubernetes.io", "hello.kubernetes.io"),
        ("https://*.docker.io", "prefix.docker.io"),
        ("https://prefix.*.io", "prefix.docker.io"),
        ("https://prefix.docker.*", "prefix.docker.io"),
        ("https://*.docker.io/path", "prefix.docker.io/path"),
        ("https://prefix.*.io/path", "prefix.docker.io/path/subpath"),
        ("https://prefix.docker.*/path", "prefix.docker.io/path"),
        ("https://*.docker.io:8888", "prefix.docker.io:8888"),
        ("https://prefix.*.io:8888", "prefix.docker.io:8888"),
        ("https://prefix.docker.*:8888", "prefix.docker.io:8888"),
        ("https://*.docker.io/path:1111", "prefix.docker.io/path:1111"),
        ("https://*.docker.io/v1/", "prefix.docker.io/path:1111"),
        ("https://*.docker.io/v2/", "prefix.docker.io/path:1111"),
        ("https://prefix.docker.*/path:1111", "prefix.docker.io/path:1111"),
        ("prefix.docker.io:1111", "prefix.docker.io:1111/path"),
        ("*.docker.io:1111", "prefix.docker.io:1111/path"),
    ] {
        assert!(coverage(&[key]).covers(&format!("{name}/foo/bar")), "{key} {name}");
    }
}

#[test]
fn s3_kubelet_table_keyring_miss() {
    for (key, name) in [
        ("https://hello.kubernetes.io", "world.mesos.org/foo/bar"),
        ("https://*.docker.com", "prefix.docker.io"),
        ("https://suffix.*.io", "prefix.docker.io"),
        ("https://prefix.docker.c*", "prefix.docker.io"),
        ("https://prefix.*.io/path:1111", "prefix.docker.io/path/subpath:1111"),
        ("suffix.*.io", "prefix.docker.io"),
    ] {
        assert!(!coverage(&[key]).covers(&format!("{name}/foo/bar")), "{key} {name}");
    }
}

#[test]
fn s3_kubelet_table_keyring_with_docker_hub_credentials() {
    let docker_hub = coverage(&["https://index.docker.io/v1/"]);
    // TestKeyringMissWithDockerHubCredentials
    assert!(!docker_hub.covers("world.mesos.org/foo/bar"));
    // TestKeyringHitWithUnqualifiedDockerHub, TestKeyringHitWithUnqualifiedLibraryDockerHub
    assert!(docker_hub.covers("google/docker-registry"));
    assert!(docker_hub.covers("jenkins"));
    // TestKeyringHitWithQualifiedDockerHub
    assert!(docker_hub.covers("index.docker.io/v1//google/docker-registry"));
    // TestIsDefaultRegistryMatch
    for (name, is_docker_hub) in [
        ("foo/bar", true),
        ("docker.io/foo/bar", true),
        ("index.docker.io/foo/bar", true),
        ("foo", true),
        ("", false),
        ("registry.tld/foo/bar", false),
        ("registry:5000/foo/bar", false),
        ("myhostdocker.io/foo/bar", false),
    ] {
        assert_eq!(docker_hub.covers(name), is_docker_hub, "{name}");
    }
}

#[test]
fn s3_kubelet_table_docker_keyring_lookup() {
    let both = coverage(&["bar.example.com", "bar.example.com/pong"]);
    assert_eq!(both.keys().collect::<Vec<_>>(), ["bar.example.com/pong", "bar.example.com"]);
    let deep = coverage(&["bar.example.com/pong"]);
    for (name, by_any, by_deep) in [
        ("bar.example.com", true, false),
        ("bar.example.com/pong", true, true),
        ("bar.example.com/ping", true, false),
        // match first part of path token
        ("bar.example.com/pongz", true, true),
        ("bar.example.com/pong/pang", true, true),
        ("example.com", false, false),
        ("foo.example.com", false, false),
    ] {
        assert_eq!((both.covers(name), deep.covers(name)), (by_any, by_deep), "{name}");
    }
}

#[test]
fn s3_kubelet_table_issue_3797() {
    let quay = coverage(&["https://quay.io/v1/"]);
    for name in ["quay.io", "quay.io/foo", "quay.io/foo/bar"] {
        assert!(quay.covers(name), "{name}");
    }
}

// ---- config_test.go

#[test]
fn s3_kubelet_table_read_docker_config_file() {
    for (config, keys) in [
        (
            r#"{ "auths": { "http://foo.example.com":{"auth":"Zm9vOmJhcgo=","email":"foo@example.com"}}}"#,
            "foo.example.com",
        ),
        (
            r#"{"auths": {"http://foo.example.com":{"username": "foo", "password": "bar", "email": "foo@example.com"}, "http://bar.example.com":{"username": "bar", "password": "baz", "email": "bar@example.com"}}}"#,
            "foo.example.com bar.example.com",
        ),
    ] {
        assert_eq!(covered(read_json(config)).keys().collect::<Vec<_>>().join(" "), keys, "{config}");
    }
    let config = r#"{"http://foo.example.com":{"username": "foo", "password": "bar", "email": "foo@example.com"}, "http://bar.example.com":{"username": "bar", "password": "baz", "email": "bar@example.com"}}"#;
    assert_eq!(covered(read_cfg(config)).keys().collect::<Vec<_>>(), ["foo.example.com", "bar.example.com"]);
    let cut =
        r#"{"auths": {"http://foo.example.com":{"username": "foo", "password": "bar", "email": "foo@example.com"}"#;
    assert_eq!(malformed(read_json(cut)).to_string(), "`.dockerconfigjson` is not JSON (line 1, column 102)");
    let cut = r#"{"http://foo.example.com":{"username": "foo", "password": "bar", "email": "foo@example.com""#;
    assert_eq!(malformed(read_cfg(cut)).to_string(), "`.dockercfg` is not JSON (line 1, column 91)");
}

#[test]
fn s3_kubelet_table_docker_config_entry_json_decode() {
    for (entry, fault) in [
        (r#"{"username": "foo", "password": "bar", "email": "foo@example.com"}"#, None),
        (r#"{"auth": "Zm9vOmJhcg==", "email": "foo@example.com"}"#, None),
        (r#"{"username": "foo", "password": "bar", "auth": "cGluZzpwb25n", "email": "foo@example.com"}"#, None),
        (
            r#"{"auth": "pants", "email": "foo@example.com"}"#,
            Some("`auth` in entry 1 of `.dockercfg` is not the base64 of `user:password`"),
        ),
        (r#"{"email": false}"#, Some("`email` in entry 1 of `.dockercfg` is not a string")),
    ] {
        let read = read_cfg(format!(r#"{{"a.example": {entry}}}"#));
        match fault {
            None => assert!(covered(read).covers("a.example/x"), "{entry}"),
            Some(fault) => assert_eq!(malformed(read).to_string(), fault, "{entry}"),
        }
    }
}

#[test]
fn s3_kubelet_table_decode_docker_config_field_auth() {
    for (auth, is_read) in [
        ("Zm9vOmJhcg==", true),
        // not well padded
        ("Zm9vOmJhcg", true),
        // with new line characters
        ("Zm9vOm\nJhcg==\n", true),
        // no colon
        ("cGFudHM=", false),
        // only new line characters are ignored
        ("Zm9vOmJhcg== ", false),
        ("pants", false),
        // And of ours: bits left over, too little and too much padding, padding in the middle, the other alphabet.
        ("Zm9vOmJhch==", true),
        ("Zm9vOmJhcg=", false),
        ("Zm9vOmJhcg===", false),
        ("Zm9vOmJh=", false),
        ("Zm9vOmJhcg==Zm9v", false),
        ("Zm9=vOmJhcg", false),
        ("Og", true),
        ("Og=\r\n=\n", true),
        ("O", false),
        ("=", false),
        ("\n", false),
        ("Pz86__8", false),
        ("Pz86//8", true),
    ] {
        let read = read_json(format!(r#"{{"auths": {{"a.example": {{"auth": {}}}}}}}"#, json(auth)));
        assert_eq!(matches!(read, PullSecret::DockerConfig(_)), is_read, "{auth:?}");
    }
}

// ---- secrets_test.go

#[test]
fn s3_kubelet_table_make_docker_keyring() {
    let with_auth = r#"{"test.registry.io": {"auth": "dXNlcjpwYXNzd29yZA=="}}"#;
    let with_password = r#"{"test.registry.io": {"username": "user", "password": "password"}}"#;
    for cfg in [with_auth, with_password] {
        let config_json = format!(r#"{{"auths": {cfg}}}"#);
        assert!(covered(read_json(&config_json)).covers("test.registry.io"));
        assert!(covered(read_cfg(cfg)).covers("test.registry.io"));
        // The key of the other type.
        let wrong = malformed(read(DOCKER_CFG, ".dockerconfigjson", config_json));
        assert_eq!(wrong.to_string(), "has no key `.dockercfg`");
        let wrong = malformed(read(DOCKER_CONFIG_JSON, ".dockercfg", cfg));
        assert_eq!(wrong.to_string(), "has no key `.dockerconfigjson`");
        assert!(!wrong.stops_every_pull());
    }
    assert!(
        !covered(read_json(r#"{"auths": {"foobar.io": {"auth": "dXNlcjpwYXNzd29yZA=="}}}"#)).covers("test.registry.io")
    );
    assert!(!covered(read_cfg(r#"{"foobar.io": {"auth": "dXNlcjpwYXNzd29yZA=="}}"#)).covers("test.registry.io"));
}

// ---- what those tables leave open

#[test]
fn s3_keys_are_read_as_urls() {
    for (key, normal) in [
        ("harbor.corp", "harbor.corp"),
        ("https://harbor.corp/", "harbor.corp"),
        ("http://harbor.corp:80/v2/", "harbor.corp:80"),
        ("harbor.corp/v2", "harbor.corp/v2"),
        ("harbor.corp/v2/team", "harbor.corp/team"),
        ("harbor.corp//", "harbor.corp//"),
        ("harbor.corp/v1//v2/", "harbor.corp//v2/"),
        ("HTTPS://harbor.corp", "HTTPS://harbor.corp"),
        ("Harbor.Corp/Team", "Harbor.Corp/Team"),
        ("https://user:pass@harbor.corp/team?token=x#y", "harbor.corp/team"),
        ("harbor.corp/te%61m", "harbor.corp/team"),
        ("h%C3%A4fen.corp", "häfen.corp"),
        ("[fd00::1]:5000/x", "[fd00::1]:5000/x"),
        ("harbor.corp:", "harbor.corp:"),
        ("", ""),
    ] {
        assert_eq!(coverage(&[key]).keys().collect::<Vec<_>>(), [normal], "{key}");
    }
    for key in [
        "har bor.corp",
        "harbor.corp:x",
        "harbor.corp:1:2",
        "harbor.corp/%zz",
        "harbor%41.corp",
        "harbor.corp/\t",
        "harbor.corp#%",
        "us er@harbor.corp",
        "us%@harbor.corp",
        "[fd00::1",
        "[fd00::g]",
        "[10.0.0.1]",
        "a[b].corp",
        "harbor\\.corp",
    ] {
        assert_eq!(coverage(&[key]).keys().len(), 0, "{key}");
    }
}

#[test]
fn s3_hosts_ports_and_paths_near_misses() {
    for (key, name, covers) in [
        ("harbor.corp", "harbor.corp:443/x", false),
        ("harbor.corp:443", "harbor.corp/x", false),
        ("harbor.corp:", "harbor.corp/x", true),
        ("harbor.corp:0443", "harbor.corp:443/x", false),
        ("harbor.corp", "harbor.corp.evil.example/x", false),
        ("harbor.corp", "Harbor.corp/x", false),
        ("harbor.corp/team", "harbor.corp/teams/x", true),
        ("harbor.corp/team/", "harbor.corp/team", false),
        ("harbor.corp/team*", "harbor.corp/team1/x", false),
        ("*", "localhost/x", true),
        ("*", "harbor.corp/x", false),
        ("*.corp:5000", "harbor.corp:5000/x", true),
        ("*.corp:*", "harbor.corp:5000/x", false),
        ("[fd00::1]:5000", "[fd00::1]:5000/x", true),
        ("[fd00::1]:5000", "[fd00::2]:5000/x", false),
        // Without a port the brackets stay, and are a class of characters: nobody's credentials.
        ("[fd00::1]", "[fd00::1]/x", false),
        ("[FD00::1]", "F/x", true),
        ("docker.io", "docker.io/library/nginx", true),
        ("https://index.docker.io/v1/", "docker.io/library/nginx", true),
        ("https://index.docker.io/v1", "docker.io/library/nginx", false),
        ("https://registry-1.docker.io/v2/", "docker.io/library/nginx", false),
        ("index.docker.io:443", "docker.io/library/nginx", false),
        ("index.docker.io", "localhost/x", true),
        ("index.docker.io", "localhost:5000/x", false),
        ("*.docker.io", "docker.io/library/nginx", false),
        // What an escape hides in a key is read again when it is matched.
        ("harbor.corp/a%2562", "harbor.corp/ab", true),
        ("harbor.corp/a%3Fb", "harbor.corp/a", true),
        ("harbor.corp/%25zz", "harbor.corp/%25zz", false),
        ("harbor.corp/%ff", "harbor.corp/x", false),
    ] {
        assert_eq!(coverage(&[key]).covers(name), covers, "{key} {name}");
    }
}

#[test]
fn s3_fields_are_found_as_go_finds_them() {
    for (config, keys) in [
        ("null", ""),
        ("{}", ""),
        (" \t\r\n{}\n ", ""),
        (r#"{"auths": null}"#, ""),
        (r#"{"auths": {}, "credsStore": [1e999, {"deep": [[]]}]}"#, ""),
        (r#"{"AUTHS": {"a": {}}}"#, "a"),
        (r#"{"auth\u017f": {"a": {}}}"#, "a"),
        (r#"{"authz": {"a": {}}}"#, ""),
        (r#"{"auths": {"a": {}}, "Auths": {"b": null}}"#, "b a"),
        (r#"{"auths": {"a": {}}, "Auths": null}"#, ""),
        (r#"{"auths": {"a": {}, "a": {}, "https://a/v1/": {}}}"#, "a"),
        (r#"{"auths": {"\u0061": {}}}"#, "a"),
        (r#"{"auths": {"a": {"identitytoken": 5, "Auth": "", "auth": null, "email": null}}}"#, "a"),
        (r#"{"auths": {"a": {"auth": "pants", "AUTH": ""}}}"#, "a"),
        (r#"{"auths": {"a": {}}, "HttpHeaders": {"User-Agent": "x", "y": null}}"#, "a"),
        (r#"{"auths": {"a": {}}, "httpheaders": null}"#, "a"),
    ] {
        assert_eq!(covered(read_json(config)).keys().collect::<Vec<_>>().join(" "), keys, "{config}");
    }
    assert_eq!(covered(read_json(b"{\"auths\": {\"a/\xff\": {}, \"a\xff\": {}}, \"\xff\": \"\xff\"}")).keys().len(), 2);
    assert_eq!(covered(read_cfg("null")).keys().len(), 0);
    // Here the fields of the other type are keys.
    assert_eq!(covered(read_cfg(r#"{"auths": {"a": {}}}"#)).keys().collect::<Vec<_>>(), ["auths"]);
}

#[test]
fn s3_a_malformed_secret_says_what_is_wrong() {
    for (config, fault) in [
        ("x", "`.dockerconfigjson` is not JSON (line 1, column 1)"),
        ("{\n}{", "`.dockerconfigjson` is not JSON (line 2, column 2)"),
        ("\u{feff}{}", "`.dockerconfigjson` is not JSON (line 1, column 1)"),
        ("{\"a\": \"\t\"}", "`.dockerconfigjson` is not JSON (line 1, column 7)"),
        ("[]", "`.dockerconfigjson` is not a JSON object"),
        ("\"eyJhdXRocyI6e319\"", "`.dockerconfigjson` is not a JSON object"),
        (r#"{"auths": []}"#, "`auths` in `.dockerconfigjson` is not an object"),
        (r#"{"auths": "x"}"#, "`auths` in `.dockerconfigjson` is not an object"),
        (r#"{"auths": {"a": {}, "b": 5}}"#, "entry 2 of `auths` in `.dockerconfigjson` is not an object"),
        (r#"{"auths": {"a": {"auth": 5}}}"#, "`auth` in entry 1 of `auths` in `.dockerconfigjson` is not a string"),
        (
            r#"{"auths": {"a": {"Pa\u017f\u017fword": {}}}}"#,
            "`password` in entry 1 of `auths` in `.dockerconfigjson` is not a string",
        ),
        (
            r#"{"auths": {"a": {"auth": "pants"}, "a": {}}}"#,
            "`auth` in entry 1 of `auths` in `.dockerconfigjson` is not the base64 of `user:password`",
        ),
        (
            r#"{"auths": {"a": {"auth": "pants", "auth": null}}}"#,
            "`auth` in entry 1 of `auths` in `.dockerconfigjson` is not the base64 of `user:password`",
        ),
        (r#"{"HttpHeaders": {"a": 1}}"#, "`HttpHeaders` in `.dockerconfigjson` is not an object of strings"),
        (r#"{"auths": {"a": 5}, "Auths": null}"#, "entry 1 of `auths` in `.dockerconfigjson` is not an object"),
    ] {
        let malformed = malformed(read_json(config));
        assert_eq!(malformed.to_string(), fault, "{config}");
        assert!(malformed.stops_every_pull(), "{config}");
    }
    assert_eq!(malformed(read_cfg(r#"{"a": []}"#)).to_string(), "entry 1 of `.dockercfg` is not an object");
    for (secret, fault) in
        [(read_json(""), "`.dockerconfigjson` is empty"), (read(DOCKER_CFG, "x", "{}"), "has no key `.dockercfg`")]
    {
        let malformed = malformed(secret);
        assert_eq!(malformed.to_string(), fault);
        // The kubelet passes over these two, and only these.
        assert!(!malformed.stops_every_pull());
    }
    assert_eq!(malformed(PullSecret::not_base64(DOCKER_CFG)).to_string(), "`.dockercfg` is not base64");
}

#[test]
fn s3_another_type_is_no_docker_config() {
    let opaque = read("Opaque", ".dockerconfigjson", r#"{"auths": {"a": {}}}"#);
    assert_eq!(opaque, PullSecret::OtherType("Opaque".into()));
    assert_eq!(PullSecret::not_base64("Opaque"), opaque);
    let PullSecret::OtherType(kept) = read(&"é".repeat(100_000), "x", "") else { panic!("another type") };
    assert_eq!(kept.chars().count(), 253);
}

#[test]
fn s3_nesting_is_as_deep_as_go_reads() {
    let nested = |depth: usize| format!("{{\"x\": {}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    covered(read_json(nested(10_000)));
    let too_deep = malformed(read_json(nested(10_001)));
    assert_eq!(too_deep.to_string(), "`.dockerconfigjson` is nested more than 10000 deep");
}

#[test]
fn s3_equal_coverages_are_equal_whatever_else_the_secrets_hold() {
    let one = covered(read_json(r#"{"auths": {"https://a.example/v1/": {"auth": "Zm9vOmJhcg=="}, "b.example": {}}}"#));
    let other = covered(read_cfg(r#"{"b.example": {"password": "x"}, "a.example": {}}"#));
    assert_eq!(one, other);
    assert_ne!(one, coverage(&["a.example"]));
}

/// 1 MiB, 10,000 entries.
#[test]
fn s3_a_large_secret_is_read_and_small_afterwards() {
    let mut config = String::from(r#"{"auths": {"#);
    for index in 0..10_000 {
        let comma = if index == 0 { "" } else { "," };
        write!(
            config,
            r#"{comma}"registry-{index}.example:5000/team": {{"auth": "{}", "email": "a@b"}}"#,
            "Zm86".repeat(8)
        )
        .unwrap();
    }
    config += "}}";
    assert!((900_000..1_048_576).contains(&config.len()), "{}", config.len());
    let large = covered(read_json(&config));
    assert_eq!(large.keys().len(), 10_000);
    assert!(large.covers("registry-9999.example:5000/team/x") && !large.covers("registry-10000.example:5000/team/x"));
    let spaces = " ".repeat(1024 * 1024);
    let larger = malformed(read_json(format!("{{}}{spaces}")));
    assert_eq!(larger.to_string(), "`.dockerconfigjson` is larger than the 1 MiB that a Secret may have");
}

/// No credential shows, wherever it stands and whatever is wrong with the secret.
#[test]
fn s3_nothing_of_a_credential_is_shown() {
    const MARKER: &str = "hunter2marker";
    let marker_auth = "aHVudGVyMm1hcmtlcg"; // the base64 of the marker, without a colon
    let values = [
        json(MARKER),
        json(marker_auth),
        json("aHVudGVyMm1hcmtlcjpodW50ZXIybWFya2Vy"), // marker:marker
        format!("[{}]", json(MARKER)),
        format!("{{{}: 1}}", json(MARKER)),
    ];
    let fields = ["username", "password", "auth", "identitytoken", "registrytoken", "email", "hunter2marker"];
    let mut configs: Vec<String> = Vec::new();
    for value in &values {
        configs.push(value.clone());
        configs.push(format!(r#"{{"a.example": {value}}}"#));
        for field in fields {
            configs.push(format!(r#"{{"a.example": {{"{field}": {value}}}}}"#));
            configs.push(format!(
                r#"{{"https://{MARKER}:{MARKER}@a.example/?{MARKER}#{MARKER}": {{"{field}": {value}}}}}"#
            ));
            configs.push(format!(r#"{{"https://{MARKER}:{MARKER} @a.example/": {{"{field}": {value}"#));
        }
    }
    let mut kinds = [0; 2];
    for config in configs {
        let wrapped = [format!(r#"{{"auths": {config}}}"#), format!(r#"{{"HttpHeaders": {config}}}"#)];
        let secrets = [read_cfg(&config), read_json(&config)].into_iter().chain(wrapped.iter().map(read_json));
        for secret in secrets {
            let mut shown = format!("{secret:?} {secret:#?}");
            match &secret {
                PullSecret::Malformed(malformed) => {
                    kinds[0] += 1;
                    write!(shown, "{malformed} {malformed:?} {:?}", std::error::Error::source(malformed)).unwrap();
                }
                PullSecret::DockerConfig(coverage) => {
                    kinds[1] += 1;
                    write!(shown, "{coverage:?} {:?}", coverage.keys().collect::<Vec<_>>()).unwrap();
                }
                PullSecret::OtherType(_) => panic!("both are docker configs"),
            }
            // In a `.dockercfg` every name is a key.
            let shown = shown.replace(&format!("[\"{MARKER}\"]"), "");
            for part in ["hunter2", "marker", "aHVudGVyMm", marker_auth] {
                assert!(!shown.contains(part), "{part} of {config} in {shown}");
            }
        }
    }
    assert!(kinds.iter().all(|&count| count > 50), "{kinds:?}");
}

proptest! {
    #[test]
    fn s3_no_bytes_panic(data: Vec<u8>, name: String, secret_type in prop::sample::select(vec![DOCKER_CFG, DOCKER_CONFIG_JSON])) {
        let secret = PullSecret::read(secret_type, |_| Some(&data));
        if let PullSecret::DockerConfig(coverage) = &secret {
            coverage.covers(&name);
        }
        let _ = format!("{secret:?}");
    }

    #[test]
    fn s3_no_keys_panic(keys in prop::collection::vec("(https?://)?[a-c.*?\\[\\]%0-9:@é\\\\/^#-]{0,24}", 0..4), name in "[a-c.:\\[\\]%0-9@é/-]{0,24}") {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let coverage = coverage(&keys);
        coverage.covers(&name);
        // Whatever one key covers, it covers beside others.
        prop_assert_eq!(keys.iter().any(|key| self::coverage(&[key]).covers(&name)), coverage.covers(&name));
        for key in coverage.keys() {
            prop_assert!(keys.iter().any(|written| self::coverage(&[written]).keys().any(|normal| normal == key)));
        }
    }

    #[test]
    fn s3_broken_configs_do_not_panic(at in 0_usize..150, with: u8, remove: bool, name in "[a-z.]{0,9}/x") {
        let mut config = format!(r#"{{"auths": {{"https://a.example:5000/v2/": {{"auth": "{AUTH}", "email": null}}, "*.b.example/x": {{}}}}, "HttpHeaders": {{"a": "b"}}}}"#).into_bytes();
        let at = at % config.len();
        if remove { config.remove(at); } else { config[at] = with; }
        if let PullSecret::DockerConfig(coverage) = read_json(config) {
            coverage.covers(&name);
        }
    }
}
