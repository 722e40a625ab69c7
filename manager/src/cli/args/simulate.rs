//! The flags of `simulate`.

use clap::{ArgGroup, Args, ValueEnum, value_parser};
use micado_core::scaling::Span;
use std::{convert::Infallible, path::PathBuf, str::FromStr};

/// The flags of `simulate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Shapes: steady, ramp, day, flash, saw, batch, bursts, week, steps, noise30; \
                  `all` prints a table.\n\
                  Examples: micado simulate --load flash\n          \
                  micado simulate --load saw:high=40,rise=600 --boot 3m --plot saw.svg\n          \
                  micado simulate --load demand.csv --policy new.toml --against old.toml\n          \
                  micado simulate --load day --load batch --billing hour\n          \
                  micado simulate --from-history acme_web --days 7"
)]
#[command(group = ArgGroup::new("demand").required(true).args(["load", "from_history"]))]
pub struct SimulateArgs {
    /// The load: a CSV file with lines `seconds,cores`, a shape, or `all`. Several are services of
    /// one cluster.
    #[arg(long, value_name = "FILE.csv|SHAPE[:KEY=VALUE,...]|all")]
    pub load: Vec<String>,
    /// Take what a service of the cluster has used as the load.
    #[arg(long, value_name = "SERVICE")]
    pub from_history: Option<String>,
    /// Length of that past.
    #[arg(long, default_value_t = 7, value_name = "DAYS", value_parser = value_parser!(u32).range(1..=30))]
    pub days: u32,
    /// Days at the beginning of the load that are only the past of the forecast.
    #[arg(long, default_value_t = 0, value_name = "DAYS", value_parser = value_parser!(u32).range(0..=28))]
    pub past: u32,
    /// TOML file with the scaling policies [default: 0.70 of CPU, up to 400 copies].
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Compare with a model of Kubernetes' autoscalers, with other policies, or with nothing.
    #[arg(long, default_value = "peer", value_name = "peer|FILE|none")]
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
    /// Price of a machine per hour.
    #[arg(long, default_value = "1", value_name = "PRICE", value_parser = price)]
    pub price: f64,
    /// Containers of one core that a machine holds.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = value_parser!(u32).range(1..=200))]
    pub slots: u32,
    /// Lower bound for the machines of the service, on both sides.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = value_parser!(u32).range(1..=100))]
    pub machines: u32,
    /// Let machines die and boot slowly, the broker refuse orders, and samples get lost, at times
    /// that the seed chooses.
    #[arg(long)]
    pub faults: bool,
    /// Seed of noise, bursts and faults; `all` uses it and the next two.
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Against {
    Peer,
    /// The same cluster with the policies of this file.
    Policies(PathBuf),
    Nothing,
}

impl FromStr for Against {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "peer" => Self::Peer,
            "none" => Self::Nothing,
            file => Self::Policies(file.into()),
        })
    }
}

/// Smallest unit that a machine is paid by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum BillingUnit {
    #[default]
    Second,
    #[value(name = "5m")]
    FiveMinutes,
    Hour,
}

fn price(text: &str) -> Result<f64, String> {
    let price: f64 = text.parse().unwrap_or(f64::NAN);
    match price.is_finite() && price > 0.0 {
        true => Ok(price),
        false => Err("a price is a number above 0, such as `0.05`".to_owned()),
    }
}
