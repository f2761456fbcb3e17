//! What a connection is doing, and until when it may.
//!
//! hyper's own header timeout also ends idle connections, which the API server keeps for 90 s and whose end it must not
//! meet (trap 36). So the bytes are observed below HTTP and the requests above it, and the time limits follow from both.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// From the first byte of a request's headers to their last.
const HEADERS: Duration = Duration::from_secs(10);
/// Between requests, and before the first: the client ends idle connections itself after 90 s. One that never asked
/// anything is no exception: Go dials for a call, gives the call to another connection that came free, and keeps the new
/// one for later.
const IDLE: Duration = Duration::from_secs(150);
/// Before the first request, when connections are scarce.
const UNUSED_WHEN_CROWDED: Duration = Duration::from_secs(10);
/// Before the first request, when the listener is closed.
const UNUSED_WHEN_CLOSING: Duration = Duration::from_secs(2);
/// HTTP/2 before the first request. Its end is announced (GOAWAY), so nothing is lost by it.
const UNUSED_HTTP2: Duration = Duration::from_secs(10);

/// The protocol that ALPN chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// What lies around a connection and shortens its patience.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pressure {
    /// Many connections are open.
    pub(super) crowded: bool,
    /// No new ones are accepted.
    pub(super) closing: bool,
}

/// Shared by the byte stream and the requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    doing: Doing,
    since: Instant,
    /// More than one on HTTP/2 only.
    in_flight: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Not one byte of a request has come.
    Unused,
    /// Part of a request's headers has come. HTTP/1.1 only: on HTTP/2 a byte may be a PING.
    Headers,
    /// At least one request is being answered: the router's own limits hold.
    Busy,
    /// Answered, and waiting for the next.
    Idle,
}

impl Activity {
    pub(super) fn new() -> Activity {
        Activity(Arc::new(Mutex::new(State { doing: Doing::Unused, since: Instant::now(), in_flight: 0 })))
    }

    /// When this connection has waited long enough, as things stand now. `None`: it is busy.
    pub(super) fn deadline(&self, protocol: Protocol, pressure: Pressure) -> Option<Instant> {
        let state = self.state();
        let patience = match (state.doing, protocol) {
            (Doing::Busy, _) => return None,
            (Doing::Unused, _) if pressure.closing => UNUSED_WHEN_CLOSING,
            (Doing::Unused, Protocol::Http2) => UNUSED_HTTP2,
            (Doing::Unused, Protocol::Http1) if pressure.crowded => UNUSED_WHEN_CROWDED,
            (Doing::Headers, Protocol::Http1) => HEADERS,
            (Doing::Unused | Doing::Headers | Doing::Idle, _) => IDLE,
        };
        Some(state.since + patience)
    }

    /// Whether nothing was ever asked.
    pub(super) fn is_unused(&self) -> bool {
        matches!(self.state().doing, Doing::Unused | Doing::Headers)
    }

    /// A request's headers are complete. It is in flight until the guard is dropped.
    pub(super) fn request(&self) -> InFlight {
        let mut state = self.state();
        state.doing = Doing::Busy;
        state.in_flight += 1;
        InFlight(self.clone())
    }

    fn bytes_came(&self) {
        let mut state = self.state();
        if matches!(state.doing, Doing::Unused | Doing::Idle) {
            state.doing = Doing::Headers;
            state.since = Instant::now();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Plain values that are whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request on its way: from its headers to the end of its answer.
#[derive(Debug)]
pub(super) struct InFlight(Activity);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_flight -= 1;
        if state.in_flight == 0 {
            state.doing = Doing::Idle;
            state.since = Instant::now();
        }
    }
}

/// An answer's body that holds its request in flight until it was handed over.
pub(super) struct AnswerBody {
    inner: Body,
    _in_flight: InFlight,
}

impl AnswerBody {
    pub(super) fn new(inner: Body, in_flight: InFlight) -> AnswerBody {
        AnswerBody { inner, _in_flight: in_flight }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A byte stream that tells its connection's [`Activity`] when something comes in.
pub(super) struct Observed<S> {
    stream: S,
    /// `None` on HTTP/2, where a byte says nothing about a request.
    activity: Option<Activity>,
}

impl<S> Observed<S> {
    pub(super) fn new(stream: S, protocol: Protocol, activity: &Activity) -> Observed<S> {
        let activity = match protocol {
            Protocol::Http1 => Some(activity.clone()),
            Protocol::Http2 => None,
        };
        Observed { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some(activity) = &self.activity
            && buffer.filled().len() > before
        {
            activity.bytes_came();
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Pressure = Pressure { crowded: false, closing: false };

    fn patience(activity: &Activity, protocol: Protocol, pressure: Pressure) -> Duration {
        activity.deadline(protocol, pressure).unwrap() - activity.state().since
    }

    /// Trap 36: the API server ends idle connections after 90 s; we never do so before 120 s, used or not.
    #[test]
    fn trap_36_an_idle_connection_outlives_the_clients_own_idle_limit() {
        let activity = Activity::new();
        assert!(patience(&activity, Protocol::Http1, CALM) >= Duration::from_secs(120));
        drop(activity.request());
        assert!(patience(&activity, Protocol::Http1, CALM) >= Duration::from_secs(120));
        assert!(patience(&activity, Protocol::Http2, CALM) >= Duration::from_secs(120));
    }

    #[test]
    fn half_sent_headers_have_ten_seconds_and_no_byte_gives_more() {
        let activity = Activity::new();
        drop(activity.request());
        activity.bytes_came();
        let first = activity.deadline(Protocol::Http1, CALM);
        assert_eq!(patience(&activity, Protocol::Http1, CALM), HEADERS);
        activity.bytes_came();
        assert_eq!(activity.deadline(Protocol::Http1, CALM), first);
    }

    #[test]
    fn a_connection_is_busy_until_its_last_request_is_answered() {
        let activity = Activity::new();
        let (one, two) = (activity.request(), activity.request());
        drop(one);
        assert_eq!(activity.deadline(Protocol::Http2, CALM), None);
        drop(two);
        assert!(activity.deadline(Protocol::Http2, CALM).is_some());
    }

    #[test]
    fn a_crowd_shortens_the_patience_with_connections_that_never_asked() {
        let activity = Activity::new();
        let crowded = Pressure { crowded: true, closing: false };
        assert_eq!(patience(&activity, Protocol::Http1, crowded), UNUSED_WHEN_CROWDED);
        drop(activity.request());
        assert_eq!(patience(&activity, Protocol::Http1, crowded), IDLE);
    }
}
