//! The policy ConfigMap, edited while the webhook runs (trap 28).

use std::cell::Cell;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams};

use crate::lab::{Lab, kubectl, until};
use crate::mirrorgate::{
    NAMESPACE, POLICY, edit_policy, metric, policy_in_force, policy_with_mirror, ready, sha256, without_guard,
};
use crate::pods::{images, pod};

const BROKEN: &str = "apiVersion: mirrorgate.dev/v1alpha1
kind: Policy
registryMirrors:
- name: broken
  endpoint: https://broken.test
  hosts: [docker.io, quay.io]
  nosuchkey: 1
ignore:
  images: 7
";

#[tokio::test]
async fn an_edit_is_in_force_within_a_second() {
    let lab = Lab::alone().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let config_maps = Api::<ConfigMap>::namespaced(lab.client.clone(), NAMESPACE);
    for n in 0..10 {
        let host = format!("mirror-{n}.test");
        let policy = policy_with_mirror(&host);
        edit_policy(&config_maps, &policy).await.unwrap();
        let edited = Instant::now();
        until("the policy", 5, async || (policy_in_force().await == sha256(&policy)).then_some(())).await;
        assert!(edited.elapsed() < Duration::from_secs(1), "{:?}", edited.elapsed());
        let made = lab.create(&namespace, pod(&["nginx:1.27"])).await.unwrap();
        assert_eq!(images(&made), [format!("{host}/library/nginx:1.27")]);
    }
}

#[tokio::test]
async fn trap_28_a_broken_edit_leaves_the_last_good_policy_in_force_and_says_so() {
    let lab = Lab::alone().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let config_maps = Api::<ConfigMap>::namespaced(lab.client.clone(), NAMESPACE);
    without_guard(&config_maps).await;
    let good = policy_with_mirror("good.test");
    edit_policy(&config_maps, &good).await.unwrap();
    until("the good policy", 5, async || (policy_in_force().await == sha256(&good)).then_some(())).await;
    assert_eq!(metric("mirrorgate_policy_errors", "").await, 0.0);

    edit_policy(&config_maps, BROKEN).await.unwrap();
    until("the metric", 5, async || (metric("mirrorgate_policy_errors", "").await == 2.0).then_some(())).await;
    still_good(&lab, &namespace, &good).await;
    let note = event(&lab, "PolicyInvalid").await;
    assert!(note.contains("line 7") && note.contains("nosuchkey") && note.contains("line 9"), "{note}");
    for show in [["describe", "configmap", POLICY], ["events", "--for", "configmap/mirrorgate-policy"]] {
        let shown = kubectl(&[&["-n", NAMESPACE], &show[..]].concat()).success().out;
        assert!(shown.contains("PolicyInvalid") && shown.contains("line 7"), "{shown}");
    }

    // The key is gone.
    config_maps
        .patch(
            POLICY,
            &Default::default(),
            &kube::api::Patch::Merge(serde_json::json!({"data": {"policy.yaml": null, "other": "1"}})),
        )
        .await
        .unwrap();
    until("the metric", 5, async || (metric("mirrorgate_policy_errors", "").await == 1.0).then_some(())).await;
    still_good(&lab, &namespace, &good).await;

    // Mended.
    let mended = policy_with_mirror("mended.test");
    edit_policy(&config_maps, &mended).await.unwrap();
    until("the mended policy", 5, async || (policy_in_force().await == sha256(&mended)).then_some(())).await;
    assert_eq!(metric("mirrorgate_policy_errors", "").await, 0.0);
    assert_eq!(lab_image(&lab, &namespace).await, "mended.test/library/nginx:1.27");
}

#[tokio::test]
async fn trap_28_a_deleted_config_map_leaves_the_last_good_policy_in_force_and_says_so() {
    let lab = Lab::alone().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let config_maps = Api::<ConfigMap>::namespaced(lab.client.clone(), NAMESPACE);
    let good = policy_with_mirror("good.test");
    edit_policy(&config_maps, &good).await.unwrap();
    until("the good policy", 5, async || (policy_in_force().await == sha256(&good)).then_some(())).await;

    config_maps.delete(POLICY, &DeleteParams::default()).await.unwrap();
    until("the metric", 5, async || (metric("mirrorgate_policy_errors", "").await > 0.0).then_some(())).await;
    still_good(&lab, &namespace, &good).await;
    let note = event(&lab, "PolicyMissing").await;
    assert!(note.contains(POLICY), "{note}");

    let again = policy_with_mirror("again.test");
    edit_policy(&config_maps, &again).await.unwrap();
    until("the new policy", 5, async || (policy_in_force().await == sha256(&again)).then_some(())).await;
    assert_eq!(lab_image(&lab, &namespace).await, "again.test/library/nginx:1.27");
}

#[tokio::test]
async fn trap_28_no_pod_is_decided_by_a_half_or_a_broken_policy() {
    let lab = Lab::alone().await;
    let namespace = lab.namespace(Some("enforce")).await;
    let config_maps = Api::<ConfigMap>::namespaced(lab.client.clone(), NAMESPACE);
    without_guard(&config_maps).await;
    let valid = ["first.test", "second.test"].map(|host| (host, policy_with_mirror(host)));
    edit_policy(&config_maps, &valid[1].1).await.unwrap();
    until("the first policy", 5, async || (policy_in_force().await == sha256(&valid[1].1)).then_some(())).await;

    let done = Cell::new(false);
    let edits = async {
        let mut good = 0;
        for n in 1..=100 {
            if n % 3 == 0 {
                // Different each time: cut off, of the wrong type, with an unknown key.
                let broken = match n % 4 {
                    0 => BROKEN.to_owned(),
                    1 => format!("# {n}\n{}", &valid[0].1[..valid[0].1.len() - 12]),
                    2 => valid[0].1.replace("hosts: [docker.io, quay.io]", "hosts: docker.io"),
                    _ => format!("{}{}", valid[0].1.replace("first.test", "third.test"), "extra: true\n"),
                };
                edit_policy(&config_maps, &broken).await.unwrap();
                let seen = async || (metric("mirrorgate_policy_errors", "").await > 0.0).then_some(());
                until("the broken edit to be seen", 5, seen).await;
            } else {
                good += 1;
                let policy = &valid[good % 2].1;
                edit_policy(&config_maps, policy).await.unwrap();
                until("the edit", 5, async || (policy_in_force().await == sha256(policy)).then_some(())).await;
            }
        }
        done.set(true);
    };
    let creations = async || {
        let mut seen = [0, 0];
        while !done.get() {
            let made = lab.create(&namespace, pod(&["nginx:1", "quay.io/acme/app:1", "redis:7"])).await.unwrap();
            let wanted = |host: &str| {
                [format!("{host}/library/nginx:1"), format!("{host}/acme/app:1"), format!("{host}/library/redis:7")]
            };
            match valid.iter().position(|(host, _)| images(&made) == wanted(host)) {
                Some(policy) => seen[policy] += 1,
                None => panic!("decided by no valid policy: {:?}", images(&made)),
            }
        }
        seen
    };
    let ((), first, second) = tokio::join!(edits, creations(), creations());
    let seen = [first[0] + second[0], first[1] + second[1]];
    assert!(seen.iter().all(|pods| *pods >= 20), "too few pods to say anything: {seen:?}");
    assert!(ready().await.is_ok());
}

async fn lab_image(lab: &Lab, namespace: &str) -> String {
    let made = lab.create(namespace, pod(&["nginx:1.27"])).await.unwrap();
    images(&made)[0].to_owned()
}

async fn still_good(lab: &Lab, namespace: &str, good: &str) {
    assert_eq!(policy_in_force().await, sha256(good));
    assert_eq!(lab_image(lab, namespace).await, "good.test/library/nginx:1.27");
    assert!(ready().await.is_ok());
}

/// The note of the newest Event of this reason on the policy ConfigMap.
async fn event(lab: &Lab, reason: &str) -> String {
    let events = Api::<Event>::namespaced(lab.client.clone(), NAMESPACE);
    until("the Event", 5, async || {
        let mut found = events.list(&ListParams::default()).await.unwrap().items;
        found.retain(|event| {
            let regarding = event.regarding.as_ref();
            event.reason.as_deref() == Some(reason)
                && regarding.is_some_and(|object| {
                    (object.kind.as_deref(), object.name.as_deref()) == (Some("ConfigMap"), Some(POLICY))
                })
        });
        found.sort_by(|a, b| a.event_time.cmp(&b.event_time));
        found.pop()?.note
    })
    .await
}
