//! `micado simulate`: scaling under a load, on a virtual clock, beside a peer and a bound. Needs no
//! manager.

use super::{
    args::{Against, BillingUnit, SimulateArgs},
    failure::Failure,
    page::Page,
    policy,
    printer::Printer,
};
use jiff::tz::TimeZone;
use micado_api::{ErrorBody, ErrorCode};
use micado_core::{
    scaling::{Metric, Policies, Policy, Verdict},
    simulate::{self, Billing, Bounds, Judgement, Options, Report, Row, Run, Shape},
};
use serde::Serialize;
use std::{
    fmt::Write as _,
    fs,
    io::{self, Write},
    path::Path,
};

/// Result for programs.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    load: &'a str,
    bounds: Bounds,
    micado: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<&'a Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    judgement: Option<Judgement>,
    #[serde(skip_serializing_if = "<[Verdict]>::is_empty")]
    changes: &'a [Verdict],
}

pub(super) fn simulate(args: &SimulateArgs, printer: &Printer) -> Result<(), Failure> {
    let options = options(args)?;
    let is_all = args.load == "all";
    if is_all && (args.csv || args.changes || args.plot.is_some()) {
        return Err(bad(
            "`--csv`, `--changes` and `--plot` are for one load, not for `all`".to_owned(),
        )
        .into());
    }
    if !is_all && !args.boots.is_empty() {
        return Err(bad("`--boots` is for `--load all`; one load has `--boot`".to_owned()).into());
    }
    if is_all {
        let boots = match args.boots.as_slice() {
            [] => &[args.boot][..],
            boots => boots,
        };
        let rows = simulate::table(boots, args.seed, &options, zone).map_err(refused)?;
        printer.data(&rows, || table(&rows))?;
        return Ok(());
    }
    let demand = demand(args)?;
    let bounds = simulate::bounds(&demand, &options);
    let ours = simulate::run_ours(&demand, &options, bounds.optimum, zone).map_err(refused)?;
    let peer = (args.against == Against::Peer)
        .then(|| simulate::run_peer(&demand, &options, bounds.optimum));
    if let Some(file) = &args.plot {
        write_plot(file, &args.load, &ours, peer.as_ref())?;
    }
    if args.csv {
        return Ok(io::stdout()
            .lock()
            .write_all(csv(&ours, peer.as_ref()).as_bytes())?);
    }
    let changes = if args.changes { &ours.changes[..] } else { &[] };
    let outcome = Outcome {
        load: &args.load,
        bounds,
        micado: &ours.report,
        peer: peer.as_ref().map(|run| &run.report),
        judgement: peer.as_ref().map(|run| ours.report.against(&run.report)),
        changes,
    };
    printer.data(&outcome, || page(&outcome))?;
    Ok(())
}

fn options(args: &SimulateArgs) -> Result<Options, ErrorBody> {
    let mut options = Options {
        boot: args.boot,
        billing: match args.billing {
            BillingUnit::Second => Billing::Second,
            BillingUnit::Hour => Billing::Hour,
        },
        slots: args.slots,
        least_machines: args.machines,
        ..Options::default()
    };
    if let Some(file) = &args.policy {
        let policies = policy::read(file)?;
        policies.validate().map_err(refused)?;
        options.target = cpu_target(&policies).unwrap_or(options.target);
        options.policies = policies;
    }
    Ok(options)
}

fn cpu_target(policies: &Policies) -> Option<f64> {
    policies.policies.iter().find_map(|policy| match policy {
        Policy::Target(target) if target.metric == Metric::Cpu => target.target,
        _ => None,
    })
}

fn demand(args: &SimulateArgs) -> Result<Vec<f64>, ErrorBody> {
    let path = Path::new(&args.load);
    if path.extension().is_some_and(|ending| ending == "csv") {
        return simulate::demand(&read(path)?)
            .map_err(|error| bad(format!("load `{}`: {error}", args.load)));
    }
    let shape: Shape = args
        .load
        .parse()
        .map_err(|error: simulate::ShapeError| bad(error.to_string()))?;
    Ok(shape.demand(args.seed))
}

/// Time zones of the system's database.
fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

fn read(file: &Path) -> Result<String, ErrorBody> {
    fs::read_to_string(file)
        .map_err(|error| bad(format!("cannot read `{}`: {error}", file.display())))
}

fn bad(message: String) -> ErrorBody {
    ErrorBody::new(ErrorCode::BadRequest, message)
        .hint("`micado simulate --help` lists the shapes and flags")
}

fn refused(error: micado_core::scaling::PolicyError) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::BadRequest,
        format!("{}: {}", error.thing, error.cause),
    )
    .hint(error.next)
}

fn write_plot(file: &Path, load: &str, ours: &Run, peer: Option<&Run>) -> Result<(), ErrorBody> {
    let mut sides = vec![("micado", ours.points.as_slice())];
    sides.extend(peer.map(|run| ("peer", run.points.as_slice())));
    fs::write(file, simulate::plot(load, &sides)).map_err(|error| {
        ErrorBody::new(
            ErrorCode::Internal,
            format!("cannot write `{}`: {error}", file.display()),
        )
    })
}

fn csv(ours: &Run, peer: Option<&Run>) -> String {
    let mut text = "seconds,demand,micado_capacity,micado_machines,micado_missed".to_owned();
    text += match peer {
        Some(_) => ",peer_capacity,peer_machines,peer_missed\n",
        None => "\n",
    };
    for (at, point) in ours.points.iter().enumerate() {
        _ = write!(
            text,
            "{},{:.3},{:.1},{:.1},{:.3}",
            point.second, point.demand, point.capacity, point.machines, point.missed
        );
        if let Some(point) = peer.and_then(|run| run.points.get(at)) {
            _ = write!(
                text,
                ",{:.1},{:.1},{:.3}",
                point.capacity, point.machines, point.missed
            );
        }
        text.push('\n');
    }
    text
}

/// A line of the report: its name, and its value on a side.
type Line = (&'static str, fn(&Report) -> String);

const LINES: [Line; 14] = [
    ("cost", |side| format!("{:.2}", side.cost)),
    ("cost / optimum", |side| format!("{:.3}", side.relative)),
    ("machine hours", |side| format!("{:.2}", side.machine_hours)),
    ("container hours", |side| format!("{:.1}", side.copy_hours)),
    ("missed", |side| {
        format!(
            "{:.0} core-seconds, {:.2} %",
            side.missed_core_seconds, side.missed_percent
        )
    }),
    ("delay p50, p95, p99", |side| {
        format!(
            "{}, {}, {} ms",
            side.delay_p50_ms, side.delay_p95_ms, side.delay_p99_ms
        )
    }),
    ("time above 90 % use", |side| {
        format!("{} s", side.seconds_above_90_percent)
    }),
    ("changes up, down", |side| {
        format!("{}, {}", side.growths, side.shrinks)
    }),
    ("starts, stops, moves", |side| {
        format!("{}, {}, {}", side.starts, side.stops, side.moves)
    }),
    ("machines ordered", |side| side.orders.to_string()),
    ("lack, excess", |side| {
        format!(
            "{:.1} %, {:.1} %",
            side.elasticity.under_percent, side.elasticity.over_percent
        )
    }),
    ("time with lack, excess", |side| {
        format!(
            "{:.1} %, {:.1} %",
            side.elasticity.under_time_percent, side.elasticity.over_time_percent
        )
    }),
    ("instability", |side| {
        format!("{:.1} %", side.elasticity.instability_percent)
    }),
    ("priced total / optimum", |side| {
        format!("{:.3}", side.priced_relative)
    }),
];

fn page(outcome: &Outcome<'_>) -> Page {
    let mut header = vec!["", "MICADO"];
    header.extend(outcome.peer.map(|_| "PEER"));
    let mut lines = Page::table(&header);
    for (name, value) in LINES {
        let mut row = vec![name.to_owned(), value(outcome.micado)];
        row.extend(outcome.peer.map(value));
        lines.add_row(row);
    }
    let bounds = outcome.bounds;
    let mut page = Page::default().with(lines).line("").line(format!(
        "optimum with hindsight {:.2}, bound for any policy {:.2}, without headroom {:.2}",
        bounds.optimum, bounds.bound, bounds.floor
    ));
    if let Some(judgement) = outcome.judgement {
        page = page.line(match judgement {
            Judgement::Better => "micado costs no more and misses no more",
            Judgement::TradeWon => {
                "a trade of cost and missed demand; micado's priced total is lower"
            }
            Judgement::TradeLost => {
                "a trade of cost and missed demand; the peer's priced total is lower"
            }
            Judgement::Worse => "micado costs more and misses more",
        });
    }
    let begin = outcome
        .changes
        .first()
        .map_or(0, |change| change.at.0 / 86_400_000);
    for change in outcome.changes {
        let seconds = change.at.0 / 1_000 - begin * 86_400;
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        page = page.line(format!(
            "{hours:02}:{minutes:02}:{:02} {change}",
            seconds % 60
        ));
    }
    page
}

fn table(rows: &[Row]) -> Page {
    let mut lines = Page::table(&[
        "BOOT", "SHAPE", "MICADO", "MISSED", "PRICED", "PEER", "MISSED", "PRICED",
    ]);
    for row in rows {
        let mut cells = vec![format!("{}s", row.boot_s), row.shape.to_owned()];
        for side in [row.micado, row.peer] {
            cells.push(format!("{:.3}", side.relative));
            cells.push(format!("{:.2} %", side.missed_percent));
            cells.push(format!("{:.3}", side.priced));
        }
        lines.add_row(cells);
    }
    Page::default().with(lines).line("").line(
        "costs and priced totals relative to the optimum with hindsight; means of three seeds",
    )
}
