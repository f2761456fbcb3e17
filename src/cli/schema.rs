//! `mirrorgate schema`: the JSON Schema of the policy.

use std::process::ExitCode;

use anyhow::Context;

use crate::policy::Policy;

/// Arguments of `mirrorgate schema`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self {} = self;
        let mut text = serde_json::to_string_pretty(&Policy::schema()).context("writing the schema")?;
        text.push('\n');
        super::print_result(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
