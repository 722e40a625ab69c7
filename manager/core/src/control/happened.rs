//! What node agents say of containers, a moment before the Swarm does: it is a reason to look, and
//! it tells who was killed for want of memory.

use super::Core;
use crate::{
    engine::TaskView,
    model::{Container, Placement},
};
use micado_api::{
    InstanceId, Timestamp,
    agent::{ContainerEvent, ContainerHappening},
};
use std::{collections::VecDeque, time::Duration};

/// How long the Swarm may take to say the same.
const SWARM_FOLLOWS: Duration = Duration::from_secs(5);

/// Events of one Swarm service that are remembered, to know one that is told again.
const EVENTS: usize = 16;

/// What agents said of the containers of one Swarm service.
#[derive(Debug, Default)]
pub(super) struct Heard {
    events: VecDeque<ContainerEvent>,
    /// Until when the tasks are polled, and how they were when it was said.
    awaited: Option<(Timestamp, Vec<TaskView>)>,
    /// When the last one ended, and its exit code if the kernel killed it for want of memory.
    ended: Option<(Timestamp, Option<i64>)>,
}

impl Heard {
    /// The kernel killed the last one that ended, for want of memory: its exit code.
    fn killed(&self) -> Option<i64> {
        self.ended.and_then(|(_, killed)| killed)
    }
}

impl Core {
    /// An agent speaks only for containers of its own machine, and what it says twice is heard
    /// once.
    pub(super) fn happened(&mut self, instance: &InstanceId, event: ContainerEvent) {
        let Some(name) = event
            .service
            .clone()
            .filter(|name| self.is_placed(name, instance))
        else {
            return;
        };
        let tasks = self
            .sight
            .as_ref()
            .map_or_else(Vec::new, |sight| sight.tasks_of(&name).to_vec());
        let heard = self.memory.heard.entry(name).or_default();
        if heard.events.contains(&event) {
            return;
        }
        let killed = heard.killed();
        // What is told again, or restored from what is kept, may come after what happened later. A
        // clock that is ahead does not put it off.
        let at = event.at.min(self.now);
        if let ContainerHappening::Died { exit_code, oom } = event.what
            && heard.ended.is_none_or(|(last, _)| last <= at)
        {
            heard.ended = Some((at, oom.then_some(exit_code)));
        }
        let says_why = heard.killed() != killed;
        heard.events.push_back(event);
        if heard.events.len() > EVENTS {
            heard.events.pop_front();
        }
        let until = self.now.plus(SWARM_FOLLOWS);
        heard.awaited = Some((until, tasks));
        self.wake(until);
        if says_why {
            self.report();
        }
    }

    /// By the records, which are there before the engine was seen.
    fn is_placed(&self, swarm_name: &str, instance: &InstanceId) -> bool {
        let is = |it: &Container, place: &Placement| {
            place.instance == *instance && self.swarm_name(&it.name, place) == swarm_name
        };
        self.ledger.containers.values().any(|it| {
            [&it.placement, &it.leaving]
                .into_iter()
                .flatten()
                .any(|place| is(it, place))
        })
    }

    /// Swarm services of which an agent has said something that the Swarm has not said yet.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &String> {
        self.memory
            .heard
            .iter()
            .filter(|(_, heard)| heard.awaited.is_some())
            .map(|(name, _)| name)
    }

    /// Waits no longer for what the Swarm has said, or will not say any more.
    pub(super) fn stop_awaiting(&mut self) {
        let Some(sight) = &self.sight else { return };
        let over = |name: &str, until: Timestamp, tasks: &[TaskView]| {
            until <= self.now || sight.tasks_of(name) != tasks
        };
        for (name, heard) in &mut self.memory.heard {
            heard.awaited = heard
                .awaited
                .take()
                .filter(|(until, tasks)| !over(name, *until, tasks));
        }
        let next = self
            .memory
            .heard
            .values()
            .filter_map(|heard| Some(heard.awaited.as_ref()?.0))
            .min();
        next.into_iter().for_each(|at| self.wake(at));
    }

    /// Whether the end of a Swarm service's container with this code was that the kernel killed it
    /// for want of memory.
    pub(super) fn was_killed(&self, swarm_name: &str, exit_code: Option<i64>) -> bool {
        exit_code.is_some()
            && self.memory.heard.get(swarm_name).and_then(Heard::killed) == exit_code
    }
}
