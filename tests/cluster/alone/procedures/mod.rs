//! The procedures of systems that are there already, as their guides in `docs/` tell them: each command as it stands there.

mod additional_trusted_cas;
mod image_fetcher_ca_bundle;
mod registry_ca_from_secret;
mod registry_mirrors;

use std::fs;

use crate::guide::Guide;
use crate::lab::{Lab, kubectl, until};
use crate::mirrorgate::{in_force, metric};

/// The namespace of the guides.
const NAMESPACE: &str = "team-a";

/// Makes it, enforced and with nothing in it.
pub(super) async fn namespace(lab: &Lab) {
    kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found"]).success();
    kubectl(&["create", "namespace", NAMESPACE]).success();
    lab.label(NAMESPACE, Some("enforce")).await;
    lab.default_account(NAMESPACE).await;
}

/// The policy that the guide has just applied is in force.
async fn policy_in_force(guide: &Guide) {
    in_force(&fs::read_to_string(guide.folder().join("policy.yaml")).unwrap()).await;
}

/// So many bundles are not in force.
async fn bundle_errors(wanted: f64) {
    let now = async || (metric("mirrorgate_ca_bundle_errors", "").await == wanted).then_some(());
    until("the bundles that are not in force", 5, now).await;
}

/// Waits for an Event on the policy of this reason, which says this, and gives its line.
async fn event(reason: &str, words: &str) -> String {
    until(&format!("{reason}: {words}"), 10, async || {
        let events = kubectl(&["-n", "mirrorgate-system", "events", "--for", "configmap/mirrorgate-policy"]).success();
        let line = events.out.lines().rfind(|line| line.contains(reason) && line.contains(words));
        line.map(str::to_owned)
    })
    .await
}
