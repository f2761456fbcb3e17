//! From start to end: the first policy, its edits, the line to try it with, and the order of a shutdown.

use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use super::process::{Server, command, policy, review, within};
use super::wire::{Connection, get, http2, http2_review, patch};

/// Starts a server that is expected to end by itself.
fn start_and_end(policy: Option<&str>) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    if let Some(policy) = policy {
        std::fs::write(&file, policy).unwrap();
    }
    command(&file).arg("--cert-dir").arg(folder.path()).output().unwrap()
}

#[test]
fn a_policy_file_that_is_missing_is_exit_2() {
    let Output { status, stdout, stderr } = start_and_end(None);
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{stderr}");
    assert!(stdout.is_empty() && stderr.contains("policy.yaml"), "{stderr}");
}

#[test]
fn a_first_policy_with_faults_is_exit_1_and_every_fault_is_said() {
    let faulty = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\nregistryMirrors:\n  - name: one\n    endpoint: ftp://x\n    hosts: [\"a b\"]\nunknownKey: 1\n";
    let Output { status, stderr, .. } = start_and_end(Some(faulty));
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    for part in ["endpoint", "hosts", "unknownKey"] {
        assert!(stderr.contains(part), "nothing of {part} in:\n{stderr}");
    }
}

/// Trap 28: an edit is in force without a restart, and a broken one changes nothing.
#[tokio::test]
async fn trap_28_an_edit_is_taken_up_and_a_broken_one_leaves_the_last_good_policy() {
    let server = Server::start(&policy("one.corp"), &[]).await;
    let mut connection = Connection::open(&server.authority(), server.https).await.unwrap();
    let mut mirror = async || patch(&connection.post("/v1/mutate/enforce", &review()).await.unwrap().body);
    assert!(mirror().await.contains("one.corp"));

    std::fs::write(server.policy_file(), policy("two.corp")).unwrap();
    within(Duration::from_secs(5), "the edit is in force", async || mirror().await.contains("two.corp").then_some(()))
        .await;

    std::fs::write(server.policy_file(), "registryMirrors: 5\n").unwrap();
    within(Duration::from_secs(5), "the fault is counted", async || {
        (!get(server.http, "/metrics").await.1.contains("\nmirrorgate_policy_errors 0\n")).then_some(())
    })
    .await;
    assert!(mirror().await.contains("two.corp"));
    let (status, report) = get(server.http, "/readyz").await;
    assert!(status == 200 && report.contains("[+] policy (the last good one"), "{report}");

    std::fs::remove_file(server.policy_file()).unwrap();
    within(Duration::from_secs(5), "its absence is said", async || {
        get(server.http, "/readyz").await.1.contains("cannot be read").then_some(())
    })
    .await;
    assert!(mirror().await.contains("two.corp"));

    // Put back as it was: it can be read, and is as broken as before.
    std::fs::write(server.policy_file(), "registryMirrors: 5\n").unwrap();
    let report = within(Duration::from_secs(5), "its return is said", async || {
        let report = get(server.http, "/readyz").await.1;
        (!report.contains("cannot be read")).then_some(report)
    })
    .await;
    assert!(report.contains("[+] policy (the last good one: the file has"), "{report}");

    std::fs::write(server.policy_file(), policy("three.corp")).unwrap();
    within(Duration::from_secs(5), "the mended file is in force", async || {
        mirror().await.contains("three.corp").then_some(())
    })
    .await;
    let (_, metrics) = get(server.http, "/metrics").await;
    assert!(metrics.contains("\nmirrorgate_policy_errors 0\n") && metrics.contains("generation=\"3\""), "{metrics}");
    assert!(metrics.contains("\nmirrorgate_ready 1\n"), "{metrics}");
}

/// The line that is printed at the start answers with a patch, as it is printed.
#[tokio::test]
async fn the_printed_curl_line_is_answered_with_a_patch() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    std::fs::write(&file, policy("harbor.corp").replace("docker.io", "quay.io")).unwrap();
    let log = folder.path().join("log");
    let mut child = command(&file)
        .arg("--cert-dir")
        .arg(folder.path().join("a folder"))
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let line = within(Duration::from_secs(20), "the line is printed", async || {
        let log = std::fs::read_to_string(&log).unwrap();
        log.lines().find(|line| line.starts_with("curl ") && line.ends_with('\'')).map(ToOwned::to_owned)
    })
    .await;
    let body = line.split_once(" -d '").unwrap().1.trim_end_matches('\'');
    let port: u16 = line.split_once("https://localhost:").unwrap().1.split_once('/').unwrap().0.parse().unwrap();
    let authority = folder.path().join("a folder/ca.crt");
    assert!(line.contains(&format!("--cacert '{}'", authority.display())), "{line}");
    let mut connection = Connection::open(&authority, ([127, 0, 0, 1], port).into()).await.unwrap();
    let answer = connection.post("/v1/mutate/enforce", body.as_bytes()).await.unwrap();
    let by_curl = std::process::Command::new("sh").args(["-c", &line]).output();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(patch(&answer.body).contains("harbor.corp/proxy/"), "{answer:?}");
    // 127: this machine has no curl.
    if let Ok(output) = by_curl
        && output.status.code() != Some(127)
    {
        assert!(patch(&output.stdout).contains("harbor.corp/proxy/"), "{output:?}");
    }
}

/// Trap 23: calls are served while the cluster takes us out, answers say goodbye, and what was begun is finished.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_23_no_call_fails_when_the_server_is_terminated_under_load() {
    let mut server = Server::start(&policy("harbor.corp"), &["--shutdown-delay", "2s"]).await;
    let (authority, https) = (server.authority(), server.https);
    let (out_of_endpoints, calls, goodbyes) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut load = JoinSet::new();
    for _ in 0..8 {
        let (out_of_endpoints, calls, goodbyes) =
            (Arc::clone(&out_of_endpoints), Arc::clone(&calls), Arc::clone(&goodbyes));
        let authority = authority.clone();
        load.spawn(async move {
            let mut connection = Connection::open(&authority, https).await.unwrap();
            // As the API server does: a connection is kept until an answer ends it, and a new one goes where the
            // endpoints say.
            loop {
                let answer = connection.post("/v1/mutate/enforce", &review()).await.unwrap();
                assert_eq!(answer.status, 200);
                calls.fetch_add(1, Ordering::Relaxed);
                if answer.says_goodbye() {
                    goodbyes.fetch_add(1, Ordering::Relaxed);
                    if out_of_endpoints.load(Ordering::Relaxed) {
                        return;
                    }
                    connection = Connection::open(&authority, https).await.unwrap();
                }
            }
        });
    }
    // A call that is begun before the end and finished after it.
    let mut slow = Connection::open(&authority, https).await.unwrap();
    let body = review();
    let head = format!(
        "POST /v1/mutate/enforce HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    slow.stream.write_all(head.as_bytes()).await.unwrap();
    slow.stream.write_all(&body[..10]).await.unwrap();
    let enough = async || (calls.load(Ordering::Relaxed) > 100).then_some(());
    within(Duration::from_secs(20), "the load runs", enough).await;
    assert_eq!(goodbyes.load(Ordering::Relaxed), 0);

    let start = Instant::now();
    server.terminate();
    within(Duration::from_secs(2), "not ready", async || (get(server.http, "/readyz").await.0 == 503).then_some(()))
        .await;
    assert!(get(server.http, "/readyz").await.1.contains("[-] process: shutting down"));
    assert_eq!(get(server.http, "/livez").await.0, 200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    out_of_endpoints.store(true, Ordering::Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.expect("a call failed during the shutdown");
    }
    assert!(goodbyes.load(Ordering::Relaxed) >= 8);
    within(Duration::from_secs(10), "nothing new is accepted", async || {
        Connection::open(&authority, https).await.is_err().then_some(())
    })
    .await;
    assert!(start.elapsed() >= Duration::from_secs(2), "the delay was cut short");
    slow.stream.write_all(&body[10..]).await.unwrap();
    let answer = slow.answer().await.unwrap();
    assert!(answer.status == 200 && answer.says_goodbye(), "{answer:?}");
    assert_eq!(server.exit(Duration::from_secs(10)).await.code(), Some(0));
}

/// Trap 23 on HTTP/2: the goodbye is a GOAWAY, and a new connection is served until nothing new is accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_23_on_http_2_the_goodbye_is_a_goaway_and_no_call_fails() {
    let mut server = Server::start(&policy("harbor.corp"), &["--shutdown-delay", "1s"]).await;
    let (mut sender, driver) = http2(&server.authority(), server.https).await;
    let mut drivers = JoinSet::new();
    drivers.spawn(driver);
    for call in 0.. {
        if call == 20 {
            server.terminate();
        }
        assert!(call < 100_000, "no GOAWAY came");
        if sender.ready().await.is_err() {
            break;
        }
        match sender.send_request(http2_review(review())).await {
            Ok(answer) => assert_eq!(answer.status(), hyper::StatusCode::OK),
            // Not sent, whether the goodbye came before or while it was to be: the client takes another connection.
            Err(error) if call >= 20 && (error.is_canceled() || format!("{error:?}").contains("NO_ERROR")) => break,
            Err(error) => panic!("call {call}: {error:?}"),
        }
    }
    let ended = tokio::time::timeout(Duration::from_secs(5), drivers.join_next()).await;
    ended.expect("the connection stays").unwrap().unwrap().unwrap();

    let (mut sender, driver) = http2(&server.authority(), server.https).await;
    drivers.spawn(driver);
    assert_eq!(sender.send_request(http2_review(review())).await.unwrap().status(), hyper::StatusCode::OK);
    assert_eq!(server.exit(Duration::from_secs(10)).await.code(), Some(0));
}

/// Trap 36: whoever closes an idle connection loses the call that meets the moment.
#[tokio::test]
async fn trap_36_idle_connections_still_serve_a_call_when_nothing_new_is_accepted() {
    let arguments = ["--shutdown-delay", "100ms", "--shutdown-linger", "3s"];
    let mut server = Server::start(&policy("harbor.corp"), &arguments).await;
    let mut used = Connection::open(&server.authority(), server.https).await.unwrap();
    assert!(!used.post("/v1/mutate/enforce", &review()).await.unwrap().says_goodbye());
    let mut unused = Connection::open(&server.authority(), server.https).await.unwrap();
    let mut never_used = Connection::open(&server.authority(), server.https).await.unwrap();
    server.terminate();
    within(Duration::from_secs(5), "nothing new is accepted", async || {
        Connection::open(&server.authority(), server.https).await.is_err().then_some(())
    })
    .await;
    for connection in [&mut used, &mut unused] {
        let answer = connection.post("/v1/mutate/enforce", &review()).await.unwrap();
        assert!(answer.status == 200 && answer.says_goodbye(), "{answer:?}");
    }
    let start = Instant::now();
    never_used.ended().await;
    assert!(start.elapsed() > Duration::from_secs(1), "ended after {:?}", start.elapsed());
    assert_eq!(server.exit(Duration::from_secs(5)).await.code(), Some(0));
}

#[test]
fn without_a_cluster_and_a_policy_file_it_is_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_mirrorgate"))
        .args(["serve", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--cert-dir"])
        .arg(folder.path())
        .env_clear()
        .env("KUBECONFIG", folder.path().join("absent"))
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("--policy"), "{stderr}");
}

/// Trap 22: a server in a cluster that does not answer starts, is not ready, says what is missing, and tells every review
/// to come again.
#[tokio::test]
async fn trap_22_a_server_without_its_policy_is_alive_and_not_ready() {
    let server = Server::start_in_a_cluster_that_is_away().await;
    assert_eq!(get(server.http, "/livez").await.0, 200);
    let (status, report) = get(server.http, "/readyz").await;
    assert!(status == 503 && report.contains("[-] policy") && report.contains("[+] certificate"), "{report}");
    assert!(get(server.http, "/metrics").await.1.contains("\nmirrorgate_ready 0\n"));
    let mut connection = Connection::open(&server.authority(), server.https).await.unwrap();
    let answer = connection.post("/v1/mutate/enforce", &review()).await.unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
}

/// A person at a terminal waits for nobody's idle connections.
#[tokio::test]
async fn an_interrupted_server_does_not_linger() {
    let mut server =
        Server::start(&policy("harbor.corp"), &["--shutdown-delay", "0s", "--shutdown-linger", "10m"]).await;
    let mut idle = Connection::open(&server.authority(), server.https).await.unwrap();
    assert_eq!(idle.post("/v1/mutate/enforce", &review()).await.unwrap().status, 200);
    server.interrupt();
    assert_eq!(server.exit(Duration::from_secs(10)).await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_the_server_at_once() {
    let mut server = Server::start(&policy("harbor.corp"), &["--shutdown-delay", "10m"]).await;
    server.terminate();
    within(Duration::from_secs(5), "the first signal", async || {
        (get(server.http, "/readyz").await.0 == 503).then_some(())
    })
    .await;
    server.terminate();
    assert_eq!(server.exit(Duration::from_secs(5)).await.code(), Some(1));
}
