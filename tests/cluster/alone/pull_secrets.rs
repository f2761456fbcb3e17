//! The pull secrets of the cluster, as they come and go: what the watches know, and when it is in force (S5, S6).

use std::fs;
use std::time::{Duration, Instant};

use base64::Engine;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::lab::{Lab, MODE, kubectl, kubectl_with, part, until, work};
use crate::mirrorgate::{self, NAMESPACE, PART, POLICY, allow, metric, readiness, ready, under};
use crate::pods::pod;
use crate::pull_secrets::pull_secrets;

/// Where all images come from, under a policy that denies what has no pull secret for it.
const MIRROR: &str = "harbor.test";

/// Pods need these secrets; more lines are of the document's top level.
fn policy(names: &[&str], more: &str) -> String {
    let names = if names.is_empty() { String::new() } else { format!("  pullSecrets: [{}]\n", names.join(", ")) };
    format!(
        "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\nonMissingPullSecret: deny\nregistryMirrors:\n- name: mirror\n  \
         endpoint: https://{MIRROR}\n  hosts: [docker.io, quay.io]\n{names}{more}"
    )
}

/// A pull secret with credentials for these registries.
pub(super) fn pull_secret(name: &str, registries: &[&str]) -> Value {
    let auths: Value = registries.iter().map(|registry| ((*registry).to_owned(), json!({"auth": "YTpi"}))).collect();
    let config = json!({ "auths": auths }).to_string();
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": config},
    })
}

fn secrets(lab: &Lab, namespace: &str) -> Api<Secret> {
    Api::namespaced(lab.client.clone(), namespace)
}

async fn make(secrets: &Api<Secret>, secret: &Value) {
    secrets.create(&PostParams::default(), &serde_json::from_value(secret.clone()).unwrap()).await.unwrap();
}

async fn change(secrets: &Api<Secret>, name: &str, change: Value) {
    secrets.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
}

/// What the API server answers to a pod, without making it: the names of its pull secrets, or the denial.
async fn answer(lab: &Lab, namespace: &str, pod: Value) -> Result<Vec<String>, String> {
    lab.dry_run(namespace, pod).await.map(|made| pull_secrets(&made))
}

/// Waits for an answer to pods of a namespace; it must come within a second.
async fn within_a_second<T>(
    lab: &Lab,
    namespace: &str,
    what: &str,
    wanted: impl Fn(Result<Vec<String>, String>) -> Option<T>,
) -> T {
    let start = Instant::now();
    let found = until(what, 10, async || wanted(answer(lab, namespace, pod(&["nginx:1.27"])).await)).await;
    assert!(start.elapsed() < Duration::from_secs(1), "{what} took {:?}", start.elapsed());
    found
}

fn admitted(answer: Result<Vec<String>, String>) -> Option<()> {
    (answer.ok()? == ["lab-pull"]).then_some(())
}

fn denied(answer: Result<Vec<String>, String>) -> Option<String> {
    answer.err().filter(|denial| denial.contains("denied the request"))
}

#[tokio::test]
async fn s5_a_secret_made_changed_and_deleted_after_the_start_is_in_force_within_a_second() {
    let lab = Lab::alone().await;
    under(&lab, &policy(&["lab-pull"], "")).await;
    let namespace = lab.namespace(Some("enforce")).await;
    let secrets = secrets(&lab, &namespace);
    for _ in 0..5 {
        let missing = within_a_second(&lab, &namespace, "the denial of what is missing", denied).await;
        assert!(missing.contains("lab-pull") && missing.contains(MIRROR), "{missing}");
        make(&secrets, &pull_secret("lab-pull", &[MIRROR])).await;
        within_a_second(&lab, &namespace, "the new secret", admitted).await;
        change(&secrets, "lab-pull", pull_secret("lab-pull", &["elsewhere.test"])).await;
        let uncovered = within_a_second(&lab, &namespace, "the denial of what does not cover", denied).await;
        assert!(uncovered.contains("elsewhere.test"), "{uncovered}");
        change(&secrets, "lab-pull", pull_secret("lab-pull", &["elsewhere.test", MIRROR])).await;
        within_a_second(&lab, &namespace, "the mended secret", admitted).await;
        secrets.delete("lab-pull", &DeleteParams::default()).await.unwrap();
    }
}

/// The kubelet reads both types, and ignores every other; a type cannot be changed, a secret can be made anew.
#[tokio::test]
async fn s3_the_older_type_counts_and_another_type_does_not() {
    let lab = Lab::alone().await;
    under(&lab, &policy(&["lab-pull"], "")).await;
    let namespace = lab.namespace(Some("enforce")).await;
    let secrets = secrets(&lab, &namespace);
    let older = json!({
        "metadata": {"name": "lab-pull"}, "type": "kubernetes.io/dockercfg",
        "stringData": {".dockercfg": json!({MIRROR: {"auth": "YTpi"}}).to_string()},
    });
    make(&secrets, &older).await;
    within_a_second(&lab, &namespace, "the older type", admitted).await;
    secrets.delete("lab-pull", &DeleteParams::default()).await.unwrap();
    make(&secrets, &json!({"metadata": {"name": "lab-pull"}, "type": "Opaque", "stringData": {"a": "b"}})).await;
    let opaque = |answer| denied(answer).filter(|denial| denial.contains("Opaque"));
    within_a_second(&lab, &namespace, "the denial of another type", opaque).await;
}

#[tokio::test]
async fn s5_a_malformed_secret_hides_no_other() {
    let lab = Lab::alone().await;
    under(&lab, &policy(&["lab-pull"], "")).await;
    let namespace = lab.namespace(Some("enforce")).await;
    let beside = lab.namespace(Some("enforce")).await;
    let mut malformed = pull_secret("lab-pull", &[]);
    malformed["stringData"][".dockerconfigjson"] = json!(r#"{"auths": ["hunter2"]}"#);
    make(&secrets(&lab, &beside), &malformed).await;
    make(&secrets(&lab, &namespace), &pull_secret("lab-pull", &[MIRROR])).await;
    within_a_second(&lab, &namespace, "the good secret", admitted).await;
    let denial = within_a_second(&lab, &beside, "the denial", denied).await;
    assert!(denial.contains("auths") && !denial.contains("hunter2"), "{denial}");

    // In the list of a restart, too.
    part("restart", PART, "TERM");
    until("mirrorgate", 30, async || ready().await.ok()).await;
    assert_eq!(answer(&lab, &namespace, pod(&["nginx:1.27"])).await, Ok(vec!["lab-pull".to_owned()]));
    assert!(answer(&lab, &beside, pod(&["nginx:1.27"])).await.is_err());
    let log = fs::read_to_string(work().join("logs/mirrorgate.log")).unwrap();
    let warning = log.lines().find(|line| line.contains("is malformed") && line.contains(&beside)).unwrap();
    assert!(warning.contains("\"WARN\"") && !log.contains("hunter2"), "{warning}");
}

/// Watches start and stop with the policy.
#[tokio::test]
async fn s5_the_watches_follow_the_policy() {
    let lab = Lab::alone().await;
    under(&lab, &policy(&["lab-pull"], "")).await;
    let namespace = lab.namespace(Some("enforce")).await;
    let secrets = secrets(&lab, &namespace);
    make(&secrets, &pull_secret("lab-pull", &[MIRROR])).await;
    make(&secrets, &pull_secret(&format!("pull-{namespace}"), &[MIRROR])).await;
    within_a_second(&lab, &namespace, "the first name", admitted).await;
    under(&lab, &policy(&["'pull-{namespace}'"], "")).await;
    let own = format!("pull-{namespace}");
    let made = |answer: Result<Vec<String>, String>| (answer.ok()? == [own.as_str()]).then_some(());
    within_a_second(&lab, &namespace, "the name made for the namespace", made).await;
    under(&lab, &policy(&["other"], "")).await;
    within_a_second(&lab, &namespace, "the denial under the third policy", |answer| {
        denied(answer).filter(|denial| denial.contains("other"))
    })
    .await;
    under(&lab, &policy(&[], "pullSecrets:\n- discover: true\n")).await;
    within_a_second(&lab, &namespace, "the discovered ones", |answer| {
        let found = answer.ok()?;
        (found == ["lab-pull", &own]).then_some(())
    })
    .await;
}

/// A namespace, its secret and a pod, without waiting for anything; what the API server answers to the pod.
async fn at_once(lab: &Lab, name: &str) -> Result<Vec<String>, String> {
    let namespace = json!({"metadata": {"name": name, "labels": {MODE: "enforce"}}});
    Api::<Namespace>::all(lab.client.clone())
        .create(&PostParams::default(), &serde_json::from_value(namespace).unwrap())
        .await
        .unwrap();
    // The account `default` is made by the controller manager, in its own time.
    Api::<ServiceAccount>::namespaced(lab.client.clone(), name)
        .create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": "app"}})).unwrap())
        .await
        .unwrap();
    let mut pod = pod(&["nginx:1.27"]);
    pod["spec"]["serviceAccountName"] = json!("app");
    make(&secrets(lab, name), &pull_secret("lab-pull", &[MIRROR])).await;
    answer(lab, name, pod).await
}

#[tokio::test]
async fn s5_a_namespace_with_its_secret_and_a_pod_at_once() {
    let lab = Lab::alone().await;
    under(&lab, &policy(&["lab-pull"], "")).await;
    let names: Vec<String> = (0..100).map(|n| format!("at-once-{}-{n}", std::process::id())).collect();
    let mut denials = Vec::new();
    for name in &names {
        denials.extend(at_once(&lab, name).await.err());
    }
    assert!(denials.is_empty(), "{} of 100: {}", denials.len(), denials[0]);
}

/// One watch serves them all.
#[tokio::test]
async fn s5_the_same_name_in_five_hundred_namespaces() {
    let lab = Lab::alone().await;
    under(&lab, &policy(&["lab-pull"], "")).await;
    let names: Vec<String> = (0..500).map(|n| format!("alike-{}-{n}", std::process::id())).collect();
    let answers: Vec<_> = stream::iter(&names).map(|name| at_once(&lab, name)).buffered(16).collect().await;
    assert!(answers.iter().all(|answer| *answer == Ok(vec!["lab-pull".to_owned()])), "{answers:?}");
    // Changed in one of them, it is another there alone.
    change(&secrets(&lab, &names[250]), "lab-pull", pull_secret("lab-pull", &["elsewhere.test"])).await;
    let account = |mut pod: Value| {
        pod["spec"]["serviceAccountName"] = json!("app");
        pod
    };
    until("the denial in one namespace", 5, async || {
        answer(&lab, &names[250], account(pod(&["nginx:1.27"]))).await.err()
    })
    .await;
    for name in [&names[0], &names[249], &names[251], &names[499]] {
        assert!(answer(&lab, name, account(pod(&["nginx:1.27"]))).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn s5_access_that_is_taken_away_is_named_and_makes_nothing_missing() {
    let lab = Lab::alone().await;
    let policy = policy(&["lab-pull"], "");
    under(&lab, &policy).await;
    let namespace = lab.namespace(Some("enforce")).await;
    make(&secrets(&lab, &namespace), &pull_secret("lab-pull", &[MIRROR])).await;
    within_a_second(&lab, &namespace, "the secret", admitted).await;
    let process = mirrorgate::process().unwrap();

    // A watch that runs goes on until the API server ends it, after five minutes or with itself.
    kubectl(&["delete", "clusterrolebinding", "mirrorgate-pull-secrets"]).success();
    part("restart", "apiserver", "KILL");
    until("the API server", 90, async || kubectl(&["get", "--raw", "/readyz"]).ok.then_some(())).await;
    let rule = "list and watch of secrets with resourceNames [lab-pull]";
    let report = until("the missing rule", 30, async || {
        let report = readiness().await;
        report.contains(rule).then_some(report)
    })
    .await;
    assert!(report.contains("[+] pull-secrets (forbidden: ") && report.ends_with("\nready\n"), "{report}");
    assert_eq!(metric("mirrorgate_watch_up", "secrets").await, 0.0);
    let described = until("the Event", 10, async || {
        let shown = kubectl(&["-n", NAMESPACE, "describe", "configmap", POLICY]).out;
        shown.contains("PullSecretsForbidden").then_some(shown)
    })
    .await;
    assert!(described.contains(rule), "{described}");
    let log = fs::read_to_string(work().join("logs/mirrorgate.log")).unwrap();
    assert!(log.lines().any(|line| line.contains("\"WARN\"") && line.contains(rule)), "the log names no rule");
    // Neither what was known, nor that it is missing: nobody could look.
    let unknown = answer(&lab, &namespace, pod(&["nginx:1.27"])).await;
    assert_eq!(unknown, Ok(vec!["lab-pull".to_owned()]));
    let bare = lab.namespace(Some("enforce")).await;
    assert_eq!(answer(&lab, &bare, pod(&["nginx:1.27"])).await, Ok(vec!["lab-pull".to_owned()]));

    let back = Instant::now();
    allow(&policy);
    until("the watch", 10, async || (metric("mirrorgate_watch_up", "secrets").await == 1.0).then_some(())).await;
    assert!(back.elapsed() < Duration::from_secs(6), "{:?}", back.elapsed());
    assert!(answer(&lab, &bare, pod(&["nginx:1.27"])).await.is_err(), "missing again");
    assert_eq!(answer(&lab, &namespace, pod(&["nginx:1.27"])).await, Ok(vec!["lab-pull".to_owned()]));
    assert!(!readiness().await.contains("forbidden"));
    assert_eq!(mirrorgate::process(), Some(process));
}

/// Puts mirrorgate's command line back.
struct CommandLine(String);

impl CommandLine {
    fn file() -> std::path::PathBuf {
        work().join("parts").join(PART)
    }

    fn with(option: &str) -> Self {
        let old = fs::read_to_string(Self::file()).unwrap();
        fs::write(Self::file(), format!("{old} {option}")).unwrap();
        part("restart", PART, "TERM");
        Self(old)
    }
}

impl Drop for CommandLine {
    fn drop(&mut self) {
        fs::write(Self::file(), &self.0).unwrap();
        part("restart", PART, "TERM");
    }
}

/// User, password, auth and tokens in secrets of all shapes: none is in the log at its most talkative, nor anywhere else
/// that we write to.
#[tokio::test]
async fn s3_no_credential_gets_out() {
    let lab = Lab::alone().await;
    under(&lab, &policy(&["lab-pull", "'pull-{namespace}'"], "")).await;
    let log_file = work().join("logs/mirrorgate.log");
    let log_before = fs::metadata(&log_file).unwrap().len();
    let _talkative = CommandLine::with("--log-level=trace");
    until("mirrorgate", 30, async || ready().await.ok()).await;
    let namespace = lab.namespace(Some("enforce")).await;
    let api = secrets(&lab, &namespace);
    let marker = "Zm1hcmtlcn";
    let entry = json!({
        "username": marker, "password": marker, "auth": format!("{marker}Zm1hcmtlcnM"), "identitytoken": marker,
        "registrytoken": marker, "email": marker,
    });
    let documents = [
        json!({"auths": {"elsewhere.test": entry}, "credsStore": marker}).to_string(),
        json!({"auths": [entry]}).to_string(),
        json!({"auths": {"elsewhere.test": {"auth": 5, "password": [marker]}}}).to_string(),
        json!({"auths": {"elsewhere.test": marker}}).to_string(),
        json!({"auths": {}, "HttpHeaders": marker}).to_string(),
    ];
    let mut answers = String::new();
    for document in &documents {
        for name in ["lab-pull".to_owned(), format!("pull-{namespace}")] {
            let mut secret = pull_secret(&name, &[]);
            secret["stringData"][".dockerconfigjson"] = json!(document);
            secret["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": marker});
            let _ = api.delete(&name, &DeleteParams::default()).await;
            make(&api, &secret).await;
        }
        let manifest = pod(&["nginx:1.27"]).to_string();
        let printed = kubectl_with(&manifest, &["-n", &namespace, "create", "-f", "-", "-o", "json"]);
        answers += &format!("{printed:?}");
    }
    // In the list of a start, too.
    part("restart", PART, "TERM");
    until("mirrorgate", 30, async || ready().await.ok()).await;
    let events = kubectl(&["get", "events", "-A", "-o", "json"]).success().out;
    let log = fs::read(&log_file).unwrap();
    let log = String::from_utf8_lossy(&log[usize::try_from(log_before).unwrap()..]);
    let metrics = format!("{:?}{}", mirrorgate::metrics().await, readiness().await);
    assert!(
        log.contains("\"TRACE\"") && log.contains("is malformed") && answers.contains("lab-pull"),
        "nothing was seen"
    );
    // As it is, and as base64 of what holds it, wherever it stands in there.
    let encoded = ["", "x", "xx"].map(|before| {
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{before}{marker}"));
        encoded[4..encoded.len() - 4].to_owned()
    });
    let wanted: Vec<&str> = encoded.iter().map(String::as_str).chain([marker]).collect();
    let written = api.get("lab-pull").await.unwrap();
    let written = serde_json::to_string(&written).unwrap();
    assert!(wanted.iter().any(|found| written.contains(found)), "the marker is not found where it is");
    for (what, text) in [("log", &*log), ("answers", &answers), ("Events", &events), ("metrics", &metrics)] {
        for found in &wanted {
            let line = text.lines().find(|line| line.contains(found));
            assert_eq!(line, None, "{what}");
        }
    }
}

/// 10,000 Secrets of other names and types are never sent to us.
#[tokio::test]
async fn s5_other_secrets_cost_nothing() {
    let lab = Lab::alone().await;
    under(&lab, &policy(&["lab-pull"], "pullSecrets:\n- {name: 'pull-{namespace}', registries: [harbor.test]}\n"))
        .await;
    let namespace = lab.namespace(Some("enforce")).await;
    let objects = async || metric("mirrorgate_watch_objects_total", "secrets").await;
    let before = objects().await;
    let api = secrets(&lab, &namespace);
    let others = (0..10_000).map(|n| {
        json!({"metadata": {"name": format!("other-{n}")}, "type": "Opaque", "stringData": {"key": "x".repeat(200)}})
    });
    stream::iter(others).for_each_concurrent(32, async |secret| make(&api, &secret).await).await;
    assert_eq!(objects().await, before);
    make(&api, &pull_secret("lab-pull", &[MIRROR])).await;
    // The one, by its own watch and by that of all docker configs.
    until("the secret", 5, async || (objects().await == before + 2.0).then_some(())).await;
    kubectl(&["delete", "namespace", &namespace, "--wait=false"]).success();
}
