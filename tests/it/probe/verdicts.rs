//! What is kept of registries and shared by those who ask, with registries that listen.

use std::slice;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mirrorgate::policy::{BundleRef, LoadedPolicy, Policy};
use mirrorgate::probe::{BundleStore, Dialler, Prober};
use mirrorgate::review::Verdict;
use mirrorgate::telemetry::Metrics;
use mirrorgate::trust::Pool;
use rcgen::date_time_ymd;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ENOUGH;
use super::authority::Authority;
use super::registry::{Listening, good, hold, listen};

/// What a running server has of it.
struct World {
    prober: Arc<Prober>,
    loaded: Arc<LoadedPolicy>,
    bundles: BundleStore,
    _policy: watch::Sender<Option<Arc<LoadedPolicy>>>,
    _tasks: JoinSet<()>,
}

const BUNDLE: &str = "/etc/mirrorgate/ca.crt";

impl World {
    /// Under a policy whose mirrors are these, with the CAs of one bundle.
    fn new(mirrors: &[&Listening]) -> Self {
        let mut source =
            format!("apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\nprobe: {{timeout: {}s}}\n", ENOUGH.as_secs());
        source += &format!("trust: {{systemRoots: false, caBundles: [{{file: {BUNDLE}}}]}}\nregistryMirrors:\n");
        for (number, mirror) in mirrors.iter().enumerate() {
            let address = mirror.address;
            source += &format!("- {{name: m{number}, endpoint: 'https://{address}', hosts: [h{number}.test]}}\n");
        }
        let loaded = Arc::new(LoadedPolicy::new(Policy::read(&source).unwrap().policy, &source, 1));
        let (policy, in_force) = watch::channel(Some(Arc::clone(&loaded)));
        let bundles = BundleStore::new();
        let metrics = Arc::new(Metrics::new());
        let (prober, probes) = Prober::new(Dialler::new(), in_force, bundles.subscribe(), metrics);
        let mut tasks = JoinSet::new();
        tasks.spawn(probes.run());
        Self { prober, loaded, bundles, _policy: policy, _tasks: tasks }
    }

    fn trust(&self, authority: &Authority) {
        let pool = Arc::clone(&authority.roots().pools()[0]);
        self.bundles.put(&BundleRef::File(BUNDLE.to_owned()), pool);
    }

    async fn ask(&self, registry: &Listening) -> Verdict {
        let registry = registry.name();
        let verdicts =
            self.prober.verdicts(&self.loaded, slice::from_ref(&registry), Instant::now() + 2 * ENOUGH).await;
        verdicts.get(registry.as_str()).unwrap().clone()
    }
}

#[tokio::test]
async fn p3_a_thousand_pods_at_once_are_one_dial() {
    let authority = Authority::new("a CA");
    let registry = good(&authority.certify(&["127.0.0.1"])).await;
    let world = Arc::new(World::new(&[&registry]));
    world.trust(&authority);
    let name = registry.name();
    let mut pods = JoinSet::new();
    for _ in 0..1000 {
        let (world, name) = (Arc::clone(&world), name.clone());
        pods.spawn(async move {
            let verdicts = world.prober.verdicts(&world.loaded, slice::from_ref(&name), Instant::now() + ENOUGH).await;
            verdicts.get(name.as_str()).cloned()
        });
    }
    while let Some(verdict) = pods.join_next().await {
        assert_eq!(verdict.unwrap(), Some(Verdict::Trusted));
    }
    assert_eq!(registry.connections(), 1);
}

#[tokio::test]
async fn trap_15_a_registry_that_hangs_delays_no_other() {
    let authority = Authority::new("a CA");
    let (fine, hangs) = (good(&authority.certify(&["127.0.0.1"])).await, listen(hold).await);
    let world = World::new(&[&hangs, &fine]);
    world.trust(&authority);
    let (slow, quick) = (hangs.name(), fine.name());
    let until = Instant::now() + Duration::from_secs(1);
    let verdicts = world.prober.verdicts(&world.loaded, &[slow.clone(), quick.clone()], until).await;
    assert_eq!(verdicts.get(quick.as_str()), Some(&Verdict::Trusted));
    assert_eq!(verdicts.get(slow.as_str()).unwrap().class(), "not-asked");
    assert!(Instant::now() < until + Duration::from_secs(2));
}

/// T2, P3: whatever was said before.
#[tokio::test]
async fn p3_a_bundle_that_changes_counts_at_once() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let registry = good(&first.certify(&["127.0.0.1"])).await;
    let world = World::new(&[&registry]);
    let Verdict::Unknown(unknown) = world.ask(&registry).await else { panic!("the bundle was never read") };
    assert_eq!(unknown.class.as_str(), "cannot-judge");
    assert!(unknown.why.contains(BUNDLE), "{}", unknown.why);
    world.trust(&second);
    assert_eq!(world.ask(&registry).await.class(), "unknown-authority");
    world.trust(&first);
    assert_eq!(world.ask(&registry).await, Verdict::Trusted);
    // A bundle that cannot be read any more stays in force.
    world.bundles.fault(&BundleRef::File(BUNDLE.to_owned()), "gone".to_owned());
    assert_eq!(world.ask(&registry).await, Verdict::Trusted);
    let empty = Pool::new("nothing", Vec::new());
    world.bundles.put(&BundleRef::File(BUNDLE.to_owned()), Arc::new(empty));
    assert_eq!(world.ask(&registry).await.class(), "unknown-authority");
}

#[tokio::test]
async fn p3_what_is_trusted_is_so_no_longer_than_its_certificate() {
    const YEAR_2020: Duration = Duration::from_secs(1_577_836_800);
    let authority = Authority::new("a CA");
    let left = Duration::from_secs(3);
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + left - YEAR_2020;
    let certified = authority.certify_with(&["127.0.0.1"], |params| params.not_after = date_time_ymd(2020, 1, 1) + end);
    let registry = good(&certified).await;
    let world = World::new(&[&registry]);
    world.trust(&authority);
    assert_eq!(world.ask(&registry).await, Verdict::Trusted);
    tokio::time::sleep(left + Duration::from_secs(1)).await;
    assert_eq!(world.ask(&registry).await.class(), "expired");
}
