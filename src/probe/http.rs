//! `GET /v2/`: whether what answers is a registry (P1). No credential is sent, no redirect and no realm is followed, and of
//! the answer nothing is kept but its status.

use std::pin::pin;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// The most bytes of an answer's head.
const MOST_HEAD: usize = 16 * 1024;

/// The most headers of an answer.
const MOST_HEADERS: usize = 100;

/// Who asks, for the log of the registry.
const ASKER: &str = concat!("mirrorgate/", env!("CARGO_PKG_VERSION"));

/// Why there is no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoStatus {
    /// The connection ended before an answer.
    Ended,
    /// What came is no head of an HTTP/1.1 answer, or a larger one than a registry needs.
    NotHttp,
}

/// The status of the answer to `GET /v2/`; `host` is what the URL would have.
pub(super) async fn status<S>(stream: S, host: &str) -> Result<u16, NoStatus>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = Request::get("/v2/")
        .header(HOST, host)
        .header(USER_AGENT, ASKER)
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| NoStatus::NotHttp)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MOST_HEAD)
        .max_headers(MOST_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| why(&error))?;
    let (mut answer, connection) = (pin!(sender.send_request(request)), pin!(connection));
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // The end of a connection is told to what waits for an answer on it.
        _ = connection => answer.await,
    };
    answer.map(|answer| answer.status().as_u16()).map_err(|error| why(&error))
}

fn why(error: &hyper::Error) -> NoStatus {
    if error.is_parse() { NoStatus::NotHttp } else { NoStatus::Ended }
}

/// Whether a registry that works gives this status to someone without credentials (P1).
pub(super) fn is_of_a_registry(status: u16) -> bool {
    matches!(status, 200 | 401 | 403 | 429 | 300..=399)
}
