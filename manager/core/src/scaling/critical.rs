//! Policy `critical`: one more copy while a copy is above the critical usage of its image.

use super::{
    frame::Frame,
    peak::Peak,
    policy::PolicyError,
    wanted::Wanted,
    why::{Cause, Unknown},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Resource with the critical usage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    #[default]
    Memory,
    Cpu,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Cpu => "CPU",
        })
    }
}

/// The critical usage must be set by a person: a learned one never acts by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Critical {
    #[serde(default)]
    pub resource: Resource,
    /// Bytes or cores.
    pub usage: f64,
}

/// Share of the critical usage that the busiest copy may reach after a shrink.
const SHRINK_TO: f64 = 0.8;

impl Critical {
    /// Samples above the critical usage that make it count, and the samples looked at.
    const fn needed(&self) -> (u8, u8) {
        match self.resource {
            Resource::Memory => (3, 4),
            Resource::Cpu => (5, 6),
        }
    }

    pub(super) fn validate(&self) -> Result<(), PolicyError> {
        if self.usage.is_finite() && self.usage > 0.0 {
            return Ok(());
        }
        Err(PolicyError::new(
            "policy `critical`",
            format!("{} is not a positive amount", self.usage),
            "set `usage` to bytes of memory or cores",
        ))
    }
}

/// Last samples, newest in the lowest bit, and the peak of the busiest copy.
#[derive(Debug, Clone, Default)]
pub struct CriticalState {
    above: u8,
    busiest: Peak,
}

impl CriticalState {
    pub fn check(&mut self, policy: &Critical, frame: &Frame, look_back: u64) -> Wanted {
        let copies = &frame.copies;
        let wanted = copies.wanted();
        if copies.warm == 0 && copies.blind > 0 {
            return Wanted::Unknown(Unknown::AllBlind);
        }
        let busiest = match policy.resource {
            Resource::Memory => frame.memory.busiest,
            Resource::Cpu => frame.cpu.busiest,
        };
        self.above = self.above << 1 | u8::from(busiest > policy.usage);
        // Use of a single copy with the load of all.
        let in_all = busiest * f64::from(copies.running());
        self.busiest.add(frame.at, in_all, look_back);
        let (needed, of) = policy.needed();
        let samples = (self.above & ((1 << of) - 1)).count_ones() as u8;
        if samples >= needed {
            // The next step waits until the newest copy is warm.
            let is_settled = copies.starting == 0 && copies.young == 0;
            let cause = Cause::Critical {
                copies: frame.critical.max(1),
                samples,
                of,
            };
            return Wanted::Count(wanted + u32::from(is_settled), cause);
        }
        let highest = self.busiest.value().unwrap_or(f64::INFINITY);
        let share = highest / f64::from(wanted.max(2) - 1) / policy.usage;
        if wanted > 1 && share <= SHRINK_TO {
            let cause = Cause::BelowCritical {
                highest_share: share,
            };
            return Wanted::Count(wanted - 1, cause);
        }
        Wanted::Count(wanted, Cause::Steady)
    }

    /// Starts the look-back anew after a change of count: its samples are of other copies.
    pub fn changed(&mut self) {
        self.above = 0;
    }
}

#[cfg(test)]
mod tests;
