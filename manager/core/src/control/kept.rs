//! Reasons for which a machine is not returned, as values, and their sentences.

use super::{pace::Sick, replacing::Tags};
use crate::scaling::{Clock, Resource};
use micado_api::{ContainerName, ReturnView, Tag, Timestamp};
use serde::Serialize;
use std::fmt;

/// Reason for which a machine that is in use stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kept", rename_all = "kebab-case")]
pub(super) enum Kept {
    /// No machine is returned without a person (`--return-machines false`).
    Off,
    /// The manager has not observed engine and cloud twice since it started, or since an outage.
    Unsure,
    /// A person protects it.
    Protected,
    /// A person protects a container on it.
    Container { container: ContainerName },
    /// No container has run on it since a person started it, or one is about to.
    Unused,
    /// Its node does not answer, or its agent is gone.
    Blind,
    /// It has tasks that are none of ours.
    Foreign { containers: u32 },
    /// The volume of a container is there.
    Volume { container: ContainerName },
    /// A container on it starts, fails, moves or ends.
    Unsettled { container: ContainerName },
    /// A container on it is a job: elsewhere it would begin anew.
    Job { container: ContainerName },
    /// It has had nothing left of a resource since then.
    Saturated {
        resource: Resource,
        since: Timestamp,
    },
    /// A drain failed a while ago.
    Rests { until: Timestamp },
    /// The others have no room for all that runs there, and for growth.
    Needed,
    /// It has been rented in the place of these machines.
    Replaces { machines: Tags },
    /// Another machine of its location is replaced first.
    Replacing,
    /// Another one takes its place.
    Replaced { by: Tag },
    /// Nothing runs there; its room is headroom.
    Headroom { asked: String },
    /// Nothing has needed it since then, for too short a time.
    Held { since: Timestamp, until: Timestamp },
    /// Nothing needs it; it is paid for until shortly after then.
    Paid { until: Timestamp },
    /// Its location keeps so many machines.
    Minimum { machines: u32 },
    /// Other machines of its location are being returned.
    Budget,
    /// Its location is sick.
    Sick { sick: Sick },
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => write!(f, "machines are returned by `micado stop` only"),
            Self::Unsure => write!(f, "engine and cloud have not been seen twice yet"),
            Self::Protected => write!(f, "it is protected"),
            Self::Container { container } => write!(f, "{container} is protected"),
            Self::Unused => write!(f, "its first container has not run yet"),
            Self::Blind => write!(f, "it is blind"),
            Self::Foreign { containers } => {
                write!(f, "it has {containers} containers that are not micado's")
            }
            Self::Volume { container } => write!(f, "the volume of {container} is there"),
            Self::Unsettled { container } => write!(f, "{container} does not run steadily"),
            Self::Job { container } => write!(f, "{container} is a job, which would begin anew"),
            Self::Saturated { resource, since } => {
                write!(f, "it has had no {resource} left since {}", Clock(*since))
            }
            Self::Rests { until } => {
                write!(
                    f,
                    "a drain of it failed: left alone until {}",
                    Clock(*until)
                )
            }
            Self::Needed => write!(f, "the other machines have no room for its containers"),
            Self::Replaces { machines } => write!(f, "it takes the place of {machines}"),
            Self::Replacing => write!(f, "another machine of its location is being replaced"),
            Self::Replaced { by } => write!(f, "{by} takes its place, and is not ready yet"),
            Self::Headroom { asked } => write!(f, "its room is headroom ({asked})"),
            Self::Held { since, until } => {
                let (since, until) = (Clock(*since), Clock(*until));
                write!(f, "not needed since {since}, held until {until}")
            }
            Self::Paid { until } => {
                write!(f, "not needed, and paid for: kept until {}", Clock(*until))
            }
            Self::Minimum { machines } => {
                write!(f, "not needed; the minimum of its location is {machines}")
            }
            Self::Budget => write!(f, "not needed; others of its location are returned first"),
            Self::Sick { sick } => write!(f, "not needed; nothing is returned while {sick}"),
        }
    }
}

impl Kept {
    /// As the API shows it.
    pub(super) fn view(&self) -> ReturnView {
        ReturnView {
            text: self.to_string(),
            detail: serde_json::to_value(self).unwrap_or_default(),
        }
    }
}
