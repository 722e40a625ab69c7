//! The flags of `simulate`.

use clap::{Args, ValueEnum, value_parser};
use micado_core::scaling::Span;
use std::path::PathBuf;

/// The flags of `simulate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Shapes: steady, ramp, day, flash, saw, batch, bursts, week, steps, noise30; \
                  `all` prints a table.\n\
                  Examples: micado simulate --load flash\n          \
                  micado simulate --load saw:high=40,rise=600 --boot 3m --plot saw.svg\n          \
                  micado simulate --load demand.csv --policy policy.toml --billing hour"
)]
pub struct SimulateArgs {
    /// The load: a CSV file with lines `seconds,cores`, a shape, or `all`.
    #[arg(long, value_name = "FILE.csv|SHAPE[:KEY=VALUE,...]|all")]
    pub load: String,
    /// TOML file with the scaling policies [default: 0.70 of CPU, up to 400 copies].
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Compare with a model of Kubernetes' autoscalers, or not.
    #[arg(long, value_enum, default_value_t)]
    pub against: Against,
    /// Time from the order of a machine until it takes containers.
    #[arg(long, default_value = "90s", value_name = "TIME")]
    pub boot: Span,
    /// Boot times of the table that `--load all` prints [default: that of `--boot`].
    #[arg(long, value_delimiter = ',', value_name = "TIME,...")]
    pub boots: Vec<Span>,
    /// Smallest unit that a machine is paid by.
    #[arg(long, value_enum, default_value_t)]
    pub billing: BillingUnit,
    /// Containers of one core that a machine holds.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = value_parser!(u32).range(1..=1000))]
    pub slots: u32,
    /// Lower bound for the machines of the service, on both sides.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = value_parser!(u32).range(1..=100))]
    pub machines: u32,
    /// Seed of noise and bursts; `all` uses it and the next two.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Print every change of the count with its reason.
    #[arg(long)]
    pub changes: bool,
    /// Print demand, capacity and machines every 10 s as CSV, instead of the report.
    #[arg(long)]
    pub csv: bool,
    /// Write a plot of demand and capacity.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

/// The other side of the comparison.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Against {
    #[default]
    Peer,
    None,
}

/// Smallest unit that a machine is paid by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum BillingUnit {
    #[default]
    Second,
    Hour,
}
