//! The simulator as a program of its own.

use anyhow::Context;
use clap::Parser;
use micado_cloudbroker::{Catalogue, Certificate, Config, Https, Pace, Simulator, Spelling};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tokio::signal::unix::{SignalKind, signal};

/// Simulates CloudBroker's REST API.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where HTTP listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8900")]
    listen: SocketAddr,
    /// Where HTTPS listens, if it shall.
    #[arg(long, value_name = "ADDRESS")]
    https: Option<SocketAddr>,
    /// The certificate that HTTPS shows (PEM). Without it, one is made, and its authority is `ca.crt` in the folder of `--tls-folder`.
    #[arg(long, value_name = "FILE", requires = "https", requires = "key")]
    certificate: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Where a certificate that is made is kept.
    #[arg(long, value_name = "FOLDER", default_value = "cloudbroker-tls")]
    tls_folder: PathBuf,
    /// A further name or address that a certificate is made for.
    #[arg(long, value_name = "NAME")]
    tls_name: Vec<String>,
    /// The account: user and password on two lines.
    #[arg(long, value_name = "FILE")]
    credentials: PathBuf,
    /// The file in which jobs and machines outlive the program.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// What can be rented (JSON); the README has an example.
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// How long each status lasts: `20ms`, or `20ms,job.preparing=2s,address=1s`.
    #[arg(long, value_name = "DURATIONS", default_value = "20ms")]
    pace: Pace,
    /// Answers in any of the ways that clients must put up with, by `--seed`.
    #[arg(long)]
    any_spelling: bool,
    /// Decides all that is random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many of 1 calls have a fault at random.
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    fault_rate: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let simulator = Simulator::start(config(Arguments::parse())?).await?;
    tracing::info!(http = simulator.url(), https = simulator.https_url(), "serving");
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn config(arguments: Arguments) -> anyhow::Result<Config> {
    let (user, password) = account(&arguments.credentials)?;
    let certificate = match (arguments.certificate, arguments.key) {
        (Some(certificate), Some(key)) => Certificate::Files { certificate, key },
        _ => Certificate::Made { folder: arguments.tls_folder, names: arguments.tls_name },
    };
    Ok(Config {
        listen: arguments.listen,
        https: arguments.https.map(|listen| Https { listen, certificate }),
        user,
        password,
        catalogue: arguments.catalogue.as_deref().map_or_else(|| Ok(Catalogue::default()), catalogue)?,
        pace: arguments.pace,
        state: arguments.state,
        spelling: if arguments.any_spelling { Spelling::random(arguments.seed) } else { Spelling::default() },
        seed: arguments.seed,
        fault_rate: arguments.fault_rate,
        ..Config::default()
    })
}

fn account(path: &Path) -> anyhow::Result<(String, String)> {
    let text = fs::read_to_string(path).with_context(|| format!("`{}`", path.display()))?;
    let mut lines = text.lines().map(str::to_owned);
    lines.next().zip(lines.next()).with_context(|| format!("`{}` does not have user and password on two lines", path.display()))
}

fn catalogue(path: &Path) -> anyhow::Result<Catalogue> {
    let text = fs::read_to_string(path).with_context(|| format!("`{}`", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("`{}` is no catalogue", path.display()))
}
