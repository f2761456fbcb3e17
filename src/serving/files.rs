//! The serving certificate in files: somebody else's, that are followed (trap 21), or our own, made where there are none.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::files::{FileError, FollowedFiles, News};

use super::in_force::InForce;
use super::making::{Authority, MakingError};
use super::pair::{Pair, PairFault};

/// No chain or key is larger (bytes): a Secret has 1 MiB.
const MOST_BYTES: u64 = 1 << 20;
/// Names that a self-made certificate always carries.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const OWN_LIFE: SignedDuration = SignedDuration::from_hours(2 * 365 * 24);
/// What was refused may be in order later: it was not valid yet, say.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Where the files are.
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
    /// Certificate and key cannot serve.
    #[error("{} and {} cannot serve together: {fault}", certificate.display(), key.display())]
    Pair {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why not.
        fault: PairFault,
    },
    /// The directory holds some of the files only.
    #[error("{} is there, but {} is not: add it, or remove the others and all are made anew", found.display(), missing.display())]
    Incomplete {
        /// A file that is there.
        found: PathBuf,
        /// One that is not.
        missing: PathBuf,
    },
    /// A certificate cannot be made.
    #[error(transparent)]
    Making(#[from] MakingError),
}

/// The files of one pair. One task keeps what is in force up to date with them ([`CertificateFiles::keep`]).
#[derive(Debug)]
pub struct CertificateFiles {
    /// The chain and its key.
    files: FollowedFiles<2>,
    authority: Option<PathBuf>,
    /// By which the API server calls us, where that is known.
    name: Option<String>,
    newest: Option<Pair>,
    in_force: Arc<InForce>,
}

impl CertificateFiles {
    /// Puts the pair of `source` in force, making it first where that was asked for. Where the API server calls us by a
    /// known `name`, the pair has to be for that.
    ///
    /// # Errors
    /// When there is no usable pair. One that the API server would refuse is used all the same, and said to be such: there
    /// is no better one yet.
    pub fn load(
        source: &CertificateSource,
        name: Option<String>,
        in_force: Arc<InForce>,
    ) -> Result<CertificateFiles, CertificateError> {
        let now = Timestamp::now();
        let (certificate, key, authority) = match source {
            CertificateSource::Files { certificate, key } => (certificate.clone(), key.clone(), None),
            CertificateSource::Directory { directory, names } => {
                let own = OwnFiles::of(directory);
                if own.are_missing()? {
                    own.make(directory, names, now)?;
                }
                (own.certificate, own.key, Some(own.authority))
            }
        };
        let mut files = FollowedFiles::new([certificate, key], MOST_BYTES);
        let [chain, private] = files.first()?;
        let [certificate, key] = files.paths();
        let pair = Pair::read(&chain, &private).map_err(|fault| CertificateError::Pair {
            certificate: certificate.clone(),
            key: key.clone(),
            fault,
        })?;
        if let CertificateSource::Directory { names, .. } = source {
            let found = pair.leaf().facts().names;
            for name in names.iter().filter(|name| !found.contains(name)) {
                tracing::warn!(
                    file = %certificate.display(), name,
                    "the certificate that was found here lacks this name; remove the three files to have them made anew"
                );
            }
        }
        in_force.take(&pair, pair.check(None, name.as_deref(), now).err().as_ref(), now);
        Ok(CertificateFiles { files, authority, name, newest: Some(pair), in_force })
    }

    /// The file of the CA that made the certificate, where we made it ourselves.
    #[must_use]
    pub fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// Takes up every new pair that passes the checks, for ever. A pair that does not leaves the last one in force.
    pub async fn keep(mut self) {
        loop {
            let news = tokio::select! {
                news = self.files.next() => Some(news),
                () = tokio::time::sleep(LOOK_AGAIN) => None,
            };
            match news {
                Some(News::Content([certificate, key])) => match Pair::read(&certificate, &key) {
                    Ok(pair) => self.newest = Some(pair),
                    Err(fault) => {
                        self.newest = None;
                        self.in_force.refuse(&fault.to_string());
                    }
                },
                Some(News::Away(error)) => {
                    self.in_force.refuse(&error.to_string());
                    continue;
                }
                Some(News::Back) | None => {}
            }
            if let Some(pair) = self.newest.as_ref().filter(|_| !self.files.are_away()) {
                let now = Timestamp::now();
                let check = |pair: &Pair| pair.check(None, self.name.as_deref(), now);
                self.in_force.offer(pair, check(pair), |pair| check(pair).is_ok(), now);
            }
        }
    }
}

impl From<FileError> for CertificateError {
    fn from(FileError { path, source }: FileError) -> Self {
        Self::File { path, source }
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

    fn make(&self, directory: &Path, names: &[String], now: Timestamp) -> Result<(), CertificateError> {
        let names: Vec<String> = OWN_NAMES.iter().map(|&name| name.to_owned()).chain(names.iter().cloned()).collect();
        // The CA's key is not kept: it signs once.
        let (authority, made) = Authority::make(now, OWN_LIFE)?;
        let leaf = authority.sign(&names, now, OWN_LIFE)?;
        fs::create_dir_all(directory)
            .map_err(|source| CertificateError::File { path: directory.to_owned(), source })?;
        write_new(&self.key, leaf.key.as_bytes(), 0o600)?;
        write_new(&self.authority, made.certificate.as_bytes(), 0o644)?;
        write_new(&self.certificate, leaf.certificate.as_bytes(), 0o644)?;
        tracing::info!(directory = %directory.display(), names = names.join(","), "made a CA and a serving certificate");
        Ok(())
    }
}

/// Whole or not at all: written beside its place, then moved there.
fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), CertificateError> {
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::telemetry::{Metrics, Readiness};
    use crate::trust::Bundle;

    fn load(source: &CertificateSource) -> Result<CertificateFiles, CertificateError> {
        let in_force = InForce::new(Arc::new(Metrics::new()), Arc::new(Readiness::new(&[])));
        CertificateFiles::load(source, None, Arc::new(in_force))
    }

    fn own(directory: &Path, names: &[&str]) -> CertificateSource {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        CertificateSource::Directory { directory: directory.to_owned(), names }
    }

    #[test]
    fn what_was_made_is_kept_and_its_key_is_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("made/here");
        load(&own(&directory, &["mirrorgate.example"])).unwrap();
        let first = fs::read(directory.join("tls.crt")).unwrap();
        assert_eq!(fs::metadata(directory.join("tls.key")).unwrap().permissions().mode() & 0o777, 0o600);
        let leaf = Bundle::read(&first).certificates[0].facts();
        assert_eq!(leaf.names, ["localhost", "mirrorgate.example", "127.0.0.1", "::1"]);
        let now = Timestamp::now();
        assert!(leaf.not_before < now && now < leaf.not_after);
        load(&own(&directory, &[])).unwrap();
        assert_eq!(first, fs::read(directory.join("tls.crt")).unwrap());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 3, "something was left behind");
    }

    #[test]
    fn half_a_directory_is_an_error_that_names_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tls.key"), "mine").unwrap();
        let error = load(&own(folder.path(), &[])).unwrap_err().to_string();
        assert!(error.contains("ca.crt is not"), "{error}");
        assert_eq!(fs::read(folder.path().join("tls.key")).unwrap(), b"mine");
    }

    #[test]
    fn a_key_of_another_pair_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        load(&own(&one, &[])).unwrap();
        load(&own(&two, &[])).unwrap();
        let mixed = CertificateSource::Files { certificate: one.join("tls.crt"), key: two.join("tls.key") };
        let error = load(&mixed).unwrap_err().to_string();
        assert!(error.contains("cannot serve together"), "{error}");
    }

    #[test]
    fn a_bad_name_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = load(&own(folder.path(), &["b\u{e4}d"])).unwrap_err().to_string();
        assert!(error.contains("b\u{e4}d"), "{error}");
    }
}
