//! The order in which copies go.

use super::*;
use proptest::prelude::*;

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

/// The definition, one copy after the other.
fn one_by_one(copies: &[Candidate], hosts: &[Host], wish: Wish) -> Vec<usize> {
    let machines = |left: &[usize]| {
        let on = left.iter().filter_map(|at| copies[*at].machine);
        on.collect::<std::collections::BTreeSet<u32>>().len()
    };
    let mut hosts = hosts.to_vec();
    let mut left: Vec<usize> = (0..copies.len()).collect();
    let stay = copies.len().saturating_sub(wish.count as usize);
    let floor = stay.min(wish.machines as usize).min(machines(&left));
    let mut gone = Vec::new();
    for _ in 0..wish.count {
        let without = |at: usize| {
            left.iter()
                .copied()
                .filter(|it| *it != at)
                .collect::<Vec<_>>()
        };
        let may = left.iter().copied().filter(|at| {
            let copy = &copies[*at];
            let is_idle = !wish.only_quiet || copy.is_quiet || copy.is_useless;
            let leaves = copy.machine.is_none() || machines(&without(*at)) >= floor;
            !copy.is_protected && is_idle && leaves
        });
        let best = may.min_by_key(|at| {
            let copy = &copies[*at];
            let host = copy
                .machine
                .map(|machine| hosts[machine as usize])
                .unwrap_or_default();
            (
                (!copy.is_useless, !host.is_draining, host.containers),
                (
                    Reverse(host.price as u64),
                    Reverse(host.ordered_at),
                    copy.machine,
                ),
                (copy.in_flight as u64, (copy.cpu * 10.0) as u64),
                (Reverse(copy.started_at), *at),
            )
        });
        let Some(best) = best else { break };
        if let Some(machine) = copies[best].machine {
            let host = &mut hosts[machine as usize];
            host.containers = host.containers.saturating_sub(1);
        }
        left.retain(|at| *at != best);
        gone.push(best);
    }
    gone
}

proptest! {
    #[test]
    fn the_order_is_that_of_taking_one_by_one(
        copies in prop::collection::vec((0u32..5, 0u8..12, 0u64..3, 0u64..3), 0..14),
        hosts in prop::collection::vec((0u32..4, 1u64..3, 0u64..3, any::<bool>()), 4),
        count in 0u32..14,
        only_quiet in any::<bool>(),
    ) {
        let copies: Vec<Candidate> = copies
            .into_iter()
            .map(|(machine, bits, load, started_at)| Candidate {
                machine: (machine < 4).then_some(machine),
                is_useless: bits == 0,
                is_protected: bits == 1,
                is_quiet: bits % 3 == 0,
                in_flight: (load / 2) as f64,
                cpu: (load % 2) as f64 / 10.0,
                started_at,
            })
            .collect();
        let hosts: Vec<Host> = hosts
            .into_iter()
            .map(|(more, price, ordered_at, is_draining)| Host {
                containers: more + 1,
                price: price as f64,
                ordered_at,
                is_draining,
            })
            .collect();
        let wish = Wish { count, machines: 2, only_quiet };
        prop_assert_eq!(victims(&copies, &hosts, wish), one_by_one(&copies, &hosts, wish));
    }
}
