//! `serve`: wires the edges, owns every task, knows whether we are ready and in which order we stop.
//!
//! ```text
//! SIGTERM ─► not ready ─► the delay: everything is served, answers say goodbye ─► nothing new ─► what was begun ends ─► 0
//! ```
//! What was begun ends: calls with their answers, idle connections when their clients end them, or after the linger.
//! A second signal ends the process at once.

mod listening;
mod policy_file;
mod tasks;
mod try_it;

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::app::App;
use crate::cluster::{
    BundleWatches, Caretaker, CertificateEvents, POLICY_CONFIG_MAP, PolicyWatch, SecondLook, SecretStore,
    SecretWatches, ServingWatch, Trusting, WebhookWatches, nobody_calls, service_name,
};
use crate::probe::{BundleFiles, BundleKeeper, BundleStore, Dialler, Prober};
use crate::server::{LONGEST_BUDGET, Stage, admission_router, health_router, serve_connections};
use crate::serving::{CERTIFICATE_READINESS, CertificateFiles, CertificateSource, InForce};
use crate::telemetry::{Metrics, Readiness};
use policy_file::{First, PolicyFile};
use tasks::Tasks;

/// Connections of the API server: at most 25 idle ones for each of its replicas, and one for each call in flight.
pub const HTTPS_CONNECTIONS: usize = 800;
/// The kubelet and Prometheus.
const HTTP_CONNECTIONS: usize = 64;
/// A review takes microseconds: more threads than these would only cost memory on a large machine.
const MOST_WORKERS: usize = 8;

/// Everything that `serve` can be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The policy's file. `None`: the ConfigMap of the cluster.
    pub policy: Option<PathBuf>,
    /// Our own namespace in the cluster. `None`: the one that we run in, else `mirrorgate-system`.
    pub namespace: Option<String>,
    /// Where the API server calls, in HTTPS.
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are, in plain HTTP.
    pub http_listen: SocketAddr,
    /// Where the serving certificate comes from.
    pub certificate: ServingCertificate,
    /// How long everything is served after the first signal, while the cluster takes us out of its endpoints.
    pub shutdown_delay: Duration,
    /// How long after that idle connections are left for their clients to end: the API server does so when they were idle for
    /// 90 s, and may use them until then (trap 36).
    pub shutdown_linger: Duration,
    /// Whether to print a `curl` line to try the server with.
    pub print_try_line: bool,
}

/// Where the serving certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServingCertificate {
    /// Files.
    Files(CertificateSource),
    /// The Secret of the cluster, which somebody looks after.
    Secret(Caretaker),
}

/// What [`run`] runs on, and `benches/load/ceiling.rs`.
///
/// # Errors
/// When the system gives no threads or no timer.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .worker_threads(thread::available_parallelism().map_or(2, NonZero::get).min(MOST_WORKERS))
        // Reading files, and no more.
        .max_blocking_threads(4)
        .build()
}

/// Serves until a signal. 0 after an orderly end; 1 when the policy file has faults, each of which was logged.
///
/// # Errors
/// When it cannot start, or a task ended that must not.
pub async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let Settings {
        policy,
        namespace,
        listen,
        http_listen,
        certificate,
        shutdown_delay,
        shutdown_linger,
        print_try_line,
    } = settings;
    let metrics = Arc::new(Metrics::new());
    let readiness = Arc::new(Readiness::new(&[policy_file::READINESS, CERTIFICATE_READINESS, "listener"]));
    let (policy_sender, policy_in_force) = watch::channel(None);
    let secrets = Arc::new(SecretStore::default());
    let mut second_look = None;
    let bundles = BundleStore::new();
    let keeper = Arc::new(BundleKeeper::new(bundles.clone(), Arc::clone(&metrics), Arc::clone(&readiness)));
    let mut tasks = Tasks::new();
    let mut signals = Signals::new()?;
    let files = BundleFiles::new(policy_in_force.clone(), Arc::clone(&keeper), policy.is_none());
    tasks.spawn("CA bundles in files", files.run());
    let (prober, probes) =
        Prober::new(Dialler::new(), policy_in_force.clone(), bundles.subscribe(), Arc::clone(&metrics));
    tasks.spawn("probes", probes.run());

    let cluster = match &policy {
        Some(_) => None,
        None => Some(Cluster::of(namespace).await?),
    };
    let client = cluster.as_ref().map(|cluster| cluster.client.clone());
    let own_namespace = cluster.as_ref().map_or(NAMESPACE, |cluster| &cluster.namespace).to_owned();
    // Who asks how we are is answered from the very beginning.
    let https = listening::listen(listen, "--listen").await?;
    let http = listening::listen(http_listen, "--http-listen").await?;
    let (https_address, http_address) = (https.local_addr()?, http.local_addr()?);
    // The plain port answers to the very end.
    let (_plain_stage, plain_stages) = watch::channel(Stage::Serving);
    let health = health_router(Arc::clone(&metrics), Arc::clone(&readiness));
    tasks.spawn("http", serve_connections(http, None, health, HTTP_CONNECTIONS, plain_stages));

    let in_force = Arc::new(InForce::new(Arc::clone(&metrics), Arc::clone(&readiness)));
    let mut authority = None;
    match &certificate {
        ServingCertificate::Files(source) => {
            let name = cluster.as_ref().map(|cluster| service_name(&cluster.namespace));
            let files =
                CertificateFiles::load(source, name, Arc::clone(&in_force)).context("the serving certificate")?;
            authority = files.authority().map(ToOwned::to_owned);
            tasks.spawn("certificate files", files.keep());
        }
        ServingCertificate::Secret(caretaker) => {
            let cluster = cluster.as_ref().context("there is no Secret without a cluster")?;
            cluster.serve_certificate(*caretaker, &in_force, &mut tasks, &metrics, &readiness);
        }
    }
    tasks.spawn("certificate clock", Arc::clone(&in_force).watch_the_clock());

    if let Some(path) = policy {
        let file = PolicyFile::new(path, policy_sender, Arc::clone(&metrics), Arc::clone(&readiness));
        match file.first()? {
            First::Faulty => return Ok(ExitCode::FAILURE),
            First::InForce(file) => tasks.spawn("policy file", file.keep()),
        }
    } else if let Some(Cluster { client, namespace, instance }) = cluster {
        let events = CertificateEvents::new(client.clone(), &namespace, instance.clone(), in_force.concerns());
        tasks.spawn("certificate Events", events.run());
        let pull_secrets = SecretWatches::new(
            client.clone(),
            &namespace,
            instance.clone(),
            policy_in_force.clone(),
            Arc::clone(&secrets),
            Arc::clone(&metrics),
            Arc::clone(&readiness),
        );
        tasks.spawn("pull secrets", pull_secrets.run());
        second_look = Some(SecondLook::new(client.clone()));
        let ca_bundles = BundleWatches::new(
            client.clone(),
            &namespace,
            instance.clone(),
            policy_in_force.clone(),
            keeper,
            Arc::clone(&metrics),
            Arc::clone(&readiness),
        );
        tasks.spawn("CA bundles", ca_bundles.run());
        let policy =
            PolicyWatch::new(client, &namespace, instance, policy_sender, Arc::clone(&metrics), Arc::clone(&readiness));
        tasks.spawn("policy watch", policy.run());
    }

    let tls = TlsAcceptor::from(Arc::new(in_force.server_config().context("TLS")?));
    let (stage, stages) = watch::channel(Stage::Serving);
    let app = App::new(metrics, policy_in_force.clone(), secrets, second_look).with_prober(prober);
    let admission = admission_router(Arc::new(app.in_namespace(own_namespace)));
    let (pair, all, mut closing) = (Arc::clone(&in_force), Arc::clone(&readiness), stages.clone());
    let connections = serve_connections(https, Some(tls), admission, HTTPS_CONNECTIONS, stages);
    tasks.spawn(HTTPS, async move {
        // The API server may call before it knows that the process at our address is a new one. Without a certificate its handshake
        // would fail, and the call with it; without a policy it would be told to come back in a second; and before the first
        // list of pull secrets or CA bundles nobody would know of them. The system lets its connection wait.
        let ready = async {
            pair.is_there().await;
            // What is missing then, calls are told.
            let _in_time = tokio::time::timeout(ALL_OF_IT, all.ready()).await;
        };
        tokio::select! {
            () = ready => {}
            _ = closing.wait_for(|stage| matches!(stage, Stage::Closing(_))) => {}
        }
        connections.await;
    });
    readiness.set("listener", Ok(()));
    tracing::info!(https = %https_address, http = %http_address, "listening");
    let loaded = policy_in_force.borrow().clone();
    if let (true, Some(authority), Some(loaded)) = (print_try_line, authority, loaded) {
        anstream::eprintln!("{}", try_it::line(&authority, https_address, &loaded.policy));
    }

    let signal = tokio::select! {
        name = tasks.next_end() => anyhow::bail!("the task \"{name}\" ended and must not; its last log lines say why"),
        name = signals.next() => name,
    };
    // A person at a terminal waits for nobody's idle connections.
    let linger = if signal == TERMINATE { shutdown_linger } else { Duration::ZERO };
    tracing::info!(signal, delay = ?shutdown_delay, linger = ?linger, "shutting down");
    let orderly = async {
        readiness.set("process", Err("shutting down".to_owned()));
        stage.send_replace(Stage::Leaving);
        tokio::time::sleep(shutdown_delay).await;
        let is_uninstalled = match client {
            Some(client) => nobody_calls(client).await,
            None => false,
        };
        let linger = if is_uninstalled { Duration::ZERO } else { linger };
        stage.send_replace(Stage::Closing(Instant::now() + linger));
        let in_flight = async { while tasks.next_end().await != HTTPS {} };
        if tokio::time::timeout(linger + LONGEST_BUDGET, in_flight).await.is_err() {
            tracing::warn!("calls were still in flight after the longest timeout that a caller can have");
        }
        ExitCode::SUCCESS
    };
    let code = tokio::select! {
        code = orderly => code,
        name = signals.next() => {
            tracing::warn!(signal = name, "second signal: exiting at once");
            ExitCode::FAILURE
        }
    };
    tracing::info!("stopped");
    Ok(code)
}

const HTTPS: &str = "https";

/// For all that we need to be there once there is a certificate, before calls are answered without it: as long as a caller that
/// is told so would wait until it asks again. It is of the caller's time (`server::router` counts that from the call on), which
/// leaves 1.2 s for what we do not see.
const ALL_OF_IT: Duration = Duration::from_secs(1);

const TERMINATE: &str = "SIGTERM";

/// Our own namespace when we run outside of the cluster.
const NAMESPACE: &str = "mirrorgate-system";

/// The cluster that we run in, or that the kubeconfig names.
struct Cluster {
    client: kube::Client,
    /// Our own.
    namespace: String,
    /// The name of this replica.
    instance: String,
}

impl Cluster {
    async fn of(namespace: Option<String>) -> anyhow::Result<Cluster> {
        let (config, own_namespace) = match kube::Config::incluster() {
            Ok(config) => {
                let own_namespace = config.default_namespace.clone();
                (config, own_namespace)
            }
            Err(_) => {
                let found = crate::cluster::find(None).await;
                let config = found.context("no cluster to read the policy from (or give --policy FILE)")?;
                (config, NAMESPACE.to_owned())
            }
        };
        let namespace = namespace.unwrap_or(own_namespace);
        let client = kube::Client::try_from(config).context("the client of the API server")?;
        // The pod's name, in a cluster.
        let instance = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
        let instance = instance.unwrap_or_else(|| "mirrorgate".to_owned());
        tracing::info!(namespace, "the policy is the ConfigMap {POLICY_CONFIG_MAP}");
        Ok(Cluster { client, namespace, instance })
    }
}

impl Cluster {
    /// Starts what follows the Secret, and what tells the API server whom to trust.
    fn serve_certificate(
        &self,
        caretaker: Caretaker,
        in_force: &Arc<InForce>,
        tasks: &mut Tasks,
        metrics: &Arc<Metrics>,
        readiness: &Arc<Readiness>,
    ) {
        let Self { client, namespace, instance } = self;
        let (authorities, wanted) = watch::channel(None);
        let (trusting, trusted) = watch::channel(Trusting::default());
        if caretaker != Caretaker::CertManager {
            let webhooks = WebhookWatches::new(
                client.clone(),
                namespace,
                instance.clone(),
                wanted,
                trusting,
                Arc::clone(metrics),
                Arc::clone(readiness),
            );
            tasks.spawn("webhooks", webhooks.run());
        }
        let serving = ServingWatch::new(
            client.clone(),
            namespace,
            instance.clone(),
            caretaker,
            Arc::clone(in_force),
            authorities,
            trusted,
            Arc::clone(metrics),
            Arc::clone(readiness),
        );
        tasks.spawn("serving certificate", serving.run());
    }
}

/// What a process is asked to end with.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Signals { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => TERMINATE,
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
