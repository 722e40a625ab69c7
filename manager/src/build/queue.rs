//! The queue of builds on one engine: one runs, the others wait in the order of their requests.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::watch;

/// Upper bound for builds that run or wait. Each holds a connection.
const MOST: usize = 32;

/// Builds by number; the first one runs.
#[derive(Debug)]
pub struct Queue {
    builds: watch::Sender<VecDeque<u64>>,
    next: AtomicU64,
}

/// A place in the queue, given up when dropped.
#[derive(Debug)]
pub struct Place {
    queue: Arc<Queue>,
    number: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            builds: watch::Sender::new(VecDeque::new()),
            next: AtomicU64::new(0),
        }
    }
}

impl Queue {
    /// Takes the last place, unless the queue is full.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entered = self.builds.send_if_modified(|builds| {
            let room = builds.len() < MOST;
            if room {
                builds.push_back(number);
            }
            room
        });
        entered.then(|| Place {
            queue: self.clone(),
            number,
        })
    }

    /// Number of builds that run or wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.builds.borrow().len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Place {
    /// Number of builds that come first.
    #[must_use]
    pub fn ahead(&self) -> usize {
        let builds = self.queue.builds.borrow();
        let place = builds.iter().position(|number| *number == self.number);
        place.unwrap_or(0)
    }

    /// Resolves once the number of builds ahead is another one than this.
    pub async fn moves(&self, ahead: usize) {
        let mut builds = self.queue.builds.subscribe();
        let moved = builds.wait_for(|builds| {
            let place = builds.iter().position(|number| *number == self.number);
            place != Some(ahead)
        });
        // The sender lives as long as this place.
        drop(moved.await);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue
            .builds
            .send_modify(|builds| builds.retain(|number| *number != self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn builds_run_one_after_the_other_in_their_order() {
        let queue = Arc::new(Queue::default());
        let [first, second, third] = [(); 3].map(|()| queue.enter().expect("room"));
        let places = |all: &[&Place]| all.iter().map(|it| it.ahead()).collect::<Vec<_>>();
        assert_eq!(places(&[&first, &second, &third]), [0, 1, 2]);

        let moved = timeout(Duration::from_millis(20), third.moves(2)).await;
        assert!(moved.is_err(), "nothing has moved");
        drop(second);
        third.moves(2).await;
        assert_eq!(places(&[&first, &third]), [0, 1]);
        drop(first);
        third.moves(1).await;
        assert_eq!((third.ahead(), queue.len()), (0, 1));
        drop(third);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let queue = Arc::new(Queue::default());
        let mut places: Vec<Place> = std::iter::from_fn(|| queue.enter()).collect();
        assert_eq!(places.len(), MOST);
        places.pop();
        assert!(queue.enter().is_some());
    }
}
