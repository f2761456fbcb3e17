//! Hostile clients of the listener: while they are at it, others notice nothing, and memory stays bounded. The figures that
//! each test prints (`cargo test --test it server::hostile -- --nocapture --test-threads=1`) are in `benches/README.md`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use super::frames;
use super::process::{Server, policy, review, within};
use super::wire::{Connection, connector};

/// More than the listener has seats for.
const CROWD: usize = 1000;

/// One attack takes all cores.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Where the victim is, and whether the attack is over.
#[derive(Clone)]
struct Attack {
    authority: PathBuf,
    https: SocketAddr,
    over: Arc<AtomicBool>,
    /// What was sent, of whatever counts for the attack.
    sent: Arc<AtomicUsize>,
    /// Handshakes at once, on the attackers' side: they share their cores with the good clients.
    door: Arc<Semaphore>,
    /// As `over`, to be waited for.
    ended: watch::Receiver<bool>,
}

impl Attack {
    fn is_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    async fn http1(&self) -> std::io::Result<Connection> {
        let _turn = self.door.acquire().await;
        Connection::open(&self.authority, self.https).await
    }

    /// An HTTP/2 connection, its preface and settings sent.
    async fn http2(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let _turn = self.door.acquire().await;
        let stream = TcpStream::connect(self.https).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector(&self.authority, "h2").connect(name, stream).await?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        Ok(stream)
    }

    /// Waits for the end of the attack, holding on to what the client has.
    async fn hold<T>(&self, held: T) {
        let mut ended = self.ended.clone();
        let _over = ended.wait_for(|ended| *ended).await;
        drop(held);
    }
}

/// Runs `clients` of one attack beside two good clients: one that keeps its connection, and one that opens another for each
/// call. It goes on for `span` after its clients have come.
#[expect(clippy::print_stdout, reason = "the figure")]
async fn beside<C, F>(name: &str, clients: usize, span: Duration, client: C)
where
    C: Fn(Attack, usize) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let _alone = ONE_AT_A_TIME.lock().await;
    allow_many_files();
    let server = Server::start(&policy("harbor.corp"), &[]).await;
    let (end, ended) = watch::channel(false);
    let attack = Attack {
        authority: server.authority(),
        https: server.https,
        over: Arc::default(),
        sent: Arc::default(),
        door: Arc::new(Semaphore::new(16)),
        ended,
    };
    good(&attack, false, Duration::from_millis(500)).await;
    let before = server.memory_kb("VmRSS");
    let calm = [good(&attack, false, Duration::from_secs(1)).await, good(&attack, true, Duration::from_secs(1)).await];

    let mut attackers = JoinSet::new();
    for number in 0..clients {
        attackers.spawn(client(attack.clone(), number));
    }
    // Nobody fails while they come, either.
    let coming = async {
        while attack.sent.load(Ordering::Relaxed) < clients.min(CROWD - 1) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut meanwhile = Vec::new();
    let _come_or_turned_away = tokio::time::timeout(Duration::from_secs(4), async {
        let mut coming = std::pin::pin!(coming);
        loop {
            tokio::select! {
                () = &mut coming => return,
                times = good(&attack, true, Duration::from_millis(100)) => meanwhile.extend(times),
            }
        }
    })
    .await;
    let during = AtomicU64::new(0);
    let watch = async {
        loop {
            during.fetch_max(server.memory_kb("VmRSS"), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let beside = async { tokio::join!(good(&attack, false, span), good(&attack, true, span)) };
    let (kept, fresh) = tokio::select! {
        both = beside => both,
        () = watch => unreachable!("it goes on for ever"),
    };
    attack.over.store(true, Ordering::Relaxed);
    end.send_replace(true);
    while let Some(ended) = attackers.join_next().await {
        ended.unwrap();
    }
    let during = during.into_inner();
    within(Duration::from_secs(10), "connections of the attack end", async || {
        (good(&attack, true, Duration::from_millis(200)).await.len() > 2).then_some(())
    })
    .await;
    let after = server.memory_kb("VmRSS");
    println!(
        "| {name} | {} | {} | {} | {} | {} / {} / {} MB | {} |",
        figures(&calm[0]),
        figures(&kept),
        figures(&calm[1]),
        figures(&fresh),
        before / 1000,
        during / 1000,
        after / 1000,
        attack.sent.load(Ordering::Relaxed)
    );
    let slowest = kept.iter().chain(&fresh).chain(&meanwhile).max().unwrap();
    // What the API server waits, on a machine that does all of it and other work.
    assert!(*slowest < Duration::from_secs(5), "{name}: a good client waited {slowest:?}");
    assert!(during < 250_000, "{name}: {during} kB");
}

/// Calls of a good client, on one connection or each on a new one, and how long each took. None may fail.
async fn good(attack: &Attack, fresh: bool, span: Duration) -> Vec<Duration> {
    let body = review();
    let end = Instant::now() + span;
    let open = || Connection::open(&attack.authority, attack.https);
    let mut connection = open().await.unwrap();
    let mut times = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        if fresh {
            connection = open().await.unwrap();
        }
        let answer = connection.post("/v1/mutate/enforce?timeout=5s", &body).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        times.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    times
}

/// Median and worst, in milliseconds.
fn figures(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    format!("{:.1}, {:.0}", millis(times[times.len() / 2]), millis(*times.last().unwrap()))
}

/// As many open files as the machine lets us have.
fn allow_many_files() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let hard = line.split_whitespace().nth(4).unwrap();
    let mut prlimit = std::process::Command::new("prlimit");
    let _only_a_few =
        prlimit.args(["--pid", &std::process::id().to_string(), &format!("--nofile={hard}:{hard}")]).status();
}

const SPAN: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_notice_nothing_of_1000_idle_connections() {
    beside("1,000 connections that ask nothing", CROWD, SPAN, |attack, _| async move {
        let Ok(connection) = attack.http1().await else { return };
        attack.count();
        attack.hold(connection).await;
    })
    .await;
}

/// They look like those of the API server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_notice_nothing_of_1000_connections_that_were_used_once() {
    beside("1,000 connections that asked once", CROWD, SPAN, |attack, _| async move {
        let Ok(mut connection) = attack.http1().await else { return };
        if connection.post("/v1/mutate/audit", &review()).await.is_ok() {
            attack.count();
        }
        attack.hold(connection).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_notice_nothing_of_1000_slow_handshakes() {
    beside("1,000 handshakes, a byte at a time or none", CROWD, SPAN, |attack, number| async move {
        let Ok(mut stream) = TcpStream::connect(attack.https).await else { return };
        attack.count();
        // The beginning of a ClientHello.
        for byte in [22_u8, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3].iter().cycle() {
            if !attack.is_on() || (number % 2 == 0 && stream.write_all(&[*byte]).await.is_err()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_notice_nothing_of_1000_slow_bodies() {
    const HEAD: &[u8] = b"POST /v1/mutate/enforce HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 20000000\r\n\r\n";
    beside("1,000 bodies of 20 MB, a byte a second", CROWD, SPAN, |attack, _| async move {
        let Ok(mut connection) = attack.http1().await else { return };
        attack.count();
        let mut next = HEAD;
        while attack.is_on()
            && connection.stream.write_all(next).await.is_ok()
            && connection.stream.flush().await.is_ok()
        {
            next = b" ";
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
}

/// Together they are more than all bodies in flight may have, the large ones and the small ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_notice_nothing_of_bodies_without_their_last_byte() {
    beside("100 bodies of 1 MB and 500 of 60 kB without their last byte", 600, SPAN, |attack, number| async move {
        let body = vec![b' '; if number % 6 == 0 { 1_000_000 } else { 60_000 }];
        let head = format!(
            "POST /v1/mutate/enforce HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len() + 1
        );
        while attack.is_on() {
            let Ok(mut connection) = attack.http1().await else { continue };
            let stream = &mut connection.stream;
            if stream.write_all(head.as_bytes()).await.is_ok() && stream.write_all(&body).await.is_ok() {
                attack.count();
                let _ended = tokio::time::timeout(Duration::from_secs(1), connection.ended()).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_notice_nothing_of_tls_garbage() {
    beside("what is no TLS, as fast as it goes", 8, SPAN, |attack, number| async move {
        let mut garbage = vec![0_u8; 16 * 1024];
        let mut state = number as u32 + 1;
        while attack.is_on() {
            for byte in &mut garbage {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (state >> 24) as u8;
            }
            match state % 3 {
                0 => garbage[..5].copy_from_slice(b"POST "),
                // Records of a handshake whose message never ends.
                1 => garbage[..9].copy_from_slice(&[22, 3, 1, 63, 255, 1, 255, 255, 255]),
                _ => {}
            }
            let Ok(mut stream) = TcpStream::connect(attack.https).await else { continue };
            let _reset = stream.write_all(&garbage).await;
            let _end = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut [0; 64])).await;
            attack.count();
        }
    })
    .await;
}

/// Streams that are opened and reset, in bulk, and each after a pause in which it is begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_notice_nothing_of_http_2_rapid_reset() {
    for (name, bulk) in
        [("HTTP/2 streams opened and reset in bulk", 500), ("HTTP/2 streams opened and reset one by one", 1)]
    {
        beside(name, 4, SPAN, move |attack, _| async move {
            while attack.is_on() {
                let Ok(mut stream) = attack.http2().await else { continue };
                let mut sent = stream.write_all(&frames::settings(&[])).await;
                let mut id = 1;
                while attack.is_on() && sent.is_ok() {
                    let mut bytes = Vec::new();
                    for _ in 0..bulk {
                        bytes.extend(frames::request(id, &[], false));
                        bytes.extend(frames::reset(id));
                        id += 2;
                        attack.count();
                    }
                    sent = stream.write_all(&bytes).await;
                    if bulk == 1 {
                        sent = sent.and(stream.flush().await);
                        // What the server says to it is read, and not looked at.
                        let mut said = [0; 4096];
                        let read = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut said)).await;
                        if matches!(read, Ok(Ok(0) | Err(_))) {
                            break;
                        }
                    }
                }
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_notice_nothing_of_http_2_continuation_floods() {
    beside("HTTP/2 headers that never end (CONTINUATION)", 4, SPAN, |attack, number| async move {
        while attack.is_on() {
            let Ok(mut stream) = attack.http2().await else { continue };
            let mut bytes = frames::settings(&[]);
            bytes.extend(frames::headers_without_end(1));
            let mut sent = stream.write_all(&bytes).await;
            // Empty ones, and full ones.
            let flood = frames::continuation(1, if number % 2 == 0 { 0 } else { 16_000 }).repeat(8);
            while attack.is_on() && sent.is_ok() {
                sent = stream.write_all(&flood).await;
                attack.count();
            }
        }
    })
    .await;
}

/// As many streams as a connection may have, each with headers as large as they may be, and no body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_notice_nothing_of_http_2_streams_with_large_headers() {
    beside(
        "HTTP/2 streams with 3.5 kB of headers each, 16 on each of 400 connections",
        400,
        SPAN,
        |attack, _| async move {
            let Ok(mut stream) = attack.http2().await else { return };
            let _sent = stream.write_all(&frames::settings(&[])).await;
            let values: Vec<String> = (0..4).map(|_| "x".repeat(850)).collect();
            for number in 0..16 {
                if stream.write_all(&frames::request(2 * number + 1, &values, true)).await.is_err() {
                    break;
                }
                attack.count();
            }
            let _flushed = stream.flush().await;
            attack.hold(stream).await;
        },
    )
    .await;
}

/// PING and SETTINGS ask for an answer each, which nobody reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_notice_nothing_of_http_2_pings_and_settings() {
    beside("HTTP/2 PING and SETTINGS whose answers nobody reads", 4, SPAN, |attack, number| async move {
        while attack.is_on() {
            let Ok(mut stream) = attack.http2().await else { continue };
            let mut sent = stream.write_all(&frames::settings(&[])).await;
            let flood = if number % 2 == 0 { frames::ping().repeat(100) } else { frames::settings(&[]).repeat(100) };
            while attack.is_on() && sent.is_ok() {
                let write = tokio::time::timeout(Duration::from_millis(200), stream.write_all(&flood));
                let Ok(written) = write.await else { continue };
                sent = written;
                attack.count();
            }
        }
    })
    .await;
}

/// Calls whose answers nobody takes: HTTP/1.1 in a pipeline, HTTP/2 with a window of nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_notice_nothing_of_answers_that_nobody_takes() {
    beside("100 connections whose answers nobody takes", 100, SPAN, |attack, number| async move {
        if number % 2 == 0 {
            let Ok(mut connection) = attack.http1().await else { return };
            let body = review();
            let mut call = format!("POST /v1/mutate/audit HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
            call.extend(body);
            while attack.is_on() {
                let write = tokio::time::timeout(Duration::from_millis(200), connection.stream.write_all(&call));
                match write.await {
                    Ok(Ok(())) => attack.count(),
                    Ok(Err(_)) => return,
                    Err(_) => {}
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            return;
        }
        let Ok(mut stream) = attack.http2().await else { return };
        const INITIAL_WINDOW_SIZE: (u16, u32) = (4, 0);
        let _sent = stream.write_all(&frames::settings(&[INITIAL_WINDOW_SIZE])).await;
        for call in 0..16 {
            if stream.write_all(&frames::call(2 * call + 1, &review())).await.is_err() {
                return;
            }
            attack.count();
        }
        let _flushed = stream.flush().await;
        attack.hold(stream).await;
    })
    .await;
}
