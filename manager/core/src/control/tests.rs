//! Replies and actions of the core, event by event, without a simulated world. Whole lives with
//! faults are in `tests/simulation`.

use super::{Action, Answer, Call, CallKey, Config, Event, Reply, Request};
use crate::engine::{
    EngineError, ImageFacts, Observation, Pushed, SwarmNode, SwarmService, SwarmTask, TaskState,
};
use micado_api::{
    ClusterId, ErrorBody, ErrorCode, InstanceId, LaunchRequest, MemoryBytes, NanoCpus, Resources,
    ServiceSpec, StartRequest, Timestamp, VolumeMount,
};
use micado_cloudsetup::{BrokerError, CloudSetup, Machine, MachineState};

pub(super) use bench::{Bench, machine, node, spec, start};
use bench::{listed, task};

pub(super) fn refusal(answer: Result<Reply, ErrorBody>) -> (ErrorCode, String) {
    let error = answer.expect_err("a refusal");
    (error.code, error.message)
}

/// An image in the registry, under this reference.
fn pushed(reference: &str) -> Pushed {
    Pushed {
        reference: reference.to_owned(),
        id: "sha256:1d".to_owned(),
    }
}

pub(in crate::control) mod bench;
mod catalogue;
mod clouds;
mod drift;
mod happened;
mod headroom;
mod images;
mod limits;
mod logins;
mod lost;
mod monitoring;
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

/// A core that has just asked for the service of `a_web.1`, and the key of that call.
fn service_asked_for() -> (Bench, CallKey) {
    let mut bench = Bench::new(|_| {});
    bench
        .launch(spec("a", 256), None)
        .expect("room can be rented");
    bench.machine_comes();
    let actions = bench.event(Event::Wake);
    let key = service_call(&actions).expect("the service is asked for");
    (bench, key)
}

fn service_call(actions: &[Action]) -> Option<CallKey> {
    actions.iter().find_map(|action| {
        if let Action::Call(key @ CallKey::Service(_), _) = action {
            Some(key.clone())
        } else {
            None
        }
    })
}

#[test]
fn what_the_engine_refuses_is_shown_in_its_words() {
    let (mut bench, key) = service_asked_for();
    bench.event(Event::Answered(
        key,
        Answer::Engine(Err(EngineError::Refused("invalid mount".to_owned()))),
    ));
    assert_eq!(
        bench.state("a_web.1"),
        "failing: the engine refused: invalid mount"
    );
}

#[test]
fn a_lost_image_is_shown_and_asked_for_again() {
    let (mut bench, key) = service_asked_for();
    let lost = Answer::ImageLost("image `web` is lost".to_owned());
    bench.event(Event::Answered(key.clone(), lost));
    assert_eq!(bench.state("a_web.1"), "failing: image `web` is lost");
    bench.now = bench.now.plus(std::time::Duration::from_secs(64));
    assert_eq!(service_call(&bench.event(Event::Wake)), Some(key.clone()));
    bench.event(Event::Answered(key, Answer::Engine(Ok(()))));
    assert!(bench.state("a_web.1").starts_with("starting"));
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
        bench
            .core
            .service("a_web")
            .expect("it is there")
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
        Answer::Pushed(Ok(pushed("web@sha256:old"))),
    ));
    assert_eq!(bench.core.service("a_web").expect("it is there").pull, None);
    bench.event(Event::Answered(
        second,
        Answer::Pushed(Ok(pushed("web@sha256:new"))),
    ));
    assert_eq!(
        bench
            .core
            .service("a_web")
            .expect("it is there")
            .pull
            .as_deref(),
        Some("web@sha256:new")
    );
}
