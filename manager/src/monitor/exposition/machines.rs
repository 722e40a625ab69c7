//! A series for each machine: capacity and reservations, and the agent's last sample.

use super::flag;
use crate::{
    metrics::MachineReading,
    monitor::{
        Scraped,
        family::{Families, Head, Labels},
    },
};
use micado_api::{InstanceId, InstanceState, InstanceView, NanoCpus, agent::MachineSample};
use std::{
    collections::{HashMap, HashSet},
    fmt,
};

/// Labels of a machine. Prometheus uses `instance` for the target of the scrape.
fn labels(view: &InstanceView) -> Labels<'_, 4> {
    [
        ("tag", view.tag.as_str()),
        ("location", view.location.as_str()),
        ("cloud", view.cloud.as_str()),
        ("flavour", view.flavour.as_str()),
    ]
}

pub(super) fn write(
    cluster: &Scraped,
    readings: &[MachineReading],
    families: &mut Families<'_>,
) -> fmt::Result {
    known(cluster, readings, families)?;
    let views: HashMap<&InstanceId, &InstanceView> = cluster
        .instances
        .iter()
        .map(|view| (&view.id, view))
        .collect();
    let measured: Vec<(Labels<'_, 4>, &MachineSample)> = readings
        .iter()
        .filter_map(|reading| Some((labels(views.get(&reading.instance)?), &reading.machine)))
        .collect();
    samples(&measured, families)
}

/// Values that the core knows.
fn known(
    cluster: &Scraped,
    readings: &[MachineReading],
    families: &mut Families<'_>,
) -> fmt::Result {
    let seen: HashSet<&InstanceId> = readings.iter().map(|reading| &reading.instance).collect();
    let runs = |view: &&InstanceView| {
        matches!(view.state, InstanceState::Active | InstanceState::Draining)
    };
    let head = Head(
        "instance_up",
        None,
        "1 while the agent of a machine that runs reports; 0 while the machine is blind.",
    );
    let rows = cluster.instances.iter().filter(runs);
    let rows = rows.map(|view| (labels(view), flag(seen.contains(&view.id))));
    families.gauge(head, rows)?;
    let of = |value: fn(&InstanceView) -> f64| {
        let views = cluster.instances.iter();
        views.map(move |view| (labels(view), value(view)))
    };
    let head = Head(
        "instance_capacity_cores",
        None,
        "Cores of a machine for containers.",
    );
    families.gauge(head, of(|view| cores(view.capacity.cpu)))?;
    let head = Head(
        "instance_reserved_cores",
        None,
        "Cores that are promised to the containers on a machine.",
    );
    families.gauge(head, of(|view| cores(view.reserved.cpu)))?;
    let head = Head(
        "instance_capacity_memory",
        Some("bytes"),
        "Memory of a machine for containers.",
    );
    families.gauge(head, of(|view| view.capacity.memory.0 as f64))?;
    let head = Head(
        "instance_reserved_memory",
        Some("bytes"),
        "Memory that is promised to the containers on a machine.",
    );
    families.gauge(head, of(|view| view.reserved.memory.0 as f64))
}

/// Values that agents measured.
fn samples(
    measured: &[(Labels<'_, 4>, &MachineSample)],
    families: &mut Families<'_>,
) -> fmt::Result {
    let of = |value: fn(&MachineSample) -> f64| {
        let measured = measured.iter();
        measured.map(move |(labels, sample)| (*labels, value(sample)))
    };
    let head = Head(
        "instance_cpu",
        Some("seconds"),
        "CPU time that the whole machine has used.",
    );
    families.counter(head, of(|sample| sample.cpu_ns as f64 / 1e9))?;
    let head = Head("instance_cores", None, "Cores of a machine.");
    families.gauge(head, of(|sample| sample.cores as f64 / 1e9))?;
    let head = Head("instance_memory", Some("bytes"), "Memory of a machine.");
    families.gauge(head, of(|sample| sample.memory_total.0 as f64))?;
    let head = Head(
        "instance_memory_available",
        Some("bytes"),
        "Memory of a machine that could be allocated without swapping.",
    );
    families.gauge(head, of(|sample| sample.memory_left.0 as f64))?;
    let head = Head(
        "instance_disk",
        Some("bytes"),
        "Size of the file system with the engine's data.",
    );
    families.gauge(head, of(|sample| sample.disk_total as f64))?;
    let head = Head(
        "instance_disk_available",
        Some("bytes"),
        "Space that is left on that file system.",
    );
    families.gauge(head, of(|sample| sample.disk_left as f64))?;
    let head = Head(
        "instance_load1",
        None,
        "Load average of a machine over one minute; absent where it has none of its own.",
    );
    let loads = measured.iter();
    let loads = loads.filter_map(|(labels, sample)| Some((*labels, sample.load?)));
    families.gauge(head, loads)
}

/// A number of cores.
pub(super) fn cores(cpu: NanoCpus) -> f64 {
    cpu.0 as f64 / 1e9
}
