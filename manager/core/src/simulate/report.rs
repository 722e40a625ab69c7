//! Report of a run: cost, missed demand, delays, changes, and the measures of elasticity of Herbst
//! et al. (SPEC RG).

use super::{
    Side,
    options::Options,
    tally::{POINT_EVERY, Point, Tally},
};
use serde::Serialize;

/// Figures of one side.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Name of the side: `micado`, `peer`, or a file of policies.
    pub side: String,
    pub cost: f64,
    /// Cost relative to the integer optimum.
    pub relative: f64,
    pub machine_hours: f64,
    pub copy_hours: f64,
    pub missed_core_seconds: f64,
    pub missed_percent: f64,
    pub delay_p50_ms: u32,
    pub delay_p95_ms: u32,
    pub delay_p99_ms: u32,
    pub seconds_above_90_percent: u64,
    pub moves: u32,
    pub starts: u32,
    pub stops: u32,
    pub orders: u32,
    pub growths: u32,
    pub shrinks: u32,
    pub elasticity: Elasticity,
    /// Cost and the price of what was missed.
    pub priced_total: f64,
    /// Priced total relative to the integer optimum.
    pub priced_relative: f64,
    /// Each service apart, in the order of the loads.
    pub services: Vec<ServiceReport>,
}

/// Figures of one service: machines are shared, so it has no cost of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ServiceReport {
    pub copy_hours: f64,
    pub missed_core_seconds: f64,
    pub missed_percent: f64,
    pub delay_p50_ms: u32,
    pub delay_p95_ms: u32,
    pub delay_p99_ms: u32,
    pub growths: u32,
    pub shrinks: u32,
}

impl ServiceReport {
    fn new(tally: &Tally) -> Self {
        Self {
            copy_hours: tally.copy_seconds as f64 / 3_600.0,
            missed_core_seconds: tally.missed,
            missed_percent: 100.0 * tally.missed / tally.demand.max(f64::MIN_POSITIVE),
            delay_p50_ms: tally.delay_at(0.50),
            delay_p95_ms: tally.delay_at(0.95),
            delay_p99_ms: tally.delay_at(0.99),
            growths: tally.growths,
            shrinks: tally.shrinks,
        }
    }
}

/// Measures of elasticity: capacity against the demand at the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Elasticity {
    /// Mean lack and mean excess, in percent of the need.
    pub under_percent: f64,
    pub over_percent: f64,
    /// Share of the time with lack and with excess, in percent.
    pub under_time_percent: f64,
    pub over_time_percent: f64,
    /// Share of the time in which capacity and need change in different directions, in percent.
    pub instability_percent: f64,
}

/// Demand and bounds of a load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Bounds {
    /// Integer optimum for one flavour at the target, with hindsight.
    pub optimum: f64,
    /// Lower bound for any policy at the target.
    pub bound: f64,
    /// The same with a target of 1: no policy with headroom reaches it.
    pub floor: f64,
}

/// Comparison of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// Cheaper, or within 2 %, and no more missed.
    Better,
    /// Dearer or more missed, but the priced total is lower.
    TradeWon,
    TradeLost,
    /// Dearer and more missed.
    Worse,
}

impl Report {
    pub(super) fn new(side: &impl Side, options: &Options, optimum: f64) -> Self {
        let (bill, tally) = (side.bill(), merged(side));
        let all = ServiceReport::new(&tally);
        let cost = bill.cost(options);
        let core_second = options.price / 3_600.0 / (f64::from(options.slots) * options.cores);
        let priced_total = cost + options.lambda * core_second * tally.missed;
        let relative = |amount: f64| if optimum > 0.0 { amount / optimum } else { 0.0 };
        Self {
            side: side.name().to_owned(),
            cost,
            relative: relative(cost),
            machine_hours: bill.machine_seconds as f64 / 3_600.0,
            copy_hours: all.copy_hours,
            missed_core_seconds: all.missed_core_seconds,
            missed_percent: all.missed_percent,
            delay_p50_ms: all.delay_p50_ms,
            delay_p95_ms: all.delay_p95_ms,
            delay_p99_ms: all.delay_p99_ms,
            seconds_above_90_percent: tally.busy_seconds,
            moves: bill.moves,
            starts: tally.starts,
            stops: tally.stops,
            orders: bill.orders,
            growths: all.growths,
            shrinks: all.shrinks,
            elasticity: Elasticity::new(&tally, options),
            priced_total,
            priced_relative: relative(priced_total),
            services: side
                .services()
                .iter()
                .map(|service| ServiceReport::new(&service.tally))
                .collect(),
        }
    }

    /// Compares this side with another.
    #[must_use]
    pub fn against(&self, other: &Self) -> Judgement {
        let is_cheap = self.cost <= other.cost * 1.02;
        let misses_less = self.missed_core_seconds <= other.missed_core_seconds + 1e-6;
        match (is_cheap, misses_less) {
            (true, true) => Judgement::Better,
            (false, false) => Judgement::Worse,
            _ if self.priced_total < other.priced_total => Judgement::TradeWon,
            _ => Judgement::TradeLost,
        }
    }
}

/// Sums of all services of a side.
pub(super) fn merged(side: &impl Side) -> Tally {
    let mut services = side.services().iter();
    let mut sum = services
        .next()
        .map_or_else(Tally::default, |service| service.tally.clone());
    services.for_each(|service| sum.merge(&service.tally));
    sum
}

impl Elasticity {
    fn new(tally: &Tally, options: &Options) -> Self {
        let mut sums = Self::default();
        let mut before: Option<(f64, f64)> = None;
        let share = options.target * options.cores;
        // Means of a minute: noise is not need.
        let minutes = tally.points.chunks(60 / POINT_EVERY as usize);
        let count = minutes.len().max(1);
        for points in minutes {
            let mean = |value: fn(&Point) -> f64| {
                points.iter().map(value).sum::<f64>() / points.len() as f64
            };
            let need = (mean(|point| point.demand) / share).ceil().max(1.0);
            let have = mean(|point| point.capacity) / options.cores;
            sums.under_percent += ((need - have) / need).max(0.0);
            sums.over_percent += ((have - need) / need).max(0.0);
            sums.under_time_percent += f64::from(u8::from(have < need));
            sums.over_time_percent += f64::from(u8::from(have > need));
            if let Some((old_need, old_have)) = before {
                let signs = (sign(need - old_need), sign(have - old_have));
                sums.instability_percent += f64::from(u8::from(signs.0 != signs.1));
            }
            before = Some((need, have));
        }
        let percent = 100.0 / count as f64;
        sums.under_percent *= percent;
        sums.over_percent *= percent;
        sums.under_time_percent *= percent;
        sums.over_time_percent *= percent;
        sums.instability_percent *= percent;
        sums
    }
}

fn sign(change: f64) -> i8 {
    i8::from(change > 0.5) - i8::from(change < -0.5)
}
