//! Duration of each status.

use crate::Status;
use jiff::SignedDuration;
use std::{collections::BTreeMap, str::FromStr, time::Duration};

/// The least duration of each status. A status without duration is never seen, unless the machine
/// itself takes time in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    usual: Duration,
    of: BTreeMap<Status, Duration>,
    address: Duration,
}

impl Pace {
    /// One duration for every status, and for the time until a running machine's addresses are
    /// known.
    #[must_use]
    pub fn every(duration: Duration) -> Self {
        Self {
            usual: duration,
            of: BTreeMap::new(),
            address: duration,
        }
    }

    /// Another duration for this status.
    #[must_use]
    pub fn with(mut self, status: impl Into<Status>, duration: Duration) -> Self {
        self.of.insert(status.into(), duration);
        self
    }

    /// Time for which the addresses of a running machine are `not allocated`.
    #[must_use]
    pub fn with_address(mut self, duration: Duration) -> Self {
        self.address = duration;
        self
    }

    pub(crate) fn of(&self, status: Status) -> SignedDuration {
        signed(self.of.get(&status).copied().unwrap_or(self.usual))
    }

    pub(crate) fn address(&self) -> SignedDuration {
        signed(self.address)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

impl Default for Pace {
    fn default() -> Self {
        Self::every(Duration::from_millis(20))
    }
}

/// `20ms`, or `20ms,job.running=10s,address=1s`.
impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut pace = Self::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (name, value) = part
                .split_once('=')
                .map_or((None, part), |(name, value)| (Some(name.trim()), value));
            let duration = duration(value)?;
            pace = match name {
                None => Self {
                    usual: duration,
                    address: duration,
                    ..pace
                },
                Some("address") => pace.with_address(duration),
                Some(status) => pace.with(status.parse::<Status>()?, duration),
            };
        }
        Ok(pace)
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text
        .trim()
        .parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok());
    parsed.ok_or_else(|| format!("`{text}` is no duration; examples are `20ms` and `1m 30s`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InstanceStatus, JobStatus};

    #[test]
    fn a_pace_is_written_as_people_write_it() {
        let expected = Pace::every(Duration::from_millis(5))
            .with(JobStatus::Running, Duration::from_secs(10))
            .with(InstanceStatus::Halted, Duration::ZERO)
            .with_address(Duration::from_secs(90));
        assert_eq!(
            "5ms, job.running=10s, instance.halted=0s, address=1m 30s".parse(),
            Ok(expected)
        );
        assert_eq!("".parse(), Ok(Pace::default()));
    }

    #[test]
    fn what_is_no_pace_says_why() {
        assert_eq!(
            "soon".parse::<Pace>(),
            Err("`soon` is no duration; examples are `20ms` and `1m 30s`".to_owned())
        );
        assert!(
            "job.flying=1s"
                .parse::<Pace>()
                .expect_err("no such status")
                .contains("`job.flying` is no status")
        );
    }
}
