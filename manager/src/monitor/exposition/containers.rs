//! Series for each container: the agent's last sample of it.

use super::machines::cores;
use crate::{
    metrics::MachineReading,
    monitor::{
        Scraped,
        family::{Families, Head, Labels},
    },
};
use micado_api::{ContainerName, Hundredths, agent::ContainerSample};
use std::{collections::HashMap, fmt};

/// A measured container: its labels, its reservation in cores, and the sample.
type Measured<'a> = (Labels<'a, 5>, f64, &'a ContainerSample);

/// Values of each running container that is measured.
pub(super) fn write(
    cluster: &Scraped,
    readings: &[MachineReading],
    families: &mut Families<'_>,
) -> fmt::Result {
    let known: HashMap<&ContainerName, _> = cluster
        .containers
        .iter()
        .map(|container| (&container.view.name, container))
        .collect();
    let samples = readings.iter().flat_map(|reading| &reading.containers);
    let measured = samples.filter_map(|(placed, sample)| {
        let container = known.get(&placed.container)?;
        let labels = [
            ("container", placed.container.as_str()),
            ("service", placed.service.as_str()),
            ("client", container.client.as_str()),
            ("tag", placed.tag.as_str()),
            ("location", container.view.location.as_str()),
        ];
        Some((labels, cores(container.view.reservation.cpu), sample))
    });
    let measured: Vec<Measured<'_>> = measured.collect();
    counters(&measured, families)?;
    gauges(&measured, families)
}

/// Values since the start of a container.
fn counters(measured: &[Measured<'_>], families: &mut Families<'_>) -> fmt::Result {
    let of = |value: fn(&ContainerSample) -> f64| {
        let measured = measured.iter();
        measured.map(move |(labels, _, sample)| (*labels, value(sample)))
    };
    let head = Head(
        "container_cpu",
        Some("seconds"),
        "CPU time that a container has used.",
    );
    families.counter(head, of(|sample| sample.cpu_ns as f64 / 1e9))?;
    let head = Head(
        "container_cpu_throttled",
        Some("seconds"),
        "Time that a container wanted to run and its quota refused.",
    );
    families.counter(head, of(|sample| sample.cpu_throttled_ns as f64 / 1e9))?;
    let head = Head(
        "container_oom_kills",
        None,
        "OOM-killed processes in a container.",
    );
    families.counter(head, of(|sample| sample.oom_kills as f64))?;
    let head = Head(
        "container_network_received",
        Some("bytes"),
        "Bytes that a container received, loopback excluded.",
    );
    families.counter(head, of(|sample| sample.received as f64))?;
    let head = Head(
        "container_network_sent",
        Some("bytes"),
        "Bytes that a container sent, loopback excluded.",
    );
    families.counter(head, of(|sample| sample.sent as f64))?;
    let head = Head(
        "container_disk_read",
        Some("bytes"),
        "Bytes that a container read from block devices.",
    );
    families.counter(head, of(|sample| sample.read as f64))?;
    let head = Head(
        "container_disk_written",
        Some("bytes"),
        "Bytes that a container wrote to block devices.",
    );
    families.counter(head, of(|sample| sample.written as f64))
}

/// Values of the moment.
fn gauges(measured: &[Measured<'_>], families: &mut Families<'_>) -> fmt::Result {
    let of = |value: fn(&ContainerSample) -> Option<f64>| {
        let measured = measured.iter();
        measured.filter_map(move |(labels, _, sample)| Some((*labels, value(sample)?)))
    };
    let head = Head(
        "container_memory",
        Some("bytes"),
        "Memory in use less the file cache that can be dropped at once.",
    );
    families.gauge(head, of(|sample| Some(sample.working_set.0 as f64)))?;
    let head = Head(
        "container_memory_limit",
        Some("bytes"),
        "Memory limit of a container, if it has one.",
    );
    let limit = |sample: &ContainerSample| sample.memory_limit.map(|limit| limit.0 as f64);
    families.gauge(head, of(limit))?;
    let head = Head(
        "container_reserved_cores",
        None,
        "Cores that are promised to a container.",
    );
    let rows = measured.iter();
    families.gauge(head, rows.map(|(labels, cores, _)| (*labels, *cores)))?;
    let head = Head(
        "container_memory_pressure",
        Some("ratio"),
        "Share of the last 10 s in which some task waited for memory.",
    );
    families.gauge(head, of(|sample| sample.memory_pressure.map(share)))?;
    let head = Head(
        "container_cpu_pressure",
        Some("ratio"),
        "Share of the last 10 s in which some task waited for CPU.",
    );
    families.gauge(head, of(|sample| sample.cpu_pressure.map(share)))?;
    let head = Head(
        "container_start_time",
        Some("seconds"),
        "Start of a container by its machine's clock, since the Unix epoch.",
    );
    let start = |sample: &ContainerSample| sample.started_at.map(|at| at.0 as f64 / 1e3);
    families.gauge(head, of(start))
}

/// A share from percent, to the hundredth of a percent.
fn share(percent: f64) -> f64 {
    f64::from(Hundredths::from(percent)) / 100.0
}
