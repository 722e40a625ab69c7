//! Values of flags with a syntax of their own: ports, hosts, volumes, times, intervals.

use super::Share;
use clap::builder::{OsStringValueParser, TypedValueParser};
use micado_api::{MemoryBytes, NanoCpus, PortMapping, Protocol, Timestamp, VolumeMount};
use std::{ffi::OsString, os::unix::ffi::OsStrExt, path::PathBuf, str::FromStr, time::Duration};

/// `HOST[:CONTAINER][/tcp|/udp]`, or `:CONTAINER` for a machine port that the manager chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port(pub PortMapping);

impl FromStr for Port {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (numbers, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((numbers, "tcp")) => (numbers, Protocol::Tcp),
            Some((numbers, "udp")) => (numbers, Protocol::Udp),
            Some((_, other)) => {
                return Err(format!("protocol `{other}` is neither `tcp` nor `udp`"));
            }
        };
        let (host, container) = numbers.split_once(':').unwrap_or((numbers, numbers));
        let host = Some(host).filter(|host| !host.is_empty());
        Ok(Self(PortMapping {
            host: host.map(port_number).transpose()?,
            container: port_number(container)?,
            protocol,
        }))
    }
}

/// `HOST[:PORT]`; an IPv6 address with a port is in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port, if given.
    pub port: Option<u16>,
}

impl FromStr for HostPort {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bracketed = text.strip_prefix('[').and_then(|text| text.split_once(']'));
        let (host, port) = match (bracketed, text.rsplit_once(':')) {
            (Some((host, rest)), _) => (
                host,
                rest.strip_prefix(':')
                    .or((!rest.is_empty()).then_some(rest)),
            ),
            (None, Some((host, port))) if !host.contains(':') => (host, Some(port)),
            _ => (text, None),
        };
        let name = |host: &str| {
            !host.is_empty()
                && host
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        };
        if !name(host) && host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(format!("`{host}` is neither a host name nor an address"));
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.map(port_number).transpose()?,
        })
    }
}

fn port_number(text: &str) -> Result<u16, String> {
    text.parse::<u16>()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| format!("`{text}` is no port: a number from 1 to 65535"))
}

/// `NAME:PATH`, or `shared:NAME:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume(pub VolumeMount);

impl FromStr for Volume {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // `shared:/data` is a volume with the name `shared`.
        let common = text
            .strip_prefix("shared:")
            .filter(|rest| !rest.starts_with('/'));
        match common.unwrap_or(text).split_once(':') {
            Some((name, path)) if !name.is_empty() && path.starts_with('/') => {
                Ok(Self(VolumeMount {
                    name: name.to_owned(),
                    path: path.to_owned(),
                    shared: common.is_some(),
                }))
            }
            _ => {
                Err("expected `NAME:PATH` or `shared:NAME:PATH`, with an absolute path".to_owned())
            }
        }
    }
}

/// A time: relative to now, or a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// `10m`.
    Ago(Duration),
    /// `2026-11-03T10:00:00Z`, or seconds since the Unix epoch.
    At {
        /// Seconds since the Unix epoch.
        seconds: i64,
    },
}

impl Since {
    /// Converts to seconds since the Unix epoch.
    #[must_use]
    pub fn seconds(self, now: Timestamp) -> i64 {
        match self {
            Self::At { seconds } => seconds,
            Self::Ago(ago) => i64::try_from(
                now.since(Timestamp::default())
                    .saturating_sub(ago)
                    .as_secs(),
            )
            .unwrap_or(i64::MAX),
        }
    }
}

impl FromStr for Since {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let unix = text.parse::<f64>().ok().filter(|it| it.is_finite());
        if let Some(seconds) = unix {
            let seconds = seconds.floor() as i64;
            return Ok(Self::At { seconds });
        }
        let moment = text.parse::<jiff::Timestamp>().ok();
        if let Some(moment) = moment.or_else(|| here(text)) {
            return Ok(Self::At {
                seconds: moment.as_second(),
            });
        }
        let day = jiff::SpanRelativeTo::days_are_24_hours();
        let ago = text.parse::<jiff::Span>().ok();
        let ago = ago.and_then(|ago| ago.to_duration(day).ok());
        let ago = ago.and_then(|ago| Duration::try_from(ago).ok());
        ago.map(Self::Ago).ok_or_else(|| "expected how long ago (`10m`, `2h`, `2d`), a date or moment (`2026-11-03`, `2026-11-03T10:00:00Z`) or Unix seconds".to_owned())
    }
}

/// A date, or a moment without a zone, by this machine's clock.
fn here(text: &str) -> Option<jiff::Timestamp> {
    let moment = text.parse::<jiff::civil::DateTime>().ok()?;
    let zone = jiff::tz::TimeZone::system();
    Some(moment.to_zoned(zone).ok()?.timestamp())
}

/// `--cpu` of `launch`: cores to promise, or a share to aim at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CpuFlag {
    Promise(NanoCpus),
    Target(Share),
}

/// `--memory` of `launch`: memory to promise, or a share to aim at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MemoryFlag {
    Promise(MemoryBytes),
    Target(Share),
}

impl FromStr for CpuFlag {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.ends_with('%') {
            true => text.parse().map(Self::Target),
            false => text.parse().map(Self::Promise).map_err(said),
        }
    }
}

impl FromStr for MemoryFlag {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.ends_with('%') {
            true => text.parse().map(Self::Target),
            false => text.parse().map(Self::Promise).map_err(said),
        }
    }
}

pub(super) fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A past moment: relative to now, a time of day, or a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// `10:42` or `10:42:06`, in UTC: the last one.
    OfDay {
        /// Seconds since midnight.
        seconds: u64,
    },
    /// `-5m` or a date.
    Since(Since),
}

impl Moment {
    /// Converts to a time.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Timestamp {
        const DAY: u64 = 86_400;
        let now_s = now.0 / 1_000;
        let seconds = match self {
            Self::OfDay { seconds } if seconds <= now_s % DAY => now_s / DAY * DAY + seconds,
            Self::OfDay { seconds } => (now_s / DAY).saturating_sub(1) * DAY + seconds,
            Self::Since(since) => u64::try_from(since.seconds(now)).unwrap_or(0),
        };
        Timestamp(seconds.saturating_mul(1_000))
    }
}

impl FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let of_day = text
            .parse::<jiff::civil::Time>()
            .ok()
            .filter(|_| text.contains(':'));
        if let Some(time) = of_day {
            let number = |part: i8| u64::try_from(part).unwrap_or(0);
            let (hour, minute) = (number(time.hour()), number(time.minute()));
            let seconds = hour * 3_600 + minute * 60 + number(time.second());
            return Ok(Self::OfDay { seconds });
        }
        let since = text.strip_prefix('-').unwrap_or(text).parse();
        let expected = "expected a time of day in UTC (`10:42`), how long ago (`-5m`) or a moment (`2026-11-03T10:42:00Z`)";
        since.map(Self::Since).map_err(|_| expected.to_owned())
    }
}

/// Schedule of the ticks of the safety net.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tick {
    /// A fixed interval.
    Every(Duration),
    /// A cron expression with seconds.
    Cron(String),
}

impl FromStr for Tick {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match (text.parse::<u64>(), text.split_whitespace().count()) {
            (Ok(0), _) => Err("0 seconds is not an interval".to_owned()),
            (Ok(seconds), _) => Ok(Self::Every(Duration::from_secs(seconds))),
            (Err(_), 6 | 7) => Ok(Self::Cron(text.to_owned())),
            (Err(_), _) => Err("expected seconds, or a cron expression such as `*/10 * * * * *` (the first field is seconds)".to_owned()),
        }
    }
}
/// One end of a copy: a path here, or `NAME:PATH` in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyPlace {
    /// On this machine.
    Here(PathBuf),
    /// In a container.
    Container {
        name: String,
        /// A relative path begins at the container's root.
        path: String,
    },
}

impl TryFrom<OsString> for CopyPlace {
    type Error = String;
    fn try_from(word: OsString) -> Result<Self, String> {
        let parts = word.to_str().map_or_else(
            // Only paths here may be anything but UTF-8.
            || {
                let end = word.as_bytes().iter().position(|byte| *byte == b':')?;
                let name = std::str::from_utf8(&word.as_bytes()[..end]).ok()?;
                Some((name, None))
            },
            |text| text.split_once(':').map(|(name, path)| (name, Some(path))),
        );
        match parts {
            // As with `docker cp`: what begins with a dot is a path. With a slash before the colon
            // it is one, too.
            Some((name, path))
                if !name.is_empty() && !name.contains('/') && !name.starts_with('.') =>
            {
                let path = path.ok_or(
                    "the path in the container is not UTF-8: copy the folder that holds it",
                )?;
                Ok(Self::Container {
                    name: name.to_owned(),
                    path: path.to_owned(),
                })
            }
            _ => Ok(Self::Here(PathBuf::from(word))),
        }
    }
}

/// Parses a word that need not be UTF-8.
#[must_use]
pub fn copy_place() -> impl TypedValueParser<Value = CopyPlace> {
    OsStringValueParser::new().try_map(CopyPlace::try_from)
}
