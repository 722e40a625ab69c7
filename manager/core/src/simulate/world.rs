//! Fluid model of one service on rented machines, in steps of one second.
//!
//! The machines here are a small model of their own: one flavour, equal copies, no failures. The
//! trait [`Side`] separates it from the decisions, so that the production planner and control core
//! can take the place of [`super::ours::Ours`] later.

use super::{options::Options, tally::Tally};

/// A rented machine.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// Second of its order, and of its first use.
    pub ordered_at: u64,
    pub ready_at: u64,
    /// Copies that are placed on it.
    pub copies: u32,
    /// Second since when it is empty.
    pub empty_since: u64,
    pub is_gone: bool,
}

/// A copy of the service.
#[derive(Debug, Clone, Copy)]
pub struct Copy {
    /// Index of its machine; `None` while it waits.
    pub machine: Option<usize>,
    /// Second from which it may be placed.
    pub waits_from: u64,
    /// Second from which it serves, once it is placed.
    pub runs_from: u64,
}

/// Decisions of one contender.
pub trait Side {
    fn name(&self) -> &'static str;
    /// Sees the use of the past second, and returns the count of copies that it wants.
    fn count(&mut self, world: &World) -> u32;
    /// Chooses a machine with room for a waiting copy.
    fn place(&self, world: &World) -> Option<usize>;
    /// Chooses `count` copies to stop.
    fn victims(&self, world: &World, count: u32) -> Vec<usize>;
    /// Orders, returns and empties machines.
    fn tend(&mut self, world: &mut World);
}

/// State of one run.
#[derive(Debug)]
pub struct World {
    pub options: Options,
    pub second: u64,
    pub machines: Vec<Machine>,
    pub copies: Vec<Copy>,
    /// Use of each running copy in the past second, in cores.
    pub use_each: f64,
    pub running: u32,
    /// Demand that waits, in core-seconds.
    backlog: f64,
    pub tally: Tally,
}

impl World {
    /// Starts with enough warm copies and machines for `demand`.
    #[must_use]
    pub fn new(options: &Options, demand: f64) -> Self {
        let share = options.target * options.cores;
        let count = ((demand / share).ceil() as u32)
            .clamp(options.policies.min.max(1), options.policies.max);
        let machines = options.machines(count);
        let mut world = Self {
            options: options.clone(),
            second: 0,
            machines: Vec::new(),
            copies: Vec::new(),
            use_each: 0.0,
            running: 0,
            backlog: 0.0,
            tally: Tally::default(),
        };
        for _ in 0..machines {
            world.machines.push(Machine {
                ordered_at: 0,
                ready_at: 0,
                copies: 0,
                empty_since: 0,
                is_gone: false,
            });
        }
        for copy in 0..count {
            let machine = (copy % machines) as usize;
            world.machines[machine].copies += 1;
            world.copies.push(Copy {
                machine: Some(machine),
                waits_from: 0,
                runs_from: 0,
            });
        }
        world
    }

    /// Runs one second.
    pub fn step(&mut self, demand: f64, side: &mut impl Side) {
        self.place(side);
        self.serve(demand);
        let wanted = side
            .count(self)
            .clamp(self.options.policies.min, self.options.policies.max);
        self.scale(wanted, side);
        self.place(side);
        side.tend(self);
        self.second += 1;
    }

    fn place(&mut self, side: &impl Side) {
        let now = self.second;
        for at in 0..self.copies.len() {
            let copy = self.copies[at];
            if copy.machine.is_some() || copy.waits_from > now {
                continue;
            }
            let Some(machine) = side.place(self) else {
                return;
            };
            self.machines[machine].copies += 1;
            self.copies[at].machine = Some(machine);
            self.copies[at].runs_from = now + self.options.start.0.div_ceil(1_000);
            self.tally.starts += 1;
        }
    }

    /// Serves the demand of one second: first what waits, then what is new. What waits longer than
    /// the patience is missed.
    fn serve(&mut self, demand: f64) {
        self.running = self
            .copies
            .iter()
            .filter(|copy| self.is_running(copy))
            .count() as u32;
        let capacity = f64::from(self.running) * self.options.cores;
        let all = self.backlog + demand;
        let served = all.min(capacity);
        let patience = self.options.patience.0 as f64 / 1_000.0;
        let left = all - served;
        self.backlog = left.min(capacity * patience);
        self.use_each = served / f64::from(self.running.max(1));
        let machines = self.present().count() as u32;
        let sample = super::tally::Second {
            demand,
            served,
            capacity,
            missed: left - self.backlog,
            backlog: self.backlog,
            copies: self.copies.len() as u32,
            machines,
        };
        self.tally.add(&sample, &self.options);
    }

    fn scale(&mut self, wanted: u32, side: &impl Side) {
        let present = self.copies.len() as u32;
        if wanted < present {
            let mut victims = side.victims(self, present - wanted);
            victims.sort_unstable_by(|one, other| other.cmp(one));
            for at in victims {
                self.unplace(at);
                self.copies.swap_remove(at);
                self.tally.stops += 1;
            }
            self.tally.shrinks += 1;
        }
        if wanted > present {
            let waiting = Copy {
                machine: None,
                waits_from: self.second,
                runs_from: u64::MAX,
            };
            self.copies.extend((present..wanted).map(|_| waiting));
            self.tally.growths += 1;
        }
    }

    fn unplace(&mut self, at: usize) {
        if let Some(machine) = self.copies[at].machine.take() {
            self.machines[machine].copies -= 1;
            self.machines[machine].empty_since = self.second;
        }
        self.copies[at].runs_from = u64::MAX;
    }

    /// Evicts a copy: it waits for another machine after `gap` seconds.
    pub fn evict(&mut self, at: usize, gap: u64) {
        self.unplace(at);
        self.copies[at].waits_from = self.second + gap;
        self.tally.moves += 1;
    }

    /// Orders machines.
    pub fn order(&mut self, count: u32) {
        let ready_at = self.second + self.options.boot.0.div_ceil(1_000);
        for _ in 0..count {
            let machine = Machine {
                ordered_at: self.second,
                ready_at,
                copies: 0,
                empty_since: ready_at,
                is_gone: false,
            };
            match self.machines.iter().position(|other| other.is_gone) {
                Some(at) => self.machines[at] = machine,
                None => self.machines.push(machine),
            }
            self.tally.orders += 1;
        }
    }

    /// Returns an empty machine, and pays for it.
    pub fn give_back(&mut self, at: usize) {
        debug_assert_eq!(self.machines[at].copies, 0);
        self.machines[at].is_gone = true;
        self.tally.returns += 1;
        self.pay(at);
    }

    fn pay(&mut self, at: usize) {
        let used = self.second - self.machines[at].ordered_at;
        self.tally.machine_seconds += used;
        self.tally.paid_seconds += self.options.billing.paid(used);
    }

    /// Pays for all machines at the end of the run. The last second counts.
    pub fn end(&mut self) {
        for at in 0..self.machines.len() {
            if !self.machines[at].is_gone {
                self.pay(at);
            }
        }
    }

    #[must_use]
    pub fn is_running(&self, copy: &Copy) -> bool {
        copy.machine.is_some() && copy.runs_from <= self.second
    }

    /// Machines that are paid for, with their indexes.
    pub fn present(&self) -> impl Iterator<Item = (usize, &Machine)> {
        self.machines
            .iter()
            .enumerate()
            .filter(|(_, machine)| !machine.is_gone)
    }

    /// Machines that take copies, with their indexes.
    pub fn ready(&self) -> impl Iterator<Item = (usize, &Machine)> {
        self.present()
            .filter(|(_, machine)| machine.ready_at <= self.second)
    }

    /// Free slots on ready machines and on those that boot.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.present()
            .map(|(_, machine)| self.options.slots - machine.copies)
            .sum()
    }

    /// True if the service may give back one of its machines.
    #[must_use]
    pub fn has_spare(&self) -> bool {
        let least = self.options.least_machines.min(self.copies.len() as u32);
        self.present().count() as u32 > least
    }

    /// Number of copies without a machine.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.copies
            .iter()
            .filter(|copy| copy.machine.is_none())
            .count() as u32
    }
}
