//! Registries that do as a test says. Each ends with the value that stands for it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mirrorgate::image::Registry;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::authority::Certified;

/// What every registry answers to someone without credentials.
pub(super) const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://169.254.169.254/token\"\r\nContent-Length: 0\r\n\r\n";

pub(super) struct Listening {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Listening {
    /// As references name it.
    pub(super) fn name(&self) -> Registry {
        Registry::parse(&self.address.to_string()).unwrap()
    }

    /// How many connections there were.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Does this with each connection, on the loopback range.
pub(super) async fn listen<F>(behave: impl Fn(TcpStream) -> F + Send + 'static) -> Listening
where
    F: Future<Output = ()> + Send + 'static,
{
    listen_at("127.0.0.1:0", behave).await
}

/// Does this with each connection there.
pub(super) async fn listen_at<F>(address: &str, behave: impl Fn(TcpStream) -> F + Send + 'static) -> Listening
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut each = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            each.spawn(behave(stream));
        }
    });
    Listening { address, connections, _tasks: tasks }
}

/// Speaks TLS with this certificate, and does as told with what comes of it.
pub(super) async fn listen_tls<F>(
    certified: &Certified,
    behave: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
) -> Listening
where
    F: Future<Output = ()> + Send + 'static,
{
    listen_configured(config(certified), behave).await
}

/// Speaks TLS by this configuration.
pub(super) async fn listen_configured<F>(
    config: ServerConfig,
    behave: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
) -> Listening
where
    F: Future<Output = ()> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(Arc::new(config));
    listen(move |stream| {
        let (acceptor, behave) = (acceptor.clone(), behave.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                behave(stream).await;
            }
        }
    })
    .await
}

/// A good registry with this certificate.
pub(super) async fn good(certified: &Certified) -> Listening {
    listen_tls(certified, |stream| answer(stream, UNAUTHORIZED.into())).await
}

pub(super) fn config(certified: &Certified) -> ServerConfig {
    config_of(Arc::new(Always(Arc::new(certified.for_rustls()))), &[&rustls::version::TLS12, &rustls::version::TLS13])
}

pub(super) fn config_of(
    resolver: Arc<dyn ResolvesServerCert>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(resolver)
}

#[derive(Debug)]
pub(super) struct Always(pub(super) Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Reads a request, and writes this.
pub(super) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: String) {
    if head(&mut stream).await.is_some() {
        let _gone = stream.write_all(answer.as_bytes()).await;
        let _gone = stream.shutdown().await;
    }
}

/// The head of a request, if one comes.
pub(super) async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.ok()?;
        head.push(byte);
    }
    String::from_utf8(head).ok()
}

/// Holds on to a connection without a word.
pub(super) async fn hold<S: AsyncRead + Unpin>(mut stream: S) {
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
    std::future::pending::<()>().await;
}
