//! The plain port: `/livez`, `/readyz`, `/metrics`. It says how we are and does nothing.

use std::sync::Arc;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;

use crate::telemetry::{Metrics, Readiness};

/// `/livez` says only that the runtime turns; `/readyz` names what is missing; `/metrics` is OpenMetrics text.
pub fn health_router(metrics: Arc<Metrics>, readiness: Arc<Readiness>) -> Router {
    let of_metrics = Arc::clone(&readiness);
    let ready = move || async move {
        let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, readiness.report())
    };
    let metrics = move || async move {
        metrics.ready(of_metrics.is_ready());
        ([(CONTENT_TYPE, Metrics::CONTENT_TYPE)], metrics.encode()).into_response()
    };
    Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(ready)).route("/metrics", get(metrics))
}
