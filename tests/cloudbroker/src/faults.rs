//! Faults: by rule, for the calls that a test names, or at random by a seed.

use crate::{locked, random::Dice};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{sync::Mutex, time::Duration};

/// Kinds of calls, for faults and the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    /// `POST /jobs.xml`.
    CreateJob,
    /// `POST /data_files.xml`.
    Upload,
    /// `PUT /jobs/{id}/submit.xml`.
    SubmitJob,
    /// `GET /jobs/{id}.xml`.
    ShowJob,
    /// `GET /jobs.xml`.
    ListJobs,
    /// `PUT /jobs/{id}/stop.xml`.
    StopJob,
    /// `DELETE /jobs/{id}.xml`.
    DeleteJob,
    /// `POST /instances.xml`.
    CreateInstance,
    /// `GET /instances/{id}.xml`.
    ShowInstance,
    /// `GET /instances.xml` and `GET /jobs/{id}/instances.xml`.
    ListInstances,
    /// `PUT /instances/{id}/stop.xml`.
    StopInstance,
    /// Lists and shows of the catalogue, data types included.
    Catalogue,
    /// All others.
    Other,
}

/// A fault of a call. Lost replies are closed connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// No effect, no reply.
    LostBefore,
    /// The effect, but no reply.
    LostAfter,
    /// No effect; a reply with this status and plain text, and the seconds to wait, if any.
    Status {
        /// Such as 500, 429 or 503.
        code: u16,
        /// Seconds.
        #[serde(default)]
        retry_after: Option<u32>,
    },
    /// The effect, and a reply with this status and plain text.
    StatusAfter {
        /// Such as 500 or 502.
        code: u16,
    },
    /// No effect; the reply is 200 with an `errors` document of this text.
    ErrorsAt200(String),
    /// No effect; the reply is 200 with this body.
    BodyAt200(String),
    /// No effect and no reply; the connection stays open for this time (milliseconds in JSON).
    Hang(#[serde(with = "milliseconds")] Duration),
    /// The same, with the effect.
    HangAfter(#[serde(with = "milliseconds")] Duration),
    /// Executed and answered after this time (milliseconds in JSON).
    Slow(#[serde(with = "milliseconds")] Duration),
    /// This process is killed (SIGKILL) before the effect; no reply.
    KillBefore(u32),
    /// This process is killed (SIGKILL) after the effect; no reply.
    KillAfter(u32),
    /// The reply has an unknown status word.
    UnknownStatus,
    /// The reply has `not allocated` for every address.
    NotAllocated,
    /// Creating or submitting: refused with this text.
    Quota(String),
    /// Creating or submitting: the machine never leaves `starting`.
    NeverBoots,
    /// Creating or submitting: the machine dies while it is `initializing`.
    DiesBooting,
    /// The reply lists every thing of the catalogue twice, with another id.
    CatalogueClash,
}

/// Calls to which a fault applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Kind of calls.
    pub call: CallKind,
    pub fault: Fault,
    /// Only calls concerning a job or instance with this text in its name or description. A list
    /// concerns everything in it.
    #[serde(default)]
    pub subject: Option<String>,
    /// Number of calls; `None` is all.
    #[serde(default = "once")]
    pub times: Option<u32>,
}

#[expect(clippy::unnecessary_wraps, reason = "what serde's default must give")]
fn once() -> Option<u32> {
    Some(1)
}

impl Rule {
    /// A fault of the next call of this kind.
    #[must_use]
    pub fn new(call: CallKind, fault: Fault) -> Self {
        Self {
            call,
            fault,
            subject: None,
            times: once(),
        }
    }

    /// Only calls concerning something with this text in its name or description.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// This number of calls.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Every call.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }
}

/// A fault that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Happened {
    pub at: Timestamp,
    pub call: CallKind,
    pub fault: Fault,
    /// Subject of the rule that applied.
    pub subject: Option<String>,
}

/// The rules in force, and the faults so far.
#[derive(Debug)]
pub struct Faults {
    kept: Mutex<Kept>,
    /// Probability of a random fault per call.
    rate: f64,
}

#[derive(Debug)]
struct Kept {
    rules: Vec<Rule>,
    happened: Vec<Happened>,
    dice: Dice,
}

impl Faults {
    pub(crate) fn new(seed: u64, rate: f64) -> Self {
        Self {
            kept: Mutex::new(Kept {
                rules: Vec::new(),
                happened: Vec::new(),
                dice: Dice::new(seed),
            }),
            rate,
        }
    }

    /// Adds a rule. The first one that matches a call applies.
    pub fn add(&self, rule: Rule) {
        locked(&self.kept).rules.push(rule);
    }

    /// Rules that may still apply.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        locked(&self.kept).rules.clone()
    }

    /// Faults so far, oldest first.
    #[must_use]
    pub fn happened(&self) -> Vec<Happened> {
        locked(&self.kept).happened.clone()
    }

    /// Removes all rules; past faults stay known.
    pub fn clear(&self) {
        locked(&self.kept).rules.clear();
    }

    /// True if any rule has a subject.
    pub(crate) fn are_choosy(&self) -> bool {
        locked(&self.kept)
            .rules
            .iter()
            .any(|rule| rule.subject.is_some())
    }

    /// The fault of this call, which concerns things of these names and descriptions.
    pub(crate) fn strike(
        &self,
        call: CallKind,
        about: &[String],
        at: Timestamp,
    ) -> Option<Happened> {
        let mut kept = locked(&self.kept);
        let (fault, subject) = match kept
            .rules
            .iter()
            .position(|rule| rule.call == call && fits(rule, about))
        {
            Some(position) => {
                let rule = &mut kept.rules[position];
                let struck = (rule.fault.clone(), rule.subject.clone());
                if let Some(times) = &mut rule.times {
                    *times = times.saturating_sub(1);
                    if *times == 0 {
                        kept.rules.remove(position);
                    }
                }
                struck
            }
            None => (
                kept.dice
                    .chance(self.rate)
                    .then(|| random(&mut kept.dice, call))?,
                None,
            ),
        };
        let happened = Happened {
            at,
            call,
            fault,
            subject,
        };
        kept.happened.push(happened.clone());
        Some(happened)
    }
}

fn fits(rule: &Rule, about: &[String]) -> bool {
    rule.times != Some(0)
        && rule
            .subject
            .as_ref()
            .is_none_or(|subject| about.iter().any(|text| text.contains(subject)))
}

/// A plausible random fault of this kind of call, which every client can survive.
fn random(dice: &mut Dice, call: CallKind) -> Fault {
    let mut choice = vec![
        Fault::LostBefore,
        Fault::LostAfter,
        Fault::Status {
            code: 500,
            retry_after: None,
        },
        Fault::StatusAfter { code: 502 },
        Fault::Status {
            code: 429,
            retry_after: Some(1),
        },
        Fault::Status {
            code: 503,
            retry_after: None,
        },
        Fault::ErrorsAt200("The platform is busy".to_owned()),
        Fault::Slow(Duration::from_millis(300)),
    ];
    choice.extend(match call {
        CallKind::CreateJob | CallKind::SubmitJob | CallKind::CreateInstance => {
            vec![
                Fault::Quota("Maximum number of instances reached".to_owned()),
                Fault::NeverBoots,
                Fault::DiesBooting,
            ]
        }
        CallKind::ShowJob | CallKind::ListJobs => vec![Fault::UnknownStatus],
        CallKind::ShowInstance | CallKind::ListInstances => {
            vec![Fault::UnknownStatus, Fault::NotAllocated]
        }
        CallKind::Upload => vec![
            Fault::BodyAt200(" ".to_owned()),
            Fault::BodyAt200("<hash><errors><error>Busy</error></errors></hash>".to_owned()),
        ],
        _ => Vec::new(),
    });
    choice.swap_remove(dice.below(choice.len()))
}

/// Durations in JSON, as whole milliseconds.
mod milliseconds {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_happens_as_often_as_it_says_to_those_it_is_about() {
        let faults = Faults::new(1, 0.0);
        faults.add(
            Rule::new(CallKind::SubmitJob, Fault::LostAfter)
                .about("web")
                .times(2),
        );
        let strike = |call, about: &str| {
            faults
                .strike(call, &[about.to_owned()], Timestamp::UNIX_EPOCH)
                .map(|happened| happened.fault)
        };
        assert_eq!(strike(CallKind::SubmitJob, "db1"), None);
        assert_eq!(strike(CallKind::StopJob, "web1"), None);
        assert_eq!(strike(CallKind::SubmitJob, "web1"), Some(Fault::LostAfter));
        assert_eq!(strike(CallKind::SubmitJob, "web2"), Some(Fault::LostAfter));
        assert_eq!(strike(CallKind::SubmitJob, "web1"), None);
        assert_eq!((faults.happened().len(), faults.rules().len()), (2, 0));
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let strikes = |seed| {
            let faults = Faults::new(seed, 0.5);
            (0..50)
                .map(|_| {
                    faults
                        .strike(CallKind::ShowJob, &[], Timestamp::UNIX_EPOCH)
                        .map(|happened| happened.fault)
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(strikes(7), strikes(7));
        assert_ne!(strikes(7), strikes(8));
        let struck = strikes(7).iter().flatten().count();
        assert!((10..40).contains(&struck), "{struck} of 50");
    }

    #[test]
    fn rules_are_written_in_json() {
        let text = r#"[{"call":"create_job","fault":"lost_after"},{"call":"show_job","fault":{"slow":250},"subject":"web","times":null},
            {"call":"list_jobs","fault":{"status":{"code":429,"retry_after":2}},"times":3}]"#;
        let rules: Vec<Rule> = serde_json::from_str(text).expect("rules");
        let expected = [
            Rule::new(CallKind::CreateJob, Fault::LostAfter),
            Rule::new(CallKind::ShowJob, Fault::Slow(Duration::from_millis(250)))
                .about("web")
                .always(),
            Rule::new(
                CallKind::ListJobs,
                Fault::Status {
                    code: 429,
                    retry_after: Some(2),
                },
            )
            .times(3),
        ];
        assert_eq!(rules, expected);
        assert_eq!(
            serde_json::from_str::<Vec<Rule>>(&serde_json::to_string(&rules).expect("JSON"))
                .expect("rules"),
            expected
        );
    }
}
