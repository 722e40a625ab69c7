//! Time of planning, and rented capacity compared with a lower bound.
//!
//! `cargo bench -p micado-core --bench planner [-- PART_OF_A_NAME]`

use micado_api::{
    AntiAffinity, CloudName, ContainerName, FlavourName, InstanceId, Location, MemoryBytes,
    NanoCpus, PricePerHour, Resources, ServiceName, Tag,
};
use micado_core::planner::{Limits, Node, Offer, Pool, Readiness, Snapshot, Step, Waiting, plan};
use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
    time::Instant,
};

const RUNS: usize = 7;

/// Memory that every machine reserves for the system.
const RESERVE: MemoryBytes = MemoryBytes::mib(128);

/// Resources of a container: MiB and thousandths of a core.
type Needs = fn(&mut Random) -> (u64, u64);

/// A linear congruential generator (Knuth's constants), so that every run measures the same.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).expect("a position in a slice")]
    }
}

fn main() {
    // Built as a test target too (`cargo test --benches`): nothing is measured then.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    for nodes in [10, 1000, 10_000] {
        single(nodes);
    }
    cluster("planner 5x10", &snapshot(5, 10, 1, 4, web), true);
    cluster(
        "planner 1000x10000",
        &snapshot(1000, 10_000, 1, 50, web),
        true,
    );
    roomy(
        "planner 1000x10000, room for all",
        snapshot(1000, 10_000, 1, 50, web),
    );
    roomy(
        "planner 5000x100000 in 4 locations, room for all",
        snapshot(5000, 100_000, 4, 500, web),
    );
    cluster(
        "planner 5000x100000 in 4 locations",
        &snapshot(5000, 100_000, 4, 500, web),
        true,
    );
    cluster(
        "planner 5000x100000 in 4 locations, no two alike",
        &snapshot(5000, 100_000, 4, 100_000, random),
        true,
    );
    let mut full = snapshot(5000, 100_000, 4, 500, web);
    full.limits.max_instances = Some(5100);
    full.limits.instances = 5000;
    cluster(
        "planner 5000x100000 in 4 locations, 100 machines to rent at most",
        &full,
        false,
    );
    full.limits.max_instances = Some(5000);
    full.nodes
        .iter_mut()
        .for_each(|node| node.reserved = node.capacity());
    cluster(
        "planner 5000x100000 in 4 locations, nothing free and nothing to rent",
        &full,
        false,
    );
    let mixes: [(&str, Needs); 6] = [
        ("uniform small", |_| (256, 250)),
        ("big and small", |random| {
            random.of(&[
                (6000, 2500),
                (6000, 2500),
                (300, 200),
                (300, 200),
                (300, 200),
            ])
        }),
        ("memory-heavy and cpu-heavy", |random| {
            if random.below(2) == 0 {
                (1500 + random.below(2000), 100)
            } else {
                (100, 700 + random.below(1000))
            }
        }),
        ("powers of two", |random| {
            (128 << random.below(6), 125 << random.below(5))
        }),
        ("web", web),
        ("random", random),
    ];
    for (name, needs) in mixes {
        for offers in [&offers()[1..2], &offers()[..]] {
            let mut snapshot = snapshot(0, 10_000, 1, 200, needs);
            snapshot.offers = offers.to_vec();
            packing(
                &format!("pack 10000 {name}, {} flavours", offers.len()),
                &snapshot,
            );
        }
    }
}

/// A usual mix: many small front ends, some workers, a few caches.
fn web(random: &mut Random) -> (u64, u64) {
    random.of(&[
        (128, 100),
        (256, 250),
        (256, 250),
        (256, 250),
        (512, 250),
        (512, 500),
        (1024, 500),
        (1024, 1000),
        (2048, 500),
        (3072, 250),
    ])
}

fn random(random: &mut Random) -> (u64, u64) {
    (64 + random.below(3000), 50 + random.below(1500))
}

fn amount((mib, millis): (u64, u64)) -> Resources {
    Resources::new(MemoryBytes::mib(mib), NanoCpus::millis(millis))
}

fn offers() -> Vec<Offer> {
    let sizes: [(&str, u64, u64, u64); 4] = [
        ("small", 2048, 1000, 10_000),
        ("medium", 8192, 4000, 38_000),
        ("large", 16_384, 8000, 75_000),
        ("memory", 32_768, 4000, 90_000),
    ];
    let offer = |(name, mib, millis, price)| Offer {
        cloud: CloudName::trusted("zrh"),
        flavour: FlavourName::trusted(name),
        platform: None,
        size: amount((mib, millis)),
        reserve: RESERVE,
        price: PricePerHour(price),
        unavailable: None,
    };
    sizes.map(offer).to_vec()
}

/// Half-full machines, and containers of `services` services in random order, which need one and a
/// half times the free room.
fn snapshot(
    nodes: usize,
    waiting: usize,
    locations: usize,
    services: u64,
    needs: Needs,
) -> Snapshot {
    let mut chance = Random(42);
    let location = |number: usize| Location::trusted(format!("location{}", number % locations));
    let shapes: Vec<_> = (0..services).map(|_| needs(&mut chance)).collect();
    let waiting: Vec<_> = (0..waiting)
        .map(|number| {
            let service = chance.below(services) as usize;
            Waiting {
                container: ContainerName::trusted(format!("web_image{service}.{number}")),
                service: ServiceName::trusted(format!("web_image{service}")),
                location: location(service),
                needs: amount(shapes[service]),
                ports: BTreeSet::new(),
                published: 0,
                bound_to: None,
                avoid: None,
                platforms: BTreeSet::new(),
                apart: AntiAffinity::Prefer,
                volumes: BTreeSet::new(),
            }
        })
        .collect();
    let total = waiting
        .iter()
        .fold(Resources::default(), |sum, waiting| sum + waiting.needs);
    let share = |total: u64, percent: u64| total * percent / 100 / nodes.max(1) as u64;
    let node = |number: usize| {
        let free = 45 + chance.below(45);
        let capacity = Resources::new(
            MemoryBytes(2 * share(total.memory.0, 100)),
            NanoCpus(2 * share(total.cpu.0, 100)),
        );
        Node {
            instance: InstanceId::trusted(format!("i{number:08}")),
            tag: Tag::trusted(format!("application{number}")),
            location: location(number),
            readiness: Readiness::Ready,
            exhausted: None,
            platform: None,
            size: capacity + Resources::new(RESERVE, NanoCpus(0)),
            reserve: RESERVE,
            containers: 8,
            published: 0,
            volumes: BTreeSet::new(),
            reserved: capacity.saturating_sub(Resources::new(
                MemoryBytes(share(total.memory.0, free)),
                NanoCpus(share(total.cpu.0, free)),
            )),
            ports: BTreeSet::new(),
            services: (0..8)
                .map(|_| {
                    (
                        ServiceName::trusted(format!("web_image{}", chance.below(services))),
                        1,
                    )
                })
                .collect(),
        }
    };
    Snapshot {
        nodes: (0..nodes).map(node).collect(),
        waiting,
        offers: offers(),
        limits: Limits::default(),
        limits_at: BTreeMap::new(),
    }
}

/// Returns true if the command line selects the benchmark: no name, or a part of its name.
fn wanted(name: &str) -> bool {
    let mut parts = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .peekable();
    parts.peek().is_none() || parts.any(|part| name.contains(&part))
}

/// Median time of planning on a pool that is kept, over several runs, in seconds, and the plan.
fn measure(snapshot: &Snapshot) -> (f64, Vec<Step>) {
    let mut pool = Pool::default();
    for node in &snapshot.nodes {
        pool.put(node.clone());
    }
    let mut times = Vec::new();
    let mut steps = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        steps = plan(&mut pool, &black_box(snapshot).demand());
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    (times[RUNS / 2], steps)
}

/// One container at a time, with room and without.
fn single(nodes: usize) {
    let mut roomy = snapshot(nodes, nodes * 10, 1, 50, web);
    roomy.waiting.truncate(1);
    let mut full = roomy.clone();
    for node in &mut full.nodes {
        node.reserved = node.capacity();
    }
    for (case, snapshot) in [("room for it", roomy), ("one machine to rent", full)] {
        let name = format!("one container on {nodes} nodes, {case}");
        if wanted(&name) {
            let (seconds, _) = measure(&snapshot);
            println!("{name}: {:.1} us (median of {RUNS})", seconds * 1e6);
        }
    }
}

fn cluster(name: &str, snapshot: &Snapshot, rents_freely: bool) {
    if !wanted(name) {
        return;
    }
    let (seconds, steps) = measure(snapshot);
    let rate = snapshot.waiting.len() as f64 / seconds;
    let (machines, price) = rented(snapshot, &steps);
    let waits = steps
        .iter()
        .filter(|step| matches!(step, Step::Wait { .. } | Step::Refuse { .. }))
        .count();
    print!(
        "{name}: {rate:.0} placements/s (median of {RUNS}, {:.1} ms), ",
        seconds * 1e3
    );
    if rents_freely {
        let (least_machines, least_price) = least(snapshot);
        println!(
            "new machines / lower bound: {machines}/{least_machines} = {:.3}, price / lower bound: {:.3}",
            machines as f64 / least_machines as f64,
            price as f64 / least_price as f64
        );
    } else {
        println!("{machines} machines rented, {waits} containers wait");
    }
}

/// The same snapshot with all machines empty.
fn roomy(name: &str, mut snapshot: Snapshot) {
    snapshot
        .nodes
        .iter_mut()
        .for_each(|node| node.reserved = Resources::default());
    cluster(name, &snapshot, false);
}

fn packing(name: &str, snapshot: &Snapshot) {
    if !wanted(name) {
        return;
    }
    let (seconds, steps) = measure(snapshot);
    let rate = snapshot.waiting.len() as f64 / seconds;
    let (machines, price) = rented(snapshot, &steps);
    let (least_machines, least_price) = least(snapshot);
    let (plain_machines, plain_price) = first_fit_decreasing(snapshot);
    println!(
        "{name}: {rate:.0} placements/s (median of {RUNS}), price / lower bound: {:.3} (first-fit-decreasing {:.3}), new machines / lower bound: {machines}/{least_machines} = {:.3} (first-fit-decreasing {:.3})",
        price as f64 / least_price as f64,
        plain_price as f64 / least_price as f64,
        machines as f64 / least_machines as f64,
        plain_machines as f64 / least_machines as f64,
    );
}

fn rented(snapshot: &Snapshot, steps: &[Step]) -> (usize, u64) {
    let price = |name: &FlavourName| {
        snapshot
            .offers
            .iter()
            .find(|offer| offer.flavour == *name)
            .map_or(0, |offer| offer.price.0)
    };
    let prices = steps.iter().filter_map(|step| {
        if let Step::Rent { flavour, .. } = step {
            Some(price(flavour))
        } else {
            None
        }
    });
    prices.fold((0, 0), |(machines, sum), price| (machines + 1, sum + price))
}

/// Lower bounds for the number and price of machines: needed less free resources, as if containers
/// and machines were divisible. The number assumes the largest machines, the price the best mixture
/// of sizes.
fn least(snapshot: &Snapshot) -> (u64, u64) {
    let mut short: BTreeMap<&Location, (f64, f64)> = BTreeMap::new();
    for waiting in &snapshot.waiting {
        let entry = short.entry(&waiting.location).or_default();
        *entry = (
            entry.0 + waiting.needs.memory.0 as f64,
            entry.1 + waiting.needs.cpu.0 as f64,
        );
    }
    for node in &snapshot.nodes {
        let free = node.capacity().saturating_sub(node.reserved);
        let entry = short.entry(&node.location).or_default();
        *entry = (entry.0 - free.memory.0 as f64, entry.1 - free.cpu.0 as f64);
    }
    short
        .values()
        .fold((0, 0), |(machines, price), &(memory, cpu)| {
            let (memory, cpu) = (memory.max(0.0), cpu.max(0.0));
            let fewest = |size: fn(&Offer) -> u64, short: f64| {
                snapshot
                    .offers
                    .iter()
                    .map(|offer| (short / size(offer) as f64).ceil() as u64)
                    .min()
                    .unwrap_or(0)
            };
            let fewest = fewest(|offer| offer.capacity().memory.0, memory)
                .max(fewest(|offer| offer.capacity().cpu.0, cpu));
            (
                machines + fewest,
                price + cheapest_mixture(&snapshot.offers, memory, cpu) as u64,
            )
        })
}

/// Lowest price of fractions of machines with this much memory and CPU together. Two sizes suffice,
/// because there are two constraints.
fn cheapest_mixture(offers: &[Offer], memory: f64, cpu: f64) -> f64 {
    let facts = |offer: &Offer| {
        (
            offer.capacity().memory.0 as f64,
            offer.capacity().cpu.0 as f64,
            offer.price.0 as f64,
        )
    };
    let mut best = f64::INFINITY;
    for (m1, c1, p1) in offers.iter().map(facts) {
        best = best.min(p1 * (memory / m1).max(cpu / c1));
        for (m2, c2, p2) in offers.iter().map(facts) {
            let determinant = m1 * c2 - m2 * c1;
            let (first, second) = (
                (memory * c2 - cpu * m2) / determinant,
                (cpu * m1 - memory * c1) / determinant,
            );
            if first >= 0.0 && second >= 0.0 {
                best = best.min(first * p1 + second * p2);
            }
        }
    }
    best
}

/// First-fit decreasing with the one flavour that makes it cheapest: the largest container first
/// (by the sum of its shares of memory and CPU), each on the first machine with room.
fn first_fit_decreasing(snapshot: &Snapshot) -> (usize, u64) {
    let with = |offer: &Offer| {
        let share = |needs: Resources| {
            needs.memory.0 as f64 / offer.capacity().memory.0 as f64
                + needs.cpu.0 as f64 / offer.capacity().cpu.0 as f64
        };
        let mut needs: Vec<_> = snapshot
            .waiting
            .iter()
            .map(|waiting| waiting.needs)
            .collect();
        needs.sort_by(|a, b| share(*b).total_cmp(&share(*a)));
        let mut rooms: Vec<Resources> = Vec::new();
        for needs in needs {
            match rooms.iter_mut().find(|room| needs.fits_in(room)) {
                Some(room) => *room = room.saturating_sub(needs),
                None if needs.fits_in(&offer.capacity()) => {
                    rooms.push(offer.capacity().saturating_sub(needs))
                }
                None => return None,
            }
        }
        Some((rooms.len(), rooms.len() as u64 * offer.price.0))
    };
    snapshot
        .offers
        .iter()
        .filter_map(with)
        .min_by_key(|&(machines, price)| (price, machines))
        .unwrap_or_default()
}
