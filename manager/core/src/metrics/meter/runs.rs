//! Which batches of an agent were taken already: by the run of the agent and the sequence within
//! it.

use std::collections::{BTreeSet, VecDeque};

/// Runs of one agent that are remembered: a connection that was cut may still deliver what an older
/// one sent.
const RUNS: usize = 4;

/// Sequences that were left out and are remembered: an agent keeps fewer than that.
const LEFT_OUT: usize = 512;

/// How a batch stands to those that were taken before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// It was taken before.
    Again,
    /// It was not, but a later one was.
    Old,
    /// The first that is known of its run, which is a new one.
    First,
    /// It follows the last one.
    Next,
    /// It is later than the last one, and some between them are missing.
    AfterGap,
}

/// The runs of one agent, the latest last.
#[derive(Debug, Default)]
pub(super) struct Runs(VecDeque<Run>);

#[derive(Debug)]
struct Run {
    name: String,
    highest: u64,
    left_out: BTreeSet<u64>,
}

impl Runs {
    /// Notes that this batch is taken.
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
            // An agent sends what it keeps in order: it keeps nothing that came before this.
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
