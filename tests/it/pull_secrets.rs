//! Pull secrets in reviews: rules S1, S2, S4, S6, and U2, U3, M9, M10 as far as they speak of secrets.

use std::sync::Arc;

use futures::FutureExt as _;
use mirrorgate::app::{App, LoadedPolicy};
use mirrorgate::keyring::{DOCKER_CONFIG_JSON, PullSecret};
use mirrorgate::policy::Policy;
use mirrorgate::review::{Mode, PullSecrets, Scope, SecretsByName};
use mirrorgate::server::handler;
use mirrorgate::server::wire::{self, Request};
use mirrorgate::telemetry::Metrics;
use serde_json::{Value, json};

use super::review::{body, in_ten_seconds, patch, patched, plan, review};

const POLICY: &str = r#"
apiVersion: mirrorgate.dev/v1alpha1
kind: Policy
registryMirrors:
  - name: harbor
    endpoint: https://harbor.corp:5000/v2/proxy
    hosts: [docker.io]
    pullSecrets: [harbor-pull]
  - name: quay-cache
    endpoint: https://cache.corp
    hosts: [quay.io]
pullSecrets:
  - name: cache-{namespace}
    registries: [cache.corp]
    namespaces: ["team-*"]
  - name: harbor-extra
    registries: ["*.corp:5000"]
  - name: ghcr
    registries: [ghcr.io]
ignore:
  images: [auto, "ghcr.io/mesh/**"]
  ownerKinds: [postgresql.cnpg.io/Cluster]
"#;

fn policy(more: &str) -> Policy {
    Policy::read(&format!("{POLICY}{more}")).unwrap_or_else(|faults| panic!("{faults}")).policy
}

/// A docker config with these keys.
fn config(keys: &[&str]) -> PullSecret {
    let auths: serde_json::Map<_, _> = keys.iter().map(|key| ((*key).to_owned(), json!({"auth": "dTpw"}))).collect();
    raw(&json!({"auths": auths}).to_string())
}

fn raw(document: &str) -> PullSecret {
    PullSecret::read(DOCKER_CONFIG_JSON, |_| Some(document.as_bytes()))
}

/// A namespace in which every name has been looked for, and these were found.
fn secrets(found: &[(&str, PullSecret)]) -> PullSecrets {
    known(found, true)
}

fn known(found: &[(&str, PullSecret)], listed: bool) -> PullSecrets {
    let names = ["harbor-pull", "harbor-extra", "ghcr"].map(|name| (name.to_owned(), listed)).into();
    let scope = Scope { names, all_docker_configs: listed, has_cluster: true };
    let secrets: SecretsByName =
        found.iter().map(|(name, secret)| (Arc::from(*name), Arc::new(secret.clone()))).collect();
    PullSecrets::new(Arc::new(secrets), Arc::new(scope))
}

fn served() -> PullSecrets {
    secrets(&[("harbor-pull", config(&["harbor.corp:5000"]))])
}

/// The `response` to a review.
fn answer(mode: Mode, policy: &Policy, secrets: &PullSecrets, review: &Value) -> Value {
    let body = String::from_utf8(body(review)).unwrap();
    let request = Request::parse(&body).unwrap();
    let decision = request.decide(mode, &plan(&request, policy, secrets));
    let answer: Value = serde_json::from_str(&wire::answer(&request.uid, &decision)).unwrap();
    answer["response"].clone()
}

fn pod(images: &[&str]) -> Value {
    let containers: Vec<Value> =
        images.iter().enumerate().map(|(n, image)| json!({"name": format!("c{n}"), "image": image})).collect();
    json!({"metadata": {"name": "web"}, "spec": {"containers": containers}})
}

/// The answer to a creation in enforce mode, and the names in the pod's list afterwards.
fn create(policy: &Policy, secrets: &PullSecrets, pod: &Value) -> (Value, Vec<String>) {
    let response = answer(Mode::Enforce, policy, secrets, &review("CREATE", "", pod, &Value::Null));
    let after = patched(pod, &response);
    let list = after["spec"]["imagePullSecrets"].as_array().cloned().unwrap_or_default();
    (response, list.iter().map(|entry| entry["name"].as_str().unwrap_or("?").to_owned()).collect())
}

fn warnings(response: &Value) -> Vec<&str> {
    response["warnings"].as_array().map(|all| all.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

#[test]
fn s1_a_secret_goes_with_the_registry_that_is_really_pulled_from() {
    let policy = policy("");
    let all = secrets(&[
        ("harbor-pull", config(&["harbor.corp:5000"])),
        ("cache-team-a", config(&["cache.corp"])),
        ("ghcr", config(&["ghcr.io"])),
    ]);
    for (images, expected) in [
        (&["nginx"][..], &["harbor-pull"][..]),
        (&["quay.io/a/b"], &["cache-team-a"]),
        (&["harbor.corp:5000/a/b"], &["harbor-pull"]),
        (&["ghcr.io/a/b"], &["ghcr"]),
        (&["GHCR.io/a/b"], &["ghcr"]),
        (&["registry.k8s.io/pause"], &[]),
        // M10: left alone entirely.
        (&["ghcr.io/mesh/proxy", "auto"], &[]),
        // S2: each registry its own, in policy order, whatever the order of the images.
        (&["ghcr.io/a/b", "quay.io/a/b", "nginx", "busybox"], &["harbor-pull", "cache-team-a", "ghcr"]),
    ] {
        let (response, list) = create(&policy, &all, &pod(images));
        assert_eq!(list, expected, "{images:?}: {response}");
    }
    let mut volume = pod(&[]);
    volume["spec"]["volumes"] = json!([{"name": "model", "image": {"reference": "acme/model:1"}}]);
    assert_eq!(create(&policy, &all, &volume).1, ["harbor-pull"], "M8");
}

#[test]
fn m9_m10_what_is_not_rewritten_has_the_secret_for_its_own_registry() {
    let policy = policy("");
    let all = secrets(&[("harbor-pull", config(&["harbor.corp:5000"])), ("ghcr", config(&["ghcr.io"]))]);
    let mut never = pod(&["ghcr.io/a/b", "harbor.corp:5000/a/b"]);
    for container in never["spec"]["containers"].as_array_mut().unwrap() {
        container["imagePullPolicy"] = json!("Never");
    }
    assert_eq!(create(&policy, &all, &never).1, ["harbor-pull", "ghcr"]);
    let mut owned = pod(&["ghcr.io/a/b", "nginx"]);
    owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster"}]);
    assert_eq!(create(&policy, &all, &owned).1, ["ghcr"], "nginx stays at docker.io, which has no secret");
}

#[test]
fn s2_what_is_there_stays_first_and_untouched() {
    let policy = policy("");
    for (list, expected) in [
        (Value::Null, json!([{"name": "harbor-pull"}])),
        (json!([]), json!([{"name": "harbor-pull"}])),
        (json!([{"name": "own"}]), json!([{"name": "own"}, {"name": "harbor-pull"}])),
        (json!([{"name": "harbor-pull"}, {"name": "own"}]), json!([{"name": "harbor-pull"}, {"name": "own"}])),
        (
            json!([{}, null, {"name": null}, {"name": ""}]),
            json!([{}, null, {"name": null}, {"name": ""}, {"name": "harbor-pull"}]),
        ),
        (
            json!([{"name": "a"}, {"name": "a"}, {"x": 1}]),
            json!([{"name": "a"}, {"name": "a"}, {"x": 1}, {"name": "harbor-pull"}]),
        ),
    ] {
        for absent in [false, true] {
            let mut before = pod(&["nginx", "busybox"]);
            if !absent {
                before["spec"]["imagePullSecrets"] = list.clone();
            } else if !list.is_null() {
                continue;
            }
            let response = answer(Mode::Enforce, &policy, &served(), &review("CREATE", "", &before, &Value::Null));
            assert_eq!(patched(&before, &response)["spec"]["imagePullSecrets"], expected, "{list}");
            // Called again with our own result, nothing is left to do (trap 40).
            let again = answer(
                Mode::Enforce,
                &policy,
                &served(),
                &review("CREATE", "", &patched(&before, &response), &Value::Null),
            );
            assert_eq!(patch(&again), Value::Null);
        }
    }
}

#[test]
fn s4_a_name_that_cannot_be_made_in_a_namespace_is_said_and_breaks_nothing() {
    let policy = policy("");
    let mut long = review("CREATE", "", &pod(&["quay.io/a/b"]), &Value::Null);
    long["request"]["namespace"] = json!(format!("team-{}", "x".repeat(250)));
    let response = answer(Mode::Enforce, &policy, &served(), &long);
    assert_eq!(response["allowed"], true);
    assert!(!patch(&response).to_string().contains("imagePullSecrets"), "{response}");
    let all = warnings(&response).join("\n");
    assert!(all.contains("cache.corp") && all.contains("cache-{namespace}") && all.contains("253"), "{all}");
}

/// What is missing, whether the secret is added, and what is said; with the policy's word for each mode.
#[test]
fn s6_a_secret_that_does_not_serve_is_told_of_with_the_command_that_mends_it() {
    let malformed = raw(r#"{"auths": []}"#);
    let empty = PullSecret::read(DOCKER_CONFIG_JSON, |_| None);
    let opaque = PullSecret::read("Opaque", |_| None);
    type Case<'c> = (&'c [(&'c str, PullSecret)], bool, &'c [&'c str]);
    let cases: [Case<'_>; 6] = [
        (
            &[],
            true,
            &[
                "harbor-pull is missing in team-a",
                "kubectl -n team-a create secret docker-registry harbor-pull --docker-server=harbor.corp:5000",
            ],
        ),
        (
            &[("harbor-pull", config(&["harbor.corp", "b.io", "c.io", "d.io", "e.io", "f.io", "g.io"]))],
            true,
            &[
                "does not cover harbor.corp:5000/proxy/library/nginx",
                "harbor.corp, g.io, f.io",
                "2 more",
                "(what follows replaces that); kubectl -n team-a delete secret harbor-pull && kubectl -n team-a create",
            ],
        ),
        (&[("harbor-pull", config(&[]))], true, &["does not cover", "it has no entry"]),
        (
            &[("harbor-pull", opaque)],
            true,
            &["is of type Opaque", "kubectl -n team-a delete secret harbor-pull && kubectl"],
        ),
        (&[("harbor-pull", empty)], true, &["is malformed, has no key `.dockerconfigjson`"]),
        // The kubelet would pull nothing at all with it.
        (&[("harbor-pull", malformed)], false, &["is malformed", "is not an object", "so it is not added"]),
    ];
    for (found, is_added, said) in cases {
        // The second rule for the registry finds nothing either.
        let secrets = secrets(found);
        let warn = policy("");
        let (response, list) = create(&warn, &secrets, &pod(&["nginx", "ghcr.io/mesh/x"]));
        let expected = if is_added { &["harbor-pull", "harbor-extra"][..] } else { &["harbor-extra"] };
        assert_eq!(list, expected, "{response}");
        let all = warnings(&response).join("\n");
        for words in said {
            assert!(all.contains(words), "`{all}` lacks `{words}`");
        }
        assert!(all.contains("mirrorgate: no pull secret for harbor.corp:5000: "), "{all}");
        assert!(!all.contains('\t') && warnings(&response).iter().all(|warning| !warning.contains('\n')), "A6");

        let (response, list) = create(&policy("onMissingPullSecret: skip\n"), &secrets, &pod(&["nginx"]));
        assert_eq!((response["allowed"].as_bool(), list.len()), (Some(true), 0), "{response}");
        assert_eq!(warnings(&response).join("\n"), all);

        let (response, list) = create(&policy("onMissingPullSecret: deny\n"), &secrets, &pod(&["nginx"]));
        assert_eq!((response["allowed"].as_bool(), list.len()), (Some(false), 0), "{response}");
        let message = response["status"]["message"].as_str().unwrap();
        for words in said {
            assert!(message.contains(words), "`{message}` lacks `{words}`");
        }
        let cause = &response["status"]["details"]["causes"][0];
        assert_eq!(
            (&cause["field"], &cause["reason"]),
            (&json!("spec.containers[0].image"), &json!("PullSecretMissing"))
        );
        assert!(cause["message"].as_str().unwrap().contains("harbor.corp:5000"), "{cause}");

        let response = answer(
            Mode::Audit,
            &policy("onMissingPullSecret: deny\n"),
            &secrets,
            &review("CREATE", "", &pod(&["nginx"]), &Value::Null),
        );
        assert_eq!((response["allowed"].as_bool(), patch(&response)), (Some(true), Value::Null));
        assert!(warnings(&response)[0].starts_with("mirrorgate audit: spec.containers[0].image would be denied: "));
    }
}

/// What was made a moment ago may not be known yet: only what a finding rests on is worth a second look.
#[test]
fn s6_what_a_finding_rests_on_is_in_doubt() {
    let in_doubt = |policy: &Policy, secrets: &PullSecrets, image: &str| {
        let review = review("CREATE", "", &pod(&[image]), &Value::Null).to_string();
        let request = Request::parse(&review).unwrap();
        let plan = plan(&request, policy, secrets);
        plan.pull_secrets
            .in_doubt()
            .map(|doubt| (doubt.names.into_iter().collect::<Vec<_>>().join(" "), doubt.discovered))
    };
    let named = policy("");
    let discovering =
        Policy::read(&POLICY.replace("  - name: ghcr\n    registries", "  - discover: true\n    registries"));
    let discovering = discovering.unwrap().policy;
    let names = |names: &str| Some((names.to_owned(), false));
    for (policy, secrets, image, expected) in [
        (&named, served(), "nginx", None),
        (&named, secrets(&[]), "registry.k8s.io/pause", None),
        (&named, secrets(&[]), "nginx", names("harbor-extra harbor-pull")),
        (&named, secrets(&[("harbor-pull", config(&["x.corp"]))]), "nginx", names("harbor-extra harbor-pull")),
        (
            &named,
            secrets(&[("harbor-pull", raw("5")), ("harbor-extra", config(&["x.corp"]))]),
            "nginx",
            names("harbor-extra harbor-pull"),
        ),
        (&named, secrets(&[("ghcr", PullSecret::read("Opaque", |_| None))]), "ghcr.io/a/b", names("ghcr")),
        (&named, known(&[], false), "nginx", None),
        (&named, PullSecrets::unknown(), "nginx", None),
        (&discovering, secrets(&[]), "ghcr.io/a/b", Some((String::new(), true))),
    ] {
        assert_eq!(in_doubt(policy, &secrets, image), expected, "{image} with {secrets:?}");
    }
    let everywhere = "registryMirrors:\n- {name: m, endpoint: 'https://m.corp', hosts: [quay.io]}\npullSecrets: [{discover: true}]\n";
    let everywhere =
        Policy::read(&format!("apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n{everywhere}")).unwrap().policy;
    assert_eq!(in_doubt(&everywhere, &secrets(&[]), "quay.io/a/b"), Some((String::new(), true)));
}

#[test]
fn s6_one_secret_that_covers_is_enough() {
    let policy = policy("onMissingPullSecret: deny\n");
    let secrets = secrets(&[
        ("harbor-pull", config(&["harbor.corp:5000/team"])),
        ("harbor-extra", config(&["harbor.corp:5000/proxy"])),
        ("unasked", raw("not json")),
    ]);
    let (response, list) = create(&policy, &secrets, &pod(&["nginx"]));
    assert_eq!((response["allowed"].as_bool(), warnings(&response).len()), (Some(true), 0), "{response}");
    assert_eq!(list, ["harbor-extra"], "what does not cover stays out where another does");
    let uses: Value = serde_json::from_str(response["auditAnnotations"]["pull-secrets"].as_str().unwrap()).unwrap();
    assert_eq!(
        uses,
        json!([
            {"name": "harbor-pull", "registry": "harbor.corp:5000", "state": "does-not-cover"},
            {"name": "harbor-extra", "registry": "harbor.corp:5000", "state": "covers"},
        ])
    );
    // The pod's own, where it is known.
    let mut own = pod(&["nginx"]);
    own["spec"]["imagePullSecrets"] = json!([{"name": "mine"}]);
    let secrets = self::secrets(&[("mine", config(&["harbor.corp:5000"]))]);
    assert_eq!(create(&policy, &secrets, &own).0["allowed"], true);
}

#[test]
fn s6_a_listed_secret_that_the_kubelet_cannot_read_is_told_of_beside_good_ones() {
    let secrets = secrets(&[("harbor-pull", raw("{")), ("harbor-extra", config(&["harbor.corp:5000"]))]);
    let mut pod = pod(&["nginx"]);
    assert!(warnings(&create(&policy(""), &secrets, &pod).0).is_empty(), "not listed and not added: it spoils nothing");
    pod["spec"]["imagePullSecrets"] = json!([{"name": "harbor-pull"}]);
    let (response, list) = create(&policy(""), &secrets, &pod);
    assert_eq!(list, ["harbor-pull", "harbor-extra"]);
    assert!(
        warnings(&response)[0].contains("lists the pull secret harbor-pull, which is malformed in team-a"),
        "{response}"
    );
    assert_eq!(warnings(&response).len(), 1, "{response}");
    // Also one that the policy does not name, where it is known.
    let secrets = self::secrets(&[("own", raw("{")), ("harbor-pull", config(&["harbor.corp:5000"]))]);
    pod["spec"]["imagePullSecrets"] = json!([{"name": "own"}]);
    let (response, _) = create(&policy(""), &secrets, &pod);
    assert!(warnings(&response)[0].contains("lists the pull secret own, which is malformed in team-a"), "{response}");
}

#[test]
fn s5_s6_what_could_not_be_looked_up_is_added_and_never_called_missing() {
    let deny = policy("onMissingPullSecret: deny\n");
    let (response, list) = create(&deny, &known(&[], false), &pod(&["nginx"]));
    assert_eq!(
        (response["allowed"].as_bool(), &list[..]),
        (Some(true), &["harbor-pull".into(), "harbor-extra".into()][..])
    );
    let all = warnings(&response).join("\n");
    assert!(all.contains("could not be checked in team-a") && !all.contains("missing"), "{all}");
    // Without a cluster there is nobody to be warned.
    let (response, list) = create(&deny, &PullSecrets::unknown(), &pod(&["nginx"]));
    assert_eq!((response["allowed"].as_bool(), list.len(), warnings(&response).len()), (Some(true), 2, 0));
    // One that covers is enough, also beside one that nobody could look up; one that does not, beside it, is no denial.
    let some = |found: &[(&str, PullSecret)]| {
        let scope = Scope {
            names: [("harbor-pull".to_owned(), true), ("harbor-extra".to_owned(), false)].into(),
            all_docker_configs: false,
            has_cluster: true,
        };
        let secrets = found.iter().map(|(name, secret)| (Arc::from(*name), Arc::new(secret.clone()))).collect();
        PullSecrets::new(Arc::new(secrets), Arc::new(scope))
    };
    let (response, _) = create(&deny, &some(&[("harbor-pull", config(&["harbor.corp:5000"]))]), &pod(&["nginx"]));
    assert_eq!((response["allowed"].as_bool(), warnings(&response).len()), (Some(true), 0), "{response}");
    let (response, _) = create(&deny, &some(&[]), &pod(&["nginx"]));
    assert_eq!(response["allowed"], true, "{response}");
}

#[test]
fn s5_discovery_takes_every_docker_config_that_covers() {
    let discover = |more: &str| {
        let source = format!(
            "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\nregistryMirrors:\n- {{name: harbor, endpoint: \"https://harbor.corp:5000\", hosts: [docker.io]}}\n\
             pullSecrets:\n- discover: true\n{more}"
        );
        Policy::read(&source).unwrap_or_else(|faults| panic!("{faults}")).policy
    };
    let all = secrets(&[
        ("a", config(&["*.corp:5000"])),
        ("b", config(&["harbor.corp:5000/library"])),
        ("c", config(&["harbor.corp"])),
        ("d", config(&["ghcr.io"])),
        ("e", raw("{")),
    ]);
    assert_eq!(create(&discover(""), &all, &pod(&["nginx", "ghcr.io/a/b"])).1, ["a", "b", "d"]);
    // None at a mirror is told of; none elsewhere is how public registries are.
    let deny = discover("onMissingPullSecret: deny\n");
    let none = secrets(&[("c", config(&["harbor.corp"]))]);
    let (response, _) = create(&deny, &none, &pod(&["ghcr.io/a/b"]));
    assert_eq!((response["allowed"].as_bool(), warnings(&response).len()), (Some(true), 0), "{response}");
    let (response, _) = create(&deny, &none, &pod(&["nginx"]));
    assert_eq!(response["allowed"], false);
    assert!(response["status"]["message"].as_str().unwrap().contains("none in team-a covers it"), "{response}");
    let (response, _) = create(&deny, &known(&[], false), &pod(&["nginx"]));
    assert_eq!(response["allowed"], true, "nobody could look");
    assert!(warnings(&response)[0].contains("could not be looked up"), "{response}");
}

#[test]
fn s2_a_secret_that_is_named_and_discovered_is_one() {
    let source = POLICY.replace("pullSecrets:\n  - name: cache", "pullSecrets:\n  - discover: true\n  - name: cache");
    let policy = Policy::read(&source).unwrap_or_else(|faults| panic!("{faults}")).policy;
    let body = review("CREATE", "", &pod(&["nginx", "busybox"]), &Value::Null).to_string();
    let request = Request::parse(&body).unwrap();
    let plan = plan(&request, &policy, &served());
    let uses: Vec<_> = plan.pull_secrets.uses.iter().map(|it| (&*it.name, &it.images[..])).collect();
    assert_eq!(uses[0], ("harbor-pull", &[0, 1][..]), "{uses:?}");
    assert_eq!(uses.iter().filter(|(name, _)| *name == "harbor-pull").count(), 1, "{uses:?}");
}

#[test]
fn u2_u3_a_stored_pod_gets_a_warning_alone() {
    let policy = policy("onMissingPullSecret: deny\n");
    let mut old = pod(&["registry.k8s.io/pause"]);
    let new = pod(&["nginx"]);
    let mut debugged = old.clone();
    debugged["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "busybox"}]);
    for (sub_resource, after) in [("", &new), ("ephemeralcontainers", &debugged)] {
        let response = answer(Mode::Enforce, &policy, &served(), &review("UPDATE", sub_resource, after, &old));
        assert_eq!(response["allowed"], true, "{response}");
        assert!(!patch(&response).to_string().contains("imagePullSecrets"), "trap 10: {response}");
        let all = warnings(&response);
        assert!(all.len() == 1 && all[0].contains("the pod has no pull secret for harbor.corp:5000"), "{all:?}");
        assert!(all[0].ends_with("gets harbor-pull"), "{all:?}");
        // With the secret there is nothing to say; nor with one that nobody knows.
        for list in [json!([{"name": "harbor-pull"}]), json!([{"name": "harbor-pull"}, {"name": "x"}])] {
            let mut after = after.clone();
            after["spec"]["imagePullSecrets"] = list.clone();
            old["spec"]["imagePullSecrets"] = list;
            let response = answer(Mode::Enforce, &policy, &served(), &review("UPDATE", sub_resource, &after, &old));
            assert!(warnings(&response).is_empty(), "{response}");
        }
    }
    // One that nobody knows may serve.
    let mut unknown = new.clone();
    unknown["spec"]["imagePullSecrets"] = json!([{"name": "mine"}]);
    let scope =
        Scope { names: [("harbor-pull".to_owned(), true)].into(), all_docker_configs: false, has_cluster: true };
    let named = PullSecrets::new(Arc::default(), Arc::new(scope));
    let response = answer(Mode::Enforce, &policy, &named, &review("UPDATE", "", &unknown, &old));
    assert!(warnings(&response).is_empty(), "{response}");
    // What the update does not change is not looked at.
    let response = answer(Mode::Enforce, &policy, &served(), &review("UPDATE", "", &new, &new));
    assert!(warnings(&response).is_empty() && response.get("patch").is_none(), "{response}");
}

/// What the pod brings may serve, and nobody watches it: then nothing is certain.
#[test]
fn s6_a_secret_of_the_pod_s_that_nobody_watches_may_serve() {
    let scope = Scope {
        names: [("harbor-pull".to_owned(), true), ("harbor-extra".to_owned(), true)].into(),
        all_docker_configs: false,
        has_cluster: true,
    };
    let secrets = PullSecrets::new(Arc::default(), Arc::new(scope));
    let mut own = pod(&["nginx"]);
    own["spec"]["imagePullSecrets"] = json!([{"name": "mine"}]);
    let (response, _) = create(&policy("onMissingPullSecret: deny\n"), &secrets, &own);
    assert_eq!(response["allowed"], true, "{response}");
    assert!(
        warnings(&response)[0].contains("is known, and the pod's own are not watched: harbor-pull is missing"),
        "{response}"
    );
    let (response, _) = create(&policy("onMissingPullSecret: deny\n"), &secrets, &pod(&["nginx"]));
    assert_eq!(response["allowed"], false, "{response}");
}

/// S1: what counts is what is pulled from, rewritten or not.
#[test]
fn s1_an_image_at_the_mirror_is_checked_as_one_that_is_rewritten() {
    let source = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\nregistryMirrors:\n\
        - {name: harbor, endpoint: \"https://harbor.corp:5000\", hosts: [docker.io]}\n\
        pullSecrets:\n- {discover: true}\nonMissingPullSecret: deny\n";
    let policy = Policy::read(source).unwrap_or_else(|faults| panic!("{faults}")).policy;
    let named = source.replace("true}", "true, registries: [ghcr.io]}");
    let named = Policy::read(&named).unwrap_or_else(|faults| panic!("{faults}")).policy;
    for (policy, image, allowed) in [
        (&policy, "nginx", false),
        (&policy, "harbor.corp:5000/a/b", false),
        (&policy, "ghcr.io/a/b", true),
        (&named, "ghcr.io/a/b", false),
        (&named, "nginx", true),
    ] {
        let (response, _) = create(policy, &secrets(&[]), &pod(&[image]));
        assert_eq!(response["allowed"], allowed, "{image}: {response}");
    }
    // A stored pod is not told of what no new one would get, either.
    let response = answer(
        Mode::Enforce,
        &policy,
        &secrets(&[]),
        &review("UPDATE", "", &pod(&["registry.k8s.io/pause"]), &pod(&["registry.k8s.io/old"])),
    );
    assert!(warnings(&response).is_empty(), "{response}");
}

/// Each line of a denial, and each cause, tells of its own image, and the command has the letters that the kubelet compares.
#[test]
fn s6_a1_a_cause_names_its_own_image_and_registry() {
    let policy = policy("onMissingPullSecret: deny\n");
    let secrets = secrets(&[("ghcr", config(&["ghcr.io/team"]))]);
    let (response, _) = create(&policy, &secrets, &pod(&["ghcr.io/x/a", "ghcr.io/y/b"]));
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("2 faults stand against this pod\n"), "{message}");
    for (field, image) in [("spec.containers[0].image", "ghcr.io/x/a"), ("spec.containers[1].image", "ghcr.io/y/b")] {
        let line = message.lines().find(|line| line.starts_with(field)).unwrap();
        assert!(line.contains(&format!("does not cover {image},")), "{line}");
    }
    let (response, _) = create(&policy, &self::secrets(&[]), &pod(&["GHCR.io/x/a"]));
    assert!(response["status"]["message"].as_str().unwrap().contains("--docker-server=GHCR.io "), "{response}");
    let ipv6 = Policy::read(
        "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\npullSecrets:\n- {name: ghcr, registries: [\"[fd00::1]:5000\"]}\n",
    );
    let (response, _) = create(&ipv6.unwrap().policy, &self::secrets(&[]), &pod(&["[fd00::1]:5000/x/a"]));
    assert!(warnings(&response)[0].contains("--docker-server='[fd00::1]:5000' "), "{response}");
}

#[test]
fn u2_a_stored_pod_is_told_what_is_wrong_with_the_secret_that_it_lists() {
    let policy = policy("");
    let with = |image: &str, list: Value| {
        let mut pod = pod(&[image]);
        pod["spec"]["imagePullSecrets"] = list;
        pod
    };
    let told = |found: &[(&str, PullSecret)], list: Value| {
        let (old, new) = (with("registry.k8s.io/pause", list.clone()), with("nginx", list));
        let response = answer(Mode::Enforce, &policy, &secrets(found), &review("UPDATE", "", &new, &old));
        warnings(&response).join("\n")
    };
    let listed = json!([{"name": "harbor-pull"}]);
    let uncovered = told(&[("harbor-pull", config(&["harbor.corp"]))], listed.clone());
    assert!(
        uncovered.contains("harbor-pull in team-a does not cover") && uncovered.contains("delete secret"),
        "{uncovered}"
    );
    let missing = told(&[], json!([]));
    assert!(missing.contains("harbor-pull is missing in team-a") && !missing.contains("anew"), "{missing}");
    let spoiled = told(
        &[("harbor-pull", raw("{")), ("harbor-extra", config(&["harbor.corp:5000"]))],
        json!([{"name": "harbor-pull"}, {"name": "harbor-extra"}]),
    );
    assert!(spoiled.contains("the pod lists the pull secret harbor-pull, which is malformed"), "{spoiled}");
    let there = told(&[("harbor-extra", config(&["harbor.corp:5000"]))], json!([]));
    assert!(there.contains("anew in enforce mode gets harbor-extra") && !there.contains("harbor-pull"), "{there}");
}

/// A pod's author writes both lists, and fills the namespace.
#[test]
fn many_images_and_many_secrets_hold_nobody_up() {
    let source = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\npullSecrets:\n- discover: true\n- {name: a, registries: [\"*\"]}\n";
    let policy = Policy::read(source).unwrap().policy;
    let names: Vec<String> = (0..2_000).map(|number| format!("s{number}")).collect();
    let found: Vec<(&str, PullSecret)> = names.iter().map(|name| (name.as_str(), config(&["docker.io"]))).collect();
    let images: Vec<String> = (0..20_000).map(|number| format!("a/b{number}")).collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let mut pod = pod(&images);
    for secrets in [secrets(&found), secrets(&[])] {
        for list in [0, 20_000] {
            let list: Vec<Value> = (0..list).map(|number| json!({"name": format!("s{number}")})).collect();
            pod["spec"]["imagePullSecrets"] = json!(list);
            let started = std::time::Instant::now();
            let (response, _) = create(&policy, &secrets, &pod);
            assert_eq!(response["allowed"], true);
            assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
        }
    }
    pod["spec"]["imagePullSecrets"] = json!([]);
    let (response, _) = create(&policy, &secrets(&found), &pod);
    assert!(warnings(&response).join("\n").contains("were not checked to the end"), "{:?}", warnings(&response));
}

#[test]
fn a6_a_namespace_and_a_registry_cannot_forge_a_line() {
    let mut forged = review("CREATE", "", &pod(&["nginx"]), &Value::Null);
    forged["request"]["namespace"] = json!("a\n\u{1b}[31mb");
    let response = answer(Mode::Enforce, &policy(""), &secrets(&[]), &forged);
    assert!(warnings(&response).iter().all(|warning| !warning.contains(['\n', '\u{1b}'])), "{response}");
}

/// A pod that gets a secret alone is patched as well; the metrics say so, and count the state of each secret.
#[test]
fn s6_a_review_is_counted_by_what_it_changes() {
    let loaded = Arc::new(LoadedPolicy::new(policy(""), POLICY, 1));
    let (_sender, in_force) = tokio::sync::watch::channel(Some(loaded));
    let app = App::new(Arc::new(Metrics::new()), in_force, Arc::default(), None);
    let body = review("CREATE", "", &pod(&["harbor.corp:5000/a/b"]), &Value::Null).to_string();
    let answered = handler::review(&app, Mode::Enforce, body.as_bytes(), in_ten_seconds());
    assert!(answered.now_or_never().unwrap().is_ok());
    let metrics = app.metrics().encode();
    for line in [
        r#"mirrorgate_admission_requests_total{mode="enforce",operation="CREATE",result="patched"} 1"#,
        r#"mirrorgate_pull_secrets_total{state="unknown"} 2"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn many_registries_in_one_pod_are_planned_in_linear_time() {
    let policy = Policy::read("apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\npullSecrets:\n- {name: a, registries: [\"*\"]}\n- {name: b, registries: [\"*\"]}\n").unwrap().policy;
    let images: Vec<String> = (0..20_000).map(|number| format!("r{number}.io/a/b")).collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let started = std::time::Instant::now();
    let (response, list) = create(&policy, &PullSecrets::unknown(), &pod(&images));
    assert_eq!((response["allowed"].as_bool(), &list[..]), (Some(true), &["a".to_owned(), "b".to_owned()][..]));
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
