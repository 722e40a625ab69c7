//! Flags of `launch` that are those of `docker run`.

use super::values::said;
use clap::Args;
use micado_api::{
    HealthCheck, MemoryBytes, RunOptions, Tmpfs, Ulimit,
    health::{HttpProbe, TcpProbe},
};
use micado_core::scaling::Span;
use std::{num::NonZeroU64, path::PathBuf, str::FromStr};

/// How the containers run.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "As of `docker run`")]
pub struct RunFlags {
    /// The program to run and its first arguments, split as a shell does; see also `--script`.
    #[arg(long, value_name = "COMMAND", conflicts_with = "script")]
    pub entrypoint: Option<String>,
    /// Take environment variables from a file with `KEY=VALUE` or `KEY` in each line; repeat for
    /// more.
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// User of the process, by name or number.
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Working directory of the process.
    #[arg(short, long, value_name = "PATH")]
    pub workdir: Option<String>,
    /// Host name [default: the container's name].
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Set a label of the containers; repeat for more.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// The image's own process is process 1: no init reaps orphans and forwards signals.
    #[arg(long)]
    pub no_init: bool,
    /// Signal that asks the process to end [default: the image's, else SIGTERM].
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Time from that signal to SIGKILL, at most an hour [default: 10s].
    #[arg(long, visible_alias = "stop-timeout", value_name = "TIME")]
    pub stop_grace: Option<Time>,
    /// The root file system cannot be written.
    #[arg(long)]
    pub read_only: bool,
    /// A folder in memory; repeat for more. Its content counts as memory of the container.
    #[arg(long, value_name = "PATH[:size=SIZE]")]
    pub tmpfs: Vec<TmpfsFlag>,
    /// Size of /dev/shm [default: 64M].
    #[arg(long, value_name = "SIZE")]
    pub shm_size: Option<MemoryBytes>,
    /// Give a capability that the engine does not give by default; repeat for more. Those that act
    /// on the whole machine are refused.
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<Capability>,
    /// Take a capability, or `ALL`; repeat for more.
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_drop: Vec<Capability>,
    /// Set a resource limit, such as `nofile=1024:4096`; repeat for more.
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]")]
    pub ulimits: Vec<UlimitFlag>,
    /// Upper bound for processes and threads, or `unlimited` [default: 4096].
    #[arg(long, visible_alias = "pids-limit", value_name = "COUNT")]
    pub pids: Option<Pids>,
    /// `none`: no health check, whatever the image says.
    #[arg(long, value_name = "none")]
    pub health: Option<NoHealth>,
    /// Check the health by this command for the container's shell. The container counts as running
    /// once it succeeds, and is restarted if it is unhealthy later.
    #[arg(long, value_name = "COMMAND")]
    pub health_cmd: Option<String>,
    /// Check the health by a GET from the container's machine, such as `8080/health`, `/` or
    /// `/up=204` [default port: the first TCP port; default status: 200 to 399]. The container
    /// counts as running once it succeeds, and has no entry in the catalogue while it fails.
    #[arg(long, value_name = "[PORT]/PATH[=STATUS]", conflicts_with_all = ["health_cmd", "health_tcp"])]
    pub health_http: Option<HttpProbe>,
    /// The same by a TCP connection [default: to the first TCP port].
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "", conflicts_with = "health_cmd")]
    pub health_tcp: Option<TcpProbe>,
    /// Time between checks, and before the first by the engine [default: of --health-http and
    /// --health-tcp 2s, and 250ms until healthy; the image's, else 10s].
    #[arg(long, value_name = "TIME")]
    pub health_interval: Option<Time>,
    /// Time after which a check has failed [default: 1s by the agent; the image's, else 5s].
    #[arg(long, value_name = "TIME")]
    pub health_timeout: Option<Time>,
    /// Failed checks in a row that make it unhealthy [default: the image's, else 3].
    #[arg(long, value_name = "COUNT")]
    pub health_retries: Option<NonZeroU64>,
    /// Time from the start in which failed checks do not count [default: 60s by the agent; the
    /// image's, else none].
    #[arg(long, visible_alias = "health-start-period", value_name = "TIME")]
    pub health_start: Option<Time>,
    /// Replace a container that --health-http or --health-tcp finds unhealthy for this long, unless
    /// all containers of the service are [default: never].
    #[arg(long, value_name = "TIME")]
    pub restart_after: Option<Time>,
    /// Refused: such a container would own its machine.
    #[arg(long, hide = true)]
    pub privileged: bool,
}

/// Checks of a command that is named without times.
const INTERVAL_MS: u64 = 10_000;
const TIMEOUT_MS: u64 = 5_000;

impl RunFlags {
    /// The options of these flags. Their values are checked with the request.
    #[must_use]
    pub fn options(self) -> RunOptions {
        let ms = |time: Option<Time>| time.map(|time| time.0);
        let pair = |text: &String| match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (text.clone(), String::new()),
        };
        let mut options = RunOptions {
            no_init: self.no_init,
            user: self.user,
            workdir: self.workdir,
            hostname: self.hostname,
            labels: self.labels.iter().map(pair).collect(),
            stop_signal: self.stop_signal,
            stop_grace_ms: ms(self.stop_grace),
            read_only: self.read_only,
            tmpfs: self.tmpfs.into_iter().map(|flag| flag.0).collect(),
            shm_size: self.shm_size,
            cap_add: self.cap_add.into_iter().map(|flag| flag.0).collect(),
            cap_drop: self.cap_drop.into_iter().map(|flag| flag.0).collect(),
            ulimits: self.ulimits.into_iter().map(|flag| flag.0).collect(),
            pids: self.pids.map(|flag| flag.0),
            health: None,
        };
        let probe = self.health_http;
        let by_command = self.health_cmd.is_some();
        let check = HealthCheck {
            off: self.health.is_some(),
            command: self.health_cmd,
            probe: probe
                .map(|flag| flag.0)
                .or(self.health_tcp.map(|flag| flag.0)),
            interval_ms: ms(self.health_interval).or(by_command.then_some(INTERVAL_MS)),
            timeout_ms: ms(self.health_timeout).or(by_command.then_some(TIMEOUT_MS)),
            retries: self.health_retries,
            start_ms: ms(self.health_start),
            restart_after_ms: ms(self.restart_after),
        };
        options.health = Some(check).filter(|check| *check != HealthCheck::default());
        options
    }
}

/// A time, such as `90s`, `5m` or `1h30m`; a plain number is of seconds, as of `docker run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub u64);

impl FromStr for Time {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<u64>() {
            Ok(seconds) => Ok(Self(seconds.saturating_mul(1_000))),
            Err(_) => text.parse::<Span>().map(|span| Self(span.0)).map_err(said),
        }
    }
}

/// `PATH`, or `PATH:size=SIZE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TmpfsFlag(pub Tmpfs);

impl FromStr for TmpfsFlag {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (path, size) = match text.split_once(':') {
            None => (text, None),
            Some((path, option)) => {
                let size = option
                    .strip_prefix("size=")
                    .ok_or_else(|| format!("`{option}` is not `size=SIZE`"))?;
                (path, Some(size.parse().map_err(said)?))
            }
        };
        let path = path.to_owned();
        Ok(Self(Tmpfs { path, size }))
    }
}

/// A capability, with or without `CAP_`, in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability(pub String);

impl FromStr for Capability {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name);
        Ok(Self(name.to_owned()))
    }
}

/// `NAME=SOFT`, or `NAME=SOFT:HARD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UlimitFlag(pub Ulimit);

impl FromStr for UlimitFlag {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not `NAME=SOFT[:HARD]`, such as `nofile=1024:4096`");
        let (name, limits) = text.split_once('=').ok_or_else(expected)?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let number = |text: &str| text.parse::<i64>().map_err(|_| expected());
        Ok(Self(Ulimit {
            name: name.to_owned(),
            soft: number(soft)?,
            hard: number(hard)?,
        }))
    }
}

/// A number of processes, or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pids(pub u64);

impl FromStr for Pids {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("unlimited" | "-1", _) => Ok(Self(0)),
            (_, Ok(most)) if most > 0 => Ok(Self(most)),
            _ => Err(format!(
                "`{text}` is neither a number from 1 nor `unlimited`"
            )),
        }
    }
}

/// `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoHealth;

impl FromStr for NoHealth {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self),
            _ => Err("only `none` is known; `--health-cmd` sets a check".to_owned()),
        }
    }
}
