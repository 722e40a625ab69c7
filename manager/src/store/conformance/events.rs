//! Guarantees of every store for events.

use super::{Home, put, recently, setting};
use crate::clock;
use micado_api::{
    ContainerName, InstanceId, ServiceName, Tag, Timestamp,
    agent::ContainerHappening::{self, Died, Healthy, Started, Unhealthy},
};
use micado_core::metrics::{
    EVENTS_KEPT, EventRecord, History, Order, Placed, RecallEvents, Resolution,
};
use std::time::{Duration, Instant};

/// An event of `SERVICE.1` on an instance, this many milliseconds after [`recently`].
pub fn event(instance: &str, service: &str, ms: u64, what: ContainerHappening) -> EventRecord {
    let placed = Placed {
        swarm_service: format!("c-{service}"),
        container: ContainerName::trusted(format!("{service}.1")),
        service: ServiceName::trusted(service),
        image: "web:latest".into(),
        instance: InstanceId::trusted(instance),
        tag: Tag::trusted(format!("tag-{instance}")),
    };
    EventRecord {
        placed,
        engine_id: "0123abcd".repeat(8),
        at: Timestamp(recently().0 + ms),
        what,
    }
}

/// All events, oldest first.
pub async fn all_events(history: &dyn History) -> Vec<EventRecord> {
    history
        .recall_events(&RecallEvents::any(Order::OldestFirst, usize::MAX))
        .await
        .expect("recalled")
}

const DIED: ContainerHappening = Died {
    exit_code: 137,
    oom: true,
};

pub async fn no_events_are_no_error<H: Home>() {
    let home = H::fresh().await;
    let history = home.history().await;
    assert_eq!(all_events(&*history).await, []);
    history.record_events(&[]).await.expect("nothing to do");
    assert_eq!(all_events(&*history).await, []);
    history
        .forget(clock::now())
        .await
        .expect("nothing to let go of");
}

pub async fn events_come_back_in_order_from_either_end<H: Home>() {
    let home = H::fresh().await;
    let history = home.history().await;
    // Events of the same time are ordered by instance, and then by kind. Chosen so that a shorter
    // number, or a longer name, would be sorted before.
    let wanted = [
        event("a", "alice_web", 9, Started),
        event("a", "alice_web", 10, DIED),
        event("a", "alice_web", 10, Started),
        event(
            "a2",
            "alice_web",
            10,
            Died {
                exit_code: i64::MIN,
                oom: false,
            },
        ),
        event("b", "bob_db", 10, Healthy),
        event("a", "alice_web", 100, Unhealthy),
    ];
    let mut written = wanted.to_vec();
    written.reverse();
    for part in written.chunks(2) {
        history.record_events(part).await.expect("recorded");
    }
    assert_eq!(all_events(&*history).await, wanted);
    drop(history);
    let history = home.history().await;
    let ask = async |order, most| {
        history
            .recall_events(&RecallEvents::any(order, most))
            .await
            .expect("recalled")
    };
    assert_eq!(
        ask(Order::OldestFirst, 6).await,
        wanted,
        "after it was opened again"
    );
    assert_eq!(ask(Order::OldestFirst, 3).await, wanted[..3]);
    assert_eq!(
        ask(Order::NewestFirst, 4).await,
        [5, 4, 3, 2].map(|it: usize| wanted[it].clone())
    );
    assert_eq!(ask(Order::NewestFirst, 0).await, []);
}

pub async fn an_event_that_is_written_again_is_the_same<H: Home>() {
    let home = H::fresh().await;
    let history = home.history().await;
    let events = [
        event("a", "alice_web", 0, Started),
        event("a", "alice_web", 5, DIED),
    ];
    for _ in 0..3 {
        history.record_events(&events).await.expect("recorded");
    }
    history
        .record_events(&[events[1].clone(), events[0].clone(), events[1].clone()])
        .await
        .expect("recorded");
    assert_eq!(all_events(&*history).await, events);
    // Each part of the identity distinguishes events.
    let other_id = EventRecord {
        engine_id: "ffff".into(),
        ..events[0].clone()
    };
    let others = [
        event("b", "alice_web", 0, Started),
        event("a", "alice_web", 1, Started),
        event("a", "alice_web", 0, Healthy),
        other_id,
    ];
    for other in others {
        let before = all_events(&*history).await.len();
        history.record_events(&[other]).await.expect("recorded");
        assert_eq!(all_events(&*history).await.len(), before + 1);
    }
}

pub async fn only_events_that_are_asked_for_are_recalled<H: Home>() {
    let home = H::fresh().await;
    let history = home.history().await;
    let second = |mut it: EventRecord| {
        it.placed.container = ContainerName::trusted("alice_web.2");
        it
    };
    let events = [
        event("a", "alice_web", 0, Started),
        second(event("b", "alice_web", 1, Started)),
        event("a", "bob_db", 2, Started),
        event("a", "alice_web", 3, DIED),
        second(event("a", "alice_web", 4, DIED)),
    ];
    history.record_events(&events).await.expect("recorded");
    let begin = recently().0;
    let ask = async |name: &str, tag: &str, from: u64, until: u64, order, most| {
        let named = |it: &str| (!it.is_empty()).then(|| it.to_owned());
        let wanted = RecallEvents {
            name: named(name),
            tag: named(tag),
            from: Timestamp(begin + from),
            until: Timestamp(begin + until),
            order,
            most,
        };
        let found = history.recall_events(&wanted).await.expect("recalled");
        found
            .iter()
            .map(|it| {
                events
                    .iter()
                    .position(|event| event == it)
                    .expect("as it was written")
            })
            .collect::<Vec<_>>()
    };
    let oldest = Order::OldestFirst;
    assert_eq!(
        ask("alice_web.1", "", 0, 9, oldest, 9).await,
        [0, 3],
        "a container"
    );
    assert_eq!(
        ask("alice_web", "", 0, 9, oldest, 9).await,
        [0, 1, 3, 4],
        "a service"
    );
    assert_eq!(
        ask("", "tag-a", 0, 9, oldest, 9).await,
        [0, 2, 3, 4],
        "an instance"
    );
    assert_eq!(
        ask("alice_web.2", "tag-a", 0, 9, oldest, 9).await,
        [4],
        "both"
    );
    assert_eq!(
        ask("", "", 1, 3, oldest, 9).await,
        [1, 2],
        "from it on, and without the end"
    );
    assert_eq!(
        ask("alice_web", "", 1, 9, Order::NewestFirst, 2).await,
        [4, 3]
    );
    assert_eq!(ask("alice_web", "", 1, 9, oldest, 2).await, [1, 3]);
    for nothing in [
        ask("alice", "", 0, 9, oldest, 9).await,
        ask("", "a", 0, 9, oldest, 9).await,
        ask("", "", 3, 3, oldest, 9).await,
        ask("", "", 4, 3, oldest, 9).await,
    ] {
        assert_eq!(nothing, [0_usize; 0]);
    }
}

/// As many as a large cluster reports in a bad minute.
pub async fn many_events_at_once<H: Home>() {
    let home = H::fresh().await;
    let history = home.history().await;
    let events: Vec<EventRecord> = (0..2001)
        .map(|number| event(&format!("i{number:04}"), "alice_web", number, DIED))
        .collect();
    let begun = Instant::now();
    history.record_events(&events).await.expect("recorded");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(all_events(&*history).await, events);
}

pub async fn events_are_neither_records_nor_points<H: Home>() {
    let home = H::fresh().await;
    home.open()
        .await
        .commit(&[put(setting("a", "1"), 0)])
        .await
        .expect("commit");
    let history = home.history().await;
    history
        .record_events(&[event("a", "alice_web", 0, Started)])
        .await
        .expect("recorded");
    assert_eq!(
        history
            .recall(&super::all_of("a", Resolution::Sample))
            .await,
        Ok(vec![])
    );
    assert_eq!(history.instances(Resolution::Sample).await, Ok(vec![]));
    drop(history);
    assert_eq!(
        home.open().await.load().await,
        Ok(vec![(setting("a", "1"), 1)])
    );
    assert_eq!(all_events(&*home.history().await).await.len(), 1);
}

pub async fn the_instances_that_points_are_kept_of_are_known<H: Home>() {
    let home = H::fresh().await;
    let history = home.history().await;
    let point = |instance: &str, resolution| super::point(instance, resolution, recently(), &[]);
    history
        .record(&[
            point("b", Resolution::Sample),
            point("a", Resolution::Sample),
            point("a", Resolution::Minute),
        ])
        .await
        .expect("recorded");
    let of = async |resolution| {
        history
            .instances(resolution)
            .await
            .expect("read")
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (
            of(Resolution::Sample).await,
            of(Resolution::Minute).await,
            of(Resolution::TenMinutes).await
        ),
        (vec!["a".into(), "b".into()], vec!["a".into()], vec![])
    );
}

/// An event at the end of its retention, and this much older.
pub fn old_event(instance: &str, older: Duration) -> EventRecord {
    EventRecord {
        at: Timestamp(
            clock::now().0 - u64::try_from((EVENTS_KEPT + older).as_millis()).expect("a week"),
        ),
        ..event(instance, "alice_web", 0, Started)
    }
}
