//! The real binary, started and ended by a test.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A policy that sends Docker Hub to `endpoint`.
pub(super) fn policy(endpoint: &str) -> String {
    format!(
        "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\nregistryMirrors:\n  - name: harbor\n    endpoint: https://{endpoint}/proxy\n    hosts: [docker.io]\n"
    )
}

/// A review of a pod with one image from Docker Hub.
pub(super) fn review() -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "1f0b2c6e",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "namespace": "team-a",
            "object": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "web"},
                "spec": {"containers": [{"name": "web", "image": "nginx:1.27"}]}
            }
        }
    }))
    .unwrap()
}

/// Waits for `condition`, at most `bound`.
pub(super) async fn within<T>(bound: Duration, what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + bound;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < end, "not within {bound:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A running server; ended when it is dropped.
pub(super) struct Server {
    child: Child,
    directory: TempDir,
    pub(super) https: SocketAddr,
    pub(super) http: SocketAddr,
}

impl Server {
    /// Starts one with `policy` and further arguments, and waits until it listens.
    pub(super) async fn start(policy: &str, arguments: &[&str]) -> Server {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("policy.yaml"), policy).unwrap();
        let mut command = command(&directory.path().join("policy.yaml"));
        command.args(arguments);
        if !arguments.contains(&"--tls-cert") {
            command.arg("--cert-dir").arg(directory.path().join("certificates"));
        }
        Server::spawn(directory, command).await
    }

    /// Starts one without a policy file, whose API server refuses connections.
    pub(super) async fn start_in_a_cluster_that_is_away() -> Server {
        let directory = tempfile::tempdir().unwrap();
        let kubeconfig = directory.path().join("kubeconfig");
        let cluster = "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: x, user: x}}]\nusers: [{name: x, user: {}}]\nclusters: [{name: x, cluster: {server: \"http://127.0.0.1:1\"}}]\n";
        std::fs::write(&kubeconfig, cluster).unwrap();
        let mut command = serve_command();
        command.env_clear().env("KUBECONFIG", kubeconfig);
        command.arg("--cert-dir").arg(directory.path().join("certificates"));
        Server::spawn(directory, command).await
    }

    async fn spawn(directory: TempDir, mut command: Command) -> Server {
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let child = command.args(["--log-format", "json"]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Server { child, directory, https: nowhere, http: nowhere };
        let listening = within(Duration::from_secs(20), "the server listens", async || {
            server.log().into_iter().find(|line| line["message"] == "listening")
        })
        .await;
        server.https = listening["https"].as_str().unwrap().parse().unwrap();
        server.http = listening["http"].as_str().unwrap().parse().unwrap();
        server
    }

    pub(super) fn policy_file(&self) -> PathBuf {
        self.directory.path().join("policy.yaml")
    }

    /// The CA that it made for itself.
    pub(super) fn authority(&self) -> PathBuf {
        self.directory.path().join("certificates/ca.crt")
    }

    /// Its log so far, a JSON value a line.
    pub(super) fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.directory.path().join("log")).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect()
    }

    /// A figure in kB out of `/proc/PID/status`.
    pub(super) fn memory_kb(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(super) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// As a person at a terminal does.
    pub(super) fn interrupt(&self) {
        self.signal("-INT");
    }

    fn signal(&self, signal: &str) {
        let killed = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    pub(super) async fn exit(&mut self, bound: Duration) -> ExitStatus {
        within(bound, "the server exits", async || self.child.try_wait().unwrap()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
        if std::thread::panicking() {
            let mut log = String::new();
            let file = std::fs::File::open(self.directory.path().join("log"));
            let _read = file.and_then(|mut file| file.read_to_string(&mut log));
            #[expect(clippy::print_stdout, reason = "shown beside the failure of the test")]
            {
                println!("the server's log:\n{log}");
            }
        }
    }
}

/// `mirrorgate serve` on free ports of the loopback range, with a policy file.
pub(super) fn command(policy: &Path) -> Command {
    let mut command = serve_command();
    command.arg("--policy").arg(policy);
    command
}

fn serve_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mirrorgate"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
    command
}
