//! The command line: one file a subcommand. Arguments become settings here and nowhere else.
//!
//! Only the result goes to stdout, everything else to stderr. Exit codes: 0 fine, 1 a finding, 2 it could not run.

mod asking;
mod ca_bundles;
mod check;
mod completions;
mod doctor;
mod explain;
mod man;
mod paint;
mod policy_file;
mod probe;
mod rbac;
mod review;
mod schema;
mod serve;

use std::process::ExitCode;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Points the images of Kubernetes pods at your mirror registry.
#[derive(Debug, Parser)]
#[command(name = "mirrorgate", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// In the help of a subcommand, what all take stands behind what it takes itself.
const AFTER_ITS_OWN: usize = 900;

/// What every subcommand takes.
#[derive(Clone, Copy, Debug, Args)]
pub struct Common {
    /// Say less
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = AFTER_ITS_OWN)]
    pub quiet: bool,
    /// Say more (twice: still more)
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = AFTER_ITS_OWN)]
    pub verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", display_order = AFTER_ITS_OWN)]
    pub color: Color,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal only
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The form of a result on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For a person
    #[default]
    Text,
    /// For a program: one JSON value
    Json,
}

/// `-o text|json`, for the subcommands whose result has both forms.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// The form of the result
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the webhook
    Serve(serve::Args),
    Explain(explain::Args),
    Review(review::Args),
    Probe(probe::Args),
    /// Check policies: every fault at once, with its source line
    Check(check::Args),
    Rbac(rbac::Args),
    Doctor(doctor::Args),
    /// Print the JSON Schema of the policy
    Schema(schema::Args),
    /// Print the completions of a shell
    Completions(completions::Args),
    /// Print the manual page
    Man(man::Args),
}

/// Runs one command line.
///
/// # Errors
/// When it could not run: exit code 2, with the chain of causes for the reader.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { common, command } = cli;
    common.color.apply();
    match command {
        Command::Serve(args) => args.run(common),
        Command::Explain(args) => args.run(),
        Command::Review(args) => args.run(common),
        Command::Probe(args) => args.run(),
        Command::Check(args) => args.run(common),
        Command::Rbac(args) => args.run(),
        Command::Doctor(args) => args.run(common),
        Command::Schema(args) => args.run(),
        Command::Completions(args) => args.run(),
        Command::Man(args) => args.run(),
    }
}

impl Color {
    fn apply(self) {
        match self {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

/// An error with its causes, each said once: many name their cause in their own words already.
pub fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Writes a result to stdout. A reader that has seen enough (`| head`) is no error.
pub(crate) fn print_result(text: &[u8]) -> anyhow::Result<()> {
    use std::io::{ErrorKind, Write};
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn what_all_take_stands_behind_what_a_subcommand_takes_itself() {
        let mut cli = super::Cli::command();
        cli.build();
        for command in cli.get_subcommands_mut() {
            let help = command.render_help().to_string();
            let place = |option: &str| help.lines().position(|line| line.trim_start().starts_with(option));
            if let Some(output) = place("-o, --output") {
                assert!(Some(output) < place("-q, --quiet"), "{help}");
            }
        }
    }

    #[test]
    fn each_cause_is_told_once() {
        let cause = || std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let named = anyhow::Error::new(cause()).context("x: no such file").context("the pair");
        assert_eq!(super::told(&named), "the pair: x: no such file");
        assert_eq!(super::told(&anyhow::Error::new(cause()).context("reading x")), "reading x: no such file");
    }
}
