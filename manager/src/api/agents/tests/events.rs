//! What happens to containers, as agents tell it: nothing that was told is lost, nothing is there
//! twice, and nobody speaks for others.

use super::{
    figures::{at, batch, of_service, placed, placed_core, turn},
    *,
};
use crate::{
    control::{Core, Event, Handle, Input},
    metrics::{Metrics, Refresh, tests::Kept},
};
use micado_api::agent::ContainerEvent;
use micado_api::{
    ErrorBody, ErrorCode, EventQuery, HistoryQuery, Timestamp,
    agent::ContainerHappening::{self, Died, Healthy, Started},
};
use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

const KILLED: ContainerHappening = Died {
    exit_code: 137,
    oom: true,
};

fn event(service: &str, sequence: u64, what: ContainerHappening) -> ContainerEvent {
    ContainerEvent {
        id: "e1".to_owned(),
        service: Some(service.to_owned()),
        at: at(sequence),
        what,
    }
}

fn told(service: &str, sequence: u64, what: ContainerHappening) -> FromAgent {
    FromAgent::Event(event(service, sequence, what))
}

/// What is kept: when, and what.
fn kept(history: &Kept) -> Vec<(Timestamp, ContainerHappening)> {
    let mut kept: Vec<_> = history
        .events
        .lock()
        .expect("nobody panicked")
        .iter()
        .map(|it| (it.at, it.what))
        .collect();
    kept.sort_by_key(|it| it.0);
    kept
}

async fn say_all(agent: &mut Agent, frames: &[FromAgent]) {
    for frame in frames {
        agent.say(frame).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_while_the_store_is_silent_is_acknowledged_when_it_is_kept_and_kept_once() {
    let (manager, [own, _], service) = placed();
    let ticker = manager.refreshing();
    manager.history.silent.store(true, Ordering::SeqCst);
    let frames = [
        told(&service, 1, Started),
        batch(1, Vec::new()),
        told(&service, 2, KILLED),
        batch(2, Vec::new()),
        told(&service, 3, Started),
    ];
    let mut agent = Agent::of(&manager, &own, "a").await;
    say_all(&mut agent, &frames[..3]).await;
    assert_eq!(agent.heard().await, []);
    turn(&manager, &ticker).await;
    assert_eq!(agent.heard().await, [], "nothing is durable yet");

    // The connection breaks: all is told again, and more. The store takes figures, but no events.
    drop(agent);
    let mut agent = Agent::of(&manager, &own, "a").await;
    say_all(&mut agent, &frames).await;
    assert_eq!(agent.heard().await, []);
    manager.history.deaf.store(true, Ordering::SeqCst);
    manager.history.silent.store(false, Ordering::SeqCst);
    turn(&manager, &ticker).await;
    assert_eq!(
        (agent.heard().await, kept(&manager.history)),
        (vec![], vec![]),
        "not all that was told before the batches is durable"
    );
    manager.history.deaf.store(false, Ordering::SeqCst);
    ticker.tick();
    assert_eq!(agent.answer().await, ToAgent::Ack { sequence: 2 });
    assert_eq!(
        kept(&manager.history),
        [(at(1), Started), (at(2), KILLED), (at(3), Started)],
        "each once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_is_killed_loses_and_doubles_nothing_that_was_told() {
    let (core, [own, _], service) = placed_core();
    let history = Arc::new(Kept::default());
    let first = Manager::with(core, history.clone());
    let frames = [
        told(&service, 1, Started),
        batch(1, Vec::new()),
        told(&service, 2, KILLED),
        batch(2, Vec::new()),
    ];
    let mut agent = Agent::of(&first, &own, "a").await;
    say_all(&mut agent, &frames).await;
    assert_eq!(agent.heard().await, []);
    // Nothing of it was recorded: the agent tells the next one.
    drop((first, agent));
    let second = Manager::with(placed_core().0, history.clone());
    let ticker = second.refreshing();
    let mut agent = Agent::of(&second, &own, "a").await;
    say_all(&mut agent, &frames[..3]).await;
    assert_eq!(agent.heard().await, []);
    ticker.tick();
    assert_eq!(agent.answer().await, ToAgent::Ack { sequence: 1 });
    // It was recorded, and the acknowledgement is lost.
    drop((second, agent));
    let third = Manager::with(placed_core().0, history.clone());
    let ticker = third.refreshing();
    let mut agent = Agent::of(&third, &own, "a").await;
    say_all(&mut agent, &frames).await;
    assert_eq!(
        agent.heard().await,
        [],
        "what another manager has recorded this one does not know"
    );
    ticker.tick();
    assert_eq!(agent.answer().await, ToAgent::Ack { sequence: 2 });
    assert_eq!(kept(&history), [(at(1), Started), (at(2), KILLED)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_tells_only_of_what_is_placed_on_its_own_instance() {
    let (manager, [own, other], service) = placed();
    let ticker = manager.refreshing();
    let (mut honest, mut liar) = (
        Agent::of(&manager, &own, "a").await,
        Agent::of(&manager, &other, "a").await,
    );
    let lie = |id: &str, service: Option<&str>| {
        FromAgent::Event(ContainerEvent {
            id: id.to_owned(),
            service: service.map(str::to_owned),
            at: at(1),
            what: Started,
        })
    };
    let lies = [
        lie("e1", Some(&service)),
        lie("e1", Some("c-of-nobody")),
        lie("e1", None),
        lie("e1", Some(&"x".repeat(5000))),
        batch(1, Vec::new()),
    ];
    say_all(&mut liar, &lies).await;
    let tomorrow = FromAgent::Event(ContainerEvent {
        at: Timestamp(at(1).0 + 86_400_000),
        ..event(&service, 1, Started)
    });
    say_all(
        &mut honest,
        &[
            lie("no id", Some(&service)),
            lie(&"e".repeat(65), Some(&service)),
            tomorrow,
            told(&service, 2, Healthy),
            batch(1, Vec::new()),
        ],
    )
    .await;
    assert_eq!((liar.heard().await, honest.heard().await), (vec![], vec![]));
    ticker.tick();
    assert_eq!(
        (liar.answer().await, honest.answer().await),
        (ToAgent::Ack { sequence: 1 }, ToAgent::Ack { sequence: 1 })
    );
    assert_eq!(kept(&manager.history), [(at(2), Healthy)]);
}

/// A manager's refresh, and its core, which may be another one or none at any moment.
fn refresh_of(core: Core, history: &Arc<Kept>) -> (Refresh, Arc<Mutex<Option<Core>>>) {
    let ((handle, mut inputs, _), core) = (Handle::new(), Arc::new(Mutex::new(Some(core))));
    let present = core.clone();
    tokio::spawn(async move {
        while let Some(input) = inputs.recv().await {
            if let Input::Read(read) = input {
                let core = present.lock().expect("nobody panicked");
                read(
                    core.as_ref().ok_or_else(|| {
                        ErrorBody::new(ErrorCode::Unavailable, "it does not answer")
                    }),
                );
            }
        }
    });
    (
        Refresh {
            metrics: Arc::default(),
            handle,
            history: history.clone(),
            shown: None,
        },
        core,
    )
}

#[tokio::test]
async fn what_happened_where_nothing_is_placed_any_more_is_kept() {
    let (core, [own, other], service) = placed_core();
    let history = Arc::new(Kept::default());
    let (first, core) = refresh_of(core, &history);
    let tell = |to: &Refresh, of: &InstanceId, sequence, what| {
        to.metrics
            .take_event(of, "a", event(&service, sequence, what))
            .expect("there is room")
    };
    tell(&first, &own, 1, Started);
    first.metrics.learn_of(&first.handle, Some(&service)).await;
    // Its place is given up before anybody looks again.
    *core.lock().expect("nobody panicked") = Some(crate::api::tests::core());
    first.record().await.expect("recorded");
    assert_eq!(kept(&history), [(at(1), Started)]);
    // The manager stops, and the core did before.
    tell(&first, &own, 2, Healthy);
    *core.lock().expect("nobody panicked") = None;
    first.end().await;
    assert_eq!(kept(&history), [(at(1), Started), (at(2), Healthy)]);
    // It was killed before it had recorded this: the next one never saw the place.
    let (second, _core) = refresh_of(crate::api::tests::core(), &history);
    tell(&second, &other, 3, Started);
    tell(&second, &own, 4, KILLED);
    history.silent.store(true, Ordering::SeqCst);
    second.record().await.expect_err("it cannot be known yet");
    history.silent.store(false, Ordering::SeqCst);
    second.record().await.expect("recorded");
    assert_eq!(
        kept(&history),
        [(at(1), Started), (at(2), Healthy), (at(4), KILLED)],
        "and nobody speaks for others"
    );
}

/// The store is silent, so there is no core: whose service it is nobody can say yet.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_while_there_is_no_core_waits_for_one_which_is_told_who_was_killed() {
    let (core, [own, _], service) = placed_core();
    let (handle, mut inputs, _) = Handle::new();
    let (silent, heard) = (
        Arc::new(AtomicBool::new(true)),
        Arc::new(std::sync::Mutex::new(Vec::new())),
    );
    let (is_silent, hears) = (silent.clone(), heard.clone());
    tokio::spawn(async move {
        while let Some(input) = inputs.recv().await {
            match input {
                Input::Read(read) if is_silent.load(Ordering::SeqCst) => read(Err(ErrorBody::new(
                    ErrorCode::Unavailable,
                    "it does not answer",
                ))),
                Input::Read(read) => read(Ok(&core)),
                Input::Tell(event) => hears.lock().expect("nobody panicked").push(*event),
                Input::Request(..) => {}
            }
        }
    });
    let (metrics, history) = (Arc::new(Metrics::default()), Arc::new(Kept::default()));
    let refresh = Refresh {
        metrics: metrics.clone(),
        handle: handle.clone(),
        history: history.clone(),
        shown: None,
    };
    for (sequence, what) in [(1, Started), (2, KILLED)] {
        metrics
            .take_event(&own, "a", event(&service, sequence, what))
            .expect("there is room");
    }
    refresh
        .record()
        .await
        .expect_err("whose it is, is not known");
    assert_eq!(kept(&history), []);
    silent.store(false, Ordering::SeqCst);
    refresh.record().await.expect("it is known");
    assert_eq!(kept(&history), [(at(1), Started), (at(2), KILLED)]);
    handle
        .read(|_| ())
        .await
        .expect("what was told before, it has heard");
    let heard = heard.lock().expect("nobody panicked");
    assert!(
        matches!(heard.as_slice(), [Event::Happened(instance, it)] if *instance == own && *it == event(&service, 2, KILLED)),
        "{heard:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_there_is_no_room_for_stay_with_the_agent() {
    let (manager, [own, _], service) = placed();
    let of = |count| ContainerEvent {
        at: Timestamp(at(0).0 + count),
        ..event(&service, 0, Started)
    };
    let mut count = 0;
    while manager.metrics.take_event(&own, "a", of(count)).is_ok() {
        count += 1;
    }
    let mut agent = Agent::of(&manager, &own, "a").await;
    agent.say(&FromAgent::Event(of(count))).await;
    let end = agent.0.next().await.expect("a word").expect("readable");
    assert!(
        matches!(&end, tungstenite::Message::Close(Some(end)) if end.reason.starts_with("no room")),
        "{end:?}"
    );
    // What was told before this question the core has heard: that the agent is there, too.
    manager.handle.read(|_| ()).await.expect("it answers");
    let told = manager.told.lock().expect("nobody panicked").clone();
    assert!(
        !told.iter().any(|it| matches!(it, Event::Happened(..))),
        "it is told again, and heard then: {told:?}"
    );
}

/// Before anything is recorded: there was no turn of the refresh.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_recorded_is_shown_and_once_when_it_is() {
    let (manager, [own, _], service) = placed();
    let client = manager.by_socket();
    let mut agent = Agent::of(&manager, &own, "a").await;
    let of = |sequence| batch(sequence, vec![of_service(&service, 100, sequence)]);
    say_all(
        &mut agent,
        &[
            of(1),
            told(&service, 1, Started),
            told(&service, 2, KILLED),
            of(2),
        ],
    )
    .await;
    agent.heard().await;
    let events = async |query: EventQuery| client.events(&query).await.expect("events");
    let points = async |name: &str| {
        let asked = HistoryQuery {
            from: Some(0),
            until: None,
            resolution: Some(2),
        };
        client
            .history(name, &asked)
            .await
            .expect("a history")
            .points
            .iter()
            .map(|it| it.at)
            .collect::<Vec<_>>()
    };
    let waiting = events(EventQuery::default()).await;
    assert_eq!(
        waiting
            .iter()
            .map(|it| (it.at, it.what))
            .collect::<Vec<_>>(),
        [(at(1), Started), (at(2), KILLED)],
        "oldest first"
    );
    assert_eq!(
        (
            waiting[0].container.as_str(),
            waiting[0].instance.as_str(),
            waiting[0].image.as_str(),
            waiting[0].id.as_str()
        ),
        ("acme_web.1", "i1", "web", "e1")
    );
    assert_eq!(
        (points("acme_web.1").await, points("i1").await),
        (vec![at(1), at(2)], vec![at(1), at(2)])
    );
    assert_eq!(
        events(EventQuery {
            limit: Some(1),
            ..EventQuery::default()
        })
        .await,
        waiting[1..],
        "the last"
    );
    assert_eq!(
        events(EventQuery {
            since: Some(at(2).0),
            ..EventQuery::default()
        })
        .await,
        waiting[1..]
    );

    let ticker = manager.refreshing();
    ticker.tick();
    assert_eq!(agent.answer().await, ToAgent::Ack { sequence: 2 });
    say_all(
        &mut agent,
        &[of(1), told(&service, 2, KILLED), told(&service, 3, Started)],
    )
    .await;
    agent.heard().await;
    assert_eq!(
        events(EventQuery::default()).await.len(),
        3,
        "what is kept and what waits, each once"
    );
    assert_eq!(points("acme_web.1").await, [at(1), at(2)]);
}
