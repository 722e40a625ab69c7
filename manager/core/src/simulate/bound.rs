//! Lower bounds for the cost of a run, with hindsight.

/// Size and price of a machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flavour {
    pub cores: f64,
    pub memory: f64,
    /// Price per second.
    pub price: f64,
}

/// Number of weightings of CPU against memory that are tried.
const GRID: usize = 11;

/// A value and the number of seconds that it lasts.
type Lasting<T> = (T, u64);

/// Joins equal values that follow each other.
fn lasting<T: PartialEq + Copy>(values: impl Iterator<Item = T>) -> Vec<Lasting<T>> {
    let mut runs: Vec<Lasting<T>> = Vec::new();
    for value in values {
        match runs.last_mut() {
            Some((last, seconds)) if *last == value => *seconds += 1,
            _ => runs.push((value, 1)),
        }
    }
    runs
}

/// Cost in machine-seconds of the cheapest plan with hindsight for one flavour. `needed` holds the
/// machines that each second needs; `boot` is the paid time before a machine is of use. A machine
/// that is needed from the first second on needs no boot.
///
/// The plan decomposes into levels: level x is needed whenever x or more machines are. In a gap
/// shorter than the boot it is cheaper to keep a machine than to return it.
#[must_use]
pub fn optimum(needed: &[u32], boot: u64) -> u64 {
    let runs = lasting(needed.iter().copied());
    let most = needed.iter().copied().max().unwrap_or(0);
    (1..=most)
        .map(|level| cost_of_level(&runs, |machines| machines >= level, boot))
        .sum()
}

/// Cost of one level: its length, gaps shorter than the boot, and one boot for each other interval
/// that does not begin at 0.
fn cost_of_level<T: Copy>(runs: &[Lasting<T>], is_on: impl Fn(T) -> bool, boot: u64) -> u64 {
    let mut cost = 0;
    // Seconds since the level was on; before the first interval, a boot is due in any case.
    let mut gap = 0;
    let mut begun = false;
    for (at, (value, seconds)) in runs.iter().enumerate() {
        if !is_on(*value) {
            gap += seconds;
            continue;
        }
        cost += seconds
            + match begun {
                true => gap.min(boot),
                false if at == 0 => 0,
                false => boot,
            };
        (begun, gap) = (true, 0);
    }
    cost
}

/// Lower bound in money for any policy, any billing and any mix of flavours. `demand` holds the
/// promised cores and memory of each second.
///
/// Each rented machine is cut into slices of capacity. With weights v and v * capacity <= price for
/// every flavour, a slice costs at least its share of v * capacity; it is on for an interval, and
/// one boot longer. The best of a grid of weights counts.
#[must_use]
pub fn bound(demand: &[(f64, f64)], flavours: &[Flavour], boot: u64) -> f64 {
    (0..GRID)
        .filter_map(|at| {
            let share = at as f64 / (GRID - 1) as f64;
            weighted(demand, flavours, boot, share)
        })
        .fold(0.0, f64::max)
}

fn weighted(demand: &[(f64, f64)], flavours: &[Flavour], boot: u64, share: f64) -> Option<f64> {
    let size = |flavour: &Flavour| share * flavour.cores + (1.0 - share) * flavour.memory;
    let scale = flavours
        .iter()
        .filter(|flavour| size(flavour) > 0.0)
        .map(|flavour| flavour.price / size(flavour))
        .min_by(f64::total_cmp)?;
    let loads = lasting(
        demand
            .iter()
            .map(|(cores, memory)| scale * (share * cores + (1.0 - share) * memory)),
    );
    let mut levels: Vec<f64> = loads.iter().map(|(load, _)| *load).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    let mut below = 0.0;
    let mut sum = 0.0;
    for level in levels.into_iter().filter(|level| *level > 0.0) {
        let cost = cost_of_level(&loads, |load| load >= level, boot);
        sum += (level - below) * cost as f64;
        below = level;
    }
    Some(sum)
}

#[cfg(test)]
mod tests;
