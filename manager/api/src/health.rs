//! Health checks that node agents make: their settings, and the states that they report.

use crate::{HealthCheck, PortMapping, Protocol, run::is_default};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// Time between two checks while a copy starts.
pub const STARTING_INTERVAL: Duration = Duration::from_millis(250);
/// Time between two checks later, unless another is given.
const INTERVAL_MS: u64 = 2_000;
/// Time after which a check has failed, unless another is given.
const TIMEOUT_MS: u64 = 1_000;
/// Failed checks in a row that make a copy unhealthy, unless another number is given.
const RETRIES: u64 = 3;
/// Time from the start in which failed checks do not count, unless another is given.
const START_MS: u64 = 60_000;
/// Good checks in a row that make a copy healthy.
pub const GOOD: u32 = 2;

/// A check that the node agent makes from the container's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// `GET` of a path.
    Http {
        /// The container's port; the service's first TCP port if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        /// Path, and query after `?`.
        path: String,
        /// The only good status; any from 200 to 399 if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
    /// A TCP connection.
    Tcp {
        /// The container's port; the service's first TCP port if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
    },
}

impl Probe {
    /// The port, if it is named.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Http { port, .. } | Self::Tcp { port } => *port,
        }
    }

    /// Names the port, unless it is named. The first published TCP port counts before the exposed
    /// ones. False if there is none.
    pub fn resolve(&mut self, published: &[PortMapping], exposed: &[PortMapping]) -> bool {
        let tcp = |port: &&PortMapping| port.protocol == Protocol::Tcp;
        let first = published.iter().chain(exposed).find(tcp);
        let (Self::Http { port, .. } | Self::Tcp { port }) = self;
        *port = port.or(first.map(|first| first.container));
        port.is_some()
    }

    /// Name of the flag that sets it.
    #[must_use]
    pub const fn flag(&self) -> &'static str {
        match self {
            Self::Http { .. } => "health-http",
            Self::Tcp { .. } => "health-tcp",
        }
    }
}

/// As it is typed: `8080/up=204`, or a port alone.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(port) = self.port() {
            write!(f, "{port}")?;
        }
        match self {
            Self::Http { path, status, .. } => {
                f.write_str(path)?;
                status.map_or(Ok(()), |status| write!(f, "={status}"))
            }
            Self::Tcp { .. } => Ok(()),
        }
    }
}

/// An HTTP check as it is typed: `[PORT]/PATH[=STATUS]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe(pub Probe);

impl FromStr for HttpProbe {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.find('/');
        let at = at.ok_or_else(|| format!("`{text}` is not `[PORT]/PATH[=STATUS]`"))?;
        let (port, rest) = text.split_at(at);
        let port = match port {
            "" => None,
            port => Some(port_of(port)?),
        };
        let is_status = |end: &str| end.len() == 3 && end.bytes().all(|byte| byte.is_ascii_digit());
        let (path, status) = match rest.rsplit_once('=') {
            Some((path, end)) if is_status(end) => (path, end.parse().ok()),
            _ => (rest, None),
        };
        Ok(Self(Probe::Http {
            port,
            path: path.to_owned(),
            status,
        }))
    }
}

/// A TCP check as it is typed: `[PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpProbe(pub Probe);

impl FromStr for TcpProbe {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let port = match text {
            "" => None,
            port => Some(port_of(port)?),
        };
        Ok(Self(Probe::Tcp { port }))
    }
}

fn port_of(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("`{text}` is no port: it is a number from 1 to 65535"))
}

/// Settings of the checks of one copy, with all defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentCheck {
    /// The Swarm service of the copy.
    pub service: String,
    /// The check. Its port is named.
    pub probe: Probe,
    /// Host to ask for; the address and the port if absent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub host: Option<String>,
    /// Milliseconds between two checks, once the copy has started.
    pub interval_ms: u64,
    /// Milliseconds after which a check has failed.
    pub timeout_ms: u64,
    /// Failed checks in a row that make the copy unhealthy.
    pub retries: u64,
    /// Milliseconds from the start in which failed checks do not count.
    pub start_ms: u64,
}

impl HealthCheck {
    /// The checks of a copy by the agent, if it has any. `host` is the service's domain.
    #[must_use]
    pub fn by_agent(&self, service: &str, host: Option<&String>) -> Option<AgentCheck> {
        let probe = self.probe.clone().filter(|probe| probe.port().is_some())?;
        Some(AgentCheck {
            service: service.to_owned(),
            probe,
            host: host.cloned(),
            interval_ms: self.interval_ms.unwrap_or(INTERVAL_MS),
            timeout_ms: self.timeout_ms.unwrap_or(TIMEOUT_MS),
            retries: self.retries.map_or(RETRIES, std::num::NonZeroU64::get),
            start_ms: self.start_ms.unwrap_or(START_MS),
        })
    }
}

/// Upper bound for the checks on one machine. Others are not made.
pub const MOST_CHECKS: usize = 1_000;
/// Upper bound for the text of a failed check, in characters.
pub const LONGEST_FAILURE: usize = 200;

/// Health of a copy, by the checks of its machine's agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HealthState {
    /// It was adopted, and no agent has reported about it yet.
    Unknown,
    /// It has not been healthy since its process started.
    Starting,
    /// Its last checks were good.
    Healthy,
    /// Its last checks failed.
    Unhealthy,
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        })
    }
}

/// The health of one copy, as its machine's agent reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// The Swarm service of the copy.
    pub service: String,
    /// Its health.
    pub health: HealthState,
    /// Reason of the last failed check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The health of a container's copy, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HealthView {
    /// Its health, by the last report.
    pub state: HealthState,
    /// Time of that report.
    pub since: crate::Timestamp,
    /// Reason of the last failed check, if it is not healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Set while no agent checks it: it is not connected.
    #[serde(default)]
    pub unchecked: bool,
    /// Set if it stays in the service catalogue although it is unhealthy, because more than half of
    /// its service would be out of it.
    #[serde(default)]
    pub kept: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_read_as_they_are_written() {
        let http = |port, path: &str, status| Probe::Http {
            port,
            path: path.to_owned(),
            status,
        };
        let good = [
            ("/", http(None, "/", None)),
            ("8080/health", http(Some(8080), "/health", None)),
            ("/up=204", http(None, "/up", Some(204))),
            ("80/a?b=c", http(Some(80), "/a?b=c", None)),
            ("80/a?b=1=200", http(Some(80), "/a?b=1", Some(200))),
        ];
        for (text, probe) in good {
            assert_eq!(text.parse(), Ok(HttpProbe(probe.clone())), "{text}");
            assert_eq!(probe.to_string(), text);
        }
        for bad in ["", "8080", "0/x", "70000/", "web/"] {
            bad.parse::<HttpProbe>().expect_err(bad);
        }
        let tcp = |port| Ok(TcpProbe(Probe::Tcp { port }));
        assert_eq!("".parse::<TcpProbe>(), tcp(None));
        assert_eq!("5432".parse::<TcpProbe>(), tcp(Some(5432)));
        "x".parse::<TcpProbe>().expect_err("it is no port");
    }

    #[test]
    fn the_first_tcp_port_is_taken() {
        let port = |container, protocol| PortMapping {
            host: None,
            container,
            protocol,
        };
        let published = [port(53, Protocol::Udp), port(81, Protocol::Tcp)];
        let exposed = [port(80, Protocol::Tcp)];
        let resolved = |published: &[_], exposed: &[_]| {
            let mut probe = Probe::Tcp { port: None };
            probe.resolve(published, exposed).then(|| probe.port())
        };
        assert_eq!(resolved(&published, &exposed), Some(Some(81)));
        assert_eq!(resolved(&published[..1], &exposed), Some(Some(80)));
        assert_eq!(resolved(&published[..1], &[]), None);
        let mut named = Probe::Tcp { port: Some(9) };
        assert!(named.resolve(&published, &[]) && named.port() == Some(9));
    }

    #[test]
    fn defaults_are_filled_in() {
        let mut check = HealthCheck {
            probe: Some(Probe::Tcp { port: None }),
            ..HealthCheck::default()
        };
        assert_eq!(check.by_agent("c-a-1", None), None, "no port is known");
        check.probe = Some(Probe::Tcp { port: Some(80) });
        let of_agent = check.by_agent("c-a-1", None).expect("a check");
        let times = (of_agent.interval_ms, of_agent.timeout_ms, of_agent.start_ms);
        assert_eq!(
            (times, of_agent.retries),
            ((2_000, 1_000, 60_000), 3),
            "{of_agent:?}"
        );
    }
}
