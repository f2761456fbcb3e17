//! The keys `trust` and `probe` of the policy, and those of a mirror that go with them: what they decide (T1, T2, P2), and
//! every fault with its place, message and mend.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mirrorgate::image::Reference;
use mirrorgate::policy::{BundleRef, CaSource, Checked, Compiled, OnUnreachable, OnUntrusted, Policy, Route};

const HEAD: &str = "apiVersion: mirrorgate.dev/v1alpha1\nkind: Policy\n";
const MIRROR: &str =
    "registryMirrors:\n- name: harbor\n  endpoint: https://harbor.corp:5000/v2/proxy\n  hosts: [docker.io]\n";

#[track_caller]
fn read(body: &str) -> Compiled {
    let source = format!("{HEAD}{body}");
    Policy::read(&source).unwrap_or_else(|faults| panic!("{faults}\n---\n{source}"))
}

/// Every fault and warning of a document whose third line is the first of `body`, as `line:column path: message; help`.
fn said(body: &str) -> Vec<String> {
    let source = format!("{HEAD}{body}");
    let faults = match Policy::read(&source) {
        Ok(compiled) => compiled.warnings,
        Err(faults) => faults.0,
    };
    let drawn = faults.iter().map(|fault| {
        let help = fault.help.as_deref().unwrap_or("NO HELP");
        let severity = if fault.severity.as_str() == "warning" { "warning: " } else { "" };
        format!("{}:{} {severity}{}: {}; {help}", fault.line, fault.column, fault.path, fault.message)
    });
    drawn.collect()
}

#[track_caller]
fn assert_said(body: &str, expected: &[&str]) {
    let said = said(body);
    assert_eq!(said, expected, "\n{body}\n{}", said.join("\n"));
}

/// A certificate of a CA, in PEM.
fn pem(name: &str) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&key).unwrap().pem()
}

fn base64(text: impl AsRef<[u8]>) -> String {
    STANDARD.encode(text)
}

/// A text as the value of a key, as `|` block that is indented so far.
fn block(text: &str, indent: usize) -> String {
    text.lines().fold("|".to_owned(), |block, line| format!("{block}\n{:indent$}{line}", ""))
}

/// Why a registry is checked.
fn checked(policy: &Policy, registry: &str) -> String {
    match policy.checked(registry) {
        None => "no".to_owned(),
        Some(Checked::Mirror(mirror)) if mirror.plain_http() => format!("plain mirror {}", mirror.name()),
        Some(Checked::Mirror(mirror)) => format!("mirror {}", mirror.name()),
        Some(Checked::Listed(pattern)) => format!("listed {pattern}"),
        Some(Checked::Anything) => "anything".to_owned(),
    }
}

fn sources(policy: &Policy, registry: &str) -> Vec<String> {
    let sources = policy.ca_sources(registry).into_iter().map(|source| match source {
        CaSource::Inline(pool) => format!("{} ({})", pool.source(), pool.len()),
        CaSource::Bundle(bundle) => bundle.to_string(),
        CaSource::PublicRoots => "public".to_owned(),
    });
    sources.collect()
}

// ---- What is decided ------------------------------------------------------------------------------------------------

#[test]
fn t1_mirrors_and_listed_registries_are_checked_and_nothing_else() {
    let policy = read(&format!(
        "{MIRROR}- name: plain\n  endpoint: http://plain.lab:80\n  plainHTTP: true\n  hosts: [quay.io]\ntrust:\n  registries: ['ghcr.io', '*.corp', '*.lab:5000']\n"
    ))
    .policy;
    for (registry, expected) in [
        ("harbor.corp:5000", "mirror harbor"),
        ("plain.lab:80", "plain mirror plain"),
        ("ghcr.io", "listed ghcr.io"),
        ("ghcr.io:443", "no"),
        ("a.b.corp", "listed *.corp"),
        ("corp", "no"),
        ("a.lab:5000", "listed *.lab:5000"),
        ("docker.io", "no"),
    ] {
        assert_eq!(checked(&policy, registry), expected, "{registry}");
    }
    let ahead: Vec<&str> = policy.probed_ahead().map(|registry| registry.as_str()).collect();
    assert_eq!(ahead, ["harbor.corp:5000", "plain.lab:80", "ghcr.io"]);
}

#[test]
fn t1_a_star_checks_whatever_a_pod_names() {
    let policy = read(&format!("{MIRROR}trust: {{registries: ['*', ghcr.io], denyNetworks: [10.0.0.0/8]}}\n")).policy;
    for (registry, expected) in [
        ("harbor.corp:5000", "mirror harbor"),
        ("ghcr.io", "listed ghcr.io"),
        ("docker.io", "anything"),
        ("[fd00::1]:5000", "anything"),
    ] {
        assert_eq!(checked(&policy, registry), expected, "{registry}");
    }
}

#[test]
fn t1_several_mirrors_of_one_endpoint_are_probed_once() {
    let policy = read(
        "registryMirrors:\n- {name: a, endpoint: 'https://m.corp/a', hosts: [docker.io]}\n- {name: b, endpoint: 'https://m.corp/b', hosts: [quay.io]}\ntrust: {registries: [m.corp, quay.io]}\n",
    )
    .policy;
    assert_eq!(checked(&policy, "m.corp"), "mirror a");
    let ahead: Vec<&str> = policy.probed_ahead().map(|registry| registry.as_str()).collect();
    assert_eq!(ahead, ["m.corp", "quay.io"]);
}

#[test]
fn t2_a_ca_vouches_for_its_registries_and_no_other() {
    let (one, two) = (pem("one"), pem("two"));
    let body = format!(
        "registryMirrors:\n- name: harbor\n  endpoint: https://harbor.corp:5000\n  hosts: [docker.io]\n  caBundle:\n    inline: {}\n\
         - name: other\n  endpoint: https://other.corp\n  hosts: [quay.io]\n  caBundle: {{secret: {{namespace: a, name: b.c, key: ca.crt}}}}\n\
         trust:\n  registries: ['*.corp', ghcr.io]\n  additionalTrustedCAs:\n  - {{name: every, data: {}}}\n  - {{name: corp, data: {}, registries: ['*.corp', 'other.corp']}}\n\
         \x20 caBundles:\n  - {{file: /etc/ca.crt, registries: [ghcr.io]}}\n  - inline: {}\n    registries: [ghcr.io]\n",
        block(&one, 6),
        base64(format!("{one}{two}")),
        base64(&two),
        block(&two, 6),
    );
    let policy = read(&body).policy;
    for (registry, expected) in [
        ("harbor.corp:5000", &["caBundle of the mirror harbor (1)", "additionalTrustedCAs every (2)", "public"][..]),
        (
            "other.corp",
            &["secret a/b.c, key ca.crt", "additionalTrustedCAs every (2)", "additionalTrustedCAs corp (1)", "public"],
        ),
        ("a.corp", &["additionalTrustedCAs every (2)", "additionalTrustedCAs corp (1)", "public"]),
        ("ghcr.io", &["additionalTrustedCAs every (2)", "file /etc/ca.crt", "trust.caBundles[1] (1)", "public"]),
        ("docker.io", &["additionalTrustedCAs every (2)", "public"]),
    ] {
        assert_eq!(sources(&policy, registry), expected, "{registry}");
    }
    let bundles: Vec<String> = policy.bundles().map(BundleRef::to_string).collect();
    assert_eq!(bundles, ["secret a/b.c, key ca.crt", "file /etc/ca.crt"]);
}

#[test]
fn t2_the_public_roots_are_there_unless_the_policy_says_no() {
    assert_eq!(sources(&read(MIRROR).policy, "harbor.corp:5000"), ["public"]);
    let without = read(&format!("{MIRROR}  caBundle: {{file: /ca.crt}}\ntrust: {{systemRoots: false}}\n")).policy;
    assert_eq!(sources(&without, "harbor.corp:5000"), ["file /ca.crt"]);
    assert_eq!(sources(&without, "docker.io"), [""; 0]);
}

#[test]
fn a_bundle_that_several_use_is_named_once() {
    let bundle = "configMap: {namespace: kube-system, name: image-fetcher-ca-bundle, key: ca-bundle}";
    let policy = read(&format!(
        "{MIRROR}  caBundle: {{{bundle}}}\ntrust:\n  registries: [ghcr.io]\n  caBundles:\n  - {{{bundle}, registries: [ghcr.io]}}\n"
    ))
    .policy;
    let bundles: Vec<String> = policy.bundles().map(BundleRef::to_string).collect();
    assert_eq!(bundles, ["configMap kube-system/image-fetcher-ca-bundle, key ca-bundle"]);
}

#[test]
fn the_defaults_deny_the_untrusted_and_warn_of_the_unreachable() {
    let policy = read(MIRROR).policy;
    assert_eq!((policy.on_untrusted(), policy.on_unreachable()), (OnUntrusted::Deny, OnUnreachable::Warn));
    assert!(policy.denied_networks().is_empty());
    let probe = policy.probe();
    let seconds = [probe.timeout, probe.ttl_trusted, probe.ttl_untrusted, probe.ttl_unreachable].map(|d| d.as_secs());
    assert_eq!((seconds, probe.max_concurrent), ([2, 300, 30, 10], 32));
    assert!(policy.mirrors().all(|mirror| !mirror.may_contact_source()));
}

#[test]
fn what_is_written_goes_before_the_defaults() {
    let policy = read(&format!(
        "{MIRROR}  mirrorSourcePolicy: AllowContactingSource\ntrust: {{onUntrusted: warn, onUnreachable: allow, denyNetworks: [10.0.0.0/8, 'fd00::/8', 192.0.2.1/32]}}\n\
         probe: {{timeout: 500ms, ttl: {{trusted: 1h30m, untrusted: 1s}}, maxConcurrent: 1}}\n"
    ))
    .policy;
    assert_eq!((policy.on_untrusted(), policy.on_unreachable()), (OnUntrusted::Warn, OnUnreachable::Allow));
    let probe = policy.probe();
    assert_eq!(probe.timeout, Duration::from_millis(500));
    assert_eq!((probe.ttl_trusted.as_secs(), probe.ttl_untrusted.as_secs()), (5400, 1));
    assert_eq!((probe.ttl_unreachable.as_secs(), probe.max_concurrent), (10, 1));
    let networks: Vec<String> = policy.denied_networks().iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "fd00::/8", "192.0.2.1/32"]);
    let Route::Mirrored { mirror, .. } = policy.route(&Reference::parse("nginx").unwrap()) else { panic!() };
    assert!(mirror.may_contact_source());
    let deny = read(&format!("{MIRROR}trust: {{onUntrusted: deny, onUnreachable: deny}}\n")).policy;
    assert_eq!((deny.on_untrusted(), deny.on_unreachable()), (OnUntrusted::Deny, OnUnreachable::Deny));
}

#[test]
fn p2_only_the_very_address_of_an_endpoint_is_literal() {
    let policy = read(
        "registryMirrors:\n- {name: a, endpoint: 'https://127.0.0.1:5000', hosts: [docker.io]}\n- {name: b, endpoint: 'https://[fd00::1]', hosts: [quay.io]}\n\
         - {name: c, endpoint: 'https://[::ffff:a00:1]:5000', hosts: [ghcr.io]}\n",
    );
    let policy = match &policy.warnings[..] {
        [] => policy.policy,
        warnings => panic!("{warnings:?}"),
    };
    for (address, expected) in [
        ("127.0.0.1", true),
        ("::ffff:127.0.0.1", true),
        ("127.0.0.2", false),
        ("10.0.0.1", true),
        ("fd00::1", true),
        ("fd00::2", false),
        ("::1", false),
    ] {
        assert_eq!(policy.is_literal_endpoint(address.parse::<IpAddr>().unwrap()), expected, "{address}");
    }
}

// ---- CAs that the nodes would not take ------------------------------------------------------------------------------

#[test]
fn base64_with_line_breaks_is_taken() {
    let encoded = base64(pem("a"));
    let lines: Vec<&str> = encoded.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let data = block(&lines.join("\n"), 6);
    let policy = read(&format!("{MIRROR}trust:\n  additionalTrustedCAs:\n  - name: a\n    data: {data}\n")).policy;
    assert_eq!(sources(&policy, "harbor.corp:5000"), ["additionalTrustedCAs a (1)", "public"]);
}

/// Faults of the data of the only CA; it stands on line 7.
#[track_caller]
fn assert_data_fault(data: &str, expected: &str) {
    let body = format!("trust:\n  registries: ['x.corp']\n  additionalTrustedCAs:\n  - name: a\n    data: {data}\n");
    assert_said(&body, &[&format!("7:11 trust.additionalTrustedCAs[0].data: {expected}")]);
}

#[test]
fn data_that_is_no_base64_of_pem_is_refused_with_the_mend() {
    let encoded = base64(pem("a"));
    assert_data_fault(&base64(&encoded), "is encoded twice; write what `base64 -d` makes of it");
    assert_data_fault("'%'", "is not base64; write what `base64 -w0 ca.crt` prints");
    assert_data_fault("''", "is empty: no certificate is in it; write the certificates, or take the entry out");
    assert_data_fault(
        &block(&pem("a"), 6),
        "is PEM, and must be the base64 of it; write what `base64 -w0 ca.crt` prints, or the PEM under `inline` in an entry of `caBundles`",
    );
    let help = "write what `base64 -w0 ca.crt` prints, with the certificates in ca.crt as PEM";
    assert_data_fault(
        &base64("no certificate at all"),
        &format!("holds no certificate that can be used: it holds no PEM block; {help}"),
    );
    let der = STANDARD.decode(pem("a").lines().filter(|line| !line.contains('-')).collect::<String>()).unwrap();
    assert_data_fault(
        &base64(der),
        &format!(
            "holds no certificate that can be used: it is a certificate of `CN=a` in DER: `openssl x509 -inform der -in FILE` writes it as PEM; {help}"
        ),
    );
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    assert_data_fault(
        &base64(&key),
        &format!(
            "holds no certificate that can be used: block 1 (line 1) is a private key: take it out of the bundle, and replace the key if others could read the bundle; {help}"
        ),
    );
}

/// Faults of the inline PEM of the only bundle; it stands on line 6.
#[track_caller]
fn assert_inline_fault(text: &str, expected: &[&str]) {
    let body = format!("trust:\n  registries: ['x.corp']\n  caBundles:\n  - inline: {text}\n");
    assert_said(&body, expected);
}

#[test]
fn inline_without_a_certificate_is_refused_with_the_mend() {
    assert_inline_fault(
        "' '",
        &[
            "6:13 trust.caBundles[0].inline: is empty: no certificate is in it; write the certificates, or take the entry out",
        ],
    );
    assert_inline_fault(
        &base64(pem("a")),
        &[
            "6:13 trust.caBundles[0].inline: holds no certificate that can be used: it is base64 of PEM: it has been encoded once too often; write the certificates as they stand from `-----BEGIN CERTIFICATE-----` to `-----END CERTIFICATE-----`",
        ],
    );
    let folded = block(&pem("a"), 6).replacen('|', ">", 1);
    assert_inline_fault(
        &folded,
        &[
            "6:13 trust.caBundles[0].inline: holds no certificate that can be used: block 1 (line 1) ends with an END line that is not that of its BEGIN; write `|` in place of `>`, which joins the lines",
        ],
    );
}

/// What Go would pass over without a word is told of, at its line; the good certificates beside it are taken.
#[test]
fn what_stands_beside_good_certificates_is_told_of_and_never_shown() {
    let (good, key) = (pem("good"), rcgen::KeyPair::generate().unwrap().serialize_pem());
    let broken = pem("bad").replacen("MII", "MIJ", 1);
    let trusted = pem("openssl").replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    let text = format!("# a remark\r\n{good}{key}{broken}{trusted}{good}").replace('\n', "\r\n");
    let body = format!("trust:\n  registries: ['x.corp']\n  caBundles:\n  - inline: {}\n", block(&text, 6));
    let compiled = read(&body);
    assert_eq!(sources(&compiled.policy, "x.corp"), ["trust.caBundles[0] (1)", "public"]);
    let said = said(&body);
    assert_eq!(said.len(), 3, "{said:#?}");
    let lines = |text: &str| text.lines().count();
    let mut line = 6 + 1 + lines(&good) + 1;
    for (said, (block, height, words)) in said.iter().zip([
        (2, lines(&key), "is a private key: take it out"),
        (3, lines(&broken), "is a certificate"),
        (4, 0, "is a TRUSTED CERTIFICATE, which only OpenSSL reads"),
    ]) {
        let start = format!("{line}:7 warning: trust.caBundles[0].inline: block {block} (line {}) {words}", line - 6);
        assert!(said.starts_with(&start), "{start}\n{said}");
        line += height;
    }
    let secret = key.lines().nth(1).unwrap();
    assert!(said.iter().all(|said| !said.contains(secret)));
    // In base64 there is but one place.
    let data = format!("trust:\n  additionalTrustedCAs:\n  - name: a\n    data: {}\n", base64(&text));
    let places = self::said(&data);
    assert!(
        places.iter().all(|said| said.starts_with("6:11 warning: trust.additionalTrustedCAs[0].data: block ")),
        "{places:#?}"
    );
}

// ---- Faults ---------------------------------------------------------------------------------------------------------

#[test]
fn a_bundle_is_in_one_place() {
    assert_said(
        "trust:\n  caBundles:\n  - {}\n  - registries: ['*']\n  - file: /a\n    configMap: {namespace: a, name: b, key: c}\n",
        &[
            "5:5 trust.caBundles[0]: nothing says where the certificates are; write one of `inline`, `configMap`, `secret` and `file`",
            "6:5 trust.caBundles[1]: nothing says where the certificates are; write one of `inline`, `configMap`, `secret` and `file`",
            "7:5 trust.caBundles[2].file: `configMap`, on line 8, says already where the certificates are; leave out `configMap` or `file`, or make two entries of it",
        ],
    );
    assert_said(
        &format!("{MIRROR}  caBundle: {{}}\n"),
        &[
            "7:13 registryMirrors[0].caBundle: nothing says where the certificates are; write one of `inline`, `configMap`, `secret` and `file`",
        ],
    );
}

#[test]
fn what_names_an_object_of_the_cluster_can_name_one() {
    assert_said(
        "trust:\n  caBundles:\n  - configMap: {namespace: Kube, name: a_b, key: 'c/d'}\n  - secret: {namespace: a.b, name: '', key: '..'}\n  - secret: {name: a}\n",
        &[
            "5:28 trust.caBundles[0].configMap.namespace: `Kube` is no name of a namespace; a namespace is at most 63 lower-case letters, digits and `-`",
            "5:40 trust.caBundles[0].configMap.name: `a_b` is no name of a ConfigMap; a name is at most 253 lower-case letters, digits, `-` and `.`, and begins and ends, also beside a `.`, with a letter or digit",
            "5:50 trust.caBundles[0].configMap.key: `c/d` is no name of a key of a ConfigMap; a key is at most 253 letters, digits, `-`, `_` and `.`",
            "6:25 trust.caBundles[1].secret.namespace: `a.b` is no name of a namespace; a namespace is at most 63 lower-case letters, digits and `-`",
            "6:36 trust.caBundles[1].secret.name: `` is no name of a Secret; a name is at most 253 lower-case letters, digits, `-` and `.`, and begins and ends, also beside a `.`, with a letter or digit",
            "6:45 trust.caBundles[1].secret.key: `..` is no name of a key of a Secret; a key is at most 253 letters, digits, `-`, `_` and `.`",
            "7:14 trust.caBundles[2].secret: the key `namespace` is missing; write the namespace that the object is in",
            "7:14 trust.caBundles[2].secret: the key `key` is missing; write the key that holds the certificates, such as `key: ca.crt`",
        ],
    );
}

#[test]
fn a_file_is_named_by_its_whole_path() {
    let help = "write the whole path of the file, such as `/etc/mirrorgate/ca/ca.crt`";
    assert_said(
        "trust:\n  caBundles:\n  - file: ca.crt\n  - file: ''\n  - file: /etc/ssl/\n  - file: \"/a\\nb\"\n",
        &[
            &format!("5:11 trust.caBundles[0].file: `ca.crt` is no absolute path; {help}"),
            &format!("6:11 trust.caBundles[1].file: `` is no absolute path; {help}"),
            &format!("7:11 trust.caBundles[2].file: `/etc/ssl/` is the path of a folder; {help}"),
            &format!("8:11 trust.caBundles[3].file: `/a\\u{{a}}b` holds control characters; {help}"),
        ],
    );
}

#[test]
fn names_of_cas_are_names_and_none_is_taken_twice() {
    let data = base64(pem("a"));
    assert_said(
        &format!(
            "trust:\n  additionalTrustedCAs:\n  - {{name: a, data: {data}}}\n  - {{name: a, data: {data}}}\n  - {{name: '-', data: {data}}}\n  - {{data: {data}}}\n  - {{name: c}}\n  - {{name: d, data: {data}, registries: []}}\n"
        ),
        &[
            "6:12 trust.additionalTrustedCAs[1].name: the name `a` is taken, on line 5; give each CA a name of its own",
            "7:12 trust.additionalTrustedCAs[2].name: `-` is no name of a CA; a name has 1 to 63 letters, digits, `-`, `_` and `.`, and begins and ends with a letter or digit",
            "8:6 trust.additionalTrustedCAs[3]: the key `name` is missing; write it; it is for metrics and messages",
            "9:6 trust.additionalTrustedCAs[4]: the key `data` is missing; write the base64 of the certificates, as `base64 -w0 ca.crt` prints it",
            &format!(
                "10:{} trust.additionalTrustedCAs[5].registries: is an empty list: the CAs would vouch for no registry; leave it out for every registry",
                "  - {name: d, data: , registries: ".len() + data.len() + 1
            ),
        ],
    );
}

#[test]
fn t6_a_plain_http_mirror_is_never_one_that_must_be_trusted() {
    let plain = "registryMirrors:\n- name: m\n  endpoint: http://m.lab:80\n  plainHTTP: true\n  hosts: [docker.io]\n";
    let without_tls = "6:14 warning: registryMirrors[0].plainHTTP: this mirror is used without TLS: whoever is on the network path can read and change what is pulled; serve the mirror by HTTPS where you can";
    let help = "serve the mirror by HTTPS, or list what is to be checked without it";
    let fault = |place: &str, pattern: &str| {
        format!(
            "{place}: `{pattern}` takes in the mirror `m`, on line 5, whose endpoint is `http://`: it has no certificate to check; {help}"
        )
    };
    assert_said(
        &format!("{plain}trust:\n  denyNetworks: [10.0.0.0/8]\n  registries: ['m.lab:80', '*.lab:80', '*', x.lab]\n"),
        &[
            without_tls,
            &fault("10:16 trust.registries[0]", "m.lab:80"),
            &fault("10:28 trust.registries[1]", "*.lab:80"),
            &fault("10:40 trust.registries[2]", "*"),
        ],
    );
    assert_said(
        &format!("{plain}  caBundle: {{file: /ca.crt}}\n"),
        &[
            without_tls,
            "8:14 registryMirrors[0].caBundle: the endpoint, on line 5, is `http://`: it has no certificate; leave `caBundle` out, or serve the mirror by HTTPS",
        ],
    );
    assert_said(
        &format!("{plain}- name: other\n  endpoint: https://m.lab:80/n\n  hosts: [quay.io]\n"),
        &[
            without_tls,
            "9:13 registryMirrors[1].endpoint: `https://` for `m.lab:80`, which is `http://` on line 5; write the same for both: one port speaks one of them",
        ],
    );
}

#[test]
fn networks_are_written_as_such() {
    assert_said(
        "trust:\n  denyNetworks: [10.0.0.0, 10.1.2.3/8, 'fd00::1/8', corp, '::ffff:10.0.0.0/104', 10.0.0.0/33, 10.0.0.0/8, 10.0.0.0/8, 'fd00::1']\n",
        &[
            "4:18 trust.denyNetworks[0]: `10.0.0.0` has no prefix length; write the network with it, as in `10.0.0.0/8`; that address alone is `10.0.0.0/32`",
            "4:28 trust.denyNetworks[1]: `10.1.2.3/8` has bits behind its prefix; write `10.0.0.0/8`",
            "4:40 trust.denyNetworks[2]: `fd00::1/8` has bits behind its prefix; write `fd00::/8`",
            "4:53 trust.denyNetworks[3]: `corp` is no network; write it as `10.0.0.0/8` or `fd00::/8`",
            "4:59 trust.denyNetworks[4]: `::ffff:10.0.0.0/104` is an IPv4 network, written as IPv6; write `10.0.0.0/8`",
            "4:82 trust.denyNetworks[5]: `10.0.0.0/33` is no network; write it as `10.0.0.0/8` or `fd00::/8`",
            "4:107 trust.denyNetworks[7]: `10.0.0.0/8` is listed twice, first on line 4; leave one of them out",
            "4:119 trust.denyNetworks[8]: `fd00::1` has no prefix length; write the network with it, as in `10.0.0.0/8`; that address alone is `fd00::1/128`",
        ],
    );
}

#[test]
fn durations_and_counts_are_bounded() {
    assert_said(
        "probe:\n  timeout: 5\n  ttl: {trusted: -5m, untrusted: 0s, unreachable: 25h}\n  maxConcurrent: 0\n",
        &[
            "4:12 probe.timeout: is a number, and must be a duration; write its unit too, such as `5s`",
            "5:18 probe.ttl.trusted: `-5m` is no duration; write it as `500ms`, `2s` or `1h30m`",
            "5:34 probe.ttl.untrusted: `0s` is too short; write a duration from `100ms` to `24h`",
            "5:51 probe.ttl.unreachable: `25h` is too long; write a duration from `100ms` to `24h`",
            "6:18 probe.maxConcurrent: 0 registries cannot be asked at the same time; write a number from 1 to 1024",
        ],
    );
    assert_said(
        "probe: {timeout: 31s, maxConcurrent: '5'}\n",
        &[
            "3:18 probe.timeout: `31s` is too long; write a duration from `10ms` to `30s`",
            "3:38 probe.maxConcurrent: is a string, and must be a whole number; write digits alone, without quotes",
        ],
    );
    assert_said(
        "probe: {timeout: -1, maxConcurrent: 1025}\n",
        &[
            "3:18 probe.timeout: is a number, and must be a duration; write it as `500ms`, `2s` or `1h30m`",
            "3:37 probe.maxConcurrent: 1025 registries cannot be asked at the same time; write a number from 1 to 1024",
        ],
    );
}

#[test]
fn values_and_keys_that_are_not_known_are_refused() {
    assert_said(
        &format!(
            "{MIRROR}  mirrorSourcePolicy: allowContactingSource\ntrust: {{onUntrusted: reject, onUnreachable: ignore, systemRoots: 'no', denyNetwork: [], timeout: 2s}}\n"
        ),
        &[
            "7:23 registryMirrors[0].mirrorSourcePolicy: `allowContactingSource` is no value of this key; did you mean `AllowContactingSource`?",
            "8:22 trust.onUntrusted: `reject` is no value of this key; the values here are `deny`, `warn`",
            "8:45 trust.onUnreachable: `ignore` is no value of this key; the values here are `warn`, `deny`, `allow`",
            "8:66 trust.systemRoots: is a string, and must be true or false; write `true` or `false`, without quotes",
            "8:72 trust.denyNetwork: unknown key `denyNetwork`; did you mean `denyNetworks`?",
            "8:89 trust.timeout: unknown key `timeout`; `timeout` belongs under `probe`",
        ],
    );
}

#[test]
fn one_bundle_for_the_same_registries_is_listed_once() {
    let bundle = "secret: {namespace: a, name: b, key: c}";
    assert_said(
        &format!("trust:\n  caBundles:\n  - {bundle}\n  - {{{bundle}, registries: ['*']}}\n"),
        &["6:6 trust.caBundles[1]: says the same as the entry on line 5; leave one of them out"],
    );
}

// ---- Warnings -------------------------------------------------------------------------------------------------------

#[test]
fn a_ca_for_a_registry_that_nobody_checks_is_told_of() {
    assert_said(
        &format!(
            "{MIRROR}trust:\n  registries: ['*.lab', ghcr.io]\n  caBundles:\n  - file: /a\n    registries: [harbor.corp, quay.io, '*.io', '*.gcr.io', '*.corp:5000', '*.corp', '*.x.lab', '*', 'a.lab:443', 'harbor.corp:5000']\n"
        ),
        &[
            "11:18 warning: trust.caBundles[0].registries[0]: no registry that is checked matches `harbor.corp`; did you mean `harbor.corp:5000`? A pattern without a port does not match a host with one",
            "11:31 warning: trust.caBundles[0].registries[1]: no registry that is checked matches `quay.io`; list it in `trust.registries`, or leave it out",
            "11:48 warning: trust.caBundles[0].registries[3]: no registry that is checked matches `*.gcr.io`; list it in `trust.registries`, or leave it out",
            "11:75 warning: trust.caBundles[0].registries[5]: no registry that is checked matches `*.corp`; list it in `trust.registries`, or leave it out",
            "11:101 warning: trust.caBundles[0].registries[8]: no registry that is checked matches `a.lab:443`; list it in `trust.registries`, or leave it out",
        ],
    );
}

#[test]
fn registries_for_which_there_is_no_ca_at_all_are_told_of() {
    let warning = |names: &str| {
        format!(
            "8:16 warning: trust.systemRoots: no CA is there for {names}: whatever is presented there is refused; give a `caBundle` to the mirror, or list a CA under `additionalTrustedCAs` or `caBundles`"
        )
    };
    let trust = "trust:\n  systemRoots: false\n";
    assert_said(&format!("{MIRROR}{trust}"), &[&warning("`harbor.corp:5000`")]);
    assert_said(
        &format!("{MIRROR}{trust}  registries: [a.io, b.io, '*.lab']\n"),
        &[&warning("`harbor.corp:5000`, `a.io`, `b.io`, 1 more")],
    );
    assert_said(
        &format!("{MIRROR}{trust}  registries: [a.io, '*.lab']\n  caBundles: [{{file: /a, registries: [a.io]}}]\n"),
        &[&warning("`harbor.corp:5000`")],
    );
    assert_said(&format!("{MIRROR}{trust}  caBundles: [{{file: /a}}]\n"), &[]);
}

#[test]
fn p2_a_star_without_a_denied_network_is_told_of() {
    assert_said(
        "trust: {registries: ['*']}\n",
        &[
            "3:22 warning: trust.registries[0]: with `*`, whoever may create pods says where mirrorgate connects to, and no network is denied; list the networks that it must not reach in `trust.denyNetworks`, such as `10.0.0.0/8`",
        ],
    );
    assert_said("trust: {registries: ['*'], denyNetworks: [10.0.0.0/8]}\n", &[]);
}

/// Trap 35: a thousand registries and CAs compile at load, and asking for one of them walks no list.
#[test]
fn trap_35_thousands_of_registries_compile_and_are_found() {
    let data = base64(pem("a"));
    let mut body = "trust:\n  registries:\n".to_owned();
    for host in 0..5_000 {
        body.push_str(&match host % 2 {
            0 => format!("  - h{host}.corp:5000\n"),
            _ => format!("  - '*.h{host}.corp'\n"),
        });
    }
    body.push_str("  additionalTrustedCAs:\n");
    for ca in 0..1_000 {
        let registry = if ca % 2 == 0 { format!("h{ca}.corp:5000") } else { format!("*.h{ca}.corp") };
        body.push_str(&format!("  - {{name: ca-{ca}, data: {data}, registries: ['{registry}']}}\n"));
    }
    let compiled = read(&body);
    assert_eq!(compiled.warnings, []);
    let policy = compiled.policy;
    assert_eq!(policy.probed_ahead().count(), 2_500);
    for (registry, why, expected) in [
        ("h4998.corp:5000", "listed h4998.corp:5000", &["public"][..]),
        ("h998.corp:5000", "listed h998.corp:5000", &["additionalTrustedCAs ca-998 (1)", "public"]),
        ("a.b.h999.corp", "listed *.h999.corp", &["additionalTrustedCAs ca-999 (1)", "public"]),
        ("h999.corp", "no", &["public"]),
    ] {
        assert_eq!(checked(&policy, registry), why);
        assert_eq!(sources(&policy, registry), expected, "{registry}");
    }
}
