//! Counts over all worlds: proof that the simulation reaches all cases that it is meant for.

use crate::{store::Written, weather::Trouble, world::World};
use micado_api::{InstanceState, Origin};
use micado_core::store::{Key, Record};
use std::collections::BTreeMap;

/// Counts of one world, or of many.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub steps: u64,
    pub events: u64,
    pub calls: u64,
    pub calls_lost: u64,
    pub late_effects: u64,
    pub deaths: u64,
    pub commits_failed: u64,
    pub machines: u64,
    pub boots_failed: u64,
    pub launched: u64,
    pub stopped: u64,
    pub ran: u64,
    pub moved: u64,
    pub rotations: u64,
    pub stale_tokens: u64,
    pub trades_refused: u64,
    pub came_again: u64,
    pub strangers_removed: u64,
    pub used: u64,
    pub happened: u64,
    pub said_again: u64,
    pub agents_gone: u64,
    pub learned: u64,
    pub criticals: u64,
    pub frames: u64,
    pub scaled: u64,
    pub grown: u64,
    pub shrunk: u64,
    pub returned: u64,
    pub consolidated: u64,
    pub drains_cancelled: u64,
    pub replaced: u64,
    pub rented_for_room: u64,
    pub lightened: u64,
    pub exhausted: u64,
    pub unhealthy: u64,
    pub panics: u64,
    pub restarted: u64,
    pub troubles: BTreeMap<Trouble, u64>,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        let Self {
            steps,
            events,
            calls,
            calls_lost,
            late_effects,
            deaths,
            commits_failed,
            machines,
            boots_failed,
            launched,
            stopped,
            ran,
            moved,
            ..
        } = other;
        let Self {
            rotations,
            stale_tokens,
            trades_refused,
            came_again,
            strangers_removed,
            troubles,
            ..
        } = other;
        let Self {
            used,
            happened,
            said_again,
            agents_gone,
            learned,
            criticals,
            frames,
            scaled,
            grown,
            shrunk,
            returned,
            consolidated,
            drains_cancelled,
            replaced,
            rented_for_room,
            lightened,
            exhausted,
            unhealthy,
            panics,
            restarted,
            ..
        } = other;
        self.unhealthy += unhealthy;
        self.panics += panics;
        self.restarted += restarted;
        self.steps += steps;
        self.events += events;
        self.calls += calls;
        self.calls_lost += calls_lost;
        self.late_effects += late_effects;
        self.deaths += deaths;
        self.commits_failed += commits_failed;
        self.machines += machines;
        self.boots_failed += boots_failed;
        self.launched += launched;
        self.stopped += stopped;
        self.ran += ran;
        self.moved += moved;
        self.rotations += rotations;
        self.stale_tokens += stale_tokens;
        self.trades_refused += trades_refused;
        self.came_again += came_again;
        self.strangers_removed += strangers_removed;
        self.used += used;
        self.happened += happened;
        self.said_again += said_again;
        self.agents_gone += agents_gone;
        self.learned += learned;
        self.criticals += criticals;
        self.frames += frames;
        self.scaled += scaled;
        self.grown += grown;
        self.shrunk += shrunk;
        self.returned += returned;
        self.consolidated += consolidated;
        self.drains_cancelled += drains_cancelled;
        self.replaced += replaced;
        self.rented_for_room += rented_for_room;
        self.lightened += lightened;
        self.exhausted += exhausted;
        for (trouble, times) in troubles {
            *self.troubles.entry(*trouble).or_default() += times;
        }
    }

    /// Cases that should have occurred and never did.
    pub fn missing(&self) -> Vec<String> {
        let counts = [
            ("a call lost", self.calls_lost),
            ("a late effect", self.late_effects),
            ("a death of the manager", self.deaths),
            ("a failed commit", self.commits_failed),
            ("a machine", self.machines),
            ("a machine that did not come up", self.boots_failed),
            ("a container launched", self.launched),
            ("an instance stopped", self.stopped),
            ("a container that runs in the end", self.ran),
            ("a container moved", self.moved),
            ("a worker token renewed", self.rotations),
            ("a worker token that was no longer good", self.stale_tokens),
            ("a trade refused for good", self.trades_refused),
            ("a machine that joined again", self.came_again),
            ("a stranger taken out", self.strangers_removed),
            ("use of containers", self.used),
            ("an agent's event", self.happened),
            ("an agent's word that was said before", self.said_again),
            ("an agent that was gone", self.agents_gone),
            ("a launch with a learned reservation", self.learned),
            ("a critical usage set by hand", self.criticals),
            ("a frame of load", self.frames),
            ("a request about scaling", self.scaled),
            ("a growth by a policy", self.grown),
            ("a shrink by a policy", self.shrunk),
            ("a machine that the manager returned", self.returned),
            ("a machine that it emptied first", self.consolidated),
            ("a machine rented in the place of another", self.replaced),
            ("a machine rented for room alone", self.rented_for_room),
            ("a container moved off a saturated machine", self.lightened),
            ("a machine that has run out of something", self.exhausted),
            ("an unhealthy copy", self.unhealthy),
            ("unhealthy copies that stay in the catalogue", self.panics),
            (
                "a copy that was replaced because it was unhealthy",
                self.restarted,
            ),
        ];
        let never = counts
            .into_iter()
            .filter(|(_, times)| *times == 0)
            .map(|(what, _)| what.to_owned());
        never
            .chain(
                Trouble::ALL
                    .into_iter()
                    .filter(|it| !self.troubles.contains_key(it))
                    .map(|it| format!("{it:?}")),
            )
            .collect()
    }
}

impl World {
    /// Counts drains that the manager began or cancelled by itself, and machines that it rented for
    /// no container.
    pub fn note_returns(&mut self, written: &[Written]) {
        for one in written {
            if let (Key::Instance(id), None) = (&one.key, &one.before)
                && let Some(new) = self.store.instance(id)
            {
                let for_room = new.origin == Origin::Planner && self.placed_on(id).next().is_none();
                self.tally.replaced += u64::from(!new.replaces.is_empty());
                self.tally.rented_for_room += u64::from(for_room && new.replaces.is_empty());
            }
            let (Key::Instance(id), Some(Record::Instance(before))) = (&one.key, &one.before)
            else {
                continue;
            };
            let Some(after) = self.store.instance(id) else {
                continue;
            };
            let active = InstanceState::Active;
            let begins = before.state == active && after.goes_by_itself();
            let cancels = before.can_stay() && after.state == active;
            self.tally.returned += u64::from(begins);
            self.tally.consolidated += u64::from(begins && after.can_stay());
            self.tally.drains_cancelled += u64::from(cancels);
        }
    }
}
