//! Tests of the guarantees of every store; each store's own tests run them.

mod events;
mod history;
mod records;
mod verdicts;

pub use events::*;
pub use history::*;
pub use records::*;
pub use verdicts::*;

use super::{Change, Contents, Key, Kind, Record, Store, StoreError};
use crate::model::{Decision, Setting};
use micado_api::{ContainerName, Timestamp};
use micado_core::metrics::History;
use std::sync::Arc;

/// An empty location where a store can be opened, and opened again after it was dropped.
#[async_trait::async_trait]
pub trait Home: Sized + Send + Sync {
    /// An empty location.
    async fn fresh() -> Self;
    /// Opens the store, made if it is missing.
    async fn open(&self) -> Arc<dyn Store>;
    /// Opens the store for its points and events.
    async fn history(&self) -> Arc<dyn History>;
}

/// One `#[tokio::test]` for each rule, against the stores of the given [`Home`].
macro_rules! conformance {
    ($home:ty) => {
        $crate::store::conformance::conformance!($home:
            a_fresh_store_is_empty,
            every_kind_of_record_comes_back,
            versions_rise_with_every_write,
            a_stale_version_is_refused,
            what_exists_is_not_made_again,
            all_or_none,
            what_is_deleted_stays_gone,
            many_records_at_once,
            racing_writers_lose_nothing,
            names_and_values_of_any_shape,
            a_record_under_a_wrong_key_is_refused,
            no_points_are_no_error,
            points_come_back_by_time_and_then_by_instance,
            a_point_that_is_written_again_is_replaced,
            points_of_the_same_time_are_told_apart,
            only_what_is_asked_for_is_recalled,
            points_of_any_shape,
            many_points_at_once,
            points_are_no_records,
            the_instances_that_points_are_kept_of_are_known,
            no_events_are_no_error,
            events_come_back_in_order_from_either_end,
            an_event_that_is_written_again_is_the_same,
            only_events_that_are_asked_for_are_recalled,
            many_events_at_once,
            events_are_neither_records_nor_points,
            verdicts_come_back_in_order_from_either_end,
            a_verdict_that_goes_on_replaces_itself,
            recent_verdicts_stay);
    };
    ($home:ty: $($rule:ident),+) => {
        $(
            #[tokio::test]
            async fn $rule() {
                $crate::store::conformance::$rule::<$home>().await;
            }
        )+
    };
}
pub(crate) use conformance;

pub async fn a_fresh_store_is_empty<H: Home>() {
    let home = H::fresh().await;
    assert_eq!(home.open().await.load().await, Ok(vec![]));
    assert_eq!(
        home.open().await.load().await,
        Ok(vec![]),
        "after it was opened again"
    );
}

pub async fn every_kind_of_record_comes_back<H: Home>() {
    let home = H::fresh().await;
    let records = [
        instance(),
        service(),
        policy(),
        container(),
        image(),
        decision(7),
        decision(u64::MAX),
        setting("cluster", "abc"),
        registration(),
        login(),
    ];
    let changes: Vec<Change> = records
        .iter()
        .cloned()
        .map(|record| put(record, 0))
        .collect();
    let store = home.open().await;
    store.commit(&changes).await.expect("commit");
    let wanted: Contents = records.into_iter().map(|record| (record, 1)).collect();
    assert_same(&*store, wanted.clone()).await;
    drop(store);
    assert_same(&*home.open().await, wanted).await;
}

pub async fn versions_rise_with_every_write<H: Home>() {
    let home = H::fresh().await;
    let store = home.open().await;
    for version in 0..5 {
        store
            .commit(&[put(setting("a", &version.to_string()), version)])
            .await
            .expect("commit");
        assert_same(
            &*store,
            vec![(setting("a", &version.to_string()), version + 1)],
        )
        .await;
    }
    drop(store);
    let store = home.open().await;
    store
        .commit(&[put(setting("a", "again"), 5)])
        .await
        .expect("the version was kept");
}

pub async fn a_stale_version_is_refused<H: Home>() {
    let home = H::fresh().await;
    let store = home.open().await;
    store
        .commit(&[put(setting("a", "1"), 0)])
        .await
        .expect("commit");
    store
        .commit(&[put(setting("a", "2"), 1)])
        .await
        .expect("commit");
    let key = Key::Setting("a".into());
    for stale in [0, 1, 3] {
        assert_eq!(
            store.commit(&[put(setting("a", "stale"), stale)]).await,
            Err(StoreError::Conflict(key.clone()))
        );
        assert_eq!(
            store.commit(&[delete(key.clone(), stale)]).await,
            Err(StoreError::Conflict(key.clone()))
        );
    }
    assert_same(&*store, vec![(setting("a", "2"), 2)]).await;
}

pub async fn what_exists_is_not_made_again<H: Home>() {
    let home = H::fresh().await;
    let store = home.open().await;
    store.commit(&[put(instance(), 0)]).await.expect("commit");
    assert_eq!(
        store.commit(&[put(instance(), 0)]).await,
        Err(StoreError::Conflict(instance().key()))
    );
    assert_eq!(
        store.commit(&[put(service(), 1)]).await,
        Err(StoreError::Conflict(service().key())),
        "and what does not exist is not changed"
    );
    assert_eq!(
        store.commit(&[delete(service().key(), 1)]).await,
        Err(StoreError::Conflict(service().key()))
    );
    store
        .commit(&[delete(service().key(), 0)])
        .await
        .expect("what is not there may be required to be so");
    assert_same(&*store, vec![(instance(), 1)]).await;
}

pub async fn all_or_none<H: Home>() {
    let home = H::fresh().await;
    let store = home.open().await;
    store
        .commit(&[
            put(setting("a", "1"), 0),
            put(setting("b", "1"), 0),
            put(instance(), 0),
        ])
        .await
        .expect("commit");
    let good = [
        put(setting("a", "2"), 1),
        delete(instance().key(), 1),
        put(decision(1), 0),
    ];
    let stale = put(setting("b", "2"), 9);
    for at in 0..=good.len() {
        let mut changes = good.to_vec();
        changes.insert(at, stale.clone());
        assert_eq!(
            store.commit(&changes).await,
            Err(StoreError::Conflict(stale.key.clone()))
        );
        assert_same(
            &*store,
            vec![
                (setting("a", "1"), 1),
                (setting("b", "1"), 1),
                (instance(), 1),
            ],
        )
        .await;
    }
    drop(store);
    let store = home.open().await;
    assert_same(
        &*store,
        vec![
            (setting("a", "1"), 1),
            (setting("b", "1"), 1),
            (instance(), 1),
        ],
    )
    .await;
    store
        .commit(&good)
        .await
        .expect("without the stale one they are written");
    assert_same(
        &*store,
        vec![
            (setting("a", "2"), 2),
            (setting("b", "1"), 1),
            (decision(1), 1),
        ],
    )
    .await;
    store.commit(&[]).await.expect("no change is no error");
}

pub async fn what_is_deleted_stays_gone<H: Home>() {
    let home = H::fresh().await;
    let store = home.open().await;
    store
        .commit(&[put(container(), 0), put(decision(1), 0)])
        .await
        .expect("commit");
    store
        .commit(&[delete(container().key(), 1)])
        .await
        .expect("delete");
    assert_same(&*store, vec![(decision(1), 1)]).await;
    drop(store);
    let store = home.open().await;
    assert_same(&*store, vec![(decision(1), 1)]).await;
    store
        .commit(&[put(container(), 0)])
        .await
        .expect("its name is free again");
    assert_same(&*store, vec![(container(), 1), (decision(1), 1)]).await;
}

pub async fn many_records_at_once<H: Home>() {
    let home = H::fresh().await;
    let changes: Vec<Change> = (0..500).map(|n| put(decision(n), 0)).collect();
    let store = home.open().await;
    store.commit(&changes).await.expect("commit");
    assert_same(&*store, (0..500).map(|n| (decision(n), 1)).collect()).await;
}

pub async fn racing_writers_lose_nothing<H: Home>() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 25;
    let home = H::fresh().await;
    let store = home.open().await;
    store
        .commit(&[put(setting("sum", "0"), 0)])
        .await
        .expect("commit");
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let mut done = 0;
            while done < EACH {
                let contents = store.load().await.expect("load");
                let [(Record::Setting(sum), version)] = contents.as_slice() else {
                    panic!("one setting: {contents:?}")
                };
                let next = sum.value.parse::<u64>().expect("number") + 1;
                match store
                    .commit(&[put(setting("sum", &next.to_string()), *version)])
                    .await
                {
                    Ok(()) => done += 1,
                    Err(StoreError::Conflict(key)) => assert_eq!(key, Key::Setting("sum".into())),
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.expect("a writer");
    }
    assert_same(
        &*store,
        vec![(
            setting("sum", &(WRITERS * EACH).to_string()),
            WRITERS * EACH + 1,
        )],
    )
    .await;
}

pub async fn names_and_values_of_any_shape<H: Home>() {
    let home = H::fresh().await;
    let long = "log line\n".repeat(100_000);
    let settings = [
        ("dotted.$name", "{\"json\": [1]}"),
        ("Zürich 時", "\u{0}\u{1F600}\r\n\""),
        ("empty", ""),
        ("A", "upper"),
        ("a", "lower"),
        ("long", &long),
    ];
    let changes: Vec<Change> = settings
        .iter()
        .map(|(name, value)| put(setting(name, value), 0))
        .collect();
    let store = home.open().await;
    store.commit(&changes).await.expect("commit");
    drop(store);
    assert_same(
        &*home.open().await,
        settings
            .iter()
            .map(|(name, value)| (setting(name, value), 1))
            .collect(),
    )
    .await;
}

pub async fn a_record_under_a_wrong_key_is_refused<H: Home>() {
    let home = H::fresh().await;
    let store = home.open().await;
    let wrong = Change {
        key: Key::Setting("a".into()),
        expected: 0,
        record: Some(setting("b", "1")),
    };
    assert!(matches!(
        store.commit(&[put(decision(1), 0), wrong]).await,
        Err(StoreError::Failed(_))
    ));
    assert_same(&*store, vec![]).await;
}

async fn assert_same(store: &dyn Store, mut wanted: Contents) {
    let mut found = store.load().await.expect("load");
    found.sort_by_key(|(record, _)| record.key());
    wanted.sort_by_key(|(record, _)| record.key());
    assert_eq!(found, wanted);
}

/// Writes a record that must be at this version.
pub fn put(record: Record, expected: u64) -> Change {
    Change {
        key: record.key(),
        expected,
        record: Some(record),
    }
}

/// Deletes a record that must be at this version.
pub fn delete(key: Key, expected: u64) -> Change {
    Change {
        key,
        expected,
        record: None,
    }
}

pub fn setting(name: &str, value: &str) -> Record {
    Setting::new(name, value).into_record()
}

pub fn decision(sequence: u64) -> Record {
    Record::Decision(Decision {
        others: vec![ContainerName::trusted("acme_web.2")],
        sequence,
        at: Timestamp(1_700_000_000_000),
        container: Some(ContainerName::trusted("alice_web.1")),
        instance: None,
        service: None,
        text: "no room for alice_web.1: needs 600 MiB, application01 has 210 MiB left".into(),
    })
}
