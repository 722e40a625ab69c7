//! Points that wait to be recorded, within a bound, and how far each agent's batches are among them.

use super::{ContainerPoint, Point};
use micado_api::InstanceId;
use std::collections::{HashMap, VecDeque};

/// The most that waiting points may take, in bytes: five minutes of a hundred machines with ten containers each.
pub(super) const MOST_BYTES: usize = 32 << 20;

/// A batch, by the run of its agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) run: String,
    pub(super) sequence: u64,
}

/// Points, oldest first.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    points: VecDeque<Point>,
    bytes: usize,
    /// The last batch that was taken of each instance.
    taken: HashMap<InstanceId, Mark>,
    dropped: u64,
}

impl Waiting {
    /// A point that was made of this batch.
    pub(super) fn push(&mut self, point: Point, mark: Mark) {
        let taken = self.taken.entry(point.instance.clone()).or_insert_with(|| mark.clone());
        // One of a connection that was cut may come after later ones.
        if taken.run != mark.run || taken.sequence < mark.sequence {
            *taken = mark;
        }
        self.bytes += size(&point);
        self.points.push_back(point);
        self.keep_within(MOST_BYTES);
    }

    /// Everything that waits, and how far each agent's batches are once that is recorded.
    pub(super) fn drain(&mut self) -> (Vec<Point>, HashMap<InstanceId, Mark>) {
        self.bytes = 0;
        (std::mem::take(&mut self.points).into(), self.taken.clone())
    }

    /// These could not be recorded. They are older than all that waits.
    pub(super) fn put_back(&mut self, points: Vec<Point>) {
        self.bytes += points.iter().map(size).sum::<usize>();
        let later = std::mem::replace(&mut self.points, points.into());
        self.points.extend(later);
        self.keep_within(MOST_BYTES);
    }

    /// How many points found no room since this was last asked.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    pub(super) fn instances(&self) -> impl Iterator<Item = &InstanceId> {
        self.taken.keys()
    }

    /// The instance is no more; its points are still worth keeping.
    pub(super) fn forget(&mut self, instance: &InstanceId) {
        self.taken.remove(instance);
    }

    fn keep_within(&mut self, bytes: usize) {
        while self.bytes > bytes
            && let Some(oldest) = self.points.pop_front()
        {
            self.bytes -= size(&oldest);
            self.dropped += 1;
        }
    }
}

/// Memory that a point takes, about.
fn size(point: &Point) -> usize {
    let named: usize = point.containers.keys().map(String::len).sum();
    size_of::<Point>() + point.instance.as_str().len() + named + point.containers.len() * size_of::<(String, ContainerPoint)>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::sample;

    fn waiting(count: u64) -> Waiting {
        let mut waiting = Waiting::default();
        (1..=count).for_each(|n| waiting.push(sample("i1", n), Mark { run: "a".to_owned(), sequence: n }));
        waiting
    }

    fn times(points: &[Point]) -> Vec<u64> {
        points.iter().map(|it| it.at.0).collect()
    }

    #[test]
    fn what_could_not_be_recorded_comes_first_the_next_time() {
        let mut waiting = waiting(3);
        let (mut points, marks) = waiting.drain();
        assert_eq!((times(&points), marks[&InstanceId::trusted("i1")].sequence), (vec![1, 2, 3], 3));
        waiting.push(sample("i1", 4), Mark { run: "a".to_owned(), sequence: 4 });
        waiting.put_back(points.split_off(1));
        let (points, marks) = waiting.drain();
        assert_eq!((times(&points), marks[&InstanceId::trusted("i1")].sequence), (vec![2, 3, 4], 4));
        assert_eq!((waiting.bytes, waiting.take_dropped()), (0, 0));
    }

    #[test]
    fn the_oldest_go_when_there_is_no_room() {
        let mut waiting = waiting(10);
        waiting.keep_within(3 * size(&sample("i1", 1)));
        assert_eq!((waiting.take_dropped(), waiting.take_dropped()), (7, 0));
        assert_eq!(times(&waiting.drain().0), [8, 9, 10]);
    }
}
