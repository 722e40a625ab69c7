//! The `micado` binary: the command line, and the manager daemon behind one of its verbs.

use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

/// Returns pages that the system's allocator would keep: a quarter of a large cluster's memory. Its
/// settings are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    micado_manager::cli::main(std::env::args_os())
}
