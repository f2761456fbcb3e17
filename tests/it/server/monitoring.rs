//! The queries of `manifests/components/monitoring` against what a running server exports, judged by a program made of Prometheus'
//! parsers: `tests/monitoring/run`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use mirrorgate::yaml::{Limits, parse_documents};
use serde_json::{Value, json};

use super::process::{Server, review, within};
use super::verdicts::{Registry, black_hole, mirror, policy, review_of};
use super::wire::{Connection, get};

/// A query, where it stands, and the labels that its texts show of a result.
#[derive(Debug)]
struct Query {
    place: String,
    text: String,
    shown: BTreeSet<String>,
}

fn component(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/components/monitoring").join(file);
    std::fs::read_to_string(path).unwrap()
}

/// The alert rules.
fn of_rules() -> Vec<Query> {
    let text = component("rules.yaml");
    let object = parse_documents(&text, Limits::MANIFEST).unwrap()[0].to_json();
    let groups = object["spec"]["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let query = |rule: &Value| {
        let texts = rule["annotations"].as_object().unwrap().values();
        let shown = texts.flat_map(|text| named(text.as_str().unwrap(), "{{ $labels.", " }}"));
        Query {
            place: rule["alert"].as_str().unwrap().to_owned(),
            text: rule["expr"].as_str().unwrap().to_owned(),
            shown: shown.collect(),
        }
    };
    rules.map(query).collect()
}

/// The panels of the dashboard.
fn of_dashboard() -> Vec<Query> {
    let dashboard: Value = serde_json::from_str(&component("dashboard.json")).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let legend = target["legendFormat"].as_str().unwrap();
            queries.push(Query {
                place: format!("panel {}", panel["title"]),
                text: target["expr"].as_str().unwrap().replace("$__rate_interval", "5m"),
                shown: named(legend, "{{", "}}").collect(),
            });
        }
    }
    queries
}

/// What stands between `before` and `after`.
fn named<'t>(text: &'t str, before: &'t str, after: &'t str) -> impl Iterator<Item = String> + 't {
    text.split(before).skip(1).map(move |rest| rest.split(after).next().unwrap().to_owned())
}

/// The values that the README gives for labels: some need a cluster.
fn documented() -> Value {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `mirrorgate_")?.split_once("` | "));
    let values = rows.map(|(metric, text)| {
        let name = format!("mirrorgate_{}", metric.split('{').next().unwrap());
        (name, text.split('`').skip(1).step_by(2).map(Value::from).collect())
    });
    Value::Object(values.collect())
}

/// What the program finds wrong with queries, given what servers exported.
fn faults(scrapes: &[String], queries: &[Query]) -> Vec<String> {
    let expressions: Vec<_> =
        queries.iter().map(|query| json!({"where": query.place, "expr": query.text, "shown": query.shown})).collect();
    let question = json!({
        "scrapes": scrapes,
        "documented": documented(),
        "target": ["job", "namespace", "pod", "instance"],
        "others": {
            "apiserver_admission_webhook_rejection_count": ["name", "type", "operation", "error_type", "rejection_code"],
            "apiserver_admission_webhook_fail_open_count": ["name", "type"],
            "kube_deployment_status_replicas_unavailable": ["namespace", "deployment"],
            "container_memory_working_set_bytes": ["container", "namespace", "pod"],
            "container_cpu_usage_seconds_total": ["container", "namespace", "pod"],
        },
        "expressions": expressions,
    });
    let program = std::env::var("MIRRORGATE_MONITORING").unwrap_or_else(|_| panic!("call tests/monitoring/run"));
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What two servers export: one that has met everything that queries ask for, and one whose API server is away.
async fn scrapes() -> [String; 2] {
    let (registry, untrusted) = (Registry::start().await, Registry::start().await);
    let (_hole, nobody) = black_hole().await;
    let mirrors = [
        registry.mirror("docker.io"),
        // Known by no CA.
        format!("- name: untrusted\n  endpoint: https://{}\n  hosts: [quay.io]\n", untrusted.address),
        mirror("ghcr.io", nobody, &registry.ca),
    ];
    let secrets = "pullSecrets:\n- {name: pull, registries: [gcr.io]}\nprobe: {timeout: 100ms}\n";
    let server = Server::start(&format!("{}{secrets}", policy(&mirrors)), &[]).await;
    let mut connection = Connection::open(&server.authority(), server.https).await.unwrap();
    for body in
        [review(), review_of(&["quay.io/a/b", "ghcr.io/a/b", "gcr.io/a/b"]), review_of(&["Foo Bar"]), b"{}".into()]
    {
        for mode in ["enforce", "audit"] {
            connection.post(&format!("/v1/mutate/{mode}"), &body).await.unwrap();
        }
    }
    let away = Server::start_in_a_cluster_that_is_away().await;
    let whole = within(Duration::from_secs(10), "every verdict is there", async || {
        let (_, scrape) = get(server.http, "/metrics").await;
        ["untrusted", "unreachable"].iter().all(|verdict| scrape.contains(verdict)).then_some(scrape)
    });
    let without = within(Duration::from_secs(10), "the watch is down", async || {
        let (_, scrape) = get(away.http, "/metrics").await;
        scrape.contains("mirrorgate_watch_up").then_some(scrape)
    });
    [whole.await, without.await]
}

#[tokio::test]
#[ignore = "needs Go: tests/monitoring/run"]
async fn every_query_asks_for_what_a_server_exports() {
    let scrapes = scrapes().await;
    let (rules, panels) = (of_rules(), of_dashboard());
    assert!(rules.len() > 10 && panels.len() > 20, "{} rules, {} queries", rules.len(), panels.len());
    for queries in [rules, panels] {
        let faults = faults(&scrapes, &queries);
        assert!(faults.is_empty(), "{}\nwith\n{}", faults.join("\n"), scrapes.concat());
    }
    // And what a server exports is asked for, but for the times and bounds of histograms.
    let asked: String = of_rules().into_iter().chain(of_dashboard()).map(|query| query.text + "\n").collect();
    for line in scrapes.iter().flat_map(|scrape| scrape.lines()).filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let of_histogram = name.strip_suffix("_count").or(name.strip_suffix("_sum"));
        assert!(of_histogram.is_some() || asked.contains(name), "{name} is asked for nowhere");
    }
}

/// The check above can fail, each part of it.
#[tokio::test]
#[ignore = "needs Go: tests/monitoring/run"]
async fn a_query_for_what_is_not_there_is_a_fault() {
    let scrapes = scrapes().await;
    for (text, shown, fault) in [
        ("sum(mirrorgate_raedy)", None, "there is no metric mirrorgate_raedy"),
        ("sum(rate(mirrorgate_images[5m]))", None, "there is no metric mirrorgate_images"),
        ("mirrorgate_ready{mode=\"audit\"}", None, "mirrorgate_ready has no label mode"),
        ("mirrorgate_images_total{result=~\"kept|kpet\"}", None, "is never \"kpet\""),
        ("sum by (verdict) (mirrorgate_images_total)", None, "there is no label verdict"),
        ("mirrorgate_ready * on (mode) mirrorgate_ready", None, "there is no label mode"),
        ("sum(mirrorgate_ready)", Some("pod"), "the label pod is shown"),
        ("rate(mirrorgate_ready[5m])", None, "mirrorgate_ready is no counter"),
        ("histogram_quantile(0.9, mirrorgate_ready)", None, "there is no label le"),
        ("sum(mirrorgate_ready", None, "parse error"),
    ] {
        let query =
            Query { place: "here".into(), text: text.into(), shown: shown.map(str::to_owned).into_iter().collect() };
        let faults = faults(&scrapes, &[query]);
        assert!(faults.iter().any(|found| found.contains(fault)), "{text}: {faults:?}");
    }
}

/// Grafana finds a ConfigMap's dashboard by its data; two panels of one id, or one beside the page, it shows wrong.
#[test]
fn the_panels_of_the_dashboard_fit_together() {
    let dashboard: Value = serde_json::from_str(&component("dashboard.json")).unwrap();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["id"]);
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{}", panel["title"]);
        for (x, y) in (place("x")..place("x") + place("w"))
            .flat_map(|x| (place("y")..place("y") + place("h")).map(move |y| (x, y)))
        {
            assert!(taken.insert((x, y)), "{} covers another", panel["title"]);
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        }
    }
}
