//! Inputs of a check: the metrics of one service at one moment, and the limits around it.

use super::Span;
use micado_api::Timestamp;
use serde::{Deserialize, Serialize};

/// Use of one resource, summed over the copies of a service. Units: cores, bytes, requests in
/// flight (their time integral over the interval), or requests per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    /// Sum over the warm copies.
    pub warm: f64,
    /// Sum over the young copies, each counted up to [`super::ServiceScaling::share`]: start-up
    /// work is not load.
    pub young: f64,
    /// Highest use of a warm copy.
    pub busiest: f64,
    /// 90th percentile of the warm copies, if it is known.
    pub p90: Option<f64>,
    /// Median of the warm copies, if it is known.
    pub median: Option<f64>,
}

/// Copies of the service by state. Every wanted copy is in exactly one group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copies {
    /// Running for the warm-up time, healthy, and with a fresh sample.
    pub warm: u32,
    /// Running for less than the warm-up time, with a fresh sample.
    pub young: u32,
    /// Running without a fresh sample.
    pub blind: u32,
    /// Waiting for room, or not running yet.
    pub starting: u32,
    /// Ending again and again, or unhealthy.
    pub failing: u32,
}

impl Copies {
    /// Number of wanted copies.
    #[must_use]
    pub const fn wanted(&self) -> u32 {
        self.warm + self.young + self.blind + self.starting + self.failing
    }
    /// Number of copies that serve: warm, young and blind ones.
    #[must_use]
    pub const fn running(&self) -> u32 {
        self.warm + self.young + self.blind
    }
}

/// Metrics of one service over one interval of one or two seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Frame {
    pub at: Timestamp,
    /// Time that the sums cover, in milliseconds: 500 to 3000.
    pub interval_ms: u32,
    pub copies: Copies,
    /// Number of warm copies that cannot have more: see [`super::is_saturated`].
    pub saturated: u32,
    /// Number of copies that were OOM-killed since the frame before.
    pub oom_killed: u32,
    /// Number of warm copies above the critical memory or CPU of their image.
    pub critical: u32,
    /// Number of warm copies with CPU below 5 % of their share and no traffic for 30 s.
    pub quiet: u32,
    /// Cores.
    pub cpu: Sums,
    /// Bytes.
    pub memory: Sums,
    /// Requests in flight, if the proxy reports them.
    pub in_flight: Option<Sums>,
    /// Requests per second, if the proxy reports them.
    pub requests: Option<Sums>,
    /// Mean busy share of the machines with its copies, 0 to 1, if known.
    pub machines_busy: Option<f32>,
}

/// Lower bound for the count that a person set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manual {
    pub floor: u32,
    pub until: Timestamp,
}

/// Facts around a service that its metrics do not show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// CPU reservation of a copy, in cores.
    pub cpu: f64,
    /// CPU that a copy can use at most, in cores: its machine's, because CPU is not limited.
    pub cpu_most: f64,
    /// Memory limit of a copy, in bytes.
    pub memory: f64,
    /// Learned lead time of one more copy, a machine included if one must be rented.
    pub lead: Span,
    /// Count that the forecast wants at least.
    pub forecast: Option<u32>,
    /// Floor that a person set.
    pub manual: Option<Manual>,
    /// Freezes the count until a person unpins it.
    pub is_pinned: bool,
    /// A drain is moving copies of this service.
    pub is_draining: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu: 1.0,
            cpu_most: 1.0,
            memory: 256.0 * 1024.0 * 1024.0,
            lead: Span::seconds(90),
            forecast: None,
            manual: None,
            is_pinned: false,
            is_draining: false,
        }
    }
}
