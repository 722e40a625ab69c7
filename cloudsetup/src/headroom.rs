//! Room that a location keeps free for containers to come.

use micado_api::{MemoryBytes, NanoCpus, Resources, ServiceName};
use std::{fmt, str::FromStr};

/// Upper bound for the copies and machines of one headroom.
const MOST: u32 = 1_000;

/// Room that a location keeps free beside what runs there (`headroom`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Headroom {
    /// Room for more copies of a service: `2 copies of acme_web`.
    Copies { count: u32, of: ServiceName },
    /// A share of the reservations of all containers there: `25%`. It is kept in pieces of their mean
    /// size.
    Percent(u32),
    /// Room for one container of this size: `2G/1 core`, or `2G` with no CPU.
    Room(Resources),
    /// Room as large as machines of the cheapest flavour: `1 machine`.
    Machines(u32),
    /// As much as containers asked for more, on earlier days, while a machine booted: `auto`.
    Auto,
}

impl FromStr for Headroom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let number = text.trim().parse().ok();
            number
                .filter(|number| (1..=MOST).contains(number))
                .ok_or_else(|| format!("`{text}` is not a number from 1 to {MOST}"))
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["auto"] => Ok(Self::Auto),
            [count, "copy" | "copies", "of", service] => Ok(Self::Copies {
                count: number(count)?,
                of: service.parse().map_err(|error| format!("{error}"))?,
            }),
            [count, "machine" | "machines"] => Ok(Self::Machines(number(count)?)),
            _ if text.trim().ends_with('%') => {
                let share = text.trim().trim_end_matches('%');
                Ok(Self::Percent(number(share)?))
            }
            _ => room(text).map(Self::Room).map_err(|cause| {
                format!(
                    "headroom `{text}` is none of `2 copies of acme_web`, `25%`, `2G/1 core`, \
                     `1 machine` and `auto`: {cause}"
                )
            }),
        }
    }
}

/// Memory, and CPU after a slash.
fn room(text: &str) -> Result<Resources, String> {
    let (memory, cores) = text.split_once('/').unwrap_or((text, ""));
    let memory: MemoryBytes = memory.parse().map_err(|error| format!("{error}"))?;
    let cores = cores.trim();
    let cores = cores.strip_suffix('s').unwrap_or(cores);
    let cores = cores.strip_suffix("core").unwrap_or(cores).trim();
    let cpu = match cores {
        "" => NanoCpus(0),
        cores => cores.parse().map_err(|error| format!("{error}"))?,
    };
    Ok(Resources::new(memory, cpu))
}

impl fmt::Display for Headroom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copies { count: 1, of } => write!(f, "1 copy of {of}"),
            Self::Copies { count, of } => write!(f, "{count} copies of {of}"),
            Self::Percent(share) => write!(f, "{share}%"),
            Self::Room(size) if size.cpu.0 == 0 => write!(f, "{}", size.memory),
            Self::Room(size) => write!(f, "{}/{} cores", size.memory, size.cpu),
            Self::Auto => f.write_str("auto"),
            Self::Machines(1) => write!(f, "1 machine"),
            Self::Machines(count) => write!(f, "{count} machines"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read_and_written() {
        let size = |mib, millis| Resources::new(MemoryBytes::mib(mib), NanoCpus::millis(millis));
        let web = ServiceName::trusted("acme_web");
        let copies = |count| Headroom::Copies {
            count,
            of: web.clone(),
        };
        for (text, expected) in [
            ("2 copies of acme_web", copies(2)),
            (" 1  copy of acme_web ", copies(1)),
            ("25%", Headroom::Percent(25)),
            ("150 %", Headroom::Percent(150)),
            ("2 GiB/1 core", Headroom::Room(size(2048, 1000))),
            ("512M / 0.5 cores", Headroom::Room(size(512, 500))),
            ("1G", Headroom::Room(size(1024, 0))),
            ("3 machines", Headroom::Machines(3)),
            ("auto", Headroom::Auto),
        ] {
            let read: Headroom = text.parse().expect(text);
            assert_eq!(read, expected, "{text}");
            assert_eq!(read.to_string().parse(), Ok(read), "{text}");
        }
    }

    #[test]
    fn others_are_refused_with_the_cause() {
        for (text, cause) in [
            ("", "headroom `` is none of"),
            ("some", "headroom `some` is none of"),
            ("0 copies of acme_web", "`0` is not a number from 1 to 1000"),
            ("9999 machines", "`9999` is not a number from 1 to 1000"),
            ("-5%", "`-5` is not a number from 1 to 1000"),
            ("2 copies of Acme!", "Acme!"),
            ("2G/many cores", "is not a number of cores"),
        ] {
            let error = text.parse::<Headroom>().expect_err(text);
            assert!(error.contains(cause), "{text}: {error}");
        }
    }
}
