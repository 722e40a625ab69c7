//! Where containers go and which machines are rented: a pure function from a snapshot to a plan. No
//! I/O, no clock, no randomness.
//!
//! The way through it, one file each:
//!
//! | file | what it decides |
//! |---|---|
//! | `problem` | nothing: it numbers the snapshot's names and groups containers that ask for the same into kinds |
//! | `rule` | whether one machine may take one container, and how to say that it may not |
//! | `serve` | who is served when not everybody can be |
//! | `layout` | how a set of containers is served whole: first by machines that are there, then by renting |
//! | `yard` | which of the open machines a container goes on (`rooms` finds it without a look at each) |
//! | `few` | which machines are rented for up to ten containers: every way is tried |
//! | `many` | which are for more: the cheapest result of `bins` (container by container) and `patterns` (machine by machine), improved |
//! | `spread` | which copies change places, so that those of one service are apart |
//! | `explain`, `report` | nothing: they put the result into steps and words |
//!
//! What is wanted, in this order: serve the head of the waiting list; pay the least per hour; rent
//! the fewest machines, and the smallest of those (without prices, the fewest machines come first);
//! start on machines that run rather than on those on their way, and on those rather than where the
//! agent has gone; keep copies of one service apart; leave the least room on the machine that is
//! chosen.

mod bins;
mod explain;
mod few;
mod layout;
mod many;
mod patterns;
mod pool;
mod problem;
mod report;
mod rooms;
mod rule;
mod serve;
mod snapshot;
mod spread;
mod step;
mod yard;

#[cfg(test)]
mod tests;

pub use pool::Pool;
pub use snapshot::{Demand, HostPort, Limits, Node, Offer, Readiness, Snapshot, Waiting};
pub use step::Step;

/// What to do with everything that waits, in order of the waiting list: every container is in
/// exactly one step. The pool is as before when it returns.
#[must_use]
pub fn plan(pool: &mut Pool, demand: &Demand<'_>) -> Vec<Step> {
    if demand.waiting.is_empty() {
        return Vec::new();
    }
    let snapshot = Snapshot {
        nodes: pool.nodes().cloned().collect(),
        waiting: demand.waiting.to_vec(),
        offers: demand.offers.to_vec(),
        limits: demand.limits.clone(),
    };
    let problem = problem::Problem::new(&snapshot);
    report::steps(&problem, &serve::serve(&problem))
}
