//! mirrorgate as its users run it: the pods of `manifests/base`, from the image of `image/build`, pulled from the lab's
//! registry. It must have been built: `tests/run` does that.
//!
//! These tests have a lab to themselves, where no process stands in for the pods, and run one after the other:
//! `tests/lab/in.sh /tmp/lab cargo test --offline --test node installed::`.

mod container;
mod doctor;
mod figures;
mod from_nothing;
mod life;
mod load;
mod outages;
mod under_load;

use std::fmt::Display;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::lab::{Lab, Printed, kubectl, kubectl_with, repository, until, work};
use crate::mirrorgate::{NAMESPACE, get_from};
use crate::node::REGISTRY;
use crate::pods::name;

/// mirrorgate, installed by `kubectl apply -k` of an overlay that says where its image is.
pub(crate) struct Installed {
    pub(crate) lab: Lab,
}

/// One of its pods, and the process in it.
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) process: u32,
}

impl Installed {
    /// Under this policy, with both replicas ready; it may stand there from an earlier test. See [`policy`].
    pub(crate) async fn under(policy: &str) -> Self {
        let lab = Lab::bare().await;
        write_manifests(REGISTRY, policy);
        apply().success();
        let installed = Self { lab };
        installed.ready().await;
        installed
    }

    /// The same, when nothing of it was there before.
    pub(crate) async fn anew(policy: &str) -> Self {
        let installed = Self::begun(REGISTRY, policy).await;
        installed.ready().await;
        installed
    }

    /// The same, the image being pulled from a registry that has what the lab's has; nobody waits until it is ready.
    pub(crate) async fn begun(registry: &str, policy: &str) -> Self {
        let lab = Lab::bare().await;
        write_manifests(registry, policy);
        uninstall().success();
        apply().success();
        Self { lab }
    }

    /// Waits until every pod of the Deployment is ready, and no other but those that are going, which may take a while.
    pub(crate) async fn ready(&self) {
        let rollout = ["-n", NAMESPACE, "rollout", "status", "deployment/mirrorgate", "--timeout=60s"];
        let printed = kubectl(&rollout);
        assert!(printed.ok, "{printed:?}\n{}", kubectl(&["-n", NAMESPACE, "describe", "pods"]).out);
        until("the replicas alone", 60, async || (self.pods().await.len() == 2).then_some(())).await;
    }

    /// Its pods, without those that are going.
    pub(crate) async fn pods(&self) -> Vec<Pod> {
        let mut pods = self.all_pods().await;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        pods
    }

    async fn all_pods(&self) -> Vec<Pod> {
        let ours = ListParams::default().labels("app.kubernetes.io/name=mirrorgate");
        self.lab.pods(NAMESPACE).list(&ours).await.unwrap().items
    }

    /// Its pods that run, with their processes.
    pub(crate) async fn replicas(&self) -> Vec<Replica> {
        replicas(self.pods().await)
    }

    /// The same, those that are going among them.
    pub(crate) async fn all_replicas(&self) -> Vec<Replica> {
        replicas(self.all_pods().await)
    }
}

/// Those of the pods that run, with their processes.
fn replicas(pods: Vec<Pod>) -> Vec<Replica> {
    let processes = processes();
    let replica = |pod: Pod| {
        let status = pod.status.as_ref()?;
        let container = status.container_statuses.as_ref()?.first()?.container_id.as_deref()?;
        let id = container.trim_start_matches("containerd://");
        let process = processes.iter().find(|(container, _)| container == id)?.1;
        Some(Replica { name: name(&pod).to_owned(), address: status.pod_ip.clone()?, process })
    };
    pods.into_iter().filter_map(replica).collect()
}

impl Replica {
    /// What it answers on its plain port.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String), String> {
        get_from(&self.address, path).await
    }

    /// The sum of a metric over all labels that contain `labels`.
    pub(crate) async fn metric(&self, name: &str, labels: &str) -> f64 {
        let (_, metrics) = self.get("/metrics").await.unwrap();
        let lines = metrics.lines().filter_map(|line| line.rsplit_once(' '));
        lines
            .filter(|(line, _)| line.split('{').next() == Some(name) && line.contains(labels))
            .map(|(_, value)| value.parse::<f64>().unwrap())
            .sum()
    }

    /// A field of the process's status, as the kernel gives it.
    pub(crate) fn status(&self, field: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{field}: {status}")).trim().to_owned()
    }

    /// The SHA-256 of the policy in force there.
    pub(crate) async fn policy_in_force(&self) -> String {
        let (_, metrics) = self.get("/metrics").await.unwrap();
        let line = metrics.lines().find(|line| line.starts_with("mirrorgate_policy_info{")).unwrap_or_default();
        line.split("sha256=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned()
    }

    /// What of memory it has, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let resident = self.status("VmRSS");
        resident.trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

/// The policy of the node suite, with the lab's CA in it: a pod sees no file of the node's.
pub(crate) fn policy() -> String {
    let policy = fs::read_to_string(repository().join("tests/node/policy.yaml")).unwrap();
    let ca = fs::read_to_string(work().join("pki/ca.crt")).unwrap();
    policy.replace("file: LAB_WORK/pki/ca.crt", &format!("inline: {}", json!(ca)))
}

/// What is applied.
fn overlay() -> PathBuf {
    work().join("installed/manifests/lab")
}

/// `kubectl apply -k`, as its user does it.
pub(crate) fn apply() -> Printed {
    kubectl(&["apply", "-k", overlay().to_str().unwrap()])
}

/// `kubectl delete -k`, as its user does it. What is not there is none of its faults.
pub(crate) fn uninstall() -> Printed {
    kubectl(&["delete", "--ignore-not-found", "-k", overlay().to_str().unwrap()])
}

/// A copy of `manifests`, edited as the README says: the policy, the access that it needs, where the image is; and an overlay
/// with the pull secret that the lab's registry asks for.
fn write_manifests(registry: &str, policy: &str) {
    let (installed, digest) = (work().join("installed"), image());
    let _ = fs::remove_dir_all(installed.join("manifests"));
    fs::create_dir_all(&installed).unwrap();
    run(Command::new("cp").arg("-r").arg(repository().join("manifests")).arg(&installed));
    let base = installed.join("manifests/base");
    fs::write(base.join("policy.yaml"), policy).unwrap();
    let mut rbac = Command::new(env!("CARGO_BIN_EXE_mirrorgate"));
    let roles = run(rbac.arg("rbac").arg("--policy").arg(base.join("policy.yaml")));
    fs::write(base.join("pull-secrets.yaml"), roles).unwrap();

    let credentials = json!({"auths": {registry: {"username": "puller", "password": "pull"}}}).to_string();
    let kustomization = json!({
        "resources": ["../base"],
        "sortOptions": {"order": "fifo"},
        "images": [{"name": "mirrorgate", "newName": format!("{registry}/mirrorgate"), "digest": digest}],
        "secretGenerator": [{
            "name": "image-pull", "namespace": NAMESPACE, "type": "kubernetes.io/dockerconfigjson",
            "literals": [format!(".dockerconfigjson={credentials}")], "options": {"disableNameSuffixHash": true},
        }],
        "patches": [{
            "target": {"kind": "ServiceAccount", "name": "mirrorgate"},
            "patch": json!([{"op": "add", "path": "/imagePullSecrets", "value": [{"name": "image-pull"}]}]).to_string(),
        }],
    });
    fs::create_dir_all(overlay()).unwrap();
    fs::write(overlay().join("kustomization.yaml"), kustomization.to_string()).unwrap();
}

/// What `image/build` made.
pub(crate) fn archive() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_mirrorgate")).parent().unwrap().parent().unwrap();
    let archive = target.join("image/mirrorgate.tar");
    assert!(archive.exists(), "call image/build first: {} is not there", archive.display());
    archive
}

/// Its files, and its digest.
pub(crate) fn layout() -> (TempDir, String) {
    let layout = TempDir::new_in(work()).unwrap();
    run(Command::new("tar").arg("-xf").arg(archive()).arg("-C").arg(layout.path()));
    let index: Value = serde_json::from_slice(&fs::read(layout.path().join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    (layout, digest)
}

/// Puts the image into the lab's registry, and gives its digest.
fn image() -> String {
    let (layout, digest) = layout();
    let mut crane = Command::new("crane");
    crane.arg("push").arg(layout.path()).arg(format!("{REGISTRY}/mirrorgate:0.1.0"));
    run(crane.env("SSL_CERT_FILE", work().join("pki/ca.crt")).env("DOCKER_CONFIG", work().join("node")));
    digest
}

/// Runs a program that must succeed, and gives what it printed.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    Printed::of(command.output().unwrap()).success().out
}

/// The containers that run, and the process of each.
fn processes() -> Vec<(String, u32)> {
    let tasks = run(Command::new("ctr").args(["-n", "k8s.io", "tasks", "ls"]));
    let task = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    };
    tasks.lines().filter_map(task).collect()
}

/// A Deployment of pods with one container each.
pub(crate) fn deployment(name: &str, image: &str, replicas: u32) -> Value {
    let labels = json!({ "app": name });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "app", "image": image}]},
            },
        },
    })
}

/// Applies it, and waits until its pods run.
#[track_caller]
pub(crate) fn comes_up(namespace: &str, deployment: &Value) {
    kubectl_with(&deployment.to_string(), &["-n", namespace, "apply", "-f", "-"]).success();
    let name = format!("deployment/{}", deployment["metadata"]["name"].as_str().unwrap());
    let printed = kubectl(&["-n", namespace, "rollout", "status", &name, "--timeout=60s"]);
    assert!(printed.ok, "{printed:?}\n{}", kubectl(&["-n", namespace, "get", "events"]).out);
}

/// Prints a figure, for whoever watches; nothing passes or fails by it.
pub(crate) fn figure(what: &str, value: impl Display) {
    // Past the test harness, which would keep it to itself.
    let _ = writeln!(std::io::stderr(), "figure: {what}: {value}");
}
