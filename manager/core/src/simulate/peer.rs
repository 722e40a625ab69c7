//! The peer: Kubernetes' HorizontalPodAutoscaler, its scheduler's default scoring, and Cluster
//! Autoscaler, with their default settings. Each constant names its source; whoever doubts one
//! changes one line.

use super::world::{Side, World};
use std::collections::VecDeque;

/// Horizontal pod autoscaler.
/// Sync period: `pkg/controller/podautoscaler/config/v1alpha1/defaults.go`.
const SYNC: u64 = 15;
/// Tolerance of the ratio: the same file.
const TOLERANCE: f64 = 0.1;
/// Downscale stabilisation: the same file.
const STABILISATION: u64 = 300;
/// Window of metrics-server, and so the age of the newest use when it is read: its default
/// resolution (kubernetes/kubernetes pull request 117121).
const WINDOW: u64 = 15;
/// Growth per 15 s: the larger of 4 pods and 100 %, `pkg/apis/autoscaling/v2/defaults.go`.
const UP_PODS: u32 = 4;
const UP_FACTOR: u32 = 2;
const UP_PERIOD: u64 = 15;

/// Cluster Autoscaler.
/// Scan interval: `cluster-autoscaler/config/flags/flags.go`, as all below.
const SCAN: u64 = 10;
/// Promised share below which a node is a candidate.
const UNNEEDED_BELOW: f64 = 0.5;
const UNNEEDED_FOR: u64 = 600;
const DELAY_AFTER_ADD: u64 = 600;
/// Empty nodes that go at once.
const EMPTY_AT_ONCE: usize = 10;

/// Time until an evicted pod's replacement is created: it starts after the old one has stopped.
const EVICTION_GAP: u64 = 3;

/// State of the peer.
#[derive(Debug)]
pub struct Peer {
    target: f64,
    /// Use of each running copy in the last seconds.
    uses: VecDeque<f64>,
    /// Recommendations of the stabilisation window: second and count.
    recommended: VecDeque<(u64, u32)>,
    /// Counts at the beginning of each sync of the last growth period.
    counts: VecDeque<(u64, u32)>,
    wanted: u32,
    unneeded_since: Vec<Option<u64>>,
    added_at: Option<u64>,
}

impl Peer {
    #[must_use]
    pub fn new(world: &World) -> Self {
        Self {
            target: world.options.target * world.options.cores,
            uses: VecDeque::with_capacity(2 * WINDOW as usize + 1),
            recommended: VecDeque::new(),
            counts: VecDeque::new(),
            wanted: world.copies.len() as u32,
            unneeded_since: Vec::new(),
            added_at: None,
        }
    }

    /// The count by the ratio of use to target: `replica_calculator.go`.
    fn recommend(&self, world: &World) -> u32 {
        let present = world.copies.len() as u32;
        let begin = world.second.saturating_sub(2 * WINDOW);
        // Pods that were ready for the whole window of the metric.
        let ready = world
            .copies
            .iter()
            .filter(|copy| {
                world.is_running(copy) && (copy.runs_from == 0 || copy.runs_from <= begin)
            })
            .count() as u32;
        if ready == 0 || self.uses.len() < 2 * WINDOW as usize {
            return present;
        }
        let mean = self.uses.iter().take(WINDOW as usize).sum::<f64>() / WINDOW as f64;
        let ratio = mean / self.target;
        let unready = present - ready;
        if unready == 0 || ratio <= 1.0 {
            return match (ratio - 1.0).abs() <= TOLERANCE {
                true => present,
                false => (ratio * f64::from(ready) - 1e-9).ceil() as u32,
            };
        }
        // When growing, pods that are not ready count as idle.
        let damped = mean * f64::from(ready) / (self.target * f64::from(present));
        if damped < 1.0 || (damped - 1.0).abs() <= TOLERANCE {
            return present;
        }
        ((damped * f64::from(present) - 1e-9).ceil() as u32).max(present)
    }

    fn sync(&mut self, world: &World) {
        let now = world.second;
        let present = world.copies.len() as u32;
        let recommendation = self.recommend(world).clamp(
            world.options.policies.min.max(1),
            world.options.policies.max,
        );
        self.recommended.push_back((now, recommendation));
        while self
            .recommended
            .front()
            .is_some_and(|(at, _)| at + STABILISATION <= now)
        {
            self.recommended.pop_front();
        }
        while self
            .counts
            .front()
            .is_some_and(|(at, _)| at + UP_PERIOD < now)
        {
            self.counts.pop_front();
        }
        let highest = self.recommended.iter().map(|(_, count)| *count).max();
        let stable = match recommendation < present {
            true => highest.unwrap_or(recommendation).min(present),
            false => recommendation,
        };
        let before = self.counts.front().map_or(present, |(_, count)| *count);
        let most = (before + UP_PODS).max(before * UP_FACTOR).max(present);
        self.wanted = stable.min(most);
        self.counts.push_back((now, present));
    }

    fn shrink(&mut self, world: &mut World) {
        let now = world.second;
        if world.waiting() > 0 {
            return;
        }
        self.unneeded_since.resize(world.machines.len(), None);
        let slots = world.options.slots;
        let mut room = world
            .ready()
            .map(|(_, machine)| slots - machine.copies)
            .sum::<u32>();
        for at in 0..world.machines.len() {
            let machine = world.machines[at];
            let is_low = f64::from(machine.copies) < UNNEEDED_BELOW * f64::from(slots);
            let others = room.saturating_sub(slots - machine.copies);
            let is_ready = !machine.is_gone && machine.ready_at <= now;
            let is_unneeded = is_ready && is_low && machine.copies <= others;
            self.unneeded_since[at] = is_unneeded.then(|| self.unneeded_since[at].unwrap_or(now));
            if is_unneeded {
                // Its pods' new places are remembered.
                room = others - machine.copies;
            }
        }
        if self.added_at.is_some_and(|at| now - at < DELAY_AFTER_ADD) {
            return;
        }
        let due: Vec<usize> = (0..world.machines.len())
            .filter(|at| self.unneeded_since[*at].is_some_and(|since| now - since >= UNNEEDED_FOR))
            .collect();
        let is_empty = |world: &World, at: usize| world.machines[at].copies == 0;
        let empty: Vec<usize> = due
            .iter()
            .copied()
            .filter(|at| is_empty(world, *at))
            .take(EMPTY_AT_ONCE)
            .collect();
        if empty.is_empty()
            && let Some(at) = due.first()
        {
            self.remove(world, *at);
        }
        for at in empty {
            self.remove(world, at);
        }
    }

    fn remove(&mut self, world: &mut World, at: usize) {
        if !world.has_spare() {
            return;
        }
        for copy in 0..world.copies.len() {
            if world.copies[copy].machine == Some(at) {
                world.evict(copy, EVICTION_GAP);
            }
        }
        self.unneeded_since[at] = None;
        world.give_back(at);
    }
}

impl Side for Peer {
    fn name(&self) -> &'static str {
        "peer"
    }

    fn count(&mut self, world: &World) -> u32 {
        self.uses.push_back(world.use_each);
        if self.uses.len() > 2 * WINDOW as usize {
            self.uses.pop_front();
        }
        if world.second > 0 && world.second.is_multiple_of(SYNC) {
            self.sync(world);
        }
        self.wanted
    }

    /// The machine with the fewest copies: LeastAllocated, BalancedAllocation and
    /// PodTopologySpread, `pkg/scheduler/apis/config/v1/default_plugins.go`.
    fn place(&self, world: &World) -> Option<usize> {
        world
            .ready()
            .filter(|(_, machine)| machine.copies < world.options.slots)
            .min_by_key(|(at, machine)| (machine.copies, *at))
            .map(|(at, _)| at)
    }

    /// Pending, not ready, on the node with the most pods, youngest:
    /// `pkg/controller/controller_utils.go`.
    fn victims(&self, world: &World, count: u32) -> Vec<usize> {
        let mut on: Vec<u32> = world
            .machines
            .iter()
            .map(|machine| machine.copies)
            .collect();
        let mut left: Vec<usize> = (0..world.copies.len()).collect();
        let mut gone = Vec::new();
        for _ in 0..count {
            let best = left.iter().copied().min_by_key(|at| {
                let copy = &world.copies[*at];
                let beside = copy.machine.map_or(0, |machine| on[machine]);
                (
                    copy.machine.is_some(),
                    world.is_running(copy),
                    std::cmp::Reverse(beside),
                    std::cmp::Reverse(copy.runs_from),
                )
            });
            let Some(best) = best else {
                break;
            };
            if let Some(machine) = world.copies[best].machine {
                on[machine] -= 1;
            }
            left.retain(|at| *at != best);
            gone.push(best);
        }
        gone
    }

    fn tend(&mut self, world: &mut World) {
        if !world.second.is_multiple_of(SCAN) {
            return;
        }
        let missing = world.waiting().saturating_sub(world.free());
        if missing > 0 {
            world.order(missing.div_ceil(world.options.slots));
            self.added_at = Some(world.second);
            self.unneeded_since.resize(world.machines.len(), None);
        }
        self.shrink(world);
    }
}
