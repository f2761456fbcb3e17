//! The guides in `docs/`: what stands in their shell blocks is run as it stands.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::{Printed, repository, work};

/// A guide, and the folder in which its reader works.
pub(crate) struct Guide {
    page: String,
    blocks: Vec<String>,
    folder: PathBuf,
    next: usize,
}

impl Guide {
    pub(crate) fn open(name: &str) -> Self {
        Self::marked(name, "sh")
    }

    /// Of its blocks those that are marked so: what follows the backquotes.
    pub(crate) fn marked(name: &str, mark: &str) -> Self {
        let page = fs::read_to_string(repository().join("docs").join(name)).unwrap();
        let begin = format!("```{mark}\n");
        let blocks = page.split(&begin).skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect();
        let folder = work().join("guides").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self { page, blocks, folder, next: 0 }
    }

    /// The folder that the commands are run in.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file that the reader has.
    pub(crate) fn has(&self, name: &str, content: &str) {
        fs::write(self.folder.join(name), content).unwrap();
    }

    /// Runs the next block; it must succeed, whatever else is in it.
    #[track_caller]
    pub(crate) fn run(&mut self) -> Printed {
        let block = &self.blocks[self.next];
        self.next += 1;
        let printed = self.shell(block);
        assert!(printed.ok, "{block}\n{}{}", printed.out, printed.err);
        printed
    }

    /// Runs once more the block that has these words.
    #[track_caller]
    pub(crate) fn again(&self, words: &str) -> Printed {
        let block = self.blocks.iter().find(|block| block.contains(words));
        let block = block.unwrap_or_else(|| panic!("no block of the guide has `{words}`"));
        let printed = self.shell(block);
        assert!(printed.ok, "{block}\n{}{}", printed.out, printed.err);
        printed
    }

    /// Runs a command that stands in a block of `console`, behind the prompt, and says what it printed. It may fail.
    #[track_caller]
    pub(crate) fn console(&self, command: &str) -> Printed {
        assert!(self.page.contains(&format!("\n$ {command}\n")), "the guide has no command `{command}`");
        self.shell(command)
    }

    /// What was printed stands in the guide, but for what differs each time: fingerprints and dates.
    #[track_caller]
    pub(crate) fn shows(&self, printed: &str) {
        for line in printed.trim_end().lines() {
            let here = steady(line);
            assert!(self.page.lines().any(|line| steady(line) == here), "the guide does not show:\n{printed}");
        }
    }

    fn shell(&self, commands: &str) -> Printed {
        let binary = Path::new(env!("CARGO_BIN_EXE_mirrorgate"));
        let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("bash");
        let output =
            bash.args(["-euo", "pipefail", "-c", commands]).current_dir(&self.folder).env("PATH", path).output();
        Printed::of(output.unwrap())
    }

    /// All of its blocks were run.
    #[track_caller]
    pub(crate) fn end(self) {
        assert_eq!(self.next, self.blocks.len(), "not all blocks of the guide were run");
    }
}

/// The words of a line that are the same each time.
fn steady(line: &str) -> Vec<&str> {
    line.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit())).collect()
}
