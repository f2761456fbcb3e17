//! Files that somebody else changes while we run: read again, by their content.
//!
//! Not here: what is in them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest;

/// A mounted ConfigMap or Secret is swapped by symlink, which a watch of the file sees once at most (trap 21): its
/// content is looked at this often instead.
pub const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Files that belong together, such as a certificate and its key; most often one.
///
/// A change counts once it was seen twice: somebody may be in the midst of writing, and half a policy or bundle can be a
/// valid one. What was read is not kept: there are private keys among it.
#[derive(Debug)]
pub struct FollowedFiles<const N: usize> {
    paths: [PathBuf; N],
    most_bytes: u64,
    /// What was told last.
    told: Option<Digest>,
    /// What was seen in the last look, and once.
    seen_once: Option<Digest>,
    away: bool,
}

type Digest = [u8; digest::SHA256_OUTPUT_LEN];

/// What became of followed files.
#[derive(Debug)]
pub enum News<const N: usize> {
    /// They have another content; also the first that is seen.
    Content([Vec<u8>; N]),
    /// From now on one cannot be read.
    Away(FileError),
    /// From now on all can be read again; a content that is new is told by itself.
    Back,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What the system says, or we.
    pub source: io::Error,
}

impl<const N: usize> FollowedFiles<N> {
    /// Each may have so many bytes; one with more cannot be read.
    #[must_use]
    pub fn new(paths: [PathBuf; N], most_bytes: u64) -> Self {
        Self { paths, most_bytes, told: None, seen_once: None, away: false }
    }

    /// The files.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf; N] {
        &self.paths
    }

    /// What is there at the start, which counts as it is.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn first(&mut self) -> Result<[Vec<u8>; N], FileError> {
        let content = read_all(&self.paths, self.most_bytes)?;
        self.told = Some(digest_of(&content));
        Ok(content)
    }

    /// Whether they could not be read when they were last looked at.
    #[must_use]
    pub fn are_away(&self) -> bool {
        self.away
    }

    /// Waits for news.
    pub async fn next(&mut self) -> News<N> {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Some(news) = self.look().await {
                return news;
            }
        }
    }

    /// Looks once. Who calls it often, and not with [`LOOK_EVERY`] between, may meet half a file.
    pub async fn look(&mut self) -> Option<News<N>> {
        let (paths, most_bytes) = (self.paths.clone(), self.most_bytes);
        let read = tokio::task::spawn_blocking(move || read_all(&paths, most_bytes)).await;
        // It ends early only with the process.
        let content = match read.ok()? {
            Ok(content) => content,
            Err(error) => {
                self.seen_once = None;
                return (!std::mem::replace(&mut self.away, true)).then_some(News::Away(error));
            }
        };
        if std::mem::take(&mut self.away) {
            return Some(News::Back);
        }
        let now = Some(digest_of(&content));
        if self.told == now {
            self.seen_once = None;
        } else if self.told.is_none() || self.seen_once == now {
            self.seen_once = None;
            self.told = now;
            return Some(News::Content(content));
        } else {
            self.seen_once = now;
        }
        None
    }
}

fn read_all<const N: usize>(paths: &[PathBuf; N], most_bytes: u64) -> Result<[Vec<u8>; N], FileError> {
    let mut contents = [const { Vec::new() }; N];
    for (path, content) in paths.iter().zip(&mut contents) {
        *content = read(path, most_bytes).map_err(|source| FileError { path: path.clone(), source })?;
    }
    Ok(contents)
}

fn read(path: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    // A pipe would hold us up for as long as nobody writes to it.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut content = Vec::new();
    File::open(path)?.take(most_bytes + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most_bytes {
        return Err(io::Error::other(format!("more than {most_bytes} bytes")));
    }
    Ok(content)
}

fn digest_of(contents: &[Vec<u8>]) -> Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    for content in contents {
        context.update(&(content.len() as u64).to_le_bytes());
        context.update(content);
    }
    let mut digest = Digest::default();
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    async fn told(file: &mut FollowedFiles<1>) -> String {
        match file.look().await {
            None => "nothing".to_owned(),
            Some(News::Content([content])) => String::from_utf8(content).unwrap(),
            Some(News::Away(error)) => error.to_string(),
            Some(News::Back) => "back".to_owned(),
        }
    }

    fn followed(path: &Path) -> FollowedFiles<1> {
        FollowedFiles::new([path.to_owned()], 10)
    }

    /// As the kubelet does it: `..data` is put in place of the old one by a rename.
    fn swap(folder: &Path, version: &str) {
        fs::create_dir(folder.join(version)).unwrap();
        fs::write(folder.join(version).join("ca.crt"), version).unwrap();
        symlink(version, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    }

    #[tokio::test]
    async fn trap_21_a_volume_that_is_swapped_by_symlink_is_followed_time_and_again() {
        let folder = tempfile::tempdir().unwrap();
        swap(folder.path(), "v0");
        symlink("..data/ca.crt", folder.path().join("ca.crt")).unwrap();
        let mut file = followed(&folder.path().join("ca.crt"));
        assert_eq!(told(&mut file).await, "v0");
        for version in ["v1", "v2", "v3"] {
            swap(folder.path(), version);
            let old = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
            old.filter(|path| path.is_dir() && !path.is_symlink() && !path.ends_with(version))
                .for_each(|path| fs::remove_dir_all(path).unwrap());
            assert_eq!(told(&mut file).await, "nothing", "seen once");
            assert_eq!(told(&mut file).await, version);
            assert_eq!(told(&mut file).await, "nothing");
        }
    }

    #[tokio::test]
    async fn a_file_in_the_midst_of_being_written_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        let mut file = followed(&path);
        assert_eq!(file.first().unwrap(), [b"old".to_vec()]);
        for half in ["n", "ne", "new"] {
            fs::write(&path, half).unwrap();
            assert_eq!(told(&mut file).await, "nothing");
        }
        assert_eq!(told(&mut file).await, "new");
        fs::write(&path, "half").unwrap();
        assert_eq!(told(&mut file).await, "nothing");
        fs::write(&path, "new").unwrap();
        assert_eq!(told(&mut file).await, "nothing");
        fs::write(&path, "half").unwrap();
        assert_eq!(told(&mut file).await, "nothing", "it was not seen twice in a row");
    }

    #[tokio::test]
    async fn a_file_that_is_gone_too_large_or_no_file_is_said_once_and_that_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut file = followed(&path);
        assert!(told(&mut file).await.contains("No such file"));
        assert_eq!(told(&mut file).await, "nothing");
        fs::write(&path, "old").unwrap();
        assert_eq!((told(&mut file).await, told(&mut file).await), ("back".to_owned(), "old".to_owned()));
        fs::write(&path, "x".repeat(11)).unwrap();
        assert!(told(&mut file).await.ends_with("more than 10 bytes"));
        fs::write(&path, "x".repeat(10)).unwrap();
        assert_eq!((told(&mut file).await, told(&mut file).await), ("back".to_owned(), "nothing".to_owned()));
        assert_eq!(told(&mut file).await, "x".repeat(10));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(told(&mut file).await.ends_with("not a file"));
    }
}
