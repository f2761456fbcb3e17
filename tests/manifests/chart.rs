//! `manifests/chart`: helm makes the same of it as kustomize of the base and the overlays, and what mirrorgate wrote outlives an upgrade.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::lab::{Printed, folder, helm, know_the_kinds_of_others, kubectl, kubectl_with, manifests, shell, turn};
use crate::objects::{Object, kustomized, named, objects};

const NAMESPACE: &str = "mirrorgate-system";

/// Labels that helm adds, and no manifest has.
const OF_HELM: [&str; 3] = ["app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "helm.sh/chart"];

fn template(namespace: &str, values: &[&str]) -> Printed {
    let chart = folder("chart");
    // helm knows no cluster here, and takes an old version for granted.
    let arguments = ["template", "release", &chart, "--namespace", namespace, "--kube-version", "1.36.3"];
    helm(&[&arguments, values].concat())
}

/// The objects of the chart with these values, without helm's own labels.
#[track_caller]
fn rendered(namespace: &str, values: &[&str]) -> Vec<Object> {
    let mut made = objects(&template(namespace, values).success());
    for object in &mut made {
        let labels = object.0["metadata"]["labels"].as_object_mut().unwrap();
        for label in OF_HELM {
            assert!(labels.remove(label).is_some(), "no {label}");
        }
    }
    made
}

/// Every place where two values differ.
fn differences(place: &str, chart: &Value, kustomize: &Value, found: &mut Vec<String>) {
    let empty = Value::Null;
    match (chart, kustomize) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let (one, other) = (one.get(key).unwrap_or(&empty), other.get(key).unwrap_or(&empty));
                differences(&format!("{place}.{key}"), one, other, found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (at, (one, other)) in one.iter().zip(other).enumerate() {
                differences(&format!("{place}[{at}]"), one, other, found);
            }
        }
        _ if chart == kustomize => {}
        _ => found.push(format!("{place}: the chart has {chart}, kustomize {kustomize}")),
    }
}

#[track_caller]
fn assert_same(chart: &[Object], kustomize: &[Object]) {
    let by_name = |objects: &[Object]| -> BTreeMap<String, Value> {
        objects.iter().map(|object| (object.to_string(), object.0.clone())).collect()
    };
    let (chart, mut kustomize) = (by_name(chart), by_name(kustomize));
    // `helm install --create-namespace` makes it.
    kustomize.remove(&format!("Namespace/{NAMESPACE}")).unwrap();
    let mut found = Vec::new();
    for (name, object) in &chart {
        match kustomize.remove(name) {
            Some(other) => differences(name, object, &other, &mut found),
            None => found.push(format!("{name}: only the chart has it")),
        }
    }
    found.extend(kustomize.keys().map(|name| format!("{name}: only kustomize has it")));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn with_the_values_as_they_are_it_is_the_base() {
    assert_same(&rendered(NAMESPACE, &[]), &kustomized("base"));
}

#[test]
fn each_overlay_is_the_chart_with_a_value() {
    for (overlay, value) in [
        ("overlays/cert-manager", "certificate=cert-manager"),
        ("overlays/own-certificate", "certificate=own"),
        ("overlays/monitoring", "monitoring.enabled=true"),
    ] {
        assert_same(&rendered(NAMESPACE, &["--set", value]), &kustomized(overlay));
    }
}

#[test]
fn helm_finds_no_fault_with_it() {
    let chart = folder("chart");
    for values in [&[][..], &["--set", "certificate=cert-manager,monitoring.enabled=true"]] {
        let arguments = ["lint", &chart, "--strict", "--namespace", "gate", "--kube-version", "1.36.3"];
        helm(&[&arguments, values].concat()).success();
    }
}

/// In another namespace nothing is left that names ours.
#[test]
fn it_is_for_the_namespace_of_the_release() {
    let made =
        template("gate", &["--set", "certificate=cert-manager,monitoring.enabled=true", "--set", "policy.kind=Policy"]);
    let made = made.success();
    let stray: Vec<_> = made.lines().filter(|line| line.contains(NAMESPACE)).collect();
    assert!(stray.is_empty(), "{stray:?}");
    let made = objects(&made);
    let webhooks = named(&made, "MutatingWebhookConfiguration", "mirrorgate")["webhooks"].as_array().unwrap();
    for webhook in webhooks {
        assert_eq!(webhook["clientConfig"]["service"]["namespace"], "gate");
        let left_out = &webhook["namespaceSelector"]["matchExpressions"][0]["values"];
        assert_eq!(left_out, &json!(["kube-system", "kube-node-lease", "gate"]));
    }
    assert_eq!(named(&made, "Certificate", "mirrorgate-serving")["spec"]["dnsNames"], json!(["mirrorgate.gate.svc"]));
}

/// Its own namespace is out of reach of the webhooks: in `default` that would be a gate that stands open.
#[test]
fn it_is_refused_in_a_namespace_of_others() {
    for namespace in ["default", "kube-system"] {
        let printed = template(namespace, &[]);
        assert!(!printed.ok && printed.err.contains("mirrorgate needs a namespace of its own"), "{printed:?}");
    }
}

#[test]
fn values_that_mean_nothing_are_refused() {
    for (value, fault) in [
        ("replica=3", "additional properties 'replica' not allowed"),
        ("monitoring.enable=true", "additional properties 'enable' not allowed"),
        ("certificate=certmanager", "value must be one of"),
        ("replicas=0", "minimum"),
        ("image.digest=abc", "does not match pattern"),
    ] {
        let printed = template("gate", &["--set", value]);
        assert!(!printed.ok && printed.err.contains(fault), "{value}: {printed:?}");
    }
    let printed = template("gate", &["--set-string", "policy=a: [b"]);
    assert!(!printed.ok && printed.err.contains("the policy is not YAML"), "{printed:?}");
    // What the chart reads of the policy, before mirrorgate does.
    for (policy, fault) in [
        (r#"{"registryMirrors": {"name": "a"}}"#, "registryMirrors must be a list"),
        (r#"{"registryMirrors": ["a"]}"#, "a mirror must be a map"),
        (r#"{"registryMirrors": [{"pullSecrets": "a"}]}"#, "pullSecrets of a mirror must be a list"),
        (r#"{"registryMirrors": [{"caBundle": "a"}]}"#, "a CA bundle must be a map"),
        (r#"{"pullSecrets": ["a"]}"#, "an entry of pullSecrets must be a map"),
        (r#"{"trust": ["a"]}"#, "trust must be a map"),
        (r#"{"trust": {"caBundles": [{"secret": "a"}]}}"#, "secret of a CA bundle must be a map"),
    ] {
        let printed = template("gate", &["--set-json", &format!("policy={policy}")]);
        assert!(!printed.ok && printed.err.contains(fault), "{policy}: {printed:?}");
    }
    // Forgotten in an upgrade, it would be the example that is in force.
    let printed = template("gate", &["--is-upgrade", "--set", "replicas=3"]);
    assert!(!printed.ok && printed.err.contains("the policy is missing"), "{printed:?}");
}

/// No value is accepted and then not obeyed.
#[test]
fn every_value_is_obeyed() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let values = json!({
        "image": {"repository": "registry.corp/mirrorgate", "tag": "1.2", "digest": digest, "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "pull"}],
        "replicas": 5,
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
        "podDisruptionBudget": {"enabled": false},
        "networkPolicy": {"enabled": false},
        "policyAccess": false,
        "monitoring": {"enabled": true, "labels": {"release": "kps"}},
        "extraArgs": ["--log-level=debug"],
        "labels": {"team": "platform"},
        "podLabels": {"zone": "a"},
        "podAnnotations": {"note": "b"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "system-cluster-critical",
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), values.to_string()).unwrap();
    let made = rendered("gate", &["--values", file.path().to_str().unwrap()]);
    let deployment = named(&made, "Deployment", "mirrorgate");
    let template = &deployment["spec"]["template"];
    let container = &template["spec"]["containers"][0];
    for (found, expected) in [
        (&container["image"], json!(format!("registry.corp/mirrorgate:1.2@{digest}"))),
        (&container["imagePullPolicy"], json!("Always")),
        (
            &container["args"],
            json!(["serve", "--listen=[::]:8443", "--http-listen=[::]:8080", "--log-format=json", "--log-level=debug"]),
        ),
        (&container["resources"], values["resources"].clone()),
        (&deployment["spec"]["replicas"], json!(5)),
        (&deployment["spec"]["selector"]["matchLabels"], json!({"app.kubernetes.io/name": "mirrorgate"})),
        (&template["metadata"]["labels"], json!({"app.kubernetes.io/name": "mirrorgate", "zone": "a"})),
        (&template["metadata"]["annotations"], values["podAnnotations"].clone()),
    ] {
        assert_eq!(found, &expected);
    }
    for key in ["imagePullSecrets", "nodeSelector", "tolerations", "affinity", "priorityClassName"] {
        assert_eq!(template["spec"][key], values[key], "{key}");
    }
    assert!(made.iter().all(|object| object.0["metadata"]["labels"]["team"] == "platform"));
    for kind in ["ServiceMonitor", "PrometheusRule"] {
        assert_eq!(named(&made, kind, "mirrorgate")["metadata"]["labels"]["release"], "kps");
    }
    for kind in ["PodDisruptionBudget", "NetworkPolicy"] {
        assert!(made.iter().all(|object| object.kind() != kind), "{kind}");
    }
    assert!(made.iter().all(|object| object.name() != "mirrorgate-pull-secrets"));
    let defaults = std::fs::read_to_string(manifests().join("chart/values.yaml")).unwrap();
    let known: Value =
        mirrorgate::yaml::parse_documents(&defaults, mirrorgate::yaml::Limits::MANIFEST).unwrap()[0].to_json();
    for key in known.as_object().unwrap().keys() {
        assert!(values.get(key).is_some() || ["policy", "certificate"].contains(&&**key), "{key} is not tried");
    }
}

/// S5: what the chart allows is what `mirrorgate rbac` prints, whether the policy is a text or a map.
#[test]
fn s5_the_access_is_that_of_the_policy() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let head = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n";
    let read = |path: &str| std::fs::read_to_string(repository.join(path)).unwrap();
    let policies = [
        read("examples/policy.yaml"),
        read("examples/trust.yaml"),
        head.to_owned(),
        format!(
            "{head}registryMirrors:\n- {{name: m, endpoint: 'https://m.corp', hosts: [quay.io], pullSecrets: [zebra, '123']}}\n\
             - {{name: other, endpoint: 'https://n.corp', hosts: [gcr.io], pullSecrets: ['team-{{namespace}}']}}\n\
             pullSecrets:\n- {{name: apple, registries: [a.corp]}}\n- {{name: zebra, registries: [z.corp]}}\n"
        ),
        format!("{head}pullSecrets:\n- discover: true\n"),
        format!(
            "{head}registryMirrors:\n- name: m\n  endpoint: https://m.corp\n  hosts: [quay.io]\n  caBundle:\n    secret: {{namespace: registry, name: '123', key: ca.crt}}\n\
             trust:\n  caBundles:\n  - configMap: {{namespace: kube-system, name: bundle, key: ca}}\n  - configMap: {{namespace: registry, name: x, key: a}}\n\
             \x20 - configMap: {{namespace: registry, name: x, key: b}}\n  - configMap: {{namespace: registry, name: b, key: b}}\n  - file: /etc/ssl/ca.crt\n"
        ),
    ];
    for policy in policies {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.yaml");
        std::fs::write(&file, &policy).unwrap();
        let mut rbac = Command::new(env!("CARGO_BIN_EXE_mirrorgate"));
        let printed = rbac.args(["rbac", "-o", "json", "--namespace", "gate", "--policy"]).arg(&file).output().unwrap();
        assert!(printed.status.success(), "{printed:?}");
        let list: Value = serde_json::from_slice(&printed.stdout).unwrap();
        let expected: Vec<Object> = list["items"].as_array().unwrap().iter().cloned().map(Object).collect();

        let map = folder.path().join("values.yaml");
        let indented: String = policy.lines().map(|line| format!("  {line}\n")).collect();
        std::fs::write(&map, format!("policy:\n{indented}")).unwrap();
        let text = format!("policy={}", file.display());
        for values in [["--set-file", &*text], ["--values", map.to_str().unwrap()]] {
            let made = rendered("gate", &values);
            let access = ["mirrorgate-pull-secrets", "mirrorgate-discover-pull-secrets", "mirrorgate-ca-bundles"];
            let made: BTreeMap<String, Value> = made
                .into_iter()
                .filter(|object| access.contains(&object.name()))
                .map(|object| (object.to_string(), object.0))
                .collect();
            let expected: BTreeMap<String, Value> =
                expected.iter().map(|object| (object.to_string(), object.0.clone())).collect();
            assert_eq!(made, expected, "{policy}");
        }
    }
}

/// The blocks of the chart's page, run as they stand.
#[test]
fn the_page_is_run_as_it_stands() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(manifests(), folder.path().join("manifests")).unwrap();
    std::fs::copy(manifests().join("../examples/policy.yaml"), folder.path().join("policy.yaml")).unwrap();
    let page = std::fs::read_to_string(manifests().join("chart/README.md")).unwrap();
    let blocks: Vec<_> = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [install, remove] = blocks[..] else { panic!("{} blocks", blocks.len()) };
    shell(folder.path(), install).success();
    let image = [
        "get",
        "deployment",
        "mirrorgate",
        "-n",
        NAMESPACE,
        "-o",
        "jsonpath={.spec.template.spec.containers[0].image}",
    ];
    assert_eq!(kubectl(&image).success(), "registry.corp/tools/mirrorgate:0.1.0");
    let pods =
        ["get", "namespace", NAMESPACE, "-o", "jsonpath={.metadata.labels.pod-security\\.kubernetes\\.io/enforce}"];
    assert_eq!(kubectl(&pods).success(), "restricted");
    shell(folder.path(), remove).success();
    assert_eq!(kubectl(&["get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name"]).success(), "");
    assert_eq!(left(), "");
}

/// Objects of ours, of whatever kind, that are still there.
fn left() -> String {
    let kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings,clusterroles,\
                 clusterrolebindings,deployments,services,configmaps,roles,rolebindings,serviceaccounts,networkpolicies,poddisruptionbudgets";
    kubectl(&["get", kinds, "--all-namespaces", "-l", "app.kubernetes.io/name=mirrorgate", "-o", "name"]).success()
}

/// Installed, upgraded and uninstalled as a user does it. What mirrorgate wrote since, the CA and its certificate, is not helm's: an upgrade that
/// took it away would have every pod of enforced namespaces refused.
#[test]
fn trap_24_an_upgrade_takes_away_nothing_that_mirrorgate_wrote() {
    const CA: &str = "Q0E=";
    let _turn = turn();
    know_the_kinds_of_others();
    let in_gate = |arguments: &[&str]| kubectl(&[&["--namespace", "gate"], arguments].concat()).success();
    let chart = folder("chart");
    let all = "monitoring.enabled=true,certificate=self-managed";
    helm(&["install", "mirrorgate", &chart, "--namespace", "gate", "--create-namespace", "--set", all]).success();

    let secret = r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mirrorgate-serving", "namespace": "gate"}, "data": {"ca.crt": "Q0E="}}"#;
    kubectl_with(secret, &["create", "-f", "-"]).success();
    let version = || in_gate(&["get", "secret", "mirrorgate-serving", "-o", "jsonpath={.metadata.resourceVersion}"]);
    let before = version();
    let configurations = [("mutatingwebhookconfiguration", 2), ("validatingwebhookconfiguration", 1)];
    for (kind, webhooks) in configurations {
        let patches: Vec<_> = (0..webhooks)
            .map(|at| json!({"op": "add", "path": format!("/webhooks/{at}/clientConfig/caBundle"), "value": CA}))
            .collect();
        kubectl(&["patch", kind, "mirrorgate", "--type=json", "-p", &json!(patches).to_string()]).success();
    }
    let kept = || {
        for (kind, webhooks) in configurations {
            let path = "jsonpath={.webhooks[*].clientConfig.caBundle}";
            let bundles = kubectl(&["get", kind, "mirrorgate", "-o", path]).success();
            assert_eq!(bundles.split(' ').collect::<Vec<_>>(), vec![CA; webhooks], "{kind}");
        }
        assert_eq!(version(), before);
    };

    // Other values: another policy, that names other secrets.
    let policy = tempfile::NamedTempFile::new().unwrap();
    let text =
        "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\npullSecrets:\n- {name: other, registries: [a.corp]}\n";
    std::fs::write(policy.path(), text).unwrap();
    let with_policy = format!("policy={}", policy.path().display());
    let upgrade = |chart: &str, values: &[&str]| {
        let arguments = ["upgrade", "mirrorgate", chart, "--namespace", "gate"];
        helm(&[&arguments, values].concat()).success();
    };
    upgrade(&chart, &["--set", "replicas=3", "--set-file", &with_policy]);
    kept();
    assert_eq!(in_gate(&["get", "deployment", "mirrorgate", "-o", "jsonpath={.spec.replicas}"]), "3");
    let names = ["get", "clusterrole", "mirrorgate-pull-secrets", "-o", "jsonpath={.rules[*].resourceNames[*]}"];
    assert_eq!(kubectl(&names).success(), "other");
    assert_eq!(in_gate(&["get", "servicemonitor", "--ignore-not-found", "-o", "name"]), "");
    let stored = || in_gate(&["get", "configmap", "mirrorgate-policy", "-o", "jsonpath={.data.policy\\.yaml}"]);
    assert_eq!(stored(), text);

    // An edit in the cluster lasts until the next upgrade, as the page says.
    let edit = json!({"data": {"policy.yaml": "{}"}}).to_string();
    in_gate(&["patch", "configmap", "mirrorgate-policy", "-p", &edit]);
    upgrade(&chart, &["--reuse-values"]);
    kept();
    assert_eq!(stored(), text);

    // Without a policy among the values, the one in the cluster stays, and with it what it may read.
    upgrade(&chart, &["--reset-values"]);
    kept();
    assert_eq!(stored(), text);
    assert_eq!(kubectl(&names).success(), "other");

    // A newer chart, whose webhooks are not the same; and a policy that needs no access.
    let newer = tempfile::tempdir().unwrap();
    assert!(Command::new("cp").arg("-r").arg(&chart).arg(newer.path()).status().unwrap().success());
    for file in ["webhook.yaml", "policy-guard.yaml"] {
        let file = newer.path().join("chart/files").join(file);
        let changed = std::fs::read_to_string(&file).unwrap().replace("timeoutSeconds: ", "timeoutSeconds: 1");
        std::fs::write(file, changed).unwrap();
    }
    let newer = newer.path().join("chart");
    let empty = "policy=apiVersion: mirrorgate.dev/v1alpha1";
    upgrade(newer.to_str().unwrap(), &["--set-string", empty]);
    kept();
    let timeouts =
        ["get", "mutatingwebhookconfiguration", "mirrorgate", "-o", "jsonpath={.webhooks[*].timeoutSeconds}"];
    assert_eq!(kubectl(&timeouts).success(), "15 15");
    let role = ["get", "clusterrole,clusterrolebinding", "-l", "app.kubernetes.io/name=mirrorgate", "-o", "name"];
    let roles = kubectl(&role).success();
    assert!(!roles.contains("mirrorgate-pull-secrets"), "{roles}");

    // Taken away in an emergency, it is put back by the same chart and values.
    kubectl(&["delete", "mutatingwebhookconfiguration", "mirrorgate"]).success();
    upgrade(newer.to_str().unwrap(), &["--reset-then-reuse-values"]);
    assert_eq!(kubectl(&timeouts).success(), "15 15");

    helm(&["uninstall", "mirrorgate", "--namespace", "gate"]).success();
    assert_eq!(left(), "");
    kubectl(&["delete", "namespace", "gate"]).success();
}
