//! One connection, from its handshake to its end: HTTP/1.1 or HTTP/2, within the time limits of `activity`.
//!
//! A connection is ended by an answer that says so (`Connection: close`, or GOAWAY on HTTP/2): whoever closes an idle one
//! loses the call that meets the moment, as a POST is never sent twice (trap 36).

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
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
use super::crowd::Seat;

/// A connection says its end on the first answer after this age, so that replicas come to share the load and clients
/// see a new certificate. Up to half as much again is added: many connections of one age do not end at once.
const OLD_AGE: Duration = Duration::from_secs(4 * 60);
/// For what is in flight when a connection was told to end.
const AFTER_GOODBYE: Duration = Duration::from_secs(35);
/// Of a request's headers; the API server sends less than 1 KiB.
const HEADER_BYTES: usize = 16 * 1024;
/// What is read ahead of a body. Bodies of megabytes gain nothing from more, and memory is bounded by it.
const READ_AHEAD: usize = 64 * 1024;

/// Requests at once on one HTTP/2 connection; a client that has more opens another. Each takes some kilobytes.
const STREAMS: u32 = 16;
/// Of the headers of each of them, with 32 bytes for each field: of 800 connections they fit into memory.
const STREAM_HEADER_BYTES: u32 = 4 * 1024;

/// How far the process is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not at all.
    Serving,
    /// Everything is served, and every answer asks the client to go elsewhere.
    Leaving,
    /// Nothing new is accepted; what was begun is finished, and idle connections are the client's to end until then.
    Closing(Instant),
}

/// Serves `stream` until one side ends it, or another connection needs its seat.
pub(super) async fn serve<S>(
    stream: S,
    protocol: Protocol,
    router: Router,
    stage: watch::Receiver<Stage>,
    port: u16,
    seat: &Seat,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = seat.activity().clone();
    activity.open();
    let old = Instant::now() + OLD_AGE + OLD_AGE / 2 * u32::from(port % 64) / 64;
    let io = TokioIo::new(Observed::new(stream, protocol, &activity));
    let answering = {
        let (activity, stage, crowd) = (activity.clone(), stage.clone(), Arc::clone(seat.crowd()));
        service_fn(move |mut request: Request<Incoming>| {
            let stage = stage.clone();
            let is_last = move || *stage.borrow() > Stage::Serving || Instant::now() > old;
            request.extensions_mut().insert(Arc::clone(&crowd));
            answer(router.clone(), activity.clone(), request, is_last)
        })
    };
    let conduct = Conduct { activity, protocol, stage, old, seat };
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
                .max_concurrent_streams(STREAMS)
                // Streams that the client opens and resets at once cost us and not it: the connection ends.
                .max_pending_accept_reset_streams(20)
                .max_local_error_reset_streams(64)
                .max_header_list_size(STREAM_HEADER_BYTES)
                .initial_stream_window_size(256 * 1024)
                .initial_connection_window_size(1024 * 1024);
            conduct.drive(pin!(http.serve_connection(io, answering))).await;
        }
    }
}

/// Who decides when a connection ends.
struct Conduct<'s> {
    activity: Activity,
    protocol: Protocol,
    stage: watch::Receiver<Stage>,
    /// When the next answer is the last.
    old: Instant,
    seat: &'s Seat,
}

impl Conduct<'_> {
    async fn drive<C: GracefulConnection>(mut self, mut connection: Pin<&mut C>) {
        // Set once the client was told to go: the connection ends then at the latest.
        let mut end: Option<Instant> = None;
        let mut sleep = pin!(tokio::time::sleep_until(self.old));
        loop {
            let closing = match *self.stage.borrow_and_update() {
                Stage::Closing(until) => Some(until),
                Stage::Serving | Stage::Leaving => None,
            };
            let mut stage = self.stage.clone();
            let turn = poll_fn(|context| {
                if connection.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Turn::Ended);
                }
                if self.activity.is_abuse() {
                    return Poll::Ready(Turn::Abused);
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
                changed = stage.changed(), if closing.is_none() => {
                    if changed.is_err() { Turn::Ended } else { Turn::StageChanged }
                }
                () = self.seat.asked_for() => Turn::AskedFor,
            };
            match turn {
                Turn::Ended => return,
                // On HTTP/2 the end is announced. While others still accept, the client has where to go.
                Turn::OutOfTime | Turn::StageChanged if self.protocol == Protocol::Http2 && end.is_none() => {
                    connection.as_mut().graceful_shutdown();
                    end = Some(Instant::now() + AFTER_GOODBYE);
                }
                Turn::StageChanged => {}
                // Whoever closes an idle connection may meet a call; after so long its client has closed it.
                Turn::OutOfTime if closing.is_some_and(|until| until <= Instant::now()) && end.is_none() => {
                    connection.as_mut().graceful_shutdown();
                    end = Some(Instant::now() + AFTER_GOODBYE);
                }
                Turn::AskedFor => {
                    // A call may have come since: it has the seat.
                    let before = self.activity.waiting();
                    if poll_once(connection.as_mut()).await || before.is_none() || self.activity.waiting() != before {
                        continue;
                    }
                    connection.as_mut().graceful_shutdown();
                    poll_once(connection.as_mut()).await;
                    tracing::debug!(protocol = ?self.protocol, "connection ended: others need its place");
                    return;
                }
                Turn::Abused => {
                    connection.as_mut().graceful_shutdown();
                    poll_once(connection.as_mut()).await;
                    tracing::debug!("connection ended: its client wants no answers");
                    return;
                }
                Turn::OutOfTime => {
                    tracing::debug!(protocol = ?self.protocol, "connection cut off at its deadline");
                    return;
                }
            }
        }
    }

    fn limit(&self, closing: Option<Instant>) -> Instant {
        let pressure = Pressure { crowded: self.seat.is_in_a_crowd() };
        let limit = match (self.activity.deadline(self.protocol, pressure), self.protocol) {
            (Some(deadline), Protocol::Http1) => deadline,
            (Some(deadline), Protocol::Http2) => deadline.min(self.old),
            // Busy: the router's limits end the request, and `old` makes its answer the last.
            (None, Protocol::Http1) => self.old + Duration::from_secs(24 * 60 * 60),
            (None, Protocol::Http2) => self.old,
        };
        closing.map_or(limit, |until| limit.min(until))
    }
}

/// Lets a connection do what it can at once; whether it has ended.
async fn poll_once<C: GracefulConnection>(mut connection: Pin<&mut C>) -> bool {
    poll_fn(|context| Poll::Ready(connection.as_mut().poll(context).is_ready())).await
}

enum Turn {
    Ended,
    OutOfTime,
    StageChanged,
    /// There are more connections than seats.
    AskedFor,
    Abused,
}

/// One request: in flight until its answer was handed over.
async fn answer(
    mut router: Router,
    activity: Activity,
    request: Request<Incoming>,
    is_last: impl Fn() -> bool,
) -> Result<Response<AnswerBody>, Infallible> {
    let version = request.version();
    let (head, body) = request.into_parts();
    let (in_flight, body) = activity.request(body);
    let answer = router.call(Request::from_parts(head, Body::new(body))).await?;
    let mut answer = answer.map(|body| AnswerBody::new(body, in_flight));
    // Asked only now: a call may have begun before the farewell.
    if version <= Version::HTTP_11 && is_last() {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::task::JoinSet;

    use super::*;
    use crate::server::crowd::Crowd;

    /// A connection that is served, and its client's end.
    struct Served {
        client: DuplexStream,
        stage: watch::Sender<Stage>,
        _tasks: JoinSet<()>,
    }

    impl Served {
        async fn new() -> Served {
            let (client, server) = tokio::io::duplex(64 * 1024);
            let (sender, stage) = watch::channel(Stage::Serving);
            let mut tasks = JoinSet::new();
            let seat = Crowd::new(10).seat().await;
            let router = Router::new().route("/", get(async || "ok"));
            tasks.spawn(async move { serve(server, Protocol::Http1, router, stage, 0, &seat).await });
            Served { client, stage: sender, _tasks: tasks }
        }

        /// What is answered to a call; `None` if the connection has ended.
        async fn call(&mut self) -> Option<String> {
            self.client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.ok()?;
            let mut answer = vec![0; 4096];
            let length = self.client.read(&mut answer).await.ok().filter(|length| *length > 0)?;
            Some(String::from_utf8_lossy(&answer[..length]).into_owned())
        }

        async fn after(&self, seconds: u64) {
            // In steps, so that what is due runs.
            for _ in 0..seconds {
                tokio::time::advance(Duration::from_secs(1)).await;
                tokio::task::yield_now().await;
            }
        }
    }

    fn says_goodbye(answer: Option<String>) -> bool {
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        answer.contains("connection: close\r\n")
    }

    /// So that the API server's connections come to be spread over new replicas.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_grown_old_ends_with_its_next_answer() {
        let mut served = Served::new().await;
        for _ in 0..3 {
            assert!(!says_goodbye(served.call().await));
            served.after(79).await;
        }
        served.after(4).await;
        assert!(says_goodbye(served.call().await));
        assert_eq!(served.call().await, None);
    }

    /// It is told to go (GOAWAY), and what it has asked is answered.
    #[tokio::test(start_paused = true)]
    async fn an_http_2_connection_that_has_grown_old_ends_when_its_calls_are_answered() {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let (_stage, stages) = watch::channel(Stage::Serving);
        let mut tasks = JoinSet::new();
        let seat = Crowd::new(10).seat().await;
        let slow = async || {
            tokio::time::sleep(Duration::from_secs(20)).await;
            "ok"
        };
        let router = Router::new().route("/", get(slow));
        tasks.spawn(async move { serve(server, Protocol::Http2, router, stages, 0, &seat).await });
        let client = TokioIo::new(client);
        let (mut sender, driver) = hyper::client::conn::http2::handshake(TokioExecutor::new(), client).await.unwrap();
        tasks.spawn(async move { driver.await.unwrap() });
        // The last of them is asked at 234 s, and the connection is old at 240 s.
        for _ in 0..4 {
            let request = Request::get("http://x/").body(Body::empty()).unwrap();
            assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
            tokio::time::sleep(Duration::from_secs(58)).await;
        }
        assert!(sender.is_closed(), "nobody told it to go");
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    }

    /// Trap 36: after the endpoint is gone, the client's pool has its connections for 90 s. Each still serves a call.
    #[tokio::test(start_paused = true)]
    async fn trap_36_while_closing_an_idle_connection_is_the_clients_to_end() {
        for used in [true, false] {
            let mut served = Served::new().await;
            if used {
                assert!(!says_goodbye(served.call().await));
            }
            served.stage.send_replace(Stage::Leaving);
            served.after(5).await;
            served.stage.send_replace(Stage::Closing(Instant::now() + Duration::from_secs(90)));
            served.after(89).await;
            assert!(says_goodbye(served.call().await));
            assert_eq!(served.call().await, None);

            let mut served = Served::new().await;
            served.stage.send_replace(Stage::Closing(Instant::now() + Duration::from_secs(90)));
            served.after(91).await;
            assert_eq!(served.call().await, None);
        }
    }
}
