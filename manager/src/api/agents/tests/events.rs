//! What happens to containers, as agents tell it: nothing that was told is lost, nothing is there
//! twice, and nobody speaks for others.

use super::{
    figures::{at, batch, of_service, placed, placed_core, turn},
    *,
};
use crate::{
    clock,
    control::{Core, Event, Handle, Input, Reply, Request},
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

/// A manager's metrics and refresh on this core. While it is silent, there is no core.
struct Refreshed {
    refresh: Refresh,
    silent: Arc<AtomicBool>,
    /// Events that the core recorded.
    heard: Arc<Mutex<Vec<(InstanceId, ContainerEvent)>>>,
}

impl Refreshed {
    fn of(core: &Core, history: &Arc<Kept>) -> Self {
        let (handle, mut inputs, _) = Handle::new();
        handle.facts().replace(clock::now(), core);
        let (silent, heard) = (
            Arc::<AtomicBool>::default(),
            Arc::<Mutex<Vec<_>>>::default(),
        );
        let (is_silent, hears) = (silent.clone(), heard.clone());
        tokio::spawn(async move {
            while let Some(input) = inputs.recv().await {
                let Input::Request(_, request, answer) = input else {
                    continue;
                };
                let refusal = ErrorBody::new(ErrorCode::Unavailable, "it does not answer");
                let reply = match *request {
                    _ if is_silent.load(Ordering::SeqCst) => Err(refusal),
                    Request::Happened(events) => {
                        hears.lock().expect("nobody panicked").extend(events);
                        Ok(Reply::Recorded)
                    }
                    other => panic!("{other:?} is not expected"),
                };
                drop(answer.send(reply));
            }
        });
        let refresh = Refresh {
            metrics: Arc::new(Metrics::new(handle.facts().clone())),
            handle,
            history: history.clone(),
            shown: None,
        };
        Self {
            refresh,
            silent,
            heard,
        }
    }
    fn take(&self, of: &InstanceId, event: ContainerEvent) {
        let taken = self.refresh.metrics.take_event(of, "a", event);
        taken.expect("there is room");
    }
}

#[tokio::test]
async fn what_happened_where_nothing_is_placed_any_more_is_kept() {
    let (core, [own, other], service) = placed_core();
    let history = Arc::new(Kept::default());
    let first = Refreshed::of(&core, &history);
    first.take(&own, event(&service, 1, Started));
    // Its placement ends.
    let facts = first.refresh.handle.facts();
    facts.replace(clock::now(), &crate::api::tests::core());
    first.refresh.record().await.expect("recorded");
    assert_eq!(kept(&history), [(at(1), Started)]);
    first.take(&own, event(&service, 2, Healthy));
    // The manager stops, and the core did before.
    first.take(&own, event(&service, 3, KILLED));
    first.silent.store(true, Ordering::SeqCst);
    first.refresh.end().await;
    let ended = [(at(1), Started), (at(2), Healthy), (at(3), KILLED)];
    assert_eq!(kept(&history), ended);
    // It was killed before it had recorded this: the next one never saw the place.
    let second = Refreshed::of(&crate::api::tests::core(), &history);
    second.take(&other, event(&service, 4, Started));
    second.take(&own, event("c-of-nobody", 4, Started));
    second.take(&own, event(&service, 5, Healthy));
    history.silent.store(true, Ordering::SeqCst);
    let unknown = second.refresh.record().await;
    unknown.expect_err("it cannot be known yet");
    history.silent.store(false, Ordering::SeqCst);
    second.refresh.record().await.expect("recorded");
    assert_eq!(
        kept(&history),
        [&ended[..], &[(at(5), Healthy)]].concat(),
        "and nobody speaks for others"
    );
}

/// The store is silent, so there is no core.
#[tokio::test]
async fn an_end_is_acknowledged_once_its_container_s_record_is_durable() {
    let (core, [own, _], service) = placed_core();
    let history = Arc::new(Kept::default());
    let manager = Refreshed::of(&core, &history);
    let metrics = &manager.refresh.metrics;
    manager.take(&own, event(&service, 1, KILLED));
    manager.take(&own, event(&service, 2, Started));
    manager.take(&own, event(&service, 3, KILLED));
    let FromAgent::Samples(samples) = batch(1, Vec::new()) else {
        unreachable!("a batch is samples")
    };
    metrics.take(&own, "a", samples).expect("there is room");
    manager.silent.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let refused = manager.refresh.record().await;
        refused.expect_err("the core does not answer");
        assert_eq!(metrics.recorded(&own, "a"), None);
    }
    let all = [(at(1), KILLED), (at(2), Started), (at(3), KILLED)];
    assert_eq!(kept(&history), all, "the history has it");
    manager.silent.store(false, Ordering::SeqCst);
    manager.refresh.record().await.expect("the core answers");
    assert_eq!(metrics.recorded(&own, "a"), Some(1));
    assert_eq!(kept(&history), all, "each once");
    let heard = manager.heard.lock().expect("nobody panicked").clone();
    assert_eq!(heard, [(own, event(&service, 3, KILLED))], "the last end");
}

#[tokio::test]
async fn what_is_unknown_is_foreign_at_once_and_what_ended_is_not() {
    let (core, [own, other], service) = placed_core();
    let history = Arc::new(Kept::default());
    let manager = Refreshed::of(&core, &history);
    let metrics = &manager.refresh.metrics;
    let facts = manager.refresh.handle.facts();
    facts.replace(clock::now(), &crate::api::tests::core());
    // Nobody answers: no core is asked.
    manager.silent.store(true, Ordering::SeqCst);
    let containers = ["c-of-nobody", &service].map(|service| of_service(service, 100, 1));
    for instance in [&own, &other] {
        let FromAgent::Samples(samples) = batch(1, containers.to_vec()) else {
            unreachable!("a batch is samples")
        };
        metrics.take(instance, "a", samples).expect("there is room");
    }
    manager.refresh.record().await.expect("there are no ends");
    let points = history.all();
    let names = points.iter().map(|point| {
        let names = point.containers.keys().map(String::as_str);
        (&point.instance, names.collect::<Vec<_>>())
    });
    assert_eq!(
        names.collect::<Vec<_>>(),
        [(&own, vec!["acme_web.1"]), (&other, vec![])],
        "only the placement that ended is known, on its own machine"
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

#[tokio::test(flavor = "multi_thread")]
async fn a_death_is_counted_once_for_prometheus() {
    let (manager, [own, _], service) = placed();
    let mut agent = Agent::of(&manager, &own, "a").await;
    let frames = [
        told(&service, 1, Started),
        told(&service, 2, KILLED),
        told(&service, 2, KILLED),
        told("c-of-nobody", 3, KILLED),
    ];
    say_all(&mut agent, &frames).await;
    agent.heard().await;
    let all = micado_api::MetricsQuery::default();
    let text = manager.by_socket().metrics(&all).await.expect("a text");
    let deaths: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("micado_service_container_"))
        .collect();
    assert_eq!(
        deaths,
        [
            "micado_service_container_deaths_total{service=\"acme_web\"} 1.0",
            "micado_service_container_oom_deaths_total{service=\"acme_web\"} 1.0",
        ]
    );
}
