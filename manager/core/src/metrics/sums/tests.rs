//! Frames from the samples of copies.

use super::*;
use micado_api::{Critical, Hundredths, MemoryBytes, NanoCpus};

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
        warm_up: Span::seconds(30),
        copies: (0..copies).map(place).collect(),
    }
}

fn usage(millis: u64) -> ContainerUsage {
    ContainerUsage {
        memory: MemoryBytes(50),
        memory_peak: MemoryBytes(50),
        cpu: Some(NanoCpus::millis(millis)),
        cpu_peak: NanoCpus::millis(millis),
        ..ContainerUsage::default()
    }
}

/// A watch of one service, and its clock.
struct Watch {
    summing: Summing,
    number: u64,
    second: u64,
}

impl Watch {
    fn of(copies: u32) -> Self {
        let mut watch = Self {
            summing: Summing::default(),
            number: 0,
            second: 0,
        };
        watch.copies(copies);
        watch
    }

    fn copies(&mut self, copies: u32) {
        self.number += 1;
        let service = service(copies);
        assert!(self.summing.follow(ScaledChanges {
            version: Version::new(1, self.number),
            names: [service.service.clone()].into(),
            changed: vec![service],
        }));
    }

    fn frame(&mut self, each: impl Fn(&str) -> Option<ContainerUsage>) -> ServiceLoad {
        let names = (0..9).map(|number| format!("c{number}"));
        let usages: Vec<(String, ContainerUsage)> = names
            .filter_map(|name| each(&name).map(|usage| (name, usage)))
            .collect();
        let now = Timestamp(1_000 * self.second);
        self.second += 1;
        let machine = |_: &InstanceId| Some(InUse::new(Some(0.5), &usages));
        let mut loads = self.summing.sum(now, SECOND, machine);
        loads.remove(0).1
    }

    fn frames(
        &mut self,
        count: u32,
        each: impl Fn(&str) -> Option<ContainerUsage> + Copy,
    ) -> ServiceLoad {
        (1..count).for_each(|_| drop(self.frame(each)));
        self.frame(each)
    }
}

/// Loads after the copies were seen for 30 s with this use.
fn settled(copies: u32, each: impl Fn(&str) -> Option<ContainerUsage> + Copy) -> ServiceLoad {
    Watch::of(copies).frames(31, each)
}

#[test]
fn warm_copies_are_summed_and_blind_ones_named() {
    let load = settled(4, |name| match name {
        "c0" => None,
        "c1" => Some(usage(900)),
        _ => Some(usage(300)),
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
    let load = Watch::of(1).frame(|_| Some(usage(2_000)));
    assert_eq!(load.frame.copies.young, 1);
    assert!((load.frame.cpu.young - 0.7).abs() < 1e-9);
    assert!(load.frame.cpu.warm.abs() < 1e-9);
}

#[test]
fn copies_without_work_are_quiet_after_a_time() {
    let load = settled(2, |name| Some(usage(if name == "c0" { 10 } else { 500 })));
    assert_eq!((load.frame.quiet, load.quiet), (1, vec!["c0".to_owned()]));
}

#[test]
fn pressure_throttling_and_full_memory_are_saturation() {
    let load = settled(4, |name| {
        let mut usage = usage(500);
        match name {
            "c0" => usage.cpu_pressure = Some(Hundredths(2_500)),
            "c1" => usage.memory = MemoryBytes(98),
            "c2" => usage.throttled = Some(Hundredths(2_000)),
            _ => {}
        }
        Some(usage)
    });
    assert_eq!(load.frame.saturated, 3);
}

#[test]
fn an_oom_kill_is_saturation_for_a_time() {
    let mut watch = Watch::of(1);
    let killed = |times| {
        move |_: &str| {
            let oom_kills = times;
            Some(ContainerUsage {
                oom_kills,
                ..usage(500)
            })
        }
    };
    assert_eq!(
        watch.frames(31, killed(3)).frame.saturated,
        0,
        "before this watch"
    );
    assert_eq!(watch.frames(10, killed(4)).frame.saturated, 1);
    assert_eq!(watch.frame(killed(4)).frame.saturated, 0);
}

#[test]
fn removed_copies_are_forgotten_and_the_age_of_others_stays() {
    let mut watch = Watch::of(5);
    watch.frames(20, |_| Some(usage(1)));
    watch.copies(1);
    assert_eq!(
        watch
            .summing
            .services
            .values()
            .next()
            .map(|it| it.slots.len()),
        Some(1)
    );
    let load = watch.frames(11, |_| Some(usage(1)));
    assert_eq!(load.frame.copies.warm, 1);
    assert_eq!(watch.summing.machines().len(), 1);
}

#[test]
fn the_warm_up_of_a_new_copy_is_learned() {
    let mut watch = Watch::of(1);
    watch.frame(|_| Some(usage(100)));
    watch.copies(2);
    let begin = watch.second;
    let learned: Vec<Span> = (0..130)
        .flat_map(|_| {
            let burns = watch.second - begin < 12;
            let load = watch.frame(|_| Some(usage(if burns { 900 } else { 400 })));
            load.warm_ups
        })
        .collect();
    assert_eq!(
        learned,
        [Span::seconds(12)],
        "not of the copy that may be older"
    );
}
