//! `Containerfile`, from which `image/build` reads, too: what it says twice is the same.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn its_labels_are_those_of_the_package() {
    let file = read("Containerfile");
    for (name, value) in [
        ("title", env!("CARGO_PKG_NAME")),
        ("description", env!("CARGO_PKG_DESCRIPTION")),
        ("version", env!("CARGO_PKG_VERSION")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
    ] {
        let line = format!("LABEL org.opencontainers.image.{name}=\"{value}\"");
        assert!(file.lines().any(|label| label == line), "{line}");
    }
    let rust = format!("FROM docker.io/library/rust:{}-alpine AS build", env!("CARGO_PKG_RUST_VERSION"));
    assert!(file.lines().any(|line| line == rust), "{rust}");
}

#[test]
fn its_user_and_ports_are_those_of_the_deployment() {
    let (file, deployment) = (read("Containerfile"), read("manifests/base/deployment.yaml"));
    let user = file.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    let (user, group) = user.split_once(':').unwrap();
    assert!(deployment.contains(&format!("runAsUser: {user}\n")), "{user}");
    assert!(deployment.contains(&format!("runAsGroup: {group}\n")), "{group}");
    let ports = file.lines().find_map(|line| line.strip_prefix("EXPOSE ")).unwrap();
    assert_eq!(ports.split(' ').count(), deployment.matches("containerPort: ").count());
    for port in ports.split(' ') {
        assert!(deployment.contains(&format!("containerPort: {port}}}")), "{port}");
    }
}
