//! Leadership of a cluster: the lease that a Swarm carries as labels, and the rules for taking and
//! keeping it.
//!
//! Clocks of two machines are never compared. A candidate watches a lease for the duration that the
//! lease itself states, and takes it for expired if its beat does not change meanwhile.

use std::{collections::HashMap, time::Duration};

/// Label: identity of the leader's store.
pub const HOLDER: &str = "micado.leader";
/// Label: machine and process of its manager.
const HOST: &str = "micado.leader.host";
/// Label: time at which that manager took the lease, by its own clock.
const SINCE: &str = "micado.leader.since";
/// Label: rises each time the lease is taken.
const TERM: &str = "micado.leader.term";
/// Label: rises with every renewal.
const BEAT: &str = "micado.leader.beat";
/// Label: seconds that the lease lasts without a renewal.
const LASTS: &str = "micado.leader.lasts";

/// Upper bound for a candidate's wait, whatever a label says.
const LONGEST: Duration = Duration::from_secs(600);

/// A lease, as the labels of a Swarm hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Identity of the leader's store.
    pub holder: String,
    /// Machine and process of its manager, for people.
    pub host: String,
    /// Time at which that manager took the lease, by its own clock, for people.
    pub since: String,
    /// Rises each time the lease is taken: distinguishes two managers of one store.
    pub term: u64,
    /// Rises with every renewal.
    pub beat: u64,
    /// Duration of the lease without a renewal.
    pub lasts: Duration,
}

impl Lease {
    /// Reads the lease from these labels; `None` if they name no holder. Unreadable numbers count
    /// as 0.
    #[must_use]
    pub fn read(labels: &HashMap<String, String>) -> Option<Self> {
        let text = |key: &str| labels.get(key).cloned().unwrap_or_default();
        let number = |key: &str| text(key).parse().unwrap_or_default();
        Some(Self {
            holder: labels
                .get(HOLDER)
                .filter(|holder| !holder.is_empty())?
                .clone(),
            host: text(HOST),
            since: text(SINCE),
            term: number(TERM),
            beat: number(BEAT),
            lasts: Duration::from_secs(number(LASTS)).min(LONGEST),
        })
    }

    /// Writes the lease into the labels, in place of any other.
    pub fn write(&self, labels: &mut HashMap<String, String>) {
        let entries = [
            (HOLDER, self.holder.clone()),
            (HOST, self.host.clone()),
            (SINCE, self.since.clone()),
            (TERM, self.term.to_string()),
            (BEAT, self.beat.to_string()),
            (LASTS, self.lasts.as_secs().to_string()),
        ];
        labels.extend(entries.map(|(key, value)| (key.to_owned(), value)));
    }

    /// Returns the same lease, renewed.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self {
            beat: self.beat.wrapping_add(1),
            ..self.clone()
        }
    }

    /// Returns true if this lease may still be renewed, given the lease found in the Swarm: not
    /// once another identity holds it, nor once a later manager of the same store took it. A
    /// deleted lease is restored.
    #[must_use]
    pub fn is_held(&self, found: Option<&Self>) -> bool {
        found.is_none_or(|found| found.holder == self.holder && found.term == self.term)
    }
}

/// Reason for which a candidate may take the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grounds {
    /// No lease exists.
    Free,
    /// The same store held it: this is its manager after a restart.
    Own,
    /// Its holder did not renew it within its duration.
    Expired(Lease),
    /// The operator forced it.
    TakenOver(Lease),
}

/// Next step of a candidate after it has read the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Take the lease.
    Take(Grounds),
    /// Read it again soon.
    Watch,
    /// Stop: its holder is alive.
    Refuse(Lease),
}

/// A manager that wants to lead.
#[derive(Debug, Clone)]
pub struct Candidate {
    identity: String,
    take_over: bool,
    first: Option<Lease>,
}

impl Candidate {
    /// A candidate of this identity. With `take_over` it takes a lease that another identity holds.
    #[must_use]
    pub fn new(identity: &str, take_over: bool) -> Self {
        Self {
            identity: identity.to_owned(),
            take_over,
            first: None,
        }
    }

    /// Judges the lease that the Swarm holds, `watched` after the first reading.
    pub fn judge(&mut self, watched: Duration, found: Option<Lease>) -> Verdict {
        let Some(found) = found else {
            return Verdict::Take(Grounds::Free);
        };
        if found.holder == self.identity {
            return Verdict::Take(Grounds::Own);
        }
        if self.take_over {
            return Verdict::Take(Grounds::TakenOver(found));
        }
        match &self.first {
            None => {
                self.first = Some(found);
                Verdict::Watch
            }
            Some(first) if *first != found => Verdict::Refuse(found),
            Some(_) if watched >= found.lasts => Verdict::Take(Grounds::Expired(found)),
            Some(_) => Verdict::Watch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(30);

    fn lease(holder: &str, term: u64, beat: u64) -> Lease {
        Lease {
            holder: holder.to_owned(),
            host: "host (process 1)".to_owned(),
            since: "2026-01-01T00:00:00Z".to_owned(),
            term,
            beat,
            lasts: LASTS,
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn labels_hold_the_whole_lease_and_leave_others_alone() {
        let mut labels = HashMap::from([("theirs".to_owned(), "kept".to_owned())]);
        assert_eq!(Lease::read(&labels), None);
        lease("a", 3, 7).write(&mut labels);
        assert_eq!(Lease::read(&labels), Some(lease("a", 3, 7)));
        lease("b", 4, 0).write(&mut labels);
        assert_eq!(Lease::read(&labels), Some(lease("b", 4, 0)));
        assert_eq!(labels["theirs"], "kept");
    }

    #[test]
    fn unusable_labels_make_nobody_wait_for_ever() {
        let mut labels = HashMap::new();
        lease("a", 1, 1).write(&mut labels);
        labels.insert(super::LASTS.to_owned(), u64::MAX.to_string());
        labels.insert(TERM.to_owned(), "many".to_owned());
        let read = Lease::read(&labels).expect("a lease");
        assert_eq!((read.lasts, read.term), (LONGEST, 0));
    }

    #[test]
    fn a_free_lease_and_ones_own_are_taken_at_once() {
        let mut candidate = Candidate::new("a", false);
        assert_eq!(
            candidate.judge(seconds(0), None),
            Verdict::Take(Grounds::Free)
        );
        assert_eq!(
            candidate.judge(seconds(0), Some(lease("a", 1, 5))),
            Verdict::Take(Grounds::Own)
        );
    }

    #[test]
    fn a_lease_whose_beat_changes_is_refused() {
        let mut candidate = Candidate::new("b", false);
        assert_eq!(
            candidate.judge(seconds(0), Some(lease("a", 1, 5))),
            Verdict::Watch
        );
        assert_eq!(
            candidate.judge(seconds(29), Some(lease("a", 1, 5))),
            Verdict::Watch
        );
        assert_eq!(
            candidate.judge(seconds(31), Some(lease("a", 1, 6))),
            Verdict::Refuse(lease("a", 1, 6)),
            "a sign of life counts even when it comes late"
        );
    }

    #[test]
    fn a_lease_that_somebody_else_took_meanwhile_is_refused() {
        let mut candidate = Candidate::new("b", false);
        candidate.judge(seconds(0), Some(lease("a", 1, 5)));
        assert_eq!(
            candidate.judge(seconds(30), Some(lease("c", 2, 0))),
            Verdict::Refuse(lease("c", 2, 0))
        );
    }

    #[test]
    fn a_lease_without_a_sign_of_life_expires() {
        let mut candidate = Candidate::new("b", false);
        candidate.judge(seconds(0), Some(lease("a", 1, 5)));
        assert_eq!(
            candidate.judge(seconds(30), Some(lease("a", 1, 5))),
            Verdict::Take(Grounds::Expired(lease("a", 1, 5)))
        );
    }

    #[test]
    fn an_operator_takes_over_without_a_wait() {
        assert_eq!(
            Candidate::new("b", true).judge(seconds(0), Some(lease("a", 1, 5))),
            Verdict::Take(Grounds::TakenOver(lease("a", 1, 5)))
        );
    }

    #[test]
    fn a_lease_is_held_until_another_manager_has_it() {
        let mine = lease("a", 2, 5);
        assert!(mine.is_held(Some(&mine.renewed())) && mine.is_held(None));
        assert!(!mine.is_held(Some(&lease("b", 2, 5))));
        assert!(
            !mine.is_held(Some(&lease("a", 3, 0))),
            "a later manager of the same store"
        );
    }
}
