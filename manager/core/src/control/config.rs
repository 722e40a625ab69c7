//! Settings of the control core.

use micado_api::{ClusterId, MemoryBytes, PricePerHour};
use micado_cloudsetup::CloudSetup;
use std::time::Duration;

/// Default of [`Config::down_timeout`].
pub const DOWN_TIMEOUT: Duration = Duration::from_secs(120);

/// Upper bound for the difference of the Swarm's time-outs of two nodes beside their heartbeats,
/// which it spreads by half a second each.
pub(super) const SPREAD: Duration = Duration::from_secs(4);

/// The heartbeat with which the Swarm takes a node for down when it has been silent for so long,
/// and never before two thirds of that have passed. Whole seconds.
#[must_use]
pub fn heartbeat_for(down_timeout: Duration) -> Duration {
    Duration::from_secs(down_timeout.as_secs() / 3)
}

/// Settings of the control core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// The clouds and applications of `cloudsetup.xml`.
    pub setup: CloudSetup,
    /// Upper bound for live instances.
    pub max_instances: Option<u32>,
    /// Upper bound for the price per hour of all live instances.
    pub max_price: Option<PricePerHour>,
    /// Memory of every machine that is never promised.
    pub system_reserve: MemoryBytes,
    /// Silence after which a machine is failed although its broker says that it still runs.
    pub down_timeout: Duration,
    /// The Swarm's heartbeat: it takes a node for down that missed three.
    pub heartbeat: Duration,
    /// The first wait after a flavour failed; doubles with each failure in a row.
    pub backoff: Duration,
    /// The longest such wait.
    pub backoff_max: Duration,
    /// Retention of the records of instances that are gone.
    pub keep_gone: Duration,
    /// Take foreign nodes out of the Swarm.
    pub remove_unknown_nodes: bool,
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
            down_timeout: DOWN_TIMEOUT,
            heartbeat: heartbeat_for(DOWN_TIMEOUT),
            backoff: Duration::from_secs(5),
            backoff_max: Duration::from_secs(300),
            keep_gone: Duration::from_secs(24 * 3600),
            remove_unknown_nodes: false,
        }
    }

    /// Time that a node must have been down for the Swarm before its machine is failed: then it was
    /// silent for the whole `down_timeout`, and all others would be down too if the manager were
    /// cut off. The Swarm takes two to three heartbeats to notice.
    pub(super) fn patience(&self) -> Duration {
        self.down_timeout
            .saturating_sub(self.heartbeat * 2)
            .max(self.heartbeat + SPREAD)
    }
}
