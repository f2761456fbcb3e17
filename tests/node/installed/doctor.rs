//! What is typed when something is wrong, where replicas are pods: `mirrorgate doctor`, and the blocks of docs/emergency.md that
//! need a kubelet.

use std::process::Command;

use serde_json::{Value, json};

use crate::guide::Guide;
use crate::installed::{Installed, policy};
use crate::lab::{Lab, MODE, Printed, kubectl, until};
use crate::node::{REGISTRY, SECRET, make_secret};

/// The namespace of the page, enforced and alone in that.
const TEAM: &str = "team-a";

async fn opted_in(lab: &Lab) {
    kubectl(&["label", "namespaces", "--all", &format!("{MODE}-")]).success();
    if kubectl(&["create", "namespace", TEAM]).ok {
        make_secret(TEAM, SECRET, REGISTRY);
    }
    kubectl(&["label", "namespace", TEAM, &format!("{MODE}=enforce")]).success();
    lab.default_account(TEAM).await;
}

fn doctor() -> (Printed, Vec<Value>) {
    let output = Command::new(env!("CARGO_BIN_EXE_mirrorgate")).args(["doctor", "-o", "json"]).output().unwrap();
    let printed = Printed::of(output);
    let Ok(Value::Array(findings)) = serde_json::from_str(&printed.out) else { panic!("{printed:?}") };
    let complaints = findings.into_iter().filter(|finding| finding["state"] != "ok").collect();
    (printed, complaints)
}

#[tokio::test]
async fn an_installation_is_all_ok_to_doctor_and_a_replica_that_is_gone_is_told() {
    let installed = Installed::under(&policy()).await;
    opted_in(&installed.lab).await;
    let (printed, complaints) = doctor();
    assert!(printed.ok && complaints.is_empty(), "{complaints:#?}");
    for words in [
        "2 of 2 replicas ready",
        "has 2 endpoints",
        "the API server reaches mirrorgate, which let pass a pod in team-a",
    ] {
        assert!(printed.out.contains(words), "{words}: {}", printed.out);
    }

    let scale = |replicas: &str| {
        kubectl(&["-n", "mirrorgate-system", "scale", "deployment", "mirrorgate", &format!("--replicas={replicas}")])
            .success()
    };
    scale("0");
    let faults = until("the faults", 60, async || {
        let (printed, complaints) = doctor();
        let faults = complaints.iter().filter(|finding| finding["state"] == "fault");
        let mut checks: Vec<Value> = faults.map(|finding| finding["check"].clone()).collect();
        checks.dedup();
        (!printed.ok && checks.len() == 3).then_some(checks)
    })
    .await;
    assert_eq!(faults, [json!("deployment"), json!("service"), json!("webhook-call")]);
    scale("2");
    installed.ready().await;
    until("health", 30, async || doctor().1.is_empty().then_some(())).await;
}

#[tokio::test]
async fn the_logs_and_metrics_of_the_emergency_page_are_shown() {
    let installed = Installed::under(&policy()).await;
    opted_in(&installed.lab).await;
    let run = ["-n", TEAM, "run", "web", "--image=docker.io/acme/web:1", "--dry-run=server"];
    kubectl(&run).success();
    let mut guide = Guide::marked("emergency.md", "sh node");
    let logs = guide.run();
    assert!(logs.out.contains("[pod/mirrorgate-") && logs.out.contains("\"message\""), "{logs:?}");
    let told = guide.run();
    assert!(told.out.contains("\"namespace\":\"team-a\",\"pod\":\"web\""), "{told:?}");
    assert_eq!(told.out.matches("\nmirrorgate_policy_info{").count(), 2, "of both replicas: {told:?}");
    guide.end();
}
