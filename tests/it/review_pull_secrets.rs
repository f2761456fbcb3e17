//! `mirrorgate review` with Secrets among the manifests (S1 to S6): they are the cluster, and nothing they hold is shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::review_command::{entries, review_under, stderr, stdout, text_of};

fn review(stdin: &str, arguments: &[&str]) -> std::process::Output {
    review_under("pull-secrets-policy.yaml", stdin, &[&["-f", "-"], arguments].concat())
}

fn pod(namespace: &str, images: &[&str]) -> Value {
    let containers: Vec<Value> =
        images.iter().enumerate().map(|(n, image)| json!({"name": format!("c{n}"), "image": image})).collect();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": namespace}, "spec": {"containers": containers}})
}

fn secret(namespace: &str, name: &str, registry: &str) -> Value {
    let config = json!({"auths": {registry: {"auth": "dTpw"}}}).to_string();
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
        "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": STANDARD.encode(config)},
    })
}

fn documents(all: &[&Value]) -> String {
    all.iter().map(|document| format!("{document}\n---\n")).collect()
}

/// Name and state of each pull secret of the last object, and its warnings.
#[track_caller]
fn states(stdin: &str, arguments: &[&str], code: i32) -> (Vec<(String, String)>, Vec<String>) {
    let found = entries(&review(stdin, &[&["-o", "json"], arguments].concat()), code);
    let entry = found.last().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let uses = entry["pull_secrets"].as_array().unwrap();
    let warnings = entry["warnings"].as_array().unwrap();
    (uses.iter().map(|it| (text(&it["name"]), text(&it["state"]))).collect(), warnings.iter().map(text).collect())
}

#[test]
fn s1_the_secrets_are_added_where_the_pod_lists_its_own_and_where_it_lists_none() {
    let (source, expected) = (text_of("pull-secrets.yaml"), text_of("pull-secrets.expected.yaml"));
    for (source, expected) in
        [(source.clone(), expected.clone()), (source.replace('\n', "\r\n"), expected.replace('\n', "\r\n"))]
    {
        let output = stdout(&review(&source, &["-o", "yaml"]), 0);
        assert_eq!(output, expected);
        assert_eq!(stdout(&review(&output, &["-o", "yaml"]), 0), output, "a review of the result changes nothing");
        let said = stdout(&review(&output, &["-q"]), 0);
        assert_eq!(said, "");
    }
    let said = stdout(&review(&source, &[]), 0);
    assert!(said.contains("+          imagePullSecrets:\n+          - name: harbor-pull\n"), "{said}");
    assert!(said.ends_with("\n5 pull secrets added; 1 registry not asked (--probe asks)\n"), "{said}");
    let patch = stdout(&review(&source, &["-o", "patch"]), 0);
    let second: Value = serde_json::from_str(patch.lines().nth(1).unwrap()).unwrap();
    assert_eq!(
        second,
        json!([{"op": "add", "path": "/spec/jobTemplate/spec/template/spec/imagePullSecrets",
            "value": [{"name": "harbor-pull"}, {"name": "ghcr-team-a"}]}])
    );
}

#[test]
fn without_any_secret_nobody_looked_and_nothing_is_warned_of() {
    let source = pod("team-a", &["nginx", "ghcr.io/org/tool"]).to_string();
    let (uses, warnings) = states(&source, &[], 0);
    let unknown = |name: &str| (name.to_owned(), "unknown".to_owned());
    assert_eq!((uses, warnings), (vec![unknown("harbor-pull"), unknown("ghcr-team-a")], vec![]));
    let said = stdout(&review(&source, &[]), 0);
    let line = "  pull secret harbor-pull for harbor.corp:5000: unknown, as no Secret is among the manifests\n";
    assert!(said.contains(&format!("-: Pod team-a/web:\n{line}")), "{said}");
    assert!(
        said.ends_with("\n1 of 2 images rewritten, 2 pull secrets added; 1 registry not asked (--probe asks)\n"),
        "{said}"
    );
}

#[test]
fn s6_the_secrets_of_all_files_are_the_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    // As `kubectl get secrets -o yaml` prints them, and as a typed list does, whose items do not say what they are.
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        secret("other", "harbor-pull", "harbor.corp:5000"), secret("team-a", "harbor-pull", "harbor.corp:5000/proxy/library")]});
    let mut bare = secret("team-a", "ghcr-team-a", "ghcr.io");
    for key in ["apiVersion", "kind"] {
        bare.as_object_mut().unwrap().remove(key);
    }
    let typed = json!({"apiVersion": "v1", "kind": "SecretList", "items": [bare]});
    let mut deployment =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "team-a"}});
    deployment["spec"]["template"] = pod("", &["nginx", "quay.io/org/x", "ghcr.io/org/tool", "auto"]);
    let files =
        [put("a.yaml", deployment.to_string()), put("b.yaml", list.to_string()), put("c.json", typed.to_string())];
    let arguments = ["-f", &files[0], &files[1], &files[2]];
    let found = entries(&review_under("pull-secrets-policy.yaml", "", &[&arguments[..], &["-o", "json"]].concat()), 0);
    let field = |index: usize| format!("spec.template.spec.containers[{index}].image");
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0]["pull_secrets"],
        json!([
            {"name": "harbor-pull", "registry": "harbor.corp:5000", "state": "covers", "images": [field(0)]},
            {"name": "harbor-pull", "registry": "harbor.corp:5000", "state": "does-not-cover", "images": [field(1)]},
            {"name": "ghcr-team-a", "registry": "ghcr.io", "state": "covers", "images": [field(2)]},
        ])
    );
    let warnings = found[0]["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].as_str().unwrap().contains("does not cover harbor.corp:5000/proxy/org/x"), "{warnings:?}");
    let said = stdout(&review_under("pull-secrets-policy.yaml", "", &arguments), 0);
    assert!(said.contains("\n  warning: mirrorgate: no pull secret for harbor.corp:5000: "), "{said}");
    assert!(said.contains("\n  pull secret harbor-pull for harbor.corp:5000: covers 1 of 2 images\n"), "{said}");
    assert!(said.contains("\n  pull secret ghcr-team-a for ghcr.io: covers\n"), "{said}");
}

#[test]
fn s4_the_namespace_is_the_pods() {
    let served = (vec![("harbor-pull".to_owned(), "covers".to_owned())], vec![]);
    let mut no_namespace = secret("", "harbor-pull", "harbor.corp:5000");
    no_namespace["metadata"].as_object_mut().unwrap().remove("namespace");
    let of = |secret: &Value, namespace: &str| documents(&[secret, &pod(namespace, &["nginx"])]);
    assert_eq!(states(&of(&no_namespace, "team-b"), &["-n", "team-b"], 0), served);
    assert_eq!(states(&of(&no_namespace, "default"), &[], 0), served);
    let (uses, warnings) = states(&of(&secret("team-a", "harbor-pull", "harbor.corp:5000"), "team-b"), &[], 0);
    assert_eq!(uses, [("harbor-pull".to_owned(), "missing".to_owned())]);
    assert!(warnings[0].contains("harbor-pull is missing in team-b; kubectl -n team-b create secret"), "{warnings:?}");
    let asked = serde_json::from_str::<Value>(&text_of("review.json")).unwrap();
    assert_eq!(states(&documents(&[&secret("team-a", "harbor-pull", "harbor.corp:5000"), &asked]), &[], 0), served);
    assert_eq!(states(&documents(&[&no_namespace, &asked]), &[], 0).0[0].1, "missing");
}

#[test]
fn s3_a_secret_is_read_as_the_api_server_would_take_it() {
    let config = json!({"auths": {"harbor.corp:5000": {}}}).to_string();
    let encoded = STANDARD.encode(&config);
    let (wrapped, useless) = (format!("{}\r\n{}\n", &encoded[..20], &encoded[20..]), STANDARD.encode("{}"));
    let json = "kubernetes.io/dockerconfigjson";
    for (more, state) in [
        (json!({"type": json, "data": {".dockerconfigjson": encoded}}), "covers"),
        (json!({"type": json, "data": {".dockerconfigjson": wrapped}}), "covers"),
        (json!({"type": json, "stringData": {".dockerconfigjson": config}}), "covers"),
        (
            json!({"type": json, "stringData": {".dockerconfigjson": config}, "data": {".dockerconfigjson": useless}}),
            "covers",
        ),
        (json!({"type": json, "stringData": {"other": "x"}, "data": {".dockerconfigjson": encoded}}), "covers"),
        (
            json!({"type": json, "stringData": {".dockerconfigjson": null}, "data": {".dockerconfigjson": encoded}}),
            "malformed",
        ),
        (
            json!({"type": "kubernetes.io/dockercfg", "stringData": {".dockercfg": "{\"harbor.corp:5000\": {}}"}}),
            "covers",
        ),
        (json!({"type": json, "stringData": {".dockerconfigjson": "{}"}}), "does-not-cover"),
        (json!({"type": json, "data": {".dockerconfigjson": config}}), "malformed"),
        (json!({"type": json, "data": {".dockerconfigjson": format!("{encoded} ")}}), "malformed"),
        (json!({"type": json, "data": {".dockerconfigjson": 7}}), "malformed"),
        (json!({"type": json, "stringData": {".dockerconfigjson": {"auths": {"harbor.corp:5000": {}}}}}), "malformed"),
        (json!({"type": json, "stringData": {".dockerconfigjson": "{"}}), "malformed"),
        (json!({"type": json, "data": [encoded]}), "malformed"),
        (json!({"type": json}), "malformed"),
        (json!({"type": "Opaque", "data": {".dockerconfigjson": encoded}}), "not-a-docker-config"),
        (json!({"type": null, "data": {".dockerconfigjson": encoded}}), "not-a-docker-config"),
        (json!({"data": {".dockerconfigjson": encoded}}), "not-a-docker-config"),
        (json!({"type": json, "data": {".dockerconfigjson": encoded}, "metadata": {"name": "another"}}), "missing"),
        (
            json!({"type": json, "data": {".dockerconfigjson": encoded}, "metadata": {"generateName": "harbor-pull"}}),
            "missing",
        ),
        (json!({"type": json, "data": {".dockerconfigjson": encoded}, "metadata": null}), "missing"),
        (json!({"type": json, "data": {".dockerconfigjson": encoded}, "apiVersion": "other.example/v1"}), "unknown"),
    ] {
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "harbor-pull"}});
        secret.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let source = documents(&[&secret, &pod("default", &["nginx"])]);
        let (uses, warnings) = states(&source, &[], 0);
        assert_eq!(uses, [("harbor-pull".to_owned(), state.to_owned())], "{secret}");
        assert_eq!(warnings.is_empty(), matches!(state, "covers" | "unknown"), "{secret}: {warnings:?}");
    }
    let two = [secret("team-a", "harbor-pull", "other.corp"), secret("team-a", "harbor-pull", "harbor.corp:5000")];
    let source = documents(&[&two[0], &two[1], &pod("team-a", &["nginx"])]);
    assert_eq!(states(&source, &[], 0).0[0].1, "covers", "the last of a name counts, as when they are applied");
}

/// What the webhook would say: its watches see only so much, and by name it looks again.
#[test]
fn s5_only_what_the_webhook_would_know_of_counts() {
    let legacy = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ghcr-team-a", "namespace": "team-a"},
        "type": "kubernetes.io/dockercfg", "stringData": {".dockercfg": "{\"ghcr.io\": {}}"},
    });
    let mut opaque = legacy.clone();
    opaque["type"] = json!("Opaque");
    for (secret, state) in [(legacy.clone(), "covers"), (opaque, "not-a-docker-config")] {
        let source = documents(&[&secret, &pod("team-a", &["ghcr.io/org/tool"])]);
        assert_eq!(states(&source, &[], 0).0, [("ghcr-team-a".to_owned(), state.to_owned())]);
    }
    let asked: Value = serde_json::from_str(&text_of("review.json").replace("nginx", "ghcr.io/org/tool")).unwrap();
    assert_eq!(states(&documents(&[&legacy, &asked]), &[], 0).0[0].1, "covers");
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    let text = text_of("pull-secrets-policy.yaml").replace("name: ghcr-{namespace}", "discover: true");
    std::fs::write(&policy, text).unwrap();
    let source = documents(&[
        &secret("team-a", "b", "ghcr.io"),
        &secret("team-a", "a", "ghcr.io/org"),
        &secret("team-a", "Not A Name\n", "ghcr.io"),
        &secret("team-b", "c", "ghcr.io"),
        &legacy,
        &pod("team-a", &["ghcr.io/org/tool"]),
    ]);
    let found = entries(&review_under(&policy.display().to_string(), &source, &["-f", "-", "-o", "json"]), 0);
    let names: Vec<_> = found[0]["pull_secrets"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["a", "b"]);
    let found = entries(&review_under(&policy.display().to_string(), &source, &["-f", "-", "-o", "json"]), 0);
    assert_eq!(found[0]["patch"][0]["value"], json!([{"name": "a"}, {"name": "b"}]));
}

#[test]
fn s6_a_missing_secret_is_denied_where_the_policy_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, text_of("pull-secrets-policy.yaml") + "onMissingPullSecret: deny\n").unwrap();
    let policy = path.display().to_string();
    let source = documents(&[&secret("team-a", "another", "ghcr.io"), &pod("team-a", &["nginx"])]);
    let found = entries(&review_under(&policy, &source, &["-f", "-", "-o", "json"]), 1);
    let cause = &found[0]["causes"][0];
    assert_eq!((&cause["reason"], &cause["field"]), (&json!("PullSecretMissing"), &json!("spec.containers[0].image")));
    assert_eq!((&found[0]["allowed"], &found[0]["patch"]), (&json!(false), &json!([])));
    assert_eq!(found[0]["pull_secrets"][0]["state"], "missing");
    let said = stdout(&review_under(&policy, &source, &["-f", "-"]), 1);
    assert!(
        said.starts_with("-: Pod team-a/web:\n  denied: spec.containers[0].image: container c0: no pull"),
        "{said}"
    );
    assert!(said.ends_with("\n1 of 1 object denied; 1 registry not asked (--probe asks)\n"), "{said}");
    let said = stdout(&review_under(&policy, &source, &["-f", "-", "--mode", "audit"]), 0);
    assert!(
        said.ends_with("\n1 of 1 image would be rewritten (audit); 1 registry not asked (--probe asks)\n"),
        "{said}"
    );
    let said = stdout(&review(&source, &["--mode", "audit"]), 0);
    assert!(said.contains("  warning: mirrorgate audit: the pull secret harbor-pull would be added\n"), "{said}");
    assert!(
        said.ends_with(" (audit), 1 pull secret would be added (audit); 1 registry not asked (--probe asks)\n"),
        "{said}"
    );
    // A policy that denies needs to know, and without a cluster nobody does.
    let output = review_under(&policy, &pod("team-a", &["nginx"]).to_string(), &["-f", "-"]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}

/// What the marker stands in: user, password, auth and tokens, in configs that can be read and in others.
fn marked_secrets(marker: &str) -> Vec<String> {
    let auth = STANDARD.encode(format!("{marker}:{marker}"));
    let entry = format!(
        r#"{{"username": "{marker}", "password": "{marker}", "auth": "{auth}", "identitytoken": "{marker}", "registrytoken": "{marker}"}}"#
    );
    let contents = [
        format!(r#"{{"auths": {{"harbor.corp:5000": {entry}}}}}"#),
        format!(r#"{{"auths": {{"https://{marker}:{marker}@other.corp": {entry}}}}}"#),
        format!(r#"{{"auths": [{entry}]}}"#),
        format!(r#"{{"auths": {{"harbor.corp:5000": "{marker}"}}}}"#),
        format!(r#"{{"auths": {{"harbor.corp:5000": {{"auth": "{marker}"}}}}}}"#),
        format!(r#"{{"auths": {{"harbor.corp:5000": {{"password": ["{marker}"]}}}}}}"#),
        format!(r#"{{"auths": {{"harbor.corp:5000": {entry}"#),
        format!(r#"{{"auths": {marker}"#),
        marker.to_owned(),
    ];
    let header = "apiVersion: v1\nkind: Secret\nmetadata: {name: harbor-pull, namespace: team-a}\n";
    let mut secrets = Vec::new();
    for content in contents {
        for secret_type in ["kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg", "Opaque"] {
            let key = if secret_type.ends_with("cfg") { ".dockercfg" } else { ".dockerconfigjson" };
            let (quoted, encoded) = (Value::from(content.clone()), STANDARD.encode(&content));
            let header = format!("{header}type: {secret_type}\n");
            secrets.push(format!("{header}# was: {marker}\nstringData:\n  {key}: {quoted}\n  # was: {marker}\n"));
            secrets.push(format!("{header}stringData:\n  {key}: |\n    {content}\n"));
            secrets.push(format!("{header}data:\n  {key}: {encoded}\n"));
            secrets.push(format!("{header}data:\n  {key}: {quoted}\n"));
        }
    }
    for broken in [
        format!("stringData:\n  password: *{marker}\n"),
        format!("stringData:\n  password: !!int {marker}\n"),
        format!("stringData:\n  password: !{marker} x: y\n"),
        format!("stringData:\n  password: \"{marker}\n"),
        format!("stringData: {{password: {marker}: x}}\n"),
        format!("stringData: {{password: [{marker}, }}\n"),
        format!("data:\n  .dockerconfigjson: &{marker} [*{marker}]\n"),
    ] {
        secrets.push(format!("{header}type: kubernetes.io/dockerconfigjson\n{broken}"));
    }
    secrets.push(format!(
        "{header}type: kubernetes.io/dockerconfigjson\ndata: {{user: {marker},\n  password: {marker}}}\nmetadata:\n  name: harbor-pull\n  \
         namespace: team-a\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: '{marker}'\n"
    ));
    secrets
}

#[test]
fn s3_no_credential_of_a_secret_is_shown() {
    let marker = "Hunter2Hunter2";
    // In base64 it looks different for each place in a group of three.
    let encoded = [0, 1, 2].map(|before| {
        let text = STANDARD.encode(format!("{}{marker}", &"xx"[..before]));
        text[4..16].to_owned()
    });
    let shows = |text: &str| text.contains(marker) || encoded.iter().any(|encoded| text.contains(encoded));
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: team-a}\nspec: {containers: [{name: a, image: nginx}]}\n";
    let of_a_secret = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "operation": "CREATE", "namespace": "team-a",
            "resource": {"group": "", "version": "v1", "resource": "secrets"},
            "object": {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {"password": marker}},
        },
    });
    let mut sources = Vec::new();
    for secret in marked_secrets(marker) {
        let item = |text: &str| text.replace('\n', "\n  ").trim_end().to_owned();
        sources.push(format!("{secret}---\n{pod}"));
        sources.push(format!("{pod}---\n{secret}"));
        sources.push(format!("{secret}---\n{pod}").replace('\n', "\r\n"));
        sources.push(format!(
            "apiVersion: v1\nkind: List\nitems:\n- {}\n- {}\n- {}\n",
            item(&secret),
            item(pod),
            item(&secret)
        ));
        sources.push(format!("{secret}---\n{of_a_secret}\n---\n{pod}"));
    }
    let secret = json!({
        "kind": "Secret", "apiVersion": "v1", "metadata": {"name": "harbor-pull", "namespace": "team-a"},
        "stringData": {"password": marker},
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [secret, self::pod("team-a", &["nginx"]), secret]});
    sources.push(list.to_string());
    sources.push(format!("{list:#}"));
    sources.push(format!("{secret}\n{}\n{secret:#}\n", self::pod("team-a", &["nginx"])));
    // What a Secret names may stand elsewhere.
    sources.push(format!(
        "apiVersion: v1\nkind: List\nx: &a {marker}\ny: &b {{p: {marker}}}\nitems:\n- {}\n- kind: Secret\n  stringData: {{p: *a}}\n  \
         data:\n    <<: *b\n",
        self::pod("team-a", &["nginx"])
    ));
    // Each in a namespace of its own: its Secret is then the one that its pod meets.
    let folder = tempfile::tempdir().unwrap();
    for (number, source) in sources.iter().enumerate() {
        let source = source.replace("team-a", &format!("team-{number}"));
        std::fs::write(folder.path().join(format!("{number}.yaml")), source).unwrap();
    }
    let path = folder.path().display().to_string();
    for more in [&[][..], &["-o", "json"], &["-o", "patch"], &["--color", "always"]] {
        let arguments = [&["-v", "-f", &path], more].concat();
        let output = review_under("pull-secrets-policy.yaml", "", &arguments);
        assert_eq!(output.status.code(), Some(1), "some are no YAML");
        let (out, err) = (String::from_utf8(output.stdout.clone()).unwrap(), stderr(&output));
        let shown: Vec<&str> = out.lines().chain(err.lines()).filter(|line| shows(line)).collect();
        assert!(shown.is_empty(), "{more:?}: {shown:#?}");
        let read = out.matches("harbor.corp:5000/proxy/library/nginx").count();
        assert!(read > sources.len() * 3 / 4, "most are read, and the pods with them: {read} of {}", sources.len());
    }
}
