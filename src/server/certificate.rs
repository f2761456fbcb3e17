//! The serving certificate: where it comes from, the checks before it is used, and its replacement while we run.
//! Who trusts it (`caBundle`) is not this module's business.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use crate::files::{FileError, FollowedFiles, News};
use crate::telemetry::{Metrics, Readiness};
use crate::trust;

/// The part of [`Readiness`] that this module sets.
pub const READINESS: &str = "certificate";
/// What `/readyz` remarks on.
const NEWEST: &str = "newest";

/// No chain or key is larger (bytes): a Secret has 1 MiB.
const MOST_BYTES: u64 = 1 << 20;
/// Names that a self-made certificate always carries.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Clocks differ: a self-made certificate is valid from a little in the past.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);
const OWN_LIFETIME: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);

/// Where the serving certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// PEM files that somebody else makes and replaces: a mounted Secret.
    Files {
        /// The chain, the serving certificate first.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// A directory that keeps `ca.crt`, `tls.crt` and `tls.key`; what is not there is made.
    Directory {
        /// The directory; made when absent.
        directory: PathBuf,
        /// Names beside `localhost`, `127.0.0.1` and `::1`.
        names: Vec<String>,
    },
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file holds no certificate or key.
    #[error("{}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Certificate and key are not of one pair, or the key is of a kind that we cannot use.
    #[error("{} and {} cannot serve together: {source}", certificate.display(), key.display())]
    Pair {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The directory holds some of the files only.
    #[error("{} is there, but {} is not: add it, or remove the others and all are made anew", found.display(), missing.display())]
    Incomplete {
        /// A file that is there.
        found: PathBuf,
        /// One that is not.
        missing: PathBuf,
    },
    /// A certificate cannot be made, for a bad name in most cases.
    #[error("making a certificate for {names}: {source}")]
    Making {
        /// The names asked for.
        names: String,
        /// What rcgen says.
        source: rcgen::Error,
    },
}

/// The files of one pair, and the pair in force. One task keeps it up to date ([`Certificate::keep`]).
#[derive(Debug)]
pub struct Certificate {
    /// The chain and its key.
    files: FollowedFiles<2>,
    authority: Option<PathBuf>,
    in_force: watch::Sender<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Loads the pair of `source`, making it first where that was asked for.
    ///
    /// # Errors
    /// When there is no usable pair.
    pub fn load(source: &CertificateSource, metrics: &Metrics) -> Result<Certificate, CertificateError> {
        let (certificate, key, authority) = match source {
            CertificateSource::Files { certificate, key } => (certificate.clone(), key.clone(), None),
            CertificateSource::Directory { directory, names } => {
                let own = OwnFiles::of(directory);
                if own.are_missing()? {
                    own.make(directory, names)?;
                }
                (own.certificate, own.key, Some(own.authority))
            }
        };
        let mut files = FollowedFiles::new([certificate, key], MOST_BYTES);
        let content = files.first()?;
        let pair = parse(files.paths(), &content)?;
        let [certificate, _] = files.paths();
        report(certificate, &pair, metrics);
        if let CertificateSource::Directory { names, .. } = source {
            for name in names.iter().filter(|name| !pair.names.contains(name)) {
                tracing::warn!(
                    file = %certificate.display(), name,
                    "the certificate that was found here lacks this name; remove the three files to have them made anew"
                );
            }
        }
        let (in_force, _) = watch::channel(Arc::new(pair.key));
        Ok(Certificate { files, authority, in_force })
    }

    /// The file of the CA that made the certificate, where we made it ourselves.
    #[must_use]
    pub fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// TLS 1.2 and 1.3 with the pair that is in force at each handshake; HTTP/2 and HTTP/1.1 by ALPN.
    ///
    /// # Errors
    /// When the crypto provider supports neither TLS version.
    pub fn server_config(&self) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(InForce(self.in_force.subscribe())));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Takes up every new pair that passes the checks, for ever. A pair that does not leaves the last one in force.
    pub async fn keep(mut self, metrics: Arc<Metrics>, readiness: Arc<Readiness>) {
        loop {
            let content = match self.files.next().await {
                News::Content(content) => content,
                // In the middle of a swap, or gone: nothing to take up, and the pair in memory serves on.
                News::Away(_) | News::Back => continue,
            };
            match parse(self.files.paths(), &content) {
                Ok(pair) => {
                    let [certificate, _] = self.files.paths();
                    report(certificate, &pair, &metrics);
                    readiness.remark(READINESS, NEWEST, None);
                    self.in_force.send_replace(Arc::new(pair.key));
                }
                Err(error) => {
                    tracing::warn!(error = %error, "the new serving certificate cannot be used; the last one stays");
                    readiness.remark(READINESS, NEWEST, Some(format!("the last good one; the new one: {error}")));
                }
            }
        }
    }
}

impl From<FileError> for CertificateError {
    fn from(FileError { path, source }: FileError) -> Self {
        Self::File { path, source }
    }
}

/// Answers every handshake with the pair that is in force.
#[derive(Debug)]
struct InForce(watch::Receiver<Arc<CertifiedKey>>);

impl ResolvesServerCert for InForce {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.borrow()))
    }
}

struct Pair {
    key: CertifiedKey,
    /// Unix seconds.
    not_after: i64,
    /// The names and addresses that it is for.
    names: Vec<String>,
}

fn parse([certificate, key]: &[PathBuf; 2], content: &[Vec<u8>; 2]) -> Result<Pair, CertificateError> {
    let bad = |path: &Path, message: String| CertificateError::Content { path: path.to_owned(), message };
    let chain = CertificateDer::pem_slice_iter(&content[0])
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(certificate, format!("not PEM: {error}")))?;
    let first = chain.first().ok_or_else(|| bad(certificate, "no CERTIFICATE block in it".to_owned()))?;
    // The API server, which is to trust it, is Go as the nodes are.
    let facts = trust::Certificate::parse(first)
        .map_err(|error| {
            bad(certificate, format!("its first block is no certificate to the API server: {}", error.what()))
        })?
        .facts();
    let private = PrivateKeyDer::from_pem_slice(&content[1])
        .map_err(|error| bad(key, format!("no private key in PEM that we can read: {error}")))?;
    let key = CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider()).map_err(|source| {
        CertificateError::Pair { certificate: certificate.to_owned(), key: key.to_owned(), source }
    })?;
    Ok(Pair { key, not_after: facts.not_after.as_second(), names: facts.names })
}

fn report(path: &Path, pair: &Pair, metrics: &Metrics) {
    metrics.certificate_expiry(pair.not_after);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let left = pair.not_after.saturating_sub(i64::try_from(now).unwrap_or(i64::MAX));
    let file = path.display();
    if left <= 0 {
        tracing::error!(file = %file, "the serving certificate has expired: the API server will refuse it");
    } else {
        tracing::info!(file = %file, days_left = left / (24 * 60 * 60), "serving certificate loaded");
    }
}

/// The files that `--cert-dir` keeps.
struct OwnFiles {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl OwnFiles {
    fn of(directory: &Path) -> OwnFiles {
        OwnFiles {
            authority: directory.join("ca.crt"),
            certificate: directory.join("tls.crt"),
            key: directory.join("tls.key"),
        }
    }

    /// Whether all are missing; some are an error, since overwriting what somebody made would be one.
    fn are_missing(&self) -> Result<bool, CertificateError> {
        let all = [&self.authority, &self.certificate, &self.key];
        match (all.iter().find(|path| path.exists()), all.iter().find(|path| !path.exists())) {
            (None, _) => Ok(true),
            (Some(_), None) => Ok(false),
            (Some(found), Some(missing)) => {
                Err(CertificateError::Incomplete { found: (*found).clone(), missing: (*missing).clone() })
            }
        }
    }

    fn make(&self, directory: &Path, names: &[String]) -> Result<(), CertificateError> {
        let names: Vec<String> = OWN_NAMES.iter().map(|&name| name.to_owned()).chain(names.iter().cloned()).collect();
        let made = make_pair(&names, SystemTime::now())
            .map_err(|source| CertificateError::Making { names: names.join(", "), source })?;
        fs::create_dir_all(directory)
            .map_err(|source| CertificateError::File { path: directory.to_owned(), source })?;
        write_new(&self.key, &made.key, 0o600)?;
        write_new(&self.authority, &made.authority, 0o644)?;
        write_new(&self.certificate, &made.certificate, 0o644)?;
        tracing::info!(directory = %directory.display(), names = names.join(","), "made a CA and a serving certificate");
        Ok(())
    }
}

/// Whole or not at all: written beside its place, then moved there.
fn write_new(path: &Path, content: &str, mode: u32) -> Result<(), CertificateError> {
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

/// A CA and a certificate that it signed, in PEM. The CA's key is not kept: it signs once.
struct MadePair {
    authority: String,
    certificate: String,
    key: String,
}

fn make_pair(names: &[String], now: SystemTime) -> Result<MadePair, rcgen::Error> {
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = rcgen::date_time_ymd(1970, 1, 1) + since_1970;
    let params = |names: Vec<String>, common_name: &str| {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.not_before = now - CLOCK_SKEW;
        params.not_after = now + OWN_LIFETIME;
        Ok::<_, rcgen::Error>(params)
    };
    let mut authority = params(Vec::new(), "mirrorgate self-made CA")?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let mut leaf = params(names.to_vec(), "mirrorgate")?;
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &issuer)?;
    Ok(MadePair { authority: authority_certificate.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn own(directory: &Path, names: &[&str]) -> CertificateSource {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        CertificateSource::Directory { directory: directory.to_owned(), names }
    }

    #[test]
    fn what_was_made_is_kept_and_its_key_is_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("made/here");
        let metrics = Metrics::new();
        Certificate::load(&own(&directory, &["mirrorgate.example"]), &metrics).unwrap();
        let first = fs::read(directory.join("tls.crt")).unwrap();
        assert_eq!(fs::metadata(directory.join("tls.key")).unwrap().permissions().mode() & 0o777, 0o600);
        let leaf = trust::Bundle::read(&first).certificates[0].facts();
        assert_eq!(leaf.names, ["localhost", "mirrorgate.example", "127.0.0.1", "::1"]);
        let now = jiff::Timestamp::now();
        assert!(leaf.not_before < now && now < leaf.not_after);
        Certificate::load(&own(&directory, &[]), &metrics).unwrap();
        assert_eq!(first, fs::read(directory.join("tls.crt")).unwrap());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 3, "something was left behind");
    }

    #[test]
    fn half_a_directory_is_an_error_that_names_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tls.key"), "mine").unwrap();
        let error = Certificate::load(&own(folder.path(), &[]), &Metrics::new()).unwrap_err().to_string();
        assert!(error.contains("ca.crt is not"), "{error}");
        assert_eq!(fs::read(folder.path().join("tls.key")).unwrap(), b"mine");
    }

    #[test]
    fn a_key_of_another_pair_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let metrics = Metrics::new();
        Certificate::load(&own(&one, &[]), &metrics).unwrap();
        Certificate::load(&own(&two, &[]), &metrics).unwrap();
        let mixed = CertificateSource::Files { certificate: one.join("tls.crt"), key: two.join("tls.key") };
        let error = Certificate::load(&mixed, &metrics).unwrap_err().to_string();
        assert!(error.contains("cannot serve together"), "{error}");
    }

    #[test]
    fn a_bad_name_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Certificate::load(&own(folder.path(), &["b\u{e4}d"]), &Metrics::new()).unwrap_err().to_string();
        assert!(error.contains("b\u{e4}d"), "{error}");
    }
}
