//! Load steps on one warm copy, with room for another: from the step until the new copy runs. In
//! turns with a service that the engine makes alone.

use crate::{bare_create, engine_of, report};
use micado_api::ContainerState;
use micado_tests::{Cluster, Options, Setup, wait, web};
use std::time::{Duration, Instant};
use tokio::time::sleep;

const STEPS: u32 = 40;

/// Services that take the steps in turns: on one, they would be so frequent that they count as
/// noise.
const SERVICES: u32 = 6;

/// Load before and after a step, in thousandths of a core: 0.3 and 1.0 of the reservation.
const LOADS: (u32, u32) = (75, 250);

/// Time of even load before each step.
const EVEN: Duration = Duration::from_secs(12);

pub async fn scaling() {
    let cluster = Cluster::start(Options {
        setup: Setup {
            // Room for the copies of all services, and one more.
            flavours: vec![("large", "2048M", "2", "0.05")],
            ..Setup::default()
        },
        ..Options::default()
    })
    .await;
    let mut services = Vec::new();
    for number in 0..SERVICES {
        let launched = cluster.launch(&web(&format!("client{number}"))).await;
        let scaled = Scaled {
            cluster: &cluster,
            service: launched.service.to_string(),
            first: launched.name.to_string(),
        };
        cluster
            .until_container(&scaled.first, ContainerState::Running, 60)
            .await;
        let set = [
            "policy",
            "set",
            &scaled.service,
            "--cpu",
            "70%",
            "--max",
            "2",
        ];
        cluster.micado(&set).await.ok();
        scaled.load(LOADS.0).await;
        services.push(scaled);
    }
    let view = cluster.look().await.expect("a manager that answers");
    assert_eq!(view.in_use().len(), 1, "one machine has room for all");
    let engine = engine_of(&cluster);
    let service = cluster.api.service(&services[0].service).await;
    let image = service.expect("the service").pull.expect("its image");
    // The first copies must be warm.
    sleep(Duration::from_secs(35)).await;
    let (mut grown, mut bare) = (Vec::new(), Vec::new());
    for (step, scaled) in (0..STEPS).zip(services.iter().cycle()) {
        bare.push(bare_create(&cluster, &engine, &image, step as usize).await);
        // Each step at another moment between two sweeps.
        sleep(EVEN + Duration::from_millis(u64::from(step * 137 % 1_000))).await;
        let begin = Instant::now();
        scaled.load(LOADS.1).await;
        scaled.running(2).await;
        grown.push(begin.elapsed());
        scaled.load(LOADS.0).await;
        cluster.micado(&["scale", &scaled.service, "1"]).await.ok();
        scaled.running(1).await;
    }
    grown.sort();
    let p95 = grown[grown.len() * 95 / 100].as_secs_f64() * 1e3;
    report("service-create -> running, by the engine's API alone", bare);
    report("load step -> another copy runs", grown);
    println!("95th percentile: {p95:.0} ms");
}

/// A service with a policy.
struct Scaled<'a> {
    cluster: &'a Cluster,
    service: String,
    first: String,
}

impl Scaled<'_> {
    async fn load(&self, millicores: u32) {
        let path = format!("/load?millicores={millicores}");
        self.cluster.ask(&self.first, &path).await;
    }

    async fn running(&self, count: u32) {
        wait(&format!("{count} copies run"), 60, async || {
            let view = self.cluster.api.scaling(&self.service).await.ok()?;
            (view.running == count && view.count == count).then_some(())
        })
        .await;
    }
}
