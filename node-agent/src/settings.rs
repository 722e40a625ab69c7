//! Settings of the agent, from flags or environment variables.

use micado_api::agent::LONGEST_INTERVAL_MS;
use std::path::PathBuf;

/// The shortest interval between two sweeps that this machine bears.
pub const SHORTEST_INTERVAL_MS: u64 = 100;

/// Measures this machine and its containers, reports to the manager, and opens exec, copy and log
/// sessions at the manager's request. Nothing listens here.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "micado-node", version)]
pub struct Settings {
    /// Folder with `manager`, `ca.crt`, `node.crt` and `node.key`, as the boot script leaves it.
    #[arg(
        long,
        env = "MICADO_ETC",
        value_name = "FOLDER",
        default_value = "/etc/micado"
    )]
    pub etc: PathBuf,
    /// The Docker Engine's unix socket.
    #[arg(
        long,
        env = "MICADO_DOCKER_SOCKET",
        value_name = "FILE",
        default_value = "/run/docker.sock"
    )]
    pub docker_socket: PathBuf,
    /// Folder with a folder for each registry; a copy of the machine's own client certificate there
    /// is renewed with it.
    #[arg(
        long,
        env = "MICADO_REGISTRIES",
        value_name = "FOLDER",
        default_value = "/etc/docker/certs.d"
    )]
    pub registries: PathBuf,
    /// Milliseconds between two sweeps.
    #[arg(
        long,
        env = "MICADO_INTERVAL_MS",
        value_name = "MS",
        default_value_t = 2000,
        value_parser = clap::value_parser!(u64).range(SHORTEST_INTERVAL_MS..=LONGEST_INTERVAL_MS)
    )]
    pub interval_ms: u64,
    /// Folder above `/proc` and `/sys`; for tests.
    #[arg(long, env = "MICADO_ROOT", value_name = "FOLDER", default_value = "/")]
    pub root: PathBuf,
    /// Level of the log on standard error: error, warn, info, debug or trace.
    #[arg(long, env = "MICADO_LOG", value_name = "LEVEL", default_value = "info")]
    pub log: tracing::level_filters::LevelFilter,
}
