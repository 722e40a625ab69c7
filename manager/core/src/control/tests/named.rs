//! Failures that other autoscalers had, event by event; the name is the failure, the comment says
//! what must hold. Those that need a whole world are in `tests/simulation`.

use super::*;
use crate::model::Instance;
use micado_api::{InstanceState, Location, Origin};

/// Seconds between two ticks.
const TICK: u64 = 10;

fn is_order(action: &Action) -> bool {
    matches!(action, Action::Call(_, Call::LaunchMachine { .. }))
}

fn is_return(action: &Action) -> bool {
    matches!(action, Action::Call(_, Call::TerminateMachine { .. }))
}

/// Lets time pass; returns the actions meanwhile.
fn pass(bench: &mut Bench, seconds: u64) -> Vec<Action> {
    let mut actions = Vec::new();
    for _ in 0..seconds / TICK {
        bench.now.0 += (TICK - 2) * 1_000;
        actions.extend(bench.tick());
        bench.settle();
    }
    actions
}

/// A flavour that the cloud refuses is followed by the next offer in the same pass.
#[test]
fn quota_no_fallback() {
    let mut bench = Bench::new(|_| {});
    bench.launch(spec("a", 256), None).expect("it is taken");
    let refused = bench.core.instances(false)[0].clone();
    assert_eq!(refused.flavour.as_str(), "small");
    let answer = Err(BrokerError::Refused("quota exceeded".to_owned()));
    let key = CallKey::Machine(refused.id);
    let actions = bench.event(Event::Answered(key, Answer::Launched(answer)));
    assert_eq!(actions.iter().filter(|it| is_order(it)).count(), 1);
    assert_eq!(bench.core.instances(false)[0].flavour.as_str(), "large");
}

/// A return that the cloud does not carry out stays on record, and growth goes on beside it.
#[test]
fn stuck_return_blocks_growth() {
    let mut bench = Bench::new(|_| {});
    bench.launch(spec("a", 64), None).expect("room is rented");
    let stuck = bench.machine_comes();
    bench.settle();
    let quit = Request::Quit {
        name: "a_web".to_owned(),
        remove: true,
    };
    bench.ask(quit).0.expect("it is there");
    bench.settle();
    let returned = pass(&mut bench, 180);
    assert!(returned.iter().any(is_return));
    let lost = Err(BrokerError::Unknown("no answer".to_owned()));
    let key = CallKey::Machine(stuck.clone());
    bench.event(Event::Answered(key, Answer::Terminated(lost)));
    pass(&mut bench, 60);
    let state = |bench: &Bench| {
        let all = bench.core.instances(false);
        all.into_iter().find(|it| it.id == stuck).map(|it| it.state)
    };
    assert_eq!(state(&bench), Some(InstanceState::Stopping));
    let name = bench.launch(spec("b", 64), None).expect("room is rented");
    assert!(bench.asked.iter().any(is_order), "in the same pass");
    bench.machine_comes();
    bench.settle();
    assert_eq!(bench.state(&name), "running");
    assert_eq!(state(&bench), Some(InstanceState::Stopping));
}

/// Lets time pass, while all machines come with this memory, and tasks other than those of `but`
/// stay in this state; returns the number of machines ordered.
fn pass_stuck(
    bench: &mut Bench,
    seconds: u64,
    size: MemoryBytes,
    (state, but): (TaskState, &str),
) -> usize {
    let mut orders = 0;
    for _ in 0..seconds / TICK {
        bench.now.0 += (TICK - 2) * 1_000;
        bench.tick();
        while !bench.asked.is_empty() {
            for action in std::mem::take(&mut bench.asked) {
                if let Action::Call(key, Call::LaunchMachine { instance, .. }) = &action {
                    orders += 1;
                    let machine = machine(instance, MachineState::Running);
                    bench.machines.push(machine.clone());
                    let answer = Answer::Launched(Ok(machine));
                    bench.event(Event::Answered(key.clone(), answer));
                    bench.seen.nodes.push(SwarmNode {
                        size: Resources::new(size, NanoCpus::cores(2)),
                        ..node(instance)
                    });
                }
                bench.obey(action);
            }
            let tasks = bench.seen.tasks.iter_mut();
            let stuck = tasks.filter(|task| task.service != but);
            stuck.for_each(|task| task.state = state);
        }
        bench.look();
    }
    orders
}

/// A flavour with less room than it promises is tried once; then the container is refused.
#[test]
fn fits_in_test_not_on_node() {
    let mut bench = Bench::new(|_| {});
    let name = bench
        .launch(spec("a", 1_800), None)
        .expect("the flavour promises as much");
    let size = MemoryBytes::mib(1_700);
    let orders = pass_stuck(&mut bench, 3_600, size, (TaskState::Pending, ""));
    assert_eq!(orders, 1);
    let state = bench.state(&name);
    assert!(
        state.contains("the largest flavour is large on near"),
        "{state}"
    );
}

/// While a container cannot leave a machine that a person returns, because its new copy does not
/// start, one machine is rented for it, and it stays where it runs.
#[test]
fn expired_while_undrainable() {
    let mut bench = Bench::new(|_| {});
    bench.launch(spec("a", 300), None).expect("room is rented");
    bench.machine_comes();
    bench.settle();
    let old = bench.seen.services[0].name.clone();
    let stop = Request::Stop {
        tag: "application01".parse().expect("a tag"),
        force: false,
    };
    bench.ask(stop).0.expect("a machine can be rented for it");
    let size = MemoryBytes::mib(512);
    let orders = pass_stuck(&mut bench, 7_200, size, (TaskState::Starting, &old));
    assert_eq!(orders, 1);
    let runs = |task: &SwarmTask| task.service == old && task.state == TaskState::Running;
    assert!(bench.seen.tasks.iter().any(runs));
}

/// A tenth of the machines of a location, rounded down and at least one, may be drained at once.
#[test]
fn budget_misread() {
    for (machines, budget) in [(1, 1), (9, 1), (10, 1), (19, 1), (20, 2), (35, 3)] {
        let mut bench = Bench::new(|_| {});
        for at in 0..machines {
            let instance = Instance {
                state: InstanceState::Active,
                ..Instance::new(
                    InstanceId::trusted(format!("i{at}")),
                    micado_api::Tag::trusted(format!("application{at}")),
                    "near".parse().expect("a name"),
                    "small".parse().expect("a name"),
                    Origin::Planner,
                    bench.now,
                )
            };
            bench.core.ledger.insert_instance(instance);
        }
        let pace = bench.core.pace(&Location::default());
        assert_eq!(pace.used, budget, "of {machines} machines");
    }
}
