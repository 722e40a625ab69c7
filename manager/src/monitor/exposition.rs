//! The text of a scrape, in the formats that Prometheus reads. Pure, except for the counters' own
//! values.

mod cluster;
mod containers;
mod machines;
mod services;

use super::{
    Counters, Scrape,
    family::{Families, Head, NONE},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, prometheus_text, text},
    registry::Registry,
};
use std::{fmt, sync::Arc};

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own, version 0.0.4: for everybody who does not ask for the other.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// Chooses by the `accept` header of a request.
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        let kinds = accept.unwrap_or_default().split(',');
        let mut kinds = kinds.map(|kind| kind.split(';').next().unwrap_or_default().trim());
        match kinds.any(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text")) {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    /// The content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes the counters and a scrape.
pub(super) fn write(scrape: Arc<Scrape>, counters: &Counters, format: Format) -> String {
    let mut cluster = Registry::with_prefix("micado");
    cluster.register_collector(Box::new(Cluster(scrape.clone())));
    let mut process = Registry::with_prefix("process");
    process.register_collector(Box::new(Process(scrape)));
    let mut out = String::new();
    let written = [&counters.registry, &cluster, &process]
        .into_iter()
        .try_for_each(|registry| match format {
            Format::Prometheus => prometheus_text::encode(&mut out, registry),
            Format::OpenMetrics => text::encode_registry(&mut out, registry),
        });
    let ended = match format {
        Format::Prometheus => Ok(()),
        Format::OpenMetrics => text::encode_eof(&mut out),
    };
    written.and(ended).expect("a string takes all text");
    out
}

/// The manager and its cluster.
#[derive(Debug)]
struct Cluster(Arc<Scrape>);

impl Collector for Cluster {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (scrape, mut families) = (&*self.0, Families(encoder));
        manager(scrape, &mut families)?;
        let Some(cluster) = &scrape.cluster else {
            return Ok(());
        };
        cluster::write(cluster, &mut families)?;
        machines::write(cluster, &scrape.machines, &mut families)?;
        services::write(cluster, &scrape.deaths, &mut families)?;
        if scrape.each_container {
            containers::write(cluster, &scrape.machines, &mut families)?;
        }
        Ok(())
    }
}

/// The manager's own state.
fn manager(scrape: &Scrape, families: &mut Families<'_>) -> fmt::Result {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    let head = Head("build_info", None, "Version of the manager.");
    families.gauge(head, [(version, 1.0)])?;
    let head = Head(
        "core_up",
        None,
        "1 if the control core answered this scrape; without it the cluster's metrics are missing.",
    );
    families.gauge(head, [(NONE, flag(scrape.cluster.is_some()))])?;
    let lease = scrape.lease.as_ref();
    let head = Head(
        "leader",
        None,
        "1 while this manager certainly holds the cluster's lease.",
    );
    families.gauge(head, lease.map(|lease| (NONE, flag(!lease.left.is_zero()))))?;
    let head = Head(
        "lease_remaining",
        Some("seconds"),
        "Time for which the lease is held if it is not renewed.",
    );
    families.gauge(head, lease.map(|lease| (NONE, lease.left.as_secs_f64())))?;
    let head = Head(
        "lease_term",
        None,
        "Number of the lease; it rises each time one is taken.",
    );
    families.gauge(head, lease.map(|lease| (NONE, lease.term as f64)))?;
    let head = Head("agents_connected", None, "Node agents that are connected.");
    families.gauge(head, [(NONE, scrape.agents as f64)])?;
    backlog(scrape, families)
}

/// Points and events of agents that wait to be recorded.
fn backlog(scrape: &Scrape, families: &mut Families<'_>) -> fmt::Result {
    let backlog = scrape.backlog;
    let waiting = [("points", backlog.points), ("events", backlog.events)];
    let head = Head(
        "waiting_items",
        None,
        "Points and events of agents that wait to be recorded.",
    );
    let rows = waiting.map(|(kind, count)| ([("kind", kind)], count as f64));
    families.gauge(head, rows)?;
    let head = Head(
        "waiting",
        Some("bytes"),
        "Memory of all points and events that wait.",
    );
    families.gauge(head, [(NONE, backlog.bytes as f64)])?;
    let head = Head(
        "waiting_limit",
        Some("bytes"),
        "Upper bound for it; beyond it, agents keep what they measure.",
    );
    families.gauge(head, [(NONE, backlog.most_bytes as f64)])
}

/// The manager's process.
#[derive(Debug)]
struct Process(Arc<Scrape>);

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (process, mut families) = (self.0.process, Families(encoder));
        let head = Head("cpu", Some("seconds"), "CPU time of the manager's process.");
        let cpu = process.cpu.map(|cpu| (NONE, cpu.as_secs_f64()));
        families.counter(head, cpu)?;
        let head = Head(
            "resident_memory",
            Some("bytes"),
            "Resident memory of the manager's process.",
        );
        families.gauge(head, process.resident.map(|bytes| (NONE, bytes as f64)))?;
        let head = Head("open_fds", None, "Open files of the manager's process.");
        families.gauge(head, process.open_files.map(|files| (NONE, files as f64)))?;
        let head = Head(
            "start_time",
            Some("seconds"),
            "Start of the manager's process, since the Unix epoch.",
        );
        families.gauge(head, process.started.map(|at| (NONE, at)))
    }
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}
