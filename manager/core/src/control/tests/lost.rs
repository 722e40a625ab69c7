//! Answers, machines and connections that are lost.

use super::*;

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
    bench.event(Event::Agent {
        instance: ids[0].clone(),
        connected: true,
    });
    actions = bench.look();
    for _ in 0..90 {
        actions.extend(bench.tick());
    }
    let terminates = |action: &Action| matches!(action, Action::Call(_, Call::TerminateMachine { instance, .. }) if *instance == ids[1]);
    // Not by what was seen a while ago: the event of its return may be lost.
    assert!(!actions.iter().any(terminates));
    actions = bench.look();
    assert!(actions.iter().any(terminates));
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
