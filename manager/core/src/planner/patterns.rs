//! Many containers onto new machines, machine by machine: each is filled with what suits the room left on it, and then repeated while there is enough of that.
//!
//! This finds what container by container does not see: that what needs memory and what needs CPU go well together, and which of several sizes suits the mix.

use super::{
    bins::Bin,
    problem::{Kind, Problem},
    yard::Run,
};
use micado_api::Resources;
use std::ops::Add;

/// Beyond so many comparisons of a container with a kind it would take longer than it is worth.
const WORK: usize = 4_000_000;

/// Memory and CPU as shares of something.
#[derive(Clone, Copy)]
struct Share(f64, f64);

impl Share {
    fn of(part: Resources, whole: Resources) -> Self {
        Self(part.memory.0 as f64 / whole.memory.0.max(1) as f64, part.cpu.0 as f64 / whole.cpu.0.max(1) as f64)
    }
    fn times(self, other: Self) -> f64 {
        self.0 * other.0 + self.1 * other.1
    }
    fn sum(self) -> f64 {
        self.0 + self.1
    }
}

/// Fills machines of the guiding sizes, each time of the size that takes the most of what is still left for its price. `None` if that would take too long, or if none of
/// the sizes holds one of the containers.
pub(super) fn fill(problem: &Problem<'_>, runs: &[Run], left: &[(usize, usize)], guides: &[usize]) -> Option<Vec<Bin>> {
    if left.iter().map(|&(_, count)| count).sum::<usize>() * left.len() * guides.len() > WORK * 10 {
        return None;
    }
    let kind = |run: usize| &problem.kinds[runs[run].kind];
    let mut left = left.to_vec();
    let mut bins = Vec::new();
    while !left.is_empty() {
        let total = left.iter().map(|&(run, count)| kind(run).needs_of(count)).fold(Resources::default(), Resources::add);
        let worth = |bin: &Bin| {
            let offer = problem.offers[bin.offer];
            Share::of(offer.capacity.saturating_sub(bin.room), total).sum() / (offer.price.0.max(1) as f64)
        };
        let patterns = guides.iter().map(|&guide| pattern(problem, &left, kind, guide)).filter(|bin| !bin.load.is_empty());
        let best = patterns.max_by(|a, b| worth(a).total_cmp(&worth(b)))?;
        let count = |run: usize| left.iter().find(|(other, _)| *other == run).map_or(0, |&(_, count)| count);
        let times = best.load.iter().map(|&(run, used)| count(run) / used).min().unwrap_or(1);
        for (run, count) in &mut left {
            *count -= times * best.load.iter().find(|(used, _)| used == run).map_or(0, |&(_, used)| used);
        }
        left.retain(|&(_, count)| count > 0);
        bins.extend(std::iter::repeat_n(best, times));
    }
    Some(bins)
}

/// One machine filled container by container, each time with the kind that is the most like the room left.
fn pattern<'k>(problem: &Problem<'_>, left: &[(usize, usize)], kind: impl Fn(usize) -> &'k Kind<'k>, guide: usize) -> Bin {
    let capacity = problem.offers[guide].capacity;
    let mut bin = Bin::empty(problem, guide);
    let mut left = left.to_vec();
    loop {
        let room = Share::of(bin.room, capacity);
        left.retain(|&(run, count)| bin.takes(kind(run), count.min(1)) > 0);
        let likeness = |run: usize| Share::of(kind(run).needs(), capacity).times(room);
        let Some(best) = (0..left.len()).max_by(|&a, &b| likeness(left[a].0).total_cmp(&likeness(left[b].0)).then(b.cmp(&a))) else { return bin };
        bin.put(kind(left[best].0), left[best].0, 1);
        left[best].1 -= 1;
    }
}
