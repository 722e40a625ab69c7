//! Settings of the control core.

use super::instances::REDIAL;
use crate::model::Instance;
use micado_api::{ClusterId, MemoryBytes, PricePerHour};
use micado_cloudsetup::CloudSetup;
use std::time::Duration;

/// Default of [`Config::down_timeout`].
pub const DOWN_TIMEOUT: Duration = Duration::from_secs(120);

/// Default and lower bound of [`Config::hold`]: shorter ones would return and rent in turns.
pub const HOLD: Duration = Duration::from_secs(60);

/// Upper bound for the difference of the Swarm's time-outs of two nodes apart from their
/// heartbeats, which it spreads by half a second each.
pub(super) const SPREAD: Duration = Duration::from_secs(4);

/// Returns the heartbeat with which the Swarm takes a node for down after this long a silence, and
/// never before two thirds of it. Whole seconds.
#[must_use]
pub fn heartbeat_for(down_timeout: Duration) -> Duration {
    Duration::from_secs(down_timeout.as_secs() / 3)
}

/// Settings of the control core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub cluster: ClusterId,
    /// The clouds and applications of `cloudsetup.xml`.
    pub setup: CloudSetup,
    /// Upper bound for live instances.
    pub max_instances: Option<u32>,
    /// Upper bound for the price per hour of all live instances.
    pub max_price: Option<PricePerHour>,
    /// Memory of every machine that is reserved for the system.
    pub system_reserve: MemoryBytes,
    /// Silence after which a machine fails although its broker lists it as running.
    pub down_timeout: Duration,
    /// The Swarm's heartbeat: a node that misses three is down.
    pub heartbeat: Duration,
    /// First pause after a failure of a flavour; doubles with each consecutive one.
    pub backoff: Duration,
    /// Upper bound for such pauses.
    pub backoff_max: Duration,
    /// Retention of the records of instances that are gone.
    pub keep_gone: Duration,
    /// Remove foreign nodes from the Swarm.
    pub remove_unknown_nodes: bool,
    /// Return machines that nothing needs.
    pub return_machines: bool,
    /// Lower bound for the time that a machine must be unneeded before it is returned; at least
    /// [`HOLD`].
    pub hold: Duration,
    /// Note the subjects that the catalogue of services has to read again.
    pub catalogue: bool,
    /// Time for which a copy with published ports goes on running after it was retired, so that
    /// readers of the catalogue drop it before its process ends.
    pub drain_wait: Duration,
}

impl Config {
    /// Defaults for a cluster on these clouds.
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
            return_machines: true,
            hold: HOLD,
            catalogue: false,
            drain_wait: Duration::ZERO,
        }
    }

    /// Period that is paid whole for a machine, if there is one.
    pub(super) fn billing(&self, instance: &Instance) -> Option<Duration> {
        let clouds = self.setup.clouds.iter();
        let cloud = clouds.into_iter().find(|it| it.name == instance.cloud)?;
        let mut flavours = cloud.flavours.iter();
        let flavour = flavours.find(|it| it.name == instance.flavour)?;
        flavour.billing.period()
    }

    /// Time for which a node must have been down in the Swarm before its machine fails: then it was
    /// silent for the whole `down_timeout`, and all others would be down too if the manager were
    /// cut off. The Swarm takes two to three heartbeats to notice.
    pub(super) fn patience(&self) -> Duration {
        self.down_timeout
            .saturating_sub(self.heartbeat * 2)
            .max(self.heartbeat + SPREAD)
    }

    /// The same without a connected agent of another machine, where only ready nodes speak against
    /// a cut. Between two cuts, some nodes may have reported and others not: the Swarm misses the
    /// first ones up to three heartbeats and a redial later.
    pub(super) fn unheard_patience(&self) -> Duration {
        self.patience() + self.heartbeat * 3 + REDIAL
    }
}
