//! Many containers onto new machines, container by container: each on an open machine if one has
//! room, else on one more.

use super::{
    free_index::{Entry, FreeIndex},
    problem::{Problem, Run},
    room::{Load, Room},
};

/// Which open machine a container goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// The first one opened.
    First,
    /// The one it leaves the least room on.
    Best,
}

/// A machine to rent, being filled.
#[derive(Debug, Clone)]
pub(super) struct Rental {
    /// Position in [`Problem::offers`].
    pub offer: usize,
    pub room: Room,
    /// Runs, and how many of each.
    pub load: Vec<(usize, usize)>,
}

impl Rental {
    /// A machine of this offer with nothing on it.
    pub fn empty(problem: &Problem<'_>, offer: usize) -> Self {
        Self {
            offer,
            room: problem.empty(offer).clone(),
            load: Vec::new(),
        }
    }

    /// A machine of this offer with this load; `None` if it does not take it.
    pub fn with(
        problem: &Problem<'_>,
        runs: &[Run],
        offer: usize,
        load: &[(usize, usize)],
    ) -> Option<Self> {
        let mut rental = Self::empty(problem, offer);
        rental.add(problem, runs, load).then_some(rental)
    }

    /// Reservations of all on it.
    pub fn total(&self, problem: &Problem<'_>, runs: &[Run]) -> Load {
        let loads = self
            .load
            .iter()
            .map(|&(run, count)| Load::of(&problem.kinds[runs[run].kind], count));
        loads.fold(Load::default(), Load::and)
    }

    /// How many of a kind, `count` at most, it takes.
    pub fn takes(&self, problem: &Problem<'_>, kind: usize, count: usize) -> usize {
        if problem.suits(kind, self.offer) {
            self.room.takes(&problem.kinds[kind], count)
        } else {
            0
        }
    }

    /// Adds `count` of a run, which it must take.
    pub fn put(&mut self, problem: &Problem<'_>, runs: &[Run], run: usize, count: usize) {
        self.room.put(&problem.kinds[runs[run].kind], count);
        match self.load.iter_mut().find(|(other, _)| *other == run) {
            Some((_, times)) => *times += count,
            None => self.load.push((run, count)),
        }
    }

    /// Adds all of this load. False if it does not take it: what it holds then is undefined.
    pub fn add(&mut self, problem: &Problem<'_>, runs: &[Run], load: &[(usize, usize)]) -> bool {
        load.iter().all(|&(run, count)| {
            let taken = self.takes(problem, runs[run].kind, count) == count;
            if taken {
                self.put(problem, runs, run, count);
            }
            taken
        })
    }

    /// Replaces it by the cheapest offer that holds its load.
    pub fn cheapest(self, problem: &Problem<'_>, runs: &[Run]) -> Self {
        let kinds = self.load.iter().map(|&(run, _)| runs[run].kind);
        let cheapest = problem
            .cheapest_for(self.total(problem, runs), kinds)
            .filter(|&offer| offer != self.offer)
            .and_then(|offer| Self::with(problem, runs, offer, &self.load));
        cheapest.unwrap_or(self)
    }
}

/// Opens machines of the guiding size (of the cheapest that holds it, for a container that may not
/// go there) if none that is open has room.
pub(super) fn fill(
    problem: &Problem<'_>,
    runs: &[Run],
    left: &[(usize, usize)],
    guide: usize,
    fit: Fit,
) -> Option<Vec<Rental>> {
    let mut bins = Bins {
        all: Vec::new(),
        index: FreeIndex::default(),
        fit,
        problem,
        runs,
    };
    for &(run, count) in left {
        let kind = runs[run].kind;
        let mut rest = count;
        for (number, times) in bins.choose(kind, count) {
            bins.put(number, run, times);
            rest -= times;
        }
        while rest > 0 {
            let guide = Some(guide).filter(|&guide| problem.suits(kind, guide));
            let offer = guide.or_else(|| problem.cheapest_for_one(kind))?;
            let number = bins.open(offer);
            let times = bins.all[number].takes(problem, kind, rest);
            bins.put(number, run, times);
            rest -= times;
        }
    }
    Some(bins.all)
}

/// Open machines.
struct Bins<'p, 's> {
    all: Vec<Rental>,
    index: FreeIndex,
    fit: Fit,
    problem: &'p Problem<'s>,
    runs: &'p [Run],
}

impl Bins<'_, '_> {
    fn open(&mut self, offer: usize) -> usize {
        self.all.push(Rental::empty(self.problem, offer));
        self.index.insert(self.entry(self.all.len() - 1));
        self.all.len() - 1
    }

    fn choose(&self, kind: usize, mut count: usize) -> Vec<(usize, usize)> {
        let mut choice = Vec::new();
        let needs = self.problem.kinds[kind].needs();
        for entry in self.index.fitting(needs, 0) {
            let times = self.all[entry.machine()].takes(self.problem, kind, count);
            if times > 0 {
                choice.push((entry.machine(), times));
            }
            count -= times;
            if count == 0 {
                break;
            }
        }
        choice
    }

    fn put(&mut self, number: usize, run: usize, count: usize) {
        self.index.remove(self.entry(number).rank);
        self.all[number].put(self.problem, self.runs, run, count);
        self.index.insert(self.entry(number));
    }

    fn entry(&self, number: usize) -> Entry {
        let free = self.all[number].room.free();
        let key = match self.fit {
            Fit::First => 0,
            Fit::Best => self.problem.scale.size(free),
        };
        Entry {
            rank: (key, 0, number),
            free,
        }
    }
}
