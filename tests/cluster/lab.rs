//! The lab that this suite runs in: its API server, kubectl, audit log and processes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::mirrorgate;

static TURN: RwLock<()> = RwLock::const_new(());
static CHANGED: AtomicBool = AtomicBool::new(true);

/// The label by which a namespace opts in.
pub(crate) const MODE: &str = "mirrorgate.dev/mode";

/// The lab, with mirrorgate installed, ready, and under the policy of `manifests/base`.
pub(crate) struct Lab {
    pub(crate) client: Client,
    _turn: Turn,
}

#[expect(dead_code, reason = "held, not read")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

impl Lab {
    /// For a test that keeps to namespaces of its own.
    pub(crate) async fn shared() -> Self {
        loop {
            let turn = TURN.read().await;
            if !CHANGED.load(Ordering::SeqCst) {
                return Self { client: client().await, _turn: Turn::Shared(turn) };
            }
            drop(turn);
            let _alone = TURN.write().await;
            if CHANGED.load(Ordering::SeqCst) {
                install().await;
                CHANGED.store(false, Ordering::SeqCst);
            }
        }
    }

    /// For a test that changes what the others share.
    pub(crate) async fn alone() -> Self {
        let lab = Self::bare().await;
        install().await;
        lab
    }

    /// For a test that has the lab to itself, and installs mirrorgate by itself.
    pub(crate) async fn bare() -> Self {
        let turn = TURN.write().await;
        CHANGED.store(true, Ordering::SeqCst);
        Self { client: client().await, _turn: Turn::Alone(turn) }
    }

    /// A new namespace in which pods can be made, with or without the opt-in label.
    pub(crate) async fn namespace(&self, mode: Option<&str>) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() % 10_000_000;
        let name = format!("test-{run}-{}", NEXT.fetch_add(1, Ordering::SeqCst));
        let labels = mode.map_or(json!({}), |mode| json!({ MODE: mode }));
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        Api::<Namespace>::all(self.client.clone())
            .create(&PostParams::default(), &serde_json::from_value(namespace).unwrap())
            .await
            .unwrap();
        self.default_account(&name).await;
        name
    }

    /// Waits for the service account without which no pod can be made. Its controller may wait a minute before it tries again when
    /// the API server was away.
    pub(crate) async fn default_account(&self, namespace: &str) {
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), namespace);
        until("the default service account", 90, async || accounts.get_opt("default").await.unwrap()).await;
    }

    /// Sets the opt-in label, or takes it away.
    pub(crate) async fn label(&self, namespace: &str, mode: Option<&str>) {
        let patch = json!({"metadata": {"labels": { MODE: mode }}});
        let namespaces = Api::<Namespace>::all(self.client.clone());
        namespaces.patch(namespace, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    pub(crate) fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(crate) async fn create(&self, namespace: &str, pod: Value) -> Result<Pod, kube::Error> {
        self.pods(namespace).create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await
    }

    /// What the API server answers to a pod, without making it: the pod, or the denial.
    pub(crate) async fn dry_run(&self, namespace: &str, pod: Value) -> Result<Pod, String> {
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        match self.pods(namespace).create(&dry_run, &serde_json::from_value(pod).unwrap()).await {
            Ok(made) => Ok(made),
            Err(kube::Error::Api(status)) => Err(status.message.clone()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Creates pods until one satisfies `wanted`, deleting the others: for a change of which nothing tells when it is in
    /// force.
    pub(crate) async fn until_a_pod(&self, namespace: &str, pod: &Value, wanted: impl Fn(&Pod) -> bool) -> Pod {
        let pods = self.pods(namespace);
        until("a pod as wanted", 10, async || {
            let made = self.create(namespace, pod.clone()).await.ok()?;
            if wanted(&made) {
                return Some(made);
            }
            pods.delete(made.metadata.name.as_deref().unwrap(), &DeleteParams::default().grace_period(0))
                .await
                .unwrap();
            None
        })
        .await
    }
}

/// What fails for one test is not tried again by the next.
async fn install() {
    static FAILED: AtomicBool = AtomicBool::new(false);
    assert!(!FAILED.swap(true, Ordering::SeqCst), "mirrorgate could not be installed; see the first failure");
    mirrorgate::install().await;
    FAILED.store(false, Ordering::SeqCst);
}

pub(crate) async fn client() -> Client {
    // Fails in all but the first call.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::try_from(Config::infer().await.unwrap()).unwrap()
}

/// The folder of the lab.
pub(crate) fn work() -> PathBuf {
    let folder = std::env::var_os("LAB_WORK");
    folder.unwrap_or_else(|| panic!("this suite runs inside a lab: call tests/run, or see tests/lab/README.md")).into()
}

/// The address in the lab's network that is ours.
pub(crate) fn our_address() -> String {
    std::env::var("LAB_SECOND_ADDRESS").unwrap()
}

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Takes away what keeps `caBundle` from being emptied; the next installation brings it back.
pub(crate) async fn let_ca_bundles_be_emptied() {
    kubectl(&["delete", "validatingadmissionpolicybinding", "mirrorgate-ca-bundle", "--ignore-not-found"]).success();
    until("caBundle that may be emptied", 30, async || empty_ca_bundle(&["--dry-run=server"]).ok.then_some(())).await;
}

/// Tries to empty `caBundle` of the first webhook.
pub(crate) fn empty_ca_bundle(arguments: &[&str]) -> Printed {
    let empty = r#"[{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": ""}]"#;
    let patch = ["patch", "mutatingwebhookconfiguration", "mirrorgate", "--type=json", "-p", empty];
    kubectl(&[&patch, arguments].concat())
}

/// Starts, stops or restarts a process of the lab.
pub(crate) fn part(action: &str, part: &str, signal: &str) {
    let mut command = Command::new(repository().join("tests/lab/part.sh"));
    let output = command.arg(work()).args([action, part, signal]).output().unwrap();
    assert!(output.status.success(), "{action} {part}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What a program printed.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the lab's kubectl as the administrator.
pub(crate) fn kubectl(arguments: &[&str]) -> Printed {
    kubectl_with("", arguments)
}

/// The same with a text on its stdin.
pub(crate) fn kubectl_with(stdin: &str, arguments: &[&str]) -> Printed {
    use std::io::Write;
    let mut command = Command::new("kubectl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    Printed::of(child.wait_with_output().unwrap())
}

impl Printed {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert!(self.ok, "{self:?}");
        self
    }
}

/// The API server's audit events on pods of a namespace with this verb, oldest first.
pub(crate) fn audit_events(namespace: &str, verb: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(work().join("logs/audit.json")).unwrap();
    log.lines()
        .filter(|line| line.contains(namespace))
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["objectRef"]["namespace"] == namespace && event["verb"] == verb)
        .collect()
}

/// Waits for a condition, at most so many seconds.
pub(crate) async fn until<T>(what: &str, seconds: u64, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < end, "waited {seconds} s in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
