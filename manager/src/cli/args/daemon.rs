//! The flags of the manager daemon; each can also be set by an environment variable.

use super::{HostPort, STATE, Tick};
use crate::store::Place;
use clap::{Args, ValueEnum};
use micado_api::PricePerHour;
use micado_core::control::HOLD;
use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

/// What is done with nodes of the Swarm that are no machine of ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum UnknownNodes {
    /// They are shown.
    #[default]
    Show,
    /// Workers among them are taken out of the Swarm.
    Remove,
}

/// The flags of `micado manager`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example: micado manager --cloudsetup cloudsetup.xml --max-instances 4")]
pub struct ManagerArgs {
    /// Where everything is kept: the store, the certificates, the token, the unix socket.
    #[arg(long, env = "MICADO_STATE", hide_env_values = true, default_value = STATE, value_name = "DIR")]
    pub state: PathBuf,
    /// The store: `mongodb://...`, `mongodb+srv://...`, or `@FILE` for what is written in a file. A
    /// URL with a password belongs there, or in the environment [default: a file of the state
    /// folder].
    #[arg(long, env = "MICADO_STORE", hide_env_values = true, value_name = "URL")]
    pub store: Option<Place>,
    /// The clouds and applications [default: `cloudsetup.xml` of the state folder].
    #[arg(
        long,
        env = "MICADO_CLOUDSETUP",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub cloudsetup: Option<PathBuf>,
    /// The Docker Engine that is, or becomes, the Swarm's manager.
    #[arg(
        long,
        env = "MICADO_ENGINE",
        hide_env_values = true,
        default_value = "unix:///var/run/docker.sock",
        value_name = "URL"
    )]
    pub engine: String,
    /// The Docker Engine that holds the instances of `local` clouds [default: the manager's].
    #[arg(
        long,
        env = "MICADO_CLOUD_ENGINE",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub cloud_engine: Option<String>,
    /// Where the HTTPS API listens.
    #[arg(
        long,
        env = "MICADO_LISTEN",
        hide_env_values = true,
        default_value = "0.0.0.0:7443",
        value_name = "ADDR:PORT"
    )]
    pub listen: SocketAddr,
    /// Where machines reach the HTTPS API [default: the advertised address, and the port of
    /// --listen].
    #[arg(
        long,
        env = "MICADO_API_ADDRESS",
        hide_env_values = true,
        value_name = "HOST[:PORT]"
    )]
    pub api_address: Option<HostPort>,
    /// Offer the service catalogue in the form of Consul's HTTP API, in the clear: a loopback
    /// address [default if named without one: 127.0.0.1:8500].
    #[arg(long, env = "MICADO_CONSUL", hide_env_values = true, value_name = "ADDR:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:8500", value_parser = loopback)]
    pub consul: Option<SocketAddr>,
    /// The same over TLS, with the certificate of the HTTPS API [default if named without one:
    /// 0.0.0.0:8501].
    #[arg(long, env = "MICADO_CONSUL_TLS", hide_env_values = true, value_name = "ADDR:PORT", num_args = 0..=1, default_missing_value = "0.0.0.0:8501")]
    pub consul_tls: Option<SocketAddr>,
    /// Answer DNS for the zone `micado` at this address, over UDP and TCP. A port alone is at the
    /// advertised address [default if named without one: 8600].
    #[arg(long, env = "MICADO_DNS", hide_env_values = true, value_name = "[ADDR:]PORT", num_args = 0..=1, default_missing_value = "8600")]
    pub dns: Option<DnsAddress>,
    /// How long clients may keep answers about services, in seconds: 0 to 5.
    #[arg(long, env = "MICADO_DNS_TTL", hide_env_values = true, default_value_t = 0, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=5))]
    pub dns_ttl: u32,
    /// How long a copy with published ports goes on running after it was taken out of the service
    /// catalogue: `10s`, up to 5m. For proxies that follow the catalogue.
    #[arg(long, env = "MICADO_DRAIN_WAIT", hide_env_values = true, default_value = "0s", value_name = "TIME", value_parser = drain_wait)]
    pub drain_wait: Duration,
    /// The address under which nodes reach this machine [default: found out].
    #[arg(
        long,
        env = "MICADO_ADVERTISE",
        hide_env_values = true,
        value_name = "ADDR"
    )]
    pub advertise: Option<String>,
    /// The port of the image registry, where machines pull.
    #[arg(long, env = "MICADO_REGISTRY_PORT", hide_env_values = true, default_value_t = 5443, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub registry_port: u16,
    /// The port where the manager and its engine push.
    #[arg(long, env = "MICADO_REGISTRY_PUSH_PORT", hide_env_values = true, default_value_t = 5444, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub registry_push_port: u16,
    /// When garbage of the image registry is collected, so that the space of removed images is
    /// free: seconds, or a cron expression with seconds, in UTC.
    #[arg(
        long,
        env = "MICADO_REGISTRY_GC",
        hide_env_values = true,
        default_value = "0 30 3 * * *",
        value_name = "SECONDS"
    )]
    pub registry_gc: Tick,
    /// An image registry that is there already, instead of one that the manager runs; needs its
    /// three files.
    #[arg(long, env = "MICADO_REGISTRY", hide_env_values = true, value_name = "HOST:PORT", requires_all = ["registry_ca", "registry_cert", "registry_key"])]
    pub registry: Option<String>,
    /// The certificate authority of that registry's certificate.
    #[arg(
        long,
        env = "MICADO_REGISTRY_CA",
        hide_env_values = true,
        value_name = "FILE",
        requires = "registry"
    )]
    pub registry_ca: Option<PathBuf>,
    /// The client certificate that the manager's engine and the machines show to it.
    #[arg(
        long,
        env = "MICADO_REGISTRY_CERT",
        hide_env_values = true,
        value_name = "FILE",
        requires = "registry"
    )]
    pub registry_cert: Option<PathBuf>,
    /// The key of that certificate.
    #[arg(
        long,
        env = "MICADO_REGISTRY_KEY",
        hide_env_values = true,
        value_name = "FILE",
        requires = "registry"
    )]
    pub registry_key: Option<PathBuf>,
    /// Where the engine looks for the certificates of registries.
    #[arg(
        long,
        env = "MICADO_REGISTRY_CERTS_DIR",
        hide_env_values = true,
        default_value = "/etc/docker/certs.d",
        value_name = "DIR"
    )]
    pub registry_certs_dir: PathBuf,
    /// The image that instances of `local` clouds are made from.
    #[arg(
        long,
        env = "MICADO_NODE_IMAGE",
        hide_env_values = true,
        default_value = "micado-node:latest",
        value_name = "IMAGE"
    )]
    pub node_image: String,
    /// The node agent as a static program, which machines get that were made from an image without
    /// it [default: `micado-node` beside `micado`, if it is there].
    #[arg(
        long,
        env = "MICADO_AGENT",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub agent: Option<PathBuf>,
    /// The network that instances of `local` clouds are put in [default: one of the cluster's own].
    #[arg(
        long,
        env = "MICADO_CLOUD_NETWORK",
        hide_env_values = true,
        value_name = "NAME"
    )]
    pub cloud_network: Option<String>,
    /// What is done with nodes of the Swarm that are no machine of ours.
    #[arg(
        long,
        env = "MICADO_UNKNOWN_NODES",
        hide_env_values = true,
        value_enum,
        default_value_t,
        value_name = "WHAT"
    )]
    pub unknown_nodes: UnknownNodes,
    /// Instances at most.
    #[arg(
        long,
        env = "MICADO_MAX_INSTANCES",
        hide_env_values = true,
        default_value_t = 10,
        value_name = "N"
    )]
    pub max_instances: u32,
    /// Price per hour of all instances at most [default: no limit].
    #[arg(
        long,
        env = "MICADO_MAX_PRICE",
        hide_env_values = true,
        value_name = "X"
    )]
    pub max_price: Option<PricePerHour>,
    /// Return machines that nothing needs. With `false`, only `micado stop` returns one.
    #[arg(
        long,
        env = "MICADO_RETURN_MACHINES",
        hide_env_values = true,
        default_value_t = true,
        action = clap::ArgAction::Set,
        value_name = "BOOL"
    )]
    pub return_machines: bool,
    /// Lower bound for the time for which an unneeded machine is kept: `60s`, `10m`, 60s to 24h.
    /// If machines of its kind take longer to join, it is kept that long, up to 15m.
    #[arg(long, env = "MICADO_HOLD", hide_env_values = true, default_value = "60s", value_name = "TIME", value_parser = hold)]
    pub hold: Duration,
    /// How long a machine may be silent before it is given up and its containers run elsewhere, if
    /// its cloud says that it runs: `90s`, `5m`, from 15s to 1h.
    #[arg(long, env = "MICADO_DOWN_TIMEOUT", hide_env_values = true, default_value = "2m", value_name = "TIME", value_parser = down_timeout)]
    pub down_timeout: Duration,
    /// Take over a cluster that another manager leads with another store. That manager stops
    /// deciding; without this, a cluster whose manager is alive is refused.
    #[arg(long)]
    pub take_over: bool,
    /// How long the cluster stays this manager's when it gives no sign of life: only then may a
    /// manager with another store adopt it. From 3s to 10m.
    #[arg(long, env = "MICADO_LEASE", hide_env_values = true, default_value = "30s", value_name = "TIME", value_parser = lease)]
    pub lease: Duration,
    /// How often everything is checked, whatever happens: seconds, or a cron expression with
    /// seconds.
    #[arg(
        long,
        env = "MICADO_TICK",
        hide_env_values = true,
        default_value = "10",
        value_name = "SECONDS"
    )]
    pub tick: Tick,
    /// How often what machines and containers use is recorded, and a MongoDB's collections brought
    /// up to date: seconds, or a cron expression with seconds.
    #[arg(
        long,
        env = "MICADO_REFRESH",
        hide_env_values = true,
        default_value = "*/10 * * * * *",
        value_name = "SECONDS"
    )]
    pub refresh: Tick,
}

/// Address of the name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsAddress {
    /// A port at the advertised address.
    Port(u16),
    At(SocketAddr),
}

impl FromStr for DnsAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.parse().map(Self::At);
        let port = || text.parse().map(Self::Port);
        at.or_else(|_| port())
            .map_err(|_| "expected a port, or an address with one".to_owned())
    }
}

/// Without TLS the token, and all answers, can be read on the way.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "expected an address with a port, such as `127.0.0.1:8500`")?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err("it is no loopback address: use --consul-tls for others".to_owned()),
    }
}

fn drain_wait(text: &str) -> Result<Duration, String> {
    time_within(text, 0..=300, "not from `0s` to `5m`")
}

/// The lower bound lets the Swarm distinguish a silent machine from a slow one: it needs three
/// heartbeats of some seconds. The upper one is longer than any intended absence of containers.
fn down_timeout(text: &str) -> Result<Duration, String> {
    time_within(text, 15..=3600, "not from `15s` to `1h`")
}

/// The lower bound keeps machines from being rented and returned in turns.
fn hold(text: &str) -> Result<Duration, String> {
    time_within(text, HOLD.as_secs()..=24 * 3600, "not from `60s` to `24h`")
}

/// The lower bound leaves time for three renewals. The upper one limits the wait for adoption.
fn lease(text: &str) -> Result<Duration, String> {
    time_within(text, 3..=600, "not from `3s` to `10m`")
}

fn time_within(
    text: &str,
    seconds: RangeInclusive<u64>,
    otherwise: &str,
) -> Result<Duration, String> {
    let time = text
        .parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|time| Duration::try_from(time).ok());
    let time = time.ok_or("expected a time with its unit, such as `90s` or `5m`")?;
    let range = Duration::from_secs(*seconds.start())..=Duration::from_secs(*seconds.end());
    if range.contains(&time) {
        Ok(time)
    } else {
        Err(format!("it is {otherwise}"))
    }
}
