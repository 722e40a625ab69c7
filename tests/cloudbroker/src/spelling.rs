//! Where nobody knows how the real service spells or does a thing, the choice of one way.

use crate::{Outcome, random::Dice};
use std::time::Duration;

/// What clients must put up with. The default is what is most likely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling {
    /// `instance_type_id` for `instance-type-id` in answers.
    pub underscores: bool,
    /// How a value that is not there is written.
    pub nulls: Nulls,
    /// An empty list is `nil-classes`.
    pub nil_classes: bool,
    /// Actions (submit, stop, delete and such) are answered by one space, not by the record.
    pub blank_actions: bool,
    /// Creating is answered by 200, not 201.
    pub create_is_200: bool,
    /// `page` and `per_page` are heeded.
    pub paging: bool,
    /// `instances.xml?job_id=` lists only that job's.
    pub filters_by_job: bool,
    /// `/jobs/{id}/instances.xml` is there.
    pub nested_instances: bool,
    /// An instance says which job it is of.
    pub shows_job_id: bool,
    /// How long a halted instance is listed; `None` is for ever.
    pub halted_listed: Option<Duration>,
    /// Every job also lists, first, an instance that was halted before its own began.
    pub ghosts: bool,
    /// What `job-outcome-string` says of a job that ended by itself, was stopped, and failed.
    pub outcomes: [String; 3],
}

/// How a value that is not there is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// `<a nil="true"/>`, with the type's attribute.
    Attribute,
    /// `<a></a>`.
    Empty,
    /// Not at all.
    Absent,
    /// One of these, each time anew.
    Random,
}

impl Default for Spelling {
    fn default() -> Self {
        Self {
            underscores: false,
            nulls: Nulls::Attribute,
            nil_classes: false,
            blank_actions: false,
            create_is_200: false,
            paging: true,
            filters_by_job: true,
            nested_instances: true,
            shows_job_id: false,
            halted_listed: None,
            ghosts: false,
            outcomes: ["success", "interrupted", "failed"].map(str::to_owned),
        }
    }
}

impl Spelling {
    /// Any of the ways, by a seed; always one in which a job's instances can be told from those of
    /// others.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut coin = || dice.chance(0.5);
        let (filters_by_job, nested_instances) = (coin(), coin());
        Self {
            underscores: coin(),
            nulls: Nulls::Random,
            nil_classes: coin(),
            blank_actions: coin(),
            create_is_200: coin(),
            paging: coin(),
            filters_by_job,
            nested_instances,
            shows_job_id: coin() || !(filters_by_job || nested_instances),
            halted_listed: coin().then_some(Duration::from_secs(1)),
            ghosts: coin(),
            ..Self::default()
        }
    }

    pub(crate) fn outcome(&self, outcome: Outcome) -> &str {
        let [ended, interrupted, failed] = &self.outcomes;
        match outcome {
            Outcome::Ended => ended,
            Outcome::Interrupted => interrupted,
            Outcome::Failed => failed,
        }
    }
}
