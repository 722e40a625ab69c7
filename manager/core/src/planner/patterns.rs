//! Many containers, machine by machine: each is filled with what suits the room left on it.
//!
//! This finds what container by container does not see: that what needs memory and what needs CPU
//! go well together, and which of several sizes suits the mix.

use super::{
    bins::{Bin, Rental},
    problem::{Binding, Kind, Problem},
    yard::{Manner, Part, Placed, Run, Yard},
};
use micado_api::Resources;
use std::ops::Add;

/// Beyond so many comparisons of a container with a kind this is left to quicker ways; it bounds
/// the time to about a tenth of a second.
const WORK: usize = 20_000_000;

/// Memory and CPU as shares of something.
#[derive(Clone, Copy)]
struct Share(f64, f64);

impl Share {
    fn of(part: Resources, whole: Resources) -> Self {
        Self(
            part.memory.0 as f64 / whole.memory.0.max(1) as f64,
            part.cpu.0 as f64 / whole.cpu.0.max(1) as f64,
        )
    }
    fn times(self, other: Self) -> f64 {
        self.0 * other.0 + self.1 * other.1
    }
    fn sum(self) -> f64 {
        self.0 + self.1
    }
}

/// Fills the open machines that are there; like [`Yard::place`], but what is not bound goes machine
/// by machine. `None` if that would take too long.
pub(super) fn on_machines_there(
    problem: &Problem<'_>,
    yard: &mut Yard,
    runs: &[Run],
) -> Option<Part> {
    let kind = |run: usize| &problem.kinds[runs[run].kind];
    let bound = runs.partition_point(|run| problem.kinds[run.kind].bound_to != Binding::Free);
    let Part {
        mut placed,
        mut left,
    } = yard.place(problem, &runs[..bound], Manner::Together);
    for location in 0..problem.locations.len() {
        let here = (bound..runs.len()).filter(|&run| kind(run).location == location);
        let mut here: Vec<_> = here.map(|run| (run, runs[run].members.len())).collect();
        if takes_too_long(&here, 1) {
            return None;
        }
        for machine in yard.open(location) {
            let Bin { load, .. } = filled(
                Bin {
                    room: yard.machines[machine].room,
                    ports: yard.machines[machine].ports.clone(),
                    load: Vec::new(),
                },
                &here,
                |run| Some(kind(run)).filter(|kind| kind.avoid != Some(machine)),
            );
            for &(run, count) in &load {
                yard.put(kind(run), machine, count);
                placed.push(Placed {
                    run,
                    machine,
                    count,
                });
            }
            take(&mut here, &load, 1);
        }
        left.extend(here);
    }
    left.sort_unstable();
    Some(Part { placed, left })
}

/// Fills machines of the guiding sizes, each time of the size that takes the most of what is still
/// left for its price, and as many alike as there is enough for. `None` if that would take too
/// long, or if none of the sizes holds one of the containers.
pub(super) fn on_new_machines(
    problem: &Problem<'_>,
    runs: &[Run],
    left: &[(usize, usize)],
    guides: &[usize],
) -> Option<Vec<Rental>> {
    if takes_too_long(left, guides.len()) {
        return None;
    }
    let kind = |run: usize| &problem.kinds[runs[run].kind];
    let mut left = left.to_vec();
    let mut machines = Vec::new();
    while !left.is_empty() {
        let total = left
            .iter()
            .map(|&(run, count)| kind(run).needs_of(count))
            .fold(Resources::default(), Resources::add);
        let worth = |rental: &Rental| {
            Share::of(rental.load(problem), total).sum()
                / problem.cost(rental.offer).price.max(1) as f64
        };
        let patterns = guides.iter().map(|&guide| Rental {
            bin: filled(Rental::empty(problem, guide).bin, &left, |run| {
                Some(kind(run))
            }),
            offer: guide,
        });
        let best = patterns
            .filter(|rental| !rental.bin.load.is_empty())
            .max_by(|a, b| worth(a).total_cmp(&worth(b)))?;
        let enough_for = |&(run, used): &(usize, usize)| {
            left.iter()
                .find(|(other, _)| *other == run)
                .map_or(0, |&(_, count)| count / used)
        };
        let times = best.bin.load.iter().map(enough_for).min().unwrap_or(0);
        take(&mut left, &best.bin.load, times);
        machines.extend(std::iter::repeat_n(best, times));
    }
    Some(machines)
}

/// A machine filled container by container, each time with the kind whose needs are the most like
/// the room left: large, and in its proportion. `kind` says no to what may not go there.
fn filled<'k>(
    mut bin: Bin,
    left: &[(usize, usize)],
    kind: impl Fn(usize) -> Option<&'k Kind<'k>>,
) -> Bin {
    let capacity = bin.room;
    let welcome = left.iter().filter_map(|&(run, count)| {
        kind(run).map(|kind| (run, count, kind, Share::of(kind.needs(), capacity)))
    });
    let mut left: Vec<_> = welcome.collect();
    loop {
        let room = Share::of(bin.room, capacity);
        let (mut most, mut best) = (-1.0, None);
        let mut at = 0;
        left.retain(|&(run, count, kind, share)| {
            let stays = count > 0 && bin.takes_one(kind);
            let likeness = share.times(room);
            if stays && likeness > most {
                (most, best) = (likeness, Some((at, run, kind)));
            }
            at += usize::from(stays);
            stays
        });
        let Some((at, run, kind)) = best else {
            return bin;
        };
        bin.put(kind, run, 1);
        left[at].1 -= 1;
    }
}

/// Takes so many loads away from what is left.
fn take(left: &mut Vec<(usize, usize)>, load: &[(usize, usize)], times: usize) {
    for (run, count) in left.iter_mut() {
        *count -= times
            * load
                .iter()
                .find(|(used, _)| used == run)
                .map_or(0, |&(_, used)| used);
    }
    left.retain(|&(_, count)| count > 0);
}

fn takes_too_long(left: &[(usize, usize)], sizes: usize) -> bool {
    left.iter()
        .map(|&(_, count)| count)
        .sum::<usize>()
        .saturating_mul(left.len())
        .saturating_mul(sizes)
        > WORK
}
