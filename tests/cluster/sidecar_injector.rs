//! A second webhook, called after ours, that adds a container: what service meshes do.

use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::lab::{Lab, our_address};

/// By its name it comes after `mirrorgate`: the API server calls in the order of names.
const NAME: &str = "sidecar-injector";

pub(crate) struct SidecarInjector {
    configurations: Api<MutatingWebhookConfiguration>,
    _tasks: JoinSet<()>,
}

/// Adds a container `sidecar` with this image to the pods of one namespace.
pub(crate) async fn start(lab: &Lab, namespace: &str, image: &'static str) -> SidecarInjector {
    let address = our_address();
    let made = rcgen::generate_simple_self_signed([address.clone()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((address.as_str(), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();

    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(|request| answer(request, image));
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });

    let configurations = Api::<MutatingWebhookConfiguration>::all(lab.client.clone());
    let _ = configurations.delete(NAME, &DeleteParams::default()).await;
    let configuration = json!({
        "metadata": {"name": NAME},
        "webhooks": [{
            "name": "sidecar.lab.test", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": format!("https://{address}:{port}/"), "caBundle": STANDARD.encode(made.cert.pem())},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        }],
    });
    configurations.create(&PostParams::default(), &serde_json::from_value(configuration).unwrap()).await.unwrap();
    SidecarInjector { configurations, _tasks: tasks }
}

impl SidecarInjector {
    pub(crate) async fn stop(self) {
        self.configurations.delete(NAME, &DeleteParams::default()).await.unwrap();
    }
}

async fn answer(request: Request<Incoming>, image: &str) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let containers = review["request"]["object"]["spec"]["containers"].as_array().unwrap();
    let mut response = json!({"uid": review["request"]["uid"], "allowed": true});
    if containers.iter().all(|container| container["name"] != "sidecar") {
        let patch = json!([{"op": "add", "path": "/spec/containers/-", "value": {"name": "sidecar", "image": image}}]);
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(STANDARD.encode(patch.to_string()));
    }
    let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok(Response::new(Full::from(answer.to_string())))
}
