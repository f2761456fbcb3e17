//! The lab that this suite runs in: its kubectl, its helm, and the CRDs that were built into it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

static INSTALLED: Mutex<()> = Mutex::new(());

/// For a test that installs: one at a time, as all of them make the same objects.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    INSTALLED.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

/// A folder of `manifests/`, as an argument.
pub(crate) fn folder(name: &str) -> String {
    let folder = manifests().join(name);
    assert!(folder.is_dir(), "{} is no folder", folder.display());
    folder.to_str().unwrap().to_owned()
}

/// What a program printed.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Printed {
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert!(self.ok, "{}\n{}", self.out, self.err);
        self.out
    }
}

pub(crate) fn kubectl(arguments: &[&str]) -> Printed {
    run("kubectl", arguments, "")
}

/// The same with a text on its stdin.
pub(crate) fn kubectl_with(stdin: &str, arguments: &[&str]) -> Printed {
    run("kubectl", arguments, stdin)
}

/// helm, which keeps what it writes in the lab's folder.
pub(crate) fn helm(arguments: &[&str]) -> Printed {
    run("helm", arguments, "")
}

/// Commands of a page, in a folder, with mirrorgate on PATH.
pub(crate) fn shell(folder: &Path, commands: &str) -> Printed {
    let binary = Path::new(env!("CARGO_BIN_EXE_mirrorgate")).parent().unwrap();
    let commands = format!("cd '{}'\nPATH='{}':$PATH\n{commands}", folder.display(), binary.display());
    run("bash", &["-euc", &commands], "")
}

fn run(program: &str, arguments: &[&str], stdin: &str) -> Printed {
    assert!(
        std::env::var_os("LAB_WORK").is_some(),
        "this suite runs inside a lab: call tests/run, or see tests/lab/README.md"
    );
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; see tests/lab/build.sh"));
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Printed { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}

/// The kinds of cert-manager and of prometheus-operator that the overlays use, from their own CRDs.
pub(crate) fn know_the_kinds_of_others() {
    static APPLIED: Once = Once::new();
    APPLIED.call_once(|| {
        for crd in [
            "cert-manager.io_certificates.yaml",
            "cert-manager.io_issuers.yaml",
            "monitoring.coreos.com_prometheusrules.yaml",
            "monitoring.coreos.com_servicemonitors.yaml",
        ] {
            // Too large for the annotation of a client-side apply.
            kubectl(&["apply", "--server-side", "-f", built(crd).to_str().unwrap()]).success();
        }
        let kinds = [
            "certificates.cert-manager.io",
            "issuers.cert-manager.io",
            "prometheusrules.monitoring.coreos.com",
            "servicemonitors.monitoring.coreos.com",
        ];
        for kind in kinds {
            kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", kind]).success();
        }
    });
}

/// A file that `tests/lab/build.sh --packaging` made: it is in one of the folders on PATH.
fn built(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let file = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.exists());
    file.unwrap_or_else(|| panic!("{name} is not there: call tests/lab/build.sh --packaging, then tests/lab/up.sh"))
}

/// Waits for a condition, at most so many seconds.
#[track_caller]
pub(crate) fn until<T>(what: &str, seconds: u64, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited {seconds} s in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
