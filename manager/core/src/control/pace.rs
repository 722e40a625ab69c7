//! Limits of what the manager does to machines by itself: how many at once, and nothing while a
//! location is sick.

use super::Core;
use crate::{model::Instance, scaling::Clock};
use micado_api::{InstanceState, Location, Timestamp};
use serde::Serialize;
use std::{fmt, time::Duration};

/// Part of a location's machines with containers that is drained at once, as a divisor; at least
/// one is.
const PART: usize = 10;

/// Upper bound for empty machines of a location that are returned at once.
const EMPTY: usize = 10;

/// Part of a location's machines that may be unwell, as a divisor.
const UNWELL_PART: usize = 20;

/// Time for which a failed machine makes its location sick.
const RECENT: Duration = Duration::from_secs(300);

/// Consecutive failed drains that make a location sick, and for how long.
const FAILURES: u32 = 3;
const FAILURES_FOR: Duration = Duration::from_secs(1800);

/// Cause for which nothing voluntary happens in a location. Growth goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub(super) enum Sick {
    /// Machines that do not answer, lost their agents or failed a moment ago.
    Machines { unwell: usize, of: usize },
    /// A machine that had joined was lost a moment ago.
    Lost { until: Timestamp },
    /// The last drains failed.
    Drains { until: Timestamp },
}

impl fmt::Display for Sick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machines { unwell, of } => {
                write!(f, "{unwell} of {of} machines of its location are unwell")
            }
            Self::Lost { until } => {
                write!(
                    f,
                    "a machine of its location was lost, until {}",
                    Clock(*until)
                )
            }
            Self::Drains { until } => {
                write!(
                    f,
                    "{FAILURES} drains in a row failed, until {}",
                    Clock(*until)
                )
            }
        }
    }
}

/// Consecutive failed drains of a location.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Failures {
    count: u32,
    last: Timestamp,
}

impl Failures {
    pub(super) fn note(&mut self, now: Timestamp) {
        (self.count, self.last) = (self.count.saturating_add(1), now);
    }
}

/// Number of machines of a location that may be drained now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) used: usize,
    pub(super) empty: usize,
    /// Upper bound for both together: the location keeps its minimum.
    pub(super) above_minimum: usize,
}

impl Core {
    /// Cause for which a location is sick, if it is.
    pub(super) fn sick(&self, location: &Location) -> Option<Sick> {
        let failed = self.in_location(InstanceState::Failed, location);
        let recent: Vec<&Instance> = failed
            .filter(|instance| self.now.since(instance.state_since) < RECENT)
            .collect();
        let lost = recent
            .iter()
            .filter(|instance| instance.joined_at.is_some());
        if let Some(last) = lost.map(|instance| instance.state_since).max() {
            let until = last.plus(RECENT);
            return Some(Sick::Lost { until });
        }
        let in_use = self.in_use(location);
        let unwell = in_use
            .iter()
            .filter(|instance| !self.joins(&instance.id) || self.is_silent(&instance.id));
        let (unwell, of) = (unwell.count() + recent.len(), in_use.len());
        if unwell > of / UNWELL_PART {
            return Some(Sick::Machines { unwell, of });
        }
        let failures = self.returns.failures.get(location)?;
        let until = failures.last.plus(FAILURES_FOR);
        (failures.count >= FAILURES && self.now < until).then_some(Sick::Drains { until })
    }

    /// Number of machines of a location that may be drained now: those with containers in sets, one
    /// set after the other.
    pub(super) fn pace(&self, location: &Location) -> Pace {
        let (mut used, mut empty) = (0, 0);
        for state in [InstanceState::Draining, InstanceState::Stopping] {
            let going = self.in_location(state, location);
            for instance in going.filter(|instance| instance.goes_by_itself()) {
                let is_empty = self.ledger.containers_on(&instance.id).next().is_none();
                *(if is_empty { &mut empty } else { &mut used }) += 1;
            }
        }
        let most = (self.in_use(location).len() / PART).max(1);
        let active = self.in_location(InstanceState::Active, location).count();
        Pace {
            used: if used == 0 { most } else { 0 },
            empty: EMPTY.saturating_sub(empty),
            above_minimum: active.saturating_sub(self.minimum_of(location) as usize),
        }
    }

    /// Machines that a location keeps although nothing needs them.
    pub(super) fn minimum_of(&self, location: &Location) -> u32 {
        let bounds = self.config.setup.bounds(location);
        bounds.map_or(0, |bounds| bounds.min_machines)
    }

    fn in_use<'a>(&'a self, location: &'a Location) -> Vec<&'a Instance> {
        let states = [InstanceState::Active, InstanceState::Draining];
        let in_use = states.into_iter();
        in_use
            .flat_map(|state| self.in_location(state, location))
            .collect()
    }

    pub(super) fn in_location<'a>(
        &'a self,
        state: InstanceState,
        location: &'a Location,
    ) -> impl Iterator<Item = &'a Instance> {
        let ids = self.ledger.index.in_state(state);
        let instances = ids.filter_map(|id| self.ledger.instance(id));
        instances.filter(move |instance| instance.location == *location)
    }
}
