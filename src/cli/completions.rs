//! `mirrorgate completions SHELL`.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

/// Arguments of `mirrorgate completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { shell } = self;
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut super::Cli::command(), "mirrorgate", &mut script);
        super::print_result(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
