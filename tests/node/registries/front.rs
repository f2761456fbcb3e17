//! A front: TLS with certificates of any kind, and behind it the real registry.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::certificates::Kind;

/// The same for everyone: rustls itself would look at the certificate, and refuse some.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Listens on the address, at a free port, for as long as the set of tasks is there. Gives where.
pub(crate) async fn start(tasks: &mut JoinSet<()>, address: &str, kind: &Kind, registry: SocketAddr) -> SocketAddr {
    let key = any_supported_type(&kind.key).unwrap();
    let certified = Arc::new(CertifiedKey::new(kind.chain.clone(), key));
    let config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::new(Always(certified)));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(forward(acceptor.clone(), stream, registry));
            while connections.try_join_next().is_some() {}
        }
    });
    address
}

async fn forward(acceptor: TlsAcceptor, stream: TcpStream, registry: SocketAddr) {
    // A client that does not trust us hangs up.
    let Ok(mut outside) = acceptor.accept(stream).await else { return };
    let mut inside = TcpStream::connect(registry).await.unwrap();
    let _ = copy_bidirectional(&mut outside, &mut inside).await;
}
