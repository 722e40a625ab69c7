//! Periodic jobs: one scheduler ticks all of them.

use crate::{cli::args::Tick, control::runtime};
use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler};

/// The scheduler of the manager's jobs. Dropping it ends their ticks.
pub(super) struct Schedule(JobScheduler);

impl Schedule {
    pub(super) async fn new() -> Result<Self> {
        Ok(Self(JobScheduler::new().await?))
    }

    /// Ticks of a job. A tick is dropped if the previous one has not been handled.
    pub(super) async fn ticks(&self, tick: &Tick) -> Result<mpsc::Receiver<()>> {
        let (ticker, ticks) = runtime::ticker();
        let job = match tick {
            Tick::Every(interval) => Job::new_repeated(*interval, move |_, _| ticker.tick())?,
            Tick::Cron(expression) => Job::new(expression.as_str(), move |_, _| ticker.tick())
                .with_context(|| format!("cron expression `{expression}`"))?,
        };
        self.0.add(job).await?;
        Ok(ticks)
    }

    pub(super) async fn start(&self) -> Result<()> {
        Ok(self.0.start().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(flavor = "multi_thread")]
    async fn one_scheduler_ticks_jobs_by_interval_and_by_cron() {
        let schedule = Schedule::new().await.expect("a scheduler");
        let every = Tick::Every(Duration::from_secs(1));
        let cron = Tick::Cron("* * * * * *".to_owned());
        let mut by_interval = schedule.ticks(&every).await.expect("a job");
        let mut by_cron = schedule.ticks(&cron).await.expect("a job");
        let bad = schedule.ticks(&Tick::Cron("often".to_owned())).await;
        assert!(
            bad.expect_err("no expression")
                .to_string()
                .contains("`often`")
        );
        schedule.start().await.expect("started");
        for _ in 0..2 {
            by_interval.recv().await.expect("a tick");
            by_cron.recv().await.expect("a tick");
        }
        drop(schedule);
    }
}
