//! One call: its path, its limits in bytes, number and time, and what goes wrong with it as a Kubernetes `Status`.
//! What a review says is [`handler`]'s.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::FutureExt;
use hyper::header::{
    ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue, RETRY_AFTER,
};
use hyper::http::request::Parts;
use hyper::{StatusCode, Uri};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::body::{self, ALL_BODIES, BodyError, Room, SMALL_BODIES, WholeBody};
use super::crowd::Crowd;
use super::guard;
use super::handler;
use super::refusal::Refusal;
use crate::app::App;
use crate::policy::parse_duration;
use crate::review::Mode;

pub use super::body::MAX_BODY;

/// For a body to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);
/// The budget of a review when the caller names none.
const DEFAULT_BUDGET: Duration = Duration::from_secs(10);
/// The longest timeout that the API server can be configured to give.
pub const LONGEST_BUDGET: Duration = Duration::from_secs(30);
/// Calls at once, on all connections.
const CALLS: usize = 1024;
/// The largest review of the policy: the document twice, at most 1 MiB each, its last-applied copy, and escapes.
const MAX_POLICY_BODY: usize = 8 * 1024 * 1024;
/// Bodies of refused calls that are read to their ends at once. Others get their answer all the same; not every client
/// comes to read it while it writes.
const DRAINS: usize = 64;

/// What the calls of one server share.
#[derive(Debug)]
struct Gate {
    app: Arc<App>,
    calls: Semaphore,
    drains: Semaphore,
    /// Of edits of the policy one is judged at a time: compiling a document takes memory and time.
    edits: Arc<Semaphore>,
    room: Room,
}

/// The routes that the API server calls.
pub fn admission_router(app: Arc<App>) -> Router {
    let gate = Arc::new(Gate::new(app, CALLS));
    let route = |subject| {
        post(move |State(gate): State<Arc<Gate>>, request: Request| async move { gate.call(subject, request).await })
    };
    Router::new()
        .route("/v1/mutate/enforce", route(Subject::Pod(Mode::Enforce)))
        .route("/v1/mutate/audit", route(Subject::Pod(Mode::Audit)))
        .route("/v1/validate/policy", route(Subject::Policy))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .with_state(gate)
}

/// What a path is for.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Pod(Mode),
    Policy,
}

impl Subject {
    /// The word for the mode in metrics and logs.
    fn as_str(self) -> &'static str {
        match self {
            Self::Pod(mode) => mode.as_str(),
            Self::Policy => guard::MODE,
        }
    }
}

impl Gate {
    fn new(app: Arc<App>, calls: usize) -> Self {
        Self {
            app,
            calls: Semaphore::new(calls),
            drains: Semaphore::new(DRAINS),
            edits: Arc::new(Semaphore::new(1)),
            room: Room::new(ALL_BODIES, SMALL_BODIES),
        }
    }

    async fn call(&self, subject: Subject, request: Request) -> Response {
        let started = Instant::now();
        let (head, mut body) = request.into_parts();
        let head = Head::of(head);
        let answer = match self.take(&head, &mut body, started + BODY_TIME).await {
            Ok(Taken { body, deadline, wait_until, call: _call }) => {
                let review = async {
                    match subject {
                        Subject::Pod(mode) => handler::review(&self.app, mode, &body.bytes, wait_until).await,
                        Subject::Policy => self.judge_edit(body.bytes).await,
                    }
                };
                guarded(review, deadline).await
            }
            Err(refusal) => Err(refusal),
        };
        match answer {
            Ok(Ok(answer)) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], answer).into_response(),
            // The handler has counted and logged its own.
            Ok(Err(refusal)) => status(&refusal),
            Err(refusal) => {
                self.app.metrics().admission(subject.as_str(), "OTHER", "error", started.elapsed().as_secs_f64());
                tracing::warn!(mode = subject.as_str(), code = refusal.status, error = %refusal.message, "call refused");
                self.throw_away(&head, body, started + BODY_TIME).await;
                status(&refusal)
            }
        }
    }

    /// Not on the threads that serve: a document may take a second.
    async fn judge_edit(&self, body: Vec<u8>) -> Result<String, Refusal> {
        let turn = match Arc::clone(&self.edits).try_acquire_owned() {
            _ if body.len() > MAX_POLICY_BODY => {
                Err(Refusal::new(413, format!("the body is larger than {MAX_POLICY_BODY} bytes")))
            }
            Ok(turn) => Ok(turn),
            Err(_) => Err(Refusal::not_ready("another edit of the policy is being judged")),
        };
        let turn = turn.inspect_err(|_| self.app.metrics().admission(guard::MODE, "OTHER", "error", 0.0))?;
        let app = Arc::clone(&self.app);
        let judged = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            guard::review(&app, &body)
        });
        // A panic: it is in the log.
        judged.await.unwrap_or_else(|_panic| Err(Refusal::new(500, "a bug in mirrorgate: its log says more")))
    }

    /// Reads what is left of a refused body, so that the client comes to read the answer.
    async fn throw_away(&self, head: &Head, mut body: Body, until: Instant) {
        if let (true, Ok(_permit)) = (head.body_is_sent, self.drains.try_acquire()) {
            let _out_of_time = tokio::time::timeout_at(until, body::drain(&mut body)).await;
        }
    }

    /// What the limits let through. A call counts as one when its body is there: slow ones take nothing from others.
    async fn take(&self, head: &Head, body: &mut Body, arrived_by: Instant) -> Result<Taken<'_>, Refusal> {
        let (budget, now) = (head.budget.clone()?, Instant::now());
        let (deadline, wait_until) = (now + budget, now + waiting_time(budget));
        let body = self.room.read(body, head.length, head.crowd.as_deref());
        let body = match tokio::time::timeout_at(arrived_by, body).await {
            Ok(Ok(body)) => body,
            Ok(Err(error @ BodyError::TooLarge)) => return Err(Refusal::new(413, error.to_string())),
            Ok(Err(error @ BodyError::NoRoom)) => return Err(Refusal::not_ready(&error.to_string())),
            Ok(Err(error @ BodyError::Broken(_))) => return Err(Refusal::new(400, error.to_string())),
            Err(_) => return Err(Refusal::new(408, "the body did not arrive within 10 s")),
        };
        let call = self.calls.try_acquire().map_err(|_| Refusal::not_ready("too many requests at once"))?;
        Ok(Taken { body, deadline, wait_until, call })
    }
}

/// What matters of the head of a call; the rest is not kept while the body comes.
struct Head {
    /// What the caller gives us, or what is wrong with the head.
    budget: Result<Duration, Refusal>,
    /// Of the body.
    length: Option<usize>,
    /// A client that waits for our word (`Expect: 100-continue`) has not sent it.
    body_is_sent: bool,
    /// Who else is connected, and may hold on to what this call needs.
    crowd: Option<Arc<Crowd>>,
}

impl Head {
    fn of(head: Parts) -> Self {
        Self {
            budget: check_content_type(&head.headers).and_then(|()| budget(&head.uri)),
            length: head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok()),
            body_is_sent: !head.headers.contains_key(EXPECT),
            crowd: head.extensions.get::<Arc<Crowd>>().map(Arc::clone),
        }
    }
}

/// A call that is within the limits, and its share of them.
struct Taken<'a> {
    body: WholeBody,
    /// When the caller gives up.
    deadline: Instant,
    /// Until when registries are waited for (P4).
    wait_until: Instant,
    call: SemaphorePermit<'a>,
}

/// Bounds a review in time, and turns a panic into a 500 without its text: the policy for failures decides then, and not
/// a bug of ours (trap 8).
async fn guarded<T>(review: impl Future<Output = T>, deadline: Instant) -> Result<T, Refusal> {
    match tokio::time::timeout_at(deadline, AssertUnwindSafe(review).catch_unwind()).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_panic)) => Err(Refusal::new(500, "a bug in mirrorgate: its log says more")),
        Err(_) => Err(Refusal::new(504, "the review took longer than the caller's timeout")),
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(b"application/json") {
        return Err(Refusal::new(415, "the content type must be application/json"));
    }
    match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(()),
        Some(_) => Err(Refusal::new(415, "the body must not be compressed")),
    }
}

/// The caller's `?timeout=`, a Go duration; it sends whole seconds.
fn budget(uri: &Uri) -> Result<Duration, Refusal> {
    let mut pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    match pairs.find(|(name, _)| *name == "timeout") {
        None => Ok(DEFAULT_BUDGET),
        Some((_, text)) => match parse_duration(text) {
            Ok(Duration::ZERO) => Ok(DEFAULT_BUDGET),
            Ok(budget) => Ok(budget.min(LONGEST_BUDGET)),
            Err(error) => Err(Refusal::new(400, format!("timeout in the query: {error}"))),
        },
    }
}

/// How long a review with this budget waits for registries (P4). The caller's timeout is in whole seconds, rounded up: by
/// almost one it can be more than what is really left.
fn waiting_time(budget: Duration) -> Duration {
    const MARGIN: Duration = Duration::from_millis(1200);
    budget.saturating_sub(MARGIN).max(budget / 2)
}

async fn not_found(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    gate.throw_away(&Head::of(head), body, Instant::now() + BODY_TIME).await;
    status(&Refusal::new(
        404,
        "no such path: reviews go to /v1/mutate/enforce, /v1/mutate/audit and /v1/validate/policy",
    ))
}

async fn method_not_allowed(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    gate.throw_away(&Head::of(head), body, Instant::now() + BODY_TIME).await;
    let mut answer = status(&Refusal::new(405, "reviews are sent with POST"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    answer
}

/// A refusal as the API server reads it: its `message` is what the user is shown (A2).
fn status(refusal: &Refusal) -> Response {
    let code = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = (code, refusal.body()).into_response();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = refusal.retry_after {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    /// Trap 8: a bug of ours is a 500, so that `failurePolicy` decides; its text stays in the log.
    #[tokio::test]
    async fn trap_8_a_panic_is_a_500_without_its_text() {
        let refusal = guarded(async { assert_eq!(41, 42, "the secret") }, soon()).await.unwrap_err();
        assert_eq!(refusal.status, 500);
        assert!(!refusal.message.contains("secret"), "{}", refusal.message);
        let answer = status(&refusal);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&body["kind"], &body["reason"], &body["code"]),
            (&"Status".into(), &"InternalError".into(), &500.into())
        );
    }

    #[tokio::test]
    async fn a_review_that_takes_too_long_is_a_504() {
        let refusal = guarded(std::future::pending::<()>(), Instant::now()).await.unwrap_err();
        assert_eq!(refusal.status, 504);
    }

    #[tokio::test]
    async fn a2_more_calls_than_the_limit_are_told_to_come_again() {
        let (_sender, policy) = tokio::sync::watch::channel(None);
        let app = Arc::new(App::new(Arc::new(crate::telemetry::Metrics::new()), policy, Arc::default(), None));
        let gate = Gate::new(app, 0);
        let request = Request::post("/").header(CONTENT_TYPE, "application/json").body(Body::from("{}")).unwrap();
        let answer = gate.call(Subject::Pod(Mode::Enforce), request).await;
        assert_eq!((answer.status().as_u16(), &answer.headers()[RETRY_AFTER]), (503, &HeaderValue::from_static("1")));
        let metrics = gate.app.metrics().encode();
        assert!(metrics.contains("{mode=\"enforce\",operation=\"OTHER\",result=\"error\"} 1"), "{metrics}");
    }

    #[test]
    fn a2_a_refusal_says_when_to_come_again() {
        let answer = status(&Refusal::not_ready("busy"));
        assert_eq!((answer.status().as_u16(), &answer.headers()[RETRY_AFTER]), (503, &HeaderValue::from_static("1")));
    }

    #[test]
    fn p4_waiting_leaves_the_caller_its_rounding_and_takes_at_least_half() {
        for (budget, waiting) in [(10_000, 8_800), (2_400, 1_200), (2_000, 1_000), (1_000, 500)] {
            let millis = Duration::from_millis;
            assert_eq!(waiting_time(millis(budget)), millis(waiting));
        }
    }

    #[test]
    fn p4_the_budget_is_the_callers_timeout() {
        for (query, seconds) in [
            ("", 10),
            ("?timeout=5s", 5),
            ("?a=b&timeout=1s", 1),
            ("?timeout=0s", 10),
            ("?timeout=10m0s", 30),
            ("?x", 10),
        ] {
            let uri: Uri = format!("/v1/mutate/enforce{query}").parse().unwrap();
            assert_eq!(budget(&uri).ok(), Some(Duration::from_secs(seconds)), "{query}");
        }
        let uri: Uri = "/v1/mutate/enforce?timeout=-5s".parse().unwrap();
        assert_eq!(budget(&uri).unwrap_err().status, 400);
    }

    #[test]
    fn content_types_may_carry_parameters() {
        for (content_type, fine) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/json ;charset=utf-8", true),
            ("application/jsonx", false),
            ("text/plain", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            assert_eq!(check_content_type(&headers).is_ok(), fine, "{content_type}");
        }
        assert!(check_content_type(&HeaderMap::new()).is_err());
    }
}
