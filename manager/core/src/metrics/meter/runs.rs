//! Detection of batches that were taken already: by the run of the agent and the sequence number
//! within it.

use std::collections::{BTreeSet, VecDeque};

/// Upper bound for remembered runs of one agent: a connection that was cut may still deliver a
/// batch of an older run.
const RUNS: usize = 4;

/// Upper bound for remembered gaps in the sequence: an agent buffers fewer batches than that.
const LEFT_OUT: usize = 512;

/// Position of a batch relative to those taken before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Taken before.
    Again,
    /// Not taken before, but a later one was.
    Old,
    /// The first of a new run.
    First,
    /// The successor of the last one.
    Next,
    /// Later than the last one, with a gap between them.
    AfterGap,
}

/// Runs of one agent, the latest last.
#[derive(Debug, Default)]
pub(super) struct Runs(VecDeque<Run>);

#[derive(Debug)]
struct Run {
    name: String,
    highest: u64,
    left_out: BTreeSet<u64>,
}

impl Runs {
    /// Records this batch as taken.
    pub(super) fn take(&mut self, name: &str, sequence: u64) -> Order {
        let latest = self.0.len().saturating_sub(1);
        let Some((at, run)) = self
            .0
            .iter_mut()
            .enumerate()
            .find(|(_, run)| run.name == name)
        else {
            if self.0.len() == RUNS {
                self.0.pop_front();
            }
            // An agent sends its buffer in order, so it holds nothing older than this.
            self.0.push_back(Run {
                name: name.to_owned(),
                highest: sequence,
                left_out: BTreeSet::new(),
            });
            return Order::First;
        };
        match run.take(sequence) {
            Order::Next | Order::AfterGap if at != latest => Order::Old,
            order => order,
        }
    }
}

impl Run {
    fn take(&mut self, sequence: u64) -> Order {
        if sequence <= self.highest {
            return if self.left_out.remove(&sequence) {
                Order::Old
            } else {
                Order::Again
            };
        }
        let follows = sequence - self.highest == 1;
        let from = (self.highest + 1).max(sequence.saturating_sub(LEFT_OUT as u64));
        self.left_out.extend(from..sequence);
        while self.left_out.len() > LEFT_OUT {
            self.left_out.pop_first();
        }
        self.highest = sequence;
        if follows {
            Order::Next
        } else {
            Order::AfterGap
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Order::*, *};

    #[test]
    fn every_batch_is_taken_once() {
        let mut runs = Runs::default();
        let taken: Vec<Order> = [
            ("a", 3),
            ("a", 4),
            ("a", 4),
            ("a", 3),
            ("a", 7),
            ("a", 5),
            ("a", 5),
            ("a", 8),
        ]
        .map(|(run, at)| runs.take(run, at))
        .into();
        assert_eq!(
            taken,
            [First, Next, Again, Again, AfterGap, Old, Again, Next]
        );
        assert_eq!(runs.take("a", 2), Again, "an earlier manager has it");
    }

    #[test]
    fn what_an_older_run_still_says_is_old() {
        let mut runs = Runs::default();
        assert_eq!(
            [("a", 9), ("b", 1), ("a", 10), ("a", 10), ("b", 2)]
                .map(|(run, at)| runs.take(run, at)),
            [First, First, Old, Again, Next]
        );
    }

    #[test]
    fn memory_is_bounded_and_the_largest_sequence_breaks_nothing() {
        let mut runs = Runs::default();
        for run in 0..100 {
            for sequence in [0, 1 << 40, u64::MAX, u64::MAX] {
                runs.take(&format!("run {run}"), sequence);
            }
        }
        assert!(runs.0.len() == RUNS && runs.0.iter().all(|run| run.left_out.len() <= LEFT_OUT));
    }
}
