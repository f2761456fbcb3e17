//! `manifests/chart/files` are the manifests that kustomize takes, so that the chart is whole by itself and says the same. What helm makes
//! of them is shown by `tests/manifests`.

use std::collections::BTreeSet;
use std::path::Path;

use mirrorgate::yaml::{Limits, parse_documents};

/// What the chart is made of, by where it comes from.
const COPIED: [(&str, &[&str]); 3] = [
    (
        "base",
        &[
            "ca-bundle.yaml",
            "deployment.yaml",
            "disruption.yaml",
            "network-policy.yaml",
            "opt-in-label.yaml",
            "policy-guard.yaml",
            "policy.yaml",
            "rbac.yaml",
            "service.yaml",
            "webhook.yaml",
        ],
    ),
    ("components/cert-manager", &["certificate.yaml"]),
    ("components/monitoring", &["dashboard.json", "rules.yaml", "service-monitor.yaml"]),
];

/// What of them the chart makes by itself: the namespace is helm's, the access follows the policy.
const NOT_COPIED: [&str; 3] = ["kustomization.yaml", "namespace.yaml", "pull-secrets.yaml"];

#[test]
fn the_files_of_the_chart_are_the_manifests() {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let files = manifests.join("chart/files");
    let mut expected = BTreeSet::new();
    for (folder, names) in COPIED {
        for name in names {
            let source = std::fs::read(manifests.join(folder).join(name)).unwrap();
            let copy = files.join(name);
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&copy, &source).unwrap();
            }
            let same = std::fs::read(&copy).is_ok_and(|copied| copied == source);
            assert!(
                same,
                "manifests/chart/files/{name} is not manifests/{folder}/{name}: UPDATE=1 cargo test --test it chart"
            );
            expected.insert((*name).to_owned());
        }
        for entry in std::fs::read_dir(manifests.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let known = expected.contains(&name) || NOT_COPIED.contains(&&*name);
            assert!(
                known,
                "manifests/{folder}/{name} is new: the chart needs it (COPIED here, and a template), or does not (NOT_COPIED)"
            );
        }
    }
    let there = std::fs::read_dir(files).unwrap();
    let there: BTreeSet<String> = there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, expected);
}

#[test]
fn the_chart_is_of_our_version() {
    let read = |path: &str| {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        parse_documents(&text, Limits::MANIFEST).unwrap()[0].to_json()
    };
    let chart = read("manifests/chart/Chart.yaml");
    assert_eq!(
        (&chart["version"], &chart["appVersion"]),
        (&env!("CARGO_PKG_VERSION").into(), &env!("CARGO_PKG_VERSION").into())
    );
    assert_eq!(read("manifests/base/kustomization.yaml")["images"][0]["newTag"], env!("CARGO_PKG_VERSION"));
}
