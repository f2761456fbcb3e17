//! What happens without us, and what we do without the API server.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::alone::pull_secrets::pull_secret;
use crate::lab::{Lab, client, kubectl, kubectl_with, part, until, work};
use crate::mirrorgate::{
    self, NAMESPACE, PART, POLICY, edit_policy, metric, policy_with_mirror, readiness, ready, sha256, under,
    without_guard,
};
use crate::pods::{MIRROR, images, named_pod, pod, restrict};
use crate::pull_secrets::pull_secrets;

#[tokio::test]
async fn trap_14_without_us_opted_in_namespaces_wait_and_all_others_go_on() {
    let lab = Lab::alone().await;
    let enforce = lab.namespace(Some("enforce")).await;
    let audit = lab.namespace(Some("audit")).await;
    let none = lab.namespace(None).await;
    lab.create(&enforce, named_pod("older", &["nginx:1.27"])).await.unwrap();

    part("stop", PART, "KILL");
    let manifest = named_pod("web", &["nginx:1.27"]).to_string();
    let refused = kubectl_with(&manifest, &["-n", &enforce, "create", "-f", "-"]);
    assert!(!refused.ok && refused.err.contains("failed calling webhook \"enforce.mirrorgate.dev\""), "{refused:?}");
    for namespace in [audit.as_str(), &none, "kube-system", NAMESPACE] {
        let mut manifest = pod(&["nginx:1.27"]);
        restrict(&mut manifest);
        let made = lab.create(namespace, manifest).await.unwrap();
        assert_eq!(images(&made), ["nginx:1.27"]);
        lab.pods(namespace).delete(crate::pods::name(&made), &DeleteParams::default()).await.unwrap();
    }
    // A static pod runs, and shows.
    let mut mirror_pod = named_pod("static-node-1", &["nginx:1.27"]);
    mirror_pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "0123"});
    mirror_pod["spec"]["nodeName"] = json!("node-1");
    lab.create(&enforce, mirror_pod).await.unwrap();
    lab.pods(&enforce).delete("static-node-1", &DeleteParams::default().grace_period(0)).await.unwrap();
    // What is there already can be labelled and deleted.
    let pods = lab.pods(&enforce);
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    pods.patch("older", &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
    pods.delete("older", &DeleteParams::default()).await.unwrap();

    part("start", PART, "TERM");
    until("mirrorgate", 30, async || ready().await.ok()).await;
    let made = lab.create(&enforce, named_pod("web", &["nginx:1.27"])).await.unwrap();
    assert_eq!(images(&made), [format!("{MIRROR}/docker.io/library/nginx:1.27")]);
}

/// Told that there is no policy yet, the API server would wait a whole second for one that comes in milliseconds; and a pod that
/// comes before the list of pull secrets would get none.
#[tokio::test]
async fn a_pod_that_is_made_while_we_start_waits_until_we_know_all_and_no_longer() {
    let lab = Lab::alone().await;
    let policy = policy_with_mirror(MIRROR) + "pullSecrets:\n- discover: true\n";
    under(&lab, &policy).await;
    let namespace = lab.namespace(Some("enforce")).await;
    let secret = pull_secret("lab-pull", &[MIRROR]);
    kubectl_with(&secret.to_string(), &["-n", &namespace, "apply", "-f", "-"]).success();
    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        part("stop", PART, "KILL");
        let start = Instant::now();
        part("start", PART, "TERM");
        let made = until("a pod", 30, async || lab.dry_run(&namespace, pod(&["nginx:1.27"])).await.ok()).await;
        fastest = fastest.min(start.elapsed());
        assert_eq!(images(&made), [format!("{MIRROR}/library/nginx:1.27")]);
        assert_eq!(pull_secrets(&made), ["lab-pull"]);
        let answered = async |result| metric("mirrorgate_admission_requests_total", result).await;
        assert!(answered("result=\"patched\"").await >= 1.0);
        assert_eq!(answered("result=\"error\"").await, 0.0);
    }
    // Of ten, one meets no other work on the machine.
    assert!(fastest < Duration::from_millis(900), "{fastest:?}");
}

#[tokio::test]
async fn a2_a_start_without_a_policy_is_a_failure_of_ours_and_no_denial() {
    let lab = Lab::alone().await;
    let enforce = lab.namespace(Some("enforce")).await;
    let audit = lab.namespace(Some("audit")).await;
    let config_maps = Api::<ConfigMap>::namespaced(lab.client.clone(), NAMESPACE);
    part("stop", PART, "KILL");
    config_maps.delete(POLICY, &DeleteParams::default()).await.unwrap();
    part("start", PART, "TERM");
    let missing = until("an unready mirrorgate", 30, async || {
        ready().await.err().filter(|body| body.contains("mirrorgate-policy"))
    })
    .await;
    assert!(missing.contains("policy"), "{missing}");

    let manifest = named_pod("web", &["nginx:1.27"]).to_string();
    let failed = kubectl_with(&manifest, &["-n", &enforce, "create", "-f", "-"]);
    assert!(!failed.ok && failed.err.contains("(InternalError)"), "{failed:?}");
    assert!(!failed.err.contains("denied the request"), "{failed:?}");
    assert!(failed.err.contains("failed calling webhook"), "{failed:?}");
    let admitted = lab.create(&audit, pod(&["nginx:1.27"])).await.unwrap();
    assert_eq!(images(&admitted), ["nginx:1.27"]);

    // The API server calls again after `Retry-After`: a pod that comes while we start waits for us.
    let errors = async || metric("mirrorgate_admission_requests_total", "result=\"error\"").await;
    let before = errors().await;
    let waiting = lab.create(&enforce, named_pod("web", &["nginx:1.27"]));
    let meanwhile = async {
        until("the first call", 5, async || (errors().await > before).then_some(())).await;
        edit_policy(&config_maps, &policy_with_mirror("late.test")).await.unwrap();
    };
    let (made, ()) = tokio::join!(waiting, meanwhile);
    assert_eq!(images(&made.unwrap()), ["late.test/library/nginx:1.27"]);
    assert!(ready().await.is_ok());
}

#[tokio::test]
async fn after_a_restart_of_the_api_server_the_policy_is_watched_again() {
    let lab = Lab::alone().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let process = mirrorgate::process().unwrap();
    let config_maps = Api::<ConfigMap>::namespaced(lab.client.clone(), NAMESPACE);
    without_guard(&config_maps).await;
    edit_policy(&config_maps, "kind: Policy\nregistryMirrors: 5\n").await.unwrap();
    let refusals = || {
        let log = std::fs::read_to_string(work().join("logs/mirrorgate.log")).unwrap();
        log.lines().filter(|line| line.contains("pull secrets: forbidden")).count()
    };
    let refusals_before = refusals();
    let broken = "[+] policy (the last good policy stays in force: ";
    until("the broken edit to be seen", 5, async || readiness().await.contains(broken).then_some(())).await;

    part("stop", "apiserver", "KILL");
    until("the watch to be seen down", 30, async || {
        (metric("mirrorgate_watch_up", "configmaps").await == 0.0).then_some(())
    })
    .await;
    assert!(ready().await.is_ok(), "the last policy stays in force");
    part("start", "apiserver", "TERM");
    until("the API server", 90, async || kubectl(&["get", "--raw", "/readyz"]).ok.then_some(())).await;
    until("the watch", 15, async || (metric("mirrorgate_watch_up", "configmaps").await == 1.0).then_some(())).await;
    let report = readiness().await;
    assert!(report.contains(broken) && !report.contains("the ConfigMap cannot be watched"), "{report}");
    // An API server that has just started refuses what it does not know yet to be allowed.
    let secrets = async || (metric("mirrorgate_watch_up", "secrets").await == 1.0).then_some(());
    until("the watches of the pull secrets", 15, secrets).await;
    assert_eq!(refusals(), refusals_before);

    let client = client().await;
    let policy = policy_with_mirror("after-the-restart.test");
    edit_policy(&Api::namespaced(client, NAMESPACE), &policy).await.unwrap();
    until("the policy", 15, async || (mirrorgate::policy_in_force().await == sha256(&policy)).then_some(())).await;
    until("the watch", 5, async || (metric("mirrorgate_watch_up", "configmaps").await == 1.0).then_some(())).await;
    let wanted = "after-the-restart.test/library/nginx:1.27";
    lab.until_a_pod(&namespace, &pod(&["nginx:1.27"]), |made| images(made) == [wanted]).await;
    assert_eq!(mirrorgate::process(), Some(process));
}
