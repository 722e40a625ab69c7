//! The state machine: what is known, what is wanted, and what to do next.

use super::{Action, Event};
use crate::store::Contents;
use micado_api::{ClusterId, MemoryBytes, PricePerHour, Timestamp};
use micado_cloudsetup::CloudSetup;
use std::time::Duration;

/// What a person may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Which cluster.
    pub cluster: ClusterId,
    /// The clouds and applications of `cloudsetup.xml`.
    pub setup: CloudSetup,
    /// Instances at most.
    pub max_instances: Option<u32>,
    /// Price per hour of all live instances at most.
    pub max_price: Option<PricePerHour>,
    /// Memory of every machine that is never promised.
    pub system_reserve: MemoryBytes,
    /// How long a node may be down before its instance is given up, when its broker says that the machine still runs.
    pub down_timeout: Duration,
    /// The first wait after a flavour failed; doubles with each failure in a row.
    pub backoff: Duration,
    /// The longest such wait.
    pub backoff_max: Duration,
    /// How long instances that are gone stay in the record.
    pub keep_gone: Duration,
}

impl Config {
    /// The defaults for a cluster on these clouds.
    #[must_use]
    pub fn new(cluster: ClusterId, setup: CloudSetup) -> Self {
        Self {
            cluster,
            setup,
            max_instances: Some(10),
            max_price: None,
            system_reserve: MemoryBytes::mib(128),
            down_timeout: Duration::from_secs(30),
            backoff: Duration::from_secs(5),
            backoff_max: Duration::from_secs(300),
            keep_gone: Duration::from_secs(24 * 3600),
        }
    }
}

/// The brain. Made from what the store holds; dropped and made anew whenever a commit fails.
#[derive(Debug)]
pub struct Core {
    config: Config,
}

impl Core {
    /// A core that knows what the store holds and has seen nothing else yet: it changes nothing before it has seen the engine and every cloud once.
    /// `seed` feeds the choice of new ids.
    #[must_use]
    pub fn new(config: Config, _contents: Contents, _seed: u64) -> Self {
        Self { config }
    }

    /// What to do now that this has happened.
    #[must_use]
    pub fn handle(&mut self, _now: Timestamp, _event: Event) -> Vec<Action> {
        Vec::new()
    }

    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The Swarm names of services whose task has not come to rest: poll them, for tasks have no events.
    #[must_use]
    pub fn in_flight(&self) -> Vec<String> {
        Vec::new()
    }
}
