//! Pods are created, dry, on connections that stay: how fast, and what CPU that takes of whom.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures::future::try_join_all;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, WARNING};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::lab::{kubectl, work};

/// A namespace, and what the API server does to the pods that are created there.
pub(crate) struct Way {
    /// For people.
    pub(crate) name: &'static str,
    pub(crate) namespace: String,
    /// What is sent.
    pub(crate) pod: Bytes,
    /// The images that have to be in every answer, as JSON members.
    pub(crate) images: Vec<String>,
    /// The part of the lab that is the webhook.
    pub(crate) webhook: Option<&'static str>,
}

/// One way, once.
pub(crate) struct Sample {
    pub(crate) rate: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// CPU milliseconds for one creation.
    pub(crate) api_server: f64,
    pub(crate) webhook: Option<f64>,
}

/// Connections to the API server, HTTP/1.1, each with one creation at a time.
pub(crate) struct Connections {
    senders: Vec<SendRequest<Full<Bytes>>>,
    authorization: HeaderValue,
    host: HeaderValue,
    /// They drive the connections.
    _tasks: JoinSet<()>,
}

impl Connections {
    pub(crate) async fn open(count: usize) -> anyhow::Result<Self> {
        let address = std::env::var("LAB_ADDRESS")?;
        let token = kubectl(&["config", "view", "--raw", "-o", "jsonpath={.users[0].user.token}"]).success().out;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(work().join("pki/ca.crt"))?)?;
        let tls = Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth());
        let name = ServerName::try_from(address.clone())?;
        let mut senders = Vec::new();
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let stream = TcpStream::connect((address.as_str(), 443)).await?;
            stream.set_nodelay(true)?;
            let stream = TlsConnector::from(Arc::clone(&tls)).connect(name.clone(), stream).await?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // How it ended, its next creation says.
            tasks.spawn(async move { drop(connection.await) });
            senders.push(sender);
        }
        let authorization = HeaderValue::try_from(format!("Bearer {token}"))?;
        Ok(Self { senders, authorization, host: HeaderValue::try_from(address)?, _tasks: tasks })
    }

    /// Creates pods for so long on the first `count` connections, after a warm-up, and counts the creations to `total`.
    pub(crate) async fn measure(
        &mut self,
        way: &Way,
        count: usize,
        [warm_up, time]: [Duration; 2],
        total: &mut usize,
    ) -> anyhow::Result<Sample> {
        *total += self.create(way, count, warm_up).await?.len();
        let before = Cpu::of(way)?;
        let start = Instant::now();
        let mut times = self.create(way, count, time).await?;
        let elapsed = start.elapsed();
        let after = Cpu::of(way)?;
        *total += times.len();
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e3 / times.len() as f64;
        Ok(Sample {
            rate: times.len() as f64 / elapsed.as_secs_f64(),
            p50: at(0.5),
            p99: at(0.99),
            api_server: each(after.api_server - before.api_server),
            webhook: after.webhook.zip(before.webhook).map(|(after, before)| each(after - before)),
        })
    }

    async fn create(&mut self, way: &Way, count: usize, time: Duration) -> anyhow::Result<Vec<Duration>> {
        let end = Instant::now() + time;
        let (authorization, host) = (&self.authorization, &self.host);
        let workers = self.senders[..count].iter_mut().map(async |sender| {
            let mut times = Vec::new();
            // At least one: none would have no median.
            while times.is_empty() || Instant::now() < end {
                let start = Instant::now();
                let request = Request::post(format!("/api/v1/namespaces/{}/pods?dryRun=All", way.namespace))
                    .header(HOST, host)
                    .header(AUTHORIZATION, authorization)
                    .header(CONTENT_TYPE, "application/json")
                    .header(ACCEPT, "application/json")
                    .body(Full::new(way.pod.clone()))?;
                sender.ready().await?;
                let (head, body) = sender.send_request(request).await?.into_parts();
                let body = body.collect().await?.to_bytes();
                times.push(start.elapsed());
                let body = std::str::from_utf8(&body)?;
                ensure!(head.status == StatusCode::CREATED, "{}: {}: {body}", way.name, head.status);
                if let Some(warning) = head.headers.get(WARNING) {
                    bail!("{}: {}", way.name, String::from_utf8_lossy(warning.as_bytes()));
                }
                for image in &way.images {
                    ensure!(body.contains(image), "{}: there is no {image} in {body}", way.name);
                }
            }
            anyhow::Ok(times)
        });
        Ok(try_join_all(workers).await?.concat())
    }
}

/// CPU time of processes so far.
struct Cpu {
    api_server: Duration,
    webhook: Option<Duration>,
}

impl Cpu {
    fn of(way: &Way) -> anyhow::Result<Self> {
        let webhook = way.webhook.map(cpu_of).transpose()?;
        Ok(Self { api_server: cpu_of("apiserver")?, webhook })
    }
}

/// CPU time of a part of the lab, user's and system's.
fn cpu_of(part: &str) -> anyhow::Result<Duration> {
    let pid = std::fs::read_to_string(work().join("pids").join(part)).with_context(|| part.to_owned())?;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .with_context(|| format!("{part} ended: {}", work().join("logs").join(format!("{part}.log")).display()))?;
    // Behind the name, which may hold anything: state is the third field, these the fourteenth and fifteenth.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let [user, system] = [11, 12].map(|field| fields.get(field).and_then(|ticks| ticks.parse::<u64>().ok()));
    let ticks = user.zip(system).map(|(user, system)| user + system).context("/proc/PID/stat")?;
    // On Linux a tick is 10 ms there, whatever the kernel's own is.
    Ok(Duration::from_millis(ticks * 10))
}
