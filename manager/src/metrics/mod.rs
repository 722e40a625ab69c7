//! Metrics in memory: current values, and points that wait to be recorded. The agents' connections
//! write into it; views and the refresh job read it.

mod deaths;
mod dirty;
mod foresight;
mod load;
mod past;
mod places;
mod readings;
mod refresh;
mod rollup;
mod skew;
mod usage;
mod verdicts;
mod waiting;

pub use deaths::DeathCount;
pub use foresight::Foresight;
pub use load::LoadWatch;
pub use micado_core::metrics::*;
pub use readings::{Backlog, MachineReading};
pub use refresh::Refresh;
pub use rollup::Rollup;

use crate::{clock, control::Facts};
use deaths::Deaths;
use dirty::DirtyBuckets;
use micado_api::{
    InstanceId,
    agent::{ContainerEvent, SampleBatch, is_id},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, watch};
use waiting::{Told, Waiting, Watermark};

/// Reason for which a batch or an event is refused.
const NO_ROOM: &str = "no room for more figures and events until the store answers";

/// Interval between sweeps of machines with a copy of a service that has a policy.
pub const PACE: Duration = Duration::from_secs(1);

/// Metrics and events of all agents that are still of use.
#[derive(Debug)]
pub struct Metrics {
    facts: Facts,
    /// Locked after the facts, if both are.
    inner: Mutex<Inner>,
    /// Held while waiting points and events are recorded.
    recording: tokio::sync::Mutex<()>,
    /// Changes after every recording.
    turn: watch::Sender<()>,
    verdicts: tokio::sync::Mutex<verdicts::Recorded>,
    /// Machines that sweep at [`PACE`].
    paced: watch::Sender<HashSet<InstanceId>>,
    /// Told of each batch of such a machine.
    sampled: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    meter: Meter,
    waiting: Waiting,
    /// Last durable batch of each agent.
    recorded: HashMap<InstanceId, Watermark>,
    dirty: DirtyBuckets,
    deaths: Deaths,
    /// Runs of agents that were logged because of their machine's clock, and what is not kept
    /// because of it.
    doubted: HashMap<(InstanceId, &'static str), String>,
}

impl Inner {
    /// Logs that a clock is off, once for each run of its agent and each consequence.
    fn doubt(&mut self, instance: &InstanceId, run: &str, off: &str, consequence: &'static str) {
        if self
            .doubted
            .insert((instance.clone(), consequence), run.to_owned())
            .is_none_or(|before| before != run)
        {
            tracing::warn!(%instance, "its clock is {off} the manager's: {consequence}; have both clocks set by NTP");
        }
    }
}

impl Metrics {
    /// Metrics of the instances and placements that are in the facts.
    #[must_use]
    pub fn new(facts: Facts) -> Self {
        Self {
            facts,
            inner: Mutex::default(),
            recording: tokio::sync::Mutex::default(),
            turn: watch::Sender::new(()),
            verdicts: tokio::sync::Mutex::default(),
            paced: watch::Sender::default(),
            sampled: Notify::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a batch, unless it was taken before and is resent after a cut. An agent reports
    /// only about its own instance: metrics of Swarm services that are not placed there are
    /// dropped.
    ///
    /// # Errors
    /// A message, if there is no room until the store answers: the agent must keep the batch.
    pub fn take(
        &self,
        instance: &InstanceId,
        run: &str,
        mut batch: SampleBatch,
    ) -> Result<(), &'static str> {
        let (now, facts, mut inner) = (clock::now(), self.facts.read(), self.inner());
        places::admit(&facts, instance, &mut batch.containers);
        if !inner.waiting.has_room(instance, &batch) {
            return Err(NO_ROOM);
        }
        let (watermark, doubt) = (
            Watermark {
                run: run.to_owned(),
                sequence: batch.sequence,
            },
            skew::doubt(now, &batch),
        );
        let Some(point) = inner.meter.take(now, instance, run, batch) else {
            return Ok(());
        };
        if self.paced.borrow().contains(instance) {
            self.sampled.notify_waiters();
        }
        match doubt {
            None => {
                let point = places::renamed(&facts, point);
                inner.waiting.push(point, watermark);
            }
            Some(off) => {
                inner.waiting.note(instance, watermark);
                inner.doubt(
                    instance,
                    run,
                    &off,
                    "what it uses is shown, but not kept for `micado history`",
                );
            }
        }
        Ok(())
    }

    /// Takes in an event, which may be a repetition. Events of containers that are placed on
    /// another instance are dropped.
    ///
    /// # Errors
    /// A message, if there is no room until the store answers: the agent must keep the event.
    pub fn take_event(
        &self,
        instance: &InstanceId,
        run: &str,
        event: ContainerEvent,
    ) -> Result<(), &'static str> {
        let (facts, mut inner) = (self.facts.read(), self.inner());
        if let Some(off) = skew::doubt_event(clock::now(), &event) {
            inner.doubt(
                instance,
                run,
                &off,
                "what it tells of containers is heard, but not kept for `micado events`",
            );
            return Ok(());
        }
        let Some(service) = event.service.as_deref().filter(|_| is_id(&event.id)) else {
            return Ok(());
        };
        let placed = facts.placed(service).cloned();
        let is_others = placed
            .as_ref()
            .is_some_and(|placed| placed.instance != *instance);
        if is_others || service.len() > places::LONGEST_NAME {
            return Ok(());
        }
        let told = Told {
            instance: instance.clone(),
            event,
            placed,
        };
        let is_new = !inner.waiting.is_waiting(&told);
        let (placed, what) = (told.placed.clone(), told.event.what);
        if !inner.waiting.push_event(told) {
            return Err(NO_ROOM);
        }
        if is_new {
            inner.deaths.note(placed.as_deref(), what);
        }
        Ok(())
    }

    /// Drops instances that are not live any more. What waits of them is still recorded.
    fn forget_ended(&self) {
        let (facts, mut inner) = (self.facts.read(), self.inner());
        let known = inner.waiting.instances().chain(inner.recorded.keys());
        let ended = known.filter(|instance| !facts.is_live(instance)).cloned();
        for instance in ended.collect::<Vec<_>>() {
            inner.meter.forget(&instance);
            inner.waiting.forget(&instance);
            inner.recorded.remove(&instance);
            inner.doubted.retain(|(of, _), _| *of != instance);
        }
        inner.deaths.keep(facts.all_placed());
    }

    /// Sequence up to which the agent's batches of this run are durable.
    #[must_use]
    pub fn recorded(&self, instance: &InstanceId, run: &str) -> Option<u64> {
        self.inner()
            .recorded
            .get(instance)
            .filter(|watermark| watermark.run == run)
            .map(|watermark| watermark.sequence)
    }

    /// Sets the machines that sweep at [`PACE`]; all others keep their own interval.
    pub fn pace(&self, machines: HashSet<InstanceId>) {
        self.paced.send_if_modified(|paced| {
            let is_news = *paced != machines;
            *paced = machines;
            is_news
        });
    }

    /// The machines that sweep at [`PACE`].
    #[must_use]
    pub fn paced(&self) -> watch::Receiver<HashSet<InstanceId>> {
        self.paced.subscribe()
    }

    /// Changes whenever more may be durable.
    #[must_use]
    pub fn turns(&self) -> watch::Receiver<()> {
        self.turn.subscribe()
    }
}

#[cfg(test)]
pub(crate) mod tests;
