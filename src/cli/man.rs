//! `mirrorgate man`: one manual page, with the subcommands in it.

use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use clap_mangen::Man;

const EXIT_STATUS: &str = r".SH EXIT STATUS
.TP
0
fine
.TP
1
a finding: a denial, a fault, an image that cannot be parsed, a registry that is not trusted
.TP
2
it could not run: usage, a file that is not there, no cluster
";

/// Arguments of `mirrorgate man`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self {} = self;
        super::print_result(&page().context("writing the manual page")?)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn page() -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let mut command = super::Cli::command();
    command.build();
    let whole = Man::new(command.clone());
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    whole.render_description_section(&mut page)?;
    whole.render_options_section(&mut page)?;
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        page.extend_from_slice(format!(".SH \"MIRRORGATE {}\"\n", subcommand.get_name().to_uppercase()).as_bytes());
        let part = Man::new(subcommand.clone());
        for render in [Man::render_synopsis_section, Man::render_description_section, Man::render_options_section] {
            let mut section = Vec::new();
            render(&part, &mut section)?;
            // A section of its own page becomes a part of ours.
            page.extend_from_slice(
                String::from_utf8_lossy(&section).replace("\n.SH ", "\n.SS ").replacen(".SH ", ".SS ", 1).as_bytes(),
            );
        }
    }
    page.extend_from_slice(EXIT_STATUS.as_bytes());
    whole.render_version_section(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_holds_every_subcommand_once_and_the_exit_status() {
        let page = String::from_utf8(super::page().unwrap()).unwrap();
        assert_eq!(page.matches(".SH \"MIRRORGATE COMPLETIONS\"").count(), 1, "{page}");
        assert_eq!(page.matches(".SH EXIT STATUS").count(), 1, "{page}");
        assert_eq!(page.matches(".TH ").count(), 1, "{page}");
    }
}
