//! What must hold of every plan for every snapshot.

use super::*;
use crate::planner::Exhausted;
use proptest::prelude::*;

const LOCATIONS: [&str; 3] = ["application", "database", "cache"];
const STATES: [Readiness; 7] = [
    Readiness::Ready,
    Readiness::Ready,
    Readiness::Arriving,
    Readiness::Silent,
    Readiness::Leaving,
    Readiness::Draining,
    Readiness::Down,
];

fn ports() -> impl Strategy<Value = BTreeSet<HostPort>> {
    prop_oneof![4 => Just(BTreeSet::new()), 1 => proptest::collection::btree_set(80..84_u16, 1..3).prop_map(|ports| tcp(&ports.into_iter().collect::<Vec<_>>()))]
}

fn platform() -> impl Strategy<Value = Platform> {
    prop_oneof![
        3 => Just(Platform::new("linux", "amd64")),
        1 => Just(Platform::new("linux", "arm64")),
    ]
}

fn volumes() -> impl Strategy<Value = BTreeSet<String>> {
    let one = (0..3_u8).prop_map(|number| BTreeSet::from([format!("v{number}")]));
    prop_oneof![6 => Just(BTreeSet::new()), 1 => one]
}

/// One name in six makes the rule for tests refuse the machine.
fn named(odd: u8, number: usize) -> String {
    let name = if odd == 0 { "odd" } else { "n" };
    format!("{name}{number}")
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let basics = (
        0..3_usize,
        0..5_usize,
        500..4000_u64,
        500..4000_u64,
        0..130_u64,
    );
    let special = (
        ports(),
        proptest::option::of(platform()),
        volumes(),
        prop_oneof![4 => 0..60_u32, 1 => 150..252_u32],
        0..6_u8,
    );
    type Basics = (usize, usize, u64, u64, u64);
    type Special = (
        BTreeSet<HostPort>,
        Option<Platform>,
        BTreeSet<String>,
        u32,
        u8,
    );
    let node_of = |(basics, special): (Basics, Special)| {
        let (location, state, mib, millis, used) = basics;
        let (ports, platform, volumes, containers, odd) = special;
        let node = Node {
            location: Location::trusted(LOCATIONS[location]),
            readiness: STATES[state],
            exhausted: (odd % 8 == 3).then_some(Exhausted::Disk),
            reserved: amount(mib * used / 100, millis * used / 100),
            published: containers % 7 * 10,
            ports,
            platform,
            volumes,
            containers,
            services: BTreeMap::from([(ServiceName::trusted(format!("s{}", used % 4)), 1)]),
            ..node("n", mib, millis)
        };
        (node, odd)
    };
    let node = (basics, special).prop_map(node_of);
    proptest::collection::vec(node, 0..12).prop_map(|nodes| {
        let named = |(number, (node, odd)): (usize, (Node, u8))| Node {
            instance: InstanceId::trusted(format!("i{number}")),
            tag: Tag::trusted(named(odd, number)),
            ..node
        };
        nodes.into_iter().enumerate().map(named).collect()
    })
}

/// Ports that containers of each service publish.
const PUBLISHED: [u32; 4] = [0, 2, 300, 1];

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
        (ports(), volumes()),
        (instance(), instance()),
        prop_oneof![
            3 => Just(BTreeSet::new()),
            1 => proptest::collection::btree_set(platform(), 1..3)
        ],
    );
    proptest::collection::vec(container, 0..40).prop_map(|all| {
        let all = all.into_iter().enumerate();
        let container = |(number, it): (usize, (u8, _, (u64, u64), _, _, _))| {
            let (service, location, (mib, millis), claims, machines, platforms) = it;
            let location: usize = location;
            let ((ports, volumes), (bound_to, avoid)) = (claims, machines);
            Waiting {
                location: Location::trusted(LOCATIONS[location]),
                published: PUBLISHED[usize::from(service)],
                ports,
                volumes,
                bound_to,
                avoid,
                platforms,
                apart: match service {
                    3 => AntiAffinity::Require,
                    _ => AntiAffinity::Prefer,
                },
                ..waiting(&format!("s{service}.{number}"), mib, millis)
            }
        };
        all.map(container).collect()
    })
}

fn offers() -> impl Strategy<Value = Vec<Offer>> {
    let flavour = (
        400..5000_u64,
        400..5000_u64,
        0..100_u64,
        proptest::bool::weighted(0.8),
        proptest::option::of(platform()),
        0..6_u8,
    );
    proptest::collection::vec(flavour, 0..5).prop_map(|all| {
        let flavour = |(number, it): (usize, (u64, u64, u64, bool, _, u8))| {
            let (mib, millis, price, available, platform, odd) = it;
            Offer {
                unavailable: (!available).then(|| "quota exceeded".to_owned()),
                platform,
                ..offer(&named(odd, number), mib, millis, price)
            }
        };
        all.into_iter().enumerate().map(flavour).collect()
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
    let limits_at = proptest::collection::btree_map(0..LOCATIONS.len(), limits(), 0..=2);
    let all = (nodes(), queue(), offers(), limits(), limits_at);
    all.prop_map(|(nodes, waiting, offers, limits, limits_at)| Snapshot {
        nodes,
        waiting,
        offers,
        limits,
        limits_at: limits_at
            .into_iter()
            .map(|(at, limits)| (Location::trusted(LOCATIONS[at]), limits))
            .collect(),
    })
}

/// A machine with what the plan puts on it. Its arithmetic is not the planner's.
struct After {
    name: String,
    location: Location,
    platform: Option<Platform>,
    instance: Option<InstanceId>,
    open: bool,
    size: Resources,
    reserved: Resources,
    containers: u64,
    published: u32,
    ports: BTreeSet<HostPort>,
    volumes: BTreeSet<String>,
    services: BTreeSet<ServiceName>,
    exhausted: bool,
}

impl After {
    fn of_node(node: &Node) -> Self {
        Self {
            name: node.tag.to_string(),
            location: node.location.clone(),
            platform: node.platform.clone(),
            instance: Some(node.instance.clone()),
            open: node.readiness.is_open(),
            size: node.size,
            reserved: node.reserved,
            containers: node.containers.into(),
            published: node.published,
            ports: node.ports.clone(),
            volumes: node.volumes.clone(),
            services: node.services.keys().cloned().collect(),
            exhausted: node.exhausted.is_some(),
        }
    }

    fn of_offer(offer: &Offer, location: &Location) -> Self {
        Self {
            name: offer.flavour.to_string(),
            location: location.clone(),
            platform: offer.platform.clone(),
            instance: None,
            open: true,
            size: offer.size,
            reserved: Resources::default(),
            containers: 0,
            published: 0,
            ports: BTreeSet::new(),
            volumes: BTreeSet::new(),
            services: BTreeSet::new(),
            exhausted: false,
        }
    }

    /// Why it will never take this container, if so.
    fn forbids(&self, container: &Waiting) -> Option<&'static str> {
        let runs = |platform| container.platforms.contains(platform);
        if self.location != container.location {
            Some("the location is wrong")
        } else if self.name.starts_with("odd") {
            Some("the machine is odd")
        } else if !container.platforms.is_empty() && !self.platform.as_ref().is_none_or(runs) {
            Some("the platform is wrong")
        } else if container.bound_to.is_some() && container.bound_to != self.instance {
            Some("its volume is elsewhere")
        } else {
            None
        }
    }

    /// Why it may not take this container now, if so.
    fn refuses(&self, container: &Waiting) -> Option<&'static str> {
        let needs = container.needs;
        let ports = PER_PORT.0 * u64::from(self.published + container.published);
        let beside = ENGINE.0 + PER_CONTAINER.0 * (self.containers + 1) + ports;
        let used = self.reserved.memory.0 + needs.memory.0 + beside.max(RESERVE.0);
        if !self.open {
            Some("the machine is not open")
        } else if self.exhausted && container.bound_to.is_none() {
            Some("it has run out of something")
        } else if container.avoid.is_some() && container.avoid == self.instance {
            Some("it leaves this machine")
        } else if !self.ports.is_disjoint(&container.ports) {
            Some("a port is doubled")
        } else if !self.volumes.is_disjoint(&container.volumes) {
            Some("a volume has two writers")
        } else if container.apart == AntiAffinity::Require
            && self.services.contains(&container.service)
        {
            Some("a container of its service is there")
        } else if used > self.size.memory.0
            || self.reserved.cpu.0 + needs.cpu.0 > self.size.cpu.0
            || self.containers >= MOST_CONTAINERS.into()
        {
            Some("more is used than there is")
        } else {
            self.forbids(container)
        }
    }

    fn take(&mut self, container: &Waiting) {
        assert_eq!(self.refuses(container), None, "{container:?}");
        self.reserved += container.needs;
        self.containers += 1;
        self.published += container.published;
        self.ports.extend(&container.ports);
        self.volumes.extend(container.volumes.iter().cloned());
        self.services.insert(container.service.clone());
    }

    /// True if it could take this container if nothing were on it.
    fn could_hold(&self, container: &Waiting) -> bool {
        let empty = Self {
            open: true,
            exhausted: false,
            reserved: Resources::default(),
            containers: 0,
            published: 0,
            ports: BTreeSet::new(),
            volumes: BTreeSet::new(),
            services: BTreeSet::new(),
            name: self.name.clone(),
            location: self.location.clone(),
            platform: self.platform.clone(),
            instance: self.instance.clone(),
            size: self.size,
        };
        let avoiding_nothing = Waiting {
            avoid: None,
            ..container.clone()
        };
        empty.refuses(&avoiding_nothing).is_none()
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
    let mut machines: Vec<After> = snapshot.nodes.iter().map(After::of_node).collect();
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
                let mut machine = After::of_offer(offer, location);
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

/// True if the limits, in all and of each location, allow what a plan rents and these machines of
/// one location more: their price and number.
fn within_limits(snapshot: &Snapshot, steps: &[Step], more: Option<(&Location, u64)>) -> bool {
    let with = |(price, machines): (u64, u32), counts: &dyn Fn(&Location) -> bool| match more {
        Some((location, cost)) if counts(location) => (price + cost, machines + 1),
        _ => (price, machines),
    };
    let mut single = snapshot.limits_at.iter();
    allow(&snapshot.limits, with(rented(snapshot, steps), &|_| true))
        && single.all(|(location, limits)| {
            let here = |other: &Location| other == location;
            let rented = rented_where(snapshot, steps, here);
            allow(limits, with(rented, &here))
        })
}

fn allow(limits: &Limits, (price, machines): (u64, u32)) -> bool {
    let Limits {
        max_instances,
        instances,
        max_price,
        price: spent,
    } = limits;
    max_instances.is_none_or(|max| machines == 0 || instances + machines <= max)
        && max_price.is_none_or(|max| price == 0 || spent.0 + price <= max.0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_where_it_may_not_be_and_limits_are_kept(snapshot in snapshots()) {
        let steps = snapshot.plan();
        carry_out(&snapshot, &steps);
        prop_assert!(within_limits(&snapshot, &steps, None));
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

    /// A pool that was used for other plans and had other machines in it plans as a new one does.
    #[test]
    fn a_kept_pool_plans_as_a_fresh_one(
        before in snapshots(),
        now in snapshots(),
        order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut pool = Pool::default();
        for node in order.iter().filter_map(|&at| before.nodes.get(at)) {
            pool.put(node.clone());
            let _ = plan(&mut pool, &before.demand());
        }
        for node in order.iter().filter_map(|&at| before.nodes.get(at)) {
            pool.remove(&node.instance);
        }
        for node in order.iter().rev().filter_map(|&at| now.nodes.get(at)) {
            pool.put(Node { reserved: Resources::default(), ..node.clone() });
            pool.put(node.clone());
        }
        prop_assert_eq!(plan(&mut pool, &now.demand()), now.plan());
        prop_assert_eq!(plan(&mut pool, &now.demand()), now.plan(), "after a plan");
    }

    #[test]
    fn nobody_waits_who_could_be_served(snapshot in snapshots()) {
        let steps = snapshot.plan();
        let machines = carry_out(&snapshot, &steps);
        for step in &steps {
            let Step::Wait { container, .. } = step else { continue };
            let waiting = snapshot.waiting.iter().find(|waiting| waiting.container == *container).expect("a container that waits");
            prop_assert!(machines.iter().all(|machine| machine.refuses(waiting).is_some()), "{} has room somewhere", container);
            let rentable = |offer: &&Offer| {
                offer.unavailable.is_none() && After::of_offer(offer, &waiting.location).could_hold(waiting) && within_limits(&snapshot, &steps, Some((&waiting.location, offer.price.0)))
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
            let large_enough = snapshot.offers.iter().any(|offer| After::of_offer(offer, &waiting.location).could_hold(waiting))
                || snapshot.nodes.iter().any(|node| After::of_node(node).could_hold(waiting));
            prop_assert_eq!(refused, !large_enough && !snapshot.offers.is_empty() && waiting.bound_to.is_none());
        }
    }
}
