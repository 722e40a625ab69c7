//! Load steps on one warm copy, with room for another: from the step until the new copy runs. In
//! turns with a service that the engine makes alone.

use crate::{bare_create, engine_of, report};
use micado_api::ContainerState;
use micado_tests::{Cluster, Options, Setup, wait, web};
use std::time::{Duration, Instant};
use tokio::time::sleep;

const STEPS: u32 = 40;
const SERVICE: &str = "acme_micado-web";
const FIRST: &str = "acme_micado-web.1";

/// Load before and after a step, in thousandths of a core: 0.3 and 1.0 of the reservation.
const LOADS: (u32, u32) = (75, 250);

/// Time of even load before each step.
const EVEN: Duration = Duration::from_secs(12);

pub async fn scaling() {
    let cluster = Cluster::start(Options {
        setup: Setup {
            flavours: vec![("small", "1152M", "2", "0.05")],
            ..Setup::default()
        },
        ..Options::default()
    })
    .await;
    cluster.launch(&web("acme")).await;
    cluster
        .until_container(FIRST, ContainerState::Running, 60)
        .await;
    let set = ["policy", "set", SERVICE, "--cpu", "70%", "--max", "2"];
    cluster.micado(&set).await.ok();
    let engine = engine_of(&cluster);
    let service = cluster.api.service(SERVICE).await.expect("the service");
    let image = service.pull.expect("its image");
    load(&cluster, LOADS.0).await;
    // The first copy must be warm.
    sleep(Duration::from_secs(35)).await;
    let (mut grown, mut bare) = (Vec::new(), Vec::new());
    for step in 0..STEPS {
        bare.push(bare_create(&cluster, &engine, &image, step as usize).await);
        // Each step at another moment between two sweeps.
        sleep(EVEN + Duration::from_millis(u64::from(step * 137 % 1_000))).await;
        let begin = Instant::now();
        load(&cluster, LOADS.1).await;
        running(&cluster, 2).await;
        grown.push(begin.elapsed());
        load(&cluster, LOADS.0).await;
        cluster.micado(&["scale", SERVICE, "1"]).await.ok();
        running(&cluster, 1).await;
    }
    grown.sort();
    let p95 = grown[grown.len() * 95 / 100].as_secs_f64() * 1e3;
    report("service-create -> running, by the engine's API alone", bare);
    report("load step -> another copy runs", grown);
    println!("95th percentile: {p95:.0} ms");
}

async fn load(cluster: &Cluster, millicores: u32) {
    let path = format!("/load?millicores={millicores}");
    cluster.ask(FIRST, &path).await;
}

async fn running(cluster: &Cluster, count: u32) {
    wait(&format!("{count} copies run"), 60, async || {
        let view = cluster.api.scaling(SERVICE).await.ok()?;
        (view.running == count && view.count == count).then_some(())
    })
    .await;
}
