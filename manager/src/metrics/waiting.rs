//! Bounded queue of points and events to be recorded, and the position of each agent's batches in
//! it.

use super::{ContainerPoint, EventRecord, Placed, Point};
use micado_api::{
    InstanceId, Timestamp,
    agent::{ContainerEvent, SampleBatch},
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

/// Upper bound for the whole queue, in bytes: five minutes of a hundred machines with ten
/// containers each.
pub(super) const MOST_BYTES: usize = 32 << 20;
/// Upper bound for one instance's part of the queue.
const MOST_OF_ONE: usize = MOST_BYTES / 8;

/// A batch, identified by the run of its agent and its sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watermark {
    pub(super) run: String,
    pub(super) sequence: u64,
}

/// An event and the instance that reported it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) instance: InstanceId,
    pub(super) event: ContainerEvent,
    /// Placement of its container, on that instance. `None` if the facts did not know it: then it
    /// is looked up in the history when the event is recorded.
    pub(super) placed: Option<Arc<Placed>>,
}

/// Identity of an event, matching that of an [`EventRecord`].
type Identity = (InstanceId, Timestamp, String, &'static str);

impl Told {
    fn identity(&self) -> Identity {
        let event = &self.event;
        (
            self.instance.clone(),
            event.at,
            event.id.clone(),
            event.what.word(),
        )
    }

    /// The record of the event; `None` without a placement.
    pub(super) fn record(&self) -> Option<EventRecord> {
        let placed = self.placed.as_ref()?;
        Some(EventRecord::new(Placed::clone(placed), &self.event))
    }
}

/// Points and events, oldest first. They stay until they are recorded.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    points: VecDeque<Point>,
    events: VecDeque<Told>,
    /// Identities of waiting events: agents resend events after each cut.
    known: HashSet<Identity>,
    /// Bytes of waiting items: of each instance, and in all.
    held: HashMap<InstanceId, usize>,
    bytes: usize,
    /// Last batch taken from each instance.
    taken: HashMap<InstanceId, Watermark>,
}

/// Content of the queue at one moment. Once this many items are recorded, the batches up to these
/// watermarks are durable, with all events before them.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) points: usize,
    pub(super) events: usize,
    pub(super) watermarks: HashMap<InstanceId, Watermark>,
}

impl Waiting {
    /// Returns true if there is room for the batch.
    pub(super) fn has_room(&self, instance: &InstanceId, batch: &SampleBatch) -> bool {
        self.has_room_for(
            instance,
            size(
                instance,
                batch.containers.iter().filter_map(|it| it.service.as_ref()),
            ),
        )
    }

    fn has_room_for(&self, instance: &InstanceId, more: usize) -> bool {
        self.bytes + more <= MOST_BYTES
            && self.held.get(instance).copied().unwrap_or(0) + more <= MOST_OF_ONE
    }

    /// Adds the point of this batch.
    pub(super) fn push(&mut self, point: Point, watermark: Watermark) {
        self.note(&point.instance, watermark);
        self.hold(&point.instance, size_of_point(&point));
        self.points.push_back(point);
    }

    /// Adds an event, unless it waits already; false if there is no room for it.
    pub(super) fn push_event(&mut self, told: Told) -> bool {
        let (identity, size) = (told.identity(), size_of_event(&told));
        if self.known.contains(&identity) {
            return true;
        }
        let fits = self.has_room_for(&told.instance, size);
        if fits {
            self.hold(&told.instance, size);
            self.known.insert(identity);
            self.events.push_back(told);
        }
        fits
    }

    /// Marks this batch as taken.
    pub(super) fn note(&mut self, instance: &InstanceId, watermark: Watermark) {
        let taken = self
            .taken
            .entry(instance.clone())
            .or_insert_with(|| watermark.clone());
        // A batch of a connection that was cut may arrive after later ones.
        if taken.run != watermark.run || taken.sequence < watermark.sequence {
            *taken = watermark;
        }
    }

    /// Returns the present content.
    pub(super) fn due(&self) -> Due {
        Due {
            points: self.points.len(),
            events: self.events.len(),
            watermarks: self.taken.clone(),
        }
    }

    /// Bytes of all that waits.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns true if this event waits already.
    pub(super) fn is_waiting(&self, told: &Told) -> bool {
        self.known.contains(&told.identity())
    }

    /// Points, oldest first.
    pub(super) fn points(&self) -> impl ExactSizeIterator<Item = &Point> {
        self.points.iter()
    }

    /// Events, oldest first.
    pub(super) fn events(&self) -> impl ExactSizeIterator<Item = &Told> {
        self.events.iter()
    }

    /// Events, oldest first, to add placements to.
    pub(super) fn events_mut(&mut self) -> impl Iterator<Item = &mut Told> {
        self.events.iter_mut()
    }

    /// Removes this many of the oldest points after their recording.
    pub(super) fn release_points(&mut self, count: usize) {
        for point in self.points.drain(..count).collect::<Vec<_>>() {
            self.let_go(&point.instance, size_of_point(&point));
        }
    }

    /// Removes this many of the oldest events after their recording.
    pub(super) fn release_events(&mut self, count: usize) {
        for told in self.events.drain(..count).collect::<Vec<_>>() {
            self.known.remove(&told.identity());
            self.let_go(&told.instance, size_of_event(&told));
        }
    }

    fn hold(&mut self, instance: &InstanceId, size: usize) {
        self.bytes += size;
        *self.held.entry(instance.clone()).or_default() += size;
    }

    fn let_go(&mut self, instance: &InstanceId, size: usize) {
        self.bytes -= size;
        if let Some(held) = self.held.get_mut(instance) {
            *held -= size;
            if *held == 0 {
                self.held.remove(instance);
            }
        }
    }

    pub(super) fn instances(&self) -> impl Iterator<Item = &InstanceId> {
        self.taken.keys()
    }

    /// Drops the watermark of a removed instance; its waiting items are still recorded.
    pub(super) fn forget(&mut self, instance: &InstanceId) {
        self.taken.remove(instance);
    }
}

/// Approximate memory of an event and its identity.
fn size_of_event(told: &Told) -> usize {
    let Told {
        instance, event, ..
    } = told;
    let twice = instance.as_str().len() + event.id.len();
    size_of::<Told>()
        + size_of::<Identity>()
        + 2 * twice
        + event.service.as_ref().map_or(0, String::len)
}

fn size_of_point(point: &Point) -> usize {
    size(&point.instance, point.containers.keys())
}

/// Approximate memory of a point with these containers.
fn size<'a>(instance: &InstanceId, containers: impl Iterator<Item = &'a String>) -> usize {
    let figures = size_of::<(String, ContainerPoint)>();
    size_of::<Point>()
        + instance.as_str().len()
        + containers.map(|name| name.len() + figures).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::tests::sample;
    use micado_api::agent::{ContainerHappening, MachineSample};

    fn waiting(count: u64) -> Waiting {
        let mut waiting = Waiting::default();
        (1..=count).for_each(|n| {
            waiting.push(
                sample("i1", n),
                Watermark {
                    run: "a".to_owned(),
                    sequence: n,
                },
            )
        });
        waiting
    }

    /// An event with an id of this many bytes.
    fn told(instance: &str, bytes: usize) -> Told {
        let event = ContainerEvent {
            id: "e".repeat(bytes),
            service: None,
            at: Timestamp(1),
            what: ContainerHappening::Started,
        };
        Told {
            instance: InstanceId::trusted(instance),
            event,
            placed: None,
        }
    }

    #[test]
    fn what_waits_stays_until_it_is_recorded() {
        let mut waiting = waiting(3);
        let due = waiting.due();
        assert_eq!(
            (
                due.points,
                due.watermarks[&InstanceId::trusted("i1")].sequence
            ),
            (3, 3)
        );
        waiting.push(
            sample("i1", 4),
            Watermark {
                run: "a".to_owned(),
                sequence: 4,
            },
        );
        assert!(waiting.push_event(told("i1", 10)) && waiting.push_event(told("i1", 20)));
        waiting.release_points(1);
        assert_eq!(
            waiting.points().map(|it| it.at.0).collect::<Vec<_>>(),
            [2, 3, 4]
        );
        waiting.release_points(3);
        waiting.release_events(1);
        assert_eq!(
            (waiting.bytes, waiting.held.len()),
            (size_of_event(&told("i1", 20)), 1),
            "one event is not recorded yet"
        );
        waiting.release_events(1);
        assert_eq!((waiting.bytes, waiting.held.len()), (0, 0));
    }

    #[test]
    fn what_is_told_again_waits_once() {
        let mut waiting = Waiting::default();
        let at = |n| {
            let mut told = told("i1", 10);
            told.event.at = Timestamp(n);
            told
        };
        for _ in 0..3 {
            assert!(
                waiting.push_event(at(1))
                    && waiting.push_event(at(2))
                    && waiting.push_event(told("i2", 10))
            );
        }
        assert_eq!(waiting.due().events, 3);
        let bytes = waiting.bytes;
        // Repetitions are accepted even without room.
        while waiting.push_event(at(waiting.due().events as u64)) {}
        assert!(waiting.push_event(at(1)));
        waiting.release_events(waiting.due().events);
        assert!(waiting.bytes == 0 && waiting.known.is_empty());
        assert!(
            waiting.push_event(at(1))
                && waiting.push_event(at(2))
                && waiting.push_event(told("i2", 10)),
            "what is recorded may be told again"
        );
        assert_eq!((waiting.due().events, waiting.bytes), (3, bytes));
    }

    #[test]
    fn there_is_room_for_so_much_of_one_and_of_all() {
        let mut waiting = Waiting::default();
        let batch = SampleBatch {
            sequence: 1,
            at: Timestamp(1),
            late: false,
            machine: MachineSample::default(),
            containers: Vec::new(),
        };
        let fill = |waiting: &mut Waiting, name: &str| {
            let (instance, mut count) = (InstanceId::trusted(name), 0);
            while waiting.has_room(&instance, &batch) {
                waiting.push(
                    sample(name, 1),
                    Watermark {
                        run: "a".to_owned(),
                        sequence: 1,
                    },
                );
                count += 1;
            }
            count
        };
        let most = MOST_OF_ONE / size_of_point(&sample("i1", 1));
        let counts: Vec<usize> = (1..=9)
            .map(|n| fill(&mut waiting, &format!("i{n}")))
            .collect();
        assert_eq!(counts[..8], [most; 8]);
        assert!(counts[8] < most / 8, "all is full: {counts:?}");
        assert!(
            !waiting.push_event(told("i1", MOST_OF_ONE / 4))
                && !waiting.push_event(told("i9", MOST_OF_ONE / 2)),
            "nor is there room for events"
        );
        waiting.release_points(waiting.points.len());
        assert!(
            waiting.push_event(told("i1", MOST_OF_ONE / 4))
                && !waiting.push_event(told("i1", MOST_OF_ONE / 4 + 1))
        );
        assert!(
            (1..=most / 2).contains(&fill(&mut waiting, "i1")),
            "they share the room"
        );
    }
}
