//! From nothing to nothing: install, opt in, run, uninstall.

use crate::installed::{Installed, comes_up, deployment, policy, uninstall};
use crate::lab::{MODE, kubectl, until};
use crate::mirrorgate::NAMESPACE;
use crate::node::{REGISTRY, SECRET, make_secret, push};
use crate::pods::{images, named_pod, original_images};

#[tokio::test]
async fn installed_a_namespace_opts_in_and_runs_from_the_mirror_and_uninstalled_nothing_is_left() {
    let installed = Installed::anew(&policy()).await;
    let lab = &installed.lab;

    let namespace = lab.namespace(None).await;
    make_secret(&namespace, SECRET, REGISTRY);
    kubectl(&["label", "namespace", &namespace, &format!("{MODE}=enforce")]).success();
    let image = format!("docker.io/acme/{namespace}:1");
    let mirrored = push(&image);
    opted_in(&installed, &namespace).await;
    comes_up(&namespace, &deployment("web", &image, 2));
    let pods = lab.pods(&namespace).list(&Default::default()).await.unwrap().items;
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        assert_eq!(images(pod), [&mirrored]);
        assert_eq!(original_images(pod), crate::pods::originals([("app", &image)]));
        let secrets = pod.spec.as_ref().unwrap().image_pull_secrets.as_ref().unwrap();
        assert_eq!(secrets.iter().map(|secret| secret.name.as_str()).collect::<Vec<_>>(), [SECRET]);
    }

    assert!(ours().len() > 10, "{:?}", ours());
    uninstall().success();
    let left = ours();
    assert!(left.is_empty(), "{left:?}");
    // The namespace that is still labelled is held up by nothing, and its pods are as their author wrote them.
    lab.create(&namespace, named_pod("after", &["docker.io/acme/any:1"])).await.unwrap();
    let after = lab.pods(&namespace).get("after").await.unwrap();
    assert_eq!(images(&after), ["docker.io/acme/any:1"]);
    assert_eq!(original_images(&after), None);
}

/// The webhook is asked about pods of the namespace.
async fn opted_in(installed: &Installed, namespace: &str) {
    let pod = named_pod("any", &["docker.io/acme/any:1"]);
    until("the namespace's pods to be rewritten", 10, async || {
        let made = installed.lab.dry_run(namespace, pod.clone()).await.unwrap();
        original_images(&made).map(|_| ())
    })
    .await;
}

/// Every object of the cluster, of whatever kind, with a name of ours or in a namespace of ours.
fn ours() -> Vec<String> {
    let kinds = kubectl(&["api-resources", "--verbs=list", "-o", "name"]).success().out;
    let kinds: Vec<&str> = kinds.lines().collect();
    let columns = "custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name";
    let listed = kubectl(&["get", &kinds.join(","), "--all-namespaces", "--no-headers", "-o", columns]).success().out;
    assert!(listed.contains("ServiceAccount"), "{listed}");
    listed.lines().filter(|line| line.contains("mirrorgate") || line.contains(NAMESPACE)).map(str::to_owned).collect()
}
