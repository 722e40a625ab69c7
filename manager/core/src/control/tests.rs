//! Replies and actions of the core, event by event, without a simulated world. Whole lives with
//! faults are in `tests/simulation`.

use super::{Action, Answer, Call, CallKey, Config, Core, Event, Reply, Request};
use crate::engine::{
    EngineError, ImageFacts, Observation, SwarmNode, SwarmService, SwarmTask, TaskState,
};
use crate::store::Contents;
use micado_api::{
    ClusterId, ErrorBody, ErrorCode, InstanceId, LaunchRequest, MemoryBytes, NanoCpus, Resources,
    ServiceSpec, StartRequest, Timestamp, VolumeMount,
};
use micado_cloudsetup::{BrokerError, CloudSetup, Machine, MachineState};
use std::collections::BTreeMap;

const SETUP: &str = "<s><clouds><c><name>near</name><broker>local</broker><flavours>
    <f><size>small</size><id>s</id><memory>512M</memory><cores>1</cores><price>0.01</price></f>
    <f><size>large</size><id>l</id><memory>2G</memory><cores>2</cores><price>0.04</price></f>
  </flavours></c></clouds><applications><a><name>Node</name><sname>n</sname><executable>e</executable></a></applications></s>";

/// A core and the world as it observes it: nothing happens unless a test does it.
pub(super) struct Bench {
    pub(super) core: Core,
    pub(super) now: Timestamp,
    pub(super) seen: Observation,
    pub(super) machines: Vec<Machine>,
    /// Actions of the core that the engine has not executed yet.
    asked: Vec<Action>,
    ticket: u64,
}

impl Bench {
    pub(super) fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(
            ClusterId::trusted("test"),
            CloudSetup::parse(SETUP, "test").expect("a good file"),
        );
        change(&mut config);
        Self::of(config, Vec::new())
    }
    /// A bench on the content of a store.
    pub(super) fn of(config: Config, contents: Contents) -> Self {
        let mut bench = Self::unseeing(config, contents);
        bench.tick();
        bench.look();
        bench
    }
    /// A bench without any observation.
    pub(super) fn unseeing(config: Config, contents: Contents) -> Self {
        let core = Core::new(config, contents, 1);
        Self {
            core,
            now: Timestamp(1_000_000),
            seen: Observation::default(),
            machines: Vec::new(),
            asked: Vec::new(),
            ticket: 0,
        }
    }
    pub(super) fn event(&mut self, event: Event) -> Vec<Action> {
        self.now = Timestamp(self.now.0 + 1_000);
        let actions = self.core.handle(self.now, event);
        self.asked.extend(actions.iter().cloned());
        actions
    }
    /// Sends a tick; the clouds answer at once.
    pub(super) fn tick(&mut self) -> Vec<Action> {
        let actions = self.event(Event::Tick);
        self.lists_answered(actions)
    }
    pub(super) fn look(&mut self) -> Vec<Action> {
        let mut seen = self.seen.clone();
        seen.as_of = u64::MAX;
        let actions = self.event(Event::Observed(seen));
        self.lists_answered(actions)
    }
    fn lists_answered(&mut self, mut actions: Vec<Action>) -> Vec<Action> {
        for key in listed(&actions) {
            let machines = self.machines.clone();
            actions.extend(self.event(Event::Answered(key, Answer::Listed(Ok(machines)))));
        }
        actions
    }
    pub(super) fn ask(&mut self, request: Request) -> (Result<Reply, ErrorBody>, Vec<Action>) {
        self.ticket += 1;
        let ticket = self.ticket;
        let mut actions = self.event(Event::Request(ticket, request));
        let at = actions
            .iter()
            .position(|action| matches!(action, Action::Reply(to, _) if *to == ticket))
            .expect("every request is answered");
        match actions.remove(at) {
            Action::Reply(_, reply) => (reply, actions),
            _ => unreachable!("it was found as a reply"),
        }
    }
    pub(super) fn launch(
        &mut self,
        spec: ServiceSpec,
        request: Option<&str>,
    ) -> Result<String, ErrorBody> {
        let launch = LaunchRequest {
            spec,
            publish_all: false,
            request: request.map(str::to_owned),
            unnamed: micado_api::Unnamed::default(),
            copies: std::num::NonZeroU32::MIN,
        };
        let (reply, _) = self.ask(Request::Launch(
            Box::new(launch),
            ImageFacts {
                pull: Some("web@sha256:1".to_owned()),
                exposed: Vec::new(),
                platforms: std::collections::BTreeSet::new(),
            },
        ));
        reply.map(|reply| match reply {
            Reply::Containers(views) => views[0].name.to_string(),
            _ => unreachable!("a launch is answered with containers"),
        })
    }
    /// The first ordered machine that is not there yet exists, has joined and is settled.
    pub(super) fn machine_comes(&mut self) -> InstanceId {
        let ordered = self.core.instances(false).into_iter().map(|it| it.id);
        let mut missing = ordered.filter(|id| self.machines.iter().all(|it| it.instance != *id));
        let id = missing.next().expect("a machine is ordered");
        let machine = machine(&id, MachineState::Running);
        self.machines.push(machine.clone());
        self.event(Event::Answered(
            CallKey::Machine(id.clone()),
            Answer::Launched(Ok(machine)),
        ));
        self.seen.nodes.push(node(&id));
        self.look();
        id
    }
    /// The engine executes all calls until there are no more: every requested service runs, every
    /// unwanted one is gone.
    pub(super) fn settle(&mut self) {
        self.look();
        while !self.asked.is_empty() {
            for action in std::mem::take(&mut self.asked) {
                self.obey(action);
            }
        }
    }
    fn obey(&mut self, action: Action) {
        let Action::Call(key, call) = action else {
            return;
        };
        let answer = match call {
            Call::CreateService {
                container,
                copy,
                node,
                ..
            } => {
                let CallKey::Service(name) = &key else {
                    unreachable!("services are asked for by their key")
                };
                self.seen.tasks.push(task(name, Some(node.clone())));
                let (id, name) = (name.clone(), name.clone());
                self.seen.services.push(SwarmService {
                    id,
                    name,
                    container: container.name.clone(),
                    instance: copy.instance,
                    node: Some(node),
                    generation: copy.generation,
                    records: None,
                });
                Answer::Engine(Ok(()))
            }
            Call::RemoveService { name, .. } => {
                self.seen.services.retain(|service| service.name != name);
                self.seen.tasks.retain(|task| task.service != name);
                Answer::Engine(Ok(()))
            }
            Call::SaveLog { .. } => Answer::Log(Ok("last words\n".to_owned())),
            Call::Observe { .. } => return drop(self.look()),
            _ => return,
        };
        self.event(Event::Answered(key, answer));
    }
    pub(super) fn state(&self, name: &str) -> String {
        let all = self.core.containers(true);
        let view = all
            .iter()
            .find(|it| it.name.as_str() == name)
            .expect("the container is listed");
        view.reason
            .as_ref()
            .map_or(view.state.to_string(), |reason| {
                format!("{}: {reason}", view.state)
            })
    }
}

fn listed(actions: &[Action]) -> Vec<CallKey> {
    actions
        .iter()
        .filter_map(|action| {
            if let Action::Call(key @ CallKey::List(_), _) = action {
                Some(key.clone())
            } else {
                None
            }
        })
        .collect()
}

pub(super) fn machine(id: &InstanceId, state: MachineState) -> Machine {
    let name = format!("micado-test-{id}");
    let (id, broker_id) = (id.clone(), "b1".to_owned());
    Machine {
        name,
        instance: id,
        id: broker_id,
        state,
        address: None,
        tag: None,
        location: None,
        application: None,
        flavour: None,
        detail: None,
    }
}

pub(super) fn node(id: &InstanceId) -> SwarmNode {
    SwarmNode {
        id: format!("node-{id}"),
        hostname: id.to_string(),
        instance: Some(id.clone()),
        labels: BTreeMap::new(),
        ready: true,
        active: true,
        manager: false,
        size: Resources::new(MemoryBytes::mib(512), NanoCpus::cores(1)),
        platform: None,
        address: Some("10.0.0.2".to_owned()),
    }
}

fn task(service: &str, node: Option<String>) -> SwarmTask {
    SwarmTask {
        id: format!("task-{service}"),
        service: service.to_owned(),
        node,
        state: TaskState::Running,
        wanted: true,
        version: 1,
        message: None,
        exit_code: None,
        reservation: Resources::default(),
        ports: Vec::new(),
    }
}

pub(super) fn spec(client: &str, mib: u64) -> ServiceSpec {
    ServiceSpec {
        image: "web".to_owned(),
        client: client.to_owned(),
        location: "application".parse().expect("a name"),
        entrypoint: None,
        arguments: Vec::new(),
        environment: Vec::new(),
        ports: Vec::new(),
        domain: None,
        reservation: Resources::new(MemoryBytes::mib(mib), NanoCpus::millis(250)),
        volumes: Vec::new(),
        restart: micado_api::RestartPolicy::default(),
        anti_affinity: micado_api::AntiAffinity::default(),
    }
}

pub(super) fn start(tag: &str) -> StartRequest {
    StartRequest {
        cloud: "near".parse().expect("a name"),
        application: "Node".to_owned(),
        flavour: "small".parse().expect("a name"),
        tag: tag.parse().expect("a name"),
        location: "application".parse().expect("a name"),
        first: false,
        files: BTreeMap::new(),
    }
}

pub(super) fn refusal(answer: Result<Reply, ErrorBody>) -> (ErrorCode, String) {
    let error = answer.expect_err("a refusal");
    (error.code, error.message)
}

mod clouds;
mod happened;
mod images;
mod limits;
mod named;
mod restart;

#[test]
fn a_request_by_the_same_name_makes_one_container() {
    let mut bench = Bench::new(|_| {});
    assert_eq!(
        bench.launch(spec("a", 256), Some("r1")),
        Ok("a_web.1".to_owned())
    );
    assert_eq!(
        bench.launch(spec("a", 256), Some("r1")),
        Ok("a_web.1".to_owned())
    );
    assert_eq!(
        bench.launch(spec("a", 256), Some("r2")),
        Ok("a_web.2".to_owned())
    );
    assert_eq!(bench.core.containers(true).len(), 2);
}

#[test]
fn a_service_is_not_changed_by_a_launch_with_other_settings() {
    let mut bench = Bench::new(|_| {});
    bench
        .launch(spec("a", 256), None)
        .expect("room can be rented");
    let error = bench.launch(spec("a", 300), None).expect_err("a refusal");
    assert_eq!(
        (error.code, error.message.as_str()),
        (
            ErrorCode::Conflict,
            "service `a_web` exists with other settings: memory is 256 MiB, not 300 MiB"
        )
    );
    let mut secret = spec("a", 256);
    secret.environment.push("PASSWORD=hunter2".to_owned());
    assert!(
        !bench
            .launch(secret, None)
            .expect_err("a refusal")
            .message
            .contains("hunter2")
    );
}

#[test]
fn what_no_machine_can_hold_is_refused_and_leaves_nothing() {
    let mut bench = Bench::new(|_| {});
    let error = bench.launch(spec("a", 9000), None).expect_err("a refusal");
    assert_eq!(error.code, ErrorCode::Unsatisfiable);
    assert!(error.message.contains("large on near"), "{}", error.message);
    assert!(bench.core.containers(true).is_empty() && bench.core.instances(true).is_empty());
}

#[test]
fn the_intent_is_stored_before_the_machine_is_ordered_and_the_answer_given() {
    let mut bench = Bench::new(|_| {});
    let launch = LaunchRequest {
        spec: spec("a", 256),
        publish_all: false,
        request: None,
        unnamed: micado_api::Unnamed::default(),
        copies: std::num::NonZeroU32::MIN,
    };
    let event = Event::Request(
        9,
        Request::Launch(
            Box::new(launch),
            ImageFacts {
                pull: None,
                exposed: Vec::new(),
                platforms: std::collections::BTreeSet::new(),
            },
        ),
    );
    let actions = bench.event(event);
    let place = |wanted: fn(&Action) -> bool| {
        actions
            .iter()
            .position(wanted)
            .expect("it is among the actions")
    };
    let commit = place(|action| matches!(action, Action::Commit(_)));
    assert!(commit < place(|action| matches!(action, Action::Call(_, Call::LaunchMachine { .. }))));
    assert!(commit < place(|action| matches!(action, Action::Reply(9, Ok(_)))));
}

#[test]
fn limits_leave_a_container_waiting_with_the_reason_and_refuse_a_start() {
    let mut bench = Bench::new(|config| config.max_instances = Some(0));
    bench
        .launch(spec("a", 256), None)
        .expect("it is taken, and waits");
    assert!(
        bench.state("a_web.1").starts_with("waiting: ")
            && bench.state("a_web.1").contains("0 of 0 instances"),
        "{}",
        bench.state("a_web.1")
    );
    assert_eq!(
        refusal(bench.ask(Request::Start(start("db01"))).0),
        (
            ErrorCode::Conflict,
            "0 of 0 instances are in use".to_owned()
        )
    );
}

#[test]
fn start_is_checked_against_cloudsetup_and_may_be_repeated() {
    let mut bench = Bench::new(|_| {});
    let unknown = StartRequest {
        flavour: "tiny".parse().expect("a name"),
        ..start("db01")
    };
    let (code, message) = refusal(bench.ask(Request::Start(unknown)).0);
    assert!(
        code == ErrorCode::NotFound && message.contains("tiny") && message.contains("small"),
        "{message}"
    );
    let unknown = StartRequest {
        cloud: "far".parse().expect("a name"),
        ..start("db01")
    };
    assert_eq!(
        refusal(bench.ask(Request::Start(unknown)).0),
        (
            ErrorCode::NotFound,
            "there is no cloud `far` (there are: near)".to_owned()
        )
    );
    let unknown = StartRequest {
        application: "Web".to_owned(),
        ..start("db01")
    };
    assert_eq!(
        refusal(bench.ask(Request::Start(unknown)).0),
        (
            ErrorCode::NotFound,
            "there is no application `Web` (there are: Node)".to_owned()
        )
    );
    assert!(bench.ask(Request::Start(start("db01"))).0.is_ok());
    assert!(bench.ask(Request::Start(start("db01"))).0.is_ok());
    assert_eq!(bench.core.instances(true).len(), 1);
    let other = StartRequest {
        flavour: "large".parse().expect("a name"),
        ..start("db01")
    };
    assert_eq!(
        refusal(bench.ask(Request::Start(other)).0).0,
        ErrorCode::Conflict
    );
    let first = StartRequest {
        first: true,
        ..start("db02")
    };
    assert_eq!(
        refusal(bench.ask(Request::Start(first)).0).1,
        "-I starts the record afresh, but instance `db01` is live"
    );
}

#[test]
fn a_lost_answer_is_not_asked_again_before_a_list() {
    let mut bench = Bench::new(|_| {});
    let (_, actions) = bench.ask(Request::Start(start("db01")));
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Call(_, Call::LaunchMachine { .. })))
    );
    let id = bench.core.instances(false)[0].id.clone();
    let lost = Answer::Launched(Err(BrokerError::Unknown("time-out".to_owned())));
    let actions = bench.event(Event::Answered(CallKey::Machine(id.clone()), lost));
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::Call(_, Call::LaunchMachine { .. })))
    );
    let list = listed(&actions).pop().expect("it asks for the list");
    let actions = bench.event(Event::Answered(
        list,
        Answer::Listed(Ok(vec![machine(&id, MachineState::Running)])),
    ));
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::Call(_, Call::LaunchMachine { .. })))
    );
    assert_eq!(bench.core.instances(false)[0].state.to_string(), "booting");
}

#[test]
fn an_order_that_was_cut_off_is_finished_by_asking_again() {
    let mut bench = Bench::new(|_| {});
    assert!(bench.ask(Request::Start(start("db01"))).0.is_ok());
    let id = bench.core.instances(false)[0].id.clone();
    let orders = |actions: &[Action]| {
        actions
            .iter()
            .filter(|action| matches!(action, Action::Call(_, Call::LaunchMachine { .. })))
            .count()
    };
    let lost = Answer::Launched(Err(BrokerError::Unknown("cut off".to_owned())));
    let list = listed(&bench.event(Event::Answered(CallKey::Machine(id.clone()), lost)))
        .pop()
        .expect("it asks for the list");
    // Its container was created and never started: only a repetition of the order starts it. After
    // a failure, that waits a moment.
    bench.machines.push(machine(&id, MachineState::Pending));
    let answer = Answer::Listed(Ok(bench.machines.clone()));
    let again = orders(&bench.event(Event::Answered(list, answer)))
        + orders(&bench.tick())
        + orders(&bench.tick());
    assert_eq!(again, 1);
    bench.event(Event::Answered(
        CallKey::Machine(id.clone()),
        Answer::Launched(Ok(machine(&id, MachineState::Pending))),
    ));
    assert_eq!(
        bench.core.instances(false)[0].state.to_string(),
        "submitted"
    );
    assert_eq!(
        orders(&bench.tick()),
        0,
        "what the broker has taken is not ordered again"
    );
}

#[test]
fn a_container_runs_is_stopped_with_its_log_kept_and_removed() {
    let mut bench = Bench::new(|_| {});
    bench
        .launch(spec("a", 256), None)
        .expect("room can be rented");
    assert!(
        bench
            .state("a_web.1")
            .starts_with("waiting: renting small on near")
    );
    bench.machine_comes();
    bench.settle();
    assert_eq!(bench.state("a_web.1"), "running");
    assert_eq!(
        refusal(
            bench
                .ask(Request::Remove {
                    name: "a_web.1".to_owned()
                })
                .0
        )
        .0,
        ErrorCode::Conflict
    );
    assert!(
        bench
            .ask(Request::Quit {
                name: "a_web".to_owned(),
                remove: false
            })
            .0
            .is_ok()
    );
    bench.settle();
    assert_eq!(bench.state("a_web.1"), "stopped");
    assert_eq!(
        bench.core.log_sources("a_web.1").expect("it is known")[0]
            .stored
            .as_deref(),
        Some("last words\n")
    );
    let ended = "last words\nbye\n".to_owned();
    let name = micado_api::ContainerName::trusted("a_web.1");
    drop(bench.event(Event::LastWords(name, ended)));
    let sources = bench.core.log_sources("a_web.1").expect("it is known");
    assert_eq!(
        sources[0].stored.as_deref(),
        Some("last words\nbye\n"),
        "lines that were saved before come once"
    );
    assert!(
        bench
            .ask(Request::Remove {
                name: "a_web.1".to_owned()
            })
            .0
            .is_ok()
    );
    bench.settle();
    assert!(bench.core.containers(true).is_empty());
    assert_eq!(
        refusal(
            bench
                .ask(Request::Quit {
                    name: "a_web".to_owned(),
                    remove: false
                })
                .0
        )
        .0,
        ErrorCode::NotFound
    );
}

#[test]
fn stop_is_refused_for_a_volume_and_forced() {
    let mut bench = Bench::new(|_| {});
    let volumes = vec![VolumeMount {
        name: "data".to_owned(),
        path: "/data".to_owned(),
        shared: false,
    }];
    bench
        .launch(
            ServiceSpec {
                volumes,
                ..spec("a", 256)
            },
            None,
        )
        .expect("room can be rented");
    let id = bench.machine_comes();
    bench.settle();
    let tag = bench.core.instances(false)[0].tag.clone();
    let (code, message) = refusal(
        bench
            .ask(Request::Stop {
                tag: tag.clone(),
                force: false,
            })
            .0,
    );
    assert_eq!(code, ErrorCode::Conflict);
    assert_eq!(
        message,
        format!(
            "instance `{tag}` cannot be stopped: container `a_web.1` keeps its volume there (data)"
        )
    );
    assert!(bench.ask(Request::Stop { tag, force: true }).0.is_ok());
    bench.settle();
    let instances = bench.core.instances(false);
    assert_eq!(
        instances
            .iter()
            .find(|it| it.id == id)
            .map(|it| it.state.to_string())
            .as_deref(),
        Some("stopping")
    );
}

#[test]
fn a_container_that_stops_says_where() {
    let mut bench = Bench::new(|_| {});
    bench
        .launch(spec("a", 256), None)
        .expect("room can be rented");
    bench.machine_comes();
    bench.settle();
    let (reply, actions) = bench.ask(Request::Quit {
        name: "a_web.1".to_owned(),
        remove: false,
    });
    assert!(reply.is_ok());
    let says = |action: &Action| matches!(action, Action::Progress(progress) if progress.text == "stopping on application01");
    assert!(actions.iter().any(says), "{actions:?}");
}

#[test]
fn a_dead_machine_is_given_up_at_once_and_its_containers_planned_anew() {
    let mut bench = Bench::new(|_| {});
    bench
        .launch(spec("a", 256), None)
        .expect("room can be rented");
    let id = bench.machine_comes();
    bench.settle();
    bench.machines = vec![machine(&id, MachineState::Dead)];
    let actions = bench.tick();
    assert!(actions.iter().any(|action| matches!(action, Action::Call(_, Call::TerminateMachine { instance, .. }) if *instance == id)));
    assert!(actions.iter().any(|action| matches!(action, Action::Call(_, Call::LaunchMachine { instance, .. }) if *instance != id)));
    assert!(
        bench.state("a_web.1").starts_with("waiting: renting"),
        "{}",
        bench.state("a_web.1")
    );
    let called = |wanted: fn(&Call) -> bool| {
        actions
            .iter()
            .any(|action| matches!(action, Action::Call(_, call) if wanted(call)))
    };
    assert!(
        called(|call| matches!(call, Call::RemoveService { .. })),
        "{actions:?}"
    );
    assert!(
        !called(|call| matches!(call, Call::SaveLog { .. })),
        "nobody waits for the log of a dead machine, though the Swarm says that it is ready"
    );
}

#[test]
fn a_task_waits_for_the_room_of_the_one_before_it_that_ends() {
    let mut bench = Bench::new(|_| {});
    bench
        .launch(spec("a", 256), None)
        .expect("room can be rented");
    bench.machine_comes();
    bench.settle();
    // After its node was away, Swarm starts a new task there, while the old one is stopping.
    let old = bench.seen.tasks[0].clone();
    bench.seen.tasks[0].wanted = false;
    bench.seen.tasks.push(SwarmTask {
        id: "next".to_owned(),
        state: TaskState::Pending,
        version: 2,
        ..old
    });
    (0..10).for_each(|_| drop(bench.look()));
    assert_eq!(
        bench.state("a_web.1"),
        "starting",
        "the room is there in a moment"
    );
    bench.seen.tasks.remove(0);
    (0..4).for_each(|_| drop(bench.look()));
    let why = bench.core.explain("a_web.1").expect("known").remove(0);
    assert!(
        why.decisions
            .iter()
            .any(|it| it.text.contains("does not take it")),
        "{why:?}"
    );
}

#[test]
fn a_task_that_the_scheduler_has_not_looked_at_is_not_given_up() {
    let mut bench = Bench::new(|_| {});
    bench
        .launch(spec("a", 256), None)
        .expect("room can be rented");
    bench.machine_comes();
    bench.settle();
    (bench.seen.tasks[0].state, bench.seen.tasks[0].node) = (TaskState::New, None);
    (0..10).for_each(|_| drop(bench.look()));
    assert_eq!(bench.state("a_web.1"), "starting");
    bench.seen.tasks[0].state = TaskState::Pending;
    (0..10).for_each(|_| drop(bench.look()));
    let why = bench.core.explain("a_web.1").expect("known").remove(0);
    let mut texts = why.decisions.iter().map(|it| &it.text);
    assert!(
        texts.any(|text| text.contains("does not take it")),
        "{why:?}"
    );
}

#[test]
fn while_the_engine_does_not_answer_nothing_is_decided() {
    let mut bench = Bench::new(|_| {});
    bench
        .launch(spec("a", 256), None)
        .expect("room can be rented");
    let id = bench.machine_comes();
    bench.settle();
    bench.event(Event::Blind("connection refused".to_owned()));
    bench.machines = vec![machine(&id, MachineState::Dead)];
    let actions = bench.tick();
    assert!(
        !actions.iter().any(|action| matches!(
            action,
            Action::Call(
                _,
                Call::TerminateMachine { .. } | Call::LaunchMachine { .. }
            )
        )),
        "{actions:?}"
    );
    assert_eq!(bench.state("a_web.1"), "unknown: connection refused");
    assert_eq!(
        bench.core.status().blind.as_deref(),
        Some("connection refused")
    );
}

#[test]
fn what_the_engine_refuses_is_shown_in_its_words() {
    let mut bench = Bench::new(|_| {});
    bench
        .launch(spec("a", 256), None)
        .expect("room can be rented");
    bench.machine_comes();
    let actions = bench.event(Event::Wake);
    let key = actions.iter().find_map(|action| {
        if let Action::Call(key @ CallKey::Service(_), _) = action {
            Some(key.clone())
        } else {
            None
        }
    });
    bench.event(Event::Answered(
        key.expect("the service is asked for"),
        Answer::Engine(Err(EngineError::Refused("invalid mount".to_owned()))),
    ));
    assert_eq!(
        bench.state("a_web.1"),
        "failing: the engine refused: invalid mount"
    );
}

#[test]
fn a_service_of_which_nothing_is_kept_begins_anew() {
    let mut bench = Bench::new(|_| {});
    let launch = |bench: &mut Bench, pull: &str| {
        let launch = LaunchRequest {
            spec: spec("a", 256),
            publish_all: false,
            request: None,
            unnamed: micado_api::Unnamed::default(),
            copies: std::num::NonZeroU32::MIN,
        };
        bench
            .ask(Request::Launch(
                Box::new(launch),
                ImageFacts {
                    pull: Some(pull.to_owned()),
                    exposed: Vec::new(),
                    platforms: std::collections::BTreeSet::new(),
                },
            ))
            .0
            .expect("it is taken");
        bench.core.services(Some("a_web")).expect("it is there")[0]
            .pull
            .clone()
    };
    assert_eq!(
        launch(&mut bench, "web@sha256:1").as_deref(),
        Some("web@sha256:1")
    );
    assert_eq!(
        launch(&mut bench, "web@sha256:2").as_deref(),
        Some("web@sha256:1")
    );
    assert!(
        bench
            .ask(Request::Quit {
                name: "a_web".to_owned(),
                remove: true
            })
            .0
            .is_ok()
    );
    assert_eq!(
        launch(&mut bench, "web@sha256:3").as_deref(),
        Some("web@sha256:3")
    );
}

#[test]
fn the_answer_of_an_old_push_is_not_the_image_of_a_new_service() {
    let mut bench = Bench::new(|_| {});
    let launch = |bench: &mut Bench| {
        let launch = LaunchRequest {
            spec: spec("a", 256),
            publish_all: false,
            request: None,
            unnamed: micado_api::Unnamed::default(),
            copies: std::num::NonZeroU32::MIN,
        };
        let (reply, actions) = bench.ask(Request::Launch(
            Box::new(launch),
            ImageFacts {
                pull: None,
                exposed: Vec::new(),
                platforms: std::collections::BTreeSet::new(),
            },
        ));
        assert!(reply.is_ok());
        actions
            .into_iter()
            .find_map(|action| {
                if let Action::Call(key @ CallKey::Image(..), _) = action {
                    Some(key)
                } else {
                    None
                }
            })
            .expect("the image is pushed")
    };
    let first = launch(&mut bench);
    assert!(
        bench
            .ask(Request::Quit {
                name: "a_web".to_owned(),
                remove: true
            })
            .0
            .is_ok()
    );
    let second = launch(&mut bench);
    assert_ne!(first, second);
    bench.event(Event::Answered(
        first,
        Answer::Pushed(Ok("web@sha256:old".to_owned())),
    ));
    assert_eq!(
        bench.core.services(Some("a_web")).expect("it is there")[0].pull,
        None
    );
    bench.event(Event::Answered(
        second,
        Answer::Pushed(Ok("web@sha256:new".to_owned())),
    ));
    assert_eq!(
        bench.core.services(Some("a_web")).expect("it is there")[0]
            .pull
            .as_deref(),
        Some("web@sha256:new")
    );
}

#[test]
fn a_manager_that_is_cut_off_gives_no_machine_up() {
    let mut bench = Bench::new(|_| {});
    for client in ["a", "b"] {
        bench
            .launch(spec(client, 300), None)
            .expect("room can be rented");
    }
    let ids: Vec<InstanceId> = bench
        .core
        .instances(false)
        .iter()
        .map(|it| it.id.clone())
        .collect();
    assert_eq!(ids.len(), 2);
    for id in &ids {
        let machine = machine(id, MachineState::Running);
        bench.machines.push(machine.clone());
        bench.event(Event::Answered(
            CallKey::Machine(id.clone()),
            Answer::Launched(Ok(machine)),
        ));
        bench.seen.nodes.push(node(id));
    }
    bench.settle();
    bench
        .seen
        .nodes
        .iter_mut()
        .for_each(|node| node.ready = false);
    let mut actions = bench.look();
    for _ in 0..60 {
        actions.extend(bench.tick());
    }
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::Call(_, Call::TerminateMachine { .. })))
    );
    // One that has answered again for a while proves that the manager is not cut off: the other
    // fails.
    bench.seen.nodes[0].ready = true;
    actions = bench.look();
    for _ in 0..90 {
        actions.extend(bench.tick());
    }
    assert!(actions.iter().any(|action| matches!(action, Action::Call(_, Call::TerminateMachine { instance, .. }) if *instance == ids[1])));
}

#[test]
fn volumes_on_a_lost_machine_are_given_up_by_force_only() {
    let mut bench = Bench::new(|_| {});
    let volumes = vec![VolumeMount {
        name: "data".to_owned(),
        path: "/data".to_owned(),
        shared: false,
    }];
    bench
        .launch(
            ServiceSpec {
                volumes,
                ..spec("a", 256)
            },
            None,
        )
        .expect("room can be rented");
    let id = bench.machine_comes();
    bench.settle();
    let tag = bench.core.instances(false)[0].tag.clone();
    bench.machines = vec![machine(&id, MachineState::Dead)];
    let actions = bench.tick();
    assert!(!actions.iter().any(|action| matches!(
        action,
        Action::Call(
            _,
            Call::TerminateMachine { .. } | Call::LaunchMachine { .. }
        )
    )));
    assert!(
        bench.state("a_web.1").contains("volume"),
        "{}",
        bench.state("a_web.1")
    );
    let (reply, actions) = bench.ask(Request::Stop { tag, force: true });
    assert!(reply.is_ok());
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Call(_, Call::TerminateMachine { .. })))
    );
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Call(_, Call::LaunchMachine { .. })))
    );
}
