//! Choices where notation or behaviour of the real service is unknown.

use crate::{Outcome, random::Dice};
use std::time::Duration;

/// Variants that clients must accept. The default is the most likely one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spelling {
    /// `instance_type_id` for `instance-type-id` in answers.
    pub underscores: bool,
    /// Notation of an absent value.
    pub nulls: Nulls,
    /// An empty list is `nil-classes`.
    pub nil_classes: bool,
    /// Actions (submit, stop, delete and such) are answered by one space instead of the record.
    pub blank_actions: bool,
    /// Creations are answered by 200 instead of 201.
    pub create_is_200: bool,
    /// `page` and `per_page` are honoured.
    pub paging: bool,
    /// `instances.xml?job_id=` lists only that job's.
    pub filters_by_job: bool,
    /// `/jobs/{id}/instances.xml` exists.
    pub nested_instances: bool,
    /// An instance names its job.
    pub shows_job_id: bool,
    /// Time for which a halted instance is listed; `None` is for ever.
    pub halted_listed: Option<Duration>,
    /// Every job also lists, first, an instance that was halted before its own began.
    pub ghosts: bool,
    /// `job-outcome-string` of a job that ended by itself, was stopped, and failed.
    pub outcomes: [String; 3],
}

/// Notation of an absent value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// `<a nil="true"/>`, with the type's attribute.
    Attribute,
    /// `<a></a>`.
    Empty,
    /// Omitted.
    Absent,
    /// One of these, at random each time.
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
    /// Random variants by a seed, in which a job's instances can always be told from others.
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
