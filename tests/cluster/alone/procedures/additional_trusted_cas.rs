//! `additionalTrustedCAs`: a CA is added by its name, rotated and removed, and nothing is restarted.

use super::{namespace, policy_in_force};
use crate::guide::Guide;
use crate::lab::Lab;
use crate::mirrorgate;
use crate::registry::{Authority, Registry};

const POD: &str = "kubectl -n team-a run web --image=harbor.corp:5000/app:1 --dry-run=server";

#[tokio::test]
async fn a_ca_is_added_rotated_and_removed_by_its_name() {
    let lab = Lab::alone().await;
    namespace(&lab).await;
    let process = mirrorgate::process();
    let [old, new] = ["Corp Root 2026", "Corp Root 2027"].map(Authority::new);
    let [of_old, of_new] = [&old, &new].map(|authority| authority.serving(&["harbor.corp"]));
    let harbor = Registry::start("harbor.corp", 5000, &of_old);
    let mut guide = Guide::open("additional-trusted-cas.md");
    guide.has("corp-root-2026.crt", &old.pem);
    guide.has("corp-root-2027.crt", &new.pem);

    guide.run();
    policy_in_force(&guide).await;
    let refused = guide.console(POD);
    assert!(!refused.ok, "{refused:?}");
    guide.shows(&refused.err);
    assert!(harbor.dialled() > 0);

    // Added, and both for a while.
    guide.run();
    policy_in_force(&guide).await;
    guide.shows(&guide.console(POD).success().out);
    guide.run();
    policy_in_force(&guide).await;
    guide.console(POD).success();
    harbor.present(&of_new);
    let probed = guide.run();
    assert!(probed.out.contains("Corp Root 2027"), "{probed:?}");
    guide.console(POD).success();

    // Only the new one, whichever certificate the registry has.
    guide.run();
    policy_in_force(&guide).await;
    guide.console(POD).success();
    guide.run();
    policy_in_force(&guide).await;
    let removed = guide.console(POD);
    assert!(!removed.ok && removed.err.contains("harbor.corp:5000"), "{removed:?}");
    guide.end();
    assert_eq!(mirrorgate::process(), process, "it was restarted");
}
