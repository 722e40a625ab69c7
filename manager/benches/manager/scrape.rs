//! A scrape of `/metrics` with 1,000 machines, whose agents report, and 10,000 containers: its time
//! and size, and how long the core and the metrics are held meanwhile.

use crate::{
    fake::instance_id,
    memory::{connect_agents, fill},
    report,
    rig::{MACHINES, Rig},
};
use micado_api::{Client, ConnectOptions, DiscoveryQuery, InstanceId, MetricsQuery};
use micado_manager::control::Core;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const RUNS: usize = 15;

/// Containers without series of their own, and with them.
const WHOLE: [(&str, bool); 2] = [("without single containers", false), ("whole", true)];

pub async fn run() {
    let rig = Rig::start(None).await;
    let containers = fill(&rig).await;
    let agents = connect_agents(&rig).await;
    // Two batches of every agent.
    sleep(Duration::from_secs(5)).await;
    let client = Client::connect(&rig.socket(), &ConnectOptions::default()).expect("an address");
    let of = format!("{MACHINES} machines, {containers} containers");
    for (kind, each) in WHOLE {
        let query = MetricsQuery {
            containers: Some(each),
        };
        let waits = tokio::spawn(waits(rig.handle.clone()));
        let (mut times, mut size, mut series) = (vec![], 0, 0);
        for _ in 0..RUNS {
            let begun = Instant::now();
            let text = client.metrics(&query).await.expect("text");
            times.push(begun.elapsed());
            (size, series) = (
                text.len(),
                text.lines().filter(|line| !line.starts_with('#')).count(),
            );
        }
        waits.abort();
        report(&format!("{of}: a scrape, {kind}"), times);
        println!(
            "{of}: {series} series, {:.1} MB of text, {kind}",
            size as f64 / 1e6
        );
    }
    let mut times = vec![];
    for _ in 0..RUNS {
        let begun = Instant::now();
        let targets = client.targets(&DiscoveryQuery::default()).await;
        targets.expect("a list");
        times.push(begun.elapsed());
    }
    report(&format!("{of}: service discovery"), times);
    held(&rig, &of).await;
    drop(agents);
    rig.stop().await;
}

/// Reads the core all the time, so that it is not idle.
async fn waits(handle: micado_manager::control::Handle) {
    loop {
        let read = handle.read(|core| core.wake_at()).await;
        read.expect("a core");
        sleep(Duration::from_millis(1)).await;
    }
}

/// Time of each part that the core or the metrics are held for.
async fn held(rig: &Rig, of: &str) {
    type Part = fn(&Core);
    let parts: [(&str, Part); 3] = [
        ("overview", |core| drop(core.overview())),
        ("200 machines", |core| drop(core.instances_after(None, 200))),
        ("1,000 containers", |core| {
            drop(core.monitored_after(None, 1000))
        }),
    ];
    for (kind, part) in parts {
        let mut times = vec![];
        for _ in 0..RUNS {
            let timed = rig.handle.read(move |core| {
                let begun = Instant::now();
                part(core);
                begun.elapsed()
            });
            times.push(timed.await.expect("a core"));
        }
        report(&format!("{of}: the core is held for {kind}"), times);
    }
    let machines: Vec<InstanceId> = (0..100).map(instance_id).collect();
    let mut times = vec![];
    for _ in 0..RUNS {
        let begun = Instant::now();
        drop(rig.metrics.readings(&machines));
        times.push(begun.elapsed());
    }
    report(
        &format!("{of}: the metrics are held for 100 machines"),
        times,
    );
}
