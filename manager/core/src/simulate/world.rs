//! Machines and copies of the peer: a small model in steps of one second.

use super::{bill::Bill, faults::Faults, fluid::Fluid, options::Options};

/// A rented machine.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// Second of its order, and of its first use.
    pub ordered_at: u64,
    pub ready_at: u64,
    /// Copies that are placed on it.
    pub copies: u32,
    pub died_at: Option<u64>,
    pub is_gone: bool,
}

/// A copy of a service.
#[derive(Debug, Clone, Copy)]
pub struct Copy {
    pub service: usize,
    /// Index of its machine; `None` while it waits.
    pub machine: Option<usize>,
    /// Second from which it may be placed.
    pub waits_from: u64,
    /// Second from which it serves, once it is placed.
    pub runs_from: u64,
}

/// State of one run.
#[derive(Debug)]
pub struct World {
    pub options: Options,
    pub faults: Faults,
    pub second: u64,
    pub machines: Vec<Machine>,
    pub copies: Vec<Copy>,
    pub services: Vec<Fluid>,
    pub bill: Bill,
}

impl World {
    /// Starts with enough warm copies and machines for the first demand of each service.
    #[must_use]
    pub fn new(options: &Options, faults: Faults, demands: &[f64]) -> Self {
        let mut world = Self {
            options: options.clone(),
            faults,
            second: 0,
            machines: Vec::new(),
            copies: Vec::new(),
            services: Vec::new(),
            bill: Bill::default(),
        };
        let counts: Vec<u32> = demands
            .iter()
            .map(|demand| options.copies(*demand))
            .collect();
        let machines = options.machines(counts.iter().sum());
        let ready = Machine {
            ordered_at: 0,
            ready_at: 0,
            copies: 0,
            died_at: None,
            is_gone: false,
        };
        world.machines.resize(machines as usize, ready);
        for (service, count) in counts.into_iter().enumerate() {
            world.services.push(Fluid::default());
            for _ in 0..count {
                let machine = world.copies.len() % world.machines.len();
                world.machines[machine].copies += 1;
                world.copies.push(Copy {
                    service,
                    machine: Some(machine),
                    waits_from: 0,
                    runs_from: 0,
                });
            }
        }
        world
    }

    /// Places waiting copies where `choose` says, until it finds no machine.
    pub fn place(&mut self, choose: impl Fn(&Self) -> Option<usize>) {
        let now = self.second;
        for at in 0..self.copies.len() {
            let copy = self.copies[at];
            if copy.machine.is_some() || copy.waits_from > now {
                continue;
            }
            let Some(machine) = choose(self) else {
                return;
            };
            self.machines[machine].copies += 1;
            self.copies[at].machine = Some(machine);
            self.copies[at].runs_from = now + self.options.start.0.div_ceil(1_000);
            self.services[copy.service].tally.starts += 1;
        }
    }

    /// Serves the demands of one second.
    pub fn serve(&mut self, demands: &[f64]) {
        for (service, demand) in demands.iter().enumerate() {
            let running = self
                .of(service)
                .filter(|copy| self.is_running(copy))
                .count();
            let copies = self.of(service).count() as u32;
            self.services[service].serve(*demand, running as u32, copies, &self.options);
        }
        let machines = self.present().count() as u32;
        self.bill.machines.push(machines);
    }

    /// Adds copies that wait.
    pub fn grow(&mut self, service: usize, count: u32) {
        let waiting = Copy {
            service,
            machine: None,
            waits_from: self.second,
            runs_from: u64::MAX,
        };
        self.copies.extend((0..count).map(|_| waiting));
        self.services[service].tally.growths += 1;
    }

    /// Stops copies.
    pub fn shrink(&mut self, service: usize, mut victims: Vec<usize>) {
        victims.sort_unstable_by(|one, other| other.cmp(one));
        for at in victims {
            self.unplace(at);
            self.copies.swap_remove(at);
            self.services[service].tally.stops += 1;
        }
        self.services[service].tally.shrinks += 1;
    }

    fn unplace(&mut self, at: usize) {
        if let Some(machine) = self.copies[at].machine.take() {
            self.machines[machine].copies -= 1;
        }
        self.copies[at].runs_from = u64::MAX;
    }

    /// Evicts a copy: it waits for another machine after `gap` seconds.
    pub fn evict(&mut self, at: usize, gap: u64) {
        self.unplace(at);
        self.copies[at].waits_from = self.second + gap;
        self.bill.moves += 1;
    }

    /// Orders machines.
    pub fn order(&mut self, count: u32) {
        for _ in 0..count {
            let boot = self.options.boot.0.div_ceil(1_000);
            let machine = Machine {
                ordered_at: self.second,
                ready_at: self.second + self.faults.boot(self.bill.orders, boot),
                copies: 0,
                died_at: None,
                is_gone: false,
            };
            match self.machines.iter().position(|other| other.is_gone) {
                Some(at) => self.machines[at] = machine,
                None => self.machines.push(machine),
            }
            self.bill.orders += 1;
        }
    }

    /// Returns an empty machine, and pays for it.
    pub fn give_back(&mut self, at: usize) {
        debug_assert_eq!(self.machines[at].copies, 0);
        self.machines[at].is_gone = true;
        self.bill.returns += 1;
        self.pay(at);
    }

    fn pay(&mut self, at: usize) {
        let used = self.second - self.machines[at].ordered_at;
        self.bill.pay(used, &self.options);
    }

    /// Pays for all machines at the end of the run. The last second counts.
    pub fn end(&mut self) {
        for at in 0..self.machines.len() {
            if !self.machines[at].is_gone {
                self.pay(at);
            }
        }
    }

    /// Copies of a service.
    pub fn of(&self, service: usize) -> impl Iterator<Item = &Copy> {
        let copies = self.copies.iter();
        copies.filter(move |copy| copy.service == service)
    }

    #[must_use]
    pub fn is_running(&self, copy: &Copy) -> bool {
        let lives = |machine: usize| self.machines[machine].died_at.is_none();
        copy.machine.is_some_and(lives) && copy.runs_from <= self.second
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
            .filter(|(_, machine)| machine.ready_at <= self.second && machine.died_at.is_none())
    }

    /// Free slots on ready machines and on those that boot.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.present()
            .filter(|(_, machine)| machine.died_at.is_none())
            .map(|(_, machine)| self.options.slots - machine.copies)
            .sum()
    }

    /// True if one of the machines may be given back.
    #[must_use]
    pub fn has_spare(&self) -> bool {
        let least = self.options.least_machines.min(self.copies.len() as u32);
        self.present().count() as u32 > least
    }

    /// Number of copies without a machine that may be placed.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        let waits = |copy: &&Copy| copy.machine.is_none() && copy.waits_from <= self.second;
        self.copies.iter().filter(waits).count() as u32
    }
}
