//! Many containers onto new machines, container by container: the largest first, each on an open
//! machine if one has room.

use super::{
    HostPort,
    problem::{Kind, Problem},
    rooms::Rooms,
    yard::Run,
};
use micado_api::Resources;

/// Which open machine a container goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// The first one opened.
    First,
    /// The one it leaves the least room on.
    Best,
}

/// Room being filled.
#[derive(Debug, Clone)]
pub(super) struct Bin {
    /// What is left.
    pub room: Resources,
    /// The ports that are taken.
    pub ports: Vec<HostPort>,
    /// Runs, and how many of each.
    pub load: Vec<(usize, usize)>,
}

/// A machine to rent, being filled.
#[derive(Debug, Clone)]
pub(super) struct Rental {
    /// Its number in [`Problem::offers`].
    pub offer: usize,
    pub bin: Bin,
}

impl Rental {
    /// A machine of this offer with nothing on it.
    pub fn empty(problem: &Problem<'_>, offer: usize) -> Self {
        Self {
            offer,
            bin: Bin {
                room: problem.offers[offer].capacity(),
                ports: Vec::new(),
                load: Vec::new(),
            },
        }
    }

    /// What is on it.
    pub fn load(&self, problem: &Problem<'_>) -> Resources {
        problem.offers[self.offer]
            .capacity()
            .saturating_sub(self.bin.room)
    }
}

impl Bin {
    /// Whether it takes one of a kind.
    pub fn takes_one(&self, kind: &Kind<'_>) -> bool {
        kind.needs().fits_in(&self.room)
            && (kind.sample.ports.is_empty()
                || !self
                    .ports
                    .iter()
                    .any(|port| kind.sample.ports.contains(port)))
    }

    /// How many of a kind, `count` at most, it takes.
    pub fn takes(&self, kind: &Kind<'_>, count: usize) -> usize {
        if self.takes_one(kind) {
            kind.times_in(self.room, count)
        } else {
            0
        }
    }

    /// Whether both could be one as far as ports go.
    pub fn shares_no_port_with(&self, other: &Self) -> bool {
        !self.ports.iter().any(|port| other.ports.contains(port))
    }

    /// Takes over all of another, whose load needs so much.
    pub fn absorb(&mut self, other: &Self, needs: Resources) {
        self.room = self.room.saturating_sub(needs);
        self.ports.extend(&other.ports);
        self.load.extend(&other.load);
    }

    /// Puts so many of a run on it.
    pub fn put(&mut self, kind: &Kind<'_>, run: usize, count: usize) {
        self.room = self.room.saturating_sub(kind.needs_of(count));
        self.ports.extend(&kind.sample.ports);
        match self.load.iter_mut().find(|(other, _)| *other == run) {
            Some((_, times)) => *times += count,
            None => self.load.push((run, count)),
        }
    }
}

/// Opens machines of the guiding size (of the cheapest that holds it, for a container too large for
/// that) whenever none that is open has room.
pub(super) fn fill(
    problem: &Problem<'_>,
    runs: &[Run],
    left: &[(usize, usize)],
    guide: usize,
    fit: Fit,
) -> Option<Vec<Rental>> {
    let mut bins = Bins {
        all: Vec::new(),
        rooms: Rooms::default(),
        fit,
        problem,
    };
    for &(run, count) in left {
        let kind = &problem.kinds[runs[run].kind];
        let mut rest = count;
        for (number, times) in bins.choose(kind, count) {
            bins.put(number, kind, run, times);
            rest -= times;
        }
        while rest > 0 {
            let offer = if kind.needs().fits_in(&problem.offers[guide].capacity()) {
                guide
            } else {
                problem.cheapest_for(kind.needs())?
            };
            let number = bins.open(offer);
            let times = kind.times_in(problem.offers[offer].capacity(), rest);
            bins.put(number, kind, run, times);
            rest -= times;
        }
    }
    Some(bins.all)
}

/// Open machines.
struct Bins<'p, 's> {
    all: Vec<Rental>,
    rooms: Rooms,
    fit: Fit,
    problem: &'p Problem<'s>,
}

impl Bins<'_, '_> {
    fn open(&mut self, offer: usize) -> usize {
        let rental = Rental::empty(self.problem, offer);
        self.rooms
            .insert(self.key(rental.bin.room), self.all.len(), rental.bin.room);
        self.all.push(rental);
        self.all.len() - 1
    }

    fn choose(&self, kind: &Kind<'_>, mut count: usize) -> Vec<(usize, usize)> {
        let mut choice = Vec::new();
        for (_, number, _) in self.rooms.fitting(kind.needs()) {
            let times = self.all[number].bin.takes(kind, count);
            if times > 0 {
                choice.push((number, times));
            }
            count -= times;
            if count == 0 {
                break;
            }
        }
        choice
    }

    fn put(&mut self, number: usize, kind: &Kind<'_>, run: usize, times: usize) {
        let bin = &mut self.all[number].bin;
        let before = bin.room;
        bin.put(kind, run, times);
        let after = bin.room;
        self.rooms.remove(self.key(before), number);
        self.rooms.insert(self.key(after), number, after);
    }

    /// What orders the machines: for the first fit nothing, so that their numbers do.
    fn key(&self, room: Resources) -> u64 {
        if self.fit == Fit::First {
            0
        } else {
            self.problem.scale.size(room)
        }
    }
}
