//! The flags of the verbs.

use super::{
    CopyPlace, CpuFlag, LimitFlags, MemoryFlag, Moment, NameArg, Port, RunFlags, STATE, Since,
    TagArg, Volume, copy_place,
};
use crate::store::Place;
use clap::{Args, ValueEnum};
use micado_api::{AntiAffinity, Builder, CloudName, FlavourName, Location, RestartPolicy, Tag};
use std::{num::NonZeroU32, path::PathBuf};

/// The flags of `start`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: micado start -c local -a Node -f small -t application01 -n application"
)]
pub struct StartArgs {
    /// The cloud, as `cloudsetup.xml` names it.
    #[arg(short, long)]
    pub cloud: CloudName,
    /// The application, as `cloudsetup.xml` names it.
    #[arg(short, long)]
    pub application: String,
    /// The machine's size.
    #[arg(short, long)]
    pub flavour: FlavourName,
    /// What to call the machine.
    #[arg(short, long)]
    pub tag: Tag,
    /// The machine's location: `application`, `database` or any word.
    #[arg(short, long, value_name = "LOCATION")]
    pub name: Location,
    /// The first instance: the record starts afresh. Refused while a machine of this cluster is
    /// live.
    #[arg(short = 'I')]
    pub first: bool,
    /// Files to put on the machine.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// The flags of `stop`.
#[derive(Debug, Args)]
#[command(after_help = "Example: micado stop application01")]
pub struct StopArgs {
    #[command(flatten)]
    pub machine: TagArg,
    /// Even when its containers have nowhere to go, or hold volumes there.
    #[arg(long)]
    pub force: bool,
}

/// The flags of `launch`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: micado launch -i nginx -n acme -p 8080:80 -e MODE=live --memory 512M\n         micado launch -i tool -n acme -s /bin/tool -a /-v serve"
)]
pub struct LaunchArgs {
    /// The image.
    #[arg(short, long)]
    pub image: String,
    /// The client: the container is called CLIENT_IMAGE.N.
    #[arg(short, long, value_name = "CLIENT")]
    pub name: String,
    /// The location of the machines it may run on.
    #[arg(short, long, default_value_t)]
    pub location: Location,
    /// Containers to run; they are planned together, and made all or none.
    #[arg(long, default_value_t = NonZeroU32::MIN, value_name = "N")]
    pub copies: NonZeroU32,
    /// The entry point, instead of the image's own.
    #[arg(short, long)]
    pub script: Option<String>,
    /// The domain name that leads to it (stored; nothing serves it yet).
    #[arg(short, long)]
    pub domain: Option<String>,
    /// A tag of its entries in the service catalogue, as it is; repeat for more.
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Publish a port; repeat for more. `:PORT` lets the manager choose the machine's port. Without
    /// this, all ports that the image exposes are published at ports that the manager chooses.
    #[arg(short, long = "port", value_name = "HOST[:CONTAINER][/udp]")]
    pub ports: Vec<Port>,
    /// Set an environment variable; repeat for more. Without a value, that of this process is taken.
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub environment: Vec<String>,
    /// Arguments for the entry point, any number; `/-` at the beginning of one stands for `-`.
    #[arg(short, long, num_args = 1.., value_name = "ARGUMENT")]
    pub arguments: Vec<String>,
    /// Memory it is promised, and may use at most [default: what was learned of the image, else
    /// 256M]. As a share (`80%`), the use that its policy aims at. Both may be given.
    #[arg(long, allow_hyphen_values = true, value_name = "MEMORY|SHARE")]
    pub memory: Vec<MemoryFlag>,
    /// CPU cores it is promised [default: what was learned of the image, else 0.25]. As a share
    /// (`70%`), the use that its policy aims at. Both may be given.
    #[arg(long, allow_hyphen_values = true, value_name = "CORES|SHARE")]
    pub cpu: Vec<CpuFlag>,
    #[command(flatten)]
    pub limits: LimitFlags,
    /// Mount a named volume of the service; repeat for more. The container stays on the machine
    /// that holds it. `shared:` mounts the one of that name that all services may mount.
    #[arg(long = "volume", value_name = "[shared:]NAME:PATH")]
    pub volumes: Vec<Volume>,
    /// Start an ended process again: `always`, `on-failure` or `on-failure:N` (at most N times), or
    /// `no`; the last two for jobs.
    #[arg(long, default_value_t, value_name = "POLICY")]
    pub restart: RestartPolicy,
    /// Distance between containers of the service: `prefer` different machines as far as that rents
    /// none, or `require` a machine for each.
    #[arg(long, default_value_t, value_name = "STRENGTH")]
    pub anti_affinity: AntiAffinity,
    /// Do not wait until it runs.
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub run: RunFlags,
}

/// The flags of `build`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: micado build -n container-web -f web.tar.gz\n         micado build -n container-web --build-arg MODE=live ./web"
)]
pub struct BuildArgs {
    /// The image's name: `container-` and at most 63 of `a-z`, `0-9`, `.`, `_`, `-`.
    #[arg(short, long)]
    pub name: String,
    /// The context: a tarball, a folder, or `-` for a tarball on standard input. A tarball holds a
    /// Dockerfile, or one folder with the image's name that does.
    #[arg(
        short,
        long,
        required_unless_present = "context",
        conflicts_with = "context",
        value_name = "CONTEXT"
    )]
    pub file: Option<PathBuf>,
    /// The context, without `-f`.
    pub context: Option<PathBuf>,
    /// The Dockerfile, as a path in the context [default: `Dockerfile`].
    #[arg(long, value_name = "PATH")]
    pub dockerfile: Option<String>,
    /// Set a build argument; repeat for more. Without a value, that of the environment is taken.
    /// Arguments stand in the image's history: they are no place for secrets.
    #[arg(long = "build-arg", value_name = "KEY[=VALUE]")]
    pub arguments: Vec<String>,
    /// Build this stage [default: the last one].
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// Run every step, even if its result is cached.
    #[arg(long)]
    pub no_cache: bool,
    /// Build for this platform, such as `linux/arm64` [default: the engine's own].
    #[arg(long)]
    pub platform: Option<String>,
    /// Reuse steps of this image; repeat for more.
    #[arg(long, value_name = "IMAGE")]
    pub cache_from: Vec<String>,
    /// The engine's builder: `classic` or `buildkit` [default: `buildkit`, if the engine has it].
    #[arg(long)]
    pub builder: Option<Builder>,
    /// Accept a name without `container-`.
    #[arg(long)]
    pub any_name: bool,
    /// Print the image's name alone.
    #[arg(short, long)]
    pub quiet: bool,
}

/// The flags of `quit`.
#[derive(Debug, Args)]
#[command(after_help = "Example: micado quit acme_nginx.1 -rm")]
pub struct QuitArgs {
    #[command(flatten)]
    pub of: NameArg,
    /// Forget them too, logs included (also `-rm`).
    #[arg(long)]
    pub rm: bool,
}

/// The flags of `list`.
#[derive(Debug, Args)]
#[command(after_help = "Example: micado list -c -a")]
pub struct ListArgs {
    /// Only the machines.
    #[arg(short, long)]
    pub instance: bool,
    /// Only the containers.
    #[arg(short, long)]
    pub containers: bool,
    /// Also what is over: machines given back, containers stopped.
    #[arg(short, long)]
    pub all: bool,
}

/// The flags of `logs`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: micado logs acme_nginx --follow --since 10m\n         micado logs acme_nginx.1 --previous --tail 20"
)]
pub struct LogsArgs {
    #[command(flatten)]
    pub of: NameArg,
    /// Go on as more is written.
    #[arg(long)]
    pub follow: bool,
    /// Of the run before the present one, of a container that ended and was started anew; of the
    /// last run where none runs. After a move or the end: what was kept of all runs before, without
    /// times.
    #[arg(long, conflicts_with = "follow")]
    pub previous: bool,
    /// Only the last so many lines, of all runs and containers together.
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u32>,
    /// Only what is later: `10m` ago, a moment, or Unix seconds.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Since>,
    /// Begin each line with its time.
    #[arg(long)]
    pub timestamps: bool,
}

/// The flags of `execute`.
#[derive(Debug, Args)]
#[command(
    after_help = "A service's name will do if it has one container.\n\nExample: micado execute acme_nginx.1 -c sh -c 'ls /'\n         echo hello | micado execute acme_nginx.1 -c cat"
)]
pub struct ExecuteArgs {
    /// A container, or a service with one container.
    #[command(flatten)]
    pub of: NameArg,
    /// The command and its arguments: all that follows.
    #[arg(short, long, required = true, num_args = 1.., allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// The flags of `copy`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: micado copy -f page.html -p /srv/www -c acme_nginx.1 -w to\n         micado copy -f /srv/www/page.html -p . -c acme_nginx.1 -w from"
)]
pub struct CopyArgs {
    /// The file or folder to copy: of this machine with `-w to`, of the container with `-w from`.
    #[arg(short, long, value_name = "FILE")]
    pub file: String,
    /// Target: a folder that is there, or the copy's own path.
    #[arg(short, long)]
    pub path: String,
    /// A container's name, or that of a service with one container.
    #[arg(short, long, value_name = "NAME")]
    pub container: String,
    /// To the container, or from it.
    #[arg(short, long, value_name = "WAY")]
    pub way: Way,
    #[command(flatten)]
    pub flags: CopyFlags,
}

/// Flags of `copy` and `cp`.
#[derive(Debug, Clone, Copy, Args)]
pub struct CopyFlags {
    /// Copy the target of a symbolic link at the source's path, not the link.
    #[arg(short = 'L', long)]
    pub follow_link: bool,
    /// From a container: keep owners, as root. To it: owners are the user that it runs as, if the
    /// image or the launch names one.
    #[arg(short = 'a', long)]
    pub archive: bool,
}

/// Which way to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// To the container.
    To,
    /// From the container.
    From,
}

/// What `cp` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: micado cp page.html acme_nginx.1:/srv/www/\n         micado cp acme_nginx.1:/var/log ./log\n         micado cp acme_nginx.1:/var/log - | tar -t"
)]
pub struct CpArgs {
    /// The file or folder to copy; one of both is `NAME:PATH`, with a container's name. `FOLDER/.`
    /// is a folder's content, `-` a tar on standard input.
    #[arg(value_name = "SOURCE", value_parser = copy_place())]
    pub from: CopyPlace,
    /// Target: a folder that is there, or the copy's own path. `-` is a tar on standard output.
    #[arg(value_name = "DESTINATION", value_parser = copy_place())]
    pub to: CopyPlace,
    #[command(flatten)]
    pub flags: CopyFlags,
}

/// The flags of `remove`.
#[derive(Debug, Args)]
#[command(after_help = "Example: micado remove acme_nginx.1")]
pub struct RemoveArgs {
    #[command(flatten)]
    pub of: NameArg,
}

/// The flags of `info`: one of them, or none for all services.
#[derive(Debug, Args)]
#[command(after_help = "Example: micado info acme_nginx")]
#[group(multiple = false)]
pub struct InfoArgs {
    /// A service's or a container's name.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// The same, after a flag.
    #[arg(short, long, value_name = "NAME")]
    pub service: Option<String>,
    /// All services.
    #[arg(short, long)]
    pub all: bool,
}

/// What `explain` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: micado explain acme_nginx.1\n         micado explain acme_nginx --at 10:42"
)]
pub struct ExplainArgs {
    /// A service's or a container's name, or an instance's tag.
    pub name: String,
    /// Explain how the service was scaled at a moment of the last 30 days: `10:42` (UTC), `-5m`, or
    /// `2026-11-03T10:42:00Z`.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub at: Option<Moment>,
}

/// The flags of `protect`.
#[derive(Debug, Args)]
#[command(after_help = "Example: micado protect application01")]
pub struct ProtectArgs {
    /// An instance's tag, or a container's or a service's name.
    pub name: String,
    /// Do not protect it any more.
    #[arg(long)]
    pub off: bool,
}

/// The flags of `store copy`.
#[derive(Debug, Args)]
pub struct CopyStoreArgs {
    /// The store to copy: the file of an embedded one, `mongodb://...`, or `@FILE` for what is
    /// written in a file.
    pub from: Place,
    /// The store to copy to, named like the other. It must be empty.
    pub to: Place,
    /// The manager's state folder, which has the key of stores in MongoDB.
    #[arg(long, env = "MICADO_STATE", hide_env_values = true, default_value = STATE, value_name = "DIR")]
    pub state: PathBuf,
}
