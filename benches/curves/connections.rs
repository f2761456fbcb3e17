//! Connections at once: the server's own listener over TLS on loopback, HTTP/1.1 as the API server speaks it to a Service.
//! Server and clients have a thread each; what counts is the processor time of the server's. Needs Linux for that.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mirrorgate::server::{Stage, admission_router, serve_connections};
use mirrorgate::serving::{CertificateFiles, CertificateSource, InForce};
use mirrorgate::telemetry::{Metrics, Readiness};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::Curve;
use super::chart::{Axis, Chart, Line};
use super::marks::Mark;
use super::measure::{Sample, ratio};
use super::scene::{self, Scene, bodies};

const COUNTS: [usize; 7] = [1, 3, 10, 30, 100, 300, 1000];
/// Each with new connections, as many as are asked for and then some more.
const SWEEPS: usize = 3;
/// Figures for each count in each of them.
const WINDOWS: usize = 9;
const WINDOW: Duration = Duration::from_millis(100);
/// The server has 800 of its own, which is no more than the API server needs; here nobody is to give way.
const SEATS: usize = 1024;
const SERVER: &str = "curves-server";

pub(crate) fn connections() -> Curve {
    let body = bodies::small();
    let scene = Scene::new(&scene::policy(10), &[&body]);
    let mut samples = COUNTS.map(|count| Sample { x: count as f64, rounds: Vec::new() });
    for _ in 0..SWEEPS {
        let server = Server::start(&scene);
        let clients = one_thread("curves-clients");
        let mut crowd = Crowd::new(&server, &body);
        for (count, sample) in COUNTS.into_iter().zip(&mut samples) {
            clients.block_on(crowd.grow(count));
            for _ in 0..WINDOWS {
                sample.rounds.push(clients.block_on(crowd.window()));
            }
        }
    }
    let [first, last] = [&samples[0], &samples[COUNTS.len() - 1]];
    let what = "1 to 1,000 connections, each always busy (CPU)";
    let mark = Mark { what, ratio: ratio(&[first, last], |costs| costs[1] / costs[0]), most: None };
    Curve {
        chart: Chart {
            title: "The server's CPU for a review against connections that all ask",
            said: mark.line(),
            x: Axis::decades("connections at once", 1.0, 1000.0, ""),
            y: Axis::from_zero("µs of CPU a review", Chart::highest(&samples, &None)),
            lines: vec![Line { name: "2 containers, 4.5 kB, TLS and HTTP/1.1", samples: samples.to_vec() }],
            limit: None,
        },
        marks: vec![mark],
    }
}

fn one_thread(name: &str) -> Runtime {
    Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build().unwrap()
}

/// Ends with its value.
struct Server {
    address: SocketAddr,
    connector: TlsConnector,
    _stage: watch::Sender<Stage>,
    _runtime: Runtime,
}

impl Server {
    fn start(scene: &Scene) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = CertificateSource::Directory { directory: folder.path().to_owned(), names: Vec::new() };
        let in_force = Arc::new(InForce::new(Arc::new(Metrics::new()), Arc::new(Readiness::new(&[]))));
        let files = CertificateFiles::load(&source, None, Arc::clone(&in_force)).unwrap();
        let connector = connector(files.authority().unwrap());
        let tls = TlsAcceptor::from(Arc::new(in_force.server_config().unwrap()));

        let runtime = one_thread(SERVER);
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (stage, stages) = watch::channel(Stage::Serving);
        runtime.spawn(serve_connections(listener, Some(tls), admission_router(scene.app()), SEATS, stages));
        Self { address, connector, _stage: stage, _runtime: runtime }
    }
}

fn connector(authority: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Clients that ask as fast as they are answered, until the value goes.
struct Crowd {
    address: SocketAddr,
    connector: TlsConnector,
    request: Arc<[u8]>,
    answered: Arc<AtomicU64>,
    /// Whether they ask: a new one is not to wait behind all others.
    asking: watch::Sender<bool>,
    clients: JoinSet<()>,
}

impl Crowd {
    fn new(server: &Server, body: &[u8]) -> Self {
        let head = format!(
            "POST /v1/mutate/enforce?timeout=10s HTTP/1.1\r\nHost: mirrorgate.mirrorgate-system.svc:443\r\n\
             User-Agent: kube-apiserver-admission\r\nContent-Length: {}\r\nAccept: application/json, */*\r\n\
             Content-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), body].concat().into();
        let (address, connector) = (server.address, server.connector.clone());
        let asking = watch::channel(false).0;
        Self { address, connector, request, answered: Arc::default(), asking, clients: JoinSet::new() }
    }

    /// Until so many ask, each of which was answered once.
    async fn grow(&mut self, count: usize) {
        self.asking.send_replace(false);
        for _ in self.clients.len()..count {
            let stream = TcpStream::connect(self.address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut client = Client { stream: self.connector.connect(name, stream).await.unwrap(), read: Vec::new() };
            let (request, answered) = (Arc::clone(&self.request), Arc::clone(&self.answered));
            let mut asking = self.asking.subscribe();
            client.ask(&request).await;
            self.clients.spawn(async move {
                while asking.wait_for(|asking| *asking).await.is_ok() {
                    client.ask(&request).await;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        self.asking.send_replace(true);
        // Until each had several turns.
        let before = self.answered.load(Ordering::Relaxed);
        let started = Instant::now();
        while self.answered.load(Ordering::Relaxed) - before < 3 * count as u64 {
            assert!(started.elapsed() < Duration::from_secs(60), "{count} connections are not answered");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What a review costs the server for a while, in microseconds.
    async fn window(&mut self) -> f64 {
        let now = |answered: &AtomicU64| (answered.load(Ordering::Relaxed), processor_time(SERVER));
        let before = now(&self.answered);
        tokio::time::sleep(WINDOW).await;
        let after = now(&self.answered);
        // One that ended did not like its answer.
        assert!(self.clients.try_join_next().is_none(), "a connection ended");
        (after.1 - before.1) * 1e6 / (after.0 - before.0) as f64
    }
}

struct Client {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

impl Client {
    async fn ask(&mut self, request: &[u8]) {
        self.stream.write_all(request).await.unwrap();
        self.read.clear();
        let whole = loop {
            assert!(self.stream.read_buf(&mut self.read).await.unwrap() > 0, "the server closed the connection");
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4 + length(&self.read[..end]);
            }
        };
        while self.read.len() < whole {
            assert!(self.stream.read_buf(&mut self.read).await.unwrap() > 0, "the server closed the connection");
        }
        assert!(self.read.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&self.read));
    }
}

fn length(head: &[u8]) -> usize {
    let head = str::from_utf8(head).unwrap().to_ascii_lowercase();
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
    value.trim().parse().unwrap()
}

/// What the threads of this name have had of the processors, in seconds.
fn processor_time(name: &str) -> f64 {
    let mut nanoseconds = 0;
    for thread in fs::read_dir("/proc/self/task").unwrap() {
        let thread = thread.unwrap().path();
        if fs::read_to_string(thread.join("comm")).unwrap().trim_end() == name {
            let times = fs::read_to_string(thread.join("schedstat")).unwrap();
            nanoseconds += times.split(' ').next().unwrap().parse::<u64>().unwrap();
        }
    }
    nanoseconds as f64 / 1e9
}
