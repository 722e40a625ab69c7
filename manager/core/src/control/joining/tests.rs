//! Conditions of a trade; and rotation of the worker token once no machine needs it, whatever
//! message is lost.

use super::*;
use crate::control::{
    Action, Answer, Config, Event, Request,
    tests::{Bench, machine, node, refusal, start},
};
use crate::store::{Kind, Record};
use micado_api::Timestamp;
use micado_cloudsetup::MachineState;
use std::time::Duration;

/// A bench with an ordered machine, and its instance.
fn ordered() -> (Bench, InstanceId) {
    let mut bench = Bench::new(|_| {});
    // Without the setting in the store, anybody may have the token.
    rotated(&mut bench, Ok(()));
    assert!(bench.ask(Request::Start(start("db01"))).0.is_ok());
    let id = bench.core.instances(false)[0].id.clone();
    (bench, id)
}

fn trade(bench: &mut Bench, id: &InstanceId, key: &str) -> Result<Reply, ErrorBody> {
    bench
        .ask(Request::Join {
            instance: id.clone(),
            key: key.to_owned(),
        })
        .0
}

/// Ends the rotation in flight with this result.
fn rotated(bench: &mut Bench, result: Result<(), EngineError>) -> Vec<Action> {
    assert!(
        bench.core.calls.is_in_flight(&CallKey::Token),
        "a rotation is under way"
    );
    bench.event(Event::Answered(CallKey::Token, Answer::Engine(result)))
}

fn rotates(actions: &[Action]) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, Action::Call(_, Call::RotateToken)))
}

fn later(bench: &mut Bench, by: Duration) {
    bench.now = bench.now.plus(by);
}

#[test]
fn the_first_key_binds_and_no_other_is_ever_good() {
    let (mut bench, id) = ordered();
    assert_eq!(trade(&mut bench, &id, "k1"), Ok(Reply::MayJoin));
    assert_eq!(
        trade(&mut bench, &id, "k1"),
        Ok(Reply::MayJoin),
        "its answer may have been lost"
    );
    let (code, words) = refusal(trade(&mut bench, &id, "k2"));
    assert_eq!(
        (code, words.as_str()),
        (
            ErrorCode::Conflict,
            "the credential of `db01` was used with another key"
        )
    );
    bench.machine_comes();
    assert_eq!(refusal(trade(&mut bench, &id, "k2")).0, ErrorCode::Conflict);
    assert!(
        bench
            .ask(Request::Stop {
                tag: "db01".parse().expect("a name"),
                force: true
            })
            .0
            .is_ok()
    );
    assert_eq!(refusal(trade(&mut bench, &id, "k2")).0, ErrorCode::Conflict);
}

#[test]
fn the_trade_is_durable_before_it_is_answered() {
    let (mut bench, id) = ordered();
    let actions = bench.event(Event::Request(
        77,
        Request::Join {
            instance: id.clone(),
            key: "k1".to_owned(),
        },
    ));
    let stored = |action: &Action| {
        match action {
        Action::Commit(changes) => changes.iter().any(|it| matches!(&it.record, Some(crate::store::Record::Instance(it)) if it.joining.is_some())),
        _ => false,
    }
    };
    let commit = actions.iter().position(stored).expect("the key is stored");
    let reply = actions
        .iter()
        .position(|action| matches!(action, Action::Reply(77, Ok(Reply::MayJoin))))
        .expect("it is answered");
    assert!(commit < reply);
}

#[test]
fn what_is_not_being_started_gets_nothing() {
    let (mut bench, id) = ordered();
    assert_eq!(
        refusal(trade(&mut bench, &InstanceId::trusted("ffffffff"), "k1")).0,
        ErrorCode::Unavailable
    );
    bench.machine_comes();
    assert_eq!(
        refusal(trade(&mut bench, &id, "k1")).1,
        "`db01` is not being started any more: it is active",
        "it joined, and never traded"
    );
    bench.machines = vec![machine(&id, MachineState::Dead)];
    bench.tick();
    let (code, words) = refusal(trade(&mut bench, &id, "k1"));
    assert_eq!(
        (code, words.as_str()),
        (
            ErrorCode::Gone,
            "`db01` is not being started any more: it is failed"
        )
    );
}

#[test]
fn a_credential_expires_with_the_time_to_join() {
    let (mut bench, id) = ordered();
    assert!(trade(&mut bench, &id, "k1").is_ok());
    bench.machine_comes();
    bench.seen.nodes.clear();
    bench.look();
    assert!(
        trade(&mut bench, &id, "k1").is_ok(),
        "its node is gone, and its time is not over"
    );
    later(&mut bench, Duration::from_secs(600));
    let (code, words) = refusal(trade(&mut bench, &id, "k1"));
    assert_eq!(
        (code, words.as_str()),
        (ErrorCode::Gone, "the credential of `db01` has expired")
    );
}

#[test]
fn one_that_is_in_the_swarm_has_nothing_to_trade_for() {
    let (mut bench, id) = ordered();
    assert!(trade(&mut bench, &id, "k1").is_ok());
    bench.machine_comes();
    assert_eq!(
        refusal(trade(&mut bench, &id, "k1")).0,
        ErrorCode::Unavailable,
        "it may ask again: its node may be about to be missed"
    );
}

#[test]
fn while_the_engine_is_not_seen_nothing_is_refused_for_good() {
    let (mut bench, id) = ordered();
    bench.event(Event::Blind("connection refused".to_owned()));
    later(&mut bench, Duration::from_secs(600));
    assert_eq!(
        refusal(trade(&mut bench, &id, "k1")).0,
        ErrorCode::Unavailable
    );
    bench.look();
    assert!(
        trade(&mut bench, &id, "k1").is_ok(),
        "the time without the engine is not held against it"
    );
}

#[test]
fn the_token_is_renewed_when_the_last_that_was_told_it_has_joined() {
    let (mut bench, first) = ordered();
    assert!(bench.ask(Request::Start(start("db02"))).0.is_ok());
    let second = bench
        .core
        .instances(false)
        .iter()
        .map(|it| it.id.clone())
        .find(|id| *id != first)
        .expect("a second one");
    assert!(trade(&mut bench, &first, "k1").is_ok() && trade(&mut bench, &second, "k2").is_ok());
    bench.seen.nodes.push(node(&first));
    assert!(!rotates(&bench.look()), "the second may be about to use it");
    bench.seen.nodes.push(node(&second));
    assert!(rotates(&bench.look()));
    rotated(&mut bench, Ok(()));
    assert!(
        !rotates(&bench.tick()) && !rotates(&bench.look()),
        "once is enough"
    );
}

#[test]
fn one_that_was_told_the_token_and_does_not_come_holds_it_up_until_it_is_given_up() {
    let (mut bench, id) = ordered();
    assert!(trade(&mut bench, &id, "k1").is_ok());
    assert!(!rotates(&bench.tick()));
    bench.machines = vec![machine(&id, MachineState::Dead)];
    assert!(rotates(&bench.tick()));
}

#[test]
fn a_rotation_that_fails_is_tried_again_after_a_while() {
    let (mut bench, id) = ordered();
    assert!(trade(&mut bench, &id, "k1").is_ok());
    bench.machine_comes();
    assert!(!rotates(&rotated(
        &mut bench,
        Err(EngineError::Unavailable("no answer".to_owned()))
    )));
    let at = bench.core.wake_at().expect("it wants to try again");
    assert!(at > bench.now);
    bench.now = Timestamp(at.0);
    assert!(rotates(&bench.event(Event::Wake)));
}

#[test]
fn a_machine_that_is_told_a_token_during_a_rotation_makes_another_one_due() {
    let (mut bench, first) = ordered();
    assert!(trade(&mut bench, &first, "k1").is_ok());
    bench.machine_comes();
    assert!(bench.ask(Request::Start(start("db02"))).0.is_ok());
    let second = bench
        .core
        .instances(false)
        .iter()
        .map(|it| it.id.clone())
        .find(|id| *id != first)
        .expect("a second one");
    assert!(trade(&mut bench, &second, "k2").is_ok());
    assert!(
        !rotates(&rotated(&mut bench, Ok(()))),
        "it may have been told the new one, and need it"
    );
    bench.seen.nodes.push(node(&second));
    assert!(rotates(&bench.look()));
}

#[test]
fn a_manager_that_dies_after_a_trade_renews_the_token_all_the_same() {
    let (mut bench, id) = ordered();
    let mut stored = crate::store::Contents::new();
    let actions = bench.event(Event::Request(
        9,
        Request::Join {
            instance: id,
            key: "k1".to_owned(),
        },
    ));
    for change in actions
        .iter()
        .filter_map(|action| {
            if let Action::Commit(changes) = action {
                Some(changes)
            } else {
                None
            }
        })
        .flatten()
    {
        if let (Some(record @ Record::Setting(_)), version) = (&change.record, change.expected + 1)
        {
            stored.push((record.clone(), version));
        }
    }
    let restarted = |stored| {
        let mut bench = Bench::of(Config::clone(bench.core.config()), stored);
        rotates(&bench.look()) || bench.core.calls.is_in_flight(&CallKey::Token)
    };
    assert!(
        restarted(stored),
        "the setting says that somebody was told it"
    );
    assert!(
        restarted(Vec::new()),
        "of a store that says nothing, anybody may have the token"
    );
    let fresh = Setting::new(TOKEN, FRESH).into_record();
    assert!(!restarted(vec![(fresh, 3)]));
}
