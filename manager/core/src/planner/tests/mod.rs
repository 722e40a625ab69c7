//! Tests of the whole planner, and the words they are written in.

use super::{
    ENGINE, HostPort, Limits, MOST_CONTAINERS, Node, Offer, PER_CONTAINER, PER_PORT, Pool,
    Readiness, Snapshot, Step, Waiting, plan,
};
use micado_api::{
    AntiAffinity, CloudName, ContainerName, FlavourName, InstanceId, Location, MemoryBytes,
    NanoCpus, Platform, PricePerHour, Protocol, Resources, ServiceName, Tag,
};
use std::collections::{BTreeMap, BTreeSet};

mod consolidate;
mod exhaustive;
mod mixes;
mod properties;
mod reasons;
mod rules;

/// The reserve of test machines: room for what a hundred containers cost beside their reservations,
/// so that only tests of that meet it.
pub const RESERVE: MemoryBytes = MemoryBytes::mib(1024);

/// MiB and thousandths of a core.
pub fn amount(mib: u64, millis: u64) -> Resources {
    Resources::new(MemoryBytes::mib(mib), NanoCpus::millis(millis))
}

/// A ready machine of location `application`, empty, whose instance id is its tag.
pub fn node(tag: &str, mib: u64, millis: u64) -> Node {
    Node {
        instance: InstanceId::trusted(tag),
        tag: Tag::trusted(tag),
        location: Location::default(),
        readiness: Readiness::Ready,
        exhausted: None,
        platform: None,
        size: amount(mib + 1024, millis),
        reserve: RESERVE,
        reserved: Resources::default(),
        containers: 0,
        published: 0,
        volumes: BTreeSet::new(),
        ports: BTreeSet::new(),
        services: BTreeMap::new(),
    }
}

/// A container that waits for a place in location `application`; its service is its name up to the
/// dot.
pub fn waiting(name: &str, mib: u64, millis: u64) -> Waiting {
    Waiting {
        container: ContainerName::trusted(name),
        service: ServiceName::trusted(name.split('.').next().unwrap_or(name)),
        location: Location::default(),
        needs: amount(mib, millis),
        ports: BTreeSet::new(),
        published: 0,
        bound_to: None,
        avoid: None,
        platforms: BTreeSet::new(),
        apart: AntiAffinity::Prefer,
        volumes: BTreeSet::new(),
    }
}

/// A flavour of the cloud `local`; the price is in thousandths.
pub fn offer(name: &str, mib: u64, millis: u64, price: u64) -> Offer {
    Offer {
        cloud: CloudName::trusted("local"),
        flavour: FlavourName::trusted(name),
        platform: None,
        size: amount(mib + 1024, millis),
        reserve: RESERVE,
        price: PricePerHour(price * 1000),
        unavailable: None,
    }
}

pub fn tcp(ports: &[u16]) -> BTreeSet<HostPort> {
    ports.iter().map(|&port| (port, Protocol::Tcp)).collect()
}

pub fn snapshot(nodes: Vec<Node>, waiting: Vec<Waiting>, offers: Vec<Offer>) -> Snapshot {
    Snapshot {
        nodes,
        waiting,
        offers,
        limits: Limits::default(),
        limits_at: BTreeMap::new(),
    }
}

/// The plan in short, one line a step: `a.1 on n1`, `rent small for a.1, a.2`, `a.1 waits`,
/// `a.1 refused`.
pub fn outline(snapshot: &Snapshot) -> Vec<String> {
    let line = |step| match step {
        Step::Place {
            container,
            instance,
            ..
        } => format!("{container} on {instance}"),
        Step::Rent {
            flavour,
            containers,
            ..
        } => {
            format!(
                "rent {flavour} for {}",
                containers
                    .iter()
                    .map(AsRef::as_ref)
                    .collect::<Vec<&str>>()
                    .join(", ")
            )
        }
        Step::Wait { container, .. } => format!("{container} waits"),
        Step::Refuse { container, .. } => format!("{container} refused"),
    };
    snapshot.plan().into_iter().map(line).collect()
}

/// The reason of each step.
pub fn reasons(snapshot: &Snapshot) -> Vec<String> {
    let reason = |step| match step {
        Step::Place { reason, .. }
        | Step::Rent { reason, .. }
        | Step::Wait { reason, .. }
        | Step::Refuse { reason, .. } => reason,
    };
    snapshot.plan().into_iter().map(reason).collect()
}

/// Price in millionths and number of what a plan rents.
pub fn rented(snapshot: &Snapshot, steps: &[Step]) -> (u64, u32) {
    rented_where(snapshot, steps, |_| true)
}

/// As [`rented`], at some locations.
pub fn rented_where(
    snapshot: &Snapshot,
    steps: &[Step],
    counts: impl Fn(&Location) -> bool,
) -> (u64, u32) {
    let price = |name: &FlavourName| {
        snapshot
            .offers
            .iter()
            .find(|offer| offer.flavour == *name)
            .map_or(0, |offer| offer.price.0)
    };
    let prices = steps.iter().filter_map(|step| {
        if let Step::Rent {
            flavour, location, ..
        } = step
        {
            counts(location).then(|| price(flavour))
        } else {
            None
        }
    });
    prices.fold((0, 0), |(sum, machines), price| (sum + price, machines + 1))
}
