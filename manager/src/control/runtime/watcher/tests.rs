//! The watcher on a scripted engine that fails and reports.

use super::*;
use crate::{
    engine::{EngineError, ImageFacts, JoinFacts, LogLine, LogOptions, SwarmNode, TaskState},
    model::{Container, Copy, Login, Service},
};
use futures_util::stream;
use micado_api::{ContainerName, InstanceId, Resources};
use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};
use tokio_stream::wrappers::UnboundedReceiverStream;

/// One service, `web`, with a scripted task.
#[derive(Debug, Default)]
struct Staged {
    events: Vec<EngineEvent>,
    /// Events after these.
    later: Mutex<Option<mpsc::UnboundedReceiver<EngineEvent>>>,
    /// Number of whole observations that fail first.
    failing: u32,
    looks: AtomicU32,
    parts: AtomicU32,
    /// Result of listing tasks; `None` fails.
    tasks: Mutex<Option<Vec<SwarmTask>>>,
}

fn lost<T>() -> Result<T, EngineError> {
    Err(EngineError::Unavailable("no answer".to_owned()))
}

#[async_trait::async_trait]
impl Engine for Staged {
    async fn observe(&self) -> Result<Observation, EngineError> {
        if self.looks.fetch_add(1, Ordering::SeqCst) < self.failing {
            return lost();
        }
        Ok(Observation {
            services: vec![web()],
            ..Observation::default()
        })
    }
    async fn tasks(&self, _: &[String]) -> Result<Vec<SwarmTask>, EngineError> {
        self.tasks
            .lock()
            .expect("no test panics with it")
            .clone()
            .map_or_else(lost, Ok)
    }
    async fn tasks_on(&self, node: &str) -> Result<Vec<SwarmTask>, EngineError> {
        let tasks = self.tasks(&[]).await?;
        let on = |task: &SwarmTask| task.node.as_deref() == Some(node);
        Ok(tasks.into_iter().filter(on).collect())
    }
    fn events(&self) -> BoxStream<'static, EngineEvent> {
        let later = self.later.lock().expect("no test panics with it").take();
        let later = stream::iter(later).flat_map(UnboundedReceiverStream::new);
        stream::iter(self.events.clone())
            .chain(later)
            .chain(stream::pending())
            .boxed()
    }
    async fn services(&self, names: &[String]) -> Result<Vec<SwarmService>, EngineError> {
        self.parts.fetch_add(1, Ordering::SeqCst);
        let known = names.iter().filter(|name| *name == "web");
        Ok(known.map(|_| web()).collect())
    }
    async fn node(&self, _: &str) -> Result<Option<SwarmNode>, EngineError> {
        Ok(None)
    }
    async fn create(
        &self,
        _: &Service,
        _: &Container,
        _: &Copy,
        _: &str,
    ) -> Result<(), EngineError> {
        lost()
    }
    async fn remove(&self, _: &str) -> Result<(), EngineError> {
        lost()
    }
    async fn set_active(&self, _: &str, _: bool) -> Result<(), EngineError> {
        lost()
    }
    async fn remove_node(&self, _: &str) -> Result<(), EngineError> {
        lost()
    }
    fn logs(&self, _: &str, _: &LogOptions) -> BoxStream<'static, Result<LogLine, EngineError>> {
        stream::pending().boxed()
    }
    fn follow(
        &self,
        _: &str,
        _: Option<String>,
        _: Option<u32>,
    ) -> BoxStream<'static, Result<LogLine, EngineError>> {
        stream::pending().boxed()
    }
    async fn image(&self, _: &str, _: Option<&Login>) -> Result<ImageFacts, EngineError> {
        lost()
    }
    async fn log_in(&self, _: &str, _: &str, _: &str) -> Result<Option<String>, EngineError> {
        lost()
    }
    async fn join_facts(&self) -> Result<JoinFacts, EngineError> {
        lost()
    }
    async fn rotate_join_token(&self) -> Result<(), EngineError> {
        lost()
    }
}

fn web() -> SwarmService {
    SwarmService {
        id: "id".to_owned(),
        name: "web".to_owned(),
        container: ContainerName::trusted("web.1"),
        instance: InstanceId::trusted("i1"),
        node: Some("n1".to_owned()),
        generation: 1,
        edited: false,
        records: None,
    }
}

fn task(service: &str) -> SwarmTask {
    SwarmTask {
        id: format!("of-{service}"),
        service: service.to_owned(),
        node: None,
        state: TaskState::Running,
        wanted: true,
        version: 1,
        message: None,
        exit_code: None,
        reservation: Resources::default(),
        ports: Vec::new(),
    }
}

async fn next(seen: &mut mpsc::Receiver<Event>) -> Event {
    let event = tokio::time::timeout(Duration::from_secs(20), seen.recv()).await;
    event.expect("it looks in time").expect("it goes on")
}

#[tokio::test]
async fn blindness_ends_by_itself() {
    let (_watcher, mut seen) = Watcher::start(Arc::new(Staged {
        failing: 2,
        ..Staged::default()
    }));
    assert!(matches!(next(&mut seen).await, Event::Blind(_)));
    assert!(matches!(next(&mut seen).await, Event::Blind(_)));
    assert!(matches!(next(&mut seen).await, Event::Observed(_)));
}

#[tokio::test]
async fn a_crowd_of_events_is_one_look() {
    let change = EngineEvent::Service {
        name: "web".to_owned(),
    };
    let events = [vec![EngineEvent::Connected], vec![change; 9]].concat();
    let engine = Arc::new(Staged {
        events,
        ..Staged::default()
    });
    let (watcher, mut seen) = Watcher::start(engine.clone());
    assert!(matches!(next(&mut seen).await, Event::Observed(_)));
    watcher.look(1, None);
    assert!(matches!(next(&mut seen).await, Event::Observed(seen) if seen.as_of == 1));
    assert_eq!(engine.looks.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn services_that_are_asked_for_are_looked_at_alone_and_with_their_tasks() {
    let engine = Arc::new(Staged {
        events: vec![EngineEvent::Connected],
        tasks: Mutex::new(Some(vec![task("id"), task("other")])),
        ..Staged::default()
    });
    let (watcher, mut seen) = Watcher::start(engine.clone());
    assert!(matches!(next(&mut seen).await, Event::Observed(_)));
    watcher.look(7, Some(vec!["web".to_owned(), "gone".to_owned()]));
    let Event::Changed(part) = next(&mut seen).await else {
        panic!("a part was asked for");
    };
    let expected = Delta {
        as_of: 7,
        nodes: Vec::new(),
        services: vec![("gone".to_owned(), None), ("web".to_owned(), Some(web()))],
        tasks: vec![("id".to_owned(), vec![task("id")])],
    };
    assert_eq!(part, expected);
    assert_eq!(
        engine.looks.load(Ordering::SeqCst),
        1,
        "nothing else was listed"
    );
}

#[tokio::test]
async fn a_change_of_a_node_is_looked_at_with_the_services_on_it() {
    let on_it = |service: &str| SwarmTask {
        node: Some("n1".to_owned()),
        ..task(service)
    };
    let (events, later) = mpsc::unbounded_channel();
    let engine = Arc::new(Staged {
        events: vec![EngineEvent::Connected],
        later: Mutex::new(Some(later)),
        tasks: Mutex::new(Some(vec![on_it("id"), task("other")])),
        ..Staged::default()
    });
    let (_watcher, mut seen) = Watcher::start(engine.clone());
    assert!(matches!(next(&mut seen).await, Event::Observed(_)));
    let node = |id: &str| EngineEvent::Node { id: id.to_owned() };
    events.send(node("n1")).expect("it listens");
    let expected = Delta {
        as_of: 0,
        nodes: vec![("n1".to_owned(), None)],
        services: vec![("web".to_owned(), Some(web()))],
        tasks: vec![("id".to_owned(), vec![on_it("id")])],
    };
    assert!(matches!(next(&mut seen).await, Event::Changed(part) if part == expected));
    // The last task of the service has left the node.
    *engine.tasks.lock().expect("no test panics with it") = Some(Vec::new());
    events.send(node("n1")).expect("it listens");
    let gone = vec![("id".to_owned(), Vec::new())];
    assert!(matches!(next(&mut seen).await, Event::Changed(part) if part.tasks == gone));
    assert_eq!(engine.looks.load(Ordering::SeqCst), 1);
    // A foreign service on the node has no known name.
    *engine.tasks.lock().expect("no test panics with it") = Some(vec![on_it("other")]);
    events.send(node("n1")).expect("it listens");
    assert!(matches!(next(&mut seen).await, Event::Observed(_)));
}

#[tokio::test]
async fn a_loss_in_the_crowd_is_told() {
    let change = EngineEvent::Service {
        name: "web".to_owned(),
    };
    let events = vec![change, EngineEvent::Lost("gone".to_owned())];
    let (_watcher, mut seen) = Watcher::start(Arc::new(Staged {
        events,
        ..Staged::default()
    }));
    assert!(matches!(next(&mut seen).await, Event::Blind(words) if words == "gone"));
    assert!(
        matches!(next(&mut seen).await, Event::Observed(_)),
        "and looked into"
    );
}

#[tokio::test]
async fn tasks_that_cannot_be_had_are_a_reason_to_look_and_not_to_be_blind() {
    let engine = Arc::new(Staged {
        events: vec![EngineEvent::Connected],
        ..Staged::default()
    });
    let (watcher, mut seen) = Watcher::start(engine.clone());
    watcher.poll(["web".to_owned()].into());
    for _ in 0..3 {
        assert!(matches!(next(&mut seen).await, Event::Observed(_)));
    }
}

#[tokio::test]
async fn only_the_tasks_that_were_asked_for_are_taken() {
    let engine = Arc::new(Staged {
        events: vec![EngineEvent::Connected],
        tasks: Mutex::new(Some(vec![task("id"), task("other")])),
        ..Staged::default()
    });
    let (watcher, mut seen) = Watcher::start(engine.clone());
    assert!(matches!(next(&mut seen).await, Event::Observed(it) if it.tasks.is_empty()));
    watcher.poll(["web".to_owned()].into());
    let known = vec![("id".to_owned(), vec![task("id")])];
    assert!(matches!(next(&mut seen).await, Event::Changed(part) if part.tasks == known));
    assert_eq!(engine.looks.load(Ordering::SeqCst), 1);
}
