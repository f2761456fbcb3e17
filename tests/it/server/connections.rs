//! Connections: those that say nothing or little, those that stay, and the certificate that they are shown.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::process::{Server, policy, review, within};
use super::wire::Connection;

const HEAD: &[u8] = b"POST /v1/mutate/enforce HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n";

/// Clients that hold on: each is cut off at its deadline, and meanwhile others notice nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_say_nothing_or_a_byte_a_second_are_cut_off_and_others_notice_nothing() {
    let server = Server::start(&policy("harbor.corp"), &[]).await;
    let (authority, https) = (server.authority(), server.https);
    let mut slow: JoinSet<(&str, Duration)> = JoinSet::new();
    for _ in 0..100 {
        // Not one byte of a handshake.
        slow.spawn(async move {
            let mut stream = TcpStream::connect(https).await.unwrap();
            let start = Instant::now();
            let _reset_or_end = stream.read(&mut [0; 16]).await;
            ("silent", start.elapsed())
        });
    }
    for _ in 0..20 {
        let authority = authority.clone();
        slow.spawn(async move {
            let mut connection = Connection::open(&authority, https).await.unwrap();
            let start = Instant::now();
            trickle(&mut connection, HEAD).await;
            ("headers", start.elapsed())
        });
        let authority = server.authority();
        slow.spawn(async move {
            let mut connection = Connection::open(&authority, https).await.unwrap();
            connection.stream.write_all(HEAD).await.unwrap();
            let start = Instant::now();
            trickle(&mut connection, &[b' '; 1000]).await;
            ("body", start.elapsed())
        });
    }
    let done = Arc::new(AtomicBool::new(false));
    let mut others = JoinSet::new();
    others.spawn({
        let (done, authority) = (Arc::clone(&done), authority.clone());
        async move {
            let mut slowest = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let start = Instant::now();
                let mut connection = Connection::open(&authority, https).await.unwrap();
                assert_eq!(connection.post("/v1/mutate/enforce", &review()).await.unwrap().status, 200);
                slowest = slowest.max(start.elapsed());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            slowest
        }
    });
    for (kind, after) in tokio::time::timeout(Duration::from_secs(40), slow.join_all()).await.unwrap() {
        let (least, most) = if kind == "silent" { (4, 8) } else { (9, 16) };
        assert!((least..most).contains(&after.as_secs()), "{kind}: cut off after {after:?}");
    }
    done.store(true, Ordering::Relaxed);
    let slowest = others.join_next().await.unwrap().unwrap();
    assert!(slowest < Duration::from_secs(2), "another client waited {slowest:?}");
}

/// One byte a second until the server ends the connection.
async fn trickle(connection: &mut Connection, bytes: &[u8]) {
    for byte in bytes {
        let wait = tokio::time::timeout(Duration::from_secs(1), connection.ended());
        if wait.await.is_ok() || connection.stream.write_all(&[*byte]).await.is_err() {
            return;
        }
    }
    connection.ended().await;
}

/// Trap 36: a server's default header timeout (30 s) ends idle connections that the API server is about to use. One that
/// was used before and one that never was both serve a call after it.
#[tokio::test]
async fn trap_36_a_connection_that_was_idle_for_31_s_still_serves() {
    let server = Server::start(&policy("harbor.corp"), &[]).await;
    let mut used = Connection::open(&server.authority(), server.https).await.unwrap();
    assert_eq!(used.post("/v1/mutate/enforce", &review()).await.unwrap().status, 200);
    let mut unused = Connection::open(&server.authority(), server.https).await.unwrap();
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(used.post("/v1/mutate/enforce", &review()).await.unwrap().status, 200);
    assert_eq!(unused.post("/v1/mutate/enforce", &review()).await.unwrap().status, 200);
}

/// A CA that stays and signs one serving certificate after the other.
struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    fn new(file: &Path) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        std::fs::write(file, params.self_signed(&key).unwrap().pem()).unwrap();
        Authority(Issuer::new(params, key))
    }

    /// A Secret volume's folder: `..data` is a symlink that is swapped, the files point through it. Returns the
    /// certificate in DER. `broken` puts another pair's key beside it.
    fn mount(&self, folder: &Path, version: usize, broken: bool) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let real = folder.join(format!("..version-{version}"));
        std::fs::create_dir(&real).unwrap();
        std::fs::write(real.join("tls.crt"), certificate.pem()).unwrap();
        let key = if broken { KeyPair::generate().unwrap() } else { key };
        std::fs::write(real.join("tls.key"), key.serialize_pem()).unwrap();
        let link = |target: &Path, name: &str| {
            std::os::unix::fs::symlink(target, folder.join("..new")).unwrap();
            std::fs::rename(folder.join("..new"), folder.join(name)).unwrap();
        };
        link(real.file_name().unwrap().as_ref(), "..data");
        if version == 0 {
            link(Path::new("..data/tls.crt"), "tls.crt");
            link(Path::new("..data/tls.key"), "tls.key");
        }
        certificate.der().to_vec()
    }
}

/// Trap 21: a watch of the *file* sees the first swap of the symlink and no later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trap_21_a_certificate_is_rotated_by_symlink_three_times_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    let authority = Authority::new(&ca);
    let mount = folder.path().join("mount");
    std::fs::create_dir(&mount).unwrap();
    let mut newest = authority.mount(&mount, 0, false);
    let file = |name: &str| mount.join(name).to_str().unwrap().to_owned();
    let server =
        Server::start(&policy("harbor.corp"), &["--tls-cert", &file("tls.crt"), "--tls-key", &file("tls.key")]).await;

    let done = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicUsize::new(0));
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let (done, calls, ca, https) = (Arc::clone(&done), Arc::clone(&calls), ca.clone(), server.https);
        load.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let mut connection = Connection::open(&ca, https).await.unwrap();
                for _ in 0..5 {
                    assert_eq!(connection.post("/v1/mutate/enforce", &review()).await.unwrap().status, 200);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    let shows = async |certificate: &[u8]| {
        within(Duration::from_secs(10), "the new certificate is shown", async || {
            let shown = Connection::open(&ca, server.https).await.unwrap().certificate();
            (shown == certificate).then_some(())
        })
        .await;
    };
    shows(&newest).await;
    for version in 1..=3 {
        newest = authority.mount(&mount, version, false);
        shows(&newest).await;
    }
    // A key that does not go with it: the last good pair stays.
    authority.mount(&mount, 4, true);
    let said = |message: &str| server.log().iter().any(|line| line["message"].as_str() == Some(message));
    within(Duration::from_secs(10), "the bad pair is reported", async || {
        said("the new serving certificate cannot be used; the last one stays").then_some(())
    })
    .await;
    shows(&newest).await;
    newest = authority.mount(&mount, 5, false);
    shows(&newest).await;
    done.store(true, Ordering::Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.expect("a call failed during the rotations");
    }
    assert!(calls.load(Ordering::Relaxed) > 50);
}
