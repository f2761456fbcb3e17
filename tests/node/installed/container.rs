//! What the container may do, and what is in it: asked of the admission plugin, the API server's authorizer, and the kernel.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::installed::{Installed, policy};
use crate::lab::{kubectl, kubectl_with, until};
use crate::mirrorgate::NAMESPACE;

type Change<'a> = &'a dyn Fn(&mut Value);

#[tokio::test]
async fn restricted_pod_security_takes_our_pods_and_no_copy_with_a_fault() {
    let installed = Installed::under(&policy()).await;
    let pods = installed.pods().await;
    let labels = kubectl(&["get", "namespace", NAMESPACE, "-o", "jsonpath={.metadata.labels}"]).success().out;
    let labels: Value = serde_json::from_str(&labels).unwrap();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");

    let copy = |change: Change<'_>| {
        let mut spec = serde_json::to_value(&pods[0].spec).unwrap();
        for of_the_api_server in ["nodeName", "tolerations", "priority", "preemptionPolicy", "enableServiceLinks"] {
            spec.as_object_mut().unwrap().remove(of_the_api_server);
        }
        change(&mut spec);
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "copy"}, "spec": spec});
        kubectl_with(&pod.to_string(), &["-n", NAMESPACE, "create", "--dry-run=server", "-f", "-"])
    };
    copy(&|_| {}).success();
    let container = |spec: &mut Value, field: &str, value: Value| {
        spec["containers"][0]["securityContext"][field] = value;
    };
    let faults: [(&str, Change<'_>); 6] = [
        ("runAsNonRoot", &|spec| spec["securityContext"]["runAsNonRoot"] = json!(false)),
        ("runAsUser=0", &|spec| spec["securityContext"]["runAsUser"] = json!(0)),
        ("seccompProfile", &|spec| spec["securityContext"]["seccompProfile"] = json!({"type": "Unconfined"})),
        ("unrestricted capabilities", &|spec| container(spec, "capabilities", json!({}))),
        ("allowPrivilegeEscalation", &|spec| container(spec, "allowPrivilegeEscalation", json!(true))),
        ("hostNetwork", &|spec| spec["hostNetwork"] = json!(true)),
    ];
    for (said, fault) in faults {
        let refused = copy(fault);
        assert!(!refused.ok && refused.err.contains("violates PodSecurity \"restricted:"), "{said}: {refused:?}");
        assert!(refused.err.contains(said), "{said}: {refused:?}");
    }
}

#[tokio::test]
async fn the_process_has_no_privileges() {
    let installed = Installed::under(&policy()).await;
    for replica in installed.replicas().await {
        for who in ["Uid", "Gid"] {
            assert_eq!(replica.status(who), "65532\t65532\t65532\t65532", "{who}");
        }
        assert_eq!(replica.status("Groups"), "65532");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(replica.status(set), "0000000000000000", "{set}");
        }
        assert_eq!(replica.status("NoNewPrivs"), "1");
        assert_eq!(replica.status("Seccomp"), "2", "a filter");
    }
}

#[tokio::test]
async fn the_container_has_one_program_and_nothing_to_write_to() {
    let installed = Installed::under(&policy()).await;
    for replica in installed.replicas().await {
        for shell in ["/bin/sh", "sh", "/busybox/sh"] {
            let exec = kubectl(&["-n", NAMESPACE, "exec", &replica.name, "--", shell, "-c", "true"]);
            let missing = ["no such file or directory", "executable file not found"];
            assert!(!exec.ok && missing.iter().any(|text| exec.err.contains(text)), "{shell}: {exec:?}");
        }
        // What an exec gets when the program is there.
        let version = kubectl(&["-n", NAMESPACE, "exec", &replica.name, "--", "/mirrorgate", "--version"]).success();
        assert_eq!(version.out, concat!("mirrorgate ", env!("CARGO_PKG_VERSION"), "\n"));

        let root = format!("/proc/{}/root", replica.process);
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", replica.process)).unwrap();
        let mounts: Vec<Vec<&str>> = mounts.lines().map(|line| line.split(' ').collect()).collect();
        let mut programs = Vec::new();
        let mut folders = vec![PathBuf::from(&root)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let inside = path.to_str().unwrap().strip_prefix(&root).unwrap().to_owned();
                let kind = path.symlink_metadata().unwrap();
                if mounts.iter().any(|mount| mount[4] == inside) {
                    continue;
                } else if kind.is_dir() {
                    folders.push(path);
                } else {
                    programs.push((inside, kind.mode() & 0o7777));
                }
            }
        }
        assert_eq!(programs, [("/mirrorgate".to_owned(), 0o755)]);

        // What of it our user could write to is memory of the kernel's, and the file for last words.
        for mount in mounts.iter().filter(|mount| mount[5].split(',').all(|option| option != "ro")) {
            let Ok(there) = fs::metadata(format!("{root}{}", mount[4])) else { continue };
            let ours = there.uid() == 65532 && there.mode() & 0o200 != 0;
            let shared = there.gid() == 65532 && there.mode() & 0o020 != 0;
            let writable = ours || shared || there.mode() & 0o002 != 0;
            let small = ["/dev/shm", "/dev/mqueue", "/dev/termination-log"].contains(&mount[4]);
            assert!(small || !writable || mount[4].starts_with("/proc/"), "{mount:?}");
            assert_ne!(mount[4], "/");
        }
        // Not even root may.
        let error = fs::write(format!("{root}/any"), "").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    }
}

/// What our service account may do beyond what every account may: what, of which names, verbs. In our own namespace; in
/// every namespace, and without one.
const OWN: &[&str] = &[
    "configmaps [mirrorgate-policy] [get list watch]",
    "endpointslices.discovery.k8s.io [list]",
    "events.events.k8s.io [create]",
    "secrets [create]",
    "secrets [mirrorgate-serving] [get list watch patch]",
];
const EVERYWHERE: &[&str] = &[
    "mutatingwebhookconfigurations.admissionregistration.k8s.io [mirrorgate] [get list watch patch]",
    "secrets [lab-pull] [list watch]",
    "validatingwebhookconfigurations.admissionregistration.k8s.io [mirrorgate] [get list watch patch]",
];

#[tokio::test]
async fn the_account_may_do_what_is_listed_and_nothing_else() {
    let installed = Installed::under(&policy()).await;
    let other = installed.lab.namespace(None).await;
    let ours = format!("system:serviceaccount:{NAMESPACE}:mirrorgate");
    let any = format!("system:serviceaccount:{other}:default");
    for (namespace, more) in [(NAMESPACE, OWN), (&other, &[]), ("default", &[]), ("kube-system", &[])] {
        let listed: BTreeSet<String> = may(&ours, namespace).difference(&may(&any, namespace)).cloned().collect();
        let expected = EVERYWHERE.iter().chain(more).map(|&line| line.to_owned()).collect();
        assert_eq!(listed, expected, "{namespace}");
    }
    // Of what belongs to no namespace, everything that a list could not show.
    for what in ["nodes", "namespaces", "clusterroles", "customresourcedefinitions", "persistentvolumes", "/metrics"] {
        for verb in ["get", "list", "create", "update", "delete"] {
            let may = kubectl(&["auth", "can-i", verb, what, "--as", &ours, "--all-namespaces"]);
            assert!(!may.ok, "{verb} {what}: {may:?}");
        }
    }
}

/// `kubectl auth can-i --list` as that account, a line for each rule.
fn may(account: &str, namespace: &str) -> BTreeSet<String> {
    let list = ["auth", "can-i", "--list", "--no-headers", "--as", account, "-n", namespace];
    let rule = |line: &str| {
        let (what, rest) = line.split_once(' ').unwrap();
        // Resources, non-resource URLs, names, verbs.
        let words: Vec<&str> = rest.split_whitespace().collect();
        format!("{what} {}", words.join(" ").trim_start_matches("[] "))
    };
    kubectl(&list).success().out.lines().map(rule).collect()
}

/// The registry stands in the policy by its name, which only a DNS server knows: the image has no hosts file of its own, and
/// the pod's says nothing of it.
#[tokio::test]
async fn names_resolve_in_the_image() {
    let installed = Installed::under(&policy()).await;
    for replica in installed.replicas().await {
        let hosts = fs::read_to_string(format!("/proc/{}/root/etc/hosts", replica.process)).unwrap();
        assert!(!hosts.contains("lab.test"), "{hosts}");
        let trusted = async || replica.metric("mirrorgate_probes_total", "verdict=\"trusted\"").await;
        until("the mirror to be trusted", 20, async || (trusted().await > 0.0).then_some(())).await;
    }
}

/// Its containers, each with the image that it really runs.
#[tokio::test]
async fn the_image_that_runs_is_the_one_that_was_built() {
    let installed = Installed::under(&policy()).await;
    let (_, digest) = crate::installed::layout();
    let of = |pod: &Pod| pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].image_id.clone();
    for pod in installed.pods().await {
        assert!(of(&pod).ends_with(&digest), "{} {digest}", of(&pod));
    }
}
