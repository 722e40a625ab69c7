//! The `micado` binary: the command line, and the manager daemon behind one of its verbs.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Returns pages that the system's allocator would keep: a fifth of a large cluster's memory.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    micado_manager::cli::main(std::env::args_os())
}
