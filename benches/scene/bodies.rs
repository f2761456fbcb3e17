//! Reviews of the sizes that clusters send, written as the API server writes them: compact, with managed fields, the
//! service account's volume, and all the defaults filled in.

use serde_json::{Value, json};

/// The creation of a pod of a Deployment with two containers, about 4.5 kB.
pub(crate) fn small() -> Vec<u8> {
    let containers = [container("web", "nginx:1.27"), container("metrics", "quay.io/prometheus/node-exporter:v1.8.2")];
    review(&containers, &[], &[managed_fields()])
}

/// The creation of a pod with a container for each of these images.
pub(crate) fn of(images: &[&str]) -> Vec<u8> {
    let containers: Vec<Value> =
        images.iter().enumerate().map(|(number, image)| container(&format!("part-{number:02}"), image)).collect();
    review(&containers, &[], &[managed_fields()])
}

/// The creation of a pod of one container, about 2 kB, and besides at least so many bytes of managed fields.
pub(crate) fn with_managed_fields(bytes: usize) -> Vec<u8> {
    let one = managed_fields();
    let count = bytes.div_ceil(one.to_string().len());
    review(&[json!({"name": "web", "image": "nginx:1.27"})], &[], &vec![one; count])
}

/// A pod of 72 containers, eight of them init containers, about 53 kB.
pub(crate) fn large() -> Vec<u8> {
    const IMAGES: [&str; 4] = [
        "nginx:1.27",
        "ghcr.io/acme/worker@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "eu.gcr.io/acme-project/team/service:2026-11-21",
        "harbor.corp:5000/proxy/docker.io/library/redis:7",
    ];
    let named = |count: usize, prefix: &str| -> Vec<Value> {
        (0..count).map(|number| container(&format!("{prefix}-{number}"), IMAGES[number % IMAGES.len()])).collect()
    };
    review(&named(64, "worker"), &named(8, "init"), &[managed_fields()])
}

fn container(name: &str, image: &str) -> Value {
    json!({
        "name": name,
        "image": image,
        "args": ["--listen=:8080", "--log-level=info"],
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
        "resources": {"limits": {"memory": "128Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "livenessProbe": {"tcpSocket": {"port": 8080}, "timeoutSeconds": 1, "periodSeconds": 10},
        "volumeMounts": [{"name": "kube-api-access-x7k2p", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    })
}

fn review(containers: &[Value], init_containers: &[Value], managed_fields: &[Value]) -> Vec<u8> {
    let pod = json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "generateName": "web-6d4b75cb6d-",
            "namespace": "team-a",
            "creationTimestamp": null,
            "labels": {"app": "web", "pod-template-hash": "6d4b75cb6d", "app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6d4b75cb6d",
                "uid": "8f6f0a0c-2b5e-4a53-9a5b-3c1d6e1f7a21", "controller": true, "blockOwnerDeletion": true
            }],
            "managedFields": managed_fields,
        },
        "spec": {
            "volumes": [{"name": "kube-api-access-x7k2p", "projected": {"sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}
            ], "defaultMode": 420}}],
            "initContainers": init_containers,
            "containers": containers,
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default",
            "serviceAccount": "default",
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            ],
            "priority": 0,
            "enableServiceLinks": true,
            "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {},
    });
    // The order of the keys is the API server's: what is done to what comes before the objects.
    let members = [
        ("uid", json!("5e0b7a3e-0d43-4a0f-9f1b-0d2f6f5f7b11")),
        ("kind", json!({"group": "", "version": "v1", "kind": "Pod"})),
        ("resource", json!({"group": "", "version": "v1", "resource": "pods"})),
        ("requestKind", json!({"group": "", "version": "v1", "kind": "Pod"})),
        ("requestResource", json!({"group": "", "version": "v1", "resource": "pods"})),
        ("namespace", json!("team-a")),
        ("operation", json!("CREATE")),
        (
            "userInfo",
            json!({
                "username": "system:serviceaccount:kube-system:replicaset-controller",
                "uid": "0a1b7d8e-61a4-4b8e-8a54-8d8b7d2c5f10",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"]
            }),
        ),
        ("object", pod),
        ("oldObject", Value::Null),
        ("dryRun", json!(false)),
        ("options", json!({"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"})),
    ];
    let request: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!(r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{{}}}}}"#, request.join(","))
        .into_bytes()
}

/// As the replica set controller's creation leaves them.
fn managed_fields() -> Value {
    json!({
        "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "time": "2026-11-21T04:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {
                "f:annotations": {".": {}, "f:prometheus.io/port": {}, "f:prometheus.io/scrape": {}},
                "f:generateName": {},
                "f:labels": {".": {}, "f:app": {}, "f:app.kubernetes.io/managed-by": {}, "f:pod-template-hash": {}},
                "f:ownerReferences": {".": {}, "k:{\"uid\":\"8f6f0a0c-2b5e-4a53-9a5b-3c1d6e1f7a21\"}": {}}
            },
            "f:spec": {
                "f:containers": {"k:{\"name\":\"web\"}": {
                    ".": {}, "f:args": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {},
                    "f:ports": {".": {}, "k:{\"containerPort\":8080,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}, "f:name": {}, "f:protocol": {}}},
                    "f:resources": {".": {}, "f:limits": {".": {}, "f:memory": {}}, "f:requests": {".": {}, "f:cpu": {}, "f:memory": {}}},
                    "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {}
                }},
                "f:dnsPolicy": {}, "f:enableServiceLinks": {}, "f:restartPolicy": {}, "f:schedulerName": {},
                "f:securityContext": {}, "f:terminationGracePeriodSeconds": {}
            }
        }
    })
}
