//! Registries over TLS, as mirrorgate asks them: their CAs and certificates are made in the test, and change under way.
//!
//! They stand at names of their own: the lab's mount namespace gets an `/etc/hosts` that has them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::TcpListener as StdListener;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::lab::{our_address, work};

/// A CA.
pub(crate) struct Authority {
    /// Its certificate.
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate for some names, and its key, as a registry presents them.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
    certified: Arc<CertifiedKey>,
}

impl Authority {
    pub(crate) fn new(common_name: &str) -> Self {
        let mut params = CertificateParams::default();
        of_these_years(&mut params);
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A serving pair for these names or addresses.
    pub(crate) fn serving(&self, names: &[&str]) -> Serving {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        of_these_years(&mut params);
        params.distinguished_name.push(DnType::CommonName, names[0]);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        Serving::of(made.pem(), made.der().clone(), &key)
    }
}

fn of_these_years(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2045, 1, 1);
}

impl Serving {
    fn of(certificate_pem: String, certificate: CertificateDer<'static>, key: &KeyPair) -> Self {
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let certified = CertifiedKey::from_der(vec![certificate], private, &aws_lc_rs::default_provider()).unwrap();
        Self { certificate_pem, key_pem: key.serialize_pem(), certified: Arc::new(certified) }
    }
}

/// A registry that answers whoever trusts it: `GET /v2/` is 401, as it is without credentials. It ends when it is dropped.
pub(crate) struct Registry {
    /// `name:port`, as images name it.
    pub(crate) host: String,
    presented: Arc<Presented>,
    dialled: Arc<AtomicUsize>,
    /// Of its own: what the test waits for may be waiting for the registry.
    runtime: Option<Runtime>,
}

struct Presented(RwLock<Arc<CertifiedKey>>);

impl Registry {
    /// At our address in the lab, under `name`; port 0 takes a free one.
    pub(crate) fn start(name: &str, port: u16, serving: &Serving) -> Self {
        name_in_the_lab(name);
        let listener = bound(port);
        listener.set_nonblocking(true).unwrap();
        let host = format!("{name}:{}", listener.local_addr().unwrap().port());
        let presented = Arc::new(Presented(RwLock::new(Arc::clone(&serving.certified))));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&presented) as Arc<dyn ResolvesServerCert>);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let dialled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&dialled);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                count.fetch_add(1, Ordering::SeqCst);
                let acceptor = acceptor.clone();
                handle.spawn(async move {
                    // Whoever does not trust us leaves in the midst of it.
                    let _ = answer(acceptor, stream).await;
                });
            }
        });
        Self { host, presented, dialled, runtime: Some(runtime) }
    }

    /// Shows another certificate from now on.
    pub(crate) fn present(&self, serving: &Serving) {
        *self.presented.0.write().unwrap() = Arc::clone(&serving.certified);
    }

    /// How often somebody connected.
    pub(crate) fn dialled(&self) -> usize {
        self.dialled.load(Ordering::SeqCst)
    }
}

/// A port that another registry has just left is free in a moment.
fn bound(port: u16) -> StdListener {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        match StdListener::bind((our_address().as_str(), port)) {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < end, "port {port}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap()))
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented")
    }
}

async fn answer(acceptor: TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let answer = "HTTP/1.1 401 Unauthorized\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\
                  WWW-Authenticate: Basic realm=\"lab\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// From now on this is a name of our address, for every process in the lab.
pub(crate) fn name_in_the_lab(name: &str) {
    static NAMES: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let hosts = work().join("hosts");
    let mut names = NAMES.lock().unwrap();
    names.insert(name.to_owned(), our_address());
    let lines: String = names.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
    let text = format!("127.0.0.1 localhost\n{lines}");
    // In place: a mount is of this very file.
    fs::write(&hosts, &text).unwrap();
    if fs::read_to_string("/etc/hosts").unwrap() != text {
        let status = Command::new("mount").arg("--bind").arg(&hosts).arg("/etc/hosts").status().unwrap();
        assert!(status.success(), "the lab's /etc/hosts cannot be mounted");
    }
}
