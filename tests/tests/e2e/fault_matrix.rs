//! Each call to CloudBroker x each kind of fault: in the end everything requested exists, the
//! broker has no machine that we do not show, and nothing was rented twice.

use micado_api::{ContainerState, InstanceState};
use micado_cloudbroker::{CallKind, Fault, Rule};
use micado_tests::{Cluster, Options, Rented, Request, View, web};
use std::{
    collections::BTreeMap,
    fmt::Write,
    time::{Duration, Instant},
};

/// Calls in the life of a machine, in order.
const CALLS: [CallKind; 7] = [
    CallKind::CreateJob,
    CallKind::Upload,
    CallKind::SubmitJob,
    CallKind::ShowJob,
    CallKind::ListJobs,
    CallKind::StopJob,
    CallKind::DeleteJob,
];

/// Upper bound for complete recovery.
const PATIENCE: Duration = Duration::from_secs(90);

/// Kind of fault of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    LostBefore,
    LostAfter,
    Status500,
    ErrorsAt200,
    Status429,
    TimeOut,
    KilledBefore,
    KilledAfter,
}

impl Trouble {
    const ALL: [Self; 8] = [
        Self::LostBefore,
        Self::LostAfter,
        Self::Status500,
        Self::ErrorsAt200,
        Self::Status429,
        Self::TimeOut,
        Self::KilledBefore,
        Self::KilledAfter,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::LostBefore => "lost before",
            Self::LostAfter => "lost after",
            Self::Status500 => "500",
            Self::ErrorsAt200 => "errors at 200",
            Self::Status429 => "429",
            Self::TimeOut => "time-out",
            Self::KilledBefore => "killed before",
            Self::KilledAfter => "killed after",
        }
    }

    fn kills(self) -> bool {
        matches!(self, Self::KilledBefore | Self::KilledAfter)
    }

    fn fault(self, manager: u32) -> Fault {
        match self {
            Self::LostBefore => Fault::LostBefore,
            Self::LostAfter => Fault::LostAfter,
            Self::Status500 => Fault::Status {
                code: 500,
                retry_after: None,
            },
            Self::ErrorsAt200 => Fault::ErrorsAt200("The platform has a bad day".to_owned()),
            Self::Status429 => Fault::Status {
                code: 429,
                retry_after: Some(1),
            },
            Self::TimeOut => Fault::Hang(Duration::from_secs(4)),
            Self::KilledBefore => Fault::KillBefore(manager),
            Self::KilledAfter => Fault::KillAfter(manager),
        }
    }
}

/// Returns true for a call that changes nothing. The client retries it, so it has to fail more than
/// once to have an effect.
fn only_reads(call: CallKind) -> bool {
    matches!(call, CallKind::ShowJob | CallKind::ListJobs)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_may_go_wrong_in_every_way() {
    // Concurrent lanes: a cell waits most of its time.
    let lanes = futures_util::future::join_all(CALLS.chunks(2).map(lane)).await;
    let matrix: BTreeMap<_, _> = lanes.into_iter().flatten().collect();
    println!("{}", table(&matrix));
    assert_eq!(matrix.len(), CALLS.len());
}

/// Rows of these calls, on a cluster of their own: the time of recovery for each trouble.
async fn lane(calls: &[CallKind]) -> Vec<(CallKind, Vec<Duration>)> {
    let options = Options {
        rented: Some(Rented::records()),
        ..Options::default()
    };
    let mut cluster = Cluster::start(options).await;
    let mut rows = Vec::new();
    for &call in calls {
        let mut row = Vec::new();
        for trouble in Trouble::ALL {
            row.push(cell(&mut cluster, call, trouble).await);
        }
        rows.push((call, row));
    }
    rows
}

/// One machine's life with this trouble in it.
async fn cell(cluster: &mut Cluster, call: CallKind, trouble: Trouble) -> Duration {
    let what = format!("{call:?}, {}", trouble.name());
    let (begin, rented) = (Instant::now(), cluster.simulator().instances().len());
    let happened = cluster.simulator().faults().happened().len();
    let times = if only_reads(call) && !trouble.kills() {
        4
    } else {
        1
    };
    let rule = Rule::new(call, trouble.fault(cluster.manager_pid())).times(times);
    cluster.simulator().faults().add(rule);

    let request = web(&format!("cell{rented}")).named(&format!("cell{rented}"));
    let name = persist(
        cluster,
        &format!("{what}: the launch is taken"),
        async |cluster| {
            Some(
                cluster
                    .api
                    .launch(&request)
                    .await
                    .ok()?
                    .first()?
                    .name
                    .to_string(),
            )
        },
    )
    .await;
    // Records have no engine, so the machine boots for ever, with the container assigned to it.
    let tag = persist(
        cluster,
        &format!("{what}: one machine boots"),
        async |cluster| booting(cluster, &name).await,
    )
    .await;
    assert_eq!(
        (
            booted(cluster, rented),
            cluster.simulator().machines_running().len()
        ),
        (1, 1),
        "{what}: machines rented, and paid for"
    );

    persist(
        cluster,
        &format!("{what}: the quit is taken"),
        async |cluster| cluster.api.quit(&name, true).await.ok(),
    )
    .await;
    persist(
        cluster,
        &format!("{what}: the stop is taken"),
        async |cluster| stopped(cluster, &tag).await,
    )
    .await;
    persist(
        cluster,
        &format!("{what}: nothing is left"),
        async |cluster| {
            let view = cluster.look().await.ok()?;
            let shown = view.in_use().len() + view.containers.len();
            (shown
                + cluster.simulator().jobs().len()
                + cluster.simulator().machines_running().len()
                == 0)
                .then_some(())
        },
    )
    .await;
    assert_eq!(booted(cluster, rented), 1, "{what}: machines rented in all");
    assert!(
        cluster.simulator().faults().happened().len() > happened,
        "{what}: it has not happened"
    );
    cluster.simulator().faults().clear();
    begin.elapsed()
}

/// Retries until there is a result; a dead manager is restarted.
async fn persist<T>(
    cluster: &mut Cluster,
    what: &str,
    mut attempt: impl AsyncFnMut(&Cluster) -> Option<T>,
) -> T {
    let begin = Instant::now();
    loop {
        if !cluster.manager_runs() {
            cluster.start_manager(&[]).await;
        }
        if let Some(found) = attempt(cluster).await {
            return found;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "not within {} s: {what}",
            PATIENCE.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Tag of the machine assigned to this container, if it is the only one and runs according to the
/// broker.
async fn booting(cluster: &Cluster, name: &str) -> Option<String> {
    let view = cluster.look().await.ok()?;
    let tag = view.place_of(name)?;
    let alone = view.in_use().len() == 1 && cluster.simulator().jobs().len() == 1;
    (alone && view.instance_in(&tag, InstanceState::Booting).is_some()).then_some(tag)
}

/// Requests the return of the machine. A manager that died meanwhile may have recorded it already.
async fn stopped(cluster: &Cluster, tag: &str) -> Option<()> {
    let asked = cluster.api.stop(tag, true).await;
    let noted = |view: &View| {
        view.instance(tag)
            .is_some_and(|it| it.state > InstanceState::Active)
    };
    (asked.is_ok() || noted(&cluster.look().await.ok()?)).then_some(())
}

/// Number of machines switched on for orders since there were this many.
fn booted(cluster: &Cluster, before: usize) -> usize {
    cluster
        .simulator()
        .instances()
        .iter()
        .skip(before)
        .filter(|it| it.machine.booted_at.is_some())
        .count()
}

fn table(matrix: &BTreeMap<CallKind, Vec<Duration>>) -> String {
    let mut text = format!("{:14}", "seconds until");
    for trouble in Trouble::ALL {
        let _ = write!(text, "{:>15}", trouble.name());
    }
    for (call, row) in matrix {
        let _ = write!(text, "\n{:14}", format!("{call:?}"));
        for cell in row {
            let _ = write!(text, "{:>15.1}", cell.as_secs_f64());
        }
    }
    text
}

/// One booted run per row: the worst fault of each call, and a container that really runs in the
/// end.
#[tokio::test(flavor = "multi_thread")]
async fn machines_that_boot_come_of_it_too() {
    let options = Options {
        rented: Some(Rented {
            call_timeout: 2,
            ..Rented::default()
        }),
        ..Options::default()
    };
    let mut cluster = Cluster::start(options).await;
    let troubles = [Trouble::LostAfter, Trouble::KilledAfter];
    for (number, call) in CALLS.into_iter().enumerate() {
        let trouble = troubles[number % troubles.len()];
        let what = format!("{call:?}, {}", trouble.name());
        let (begin, rented) = (Instant::now(), cluster.simulator().instances().len());
        let happened = cluster.simulator().faults().happened().len();
        let rule = Rule::new(call, trouble.fault(cluster.manager_pid()));
        cluster.simulator().faults().add(rule);
        let request = web(&format!("row{number}")).named(&what);
        let name = persist(
            &mut cluster,
            &format!("{what}: the launch is taken"),
            async |cluster| {
                Some(
                    cluster
                        .api
                        .launch(&request)
                        .await
                        .ok()?
                        .first()?
                        .name
                        .to_string(),
                )
            },
        )
        .await;
        let tag = persist(&mut cluster, &format!("{what}: it runs"), async |cluster| {
            let view = cluster.look().await.ok()?;
            view.container_in(&name, ContainerState::Running)?
                .instance
                .as_ref()
                .map(ToString::to_string)
        })
        .await;
        assert_eq!(booted(&cluster, rented), 1, "{what}: machines rented");
        persist(
            &mut cluster,
            &format!("{what}: the quit is taken"),
            async |cluster| cluster.api.quit(&name, true).await.ok(),
        )
        .await;
        persist(
            &mut cluster,
            &format!("{what}: the stop is taken"),
            async |cluster| stopped(cluster, &tag).await,
        )
        .await;
        persist(
            &mut cluster,
            &format!("{what}: nothing is left"),
            async |cluster| {
                let view = cluster.look().await.ok()?;
                (view.in_use().len()
                    + view.containers.len()
                    + cluster.simulator().jobs().len()
                    + cluster.simulator().machines_running().len()
                    == 0)
                    .then_some(())
            },
        )
        .await;
        assert!(
            cluster.simulator().faults().happened().len() > happened,
            "{what}: it has not happened"
        );
        cluster.simulator().faults().clear();
        println!("{what}: {:.1} s, booted", begin.elapsed().as_secs_f64());
    }
}
