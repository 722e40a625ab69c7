//! Points that wait to be recorded, within a bound, and how far each agent's batches are among them.

use super::{ContainerPoint, Point};
use micado_api::{InstanceId, agent::SampleBatch};
use std::collections::{HashMap, VecDeque};

/// The most that waiting points may take, in bytes: five minutes of a hundred machines with ten containers each.
const MOST_BYTES: usize = 32 << 20;
/// The most that those of one instance may take.
const MOST_OF_ONE: usize = MOST_BYTES / 8;

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
    /// Bytes of what waits and of what is being recorded: of each instance, and in all.
    held: HashMap<InstanceId, usize>,
    bytes: usize,
    /// The last batch that was taken of each instance.
    taken: HashMap<InstanceId, Mark>,
}

impl Waiting {
    /// Whether what this batch says can wait, too.
    pub(super) fn has_room(&self, instance: &InstanceId, batch: &SampleBatch) -> bool {
        let more = size(instance, batch.containers.iter().filter_map(|it| it.service.as_ref()));
        self.bytes + more <= MOST_BYTES && self.held.get(instance).copied().unwrap_or(0) + more <= MOST_OF_ONE
    }

    /// A point that was made of this batch.
    pub(super) fn push(&mut self, point: Point, mark: Mark) {
        self.note(&point.instance, mark);
        let size = size_of_point(&point);
        self.bytes += size;
        *self.held.entry(point.instance.clone()).or_default() += size;
        self.points.push_back(point);
    }

    /// This batch is taken.
    pub(super) fn note(&mut self, instance: &InstanceId, mark: Mark) {
        let taken = self.taken.entry(instance.clone()).or_insert_with(|| mark.clone());
        // One of a connection that was cut may come after later ones.
        if taken.run != mark.run || taken.sequence < mark.sequence {
            *taken = mark;
        }
    }

    /// Everything that waits, and how far each agent's batches are once that is recorded. It keeps its room until then.
    pub(super) fn drain(&mut self) -> (Vec<Point>, HashMap<InstanceId, Mark>) {
        (std::mem::take(&mut self.points).into(), self.taken.clone())
    }

    /// These are recorded.
    pub(super) fn release(&mut self, points: &[Point]) {
        for point in points {
            let size = size_of_point(point);
            self.bytes -= size;
            if let Some(held) = self.held.get_mut(&point.instance) {
                *held -= size;
            }
        }
        self.held.retain(|_, held| *held > 0);
    }

    /// These could not be recorded. They are older than all that waits.
    pub(super) fn put_back(&mut self, points: Vec<Point>) {
        let later = std::mem::replace(&mut self.points, points.into());
        self.points.extend(later);
    }

    pub(super) fn instances(&self) -> impl Iterator<Item = &InstanceId> {
        self.taken.keys()
    }

    /// The instance is no more; its points are still worth keeping.
    pub(super) fn forget(&mut self, instance: &InstanceId) {
        self.taken.remove(instance);
    }
}

fn size_of_point(point: &Point) -> usize {
    size(&point.instance, point.containers.keys())
}

/// Memory that a point with these containers takes, about.
fn size<'a>(instance: &InstanceId, containers: impl Iterator<Item = &'a String>) -> usize {
    let figures = size_of::<(String, ContainerPoint)>();
    size_of::<Point>() + instance.as_str().len() + containers.map(|name| name.len() + figures).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::sample;
    use micado_api::{Timestamp, agent::MachineSample};

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
        waiting.release(&points);
        assert_eq!((waiting.bytes, waiting.held.len()), (size_of_point(&sample("i1", 1)), 1), "the first was not recorded yet");
        waiting.release(&[sample("i1", 1)]);
        assert_eq!((waiting.bytes, waiting.held.len()), (0, 0));
    }

    #[test]
    fn there_is_room_for_so_much_of_one_and_of_all() {
        let mut waiting = Waiting::default();
        let batch = SampleBatch { sequence: 1, at: Timestamp(1), late: false, machine: MachineSample::default(), containers: Vec::new() };
        let fill = |waiting: &mut Waiting, name: &str| {
            let (instance, mut count) = (InstanceId::trusted(name), 0);
            while waiting.has_room(&instance, &batch) {
                waiting.push(sample(name, 1), Mark { run: "a".to_owned(), sequence: 1 });
                count += 1;
            }
            count
        };
        let most = MOST_OF_ONE / size_of_point(&sample("i1", 1));
        let counts: Vec<usize> = (1..=9).map(|n| fill(&mut waiting, &format!("i{n}"))).collect();
        assert_eq!(counts[..8], [most; 8]);
        assert!(counts[8] < most / 8, "all is full: {counts:?}");
        let (points, _) = waiting.drain();
        assert_eq!(fill(&mut waiting, "i1"), 0, "what is being recorded keeps its room");
        waiting.release(&points);
        assert_eq!(fill(&mut waiting, "i1"), most);
    }
}
