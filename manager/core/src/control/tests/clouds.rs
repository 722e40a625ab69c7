//! Clouds that do not answer or refuse: unaffected operations, and messages to people.

use super::*;
use crate::{
    engine::swarm_name,
    model::{Container, Copy, Phase, Service},
};
use micado_api::{CloudName, ContainerName, InstanceState, Progress, ServiceName};

/// `near` is the cheaper of two.
const TWO: &str = "<s><clouds>
  <c><name>near</name><broker>local</broker><flavours><f><size>small</size><memory>512M</memory><cores>1</cores><price>0.01</price></f></flavours></c>
  <c><name>far</name><broker>local</broker><flavours><f><size>small</size><memory>512M</memory><cores>1</cores><price>0.05</price></f></flavours></c>
  </clouds><applications><a><name>Node</name><sname>n</sname><executable>e</executable></a></applications></s>";

fn two_clouds() -> Bench {
    Bench::unseeing(
        Config::new(
            ClusterId::trusted("test"),
            CloudSetup::parse(TWO, "test").expect("a good file"),
        ),
        Vec::new(),
    )
}

fn list(cloud: &str, answer: Result<Vec<Machine>, BrokerError>) -> Event {
    Event::Answered(
        CallKey::List(CloudName::trusted(cloud)),
        Answer::Listed(answer),
    )
}

fn silence(words: &str) -> Result<Vec<Machine>, BrokerError> {
    Err(BrokerError::Unknown(words.to_owned()))
}

/// The one machine that these actions order: its instance and its cloud.
fn ordered(actions: &[Action]) -> Option<(InstanceId, String)> {
    actions.iter().find_map(|action| match action {
        Action::Call(
            _,
            Call::LaunchMachine {
                instance, cloud, ..
            },
        ) => Some((instance.clone(), cloud.to_string())),
        _ => None,
    })
}

fn launch_answered(
    bench: &mut Bench,
    id: &InstanceId,
    answer: Result<Machine, BrokerError>,
) -> Vec<Action> {
    bench.event(Event::Answered(
        CallKey::Machine(id.clone()),
        Answer::Launched(answer),
    ))
}

fn told(actions: &[Action], subject: &str) -> Vec<String> {
    let lines = actions.iter().filter_map(|action| {
        if let Action::Progress(Progress { subject, text, .. }) = action {
            Some((subject, text))
        } else {
            None
        }
    });
    lines
        .filter(|(about, _)| *about == subject)
        .map(|(_, text)| text.clone())
        .collect()
}

/// The engine's view of a container that an earlier manager made on this machine.
fn made_before(bench: &mut Bench, id: &InstanceId) {
    let name = ContainerName::trusted("a_web.1");
    let swarm_name = swarm_name(&ClusterId::trusted("test"), &name, 1);
    let pull = Some("web@sha256:1".to_owned());
    let service = Service {
        next_number: 2,
        ..Service::new(
            ServiceName::trusted("a_web"),
            spec("a", 256),
            pull,
            bench.now,
        )
    };
    let copy = Copy {
        generation: 1,
        instance: id.clone(),
        swarm_name: swarm_name.clone(),
        spec: 1,
        reservation: service.spec.reservation,
        phase: Phase::Starting,
        ports: Box::default(),
        last_end: None,
        health: None,
    };
    let container = Container {
        copies: vec![copy],
        next_generation: 2,
        ..Container::new(name.clone(), service.name.clone(), bench.now)
    };
    bench.seen.nodes.push(node(id));
    bench
        .seen
        .tasks
        .push(task(&swarm_name, Some(format!("node-{id}"))));
    let records = serde_json::to_string(&(service, container));
    bench.seen.services.push(SwarmService {
        id: swarm_name.clone(),
        name: swarm_name,
        container: name,
        instance: id.clone(),
        node: Some(format!("node-{id}")),
        generation: 1,
        edited: false,
        records: records.ok().map(Into::into),
    });
}

#[test]
fn a_cloud_that_hangs_keeps_no_container_off_the_machines_of_another() {
    let mut bench = two_clouds();
    bench.event(Event::Tick);
    bench.event(list("far", Ok(Vec::new())));
    bench.look();
    let (reply, actions) = bench.ask(Request::Start(StartRequest {
        cloud: CloudName::trusted("far"),
        ..start("db01")
    }));
    assert!(reply.is_ok());
    let (id, _) = ordered(&actions).expect("its cloud has answered");
    launch_answered(&mut bench, &id, Ok(machine(&id, MachineState::Running)));
    bench.seen.nodes.push(node(&id));
    bench.event(Event::Observed(bench.seen.clone()));
    bench.launch(spec("a", 256), None).expect("there is room");
    bench.event(Event::Wake);
    assert!(
        bench
            .asked
            .iter()
            .any(|action| matches!(action, Action::Call(_, Call::CreateService { .. }))),
        "{}",
        bench.state("a_web.1")
    );
}

#[test]
fn renting_waits_a_moment_for_a_cheaper_cloud_and_no_longer() {
    let mut bench = two_clouds();
    bench.event(Event::Tick);
    bench.event(list("far", Ok(Vec::new())));
    bench.look();
    bench.launch(spec("a", 256), None).expect("it is taken");
    assert_eq!(bench.state("a_web.1"), "waiting: it is being planned");
    assert!(ordered(&bench.asked).is_none());
    let until = bench
        .core
        .wake_at()
        .expect("it wants to be woken when the moment is over");
    bench.now = until;
    let (_, cloud) = ordered(&bench.event(Event::Wake)).expect("what there is is rented");
    assert_eq!(cloud, "far");

    let mut bench = two_clouds();
    bench.event(Event::Tick);
    bench.event(list("far", Ok(Vec::new())));
    bench.look();
    bench.launch(spec("a", 256), None).expect("it is taken");
    let (_, cloud) =
        ordered(&bench.event(list("near", Ok(Vec::new())))).expect("all clouds have answered");
    assert_eq!(cloud, "near");
}

#[test]
fn without_records_what_may_be_on_a_silent_cloud_is_neither_moved_nor_doubled() {
    let mut bench = two_clouds();
    let id = InstanceId::trusted("0a1b2c3d");
    made_before(&mut bench, &id);
    bench.event(Event::Tick);
    bench.event(list("far", Ok(Vec::new())));
    bench.event(Event::Observed(bench.seen.clone()));
    // For the whole silence of the cloud, with and without errors.
    let mut actions = bench.event(list("near", silence("no answer within 60 s")));
    for _ in 0..30 {
        actions.extend(bench.event(Event::Tick));
        actions.extend(bench.event(Event::Observed(bench.seen.clone())));
        actions.extend(bench.event(list("near", silence("no answer within 60 s"))));
        actions.extend(bench.event(list("far", Ok(Vec::new()))));
    }
    assert_eq!(
        bench.state("a_web.1"),
        "unknown: its machine is in no record, and near has not said yet which it has"
    );
    // Another container finds no room, and nothing is rented while unknown machines may exist.
    bench.launch(spec("b", 256), None).expect("it is taken");
    assert!(
        bench
            .state("b_web.1")
            .contains("near has not said yet which it has"),
        "{}",
        bench.state("b_web.1")
    );
    let touches = |action: &Action| {
        matches!(
            action,
            Action::Call(
                _,
                Call::LaunchMachine { .. }
                    | Call::RemoveService { .. }
                    | Call::CreateService { .. }
            )
        )
    };
    assert!(!actions.iter().chain(&bench.asked).any(touches));

    bench.event(Event::Tick);
    bench.event(list("near", Ok(vec![machine(&id, MachineState::Running)])));
    assert_eq!(
        (
            bench.state("a_web.1").as_str(),
            bench.core.instances(false)[0].state
        ),
        ("running", InstanceState::Active)
    );
}

#[test]
fn an_order_waits_for_its_own_cloud_with_the_broker_s_words() {
    let mut bench = two_clouds();
    bench.event(Event::Tick);
    bench.event(list("far", Ok(Vec::new())));
    bench.look();
    let (reply, actions) = bench.ask(Request::Start(start("db01")));
    assert!(
        reply.is_ok() && ordered(&actions).is_none(),
        "near has not said which machines it has"
    );
    let actions = bench.event(list(
        "near",
        silence("503 Service Unavailable: down for maintenance"),
    ));
    assert_eq!(
        told(&actions, "db01"),
        ["renting small on near as db01: 503 Service Unavailable: down for maintenance"]
    );
    let shown = bench.core.instances(false).remove(0);
    assert_eq!(
        (shown.state, shown.reason.as_deref()),
        (
            InstanceState::Requested,
            Some("503 Service Unavailable: down for maintenance")
        )
    );
    bench.event(Event::Tick);
    assert!(ordered(&bench.event(list("near", Ok(Vec::new())))).is_some());
}

#[test]
fn a_launch_tells_why_one_cloud_refused_and_goes_to_the_next() {
    let mut bench = two_clouds();
    bench.event(Event::Tick);
    bench.event(list("near", Ok(Vec::new())));
    bench.event(list("far", Ok(Vec::new())));
    bench.look();
    bench.launch(spec("a", 256), None).expect("it is taken");
    let (first, cloud) = ordered(&bench.asked).expect("a machine is ordered");
    assert_eq!(cloud, "near");
    let actions = launch_answered(
        &mut bench,
        &first,
        Err(BrokerError::Refused(
            "Quota of 3 instances reached".to_owned(),
        )),
    );
    let (second, cloud) = ordered(&actions).expect("the next cloud is asked");
    assert_eq!(cloud, "far");
    let lines = [
        "planned anew: application01 failed: near refused: Quota of 3 instances reached",
        "renting small on far as application02",
    ];
    assert_eq!(told(&actions, "a_web.1"), lines);

    let actions = launch_answered(
        &mut bench,
        &second,
        Err(BrokerError::Refused("No capacity left".to_owned())),
    );
    let shown = bench.state("a_web.1");
    assert!(
        shown.starts_with("waiting: ")
            && shown.contains("near refused: Quota of 3 instances reached")
            && shown.contains("far refused: No capacity left"),
        "{shown}"
    );
    assert_eq!(told(&actions, "a_web.1").last(), Some(&shown));
}

#[test]
fn a_launch_shows_the_words_of_a_broker_that_does_not_answer() {
    let mut bench = two_clouds();
    bench.event(Event::Tick);
    bench.event(list("near", silence("connection refused")));
    bench.event(list("far", silence("connection refused")));
    bench.look();
    bench.launch(spec("a", 256), None).expect("it is taken");
    assert!(
        bench
            .state("a_web.1")
            .contains("near does not answer: connection refused"),
        "{}",
        bench.state("a_web.1")
    );

    bench.event(Event::Tick);
    let actions = bench.event(list("near", Ok(Vec::new())));
    let (id, _) = ordered(&actions).expect("near is back");
    let actions = launch_answered(
        &mut bench,
        &id,
        Err(BrokerError::Unknown("no answer within 30 s".to_owned())),
    );
    assert_eq!(
        bench.state("a_web.1"),
        "waiting: renting small on near as application01: no answer within 30 s"
    );
    assert_eq!(
        told(&actions, "a_web.1"),
        ["renting small on near as application01: no answer within 30 s"]
    );
}

#[test]
fn a_machine_that_lists_lack_for_a_moment_is_not_taken_for_gone() {
    let mut bench = Bench::new(|_| {});
    bench
        .launch(spec("a", 64), None)
        .expect("room can be rented");
    let id = bench.machine_comes();
    bench.settle();
    bench.tick();
    bench.event(Event::Agent {
        instance: id,
        connected: false,
    });
    let state = |bench: &Bench| bench.core.instances(true)[0].state;
    let begin = bench.now;
    while bench.now.since(begin).as_secs() < 8 {
        bench.event(list("near", Ok(Vec::new())));
        bench.event(Event::Wake);
        assert_eq!(
            state(&bench),
            InstanceState::Active,
            "{} s after",
            bench.now.since(begin).as_secs()
        );
    }
    for _ in 0..4 {
        bench.event(list("near", Ok(Vec::new())));
        bench.event(Event::Tick);
    }
    assert_eq!(state(&bench), InstanceState::Failed);
}
