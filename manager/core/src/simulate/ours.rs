//! This side: the production scaler, tight placement with a floor of two machines, and the hold
//! rule for machines.

use super::world::{Side, World};
use crate::scaling::{
    Candidate, Copies, Frame, Host, Limits, PolicyError, ServiceScaling, Span, Sums, Verdict, Wish,
    lead, victims,
};
use jiff::tz::TimeZone;
use micado_api::Timestamp;
use std::sync::Arc;

/// Bounds of the time that an empty machine is held, in seconds.
const HOLD: (u64, u64) = (60, 900);

/// Time before the end of a paid hour at which an unneeded machine is returned, in seconds.
const BEFORE_HOUR: u64 = 60;

/// First moment of a run: windows of a schedule count from midnight UTC of a Monday.
const BEGIN: u64 = 1_767_571_200_000;

/// The production scaler in the world of the simulation.
#[derive(Debug)]
pub struct Ours {
    scaling: ServiceScaling,
    limits: Limits,
    hold: u64,
    wanted: u32,
    /// Sum of the use since the last frame, in core-seconds per copy.
    used: f64,
    covered: u32,
    /// Changes of the count, in order.
    pub changes: Vec<Verdict>,
}

impl Ours {
    /// Makes the scaler for the policies of the options.
    ///
    /// # Errors
    /// If a policy is invalid.
    pub fn new(world: &World) -> Result<Self, PolicyError> {
        let options = &world.options;
        let scaling = ServiceScaling::new(Arc::new(options.policies.clone()), zone)?;
        let limits = Limits {
            cpu: options.cores,
            cpu_most: options.cores,
            lead: lead(Some(options.boot), options.start, options.warm_up),
            ..Limits::default()
        };
        Ok(Self {
            scaling,
            limits,
            hold: (options.boot.0 / 1_000).clamp(HOLD.0, HOLD.1),
            wanted: world.copies.len() as u32,
            used: 0.0,
            covered: 0,
            changes: Vec::new(),
        })
    }

    /// Metrics of all copies, as node agents would report them.
    fn frame(&self, world: &World, used: f64) -> Frame {
        let (options, now) = (&world.options, world.second);
        let warm_up = options.warm_up.0 / 1_000;
        let mut copies = Copies::default();
        for copy in &world.copies {
            match world.is_running(copy) {
                // The first copies are warm from the beginning.
                true if copy.runs_from == 0 || now - copy.runs_from >= warm_up => copies.warm += 1,
                true => copies.young += 1,
                false => copies.starting += 1,
            }
        }
        let share = options.target * options.cores;
        let is_full = used >= 0.97 * options.cores;
        Frame {
            at: moment(now),
            interval_ms: options.frame.0 as u32,
            copies,
            saturated: if is_full { copies.warm } else { 0 },
            cpu: Sums {
                warm: used * f64::from(copies.warm),
                young: used.min(share) * f64::from(copies.young),
                busiest: used,
                ..Sums::default()
            },
            ..Frame::default()
        }
    }

    /// True if the billing makes it sensible to return a machine now.
    fn may_return(&self, world: &World, ordered_at: u64) -> bool {
        match world.options.billing {
            super::Billing::Second => true,
            super::Billing::Hour => {
                let paid_until = (world.second - ordered_at).max(1).next_multiple_of(3_600);
                paid_until - (world.second - ordered_at) <= BEFORE_HOUR
            }
        }
    }
}

fn moment(second: u64) -> Timestamp {
    Timestamp(BEGIN + second * 1_000)
}

/// Zones by UTC only: the time-zone database is outside of the core. See [`super::run`].
fn zone(name: &str) -> Option<TimeZone> {
    (name == "UTC").then_some(TimeZone::UTC)
}

impl Side for Ours {
    fn name(&self) -> &'static str {
        "micado"
    }

    fn count(&mut self, world: &World) -> u32 {
        self.used += world.use_each;
        self.covered += 1;
        if Span::seconds(self.covered.into()) >= world.options.frame {
            let frame = self.frame(world, self.used / f64::from(self.covered));
            (self.used, self.covered) = (0.0, 0);
            let verdict = self.scaling.check(&frame, &self.limits, frame.at);
            self.wanted = verdict.count;
            if verdict.is_change() {
                self.changes.push(verdict);
            }
        }
        self.wanted
    }

    /// The fullest machine with room; apart until the service has its least machines.
    fn place(&self, world: &World) -> Option<usize> {
        let used = world
            .present()
            .filter(|(_, machine)| machine.copies > 0)
            .count() as u32;
        let apart = used < world.options.least_machines;
        world
            .ready()
            .filter(|(_, machine)| machine.copies < world.options.slots)
            .max_by_key(|(at, machine)| {
                let copies = i64::from(machine.copies);
                (if apart { -copies } else { copies }, std::cmp::Reverse(*at))
            })
            .map(|(at, _)| at)
    }

    fn victims(&self, world: &World, count: u32) -> Vec<usize> {
        let copies: Vec<Candidate> = world
            .copies
            .iter()
            .map(|copy| Candidate {
                machine: copy.machine.map(|machine| machine as u32),
                is_useless: copy.machine.is_none(),
                started_at: copy.runs_from,
                ..Candidate::default()
            })
            .collect();
        let hosts: Vec<Host> = world
            .machines
            .iter()
            .map(|machine| Host {
                containers: machine.copies,
                price: world.options.price,
                ordered_at: machine.ordered_at,
                is_draining: false,
            })
            .collect();
        let wish = Wish {
            count,
            machines: world.options.least_machines,
            only_quiet: false,
        };
        victims(&copies, &hosts, wish)
    }

    /// Orders what waits beyond the free slots, and returns machines that were empty for the hold.
    fn tend(&mut self, world: &mut World) {
        let missing = world.waiting().saturating_sub(world.free());
        if missing > 0 {
            world.order(missing.div_ceil(world.options.slots));
            return;
        }
        while world.waiting() == 0 && world.has_spare() {
            let idle = world.ready().find(|(_, machine)| {
                machine.copies == 0
                    && world.second - machine.empty_since.max(machine.ready_at) >= self.hold
                    && self.may_return(world, machine.ordered_at)
            });
            let Some((at, _)) = idle else {
                return;
            };
            world.give_back(at);
        }
    }
}
