//! The machines while a plan is made, and how containers are put on them: best fit, either close
//! together or apart.

use super::{
    HostPort, Readiness,
    problem::{Binding, Kind, Problem, Scale},
    rooms::Rooms,
    rule::{self, Rule},
};
use micado_api::Resources;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

/// A machine that is there, on its way, or would be rented by the plan.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// Its location's number.
    pub location: usize,
    /// Whether it takes containers.
    pub readiness: Readiness,
    /// Whether this plan rents it.
    pub rented: bool,
    /// What is left on it.
    pub room: Resources,
    /// Those of its taken ports that anybody asks for.
    pub ports: Vec<HostPort>,
}

/// Whether copies of one service share machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// They may: each goes where it leaves the least room, which keeps large rooms whole.
    Together,
    /// Not while there is a machine without one; where it leaves the least room among those with
    /// the fewest.
    Apart,
}

/// Containers of one kind that are to be served: their positions in the waiting list, ascending.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub kind: usize,
    pub members: Vec<usize>,
}

/// So many of a run's containers on one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub run: usize,
    pub machine: usize,
    pub count: usize,
}

/// What came of an attempt to place runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    pub placed: Vec<Placed>,
    /// Runs with containers that found no place, and how many.
    pub left: Vec<(usize, usize)>,
}

/// All machines of one plan.
#[derive(Debug, Clone)]
pub(super) struct Yard {
    /// By number.
    pub machines: Vec<Machine>,
    /// Service and machine to the number of copies.
    pub copies: HashMap<(usize, usize), u32>,
    /// Open machines by location and class: those that run before those on their way before silent
    /// ones before those not rented yet.
    rooms: Vec<[Rooms; 4]>,
    scale: Scale,
}

impl Machine {
    /// Its place in [`Yard::rooms`], if it is open.
    pub fn class(&self) -> Option<usize> {
        match self.readiness {
            Readiness::Ready => Some(0),
            Readiness::Arriving => Some(if self.rented { 3 } else { 1 }),
            Readiness::Silent => Some(2),
            Readiness::Draining | Readiness::Down => None,
        }
    }
}

impl Yard {
    /// No machines yet.
    pub fn new(scale: Scale) -> Self {
        Self {
            machines: Vec::new(),
            copies: HashMap::new(),
            rooms: Vec::new(),
            scale,
        }
    }

    /// Adds a machine and gives its number.
    pub fn add(&mut self, machine: Machine) -> usize {
        let number = self.machines.len();
        if self.rooms.len() <= machine.location {
            self.rooms
                .resize_with(machine.location + 1, Default::default);
        }
        if let Some(class) = machine.class() {
            self.rooms[machine.location][class].insert(
                self.scale.size(machine.room),
                number,
                machine.room,
            );
        }
        self.machines.push(machine);
        number
    }

    /// Places what it can of the runs, in their order.
    pub fn place(&mut self, problem: &Problem<'_>, runs: &[Run], manner: Manner) -> Part {
        let Part {
            mut placed,
            mut left,
        } = Part::default();
        for (number, run) in runs.iter().enumerate() {
            let kind = &problem.kinds[run.kind];
            let before = placed.len();
            self.place_kind(kind, run.members.len(), manner, &mut |machine, count| {
                placed.push(Placed {
                    run: number,
                    machine,
                    count,
                })
            });
            let count: usize = placed[before..].iter().map(|placed| placed.count).sum();
            if count < run.members.len() {
                left.push((number, run.members.len() - count));
            }
        }
        Part { placed, left }
    }

    /// Whether any machine has room for one more of this kind.
    pub fn has_room_for(&self, kind: &Kind<'_>) -> bool {
        match kind.bound_to {
            Binding::Lost => false,
            Binding::To(machine) => rule::broken(kind, machine, &self.machines[machine]).is_none(),
            Binding::Free => self.rooms.get(kind.location).is_some_and(|classes| {
                classes
                    .iter()
                    .any(|rooms| self.acceptable(rooms, kind).next().is_some())
            }),
        }
    }

    /// The open machines of a location, class by class, the roomiest first.
    pub fn open(&self, location: usize) -> Vec<usize> {
        self.rooms
            .get(location)
            .into_iter()
            .flatten()
            .flat_map(Rooms::descending)
            .collect()
    }

    /// The machines with the most room among those that would take one of this kind, up to `count`
    /// of each class.
    pub fn roomiest<'a>(
        &'a self,
        kind: &'a Kind<'_>,
        count: usize,
    ) -> impl Iterator<Item = usize> + 'a {
        let takes =
            |machine: &usize| rule::broken(kind, *machine, &self.machines[*machine]).is_none();
        self.rooms
            .get(kind.location)
            .into_iter()
            .flatten()
            .flat_map(move |rooms| rooms.descending().filter(takes).take(count))
    }

    /// Puts `count` of a kind on a machine that has the room.
    pub fn put(&mut self, kind: &Kind<'_>, number: usize, count: usize) {
        let machine = &mut self.machines[number];
        let before = self.scale.size(machine.room);
        machine.room = machine.room.saturating_sub(kind.needs_of(count));
        machine.ports.extend(&kind.sample.ports);
        if let Some(class) = machine.class() {
            let rooms = &mut self.rooms[machine.location][class];
            rooms.remove(before, number);
            rooms.insert(self.scale.size(machine.room), number, machine.room);
        }
        *self.copies.entry((kind.service, number)).or_default() +=
            u32::try_from(count).unwrap_or(u32::MAX);
    }

    fn place_kind(
        &mut self,
        kind: &Kind<'_>,
        count: usize,
        manner: Manner,
        placed: &mut impl FnMut(usize, usize),
    ) {
        match kind.bound_to {
            Binding::Lost => {}
            Binding::To(number) => {
                let machine = &self.machines[number];
                let times = if rule::broken(kind, number, machine).is_none() {
                    kind.times_in(machine.room, count)
                } else {
                    0
                };
                if times > 0 {
                    self.put(kind, number, times);
                    placed(number, times);
                }
            }
            Binding::Free => {
                let mut left = count;
                for class in 0..self
                    .rooms
                    .get(kind.location)
                    .map_or(0, |classes| classes.len())
                {
                    let choice = match manner {
                        Manner::Together => self.tightest(kind, class, left),
                        Manner::Apart => self.emptiest_of_copies(kind, class, left),
                    };
                    for (number, times) in choice {
                        self.put(kind, number, times);
                        placed(number, times);
                        left -= times;
                    }
                    if left == 0 {
                        break;
                    }
                }
            }
        }
    }

    /// Best fit for many of one kind: whoever fits best goes on fitting best, having less room than
    /// before, until it takes no more.
    fn tightest(&self, kind: &Kind<'_>, class: usize, mut count: usize) -> Vec<(usize, usize)> {
        let mut choice = Vec::new();
        for (_, number, room) in self.acceptable(&self.rooms[kind.location][class], kind) {
            let times = kind.times_in(room, count);
            choice.push((number, times));
            count -= times;
            if count == 0 {
                break;
            }
        }
        choice
    }

    /// One each for the machines without a copy; those that are over go, one by one, to whoever has
    /// the fewest.
    fn emptiest_of_copies(
        &self,
        kind: &Kind<'_>,
        class: usize,
        mut count: usize,
    ) -> Vec<(usize, usize)> {
        let mut choice = Vec::new();
        let mut again = BinaryHeap::new();
        for (key, number, room) in self.acceptable(&self.rooms[kind.location][class], kind) {
            let copies = self
                .copies
                .get(&(kind.service, number))
                .copied()
                .unwrap_or(0);
            let times = kind.times_in(room, count);
            if copies > 0 {
                again.push(Reverse((copies, key, number, times)));
                continue;
            }
            choice.push((number, 1));
            count -= 1;
            if count == 0 {
                return choice;
            }
            if times > 1 {
                again.push(Reverse((
                    1,
                    key.saturating_sub(kind.size),
                    number,
                    times - 1,
                )));
            }
        }
        while count > 0
            && let Some(Reverse((copies, key, number, times))) = again.pop()
        {
            choice.push((number, 1));
            count -= 1;
            if times > 1 {
                again.push(Reverse((
                    copies + 1,
                    key.saturating_sub(kind.size),
                    number,
                    times - 1,
                )));
            }
        }
        choice
    }

    /// The machines that would take one of this kind, those it would fill most first. The rules
    /// that [`Rooms`] stands for need no asking.
    fn acceptable<'a>(
        &'a self,
        rooms: &'a Rooms,
        kind: &'a Kind<'_>,
    ) -> impl Iterator<Item = (u64, usize, Resources)> + 'a {
        let special = kind.avoid.is_some() || !kind.sample.ports.is_empty();
        rooms.fitting(kind.needs()).filter(move |&(_, number, _)| {
            !special
                || rule::NotAvoided.allows(kind, number, &self.machines[number])
                    && rule::PortsFree.allows(kind, number, &self.machines[number])
        })
    }
}
