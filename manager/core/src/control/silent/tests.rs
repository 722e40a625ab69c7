//! Effects of lost agents: a limited number of queries of clouds, and nothing else.

use crate::control::{
    Action, Answer, Call, CallKey, Event, Request,
    tests::{Bench, machine, node, spec, start},
};
use crate::planner::Readiness;
use micado_api::InstanceId;
use micado_cloudsetup::MachineState;
use std::time::Duration;

/// A bench with joined machines of these tags.
fn with_machines<const N: usize>(tags: [&str; N]) -> (Bench, [InstanceId; N]) {
    let mut bench = Bench::new(|_| {});
    let ids = tags.map(|tag| {
        assert!(bench.ask(Request::Start(start(tag))).0.is_ok());
        let id = bench
            .core
            .instances(false)
            .iter()
            .find(|it| it.tag.as_str() == tag)
            .expect("it was asked for")
            .id
            .clone();
        bench.machines.push(machine(&id, MachineState::Running));
        bench.event(Event::Answered(
            CallKey::Machine(id.clone()),
            Answer::Launched(Ok(machine(&id, MachineState::Running))),
        ));
        bench.seen.nodes.push(node(&id));
        id
    });
    bench.look();
    bench.tick();
    later(&mut bench, 60);
    (bench, ids)
}

fn later(bench: &mut Bench, seconds: u64) {
    bench.now = bench.now.plus(Duration::from_secs(seconds));
}

fn goes(id: &InstanceId) -> Event {
    Event::Agent {
        instance: id.clone(),
        connected: false,
    }
}

fn lists(actions: &[Action]) -> usize {
    actions
        .iter()
        .filter(|action| matches!(action, Action::Call(CallKey::List(_), _)))
        .count()
}

fn gives_back(actions: &[Action], id: &InstanceId) -> bool {
    actions.iter().any(|action| matches!(action, Action::Call(_, Call::TerminateMachine { instance, .. }) if instance == id))
}

#[test]
fn a_machine_whose_agent_goes_and_whose_cloud_calls_it_dead_is_given_up_though_the_swarm_says_that_it_is_ready()
 {
    let (mut bench, [id]) = with_machines(["db01"]);
    bench.machines = vec![machine(&id, MachineState::Dead)];
    assert_eq!(
        lists(&bench.event(goes(&id))),
        1,
        "its cloud is asked at once"
    );
    let listed = Answer::Listed(Ok(bench.machines.clone()));
    let actions = bench.event(Event::Answered(
        CallKey::List("near".parse().expect("a name")),
        listed,
    ));
    assert!(gives_back(&actions, &id));
    let actions = bench.event(Event::Answered(
        CallKey::Machine(id.clone()),
        Answer::Terminated(Ok(())),
    ));
    let forgets = |action: &Action| matches!(action, Action::Call(_, Call::RemoveNode { node }) if *node == format!("node-{id}"));
    assert!(
        actions.iter().any(forgets),
        "the Swarm would wait for it for minutes: {actions:?}"
    );
}

#[test]
fn a_cloud_is_asked_for_ten_seconds_and_not_more_often_than_every_two_however_many_agents_go() {
    let (mut bench, [one, two]) = with_machines(["db01", "db02"]);
    assert_eq!(lists(&bench.event(goes(&one))), 1);
    let answered = |bench: &mut Bench| {
        bench.event(Event::Answered(
            CallKey::List("near".parse().expect("a name")),
            Answer::Listed(Ok(bench.machines.clone())),
        ))
    };
    assert_eq!(lists(&bench.event(goes(&two))), 0, "the list is under way");
    assert_eq!(
        lists(&answered(&mut bench)),
        1,
        "two seconds after the first one was asked for"
    );
    let mut asked = 2;
    for _ in 0..60 {
        asked += lists(&answered(&mut bench)) + lists(&bench.event(Event::Wake));
    }
    assert!(
        (5..=7).contains(&asked),
        "{asked} lists in the first ten seconds, and none after"
    );
    assert!(
        bench
            .core
            .instances(false)
            .iter()
            .all(|it| it.state.to_string() == "active"),
        "an agent's absence alone is no reason"
    );
    bench.event(Event::Agent {
        instance: one.clone(),
        connected: true,
    });
    later(&mut bench, 60);
    assert_eq!(lists(&bench.event(goes(&one))), 1, "it went again");
    assert_eq!(
        lists(&bench.event(goes(&InstanceId::trusted("of-nobody")))),
        0
    );
}

#[test]
fn a_manager_that_was_cut_off_waits_until_all_nodes_would_be_down_and_until_all_would_be_back() {
    let (mut bench, [first, second]) = with_machines(["db01", "db02"]);
    // Their last heartbeats came at different times, so the Swarm notices one a heartbeat after the
    // other.
    let heartbeat = bench.core.config().heartbeat.as_secs();
    let mut actions = Vec::new();
    for seconds in 0..10 * heartbeat / 3 {
        bench.seen.nodes[0].ready = false;
        bench.seen.nodes[1].ready = seconds * 3 < heartbeat;
        actions.extend(bench.look());
        actions.extend(bench.tick());
    }
    assert!(!gives_back(&actions, &first) && !gives_back(&actions, &second));
    // When the cut ends, they come back one after the other.
    bench.seen.nodes[1].ready = true;
    let mut since = bench.look();
    later(&mut bench, heartbeat + 20);
    since.extend(bench.tick());
    assert!(!gives_back(&since, &first), "it may be on its way");
    later(&mut bench, 5);
    assert!(
        gives_back(&bench.tick(), &first),
        "one that has answered for so long proves that it is not the manager"
    );
    assert!(
        bench
            .core
            .instances(false)
            .iter()
            .all(|it| it.id != second || it.state.to_string() == "active")
    );
}

/// Seconds after which a machine fails whose node is down, while the Swarm takes that of another for
/// ready.
fn given_up_after(agent: bool) -> u64 {
    let (mut bench, [first, second]) = with_machines(["db01", "db02"]);
    if agent {
        bench.event(Event::Agent {
            instance: second,
            connected: true,
        });
    }
    bench.seen.nodes[0].ready = false;
    bench.look();
    let begin = bench.now;
    for _ in 0..200 {
        bench.look();
        if gives_back(&bench.tick(), &first) {
            return bench.now.since(begin).as_secs();
        }
    }
    panic!("it is never given up");
}

/// Between two cuts of the manager, one node may have reported and the other not.
#[test]
fn a_ready_node_speaks_against_a_cut_only_with_its_agent_or_after_its_last_report_is_old() {
    let heartbeat = Bench::new(|_| {}).core.config().heartbeat.as_secs();
    let (heard, unheard) = (given_up_after(true), given_up_after(false));
    assert!((heartbeat..heartbeat + 15).contains(&heard), "{heard} s");
    assert!(unheard >= 4 * heartbeat + 25, "{unheard} s");
}

#[test]
fn a_machine_whose_agent_stays_away_is_doubted_until_the_swarm_would_have_missed_it_too() {
    let mut bench = Bench::new(|_| {});
    bench
        .launch(spec("a", 64), None)
        .expect("room can be rented");
    let id = bench.machine_comes();
    bench.settle();
    let readiness = |bench: &Bench| {
        let node = bench.core.placing.pool.node(&id);
        node.expect("the machine is known").readiness
    };
    assert_eq!(
        (bench.state("a_web.1").as_str(), readiness(&bench)),
        ("running", Readiness::Ready)
    );
    bench.event(goes(&id));
    let doubted = (
        "running: application01's agent has gone: the machine may be dead or cut off",
        Readiness::Silent,
    );
    assert_eq!(
        (bench.state("a_web.1").as_str(), readiness(&bench)),
        doubted
    );
    let longest = bench.core.config().down_timeout + bench.core.config().heartbeat;
    later(&mut bench, longest.as_secs() - 2);
    bench.event(Event::Wake);
    assert_eq!(
        (bench.state("a_web.1").as_str(), readiness(&bench)),
        doubted
    );
    bench.event(Event::Wake);
    assert_eq!(
        (bench.state("a_web.1").as_str(), readiness(&bench)),
        ("running", Readiness::Ready),
        "only its agent is dead"
    );
}
