//! Against the optimum: up to ten containers, every way tried by a search that shares nothing with
//! the planner's own.
//!
//! The optimum is the least price, and of the plans with that the fewest machines: with one
//! flavour, or flavours of one price, that is the fewest machines there can be.

use super::*;
use proptest::prelude::*;

/// A machine of the search: what is free on it, or, if it is to be rented, what it must hold.
#[derive(Clone)]
struct Machine {
    location: Location,
    new: bool,
    id: Option<InstanceId>,
    amount: Resources,
    ports: BTreeSet<HostPort>,
}

/// Depth-first over all assignments; a branch that costs no less than the best complete one is cut.
struct Search<'s> {
    snapshot: &'s Snapshot,
    who: &'s [usize],
    best: Option<(u64, u32)>,
}

impl Search<'_> {
    fn price_of(&self, load: &Resources) -> Option<u64> {
        let offers = self
            .snapshot
            .offers
            .iter()
            .filter(|offer| offer.unavailable.is_none() && load.fits_in(&offer.capacity()));
        offers.map(|offer| offer.price.0).min()
    }

    fn descend(&mut self, next: usize, machines: &mut Vec<Machine>) {
        let Some(cost) = self.cost(machines) else {
            return;
        };
        if self.best.is_some_and(|best| cost >= best) {
            return;
        }
        let Some(container) = self.who.get(next).map(|&who| &self.snapshot.waiting[who]) else {
            self.best = Some(cost);
            return;
        };
        for at in 0..machines.len() {
            let before = machines[at].clone();
            if let Some(after) = self.with(&before, container) {
                machines[at] = after;
                self.descend(next + 1, machines);
                machines[at] = before;
            }
        }
        if container.bound_to.is_none() {
            machines.push(Machine {
                location: container.location.clone(),
                new: true,
                id: None,
                amount: container.needs,
                ports: container.ports.clone(),
            });
            self.descend(next + 1, machines);
            machines.pop();
        }
    }

    fn with(&self, machine: &Machine, container: &Waiting) -> Option<Machine> {
        let wrong_one = container.bound_to.is_some() && container.bound_to != machine.id
            || container.avoid.is_some() && container.avoid == machine.id;
        if wrong_one
            || machine.location != container.location
            || !machine.ports.is_disjoint(&container.ports)
        {
            return None;
        }
        let ports = machine.ports.union(&container.ports).copied().collect();
        if machine.new {
            return Some(Machine {
                amount: machine.amount + container.needs,
                ports,
                ..machine.clone()
            });
        }
        container.needs.fits_in(&machine.amount).then(|| Machine {
            amount: machine.amount.saturating_sub(container.needs),
            ports,
            ..machine.clone()
        })
    }

    /// What the new machines cost, if each can be had and the limits allow them together.
    fn cost(&self, machines: &[Machine]) -> Option<(u64, u32)> {
        let new = machines.iter().filter(|machine| machine.new);
        let prices: Option<Vec<(&Location, u64)>> = new
            .map(|machine| Some((&machine.location, self.price_of(&machine.amount)?)))
            .collect();
        let prices = prices?;
        let sum = |counts: &dyn Fn(&Location) -> bool| {
            let counted = prices.iter().filter(|(location, _)| counts(location));
            counted.fold((0, 0), |(sum, count), (_, price)| (sum + price, count + 1))
        };
        let in_all = sum(&|_| true);
        let mut single = self.snapshot.limits_at.iter();
        let allowed = allow(&self.snapshot.limits, in_all)
            && single.all(|(location, limits)| allow(limits, sum(&|other| other == location)));
        allowed.then_some(in_all)
    }
}

fn allow(limits: &Limits, (price, count): (u64, u32)) -> bool {
    let money = limits.max_price;
    let machines = limits.max_instances;
    machines.is_none_or(|max| count == 0 || limits.instances + count <= max)
        && money.is_none_or(|max| price == 0 || limits.price.0 + price <= max.0)
}

/// The least price and then the fewest machines that serve all of these within the limits.
fn optimum(snapshot: &Snapshot, who: &[usize]) -> Option<(u64, u32)> {
    let open = snapshot
        .nodes
        .iter()
        .filter(|node| node.readiness.is_open());
    let machine = |node: &Node| Machine {
        location: node.location.clone(),
        new: false,
        id: Some(node.instance.clone()),
        amount: node.capacity().saturating_sub(node.reserved),
        ports: node.ports.clone(),
    };
    let mut search = Search {
        snapshot,
        who,
        best: None,
    };
    search.descend(0, &mut open.map(machine).collect());
    search.best
}

fn containers(most: usize) -> impl Strategy<Value = Vec<Waiting>> {
    let container = (1..=20_u64, 1..=20_u64, 0..8_u8, 0..5_u8);
    proptest::collection::vec(container, 1..=most).prop_map(|all| {
        let container =
            |(number, (mib, millis, port, location)): (usize, (u64, u64, u8, u8))| Waiting {
                ports: if port == 0 {
                    tcp(&[80])
                } else {
                    BTreeSet::new()
                },
                location: if location == 0 {
                    Location::trusted("database")
                } else {
                    Location::default()
                },
                ..waiting(&format!("s{}.{number}", number % 3), mib, millis)
            };
        all.into_iter().enumerate().map(container).collect()
    })
}

fn flavours(most: usize) -> impl Strategy<Value = Vec<Offer>> {
    let flavour = (20..=60_u64, 20..=60_u64, prop_oneof![Just(0), 10..100_u64]);
    proptest::collection::vec(flavour, 1..=most).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(number, (mib, millis, price))| offer(&format!("f{number}"), mib, millis, price))
            .collect()
    })
}

fn machines(most: usize) -> impl Strategy<Value = Vec<Node>> {
    let machine = (
        0..=30_u64,
        0..=30_u64,
        prop_oneof![
            Just(Readiness::Ready),
            Just(Readiness::Arriving),
            Just(Readiness::Silent)
        ],
    );
    proptest::collection::vec(machine, 0..=most).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(number, (mib, millis, readiness))| Node {
                readiness,
                ..node(&format!("n{number}"), mib, millis)
            })
            .collect()
    })
}

fn everybody(snapshot: &Snapshot) -> Vec<usize> {
    (0..snapshot.waiting.len()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn at_most_one_machine_more_than_the_optimum_with_one_flavour(waiting in containers(10), offers in flavours(1)) {
        let snapshot = snapshot(vec![], waiting, offers);
        let (_, machines) = rented(&snapshot, &snapshot.plan());
        let (_, fewest) = optimum(&snapshot, &everybody(&snapshot)).expect("without limits everybody can be served");
        prop_assert!(machines <= fewest + 1, "{machines} machines, {fewest} are enough");
    }

    #[test]
    fn the_least_price_and_at_most_one_machine_more_with_mixed_flavours(waiting in containers(10), offers in flavours(4)) {
        let snapshot = snapshot(vec![], waiting, offers);
        let (price, machines) = rented(&snapshot, &snapshot.plan());
        let (least, fewest) = optimum(&snapshot, &everybody(&snapshot)).expect("without limits everybody can be served");
        prop_assert_eq!(price, least);
        prop_assert!(machines <= fewest + 1, "{} machines, {} are enough", machines, fewest);
    }

    #[test]
    fn machines_that_are_there_are_used_as_well_as_they_can_be(waiting in containers(7), offers in flavours(3), nodes in machines(4)) {
        let snapshot = snapshot(nodes, waiting, offers);
        let (price, machines) = rented(&snapshot, &snapshot.plan());
        let (least, fewest) = optimum(&snapshot, &everybody(&snapshot)).expect("without limits everybody can be served");
        prop_assert_eq!(price, least);
        prop_assert!(machines <= fewest + 1, "{} machines, {} are enough", machines, fewest);
    }

    #[test]
    fn the_head_of_the_list_is_served_and_then_whoever_can_be(
        waiting in containers(6), offers in flavours(3), nodes in machines(3), slots in 0..4_u32, money in 0..200_u64,
        at in proptest::option::of((0..3_u32, 0..150_u64)),
    ) {
        let mut snapshot = snapshot(nodes, waiting, offers);
        snapshot.limits_at = at.into_iter().map(|(slots, money)| {
            (Location::default(), Limits { max_instances: Some(2 + slots), instances: 2, max_price: Some(PricePerHour(money * 1000)), price: PricePerHour(0) })
        }).collect();
        snapshot.limits = Limits { max_instances: Some(5 + slots), instances: 5, max_price: Some(PricePerHour(money * 1000)), price: PricePerHour(0) };
        let mut expected = Vec::new();
        for container in everybody(&snapshot) {
            expected.push(container);
            if optimum(&snapshot, &expected).is_none() {
                expected.pop();
            }
        }
        let waits: BTreeSet<_> = snapshot.plan().into_iter().filter_map(|step| if let Step::Wait { container, .. } = step { Some(container) } else { None }).collect();
        let served: Vec<_> = everybody(&snapshot).into_iter().filter(|&container| !waits.contains(&snapshot.waiting[container].container)).collect();
        prop_assert_eq!(served, expected);
    }
}
