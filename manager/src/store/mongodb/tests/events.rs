//! Events in a MongoDB: readable form, expiry, and server failures.

use super::{
    server::{database, fail},
    *,
};
use crate::store::conformance::{all_events, event, old_event, recently};
use ::mongodb::{
    bson::{Bson, DateTime, Document, doc},
    options::{CollectionOptions, ReadConcern},
};
use micado_api::agent::ContainerHappening::{Died, Started};
use micado_core::metrics::{Order, RecallEvents};
use std::time::Instant;

#[tokio::test]
async fn what_happened_reads_well() {
    let home = TestHome::fresh().await;
    let store = home.store(Pace::default()).await.expect("open");
    let died = event(
        "k3x9",
        "alice_web",
        5,
        Died {
            exit_code: 137,
            oom: true,
        },
    );
    store
        .record_events(&[event("k3x9", "alice_web", 0, Started), died.clone()])
        .await
        .expect("recorded");
    let events = database(&home.url).await.collection::<Document>("events");
    let document = events
        .find_one(doc! { "what": "died" })
        .await
        .expect("find")
        .expect("one");
    let at = recently().0 + 5;
    let wanted = doc! {
        "_id": format!("k3x9 {at} {} died", died.engine_id), "at": Bson::DateTime(DateTime::from_millis(at.cast_signed())), "container": "alice_web.1", "what": "died",
        "instance": "tag-k3x9", "service": "alice_web", "image": "web:latest", "exit_code": 137_i64, "oom": true, "instance_id": "k3x9",
        "engine_id": &died.engine_id, "swarm_service": "c-alice_web",
    };
    let sorted = |document: Document| {
        document
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(sorted(document), sorted(wanted));
    let started = events
        .find_one(doc! { "what": "started" })
        .await
        .expect("find")
        .expect("one");
    assert!(
        !started.contains_key("exit_code") && !started.contains_key("oom"),
        "{started}"
    );

    // A document made unreadable by a person hides no other one.
    events
        .update_one(
            doc! { "what": "started" },
            doc! { "$set": { "what": "exploded" } },
        )
        .await
        .expect("updated");
    assert_eq!(all_events(&store).await, [died]);
}

#[tokio::test]
async fn what_cannot_be_read_takes_no_room_from_what_can() {
    let home = TestHome::fresh().await;
    let store = home.store(Pace::default()).await.expect("open");
    let events: Vec<_> = (0..5)
        .map(|ms| {
            event(
                "k3x9",
                "alice_web",
                ms,
                Died {
                    exit_code: 137,
                    oom: true,
                },
            )
        })
        .collect();
    store.record_events(&events).await.expect("recorded");
    let documents = database(&home.url).await.collection::<Document>("events");
    let change = async |number: usize, change: Document| {
        let at = DateTime::from_millis(events[number].at.0.cast_signed());
        documents
            .update_one(doc! { "at": at }, doc! { "$set": change })
            .await
            .expect("updated");
    };
    change(0, doc! { "exit_code": 137.0 }).await;
    change(1, doc! { "exit_code": 137.5 }).await;
    change(3, doc! { "what": "exploded" }).await;
    let some = async |order, most| {
        store
            .recall_events(&RecallEvents::any(order, most))
            .await
            .expect("recalled")
    };
    assert_eq!(
        some(Order::OldestFirst, 2).await,
        [events[0].clone(), events[2].clone()]
    );
    assert_eq!(
        some(Order::NewestFirst, 2).await,
        [events[4].clone(), events[2].clone()]
    );
}

#[tokio::test]
async fn of_too_many_events_the_oldest_go() {
    let home = TestHome::fresh().await;
    let store = home.store(Pace::default()).await.expect("open");
    let events: Vec<_> = (0..5)
        .map(|ms| event("k3x9", "alice_web", ms, Started))
        .collect();
    store.record_events(&events).await.expect("recorded");
    for most in [5, 3, 3] {
        store.inner.forget_events(most).await.expect("forgotten");
        assert_eq!(all_events(&store).await, events[5 - most as usize..]);
    }
}

#[tokio::test]
async fn no_events_are_sorted_to_be_recalled() {
    let home = TestHome::fresh().await;
    let store = home.store(Pace::default()).await.expect("open");
    let events: Vec<_> = (0..100)
        .map(|ms| {
            event(
                ["a", "b"][ms % 2],
                ["alice_web", "bob_db"][ms / 2 % 2],
                ms as u64,
                Started,
            )
        })
        .collect();
    store.record_events(&events).await.expect("recorded");
    let database = database(&home.url).await;
    let (name, tag) = (Some("alice_web".to_owned()), Some("tag-a".to_owned()));
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let all = RecallEvents::any(order, 50);
        for wanted in [
            all.clone(),
            RecallEvents {
                name: name.clone(),
                ..all.clone()
            },
            RecallEvents {
                tag: tag.clone(),
                ..all
            },
        ] {
            let (filter, sort) = super::super::events::question(&wanted);
            let plan = database
                .run_command(
                    doc! { "explain": { "find": "events", "filter": filter, "sort": sort } },
                )
                .await
                .expect("a plan");
            let plan = plan
                .get_document("queryPlanner")
                .expect("a plan")
                .get_document("winningPlan")
                .expect("one")
                .to_string();
            assert!(
                plan.contains("\"IXSCAN\"") && !plan.contains("\"SORT\""),
                "{wanted:?}: {plan}"
            );
        }
    }
}

#[tokio::test]
async fn the_server_lets_go_of_old_events() {
    let home = TestHome::fresh().await;
    let store = home.store(Pace::default()).await.expect("open");
    let kept = event("kept", "alice_web", 0, Started);
    store
        .record_events(&[old_event("old", Duration::from_secs(60)), kept.clone()])
        .await
        .expect("recorded");
    // Expiry runs every second in tests. Read with majority concern, as the store does.
    let majority = CollectionOptions::builder()
        .read_concern(ReadConcern::majority())
        .build();
    let events = database(&home.url)
        .await
        .collection_with_options::<Document>("events", majority);
    let begun = Instant::now();
    while events
        .count_documents(doc! { "instance_id": "old" })
        .await
        .expect("counted")
        > 0
    {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "the old one is still there"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(all_events(&store).await, [kept]);
}

#[tokio::test]
async fn events_are_sent_again_when_the_server_fails_for_a_moment() {
    let server = tokio::task::spawn_blocking(|| super::server::Server::start(1))
        .await
        .expect("a server");
    let url = format!("{}&appName=shaky", server.url("events"));
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
        doc! { "writeConcernError": { "code": 91, "errmsg": "as the test wants it" } },
    ];
    for (number, mut fault) in faults.into_iter().enumerate() {
        fault.insert("failCommands", ["update"]);
        let what = fault.to_string();
        fail(&url, "shaky", 2, fault).await;
        wanted.push(event("a", "alice_web", number as u64, Started));
        store
            .record_events(&wanted[number..])
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(all_events(&store).await, wanted, "{what}");
    }
    drop(store.inner.hold.lock().await.take());
    store
        .record_events(&wanted)
        .await
        .expect_err("it is not sure that the store is its own");
}
