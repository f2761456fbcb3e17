//! What is answered instead of a review: an HTTP error whose body is a Kubernetes `Status`, so that the user is shown
//! its message (A2). Only policy denies; these are faults of the caller, of the moment, or of ours.

use serde::Serialize;

use super::wire::BadReview;

/// An HTTP error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status code.
    pub status: u16,
    /// What is wrong and what to do, for the user whom the API server shows it to.
    pub message: String,
    /// Seconds after which the API server calls again, within its own timeout.
    pub retry_after: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: serde_json::Map<String, serde_json::Value>,
    status: &'static str,
    message: &'a str,
    reason: &'static str,
    code: u16,
}

impl Refusal {
    /// An HTTP error without `Retry-After`.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: format!("mirrorgate: {}", message.into()), retry_after: None }
    }

    /// 400: the body is no review.
    pub fn bad_review(fault: BadReview) -> Self {
        Self::new(400, fault.to_string())
    }

    /// 503: the API server rides it out by calling again every second until its timeout.
    pub fn not_ready(why: &str) -> Self {
        Self { retry_after: Some(1), ..Self::new(503, why) }
    }

    /// 500: a fault of ours, so that `failurePolicy` decides.
    pub fn internal(fault: impl std::fmt::Display) -> Self {
        Self::new(500, format!("a fault of its own, please report it: {fault}"))
    }

    /// The body: a Kubernetes `Status`.
    pub fn body(&self) -> Vec<u8> {
        let status = Status {
            api_version: "v1",
            kind: "Status",
            metadata: serde_json::Map::new(),
            status: "Failure",
            message: &self.message,
            reason: self.reason(),
            code: self.status,
        };
        serde_json::to_vec(&status).unwrap_or_default()
    }

    /// The word that Kubernetes uses for the status code.
    fn reason(&self) -> &'static str {
        match self.status {
            400 => "BadRequest",
            404 => "NotFound",
            405 => "MethodNotAllowed",
            408 | 504 => "Timeout",
            413 => "RequestEntityTooLarge",
            415 => "UnsupportedMediaType",
            503 => "ServiceUnavailable",
            _ => "InternalError",
        }
    }
}
