//! `mirrorgate probe`, the real binary against servers of the test.

use std::io::Write as _;
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mirrorgate::policy::Policy;
use mirrorgate::trust::Certificate;
use rcgen::date_time_ymd;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::authority::{Authority, Certified};
use super::registry::{Listening, UNAUTHORIZED, answer, config, good, listen, listen_at, listen_configured};
use crate::review_command::{entries, stderr, stdout};

async fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mirrorgate"));
    command.arg("probe").args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// `mirrorgate probe HOST --resolve ... ARGUMENTS`, for a host that listens there.
async fn probe_at(host: &str, server: &Listening, arguments: &[&str]) -> Output {
    let port = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) { "" } else { ":443" };
    let resolution = format!("{host}{port}:{}", server.address);
    run(&[&[host, "--resolve", &resolution, "--timeout", "10s"], arguments].concat()).await
}

fn pem(der: &CertificateDer<'_>) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> = (0..base64.len()).step_by(64).map(|at| &base64[at..base64.len().min(at + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

fn policy(rest: &str) -> NamedTempFile {
    file(&format!("apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n{rest}"))
}

fn sha256(der: &CertificateDer<'_>) -> String {
    Certificate::parse(der).unwrap().facts().sha256
}

fn of_years(authority: &Authority) -> Certified {
    authority.certify(&["harbor.corp", "10.0.0.1"])
}

/// The lines of `fix` that are for the policy, as a policy.
fn fixed(fix: &str) -> String {
    let lines: Vec<&str> = fix.lines().filter(|line| line.starts_with("  ")).map(|line| &line[2..]).collect();
    format!("apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n{}\n", lines.join("\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t4_a_trusted_registry_as_json_says_by_which_ca() {
    let authority = Authority::new("Corp Root");
    let server = good(&of_years(&authority)).await;
    let ca = file(&pem(&authority.der()));
    let output = probe_at("harbor.corp:5000", &server, &["--ca", path(&ca), "-o", "json"]).await;
    let mut entry = entries(&output, 0).remove(0);
    assert!(entry["took_ms"].take().is_u64() && entry["judged_at"].take().is_string());
    let leaf = entry["chain"][0]["sha256"].take();
    assert!(leaf.as_str().is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))));
    let source = format!("--ca {}", path(&ca));
    let message = entry["message"].take();
    assert_eq!(message, format!("the nodes would trust it, by CN=Corp Root of {source}"));
    assert_eq!(
        entry,
        json!({
            "registry": "harbor.corp:5000", "address": server.address.to_string(), "verdict": "trusted", "class": "ok",
            "message": null, "http_status": 401, "at_fault": null, "fix": null, "judged_at": null, "took_ms": null,
            "trusted_by": {"subject": "CN=Corp Root", "sha256": sha256(&authority.der()), "source": source},
            "chain": [{
                "subject": "CN=a registry", "issuer": "CN=Corp Root", "sha256": null, "is_ca": false,
                "not_before": "2020-01-01T00:00:00Z", "not_after": "2120-01-01T00:00:00Z", "names": ["harbor.corp", "10.0.0.1"],
            }],
        })
    );
}

/// What the text looks like, and that the lines it gives make the registry trusted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t4_an_untrusted_registry_is_shown_on_one_screen_with_the_lines_that_mend_it() {
    let authority = Authority::new("Corp Root");
    let certified = of_years(&authority).with([authority.der()]);
    let server = good(&certified).await;
    let output = probe_at("harbor.corp:5000", &server, &["--no-system-roots"]).await;
    let text = stdout(&output, 1);
    let (shown, fix) = text.split_once("\n  If that CA is to be trusted").unwrap();
    let (chain, rest) = shown.split_once("  judged at").unwrap();
    let facts = Certificate::parse(&authority.der()).unwrap().facts();
    let (leaf, root, address) = (sha256(&certified.chain[0]), sha256(&authority.der()), server.address);
    assert_eq!(
        chain,
        format!(
            "harbor.corp:5000: untrusted (unknown-authority)\n  \
             the nodes would refuse it: the CA certificate \"CN=Corp Root\" is signed by itself and is not among the trusted CAs\n\n  \
             The server sends 2 certificates:\n    \
             1  CN=a registry\n       signed by  CN=Corp Root, number 2\n       \
             valid      2020-01-01T00:00:00Z to 2120-01-01T00:00:00Z\n       names      harbor.corp, 10.0.0.1\n       SHA-256    {leaf}\n  \
             > 2  CN=Corp Root (a CA)\n       signed by  itself\n       valid      {} to {}\n       SHA-256    {root}\n\n  \
             address    {address}\n",
            facts.not_before, facts.not_after
        )
    );
    assert!(rest.contains("Z\n  took  "), "{rest}");
    assert!(text.lines().count() < 40, "{text}");
    let inside: String =
        fix.lines().filter_map(|line| line.strip_prefix("  ")).map(|line| format!("{line}\n")).collect();
    let mended = file(&fixed(&inside));
    let output = probe_at("harbor.corp:5000", &server, &["--policy", path(&mended), "--no-system-roots"]).await;
    assert!(stdout(&output, 0).contains("trusted\n  the nodes would trust it, by CN=Corp Root of "), "{output:?}");
    assert!(Policy::read(&std::fs::read_to_string(mended.path()).unwrap()).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t4_what_nothing_in_the_policy_mends_says_so() {
    let authority = Authority::new("Corp Root");
    let ca = file(&pem(&authority.der()));
    for (certified, class, fix) in [
        (authority.certify(&["quay.corp"]), "name-mismatch", "needs a certificate that names harbor.corp"),
        (
            authority.certify_with(&["harbor.corp"], |params| params.not_after = date_time_ymd(2021, 1, 1)),
            "expired",
            "must renew the certificate",
        ),
    ] {
        let server = good(&certified).await;
        let output = probe_at("harbor.corp:5000", &server, &["--ca", path(&ca), "-o", "json"]).await;
        let entry = entries(&output, 1).remove(0);
        assert_eq!(
            (&entry["verdict"], &entry["class"], &entry["at_fault"]),
            (&json!("untrusted"), &json!(class), &json!(0))
        );
        let said = entry["fix"].as_str().unwrap();
        assert!(said.contains("Nothing in the policy mends this") && said.contains(fix), "{said}");
    }
}

/// A CA of the policy is for the hosts that it names (T2); a mirror's is for its endpoint, by its own key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t2_the_cas_of_the_policy_hold_for_their_registries_alone() {
    let authority = Authority::new("Corp Root");
    let server = good(&authority.certify(&["a.corp", "b.corp", "mirror.corp"])).await;
    let (data, inline) = (STANDARD.encode(pem(&authority.der())), pem(&authority.der()).replace('\n', "\n        "));
    let policy = policy(&format!(
        "registryMirrors:\n  - name: harbor\n    endpoint: https://mirror.corp\n    hosts: [docker.io]\n    caBundle:\n      inline: |\n        {inline}\n\
         trust:\n  registries: [a.corp, b.corp]\n  systemRoots: false\n  additionalTrustedCAs:\n    - {{name: lab, data: {data}, registries: [a.corp]}}\n"
    ));
    for (host, code, class) in [("a.corp", 0, "ok"), ("b.corp", 1, "unknown-authority"), ("mirror.corp", 0, "ok")] {
        let output = probe_at(host, &server, &["--policy", path(&policy), "-o", "json"]).await;
        assert_eq!(entries(&output, code)[0]["class"], class, "{host}");
    }
    let server = good(&Authority::new("other").certify(&["mirror.corp"])).await;
    let output = probe_at("mirror.corp", &server, &["--policy", path(&policy), "-o", "json"]).await;
    let fix = entries(&output, 1)[0]["fix"].to_string();
    // Beside its own caBundle, which stays in force.
    assert!(fix.contains("additionalTrustedCAs") && !fix.contains("caBundle"), "{fix}");
}

/// Bundles that live in the cluster cannot be read here; files are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t2_bundles_of_the_policy_are_read_from_files_and_said_of_a_cluster() {
    let authority = Authority::new("Corp Root");
    let server = good(&of_years(&authority)).await;
    let ca = file(&pem(&authority.der()));
    let of_cluster = policy(
        "trust:\n  registries: ['harbor.corp:5000']\n  caBundles:\n    - configMap: {namespace: kube-system, name: bundle, key: ca-bundle}\n",
    );
    let output = probe_at("harbor.corp:5000", &server, &["--policy", path(&of_cluster), "-o", "json"]).await;
    let entry = entries(&output, 1).remove(0);
    assert_eq!((&entry["verdict"], &entry["class"]), (&json!("unknown"), &json!("cannot-judge")));
    let message = entry["message"].as_str().unwrap();
    assert!(
        message.contains("configMap kube-system/bundle, key ca-bundle") && message.contains("--ca FILE"),
        "{message}"
    );
    let arguments = ["--policy", path(&of_cluster), "--ca", path(&ca)];
    stdout(&probe_at("harbor.corp:5000", &server, &arguments).await, 0);
    let of_file =
        policy(&format!("trust:\n  registries: ['harbor.corp:5000']\n  caBundles: [{{file: {}}}]\n", path(&ca)));
    stdout(&probe_at("harbor.corp:5000", &server, &["--policy", path(&of_file)]).await, 0);
    drop(ca);
    let output = probe_at("harbor.corp:5000", &server, &["--policy", path(&of_file)]).await;
    assert!(stdout(&output, 1).contains("unknown (cannot-judge)"));
    assert!(stderr(&output).contains("warning: file /") && stderr(&output).contains("cannot be read"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_file_without_a_certificate_ends_it_and_a_bad_block_is_a_warning() {
    let authority = Authority::new("Corp Root");
    let server = good(&of_years(&authority)).await;
    let secret = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    for (text, part) in
        [("", "no usable certificate"), (secret, "is a private key"), ("nonsense", "no usable certificate")]
    {
        let ca = file(text);
        let output = probe_at("harbor.corp:5000", &server, &["--ca", path(&ca)]).await;
        assert_eq!(stdout(&output, 2), "");
        assert!(stderr(&output).contains(part) && !stderr(&output).contains("c2VjcmV0"), "{output:?}");
    }
    let output = probe_at("harbor.corp:5000", &server, &["--ca", "/nowhere/ca.crt"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let ca = file(&format!("{secret}{}", pem(&authority.der())));
    let output = probe_at("harbor.corp:5000", &server, &["--ca", path(&ca)]).await;
    stdout(&output, 0);
    assert!(
        stderr(&output).contains("warning: --ca ") && stderr(&output).contains("block 1 (line 1) is a private key"),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resolution_is_dialled_whatever_the_address_is_and_ipv6_stands_in_brackets() {
    let authority = Authority::new("Corp Root");
    let certified = authority.certify(&["harbor.corp", "fd00::1"]);
    let ca = file(&pem(&authority.der()));
    let server = good(&certified).await;
    let port = server.address.port();
    // Without it a literal of the loopback range is refused.
    let output = run(&[&server.address.to_string(), "--ca", path(&ca)]).await;
    let text = stdout(&output, 1);
    assert!(text.contains("(refused-address)") && text.contains("--resolve HOST:PORT:ADDRESS dials"), "{text}");
    assert_eq!(server.connections(), 0);
    let resolution = format!("[fd00::1]:5000:127.0.0.1:{port}");
    stdout(&run(&["[FD00::1]:5000", "--resolve", &resolution, "--ca", path(&ca)]).await, 0);
    if let Ok(Ok(listener)) = std::panic::catch_unwind(|| std::net::TcpListener::bind("[::1]:0")) {
        drop(listener);
        let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config(&certified)));
        let server = listen_at("[::1]:0", move |stream| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream, UNAUTHORIZED.into()).await;
                }
            }
        })
        .await;
        let output = probe_at("[fd00::1]:5000", &server, &["--ca", path(&ca), "-o", "json"]).await;
        assert_eq!(entries(&output, 0)[0]["address"], json!(server.address.to_string()));
    }
    let output = run(&["harbor.corp:5001", "--resolve", "harbor.corp:5000:127.0.0.1:1", "--timeout", "200ms"]).await;
    assert!(stderr(&output).contains("is for none of the registries"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_that_is_wrong_is_exit_2() {
    for (arguments, part) in [
        (&["harbor"][..], "no dot and no port"),
        (&["https://harbor.corp"], "scheme"),
        (&["harbor.corp/x"], "`/`"),
        (&["fd00::1"], "brackets"),
        (&["harbor.corp", "--resolve", "harbor.corp:443:::1"], "IPv6 in brackets"),
        (&["harbor.corp", "--resolve", "harbor.corp"], "HOST:PORT:ADDRESS"),
        (&["harbor.corp", "--timeout", "5"], "500ms"),
        (&["harbor.corp", "--timeout", "0"], "no time"),
        (&["harbor.corp", "--policy", "/nowhere.yaml"], "cannot be read"),
        (&[], "HOST"),
    ] {
        let output = run(arguments).await;
        assert_eq!(stdout(&output, 2), "");
        assert!(stderr(&output).contains(part), "{arguments:?}: {}", stderr(&output));
    }
}

/// In the order asked for: a plain HTTP mirror and a registry that is down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t6_several_registries_are_asked_each_in_its_way() {
    let plain = listen(|stream| answer(stream, UNAUTHORIZED.into())).await;
    let mirror =
        "registryMirrors:\n  - {name: lab, endpoint: 'http://lab.corp:5000', plainHTTP: true, hosts: [docker.io]}\n";
    let (policy, resolution) = (policy(mirror), format!("lab.corp:5000:{}", plain.address));
    let down = ["down.corp", "--resolve", "down.corp:443:127.0.0.1:1"];
    let lab = ["lab.corp:5000", "--resolve", &resolution, "--policy", path(&policy), "-o", "json"];
    let entries = entries(&run(&[&lab[..], &down].concat()).await, 1);
    let said: Vec<(&Value, &Value)> = entries.iter().map(|entry| (&entry["registry"], &entry["class"])).collect();
    assert_eq!(said, [(&json!("lab.corp:5000"), &json!("plain-http")), (&json!("down.corp"), &json!("refused"))]);
}

/// Of what only `"*"` brings in the certificate is all that is asked for (P1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_registry_that_only_the_star_brings_in_is_sent_no_request() {
    let authority = Authority::new("Corp Root");
    let mute = listen_configured(config(&authority.certify(&["any.corp"])), super::registry::hold).await;
    let (ca, policy) = (file(&pem(&authority.der())), policy("trust:\n  registries: ['*']\n"));
    let arguments = ["--policy", path(&policy), "--ca", path(&ca), "-o", "json"];
    let entry = entries(&probe_at("any.corp", &mute, &arguments).await, 0).remove(0);
    assert_eq!((&entry["class"], &entry["http_status"]), (&json!("ok"), &Value::Null));
}

/// Nothing raw of a certificate reaches a terminal, and a hundred certificates take no more than a screen (A6).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_hostile_and_many_certificates_fit_on_a_screen() {
    let authority = Authority::new("Corp\u{1b}[31m\u{202e}\n Root");
    let others = (0..99).map(|_| authority.der());
    let certified = authority.certify_with(&["harbor.corp"], |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("\u{1b}]0;x\u{7}{}", "y".repeat(10_000)));
    });
    let server = good(&certified.with(others)).await;
    let output = probe_at("harbor.corp:5000", &server, &["--no-system-roots", "--color", "never"]).await;
    let text = stdout(&output, 1);
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}') && !text.contains('\u{7}'), "{text}");
    assert!(text.lines().count() < 50 && text.contains("more, which `-o json` lists"), "{text}");
    let output = probe_at("harbor.corp:5000", &server, &["--no-system-roots", "-o", "json"]).await;
    assert_eq!(entries(&output, 1)[0]["chain"].as_array().unwrap().len(), 100);
    assert!(!stdout(&output, 1).contains('\u{202e}'));
}
