//! Where containers go and which machines are rented: a pure function from a snapshot to a plan. No
//! I/O, no clock, no randomness.
//!
//! The way through it, one file each, from the ground floor up:
//!
//! | file | subject |
//! |---|---|
//! | `snapshot`, `step` | input and output |
//! | `kind` | containers that ask for the same |
//! | `rule` | the rules: machines that are refused whatever is placed there |
//! | `room` | what containers use up: memory, CPU, ports, volumes, places |
//! | `scale`, `free_index` | machines in order of their room |
//! | `pool` | the machines, kept from plan to plan, with changes that can be rolled back |
//! | `problem` | a demand in numbers: kinds and offers |
//! | `place` | containers onto open machines |
//! | `few` | machines to rent for up to ten containers: every way is tried |
//! | `bins`, `many` | machines to rent for more: the cheapest of several good orders, improved |
//! | `spread` | copies of one service change places, so that they are apart |
//! | `consolidate` | machines that could be returned together |
//! | `solve` | one set of containers served whole |
//! | `serve` | the containers that are served when not all can be |
//! | `explain`, `report` | the result as steps and words |
//!
//! What is wanted, in this order: serve the head of the waiting list; pay the least per hour; rent
//! the fewest machines, and the smallest of those (without prices, the fewest machines come first);
//! start on machines that run rather than on those on their way, and on those rather than where the
//! agent has gone or a drain would have to be cancelled; keep copies of one service apart; leave the least room on the machine that is
//! chosen.

mod bins;
mod consolidate;
mod explain;
mod few;
mod free_index;
mod kind;
mod many;
mod place;
mod pool;
mod problem;
mod report;
mod room;
mod rule;
mod scale;
mod serve;
mod snapshot;
mod solve;
mod spread;
mod step;

#[cfg(test)]
mod tests;

pub use consolidate::{Consolidation, Spare, is_worth, spare};
pub use pool::Pool;
pub use room::{ENGINE, MOST_CONTAINERS, PER_CONTAINER, PER_PORT};
pub use snapshot::{
    Demand, Exhausted, HostPort, Limits, Node, Offer, Readiness, Snapshot, Waiting,
};
pub use step::Step;

use micado_api::InstanceId;
use std::collections::BTreeMap;

/// Plans for everything that waits. The steps are in order of the waiting list, and every container
/// is in exactly one. The pool is as before when it returns.
#[must_use]
pub fn plan(pool: &mut Pool, demand: &Demand<'_>) -> Vec<Step> {
    if demand.waiting.is_empty() {
        return Vec::new();
    }
    let problem = problem::Problem::new(pool, demand);
    let before = pool.mark();
    let layout = serve::serve(&problem, pool);
    let steps = report::steps(&problem, pool, &layout);
    pool.roll_back(before);
    steps
}

/// Plans for containers that run and leave their machines. They go to machines that are there, and
/// to none of the closed ones. The pool is as before when it returns.
#[must_use]
pub fn plan_moves(
    pool: &mut Pool,
    moving: &[Waiting],
    offers: &[Offer],
    closed: &[InstanceId],
) -> Vec<Step> {
    let before = pool.mark();
    for number in closed
        .iter()
        .filter_map(|id| pool.number(id))
        .collect::<Vec<_>>()
    {
        pool.close(number);
    }
    let nothing = Limits {
        max_instances: Some(0),
        ..Limits::default()
    };
    let demand = Demand {
        waiting: moving,
        offers,
        limits: &nothing,
        limits_at: &BTreeMap::new(),
    };
    let steps = plan(pool, &demand);
    pool.roll_back(before);
    steps
}
