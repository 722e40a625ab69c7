//! Transitions of jobs and instances between statuses.

use super::{World, earliest};
use crate::{
    Activity, Fate, Instance, InstanceStatus, Job, JobStatus, Machine, Outcome, Power, Run, Status,
};
use jiff::Timestamp;

/// An action on a machine; its result comes back as a call of [`World`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Boots this instance's machine: [`World::started`], then [`World::up`], or [`World::died`].
    Boot(String),
    /// Runs this job's executable: [`World::ran`].
    Run(String),
    /// Stops this instance's machine, by shutdown or power cut: [`World::gone`].
    Halt(String, bool),
}

/// Retained tail of an executable's output, in bytes.
const OUTPUT_KEPT: usize = 64 * 1024;

impl World {
    /// Executes everything that is due.
    pub(crate) fn advance(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        while self.step(now, &mut effects) {}
        effects
    }

    /// Time of the next transition, if no call comes before.
    pub(crate) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let jobs = self
            .records
            .jobs
            .values()
            .filter(|job| job.status != JobStatus::Completed)
            .map(|job| self.due(job.status.into(), since(job)));
        let instances = self
            .records
            .instances
            .values()
            .filter(|instance| instance.status != InstanceStatus::Halted);
        let instances = instances.flat_map(|instance| {
            [
                self.due(instance.status.into(), instance.since),
                self.address_due(&instance.machine),
            ]
        });
        earliest(
            jobs.chain(instances)
                .filter(|due| due.is_some_and(|due| due > now)),
        )
    }

    /// Effects to repeat for machines that were in transition when the program ended.
    pub(crate) fn unfinished(&self) -> Vec<Effect> {
        let instances =
            self.records
                .instances
                .values()
                .filter_map(|instance| match instance.machine.power {
                    Power::Asked | Power::On | Power::Up => Some(Effect::Boot(instance.id.clone())),
                    Power::Ending => Some(Effect::Halt(instance.id.clone(), true)),
                    Power::Off | Power::Gone => None,
                });
        let jobs = self
            .records
            .jobs
            .values()
            .filter(|job| job.run == Run::Going && job.status == JobStatus::Running);
        instances
            .chain(jobs.map(|job| Effect::Run(job.id.clone())))
            .collect()
    }

    fn due(&self, status: Status, since: Timestamp) -> Option<Timestamp> {
        since.checked_add(self.pace.of(status)).ok()
    }

    fn address_due(&self, machine: &Machine) -> Option<Timestamp> {
        machine.up_at?.checked_add(self.pace.address()).ok()
    }

    /// The address, if it is allocated by now.
    pub(crate) fn address<'a>(&self, machine: &'a Machine, now: Timestamp) -> Option<&'a str> {
        machine
            .address
            .as_deref()
            .filter(|_| self.address_due(machine).is_some_and(|due| due <= now))
    }

    /// One round over everything; true if anything has changed.
    fn step(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> bool {
        let jobs: Vec<_> = self
            .records
            .jobs
            .values()
            .filter_map(|job| Some((job.id.clone(), self.next_of_job(job, now)?)))
            .collect();
        let instances = self.records.instances.values();
        let instances: Vec<_> = instances
            .filter_map(|instance| {
                Some((instance.id.clone(), self.next_of_instance(instance, now)?))
            })
            .collect();
        let moved = !jobs.is_empty() || !instances.is_empty();
        for (id, status) in jobs {
            self.enter_job(&id, status, now, effects);
        }
        for (id, status) in instances {
            self.enter_instance(&id, status, now, effects);
        }
        moved
    }

    fn next_of_job(&self, job: &Job, now: Timestamp) -> Option<JobStatus> {
        use JobStatus as S;
        if matches!(job.status, S::Created | S::Completed) || self.is_held(job.status.into(), job) {
            return None;
        }
        let is_up = matches!(job.status, S::Starting | S::Preparing | S::Running);
        if is_up && self.living(job).count() < job.nodes as usize {
            return Some(S::Finishing);
        }
        let all = |least| self.living(job).all(|instance| instance.status >= least);
        let due = self
            .due(job.status.into(), since(job))
            .is_some_and(|due| due <= now);
        match job.status {
            S::Submitted => Some(S::Assembling),
            S::Assembling => Some(S::Starting),
            S::Starting if all(InstanceStatus::Preparing) => Some(S::Preparing),
            S::Preparing if all(InstanceStatus::Running) => Some(S::Running),
            S::Running if !job.permanently_running && job.run != Run::Going => Some(S::Finishing),
            S::Stopping => Some(S::Finishing),
            S::Finishing => Some(S::Completed),
            _ => None,
        }
        .filter(|_| due)
    }

    fn next_of_instance(&self, instance: &Instance, now: Timestamp) -> Option<InstanceStatus> {
        use InstanceStatus as S;
        if instance.status == S::Halted || self.is_held(instance.status.into(), instance) {
            return None;
        }
        let (power, dies) = (
            instance.machine.power,
            instance.fate == Some(Fate::DiesBooting),
        );
        let due = self
            .due(instance.status.into(), instance.since)
            .is_some_and(|due| due <= now);
        match instance.status {
            S::Starting if matches!(power, Power::On | Power::Up) => Some(S::Initializing),
            S::Initializing if dies => Some(S::Halted),
            S::Initializing if power == Power::Up => Some(S::Preparing),
            S::Preparing if self.address(&instance.machine, now).is_some() => Some(S::Running),
            S::Stopping if matches!(power, Power::Off | Power::Gone) => Some(S::Halted),
            _ => None,
        }
        .filter(|_| due)
    }

    /// Puts a job into a status, with all effects.
    pub(super) fn enter_job(
        &mut self,
        id: &str,
        status: JobStatus,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let lost = status == JobStatus::Finishing
            && self
                .records
                .jobs
                .get(id)
                .is_some_and(|job| self.living(job).count() < job.nodes as usize);
        let packaged = self
            .records
            .jobs
            .get(id)
            .is_some_and(|job| self.packaged.contains(&job.software));
        let Some(job) = self.changing().jobs.get_mut(id) else {
            return;
        };
        tracing::info!(job = job.name, "{}", status.word());
        job.status = status;
        job.history.push((status, now));
        match status {
            JobStatus::Starting => {
                job.run = Run::Nothing;
                self.make_instances(id, now, effects);
            }
            JobStatus::Running if packaged && !job.no_execution => {
                job.run = Run::Going;
                effects.push(Effect::Run(id.to_owned()));
            }
            JobStatus::Finishing => {
                let failed = lost || matches!(job.run, Run::Ended(code) if code != 0);
                job.outcome.get_or_insert(if failed {
                    Outcome::Failed
                } else {
                    Outcome::Ended
                });
                if lost {
                    job.activity.push(Activity {
                        at: now,
                        is_error: true,
                        message: "An instance of the job has ended".to_owned(),
                    });
                }
            }
            JobStatus::Completed if !job.no_instance_shutdown => {
                for instance in job.instances.clone() {
                    self.stop_if_alive(&instance, now, effects);
                }
            }
            _ => {}
        }
    }

    fn stop_if_alive(&mut self, id: &str, now: Timestamp, effects: &mut Vec<Effect>) {
        if self
            .records
            .instances
            .get(id)
            .is_some_and(|instance| !instance.status.is_over())
        {
            self.enter_instance(id, InstanceStatus::Stopping, now, effects);
        }
    }

    /// Puts an instance into a status, with all effects.
    pub(super) fn enter_instance(
        &mut self,
        id: &str,
        status: InstanceStatus,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(instance) = self.changing().instances.get_mut(id) else {
            return;
        };
        tracing::info!(instance = instance.ordered_as, "{}", status.word());
        instance.status = status;
        instance.since = now;
        let machine = &mut instance.machine;
        match status {
            InstanceStatus::Starting if instance.fate != Some(Fate::NeverBoots) => {
                machine.power = Power::Asked;
                effects.push(Effect::Boot(id.to_owned()));
            }
            InstanceStatus::Stopping | InstanceStatus::Halted
                if matches!(machine.power, Power::Asked | Power::On | Power::Up) =>
            {
                machine.power = Power::Ending;
                effects.push(Effect::Halt(
                    id.to_owned(),
                    status == InstanceStatus::Stopping,
                ));
            }
            _ => {}
        }
    }

    /// The machine was switched on.
    pub(crate) fn started(&mut self, id: &str, now: Timestamp) {
        self.machine(id, |machine| {
            machine.booted_at.get_or_insert(now);
            if machine.power == Power::Asked {
                machine.power = Power::On;
            }
        });
    }

    /// The machine's engine answers.
    pub(crate) fn up(&mut self, id: &str, address: &str, now: Timestamp) {
        self.machine(id, |machine| {
            machine.address = Some(address.to_owned());
            machine.up_at.get_or_insert(now);
            if machine.power == Power::On {
                machine.power = Power::Up;
            }
        });
    }

    /// The machine is gone, as requested.
    pub(crate) fn gone(&mut self, id: &str, now: Timestamp) {
        self.machine(id, |machine| {
            machine.power = Power::Gone;
            machine.ended_at = machine.booted_at.map(|_| now);
        });
    }

    /// The machine could not be made, or ended by itself.
    pub(crate) fn died(&mut self, id: &str, why: &str, now: Timestamp) -> Vec<Effect> {
        let Some(instance) = self
            .records
            .instances
            .get(id)
            .filter(|instance| !instance.status.is_over())
        else {
            return Vec::new();
        };
        let job = instance.job.clone().unwrap_or_default();
        if let Some(job) = self.changing().jobs.get_mut(&job) {
            job.activity.push(Activity {
                at: now,
                is_error: true,
                message: why.to_owned(),
            });
        }
        let mut effects = Vec::new();
        self.enter_instance(id, InstanceStatus::Halted, now, &mut effects);
        effects
    }

    /// Stops all instances.
    pub(crate) fn stop_everything(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        let instances: Vec<_> = self.records.instances.keys().cloned().collect();
        instances
            .iter()
            .for_each(|id| self.stop_if_alive(id, now, &mut effects));
        effects
    }

    /// Appends output of the executable.
    pub(crate) fn said(&mut self, job: &str, text: &str) {
        let Some(job) = self.changing().jobs.get_mut(job) else {
            return;
        };
        job.output.push_str(text);
        let excess = job.output.len().saturating_sub(OUTPUT_KEPT);
        let cut = (excess..=job.output.len())
            .find(|at| job.output.is_char_boundary(*at))
            .unwrap_or_default();
        job.output.drain(..cut);
    }

    /// The executable has ended.
    pub(crate) fn ran(&mut self, job: &str, code: i64, now: Timestamp) {
        let Some(job) = self.changing().jobs.get_mut(job) else {
            return;
        };
        job.run = Run::Ended(code);
        let message = format!("The executable has ended with code {code}");
        job.activity.push(Activity {
            at: now,
            is_error: code != 0,
            message,
        });
    }

    /// Passes through every status up to this one, at once.
    pub(crate) fn jump(&mut self, id: &str, to: JobStatus, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(from) = self
            .records
            .jobs
            .get(id)
            .map(|job| job.status)
            .filter(|from| *from < to)
        {
            let next = JobStatus::ALL.into_iter().find(|next| {
                *next > from && (*next != JobStatus::Stopping || to == JobStatus::Stopping)
            });
            let Some(next) = next else { break };
            self.enter_job(id, next, now, &mut effects);
        }
        effects
    }

    fn machine(&mut self, id: &str, change: impl FnOnce(&mut Machine)) {
        if let Some(instance) = self.changing().instances.get_mut(id) {
            change(&mut instance.machine);
        }
    }

    /// The job's instances that have not ended.
    fn living<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = &'a Instance> {
        self.instances_of(job)
            .filter(|instance| !instance.status.is_over())
    }

    fn is_held(&self, status: Status, record: &impl super::Named) -> bool {
        self.holds.iter().any(|hold| hold.applies(status, record))
    }
}

/// Begin of a job's present status.
pub(super) fn since(job: &Job) -> Timestamp {
    job.history.last().map_or(job.created_at, |(_, at)| *at)
}
