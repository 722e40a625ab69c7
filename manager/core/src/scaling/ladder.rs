//! Growth by a ladder of windows: the shorter the window, the larger the excess must be.

use super::load::{Load, Mean, SAMPLE_MS};

/// One rung: a window, its tolerance, and the number of standard deviations to stay clear of.
struct Rung {
    window_ms: u32,
    tolerance: f64,
    deviations: f64,
}

/// The rung of one second is used only with frames that are that short.
const RUNGS: [Rung; 6] = [
    rung(1_000, 0.35, 4.5),
    rung(2_000, 0.25, 4.0),
    rung(4_000, 0.15, 3.5),
    rung(10_000, 0.10, 3.0),
    rung(30_000, 0.07, 3.0),
    rung(60_000, 0.05, 3.0),
];

const fn rung(window_ms: u32, tolerance: f64, deviations: f64) -> Rung {
    Rung {
        window_ms,
        tolerance,
        deviations,
    }
}

/// A growth that the ladder wants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Excess {
    /// The window with the highest load among those that exceed.
    pub window_ms: u32,
    /// Mean load over that window.
    pub load: f64,
    /// Shortest window that exceeds.
    pub shortest_ms: u32,
    pub sigma: f64,
}

/// Compares the load with `capacity`: the load that the present copies carry at their target.
#[must_use]
pub fn excess(load: &Load, capacity: f64) -> Option<Excess> {
    let sigma = load.sigma();
    let mut found: Option<Excess> = None;
    for mean in load.means().filter(|mean| exceeds(mean, capacity, sigma)) {
        let shortest_ms = found.map_or(mean.window_ms, |other| other.shortest_ms);
        if found.is_none_or(|other| mean.value > other.load) {
            found = Some(Excess {
                window_ms: mean.window_ms,
                load: mean.value,
                shortest_ms,
                sigma,
            });
        }
    }
    found
}

fn exceeds(mean: &Mean, capacity: f64, sigma: f64) -> bool {
    RUNGS
        .iter()
        .find(|rung| rung.window_ms == mean.window_ms)
        .is_some_and(|rung| {
            let samples = f64::from(mean.window_ms) / f64::from(SAMPLE_MS);
            let margin = rung.deviations * sigma / samples.sqrt();
            mean.value > capacity * (1.0 + rung.tolerance) && mean.value - margin > capacity
        })
}

#[cfg(test)]
mod tests;
