//! What one decision costs, from the bytes of a review to the bytes of its answer, and the parts that it is made of.
//! The figures, and how they were measured, are in `benches/README.md`.
#![expect(clippy::unwrap_used, reason = "a benchmark stops at its first fault")]
#![expect(clippy::print_stdout, reason = "how large the bodies are belongs to the figures")]

#[path = "../scene/mod.rs"]
mod scene;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::FutureExt as _;
use mirrorgate::app::App;
use mirrorgate::image::Reference;
use mirrorgate::json::Reader;
use mirrorgate::keyring::{DOCKER_CFG, PullSecret};
use mirrorgate::policy::{LoadedPolicy, Policy};
use mirrorgate::review::{Mode, Plan, PullSecrets, Scope, SecretsByName, Verdict, Verdicts};
use mirrorgate::server::handler;
use mirrorgate::server::wire::{self, Request};
use mirrorgate::telemetry::{JsonLines, Metrics};
use scene::{Scene, bodies};
use tokio::time::Instant;
use tracing_subscriber::layer::SubscriberExt;

/// The policy of the scene, without pull secrets.
fn policy(hosts: usize) -> String {
    scene::policy(hosts).replace("  pullSecrets: [harbor-pull]\n", "")
}

fn app(hosts: usize) -> App {
    let source = policy(hosts);
    let loaded = LoadedPolicy::new(Policy::read(&source).unwrap().policy, &source, 1);
    App::new(Arc::new(Metrics::new()), tokio::sync::watch::channel(Some(Arc::new(loaded))).1, Arc::default(), None)
}

/// Without a cluster there is nothing to wait for.
fn review(app: &App, body: &[u8]) -> Option<String> {
    handler::review(app, Mode::Enforce, body, Instant::now() + Duration::from_secs(10)).now_or_never()?.ok()
}

/// Where nobody is asked about registries.
fn plan<'p, 'a>(request: &'a Request<'a>, policy: &'p Policy, secrets: &PullSecrets) -> Plan<'p, 'a> {
    request.plan(policy, request.route(policy), &Verdicts::not_asked_for(), secrets)
}

fn reviews(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("review");
    for (name, body) in [("2 containers", bodies::small()), ("72 containers", bodies::large())] {
        println!("review of {name}: {} bytes", body.len());
        group.throughput(Throughput::Bytes(body.len() as u64));
        for hosts in [10, 10_000] {
            let app = app(hosts);
            let answer = review(&app, &body).unwrap();
            assert!(answer.contains(r#""patch":""#), "the review is patched");
            group.bench_function(BenchmarkId::new(name, format!("{hosts} hosts")), |bencher| {
                bencher.iter(|| review(&app, black_box(&body)));
            });
        }
    }
    group.finish();
}

/// The same where every registry was asked and is trusted, and there is a pull secret to add: what a server does all day.
fn reviews_with_warm_verdicts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("review with warm verdicts");
    for (name, body) in [("2 containers", bodies::small()), ("72 containers", bodies::large())] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        for hosts in [10, 10_000] {
            let scene = Scene::new(&scene::policy(hosts), &[&body]);
            group.bench_function(BenchmarkId::new(name, format!("{hosts} hosts")), |bencher| {
                bencher.iter(|| scene.review(black_box(&body)));
            });
        }
    }
    group.finish();
}

/// What comes between the request that was read and its answer. The patch is made as it is decided, in enforce mode alone.
fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("part");
    let policy = Policy::read(&scene::policy(10)).unwrap().policy;
    let secrets = PullSecrets::unknown();
    for (name, body) in [("2 containers", bodies::small()), ("72 containers", bodies::large())] {
        let request = Request::parse(std::str::from_utf8(&body).unwrap()).unwrap();
        let route = || request.route(&policy).unwrap();
        group.bench_function(BenchmarkId::new("route", name), |bencher| bencher.iter(route));
        let mut verdicts = Verdicts::default();
        for registry in route().settle(&verdicts) {
            verdicts.put(&registry, Verdict::Trusted);
        }
        let settled = || {
            let mut routed = route();
            assert!(routed.settle(&verdicts).is_empty(), "every verdict is known");
            routed
        };
        group.bench_function(BenchmarkId::new("settle", name), |bencher| {
            let mut routed = route();
            bencher.iter(|| routed.settle(black_box(&verdicts)));
        });
        group.bench_function(BenchmarkId::new("plan", name), |bencher| {
            let plan = |routed| request.plan(&policy, Some(routed), &verdicts, &secrets);
            bencher.iter_batched(settled, plan, BatchSize::SmallInput);
        });
        let plan = request.plan(&policy, Some(settled()), &verdicts, &secrets);
        for mode in [Mode::Enforce, Mode::Audit] {
            group.bench_function(BenchmarkId::new(format!("decide for {}", mode.as_str()), name), |bencher| {
                bencher.iter(|| request.decide(mode, black_box(&plan)));
            });
        }
        let decision = request.decide(Mode::Enforce, &plan);
        assert!(!decision.patch.is_empty(), "the pod is patched");
        group.bench_function(BenchmarkId::new("answer", name), |bencher| {
            bencher.iter(|| wire::answer(&request.uid, black_box(&decision)));
        });
    }
    group.finish();
}

/// What reading a body costs at least: passing it by, here and as serde_json does it, and reading the request out of it.
fn reading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reading");
    for (name, body) in [("2 containers", bodies::small()), ("72 containers", bodies::large())] {
        let text = std::str::from_utf8(&body).unwrap();
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::new("skip with serde_json", name), |bencher| {
            bencher.iter(|| serde_json::from_str::<serde::de::IgnoredAny>(black_box(text)).is_ok());
        });
        group.bench_function(BenchmarkId::new("skip", name), |bencher| {
            bencher.iter(|| Reader::new(black_box(text)).skip().is_ok());
        });
        group.bench_function(BenchmarkId::new("request", name), |bencher| {
            bencher.iter(|| Request::parse(black_box(text)).is_ok());
        });
    }
    group.finish();
}

/// The same with the one log line for a review, formatted and thrown away: what the server does by default.
fn reviews_with_the_log(criterion: &mut Criterion) {
    let lines = JsonLines::new(|line: &[u8], _| {
        black_box(line);
    });
    let subscriber = tracing_subscriber::registry().with(lines);
    tracing::subscriber::with_default(subscriber, || {
        let mut group = criterion.benchmark_group("review with its log line");
        for (name, body) in [("2 containers", bodies::small()), ("72 containers", bodies::large())] {
            let app = app(10);
            group.bench_function(name, |bencher| {
                bencher.iter(|| review(&app, black_box(&body)));
            });
        }
        group.finish();
    });
}

fn references(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reference");
    let digest = "0123456789abcdef".repeat(4);
    for (name, image) in [
        ("short", "nginx:1.27".to_owned()),
        ("tag and digest", format!("registry.example.com:5000/team/project/app:v1.2.3@sha256:{digest}")),
        ("refused", "registry.example.com/Team/app".to_owned()),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| Reference::parse(black_box(&image)).is_ok()));
    }
    group.finish();
}

fn policies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy");
    for hosts in [10, 10_000] {
        let source = policy(hosts);
        group.bench_function(BenchmarkId::new("compile", format!("{hosts} hosts")), |bencher| {
            bencher.iter(|| Policy::read(black_box(&source)).unwrap());
        });
        let policy = Policy::read(&source).unwrap().policy;
        for image in
            ["nginx:1.27", "eu.gcr.io/project/app:1", "registry-9.example.com/app", "not-listed.example.com/app"]
        {
            let reference = Reference::parse(image).unwrap();
            group.bench_function(BenchmarkId::new(format!("route {image}"), format!("{hosts} hosts")), |bencher| {
                bencher.iter(|| black_box(policy.route(black_box(&reference))));
            });
        }
    }
    group.finish();
}

/// What matching an image against a pull secret costs, and what reading a large one does.
fn pull_secrets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pull secret");
    let config = |keys: &[String]| {
        let entries: Vec<String> =
            keys.iter().map(|key| format!("\"{key}\": {{\"auth\": \"{}\"}}", "Zm86".repeat(10))).collect();
        format!("{{{}}}", entries.join(","))
    };
    let read = |config: &str| match PullSecret::read(DOCKER_CFG, |_| Some(config.as_bytes())) {
        PullSecret::DockerConfig(coverage) => coverage,
        other => panic!("{other:?}"),
    };
    for (name, keys) in [
        ("1 key, covers", &["https://harbor.corp:5000/v2/"][..]),
        ("1 key, does not cover", &["https://index.docker.io/v1/"]),
        ("3 keys with globs, does not cover", &["*.corp:443", "https://index.docker.io/v1/", "*bor.*:5000/team"]),
    ] {
        let coverage = read(&config(&keys.iter().map(|&key| key.to_owned()).collect::<Vec<_>>()));
        let image = "harbor.corp:5000/proxy/docker.io/library/nginx";
        group.bench_function(name, |bencher| bencher.iter(|| coverage.covers(black_box(image))));
    }
    let large = config(
        &(0..10_000).map(|number| format!("https://registry-{number}.example.com:5000/team")).collect::<Vec<_>>(),
    );
    println!("pull secret with 10,000 keys: {} bytes", large.len());
    group.bench_function("10,000 keys, read", |bencher| bencher.iter(|| read(black_box(&large))));
    let coverage = read(&large);
    let image = "registry-10000.example.com:5000/team/app";
    group.bench_function("10,000 keys, does not cover", |bencher| bencher.iter(|| coverage.covers(black_box(image))));
    group.finish();

    // The same pods as in `reviews`, with a secret at the mirror that covers them, and one that does not.
    let mut group = criterion.benchmark_group("review with pull secrets");
    let source = policy(10).replace("  hosts:\n", "  pullSecrets: [harbor-pull, harbor-extra]\n  hosts:\n");
    let policy = Policy::read(&source).unwrap().policy;
    let secret = |key: &str| Arc::new(PullSecret::DockerConfig(read(&config(&[key.to_owned()]))));
    let found = SecretsByName::from([
        ("harbor-extra".into(), secret("harbor.corp:5000/team")),
        ("harbor-pull".into(), secret("harbor.corp:5000")),
    ]);
    let names = [("harbor-pull".to_owned(), true), ("harbor-extra".to_owned(), true)].into();
    let scope = Scope { names, all_docker_configs: false, has_cluster: true };
    let secrets = PullSecrets::new(Arc::new(found), Arc::new(scope));
    for (name, body) in [("2 containers", bodies::small()), ("72 containers", bodies::large())] {
        let text = std::str::from_utf8(&body).unwrap();
        let request = Request::parse(text).unwrap();
        assert_eq!(plan(&request, &policy, &secrets).pull_secrets.added[..], ["harbor-pull"]);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let request = Request::parse(black_box(text)).unwrap();
                let decision = request.decide(Mode::Enforce, &plan(&request, &policy, &secrets));
                wire::answer(&request.uid, &decision)
            });
        });
    }
    group.finish();
}

criterion_group!(
    benches,
    reviews,
    reviews_with_warm_verdicts,
    parts,
    reading,
    reviews_with_the_log,
    references,
    policies,
    pull_secrets
);
criterion_main!(benches);
