//! Machines that could be returned together: all that runs on them fits on the others.

use super::{Demand, Limits, Offer, Pool, Waiting, kind::Kind, problem::Problem};
use micado_api::InstanceId;
use std::collections::{BTreeMap, BTreeSet};

/// Lower bound for the saved share of the price over the share of disruption.
const WORTH: f64 = 0.5;

/// Machines that keep copies of a service which several have.
const MACHINES: u32 = 2;

/// A machine that may be returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spare {
    pub instance: InstanceId,
    /// Containers on it: position in [`Consolidation::asks`], and number.
    pub holds: Vec<(usize, usize)>,
}

/// Machines of one location.
#[derive(Debug, Clone, Copy)]
pub struct Consolidation<'a> {
    /// All offers: machines are ranked on one scale with them.
    pub offers: &'a [Offer],
    /// One container of each service that may move or grow.
    pub asks: &'a [Waiting],
    /// Number of machines with copies of each.
    pub spread: &'a [u32],
    /// Machines that may be returned, the first to go, first.
    pub machines: &'a [Spare],
    /// Machines that take nothing.
    pub closed: &'a [InstanceId],
    /// Room that is kept free, as containers to come: position in `asks`, and number.
    pub kept_free: Option<(usize, usize)>,
}

/// Returns true if a return saves enough for the containers that it moves. Disruption is one for a
/// machine and one for each container on it; both shares are those of the location.
///
/// Two more conditions always hold for a return without replacement, and are not computed: it saves
/// at least 5 % of the machine's price, and within 30 minutes at least twice the cost of its moves
/// (30 s of overlap and one minute of price for each container).
#[must_use]
pub fn is_worth(saved: f64, disrupted: f64) -> bool {
    saved >= WORTH * disrupted
}

/// Positions of the machines that can be returned together. Tentative places are kept from one
/// machine to the next, so that no two count on the same room, and none that received a container is
/// returned itself. The pool is as before when it returns.
#[must_use]
pub fn spare(pool: &mut Pool, consolidation: &Consolidation<'_>) -> Vec<usize> {
    let demand = Demand {
        waiting: consolidation.asks,
        offers: consolidation.offers,
        limits: &Limits::default(),
        limits_at: &BTreeMap::new(),
    };
    let problem = Problem::new(pool, &demand);
    let before = pool.mark();
    let closed = consolidation.closed.iter();
    let closed: Vec<usize> = closed.filter_map(|id| pool.number(id)).collect();
    closed.into_iter().for_each(|number| pool.close(number));
    let mut search = Search {
        problem: &problem,
        spread: consolidation.spread.to_vec(),
        received: BTreeSet::new(),
        kept_free: BTreeMap::new(),
    };
    if let Some((ask, count)) = consolidation.kept_free {
        let (places, _) = search.put(pool, ask, count);
        let places = places.into_iter();
        search.kept_free = places
            .map(|(machine, count)| (machine, (ask, count)))
            .collect();
    }
    let machines = consolidation.machines.iter().enumerate();
    let chosen = machines.filter(|(_, machine)| search.frees(pool, machine));
    let chosen = chosen.map(|(at, _)| at).collect();
    pool.roll_back(before);
    chosen
}

struct Search<'p, 's> {
    problem: &'p Problem<'s>,
    /// Number of machines with copies of each ask.
    spread: Vec<u32>,
    /// Machines with a tentative place.
    received: BTreeSet<usize>,
    /// Room that is kept free, by machine: it moves like containers.
    kept_free: BTreeMap<usize, (usize, usize)>,
}

/// Machines, and the number of containers that each gets.
type Places = Vec<(usize, usize)>;

impl Search<'_, '_> {
    /// Closes a machine and places all that it holds elsewhere; nothing changes if that fails.
    fn frees(&mut self, pool: &mut Pool, machine: &Spare) -> bool {
        let Some(number) = pool.number(&machine.instance) else {
            return false;
        };
        if self.received.contains(&number) {
            return false;
        }
        let (mark, spread) = (pool.mark(), self.spread.clone());
        pool.close(number);
        let mut received = Vec::new();
        let kept_free = self.kept_free.get(&number);
        for (ask, count) in machine.holds.iter().chain(kept_free).copied() {
            let before = self.spread[ask];
            self.spread[ask] = before.saturating_sub(1);
            let (placed, fresh) = self.put(pool, ask, count);
            self.spread[ask] += fresh;
            let all = placed.iter().map(|(_, count)| count).sum::<usize>() == count;
            if !all || self.spread[ask] < before.min(MACHINES) {
                pool.roll_back(mark);
                self.spread = spread;
                return false;
            }
            received.extend(placed);
        }
        self.received
            .extend(received.into_iter().map(|(machine, _)| machine));
        true
    }

    /// Places as many of an ask as fit on running machines, where they leave the least room. Also
    /// returns the number of these machines that had no copy of its service.
    fn put(&self, pool: &mut Pool, ask: usize, count: usize) -> (Places, u32) {
        let kind: &Kind<'_> = &self.problem.kinds[self.problem.kind_of[ask]];
        let (mut left, mut places, mut fresh) = (count, Places::new(), 0);
        for (entry, times) in pool.taking(kind, 0, count) {
            if left == 0 {
                break;
            }
            let (machine, count) = (entry.machine(), times.min(left));
            fresh += u32::from(pool.machine(machine).room.copies(kind.service) == 0);
            places.push((machine, count));
            left -= count;
        }
        for &(machine, count) in &places {
            pool.place(kind, machine, count);
        }
        (places, fresh)
    }
}
