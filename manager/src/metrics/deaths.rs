//! Counts of containers' deaths by service, for monitoring. A kernel's counter of OOM kills ends
//! with its container; these go on.

use super::{Metrics, Placed};
use ahash::{HashMap, HashSet};
use micado_api::{ServiceName, agent::ContainerHappening};

/// Deaths of a service's containers since the manager's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeathCount {
    /// All of them.
    pub deaths: u64,
    /// Deaths with an OOM-killed process.
    pub oom: u64,
}

/// Counts by service.
#[derive(Debug, Default)]
pub(super) struct Deaths(HashMap<ServiceName, DeathCount>);

impl Deaths {
    /// Counts an event that is reported for the first time, if it is a death.
    pub(super) fn note(&mut self, placed: Option<&Placed>, what: ContainerHappening) {
        let (Some(placed), ContainerHappening::Died { oom, .. }) = (placed, what) else {
            return;
        };
        let count = self.0.entry(placed.service.clone()).or_default();
        count.deaths += 1;
        count.oom += u64::from(oom);
    }

    /// Drops services without a placement, so that the size is bounded by those that run.
    pub(super) fn keep<'a>(&mut self, placed: impl Iterator<Item = &'a Placed>) {
        if self.0.is_empty() {
            return;
        }
        let placed: HashSet<&ServiceName> = placed.map(|placed| &placed.service).collect();
        self.0.retain(|service, _| placed.contains(service));
    }
}

impl Metrics {
    /// Deaths of containers since the manager's start, of services that run or ran lately.
    #[must_use]
    pub fn deaths(&self) -> Vec<(ServiceName, DeathCount)> {
        let inner = self.inner();
        let all = inner.deaths.0.iter();
        let mut all: Vec<_> = all.map(|(name, count)| (name.clone(), *count)).collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::happening;
    use ContainerHappening::{Died, Started};

    #[test]
    fn deaths_are_counted_until_the_service_is_gone() {
        let mut deaths = Deaths::default();
        let web = happening("i1", "web", 1, Started).placed;
        let other = happening("i1", "db", 1, Started).placed;
        let died = |oom| Died {
            exit_code: 137,
            oom,
        };
        for (placed, what) in [
            (Some(&web), Started),
            (Some(&web), died(true)),
            (Some(&web), died(false)),
            (Some(&other), died(false)),
            (None, died(true)),
        ] {
            deaths.note(placed, what);
        }
        assert_eq!(deaths.0[&web.service], DeathCount { deaths: 2, oom: 1 });
        deaths.keep([&web].into_iter());
        assert!(deaths.0.contains_key(&web.service) && !deaths.0.contains_key(&other.service));
    }
}
