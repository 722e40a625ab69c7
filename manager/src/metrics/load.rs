//! The load watch: once a second it sums up the use of each service with a policy, and sends it to
//! the core. It does so when a machine has just been measured: a sample does not wait for its frame.
//! It also tells the core of machines that can give no more, or have run out of something.

use super::{Metrics, Summing};
use crate::{
    clock,
    control::{Event, Handle, ServiceLoad},
};
use micado_api::ServiceName;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// Bounds for the time between two frames: after the first, the next batch of a machine that
/// sweeps at [`PACE`](super::PACE) makes one; after the second, nothing is waited for.
const FRAME: (Duration, Duration) = (Duration::from_millis(900), Duration::from_millis(1_100));

/// Bounds for the time that a frame covers: a longer one is a gap, which its time shows.
const COVERS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));

/// Time between two looks for machines that can give no more.
const MACHINES: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct LoadWatch {
    pub metrics: Arc<Metrics>,
    pub handle: Handle,
}

impl LoadWatch {
    /// Sends frames until the runtime ends.
    pub async fn run(self) {
        let mut summing = Summing::default();
        let mut last = Instant::now();
        let (mut looked, mut told) = (last, false);
        loop {
            sleep(FRAME.0).await;
            let sampled = self.metrics.sampled.notified();
            let _ = timeout(FRAME.1 - FRAME.0, sampled).await;
            let at = Instant::now();
            let covers = at.duration_since(last).clamp(COVERS.0, COVERS.1);
            last = at;
            self.frame(&mut summing, covers).await;
            if at.duration_since(looked) >= MACHINES {
                looked = at;
                told = self.machines(told).await;
            }
        }
    }

    /// Tells the core of the machines while one is saturated or has run out of something, and once
    /// after that. Returns true while one is.
    async fn machines(&self, told: bool) -> bool {
        let loads = self.metrics.inner().meter.machine_loads(clock::now());
        let is_any = !loads.is_empty();
        if is_any || told {
            self.handle.tell(Event::Machines(loads)).await;
        }
        is_any
    }

    /// Sends one frame. Without services with a policy, and while there is no core, none is sent.
    async fn frame(&self, summing: &mut Summing, covers: Duration) {
        let seen = summing.version();
        let read = self.handle.read(move |core| core.scaled_since(seen)).await;
        let Ok(Some(changes)) = read else { return };
        if summing.follow(changes) {
            self.metrics
                .pace(summing.machines().iter().cloned().collect());
        }
        if !summing.is_empty() {
            let loads = self.metrics.loads(summing, covers);
            self.handle.tell(Event::Load(loads)).await;
        }
    }
}

impl Metrics {
    /// Sums up the present use of the watched services.
    fn loads(&self, summing: &mut Summing, covers: Duration) -> Vec<(ServiceName, ServiceLoad)> {
        let (inner, now) = (self.inner(), clock::now());
        summing.sum(now, covers, |machine| inner.meter.on(now, machine))
    }
}
