//! When an ended process is started again.

use serde::{Deserialize, Serialize};
use std::{fmt, num::NonZeroU64, str::FromStr};

/// The restart policy of a service, written as `always`, `on-failure`, `on-failure:N` or `no`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RestartPolicy {
    /// After any exit code: a service that is kept running.
    #[default]
    Always,
    /// After an exit code other than 0, at most so many times if a number is given: a job that is
    /// tried again.
    OnFailure(Option<NonZeroU64>),
    /// Never: a job that runs once.
    No,
}

impl RestartPolicy {
    /// True if the service is done when its process ends with this code.
    #[must_use]
    pub fn ends_at(self, exit_code: i64) -> bool {
        match self {
            Self::Always => false,
            Self::OnFailure(_) => exit_code == 0,
            Self::No => true,
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::OnFailure(None) => f.write_str("on-failure"),
            Self::OnFailure(Some(most)) => write!(f, "on-failure:{most}"),
            Self::No => f.write_str("no"),
        }
    }
}

impl FromStr for RestartPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("on-failure:")) {
            ("always", _) => Ok(Self::Always),
            ("on-failure", _) => Ok(Self::OnFailure(None)),
            ("no", _) => Ok(Self::No),
            (_, Some(most)) => most
                .parse()
                .map(|most| Self::OnFailure(Some(most)))
                .map_err(|_| format!("`{most}` is no number of restarts: a number from 1")),
            (_, None) => Err(format!(
                "restart policy `{text}` is none of `always`, `on-failure`, `on-failure:N` and `no`"
            )),
        }
    }
}

impl TryFrom<String> for RestartPolicy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RestartPolicy> for String {
    fn from(policy: RestartPolicy) -> Self {
        policy.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_they_are_written() {
        for text in ["always", "on-failure", "on-failure:3", "no"] {
            let policy: RestartPolicy = text.parse().expect("a policy");
            assert_eq!(policy.to_string(), text);
            let json = serde_json::to_string(&policy).expect("JSON");
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(
                serde_json::from_str::<RestartPolicy>(&json).ok(),
                Some(policy)
            );
        }
        for text in [
            "",
            "Always",
            "on-failure:0",
            "on-failure:-1",
            "on-failure:",
            "never",
        ] {
            assert!(text.parse::<RestartPolicy>().is_err(), "{text}");
        }
        assert_eq!(RestartPolicy::default(), RestartPolicy::Always);
    }

    #[test]
    fn only_jobs_end() {
        let ends = |text: &str| {
            let policy: RestartPolicy = text.parse().expect("a policy");
            [0, 1].map(|code| policy.ends_at(code))
        };
        assert_eq!(ends("always"), [false, false]);
        assert_eq!(ends("on-failure:3"), [true, false]);
        assert_eq!(ends("no"), [true, true]);
    }
}
