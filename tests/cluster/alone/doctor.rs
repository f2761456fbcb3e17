//! `mirrorgate doctor` on a real cluster: healthy as installed, then one fault after another, each made for real and each
//! mended by the remedy that is printed, run as it stands.
//!
//! There is no kubelet: the test writes the status of mirrorgate's pods in its place, and the process that serves stands behind
//! the Service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::procedures::namespace;
use crate::lab::{Lab, Printed, kubectl, kubectl_with, let_ca_bundles_be_emptied, part, repository, until, work};
use crate::mirrorgate::{NAMESPACE, PART, in_force, ready};
use crate::registry::{Authority, Registry};

/// The namespace that opted in.
const TEAM: &str = "team-a";

/// A cluster with mirrorgate in it, as whoever runs the commands has it: in a folder with the manifests, edited.
pub(super) struct Cluster {
    folder: PathBuf,
    pub(super) authority: Authority,
    pub(super) harbor: Registry,
}

/// One finding.
#[derive(Clone, Debug)]
struct Finding {
    check: String,
    state: String,
    message: String,
    remedy: Option<String>,
}

impl Cluster {
    /// With a mirror that answers under a CA of the policy, and a namespace that has its pull secret.
    async fn healthy(lab: &Lab) -> Self {
        let folder = work().join("doctor");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self::healthy_in(lab, &folder).await
    }

    /// The same, of whoever works in this folder.
    pub(super) async fn healthy_in(lab: &Lab, folder: &Path) -> Self {
        nobody_opted_in();
        nothing_is_left();
        namespace(lab).await;
        let authority = Authority::new("Harbor CA");
        let harbor = Registry::start("harbor.corp", 5000, &authority.serving(&["harbor.corp"]));
        let manifests = repository().join("manifests");
        let copied = Command::new("cp").arg("-r").arg(manifests).arg(folder).status().unwrap();
        assert!(copied.success());
        let cluster = Self { folder: folder.to_owned(), authority, harbor };
        fs::write(cluster.folder.join("ca.crt"), &cluster.authority.pem).unwrap();
        fs::write(cluster.folder.join("manifests/base/policy.yaml"), POLICY).unwrap();
        cluster.shell(
            "mirrorgate rbac --policy manifests/base/policy.yaml >manifests/base/pull-secrets.yaml
             kubectl -n mirrorgate-system create configmap harbor-ca --from-file=ca.crt --dry-run=client -o yaml | kubectl apply -f -
             kubectl -n team-a create secret docker-registry harbor-pull --docker-server=harbor.corp:5000 --docker-username=a --docker-password=b
             kubectl apply -k manifests/base",
        );
        in_force(POLICY).await;
        pods_are_ready().await;
        until("mirrorgate", 10, async || ready().await.is_ok().then_some(())).await;
        cluster
    }

    fn run(&self, command: &str) -> Printed {
        let binary = Path::new(env!("CARGO_BIN_EXE_mirrorgate"));
        let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", command]).current_dir(&self.folder).env("PATH", path);
        Printed::of(bash.output().unwrap())
    }

    #[track_caller]
    pub(super) fn shell(&self, command: &str) {
        let printed = self.run(command);
        assert!(printed.ok, "{command}\n{}{}", printed.out, printed.err);
    }

    /// All that the command says, and that its exit code is the right one for it.
    #[track_caller]
    fn doctor(&self, arguments: &str) -> Vec<Finding> {
        let printed = self.run(&format!("mirrorgate doctor -o json {arguments}"));
        let Ok(Value::Array(found)) = serde_json::from_str(&printed.out) else { panic!("{printed:?}") };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let finding = |found: &Value| Finding {
            check: text(&found["check"]).unwrap(),
            state: text(&found["state"]).unwrap(),
            message: text(&found["message"]).unwrap(),
            remedy: text(&found["remedy"]),
        };
        let findings: Vec<Finding> = found.iter().map(finding).collect();
        let is_healthy = findings.iter().all(|finding| finding.state != "fault");
        assert_eq!(printed.ok, is_healthy, "the exit code is not that of {findings:#?}");
        findings
    }

    /// What is not ok.
    #[track_caller]
    fn complaints(&self) -> Vec<Finding> {
        self.doctor("").into_iter().filter(|finding| finding.state != "ok").collect()
    }

    pub(super) async fn is_healthy(&self) {
        let last = std::cell::RefCell::new(Vec::new());
        let healthy = async || {
            last.replace(self.complaints());
            last.borrow().is_empty().then_some(())
        };
        if tokio::time::timeout(std::time::Duration::from_secs(30), until("health", 60, healthy)).await.is_err() {
            panic!("not healthy: {:#?}", last.borrow());
        }
    }

    /// Waits for a complaint of this check and state that says this.
    async fn complains(&self, check: &str, state: &str, words: &str) -> Finding {
        let last = std::cell::RefCell::new(Vec::new());
        let complaint = async || {
            let complaints = self.complaints();
            let wanted = |finding: &&Finding| {
                finding.check == check && finding.state == state && finding.message.contains(words)
            };
            let found = complaints.iter().find(wanted).cloned();
            last.replace(complaints);
            found
        };
        match tokio::time::timeout(std::time::Duration::from_secs(15), until(words, 60, complaint)).await {
            Ok(found) => found,
            Err(_) => panic!("no {state} of {check} says {words:?}: {:#?}", last.borrow()),
        }
    }

    /// The same, and its remedy is run as it stands.
    async fn mends(&self, check: &str, state: &str, words: &str) {
        let found = self.complains(check, state, words).await;
        self.shell(&found.remedy.unwrap_or_else(|| panic!("no remedy: {}", found.message)));
    }
}

pub(super) const POLICY: &str = "apiVersion: mirrorgate.dev/v1alpha1
kind: Policy
registryMirrors:
- name: harbor
  endpoint: https://harbor.corp:5000/v2/proxy
  hosts: [docker.io]
  pullSecrets: [harbor-pull]
  caBundle:
    configMap: {namespace: mirrorgate-system, name: harbor-ca, key: ca.crt}
";

fn nobody_opted_in() {
    kubectl(&["label", "namespaces", "--all", "mirrorgate.dev/mode-"]).success();
}

/// Of the access that the policies of other tests needed.
fn nothing_is_left() {
    let left = ["get", "rolebindings", "-A", "--field-selector=metadata.name=mirrorgate-ca-bundles", "-o"];
    let path = "jsonpath={.items[*].metadata.namespace}";
    for at in kubectl(&[&left[..], &[path]].concat()).success().out.split_whitespace() {
        kubectl(&["-n", at, "delete", "rolebinding,role", "mirrorgate-ca-bundles"]).success();
    }
}

/// In the kubelet's place.
pub(super) async fn pods_are_ready() {
    let status = json!({"status": {"phase": "Running", "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "ContainersReady", "status": "True"},
    ]}});
    let status = status.to_string();
    until("the replicas", 30, async || {
        let pods = kubectl(&["-n", NAMESPACE, "get", "pods", "-l", "app.kubernetes.io/name=mirrorgate", "-o", "name"]);
        for pod in pods.success().out.lines() {
            // One that has just been replaced is gone.
            kubectl(&["-n", NAMESPACE, "patch", pod, "--subresource=status", "-p", &status]);
        }
        let path = "jsonpath={.status.readyReplicas}/{.status.updatedReplicas}";
        (kubectl(&["-n", NAMESPACE, "get", "deployment", "mirrorgate", "-o", path]).success().out == "2/2")
            .then_some(())
    })
    .await;
}

pub(super) fn stop() {
    part("stop", PART, "TERM");
}

pub(super) async fn start() {
    part("start", PART, "TERM");
    until("mirrorgate", 20, async || ready().await.is_ok().then_some(())).await;
}

#[tokio::test]
async fn a_healthy_cluster_is_all_ok() {
    let lab = Lab::alone().await;
    let cluster = Cluster::healthy(&lab).await;
    cluster.is_healthy().await;
    let findings = cluster.doctor("");
    let checks: Vec<&str> = findings.iter().map(|finding| finding.check.as_str()).collect();
    for check in [
        "api-server",
        "deployment",
        "service",
        "webhooks",
        "certificate",
        "ca-bundle",
        "policy",
        "access",
        "ca-bundle-policy",
        "opt-in-policy",
        "namespaces",
        "labels",
        "policy-ca-bundles",
        "pull-secrets",
        "service-accounts",
        "webhook-call",
        "registries",
    ] {
        assert!(checks.contains(&check), "{check}: {findings:#?}");
    }
    assert!(cluster.harbor.dialled() > 0);
    let text = cluster.run("mirrorgate doctor --color never").success().out;
    assert!(text.starts_with("ok  api-server         Kubernetes v1."), "{text}");
    assert!(text.contains("1 enforced (team-a), none audited"), "{text}");
    assert!(text.ends_with(" ok\n") && text.contains("\n0 faults, 0 warnings, 0 unknown, "), "{text}");
    assert_eq!(cluster.run("mirrorgate doctor -q").success().out, "");
    // Of the environment's proxy the API server is excepted, as it is to kubectl.
    let excepted = "HTTPS_PROXY=http://127.0.0.1:1 NO_PROXY=10.77.0.0/16";
    assert_eq!(cluster.run(&format!("{excepted} mirrorgate doctor -q")).success().out, "");
    // It changed nothing, and made no pod.
    assert_eq!(kubectl(&["-n", TEAM, "get", "pods", "-o", "name"]).success().out, "");
}

#[tokio::test]
async fn what_was_deleted_is_told_and_comes_back() {
    let lab = Lab::alone().await;
    let cluster = Cluster::healthy(&lab).await;
    // What was edited in the cluster stays there, whatever is put back.
    let edited = format!("{POLICY}probe: {{timeout: 1s}}\n");
    let patch = json!({"data": {"policy.yaml": edited}}).to_string();
    kubectl(&["-n", NAMESPACE, "patch", "configmap", "mirrorgate-policy", "-p", &patch]).success();
    in_force(&edited).await;

    kubectl(&["delete", "mutatingwebhookconfiguration", "mirrorgate"]).success();
    cluster.mends("webhooks", "fault", "there is no MutatingWebhookConfiguration/mirrorgate").await;
    cluster.is_healthy().await;

    kubectl(&["delete", "validatingwebhookconfiguration", "mirrorgate"]).success();
    cluster.mends("webhooks", "warning", "a broken policy is not refused").await;
    cluster.is_healthy().await;

    kubectl(&["delete", "validatingadmissionpolicy", "mirrorgate-ca-bundle"]).success();
    cluster.mends("ca-bundle-policy", "warning", "there is no ValidatingAdmissionPolicy mirrorgate-ca-bundle").await;
    cluster.is_healthy().await;

    kubectl(&["delete", "clusterrolebinding", "mirrorgate-pull-secrets"]).success();
    cluster.mends("access", "fault", "may not list secrets/harbor-pull, watch secrets/harbor-pull").await;
    cluster.is_healthy().await;

    kubectl(&["-n", NAMESPACE, "delete", "rolebinding", "mirrorgate"]).success();
    cluster.mends("access", "fault", "get configmaps/mirrorgate-policy in mirrorgate-system").await;
    cluster.is_healthy().await;

    kubectl(&["-n", NAMESPACE, "scale", "deployment", "mirrorgate", "--replicas=0"]).success();
    cluster.mends("deployment", "fault", "it is scaled to no replica").await;
    pods_are_ready().await;
    cluster.is_healthy().await;

    kubectl(&["-n", TEAM, "delete", "secret", "harbor-pull"]).success();
    cluster.mends("pull-secrets", "warning", "harbor-pull in team-a is missing").await;
    cluster.is_healthy().await;

    kubectl(&["-n", NAMESPACE, "delete", "configmap", "harbor-ca"]).success();
    cluster.complains("registries", "unknown", "harbor.corp:5000, asked from this machine").await;
    cluster.mends("policy-ca-bundles", "warning", "harbor-ca, key ca.crt: it is not there").await;
    cluster.is_healthy().await;
    in_force(&edited).await;
}

#[tokio::test]
async fn what_was_changed_is_told_and_put_right() {
    let lab = Lab::alone().await;
    let cluster = Cluster::healthy(&lab).await;

    let ignore = r#"{"webhooks": [{"name": "enforce.mirrorgate.dev", "failurePolicy": "Ignore"}]}"#;
    kubectl(&["patch", "mutatingwebhookconfiguration", "mirrorgate", "-p", ignore]).success();
    cluster.mends("webhooks", "warning", "enforce.mirrorgate.dev has failurePolicy Ignore").await;
    cluster.is_healthy().await;

    let selector =
        r#"{"webhooks": [{"name": "enforce.mirrorgate.dev", "namespaceSelector": {"matchExpressions": []}}]}"#;
    kubectl(&["patch", "mutatingwebhookconfiguration", "mirrorgate", "-p", selector]).success();
    cluster.mends("webhooks", "fault", "another namespaceSelector").await;
    cluster.is_healthy().await;

    let warn = r#"{"spec": {"validationActions": ["Warn"]}}"#;
    kubectl(&["patch", "validatingadmissionpolicybinding", "mirrorgate-ca-bundle", "-p", warn, "--type=merge"])
        .success();
    cluster.mends("ca-bundle-policy", "warning", "the binding mirrorgate-ca-bundle does not deny").await;
    cluster.is_healthy().await;

    // Past the policy that would refuse it.
    kubectl(&["delete", "validatingadmissionpolicybinding", "mirrorgate-opt-in-label"]).success();
    kubectl(&["create", "namespace", "team-b"]);
    until("no policy for the label", 10, async || {
        kubectl(&["label", "namespace", "team-b", "--overwrite", "mirrorgate.dev/mode=Enforce"]).ok.then_some(())
    })
    .await;
    cluster.mends("opt-in-policy", "warning", "there is no ValidatingAdmissionPolicyBinding").await;
    cluster.mends("labels", "fault", "team-b has the label mirrorgate.dev/mode=Enforce").await;
    kubectl(&["label", "namespace", "team-b", "mirrorgate.dev/mode-", "mirrorgate.io/mode=audit"]).success();
    cluster.mends("labels", "fault", "team-b has the label mirrorgate.io/mode=audit").await;
    kubectl(&["delete", "namespace", "team-b", "--wait=false"]).success();
    cluster.is_healthy().await;

    kubectl(&["-n", TEAM, "annotate", "serviceaccount", "default", "kubernetes.io/enforce-mountable-secrets=true"])
        .success();
    cluster.mends("service-accounts", "fault", "pods of default in team-a are refused").await;
    cluster.is_healthy().await;

    // Past the guard.
    kubectl(&["delete", "validatingwebhookconfiguration", "mirrorgate"]).success();
    let broken = json!({"data": {"policy.yaml": POLICY.replace("hosts:", "host:")}}).to_string();
    kubectl(&["-n", NAMESPACE, "patch", "configmap", "mirrorgate-policy", "-p", &broken]).success();
    cluster.complains("policy", "fault", "line 6: registryMirrors[0].host: unknown key").await;
    let fault = cluster.complains("policy", "fault", "is refused: replicas run on the last good one").await;
    assert_eq!(fault.remedy.as_deref(), Some("kubectl -n mirrorgate-system edit configmap mirrorgate-policy"));
    cluster.mends("webhooks", "warning", "a broken policy is not refused").await;
    kubectl(&["-n", NAMESPACE, "delete", "configmap", "mirrorgate-policy"]).success();
    cluster.mends("policy", "fault", "there is no ConfigMap mirrorgate-system/mirrorgate-policy").await;
    in_force(POLICY).await;
    cluster.is_healthy().await;

    // S5: another access than the policy needs.
    cluster.shell("kubectl apply -f manifests/components/discover-pull-secrets/rbac.yaml");
    cluster.mends("access", "warning", "may still read all Secrets of the cluster").await;
    kubectl(&["-n", NAMESPACE, "create", "role", "mirrorgate-ca-bundles-of-old", "--verb=get", "--resource=pods"])
        .success();
    cluster.is_healthy().await;
    kubectl(&["-n", NAMESPACE, "delete", "role", "mirrorgate-ca-bundles-of-old"]).success();
}

#[tokio::test]
async fn a_registry_that_the_nodes_would_refuse_is_told() {
    let lab = Lab::alone().await;
    let cluster = Cluster::healthy(&lab).await;
    cluster.harbor.present(&Authority::new("Another CA").serving(&["harbor.corp"]));
    let fault = cluster.complains("registries", "fault", "harbor.corp:5000, asked from this machine").await;
    assert!(fault.remedy.as_deref().is_some_and(|remedy| remedy.contains("additionalTrustedCAs")), "{fault:?}");
    cluster.harbor.present(&cluster.authority.serving(&["harbor.corp"]));
    cluster.is_healthy().await;
    let not_asked = cluster.doctor("--no-probe");
    let unknown: Vec<&str> =
        not_asked.iter().filter(|finding| finding.state == "unknown").map(|finding| finding.check.as_str()).collect();
    assert_eq!(unknown, ["webhook-call", "registries"]);
}

/// While it runs it mends these by itself.
#[tokio::test]
async fn trap_24_a_ca_bundle_that_does_not_vouch_for_the_certificate_is_told_and_put_right() {
    let lab = Lab::alone().await;
    let cluster = Cluster::healthy(&lab).await;
    let_ca_bundles_be_emptied().await;
    stop();
    let other = Authority::new("Another CA").pem;
    fs::write(cluster.folder.join("other.crt"), other).unwrap();
    for (ca, words) in [("$(base64 -w0 other.crt)", "the API server would refuse it: "), ("", "it is empty")] {
        cluster.shell(&format!(
            r#"kubectl patch mutatingwebhookconfiguration mirrorgate -p '{{"webhooks": [
                {{"name": "enforce.mirrorgate.dev", "clientConfig": {{"caBundle": "'"{ca}"'"}}}},
                {{"name": "audit.mirrorgate.dev", "clientConfig": {{"caBundle": "'"{ca}"'"}}}}]}}'"#
        ));
        let fault = cluster.complains("ca-bundle", "fault", words).await;
        assert!(fault.message.starts_with("of enforce.mirrorgate.dev, audit.mirrorgate.dev: "), "{fault:?}");
        cluster.mends("ca-bundle", "fault", words).await;
        let complaints = cluster.complaints();
        assert!(complaints.iter().all(|finding| finding.check != "ca-bundle"), "{complaints:#?}");
    }
    // Nobody listens: that is what the API server says.
    let fault = cluster.complains("webhook-call", "fault", "the API server cannot call mirrorgate").await;
    assert!(fault.message.contains("connection refused"), "{fault:?}");
    start().await;
    cluster.mends("ca-bundle-policy", "warning", "there is no ValidatingAdmissionPolicyBinding").await;
    cluster.is_healthy().await;
}

#[tokio::test]
async fn a_serving_pair_of_somebody_else_is_told_and_replaced() {
    let lab = Lab::alone().await;
    let cluster = Cluster::healthy(&lab).await;
    stop();
    let foreign = Authority::new("Another CA").serving(&["mirrorgate.mirrorgate-system.svc"]);
    fs::write(cluster.folder.join("tls.crt"), &foreign.certificate_pem).unwrap();
    fs::write(cluster.folder.join("tls.key"), &foreign.key_pem).unwrap();
    let replace = r#"kubectl -n mirrorgate-system patch secret mirrorgate-serving -p '{"data": {"tls.crt": "'$(base64 -w0 tls.crt)'", "tls.key": "'$(base64 -w0 tls.key)'"}}'"#;
    cluster.shell(replace);
    cluster.complains("ca-bundle", "fault", "the API server would refuse it").await;
    cluster.mends("certificate", "fault", "does not vouch for it").await;
    start().await;
    cluster.is_healthy().await;
}

#[tokio::test]
async fn who_may_read_nothing_is_told_which_access_it_needs() {
    let lab = Lab::alone().await;
    let cluster = Cluster::healthy(&lab).await;
    kubectl(&["-n", TEAM, "create", "serviceaccount", "nobody"]);
    let token = kubectl(&["-n", TEAM, "create", "token", "nobody"]).success().out;
    let mut config: Value =
        serde_json::from_str(&kubectl(&["config", "view", "--raw", "-o", "json"]).success().out).unwrap();
    config["users"][0]["user"] = json!({ "token": token.trim() });
    fs::write(cluster.folder.join("nobody.kubeconfig"), config.to_string()).unwrap();
    let printed = cluster.run("KUBECONFIG=nobody.kubeconfig mirrorgate doctor -o json").success();
    let Ok(Value::Array(findings)) = serde_json::from_str(&printed.out) else { panic!("{printed:?}") };
    for finding in &findings {
        let (check, state) = (finding["check"].as_str().unwrap(), finding["state"].as_str().unwrap());
        // What needs a namespace that opted in is not tried where none is known.
        let expected = if ["api-server", "webhook-call"].contains(&check) { "ok" } else { "unknown" };
        assert_eq!(state, expected, "{finding:#}");
    }
    for access in [
        "get deployments.apps/mirrorgate in mirrorgate-system",
        "get mutatingwebhookconfigurations.admissionregistration.k8s.io/mirrorgate",
        "get secrets/mirrorgate-serving in mirrorgate-system",
        "get configmaps/mirrorgate-policy in mirrorgate-system",
        "create subjectaccessreviews.authorization.k8s.io",
        "list namespaces",
    ] {
        assert!(printed.out.contains(access), "{access}: {}", printed.out);
    }
    // In part: who may see his own namespace's secrets, and the policy.
    let role = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "doctor-in-part"}, "rules": [
            {"apiGroups": [""], "resources": ["namespaces", "configmaps"], "verbs": ["get", "list"]},
        ]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "doctor-in-part"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "doctor-in-part"},
            "subjects": [{"kind": "ServiceAccount", "name": "nobody", "namespace": TEAM}]},
    ]});
    kubectl_with(&role.to_string(), &["apply", "-f", "-"]).success();
    let printed = cluster.run("KUBECONFIG=nobody.kubeconfig mirrorgate doctor --color never").success().out;
    assert!(printed.contains("unknown  pull-secrets"), "{printed}");
    assert!(printed.contains("list secrets/harbor-pull in team-a"), "{printed}");
    assert!(printed.contains("create pods in team-a"), "{printed}");
    assert!(printed.contains("ok       registries"), "{printed}");
    kubectl(&["delete", "clusterrolebinding,clusterrole", "doctor-in-part"]).success();
}

#[tokio::test]
async fn without_a_cluster_it_is_exit_code_2() {
    let lab = Lab::alone().await;
    let cluster = Cluster::healthy(&lab).await;
    let code = |command: &str| {
        let printed = cluster.run(&format!("{command}; echo $? >code || true"));
        drop(printed);
        fs::read_to_string(cluster.folder.join("code")).unwrap().trim().to_owned()
    };
    for command in [
        "set +e; KUBECONFIG=/no/such/file mirrorgate doctor",
        "set +e; mirrorgate doctor --context none-of-that-name",
        "set +e; mirrorgate doctor --namespace Not_One",
        "set +e; HTTPS_PROXY=http://127.0.0.1:1 mirrorgate doctor",
        "set +e; kubectl config view --raw | sed 's|server: .*|server: https://127.0.0.1:1|' >away; KUBECONFIG=away mirrorgate doctor",
        "set +e; kubectl config view --raw | sed 's|token: .*|token: wrong|; s|client-key-data: .*||; s|client-certificate-data: .*||' >wrong; KUBECONFIG=wrong mirrorgate doctor",
    ] {
        assert_eq!(code(command), "2", "{command}");
    }
    let elsewhere = cluster.doctor("--namespace elsewhere");
    let faults: Vec<&Finding> = elsewhere.iter().filter(|finding| finding.state == "fault").collect();
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert_eq!(faults[0].remedy.as_deref(), Some("mirrorgate doctor --namespace mirrorgate-system"));
}
