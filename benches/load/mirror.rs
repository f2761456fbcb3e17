//! The mirror of the policy under load: a registry of which nothing is asked but whether it can be trusted.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::scenery::Pems;

/// What every registry answers to someone without credentials.
const UNAUTHORIZED: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nDocker-Distribution-Api-Version: registry/2.0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// It answers for as long as this value lives.
pub(crate) struct Mirror {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Mirror {
    pub(crate) async fn start(pems: &Pems) -> anyhow::Result<Mirror> {
        let chain = CertificateDer::pem_slice_iter(pems.certificate.as_bytes()).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(pems.key.as_bytes()).context("the mirror's key")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_no_client_auth().with_single_cert(chain.context("the mirror's certificate")?, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listening on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut calls = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while calls.try_join_next().is_some() {}
                let acceptor = acceptor.clone();
                calls.spawn(async move {
                    // Who gives up is told so by the server under load: its verdict.
                    let _gone = answer(&acceptor, stream).await;
                });
            }
        });
        Ok(Mirror { address, _tasks: tasks })
    }
}

async fn answer(acceptor: &TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
    // As every registry in Go does.
    stream.set_nodelay(true)?;
    let mut stream = acceptor.accept(stream).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    stream.write_all(UNAUTHORIZED).await?;
    stream.shutdown().await
}
