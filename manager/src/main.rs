//! The `micado` binary: the command line, and the manager daemon behind one of its verbs.

use std::process::ExitCode;

fn main() -> ExitCode {
    micado_manager::cli::main(std::env::args_os())
}
