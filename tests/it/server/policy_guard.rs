//! The policy guard (trap 28), as the API server calls it.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::process::{Server, policy, within};
use super::wire::{Answer, Connection, get};

const HEAD: &str = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n";
const MIRRORS: &str = "registryMirrors:\n- {name: m, endpoint: https://m.corp, hosts: [docker.io, quay.io]}\n";
const BROKEN: &str = "apiVersion: mirrorgate.dev/v1alpha1
kind: Policy
registryMirrors:
- name: m
  endpoint: https://m.corp
  hosts: [docker.io]
  nosuchkey: \"a\u{202e}b\"
ignore: {images: 7}
";

fn document(rest: &str) -> String {
    format!("{HEAD}{rest}")
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mirrorgate-policy"}, "data": data})
}

fn with_policy(text: &str) -> Value {
    config_map(json!({"policy.yaml": text, "notes.txt": "of somebody"}))
}

/// What the API server sends when a user edits the policy ConfigMap.
fn review(operation: &str, object: Value, old_object: Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "5d0c",
            "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "resource": {"group": "", "version": "v1", "resource": "configmaps"},
            "name": "mirrorgate-policy", "namespace": "mirrorgate-system", "operation": operation,
            "userInfo": {"username": "jane\u{1b}[31m", "groups": ["system:authenticated"]},
            "object": object, "oldObject": old_object, "dryRun": false, "options": null
        }
    })
}

struct Guard {
    server: Server,
    connection: Connection,
}

impl Guard {
    async fn start() -> Guard {
        let server = Server::start(&policy("harbor.corp"), &[]).await;
        let connection = Connection::open(&server.authority(), server.https).await.unwrap();
        Guard { server, connection }
    }

    async fn post(&mut self, review: &Value) -> Answer {
        self.connection.post("/v1/validate/policy?timeout=10s", review.to_string().as_bytes()).await.unwrap()
    }

    /// The `response` of an answer, which carries the request's uid (A7) and never a patch.
    async fn response(&mut self, review: &Value) -> Value {
        let answer = self.post(review).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut review = answer.json();
        assert_eq!(
            (&review["apiVersion"], &review["kind"]),
            (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
        );
        let response = review["response"].take();
        assert!(response["uid"] == "5d0c" && response["patch"].is_null(), "{response:#}");
        response
    }

    async fn refusal(&mut self, review: &Value) -> Value {
        let response = self.response(review).await;
        assert_eq!(response["allowed"], false, "{response:#}");
        let status = &response["status"];
        assert_eq!((&status["code"], &status["reason"]), (&json!(403), &json!("Forbidden")), "{response:#}");
        response["status"].clone()
    }

    async fn warnings(&mut self, review: &Value) -> Vec<String> {
        let response = self.response(review).await;
        assert_eq!(response["allowed"], true, "{response:#}");
        assert!(response["status"].is_null(), "{response:#}");
        let warnings = response["warnings"].as_array().cloned().unwrap_or_default();
        let warnings: Vec<String> = warnings.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect();
        for warning in &warnings {
            // A6: what is longer is cut, and what has a control character vanishes.
            assert!(warning.chars().count() <= 250 && !warning.contains(char::is_control), "{warning:?}");
            assert!(warning.starts_with("mirrorgate: "), "{warning}");
        }
        assert!(warnings.iter().map(|warning| warning.chars().count()).sum::<usize>() <= 4096, "{warnings:#?}");
        warnings
    }
}

/// What `mirrorgate check policy.yaml` prints.
fn check(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.yaml"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mirrorgate"));
    let output = command.args(["check", "policy.yaml"]).current_dir(folder.path()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn trap_28_a_broken_policy_is_refused_in_the_words_of_check() {
    let mut guard = Guard::start().await;
    for broken in [
        BROKEN.to_owned(),
        String::new(),
        "a: [".to_owned(),
        document("kind: Policy\n"),
        document("trust: {registries: [a]}"),
    ] {
        for (operation, old) in [("CREATE", json!(null)), ("UPDATE", with_policy(&document(MIRRORS)))] {
            let status = guard.refusal(&review(operation, with_policy(&broken), old)).await;
            let message = status["message"].as_str().unwrap();
            let version = env!("CARGO_PKG_VERSION");
            let words = format!(
                "mirrorgate {version} would not obey this policy; the one in force stays\n\n{}",
                check(&broken)
            );
            assert_eq!(message, words);
            assert!(!message.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{message:?}");
        }
    }
    let status = guard.refusal(&review("CREATE", with_policy(BROKEN), json!(null))).await;
    let fields: Vec<&str> =
        status["details"]["causes"].as_array().unwrap().iter().map(|cause| cause["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["registryMirrors[0].nosuchkey", "ignore.images"]);
    // U6: a dry run is told the same.
    let mut dry = review("CREATE", with_policy(BROKEN), json!(null));
    dry["request"]["dryRun"] = json!(true);
    assert_eq!(guard.refusal(&dry).await, status);
}

#[tokio::test]
async fn a_config_map_without_the_key_is_refused() {
    let mut guard = Guard::start().await;
    for without in [json!({"policy.yml": HEAD}), json!({}), json!(null), json!({"policy.yaml": null})] {
        for (operation, old) in [("CREATE", json!(null)), ("UPDATE", with_policy(HEAD))] {
            let status = guard.refusal(&review(operation, config_map(without.clone()), old)).await;
            assert!(status["message"].as_str().unwrap().contains("has no key policy.yaml under data"), "{status:#}");
        }
    }
}

#[tokio::test]
async fn a_refusal_holds_no_private_key_and_is_of_bounded_length() {
    let mut guard = Guard::start().await;
    let key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg".repeat(3);
    let pem = format!("-----BEGIN PRIVATE KEY-----\\n{key}\\n-----END PRIVATE KEY-----");
    for trust in [
        format!("{{caBundles: [{{inline: \"{pem}\"}}]}}"),
        format!("{{additionalTrustedCAs: [{{name: \"{pem}\", data: {key}}}], registries: [\"{key}\"], {key}: 1}}"),
    ] {
        let status =
            guard.refusal(&review("CREATE", with_policy(&document(&format!("trust: {trust}\n"))), json!(null))).await;
        assert!(!status.to_string().contains("MIGHAgEA"), "{status:#}");
    }
    assert!(!guard.server.log().iter().any(|line| line.to_string().contains("MIGHAgEA")));

    let hosts = "- Bad.corp\n".repeat(50_000);
    let long = document(&format!("trust:\n  registries:\n{}", hosts.replace("- ", "  - ")));
    let answer = guard.post(&review("CREATE", with_policy(&long), json!(null))).await;
    assert!(answer.body.len() < 100_000, "{} bytes", answer.body.len());
    let message = answer.json()["response"]["status"]["message"].as_str().unwrap().to_owned();
    let last = message.lines().last().unwrap();
    assert!(
        last.starts_with("policy.yaml: refused, 50000 errors, ") && last.ends_with("`mirrorgate check` shows all"),
        "{last}"
    );
}

#[tokio::test]
async fn a_dangerous_edit_is_warned_of() {
    let mut guard = Guard::start().await;
    let update =
        |before: &str, after: &str| review("UPDATE", with_policy(&document(after)), with_policy(&document(before)));
    for (before, after, said) in [
        (MIRRORS, MIRRORS.replace("[docker.io, quay.io]", "['*']"), &[][..]),
        (MIRRORS, String::new(), &["loses its only mirror"]),
        (
            MIRRORS,
            format!("{MIRRORS}trust: {{registries: ['*'], denyNetworks: [10.0.0.0/8]}}"),
            &["`*` in trust.registries"],
        ),
        (MIRRORS, format!("{MIRRORS}trust: {{registries: ['*']}}"), &["no network is denied"]),
        (MIRRORS, format!("{MIRRORS}trust: {{onUntrusted: warn}}"), &["trust.onUntrusted was deny"]),
        (MIRRORS, format!("{MIRRORS}trust: {{systemRoots: false}}"), &["no CA is there for `m.corp`"]),
        ("trust: {registries: [a.corp]}", String::new(), &["the certificates of a.corp are not checked any more"]),
    ] {
        let warnings = guard.warnings(&update(before, &after)).await;
        assert_eq!(warnings.len(), said.len(), "{after}: {warnings:#?}");
        for (warning, said) in warnings.iter().zip(said) {
            assert!(warning.contains(said), "{after}: {warnings:#?}");
        }
    }
    // Of more than fits the rest is counted.
    let mirrors: String = (0..40)
        .map(|n| format!("- {{name: m{n}, endpoint: 'http://m{n}.corp', plainHTTP: true, hosts: [h{n}.io]}}\n"))
        .collect();
    let warnings = guard.warnings(&update(MIRRORS, &format!("registryMirrors:\n{mirrors}"))).await;
    assert!(
        warnings[0].contains("images of docker.io, quay.io are not rewritten any more")
            || warnings[0].contains("no image is rewritten any more"),
        "{warnings:#?}"
    );
    assert!(warnings.len() == 16 && warnings[15].starts_with("mirrorgate: and 26 more; "), "{warnings:#?}");
}

/// The first policy, and an edit of one that is broken already, are compared with what is in force.
#[tokio::test]
async fn where_nothing_is_stored_the_policy_in_force_is_what_is_lost() {
    let mut guard = Guard::start().await;
    for (operation, old) in
        [("CREATE", json!(null)), ("UPDATE", with_policy(BROKEN)), ("UPDATE", config_map(json!({})))]
    {
        let warnings = guard.warnings(&review(operation, with_policy(HEAD), old)).await;
        assert!(
            matches!(&warnings[..], [one] if one.contains("loses its only mirror: images of docker.io ")),
            "{warnings:#?}"
        );
    }
}

/// A broken policy may be there since before the guard: it holds up no label, and no finalizer that must go.
#[tokio::test]
async fn an_edit_of_something_else_is_allowed_whatever_the_policy_is() {
    let mut guard = Guard::start().await;
    for stored in [with_policy(BROKEN), config_map(json!({"other": "1"}))] {
        let mut labelled = stored.clone();
        labelled["metadata"]["labels"] = json!({"a": "b"});
        let warnings = guard.warnings(&review("UPDATE", labelled, stored)).await;
        assert!(matches!(&warnings[..], [one] if one.contains("was broken before and still is")), "{warnings:#?}");
    }
    let warned = with_policy(&document(&format!("{MIRRORS}trust: {{registries: ['*']}}")));
    assert_eq!(guard.warnings(&review("UPDATE", warned.clone(), warned)).await, [""; 0]);
}

#[tokio::test]
async fn deleting_it_is_allowed_and_other_objects_are_none_of_its_business() {
    let mut guard = Guard::start().await;
    let warnings = guard.warnings(&review("DELETE", json!(null), with_policy(HEAD))).await;
    assert!(
        matches!(&warnings[..], [one] if one.contains("stays in force until mirrorgate restarts")),
        "{warnings:#?}"
    );
    for (field, value) in [
        ("name", json!("another")),
        ("name", json!("")),
        ("namespace", json!("default")),
        ("resource", json!({"group": "", "version": "v1", "resource": "secrets"})),
        ("resource", json!({"group": "corp.dev", "version": "v1", "resource": "configmaps"})),
        ("subResource", json!("status")),
        ("operation", json!("CONNECT")),
    ] {
        for operation in ["CREATE", "UPDATE", "DELETE"] {
            let mut other = review(operation, with_policy(BROKEN), json!({"data": 7}));
            other["request"][field] = value.clone();
            assert_eq!(guard.warnings(&other).await, [""; 0], "{operation} {field}");
        }
    }
}

/// Field managers are handed on as their author wrote them, raw bytes and all: that is no way past the guard.
#[tokio::test]
async fn a_review_that_is_not_utf_8_is_judged_too() {
    let mut guard = Guard::start().await;
    let mut object = with_policy(BROKEN);
    object["metadata"]["managedFields"] = json!([{"manager": "RAW"}]);
    let body = review("CREATE", object, json!(null)).to_string().into_bytes();
    let at = body.windows(3).position(|bytes| bytes == b"RAW").unwrap();
    let body = [&body[..at], b"\xff\xfe", &body[at + 3..]].concat();
    let answer = guard.connection.post("/v1/validate/policy?timeout=10s", &body).await.unwrap();
    assert_eq!((answer.status, &answer.json()["response"]["allowed"]), (200, &json!(false)));
}

/// A2: what is no review is a failure, and no denial; its calls have the limits and the metrics of all others.
#[tokio::test]
async fn a2_what_is_no_review_of_a_config_map_is_a_400() {
    let mut guard = Guard::start().await;
    let mut no_uid = review("CREATE", with_policy(HEAD), json!(null));
    no_uid["request"]["uid"] = json!("");
    for bad in [
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}),
        json!({"apiVersion": "v1", "kind": "Pod"}),
        no_uid,
        review("CREATE", json!({"data": 7}), json!(null)),
        review("CREATE", config_map(json!({"policy.yaml": 7})), json!(null)),
        review("UPDATE", with_policy(HEAD), json!([])),
    ] {
        let answer = guard.post(&bad).await;
        assert_eq!((answer.status, &answer.json()["reason"]), (400, &json!("BadRequest")), "{bad}");
    }
    guard.response(&review("CREATE", with_policy(HEAD), json!(null))).await;
    guard.response(&review("UPDATE", with_policy(BROKEN), with_policy(HEAD))).await;
    guard.response(&review("DELETE", json!(null), with_policy(HEAD))).await;
    let (_, metrics) = get(guard.server.http, "/metrics").await;
    for labels in [
        "operation=\"OTHER\",result=\"error\"} 6",
        "operation=\"CREATE\",result=\"allowed\"} 1",
        "operation=\"UPDATE\",result=\"denied\"} 1",
        "operation=\"DELETE\",result=\"allowed\"} 1",
    ] {
        let line = format!("mirrorgate_admission_requests_total{{mode=\"policy\",{labels}");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    assert!(metrics.contains("mirrorgate_admission_duration_seconds_count{mode=\"policy\"} 9"), "{metrics}");
    let edit = within(Duration::from_secs(5), "the line of the refused edit", async || {
        guard.server.log().into_iter().find(|line| line["decision"] == "denied")
    })
    .await;
    assert_eq!(
        (&edit["mode"], &edit["user"], &edit["faults"]),
        (&json!("policy"), &json!("jane\\u{1b}[31m"), &json!(2))
    );
}

/// Whoever reaches the port may send a document: one that is dear to compile is refused before, judged alone, and stalls nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_that_are_dear_to_compile_are_refused_and_hold_up_nobody() {
    let guard = Guard::start().await;
    let globs: String = (0..40_000).map(|n| format!("'a{n}*/b*c',")).collect();
    let dear =
        review("CREATE", with_policy(&document(&format!("ignore: {{images: [{globs}]}}"))), json!(null)).to_string();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (dear, authority, https) = (dear.clone(), guard.server.authority(), guard.server.https);
        calls.spawn(async move {
            let mut connection = Connection::open(&authority, https).await.unwrap();
            connection.post("/v1/validate/policy?timeout=10s", dear.as_bytes()).await.unwrap()
        });
    }
    for answer in calls.join_all().await {
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        match answer.status {
            200 => assert!(said.contains("is one of more than 4000 globs"), "{said}"),
            status => assert!(status == 503 && said.contains("another edit"), "{status}: {said}"),
        }
    }
    let peak = guard.server.memory_kb("VmHWM");
    assert!(peak < 150_000, "{peak} kB at the peak");
    let huge = review("CREATE", with_policy(&" ".repeat(9_000_000)), json!(null)).to_string();
    let mut connection = Connection::open(&guard.server.authority(), guard.server.https).await.unwrap();
    assert_eq!(connection.post("/v1/validate/policy", huge.as_bytes()).await.unwrap().status, 413);
}
