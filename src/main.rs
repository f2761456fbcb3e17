//! The `mirrorgate` command: crypto provider, command line, run, exit code.

fn main() {}
