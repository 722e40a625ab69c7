//! Tests of volumes that outlive their containers.

use super::super::tests::bench::{Bench, spec};
use micado_api::{InstanceId, ServiceSpec, VolumeMount};

fn with_volume(client: &str, mib: u64) -> ServiceSpec {
    let volumes = vec![VolumeMount {
        name: "data".to_owned(),
        path: "/data".to_owned(),
        shared: false,
    }];
    ServiceSpec {
        volumes,
        ..spec(client, mib)
    }
}

/// Machine of a container, by its only copy.
fn home(bench: &Bench, name: &str) -> Option<InstanceId> {
    let container = bench
        .core
        .ledger
        .container(&name.parse().expect("a name"))?;
    container.primary().map(|copy| copy.instance.clone())
}

/// Two machines; the volume of a removed container is on the first, and the second is fuller, which
/// is where a container without volumes would run.
fn left_behind() -> (Bench, InstanceId) {
    let mut bench = Bench::new(|config| config.return_machines = false);
    bench.launch(with_volume("a", 200), None).expect("room");
    let first = bench.machine_comes();
    bench.settle();
    bench.launch(spec("b", 250), None).expect("room");
    bench.machine_comes();
    bench.settle();
    assert_ne!(home(&bench, "b_web.1"), Some(first.clone()));
    bench.quit("a_web");
    (bench, first)
}

#[test]
fn a_service_that_is_launched_again_runs_where_its_volumes_are() {
    let (mut bench, first) = left_behind();
    bench.launch(spec("c", 100), None).expect("room");
    bench.settle();
    assert_ne!(home(&bench, "c_web.1"), Some(first.clone()));
    bench.quit("c_web");
    let again = bench.launch(with_volume("a", 100), None).expect("room");
    bench.settle();
    assert_eq!(home(&bench, &again), Some(first));
}

#[test]
fn a_volume_in_use_is_nobody_elses_home() {
    let (mut bench, first) = left_behind();
    let again = bench.launch(with_volume("a", 100), None).expect("room");
    let other = bench.launch(with_volume("a", 100), None).expect("room");
    bench.settle();
    assert_eq!(home(&bench, &again), Some(first.clone()));
    assert_ne!(home(&bench, &other), Some(first));
}

#[test]
fn another_service_with_a_volume_of_that_name_runs_anywhere() {
    let (mut bench, first) = left_behind();
    let other = bench.launch(with_volume("d", 100), None).expect("room");
    bench.settle();
    assert_ne!(home(&bench, &other), Some(first));
}

#[test]
fn the_return_of_a_machine_names_the_volumes_that_go_with_it() {
    let (mut bench, first) = left_behind();
    let lost = bench.core.volumes_lost_with(&first);
    assert_eq!(
        lost.as_deref(),
        Some("with it go volumes: `data` of a_web.1")
    );
    bench.launch(with_volume("a", 100), None).expect("room");
    bench.settle();
    assert_eq!(bench.core.volumes_lost_with(&first), None);
}
