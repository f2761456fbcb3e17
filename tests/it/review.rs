//! From the body of a review to the body of its answer: rules M8 to M12, U1 to U6, A1 to A8, on the library.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use futures::FutureExt as _;
use mirrorgate::app::App;
use mirrorgate::policy::{LoadedPolicy, Policy};
use mirrorgate::review::{Mode, Plan, PullSecrets, Verdicts};
use mirrorgate::server::handler;
use mirrorgate::server::wire::{self, BadReview, Request};
use mirrorgate::telemetry::Metrics;
use serde_json::{Value, json};

const POLICY: &str = r#"
apiVersion: mirrorgate.dev/v1alpha1
kind: Policy
registryMirrors:
  - name: harbor
    endpoint: https://harbor.corp:5000/v2/proxy
    hosts: [docker.io, "*.gcr.io"]
    repositories: {exclude: ["library/scratch-*"]}
    pathTemplate: "{host}/{repository}"
ignore:
  images: [auto, "quay.io/mesh/**"]
  ownerKinds: [postgresql.cnpg.io/Cluster]
"#;

const AT_MIRROR: &str = "harbor.corp:5000/proxy/docker.io/library/nginx:1.27";

fn policy() -> Policy {
    Policy::read(POLICY).unwrap_or_else(|faults| panic!("{faults}")).policy
}

/// A review as the API server writes it.
pub(crate) fn review(operation: &str, sub_resource: &str, object: &Value, old_object: &Value) -> Value {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "5e0b7a3e-0d43-4a0f-9f1b-0d2f6f5f7b11",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "subResource": sub_resource,
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "name": "web", "namespace": "team-a", "operation": operation,
            "userInfo": {"username": "admin", "groups": ["system:masters"]},
            "object": object, "oldObject": old_object, "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}
        }
    })
}

/// The body of a review as the API server writes it: what is done to what comes before the objects. `json!` sorts.
pub(crate) fn body(review: &Value) -> Vec<u8> {
    const BEFORE_THE_OBJECTS: [&str; 5] = ["uid", "resource", "subResource", "namespace", "operation"];
    let Some(request) = review["request"].as_object() else { return review.to_string().into_bytes() };
    let first = BEFORE_THE_OBJECTS.iter().filter_map(|key| request.get_key_value(*key));
    let rest = request.iter().filter(|(key, _)| !BEFORE_THE_OBJECTS.contains(&key.as_str()));
    let members: Vec<String> = first.chain(rest).map(|(key, value)| format!("{}:{value}", json!(key))).collect();
    let mut around = review.clone();
    around["request"] = json!("REQUEST");
    around.to_string().replace("\"REQUEST\"", &format!("{{{}}}", members.join(","))).into_bytes()
}

/// Until when a review may wait.
pub(crate) fn in_ten_seconds() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(10)
}

/// The plan for a review where nobody is asked about registries.
pub(crate) fn plan<'p, 'a>(request: &'a Request<'a>, policy: &'p Policy, secrets: &PullSecrets) -> Plan<'p, 'a> {
    request.plan(policy, request.route(policy), &Verdicts::not_asked_for(), secrets)
}

/// The `response` of the answer; the order of the keys in the review makes no difference.
fn answer(mode: Mode, review: &Value) -> Value {
    let policy = policy();
    let answered = |body: &[u8]| {
        let request = Request::parse(std::str::from_utf8(body).unwrap()).unwrap();
        let decision = request.decide(mode, &plan(&request, &policy, &PullSecrets::unknown()));
        wire::answer(&request.uid, &decision)
    };
    let answer = answered(&body(review));
    assert_eq!(answer, answered(review.to_string().as_bytes()));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1", "A7");
    assert_eq!(answer["kind"], "AdmissionReview", "A7");
    assert_eq!(answer["response"]["uid"], review["request"]["uid"], "A7");
    answer["response"].clone()
}

/// The operations of an answer; null where there is no patch.
pub(crate) fn patch(response: &Value) -> Value {
    match response["patch"].as_str() {
        None => {
            assert!(response.get("patchType").is_none(), "A4: a patchType without a patch: {response}");
            Value::Null
        }
        Some(text) => {
            assert_eq!(response["patchType"], "JSONPatch");
            serde_json::from_slice(&base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap()
        }
    }
}

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "web", "namespace": "team-a", "annotations": {"a": "b"}}, "spec": spec})
}

/// The pod after the patch of an enforced creation, applied by the `json-patch` crate.
fn created(pod: &Value) -> Value {
    let response = answer(Mode::Enforce, &review("CREATE", "", pod, &Value::Null));
    assert_eq!(response["allowed"], true, "{response}");
    patched(pod, &response)
}

pub(crate) fn patched(pod: &Value, response: &Value) -> Value {
    let mut pod = pod.clone();
    if let operations @ Value::Array(_) = patch(response) {
        let operations: json_patch::Patch = serde_json::from_value(operations).unwrap();
        json_patch::patch(&mut pod, &operations).unwrap();
    }
    pod
}

fn original_images(pod: &Value) -> Value {
    serde_json::from_str(pod["metadata"]["annotations"]["mirrorgate.dev/original-images"].as_str().unwrap()).unwrap()
}

#[test]
fn m8_m12_every_place_is_rewritten_and_recorded() {
    let before = pod(json!({
        "containers": [{"name": "web", "image": "nginx:1.27", "invented": {"by": null}}, {"name": "side", "image": "quay.io/acme/side:1"}],
        "initContainers": [{"name": "init", "image": "eu.gcr.io/p/i@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}],
        "ephemeralContainers": [{"name": "debug", "image": "busybox"}],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "model", "image": {"reference": "acme/model:1", "pullPolicy": "IfNotPresent"}}],
    }));
    let after = created(&before);
    let mut expected = before.clone();
    expected["spec"]["containers"][0]["image"] = json!(AT_MIRROR);
    expected["spec"]["initContainers"][0]["image"] = json!(
        "harbor.corp:5000/proxy/eu.gcr.io/p/i@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    );
    expected["spec"]["ephemeralContainers"][0]["image"] = json!("harbor.corp:5000/proxy/docker.io/library/busybox");
    expected["spec"]["volumes"][1]["image"]["reference"] = json!("harbor.corp:5000/proxy/docker.io/acme/model:1");
    expected["metadata"]["annotations"]["mirrorgate.dev/original-images"] =
        after["metadata"]["annotations"]["mirrorgate.dev/original-images"].clone();
    assert_eq!(after, expected, "trap 6: what the types do not know stays");
    assert_eq!(
        original_images(&after),
        json!({
            "web": "nginx:1.27", "debug": "busybox", "volume:model": "acme/model:1",
            "init": "eu.gcr.io/p/i@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        })
    );
}

#[test]
fn a4_parents_are_added_only_where_they_are_absent_or_null() {
    for (metadata, path) in [
        (json!({"name": "web", "annotations": {"x": "y"}}), "/metadata/annotations/mirrorgate.dev~1original-images"),
        (json!({"name": "web"}), "/metadata/annotations"),
        (json!({"name": "web", "annotations": null}), "/metadata/annotations"),
        (Value::Null, "/metadata"),
    ] {
        let mut before = json!({"spec": {"containers": [{"name": "web", "image": "nginx:1.27"}]}});
        if !metadata.is_null() {
            before["metadata"] = metadata.clone();
        }
        let response = answer(Mode::Enforce, &review("CREATE", "", &before, &Value::Null));
        let operations = patch(&response);
        assert_eq!(operations[0], json!({"op": "replace", "path": "/spec/containers/0/image", "value": AT_MIRROR}));
        assert_eq!(operations[1]["op"], "add");
        assert_eq!(operations[1]["path"], path, "{metadata}");
        let after = patched(&before, &response);
        assert_eq!(original_images(&after), json!({"web": "nginx:1.27"}));
        if metadata["annotations"].is_object() {
            assert_eq!(after["metadata"]["annotations"]["x"], "y", "trap 7: annotations are not wiped");
        }
    }
}

#[test]
fn a4_r5_nothing_to_do_is_no_patch() {
    for spec in [
        json!({"containers": [{"name": "web", "image": "quay.io/acme/x"}]}),
        json!({"containers": [{"name": "web", "image": AT_MIRROR}]}),
        json!({"containers": [{"name": "web", "image": "scratch-x"}]}),
        json!({"containers": [{"name": "a"}, {"name": "b", "image": null}, {"name": "c", "image": ""}, null], "volumes": null}),
        json!({"containers": null}),
        Value::Null,
    ] {
        let response = answer(Mode::Enforce, &review("CREATE", "", &pod(spec.clone()), &Value::Null));
        assert_eq!(response["allowed"], true);
        assert_eq!(patch(&response), Value::Null, "{spec}");
    }
}

#[test]
fn m9_never_pulled_is_not_rewritten() {
    let before = pod(json!({
        "containers": [{"name": "a", "image": "nginx", "imagePullPolicy": "Never"}, {"name": "b", "image": "nginx", "imagePullPolicy": "Always"}],
        "volumes": [{"name": "m", "image": {"reference": "nginx", "pullPolicy": "Never"}}],
    }));
    let after = created(&before);
    assert_eq!(after["spec"]["containers"][0]["image"], "nginx");
    assert_eq!(after["spec"]["containers"][1]["image"], "harbor.corp:5000/proxy/docker.io/library/nginx");
    assert_eq!(after["spec"]["volumes"][0]["image"]["reference"], "nginx");
    assert_eq!(original_images(&after), json!({"b": "nginx"}));
}

#[test]
fn m10_trap_31_ignored_images_are_left_alone_even_if_no_runtime_can_read_them() {
    let before =
        pod(json!({"containers": [{"name": "a", "image": "auto"}, {"name": "b", "image": "quay.io/mesh/proxy:1"}]}));
    assert_eq!(created(&before), before);
}

#[test]
fn m10_trap_26_ignored_owners_stop_rewriting_and_no_check() {
    let owner = |api_version: &str| json!([{"apiVersion": api_version, "kind": "Cluster", "name": "db", "uid": "u"}]);
    let mut before = pod(json!({"containers": [{"name": "a", "image": "nginx"}]}));
    before["metadata"]["ownerReferences"] = owner("postgresql.cnpg.io/v1");
    assert_eq!(created(&before), before);
    before["metadata"]["ownerReferences"] = owner("other.io/v1");
    assert_ne!(created(&before), before);
    before["metadata"]["ownerReferences"] = owner("postgresql.cnpg.io/v1");
    before["spec"]["containers"][0]["image"] = json!("ngi nx");
    let response = answer(Mode::Enforce, &review("CREATE", "", &before, &Value::Null));
    assert_eq!(response["allowed"], false, "trap 25: an author can forge an owner");
}

#[test]
fn m12_over_the_limit_of_annotations_it_is_left_out() {
    let entry = r#"{"web":"nginx:1.27"}"#.len() + "mirrorgate.dev/original-images".len();
    for (bytes, annotated) in [(256 * 1024 - entry - 1, true), (256 * 1024 - entry, false)] {
        let mut before = pod(json!({"containers": [{"name": "web", "image": "nginx:1.27"}]}));
        before["metadata"]["annotations"] = json!({"k": "x".repeat(bytes)});
        let after = created(&before);
        assert_eq!(after["spec"]["containers"][0]["image"], AT_MIRROR);
        assert_eq!(
            after["metadata"]["annotations"].get("mirrorgate.dev/original-images").is_some(),
            annotated,
            "{bytes}"
        );
    }
}

#[test]
fn m12_trap_40_a_repeated_call_merges_and_the_first_reference_stays() {
    let before = pod(json!({"containers": [{"name": "web", "image": "nginx:1.27"}]}));
    let mut again = created(&before);
    assert_eq!(created(&again), again, "M5: our own result is a fixed point");
    again["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "side", "image": "busybox"}));
    again["spec"]["containers"][0]["image"] = json!("nginx:1.28");
    let response = answer(Mode::Enforce, &review("CREATE", "", &again, &Value::Null));
    let after = patched(&again, &response);
    assert_eq!(original_images(&after), json!({"web": "nginx:1.27", "side": "busybox"}));
    let keys: Vec<&String> = response["auditAnnotations"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["decision-again", "rewritten-again"], "A5");
}

#[test]
fn m12_trap_25_what_an_author_writes_into_the_annotation_decides_nothing() {
    for forged in ["", "no json", "[1]", r#"{"web":7}"#, r#"{"web":"harbor.corp:5000/proxy/x"}"#] {
        let mut before = pod(json!({"containers": [{"name": "web", "image": "nginx:1.27"}]}));
        before["metadata"]["annotations"]["mirrorgate.dev/original-images"] = json!(forged);
        assert_eq!(created(&before)["spec"]["containers"][0]["image"], AT_MIRROR, "{forged}");
    }
}

#[test]
fn u1_trap_13_mirror_pods_are_untouched() {
    let mut before = pod(json!({"containers": [{"name": "web", "image": "ngi nx"}]}));
    before["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": ""});
    assert_eq!(created(&before), before);
}

#[test]
fn u2_trap_10_an_update_touches_only_containers_whose_image_it_changes() {
    let spec = |web: &str, side: &str| {
        json!({
            "containers": [{"name": "web", "image": web}, {"name": "side", "image": side}],
            "initContainers": [{"name": "init", "image": "busybox"}],
            "ephemeralContainers": [{"name": "debug", "image": "busybox"}],
            "volumes": [{"name": "m", "image": {"reference": "busybox"}}],
        })
    };
    let old = pod(spec("nginx:1", "redis:1"));
    let response = answer(Mode::Enforce, &review("UPDATE", "", &pod(spec("nginx:1", "redis:1")), &old));
    assert_eq!(patch(&response), Value::Null, "a label or finalizer change");
    let new = pod(spec("nginx:1", "redis:2"));
    let after = patched(&new, &answer(Mode::Enforce, &review("UPDATE", "", &new, &old)));
    let mut expected = new.clone();
    expected["spec"]["containers"][1]["image"] = json!("harbor.corp:5000/proxy/docker.io/library/redis:2");
    expected["metadata"]["annotations"]["mirrorgate.dev/original-images"] = json!(r#"{"side":"redis:2"}"#);
    assert_eq!(after, expected);
}

#[test]
fn m12_on_update_the_entry_tells_of_the_image_that_this_update_brings() {
    let annotated = |image: &str, entry: &str| {
        let mut pod = pod(json!({"containers": [{"name": "web", "image": image}]}));
        pod["metadata"]["annotations"]["mirrorgate.dev/original-images"] = json!(format!(r#"{{"web":"{entry}"}}"#));
        pod
    };
    let old = annotated(AT_MIRROR, "nginx:1.27");
    let new = annotated("nginx:1.28", "nginx:1.27");
    let response = answer(Mode::Enforce, &review("UPDATE", "", &new, &old));
    assert_eq!(original_images(&patched(&new, &response)), json!({"web": "nginx:1.28"}));
    assert_eq!(response["auditAnnotations"]["decision"], "allow", "A5: the annotation is of an earlier request");
    let again = annotated("nginx:1.29", "nginx:1.28");
    let response = answer(Mode::Enforce, &review("UPDATE", "", &again, &old));
    assert_eq!(original_images(&patched(&again, &response)), json!({"web": "nginx:1.28"}), "a repeated call");
    assert_eq!(response["auditAnnotations"]["decision-again"], "allow", "A5: a repeated call");
}

#[test]
fn u3_trap_9_only_new_ephemeral_containers_and_no_metadata() {
    let old = pod(
        json!({"containers": [{"name": "web", "image": "nginx"}], "ephemeralContainers": [{"name": "d1", "image": "busybox"}]}),
    );
    let mut new = old.clone();
    new["spec"]["ephemeralContainers"].as_array_mut().unwrap().push(json!({"name": "d2", "image": "alpine"}));
    let response = answer(Mode::Enforce, &review("UPDATE", "ephemeralcontainers", &new, &old));
    assert_eq!(
        patch(&response),
        json!([{"op": "replace", "path": "/spec/ephemeralContainers/1/image", "value": "harbor.corp:5000/proxy/docker.io/library/alpine"}])
    );
}

#[test]
fn u4_what_is_none_of_our_business_is_admitted_without_a_patch() {
    let unreadable = pod(json!({"containers": [{"name": "web", "image": "ngi nx"}]}));
    for (operation, sub_resource) in
        [("DELETE", ""), ("CONNECT", "exec"), ("UPDATE", "status"), ("CREATE", "binding"), ("UPDATE", "resize")]
    {
        let response = answer(Mode::Enforce, &review(operation, sub_resource, &unreadable, &Value::Null));
        assert_eq!((&response["allowed"], patch(&response)), (&json!(true), Value::Null), "{operation} {sub_resource}");
    }
    let mut other = review("CREATE", "", &json!({"spec": {"containers": 7}}), &Value::Null);
    other["request"]["resource"] = json!({"group": "apps", "version": "v1", "resource": "deployments"});
    let response = answer(Mode::Enforce, &other);
    assert_eq!((&response["allowed"], patch(&response)), (&json!(true), Value::Null));
}

#[test]
fn u4_trap_25_a_pod_being_deleted_is_never_held_up_and_nobody_can_pretend() {
    let mut doomed = pod(json!({"containers": [{"name": "web", "image": "ngi nx"}]}));
    doomed["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let mut old = doomed.clone();
    old["spec"]["containers"][0]["image"] = json!("nginx");
    assert_eq!(answer(Mode::Enforce, &review("UPDATE", "", &doomed, &old))["allowed"], true);
    let response = answer(Mode::Enforce, &review("CREATE", "", &doomed, &Value::Null));
    assert_eq!(response["allowed"], false, "in a new pod its author wrote the timestamp");
}

#[test]
fn u6_a_dry_run_is_decided_the_same() {
    let before = pod(json!({"containers": [{"name": "web", "image": "nginx"}]}));
    let mut dry = review("CREATE", "", &before, &Value::Null);
    let wet = answer(Mode::Enforce, &dry);
    dry["request"]["dryRun"] = json!(true);
    assert_eq!(answer(Mode::Enforce, &dry), wet);
}

#[test]
fn a1_a3_every_unreadable_image_has_a_line_of_its_own() {
    let before = pod(json!({
        "containers": [{"name": "web", "image": "ngi nx"}, {"name": "ok", "image": "nginx"}, {"name": "side", "image": "UPPER/Case"}],
        "volumes": [{"name": "m", "image": {"reference": "x@sha256:beef"}}],
    }));
    let response = answer(Mode::Enforce, &review("CREATE", "", &before, &Value::Null));
    assert_eq!(response["allowed"], false);
    assert_eq!(patch(&response), Value::Null);
    let status = &response["status"];
    assert_eq!((&status["code"], &status["reason"]), (&json!(403), &json!("Forbidden")));
    let message = status["message"].as_str().unwrap();
    let causes = status["details"]["causes"].as_array().unwrap();
    let fields: Vec<&str> = causes.iter().map(|cause| cause["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["spec.containers[0].image", "spec.containers[2].image", "spec.volumes[0].image.reference"]);
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines.len(), 1 + fields.len(), "{message}");
    for ((field, line), (cause, name)) in
        fields.iter().zip(&lines[1..]).zip(causes.iter().zip(["container web", "container side", "volume m"]))
    {
        assert!(line.starts_with(&format!("{field}: {name}: ")), "{line}");
        assert!(line.ends_with(cause["message"].as_str().unwrap()), "{line}");
        assert_eq!(cause["reason"], "ImageInvalid");
    }
}

#[test]
fn m6_a_rewrite_that_no_reference_can_hold_is_a_denial_with_the_mirror_s_name() {
    let long = format!("eu.gcr.io/{}", "a/".repeat(120) + "b");
    let before = pod(json!({"containers": [{"name": "web", "image": long}]}));
    let response = answer(Mode::Enforce, &review("CREATE", "", &before, &Value::Null));
    assert_eq!(response["allowed"], false, "{response}");
    assert_eq!(response["status"]["details"]["causes"][0]["reason"], "RewriteInvalid");
    assert!(
        response["status"]["message"].as_str().unwrap().contains("mirror `harbor` cannot serve it: "),
        "{response}"
    );
}

#[test]
fn a5_trap_29_audit_changes_nothing_and_reports_everything() {
    let before =
        pod(json!({"containers": [{"name": "web", "image": "nginx:1.27"}, {"name": "bad", "image": "ngi nx"}]}));
    let response = answer(Mode::Audit, &review("CREATE", "", &before, &Value::Null));
    assert_eq!(response["allowed"], true);
    assert_eq!(patch(&response), Value::Null);
    let warnings: Vec<&str> = response["warnings"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    assert_eq!(warnings.len(), 2);
    assert!(
        warnings[0].starts_with("mirrorgate audit: spec.containers[1].image would be denied: container bad: "),
        "{warnings:?}"
    );
    assert_eq!(warnings[1], format!("mirrorgate audit: spec.containers[0].image nginx:1.27 would become {AT_MIRROR}"));
    let audit = &response["auditAnnotations"];
    assert_eq!(audit["decision"], "deny");
    let rewritten: Value = serde_json::from_str(audit["rewritten"].as_str().unwrap()).unwrap();
    assert_eq!(
        rewritten,
        json!([{"field": "spec.containers[0].image", "from": "nginx:1.27", "to": AT_MIRROR, "mirror": "harbor"}])
    );
    assert!(audit["denied"].as_str().unwrap().starts_with("spec.containers[1].image: container bad: "));
}

#[test]
fn a6_warnings_stay_within_the_limit_and_hold_no_control_character() {
    let bad: Vec<Value> = (0..300)
        .map(|n| json!({"name": format!("c{n}\u{202e}\t"), "image": format!("x\u{1b}[31m y{n}\n\u{200b}")}))
        .chain((0..50).map(|n| json!({"name": format!("r{n}"), "image": format!("nginx:{n}")})))
        .collect();
    let response = answer(Mode::Audit, &review("CREATE", "", &pod(json!({"containers": bad})), &Value::Null));
    let warnings: Vec<&str> = response["warnings"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    let total: usize = warnings.iter().map(|warning| warning.chars().count()).sum();
    assert!(total <= 4096, "{total}");
    assert!(
        warnings.last().unwrap().contains(&format!("and {} more", 350 - (warnings.len() - 1))),
        "{:?}",
        warnings.last()
    );
    let shown = |text: &str| {
        !text.chars().any(|c| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'))
    };
    assert!(warnings.iter().all(|warning| shown(warning)), "{warnings:?}");
    let denied = answer(Mode::Enforce, &review("CREATE", "", &pod(json!({"containers": bad})), &Value::Null));
    assert!(denied["status"]["message"].as_str().unwrap().lines().all(shown));
}

#[test]
fn a2_what_is_no_review_says_what_is_wrong() {
    let good = review("CREATE", "", &pod(json!({})), &Value::Null);
    let with = |pointer: &str, value: Value| {
        let mut review = good.clone();
        *review.pointer_mut(pointer).unwrap() = value;
        review.to_string().into_bytes()
    };
    for (body, expected) in [
        (b"not json".to_vec(), "not an AdmissionReview"),
        (b"\xff\xfe".to_vec(), "not an AdmissionReview"),
        (b"[]".to_vec(), "not an AdmissionReview"),
        (b"{}".to_vec(), r#"apiVersion "", kind """#),
        (with("/apiVersion", json!("admission.k8s.io/v1beta1")), "v1beta1"),
        (with("/kind", json!("Pod")), r#"kind "Pod""#),
        (with("/request", Value::Null), "no `request`"),
        (with("/request/uid", Value::Null), "no `uid`"),
        (with("/request/uid", json!("")), "no `uid`"),
        (with("/request/uid", json!(7)), "not an AdmissionReview"),
        (with("/request/object", json!({"spec": {"containers": [{"image": 7}]}})), "request.object is not a pod"),
        (with("/request/oldObject", json!({"spec": []})), "request.oldObject is not a pod"),
    ] {
        let error: BadReview = Request::parse(&String::from_utf8_lossy(&body)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error} has no {expected}");
    }
}

/// `managedFields` is handed on as its author wrote it: were it refused, that would be a way past the gate.
#[test]
fn a2_bytes_that_are_no_utf8_are_read_as_go_reads_them() {
    let loaded = Arc::new(LoadedPolicy::new(policy(), POLICY, 1));
    let (_sender, in_force) = tokio::sync::watch::channel(Some(loaded));
    let app = App::new(Arc::new(Metrics::new()), in_force, Arc::default(), None);
    let answered = |image: &str| {
        let mut pod = pod(json!({"containers": [{"name": "web", "image": image}]}));
        pod["metadata"]["managedFields"] = json!([{"manager": "RAW", "fieldsV1": {"f:RAW": {}}}]);
        let mut body = body(&review("CREATE", "", &pod, &Value::Null));
        while let Some(at) = body.windows(3).position(|bytes| bytes == b"RAW") {
            body.splice(at..at + 3, [0xff]);
        }
        assert!(std::str::from_utf8(&body).is_err());
        let answer = handler::review(&app, Mode::Enforce, &body, in_ten_seconds()).now_or_never().unwrap();
        let answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
        (answer["response"]["allowed"] == true, answer["response"].get("patch").is_some())
    };
    assert_eq!(answered("nginx:1.27"), (true, true));
    assert_eq!(answered("harbor.corp:5000/a"), (true, false));
    assert_eq!(answered("ngiRAWnx"), (false, false), "A3");
}

#[test]
fn a2_the_order_of_the_keys_decides_nothing() {
    let pod = r#"{"metadata":{"name":"web"},"spec":{"containers":[{"name":"web","image":"nginx"}]}}"#;
    let other = r#"{"spec":{"containers":7}}"#;
    let pods = r#""resource":{"group":"","version":"v1","resource":"pods"}"#;
    for (request, changed) in [
        (format!(r#""uid":"u",{pods},"operation":"CREATE","object":{pod}"#), true),
        (format!(r#""object":{pod},"operation":"CREATE",{pods},"uid":"u""#), true),
        (format!(r#""uid":"u","operation":"CREATE","object":{pod},"oldObject":null,{pods}"#), true),
        (format!(r#""uid":"u",{pods},"operation":"CREATE","object":{other},"subResource":"binding""#), false),
        (format!(r#""uid":"u",{pods},"operation":"CREATE","object":{pod},"subResource":"binding""#), false),
    ] {
        let body =
            format!(r#"{{"request":{{{request}}},"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}}"#);
        let request = Request::parse(&body).unwrap_or_else(|error| panic!("{body}: {error}"));
        let policy = policy();
        let decision = request.decide(Mode::Enforce, &plan(&request, &policy, &PullSecrets::unknown()));
        assert_eq!((decision.allowed, !decision.patch.is_empty()), (true, changed), "{body}");
    }
}

#[test]
fn a1_a_denial_of_very_many_images_is_bounded_and_says_how_many() {
    let bad: Vec<Value> = (0..1000).map(|n| json!({"name": format!("c{n}"), "image": "ngi nx"})).collect();
    let response = answer(Mode::Enforce, &review("CREATE", "", &pod(json!({"containers": bad})), &Value::Null));
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("1000 faults stand against this pod\n"), "{message}");
    assert!(message.ends_with("\nand 800 more"), "{message}");
    assert_eq!(response["status"]["details"]["causes"].as_array().unwrap().len(), 200);
}
