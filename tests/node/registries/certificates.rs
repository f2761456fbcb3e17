//! Certificates of every kind, and what the client that is to trust them is given.

use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The name of all registries but those that have only an address.
pub(crate) const NAME: &str = "front.lab.test";

/// A registry's certificates, and whether they are good.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// By its address, not by [`NAME`].
    pub(crate) by_address: bool,
    /// Its own first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// The PEM that is trusted for it.
    pub(crate) trusted: Option<String>,
    /// The class of the verdict, as a person who knows X.509 and Go would give it.
    pub(crate) class: &'static str,
    /// The keys are too small for the stack of this test: the registry serves TLS itself.
    pub(crate) by_itself: bool,
}

/// A CA, or anything else that signs.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
    der: CertificateDer<'static>,
}

struct Leaf {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

type Change<'a> = &'a dyn Fn(&mut CertificateParams);

const NO_CHANGE: Change<'static> = &|_| {};

impl Authority {
    fn root(name: &str, change: Change<'_>) -> Self {
        let (params, key) = (authority(name, change), KeyPair::generate().unwrap());
        let der = params.self_signed(&key).unwrap().into();
        Self { params, key, der }
    }

    /// Another CA below this one.
    fn below(&self, name: &str, change: Change<'_>) -> Self {
        let (params, key) = (authority(name, change), KeyPair::generate().unwrap());
        let der = self.sign(&params, &key);
        Self { params, key, der }
    }

    fn sign(&self, params: &CertificateParams, key: &KeyPair) -> CertificateDer<'static> {
        params.signed_by(key, &Issuer::from_params(&self.params, &self.key)).unwrap().into()
    }

    fn leaf(&self, change: Change<'_>) -> Leaf {
        self.leaf_with(&PKCS_ECDSA_P256_SHA256, change)
    }

    fn leaf_with(&self, algorithm: &'static SignatureAlgorithm, change: Change<'_>) -> Leaf {
        let (params, key) = (server(change), KeyPair::generate_for(algorithm).unwrap());
        Leaf { chain: vec![self.sign(&params, &key)], key }
    }

    fn pem(&self) -> String {
        pem(&self.der)
    }
}

impl Leaf {
    fn with(mut self, more: &[&Authority]) -> Self {
        self.chain.extend(more.iter().map(|authority| authority.der.clone()));
        self
    }

    fn kind(self, name: &'static str, trusted: Option<String>, class: &'static str) -> Kind {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        Kind { name, by_address: false, chain: self.chain, key, trusted, class, by_itself: false }
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

fn authority(name: &str, change: Change<'_>) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    change(&mut params);
    params
}

fn server(change: Change<'_>) -> CertificateParams {
    let mut params = named(NAME);
    params.subject_alt_names = names(&[NAME]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    params
}

fn names(names: &[&str]) -> Vec<rcgen::SanType> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).unwrap().subject_alt_names
}

fn expired(params: &mut CertificateParams) {
    params.not_after = date_time_ymd(2020, 1, 1);
}

fn subtrees(names: &[&str]) -> Vec<GeneralSubtree> {
    names.iter().map(|&name| GeneralSubtree::DnsName(name.to_owned())).collect()
}

/// The kinds, each with a CA of its own where it matters. The folder is for what openssl has to make.
pub(crate) fn kinds(folder: &Path, address: &str) -> Vec<Kind> {
    let root = Authority::root("root", NO_CHANGE);
    let middle = root.below("middle", NO_CHANGE);
    let lower = middle.below("lower", NO_CHANGE);
    let trust = |authority: &Authority| Some(authority.pem());
    let mut kinds = vec![
        root.leaf(NO_CHANGE).kind("good", trust(&root), "ok"),
        middle.leaf(NO_CHANGE).with(&[&middle]).kind("intermediate", trust(&root), "ok"),
        middle.leaf(NO_CHANGE).kind("intermediate missing", trust(&root), "unknown-authority"),
        lower.leaf(NO_CHANGE).with(&[&root, &middle, &lower]).kind("wrong order", trust(&root), "ok"),
        middle.leaf(NO_CHANGE).kind("intermediate trusted", trust(&middle), "ok"),
        root.leaf(&expired).kind("expired leaf", trust(&root), "expired"),
        root.leaf(&|params| params.not_before = date_time_ymd(2090, 1, 1)).kind(
            "not yet valid",
            trust(&root),
            "not-yet-valid",
        ),
        root.leaf(&|params| params.subject_alt_names = names(&["other.lab.test"])).kind(
            "wrong name",
            trust(&root),
            "name-mismatch",
        ),
        root.leaf(&|params| params.subject_alt_names.clear()).kind("common name only", trust(&root), "name-mismatch"),
        root.leaf(&|params| params.subject_alt_names = names(&["*.lab.test"])).kind("wildcard", trust(&root), "ok"),
        root.leaf(NO_CHANGE).kind("no CA given", None, "unknown-authority"),
        root.leaf(&|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]).kind(
            "for clients",
            trust(&root),
            "wrong-usage",
        ),
        root.leaf(&|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]).kind(
            "for anything",
            trust(&root),
            "ok",
        ),
        root.leaf(&|params| {
            let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            unknown.set_criticality(true);
            params.custom_extensions.push(unknown);
        })
        .kind("unknown critical extension", trust(&root), "unhandled-extension"),
        root.leaf_with(&PKCS_RSA_SHA256, NO_CHANGE).kind("RSA-2048", trust(&root), "ok"),
        root.leaf_with(&PKCS_ECDSA_P384_SHA384, NO_CHANGE).kind("P-384", trust(&root), "ok"),
        root.leaf_with(&PKCS_ECDSA_P521_SHA512, NO_CHANGE).kind("P-521", trust(&root), "ok"),
        root.leaf_with(&PKCS_ED25519, NO_CHANGE).kind("Ed25519", trust(&root), "ok"),
        Kind {
            by_address: true,
            ..root.leaf(&|params| params.subject_alt_names = names(&[address])).kind("address", trust(&root), "ok")
        },
        Kind { by_address: true, ..root.leaf(NO_CHANGE).kind("address not in it", trust(&root), "name-mismatch") },
    ];
    kinds.extend(with_odd_authorities(&root));
    kinds.extend(by_openssl(folder, &root));
    kinds
}

fn with_odd_authorities(root: &Authority) -> Vec<Kind> {
    let trust = |authority: &Authority| Some(authority.pem());
    let old_root = Authority::root("old root", &expired);
    let old_middle = root.below("old middle", &expired);
    let short = Authority::root("short", &|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let too_deep = short.below("too deep", NO_CHANGE);
    let no_ca = root.below("no CA", &|params| params.is_ca = IsCa::ExplicitNoCa);
    let for_lab = Authority::root("for the lab", &|params| {
        let excluded_subtrees = subtrees(&["other.test"]);
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees: subtrees(&["lab.test"]), excluded_subtrees });
    });
    let not_for_lab = Authority::root("not for the lab", &|params| {
        let excluded_subtrees = subtrees(&["lab.test"]);
        params.name_constraints = Some(NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees });
    });
    let other_root = Authority::root("root", NO_CHANGE);
    let foreign = Authority::root("foreign", NO_CHANGE);
    let crossed = foreign.below("crossed", NO_CHANGE);
    let crossed_by_us = Authority {
        der: root.sign(&crossed.params, &crossed.key),
        params: crossed.params.clone(),
        key: KeyPair::generate().unwrap(),
    };
    let as_given = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (params, key) = (server(&as_given), KeyPair::generate().unwrap());
    let der: CertificateDer<'static> = params.self_signed(&key).unwrap().into();
    let alone = || Leaf { chain: vec![der.clone()], key: KeyPair::from_pem(&key.serialize_pem()).unwrap() };
    vec![
        old_root.leaf(NO_CHANGE).kind("expired root", trust(&old_root), "expired"),
        old_middle.leaf(NO_CHANGE).with(&[&old_middle]).kind("expired intermediate", trust(root), "expired"),
        too_deep.leaf(NO_CHANGE).with(&[&too_deep]).kind("path too long", trust(&short), "not-a-ca"),
        no_ca.leaf(NO_CHANGE).with(&[&no_ca]).kind("issuer is no CA", trust(root), "not-a-ca"),
        for_lab.leaf(NO_CHANGE).kind("permitted name", trust(&for_lab), "ok"),
        not_for_lab.leaf(NO_CHANGE).kind("excluded name", trust(&not_for_lab), "name-constraint"),
        crossed.leaf(NO_CHANGE).with(&[&crossed, &crossed_by_us]).kind("cross-signed", trust(root), "ok"),
        other_root.leaf(NO_CHANGE).kind("same subject, other key", trust(root), "unknown-authority"),
        alone().kind("CA as server, given", Some(pem(&der)), "ok"),
        alone().kind("CA as server, not given", trust(root), "unknown-authority"),
        foreign.leaf(NO_CHANGE).kind("several given", Some(root.pem() + "a remark\n" + &foreign.pem()), "ok"),
    ]
}

/// What rcgen does not make: a small RSA key, a signature with SHA-1.
fn by_openssl(folder: &Path, root: &Authority) -> Vec<Kind> {
    fs::create_dir_all(folder).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write("root.crt", &root.pem());
    write("root.key", &root.key.serialize_pem());
    write("extensions", &format!("subjectAltName=DNS:{NAME}\nextendedKeyUsage=serverAuth\n"));
    let make = |name: &'static str, key: &str, signing: &str, class: &'static str| {
        let file = format!("{}.crt", name.replace(' ', "-"));
        let key_file = file.replace(".crt", ".key");
        let script = format!(
            "openssl req -newkey {key} -nodes -keyout {key_file} -out {file}.csr -subj /CN={NAME}
             openssl x509 -req -in {file}.csr -CA root.crt -CAkey root.key -CAcreateserial -days 30 {signing} -extfile extensions -out {file}"
        );
        let output = Command::new("bash").args(["-euc", &script]).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Kind {
            name,
            by_address: false,
            chain: vec![CertificateDer::from_pem_file(folder.join(&file)).unwrap()],
            key: PrivateKeyDer::from_pem_file(folder.join(&key_file)).unwrap(),
            trusted: Some(root.pem()),
            class,
            by_itself: key == "rsa:1024",
        }
    };
    vec![
        make("RSA-1024", "rsa:1024", "-sha256", "ok"),
        make("SHA-1", "ec -pkeyopt ec_paramgen_curve:P-256", "-sha1", "bad-signature"),
    ]
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
