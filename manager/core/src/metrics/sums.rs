//! Load of one service: the use of its copies, summed into a frame for the scaling.

use crate::{
    control::{ScaledService, ServiceLoad},
    scaling::{Ceiling, Frame, Sums, is_saturated},
};
use micado_api::{ContainerUsage, Timestamp};
use std::{collections::HashMap, time::Duration};

/// Age from which on the use of a copy is no start-up work any more.
const WARM_UP: Duration = Duration::from_secs(30);

/// CPU below this share of what a copy carries is no work.
const QUIET_SHARE: f64 = 0.05;

/// Time without work after which a copy is quiet.
const QUIET_FOR: Duration = Duration::from_secs(30);

/// Billionths of a core in a core.
const NANO: f64 = 1e9;

/// Current metrics of one copy and its machine.
#[derive(Debug, Clone)]
pub struct Sample {
    pub usage: ContainerUsage,
    /// Busy share of its machine, 0 to 1.
    pub machine_busy: Option<f64>,
}

/// Age and last work of a copy.
#[derive(Debug, Clone, Copy)]
struct Seen {
    first_at: Timestamp,
    worked_at: Timestamp,
    /// Number of the last frame with it.
    frame: u64,
}

/// Sums frames, and remembers the age of each copy: since its first sample, by this clock.
#[derive(Debug, Clone, Default)]
pub struct Summing {
    seen: HashMap<String, Seen>,
    frame: u64,
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
    /// Sums the loads of one moment. `sample` returns the metrics of a Swarm service on its
    /// machine, if they are fresh.
    pub fn sum(
        &mut self,
        now: Timestamp,
        interval: Duration,
        services: &[ScaledService],
        mut sample: impl FnMut(&(String, micado_api::InstanceId)) -> Option<Sample>,
    ) -> Vec<ServiceLoad> {
        self.frame += 1;
        let interval_ms = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
        let loads = services
            .iter()
            .map(|service| self.load(now, interval_ms, service, &mut sample))
            .collect();
        let frame = self.frame;
        self.seen.retain(|_, seen| seen.frame == frame);
        loads
    }

    fn load(
        &mut self,
        now: Timestamp,
        interval_ms: u32,
        service: &ScaledService,
        sample: &mut impl FnMut(&(String, micado_api::InstanceId)) -> Option<Sample>,
    ) -> ServiceLoad {
        let mut load = ServiceLoad {
            frame: Frame {
                at: now,
                interval_ms,
                ..Frame::default()
            },
            ..ServiceLoad::default()
        };
        let mut values = Values::default();
        for copy in &service.copies {
            let measured = sample(copy).filter(|sample| sample.usage.cpu.is_some());
            let Some(measured) = measured else {
                // Its age and work stay known through a short gap.
                if let Some(seen) = self.seen.get_mut(&copy.0) {
                    seen.frame = self.frame;
                    seen.worked_at = now;
                }
                load.blind.push(copy.0.clone());
                continue;
            };
            let seen = self.see(now, &copy.0, &measured, service);
            if now.since(seen.first_at) < WARM_UP {
                values.add_young(service, &measured);
                load.frame.copies.young += 1;
                continue;
            }
            load.frame.copies.warm += 1;
            values.add_warm(service, &measured, &mut load.frame);
            if now.since(seen.worked_at) >= QUIET_FOR {
                load.frame.quiet += 1;
                if service.only_quiet {
                    load.quiet.push(copy.0.clone());
                }
            }
        }
        values.finish(&mut load.frame);
        load
    }

    /// Notes the first sample and the last work of a copy.
    fn see(&mut self, now: Timestamp, name: &str, sample: &Sample, of: &ScaledService) -> Seen {
        let usage = &sample.usage;
        let works = cores(usage) >= QUIET_SHARE * of.cpu_share.unwrap_or(of.cpu)
            || usage.received > 0
            || usage.sent > 0;
        let fresh = Seen {
            first_at: now,
            worked_at: now,
            frame: self.frame,
        };
        let seen = match self.seen.get_mut(name) {
            Some(seen) => seen,
            None => self.seen.entry(name.to_owned()).or_insert(fresh),
        };
        seen.frame = self.frame;
        if works {
            seen.worked_at = now;
        }
        *seen
    }
}

fn cores(usage: &ContainerUsage) -> f64 {
    usage.cpu.unwrap_or_default().0 as f64 / NANO
}

impl Values {
    fn add_young(&mut self, service: &ScaledService, sample: &Sample) {
        let cut = |used: f64, share: Option<f64>| share.map_or(used, |share| used.min(share));
        self.young_cpu += cut(cores(&sample.usage), service.cpu_share);
        self.young_memory += cut(sample.usage.memory.0 as f64, service.memory_share);
        self.note_machine(sample);
    }

    fn add_warm(&mut self, service: &ScaledService, sample: &Sample, frame: &mut Frame) {
        let usage = &sample.usage;
        let (cpu, memory) = (cores(usage), usage.memory.0 as f64);
        self.cpu.push(cpu);
        self.memory.push(memory);
        self.note_machine(sample);
        let ceiling = Ceiling {
            cpu,
            reservation: service.cpu,
            machine_busy: sample.machine_busy.unwrap_or(0.0),
            cpu_pressure: usage.cpu_pressure.map(|share| f64::from(share.0) / 100.0),
            memory_share: memory / service.memory.max(1.0),
            ..Ceiling::default()
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

    fn note_machine(&mut self, sample: &Sample) {
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
mod tests {
    use super::*;
    use micado_api::{
        Critical, Hundredths, InstanceId, MemoryBytes, NanoCpus, ServiceName, Timestamp,
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn service(copies: u32) -> ScaledService {
        let place = |number| (format!("c{number}"), InstanceId::trusted("i1"));
        ScaledService {
            service: ServiceName::trusted("acme_web"),
            cpu_share: Some(0.7),
            memory_share: None,
            cpu: 1.0,
            memory: 100.0,
            critical: Critical::default(),
            only_quiet: true,
            copies: (0..copies).map(place).collect(),
        }
    }

    fn sample(millis: u64) -> Sample {
        Sample {
            usage: ContainerUsage {
                memory: MemoryBytes(50),
                memory_peak: MemoryBytes(50),
                cpu: Some(NanoCpus::millis(millis)),
                cpu_peak: NanoCpus::millis(millis),
                ..ContainerUsage::default()
            },
            machine_busy: Some(0.5),
        }
    }

    /// Loads after the copies were seen for 30 s with this use.
    fn settled(service: &ScaledService, each: impl Fn(&str) -> Option<Sample>) -> ServiceLoad {
        let mut summing = Summing::default();
        let services = std::slice::from_ref(service);
        let mut last = Vec::new();
        for second in 0..=30 {
            let now = Timestamp(1_000 * second);
            last = summing.sum(now, SECOND, services, |(name, _)| {
                match (second, each(name)) {
                    (0, None) => None,
                    (_, sample) => sample,
                }
            });
        }
        last.remove(0)
    }

    #[test]
    fn warm_copies_are_summed_and_blind_ones_named() {
        let load = settled(&service(4), |name| match name {
            "c0" => None,
            "c1" => Some(sample(900)),
            _ => Some(sample(300)),
        });
        assert_eq!((load.frame.copies.warm, load.frame.copies.young), (3, 0));
        assert_eq!(load.blind, ["c0"]);
        let cpu = load.frame.cpu;
        assert!((cpu.warm - 1.5).abs() < 1e-9 && (cpu.busiest - 0.9).abs() < 1e-9);
        assert_eq!((cpu.median, cpu.p90), (Some(0.3), Some(0.9)));
        assert_eq!(load.frame.machines_busy, Some(0.5));
        assert_eq!(load.frame.quiet, 0);
    }

    #[test]
    fn a_young_copy_counts_up_to_its_share() {
        let mut summing = Summing::default();
        let services = [service(1)];
        let loads = summing.sum(Timestamp(0), SECOND, &services, |_| Some(sample(2_000)));
        assert_eq!(loads[0].frame.copies.young, 1);
        assert!((loads[0].frame.cpu.young - 0.7).abs() < 1e-9);
        assert!(loads[0].frame.cpu.warm.abs() < 1e-9);
    }

    #[test]
    fn copies_without_work_are_quiet_after_a_time() {
        let load = settled(&service(2), |name| {
            Some(sample(if name == "c0" { 10 } else { 500 }))
        });
        assert_eq!((load.frame.quiet, load.quiet), (1, vec!["c0".to_owned()]));
    }

    #[test]
    fn pressure_and_full_memory_are_saturation() {
        let load = settled(&service(3), |name| {
            let mut sample = sample(500);
            match name {
                "c0" => sample.usage.cpu_pressure = Some(Hundredths(2_500)),
                "c1" => sample.usage.memory = MemoryBytes(98),
                _ => {}
            }
            Some(sample)
        });
        assert_eq!(load.frame.saturated, 2);
    }

    #[test]
    fn removed_copies_are_forgotten() {
        let mut summing = Summing::default();
        summing.sum(Timestamp(0), SECOND, &[service(5)], |_| Some(sample(1)));
        summing.sum(Timestamp(1), SECOND, &[service(1)], |_| Some(sample(1)));
        assert_eq!(summing.seen.len(), 1);
    }
}
