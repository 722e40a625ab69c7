//! Named mixes of containers: never dearer, nor more machines, than first-fit-decreasing.

use super::*;

/// A linear congruential generator, so that each mix is always the same.
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
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// The textbook's way with one flavour: the largest first (memory and CPU as shares of the machine,
/// added), each on the first machine that has room.
fn first_fit_decreasing(waiting: &[Waiting], offer: &Offer) -> Option<usize> {
    let share = |needs: Resources| {
        needs.memory.0 as f64 / offer.capacity().memory.0 as f64
            + needs.cpu.0 as f64 / offer.capacity().cpu.0 as f64
    };
    let mut waiting: Vec<_> = waiting.iter().collect();
    waiting.sort_by(|a, b| share(b.needs).total_cmp(&share(a.needs)));
    let mut machines: Vec<(Resources, BTreeSet<HostPort>)> = Vec::new();
    for container in waiting {
        match machines.iter_mut().find(|(room, ports)| {
            container.needs.fits_in(room) && ports.is_disjoint(&container.ports)
        }) {
            Some((room, ports)) => {
                *room = room.saturating_sub(container.needs);
                ports.extend(&container.ports);
            }
            None if container.needs.fits_in(&offer.capacity()) => machines.push((
                offer.capacity().saturating_sub(container.needs),
                container.ports.clone(),
            )),
            None => return None,
        }
    }
    Some(machines.len())
}

fn no_worse(needs: impl Fn(&mut Random) -> (u64, u64)) {
    let flavours = [
        offer("small", 1920, 1000, 10),
        offer("medium", 8064, 4000, 38),
        offer("large", 16_256, 8000, 75),
        offer("memory", 32_640, 4000, 90),
    ];
    for (seed, count) in [(1, 11), (2, 40), (3, 200), (4, 1000)] {
        let mut random = Random(seed);
        let container = |number: usize| {
            let (mib, millis) = needs(&mut random);
            let ports = if random.below(20) == 0 {
                tcp(&[80])
            } else {
                BTreeSet::new()
            };
            Waiting {
                ports,
                ..waiting(&format!("s{}.{number}", number % 7), mib, millis)
            }
        };
        let containers: Vec<_> = (0..count).map(container).collect();
        let mut plain_prices = Vec::new();
        for flavour in &flavours {
            let Some(plain) = first_fit_decreasing(&containers, flavour) else {
                continue;
            };
            plain_prices.push(flavour.price.0 * plain as u64);
            let single = snapshot(vec![], containers.clone(), vec![flavour.clone()]);
            let (_, machines) = rented(&single, &single.plan());
            assert!(
                machines as usize <= plain,
                "seed {seed}: {machines} of {}, first-fit-decreasing {plain}",
                flavour.flavour
            );
        }
        let mixed = snapshot(vec![], containers, flavours.to_vec());
        let (price, _) = rented(&mixed, &mixed.plan());
        let plain = plain_prices
            .into_iter()
            .min()
            .expect("one flavour holds all");
        assert!(
            price <= plain,
            "seed {seed}: {price}, first-fit-decreasing {plain}"
        );
    }
}

#[test]
fn uniform_small() {
    no_worse(|_| (256, 250));
}

#[test]
fn big_and_small() {
    no_worse(|random| {
        random.of(&[
            (6000, 2500),
            (6000, 2500),
            (300, 200),
            (300, 200),
            (300, 200),
        ])
    });
}

#[test]
fn memory_heavy_and_cpu_heavy() {
    no_worse(|random| {
        if random.below(2) == 0 {
            (1500 + random.below(2000), 100)
        } else {
            (100, 700 + random.below(1000))
        }
    });
}

#[test]
fn powers_of_two() {
    no_worse(|random| (128 << random.below(6), 125 << random.below(5)));
}

#[test]
fn web() {
    no_worse(|random| {
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
    });
}

#[test]
fn random() {
    no_worse(|random| (64 + random.below(3000), 50 + random.below(1500)));
}

/// 40,000 waiting containers are planned at once, and each gets a machine.
#[test]
fn solver_33_minutes() {
    let mut random = Random(1);
    let containers = (0..40_000).map(|number| {
        let (mib, millis) = (64 * (1 + random.below(16)), 50 * (1 + random.below(20)));
        waiting(&format!("s{}.{number}", number % 500), mib, millis)
    });
    let offers = vec![
        offer("small", 1920, 1000, 10),
        offer("medium", 8064, 4000, 38),
        offer("large", 16_256, 8000, 75),
    ];
    let snapshot = snapshot(vec![], containers.collect(), offers);
    let steps = snapshot.plan();
    let rent = |step: &Step| matches!(step, Step::Rent { .. });
    assert!(steps.iter().all(rent), "all are served");
}
