//! Flags of the verb about logins to external registries.

use clap::{Args, Subcommand};

/// Operations on logins to external registries.
#[derive(Debug, Subcommand)]
pub enum RegistryVerb {
    /// Keep a login to a registry, by which the manager pulls private images. Replaces the one to
    /// this host.
    #[command(
        after_help = "Without --password-stdin, the password is asked for on the terminal.\n\nExample: micado registry login ghcr.io -u alice --password-stdin < token\n         micado registry login docker.io -u alice"
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
    /// The registry, as `HOST[:PORT]`; the Docker Hub is `docker.io`.
    pub host: String,
    /// The user.
    #[arg(short, long)]
    pub user: String,
    /// Read the password, or an access token in place of it, from standard input.
    #[arg(long)]
    pub password_stdin: bool,
    /// Keep the login even if the registry does not answer; a wrong one is found at the first
    /// launch.
    #[arg(long)]
    pub no_check: bool,
}
