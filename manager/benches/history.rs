//! Cost of points in the store file: 1,000 containers on 100 machines and an hour of their samples.
//! `cargo bench -p micado-manager --bench history`

mod figures;

use figures::{container_name, instance_id, report, told};
use micado_api::{InstanceId, Timestamp};
use micado_core::metrics::{History, Recall, Resolution, Series};
use micado_core::model::Setting;
use micado_manager::store::{Change, EmbeddedStore, KeyFile, Kind, Store, StoreError};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const INSTANCES: usize = 100;
/// Number of refreshes in an hour.
const REFRESHES: u64 = 360;
const BEGIN: u64 = 1_800_000_000_000;
const HOUR: u64 = 3_600_000;

#[tokio::main]
async fn main() {
    // Built as a test target too (`cargo test --benches`): nothing is measured then.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store.redb");
    let store = EmbeddedStore::open(
        &file,
        Arc::new(KeyFile::open(folder.path()).expect("a key")),
    )
    .await
    .expect("open");
    let mut recorded = vec![];
    for refresh in 0..REFRESHES {
        let points = told(INSTANCES, Timestamp(BEGIN + refresh * 10_000));
        recorded.push(timed(store.record(&points)).await);
    }
    report("five samples of each machine kept (record)", recorded);
    println!(
        "the file: {} MiB",
        std::fs::metadata(&file).expect("it is there").len() >> 20
    );

    let mut recalled = vec![];
    for number in 0..INSTANCES {
        let series = Series::Instance(InstanceId::trusted(instance_id(number)));
        recalled.push(
            timed(found(
                &store,
                series,
                BEGIN + HOUR / 2,
                BEGIN + HOUR / 2 + 60_000,
                30,
            ))
            .await,
        );
    }
    report("a minute of one machine read", recalled);
    let mut recalled = vec![];
    for number in 0..5 {
        recalled.push(
            timed(found(
                &store,
                Series::Container(container_name(number * 200)),
                BEGIN,
                BEGIN + HOUR,
                1800,
            ))
            .await,
        );
    }
    report("the hour of one container read", recalled);
    forget(&store).await;
}

async fn found(
    store: &EmbeddedStore,
    series: Series,
    from: u64,
    until: u64,
    points: usize,
) -> Result<(), StoreError> {
    let wanted = Recall {
        series,
        resolution: Resolution::Sample,
        from: Timestamp(from),
        until: Timestamp(until),
    };
    assert_eq!(store.recall(&wanted).await?.len(), points);
    Ok(())
}

/// Deletion of the whole hour, with concurrent commits one after the other.
async fn forget(store: &EmbeddedStore) {
    let forgetting = tokio::spawn({
        let store = store.clone();
        async move { timed(store.forget(Timestamp(BEGIN + 2 * HOUR))).await }
    });
    let mut committed = vec![];
    while !forgetting.is_finished() {
        let setting = Setting::new(format!("run{}", committed.len()), "").into_record();
        committed.push(
            timed(store.commit(&[Change {
                key: setting.key(),
                expected: 0,
                record: Some(setting),
            }]))
            .await,
        );
    }
    report(
        "the hour of all machines forgotten",
        vec![forgetting.await.expect("it ends")],
    );
    report("a commit meanwhile", committed);
}

async fn timed<E: std::fmt::Debug>(work: impl Future<Output = Result<(), E>>) -> Duration {
    let begun = Instant::now();
    work.await.expect("the store works");
    begun.elapsed()
}
