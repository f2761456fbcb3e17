//! What is measured: reviews as an API server sends them, a policy as a site has it, and the verdicts on its registries, all of
//! them kept. Shared by the benches, the load, and the counts of allocations and of instructions.
#![allow(dead_code, reason = "each that shares it measures something else")]
#![expect(clippy::unwrap_used, reason = "a measurement stops at its first fault")]

pub(crate) mod bodies;
pub(crate) mod machine;
pub(crate) mod marks;
pub(crate) mod memory;
pub(crate) mod spread;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use mirrorgate::app::App;
use mirrorgate::cluster::SecretStore;
use mirrorgate::policy::{LoadedPolicy, Policy};
use mirrorgate::probe::{BundleStore, Prober, Question, Report};
use mirrorgate::review::{Mode, Verdict};
use mirrorgate::server::handler;
use mirrorgate::telemetry::Metrics;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The mirror that the policy names, and that some of the bodies pull from already.
pub(crate) const MIRROR: &str = "harbor.corp:5000";

/// A policy that names `hosts` hosts, and a few patterns; what the bodies pull is among them.
pub(crate) fn policy(hosts: usize) -> String {
    let mut policy = String::from(
        "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\nregistryMirrors:\n\
         - name: harbor\n  endpoint: https://harbor.corp:5000/v2/proxy\n  repositories: {exclude: [\"library/scratch-*\"]}\n  \
         pathTemplate: \"{host}/{repository}\"\n  pullSecrets: [harbor-pull]\n  hosts:\n  - docker.io\n  - quay.io\n  - ghcr.io\n  \
         - \"*.gcr.io\"\n",
    );
    for number in 4..hosts {
        // Writing to a `String` does not fail.
        let _ = writeln!(policy, "  - registry-{number}.example.com");
    }
    policy + "ignore:\n  images: [auto]\n  registries: [\"*.dkr.ecr.eu-west-1.amazonaws.com\"]\n"
}

/// A server's inside, without its sockets: every registry is trusted, and that is known.
pub(crate) struct Scene {
    app: Arc<App>,
    runtime: Runtime,
    probes: JoinHandle<()>,
    _policy: watch::Sender<Option<Arc<LoadedPolicy>>>,
}

impl Scene {
    /// Under this policy, with the verdicts that a review of each of `bodies` asks for.
    pub(crate) fn new(policy: &str, bodies: &[&[u8]]) -> Self {
        Self::with_secrets(policy, Arc::default(), bodies)
    }

    /// The same with the pull secrets of a cluster.
    pub(crate) fn with_secrets(policy: &str, secrets: Arc<SecretStore>, bodies: &[&[u8]]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _inside = runtime.enter();
        let loaded = Arc::new(LoadedPolicy::new(Policy::read(policy).unwrap().policy, policy, 1));
        let (policy, in_force) = watch::channel(Some(loaded));
        let metrics = Arc::new(Metrics::new());
        let bundles = BundleStore::new();
        let (prober, tasks) = Prober::with_probe(in_force.clone(), bundles.subscribe(), Arc::clone(&metrics), trusted);
        let probes = runtime.spawn(tasks.run());
        let app = Arc::new(App::new(metrics, in_force, secrets, None).with_prober(prober));
        for body in bodies {
            runtime.block_on(handler::review(&app, Mode::Enforce, body, later())).unwrap();
        }
        drop(_inside);
        Self { app, runtime, probes, _policy: policy }
    }

    /// What a server of it is made of.
    pub(crate) fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// From the bytes of a body to the bytes of the answer: everything is known, so it waits for nothing.
    pub(crate) fn review(&self, body: &[u8]) -> String {
        handler::review(&self.app, Mode::Enforce, body, later()).now_or_never().unwrap().unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.probes.abort();
    }
}

/// Nothing that is measured is waited for.
pub(crate) fn later() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// What every registry answers.
pub(crate) async fn trusted(question: Arc<Question>) -> Report {
    Report {
        registry: question.registry().clone(),
        address: None,
        judgement: None,
        http_status: None,
        verdict: Verdict::Trusted,
        took: Duration::ZERO,
    }
}
