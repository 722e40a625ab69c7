//! Cost of the refresh on a real MongoDB: the state of 10,000 containers on 1,000 instances for
//! people to read, and ten seconds of their agents' points; and the disk space of an hour of
//! points. `cargo bench -p micado-manager --bench refresh`

mod figures;

use figures::{EACH, TOLD, container_name, drawn, instance_id, report, told};
use micado_api::{
    ContainerName, ContainerState, ContainerUsage, ContainerView, Critical, ImageView, InstanceId,
    InstanceState, InstanceView, Location, MachineUsage, MemoryBytes, NanoCpus, Origin,
    PricePerHour, Resources, ServiceName, Tag, Timestamp,
};
use micado_core::{
    metrics::{History, Recall, Resolution, Series},
    model::{Container, Image, Instance, Setting},
};
use micado_manager::store::{Change, KeyFile, Kind, MongoStore, Place, Record, Store, Url};
use micado_mongod::Server;
use mongodb::{
    Client,
    bson::{Document, doc},
};
use std::{
    path::Path,
    sync::Arc,
    time::{Instant, SystemTime},
};

const RUNS: usize = 9;
const INSTANCES: usize = 1000;
const IMAGES: usize = 50;
/// Number of instances with an hour of points, to measure disk space.
const FEW: usize = 100;

#[tokio::main]
async fn main() {
    // Built as a test target too (`cargo test --benches`): nothing is measured then.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(1);
    let url = server.url("bench");
    let Ok(Place::MongoDb(place)) = url.parse() else {
        panic!("`{url}` is a URL")
    };
    let store = open(&place, folder.path()).await;
    refresh(&store).await;
    room(&store, &url).await;
    store.close().await;
}

/// A store with all the records.
async fn open(place: &Url, state: &Path) -> MongoStore {
    let store = MongoStore::open(place, Arc::new(KeyFile::open(state).expect("a key")))
        .await
        .expect("open");
    let instances = (0..INSTANCES).map(instance_record);
    let containers = (0..INSTANCES * EACH).map(container_record);
    let images = (0..IMAGES).map(|number| {
        let name = image_name(number);
        Record::Image(Image {
            name,
            digest: None,
            critical: Critical::default(),
            learned: vec![],
            seen_at: Timestamp(1),
        })
    });
    let changes: Vec<Change> = instances
        .chain(containers)
        .chain(images)
        .map(|record| Change {
            key: record.key(),
            expected: 0,
            record: Some(record),
        })
        .collect();
    for part in changes.chunks(1000) {
        store.commit(part).await.expect("commit");
    }
    store
}

async fn refresh(store: &MongoStore) {
    let (mut shown, mut recorded, mut recalled, mut committed) = (vec![], vec![], vec![], vec![]);
    for run in 0..RUNS as u64 {
        let now = now();
        let (instances, containers) = (machines(run), views(run));
        let images: Vec<_> = (0..IMAGES).map(image).collect();
        let begun = Instant::now();
        store
            .show(now, &instances, &containers, &images)
            .await
            .expect("shown");
        shown.push(begun.elapsed());

        let points = told(
            INSTANCES,
            Timestamp(now.0 - now.0 % 60_000 + run % 6 * 10_000),
        );
        let begun = Instant::now();
        store.record(&points).await.expect("recorded");
        recorded.push(begun.elapsed());

        let begun = Instant::now();
        let setting = Setting::new(format!("run{run}"), "").into_record();
        let commit = [Change {
            key: setting.key(),
            expected: 0,
            record: Some(setting),
        }];
        let (shown, ended) =
            tokio::join!(store.show(now, &instances, &containers, &images), async {
                store.commit(&commit).await.expect("commit");
                begun.elapsed()
            });
        shown.expect("shown");
        committed.push(ended);

        let from = Timestamp(now.0 - now.0 % 60_000);
        let begun = Instant::now();
        for number in 0..INSTANCES {
            let series = Series::Instance(InstanceId::trusted(instance_id(number)));
            let minute = Recall {
                series,
                resolution: Resolution::Sample,
                from,
                until: Timestamp(from.0 + 60_000),
            };
            assert!(!store.recall(&minute).await.expect("recalled").is_empty());
        }
        recalled.push(begun.elapsed());
    }
    let of = format!("{} containers on {INSTANCES} instances", INSTANCES * EACH);
    report(&format!("{of}: how they are, written down (show)"), shown);
    report(
        &format!("{of}: {TOLD} samples of each kept (record)"),
        recorded,
    );
    report(
        &format!("{of}: a commit while that is written down"),
        committed,
    );
    report(
        &format!("{of}: a minute of samples read again, for a roll-up (recall)"),
        recalled,
    );
}

/// Disk space of an hour of samples.
async fn room(store: &MongoStore, url: &str) {
    let database = Client::with_uri_str(url)
        .await
        .expect("a client")
        .default_database()
        .expect("it is named");
    database
        .collection::<Document>("samples")
        .delete_many(doc! {})
        .await
        .expect("deleted");
    // Some of it is in the future, so that the server expires none meanwhile.
    let begin = now().0 / 60_000 * 60_000 - 1_800_000;
    for turn in 0..360 {
        store
            .record(&told(FEW, Timestamp(begin + turn * 10_000)))
            .await
            .expect("recorded");
    }
    let name = "alice_web.7";
    let hour = Recall {
        series: Series::Container(name.into()),
        resolution: Resolution::Sample,
        from: Timestamp(0),
        until: Timestamp(u64::MAX),
    };
    let begun = Instant::now();
    let found = store.recall(&hour).await.expect("recalled").len();
    println!(
        "the last hour of a container ({found} samples) is read in {:.0} ms",
        begun.elapsed().as_secs_f64() * 1e3
    );

    database
        .client()
        .database("admin")
        .run_command(doc! { "fsync": 1 })
        .await
        .expect("on disk");
    let stats = database
        .run_command(doc! { "collStats": "samples" })
        .await
        .expect("told");
    let number = |name: &str| {
        stats
            .get_i32(name)
            .map(f64::from)
            .or_else(|_| stats.get_i64(name).map(|it| it as f64))
            .or_else(|_| stats.get_f64(name))
            .expect("a number")
    };
    let containers = (FEW * EACH) as f64;
    println!(
        "an hour of samples of a container ({} on each instance): {:.1} KiB on disk and {:.2} KiB of indexes; {:.1} KiB before it is compressed",
        EACH,
        (number("storageSize") - number("freeStorageSize")) / containers / 1024.0,
        number("totalIndexSize") / containers / 1024.0,
        number("size") / containers / 1024.0
    );
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    Timestamp(u64::try_from(since.as_millis()).expect("before the end of time"))
}

fn image_name(number: usize) -> String {
    format!("registry:5000/web{number}:latest")
}

fn instance_record(number: usize) -> Record {
    let (id, tag) = (
        InstanceId::trusted(instance_id(number)),
        Tag::trusted(format!("application{number}")),
    );
    let (cloud, flavour) = (
        "zrh".parse().expect("a name"),
        "small".parse().expect("a name"),
    );
    Record::Instance(Instance::new(
        id,
        tag,
        cloud,
        flavour,
        Origin::Planner,
        now(),
    ))
}

fn container_record(number: usize) -> Record {
    Record::Container(Container::new(
        ContainerName::trusted(container_name(number)),
        ServiceName::trusted("alice_web"),
        now(),
    ))
}

fn machines(run: u64) -> Vec<InstanceView> {
    let view = |number: usize| InstanceView {
        id: InstanceId::trusted(instance_id(number)),
        tag: Tag::trusted(format!("application{number}")),
        cloud: "zrh".parse().expect("a name"),
        application: "Node".into(),
        flavour: "small".parse().expect("a name"),
        location: Location::default(),
        state: InstanceState::Active,
        released: false,
        state_since: now(),
        reason: None,
        origin: Origin::Planner,
        address: Some("10.1.0.3".into()),
        node: Some(format!("node{number}")),
        capacity: Resources::new(MemoryBytes::mib(8064), NanoCpus::cores(4)),
        reserved: Resources::new(MemoryBytes::mib(2560), NanoCpus::millis(2500)),
        memory_left: MemoryBytes::mib(5504),
        containers: 10,
        price: PricePerHour(50_000),
        created_at: now(),
        joined_after_ms: None,
        returns: None,
        usage: Some(MachineUsage {
            at: now(),
            memory_total: MemoryBytes::mib(8192),
            memory_left: MemoryBytes(drawn(2 << 30) + run),
            memory_least_left: MemoryBytes(drawn(2 << 30)),
            cpu: Some(NanoCpus(drawn(400_000_000))),
            cpu_peak: NanoCpus(drawn(400_000_000)),
            cores: NanoCpus::cores(4),
            load: None,
            disk_left: drawn(80 << 30),
            disk_total: 100 << 30,
        }),
    };
    (0..INSTANCES).map(view).collect()
}

fn views(run: u64) -> Vec<ContainerView> {
    let view = |number: usize| ContainerView {
        name: ContainerName::trusted(container_name(number)),
        service: ServiceName::trusted("alice_web"),
        image: image_name(number % IMAGES),
        state: ContainerState::Running,
        reason: None,
        exit_code: None,
        instance: Some(Tag::trusted(format!("application{}", number / EACH))),
        protected: false,
        health: None,
        location: Location::default(),
        address: Some("10.1.0.3".into()),
        ports: vec![],
        reservation: Resources::new(MemoryBytes::mib(256), NanoCpus::millis(250)),
        created_at: now(),
        usage: Some(ContainerUsage {
            at: now(),
            memory: MemoryBytes(drawn(90 << 20) + run),
            memory_peak: MemoryBytes(drawn(90 << 20)),
            cpu: Some(NanoCpus(drawn(100_000_000))),
            cpu_peak: NanoCpus(drawn(100_000_000)),
            oom_kills: 0,
            memory_pressure: None,
            cpu_pressure: None,
            throttled: None,
            received: drawn(10_000),
            sent: drawn(100_000),
            read: 0,
            written: drawn(4096),
        }),
    };
    (0..INSTANCES * EACH).map(view).collect()
}

fn image(number: usize) -> ImageView {
    ImageView {
        image: image_name(number),
        digest: None,
        critical: Critical::default(),
        suggested: Some(Critical {
            memory: Some(MemoryBytes::mib(160)),
            cpu: None,
        }),
        footprint: Some(Resources::new(MemoryBytes::mib(120), NanoCpus::millis(200))),
        measured_ms: drawn(1 << 30),
        services: Vec::new(),
        revisions: Vec::new(),
    }
}
