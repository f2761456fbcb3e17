//! A client that shows what happens on the wire: HTTP/1.1 by hand, HTTP/2 by hyper.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{self, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// One answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (have, value) = line.split_once(':')?;
            have.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub(super) fn says_goodbye(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

/// The decoded patch in an AdmissionReview.
pub(super) fn patch(body: &[u8]) -> String {
    let review: Value = serde_json::from_slice(body).unwrap();
    let patch = review["response"]["patch"].as_str().unwrap_or_else(|| panic!("no patch: {review}"));
    String::from_utf8(base64::prelude::BASE64_STANDARD.decode(patch).unwrap()).unwrap()
}

/// A TLS client that trusts one CA and offers one protocol.
pub(super) fn connector(authority: &Path, protocol: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    // Every connection shows the certificate anew.
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// An HTTP/1.1 connection.
pub(super) struct Connection {
    pub(super) stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(authority: &Path, address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream =
            connector(authority, "http/1.1").connect(ServerName::try_from("localhost").unwrap(), stream).await?;
        Ok(Connection { stream, read: Vec::new() })
    }

    /// The certificate that the server showed, in DER.
    pub(super) fn certificate(&self) -> Vec<u8> {
        self.stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    /// A whole review, as the API server sends it.
    pub(super) async fn post(&mut self, path: &str, body: &[u8]) -> io::Result<Answer> {
        self.send("POST", path, "application/json", body).await
    }

    pub(super) async fn send(
        &mut self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        let length = body.len();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.stream.write_all(&request).await?;
        self.stream.flush().await?;
        self.answer().await
    }

    pub(super) async fn answer(&mut self) -> io::Result<Answer> {
        let head = loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head: Vec<u8> = self.read.drain(..end + 4).collect();
                break String::from_utf8(head).unwrap();
            }
            self.more().await?;
        };
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length: usize = answer.header("content-length").unwrap().parse().unwrap();
        while self.read.len() < length {
            self.more().await?;
        }
        answer.body = self.read.drain(..length).collect();
        Ok(answer)
    }

    /// Reads until the server ends the connection.
    pub(super) async fn ended(&mut self) {
        while self.more().await.is_ok() {}
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// An HTTP/2 connection, and what drives it.
pub(super) async fn http2(
    authority: &Path,
    address: SocketAddr,
) -> (http2::SendRequest<Full<Bytes>>, impl Future<Output = hyper::Result<()>> + Send + 'static) {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let stream = connector(authority, "h2").connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap()
}

/// A review as an HTTP/2 request.
pub(super) fn http2_review(body: Vec<u8>) -> hyper::Request<Full<Bytes>> {
    hyper::Request::post("https://localhost/v1/mutate/enforce")
        .header("content-type", "application/json; charset=utf-8")
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}

/// GET on the plain port: status and text.
pub(super) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
