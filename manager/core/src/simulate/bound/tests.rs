//! The optimum and the bound against enumeration on tiny instances.

use super::*;
use proptest::prelude::*;

const MOST: u32 = 3;

/// Cheapest plan among all sequences of machine counts: every machine that is added after the
/// first second costs a boot.
fn enumerated(needed: &[u32], boot: u64) -> u64 {
    fn rest(needed: &[u32], before: Option<u32>, boot: u64) -> u64 {
        let Some((least, later)) = needed.split_first() else {
            return 0;
        };
        (*least..=MOST)
            .map(|count| {
                let added = before.map_or(0, |before| count.saturating_sub(before));
                u64::from(count) + boot * u64::from(added) + rest(later, Some(count), boot)
            })
            .min()
            .unwrap_or(u64::MAX)
    }
    // Machines before they are needed are no use, except at the beginning: none there.
    let least = needed.first().copied().unwrap_or(0);
    u64::from(least) + rest(&needed[1..], Some(least), boot)
}

proptest! {
    #[test]
    fn the_optimum_is_the_cheapest_plan(
        needed in proptest::collection::vec(0..=MOST, 1..8),
        boot in 0..6_u64,
    ) {
        prop_assert_eq!(optimum(&needed, boot), enumerated(&needed, boot));
    }

    /// No plan with two flavours is cheaper than the bound: for all counts of both in each second.
    #[test]
    fn no_plan_is_below_the_bound(
        demand in proptest::collection::vec((0.0..4.0_f64, 0.0..4.0_f64), 1..5),
        boot in 0..4_u64,
        other in (0.5..4.0_f64, 0.5..4.0_f64, 0.2..2.0_f64),
    ) {
        let flavours = [
            Flavour { cores: 2.0, memory: 2.0, price: 1.0 },
            Flavour { cores: other.0, memory: other.1, price: other.2 },
        ];
        // Nothing is needed at first, so every machine of a plan pays its boot.
        let demand: Vec<_> = std::iter::once((0.0, 0.0)).chain(demand).collect();
        let least = bound(&demand, &flavours, boot);
        let cheapest = planned(&demand, &flavours, boot, (0, 0));
        prop_assert!(least <= cheapest + 1e-6, "{} and {}", least, cheapest);
    }
}

/// Cheapest plan with up to three machines of each flavour, by enumeration.
fn planned(demand: &[(f64, f64)], flavours: &[Flavour; 2], boot: u64, before: (u32, u32)) -> f64 {
    let Some(((cores, memory), later)) = demand.split_first() else {
        return 0.0;
    };
    let [one, two] = flavours;
    let mut cheapest = f64::INFINITY;
    for a in 0..=MOST {
        for b in 0..=MOST {
            let (a_count, b_count) = (f64::from(a), f64::from(b));
            let fits = a_count * one.cores + b_count * two.cores >= *cores
                && a_count * one.memory + b_count * two.memory >= *memory;
            if !fits {
                continue;
            }
            let (a_added, b_added) = (a.saturating_sub(before.0), b.saturating_sub(before.1));
            let boots = f64::from(a_added) * one.price + f64::from(b_added) * two.price;
            let cost = a_count * one.price + b_count * two.price + boots * boot as f64;
            cheapest = cheapest.min(cost + planned(later, flavours, boot, (a, b)));
        }
    }
    cheapest
}

#[test]
fn gaps_shorter_than_a_boot_are_kept() {
    assert_eq!(optimum(&[1, 0, 0, 1], 5), 4);
    assert_eq!(optimum(&[1, 0, 0, 0, 1], 2), 4);
    assert_eq!(optimum(&[0, 0, 2, 2], 3), 10);
    assert_eq!(optimum(&[], 3), 0);
}
