//! The values of one scrape, and their reading from the core and the metrics, in parts.

use super::{Counters, Format, exposition, process::ProcessReading};
use crate::{
    control::{Handle, MonitoredContainer, Overview, ScaledState},
    metrics::{Backlog, DeathCount, MachineReading, Metrics},
};
use micado_api::{ErrorBody, InstanceId, InstanceView, ServiceName};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// Machines whose samples are copied under one lock of the metrics.
const MACHINES: usize = 100;

/// Time-out of all reads of the core. A Prometheus waits 10 s for the whole scrape.
const PATIENCE: Duration = Duration::from_secs(5);

/// The lease of the cluster, as this manager holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseReading {
    /// Number of the lease: it rises each time one is taken.
    pub term: u64,
    /// Time for which it is certainly held; zero once it has run out.
    pub left: Duration,
}

/// The cluster, as the core shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scraped {
    pub overview: Overview,
    pub instances: Vec<InstanceView>,
    pub containers: Vec<MonitoredContainer>,
    pub scaled: Vec<ScaledState>,
}

/// All values of one scrape except the counters.
#[derive(Debug, Clone, PartialEq)]
pub struct Scrape {
    /// `None` while there is no core, or it did not answer in time.
    pub cluster: Option<Scraped>,
    pub machines: Vec<MachineReading>,
    pub deaths: Vec<(ServiceName, DeathCount)>,
    pub backlog: Backlog,
    /// Agents with an open connection.
    pub agents: usize,
    /// `None` if the manager leads without a lease, as in tests.
    pub lease: Option<LeaseReading>,
    pub process: ProcessReading,
    /// Write a series for each container too.
    pub each_container: bool,
}

impl Scrape {
    /// Reads the cluster and the metrics. Neither the core nor the metrics wait for more than one
    /// part of a list. Without a core, the rest is there.
    pub async fn read(handle: &Handle, metrics: &Metrics) -> Self {
        let read = timeout(PATIENCE, Scraped::read(handle)).await;
        let cluster = read.ok().and_then(Result::ok);
        let instances = cluster.iter().flat_map(|cluster| &cluster.instances);
        let instances: Vec<InstanceId> = instances.map(|view| view.id.clone()).collect();
        let mut machines = Vec::with_capacity(instances.len());
        for part in instances.chunks(MACHINES) {
            machines.extend(metrics.readings(part));
            tokio::task::yield_now().await;
        }
        Self {
            cluster,
            machines,
            deaths: metrics.deaths(),
            backlog: metrics.backlog(),
            agents: 0,
            lease: None,
            process: ProcessReading::now(),
            each_container: true,
        }
    }

    /// Writes everything as text. This takes a while for many containers and blocks its thread.
    #[must_use]
    pub fn text(self, counters: &Counters, format: Format) -> String {
        exposition::write(Arc::new(self), counters, format)
    }
}

impl Scraped {
    async fn read(handle: &Handle) -> Result<Self, ErrorBody> {
        Ok(Self {
            overview: handle.read(|core| core.overview()).await?,
            instances: handle.live_instances().await?,
            containers: handle.monitored().await?,
            scaled: handle.scaled().await?,
        })
    }
}
