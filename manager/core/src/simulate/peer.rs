//! The peer: Kubernetes' HorizontalPodAutoscaler, its scheduler's default scoring, and Cluster
//! Autoscaler, with their default settings. Each constant names its source; whoever doubts one
//! changes one line.

use super::{Side, bill::Bill, faults::Faults, fluid::Fluid, options::Options, world::World};
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

/// Pause after a refused order: `initial-node-group-backoff-duration`.
const BACK_OFF: u64 = 300;
/// Time until a dead node is removed: `scale-down-unready-time`.
const UNREADY_FOR: u64 = 1_200;
/// Time until the pods of a dead node are created anew: `node-monitor-grace-period`, and
/// `tolerationSeconds` of `node.kubernetes.io/unreachable`.
const EVICTED_AFTER: u64 = 40 + 300;

/// Time until an evicted pod's replacement is created: it starts after the old one has stopped.
const EVICTION_GAP: u64 = 3;

/// Horizontal pod autoscaler of one service.
#[derive(Debug)]
struct Hpa {
    service: usize,
    target: f64,
    /// Use of each running copy in the last seconds.
    uses: VecDeque<f64>,
    /// Recommendations of the stabilisation window: second and count.
    recommended: VecDeque<(u64, u32)>,
    /// Counts at the beginning of each sync of the last growth period.
    counts: VecDeque<(u64, u32)>,
}

impl Hpa {
    fn new(service: usize, options: &Options) -> Self {
        Self {
            service,
            target: options.target * options.cores,
            uses: VecDeque::with_capacity(2 * WINDOW as usize + 1),
            recommended: VecDeque::new(),
            counts: VecDeque::new(),
        }
    }

    fn note(&mut self, use_each: f64) {
        self.uses.push_back(use_each);
        if self.uses.len() > 2 * WINDOW as usize {
            self.uses.pop_front();
        }
    }

    /// The count by the ratio of use to target: `replica_calculator.go`.
    fn recommend(&self, world: &World) -> u32 {
        let present = world.of(self.service).count() as u32;
        let begin = world.second.saturating_sub(2 * WINDOW);
        // Pods that were ready for the whole window of the metric.
        let ready = world
            .of(self.service)
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

    /// The count after stabilisation and the limits of growth: `horizontal.go`.
    fn sync(&mut self, world: &World) -> u32 {
        let now = world.second;
        let present = world.of(self.service).count() as u32;
        let policies = &world.options.policies;
        let recommendation = self
            .recommend(world)
            .clamp(policies.min.max(1), policies.max);
        self.recommended.push_back((now, recommendation));
        let is_old = |(at, _): &mut (u64, u32)| *at + STABILISATION <= now;
        while self.recommended.pop_front_if(is_old).is_some() {}
        let is_past = |(at, _): &mut (u64, u32)| *at + UP_PERIOD < now;
        while self.counts.pop_front_if(is_past).is_some() {}
        let highest = self.recommended.iter().map(|(_, count)| *count).max();
        let stable = match recommendation < present {
            true => highest.unwrap_or(recommendation).min(present),
            false => recommendation,
        };
        let before = self.counts.front().map_or(present, |(_, count)| *count);
        let most = (before + UP_PODS).max(before * UP_FACTOR).max(present);
        self.counts.push_back((now, present));
        stable.min(most)
    }
}

/// State of the peer.
#[derive(Debug)]
pub struct Peer {
    world: World,
    scalers: Vec<Hpa>,
    unneeded_since: Vec<Option<u64>>,
    added_at: Option<u64>,
    refused_at: Option<u64>,
}

impl Peer {
    /// Starts with enough for the first demand of each service.
    #[must_use]
    pub fn new(options: &Options, faults: Faults, demands: &[f64]) -> Self {
        let scalers = (0..demands.len()).map(|service| Hpa::new(service, options));
        Self {
            world: World::new(options, faults, demands),
            scalers: scalers.collect(),
            unneeded_since: Vec::new(),
            added_at: None,
            refused_at: None,
        }
    }

    fn scale(&mut self, service: usize) {
        let wanted = self.scalers[service].sync(&self.world);
        let present = self.world.of(service).count() as u32;
        if wanted > present {
            self.world.grow(service, wanted - present);
        } else if wanted < present {
            let victims = victims(&self.world, service, present - wanted);
            self.world.shrink(service, victims);
        }
    }

    /// Orders machines for pods that wait, and returns unneeded ones.
    fn tend(&mut self) {
        let world = &mut self.world;
        let now = world.second;
        let missing = world.waiting().saturating_sub(world.free());
        let is_paused = self.refused_at.is_some_and(|at| now - at < BACK_OFF);
        if missing > 0 && !is_paused {
            if world.faults.refuses(now) {
                self.refused_at = Some(now);
            } else {
                world.order(missing.div_ceil(world.options.slots));
                self.added_at = Some(now);
            }
        }
        self.shrink();
    }

    /// Lets a machine die, if one does now, and removes those that died long ago.
    fn bury(&mut self) {
        let world = &mut self.world;
        let now = world.second;
        let ready: Vec<usize> = world.ready().map(|(at, _)| at).collect();
        if let Some(number) = world.faults.death(now).filter(|_| !ready.is_empty()) {
            let dead = ready[number as usize % ready.len()];
            world.machines[dead].died_at = Some(now);
            for copy in 0..world.copies.len() {
                if world.copies[copy].machine == Some(dead) {
                    world.evict(copy, EVICTED_AFTER);
                }
            }
        }
        let is_due = |at: u64| now - at >= UNREADY_FOR;
        for at in 0..world.machines.len() {
            let machine = world.machines[at];
            if !machine.is_gone && machine.died_at.is_some_and(is_due) {
                world.give_back(at);
            }
        }
    }

    fn shrink(&mut self) {
        let world = &mut self.world;
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
            let is_ready = !machine.is_gone && machine.ready_at <= now && machine.died_at.is_none();
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
            .filter(|at| is_empty(&self.world, *at))
            .take(EMPTY_AT_ONCE)
            .collect();
        if empty.is_empty()
            && let Some(at) = due.first()
        {
            self.remove(*at);
        }
        for at in empty {
            self.remove(at);
        }
    }

    fn remove(&mut self, at: usize) {
        let world = &mut self.world;
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

/// The machine with the fewest copies: LeastAllocated, BalancedAllocation and PodTopologySpread,
/// `pkg/scheduler/apis/config/v1/default_plugins.go`.
fn choose(world: &World) -> Option<usize> {
    world
        .ready()
        .filter(|(_, machine)| machine.copies < world.options.slots)
        .min_by_key(|(at, machine)| (machine.copies, *at))
        .map(|(at, _)| at)
}

/// Pending, not ready, on the node with the most pods of the service, youngest:
/// `pkg/controller/controller_utils.go`.
fn victims(world: &World, service: usize, count: u32) -> Vec<usize> {
    let mut on = vec![0_u32; world.machines.len()];
    for machine in world.of(service).filter_map(|copy| copy.machine) {
        on[machine] += 1;
    }
    let mut left: Vec<usize> = (0..world.copies.len())
        .filter(|at| world.copies[*at].service == service)
        .collect();
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

impl Side for Peer {
    fn name(&self) -> &'static str {
        "peer"
    }

    fn step(&mut self, demands: &[f64]) {
        self.bury();
        self.world.place(choose);
        self.world.serve(demands);
        let second = self.world.second;
        for service in 0..self.scalers.len() {
            let use_each = self.world.services[service].use_each;
            self.scalers[service].note(use_each);
            // Without metrics nothing is scaled.
            if second > 0 && second.is_multiple_of(SYNC) && !self.world.faults.hides(second) {
                self.scale(service);
            }
        }
        self.world.place(choose);
        if second.is_multiple_of(SCAN) {
            self.tend();
        }
        self.world.second += 1;
    }

    fn end(&mut self) {
        self.world.end();
    }

    fn services(&self) -> &[Fluid] {
        &self.world.services
    }

    fn bill(&self) -> &Bill {
        &self.world.bill
    }
}
