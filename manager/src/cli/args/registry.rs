//! Flags of the verb about registries.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Operations on registries.
#[derive(Debug, Subcommand)]
pub enum RegistryVerb {
    /// Keep a login to HOST, by which the manager pulls private images. Without HOST: let docker,
    /// skopeo and podman on this machine read the cluster's own registry, for 12 h.
    #[command(
        after_help = "Without --password-stdin, the password is asked for on the terminal. A login replaces the one to the same host.\n\nExample: micado registry login ghcr.io -u alice --password-stdin < token\n         micado registry login docker.io -u alice\n         micado registry login; docker pull ADDRESS:5443/web@sha256:..."
    )]
    Login(LoginArgs),
    /// Remove the login to a registry. Services that have their image keep it.
    #[command(after_help = "Example: micado registry logout ghcr.io")]
    Logout {
        /// The registry, as `HOST[:PORT]`.
        host: String,
    },
    /// Show the logins to registries, without their passwords.
    #[command(after_help = "Example: micado registry list")]
    List,
}

/// The flags of `registry login`.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// The registry, as `HOST[:PORT]`; the Docker Hub is `docker.io`. Default: the cluster's own.
    #[arg(requires = "user")]
    pub host: Option<String>,
    /// The user.
    #[arg(short, long, requires = "host")]
    pub user: Option<String>,
    /// Read the password, or an access token in place of it, from standard input.
    #[arg(long, requires = "host")]
    pub password_stdin: bool,
    /// Keep the login even if the registry does not answer; a wrong one is found at the first
    /// launch.
    #[arg(long, requires = "host")]
    pub no_check: bool,
    /// The folder for certificates of the cluster's registry. Default: `/etc/docker/certs.d` for
    /// root, else `~/.config/containers/certs.d`.
    #[arg(long, value_name = "DIR", conflicts_with = "host")]
    pub certs_dir: Option<PathBuf>,
}
