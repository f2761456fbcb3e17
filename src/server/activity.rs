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
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::body::SMALL;

/// From the first byte of a request's headers to their last.
const HEADERS: Duration = Duration::from_secs(10);
/// Between requests, and before the first: the client ends idle connections itself after 90 s. One that never asked
/// anything is no exception: Go dials for a call, gives the call to another connection that came free, and keeps the new
/// one for later.
const IDLE: Duration = Duration::from_secs(150);
/// Before the first request, when connections are scarce.
const UNUSED_WHEN_CROWDED: Duration = Duration::from_secs(10);
/// For the client to send the rest of a body, or to take an answer. Bodies have less from the router, which answers then.
const STALLED: Duration = Duration::from_secs(30);
/// HTTP/2 before the first request. Its end is announced (GOAWAY), so nothing is lost by it.
const UNUSED_HTTP2: Duration = Duration::from_secs(10);

/// The requests that a client may take back on one connection: the API server does so when a call has timed out, and takes a
/// new connection without harm. Who opens streams to reset them (HTTP/2 rapid reset) has this many for a handshake.
const MOST_TAKEN_BACK: usize = 200;
/// The bytes on one HTTP/2 connection that carry nothing: PING, SETTINGS, empty frames. A client that lives for minutes sends some
/// hundred of them. What has come of a body and was not read yet looks the same: it has the connection's window, 1 MiB.
const MOST_NOISE: usize = 3 * 1024 * 1024;
/// What a request's head may have, with the frames that go with it.
const HEAD_BYTES: usize = 20 * 1024;
/// What is read of one connection before others have their turn: small frames by the thousand take their time.
const READ_IN_A_TURN: usize = 16 * 1024;

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
    /// Those of them whose bodies have not come whole.
    arriving: usize,
    /// Those of them whose answers were not taken yet.
    leaving: usize,
    /// Since when all in flight are one or the other, so that nothing is up to us.
    stalled: Option<Instant>,
    /// What has come of the small bodies that are arriving, in bytes.
    held: usize,
    /// HTTP/2 only: bytes that were neither a body's nor, at a generous measure, a request's head.
    noise: usize,
    /// Requests that the client took back before their answer was there. HTTP/2 only.
    taken_back: usize,
}

/// A connection on which nothing is up to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Whether it was answered whatever it asked, so that another call may be about to take it.
    pub(super) is_idle: bool,
    pub(super) since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// TLS is being agreed on.
    Handshake,
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
        Activity(Arc::new(Mutex::new(State {
            doing: Doing::Handshake,
            since: Instant::now(),
            in_flight: 0,
            arriving: 0,
            leaving: 0,
            stalled: None,
            held: 0,
            noise: 0,
            taken_back: 0,
        })))
    }

    /// Requests may come from now on.
    pub(super) fn open(&self) {
        let mut state = self.state();
        state.doing = Doing::Unused;
        state.since = Instant::now();
    }

    /// When this connection has waited long enough, as things stand now. `None`: it is busy.
    pub(super) fn deadline(&self, protocol: Protocol, pressure: Pressure) -> Option<Instant> {
        let state = self.state();
        let patience = match (state.doing, protocol) {
            (Doing::Busy, _) => return state.stalled.map(|since| since + STALLED),
            (Doing::Unused, Protocol::Http2) => UNUSED_HTTP2,
            (Doing::Unused, Protocol::Http1) if pressure.crowded => UNUSED_WHEN_CROWDED,
            (Doing::Headers, Protocol::Http1) => HEADERS,
            (Doing::Handshake | Doing::Unused | Doing::Headers | Doing::Idle, _) => IDLE,
        };
        Some(state.since + patience)
    }

    /// Whether, and since when, the client is waited for.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let state = self.state();
        match state.doing {
            Doing::Busy => state.stalled.map(|since| Waiting { is_idle: false, since }),
            doing => Some(Waiting { is_idle: doing == Doing::Idle, since: state.since }),
        }
    }

    /// How many bytes of small unfinished bodies there are.
    pub(super) fn held(&self) -> usize {
        self.state().held
    }

    /// Whether the client does what nobody does who wants answers.
    pub(super) fn is_abuse(&self) -> bool {
        let state = self.state();
        state.taken_back > MOST_TAKEN_BACK || state.noise > MOST_NOISE
    }

    /// A request's headers are complete. It is in flight until the guard is dropped, and its body arrives until its own is.
    pub(super) fn request(&self, body: Incoming) -> (InFlight, RequestBody) {
        let has_body = !body.is_end_stream();
        let in_flight = self.begin(has_body);
        let is_small = body.size_hint().exact().is_some_and(|length| length <= SMALL as u64);
        let arriving = has_body.then(|| Arriving { activity: self.clone(), is_small, bytes: 0 });
        (in_flight, RequestBody { inner: body, arriving })
    }

    /// Without a body it is all there.
    pub(super) fn begin(&self, has_body: bool) -> InFlight {
        let mut state = self.state();
        state.doing = Doing::Busy;
        state.in_flight += 1;
        state.arriving += usize::from(has_body);
        state.noise = state.noise.saturating_sub(HEAD_BYTES);
        state.settle();
        InFlight { activity: self.clone(), answered: false }
    }

    fn bytes_came(&self, bytes: usize, protocol: Protocol) {
        let mut state = self.state();
        if protocol == Protocol::Http2 {
            // A byte says nothing about a request.
            state.noise += bytes;
        } else if matches!(state.doing, Doing::Unused | Doing::Idle) {
            state.doing = Doing::Headers;
            state.since = Instant::now();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Plain values that are whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes whether anything is up to us. The time stays where it was so before: a client that adds one stalled request to
    /// the next gains nothing.
    fn settle(&mut self) {
        let is_stalled = self.in_flight > 0 && self.arriving + self.leaving >= self.in_flight;
        self.stalled = is_stalled.then(|| self.stalled.unwrap_or_else(Instant::now));
    }
}

/// One request on its way: from its headers to the end of its answer.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Activity,
    answered: bool,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.in_flight -= 1;
        if self.answered {
            state.leaving -= 1;
        } else {
            state.taken_back += 1;
        }
        if state.in_flight == 0 {
            state.doing = Doing::Idle;
            state.since = Instant::now();
        }
        state.settle();
    }
}

/// A body that has not come whole.
#[derive(Debug)]
struct Arriving {
    activity: Activity,
    is_small: bool,
    /// What has come, where it is small.
    bytes: usize,
}

impl Arriving {
    fn came(&mut self, bytes: usize) {
        let mut state = self.activity.state();
        if self.is_small {
            self.bytes += bytes;
            state.held += bytes;
        }
        state.noise = state.noise.saturating_sub(bytes);
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.arriving -= 1;
        state.held -= self.bytes;
        state.settle();
    }
}

/// A request's body, which arrives until its end was read, or nobody wants the rest.
pub(super) struct RequestBody {
    inner: Incoming,
    arriving: Option<Arriving>,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let (Poll::Ready(Some(Ok(frame))), Some(arriving)) = (&polled, &mut self.arriving) {
            arriving.came(frame.data_ref().map_or(0, Bytes::len));
        }
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) || self.inner.is_end_stream() {
            self.arriving = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body that holds its request in flight until it was handed over.
pub(super) struct AnswerBody {
    inner: Body,
    _in_flight: InFlight,
}

impl AnswerBody {
    pub(super) fn new(inner: Body, mut in_flight: InFlight) -> AnswerBody {
        in_flight.answered = true;
        let mut state = in_flight.activity.state();
        state.leaving += 1;
        state.settle();
        drop(state);
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

/// A byte stream that tells its connection's [`Activity`] when something comes in, and lets others have their turn.
pub(super) struct Observed<S> {
    stream: S,
    protocol: Protocol,
    activity: Activity,
    /// What was read in this turn.
    read: usize,
}

impl<S> Observed<S> {
    pub(super) fn new(stream: S, protocol: Protocol, activity: &Activity) -> Observed<S> {
        Observed { stream, protocol, activity: activity.clone(), read: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.read >= READ_IN_A_TURN {
            self.read = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        match buffer.filled().len() - before {
            // The next turn begins when something comes.
            0 => self.read = 0,
            bytes => {
                self.read += bytes;
                self.activity.bytes_came(bytes, self.protocol);
            }
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

    const CALM: Pressure = Pressure { crowded: false };

    fn patience(activity: &Activity, protocol: Protocol, pressure: Pressure) -> Duration {
        activity.deadline(protocol, pressure).unwrap() - activity.state().since
    }

    /// Trap 36: the API server ends idle connections after 90 s; we never do so before 120 s, used or not.
    #[test]
    fn trap_36_an_idle_connection_outlives_the_clients_own_idle_limit() {
        let activity = Activity::new();
        assert!(patience(&activity, Protocol::Http1, CALM) >= Duration::from_secs(120));
        drop(activity.begin(false));
        assert!(patience(&activity, Protocol::Http1, CALM) >= Duration::from_secs(120));
        assert!(patience(&activity, Protocol::Http2, CALM) >= Duration::from_secs(120));
    }

    #[test]
    fn half_sent_headers_have_ten_seconds_and_no_byte_gives_more() {
        let activity = Activity::new();
        drop(activity.begin(false));
        activity.bytes_came(1, Protocol::Http1);
        let first = activity.deadline(Protocol::Http1, CALM);
        assert_eq!(patience(&activity, Protocol::Http1, CALM), HEADERS);
        activity.bytes_came(1, Protocol::Http1);
        assert_eq!(activity.deadline(Protocol::Http1, CALM), first);
    }

    #[test]
    fn a_connection_is_busy_until_its_last_request_is_answered() {
        let activity = Activity::new();
        let (one, two) = (activity.begin(false), activity.begin(false));
        drop(one);
        assert_eq!(activity.deadline(Protocol::Http2, CALM), None);
        drop(two);
        assert!(activity.deadline(Protocol::Http2, CALM).is_some());
    }

    /// Rest of a body, or an answer that nobody takes: more requests of that kind gain no time, and one that is up to us
    /// ends the waiting.
    #[test]
    fn what_is_up_to_the_client_has_half_a_minute_in_all() {
        let activity = Activity::new();
        let first = activity.begin(true);
        let arriving = Arriving { activity: activity.clone(), is_small: true, bytes: 0 };
        let deadline = activity.deadline(Protocol::Http2, CALM);
        assert!(deadline.is_some());
        let (_second, _arriving) =
            (activity.begin(true), Arriving { activity: activity.clone(), is_small: true, bytes: 0 });
        assert_eq!(activity.deadline(Protocol::Http2, CALM), deadline);
        drop(arriving);
        assert_eq!((activity.deadline(Protocol::Http2, CALM), activity.waiting()), (None, None));
        let answer = AnswerBody::new(Body::empty(), first);
        assert!(activity.waiting().is_some_and(|waiting| !waiting.is_idle));
        drop(answer);
        assert!(activity.waiting().is_some());
        assert_eq!(activity.state().taken_back, 0);
    }

    /// Heads and bodies are no noise, however many there are.
    #[test]
    fn frames_that_carry_nothing_are_counted() {
        let activity = Activity::new();
        for _ in 0..100 {
            activity.bytes_came(HEAD_BYTES, Protocol::Http2);
            let in_flight = activity.begin(true);
            let mut arriving = Arriving { activity: activity.clone(), is_small: true, bytes: 0 };
            activity.bytes_came(1_000_000, Protocol::Http2);
            arriving.came(1_000_000);
            assert_eq!((activity.held(), activity.is_abuse()), (1_000_000, false));
            drop(arriving);
            drop(AnswerBody::new(Body::empty(), in_flight));
        }
        assert_eq!(activity.held(), 0);
        activity.bytes_came(MOST_NOISE, Protocol::Http2);
        assert!(!activity.is_abuse());
        activity.bytes_came(1, Protocol::Http2);
        assert!(activity.is_abuse());
    }

    #[test]
    fn what_ends_without_an_answer_was_taken_back() {
        let activity = Activity::new();
        drop(activity.begin(false));
        drop(AnswerBody::new(Body::empty(), activity.begin(false)));
        assert_eq!(activity.state().taken_back, 1);
        assert!(activity.waiting().is_some_and(|waiting| waiting.is_idle));
    }

    #[test]
    fn a_crowd_shortens_the_patience_with_connections_that_never_asked() {
        let activity = Activity::new();
        activity.open();
        let crowded = Pressure { crowded: true };
        assert_eq!(patience(&activity, Protocol::Http1, crowded), UNUSED_WHEN_CROWDED);
        drop(activity.begin(false));
        assert_eq!(patience(&activity, Protocol::Http1, crowded), IDLE);
    }
}
