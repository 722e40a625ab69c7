//! Nodes that are removed, and nodes that never are.

use super::*;
use crate::control::{
    Action, Answer, Event,
    tests::{Bench, machine, node},
};
use micado_api::{InstanceId, Timestamp};
use micado_cloudsetup::MachineState;

/// A bench with a foreign worker, and the calls of the core in a minute.
fn minute(remove: bool, change: impl FnOnce(&mut Bench)) -> (Bench, Vec<Call>) {
    let mut bench = Bench::new(|config| config.remove_unknown_nodes = remove);
    let mut stranger = node(&InstanceId::trusted("deadbeef"));
    stranger.id = "stranger".to_owned();
    stranger.instance = None;
    bench.seen.nodes.push(stranger);
    change(&mut bench);
    let mut calls = Vec::new();
    for _ in 0..6 {
        let mut actions = bench.look();
        actions.extend(bench.tick());
        calls.extend(actions.into_iter().filter_map(|action| {
            if let Action::Call(_, call) = action {
                Some(call)
            } else {
                None
            }
        }));
        bench.now = Timestamp(bench.now.0 + 10_000);
    }
    (bench, calls)
}

fn removed(calls: &[Call]) -> Vec<&str> {
    calls
        .iter()
        .filter_map(|call| {
            if let Call::RemoveNode { node } = call {
                Some(node.as_str())
            } else {
                None
            }
        })
        .collect()
}

#[test]
fn by_default_it_is_only_shown() {
    let (bench, calls) = minute(false, |_| {});
    assert_eq!(removed(&calls), [""; 0]);
    assert_eq!(bench.core.status().foreign_nodes[0].node, "stranger");
}

#[test]
fn by_setting_it_is_taken_out_once_with_the_reason_and_the_token_is_renewed() {
    let (mut bench, calls) = minute(true, |bench| {
        drop(bench.event(Event::Answered(CallKey::Token, Answer::Engine(Ok(())))))
    });
    assert_eq!(
        removed(&calls),
        ["stranger"],
        "asked once: the answer is still to come"
    );
    assert!(calls.iter().any(|call| matches!(call, Call::RotateToken)));
    let told = bench.core.progress("deadbeef");
    assert!(
        told[0].text.contains("node stranger (deadbeef)")
            && told[0].text.contains("--unknown-nodes"),
        "{told:?}"
    );
    bench.seen.nodes.clear();
    let actions = bench.event(Event::Answered(
        CallKey::Node("stranger".to_owned()),
        Answer::Engine(Ok(())),
    ));
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::Call(_, Call::RemoveNode { .. })))
    );
}

#[test]
fn a_manager_of_the_swarm_is_left_alone() {
    let (_, calls) = minute(true, |bench| bench.seen.nodes[0].manager = true);
    assert_eq!(removed(&calls), [""; 0]);
}

#[test]
fn a_machine_of_ours_is_taken_in_and_not_out() {
    let id = InstanceId::trusted("0123abcd");
    let (bench, calls) = minute(true, |bench| {
        bench.seen.nodes[0].instance = Some(id.clone());
        bench.machines.push(machine(&id, MachineState::Running));
    });
    assert_eq!(removed(&calls), [""; 0]);
    assert_eq!(bench.core.instances(false)[0].id, id);
}

#[test]
fn while_a_cloud_does_not_answer_nothing_is_surely_unknown() {
    let mut bench = Bench::new(|config| config.remove_unknown_nodes = true);
    let mut stranger = node(&InstanceId::trusted("0123abcd"));
    stranger.manager = false;
    bench.seen.nodes.push(stranger);
    for _ in 0..6 {
        let mut actions = bench.event(Event::Observed(bench.seen.clone()));
        actions.extend(bench.event(Event::Tick));
        let lists: Vec<CallKey> = actions
            .iter()
            .filter_map(|it| {
                if let Action::Call(key @ CallKey::List(_), _) = it {
                    Some(key.clone())
                } else {
                    None
                }
            })
            .collect();
        for list in lists {
            let failed = Answer::Listed(Err(micado_cloudsetup::BrokerError::Unknown(
                "no answer".to_owned(),
            )));
            actions.extend(bench.event(Event::Answered(list, failed)));
        }
        assert!(
            !actions
                .iter()
                .any(|action| matches!(action, Action::Call(_, Call::RemoveNode { .. }))),
            "{actions:?}"
        );
        bench.now = Timestamp(bench.now.0 + 10_000);
    }
}
