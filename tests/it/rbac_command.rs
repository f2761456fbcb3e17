//! `mirrorgate rbac`: the least access that a policy needs (S5), and that the manifests carry it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mirrorgate::yaml::{Limits, parse_documents};
use serde_json::{Value, json};

fn rbac(policy: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mirrorgate"));
    command.args(["rbac", "--policy"]).arg(policy).args(arguments).output().unwrap()
}

#[track_caller]
fn printed(policy: &Path, arguments: &[&str]) -> String {
    let output = rbac(policy, arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

/// A policy with these lines behind its head.
fn policy(folder: &tempfile::TempDir, lines: &str) -> PathBuf {
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, format!("apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n{lines}")).unwrap();
    path
}

const NAMED: &str = "registryMirrors:
- name: m
  endpoint: https://m.corp
  hosts: [quay.io]
  pullSecrets: [zebra, '123']
pullSecrets:
- {name: apple, registries: [a.corp]}
- {name: zebra, registries: [z.corp], namespaces: [team-*]}
";
const BUNDLES: &str = "registryMirrors:
- name: m
  endpoint: https://m.corp
  hosts: [quay.io]
  caBundle:
    secret: {namespace: registry, name: '123', key: ca.crt}
trust:
  caBundles:
  - configMap: {namespace: kube-system, name: image-fetcher-ca-bundle, key: ca-bundle}
  - configMap: {namespace: registry, name: extra, key: a.crt}
  - configMap: {namespace: registry, name: extra, key: b.crt}
  - file: /etc/ssl/ca.crt
";
const ALL: &str = "pullSecrets:
- discover: true
- {name: 'pull-{namespace}', registries: [a.corp]}
";

#[test]
fn s5_named_secrets_are_these_names_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let list: Value = serde_json::from_str(&printed(&policy(&folder, NAMED), &["-o", "json"])).unwrap();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("List"), &json!("v1")));
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{list:#}");
    let rule = json!({
        "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["123", "apple", "zebra"], "verbs": ["list", "watch"],
    });
    assert_eq!((&items[0]["kind"], &items[0]["rules"]), (&json!("ClusterRole"), &json!([rule])));
    assert_eq!(items[1]["roleRef"]["name"], items[0]["metadata"]["name"]);
    let subject = json!({"kind": "ServiceAccount", "name": "mirrorgate", "namespace": "mirrorgate-system"});
    assert_eq!((&items[1]["kind"], &items[1]["subjects"]), (&json!("ClusterRoleBinding"), &json!([subject])));
}

#[test]
fn s5_all_secrets_are_asked_for_only_where_names_are_not_known_and_it_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = policy(&folder, ALL);
    let list: Value = serde_json::from_str(&printed(&path, &["-o", "json"])).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 2, "{list:#}");
    assert_eq!(list["items"][0]["rules"][0].get("resourceNames"), None);
    let text = printed(&path, &[]);
    assert!(text.starts_with("# All Secrets of all namespaces, since the policy has `discover: true`"), "{text}");
}

/// What is named in one namespace gives no access in another; what is in files needs none.
#[test]
fn s5_ca_bundles_are_these_objects_in_their_namespaces_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = policy(&folder, BUNDLES);
    let list: Value = serde_json::from_str(&printed(&path, &["-o", "json"])).unwrap();
    let items = list["items"].as_array().unwrap();
    let shown: Vec<_> = items
        .iter()
        .map(|item| (item["kind"].as_str().unwrap(), item["metadata"]["namespace"].as_str().unwrap(), &item["rules"]))
        .collect();
    let rule = |resource: &str, name: &str| json!({"apiGroups": [""], "resources": [resource], "resourceNames": [name], "verbs": ["list", "watch"]});
    let kube_system = json!([rule("configmaps", "image-fetcher-ca-bundle")]);
    let registry = json!([rule("configmaps", "extra"), rule("secrets", "123")]);
    assert_eq!(
        shown,
        [
            ("Role", "kube-system", &kube_system),
            ("RoleBinding", "kube-system", &Value::Null),
            ("Role", "registry", &registry),
            ("RoleBinding", "registry", &Value::Null),
        ]
    );
    let subject = json!({"kind": "ServiceAccount", "name": "mirrorgate", "namespace": "mirrorgate-system"});
    assert_eq!((&items[3]["subjects"], &items[3]["roleRef"]["kind"]), (&json!([subject]), &json!("Role")));
    let text = printed(&path, &[]);
    assert!(text.contains(" but in kube-system, registry, each by `kubectl -n NAMESPACE delete "), "{text}");
}

/// Both forms are the same objects; names that YAML would read as something else are quoted.
#[test]
fn the_yaml_is_the_json_in_the_namespace_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let both = format!("{NAMED}{}", ALL.strip_prefix("pullSecrets:\n").unwrap());
    for lines in [NAMED, ALL, &both, BUNDLES] {
        let path = policy(&folder, lines);
        let list: Value = serde_json::from_str(&printed(&path, &["-o", "json", "--namespace", "elsewhere"])).unwrap();
        let text = printed(&path, &["--namespace", "elsewhere"]);
        let documents = parse_documents(&text, Limits::POLICY).unwrap();
        let documents: Vec<Value> = documents.iter().map(|document| document.to_json()).collect();
        assert_eq!(json!(documents), list["items"]);
        assert!(text.contains("namespace: elsewhere\n"));
    }
}

#[test]
fn a_policy_without_pull_secrets_needs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = policy(&folder, "");
    let text = printed(&path, &[]);
    assert!(
        text.starts_with("# This policy names no pull secrets") && text.lines().all(|line| line.starts_with('#')),
        "{text}"
    );
    let list: Value = serde_json::from_str(&printed(&path, &["-o", "json"])).unwrap();
    assert_eq!(list, json!({"apiVersion": "v1", "kind": "List", "items": []}));
}

/// Access does not shrink by `kubectl apply` alone.
#[test]
fn s5_what_is_not_needed_any_more_is_said_with_the_command_that_removes_it() {
    let folder = tempfile::tempdir().unwrap();
    let both = format!("{NAMED}{}", ALL.strip_prefix("pullSecrets:\n").unwrap());
    let (named, all) = (" mirrorgate-pull-secrets", " mirrorgate-discover-pull-secrets");
    for (lines, expected) in [
        ("", Some(format!("{named}{all}"))),
        (NAMED, Some(all.to_owned())),
        (ALL, Some(named.to_owned())),
        (&both, None),
    ] {
        let text = printed(&policy(&folder, lines), &[]);
        let command =
            text.lines().find_map(|line| line.strip_prefix("# kubectl delete clusterrolebinding,clusterrole"));
        let names = command.map(|names| names.strip_suffix(" --ignore-not-found").unwrap().to_owned());
        assert_eq!(names, expected, "{text}");
        assert!(command.is_none_or(|command| text.ends_with(&format!("{command}\n"))), "{text}");
    }
}

#[test]
fn a_faulty_policy_is_exit_1_and_a_missing_file_or_an_impossible_namespace_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    let output = rbac(&policy(&folder, "registryMirrors: 5\n"), &[]);
    assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{output:?}");
    assert_eq!(rbac(Path::new("/no/such/file"), &[]).status.code(), Some(2));
    let path = policy(&folder, NAMED);
    for namespace in ["", "-a", "a-", "A", "a.b", "a\n", "{a: b}", &"a".repeat(64)] {
        let output = rbac(&path, &["--namespace", namespace]);
        assert!(output.status.code() == Some(2) && output.stdout.is_empty(), "{namespace}: {output:?}");
    }
}

#[test]
fn s5_the_manifests_carry_what_is_printed() {
    let read = |path: &str| std::fs::read_to_string(manifests().join(path)).unwrap();
    assert_eq!(read("base/pull-secrets.yaml"), printed(&manifests().join("base/policy.yaml"), &[]));
    let folder = tempfile::tempdir().unwrap();
    // The same but for the comment on the other role, which the base has.
    let printed = printed(&policy(&folder, ALL), &[]);
    assert_eq!(Some(&*read("components/discover-pull-secrets/rbac.yaml")), printed.split("# `kubectl").next());
}
