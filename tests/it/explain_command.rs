//! `mirrorgate explain`, the real binary.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::review_command::{entries, fixture, stdout, text_of};

fn explain(policy: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mirrorgate"));
    command.args(["explain", "--policy", &fixture(policy)]).args(arguments).output().unwrap()
}

#[test]
fn s1_the_pull_secrets_are_those_of_the_registry_that_is_pulled_from() {
    let images = ["nginx", "harbor.corp:5000/x", "ghcr.io/org/tool", "auto", "harbor.corp:5000/mesh/x", "-bad"];
    let names = |arguments: &[&str]| -> Vec<Value> {
        let output = explain("pull-secrets-policy.yaml", &[&["-o", "json"], arguments, &["--"], &images].concat());
        entries(&output, 1).iter().map(|it| it["pull_secrets"].clone()).collect()
    };
    let (harbor, none) = (json!(["harbor-pull"]), json!([]));
    let ghcr = json!(["ghcr-team-a"]);
    assert_eq!(names(&[]), [&harbor, &harbor, &none, &none, &none, &Value::Null].map(Clone::clone));
    assert_eq!(names(&["--namespace", "team-a"])[2], ghcr);
    let without: Vec<Value> = entries(
        &Command::new(env!("CARGO_BIN_EXE_mirrorgate")).args(["explain", "-o", "json", "nginx"]).output().unwrap(),
        0,
    );
    assert_eq!(without[0].get("pull_secrets"), None, "without a policy there is nothing to say");
}

#[test]
fn the_text_says_which_secrets_and_where() {
    let said = stdout(&explain("pull-secrets-policy.yaml", &["nginx", "-n", "team-a"]), 0);
    assert_eq!(
        said,
        "nginx\n  is         docker.io/library/nginx\n  becomes    harbor.corp:5000/proxy/library/nginx\n  \
         because    mirror harbor lists docker.io\n  pull with  harbor-pull (as a secret in team-a)\n  \
         trust      checked: harbor.corp:5000 is the mirror harbor\n"
    );
    let long = format!("team-{}", "x".repeat(250));
    let output = explain("pull-secrets-policy.yaml", &["ghcr.io/x", "-n", &long]);
    let said = stdout(&output, 0);
    assert!(said.contains("\n  pull with  nothing: the policy's pull secret "), "{said}");
    let output = explain("pull-secrets-policy.yaml", &["ghcr.io/x", "-n", &long, "-o", "json"]);
    assert_eq!(entries(&output, 0)[0]["pull_secrets"], json!([]));
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    let text = text_of("pull-secrets-policy.yaml").replace("name: ghcr-{namespace}", "discover: true");
    std::fs::write(&policy, text).unwrap();
    let said = stdout(&explain(&policy.display().to_string(), &["ghcr.io/x", "-n", "team-a"]), 0);
    assert!(said.contains("\n  pull with  every secret in team-a that covers it, by `discover: true`\n"), "{said}");
}

#[test]
fn t1_it_says_whether_and_why_the_registry_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    let text = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\nregistryMirrors:\n\
                - {name: harbor, endpoint: 'https://harbor.corp:5000', hosts: [docker.io]}\n\
                - {name: plain, endpoint: 'http://plain.lab:80', plainHTTP: true, hosts: [quay.io]}\n\
                - {name: deep, endpoint: 'https://harbor.corp:5000', hosts: [xyz.io], pathTemplate: 'a/{repository}'}\n\
                trust: {registries: [ghcr.io, '*.corp']}\nignore: {images: [auto, 'ghcr.io/mesh/*']}\n";
    let cases = [
        ("nginx", true, "checked: harbor.corp:5000 is the mirror harbor"),
        ("harbor.corp:5000/x", true, "checked: harbor.corp:5000 is the mirror harbor"),
        ("quay.io/x", false, "not checked: plain.lab:80 is the mirror plain, by plain HTTP: it has no certificate"),
        ("GHCR.io/x", true, "checked: ghcr.io is listed as ghcr.io in `trust.registries`"),
        ("a.corp/x", true, "checked: a.corp is listed as *.corp in `trust.registries`"),
        ("gcr.io/x", false, "not checked: gcr.io is no mirror, and `trust.registries` does not list it"),
        ("auto", false, ""),
        ("ghcr.io/mesh/x", false, ""),
    ];
    std::fs::write(&policy, text).unwrap();
    let policy = policy.display().to_string();
    for (image, is_checked, why) in cases {
        let json = entries(&explain(&policy, &["-o", "json", image]), 0);
        assert_eq!(json[0]["trust_checked"], is_checked, "{image}");
        let said = stdout(&explain(&policy, &[image]), 0);
        let line = said.lines().find_map(|line| line.strip_prefix("  trust      ")).unwrap_or_default();
        assert_eq!(line, why, "{image}");
    }
    let any = text
        .replace("[ghcr.io, '*.corp']", "['*']")
        .replace("http://plain.lab:80', plainHTTP: true", "https://plain.lab:80'");
    std::fs::write(&policy, any).unwrap();
    let said = stdout(&explain(&policy, &["gcr.io/x"]), 0);
    assert!(
        said.ends_with("  trust      checked: gcr.io is like every registry under `*` in `trust.registries`\n"),
        "{said}"
    );
}
