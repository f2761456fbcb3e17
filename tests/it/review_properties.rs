//! Properties of a whole review, from body to answer, over generated policies, pods and bodies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use futures::FutureExt as _;
use mirrorgate::app::App;
use mirrorgate::image::Reference;
use mirrorgate::policy::{LoadedPolicy, Policy, Route};
use mirrorgate::review::{Mode, ORIGINAL_IMAGES};
use mirrorgate::server::{Refusal, handler};
use mirrorgate::telemetry::Metrics;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

use crate::policy_properties::{a_policy, a_policy_with_pull_secrets, an_image};
use crate::review::{self, in_ten_seconds};

// ---- the parts of a pod

/// Any JSON, with nulls and with texts that need escapes.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        select(&["", "nginx", "<&>", "a/b~c", "\u{2028}\"\\\n", "größe"][..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::Array),
            vec((invented_key(), inner), 0..3).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// Keys that no type of ours knows.
fn invented_key() -> impl Strategy<Value = String> {
    select(&["invented", "x/y~z", "restartPolicy", "<b>", "größe", "Image", "resources"][..]).prop_map(str::to_owned)
}

fn invented() -> impl Strategy<Value = Map<String, Value>> {
    vec((invented_key(), any_json()), 0..3).prop_map(|entries| entries.into_iter().collect())
}

/// A member that may be absent (none), null, or there.
fn sometimes(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![1 => Just(None), 1 => Just(Some(Value::Null)), 6 => value.prop_map(Some)]
}

fn an_image_text() -> impl Strategy<Value = Value> {
    prop_oneof![
        12 => an_image().prop_map(Value::from),
        1 => select(&["", "-bad", "auto", "a b", "foo_bar.com/x", "quay.io/Upper"][..]).prop_map(Value::from),
    ]
}

/// An object of the members that are there.
fn object(invented: Map<String, Value>, members: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    let mut object = invented;
    object.extend(members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    Value::Object(object)
}

fn a_pull_policy() -> impl Strategy<Value = Option<Value>> {
    sometimes(select(&["Always", "IfNotPresent", "Never"][..]).prop_map(Value::from))
}

prop_compose! {
    fn a_container()(
        invented in invented(),
        name in sometimes(select(&["a", "b", "c/d", "volume:v"][..]).prop_map(Value::from)),
        image in sometimes(an_image_text()),
        policy in a_pull_policy(),
    ) -> Value {
        object(invented, [("name", name), ("image", image), ("imagePullPolicy", policy)])
    }
}

prop_compose! {
    fn a_volume()(
        invented in invented(),
        name in sometimes(select(&["v", "w"][..]).prop_map(Value::from)),
        reference in sometimes(an_image_text()),
        policy in a_pull_policy(),
        there in any::<bool>(),
    ) -> Value {
        let image = there.then(|| object(Map::new(), [("reference", reference), ("pullPolicy", policy)]));
        object(invented, [("name", name), ("image", image)])
    }
}

fn a_list(entry: impl Strategy<Value = Value>) -> impl Strategy<Value = Option<Value>> {
    let entry = prop_oneof![1 => Just(Value::Null), 9 => entry];
    sometimes(vec(entry, 0..4).prop_map(Value::Array))
}

fn annotations() -> impl Strategy<Value = Option<Value>> {
    sometimes(
        (
            any::<bool>(),
            select(&[None, Some("{}"), Some("no json"), Some(r#"{"a":"first/image:1"}"#), Some("[1]")][..]),
        )
            .prop_map(|(other, original)| {
                let other = other.then(|| Value::from("<&>\n"));
                object(Map::new(), [("example.com/x", other), (ORIGINAL_IMAGES, original.map(Value::from))])
            }),
    )
}

prop_compose! {
    fn a_pod()(
        extra in invented(),
        metadata_extra in invented(),
        metadata in 0..8,
        annotations in annotations(),
        spec_extra in invented(),
        containers in a_list(a_container()),
        init in a_list(a_container()),
        ephemeral in a_list(a_container()),
        volumes in a_list(a_volume()),
    ) -> Value {
        let metadata = match metadata {
            0 => None,
            1 => Some(Value::Null),
            _ => Some(object(metadata_extra, [("annotations", annotations), ("name", Some("web".into()))])),
        };
        let lists = [("containers", containers), ("initContainers", init), ("ephemeralContainers", ephemeral), ("volumes", volumes)];
        object(extra, [("metadata", metadata), ("spec", Some(object(spec_extra, lists)))])
    }
}

// ---- the call

fn app(policy: &str) -> App {
    let compiled = Policy::read(policy).unwrap_or_else(|faults| panic!("{faults}\n{policy}"));
    let loaded = Arc::new(LoadedPolicy::new(compiled.policy, policy, 1));
    App::new(Arc::new(Metrics::new()), tokio::sync::watch::channel(Some(loaded)).1, Arc::default(), None)
}

/// As Go writes JSON: `<`, `>` and `&` are escaped.
fn body(review: &Value) -> Vec<u8> {
    let body = String::from_utf8(review::body(review)).unwrap();
    body.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").into_bytes()
}

/// An answer that was held against the contract.
struct Answer {
    allowed: bool,
    operations: Vec<Value>,
    response: Value,
}

/// Reads an answer, and holds it against A1, A4 to A7.
fn contract(mode: Mode, answer: &[u8]) -> Answer {
    let answer: Value = serde_json::from_slice(answer).unwrap();
    assert_eq!((&answer["apiVersion"], &answer["kind"]), (&json!("admission.k8s.io/v1"), &json!("AdmissionReview")));
    let response = answer["response"].clone();
    let allowed = response["allowed"].as_bool().unwrap();
    assert!(allowed || mode == Mode::Enforce, "A5: {response}");
    assert_eq!(allowed, response.get("status").is_none(), "{response}");
    if !allowed {
        let status = &response["status"];
        assert_eq!((&status["code"], &status["reason"]), (&json!(403), &json!("Forbidden")), "A1");
        let message = status["message"].as_str().unwrap();
        let causes = status["details"]["causes"].as_array().unwrap();
        for cause in causes {
            let line = format!("{}: {}", cause["field"].as_str().unwrap(), cause["message"].as_str().unwrap());
            assert!(message.lines().any(|shown| shown == line), "A1: {line:?} in {message:?}");
        }
        assert!(!causes.is_empty() && !message.contains(|c: char| c.is_control() && c != '\n'), "{message:?}");
    }
    let warnings: Vec<&str> =
        response["warnings"].as_array().into_iter().flatten().map(|warning| warning.as_str().unwrap()).collect();
    assert!(warnings.iter().all(|warning| !warning.contains(char::is_control)), "A6: {warnings:?}");
    assert!(warnings.iter().map(|warning| warning.len()).sum::<usize>() <= 4096, "A6: {warnings:?}");
    assert_eq!(response.get("patch").is_some(), response.get("patchType").is_some(), "A4");
    let operations: Vec<Value> = response["patch"].as_str().map_or_else(Vec::new, |patch| {
        assert!(mode == Mode::Enforce && allowed && response["patchType"] == "JSONPatch");
        serde_json::from_slice(&base64::engine::general_purpose::STANDARD.decode(patch).unwrap()).unwrap()
    });
    assert_eq!(operations.is_empty(), response.get("patch").is_none(), "A4: an empty patch is no patch");
    Answer { allowed, operations, response }
}

/// Without a cluster there is nothing to wait for.
fn answered(app: &App, mode: Mode, body: &[u8]) -> Result<String, Refusal> {
    handler::review(app, mode, body, in_ten_seconds()).now_or_never().unwrap()
}

fn call(app: &App, mode: Mode, review: &Value) -> Answer {
    let answer = answered(app, mode, &body(review)).unwrap_or_else(|refusal| panic!("{refusal:?}\n{review}"));
    let answer = contract(mode, answer.as_bytes());
    assert_eq!(answer.response["uid"], review["request"]["uid"], "A7");
    answer
}

fn patched(pod: &Value, operations: &[Value]) -> Value {
    let patch: json_patch::Patch = serde_json::from_value(operations.to_vec().into()).unwrap();
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &patch).unwrap_or_else(|error| panic!("{error}: {operations:?}\n{pod}"));
    patched
}

/// The rules, said plainly: what becomes of an image's text, none where it cannot be judged.
fn rewritten(policy: &Policy, image: &str) -> Option<String> {
    if policy.ignores_text(image) {
        return Some(image.to_owned());
    }
    let reference = Reference::parse(image).ok()?;
    match policy.route(&reference) {
        Route::Mirrored { mirror, .. } => mirror.rewrite(&reference).ok().map(|to| to.to_string()),
        _ => Some(image.to_owned()),
    }
}

/// Every image of a pod by its pointer, and what the rules make of it.
fn places(policy: &Policy, pod: &Value) -> BTreeMap<String, (String, Option<String>)> {
    let mut found = BTreeMap::new();
    for (list, pull_policy, tail) in [
        ("containers", "imagePullPolicy", "image"),
        ("initContainers", "imagePullPolicy", "image"),
        ("ephemeralContainers", "imagePullPolicy", "image"),
        ("volumes", "pullPolicy", "reference"),
    ] {
        for (index, entry) in pod["spec"][list].as_array().into_iter().flatten().enumerate() {
            let (owner, place) = if list == "volumes" { (&entry["image"], "image/") } else { (entry, "") };
            if let Some(image) = owner[tail].as_str().filter(|image| !image.is_empty()) {
                let becomes = match owner[pull_policy].as_str() {
                    Some("Never") if Reference::parse(image).is_ok() => Some(image.to_owned()),
                    _ => rewritten(policy, image),
                };
                found.insert(format!("/spec/{list}/{index}/{place}{tail}"), (image.to_owned(), becomes));
            }
        }
    }
    found
}

/// `spec.containers[0].image` for `/spec/containers/0/image`.
fn field(pointer: &str) -> String {
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    format!("{}.{}[{}].{}", parts[0], parts[1], parts[2], parts[3..].join("."))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Traps 6 and 7, A4, M8: whatever else a pod holds comes back as it was.
    #[test]
    fn a4_a_patch_changes_the_planned_pointers_and_nothing_else(policy in a_policy(), pod in a_pod()) {
        let app = app(&policy);
        let places = places(&Policy::read(&policy).unwrap().policy, &pod);
        let faulty: Vec<String> =
            places.iter().filter(|(_, (_, becomes))| becomes.is_none()).map(|(pointer, _)| field(pointer)).collect();
        let answer = call(&app, Mode::Enforce, &review::review("CREATE", "", &pod, &Value::Null));
        prop_assert_eq!(answer.allowed, faulty.is_empty(), "A3: {}", answer.response);
        let mut denied: Vec<String> = answer.response["status"]["details"]["causes"].as_array().into_iter().flatten()
            .map(|cause| cause["field"].as_str().unwrap().to_owned()).collect();
        denied.sort();
        prop_assert_eq!(denied, { let mut faulty = faulty.clone(); faulty.sort(); faulty });
        if !answer.allowed {
            return Ok(());
        }

        let after = patched(&pod, &answer.operations);
        let mut expected = pod.clone();
        let mut changes = false;
        for (pointer, (image, becomes)) in &places {
            let becomes = becomes.clone().unwrap();
            changes |= *image != becomes;
            *expected.pointer_mut(pointer).unwrap() = becomes.into();
        }
        if changes {
            let annotation = &after["metadata"]["annotations"][ORIGINAL_IMAGES];
            let original: BTreeMap<String, String> = serde_json::from_str(annotation.as_str().unwrap()).unwrap();
            prop_assert!(!original.is_empty());
            for key in ["metadata", "annotations"].iter().scan(String::new(), |pointer, key| { *pointer += &format!("/{key}"); Some(pointer.clone()) }) {
                if expected.pointer(&key).is_none_or(Value::is_null) {
                    let (parent, name) = key.rsplit_once('/').unwrap();
                    expected.pointer_mut(parent).unwrap()[name] = json!({});
                }
            }
            expected["metadata"]["annotations"][ORIGINAL_IMAGES] = annotation.clone();
        }
        prop_assert_eq!(&after, &expected, "{:?}", answer.operations);

        // Trap 1, trap 40: called again, with its own result in the pod, it changes nothing.
        let again = call(&app, Mode::Enforce, &review::review("CREATE", "", &after, &Value::Null));
        prop_assert!(again.allowed && again.operations.is_empty(), "f(f(x)) = f(x): {}", again.response);
    }

    /// S2: secrets come behind those that are there, none twice, and change nothing else.
    #[test]
    fn s2_pull_secrets_are_added_behind_what_is_there(
        with_secrets in a_policy_with_pull_secrets(),
        mut pod in a_pod(),
        list in prop::option::of(prop::option::of(vec(prop_oneof![
            Just(json!({"name": "harbor-pull"})), Just(json!({"name": "own"})), Just(json!({})), Just(Value::Null),
        ], 0..4))),
    ) {
        if let (Some(list), Some(spec)) = (&list, pod["spec"].as_object_mut()) {
            spec.insert("imagePullSecrets".to_owned(), json!(list));
        }
        let mut without = with_secrets.clone();
        without["registryMirrors"].as_array_mut().unwrap().iter_mut().for_each(|mirror| _ = mirror.as_object_mut().unwrap().remove("pullSecrets"));
        without["pullSecrets"] = json!([]);
        let creation = review::review("CREATE", "", &pod, &Value::Null);
        let answer = call(&app(&with_secrets.to_string()), Mode::Enforce, &creation);
        let mut expected = patched(&pod, &call(&app(&without.to_string()), Mode::Enforce, &creation).operations);
        let mut after = patched(&pod, &answer.operations);

        let names = |list: &Value| -> Vec<String> {
            list.as_array().into_iter().flatten().filter_map(|entry| entry["name"].as_str().map(str::to_owned)).collect()
        };
        let (before, there) = (pod["spec"]["imagePullSecrets"].clone(), after["spec"]["imagePullSecrets"].clone());
        let had = before.as_array().map_or(0, Vec::len);
        let entries = |list: &Value| list.as_array().cloned().unwrap_or_default();
        prop_assert_eq!(&entries(&there)[..had], &entries(&before)[..]);
        if there != before {
            let added = names(&there).split_off(names(&before).len());
            let all: std::collections::BTreeSet<_> = added.iter().chain(&names(&before)).cloned().collect();
            let own: std::collections::BTreeSet<_> = names(&before).into_iter().collect();
            prop_assert!(!added.is_empty() && all.len() == own.len() + added.len(), "{}", there);
            for pod in [&mut after, &mut expected] {
                pod["spec"].as_object_mut().unwrap().remove("imagePullSecrets");
            }
        }
        prop_assert_eq!(after, expected);
        let again = call(&app(&with_secrets.to_string()), Mode::Enforce, &review::review("CREATE", "", &patched(&pod, &answer.operations), &Value::Null));
        prop_assert!(again.operations.is_empty(), "{}", again.response);
    }

    /// A5: an audit changes nothing and denies nothing, and says of the same images what would be.
    #[test]
    fn a5_audit_reports_what_enforce_does(policy in a_policy(), pod in a_pod()) {
        let app = app(&policy);
        let review = review::review("CREATE", "", &pod, &Value::Null);
        let (enforced, audited) = (call(&app, Mode::Enforce, &review), call(&app, Mode::Audit, &review));
        prop_assert!(audited.allowed && audited.operations.is_empty());
        let annotations = &audited.response["auditAnnotations"];
        let suffix = if pod["metadata"]["annotations"][ORIGINAL_IMAGES].is_string() { "-again" } else { "" };
        let decision = &annotations[format!("decision{suffix}")];
        prop_assert_eq!(decision, if enforced.allowed { "allow" } else { "deny" }, "{}", annotations);
        prop_assert_eq!(enforced.allowed, annotations[format!("denied{suffix}")].is_null());
        prop_assert_eq!(&enforced.response["auditAnnotations"][format!("decision{suffix}")], decision);
    }

    /// U2, trap 10: an update touches the containers whose image it changes, and neither volumes nor what stays.
    #[test]
    fn u2_an_update_rewrites_only_what_it_changes(policy in a_policy(), old in a_pod(), new in a_pod(), same in any::<bool>()) {
        let app = app(&policy);
        let mut new = new;
        if same {
            new["spec"]["containers"] = old["spec"]["containers"].clone();
            new["spec"]["initContainers"] = old["spec"]["initContainers"].clone();
        }
        let answer = call(&app, Mode::Enforce, &review::review("UPDATE", "", &new, &old));
        let after = patched(&new, &answer.operations);
        for operation in &answer.operations {
            let path = operation["path"].as_str().unwrap();
            let is_image = path.starts_with("/spec/containers/") || path.starts_with("/spec/initContainers/");
            prop_assert!(is_image || path.starts_with("/metadata"), "{}", path);
            if is_image {
                let (list, index) = (path.split('/').nth(2).unwrap(), path.split('/').nth(3).unwrap());
                let container = &new["spec"][list][index.parse::<usize>().unwrap()];
                let name = |container: &Value| container["name"].as_str().unwrap_or_default().to_owned();
                let stored = old["spec"][list].as_array().into_iter().flatten()
                    .find(|stored| stored.is_object() && name(stored) == name(container));
                prop_assert!(stored.is_none_or(|stored| stored["image"] != container["image"]), "{}", path);
            }
        }
        prop_assert_eq!(&after["spec"]["volumes"], &new["spec"]["volumes"]);
        prop_assert_eq!(&after["spec"]["ephemeralContainers"], &new["spec"]["ephemeralContainers"]);
    }

    /// U3, trap 9: only new entries, and no metadata.
    #[test]
    fn u3_only_new_ephemeral_containers_are_touched(policy in a_policy(), old in a_pod(), new in a_pod()) {
        let app = app(&policy);
        let answer = call(&app, Mode::Enforce, &review::review("UPDATE", "ephemeralcontainers", &new, &old));
        for operation in &answer.operations {
            let path = operation["path"].as_str().unwrap();
            let index: usize = path.strip_prefix("/spec/ephemeralContainers/").unwrap().strip_suffix("/image").unwrap().parse().unwrap();
            let name = &new["spec"]["ephemeralContainers"][index]["name"];
            let stored = old["spec"]["ephemeralContainers"].as_array();
            prop_assert!(name.is_null() || !stored.into_iter().flatten().any(|stored| stored["name"] == *name), "{}", path);
        }
        let unchanged = call(&app, Mode::Enforce, &review::review("UPDATE", "ephemeralcontainers", &old, &old));
        prop_assert!(unchanged.allowed && unchanged.operations.is_empty());
    }
}

/// An author may send as many containers as fit into the API server's limit of 3 MB; with a search per container such
/// a pod would take minutes. The bound only tells the two apart.
#[test]
fn a_pod_of_thirty_thousand_containers_holds_nobody_up() {
    let of_image = |image: &str| {
        let containers: Vec<Value> = (0..30_000).map(|n| json!({"name": format!("c{n}"), "image": image})).collect();
        json!({"metadata": {"name": "web"}, "spec": {"containers": containers}})
    };
    let (old, new) = (of_image("old"), of_image("new"));
    let app = app(POLICY);
    for review in [review::review("CREATE", "", &new, &Value::Null), review::review("UPDATE", "", &new, &old)] {
        let started = Instant::now();
        assert!(call(&app, Mode::Enforce, &review).allowed);
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    }
}

// ---- bodies that no API server sends

const POLICY: &str = r#"{"apiVersion": "mirrorgate.dev/v1alpha1", "kind": "Policy",
    "registryMirrors": [{"name": "m", "endpoint": "https://harbor.corp/proxy", "hosts": ["docker.io", "*.gcr.io", "*"]}]}"#;

/// A contract answer to whatever body, in both modes: a review, or a 400 that says why.
fn assert_answered(app: &App, body: &[u8]) {
    for mode in [Mode::Enforce, Mode::Audit] {
        match answered(app, mode, body) {
            Ok(answer) => {
                let answer = contract(mode, answer.as_bytes());
                // A reader that skips what it does not need takes a little more than one that reads all.
                if let Ok(review) = serde_json::from_slice::<Value>(body) {
                    assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
                    assert_eq!(answer.response["uid"], review["request"]["uid"], "A7");
                    patched(&review["request"]["object"], &answer.operations);
                }
            }
            Err(refusal) => {
                assert_eq!((refusal.status, refusal.retry_after), (400, None), "A2: {refusal:?}");
                let status: Value = serde_json::from_slice(&refusal.body()).unwrap();
                assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(400)));
                let message = status["message"].as_str().unwrap();
                assert!(!message.contains(char::is_control) && message.chars().count() < 1000, "A6: {message:?}");
            }
        }
    }
}

fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(list) => {
            for (index, entry) in list.iter().enumerate() {
                pointers(entry, &format!("{at}/{index}"), found);
            }
        }
        Value::Object(object) => {
            for (key, entry) in object {
                pointers(entry, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        _ => {}
    }
}

fn a_review() -> impl Strategy<Value = Value> {
    let operation = select(&["CREATE", "UPDATE", "DELETE", "CONNECT", "PATCH", ""][..]);
    let sub_resource = select(&["", "", "ephemeralcontainers", "status"][..]);
    let old = prop_oneof![Just(Value::Null), a_pod()];
    (operation, sub_resource, a_pod(), old)
        .prop_map(|(operation, sub, pod, old)| review::review(operation, sub, &pod, &old))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a2_arbitrary_bodies_get_a_contract_answer(bytes in vec(any::<u8>(), 0..200), text in any::<String>(), json in any_json()) {
        let app = app(POLICY);
        assert_answered(&app, &bytes);
        assert_answered(&app, text.as_bytes());
        assert_answered(&app, json.to_string().as_bytes());
    }

    #[test]
    fn a2_reviews_with_values_exchanged_get_a_contract_answer(
        review in a_review(), edits in vec((any::<Index>(), any_json()), 0..4)
    ) {
        let mut review = review;
        for (at, value) in edits {
            let mut found = Vec::new();
            pointers(&review, "", &mut found);
            *review.pointer_mut(&found[at.index(found.len())]).unwrap() = value;
        }
        assert_answered(&app(POLICY), &body(&review));
    }

    #[test]
    fn a2_reviews_with_bytes_exchanged_get_a_contract_answer(
        review in a_review(), edits in vec((any::<Index>(), any::<u8>(), 0..4), 1..4), cut in prop::option::weighted(0.2, any::<Index>())
    ) {
        let mut body = body(&review);
        for (at, byte, edit) in edits {
            let at = at.index(body.len());
            match edit {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                2 => body[at] = *b"\"\\{}[],:0nt\0"[..].get(usize::from(byte) % 12).unwrap(),
                _ => drop(body.remove(at)),
            }
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        assert_answered(&app(POLICY), &body);
    }
}
