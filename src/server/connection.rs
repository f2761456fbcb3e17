//! One connection, from its handshake to its end: HTTP/1.1 or HTTP/2, within the time limits of `activity`.
//!
//! A connection is ended by an answer that says so (`Connection: close`, or GOAWAY on HTTP/2): whoever closes an idle one
//! loses the call that meets the moment, as a POST is never sent twice (trap 36).

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;
use tower::Service;

use super::activity::{Activity, AnswerBody, Observed, Pressure, Protocol};

/// A connection says its end on the first answer after this age, so that replicas come to share the load and clients
/// see a new certificate. Up to half as much again is added: many connections of one age do not end at once.
const OLD_AGE: Duration = Duration::from_secs(4 * 60);
/// For what is in flight when a connection was told to end.
const AFTER_GOODBYE: Duration = Duration::from_secs(35);
/// Of a request's headers; the API server sends less than 1 KiB.
const HEADER_BYTES: usize = 16 * 1024;
/// What is read ahead of a body. Bodies of megabytes gain nothing from more, and memory is bounded by it.
const READ_AHEAD: usize = 64 * 1024;

/// How far the process is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not at all.
    Serving,
    /// Everything is served, and every answer asks the client to go elsewhere.
    Leaving,
    /// Nothing new is accepted; what was begun is finished.
    Closing,
}

/// Serves `stream` until one side ends it. `crowded` says whether connections are scarce at the moment.
pub(super) async fn serve<S>(
    stream: S,
    protocol: Protocol,
    router: Router,
    stage: watch::Receiver<Stage>,
    port: u16,
    crowded: impl Fn() -> bool,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Activity::new();
    let old = Instant::now() + OLD_AGE + OLD_AGE / 2 * u32::from(port % 64) / 64;
    let io = TokioIo::new(Observed::new(stream, protocol, &activity));
    let answering = {
        let (activity, stage) = (activity.clone(), stage.clone());
        service_fn(move |request| {
            let last = *stage.borrow() > Stage::Serving || Instant::now() > old;
            answer(router.clone(), activity.clone(), request, last)
        })
    };
    let conduct = Conduct { activity, protocol, stage, old, crowded };
    match protocol {
        Protocol::Http1 => {
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(READ_AHEAD);
            http.max_header_size(HEADER_BYTES);
            conduct.drive(pin!(http.serve_connection(io, answering))).await;
        }
        Protocol::Http2 => {
            let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            http.timer(TokioTimer::new())
                .max_concurrent_streams(100)
                // Streams that the client opens and resets at once cost us and not it: the connection ends.
                .max_pending_accept_reset_streams(20)
                .max_local_error_reset_streams(64)
                .max_header_list_size(16 * 1024)
                .initial_stream_window_size(256 * 1024)
                .initial_connection_window_size(1024 * 1024);
            conduct.drive(pin!(http.serve_connection(io, answering))).await;
        }
    }
}

/// Who decides when a connection ends.
struct Conduct<F> {
    activity: Activity,
    protocol: Protocol,
    stage: watch::Receiver<Stage>,
    /// When the next answer is the last.
    old: Instant,
    crowded: F,
}

impl<F: Fn() -> bool> Conduct<F> {
    async fn drive<C: GracefulConnection>(mut self, mut connection: Pin<&mut C>) {
        // Set once the client was told to go: the connection ends then at the latest.
        let mut end: Option<Instant> = None;
        let mut sleep = pin!(tokio::time::sleep_until(self.old));
        loop {
            let closing = *self.stage.borrow_and_update() == Stage::Closing;
            let mut stage = self.stage.clone();
            // An HTTP/1.1 connection ends at once when it is idle, else with its answer. One that was never used may be
            // the one that a call is about to take: `activity` gives it a moment.
            if closing && end.is_none() && (self.protocol == Protocol::Http2 || !self.activity.is_unused()) {
                connection.as_mut().graceful_shutdown();
                end = Some(Instant::now() + AFTER_GOODBYE);
            }
            let turn = poll_fn(|context| {
                if connection.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Turn::Ended);
                }
                // Only now: polling the connection may have moved its deadline.
                let limit = end.unwrap_or_else(|| self.limit(closing));
                if sleep.deadline() != limit {
                    sleep.as_mut().reset(limit);
                }
                sleep.as_mut().poll(context).map(|()| Turn::OutOfTime)
            });
            let turn = tokio::select! {
                turn = turn => turn,
                // An error: nobody is left to change it, the process ends.
                changed = stage.changed(), if !closing => {
                    if changed.is_err() { Turn::Ended } else { Turn::StageChanged }
                }
            };
            match turn {
                Turn::Ended => return,
                // On HTTP/2 the end is announced. While others still accept, the client has where to go.
                Turn::OutOfTime | Turn::StageChanged if self.protocol == Protocol::Http2 && end.is_none() => {
                    connection.as_mut().graceful_shutdown();
                    end = Some(Instant::now() + AFTER_GOODBYE);
                }
                Turn::StageChanged => {}
                Turn::OutOfTime => {
                    tracing::debug!(protocol = ?self.protocol, "connection cut off at its deadline");
                    return;
                }
            }
        }
    }

    fn limit(&self, closing: bool) -> Instant {
        let pressure = Pressure { crowded: (self.crowded)(), closing };
        match (self.activity.deadline(self.protocol, pressure), self.protocol) {
            (Some(deadline), Protocol::Http1) => deadline,
            (Some(deadline), Protocol::Http2) => deadline.min(self.old),
            // Busy: the router's limits end the request, and `old` makes its answer the last.
            (None, Protocol::Http1) => self.old + Duration::from_secs(24 * 60 * 60),
            (None, Protocol::Http2) => self.old,
        }
    }
}

enum Turn {
    Ended,
    OutOfTime,
    StageChanged,
}

/// One request: in flight until its answer was handed over.
async fn answer(
    mut router: Router,
    activity: Activity,
    request: Request<Incoming>,
    last: bool,
) -> Result<Response<AnswerBody>, Infallible> {
    let in_flight = activity.request();
    let version = request.version();
    let answer = router.call(request.map(Body::new)).await?;
    let mut answer = answer.map(|body| AnswerBody::new(body, in_flight));
    if last && version <= Version::HTTP_11 {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}
