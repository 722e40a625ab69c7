//! Difference of two samples: use between them.

use crate::metrics::{ContainerPoint, MachinePoint, per_second};
use micado_api::{
    NanoCpus,
    agent::{ContainerSample, MachineSample},
};

/// Mean CPU over a time; `None` if the time is 0.
pub(super) fn rate(cpu_ns: u64, ms: u64) -> Option<NanoCpus> {
    per_second(cpu_ns, ms).map(NanoCpus)
}

/// Upper bound for the CPU time of this many cores (in billionths) over a time.
pub(super) fn most_cpu_ns(cores: u64, ms: u64) -> u64 {
    if cores == 0 {
        u64::MAX
    } else {
        u64::try_from(u128::from(cores) * u128::from(ms) / 1000).unwrap_or(u64::MAX)
    }
}

/// Returns a machine's use in the `ms` since `before`, or its state alone. A counter that fell is
/// ignored, and a clock that was set cannot raise CPU above the machine's cores.
pub(super) fn machine(
    before: Option<(&MachineSample, u64)>,
    sample: &MachineSample,
) -> MachinePoint {
    let now = MachinePoint {
        memory_total: sample.memory_total,
        memory_left: sample.memory_left,
        memory_least_left: sample.memory_left,
        disk_left: sample.disk_left,
        disk_total: sample.disk_total,
        ..MachinePoint::default()
    };
    let Some((before, ms)) = before else {
        return now;
    };
    let cpu_ns = sample
        .cpu_ns
        .saturating_sub(before.cpu_ns)
        .min(most_cpu_ns(sample.cores, ms));
    MachinePoint {
        measured_ms: ms,
        cpu_ns,
        cpu_peak: rate(cpu_ns, ms).unwrap_or_default(),
        ..now
    }
}

/// As [`machine`], for a container on a machine of this many cores.
pub(super) fn container(
    before: Option<(&ContainerSample, u64)>,
    sample: &ContainerSample,
    cores: u64,
) -> ContainerPoint {
    let now = ContainerPoint {
        memory: sample.working_set,
        memory_peak: sample.working_set_peak.max(sample.working_set),
        ..ContainerPoint::default()
    };
    let Some((before, ms)) = before else {
        return now;
    };
    let cpu_ns = sample
        .cpu_ns
        .saturating_sub(before.cpu_ns)
        .min(most_cpu_ns(cores, ms));
    ContainerPoint {
        measured_ms: ms,
        cpu_ns,
        cpu_peak: rate(cpu_ns, ms).unwrap_or_default(),
        throttled_ns: sample
            .cpu_throttled_ns
            .saturating_sub(before.cpu_throttled_ns),
        oom_kills: sample.oom_kills.saturating_sub(before.oom_kills),
        received: sample.received.saturating_sub(before.received),
        sent: sample.sent.saturating_sub(before.sent),
        read: sample.read.saturating_sub(before.read),
        written: sample.written.saturating_sub(before.written),
        ..now
    }
}

/// Merges two containers of one Swarm service that ran one after the other in the same time.
pub(super) fn merge(one: &mut ContainerPoint, other: &ContainerPoint) {
    one.measured_ms = one.measured_ms.max(other.measured_ms);
    one.cpu_ns = one.cpu_ns.saturating_add(other.cpu_ns);
    one.cpu_peak = one
        .cpu_peak
        .max(other.cpu_peak)
        .max(rate(one.cpu_ns, one.measured_ms).unwrap_or_default());
    one.memory = one.memory.max(other.memory);
    one.memory_peak = one.memory_peak.max(other.memory_peak);
    one.throttled_ns = one.throttled_ns.saturating_add(other.throttled_ns);
    one.oom_kills = one.oom_kills.saturating_add(other.oom_kills);
    one.received = one.received.saturating_add(other.received);
    one.sent = one.sent.saturating_add(other.sent);
    one.read = one.read.saturating_add(other.read);
    one.written = one.written.saturating_add(other.written);
}
