//! Workloads, run by the real controller manager: their pods are rewritten, their templates are not, and nothing fights.

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::lab::{Lab, audit_events, kubectl, kubectl_with, until};
use crate::pods::{MIRROR, images};

#[tokio::test]
async fn a_deployment() {
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "nginx:1.27"}]}});
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template});
    runs("apps/v1", "Deployment", &spec, "spec.template", 3, Some("minReadySeconds")).await;
}

#[tokio::test]
async fn a_stateful_set() {
    let template = json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "app", "image": "nginx:1.27"}]}});
    let spec = json!({
        "replicas": 2, "serviceName": "db", "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"app": "db"}}, "template": template,
    });
    runs("apps/v1", "StatefulSet", &spec, "spec.template", 2, Some("minReadySeconds")).await;
}

#[tokio::test]
async fn a_job() {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "nginx:1.27"}]}});
    let spec = json!({"parallelism": 2, "completions": 2, "template": template});
    runs("batch/v1", "Job", &spec, "spec.template", 2, None).await;
}

#[tokio::test]
async fn a_cron_job() {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "nginx:1.27"}]}});
    let spec = json!({
        "schedule": "* * * * *", "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": {"template": template}},
    });
    runs("batch/v1", "CronJob", &spec, "spec.jobTemplate.spec.template", 1, None).await;
}

/// `touched` is a number in the spec of a kind that reports the generation it has seen.
async fn runs(api: &str, kind: &str, spec: &Value, template: &str, replicas: usize, touched: Option<&str>) {
    let lab = Lab::shared().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let manifest = json!({"apiVersion": api, "kind": kind, "metadata": {"name": "work"}, "spec": spec});
    kubectl_with(&manifest.to_string(), &["-n", &namespace, "create", "-f", "-"]).success();

    let pods = lab.pods(&namespace);
    let listed = async || pods.list(&ListParams::default()).await.unwrap().items;
    let made = until("the pods", 90, async || Some(listed().await).filter(|pods| pods.len() == replicas)).await;
    for pod in &made {
        assert_eq!(images(pod), [format!("{MIRROR}/docker.io/library/nginx:1.27")]);
    }
    let path = format!("jsonpath={{.{template}.spec.containers[0].image}}");
    let get = |path: &str| kubectl(&["-n", &namespace, "get", kind, "work", "-o", path]).success().out;
    assert_eq!(get(&path), "nginx:1.27");

    // The controller looks at its pods again, and finds them as it wants them.
    for seconds in 1..=2 {
        let Some(field) = touched else { break };
        let patch = json!({"spec": { field: seconds }}).to_string();
        kubectl(&["-n", &namespace, "patch", kind, "work", "--type=merge", "-p", &patch]).success();
        until("the controller", 20, async || {
            let seen = get("jsonpath={.metadata.generation} {.status.observedGeneration}");
            seen.split_once(' ').is_some_and(|(wanted, seen)| wanted == seen).then_some(())
        })
        .await;
    }
    let uids = |pods: &[Pod]| {
        let mut uids: Vec<String> = pods.iter().map(|pod| pod.metadata.uid.clone().unwrap()).collect();
        uids.sort();
        uids
    };
    assert_eq!(uids(&listed().await), uids(&made));
    assert_eq!(audit_events(&namespace, "create").len(), replicas);
    assert_eq!(audit_events(&namespace, "delete").len(), 0);
    kubectl(&["-n", &namespace, "delete", kind, "work", "--wait=false"]).success();
}
