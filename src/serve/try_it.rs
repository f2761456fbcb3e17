//! A line to paste into a shell, whose answer is a patch.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::image::Reference;
use crate::policy::{Policy, Route};

/// Tried in this order: the first that the policy mirrors is in the line.
const IMAGES: [&str; 5] = [
    "nginx:1.27",
    "quay.io/prometheus/prometheus:v3.1.0",
    "ghcr.io/stefanprodan/podinfo:6.7.1",
    "registry.k8s.io/pause:3.10",
    "gcr.io/distroless/static:latest",
];

/// The whole text: a word of what it is, and the command on a line of its own.
pub(super) fn line(authority: &Path, https: SocketAddr, policy: &Policy) -> String {
    let port = https.port();
    let resolve = match https.ip() {
        ip if ip.is_unspecified() || ip.is_loopback() => String::new(),
        IpAddr::V4(ip) => format!(" --resolve localhost:{port}:{ip}"),
        IpAddr::V6(ip) => format!(" --resolve localhost:{port}:[{ip}]"),
    };
    let review = serde_json::json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "try-it",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "namespace": "default",
            "object": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "web"},
                "spec": {"containers": [{"name": "web", "image": image(policy)}]},
            },
        },
    });
    format!(
        "\nTry it, from another terminal:\n\ncurl --cacert {}{resolve} -H 'Content-Type: application/json' \
         https://localhost:{port}/v1/mutate/enforce -d '{review}'\n",
        quoted(&authority.display().to_string()),
    )
}

fn image(policy: &Policy) -> &'static str {
    let mirrored = |image: &&&str| {
        let route = Reference::parse(image).map(|reference| policy.route(&reference));
        matches!(route, Ok(Route::Mirrored { .. })) && !policy.ignores_text(image)
    };
    IMAGES.iter().find(mirrored).unwrap_or(&IMAGES[0])
}

/// One word for the shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_one_word_of_the_shell() {
        assert_eq!(quoted("/tmp/a/ca.crt"), "/tmp/a/ca.crt");
        assert_eq!(quoted("/tmp/it's mine/ca.crt"), r"'/tmp/it'\''s mine/ca.crt'");
    }
}
