//! The simulator as a program of its own.

use anyhow::Context;
use clap::Parser;
use micado_cloudbroker::{
    Catalogue, Certificate, Config, DockerMachines, Https, MachineKind, Pace, Simulator, Spelling,
};
use std::{
    fs,
    io::IsTerminal,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tokio::signal::unix::{SignalKind, signal};

/// Simulates CloudBroker's REST API.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address of HTTP.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8900")]
    listen: SocketAddr,
    /// Address of HTTPS, if wanted.
    #[arg(long, value_name = "ADDRESS")]
    https: Option<SocketAddr>,
    /// The certificate for HTTPS (PEM). Without it, one is made; its authority is `ca.crt` in the
    /// folder of `--tls-folder`.
    #[arg(long, value_name = "FILE", requires = "https", requires = "key")]
    certificate: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Folder for a certificate that is made.
    #[arg(long, value_name = "FOLDER", default_value = "cloudbroker-tls")]
    tls_folder: PathBuf,
    /// A further name or address for a certificate that is made.
    #[arg(long, value_name = "NAME")]
    tls_name: Vec<String>,
    /// The account: user and password on two lines.
    #[arg(long, value_name = "FILE")]
    credentials: PathBuf,
    /// File in which jobs and machines survive the program.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// The catalogue (JSON); the README has an example.
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// The engine whose containers are the machines. Without it, machines are records only.
    #[arg(long, value_name = "URL", requires = "network")]
    engine: Option<String>,
    /// Bridge network of the machines; made if absent.
    #[arg(long, value_name = "NAME", requires = "engine")]
    network: Option<String>,
    /// Image of the machines; made by scripts/cloudbroker-image/build.
    #[arg(
        long,
        value_name = "IMAGE",
        default_value = "micado-cloudbroker:latest"
    )]
    image: String,
    /// A label on everything that is made on the engine.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// The package of a software of the catalogue: a folder with `deploy.sh` and `input.tar.gz`.
    /// Without one, its machines run an engine and no executable.
    #[arg(long, value_name = "NAME=FOLDER", value_parser = pair)]
    software: Vec<(String, String)>,
    /// Remove all machines on SIGTERM or ctrl-c.
    #[arg(long)]
    remove: bool,
    /// Duration of each status: `20ms`, or `20ms,job.preparing=2s,address=1s`.
    #[arg(long, value_name = "DURATIONS", default_value = "20ms")]
    pace: Pace,
    /// Vary the answers in all ways that clients must accept, by `--seed`.
    #[arg(long)]
    any_spelling: bool,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Probability of a random fault per call.
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    fault_rate: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let arguments = Arguments::parse();
    let remove = arguments.remove;
    // When ended while a software's image is being made, the program exits; what was made is reused
    // next time.
    let simulator = Simulator::start(config(arguments)?).await?;
    tracing::info!(
        http = simulator.url(),
        https = simulator.https_url(),
        "serving"
    );
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    if remove {
        tracing::info!("removing all machines");
        simulator.end().await?;
    }
    Ok(())
}

fn config(arguments: Arguments) -> anyhow::Result<Config> {
    let (user, password) = account(&arguments.credentials)?;
    let certificate = match (arguments.certificate, arguments.key) {
        (Some(certificate), Some(key)) => Certificate::Files { certificate, key },
        _ => Certificate::Made {
            folder: arguments.tls_folder,
            names: arguments.tls_name,
        },
    };
    let mut catalogue = arguments
        .catalogue
        .as_deref()
        .map_or_else(|| Ok(Catalogue::default()), catalogue)?;
    for (name, folder) in arguments.software {
        let software = catalogue
            .softwares
            .iter_mut()
            .find(|software| software.name == name);
        software
            .with_context(|| format!("the catalogue has no software `{name}`"))?
            .package = Some(folder.into());
    }
    let machines = match (arguments.engine, arguments.network) {
        (Some(endpoint), Some(network)) => MachineKind::Docker(DockerMachines {
            endpoint,
            network,
            image: arguments.image,
            labels: arguments.label.into_iter().collect(),
        }),
        _ => MachineKind::None,
    };
    Ok(Config {
        listen: arguments.listen,
        https: arguments.https.map(|listen| Https {
            listen,
            certificate,
        }),
        user,
        password,
        catalogue,
        pace: arguments.pace,
        machines,
        state: arguments.state,
        spelling: if arguments.any_spelling {
            Spelling::random(arguments.seed)
        } else {
            Spelling::default()
        },
        seed: arguments.seed,
        fault_rate: arguments.fault_rate,
    })
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` has no `=`"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn account(path: &Path) -> anyhow::Result<(String, String)> {
    let text = fs::read_to_string(path).with_context(|| format!("`{}`", path.display()))?;
    let mut lines = text.lines().map(str::to_owned);
    lines.next().zip(lines.next()).with_context(|| {
        format!(
            "`{}` does not have user and password on two lines",
            path.display()
        )
    })
}

fn catalogue(path: &Path) -> anyhow::Result<Catalogue> {
    let text = fs::read_to_string(path).with_context(|| format!("`{}`", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("`{}` is no catalogue", path.display()))
}
