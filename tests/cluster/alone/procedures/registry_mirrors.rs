//! docs/registry-mirrors.md: a project of a registry as mirror, with its CA, its credentials and its hosts, and what becomes
//! of pods while it is down (M11).

use std::fs;

use serde_json::Value;

use super::{NAMESPACE, namespace, policy_in_force};
use crate::guide::Guide;
use crate::lab::{Lab, Printed, kubectl, until};
use crate::mirrorgate::under;
use crate::pods::{images, pod};
use crate::registry::{Authority, Registry};

const HOST: &str = "harbor.corp";
const PORT: u16 = 5000;
const RUN: &str = "kubectl -n team-a run web --image=nginx:1.27 --dry-run=server -o jsonpath='{.spec.containers[0].image} {.spec.imagePullSecrets}'";
const MIRRORED: &str = "harbor.corp:5000/proxy/library/nginx:1.27";

#[tokio::test]
async fn m11_a_mirror_with_its_ca_credentials_and_hosts_and_the_source_while_it_is_down() {
    let lab = Lab::alone().await;
    namespace(&lab).await;
    let authority = Authority::new("Harbor CA");
    let serving = authority.serving(&[HOST]);
    let registry = Registry::start(HOST, PORT, &serving);

    let mut guide = Guide::open("registry-mirrors.md");
    guide.has("ca.crt", &authority.pem);
    guide.run();
    policy_in_force(&guide).await;
    guide.run();
    let made = until("the label", 5, async || {
        let said = guide.console(RUN).success();
        (said.err.is_empty() && said.out.starts_with(MIRRORED)).then_some(said)
    })
    .await;
    guide.shows(&made.out);
    let probed = guide.run();
    assert!(probed.out.contains("trusted") && probed.out.contains("Harbor CA"), "{probed:?}");
    let policy = fs::read_to_string(guide.folder().join("policy.yaml")).unwrap();
    guide.end();
    // Hosts that the mirror does not list stay as they are.
    let other = lab.dry_run(NAMESPACE, pod(&["ghcr.io/acme/app:1"])).await.unwrap();
    assert_eq!(images(&other), ["ghcr.io/acme/app:1"]);

    // Down: the source is kept, with a warning that says so. Up again: so is the mirror. In seconds, not minutes.
    let quick = policy.replace("{trusted: 30s}", "{trusted: 1s, untrusted: 1s, unreachable: 1s}");
    assert_ne!(quick, policy);
    under(&lab, &quick).await;
    let nginx = pod(&["nginx:1.27"]);
    let becomes = async |nginx: &Value| Some(images(&lab.dry_run(NAMESPACE, nginx.clone()).await.ok()?)[0].to_owned());
    until("the mirror", 5, async || (becomes(&nginx).await? == MIRRORED).then_some(())).await;
    drop(registry);
    until("the source", 10, async || (becomes(&nginx).await? == "nginx:1.27").then_some(())).await;
    let said = dry_run().success();
    assert!(said.err.contains("Warning: mirrorgate: ") && said.err.contains("harbor"), "{said:?}");
    let registry = Registry::start(HOST, PORT, &serving);
    until("the mirror again", 10, async || (becomes(&nginx).await? == MIRRORED).then_some(())).await;

    // Where the policy does not allow that, the mirror is kept, up or down; and refused where unreachable means that.
    let strict = quick.replace("AllowContactingSource ", "NeverContactSource ");
    assert_ne!(strict, quick);
    under(&lab, &strict).await;
    drop(registry);
    until("a warning", 10, async || {
        let said = dry_run().success();
        assert!(said.out.contains(&format!("image: {MIRRORED}\n")), "{said:?}");
        said.err.contains("(refused)").then_some(())
    })
    .await;
    let denying = format!("{strict}trust: {{onUnreachable: deny}}\n");
    under(&lab, &denying).await;
    let denied = until("a denial", 10, async || lab.dry_run(NAMESPACE, nginx.clone()).await.err()).await;
    assert!(denied.contains("harbor.corp:5000") && denied.contains("(refused)"), "{denied}");

    // Untrusted is not down: the source is no way out.
    let _registry = Registry::start(HOST, PORT, &Authority::new("Another CA").serving(&[HOST]));
    under(&lab, &quick).await;
    let refused = until("a refusal", 10, async || {
        lab.dry_run(NAMESPACE, nginx.clone()).await.err().filter(|refused| refused.contains("unknown-authority"))
    })
    .await;
    assert!(refused.contains("Another CA") && refused.contains("harbor"), "{refused}");
}

fn dry_run() -> Printed {
    kubectl(&["-n", NAMESPACE, "run", "web", "--image=nginx:1.27", "--dry-run=server", "-o", "yaml"])
}
