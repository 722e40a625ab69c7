//! The text of every reason.

use super::*;

/// The reason of the only step there should be.
fn reason(snapshot: &Snapshot) -> String {
    let reasons = reasons(snapshot);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    reasons.into_iter().next().unwrap_or_default()
}

fn with(node: Node, change: impl FnOnce(&mut Node)) -> Node {
    let mut node = node;
    change(&mut node);
    node
}

#[test]
fn each_machine_says_why_not_and_the_worst_comes_first() {
    let nodes = vec![
        with(node("db01", 4000, 4000), |node| {
            node.location = Location::trusted("database")
        }),
        with(node("application03", 4000, 4000), |node| {
            node.readiness = Readiness::Draining
        }),
        with(node("application02", 4000, 4000), |node| {
            node.reserved = amount(3600, 3900)
        }),
        with(node("application01", 4000, 4000), |node| {
            node.reserved = amount(3790, 0)
        }),
    ];
    let text = reason(&snapshot(nodes, vec![waiting("a.1", 600, 250)], vec![]));
    assert_eq!(
        text,
        "needs 600 MiB and 0.25 cores: application02 has 400 MiB and 0.1 cores left, application01 has 210 MiB left, application03 is draining, \
         db01 is location database; no flavour can be rented"
    );
}

#[test]
fn a_machine_that_has_run_out_of_something_says_so() {
    let full = with(node("application01", 4000, 4000), |node| {
        node.exhausted = Some(crate::planner::Exhausted::Disk)
    });
    assert_eq!(
        reason(&snapshot(
            vec![full],
            vec![waiting("a.1", 600, 250)],
            vec![]
        )),
        "needs 600 MiB: application01 has no disk space left; no flavour can be rented"
    );
}

#[test]
fn only_what_is_short_is_named() {
    let memory = with(node("application01", 1000, 4000), |node| {
        node.reserved = amount(790, 0)
    });
    let elsewhere = with(node("db01", 4000, 4000), |node| {
        node.location = Location::trusted("database")
    });
    let mut snapshot = snapshot(
        vec![elsewhere, memory],
        vec![waiting("a.1", 600, 250)],
        vec![],
    );
    assert_eq!(
        reason(&snapshot),
        "needs 600 MiB: application01 has 210 MiB left, db01 is location database; no flavour can be rented"
    );
    snapshot.nodes = vec![with(node("application01", 1000, 2000), |node| {
        node.reserved = amount(0, 1900)
    })];
    assert_eq!(
        reason(&snapshot),
        "needs 0.25 cores: application01 has 0.1 cores left; no flavour can be rented"
    );
}

#[test]
fn ports_leaving_and_down_are_said() {
    let nodes = vec![
        with(node("n1", 4000, 4000), |node| {
            node.ports = BTreeSet::from([(80, Protocol::Tcp), (53, Protocol::Udp)])
        }),
        node("n2", 4000, 4000),
        with(node("n3", 4000, 4000), |node| {
            node.readiness = Readiness::Down
        }),
    ];
    let mut container = waiting("a.1", 600, 250);
    container.ports = BTreeSet::from([
        (80, Protocol::Tcp),
        (53, Protocol::Udp),
        (81, Protocol::Tcp),
    ]);
    container.avoid = Some(InstanceId::trusted("n2"));
    let text = reason(&snapshot(nodes, vec![container], vec![]));
    assert_eq!(
        text,
        "needs port 53/udp and port 80: n1 has port 53/udp and port 80 taken, n2 is the one it leaves, n3 is down; no flavour can be rented"
    );
}

#[test]
fn many_machines_are_counted_not_named() {
    let nodes = (0..42)
        .map(|number| {
            with(node(&format!("n{number:02}"), 1000, 4000), |node| {
                node.reserved = amount(950 - number, 0)
            })
        })
        .collect();
    let text = reason(&snapshot(nodes, vec![waiting("a.1", 600, 250)], vec![]));
    assert_eq!(
        text,
        "needs 600 MiB: n00 has 50 MiB left, n01 has 51 MiB left, n02 has 52 MiB left, n03 has 53 MiB left, n04 has 54 MiB left and 37 more; \
         no flavour can be rented"
    );
}

#[test]
fn room_given_away_by_the_plan_is_not_left() {
    let lines = reasons(&snapshot(
        vec![node("n1", 1000, 4000)],
        vec![waiting("a.1", 600, 250), waiting("b.1", 600, 250)],
        vec![],
    ));
    assert_eq!(
        lines[1],
        "needs 600 MiB: n1 has 400 MiB left; no flavour can be rented"
    );
}

#[test]
fn too_large_for_everything_is_refused_with_the_largest_flavour() {
    let offers = vec![
        offer("small", 900, 1000, 10),
        offer("large", 1945, 2000, 20),
        offer("fast", 1000, 8000, 30),
    ];
    let mut snapshot = snapshot(vec![], vec![waiting("a.1", 9 * 1024, 1000)], offers);
    assert_eq!(
        reason(&snapshot),
        "needs 9 GiB: the largest flavour is large on local with 1945 MiB for containers"
    );
    snapshot.waiting[0].needs = amount(100, 9000);
    assert_eq!(
        reason(&snapshot),
        "needs 9 cores: the largest flavour is fast on local with 8 cores for containers"
    );
    snapshot.waiting[0].needs = amount(1500, 4000);
    assert_eq!(
        reason(&snapshot),
        "needs 4 cores: the largest flavour is large on local with 2 cores for containers"
    );
    assert_eq!(outline(&snapshot), ["a.1 refused"]);
}

#[test]
fn it_waits_for_a_machine_that_is_large_enough_when_no_flavour_is() {
    let full = with(node("big", 16_000, 8000), |node| {
        node.reserved = amount(10_000, 0)
    });
    let text = reason(&snapshot(
        vec![full],
        vec![waiting("a.1", 9 * 1024, 1000)],
        vec![offer("large", 1945, 2000, 20)],
    ));
    assert_eq!(
        text,
        "needs 9 GiB: big has 6000 MiB left; the largest flavour is large on local with 1945 MiB for containers"
    );
}

#[test]
fn without_flavours_it_waits() {
    let snapshot = snapshot(vec![], vec![waiting("a.1", 9 * 1024, 1000)], vec![]);
    assert_eq!(reason(&snapshot), "needs 9 GiB: no flavour can be rented");
    assert_eq!(outline(&snapshot), ["a.1 waits"]);
}

#[test]
fn limits_are_named() {
    let mut snapshot = snapshot(
        vec![],
        vec![waiting("a.1", 600, 250)],
        vec![
            offer("small", 900, 1000, 50),
            offer("large", 1900, 1000, 90),
        ],
    );
    snapshot.limits = Limits {
        max_instances: Some(10),
        instances: 10,
        ..Limits::default()
    };
    assert_eq!(
        reason(&snapshot),
        "needs 600 MiB: would need a machine: 10 of 10 instances are in use"
    );
    snapshot.limits = Limits {
        max_price: Some(PricePerHour(1_000_000)),
        price: PricePerHour(980_000),
        ..Limits::default()
    };
    assert_eq!(
        reason(&snapshot),
        "needs 600 MiB: would need a machine: small on local costs 0.0500 per hour, and 0.9800 of 1.0000 are in use, \
         large on local costs 0.0900 per hour, and 0.9800 of 1.0000 are in use"
    );
}

#[test]
fn limits_of_a_location_are_named_before_those_in_all() {
    let mut snapshot = snapshot(
        vec![],
        vec![waiting("a.1", 600, 250)],
        vec![offer("small", 900, 1000, 50)],
    );
    snapshot.limits = Limits {
        max_instances: Some(10),
        instances: 10,
        ..Limits::default()
    };
    let at = |limits| BTreeMap::from([(Location::default(), limits)]);
    snapshot.limits_at = at(Limits {
        max_instances: Some(2),
        instances: 2,
        ..Limits::default()
    });
    assert_eq!(
        reason(&snapshot),
        "needs 600 MiB: would need a machine: 2 of 2 instances for location application are in use"
    );
    snapshot.limits = Limits::default();
    snapshot.limits_at = at(Limits {
        max_price: Some(PricePerHour(100_000)),
        price: PricePerHour(60_000),
        ..Limits::default()
    });
    assert_eq!(
        reason(&snapshot),
        "needs 600 MiB: would need a machine: small on local costs 0.0500 per hour, and 0.0600 of 0.1000 \
         for location application are in use"
    );
    snapshot.waiting[0].location = Location::trusted("database");
    assert_eq!(outline(&snapshot), ["rent small for a.1"]);
}

#[test]
fn machines_rented_by_the_plan_count() {
    let containers = vec![waiting("a.1", 600, 250), waiting("a.2", 600, 250)];
    let mut snapshot = snapshot(vec![], containers, vec![offer("small", 900, 1000, 50)]);
    snapshot.limits = Limits {
        max_instances: Some(10),
        instances: 9,
        ..Limits::default()
    };
    assert_eq!(outline(&snapshot), ["rent small for a.1", "a.2 waits"]);
    assert_eq!(
        reasons(&snapshot)[1],
        "needs 600 MiB: would need a machine: 10 of 10 instances are in use"
    );
}

#[test]
fn a_flavour_that_cannot_be_had_says_why() {
    let unavailable = |name: &str, reason: &str| Offer {
        unavailable: Some(reason.to_owned()),
        ..offer(name, 900, 1000, 50)
    };
    let offers = vec![
        unavailable("small", "quota exceeded"),
        offer("tiny", 100, 1000, 10),
        unavailable("other", "no answer, next try in 5 s"),
    ];
    let snapshot = snapshot(vec![], vec![waiting("a.1", 600, 250)], offers);
    assert_eq!(
        reason(&snapshot),
        "needs 600 MiB: would need a machine: small on local cannot be had (quota exceeded), other on local cannot be had (no answer, next try in 5 s)"
    );
    assert_eq!(outline(&snapshot), ["a.1 waits"]);
}

#[test]
fn volumes_that_hold_a_container_are_named() {
    let mut container = waiting("a.1", 600, 250);
    container.bound_to = Some(InstanceId::trusted("i77"));
    let mut snapshot = snapshot(
        vec![node("n1", 4000, 4000)],
        vec![container],
        vec![offer("small", 900, 1000, 50)],
    );
    assert_eq!(
        reason(&snapshot),
        "its volume is on instance i77, which is gone"
    );
    snapshot.waiting[0].bound_to = Some(InstanceId::trusted("n1"));
    assert_eq!(
        reason(&snapshot),
        "its volume is there: n1 has 3400 MiB and 3.75 cores left then"
    );
    snapshot.nodes[0].reserved = amount(3790, 0);
    assert_eq!(
        reason(&snapshot),
        "needs 600 MiB where its volume is: n1 has 210 MiB left"
    );
    snapshot.nodes[0].readiness = Readiness::Draining;
    assert_eq!(
        reason(&snapshot),
        "needs 600 MiB where its volume is: n1 is draining"
    );
    assert_eq!(outline(&snapshot), ["a.1 waits"]);
}

#[test]
fn places_and_machines_say_why() {
    let mut snapshot = snapshot(
        vec![node("n1", 1000, 2000)],
        vec![waiting("a.1", 600, 250)],
        vec![],
    );
    assert_eq!(
        reason(&snapshot),
        "best fit: n1 has 400 MiB and 1.75 cores left then"
    );
    snapshot.nodes[0].readiness = Readiness::Arriving;
    assert_eq!(
        reason(&snapshot),
        "best fit among the machines on their way: n1 has 400 MiB and 1.75 cores left then"
    );
    snapshot.nodes.clear();
    snapshot.offers = vec![offer("small", 900, 1000, 50)];
    assert_eq!(
        reason(&snapshot),
        "no machine of location application has room for 1 container (600 MiB and 0.25 cores): small on local holds it for 0.0500 per hour"
    );
    snapshot.waiting.push(waiting("a.2", 300, 250));
    snapshot.offers[0].price = PricePerHour(0);
    assert_eq!(
        reason(&snapshot),
        "no machine of location application has room for 2 containers (900 MiB and 0.5 cores): small on local holds them"
    );
}

#[test]
fn platforms_distance_volumes_and_places_are_said() {
    let mut container = waiting("a.1", 600, 250);
    container.platforms = BTreeSet::from([Platform::new("linux", "arm64")]);
    container.volumes = BTreeSet::from(["data".to_owned()]);
    container.apart = AntiAffinity::Require;
    let nodes = vec![
        with(node("n1", 4000, 4000), |node| {
            node.platform = Some(Platform::new("linux", "amd64"))
        }),
        with(node("n2", 4000, 4000), |node| {
            node.services = BTreeMap::from([(ServiceName::trusted("a"), 1)])
        }),
        with(node("n3", 4000, 4000), |node| {
            node.volumes = BTreeSet::from(["data".to_owned()])
        }),
        with(node("n4", 8000, 8000), |node| node.containers = 250),
    ];
    assert_eq!(
        reason(&snapshot(nodes, vec![container.clone()], vec![])),
        "needs a machine of its own and volume data: n1 is linux/amd64, n2 has a container of its service, \
         n3 has volume data in use, n4 has 250 containers; no flavour can be rented"
    );
    let flavour = Offer {
        platform: Some(Platform::new("linux", "amd64")),
        ..offer("small", 4000, 4000, 10)
    };
    assert_eq!(
        reason(&snapshot(vec![], vec![container], vec![flavour])),
        "needs linux/arm64: flavour small is linux/amd64"
    );
}
