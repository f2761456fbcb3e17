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
         because    mirror harbor lists docker.io\n  pull with  harbor-pull (as a secret in team-a)\n"
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
    assert!(said.ends_with("\n  pull with  every secret in team-a that covers it, by `discover: true`\n"), "{said}");
}
