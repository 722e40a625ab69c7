//! Sums of a run.

use super::options::Options;

/// One second of a run.
#[derive(Debug, Clone, Copy)]
pub struct Second {
    pub demand: f64,
    pub served: f64,
    pub capacity: f64,
    pub missed: f64,
    pub backlog: f64,
    pub copies: u32,
}

/// Seconds between two points of the plot and of the elasticity measures.
pub const POINT_EVERY: u64 = 10;

/// A point of the plot: means of [`POINT_EVERY`] seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Point {
    pub second: u64,
    pub demand: f64,
    pub capacity: f64,
    pub missed: f64,
}

/// Upper bound for a delay in the histogram, in milliseconds.
const LONGEST_DELAY: usize = 20_000;

/// Sums over the seconds of a run.
#[derive(Debug, Clone)]
pub struct Tally {
    pub seconds: u64,
    pub copy_seconds: u64,
    pub demand: f64,
    pub missed: f64,
    /// Seconds with a use above 90 % of the capacity.
    pub busy_seconds: u64,
    pub starts: u32,
    pub stops: u32,
    pub growths: u32,
    pub shrinks: u32,
    pub points: Vec<Point>,
    point: Point,
    /// Served core-seconds by delay in milliseconds.
    delays: Vec<f64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            seconds: 0,
            copy_seconds: 0,
            demand: 0.0,
            missed: 0.0,
            busy_seconds: 0,
            starts: 0,
            stops: 0,
            growths: 0,
            shrinks: 0,
            points: Vec::new(),
            point: Point::default(),
            delays: vec![0.0; LONGEST_DELAY + 1],
        }
    }
}

impl Tally {
    pub(super) fn add(&mut self, second: &Second, options: &Options) {
        self.copy_seconds += u64::from(second.copies);
        self.demand += second.demand;
        self.missed += second.missed;
        self.busy_seconds += u64::from(second.served > 0.9 * second.capacity);
        self.delay(second, options);
        let share = 1.0 / POINT_EVERY as f64;
        self.point.demand += second.demand * share;
        self.point.capacity += second.capacity * share;
        self.point.missed += second.missed * share;
        self.seconds += 1;
        if self.seconds.is_multiple_of(POINT_EVERY) {
            let mut point = std::mem::take(&mut self.point);
            point.second = self.seconds - POINT_EVERY;
            self.points.push(point);
        }
    }

    /// Delay of what is served: processor sharing on all copies, and the wait of the backlog.
    fn delay(&mut self, second: &Second, options: &Options) {
        if second.capacity <= 0.0 {
            return;
        }
        let busy = (second.served / second.capacity).min(0.99);
        // With many copies, a request finds a free core until nearly all are busy.
        let copies = second.capacity / options.cores;
        let sharing = options.service_time / (1.0 - busy.powf(copies.sqrt().max(1.0)));
        let wait = second.backlog / second.capacity;
        let ms = ((sharing + wait) * 1_000.0) as usize;
        self.delays[ms.min(LONGEST_DELAY)] += second.served;
    }

    /// Adds the sums of another service over the same time.
    pub(super) fn merge(&mut self, other: &Self) {
        self.copy_seconds += other.copy_seconds;
        self.demand += other.demand;
        self.missed += other.missed;
        self.busy_seconds = self.busy_seconds.max(other.busy_seconds);
        self.starts += other.starts;
        self.stops += other.stops;
        self.growths += other.growths;
        self.shrinks += other.shrinks;
        for (sum, more) in self.points.iter_mut().zip(&other.points) {
            sum.demand += more.demand;
            sum.capacity += more.capacity;
            sum.missed += more.missed;
        }
        for (sum, more) in self.delays.iter_mut().zip(&other.delays) {
            *sum += more;
        }
    }

    /// Delay in milliseconds below which `share` of the served demand stays.
    #[must_use]
    pub fn delay_at(&self, share: f64) -> u32 {
        let enough = self.delays.iter().sum::<f64>() * share;
        let mut below = 0.0;
        let found = self.delays.iter().position(|served| {
            below += served;
            below >= enough
        });
        found.unwrap_or(LONGEST_DELAY) as u32
    }
}
