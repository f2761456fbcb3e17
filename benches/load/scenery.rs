//! What both servers are given: certificates, policies and bodies, as files of one folder.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use mirrorgate::serving::Authority;
use tempfile::TempDir;

use crate::scene;

const LIFE: SignedDuration = SignedDuration::from_hours(24);

/// A certificate for 127.0.0.1 and its key.
pub(crate) struct Pems {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// The folder goes with this value.
pub(crate) struct Scenery {
    folder: TempDir,
    authority: String,
    signer: Authority,
}

impl Scenery {
    pub(crate) fn new() -> anyhow::Result<Scenery> {
        let folder = tempfile::Builder::new().prefix("mirrorgate-load.").tempdir().context("a folder for the files")?;
        let (signer, made) = Authority::make(Timestamp::now(), LIFE)?;
        let scenery = Scenery { folder, authority: made.certificate, signer };
        let server = scenery.certificate()?;
        scenery.write("ca.crt", &scenery.authority)?;
        scenery.write("tls.crt", &server.certificate)?;
        scenery.write("tls.key", &server.key)?;
        Ok(scenery)
    }

    /// A new one of the CA in `ca.crt`.
    pub(crate) fn certificate(&self) -> anyhow::Result<Pems> {
        let made = self.signer.sign(&["127.0.0.1".to_owned()], Timestamp::now(), LIFE)?;
        let key = str::from_utf8(made.key.as_bytes()).context("a key in PEM")?.to_owned();
        Ok(Pems { certificate: made.certificate, key })
    }

    /// A policy of `hosts` hosts whose mirror is at this address, as `benches/scene` has it elsewhere.
    pub(crate) fn policy(&self, hosts: usize, mirror: SocketAddr) -> String {
        let mut bundle = String::from("  caBundle:\n    inline: |\n");
        for line in self.authority.lines() {
            // Writing to a `String` does not fail.
            let _ = writeln!(bundle, "      {line}");
        }
        let policy = scene::policy(hosts).replace(scene::MIRROR, &mirror.to_string());
        policy.replacen("  hosts:\n", &format!("{bundle}  hosts:\n"), 1)
    }

    /// Writes a review of `benches/scene`. What it pulls from the mirror already, it pulls from the one at this address.
    pub(crate) fn body(&self, name: &str, body: Vec<u8>, mirror: SocketAddr) -> anyhow::Result<PathBuf> {
        let body = String::from_utf8(body).context("a body")?.replace(scene::MIRROR, &mirror.to_string());
        self.write(name, &body)
    }

    /// Puts a file there in one go: a server that follows it sees one or the other.
    pub(crate) fn write(&self, name: &str, content: &str) -> anyhow::Result<PathBuf> {
        let (path, new) = (self.path(name), self.path("new"));
        fs::write(&new, content).with_context(|| new.display().to_string())?;
        fs::rename(&new, &path).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
