//! A client of our own, for what oha does not measure: the first answer of a server, what it says, and how calls fare around a
//! moment.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsConnector;

/// Where reviews are sent.
pub(crate) const PATH: &str = "/v1/mutate/enforce?timeout=10s";

/// Connects to one server, over HTTP/1.1.
#[derive(Clone)]
pub(crate) struct Client {
    connector: TlsConnector,
    address: SocketAddr,
}

/// A connection, which lives as long as this value.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _task: JoinSet<()>,
}

impl Client {
    pub(crate) fn new(authority: &Path, address: SocketAddr) -> anyhow::Result<Client> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(authority).context("the CA")? {
            roots.add(certificate.context("the CA")?).context("the CA")?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().context("TLS")?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(Client { connector: TlsConnector::from(Arc::new(config)), address })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let stream =
            TcpStream::connect(self.address).await.with_context(|| format!("connecting to {}", self.address))?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(self.address.ip());
        let stream = self.connector.connect(name, stream).await.context("the TLS handshake")?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.context("HTTP/1.1")?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            // Its end shows at the next call.
            let _ended = connection.await;
        });
        Ok(Connection { sender, _task: task })
    }
}

impl Connection {
    /// The answer to one review.
    pub(crate) async fn review(&mut self, body: Bytes) -> anyhow::Result<Bytes> {
        let request = Request::post(PATH).header(HOST, "webhook").header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(body)).context("the request")?;
        self.sender.ready().await.context("the connection")?;
        let answer = self.sender.send_request(request).await.context("the answer")?;
        let status = answer.status();
        let body = answer.into_body().collect().await.context("the answer")?.to_bytes();
        if status != StatusCode::OK {
            bail!("answered by {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(body)
    }
}

/// One call, as its caller saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// When it was due.
    pub(crate) due: Instant,
    pub(crate) took: Duration,
}

/// Calls a server at a fixed rate on some connections until `end`, whether it answers in time or not: a call that is due while its
/// connection waits for an answer counts from when it was due.
pub(crate) async fn steady(
    client: &Client,
    connections: u32,
    rate: f64,
    body: &Bytes,
    end: Instant,
) -> anyhow::Result<Vec<Call>> {
    let interval = Duration::from_secs_f64(f64::from(connections) / rate);
    let start = Instant::now() + Duration::from_millis(50);
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        let mut connection = client.connect().await?;
        let body = body.clone();
        let mut due = start + interval * number / connections;
        tasks.spawn(async move {
            let mut calls = Vec::new();
            while due < end {
                let is_late = Instant::now() > due;
                sleep_until(due).await;
                // The timer is coarse: that it was late is not the server's doing.
                let begun = if is_late { due } else { Instant::now() };
                connection.review(body.clone()).await?;
                calls.push(Call { due, took: begun.elapsed() });
                due += interval;
            }
            anyhow::Ok(calls)
        });
    }
    let mut calls = Vec::new();
    while let Some(done) = tasks.join_next().await {
        calls.extend(done.context("a caller")??);
    }
    Ok(calls)
}
