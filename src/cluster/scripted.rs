//! An API server that answers each path as a test says.

use std::convert::Infallible;

use hyper::{Request, Response};
use kube::Client;
use kube::client::Body;

/// `answer` gives the status and the body for a path with its query.
pub(super) fn scripted(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (status, body) = answer(&request.uri().to_string());
        let response = Response::builder().status(status).body(Body::from(body.into_bytes())).unwrap();
        std::future::ready(Ok::<_, Infallible>(response))
    });
    Client::new(service, "default")
}
