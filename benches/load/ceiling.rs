//! The ceiling: what a webhook costs that does nothing. Listener, TLS, HTTP and runtime are those of `mirrorgate serve`; the
//! handler reads the whole body and answers a constant. What mirrorgate takes beyond this is its own.
//!
//! It answers on every path. A line of JSON on stderr says where it listens, as mirrorgate's log does.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use clap::Parser;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use mirrorgate::serve::{HTTPS_CONNECTIONS, runtime};
use mirrorgate::server::{Stage, serve_connections};
use mirrorgate::serving::{CertificateFiles, CertificateSource, InForce};
use mirrorgate::telemetry::{Metrics, Readiness};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// A webhook that admits whatever it is asked, and does nothing else.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where it listens (HTTPS); port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The serving certificate, in PEM, with its chain
    #[arg(long, value_name = "FILE")]
    tls_cert: PathBuf,
    /// The private key of it, in PEM
    #[arg(long, value_name = "FILE")]
    tls_key: PathBuf,
    /// Answer with the uid of the request, as an API server demands; without it the answer is a constant
    #[arg(long)]
    answer_uid: bool,
    /// Answer with this patch, too: a file that holds it in base64, as it stands in an answer
    #[arg(long, value_name = "FILE", requires = "answer_uid")]
    patch: Option<PathBuf>,
}

fn main() -> ExitCode {
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let served =
        runtime().context("starting the runtime").and_then(|runtime| runtime.block_on(serve(Arguments::parse())));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { listen, tls_cert, tls_key, answer_uid, patch } = arguments;
    let in_force = Arc::new(InForce::new(Arc::new(Metrics::new()), Arc::new(Readiness::new(&[]))));
    let source = CertificateSource::Files { certificate: tls_cert, key: tls_key };
    CertificateFiles::load(&source, None, Arc::clone(&in_force)).context("the serving certificate")?;
    let tls = TlsAcceptor::from(Arc::new(in_force.server_config().context("TLS")?));
    let socket = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
    anstream::eprintln!(r#"{{"message":"listening","https":"{}"}}"#, socket.local_addr()?);
    let behind_uid = match patch {
        Some(file) => {
            let patch = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            format!(r#"","allowed":true,"patchType":"JSONPatch","patch":"{patch}"}}}}"#)
        }
        None => BEHIND_UID.to_owned(),
    };
    let router = if answer_uid {
        Router::new().fallback(with_its_uid).with_state(Arc::from(behind_uid))
    } else {
        Router::new().fallback(constant)
    };
    let (_stage, stages) = watch::channel(Stage::Serving);
    serve_connections(socket, Some(tls), router, HTTPS_CONNECTIONS, stages).await;
    Ok(())
}

const BEFORE_UID: &str = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":""#;
const BEHIND_UID: &str = r#"","allowed":true}}"#;
/// The uid of the reviews in `benches/scene`.
const ANSWER: &str = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"5e0b7a3e-0d43-4a0f-9f1b-0d2f6f5f7b11","allowed":true}}"#;

async fn constant(request: Request<Body>) -> Response {
    match request.into_body().collect().await {
        Ok(_whole) => admitted(Bytes::from_static(ANSWER.as_bytes())),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

async fn with_its_uid(State(behind_uid): State<Arc<str>>, request: Request<Body>) -> Response {
    match request.into_body().collect().await {
        Ok(whole) => match uid(&whole.to_bytes()) {
            Some(uid) => admitted([BEFORE_UID, uid, &behind_uid].concat().into()),
            None => (StatusCode::BAD_REQUEST, "the request does not begin with its uid").into_response(),
        },
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// The API server writes it first in the request; nothing before it holds such a key.
fn uid(body: &[u8]) -> Option<&str> {
    const KEY: &str = r#""request":{"uid":""#;
    let start = str::from_utf8(body.get(..256.min(body.len()))?).ok()?;
    let (_, behind) = start.split_once(KEY)?;
    behind.split_once('"').map(|(uid, _)| uid)
}

fn admitted(answer: Bytes) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], answer).into_response()
}
