//! The past of services with a forecast: once an hour it is read from the history, judged here, and
//! sent to the core.

use super::{History, Metrics, Point, Recall, Resolution, Series, cpu_slots};
use crate::{
    clock,
    control::{Event, Foreseen, Handle},
    store::StoreError,
};
use jiff::tz::TimeZone;
use micado_api::{ErrorBody, Timestamp};
use micado_core::scaling::Past;
use std::{sync::Arc, time::Duration};
use tokio::{task::spawn_blocking, time::sleep};

/// Time between two turns, and before a turn is repeated that found no core or no store.
const EVERY: Duration = Duration::from_secs(3_600);
const AGAIN: Duration = Duration::from_secs(10);

/// Days that are read: those that a profile keeps.
const PAST: Duration = Duration::from_secs(28 * 24 * 3_600);

#[derive(Debug, Clone)]
pub struct Foresight {
    pub metrics: Arc<Metrics>,
    pub handle: Handle,
    pub history: Arc<dyn History>,
}

impl Foresight {
    /// Reports the past of all services at the start and once an hour, until the runtime ends.
    pub async fn run(self) {
        let mut is_failing = false;
        loop {
            let turn = self.turn(clock::now()).await;
            if let Ok(Err(error)) = &turn
                && !is_failing
            {
                tracing::warn!(%error, "the load of earlier days cannot be read for the forecast; it is tried again");
            }
            is_failing = !matches!(turn, Ok(Ok(())));
            sleep(if is_failing { AGAIN } else { EVERY }).await;
        }
    }

    /// Reports the past of each service. The outer error means that there is no core.
    pub(super) async fn turn(&self, now: Timestamp) -> Result<Result<(), StoreError>, ErrorBody> {
        let foreseen = self.handle.read(|core| core.foreseen()).await?;
        for service in foreseen {
            if let Err(error) = self.report(service, now).await {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    async fn report(&self, of: Foreseen, now: Timestamp) -> Result<(), StoreError> {
        let day = Timestamp(now.0.saturating_sub(millis(Resolution::Minute.kept())));
        let begin = Timestamp(now.0.saturating_sub(millis(PAST)));
        let coarse = self.points(&of, Resolution::TenMinutes, begin, now).await?;
        let fine = self.points(&of, Resolution::Minute, day, now).await?;
        let (quantile, horizon) = (of.quantile, of.horizon);
        // A replay takes milliseconds: too long for a thread that serves.
        let judged = spawn_blocking(move || {
            let slots = cpu_slots(&coarse, &fine);
            Past::new(slots, TimeZone::system(), quantile, horizon)
        });
        if let Ok(past) = judged.await {
            let event = Event::Profile(of.service, Arc::new(past));
            self.handle.tell(event).await;
        }
        Ok(())
    }

    async fn points(
        &self,
        of: &Foreseen,
        resolution: Resolution,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Point>, StoreError> {
        let wanted = Recall {
            series: Series::Service(of.service.clone()),
            resolution,
            from,
            until,
        };
        self.metrics.recall(&*self.history, &wanted).await
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::{Config, Core, Input},
        metrics::tests::Kept,
        model::ServicePolicy,
        store::Kind,
    };
    use micado_api::{ClusterId, ServiceName};
    use micado_cloudsetup::CloudSetup;
    use micado_core::scaling::Policies;

    /// A core with one policy.
    fn core(name: &ServiceName) -> Core {
        let config = Config::new(ClusterId::trusted("c"), CloudSetup::default());
        let policy = ServicePolicy::new(name.clone(), Policies::standard(10), Timestamp(1));
        Core::new(config, vec![(policy.into_record(), 1)], 1)
    }

    #[tokio::test]
    async fn the_past_of_each_service_reaches_the_core() {
        let name = ServiceName::trusted("acme_web");
        let (handle, mut inputs, _) = Handle::new();
        let core = core(&name);
        let told = tokio::spawn(async move {
            loop {
                match inputs.recv().await? {
                    Input::Read(read) => read(Ok(&core)),
                    Input::Tell(event) => return Some(*event),
                    Input::Request(..) => {}
                }
            }
        });
        let kept = Arc::new(Kept::default());
        let foresight = Foresight {
            metrics: Arc::new(Metrics::new(handle.facts().clone())),
            handle,
            history: kept.clone(),
        };
        kept.silent.store(true, std::sync::atomic::Ordering::SeqCst);
        let silent = foresight.turn(clock::now()).await;
        assert!(matches!(silent, Ok(Err(_))), "the store is silent");
        kept.silent
            .store(false, std::sync::atomic::Ordering::SeqCst);
        let turn = foresight.turn(clock::now()).await;
        assert!(matches!(turn, Ok(Ok(()))));
        let event = told.await.expect("nobody panicked");
        assert!(matches!(event, Some(Event::Profile(service, _)) if service == name));
    }
}
