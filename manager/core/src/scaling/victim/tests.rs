//! The order in which copies go.

use super::*;

fn on(machine: u32) -> Candidate {
    Candidate {
        machine: Some(machine),
        ..Candidate::default()
    }
}

fn hosts(containers: &[u32]) -> Vec<Host> {
    containers
        .iter()
        .map(|count| Host {
            containers: *count,
            ..Host::default()
        })
        .collect()
}

fn wish(count: u32) -> Wish {
    Wish {
        count,
        machines: 2,
        only_quiet: false,
    }
}

#[test]
fn the_machine_that_falls_empty_soonest_is_emptied_first() {
    let copies = [on(0), on(0), on(0), on(1), on(1), on(2)];
    // The third would leave a single machine, if it were the last of machine 1.
    assert_eq!(victims(&copies, &hosts(&[3, 2, 1]), wish(3)), [5, 3, 0]);
}

#[test]
fn two_machines_stay() {
    let copies = [on(0), on(0), on(0), on(1)];
    assert_eq!(victims(&copies, &hosts(&[3, 1]), wish(2)), [0, 1]);
    assert_eq!(
        victims(&copies, &hosts(&[3, 1]), wish(3)).len(),
        3,
        "one copy needs one machine"
    );
    let one = Wish {
        machines: 1,
        ..wish(2)
    };
    assert_eq!(victims(&copies, &hosts(&[3, 1]), one)[0], 3);
}

#[test]
fn useless_copies_go_first_and_protected_ones_never() {
    let waits = Candidate {
        is_useless: true,
        ..Candidate::default()
    };
    let kept = Candidate {
        is_protected: true,
        ..on(2)
    };
    let copies = [on(0), on(1), kept, waits];
    assert_eq!(victims(&copies, &hosts(&[2, 2, 1]), wish(1)), [3]);
    let gone = victims(&copies, &hosts(&[2, 2, 1]), wish(4));
    assert!(!gone.contains(&2), "{gone:?}");
}

#[test]
fn draining_dear_and_young_machines_come_before_others() {
    let copies = [on(0), on(1), on(2), on(3)];
    let host = |price, ordered_at, is_draining| Host {
        containers: 2,
        price,
        ordered_at,
        is_draining,
    };
    let hosts = [
        host(1.0, 5, false),
        host(1.0, 9, false),
        host(2.0, 1, false),
        host(1.0, 1, true),
    ];
    assert_eq!(victims(&copies, &hosts, wish(2)), [3, 2]);
    assert_eq!(victims(&copies[..2], &hosts, wish(1)), [1]);
}

#[test]
fn quiet_workers_go_and_busy_ones_stay() {
    let quiet = Candidate {
        is_quiet: true,
        ..on(1)
    };
    let copies = [on(0), on(0), quiet, on(1)];
    let only_quiet = Wish {
        only_quiet: true,
        ..wish(3)
    };
    assert_eq!(victims(&copies, &hosts(&[2, 2]), only_quiet), [2]);
}

#[test]
fn on_one_machine_the_idlest_goes() {
    let busy = Candidate { cpu: 0.9, ..on(0) };
    let serving = Candidate {
        in_flight: 3.0,
        ..on(0)
    };
    let copies = [busy, serving, on(0)];
    assert_eq!(victims(&copies, &hosts(&[3]), wish(3)), [2, 0, 1]);
}
