//! Targets of memory and requests, the busiest copy, and sleep.

use super::*;
use crate::scaling::frame::Copies;

const LOOK_BACK: u64 = 180_000;

struct Service {
    state: TargetState,
    policy: Target,
    at: u64,
}

impl Service {
    fn new(policy: Target) -> Self {
        Self {
            state: TargetState::default(),
            policy,
            at: 1_000_000,
        }
    }

    fn feed(&mut self, warm: u32, each: f64, busiest: f64) -> Wanted {
        self.at += 2_000;
        let sums = Sums {
            warm: each * f64::from(warm.max(1)),
            busiest,
            ..Sums::default()
        };
        let frame = Frame {
            at: Timestamp(self.at),
            interval_ms: 2_000,
            copies: Copies {
                warm,
                ..Copies::default()
            },
            cpu: sums,
            memory: sums,
            in_flight: Some(sums),
            ..Frame::default()
        };
        let limits = Limits {
            memory: 1_000.0,
            ..Limits::default()
        };
        self.state.check(&self.policy, &frame, &limits, LOOK_BACK)
    }

    fn soak(&mut self, warm: u32, each: f64, busiest: f64, seconds: u32) -> Wanted {
        (1..seconds / 2).for_each(|_| _ = self.feed(warm, each, busiest));
        self.feed(warm, each, busiest)
    }
}

fn count(wanted: Wanted) -> u32 {
    match wanted {
        Wanted::Count(count, _) => count,
        Wanted::Unknown(reason) => panic!("unknown: {reason}"),
    }
}

#[test]
fn memory_has_its_own_target() {
    let memory = Target {
        metric: Metric::Memory,
        ..Target::default()
    };
    let mut service = Service::new(memory);
    assert_eq!(count(service.soak(4, 780.0, 780.0, 120)), 4);
    // 4 * 950 bytes of 800 each.
    assert_eq!(count(service.soak(4, 950.0, 950.0, 60)), 5);
}

#[test]
fn the_busiest_copy_may_be_what_counts() {
    let busiest = Target {
        of: Of::Max,
        ..Target::default()
    };
    let mut service = Service::new(busiest);
    assert_eq!(count(service.soak(4, 0.3, 0.9, 60)), 6);
}

#[test]
fn an_uneven_load_does_not_shrink() {
    let mut service = Service::new(Target::default());
    let wanted = service.soak(10, 0.2, 0.6, 400);
    assert!(
        matches!(wanted, Wanted::Count(10, Cause::Busiest { count: 4, .. })),
        "{wanted:?}"
    );
    let mut even = Service::new(Target::default());
    assert_eq!(count(even.soak(10, 0.2, 0.25, 400)), 4);
}

#[test]
fn requests_wake_and_let_sleep() {
    let concurrency = Target {
        metric: Metric::Concurrency,
        target: Some(5.0),
        ..Target::default()
    };
    let mut service = Service::new(concurrency);
    assert_eq!(count(service.feed(0, 0.0, 0.0)), 0);
    assert_eq!(count(service.feed(0, 1.0, 0.0)), 1);
    service.soak(2, 4.0, 4.0, 60);
    // The last copy stays until there was no request for five minutes.
    assert_eq!(count(service.soak(2, 0.0, 0.0, 290)), 1);
    assert_eq!(count(service.soak(1, 0.0, 0.0, 20)), 0);
}

#[test]
fn without_the_proxy_requests_are_unknown() {
    let requests = Target {
        metric: Metric::Requests,
        target: Some(5.0),
        ..Target::default()
    };
    let mut service = Service::new(requests);
    assert_eq!(
        service.feed(2, 1.0, 1.0),
        Wanted::Unknown(Unknown::NoSource)
    );
}
