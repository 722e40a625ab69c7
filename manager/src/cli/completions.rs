//! `micado completions`: completions for a shell.

use super::{args::Cli, failure::Failure};
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::{self, Write};

pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "micado", &mut script);
    io::stdout().write_all(&script)?;
    Ok(())
}
