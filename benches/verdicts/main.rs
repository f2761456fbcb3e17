//! What it costs a review to be told verdicts that are kept. The figures are in `benches/README.md`.
#![expect(clippy::unwrap_used, reason = "a benchmark stops at its first fault")]

#[path = "../scene/mod.rs"]
mod scene;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use futures::FutureExt as _;
use mirrorgate::image::Registry;
use mirrorgate::policy::{LoadedPolicy, Policy};
use mirrorgate::probe::{BundleStore, Prober};
use mirrorgate::telemetry::Metrics;
use scene::{later, trusted};
use tokio::sync::watch;

const POLICY: &str = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\ntrust: {registries: ['*.corp']}\n";

/// Verdicts of registries that are all kept, beside 1,000 others: nothing is waited for.
fn warm_verdicts(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let loaded = Arc::new(LoadedPolicy::new(Policy::read(POLICY).unwrap().policy, POLICY, 1));
    let (_policy, in_force) = watch::channel(Some(Arc::clone(&loaded)));
    let bundles = BundleStore::new();
    let (prober, tasks) = Prober::with_probe(in_force, bundles.subscribe(), Arc::new(Metrics::new()), trusted);
    let probes = runtime.spawn(tasks.run());

    let names = (0..1000).map(|number| format!("registry-{number}.team.corp:5000"));
    let names: Vec<Registry> = names.map(|name| Registry::parse(&name).unwrap()).collect();
    for few in names.chunks(10) {
        runtime.block_on(prober.verdicts(&loaded, few, later()));
    }
    let mut group = criterion.benchmark_group("warm verdicts");
    for count in [1, 3, 10] {
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            let until = later();
            bencher.iter(|| prober.verdicts(&loaded, black_box(&names[..count]), until).now_or_never().unwrap());
        });
    }
    group.finish();
    probes.abort();
}

criterion_group!(benches, warm_verdicts);
criterion_main!(benches);
