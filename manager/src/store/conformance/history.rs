//! Guarantees of every store for points.

use super::{Home, put, setting};
use crate::clock;
use micado_api::{InstanceId, MemoryBytes, NanoCpus, ServiceName, Timestamp};
use micado_core::metrics::{
    ContainerPoint, History, MachinePoint, Point, Recall, Resolution, Series,
};
use std::time::{Duration, Instant};

/// A time within every retention: half an hour ago, at the beginning of a minute. Constant during a
/// test run.
pub fn recently() -> Timestamp {
    thread_local! {
        static BEGUN: u64 = clock::now().0;
    }
    let at = BEGUN.with(|begun| begun - 1_800_000);
    Timestamp(at - at % 60_000)
}

/// A point with these containers, each with other values.
pub fn point(instance: &str, resolution: Resolution, at: Timestamp, containers: &[&str]) -> Point {
    let machine = MachinePoint {
        measured_ms: 2000,
        cpu_ns: at.0,
        memory_total: MemoryBytes::mib(512),
        disk_left: u64::MAX,
        ..MachinePoint::default()
    };
    let figures = |number: usize| ContainerPoint {
        measured_ms: 2000,
        cpu_ns: 10_000_000 + number as u64,
        cpu_peak: NanoCpus(5_000_000),
        memory: MemoryBytes::mib(100),
        memory_peak: MemoryBytes(120_000_001),
        ..ContainerPoint::default()
    };
    let containers = containers
        .iter()
        .enumerate()
        .map(|(number, name)| ((*name).to_owned(), figures(number)))
        .collect();
    Point {
        instance: InstanceId::trusted(instance),
        resolution,
        at,
        machine,
        containers,
    }
}

fn sample(instance: &str, ms: u64) -> Point {
    point(
        instance,
        Resolution::Sample,
        Timestamp(recently().0 + ms),
        &["alice_web.1", "bob_db.1"],
    )
}

fn all(series: Series) -> Recall {
    Recall {
        series,
        resolution: Resolution::Sample,
        from: Timestamp(0),
        until: Timestamp(u64::MAX),
    }
}

/// Query for all points of an instance.
pub fn all_of(instance: &str, resolution: Resolution) -> Recall {
    Recall {
        resolution,
        ..all(Series::Instance(InstanceId::trusted(instance)))
    }
}

fn container(name: &str) -> Recall {
    all(Series::Container(name.into()))
}

async fn samples(history: &dyn History, instance: &str) -> Vec<Point> {
    history
        .recall(&all_of(instance, Resolution::Sample))
        .await
        .expect("recalled")
}

pub async fn no_points_are_no_error<H: Home>() {
    let home = H::fresh().await;
    let history = home.history().await;
    history.record(&[]).await.expect("nothing to do");
    assert_eq!(samples(&*history, "a").await, []);
    assert_eq!(history.recall(&container("alice_web.1")).await, Ok(vec![]));
    history
        .forget(clock::now())
        .await
        .expect("nothing to let go of");
}

pub async fn points_come_back_by_time_and_then_by_instance<H: Home>() {
    let home = H::fresh().await;
    let history = home.history().await;
    // Includes times of which a shorter number, or a later minute, would be sorted before.
    let times = [0, 2, 900, 10_000, 59_999, 60_000, 1_200_000];
    let at = |ms| Timestamp(recently().0 + ms);
    let of = |ms, instances: &[&str]| {
        instances
            .iter()
            .map(|it| point(it, Resolution::Sample, at(ms), &["alice_web.1"]))
            .collect::<Vec<_>>()
    };
    let wanted: Vec<Point> = times
        .into_iter()
        .flat_map(|ms| of(ms, &["a", "a2", "b"]))
        .collect();
    let mut written = wanted.clone();
    written.reverse();
    for part in written.chunks(4) {
        history.record(part).await.expect("recorded");
    }
    let a2: Vec<Point> = times.into_iter().flat_map(|ms| of(ms, &["a2"])).collect();
    assert_eq!(
        history.recall(&container("alice_web.1")).await,
        Ok(wanted.clone())
    );
    assert_eq!(samples(&*history, "a2").await, a2);
    let service = |name| all(Series::Service(ServiceName::trusted(name)));
    assert_eq!(
        history.recall(&service("alice_web")).await,
        Ok(wanted.clone()),
        "by service"
    );
    assert_eq!(history.recall(&service("alice_we")).await, Ok(vec![]));
    drop(history);
    let history = home.history().await;
    assert_eq!(
        history.recall(&container("alice_web.1")).await,
        Ok(wanted),
        "after it was opened again"
    );
    assert_eq!(samples(&*history, "a2").await, a2);
}

pub async fn a_point_that_is_written_again_is_replaced<H: Home>() {
    let home = H::fresh().await;
    let history = home.history().await;
    let points = [sample("a", 0), sample("a", 2000), sample("b", 0)];
    for _ in 0..3 {
        history.record(&points).await.expect("recorded");
    }
    assert_eq!(samples(&*history, "a").await, points[..2]);
    let other = Point {
        containers: [("carol_job.1".to_owned(), ContainerPoint::default())].into(),
        machine: MachinePoint::default(),
        ..points[0].clone()
    };
    history
        .record(std::slice::from_ref(&other))
        .await
        .expect("recorded");
    assert_eq!(
        samples(&*history, "a").await,
        [other.clone(), points[1].clone()],
        "nothing is left of what it was"
    );
    assert_eq!(samples(&*history, "b").await, points[2..]);
    history
        .record(&[points[0].clone(), other.clone()])
        .await
        .expect("recorded");
    assert_eq!(
        samples(&*history, "a").await[0],
        other,
        "the last of one call counts"
    );
    let gone = Recall {
        until: Timestamp(other.at.0 + 1),
        ..container("bob_db.1")
    };
    assert_eq!(
        history.recall(&gone).await.expect("recalled").len(),
        1,
        "only the other instance has it now"
    );
}

pub async fn points_of_the_same_time_are_told_apart<H: Home>() {
    let home = H::fresh().await;
    let history = home.history().await;
    let at = Timestamp(recently().0 / 600_000 * 600_000);
    let all: Vec<Point> = Resolution::ALL
        .into_iter()
        .flat_map(|resolution| ["a", "b"].map(|instance| point(instance, resolution, at, &[])))
        .collect();
    history.record(&all).await.expect("recorded");
    for wanted in all {
        assert_eq!(
            history
                .recall(&all_of(wanted.instance.as_str(), wanted.resolution))
                .await,
            Ok(vec![wanted])
        );
    }
}

pub async fn only_what_is_asked_for_is_recalled<H: Home>() {
    let home = H::fresh().await;
    let history = home.history().await;
    let begin = recently().0;
    // The container moves from one instance to the other.
    let moved = |mut point: Point| {
        point.containers.remove("alice_web.1");
        point
    };
    let points = [
        sample("a", 0),
        moved(sample("b", 0)),
        sample("a", 58_000),
        moved(sample("a", 60_000)),
        sample("b", 60_000),
        sample("b", 130_000),
    ];
    history.record(&points).await.expect("recorded");
    let ask = async |series: Series, from: u64, until: u64| {
        let wanted = Recall {
            series,
            resolution: Resolution::Sample,
            from: Timestamp(begin + from),
            until: Timestamp(begin + until),
        };
        history.recall(&wanted).await.expect("recalled")
    };
    let pick = |which: &[usize]| {
        which
            .iter()
            .map(|at| points[*at].clone())
            .collect::<Vec<_>>()
    };
    let instance = |id: &str| Series::Instance(InstanceId::trusted(id));

    assert_eq!(
        ask(instance("a"), 58_000, 60_000).await,
        pick(&[2]),
        "from it on, and without the end"
    );
    assert_eq!(ask(instance("a"), 58_001, 60_001).await, pick(&[3]));
    assert_eq!(ask(instance("b"), 130_001, 500_000).await, []);
    assert_eq!(ask(instance("a"), 60_000, 60_000).await, []);
    assert_eq!(ask(instance("a"), 60_000, 58_000).await, []);
    assert_eq!(ask(instance("a"), 0, 500_000).await, pick(&[0, 2, 3]));
    assert_eq!(ask(instance("b"), 1, 130_000).await, pick(&[4]));
    assert_eq!(ask(instance("nobody"), 0, 500_000).await, []);

    let only = |mut point: Point| {
        point.containers.retain(|name, _| name == "alice_web.1");
        point
    };
    let wanted: Vec<Point> = pick(&[0, 2, 4, 5]).into_iter().map(only).collect();
    assert_eq!(
        ask(Series::Container("alice_web.1".into()), 0, 500_000).await,
        wanted,
        "wherever it was, and of it alone"
    );
    assert_eq!(
        ask(Series::Container("bob_db.1".into()), 58_001, 60_001)
            .await
            .len(),
        2,
        "of that time alone"
    );
    assert_eq!(
        ask(Series::Container("bob_db.1".into()), 60_000, 60_000).await,
        []
    );
    assert_eq!(
        ask(Series::Container("alice_web".into()), 0, 500_000).await,
        []
    );
}

pub async fn points_of_any_shape<H: Home>() {
    let home = H::fresh().await;
    let history = home.history().await;
    let most = u64::MAX;
    let memory = MemoryBytes(most);
    let full = ContainerPoint {
        measured_ms: most,
        cpu_ns: most,
        cpu_peak: NanoCpus(most),
        throttled_ns: most,
        memory,
        memory_peak: memory,
        oom_kills: most,
        received: most,
        sent: most,
        read: most,
        written: most,
    };
    let machine = MachinePoint {
        measured_ms: most,
        cpu_ns: most,
        cpu_peak: NanoCpus(most),
        memory_total: memory,
        memory_left: memory,
        memory_least_left: memory,
        disk_left: most,
        disk_total: most,
    };
    let names = [
        "dotted.$name.1",
        "$set",
        "Zürich 時",
        "",
        "\u{1F600} \"quoted\"",
    ];
    let containers = names
        .into_iter()
        .map(|name| (name.to_owned(), full))
        .collect();
    let points = [
        Point {
            machine,
            containers,
            ..sample("full", 0)
        },
        Point {
            containers: [].into(),
            ..sample("idle", 1)
        },
        Point {
            containers: (0..2000)
                .map(|n| (format!("crowd_web.{n}"), full))
                .collect(),
            ..sample("crowd", 2)
        },
    ];
    history.record(&points).await.expect("recorded");
    for point in &points {
        assert_eq!(
            samples(&*history, point.instance.as_str()).await,
            std::slice::from_ref(point)
        );
    }
    for name in names {
        assert_eq!(
            history.recall(&container(name)).await.expect("recalled")[0].containers,
            [(name.to_owned(), full)].into(),
            "{name}"
        );
    }
}

/// As many as the agents of a large cluster report in ten seconds: one of each of a thousand
/// instances.
pub async fn many_points_at_once<H: Home>() {
    let home = H::fresh().await;
    let history = home.history().await;
    let names: Vec<String> = (0..10)
        .map(|number| format!("alice_web.{number}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let points: Vec<Point> = (0..1001)
        .map(|number| {
            point(
                &format!("i{number:04}"),
                Resolution::Sample,
                recently(),
                &names,
            )
        })
        .collect();
    let begun = Instant::now();
    history.record(&points).await.expect("recorded");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        history
            .recall(&container("alice_web.7"))
            .await
            .expect("recalled")
            .len(),
        points.len()
    );
    assert_eq!(samples(&*history, "i0777").await, points[777..778]);
}

pub async fn points_are_no_records<H: Home>() {
    let home = H::fresh().await;
    home.open()
        .await
        .commit(&[put(setting("a", "1"), 0)])
        .await
        .expect("commit");
    home.history()
        .await
        .record(&[sample("a", 0)])
        .await
        .expect("recorded");
    assert_eq!(
        home.open().await.load().await,
        Ok(vec![(setting("a", "1"), 1)])
    );
    assert_eq!(samples(&*home.history().await, "a").await.len(), 1);
}
