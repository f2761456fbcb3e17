//! docs/emergency.md from its top to its end: each fire is lit, and each block put in as it stands.
//!
//! There is no kubelet here: what needs one (`sh node` in the page) is tried on the node. Nor is there a network that obeys
//! NetworkPolicies: the API server is sent to an address where nobody is.

use std::os::unix::fs::symlink;

use serde_json::json;

use super::doctor::{Cluster, POLICY, pods_are_ready, start, stop};
use crate::guide::Guide;
use crate::lab::{Lab, Printed, kubectl, until, work};
use crate::mirrorgate::{NAMESPACE, in_force, metric};
use crate::registry::Authority;

const AT_THE_MIRROR: &str = "harbor.corp:5000/proxy/library/nginx:1.27";
const UNSEEN: &str = "nginx:1.27";

/// A pod that is not made.
fn pod() -> Printed {
    let image = "jsonpath={.spec.containers[0].image}";
    kubectl(&["-n", "team-a", "run", "web", "--image=nginx:1.27", "--dry-run=server", "-o", image])
}

/// Waits until a pod gets this image.
async fn passes(image: &str) {
    until(image, 15, async || Some(pod()).filter(|printed| printed.ok && printed.out == image)).await;
}

/// Waits until a pod is refused in these words, which the page has.
async fn is_refused(words: &str) -> String {
    until(words, 15, async || Some(pod()).filter(|printed| !printed.ok && printed.err.contains(words))).await.err
}

const NO_ANSWER: &str = "failed calling webhook \"enforce.mirrorgate.dev\"";
const DENIED: &str = "admission webhook \"enforce.mirrorgate.dev\" denied the request";

/// Sends the API server to another address than ours.
fn endpoint(address: &str) {
    let patch = json!({"endpoints": [{"addresses": [address], "conditions": {"ready": true}}]}).to_string();
    let slice = ["-n", NAMESPACE, "patch", "endpointslice", "mirrorgate-process", "--type=merge", "-p", &patch];
    kubectl(&slice).success();
}

/// The images of the pods of a Deployment.
fn images(deployment: &str) -> String {
    let app = format!("app={deployment}");
    let path = "jsonpath={range .items[*]}{.spec.containers[0].image} {end}";
    kubectl(&["-n", "team-a", "get", "pods", "-l", &app, "-o", path]).success().out
}

/// A command that stands in the midst of a sentence.
#[track_caller]
fn says(page: &str, cluster: &Cluster, command: &str) {
    assert!(page.contains(&format!("`{command}`")), "{command}");
    cluster.shell(command);
}

#[tokio::test]
async fn every_fire_is_put_out_by_what_the_page_says() {
    let lab = Lab::alone().await;
    let mut guide = Guide::open("emergency.md");
    let page = std::fs::read_to_string(crate::lab::repository().join("docs/emergency.md")).unwrap();
    for words in [NO_ANSWER, DENIED] {
        assert!(page.contains(words), "{words}");
    }
    let folder = guide.folder().to_owned();
    let cluster = Cluster::healthy_in(&lab, &folder).await;
    guide.console("mirrorgate doctor").success();
    passes(AT_THE_MIRROR).await;

    // Nobody answers: pods are let through.
    stop();
    is_refused(NO_ANSWER).await;
    kubectl(&["-n", "team-a", "create", "deployment", "held-up", "--image=nginx:1.27"]).success();
    guide.run();
    passes(UNSEEN).await;
    lab.label("team-a", Some("enforce")).await;
    is_refused(NO_ANSWER).await;
    guide.run();
    passes(UNSEEN).await;
    guide.run();
    is_refused(NO_ANSWER).await;
    guide.run();
    passes(UNSEEN).await;
    kubectl(&["-n", "team-a", "create", "deployment", "unseen", "--image=nginx:1.27"]).success();
    until("a pod that was made unseen", 15, async || images("unseen").contains(UNSEEN).then_some(())).await;
    guide.run();
    is_refused(NO_ANSWER).await;
    start().await;
    passes(AT_THE_MIRROR).await;
    guide.run();
    until("another pod in its place", 30, async || images("unseen").contains(AT_THE_MIRROR).then_some(())).await;
    cluster.is_healthy().await;

    // No replica.
    kubectl(&["-n", NAMESPACE, "scale", "deployment", "mirrorgate", "--replicas=0"]).success();
    guide.run();
    pods_are_ready().await;
    cluster.is_healthy().await;

    // The API server does not reach them.
    endpoint("10.77.0.77");
    // It would go on using the connections that it has.
    stop();
    start().await;
    let refused = is_refused(NO_ANSWER).await;
    let reasons = ["context deadline exceeded", "no route to host", "network is unreachable", "connection refused"];
    assert!(reasons.iter().any(|reason| refused.contains(reason) && page.contains(reason)), "{refused}");
    guide.run();
    assert!(!kubectl(&["-n", NAMESPACE, "get", "networkpolicy", "mirrorgate"]).ok);
    endpoint(&crate::lab::our_address());
    says(&page, &cluster, "kubectl apply -f manifests/base/network-policy.yaml");
    kubectl(&["-n", NAMESPACE, "get", "networkpolicy", "mirrorgate"]).success();
    cluster.is_healthy().await;

    // A certificate and a caBundle that are not one another's.
    stop();
    let other = Authority::new("Another CA");
    let foreign = other.serving(&["mirrorgate.mirrorgate-system.svc"]);
    guide.has("tls.crt", &foreign.certificate_pem);
    guide.has("tls.key", &foreign.key_pem);
    cluster.shell(
        r#"kubectl -n mirrorgate-system patch secret mirrorgate-serving -p '{"data": {"tls.crt": "'$(base64 -w0 tls.crt)'", "tls.key": "'$(base64 -w0 tls.key)'"}}'
        kubectl patch mutatingwebhookconfiguration mirrorgate -p '{"webhooks": [{"name": "enforce.mirrorgate.dev", "clientConfig": {"caBundle": "'$(base64 -w0 tls.crt)'"}}]}'"#,
    );
    guide.run();
    start().await;
    pods_are_ready().await;
    passes(AT_THE_MIRROR).await;
    cluster.is_healthy().await;

    // A policy that is broken, and refuses too much.
    kubectl(&["delete", "validatingwebhookconfiguration", "mirrorgate"]).success();
    let broken = json!({"data": {"policy.yaml": POLICY.replace("hosts:", "host:")}}).to_string();
    kubectl(&["-n", NAMESPACE, "patch", "configmap", "mirrorgate-policy", "-p", &broken]).success();
    until("the fault", 10, async || (metric("mirrorgate_policy_errors", "").await > 0.0).then_some(())).await;
    cluster.harbor.present(&other.serving(&["harbor.corp"]));
    guide.run();
    assert!(std::fs::read_to_string(folder.join("policy.yaml")).unwrap().contains("  host: "));
    guide.has("policy.yaml", POLICY);
    assert!(guide.run().out.contains("PolicyInvalid"), "of the broken one");
    in_force(POLICY).await;
    is_refused(DENIED).await;
    let lenient = format!("{POLICY}trust: {{onUntrusted: warn}}\n");
    guide.has("policy.yaml", &lenient);
    guide.again("mirrorgate check policy.yaml");
    in_force(&lenient).await;
    passes(AT_THE_MIRROR).await;
    guide.run();
    assert!(!kubectl(&["get", "validatingwebhookconfiguration", "mirrorgate"]).ok);
    says(&page, &cluster, "kubectl apply -f manifests/base/policy-guard.yaml");
    in_force(&lenient).await;
    guide.has("policy.yaml", POLICY);
    guide.again("mirrorgate check policy.yaml");
    cluster.harbor.present(&cluster.authority.serving(&["harbor.corp"]));
    in_force(POLICY).await;
    cluster.is_healthy().await;

    // The mirror is down.
    let Cluster { harbor, .. } = cluster;
    drop(harbor);
    let to_the_source = POLICY.replace("  hosts:", "  mirrorSourcePolicy: AllowContactingSource\n  hosts:");
    guide.has("policy.yaml", &to_the_source);
    guide.again("mirrorgate check policy.yaml");
    in_force(&to_the_source).await;
    passes(UNSEEN).await;
    guide.run();
    until("pods at their sources", 30, async || {
        let images = images("unseen");
        (images.contains(UNSEEN) && !images.contains(AT_THE_MIRROR)).then_some(())
    })
    .await;

    // A namespace that hangs.
    kubectl(&["create", "namespace", "hangs"]).success();
    kubectl(&["-n", "hangs", "create", "configmap", "held"]).success();
    let finalizers = |value: serde_json::Value| {
        let patch = json!({"metadata": {"finalizers": value}}).to_string();
        kubectl(&["-n", "hangs", "patch", "configmap", "held", "--type=merge", "-p", &patch]).success();
    };
    finalizers(json!(["example.com/held"]));
    kubectl(&["delete", "namespace", "hangs", "--wait=false"]).success();
    until("what it waits for", 30, async || {
        let path = "jsonpath={.status.conditions[?(@.status==\"True\")].message}";
        kubectl(&["get", "namespace", "hangs", "-o", path]).out.contains("example.com/held").then_some(())
    })
    .await;
    let said = guide.run();
    assert!(said.out.contains("hangs: ") && said.out.contains("example.com/held"), "{said:?}");
    finalizers(json!(null));

    // What was decided.
    symlink(work().join("logs/audit.json"), folder.join("audit.log")).unwrap();
    let told = guide.run();
    for words in [NO_ANSWER, "AS WRITTEN", "PolicyLoaded"] {
        assert!(told.out.contains(words), "{words}: {}", told.out);
    }
    let audited = guide.run();
    assert!(audited.out.contains(r#""enforce.mirrorgate.dev/decision":""#), "{audited:?}");
    guide.end();
    kubectl(&["-n", "team-a", "delete", "deployments", "--all"]).success();
}
