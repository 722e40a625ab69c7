//! The flags of `micado cloud`, which reads `cloudsetup.xml` itself and asks no manager.

use super::STATE;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What `cloud` does.
#[derive(Debug, Subcommand)]
pub enum CloudVerb {
    /// Show the clouds with their flavours, and the applications; asks nobody.
    #[command(after_help = "Example: micado cloud list --cloudsetup cloudsetup.xml")]
    List(SetupFile),
    /// Ask every cloud whether what `cloudsetup.xml` names is there; rents nothing.
    #[command(after_help = "Example: micado cloud check --cloudsetup cloudsetup.xml")]
    Check(CheckArgs),
}

/// Which `cloudsetup.xml`.
#[derive(Debug, Args)]
pub struct SetupFile {
    /// The manager's state folder.
    #[arg(long, env = "MICADO_STATE", hide_env_values = true, default_value = STATE, value_name = "DIR")]
    pub state: PathBuf,
    /// The clouds and applications [default: `cloudsetup.xml` of the state folder].
    #[arg(
        long,
        env = "MICADO_CLOUDSETUP",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub cloudsetup: Option<PathBuf>,
}

/// The flags of `cloud check`: those of the manager that say where `local` clouds are.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Which file.
    #[command(flatten)]
    pub file: SetupFile,
    /// The manager's Docker Engine.
    #[arg(long, env = "MICADO_ENGINE", hide_env_values = true, default_value = micado_cloudsetup::local::DEFAULT_ENDPOINT, value_name = "URL")]
    pub engine: String,
    /// The Docker Engine that holds the instances of `local` clouds [default: the manager's].
    #[arg(
        long,
        env = "MICADO_CLOUD_ENGINE",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub cloud_engine: Option<String>,
    /// The image that instances of `local` clouds are made from.
    #[arg(
        long,
        env = "MICADO_NODE_IMAGE",
        hide_env_values = true,
        default_value = "micado-node:latest",
        value_name = "IMAGE"
    )]
    pub node_image: String,
}

impl SetupFile {
    /// Path of the file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.cloudsetup
            .clone()
            .unwrap_or_else(|| self.state.join("cloudsetup.xml"))
    }
}
