//! Load of one service: the use of its copies, summed into a frame for the scaling.

use super::InUse;
use crate::{
    control::{ScaledChanges, ScaledService, ServiceLoad, Version},
    scaling::{Ceiling, Frame, Span, Sums, is_saturated, warm_up},
};
use micado_api::{ContainerUsage, InstanceId, ServiceName, Timestamp};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// CPU below this share of what a copy carries is no work.
const QUIET_SHARE: f64 = 0.05;

/// Time without work after which a copy is quiet.
const QUIET_FOR: Duration = Duration::from_secs(30);

/// Time after an OOM kill in a copy for which it counts as saturated.
const KILLED_FOR: Duration = Duration::from_secs(10);

/// Age up to which the use of a new copy is recorded, to learn its warm-up.
const LEARNED_IN: Duration = Duration::from_secs(120);

/// Throttled share of the time from which on a copy wants more CPU, in percent.
const THROTTLED: f64 = 20.0;

/// Billionths of a core in a core.
const NANO: f64 = 1e9;

/// Current metrics of one copy and its machine.
#[derive(Debug, Clone, Copy)]
struct Sample<'a> {
    usage: &'a ContainerUsage,
    /// Busy share of its machine, 0 to 1.
    machine_busy: Option<f64>,
}

/// A running copy, and what was seen of it.
#[derive(Debug, Clone)]
struct Slot {
    name: String,
    machine: InstanceId,
    /// Index of the machine among those of [`Summing`], and of the copy on it when it was read last.
    position: (usize, usize),
    seen: Option<Seen>,
    /// Age and CPU of a new copy until its warm-up is known; `None` for one that may be older than
    /// this watch.
    curve: Option<Vec<(Span, f64)>>,
}

/// Age and last work of a copy.
#[derive(Debug, Clone, Copy)]
struct Seen {
    first_at: Timestamp,
    worked_at: Timestamp,
    oom_kills: u64,
    killed_at: Option<Timestamp>,
}

/// Copies of one service.
#[derive(Debug, Clone)]
struct Watched {
    service: ScaledService,
    slots: Vec<Slot>,
}

/// Sums frames, and remembers the age of each copy: since its first sample, by this clock. A frame
/// costs one look at each copy; which copies there are is told only when it changes.
#[derive(Debug, Clone, Default)]
pub struct Summing {
    services: BTreeMap<ServiceName, Watched>,
    /// Machines with a copy.
    machines: Vec<InstanceId>,
    version: Option<Version>,
}

/// Values of the copies of one service.
#[derive(Debug, Default)]
struct Values {
    cpu: Vec<f64>,
    memory: Vec<f64>,
    young_cpu: f64,
    young_memory: f64,
    busy: (f64, u32),
}

impl Summing {
    /// Version of the last changes.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Takes changes of the copies. Returns true if there were any.
    pub fn follow(&mut self, changes: ScaledChanges) -> bool {
        let ScaledChanges {
            version,
            names,
            changed,
        } = changes;
        if self.version == Some(version) {
            return false;
        }
        self.version = Some(version);
        self.services.retain(|service, _| names.contains(service));
        for mut service in changed {
            let before = self.services.remove(&service.service);
            let is_watched = before.is_some();
            let mut known: HashMap<String, Slot> = before
                .into_iter()
                .flat_map(|watched| watched.slots)
                .map(|slot| (slot.name.clone(), slot))
                .collect();
            let slots = std::mem::take(&mut service.copies).into_iter();
            let slots = slots.map(|(name, machine)| match known.remove(&name) {
                Some(slot) => Slot { machine, ..slot },
                None => Slot {
                    name,
                    machine,
                    position: (0, 0),
                    seen: None,
                    curve: is_watched.then(Vec::new),
                },
            });
            let slots = slots.collect();
            let name = service.service.clone();
            self.services.insert(name, Watched { service, slots });
        }
        self.number_machines();
        true
    }

    /// Numbers the machines: a frame reads each of them once.
    fn number_machines(&mut self) {
        self.machines.clear();
        let mut numbers: HashMap<&InstanceId, usize> = HashMap::new();
        let watched = self.services.values_mut();
        for slot in watched.flat_map(|watched| &mut watched.slots) {
            let number = numbers.entry(&slot.machine).or_insert_with(|| {
                self.machines.push(slot.machine.clone());
                self.machines.len() - 1
            });
            slot.position.0 = *number;
        }
    }

    /// Swarm services of the running copies, service by service.
    pub fn copies(&self) -> impl Iterator<Item = impl Iterator<Item = &String>> {
        let services = self.services.values();
        services.map(|watched| watched.slots.iter().map(|slot| &slot.name))
    }

    /// Machines with a copy.
    #[must_use]
    pub fn machines(&self) -> &[InstanceId] {
        &self.machines
    }

    /// Sums the loads of one moment. `machine` returns the metrics of a machine, if they are fresh.
    pub fn sum<'a>(
        &mut self,
        now: Timestamp,
        interval: Duration,
        machine: impl FnMut(&InstanceId) -> Option<InUse<'a>>,
    ) -> Vec<(ServiceName, ServiceLoad)> {
        let frame = Frame {
            at: now,
            interval_ms: u32::try_from(interval.as_millis()).unwrap_or(u32::MAX),
            ..Frame::default()
        };
        let machines: Vec<Option<InUse<'a>>> = self.machines.iter().map(machine).collect();
        let services = self.services.iter_mut();
        services
            .map(|(name, watched)| (name.clone(), watched.load(frame, &machines)))
            .collect()
    }
}

impl Watched {
    fn load(&mut self, frame: Frame, machines: &[Option<InUse<'_>>]) -> ServiceLoad {
        let Self { service, slots } = self;
        let now = frame.at;
        let mut load = ServiceLoad {
            frame,
            ..ServiceLoad::default()
        };
        let mut values = Values::default();
        for slot in slots {
            let measured = slot.sample(machines);
            let Some(measured) = measured.filter(|sample| sample.usage.cpu.is_some()) else {
                // Without a sample, nobody knows that it does not work.
                if let Some(seen) = &mut slot.seen {
                    seen.worked_at = now;
                }
                load.blind.push(slot.name.clone());
                continue;
            };
            let seen = slot.see(now, measured.usage, service);
            load.warm_ups
                .extend(slot.learn(now, measured.usage, service));
            if now.since(seen.first_at) < Duration::from_millis(service.warm_up.0) {
                values.add_young(service, &measured);
                load.frame.copies.young += 1;
                continue;
            }
            load.frame.copies.warm += 1;
            let was_killed = seen.killed_at.is_some_and(|at| now.since(at) < KILLED_FOR);
            values.add_warm(service, &measured, was_killed, &mut load.frame);
            if now.since(seen.worked_at) >= QUIET_FOR {
                load.frame.quiet += 1;
                if service.only_quiet {
                    load.quiet.push(slot.name.clone());
                }
            }
        }
        values.finish(&mut load.frame);
        load
    }
}

impl Slot {
    /// Its current metrics, if its machine reports it.
    fn sample<'a>(&mut self, machines: &[Option<InUse<'a>>]) -> Option<Sample<'a>> {
        let (machine, position) = &mut self.position;
        let machine = machines.get(*machine)?.as_ref()?;
        Some(Sample {
            usage: machine.container(&self.name, position)?,
            machine_busy: machine.busy,
        })
    }

    /// Notes the first sample, the last work and OOM kills of a copy.
    fn see(&mut self, now: Timestamp, usage: &ContainerUsage, of: &ScaledService) -> Seen {
        let works = cores(usage) >= QUIET_SHARE * of.cpu_share.unwrap_or(of.cpu)
            || usage.received > 0
            || usage.sent > 0;
        let seen = self.seen.get_or_insert(Seen {
            first_at: now,
            worked_at: now,
            oom_kills: usage.oom_kills,
            killed_at: None,
        });
        if works {
            seen.worked_at = now;
        }
        if usage.oom_kills > seen.oom_kills {
            seen.killed_at = Some(now);
        }
        seen.oom_kills = usage.oom_kills;
        *seen
    }

    /// Records the use of a new copy. Returns its warm-up once that is known.
    fn learn(
        &mut self,
        now: Timestamp,
        usage: &ContainerUsage,
        of: &ScaledService,
    ) -> Option<Span> {
        let curve = self.curve.as_mut()?;
        let age = now.since(self.seen?.first_at);
        let span = Span(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        curve.push((span, cores(usage)));
        let noise = QUIET_SHARE * of.cpu_share.unwrap_or(of.cpu);
        let learned = warm_up(curve, noise);
        if learned.is_some() || age > LEARNED_IN {
            self.curve = None;
        }
        learned
    }
}

fn cores(usage: &ContainerUsage) -> f64 {
    usage.cpu.unwrap_or_default().0 as f64 / NANO
}

impl Values {
    fn add_young(&mut self, service: &ScaledService, sample: &Sample<'_>) {
        let cut = |used: f64, share: Option<f64>| share.map_or(used, |share| used.min(share));
        self.young_cpu += cut(cores(sample.usage), service.cpu_share);
        self.young_memory += cut(sample.usage.memory.0 as f64, service.memory_share);
        self.note_machine(sample);
    }

    fn add_warm(
        &mut self,
        service: &ScaledService,
        sample: &Sample<'_>,
        was_oom_killed: bool,
        frame: &mut Frame,
    ) {
        let usage = sample.usage;
        let (cpu, memory) = (cores(usage), usage.memory.0 as f64);
        self.cpu.push(cpu);
        self.memory.push(memory);
        self.note_machine(sample);
        let ceiling = Ceiling {
            cpu,
            reservation: service.cpu,
            machine_busy: sample.machine_busy.unwrap_or(0.0),
            is_throttled: usage
                .throttled
                .is_some_and(|share| f64::from(share) >= THROTTLED),
            cpu_pressure: usage.cpu_pressure.map(f64::from),
            memory_share: memory / service.memory.max(1.0),
            was_oom_killed,
        };
        frame.saturated += u32::from(is_saturated(&ceiling));
        let critical = &service.critical;
        let is_critical = critical.memory.is_some_and(|most| usage.memory > most)
            || critical
                .cpu
                .zip(usage.cpu)
                .is_some_and(|(most, cpu)| cpu > most);
        frame.critical += u32::from(is_critical);
    }

    fn note_machine(&mut self, sample: &Sample<'_>) {
        if let Some(busy) = sample.machine_busy {
            self.busy.0 += busy;
            self.busy.1 += 1;
        }
    }

    fn finish(mut self, frame: &mut Frame) {
        frame.cpu = sums(&mut self.cpu, self.young_cpu);
        frame.memory = sums(&mut self.memory, self.young_memory);
        let (sum, count) = self.busy;
        frame.machines_busy = (count > 0).then(|| (sum / f64::from(count)) as f32);
    }
}

fn sums(warm: &mut [f64], young: f64) -> Sums {
    let mut at = |share: usize| {
        let index = (warm.len() * share).div_ceil(10).checked_sub(1)?;
        let (_, value, _) = warm.select_nth_unstable_by(index, f64::total_cmp);
        Some(*value)
    };
    let (p90, median) = (at(9), at(5));
    Sums {
        warm: warm.iter().sum(),
        young,
        busiest: warm.iter().copied().fold(0.0, f64::max),
        p90,
        median,
    }
}

#[cfg(test)]
mod tests;
