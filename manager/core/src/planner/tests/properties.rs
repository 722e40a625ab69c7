//! What must hold of every plan for every snapshot.

use super::*;
use proptest::prelude::*;

const LOCATIONS: [&str; 3] = ["application", "database", "cache"];
const STATES: [Readiness; 6] = [
    Readiness::Ready,
    Readiness::Ready,
    Readiness::Arriving,
    Readiness::Silent,
    Readiness::Draining,
    Readiness::Down,
];

fn ports() -> impl Strategy<Value = BTreeSet<HostPort>> {
    prop_oneof![4 => Just(BTreeSet::new()), 1 => proptest::collection::btree_set(80..84_u16, 1..3).prop_map(|ports| tcp(&ports.into_iter().collect::<Vec<_>>()))]
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let node_of = |(location, state, mib, millis, used, ports): (
        usize,
        usize,
        u64,
        u64,
        u64,
        BTreeSet<HostPort>,
    )| Node {
        location: Location::trusted(LOCATIONS[location]),
        readiness: STATES[state],
        reserved: amount(mib * used / 100, millis * used / 100),
        ports,
        services: BTreeMap::from([(ServiceName::trusted(format!("s{}", used % 4)), 1)]),
        ..node("n", mib, millis)
    };
    let node = (
        0..3_usize,
        0..5_usize,
        500..4000_u64,
        500..4000_u64,
        0..130_u64,
        ports(),
    )
        .prop_map(node_of);
    proptest::collection::vec(node, 0..12).prop_map(|mut nodes| {
        for (number, node) in nodes.iter_mut().enumerate() {
            node.instance = InstanceId::trusted(format!("i{number}"));
            node.tag = Tag::trusted(format!("n{number}"));
        }
        nodes
    })
}

fn queue() -> impl Strategy<Value = Vec<Waiting>> {
    let instance = || {
        proptest::option::weighted(
            0.1,
            (0..14_u8).prop_map(|number| InstanceId::trusted(format!("i{number}"))),
        )
    };
    let container = (
        0..4_u8,
        0..3_usize,
        prop_oneof![
            Just((256, 250)),
            Just((512, 100)),
            (1..3000_u64, 1..3000_u64)
        ],
        ports(),
        instance(),
        instance(),
    );
    proptest::collection::vec(container, 0..40).prop_map(|all| {
        let container = |(number, (service, location, (mib, millis), ports, bound_to, avoid)): (
            usize,
            (u8, usize, (u64, u64), _, _, _),
        )| Waiting {
            location: Location::trusted(LOCATIONS[location]),
            ports,
            bound_to,
            avoid,
            ..waiting(&format!("s{service}.{number}"), mib, millis)
        };
        all.into_iter().enumerate().map(container).collect()
    })
}

fn offers() -> impl Strategy<Value = Vec<Offer>> {
    let offer_of = |(mib, millis, price, available): (u64, u64, u64, bool)| Offer {
        unavailable: (!available).then(|| "quota exceeded".to_owned()),
        ..offer("f", mib, millis, price)
    };
    let flavour = (
        400..5000_u64,
        400..5000_u64,
        0..100_u64,
        proptest::bool::weighted(0.8),
    )
        .prop_map(offer_of);
    proptest::collection::vec(flavour, 0..5).prop_map(|mut offers| {
        offers
            .iter_mut()
            .enumerate()
            .for_each(|(number, offer)| offer.flavour = FlavourName::trusted(format!("f{number}")));
        offers
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    (
        proptest::option::of(0..12_u32),
        0..8_u32,
        proptest::option::of(0..500_000_u64),
        0..200_000_u64,
    )
        .prop_map(|(max_instances, instances, max_price, price)| Limits {
            max_instances,
            instances,
            max_price: max_price.map(PricePerHour),
            price: PricePerHour(price),
        })
}

fn snapshots() -> impl Strategy<Value = Snapshot> {
    (nodes(), queue(), offers(), limits()).prop_map(|(nodes, waiting, offers, limits)| Snapshot {
        nodes,
        waiting,
        offers,
        limits,
    })
}

/// A machine with what the plan puts on it.
struct After {
    location: Location,
    instance: Option<InstanceId>,
    open: bool,
    room: Resources,
    ports: BTreeSet<HostPort>,
}

impl After {
    /// Why it may not take this container, if so.
    fn refuses(&self, container: &Waiting) -> Option<&'static str> {
        if !self.open {
            Some("the machine is not open")
        } else if self.location != container.location {
            Some("the location is wrong")
        } else if container.bound_to.is_some() && container.bound_to != self.instance {
            Some("its volume is elsewhere")
        } else if container.avoid.is_some() && container.avoid == self.instance {
            Some("it leaves this machine")
        } else if !self.ports.is_disjoint(&container.ports) {
            Some("a port is doubled")
        } else if !container.needs.fits_in(&self.room) {
            Some("more is reserved than there is")
        } else {
            None
        }
    }

    fn take(&mut self, container: &Waiting) {
        assert_eq!(self.refuses(container), None, "{container:?}");
        self.room = self.room.saturating_sub(container.needs);
        self.ports.extend(&container.ports);
    }
}

/// Carries a plan out, checking every step, and gives the machines after it.
fn carry_out(snapshot: &Snapshot, steps: &[Step]) -> Vec<After> {
    let container = |name: &ContainerName| {
        snapshot
            .waiting
            .iter()
            .find(|waiting| waiting.container == *name)
            .expect("a container that waits")
    };
    let mut machines: Vec<After> = snapshot
        .nodes
        .iter()
        .map(|node| After {
            location: node.location.clone(),
            instance: Some(node.instance.clone()),
            open: node.readiness.is_open(),
            room: node.capacity().saturating_sub(node.reserved),
            ports: node.ports.clone(),
        })
        .collect();
    for step in steps {
        match step {
            Step::Place {
                container: name,
                instance,
                ..
            } => {
                machines
                    .iter_mut()
                    .find(|machine| machine.instance.as_ref() == Some(instance))
                    .expect("a machine that is there")
                    .take(container(name));
            }
            Step::Rent {
                flavour,
                location,
                containers,
                ..
            } => {
                let offer = snapshot
                    .offers
                    .iter()
                    .find(|offer| offer.flavour == *flavour)
                    .expect("an offer");
                assert_eq!(offer.unavailable, None, "rented what cannot be had");
                assert!(!containers.is_empty(), "rented for nobody");
                let mut machine = After {
                    location: location.clone(),
                    instance: None,
                    open: true,
                    room: offer.capacity(),
                    ports: BTreeSet::new(),
                };
                containers
                    .iter()
                    .for_each(|name| machine.take(container(name)));
                machines.push(machine);
            }
            Step::Wait { .. } | Step::Refuse { .. } => {}
        }
    }
    machines
}

fn within_limits(snapshot: &Snapshot, (price, machines): (u64, u32)) -> bool {
    let Limits {
        max_instances,
        instances,
        max_price,
        price: spent,
    } = &snapshot.limits;
    max_instances.is_none_or(|max| machines == 0 || instances + machines <= max)
        && max_price.is_none_or(|max| price == 0 || spent.0 + price <= max.0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_where_it_may_not_be_and_limits_are_kept(snapshot in snapshots()) {
        let steps = snapshot.plan();
        carry_out(&snapshot, &steps);
        prop_assert!(within_limits(&snapshot, rented(&snapshot, &steps)));
    }

    #[test]
    fn everybody_is_in_exactly_one_step_in_order_of_the_list(snapshot in snapshots()) {
        let mut seen = BTreeMap::new();
        let mut heads = Vec::new();
        for step in snapshot.plan() {
            let containers = match step {
                Step::Place { container, .. } | Step::Wait { container, .. } | Step::Refuse { container, .. } => vec![container],
                Step::Rent { containers, .. } => containers,
            };
            let position = |name: &ContainerName| snapshot.waiting.iter().position(|waiting| waiting.container == *name);
            prop_assert!(containers.is_sorted_by_key(position));
            heads.push(containers.first().and_then(position));
            containers.into_iter().for_each(|container| *seen.entry(container).or_insert(0) += 1);
        }
        prop_assert!(heads.is_sorted());
        prop_assert_eq!(seen, snapshot.waiting.iter().map(|waiting| (waiting.container.clone(), 1)).collect());
    }

    #[test]
    fn the_same_snapshot_gives_the_same_plan(snapshot in snapshots()) {
        prop_assert_eq!(snapshot.plan(), snapshot.clone().plan());
    }

    #[test]
    fn nobody_waits_who_could_be_served(snapshot in snapshots()) {
        let steps = snapshot.plan();
        let machines = carry_out(&snapshot, &steps);
        let (price, count) = rented(&snapshot, &steps);
        for step in &steps {
            let Step::Wait { container, .. } = step else { continue };
            let waiting = snapshot.waiting.iter().find(|waiting| waiting.container == *container).expect("a container that waits");
            prop_assert!(machines.iter().all(|machine| machine.refuses(waiting).is_some()), "{} has room somewhere", container);
            let rentable = |offer: &&Offer| {
                offer.unavailable.is_none() && waiting.needs.fits_in(&offer.capacity()) && within_limits(&snapshot, (price + offer.price.0, count + 1))
            };
            prop_assert!(waiting.bound_to.is_some() || !snapshot.offers.iter().any(|offer| rentable(&offer)), "a machine could be rented for {}", container);
        }
    }

    #[test]
    fn only_what_could_never_be_served_is_refused(snapshot in snapshots()) {
        for step in snapshot.plan() {
            let (name, refused) = match step {
                Step::Refuse { container, .. } => (container, true),
                Step::Place { container, .. } | Step::Wait { container, .. } => (container, false),
                Step::Rent { .. } => continue,
            };
            let waiting = snapshot.waiting.iter().find(|waiting| waiting.container == name).expect("a container that waits");
            let large_enough = snapshot.offers.iter().any(|offer| waiting.needs.fits_in(&offer.capacity()))
                || snapshot.nodes.iter().any(|node| node.location == waiting.location && waiting.needs.fits_in(&node.capacity()));
            prop_assert_eq!(refused, !large_enough && !snapshot.offers.is_empty() && waiting.bound_to.is_none());
        }
    }
}
