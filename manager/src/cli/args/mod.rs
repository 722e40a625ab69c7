//! The command line: verbs and their flags. Types only; the verbs are implemented in their own
//! files.

mod cloud;
mod daemon;
mod named;
mod registry;
mod run;
mod scaling;
mod service;
mod simulate;
mod usage;
mod values;
mod verbs;

pub use cloud::{CheckArgs, CloudVerb, SetupFile};
pub use daemon::{DnsAddress, ManagerArgs, UnknownNodes};
pub use named::{NameArg, TagArg};
pub use registry::{LoginArgs, RegistryVerb};
pub use run::{RunFlags, Time};
pub use scaling::{LimitFlags, PolicyArgs, PolicyVerb, ScaleArgs, Share, Weight};
pub use service::{RegisterArgs, ServiceVerb};
pub use simulate::{Against, BillingUnit, SimulateArgs};
pub use usage::{
    EventsArgs, ExportImageArgs, Fineness, HistoryArgs, ImageVerb, ImportImageArgs,
    PruneImagesArgs, RemoveImageArgs, SetImageArgs, ShowImageArgs, Sort, TagImageArgs, TopArgs,
};
pub use values::{
    CopyPlace, CpuFlag, HostPort, MemoryFlag, Moment, Port, Since, Tick, Volume, copy_place,
};
pub use verbs::*;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{ffi::OsString, path::PathBuf};

/// Default state folder of the manager.
pub const STATE: &str = "/var/lib/micado";

/// Runs containers on rented machines, and rents and returns the machines as the containers need
/// them.
#[derive(Debug, Parser)]
#[command(
    name = "micado",
    version,
    max_term_width = 120,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
#[command(after_help = "Example: micado launch -i nginx -n acme -p 8080:80")]
pub struct Cli {
    /// What every verb takes.
    #[command(flatten)]
    pub common: Common,
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Common {
    /// How to print: tables for people, JSON for programs.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub output: Output,
    /// The manager: `unix:///PATH` or `https://HOST:PORT`.
    #[arg(
        long,
        global = true,
        env = "MICADO_MANAGER",
        hide_env_values = true,
        default_value = "unix:///var/lib/micado/micado.sock",
        value_name = "URL"
    )]
    pub manager: String,
    /// The certificate authority that the manager at an `https://` URL must have its certificate
    /// from [default: `ca.crt` of the state folder].
    #[arg(
        long,
        global = true,
        env = "MICADO_CA",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub ca: Option<PathBuf>,
    /// The file with the token for an `https://` URL [default: `token` of the state folder].
    #[arg(
        long,
        global = true,
        env = "MICADO_TOKEN_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub token_file: Option<PathBuf>,
}

/// How to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Rent a machine.
    Start(StartArgs),
    /// Empty a machine and give it back.
    Stop(StopArgs),
    /// Run one more container of an image; rents a machine when none has room.
    Launch(Box<LaunchArgs>),
    /// Build an image from a Dockerfile and its files, for `launch`.
    Build(BuildArgs),
    /// Stop containers; their record and the end of their logs stay.
    Quit(QuitArgs),
    /// Show the machines and the containers.
    List(ListArgs),
    /// Show the log of a container, or of all containers of a service.
    Logs(LogsArgs),
    /// Run a command in a container, as if it ran here: with a terminal or pipes, and its exit
    /// code.
    Execute(ExecuteArgs),
    /// Copy a file or folder into a container or out of it.
    Copy(CopyArgs),
    /// Copy a file or folder into a container or out of it, as `NAME:PATH`.
    Cp(CpArgs),
    /// Forget containers that do not run.
    Remove(RemoveArgs),
    /// Show what services are made of.
    Info(InfoArgs),
    /// Show what machines and containers use at this moment, over and over.
    Top(TopArgs),
    /// Show what a container or a machine has used.
    History(HistoryArgs),
    /// Show what happened to containers: when they started and died, and how.
    Events(EventsArgs),
    /// Show, name, remove, export and import images, or set their critical usage.
    #[command(subcommand)]
    Image(ImageVerb),
    /// Log in to external registries, for private images, and to the cluster's own.
    #[command(subcommand)]
    Registry(RegistryVerb),
    /// Set, show, check or remove the scaling policy of a service.
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// Set how many containers a service has, or keep their number as it is.
    Scale(ScaleArgs),
    /// Make, remove or show entries of the service catalogue by hand.
    #[command(subcommand)]
    Service(ServiceVerb),
    /// Keep the manager from returning a machine, or moving or stopping a container.
    Protect(ProtectArgs),
    /// Show the cluster on one screen.
    #[command(after_help = "Example: micado status")]
    Status,
    /// Say why a container is where it is, or waits; or how an instance came to be.
    Explain(ExplainArgs),
    /// Show what `cloudsetup.xml` says, or check it against the clouds. Needs no manager.
    #[command(subcommand)]
    Cloud(CloudVerb),
    /// Show the cost of scaling policies under a load, beside a model of Kubernetes' autoscalers.
    /// Needs no manager.
    Simulate(Box<SimulateArgs>),
    /// Look after the store of a manager that does not run.
    #[command(subcommand)]
    Store(StoreVerb),
    /// Print completions for a shell.
    #[command(after_help = "Example: micado completions bash > /etc/bash_completion.d/micado")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Run the manager daemon, in the foreground.
    Manager(Box<ManagerArgs>),
}

/// What may be done with a store.
#[derive(Debug, Subcommand)]
pub enum StoreVerb {
    /// Copy a cluster's records to an empty store, and read them back; and what was measured and
    /// happened.
    #[command(
        after_help = "Example: micado store copy /var/lib/micado/store.redb @/etc/micado/store.url"
    )]
    Copy(CopyStoreArgs),
}

/// Rewrites the original's `quit -rm`, which no parser accepts, to `--rm`, for that verb only.
#[must_use]
pub fn rewritten(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    const TAKES_VALUE: [&str; 4] = ["--output", "--manager", "--ca", "--token-file"];
    let mut args: Vec<OsString> = args.into_iter().collect();
    let mut at = 1;
    while at < args.len() && args[at].to_string_lossy().starts_with('-') {
        at += if TAKES_VALUE.iter().any(|flag| args[at] == *flag) {
            2
        } else {
            1
        };
    }
    if args.get(at).is_some_and(|verb| verb == "quit") {
        for arg in args
            .iter_mut()
            .skip(at)
            .take_while(|arg| *arg != "--")
            .filter(|arg| *arg == "-rm")
        {
            *arg = "--rm".into();
        }
    }
    args
}

#[cfg(test)]
mod tests;
