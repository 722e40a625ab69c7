//! `micado simulate`: scaling under loads, on a virtual clock, beside an opponent and a bound. Needs
//! a manager only for the history of its cluster.

mod report;

use super::{
    args::{Against, BillingUnit, Common, SimulateArgs},
    failure::Failure,
    policy,
    printer::Printer,
};
use crate::clock;
use micado_api::{Client, ErrorBody, ErrorCode, HistoryQuery, VerdictView};
use micado_core::{
    scaling::{Metric, Policies, Policy, PolicyError},
    simulate::{self, Billing, Bounds, Judgement, Load, Options, Report, Run, Shape},
};
use serde::Serialize;
use std::{
    fmt::Write as _,
    fs,
    io::{self, Write},
    path::Path,
};
use tokio::runtime::Builder;

/// Resolution of the history that a load is made of, in seconds: the finest that is kept for days.
const HISTORY: u32 = 600;

/// Result for programs.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    load: &'a str,
    bounds: Bounds,
    micado: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<&'a Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    judgement: Option<Judgement>,
    #[serde(skip_serializing_if = "<[VerdictView]>::is_empty")]
    changes: &'a [VerdictView],
}

/// The loads of services, and their common name.
struct Loads {
    name: String,
    loads: Vec<Load>,
}

pub(super) fn simulate(
    args: &SimulateArgs,
    common: &Common,
    printer: &Printer,
) -> Result<(), Failure> {
    let options = options(args)?;
    if args.load == ["all"] {
        return all_shapes(args, &options, printer);
    }
    if !args.boots.is_empty() {
        return Err(bad("`--boots` is for `--load all`; others have `--boot`".to_owned()).into());
    }
    let Loads { name, loads } = match &args.from_history {
        Some(service) => {
            let client = super::connect(common)?;
            let past = history(args, service, &client);
            super::block_on(&mut Builder::new_current_thread(), past)?
        }
        None => loads(args)?,
    };
    refuse_empty(&loads, args.past)?;
    let bounds = simulate::bounds(&loads, &options);
    let ours = simulate::run_ours(&loads, &options, bounds.optimum)?;
    let other = opponent(args, &loads, &options, bounds.optimum)?;
    if let Some(file) = &args.plot {
        write_plot(file, &name, &ours, other.as_ref())?;
    }
    if args.csv {
        return Ok(io::stdout()
            .lock()
            .write_all(csv(&ours, other.as_ref()).as_bytes())?);
    }
    let changes = if args.changes { &ours.changes[..] } else { &[] };
    let outcome = Outcome {
        load: &name,
        bounds,
        micado: &ours.report,
        against: other.as_ref().map(|run| &run.report),
        judgement: other.as_ref().map(|run| ours.report.against(&run.report)),
        changes,
    };
    printer.data(&outcome, || report::page(&outcome))?;
    Ok(())
}

fn all_shapes(args: &SimulateArgs, options: &Options, printer: &Printer) -> Result<(), Failure> {
    if args.csv || args.changes || args.plot.is_some() {
        let text = "`--csv`, `--changes` and `--plot` are for one load, not for `all`";
        return Err(bad(text.to_owned()).into());
    }
    if args.against != Against::Peer {
        return Err(bad("`--load all` compares with the peer only".to_owned()).into());
    }
    let boots = match args.boots.as_slice() {
        [] => &[args.boot][..],
        boots => boots,
    };
    let rows = simulate::table(boots, args.seed, options)?;
    printer.data(&rows, || report::table(&rows))?;
    Ok(())
}

/// Runs the other side, if there is one.
fn opponent(
    args: &SimulateArgs,
    loads: &[Load],
    options: &Options,
    optimum: f64,
) -> Result<Option<Run>, ErrorBody> {
    match &args.against {
        Against::Nothing => Ok(None),
        Against::Peer => Ok(Some(simulate::run_peer(loads, options, optimum))),
        Against::Policies(file) => {
            let other = with_policies(options.clone(), file)?;
            let mut run = simulate::run_ours(loads, &other, optimum)?;
            run.report.side = file.display().to_string();
            Ok(Some(run))
        }
    }
}

fn options(args: &SimulateArgs) -> Result<Options, ErrorBody> {
    let options = Options {
        boot: args.boot,
        billing: match args.billing {
            BillingUnit::Second => Billing::Second,
            BillingUnit::FiveMinutes => Billing::FiveMinutes,
            BillingUnit::Hour => Billing::Hour,
        },
        price: args.price,
        slots: args.slots,
        least_machines: args.machines,
        faults: args.faults.then_some(args.seed),
        ..Options::default()
    };
    match &args.policy {
        Some(file) => with_policies(options, file),
        None => Ok(options),
    }
}

fn with_policies(options: Options, file: &Path) -> Result<Options, ErrorBody> {
    let policies = policy::read(file)?;
    policies.validate().map_err(refused)?;
    Ok(Options {
        target: cpu_target(&policies).unwrap_or(options.target),
        policies,
        ..options
    })
}

fn cpu_target(policies: &Policies) -> Option<f64> {
    policies.policies.iter().find_map(|policy| match policy {
        Policy::Target(target) if target.metric == Metric::Cpu => target.target,
        _ => None,
    })
}

fn loads(args: &SimulateArgs) -> Result<Loads, ErrorBody> {
    let of = |load: &String| Ok(Load::new(demand(load, args.seed)?, args.past));
    Ok(Loads {
        loads: args.load.iter().map(of).collect::<Result<_, ErrorBody>>()?,
        name: args.load.join(" + "),
    })
}

fn demand(load: &str, seed: u64) -> Result<Vec<f64>, ErrorBody> {
    if load == "all" {
        return Err(bad("`--load all` stands alone".to_owned()));
    }
    let path = Path::new(load);
    if path.extension().is_some_and(|ending| ending == "csv") {
        return simulate::demand(&read(path)?)
            .map_err(|error| bad(format!("load `{load}`: {error}")));
    }
    let shape: Shape = load
        .parse()
        .map_err(|error: simulate::ShapeError| bad(error.to_string()))?;
    Ok(shape.demand(seed))
}

/// The load that a service had, from the cluster's history.
async fn history(args: &SimulateArgs, service: &str, client: &Client) -> Result<Loads, Failure> {
    let from = clock::now().0 - u64::from(args.days) * 86_400_000;
    let query = HistoryQuery {
        from: Some(from),
        until: None,
        resolution: Some(HISTORY),
    };
    let history = client.history(service, &query).await?;
    let points = history.points.iter();
    let points: Vec<(f64, f64)> = points
        .map(|point| (point.at.0 as f64 / 1_000.0, point.cpu.0 as f64 / 1e9))
        .collect();
    let demand = simulate::filled(&points);
    if demand.len() < HISTORY as usize {
        let text = format!("`{service}` has no history of {} days", args.days);
        let hint = "metrics are kept by ten minutes for 30 days; `micado history` shows them";
        return Err(ErrorBody::new(ErrorCode::NotFound, text).hint(hint).into());
    }
    Ok(Loads {
        name: service.to_owned(),
        loads: vec![Load::new(demand, args.past)],
    })
}

/// Refuses a past that leaves nothing to run.
fn refuse_empty(loads: &[Load], days: u32) -> Result<(), ErrorBody> {
    match loads.iter().all(|load| load.demand.is_empty()) {
        true => Err(bad(format!(
            "the load has no more than {days} days: `--past` takes all"
        ))),
        false => Ok(()),
    }
}

fn read(file: &Path) -> Result<String, ErrorBody> {
    fs::read_to_string(file)
        .map_err(|error| bad(format!("cannot read `{}`: {error}", file.display())))
}

fn bad(message: String) -> ErrorBody {
    ErrorBody::new(ErrorCode::BadRequest, message)
        .hint("`micado simulate --help` lists the shapes and flags")
}

fn refused(error: PolicyError) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::BadRequest,
        format!("{}: {}", error.thing, error.cause),
    )
    .hint(error.next)
}

fn write_plot(file: &Path, load: &str, ours: &Run, other: Option<&Run>) -> Result<(), ErrorBody> {
    let mut sides = vec![("micado", ours.points.as_slice())];
    sides.extend(other.map(|run| (run.report.side.as_str(), run.points.as_slice())));
    fs::write(file, simulate::plot(load, &sides)).map_err(|error| {
        ErrorBody::new(
            ErrorCode::Internal,
            format!("cannot write `{}`: {error}", file.display()),
        )
        .hint("name a file in a folder that you may write to")
    })
}

/// Columns of both sides. The other one is `peer`, or `other` for another policy.
fn csv(ours: &Run, other: Option<&Run>) -> String {
    let mut text = "seconds,demand,micado_capacity,micado_machines,micado_missed".to_owned();
    if let Some(run) = other {
        let side = if run.report.side == "peer" {
            "peer"
        } else {
            "other"
        };
        _ = write!(text, ",{side}_capacity,{side}_machines,{side}_missed");
    }
    text.push('\n');
    let machines = |run: &Run, second: u64| {
        let machines = run.machines.get(second as usize);
        machines.copied().unwrap_or_default()
    };
    for (at, point) in ours.points.iter().enumerate() {
        _ = write!(
            text,
            "{},{:.3},{:.1},{},{:.3}",
            point.second,
            point.demand,
            point.capacity,
            machines(ours, point.second),
            point.missed
        );
        if let Some((run, point)) = other.and_then(|run| Some((run, run.points.get(at)?))) {
            _ = write!(
                text,
                ",{:.1},{},{:.3}",
                point.capacity,
                machines(run, point.second),
                point.missed
            );
        }
        text.push('\n');
    }
    text
}
