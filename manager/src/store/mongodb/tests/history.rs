//! Points in a MongoDB: readable form, expiry, and server failures.

use super::{
    server::{database, fail},
    *,
};
use crate::store::conformance::{all_of, point, recently};
use ::mongodb::{
    bson::{Bson, Document, doc},
    options::{CollectionOptions, ReadConcern},
};
use micado_api::Timestamp;
use micado_core::metrics::Resolution;
use std::time::Instant;

#[tokio::test]
async fn what_was_sampled_reads_well_and_expires() {
    let home = TestHome::fresh().await;
    let store = home.store(Pace::default()).await.expect("open");
    let at = Timestamp(recently().0 + 4000);
    store
        .record(&[point(
            "k3x9",
            Resolution::Sample,
            at,
            &["alice_web.1", "alice_web.2"],
        )])
        .await
        .expect("recorded");
    store
        .record(&[point(
            "k3x9",
            Resolution::Sample,
            Timestamp(at.0 + 2000),
            &["alice_web.2", "bob_db.1"],
        )])
        .await
        .expect("recorded");

    let samples = database(&home.url).await.collection::<Document>("samples");
    let mut document = samples.find_one(doc! {}).await.expect("find").expect("one");
    assert_eq!(
        samples.count_documents(doc! {}).await.expect("counted"),
        1,
        "a minute is one document"
    );
    let points = document.remove("points").expect("points");
    let times: Vec<_> = points
        .as_document()
        .expect("by time")
        .keys()
        .cloned()
        .collect();
    assert_eq!(times, ["4000", "6000"]);
    let date = |ms: u64| Bson::DateTime(::mongodb::bson::DateTime::from_millis(ms.cast_signed()));
    let begin = recently().0;
    let wanted = doc! {
        "_id": format!("k3x9 2 {begin}"), "instance": "k3x9", "resolution": 2_i64, "begin": date(begin), "containers": ["alice_web.1", "alice_web.2", "bob_db.1"],
        "expires": date(begin + 60_000 + 3_600_000),
    };
    let sorted = |document: Document| {
        document
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(sorted(document), sorted(wanted));
}

#[tokio::test]
async fn the_server_lets_go_of_what_is_too_old() {
    let home = TestHome::fresh().await;
    let store = home.store(Pace::default()).await.expect("open");
    let hours_ago = |hours: u64| Timestamp(recently().0 - hours * 3_600_000);
    let points = [
        point("old", Resolution::Sample, hours_ago(2), &[]),
        point("kept", Resolution::Sample, hours_ago(0), &[]),
        point("old", Resolution::Minute, hours_ago(26), &[]),
        point("kept", Resolution::Minute, hours_ago(22), &[]),
        point("old", Resolution::TenMinutes, hours_ago(32 * 24), &[]),
        point("kept", Resolution::TenMinutes, hours_ago(29 * 24), &[]),
    ];
    store.record(&points).await.expect("recorded");
    // Expiry runs every second in tests, every minute elsewhere. Read with majority concern, as the
    // store does: it may lag behind the deletion.
    let majority = CollectionOptions::builder()
        .read_concern(ReadConcern::majority())
        .build();
    let samples = database(&home.url)
        .await
        .collection_with_options::<Document>("samples", majority);
    let begun = Instant::now();
    while samples
        .count_documents(doc! { "instance": "old" })
        .await
        .expect("counted")
        > 0
    {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "the old ones are still there"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (resolution, wanted) in Resolution::ALL.into_iter().zip([1, 3, 5]) {
        assert_eq!(
            store
                .recall(&all_of("kept", resolution))
                .await
                .expect("recalled"),
            [points[wanted].clone()]
        );
    }
}

#[tokio::test]
async fn points_are_sent_again_when_the_server_fails_for_a_moment() {
    let server = tokio::task::spawn_blocking(|| super::server::Server::start(1))
        .await
        .expect("a server");
    let url = format!("{}&appName=shaky", server.url("points"));
    let home = TestHome::at(url.clone());
    // Meanwhile the lease stays certain.
    let store = home
        .store(Pace {
            lease: Duration::from_secs(30),
            ..QUICK
        })
        .await
        .expect("open");
    let mut wanted = Vec::new();
    let faults = [
        doc! { "closeConnection": true },
        doc! { "errorCode": 10107 },
        doc! { "errorCode": 91 },
        doc! { "writeConcernError": { "code": 91, "errmsg": "as the test wants it" } },
    ];
    for (number, mut fault) in faults.into_iter().enumerate() {
        fault.insert("failCommands", ["update"]);
        let what = fault.to_string();
        fail(&url, "shaky", 2, fault).await;
        wanted.push(point(
            "a",
            Resolution::Sample,
            Timestamp(recently().0 + number as u64),
            &["alice_web.1"],
        ));
        store
            .record(&wanted[number..])
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(
            store
                .recall(&all_of("a", Resolution::Sample))
                .await
                .expect("recalled"),
            wanted,
            "{what}"
        );
    }
    fail(
        &url,
        "shaky",
        1,
        doc! { "failCommands": ["update"], "errorCode": 13 },
    )
    .await;
    let refused = store.record(&wanted).await.expect_err("it may not write");
    assert!(matches!(refused, StoreError::Failed(_)), "{refused:?}");

    let begun = Instant::now();
    server.signal(server.ports()[0], "-KILL");
    store.record(&wanted).await.expect_err("nobody is there");
    assert!(begun.elapsed() < QUICK.answer * 3, "{:?}", begun.elapsed());
    server.restart();
}

#[tokio::test]
async fn a_manager_that_lost_its_lease_writes_no_points() {
    let home = TestHome::fresh().await;
    let store = home.store(QUICK).await.expect("open");
    drop(store.inner.hold.lock().await.take());
    let point = point("a", Resolution::Sample, recently(), &[]);
    store
        .record(std::slice::from_ref(&point))
        .await
        .expect_err("it is not sure that the store is its own");
    assert_eq!(
        store.recall(&all_of("a", Resolution::Sample)).await,
        Ok(vec![])
    );
    store.load().await.expect("it is ours");
    store
        .record(std::slice::from_ref(&point))
        .await
        .expect("recorded");
    assert_eq!(
        store.recall(&all_of("a", Resolution::Sample)).await,
        Ok(vec![point])
    );
}

#[tokio::test]
async fn samples_and_events_have_their_indexes() {
    let home = TestHome::fresh().await;
    home.store(Pace::default())
        .await
        .expect("open")
        .close()
        .await;
    let database = database(&home.url).await;
    for (collection, indexes) in [("samples", 4), ("events", 6)] {
        let names = database
            .collection::<Document>(collection)
            .list_index_names()
            .await
            .expect("indexes");
        assert_eq!(names.len(), indexes, "{collection}: {names:?}");
    }
}
