//! Options of `docker run` that hold for every container of a service.

use crate::{health::Probe, units::MemoryBytes};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, num::NonZeroU64, time::Duration};

/// Time for a process to end by itself after the stop signal, unless another is given.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Upper bound for the processes and threads of a container, unless another is given.
const PIDS: u64 = 4096;

/// Options of a service's containers. Absent ones are the image's or the engine's defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct RunOptions {
    /// The image's own process is process 1, without an init that reaps orphans.
    #[serde(skip_serializing_if = "is_default")]
    pub no_init: bool,
    /// User, and group after a colon, of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Working directory of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Host name; the container's own name if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Labels of the containers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the process to end, such as `SIGQUIT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Milliseconds from that signal to SIGKILL; 10 s if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_grace_ms: Option<u64>,
    /// The root file system cannot be written.
    #[serde(skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// Folders in memory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<Tmpfs>,
    /// Size of `/dev/shm`; the engine's 64 MiB if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub shm_size: Option<MemoryBytes>,
    /// Capabilities beyond the engine's default, without `CAP_`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// Capabilities taken from the engine's default, without `CAP_`; `ALL` takes all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_drop: Vec<String>,
    /// Resource limits of the process.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ulimits: Vec<Ulimit>,
    /// Upper bound for processes and threads, 0 for none; 4096 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Health check; the image's own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
}

/// A folder in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Tmpfs {
    /// Absolute path in the container.
    pub path: String,
    /// Upper bound for its content; half of the machine's memory if absent. All of it counts as
    /// memory of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub size: Option<MemoryBytes>,
}

/// A resource limit, as of `setrlimit(2)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Ulimit {
    /// Name without `RLIMIT_`, in lower case, such as `nofile`.
    pub name: String,
    /// Soft limit; -1 for none.
    pub soft: i64,
    /// Hard limit; -1 for none.
    pub hard: i64,
}

/// A check that the engine runs in the container, or the agent from its machine. Until it succeeds,
/// the container is starting. The engine restarts a container that is unhealthy later; by the
/// agent's check, it is taken out of the service catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct HealthCheck {
    /// No check, whatever the image says.
    #[serde(skip_serializing_if = "is_default")]
    pub off: bool,
    /// Command for the container's shell; it exits with 0 if the container is healthy. The image's
    /// own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Check of the agent. The times are of it then, and the image's own check stays as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// Milliseconds between checks; the engine waits as long before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// Milliseconds after which a check has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Failed checks in a row that make the container unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub retries: Option<NonZeroU64>,
    /// Milliseconds from the start in which failed checks do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
    /// Milliseconds after which a copy that the agent finds unhealthy is replaced; never if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_after_ms: Option<u64>,
}

impl HealthCheck {
    /// Time after which a copy that the agent finds unhealthy is replaced.
    #[must_use]
    pub fn restart_after(&self) -> Option<Duration> {
        self.restart_after_ms.map(Duration::from_millis)
    }

    /// The engine's part: settings that the image's own check, or a command, has.
    #[must_use]
    pub fn by_engine(&self) -> Option<Self> {
        let own = match self.probe {
            None => self.clone(),
            Some(_) => Self {
                off: self.off,
                ..Self::default()
            },
        };
        Some(own).filter(|own| *own != Self::default())
    }
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl RunOptions {
    /// Time from the stop signal to SIGKILL.
    #[must_use]
    pub fn stop_grace(&self) -> Duration {
        self.stop_grace_ms.map_or(STOP_GRACE, Duration::from_millis)
    }

    /// Upper bound for processes and threads; `None` without one.
    #[must_use]
    pub fn most_pids(&self) -> Option<u64> {
        Some(self.pids.unwrap_or(PIDS)).filter(|most| *most > 0)
    }

    /// Options that are set, by the names of their flags, with values for people.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let yes = |is_set: bool| is_set.then(|| "yes".to_owned());
        let list = |items: Vec<String>| (!items.is_empty()).then(|| items.join(" "));
        let time = |ms: Option<u64>| ms.map(|ms| format!("{} s", ms as f64 / 1_000.0));
        let labels = self.labels.iter();
        let labels = labels.map(|(key, value)| format!("{key}={value}"));
        let health = self.health.as_ref();
        let probe = health.and_then(|it| it.probe.as_ref());
        let most = self.pids.map(|most| match most {
            0 => "unlimited".to_owned(),
            most => most.to_string(),
        });
        let all = [
            ("no-init", yes(self.no_init)),
            ("user", self.user.clone()),
            ("workdir", self.workdir.clone()),
            ("hostname", self.hostname.clone()),
            ("label", list(labels.collect())),
            ("stop-signal", self.stop_signal.clone()),
            ("stop-grace", time(self.stop_grace_ms)),
            ("read-only", yes(self.read_only)),
            (
                "tmpfs",
                list(self.tmpfs.iter().map(Tmpfs::to_string).collect()),
            ),
            ("shm-size", self.shm_size.map(|size| size.to_string())),
            ("cap-add", list(self.cap_add.clone())),
            ("cap-drop", list(self.cap_drop.clone())),
            (
                "ulimit",
                list(self.ulimits.iter().map(Ulimit::to_string).collect()),
            ),
            ("pids", most),
            (
                "health",
                health.filter(|it| it.off).map(|_| "none".to_owned()),
            ),
            ("health-cmd", health.and_then(|it| it.command.clone())),
            (
                probe.map_or("health-http", Probe::flag),
                probe.map(Probe::to_string),
            ),
            (
                "health-interval",
                time(health.and_then(|it| it.interval_ms)),
            ),
            ("health-timeout", time(health.and_then(|it| it.timeout_ms))),
            (
                "health-retries",
                health.and_then(|it| it.retries).map(|it| it.to_string()),
            ),
            ("health-start", time(health.and_then(|it| it.start_ms))),
            (
                "restart-after",
                time(health.and_then(|it| it.restart_after_ms)),
            ),
        ];
        let set = all.into_iter();
        set.filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

impl fmt::Display for Tmpfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size {
            None => f.write_str(&self.path),
            Some(size) => write!(f, "{} ({size})", self.path),
        }
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{}", self.name, self.soft, self.hard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_options_are_written_as_nothing_and_read_from_it() {
        let plain = RunOptions::default();
        assert_eq!(serde_json::to_string(&plain).expect("data"), "{}");
        assert_eq!(
            serde_json::from_str::<RunOptions>("{}").expect("read"),
            plain
        );
        assert_eq!(plain.settings(), []);
        assert_eq!(plain.stop_grace(), Duration::from_secs(10));
        assert_eq!(plain.most_pids(), Some(4096));
    }

    #[test]
    fn settings_are_named_as_their_flags() {
        let options = RunOptions {
            no_init: true,
            stop_grace_ms: Some(1_500),
            pids: Some(0),
            tmpfs: vec![Tmpfs {
                path: "/run".to_owned(),
                size: Some(MemoryBytes::mib(16)),
            }],
            ulimits: vec![Ulimit {
                name: "nofile".to_owned(),
                soft: 1024,
                hard: -1,
            }],
            health: Some(HealthCheck {
                command: Some("true".to_owned()),
                ..HealthCheck::default()
            }),
            ..RunOptions::default()
        };
        let said = options.settings();
        let said: Vec<String> = said
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        let expected = [
            "no-init yes",
            "stop-grace 1.5 s",
            "tmpfs /run (16 MiB)",
            "ulimit nofile=1024:-1",
            "pids unlimited",
            "health-cmd true",
        ];
        assert_eq!(said, expected);
        assert_eq!(options.most_pids(), None);
    }
}
