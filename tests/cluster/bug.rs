//! What a bug of ours does to the pods of others: `failurePolicy` decides on them, and not we.

use std::fs;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use mirrorgate::app::{App, LoadedPolicy};
use mirrorgate::policy::Policy;
use mirrorgate::server::{Stage, admission_router, serve_connections};
use mirrorgate::serving::{CertificateFiles, CertificateSource, InForce};
use mirrorgate::telemetry::{Metrics, Readiness};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::lab::{Lab, audit_events, our_address, until};
use crate::mirrorgate::policy_with_mirror;
use crate::pods::{images, pod};

/// By its name it comes after `mirrorgate`, whose webhooks keep their numbers in the audit log.
const NAME: &str = "mirrorgate-with-a-bug";

/// Trap 8: `failurePolicy: Ignore` covers no denial.
#[tokio::test]
async fn trap_8_a_panic_refuses_pods_under_fail_alone_and_denies_none() {
    let lab = Lab::shared().await;
    // Without the label: the mirrorgate of the lab is not asked.
    let enforce = lab.namespace(None).await;
    let audit = lab.namespace(None).await;
    // Of this thread alone, on which the test and its server run.
    let _bug = tracing::subscriber::set_default(tracing_subscriber::registry().with(Bug));
    let mut tasks = JoinSet::new();
    let (port, authority) = serve(&mut tasks).await;
    let configurations = Api::<MutatingWebhookConfiguration>::all(lab.client.clone());
    call_instead(&configurations, port, &authority, [&enforce, &audit]).await;

    let manifest = pod(&["nginx:1.27"]);
    let refused = until("the refusal", 10, async || lab.create(&enforce, manifest.clone()).await.err()).await;
    let kube::Error::Api(status) = refused else { panic!("{refused}") };
    assert_eq!((status.code, status.reason.as_str()), (500, "InternalError"), "{status:?}");
    assert!(status.message.contains("failed calling webhook \"enforce.mirrorgate.dev\""), "{status:?}");
    // Our own answer, and no broken connection.
    assert!(status.message.contains("mirrorgate: a bug in mirrorgate: its log says more"), "{status:?}");

    let ignored = "failed-open.mutation.webhook.admission.k8s.io/round_0_index_";
    until("a failure that is ignored", 10, async || {
        let made = lab.create(&audit, manifest.clone()).await.unwrap();
        assert_eq!(images(&made), ["nginx:1.27"]);
        let events = audit_events(&audit, "create");
        let annotations = events.last().unwrap()["annotations"].as_object()?;
        annotations.iter().find(|(key, hook)| key.starts_with(ignored) && *hook == "audit.mirrorgate.dev").map(drop)
    })
    .await;
    configurations.delete(NAME, &DeleteParams::default()).await.unwrap();
}

/// The log line of a review panics, as a mistake in its making would.
struct Bug;

impl<S: Subscriber> Layer<S> for Bug {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == "mirrorgate::server::handler"
    }

    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        panic!("the bug that this test is about");
    }
}

/// Our server, in a task on this thread; its port, and the CA of its certificate.
async fn serve(tasks: &mut JoinSet<()>) -> (u16, Vec<u8>) {
    let metrics = Arc::new(Metrics::new());
    let folder = tempfile::tempdir().unwrap();
    let source = CertificateSource::Directory { directory: folder.path().to_owned(), names: vec![our_address()] };
    let in_force = Arc::new(InForce::new(Arc::clone(&metrics), Arc::new(Readiness::new(&[]))));
    let files = CertificateFiles::load(&source, None, Arc::clone(&in_force)).unwrap();
    let authority = fs::read(files.authority().unwrap()).unwrap();
    let tls = TlsAcceptor::from(Arc::new(in_force.server_config().unwrap()));

    let policy = policy_with_mirror("bug.test");
    let loaded = LoadedPolicy::new(Policy::read(&policy).unwrap().policy, &policy, 1);
    let (_, in_force) = watch::channel(Some(Arc::new(loaded)));
    let router = admission_router(Arc::new(App::new(metrics, in_force, Arc::default(), None)));
    let listener = TcpListener::bind((our_address(), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        let (_serving, stage) = watch::channel(Stage::Serving);
        serve_connections(listener, Some(tls), router, 64, stage).await;
    });
    (port, authority)
}

/// The webhooks as they are installed, in their order, but each for the pods of one namespace and at our port.
async fn call_instead(
    configurations: &Api<MutatingWebhookConfiguration>,
    port: u16,
    authority: &[u8],
    namespaces: [&String; 2],
) {
    let installed = configurations.get("mirrorgate").await.unwrap();
    let mut webhooks = serde_json::to_value(installed.webhooks.unwrap()).unwrap();
    for (webhook, namespace) in webhooks.as_array_mut().unwrap().iter_mut().zip(namespaces) {
        let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap();
        let url = format!("https://{}:{port}{path}", our_address());
        webhook["clientConfig"] = json!({"url": url, "caBundle": STANDARD.encode(authority)});
        webhook["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    }
    let _ = configurations.delete(NAME, &DeleteParams::default()).await;
    let configuration = json!({"metadata": {"name": NAME}, "webhooks": webhooks});
    configurations.create(&PostParams::default(), &serde_json::from_value(configuration).unwrap()).await.unwrap();
}
