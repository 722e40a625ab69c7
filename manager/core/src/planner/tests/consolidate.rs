//! Machines that could be returned together, and places of containers that leave.

use super::*;
use crate::planner::{Consolidation, Spare, is_worth, plan_moves, spare};

/// A machine with containers of these services, of 256 MiB and a quarter of a core each.
fn holding(tag: &str, mib: u64, services: &[(&str, u32)]) -> Node {
    let containers: u32 = services.iter().map(|(_, count)| count).sum();
    let (mib_each, millis_each) = (256, 250);
    Node {
        reserved: amount(
            mib_each * u64::from(containers),
            millis_each * u64::from(containers),
        ),
        containers,
        services: services
            .iter()
            .map(|(name, count)| (ServiceName::trusted(*name), *count))
            .collect(),
        ..node(tag, mib, 8000)
    }
}

fn pool(nodes: Vec<Node>) -> Pool {
    let mut pool = Pool::default();
    nodes.into_iter().for_each(|node| pool.put(node));
    pool
}

/// Tags of the machines that can go together, asked about in this order. Every service has one ask.
fn returnable(nodes: &[Node], order: &[&str]) -> Vec<String> {
    let mut names: Vec<&ServiceName> = nodes.iter().flat_map(|it| it.services.keys()).collect();
    names.sort();
    names.dedup();
    let asks: Vec<Waiting> = names
        .iter()
        .map(|name| waiting(&format!("{name}.new"), 256, 250))
        .collect();
    let spread: Vec<u32> = names
        .iter()
        .map(|name| {
            let on = nodes.iter().filter(|it| it.services.contains_key(*name));
            u32::try_from(on.count()).expect("few")
        })
        .collect();
    let machines: Vec<Spare> = order
        .iter()
        .map(|tag| {
            let node = nodes.iter().find(|it| it.tag.as_str() == *tag);
            let services = &node.expect("it is there").services;
            let ask = |name| names.iter().position(|it| *it == name).expect("it has one");
            let holds = services.iter();
            Spare {
                instance: InstanceId::trusted(*tag),
                holds: holds
                    .map(|(name, count)| (ask(name), *count as usize))
                    .collect(),
            }
        })
        .collect();
    let mut pool = pool(nodes.to_vec());
    let before: Vec<Node> = pool.nodes().cloned().collect();
    let chosen = spare(
        &mut pool,
        &Consolidation {
            offers: &[],
            asks: &asks,
            spread: &spread,
            closed: &[],
            machines: &machines,
            kept_free: None,
        },
    );
    assert!(pool.nodes().eq(&before), "the pool is as before");
    chosen.into_iter().map(|at| order[at].to_owned()).collect()
}

#[test]
fn two_candidates_do_not_count_on_one_room() {
    let nodes = [
        holding("n1", 1024, &[("a", 1)]),
        holding("n2", 1024, &[("b", 1)]),
        // Room for one more.
        holding("n3", 1024, &[("c", 3)]),
    ];
    // n1 goes to n3. Then n2 has no room left to go to.
    assert_eq!(returnable(&nodes, &["n1", "n2"]), ["n1"]);
    assert_eq!(returnable(&nodes, &["n2", "n1"]), ["n2"]);
}

#[test]
fn a_machine_that_receives_a_container_stays() {
    let nodes = [
        holding("n1", 1024, &[("a", 1)]),
        holding("n2", 1024, &[("b", 1)]),
    ];
    assert_eq!(returnable(&nodes, &["n1", "n2"]), ["n1"]);
}

#[test]
fn one_that_cannot_go_does_not_hold_up_the_next() {
    let nodes = [
        holding("n1", 1024, &[("a", 2)]),
        holding("n2", 512, &[]),
        holding("n3", 1024, &[("b", 4)]),
    ];
    assert_eq!(returnable(&nodes, &["n1", "n2"]), ["n1"], "a goes to n2");
    let full = [
        holding("n1", 1024, &[("a", 3)]),
        holding("n2", 512, &[]),
        holding("n3", 1024, &[("b", 4)]),
    ];
    assert_eq!(returnable(&full, &["n1", "n2"]), ["n2"]);
}

#[test]
fn a_service_on_two_machines_is_not_pressed_onto_one() {
    let nodes = [
        holding("n1", 1024, &[("a", 1)]),
        holding("n2", 1024, &[("a", 1)]),
    ];
    assert_eq!(returnable(&nodes, &["n1"]), [] as [&str; 0]);
    let third = [nodes.as_slice(), &[holding("n3", 512, &[("b", 1)])]].concat();
    // Best fit would be n3, which is a second machine for it.
    assert_eq!(returnable(&third, &["n1"]), ["n1"]);
}

/// Machines that are closed, or not up yet, are no room for what another machine holds.
#[test]
fn remaining_all_closed() {
    let left = |readiness| {
        let n2 = Node {
            readiness,
            ..node("n2", 1024, 8000)
        };
        returnable(&[holding("n1", 1024, &[("a", 1)]), n2], &["n1"])
    };
    for closed in [
        Readiness::Arriving,
        Readiness::Silent,
        Readiness::Leaving,
        Readiness::Draining,
        Readiness::Down,
    ] {
        assert!(left(closed).is_empty(), "{closed:?}");
    }
    assert_eq!(left(Readiness::Ready), ["n1"]);
}

#[test]
fn a_return_must_save_enough_for_what_it_moves() {
    // Four machines at one price hold four containers: one of them has all.
    assert!(is_worth(0.25, 1.0 / 8.0));
    assert!(!is_worth(0.25, 5.0 / 8.0));
}

#[test]
fn room_is_found_where_a_drain_can_be_cancelled_before_a_machine_is_rented() {
    let leaving = Node {
        readiness: Readiness::Leaving,
        ..node("n1", 512, 8000)
    };
    let offers = vec![offer("small", 512, 8000, 10)];
    let asked = snapshot(
        vec![leaving.clone(), node("n2", 256, 8000)],
        vec![waiting("a.1", 256, 250), waiting("b.1", 256, 250)],
        offers,
    );
    assert_eq!(outline(&asked), ["a.1 on n2", "b.1 on n1"]);
}

#[test]
fn what_leaves_goes_to_no_machine_that_leaves_and_rents_none() {
    let leaving = Node {
        readiness: Readiness::Leaving,
        ..holding("n1", 512, &[("a", 1)])
    };
    let nodes = vec![leaving, node("n2", 512, 8000), node("n3", 512, 8000)];
    let mut pool = pool(nodes);
    let moving = [Waiting {
        avoid: Some(InstanceId::trusted("n1")),
        ..waiting("a.1", 256, 250)
    }];
    let offers = [offer("small", 512, 8000, 10)];
    let closed = ["n1", "n2"].map(InstanceId::trusted);
    let steps = plan_moves(&mut pool, &moving, &offers, &closed);
    assert!(
        matches!(&steps[..], [Step::Place { instance, .. }] if instance.as_ref() == "n3"),
        "{steps:?}"
    );
    let closed = ["n1", "n2", "n3"].map(InstanceId::trusted);
    let steps = plan_moves(&mut pool, &moving, &offers, &closed);
    assert!(matches!(&steps[..], [Step::Wait { .. }]), "{steps:?}");
}
