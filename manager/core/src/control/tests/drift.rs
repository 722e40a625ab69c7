//! Swarm services that others change or remove.

use super::bench::{Bench, spec};
use crate::control::{Action, Call};

fn made(actions: &[Action]) -> usize {
    let is_made = |action: &&Action| matches!(action, Action::Call(_, Call::CreateService { .. }));
    actions.iter().filter(is_made).count()
}

fn told(bench: &Bench, words: &str) -> usize {
    let decisions = bench.core.ledger.decisions.values();
    decisions.filter(|it| it.text.contains(words)).count()
}

fn running() -> Bench {
    let mut bench = Bench::new(|_| {});
    bench.launch(spec("a", 100), None).expect("room");
    bench.machine_comes();
    bench.settle();
    bench
}

#[test]
fn a_service_that_others_changed_is_set_back_and_not_at_once_again() {
    let mut bench = running();
    bench.seen.services[0].edited = true;
    bench.settle();
    assert!(!bench.seen.services[0].edited);
    assert_eq!(told(&bench, "was changed by others: set back"), 1);

    bench.seen.services[0].edited = true;
    assert_eq!(made(&bench.look()), 0);
    bench.seconds(10);
    assert_eq!(made(&bench.asked), 1);
    assert_eq!(told(&bench, "was changed by others: set back"), 2);
}

#[test]
fn a_container_that_others_scaled_to_none_stays_where_it_is() {
    let mut bench = running();
    bench.seen.services[0].edited = true;
    bench.settle();
    bench.seen.services[0].edited = true;
    bench.seen.tasks[0].state = crate::engine::TaskState::Stopped;
    bench.look();
    bench.seconds(5);
    bench.seen.services[0].edited = true;
    bench.look();
    bench.seconds(3);
    assert_eq!(told(&bench, "planned anew"), 0);
}

#[test]
fn a_service_that_others_removed_is_made_again_and_named() {
    let mut bench = running();
    assert_eq!(told(&bench, "made again"), 0);
    bench.seen.services.clear();
    bench.seen.tasks.clear();
    bench.settle();
    assert_eq!(bench.seen.services.len(), 1);
    assert_eq!(told(&bench, "made again"), 1);
}
