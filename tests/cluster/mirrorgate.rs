//! mirrorgate in the lab: installed as its pages say, run as a process in the place of its pods.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::lab::{Lab, client, kubectl, kubectl_with, our_address, part, repository, until, work};

pub(crate) const NAMESPACE: &str = "mirrorgate-system";
pub(crate) const POLICY: &str = "mirrorgate-policy";

/// The part of the lab that is mirrorgate.
pub(crate) const PART: &str = "mirrorgate";

/// Puts mirrorgate into the state in which every test finds it: installed, running, under the policy of the manifests.
pub(crate) async fn install() {
    until("the API server", 60, async || kubectl(&["get", "--raw", "/readyz"]).ok.then_some(())).await;
    let base = repository().join("manifests/base");
    kubectl(&["apply", "-k", base.to_str().unwrap()]).success();
    take_all_secrets_away();
    if !kubeconfig().exists() {
        stand_in_for_the_pods();
        write_kubeconfig();
    }
    run(&[]).await;
    let policy = fs::read_to_string(base.join("policy.yaml")).unwrap();
    until("mirrorgate under the policy of the manifests", 30, async || {
        assert!(running(), "mirrorgate ended: {}", work().join("logs/mirrorgate.log").display());
        (ready().await.is_ok() && policy_in_force().await == sha256(&policy)).then_some(())
    })
    .await;
    // A test that waits for an Event means one of its own.
    let events = Api::<Event>::namespaced(client().await, NAMESPACE);
    events.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
}

/// The access of the component `discover-pull-secrets`, which is not in the base.
pub(crate) const ALL_SECRETS: &str = "mirrorgate-discover-pull-secrets";

pub(crate) fn take_all_secrets_away() {
    kubectl(&["delete", "clusterrolebinding", ALL_SECRETS, "--ignore-not-found"]).success();
}

/// There is no kubelet: the endpoint of the Service is our process.
fn stand_in_for_the_pods() {
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "mirrorgate-process", "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": "mirrorgate", "endpointslice.kubernetes.io/managed-by": "tests"},
        },
        "ports": [{"name": "https", "port": 8443, "protocol": "TCP"}],
        "endpoints": [{"addresses": [our_address()], "conditions": {"ready": true}}],
    });
    kubectl_with(&slice.to_string(), &["apply", "-f", "-"]).success();
}

/// The rights are those of the service account.
fn write_kubeconfig() {
    let token = kubectl(&["-n", NAMESPACE, "create", "token", "mirrorgate", "--duration=24h"]).success().out;
    let admin = kubectl(&["config", "view", "--raw", "-o", "json"]).success().out;
    let mut config: Value = serde_json::from_str(&admin).unwrap();
    config["users"][0]["user"] = json!({ "token": token.trim() });
    config["contexts"][0]["context"]["namespace"] = json!(NAMESPACE);
    fs::write(kubeconfig(), config.to_string()).unwrap();
}

/// What stands in for the service account's token in a pod.
pub(crate) fn kubeconfig() -> PathBuf {
    work().join("mirrorgate.kubeconfig")
}

/// The command line of the Deployment, and whatever else is given.
pub(crate) async fn arguments(more: &[&str]) -> Vec<String> {
    let deployment = Api::<Deployment>::namespaced(client().await, NAMESPACE).get("mirrorgate").await.unwrap();
    let container = deployment.spec.unwrap().template.spec.unwrap().containers.remove(0);
    container.args.unwrap().into_iter().chain(more.iter().map(|&argument| argument.to_owned())).collect()
}

/// Has it run with these arguments beside those of the Deployment. When it ran with others, its Secret is deleted.
pub(crate) async fn run(more: &[&str]) {
    let arguments = arguments(more).await.join(" ");
    let program = env!("CARGO_BIN_EXE_mirrorgate");
    let command = format!("env KUBECONFIG={} {program} {arguments}", kubeconfig().display());
    let file = work().join("parts").join(PART);
    if fs::read_to_string(&file).is_ok_and(|ran| ran != command) {
        part("stop", PART, "KILL");
        kubectl(&["-n", NAMESPACE, "delete", "secret", "mirrorgate-serving", "--ignore-not-found"]).success();
    }
    fs::write(file, command).unwrap();
    if !running() {
        part("start", PART, "TERM");
    }
}

/// The process, if it is there.
pub(crate) fn process() -> Option<String> {
    let pid = fs::read_to_string(work().join("pids").join(PART)).ok()?.trim().to_owned();
    // Ended and not yet reaped is ended. Its command line says nothing yet while it is being started.
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    (!state.rsplit(')').next()?.starts_with(" Z")).then_some(pid)
}

fn running() -> bool {
    process().is_some()
}

/// What `/readyz` says.
pub(crate) async fn ready() -> Result<(), String> {
    let (status, body) = get("/readyz").await?;
    if status == 200 { Ok(()) } else { Err(body) }
}

/// The text of `/readyz`, ready or not; empty without an answer.
pub(crate) async fn readiness() -> String {
    get("/readyz").await.map(|(_, body)| body).unwrap_or_default()
}

async fn get(path: &str) -> Result<(u16, String), String> {
    get_from(&our_address(), path).await
}

/// What is answered at an address, on the plain port.
pub(crate) async fn get_from(address: &str, path: &str) -> Result<(u16, String), String> {
    get_of((address, 8080), path).await
}

/// What a process of ours answers that has its plain port there.
pub(crate) async fn get_at(port: u16, path: &str) -> Result<(u16, String), String> {
    get_of((&our_address(), port), path).await
}

async fn get_of(address: (&str, u16), path: &str) -> Result<(u16, String), String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = exchange.await.map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("no status")?;
    Ok((status, body.to_owned()))
}

/// Every line of `/metrics` that is a value, as name with labels and value.
pub(crate) async fn metrics() -> Vec<(String, f64)> {
    let Ok((_, body)) = get("/metrics").await else { return Vec::new() };
    body.lines()
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

/// The sum of a metric over all labels that contain `labels`.
pub(crate) async fn metric(name: &str, labels: &str) -> f64 {
    let metrics = metrics().await;
    metrics
        .iter()
        .filter(|(line, _)| line.split('{').next() == Some(name) && line.contains(labels))
        .map(|(_, value)| value)
        .sum()
}

/// Reviews answered so far, of all modes and results.
pub(crate) async fn requests() -> f64 {
    metric("mirrorgate_admission_requests_total", "").await
}

/// The SHA-256 of the policy in force, or nothing.
pub(crate) async fn policy_in_force() -> String {
    let metrics = metrics().await;
    let info = metrics.iter().find(|(line, _)| line.starts_with("mirrorgate_policy_info{"));
    info.and_then(|(line, _)| line.split("sha256=\"").nth(1)?.split('"').next()).unwrap_or_default().to_owned()
}

pub(crate) fn sha256(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A policy with one mirror for two registries, which shows in every image.
pub(crate) fn policy_with_mirror(host: &str) -> String {
    format!(
        "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\nregistryMirrors:\n- name: mirror\n  endpoint: https://{host}\n  hosts: [docker.io, quay.io]\n"
    )
}

/// Writes the policy ConfigMap.
pub(crate) async fn edit_policy(config_maps: &Api<ConfigMap>, policy: &str) -> Result<ConfigMap, kube::Error> {
    let patch =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": POLICY}, "data": {"policy.yaml": policy}});
    config_maps.patch(POLICY, &PatchParams::apply("tests").force(), &Patch::Apply(&patch)).await
}

/// The policy is in force, with the access that `mirrorgate rbac` prints for it, and what it names is watched.
pub(crate) async fn under(lab: &Lab, policy: &str) {
    allow(policy);
    edit_policy(&Api::<ConfigMap>::namespaced(lab.client.clone(), NAMESPACE), policy).await.unwrap();
    in_force(policy).await;
}

/// Lets every edit of the policy pass unseen, until the manifests are applied again: for what gets past the guard.
pub(crate) async fn without_guard(config_maps: &Api<ConfigMap>) {
    let nowhere = json!({"webhooks": [{
        "name": "policy.mirrorgate.dev",
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "nowhere"}},
    }]});
    kubectl(&["patch", "validatingwebhookconfiguration", "mirrorgate", "-p", &nowhere.to_string()]).success();
    let broken = json!({"data": {"policy.yaml": "kind: Broken"}});
    until("no guard", 10, async || {
        let dry_run = PatchParams { dry_run: true, ..PatchParams::default() };
        config_maps.patch(POLICY, &dry_run, &Patch::Merge(&broken)).await.is_ok().then_some(())
    })
    .await;
}

/// Waits until the policy is in force, and what it names is watched.
pub(crate) async fn in_force(policy: &str) {
    until("the policy", 5, async || (policy_in_force().await == sha256(policy)).then_some(())).await;
    for resource in ["secrets", "ca-bundles"] {
        let up = async || (metric("mirrorgate_watch_up", resource).await == 1.0).then_some(());
        until("the watches", 10, up).await;
    }
}

/// Gives the access that `mirrorgate rbac` prints for a policy.
pub(crate) fn allow(policy: &str) {
    let file = work().join("policy.yaml");
    fs::write(&file, policy).unwrap();
    let mut rbac = Command::new(env!("CARGO_BIN_EXE_mirrorgate"));
    let printed = rbac.arg("rbac").arg("--policy").arg(file).output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let roles = String::from_utf8(printed.stdout).unwrap();
    kubectl_with(&roles, &["apply", "-f", "-"]).success();
    if !roles.contains(&format!("name: {ALL_SECRETS}\n")) {
        take_all_secrets_away();
    }
}
