//! Faults of a run, the same for both sides: they depend on the seed and the time, and not on what a
//! side does.

use super::random::Random;

/// Mean time between two faults of a kind, and their length, in seconds.
const REFUSES: (f64, f64) = (4.0 * 3_600.0, 300.0);
const UNSEEN: (f64, f64) = (2.0 * 3_600.0, 120.0);
/// Mean time between two deaths of a machine, in seconds.
const DEATHS: f64 = 6.0 * 3_600.0;
/// Share of the orders that boot slowly, and by how much.
const SLOW: (f64, u64) = (0.05, 10);

/// Times at which something fails. Without a seed, nothing does.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    seed: Option<u64>,
    refuses: Vec<(u64, u64)>,
    unseen: Vec<(u64, u64)>,
    deaths: Vec<(u64, u64)>,
}

impl Faults {
    /// Draws the faults of a run of this many seconds.
    #[must_use]
    pub fn new(seed: Option<u64>, seconds: u64) -> Self {
        let Some(of) = seed else {
            return Self::default();
        };
        let mut random = Random::new(of ^ 0xfa17);
        let spans = |random: &mut Random, (every, lasts): (f64, f64)| {
            let begins = times(random, every, seconds);
            let begins = begins.into_iter();
            begins.map(|at| (at, at + lasts as u64)).collect()
        };
        let refuses = spans(&mut random, REFUSES);
        let unseen = spans(&mut random, UNSEEN);
        let deaths = times(&mut random, DEATHS, seconds).into_iter();
        let deaths = deaths.map(|at| (at, random.bits())).collect();
        Self {
            seed,
            refuses,
            unseen,
            deaths,
        }
    }

    /// True if the broker refuses orders.
    #[must_use]
    pub fn refuses(&self, second: u64) -> bool {
        is_within(&self.refuses, second)
    }

    /// True if samples are lost.
    #[must_use]
    pub fn hides(&self, second: u64) -> bool {
        is_within(&self.unseen, second)
    }

    /// Boot time of the order of this number.
    #[must_use]
    pub fn boot(&self, order: u32, usual: u64) -> u64 {
        let Some(seed) = self.seed else {
            return usual;
        };
        let drawn = Random::new(seed ^ (u64::from(order) << 20)).uniform();
        if drawn < SLOW.0 {
            usual * SLOW.1
        } else {
            usual
        }
    }

    /// A number that chooses the machine that dies in this second.
    #[must_use]
    pub fn death(&self, second: u64) -> Option<u64> {
        let found = self.deaths.iter().find(|(at, _)| *at == second);
        found.map(|(_, number)| *number)
    }
}

fn times(random: &mut Random, every: f64, seconds: u64) -> Vec<u64> {
    let mut at = 0.0;
    let mut times = Vec::new();
    loop {
        at += random.exponential(every);
        if at >= seconds as f64 {
            return times;
        }
        times.push(at as u64);
    }
}

fn is_within(spans: &[(u64, u64)], second: u64) -> bool {
    spans
        .iter()
        .any(|(from, until)| (*from..*until).contains(&second))
}
