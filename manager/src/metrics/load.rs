//! The load watch: once a second it sums up the use of each service with a policy, and sends it to
//! the core.

use super::{Metrics, Sample, Summing};
use crate::{
    clock,
    control::{Event, Handle, ScaledService, ServiceLoad},
};
use micado_api::InstanceId;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Time between two frames.
const FRAME: Duration = Duration::from_secs(1);

/// Bounds for the time that a frame covers: a longer one is a gap, which its time shows.
const COVERS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));

#[derive(Debug, Clone)]
pub struct LoadWatch {
    pub metrics: Arc<Metrics>,
    pub handle: Handle,
}

impl LoadWatch {
    /// Sends frames until the runtime ends.
    pub async fn run(self) {
        let mut ticks = interval(FRAME);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut summing = Summing::default();
        let mut last = Instant::now();
        loop {
            let at = ticks.tick().await;
            let covers = at.duration_since(last).clamp(COVERS.0, COVERS.1);
            last = at;
            self.frame(&mut summing, covers).await;
        }
    }

    /// Sends one frame. Without services with a policy, and while there is no core, none is sent.
    async fn frame(&self, summing: &mut Summing, covers: Duration) {
        let read = self.handle.read(|core| core.scaled_services()).await;
        let Ok(services) = read else { return };
        if services.is_empty() {
            return;
        }
        let loads = self.metrics.loads(summing, covers, &services);
        let names = services.into_iter().map(|service| service.service);
        self.handle
            .tell(Event::Load(names.zip(loads).collect()))
            .await;
    }
}

impl Metrics {
    /// Sums up the present use of these services.
    fn loads(
        &self,
        summing: &mut Summing,
        covers: Duration,
        services: &[ScaledService],
    ) -> Vec<ServiceLoad> {
        let (inner, now) = (self.inner(), clock::now());
        let mut busy: HashMap<InstanceId, Option<f64>> = HashMap::new();
        summing.sum(now, covers, services, |(service, instance)| {
            let usage = inner.meter.container(now, service)?;
            let machine_busy = match busy.get(instance) {
                Some(share) => *share,
                None => {
                    let machine = inner.meter.machine(now, instance);
                    let share = machine.and_then(|machine| {
                        let cores = machine.cores.0.max(1) as f64;
                        Some(machine.cpu?.0 as f64 / cores)
                    });
                    busy.insert(instance.clone(), share);
                    share
                }
            };
            Some(Sample {
                usage,
                machine_busy,
            })
        })
    }
}
