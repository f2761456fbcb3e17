//! Where manifests come from: files, folders, stdin.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The text of one file, or of stdin.
pub(super) struct Source {
    /// The path as it was asked for; `-` is stdin.
    pub(super) name: String,
    /// The text, or why it is none.
    pub(super) text: Result<String, String>,
}

/// Reads all that was asked for, in that order.
///
/// A folder stands for every `*.yaml`, `*.yml` and `*.json` in it and below, in the order of their paths, without
/// what is hidden.
///
/// # Errors
/// A path that is not there or cannot be read, and a folder without manifests.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).context("cannot read stdin")?;
            sources.push(Source::new("-".to_owned(), bytes));
        } else if fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.is_dir() {
            let mut files = Vec::new();
            manifests_below(path, &mut files)?;
            if files.is_empty() {
                bail!("{} has no *.yaml, *.yml or *.json", path.display());
            }
            for file in files {
                sources.push(Source::read(&file)?);
            }
        } else {
            sources.push(Source::read(path)?);
        }
    }
    Ok(sources)
}

impl Source {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::new(path.display().to_string(), bytes))
    }

    fn new(name: String, bytes: Vec<u8>) -> Self {
        let text = String::from_utf8(bytes)
            .map_err(|error| format!("byte {} is not UTF-8", error.utf8_error().valid_up_to() + 1));
        Self { name, text }
    }
}

fn manifests_below(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let context = || format!("cannot read {}", folder.display());
    let mut entries =
        fs::read_dir(folder).with_context(context)?.collect::<Result<Vec<_>, _>>().with_context(context)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // A link to a folder is not followed: it may lead back up.
        if entry.file_type().with_context(context)?.is_dir() {
            manifests_below(&path, files)?;
        } else if path.is_file() && path.extension().is_some_and(|it| ["yaml", "yml", "json"].iter().any(|e| it == *e))
        {
            files.push(path);
        }
    }
    Ok(())
}
