//! The flags of the verbs about resource usage.

use super::{NameArg, Since};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use micado_api::{MemoryBytes, NanoCpus};
use std::path::PathBuf;

/// The flags of `top`.
#[derive(Debug, Args)]
#[command(after_help = "Example: micado top --sort memory")]
pub struct TopArgs {
    /// What comes first.
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub sort: Sort,
    /// How often it is drawn anew.
    #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,
    /// Print it once and end, as it does without a terminal.
    #[arg(long)]
    pub once: bool,
}

/// What comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Who uses most CPU.
    #[default]
    Cpu,
    /// Who uses most memory.
    Memory,
    /// By name.
    Name,
}

/// The flags of `history`.
#[derive(Debug, Args)]
#[command(
    after_help = "A service's history is the sum of its containers. An instance's tag is a name too.\n\nExample: micado history acme_nginx.1 --since 6h"
)]
pub struct HistoryArgs {
    #[command(flatten)]
    pub of: NameArg,
    /// Only what is later: `10m` ago, a moment, or Unix seconds.
    #[arg(long, default_value = "1h", value_name = "WHEN")]
    pub since: Since,
    /// How long each line stands for [default: the finest that is kept for so long: 2s for an hour,
    /// 1m for a day, 10m for 30 days].
    #[arg(long, value_enum, value_name = "SPAN")]
    pub resolution: Option<Fineness>,
}

/// The flags of `events`.
#[derive(Debug, Args)]
#[command(after_help = "Example: micado events acme_nginx --since 1h")]
pub struct EventsArgs {
    /// Only those of this container, or of the containers of this service.
    #[arg(value_name = "NAME", conflicts_with = "name")]
    pub plain: Option<String>,
    /// The same, after a flag.
    #[arg(short, long)]
    pub name: Option<String>,
    /// Only those on the instance of this tag.
    #[arg(short, long)]
    pub tag: Option<String>,
    /// Only what is later: `10m` ago, a moment, or Unix seconds.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Since>,
    /// Only the last so many, 10,000 at most.
    #[arg(long, default_value_t = 50, value_name = "EVENTS")]
    pub tail: u32,
    /// Go on as more happens.
    #[arg(long)]
    pub follow: bool,
}

/// How long a line of `history` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fineness {
    /// As it was measured.
    #[value(name = "2s")]
    Sample,
    /// A minute.
    #[value(name = "1m")]
    Minute,
    /// Ten minutes.
    #[value(name = "10m")]
    TenMinutes,
}

impl Fineness {
    #[must_use]
    pub const fn seconds(self) -> u32 {
        match self {
            Self::Sample => 2,
            Self::Minute => 60,
            Self::TenMinutes => 600,
        }
    }
}

/// What may be done with images.
#[derive(Debug, Subcommand)]
pub enum ImageVerb {
    /// Show the images: their sizes, who needs them, and what was learned of them.
    #[command(after_help = "Example: micado image list")]
    List,
    /// Show an image with its revisions in the registry.
    Show(ShowImageArgs),
    /// Give an image another name, such as one that `prune` keeps.
    Tag(TagImageArgs),
    /// Remove an image that no service needs.
    Remove(RemoveImageArgs),
    /// Write an image of the manager's engine to an archive, as `docker save` does.
    Export(ExportImageArgs),
    /// Read images from an archive of `docker save`, for `launch`.
    Import(ImportImageArgs),
    /// Remove all images that nothing needs, and free their space.
    Prune(PruneImagesArgs),
    /// Set how much a container of an image may use before one more is wanted.
    Set(SetImageArgs),
}

/// The flags of `image show`.
#[derive(Debug, Args)]
#[command(after_help = "Example: micado image show container-web")]
pub struct ShowImageArgs {
    /// The image, as `image list` shows it.
    pub name: String,
}

/// The flags of `image tag`.
#[derive(Debug, Args)]
#[command(after_help = "Example: micado image tag container-web:0123456789ab container-web:stable")]
pub struct TagImageArgs {
    /// The image on the manager's engine: `NAME[:TAG]`, or its id.
    pub image: String,
    /// Its new name: `NAME[:TAG]`.
    pub name: String,
}

/// The flags of `image remove`.
#[derive(Debug, Args)]
#[command(after_help = "Example: micado image remove container-web:0123456789ab")]
pub struct RemoveImageArgs {
    /// The image: `NAME` for all of its revisions, `NAME:TAG`, or `NAME@DIGEST`, of which 12 digits
    /// suffice.
    pub name: String,
}

/// The flags of `image export`.
#[derive(Debug, Args)]
#[command(after_help = "Example: micado image export container-web -o container-web.tar")]
pub struct ExportImageArgs {
    /// The image on the manager's engine: `NAME[:TAG]`; without tag, `latest`.
    pub name: String,
    /// The file to write; `-` is standard output, as it is without this flag in a pipe.
    #[arg(short = 'o', value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Replace the file if it exists.
    #[arg(long)]
    pub force: bool,
}

/// The flags of `image import`.
#[derive(Debug, Args)]
#[command(after_help = "Example: micado image import -f container-web.tar")]
pub struct ImportImageArgs {
    /// The archive, plain or gzip; `-` is standard input, as it is without this flag in a pipe.
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Name of the image, `NAME[:TAG]`, in place of its names in the archive.
    #[arg(short, long)]
    pub name: Option<String>,
    /// Take a name that another image has. What runs keeps its image.
    #[arg(long)]
    pub force: bool,
}

/// The flags of `image prune`.
#[derive(Debug, Args)]
#[command(after_help = "Example: micado image prune --dry-run")]
pub struct PruneImagesArgs {
    /// Also remove images with a name such as `latest`, if no service needs them. They stay on the
    /// manager's engine.
    #[arg(long)]
    pub all: bool,
    /// Remove nothing; show what would be removed.
    #[arg(long)]
    pub dry_run: bool,
}

/// The flags of `image set`.
#[derive(Debug, Args)]
#[command(after_help = "Example: micado image set nginx --critical-memory 400M")]
#[command(group = ArgGroup::new("critical").required(true).multiple(true).args(["critical_memory", "critical_cpu", "clear"]))]
pub struct SetImageArgs {
    /// The image, as it is launched.
    pub name: String,
    /// Memory; what is not named stays as it is.
    #[arg(long, allow_hyphen_values = true, value_name = "MEMORY")]
    pub critical_memory: Option<MemoryBytes>,
    /// CPU; what is not named stays as it is.
    #[arg(long, allow_hyphen_values = true, value_name = "CORES")]
    pub critical_cpu: Option<NanoCpus>,
    /// Set nothing: both are suggested by what was learned.
    #[arg(long, conflicts_with_all = ["critical_memory", "critical_cpu"])]
    pub clear: bool,
}
