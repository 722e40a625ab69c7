//! Shared by the benchmarks of the stores: generated reports of agents, with values that never
//! repeat, and the output of times.

use micado_api::{InstanceId, MemoryBytes, NanoCpus, Timestamp};
use micado_core::metrics::{ContainerPoint, MachinePoint, Point, Resolution};
use std::time::Duration;

/// Containers on each instance.
pub const EACH: usize = 10;
/// Samples that an agent reports between two refreshes.
pub const TOLD: u64 = 5;

/// Prints a line with the median, the extremes and the count.
pub fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let ms = |at: usize| times[at].as_secs_f64() * 1e3;
    println!(
        "{what}: median {:.1} ms (min {:.1}, max {:.1}, n {})",
        ms(times.len() / 2),
        ms(0),
        ms(times.len() - 1),
        times.len()
    );
}

/// Reports of agents in ten seconds, with realistic values that never repeat.
pub fn told(instances: usize, from: Timestamp) -> Vec<Point> {
    let point = |number: usize, step: u64| Point {
        instance: InstanceId::trusted(instance_id(number)),
        resolution: Resolution::Sample,
        at: Timestamp(from.0 + step * 2000 + number as u64 % 1000),
        machine: MachinePoint {
            measured_ms: 2000,
            cpu_ns: drawn(800_000_000),
            cpu_peak: NanoCpus(drawn(400_000_000)),
            memory_total: MemoryBytes::mib(8192),
            memory_left: MemoryBytes(drawn(2 << 30)),
            memory_least_left: MemoryBytes(drawn(2 << 30)),
            disk_left: drawn(80 << 30),
            disk_total: 100 << 30,
        },
        containers: (number * EACH..(number + 1) * EACH)
            .map(|container| (container_name(container), figures()))
            .collect(),
    };
    (0..instances)
        .flat_map(|number| (0..TOLD).map(move |step| (number, step)))
        .map(|(number, step)| point(number, step))
        .collect()
}

fn figures() -> ContainerPoint {
    let memory = MemoryBytes((50 << 20) + drawn(50 << 20) / 4096 * 4096);
    ContainerPoint {
        measured_ms: 1998 + drawn(5),
        cpu_ns: drawn(100_000_000),
        cpu_peak: NanoCpus(drawn(50_000_000)),
        throttled_ns: 0,
        memory,
        memory_peak: memory,
        oom_kills: 0,
        received: drawn(20_000),
        sent: drawn(200_000),
        read: 0,
        written: drawn(10) * 4096,
    }
}

/// A random number below this one.
pub fn drawn(below: u64) -> u64 {
    rand::random_range(0..below)
}

pub fn instance_id(number: usize) -> String {
    format!("i{number:07}")
}

pub fn container_name(number: usize) -> String {
    format!("alice_web.{number}")
}
