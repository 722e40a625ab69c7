//! Where containers go, rule by rule.

use super::*;
use crate::planner::Exhausted;

fn changed<T>(value: T, change: impl FnOnce(&mut T)) -> T {
    let mut value = value;
    change(&mut value);
    value
}

fn id(name: &str) -> Option<InstanceId> {
    Some(InstanceId::trusted(name))
}

#[test]
fn the_tightest_machine_on_memory_and_cpu_together_is_taken() {
    let nodes = vec![
        node("roomy", 4000, 4000),
        node("tight", 900, 900),
        node("too-small", 400, 4000),
        node("too-slow", 4000, 100),
    ];
    assert_eq!(
        outline(&snapshot(nodes, vec![waiting("a.1", 500, 250)], vec![])),
        ["a.1 on tight"]
    );
    // Less memory is left on `dry`, yet much more CPU: `lean` is the better fit.
    let nodes = vec![
        node("dry", 1000, 8000),
        node("lean", 1400, 1000),
        node("whole", 8000, 8000),
    ];
    assert_eq!(
        outline(&snapshot(nodes, vec![waiting("a.1", 500, 250)], vec![])),
        ["a.1 on lean"]
    );
}

#[test]
fn ready_machines_come_before_those_on_their_way() {
    let arriving = changed(node("arriving", 600, 600), |node| {
        node.readiness = Readiness::Arriving
    });
    let snapshot = snapshot(
        vec![arriving, node("ready", 4000, 4000)],
        vec![waiting("a.1", 500, 250), waiting("b.1", 3800, 250)],
        vec![],
    );
    assert_eq!(
        outline(&snapshot),
        ["a.1 on arriving", "b.1 on ready"],
        "both are served, though a.1 alone would go on the ready one"
    );
    let alone = Snapshot {
        waiting: vec![snapshot.waiting[0].clone()],
        ..snapshot
    };
    assert_eq!(outline(&alone), ["a.1 on ready"]);
}

#[test]
fn a_machine_whose_agent_has_gone_is_taken_last_and_before_one_is_rented() {
    let silent = changed(node("silent", 600, 600), |node| {
        node.readiness = Readiness::Silent
    });
    let arriving = changed(node("arriving", 4000, 4000), |node| {
        node.readiness = Readiness::Arriving
    });
    let nodes = |number| {
        [silent.clone(), arriving.clone(), node("ready", 4000, 4000)]
            .into_iter()
            .take(number)
            .collect()
    };
    let small = vec![offer("small", 600, 600, 1)];
    for (number, place) in [(3, "ready"), (2, "arriving"), (1, "silent")] {
        let snapshot = snapshot(nodes(number), vec![waiting("a.1", 500, 250)], small.clone());
        assert_eq!(outline(&snapshot), [format!("a.1 on {place}")]);
    }
}

#[test]
fn a_machine_that_has_run_out_of_something_takes_only_what_is_bound_there() {
    let full = changed(node("full", 4000, 4000), |node| {
        node.exhausted = Some(Exhausted::Disk)
    });
    let bound = Waiting {
        bound_to: Some(full.instance.clone()),
        ..waiting("b.1", 500, 250)
    };
    let both = vec![waiting("a.1", 500, 250), bound];
    assert_eq!(
        outline(&snapshot(vec![full], both, vec![])),
        ["a.1 waits", "b.1 on full"]
    );
}

#[test]
fn copies_go_apart_where_that_costs_no_machine() {
    let copies = vec![
        waiting("a.1", 500, 250),
        waiting("a.2", 500, 250),
        waiting("a.3", 500, 250),
    ];
    let nodes = vec![
        node("n1", 4000, 4000),
        changed(node("n2", 4000, 4000), |node| {
            node.services = BTreeMap::from([(ServiceName::trusted("a"), 1)])
        }),
        node("n3", 4000, 4000),
    ];
    assert_eq!(
        outline(&snapshot(nodes, copies.clone(), vec![])),
        ["a.1 on n1", "a.2 on n3", "a.3 on n1"]
    );
    // Together they fit on what is there; apart, one would need a machine of its own.
    let nodes = vec![node("n1", 1500, 4000), node("n2", 400, 4000)];
    assert_eq!(
        outline(&snapshot(
            nodes,
            copies.clone(),
            vec![offer("small", 900, 1000, 5)]
        )),
        ["a.1 on n1", "a.2 on n1", "a.3 on n1"]
    );
    // Two machines must be rented for two services of three: no machine need hold three of one.
    let both: Vec<_> = copies
        .into_iter()
        .chain(["b.1", "b.2", "b.3"].map(|name| waiting(name, 500, 250)))
        .collect();
    let steps = outline(&snapshot(
        vec![],
        both,
        vec![offer("medium", 1500, 2000, 5)],
    ));
    assert_eq!(
        steps,
        [
            "rent medium for a.1, a.2, b.1",
            "rent medium for a.3, b.2, b.3"
        ]
    );
}

#[test]
fn copies_with_one_host_port_never_share_a_machine() {
    let copies = ["a.1", "a.2", "a.3"].map(|name| {
        changed(waiting(name, 100, 100), |container| {
            container.ports = tcp(&[80])
        })
    });
    let steps = outline(&snapshot(
        vec![node("n1", 4000, 4000)],
        copies.to_vec(),
        vec![offer("large", 4000, 4000, 50), offer("small", 500, 500, 10)],
    ));
    assert_eq!(
        steps,
        ["a.1 on n1", "rent small for a.2", "rent small for a.3"]
    );
    let udp = changed(waiting("b.1", 100, 100), |container| {
        container.ports = BTreeSet::from([(80, Protocol::Udp)])
    });
    let taken = changed(node("n1", 4000, 4000), |node| node.ports = tcp(&[80]));
    assert_eq!(
        outline(&snapshot(vec![taken], vec![udp, copies[0].clone()], vec![])),
        ["b.1 on n1", "a.1 waits"]
    );
}

#[test]
fn bound_and_avoiding_containers_are_heeded() {
    let nodes = vec![node("n1", 1000, 1000), node("n2", 2000, 2000)];
    let bound = changed(waiting("a.1", 900, 250), |container| {
        container.bound_to = id("n2")
    });
    let avoiding = changed(waiting("b.1", 900, 250), |container| {
        container.avoid = id("n1")
    });
    let other = waiting("c.1", 900, 250);
    assert_eq!(
        outline(&snapshot(
            nodes.clone(),
            vec![other, bound.clone(), avoiding],
            vec![]
        )),
        ["c.1 on n1", "a.1 on n2", "b.1 on n2"]
    );
    let both = changed(bound, |container| container.avoid = id("n2"));
    assert_eq!(
        outline(&snapshot(
            nodes,
            vec![both],
            vec![offer("large", 4000, 4000, 50)]
        )),
        ["a.1 waits"]
    );
}

#[test]
fn the_cheapest_machines_are_rented_and_the_fewest_of_those() {
    let containers: Vec<_> = (1..=6)
        .map(|number| waiting(&format!("s{number}.1"), 400, 250))
        .collect();
    let steps = |offers| outline(&snapshot(vec![], containers.clone(), offers));
    let (small, medium, huge) = (
        offer("small", 900, 1000, 10),
        offer("medium", 1900, 2000, 20),
        offer("huge", 64_000, 32_000, 500),
    );
    assert_eq!(
        steps(vec![small.clone(), medium.clone(), huge.clone()]).len(),
        2,
        "medium and small: 30, as cheap as three small ones and one machine less"
    );
    assert_eq!(
        steps(vec![small.clone(), huge.clone()]).len(),
        3,
        "three small ones are cheaper than one that is mostly empty"
    );
    let free = |offer: Offer| Offer {
        price: PricePerHour(0),
        ..offer
    };
    assert_eq!(
        steps(vec![free(small), free(medium), free(huge)]),
        ["rent huge for s1.1, s2.1, s3.1, s4.1, s5.1, s6.1"],
        "without prices, fewer machines"
    );
}

#[test]
fn a_larger_flavour_is_taken_where_the_limit_asks_for_fewer_machines() {
    let containers: Vec<_> = (1..=30)
        .map(|number| waiting(&format!("s{number}.1"), 400, 250))
        .collect();
    let mut snapshot = snapshot(
        vec![],
        containers,
        vec![
            offer("small", 900, 1000, 10),
            offer("huge", 64_000, 32_000, 500),
        ],
    );
    assert_eq!(rented(&snapshot, &snapshot.plan()), (150_000, 15));
    snapshot.limits = Limits {
        max_instances: Some(3),
        instances: 1,
        ..Limits::default()
    };
    assert_eq!(rented(&snapshot, &snapshot.plan()), (500_000, 1));
    snapshot.limits.max_price = Some(PricePerHour(100_000));
    let steps = outline(&snapshot);
    assert_eq!(
        steps.iter().filter(|step| step.ends_with("waits")).count(),
        26,
        "{steps:?}"
    );
    assert_eq!(
        steps[..2],
        ["rent small for s1.1, s2.1", "rent small for s3.1, s4.1"],
        "the head of the list is served"
    );
}

#[test]
fn the_head_of_the_list_is_not_starved_and_blocks_nobody() {
    let mut snapshot = snapshot(
        vec![node("n1", 1000, 4000)],
        vec![
            waiting("big.1", 900, 250),
            waiting("small.1", 200, 250),
            waiting("tiny.1", 100, 250),
        ],
        vec![],
    );
    assert_eq!(
        outline(&snapshot),
        ["big.1 on n1", "small.1 waits", "tiny.1 on n1"]
    );
    snapshot.waiting.swap(0, 1);
    assert_eq!(
        outline(&snapshot),
        ["small.1 on n1", "big.1 waits", "tiny.1 on n1"]
    );
    snapshot.waiting.insert(0, waiting("huge.1", 2000, 250));
    assert_eq!(
        outline(&snapshot),
        [
            "huge.1 waits",
            "small.1 on n1",
            "big.1 waits",
            "tiny.1 on n1"
        ]
    );
}

#[test]
fn nothing_waiting_is_nothing_to_do() {
    assert_eq!(
        snapshot(
            vec![node("n1", 1000, 1000)],
            vec![],
            vec![offer("small", 900, 1000, 10)]
        )
        .plan(),
        []
    );
}

#[test]
fn images_run_on_their_platforms() {
    let of = |tag: &str, architecture: &str| {
        changed(node(tag, 4000, 4000), |node| {
            node.platform = Some(Platform::new("linux", architecture))
        })
    };
    let made_for = |name: &str, architecture: &str| {
        changed(waiting(name, 100, 100), |container| {
            container.platforms = BTreeSet::from([Platform::new("linux", architecture)])
        })
    };
    let containers = vec![
        made_for("a.1", "aarch64"),
        made_for("b.1", "x86_64"),
        waiting("c.1", 3950, 100),
        made_for("d.1", "riscv64"),
    ];
    let nodes = vec![of("arm", "aarch64"), of("intel", "x86_64")];
    assert_eq!(
        outline(&snapshot(nodes, containers.clone(), vec![])),
        ["a.1 on arm", "b.1 on intel", "c.1 waits", "d.1 waits"]
    );
    let flavour = |name: &str, architecture: &str, price| Offer {
        platform: Some(Platform::new("linux", architecture)),
        ..offer(name, 4000, 4000, price)
    };
    let offers = vec![flavour("arm", "arm64", 5), flavour("intel", "amd64", 9)];
    assert_eq!(
        outline(&snapshot(vec![], containers, offers)),
        [
            "rent arm for a.1",
            "rent intel for b.1",
            "rent arm for c.1",
            "d.1 refused"
        ]
    );
}

#[test]
fn required_distance_rents_and_preferred_distance_does_not() {
    let copies = |apart| {
        [1, 2, 3].map(|number| {
            changed(waiting(&format!("a.{number}"), 100, 100), |container| {
                container.apart = apart
            })
        })
    };
    let there = changed(node("n1", 4000, 4000), |node| {
        node.services = BTreeMap::from([(ServiceName::trusted("a"), 1)])
    });
    let nodes = vec![there, node("n2", 4000, 4000)];
    let offers = vec![offer("small", 500, 500, 10)];
    let steps = |apart| {
        let waiting = copies(apart).to_vec();
        outline(&snapshot(nodes.clone(), waiting, offers.clone()))
    };
    assert_eq!(
        steps(AntiAffinity::Prefer),
        ["a.1 on n2", "a.2 on n2", "a.3 on n1"]
    );
    assert_eq!(
        steps(AntiAffinity::Require),
        ["a.1 on n2", "rent small for a.2", "rent small for a.3"]
    );
    // Many: the other algorithm.
    let many: Vec<_> = (0..20)
        .map(|number| {
            changed(waiting(&format!("a.{number}"), 10, 10), |container| {
                container.apart = AntiAffinity::Require
            })
        })
        .collect();
    let plan = snapshot(nodes, many, offers);
    assert_eq!(rented(&plan, &plan.plan()).1, 19);
}

#[test]
fn a_volume_has_one_writer_on_a_machine() {
    let writers = ["a.1", "a.2"].map(|name| {
        changed(waiting(name, 100, 100), |container| {
            container.volumes = BTreeSet::from(["data".to_owned()])
        })
    });
    let taken = changed(node("n1", 4000, 4000), |node| {
        node.volumes = BTreeSet::from(["data".to_owned()])
    });
    let nodes = vec![taken, node("n2", 4000, 4000)];
    assert_eq!(
        outline(&snapshot(nodes, writers.to_vec(), vec![])),
        ["a.1 on n2", "a.2 waits"]
    );
}

/// Each published port costs its machine memory for the engine's proxies, also one that the engine
/// chooses.
#[test]
fn ports_cost_more_than_the_reservation_of_their_container() {
    let publishing = |name: &str, published| Waiting {
        published,
        ..waiting(name, 8, 1)
    };
    let outline_of = |waiting| outline(&snapshot(vec![node("n1", 100, 1000)], waiting, vec![]));
    // The reserve pays for most of them: 1024 MiB without 96 for the engine and 5 for a container.
    let many = publishing("a.1", 500);
    assert_eq!(outline_of(vec![many.clone()]), ["a.1 on n1"]);
    assert_eq!(
        outline_of(vec![many, publishing("b.1", 20)]),
        ["a.1 on n1", "b.1 waits"]
    );
    let too_many = publishing("a.1", 600);
    let plan = snapshot(vec![node("n1", 100, 1000)], vec![too_many], vec![]);
    let [Step::Wait { reason, .. }] = &plan.plan()[..] else {
        panic!("it has no place");
    };
    assert!(
        reason.starts_with("needs 8 MiB and 1200 MiB for 600 ports: n1 has 0 B left"),
        "{reason}"
    );
}

/// Three hundred containers of 8 MiB on machines of 2 GiB: beside its reservation, each costs its
/// machine as much again.
#[test]
fn containers_cost_more_than_their_reservation() {
    let containers: Vec<_> = (1..=300)
        .map(|number| waiting(&format!("a.{number}"), 8, 1))
        .collect();
    let flavour = Offer {
        size: amount(2048, 2000),
        reserve: MemoryBytes::mib(128),
        ..offer("small", 0, 0, 10)
    };
    let plan = snapshot(vec![], containers, vec![flavour]);
    let steps = plan.plan();
    // (2048 - 96) / (8 + 5) = 150 on each.
    assert_eq!(rented(&plan, &steps).1, 2);
    let full = changed(node("n1", 60_000, 60_000), |node| node.containers = 249);
    let two = vec![waiting("b.1", 1, 1), waiting("b.2", 1, 1)];
    assert_eq!(
        outline(&snapshot(vec![full], two, vec![])),
        ["b.1 on n1", "b.2 waits"]
    );
}
