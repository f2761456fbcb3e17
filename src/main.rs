//! The `mirrorgate` command: crypto provider, command line, run, exit code.

use std::process::ExitCode;

use clap::Parser;

/// musl's own is slow, above all with several threads. How it gives memory back is set in the image's environment: Containerfile.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Fails only when one is installed already, and nothing ran before this line.
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match mirrorgate::cli::run(mirrorgate::cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("error: {}", mirrorgate::cli::told(&error));
            ExitCode::from(2)
        }
    }
}
