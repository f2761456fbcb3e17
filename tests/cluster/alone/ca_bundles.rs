//! The CA bundles of the cluster, as they come and go: when they are in force, and what we may see of them (S5).

use std::fs;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::lab::{Lab, kubectl, part, until, work};
use crate::mirrorgate::{self, NAMESPACE, POLICY, allow, metric, readiness, under};
use crate::pods::pod;
use crate::registry::{Authority, Registry};

const BUNDLE: &str = "lab-ca-bundle";

fn policy(host: &str) -> String {
    format!(
        "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\ntrust:\n  registries: ['{host}']\n  systemRoots: false\n  \
         onUnreachable: deny\n  caBundles:\n  - configMap: {{namespace: kube-system, name: {BUNDLE}, key: ca.crt}}\n"
    )
}

/// A registry of the lab, whose CA is in a ConfigMap of the policy in force.
struct Bundled {
    lab: Lab,
    namespace: String,
    config_maps: Api<ConfigMap>,
    authority: Authority,
    registry: Registry,
}

impl Bundled {
    async fn new() -> Self {
        let lab = Lab::alone().await;
        let authority = Authority::new("Lab Root");
        let registry = Registry::start("bundled.lab.test", 0, &authority.serving(&["bundled.lab.test"]));
        let config_maps = Api::namespaced(lab.client.clone(), "kube-system");
        let _ = config_maps.delete(BUNDLE, &DeleteParams::default()).await;
        let namespace = lab.namespace(Some("enforce")).await;
        let bundled = Self { lab, namespace, config_maps, authority, registry };
        bundled.write(&bundled.authority.pem).await;
        under(&bundled.lab, &policy(&bundled.registry.host)).await;
        bundled
    }

    async fn write(&self, pem: &str) {
        let patch = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": BUNDLE}, "data": {"ca.crt": pem},
        });
        self.config_maps.patch(BUNDLE, &PatchParams::apply("tests").force(), &Patch::Apply(&patch)).await.unwrap();
    }

    async fn delete(&self) {
        self.config_maps.delete(BUNDLE, &DeleteParams::default()).await.unwrap();
    }

    /// What the API server answers to a pod with an image of the registry.
    async fn answer(&self) -> Result<(), String> {
        let image = format!("{}/app:1", self.registry.host);
        self.lab.dry_run(&self.namespace, pod(&[&image])).await.map(drop)
    }

    /// Waits for an answer, which must come within a second.
    async fn within_a_second(&self, what: &str, wanted: fn(&Result<(), String>) -> bool) {
        let start = Instant::now();
        until(what, 10, async || wanted(&self.answer().await).then_some(())).await;
        assert!(start.elapsed() < Duration::from_secs(1), "{what} took {:?}", start.elapsed());
    }
}

/// What `kubectl describe` shows of the policy, with an Event of this reason.
async fn event(reason: &str) -> String {
    until(reason, 10, async || {
        let shown = kubectl(&["-n", NAMESPACE, "describe", "configmap", POLICY]).out;
        shown.contains(reason).then_some(shown)
    })
    .await
}

#[tokio::test]
async fn t2_a_bundle_that_is_edited_is_in_force_within_a_second() {
    let bundled = Bundled::new().await;
    let other = Authority::new("Another Root");
    bundled.within_a_second("the first bundle", Result::is_ok).await;
    for _ in 0..5 {
        bundled.write(&other.pem).await;
        bundled.within_a_second("the denial under another CA", Result::is_err).await;
        bundled.write(&format!("{}{}", other.pem, bundled.authority.pem)).await;
        bundled.within_a_second("the CA beside another", Result::is_ok).await;
    }
}

#[tokio::test]
async fn a_bundle_that_is_gone_or_empty_keeps_the_last_good_one_and_says_so() {
    let bundled = Bundled::new().await;
    bundled.within_a_second("the first bundle", Result::is_ok).await;
    let errors = async || metric("mirrorgate_ca_bundle_errors", "").await;
    for round in 0..2 {
        match round {
            0 => bundled.delete().await,
            _ => bundled.write("").await,
        }
        until("the metric", 5, async || (errors().await == 1.0).then_some(())).await;
        let report = readiness().await;
        assert!(
            report.contains("its last good certificates stay in force (1)") && report.ends_with("\nready\n"),
            "{report}"
        );
        assert_eq!(bundled.answer().await, Ok(()));
        event("CaBundleNotInForce").await;
        bundled.write(&bundled.authority.pem).await;
        until("the metric", 5, async || (errors().await == 0.0).then_some(())).await;
    }
    let described = event("CaBundleInForce").await;
    assert!(described.contains("there is no such ConfigMap") && described.contains(BUNDLE), "{described}");
    let log = fs::read_to_string(work().join("logs/mirrorgate.log")).unwrap();
    let said =
        |line: &str| line.contains("\"WARN\"") && line.contains(BUNDLE) && line.contains("there is no such ConfigMap");
    assert!(log.lines().any(said), "the log does not say it");
}

#[tokio::test]
async fn s5_access_to_a_bundle_that_is_taken_away_is_named_and_what_was_seen_stays_in_force() {
    let bundled = Bundled::new().await;
    bundled.within_a_second("the first bundle", Result::is_ok).await;
    let process = mirrorgate::process().unwrap();
    // A watch that runs goes on until the API server ends it, after five minutes or with itself.
    kubectl(&["-n", "kube-system", "delete", "rolebinding", "mirrorgate-ca-bundles"]).success();
    part("restart", "apiserver", "KILL");
    until("the API server", 90, async || kubectl(&["get", "--raw", "/readyz"]).ok.then_some(())).await;
    let rule = format!("list and watch of configmaps with resourceNames [{BUNDLE}] in kube-system");
    let report =
        until("the missing rule", 30, async || Some(readiness().await).filter(|report| report.contains(&rule))).await;
    assert!(
        report.contains("[+] ca-bundles (forbidden: a Role must allow ") && report.ends_with("\nready\n"),
        "{report}"
    );
    assert_eq!(metric("mirrorgate_watch_up", "ca-bundles").await, 0.0);
    let described = event("CaBundlesForbidden").await;
    assert!(described.contains(&rule) && described.contains("`mirrorgate rbac --policy FILE`"), "{described}");
    assert_eq!(bundled.answer().await, Ok(()));

    let other = Authority::new("Another Root");
    bundled.write(&other.pem).await;
    let back = Instant::now();
    allow(&policy(&bundled.registry.host));
    until("the watch", 10, async || (metric("mirrorgate_watch_up", "ca-bundles").await == 1.0).then_some(())).await;
    assert!(back.elapsed() < Duration::from_secs(6), "{:?}", back.elapsed());
    // What was missed meanwhile counts.
    bundled.within_a_second("the denial under another CA", Result::is_err).await;
    assert!(!readiness().await.contains("forbidden"));
    assert_eq!(mirrorgate::process(), Some(process));
}
