//! Namespaces with pull secrets: as the watches of a cluster have them, from an API server that is a function.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{Request, Response};
use kube::Client;
use kube::client::Body;
use mirrorgate::cluster::{SecretStore, SecretWatches};
use mirrorgate::keyring::DOCKER_CONFIG_JSON;
use mirrorgate::policy::{LoadedPolicy, Policy};
use mirrorgate::telemetry::{Metrics, Readiness};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Curve;
use super::reviews::flat;
use super::scene::{self, Scene, bodies};

pub(crate) fn namespaces() -> Curve {
    let body = bodies::small();
    let policy = scene::policy(10);
    let scenes = [10, 30, 100, 300, 1000, 3000, 10_000].map(|count| {
        let scene = Scene::with_secrets(&policy, watched(count, &policy), &[&body]);
        assert!(patch(&scene.review(&body)).contains(r#""name":"harbor-pull""#), "the secret is added");
        (count, scene)
    });
    flat(
        "A review against the namespaces with a pull secret",
        "namespaces with a pull secret",
        "10 to 10,000 namespaces",
        None,
        &scenes,
        |_| body.clone(),
    )
}

fn patch(answer: &str) -> String {
    let answer: Value = serde_json::from_str(answer).unwrap();
    String::from_utf8(STANDARD.decode(answer["response"]["patch"].as_str().unwrap()).unwrap()).unwrap()
}

/// What the watches know of so many namespaces, the reviewed one among them, each with a secret of its own.
fn watched(count: usize, policy: &str) -> Arc<SecretStore> {
    let secrets: Vec<Value> = (0..count)
        .map(|number| {
            let namespace = if number == count / 2 { "team-a".to_owned() } else { format!("team-{number}") };
            let auth = STANDARD.encode(format!("robot:{number}"));
            let config = json!({"auths": {"harbor.corp:5000": {"auth": auth}, (format!("registry-{number}.corp")): {"auth": auth}}});
            json!({
                "metadata": {"name": "harbor-pull", "namespace": namespace, "resourceVersion": "1"},
                "type": DOCKER_CONFIG_JSON,
                "data": {".dockerconfigjson": STANDARD.encode(config.to_string())},
            })
        })
        .collect();
    let list =
        json!({"kind": "SecretList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": secrets});
    let list = list.to_string();

    let store = Arc::new(SecretStore::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // A list, and then nothing happens.
        let server = tower::service_fn(move |request: Request<Body>| {
            let is_list = !request.uri().query().unwrap_or_default().contains("watch=true");
            let list = is_list.then(|| Response::new(Body::from(list.clone().into_bytes())));
            async move {
                match list {
                    Some(list) => Ok::<_, Infallible>(list),
                    None => pending().await,
                }
            }
        });
        let loaded = LoadedPolicy::new(Policy::read(policy).unwrap().policy, policy, 1);
        let (_policy, in_force) = watch::channel(Some(Arc::new(loaded)));
        let readiness = Arc::new(Readiness::new(&["pull-secrets"]));
        let watches = SecretWatches::new(
            Client::new(server, "default"),
            "mirrorgate-system",
            "bench".to_owned(),
            in_force,
            Arc::clone(&store),
            Arc::new(Metrics::new()),
            Arc::clone(&readiness),
        );
        let started = Instant::now();
        let listed = async {
            while !readiness.is_ready() {
                assert!(started.elapsed() < Duration::from_secs(60), "{}", readiness.report());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            never = watches.run() => match never {},
            () = listed => {}
        }
    });
    store
}
