//! `mirrorgate review --probe` and `mirrorgate explain --probe`, the real binary, against registries on the loopback range:
//! a mirror's endpoint may be such an address.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::authority::Authority;
use super::registry::{Listening, good};

/// A folder with a policy and manifests.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Off the threads of the registries' runtime.
    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mirrorgate"));
        command.args(arguments).current_dir(self.path());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn json(&self, arguments: &[&str], code: i32) -> Vec<Value> {
        let output = self.run(&[arguments, &["-o", "json"]].concat()).await;
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn text(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments).await;
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

const REVIEW: [&str; 5] = ["review", "--policy", "policy.yaml", "-f", "manifests.yaml"];

fn pods(images: &[&str]) -> String {
    let pod = |(number, image): (usize, &&str)| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: pod-{number}}}\nspec:\n  containers:\n  - {{name: app, image: {image}}}\n"
        )
    };
    images.iter().enumerate().map(pod).collect()
}

/// Mirrors for docker.io, quay.io, ghcr.io, .. at these registries; more lines are of the first mirror.
fn policy(mirrors: &[&Listening], more: &str) -> String {
    let hosts = ["docker.io", "quay.io", "ghcr.io"];
    let mut policy = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\nregistryMirrors:\n".to_owned();
    for (host, mirror) in hosts.iter().zip(mirrors) {
        policy += &format!("- name: for-{host}\n  endpoint: https://{}\n  hosts: [{host}]\n", mirror.address);
        policy += if *host == "docker.io" { more } else { "" };
    }
    policy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t5_review_with_probe_decides_by_what_the_registries_answer() {
    let (ours, other) = (Authority::new("Our CA"), Authority::new("Other CA"));
    let trusted = good(&ours.certify(&["127.0.0.1"])).await;
    let untrusted = good(&other.certify(&["127.0.0.1"])).await;
    let bundle = "  caBundle: {configMap: {namespace: kube-system, name: ca, key: ca-bundle}}\n";
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "kube-system", "name": "ca"},
        "data": {"ca-bundle": pem(&ours)},
    });
    let manifests = format!("{config_map}\n{}", pods(&["nginx", "quay.io/a/b", "nginx:2", "gcr.io/x"]));
    let desk = Desk::new(&[("policy.yaml", &policy(&[&trusted, &untrusted], bundle)), ("manifests.yaml", &manifests)]);

    // Without it nobody is asked, and that is no finding.
    let entries = desk.json(&REVIEW, 0).await;
    assert_eq!(trusted.connections() + untrusted.connections(), 0);
    assert_eq!(entries.len(), 4);
    assert!(entries.iter().all(|entry| entry["allowed"] == true && entry["warnings"] == json!([])), "{entries:#?}");
    let verdict = &entries[1]["verdicts"][0];
    assert_eq!((&verdict["verdict"], &verdict["class"]), (&json!("unknown"), &json!("not-asked")));
    let said = desk.text(&REVIEW, 0).await;
    assert!(said.ends_with("; 2 registries not asked (--probe asks)\n"), "{said}");

    // With it each is asked once, however many pods need it.
    let with_probe = [&REVIEW[..], &["--probe"]].concat();
    let entries = desk.json(&with_probe, 1).await;
    assert_eq!((trusted.connections(), untrusted.connections()), (1, 1));
    let allowed: Vec<_> = entries.iter().map(|entry| entry["allowed"] == true).collect();
    assert_eq!(allowed, [true, false, true, true]);
    let at = |entry: &Value| entry["verdicts"].clone();
    let known = |registry: &Listening, verdict: &str, class: &str, message: &Value| {
        json!([{
            "registry": registry.address.to_string(), "verdict": verdict, "class": class, "message": message,
            "images": ["spec.containers[0].image"],
        }])
    };
    let message = &entries[0]["verdicts"][0]["message"];
    assert_eq!(at(&entries[0]), known(&trusted, "trusted", "ok", message));
    let (message, fix) = (&entries[1]["verdicts"][0]["message"], &entries[1]["verdicts"][0]["fix"]);
    let mut expected = known(&untrusted, "untrusted", "unknown-authority", message);
    expected[0]["fix"] = fix.clone();
    assert_eq!(at(&entries[1]), expected);
    let explained = desk.json(&["explain", "--policy", "policy.yaml", "--probe", "quay.io/a/b"], 1).await;
    assert!(fix.as_str().is_some_and(|fix| fix.contains("caBundle:")) && *fix == explained[0]["fix"], "{fix}");
    assert_eq!(entries[1]["causes"][0]["reason"], "RegistryUntrusted");
    assert_eq!(at(&entries[3]), json!([]));
    let said = desk.text(&with_probe, 1).await;
    assert!(said.contains(&format!("\n  registry {}: trusted\n", trusted.address)), "{said}");
    assert!(said.contains(&format!("\n  registry {}: untrusted (unknown-authority)\n", untrusted.address)), "{said}");
    assert!(said.contains("\n  denied: spec.containers[0].image: ") && said.contains("Other CA"), "{said}");
    assert!(said.contains("1 of 4 objects denied") && !said.contains("asked"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_is_not_among_the_manifests_makes_nobody_untrusted() {
    let ours = Authority::new("Our CA");
    let registry = good(&ours.certify(&["127.0.0.1"])).await;
    let bundle = "  caBundle: {secret: {namespace: a, name: ca, key: ca.crt}}\n";
    let desk = Desk::new(&[("policy.yaml", &policy(&[&registry], bundle)), ("manifests.yaml", &pods(&["nginx"]))]);
    let with_probe = [&REVIEW[..], &["--probe"]].concat();
    let output = desk.run(&with_probe).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "warning: the CA bundle secret a/ca, key ca.crt: it is in a cluster, and not among the manifests\n";
    assert_eq!(said, expected);
    let verdict = &desk.json(&with_probe, 0).await[0]["verdicts"][0];
    assert_eq!(verdict["class"], "cannot-judge");
    assert!(verdict["message"].as_str().unwrap().contains("secret a/ca, key ca.crt"), "{verdict}");

    // In each of the ways that a Secret, a ConfigMap and a file can hold it.
    let (in_base64, metadata) = (base64(pem(&ours).as_bytes()), json!({"namespace": "a", "name": "ca"}));
    for (from, object) in [
        ("secret", json!({"kind": "Secret", "data": {"ca.crt": in_base64}})),
        ("secret", json!({"kind": "Secret", "stringData": {"ca.crt": pem(&ours)}})),
        ("configMap", json!({"kind": "ConfigMap", "data": {"ca.crt": pem(&ours)}})),
        ("configMap", json!({"kind": "ConfigMap", "binaryData": {"ca.crt": in_base64}})),
    ] {
        let mut object = object;
        (object["apiVersion"], object["metadata"]) = (json!("v1"), metadata.clone());
        let bundle = bundle.replace("secret", from);
        let manifests = format!("{object}\n{}", pods(&["nginx"]));
        let desk = Desk::new(&[("policy.yaml", &policy(&[&registry], &bundle)), ("manifests.yaml", &manifests)]);
        assert_eq!(desk.json(&with_probe, 0).await[0]["verdicts"][0]["verdict"], "trusted", "{object}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem(&ours)).unwrap();
    let bundle = format!("  caBundle: {{file: '{}'}}\n", file.path().display());
    let desk = Desk::new(&[("policy.yaml", &policy(&[&registry], &bundle)), ("manifests.yaml", &pods(&["nginx"]))]);
    assert_eq!(desk.json(&with_probe, 0).await[0]["verdicts"][0]["verdict"], "trusted");
}

/// As the server would find them: in the namespace of what names none, and no larger than it reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t2_a_bundle_among_the_manifests_is_found_and_bounded_as_in_a_cluster() {
    let ours = Authority::new("Our CA");
    let registry = good(&ours.certify(&["127.0.0.1"])).await;
    let bundle = "  caBundle: {configMap: {namespace: kube-system, name: ca, key: ca.crt}}\n";
    let desk = |text: &str| {
        let map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca"}, "data": {"ca.crt": text}});
        let manifests = format!("{map}\n{}", pods(&["nginx"]));
        Desk::new(&[("policy.yaml", &policy(&[&registry], bundle)), ("manifests.yaml", &manifests)])
    };
    let in_default = [&REVIEW[..], &["--probe"]].concat();
    let in_kube_system = [&in_default[..], &["--namespace", "kube-system"]].concat();
    let found = desk(&pem(&ours));
    assert_eq!(found.json(&in_kube_system, 0).await[0]["verdicts"][0]["verdict"], "trusted");
    assert_eq!(found.json(&in_default, 0).await[0]["verdicts"][0]["class"], "cannot-judge");

    let large = pem(&ours) + &"#".repeat(1 << 20);
    let output = desk(&large).run(&in_kube_system).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.ends_with(", key ca.crt: it has more than 1048576 bytes\n"), "{said}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &large).unwrap();
    let bundle = format!("  caBundle: {{file: '{}'}}\n", file.path().display());
    let desk = Desk::new(&[("policy.yaml", &policy(&[&registry], &bundle)), ("manifests.yaml", &pods(&["nginx"]))]);
    let verdict = &desk.json(&in_default, 0).await[0]["verdicts"][0];
    assert_eq!(verdict["class"], "cannot-judge", "a file as well");
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn pem(authority: &Authority) -> String {
    let text = base64(&authority.der());
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// M11, as the server does it: the alternatives of a mirror that is down are asked too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m11_review_with_probe_goes_past_mirrors_that_are_down() {
    let ours = Authority::new("Our CA");
    let (up, gone) = (good(&ours.certify(&["127.0.0.1"])).await, good(&ours.certify(&["127.0.0.1"])).await);
    let down = gone.address;
    drop(gone);
    let ca = format!("    inline: |\n{}", pem(&ours)).trim_end().replace("\n", "\n      ");
    let policy = format!(
        "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\nregistryMirrors:\n\
         - name: down\n  endpoint: https://{down}\n  hosts: [docker.io, quay.io]\n  mirrorSourcePolicy: AllowContactingSource\n\
         - name: up\n  endpoint: https://{}\n  hosts: [docker.io]\n  caBundle:\n{ca}\n",
        up.address
    );
    let desk = Desk::new(&[("policy.yaml", &policy), ("manifests.yaml", &pods(&["nginx", "quay.io/a/b"]))]);
    let entries = desk.json(&[&REVIEW[..], &["--probe"]].concat(), 0).await;
    assert_eq!(entries[0]["images"][0]["rewritten"], format!("{}/library/nginx", up.address));
    assert_eq!(entries[0]["verdicts"][0]["registry"], up.address.to_string());
    assert_eq!(entries[0]["verdicts"][0]["verdict"], "trusted");
    assert_eq!(entries[1]["images"][0]["rewritten"], "quay.io/a/b");
    assert!(entries[1]["warnings"][0].as_str().unwrap().contains("down"), "{entries:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t4_explain_with_probe_says_the_verdict_and_what_mends_it() {
    let other = Authority::new("Other CA");
    let registry = good(&other.certify(&["127.0.0.1"]).with([other.der()])).await;
    let desk = Desk::new(&[("policy.yaml", &policy(&[&registry], ""))]);
    let arguments = ["explain", "--policy", "policy.yaml", "--probe", "nginx", "nginx:2", "gcr.io/x"];
    let said = desk.text(&arguments, 1).await;
    assert_eq!(registry.connections(), 1, "asked once");
    assert!(said.contains("\n  answer     the nodes would refuse 127.0.0.1:"), "{said}");
    assert!(said.contains("(unknown-authority)\n") && said.contains("caBundle:"), "{said}");
    let explained = desk.json(&arguments, 1).await;
    assert_eq!((&explained[0]["verdict"], &explained[0]["class"]), (&json!("untrusted"), &json!("unknown-authority")));
    let (fix, pem) = (explained[0]["fix"].as_str().unwrap(), pem(&other));
    assert!(fix.contains("caBundle:") && pem.lines().all(|line| fix.contains(line)), "{explained:#?}");
    assert_eq!(explained[2].get("verdict"), None);
    let quiet = desk.json(&["explain", "--policy", "policy.yaml", "nginx"], 0).await;
    assert_eq!(quiet[0].get("verdict"), None);
    let without_policy = desk.run(&["explain", "--probe", "nginx"]).await;
    assert_eq!(without_policy.status.code(), Some(2), "{without_policy:?}");
}

/// M11, as a pod would get it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m11_explain_with_probe_goes_past_mirrors_that_are_down() {
    let ours = Authority::new("Our CA");
    let (up, gone) = (good(&ours.certify(&["127.0.0.1"])).await, good(&ours.certify(&["127.0.0.1"])).await);
    let down = gone.address;
    drop(gone);
    let ca = format!("    inline: |\n{}", pem(&ours)).trim_end().replace("\n", "\n      ");
    let policy = format!(
        "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\nregistryMirrors:\n\
         - name: down\n  endpoint: https://{down}\n  hosts: [docker.io, quay.io, ghcr.io]\n  mirrorSourcePolicy: AllowContactingSource\n\
         - name: up\n  endpoint: https://{up}\n  hosts: [docker.io]\n  caBundle:\n{ca}\n\
         - name: gone\n  endpoint: https://{down}\n  pathTemplate: 'gone/{{repository}}'\n  hosts: [ghcr.io]\n\
         pullSecrets:\n- {{name: of-down, registries: ['{down}']}}\n- {{name: of-up, registries: ['{up}']}}\n",
        up = up.address
    );
    let desk = Desk::new(&[("policy.yaml", &policy)]);
    let explain = ["explain", "--policy", "policy.yaml", "nginx", "quay.io/a/b", "ghcr.io/c/d"];
    let unasked = desk.json(&explain, 0).await;
    assert_eq!(unasked[0]["rewritten"], format!("{down}/library/nginx"), "nobody is asked");

    let explain = [&explain[..], &["--probe"]].concat();
    let explained = desk.json(&explain, 1).await;
    assert_eq!(up.connections(), 1, "asked once");
    let said = |entry: &Value| ["mirror", "rewritten", "pull_secrets", "verdict"].map(|key| entry[key].clone());
    let from_up = [json!("up"), json!(format!("{}/library/nginx", up.address)), json!(["of-up"]), json!("trusted")];
    assert_eq!(said(&explained[0]), from_up);
    assert_eq!(said(&explained[1]), [Value::Null, json!("quay.io/a/b"), json!([]), Value::Null], "the source");
    let from_down = [json!("down"), json!(format!("{down}/c/d")), json!(["of-down"]), json!("unreachable")];
    assert_eq!(said(&explained[2]), from_down, "one of its mirrors forbids the source");
    let said = desk.text(&explain, 1).await;
    assert!(
        said.contains("  because    mirror up lists docker.io, and mirror down before it is unreachable\n"),
        "{said}"
    );
    assert!(said.contains("  because    mirror down is unreachable, and its mirrorSourcePolicy is "), "{said}");
}
