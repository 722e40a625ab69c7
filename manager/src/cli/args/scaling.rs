//! Flags of the verbs about scaling.

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use micado_core::scaling::{Forecast, Importance, Span};
use std::{path::PathBuf, str::FromStr};

/// Operations on the policy of a service.
#[derive(Debug, Subcommand)]
pub enum PolicyVerb {
    /// Set the scaling policy of a service; settings that are not named stay as they are.
    #[command(
        after_help = "Example: micado policy set acme_web --cpu 70% --min 2 --max 20\n         micado policy set acme_web --file web.toml"
    )]
    Set(PolicyArgs),
    /// Show the policy of a service, as a file for `--file`.
    #[command(after_help = "Example: micado policy show acme_web > web.toml")]
    Show {
        /// A service's name.
        name: String,
    },
    /// Check a policy on the present load of a service; nothing is set.
    #[command(after_help = "Example: micado policy check acme_web --cpu 50%")]
    Check(PolicyArgs),
    /// Remove the policy of a service; its containers stay.
    #[command(after_help = "Example: micado policy remove acme_web")]
    Remove {
        /// A service's name.
        name: String,
    },
}

/// The flags of `policy set` and `policy check`.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// A service's name.
    pub name: String,
    /// CPU that a container uses at the target, as a share of its reservation.
    #[arg(long, value_name = "SHARE")]
    pub cpu: Option<Share>,
    /// Memory that a container uses at the target, as a share of its limit.
    #[arg(long, value_name = "SHARE")]
    pub memory: Option<Share>,
    #[command(flatten)]
    pub limits: LimitFlags,
    /// A TOML file with the whole policy; other flags change it.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// The limits of a policy: flags of `policy set`, `policy check` and `launch`.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct LimitFlags {
    /// Lower bound for the number of containers [default: 1].
    #[arg(long, value_name = "COUNT")]
    pub min: Option<u32>,
    /// Upper bound for the number of containers [default: 10].
    #[arg(long, value_name = "COUNT")]
    pub max: Option<u32>,
    /// Weight of missed demand against idle containers [default: normal].
    #[arg(long, value_enum, value_name = "WEIGHT")]
    pub importance: Option<Weight>,
    /// Use of the load at the same time of earlier days [default: auto].
    #[arg(long, value_enum, value_name = "USE")]
    pub forecast: Option<ForecastUse>,
    /// Time whose busiest minute the containers must still carry after a removal [default: 3m].
    #[arg(long, value_name = "TIME")]
    pub look_back: Option<Span>,
}

/// Weight of missed demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Weight {
    /// Idle containers cost as much as missed demand.
    Low,
    /// Missed demand costs four times as much.
    Normal,
    /// Missed demand costs nineteen times as much.
    High,
}

impl From<Weight> for Importance {
    fn from(weight: Weight) -> Self {
        match weight {
            Weight::Low => Self::Low,
            Weight::Normal => Self::Normal,
            Weight::High => Self::High,
        }
    }
}

/// Use of the forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ForecastUse {
    /// None.
    Off,
    /// `explain` shows what it wants; no count follows.
    Show,
    /// A lower bound, while it is better than the present load.
    Auto,
}

impl From<ForecastUse> for Forecast {
    fn from(usage: ForecastUse) -> Self {
        match usage {
            ForecastUse::Off => Self::Off,
            ForecastUse::Show => Self::Show,
            ForecastUse::Auto => Self::Auto,
        }
    }
}

/// A share: `70%` or `0.7`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, whole) = match text.strip_suffix('%') {
            Some(digits) => (digits, 100.0),
            None => (text, 1.0),
        };
        let number: f64 = digits.trim().parse().unwrap_or(f64::NAN);
        let share = number / whole;
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(format!("`{text}` is no share such as `70%` or `0.7`"))
        }
    }
}

/// The flags of `scale`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: micado scale acme_web 5 --for 2h\n         micado scale acme_web --pin"
)]
#[command(group = ArgGroup::new("change").required(true).multiple(true).args(["count", "pin", "unpin"]))]
pub struct ScaleArgs {
    /// A service's name.
    pub name: String,
    /// Number of containers. With a policy it is a lower bound for 30 minutes.
    pub count: Option<u32>,
    /// Duration of the lower bound.
    #[arg(long = "for", value_name = "TIME", requires = "count")]
    pub lasts: Option<Span>,
    /// Keep the number as it is, whatever the policy says.
    #[arg(long, conflicts_with = "unpin")]
    pub pin: bool,
    /// Let the policy change the number again.
    #[arg(long)]
    pub unpin: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_or_a_fraction() {
        assert_eq!("70%".parse(), Ok(Share(0.7)));
        assert_eq!("0.7".parse(), Ok(Share(0.7)));
        for refused in ["70", "-1%", "x", "", "nan"] {
            let error = refused.parse::<Share>().expect_err("no share");
            assert!(error.contains(&format!("`{refused}`")), "{error}");
        }
    }
}
