//! `manifests/base` and every overlay: what is in them, in which order, and that it comes and goes whole.

use std::process::Command;

use serde_json::json;

use crate::lab::{folder, know_the_kinds_of_others, kubectl, kubectl_with, manifests, turn, until};
use crate::objects::{Object, kustomized, named, objects};

const NAMESPACE: &str = "mirrorgate-system";

/// Each folder that is applied by itself.
pub(crate) fn installable() -> Vec<String> {
    let overlays = std::fs::read_dir(manifests().join("overlays")).unwrap();
    let mut folders: Vec<String> =
        overlays.map(|entry| format!("overlays/{}", entry.unwrap().file_name().to_str().unwrap())).collect();
    folders.push("base".to_owned());
    folders.sort();
    folders
}

#[test]
fn whatever_is_made_is_labelled_as_ours() {
    for folder in installable() {
        for object in kustomized(&folder) {
            let label = &object.0["metadata"]["labels"]["app.kubernetes.io/name"];
            assert_eq!(label, "mirrorgate", "{folder}: {object}");
        }
    }
}

/// kubectl applies and deletes in one order. Applied, an object needs its namespace; deleted, what stands in the way of pods goes before
/// whoever answers for it.
#[test]
fn trap_14_webhooks_come_first_and_the_namespace_before_what_is_in_it() {
    for folder in installable() {
        let objects = kustomized(&folder);
        let in_the_way = objects.iter().take_while(|object| object.stands_in_the_way()).count();
        assert!(in_the_way >= 3, "{folder}: a webhook configuration, the policy of the label, and its binding");
        for object in &objects[in_the_way..] {
            assert!(!object.stands_in_the_way(), "{folder}: {object} is deleted after others");
        }
        let namespace = objects.iter().position(|object| object.kind() == "Namespace").unwrap();
        let first = objects.iter().position(|object| object.namespace().is_some()).unwrap();
        assert!(namespace < first, "{folder}: {} comes before its namespace", objects[first]);
    }
}

/// As a user does it, with every field known to the API server, and nothing left behind, above all nothing that holds pods up.
#[test]
fn applied_and_deleted_it_leaves_nothing() {
    let _turn = turn();
    know_the_kinds_of_others();
    let namespace = r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a", "labels": {"mirrorgate.dev/mode": "enforce"}}}"#;
    kubectl_with(namespace, &["apply", "-f", "-"]).success();
    until("the service account of team-a", 30, || {
        kubectl(&["-n", "team-a", "get", "serviceaccount", "default"]).ok.then_some(())
    });
    let create_a_pod = || {
        let pod = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "team-a"},
            "spec": {"containers": [{"name": "web", "image": "nginx:1.27"}]}}"#;
        kubectl_with(pod, &["create", "--dry-run=server", "-f", "-"])
    };
    for name in installable() {
        let folder = folder(&name);
        let objects = kustomized(&name);
        let applied = kubectl(&["apply", "--validate=strict", "-k", &folder]).success();
        assert_eq!(applied.lines().count(), objects.len(), "{applied}");
        assert!(applied.lines().all(|line| line.ends_with(" created")), "{applied}");
        let again = kubectl(&["apply", "--validate=strict", "-k", &folder]).success();
        // kubectl always patches a budget. Whatever else is, says less than the API server fills in, and is never in order to who compares.
        let is_settled = |line: &str| line.ends_with(" unchanged") || line.starts_with("poddisruptionbudget.policy/");
        assert!(again.lines().all(is_settled), "{again}");
        // Nobody answers here: an enforced namespace fails closed.
        until("the webhook to be in force", 10, || {
            let refused = create_a_pod();
            (!refused.ok && refused.err.contains("failed calling webhook \"enforce.mirrorgate.dev\"")).then_some(())
        });

        let deleted = kubectl(&["delete", "--ignore-not-found", "-k", &folder]).success();
        assert!(
            deleted.starts_with("mutatingwebhookconfiguration.admissionregistration.k8s.io \"mirrorgate\" deleted"),
            "{deleted}"
        );
        for object in &objects {
            let namespace = object.namespace().unwrap_or_default();
            let arguments = ["get", "-n", namespace, object.kind(), object.name(), "--ignore-not-found", "-o", "name"];
            assert_eq!(kubectl(&arguments).success(), "", "{name}: {object} is still there");
        }
        create_a_pod().success();
    }
    kubectl(&["delete", "namespace", "team-a", "--wait=false"]).success();
}

/// A drain takes one replica at a time; one that serves nobody is never in its way.
#[test]
fn a_drain_is_not_held_up_by_a_replica_that_is_not_ready() {
    let objects = kustomized("base");
    let budget = &named(&objects, "PodDisruptionBudget", "mirrorgate")["spec"];
    assert_eq!(budget["maxUnavailable"], 1);
    assert_eq!(budget["unhealthyPodEvictionPolicy"], "AlwaysAllow");
    let deployment = &named(&objects, "Deployment", "mirrorgate")["spec"];
    assert_eq!(deployment["replicas"], 2);
    assert_eq!(deployment["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    let labels = &deployment["template"]["metadata"]["labels"];
    for of in [
        &deployment["selector"],
        &budget["selector"],
        &named(&objects, "NetworkPolicy", "mirrorgate")["spec"]["podSelector"],
    ] {
        assert_eq!(&of["matchLabels"], labels);
    }
    assert_eq!(&named(&objects, "Service", "mirrorgate")["spec"]["selector"], labels);
}

/// The same, as the eviction API sees it. There is no kubelet: what the pods are is written here.
#[test]
fn of_two_replicas_one_can_be_evicted_at_a_time() {
    let _turn = turn();
    know_the_kinds_of_others();
    let base = folder("base");
    kubectl(&["apply", "-k", &base]).success();
    let ours = |arguments: &[&str]| kubectl(&[&["-n", NAMESPACE], arguments].concat());
    // Those that were evicted are replaced.
    let pods = || {
        until("two replicas", 30, || {
            let printed = ours(&["get", "pods", "-o", "jsonpath={.items[*].metadata.name}"]).success();
            let names: Vec<String> = printed.split_whitespace().map(str::to_owned).collect();
            (names.len() == 2).then_some(names)
        })
    };
    let ready = |pod: &str, ready: &str| {
        let condition = json!([{"type": "Ready", "status": ready}]);
        let status = json!({"status": {"phase": "Running", "conditions": condition}}).to_string();
        ours(&["patch", "pod", pod, "--subresource=status", "-p", &status]).success();
    };
    let healthy = |wanted: &str| {
        until("the budget to know the pods", 30, || {
            let path = "jsonpath={.status.currentHealthy}/{.status.disruptionsAllowed}";
            (ours(&["get", "poddisruptionbudget", "mirrorgate", "-o", path]).out == wanted).then_some(())
        });
    };
    let evict = |pod: &str| {
        let eviction =
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}});
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction");
        kubectl_with(&eviction.to_string(), &["create", "--raw", &path, "-f", "-"])
    };

    let first = pods();
    first.iter().for_each(|pod| ready(pod, "True"));
    healthy("2/1");
    evict(&first[0]).success();
    let refused = evict(&first[1]);
    assert!(!refused.ok && refused.err.contains("disruption budget"), "{refused:?}");

    // The one in its place does not come up: the one that serves may not go. When none serves, any may.
    let second: Vec<String> = pods().into_iter().filter(|pod| *pod != first[1]).collect();
    ready(&second[0], "False");
    healthy("1/0");
    let refused = evict(&first[1]);
    assert!(!refused.ok && refused.err.contains("disruption budget"), "{refused:?}");
    ready(&first[1], "False");
    healthy("0/0");
    evict(&second[0]).success();
    kubectl(&["delete", "--ignore-not-found", "-k", &base]).success();
}

/// The ports that the policy of the network lets in are those of the container, and the webhook is for API servers, wherever they call from.
#[test]
fn the_network_policy_lets_in_what_is_served() {
    let objects = kustomized("base");
    let container = &named(&objects, "Deployment", "mirrorgate")["spec"]["template"]["spec"]["containers"][0];
    let served: Vec<_> = container["ports"].as_array().unwrap().iter().map(|port| port["name"].clone()).collect();
    let policy = &named(&objects, "NetworkPolicy", "mirrorgate")["spec"];
    let rules = policy["ingress"].as_array().unwrap();
    let let_in: Vec<_> = rules.iter().map(|rule| rule["ports"][0]["port"].clone()).collect();
    assert_eq!(let_in, served);
    assert_eq!(rules[0].get("from"), None, "no selector covers the addresses of API servers");
    assert_eq!(policy["egress"][0].get("to"), None);
    assert_eq!(policy["egress"][0]["ports"][0], json!({"protocol": "TCP"}));
}

/// What `manifests/README.md` and the monitoring component say of a kustomization of one's own, in the folder that the page names.
#[test]
fn the_kustomization_of_the_page_is_one() {
    let page = std::fs::read_to_string(manifests().join("README.md")).unwrap();
    let blocks: Vec<_> = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [kustomization, patch, policy] = blocks[..] else { panic!("{} blocks", blocks.len()) };
    let component = std::fs::read_to_string(manifests().join("components/monitoring/kustomization.yaml")).unwrap();
    let label = component.lines().skip_while(|line| *line != "#   patches:").skip(1);
    let label: Vec<&str> = label.map_while(|line| line.strip_prefix("#   ")).collect();
    let text = format!("{kustomization}patches:\n{patch}{}\n{policy}", label.join("\n"));
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(manifests()).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    let mine = copy.path().join("manifests/overlays/mine");
    std::fs::create_dir(&mine).unwrap();
    std::fs::write(mine.join("kustomization.yaml"), text).unwrap();
    std::fs::write(mine.join("policy.yaml"), "# mine\n").unwrap();
    let objects = objects(&kubectl(&["kustomize", mine.to_str().unwrap()]).success());
    assert!(objects[0].stands_in_the_way(), "{}", objects[0]);
    let pod = &named(&objects, "Deployment", "mirrorgate")["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "registry.corp/tools/mirrorgate:0.1.0");
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    let is_labelled = |object: &&Object| object.0["metadata"]["labels"]["release"] == "NAME";
    let labelled: Vec<&str> = objects.iter().filter(is_labelled).map(Object::kind).collect();
    assert_eq!(labelled, ["ServiceMonitor", "PrometheusRule"]);
    named(&objects, "ClusterRole", "mirrorgate-discover-pull-secrets");
    assert_eq!(named(&objects, "ConfigMap", "mirrorgate-policy")["data"], json!({"policy.yaml": "# mine\n"}));
}
