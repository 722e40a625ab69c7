//! Young runs and deaths event by event.

use crate::{
    control::tests::{Bench, spec},
    engine::{SwarmTask, TaskState},
};
use micado_api::Settled;

/// A container whose task runs since this moment.
fn started() -> Bench {
    let mut bench = Bench::new(|_| {});
    bench.launch(spec("a", 64), None).expect("room is rented");
    bench.machine_comes();
    bench.settle();
    bench
}

/// Ends the present task, and starts the next.
fn dies(bench: &mut Bench, code: i64) {
    ends(bench, code);
    begins(bench);
}

fn ends(bench: &mut Bench, code: i64) {
    let task = bench.seen.tasks.last_mut().expect("a task");
    (task.state, task.exit_code) = (TaskState::Failed, Some(code));
    bench.look();
}

fn begins(bench: &mut Bench) {
    let before = bench.seen.tasks.last_mut().expect("a task");
    before.wanted = false;
    let next = SwarmTask {
        id: format!("{}+", before.id),
        version: before.version + 1,
        state: TaskState::Running,
        exit_code: None,
        wanted: true,
        ..before.clone()
    };
    bench.seen.tasks.push(next);
    bench.look();
}

fn last(bench: &Bench) -> (String, Option<Settled>) {
    let lines = bench.core.progress("a_web.1");
    let last = lines.last().expect("a line");
    (last.text.clone(), last.settled)
}

#[test]
fn a_copy_has_started_once_it_has_run_for_a_moment() {
    let mut bench = started();
    assert_eq!(last(&bench), ("started on application01".to_owned(), None));
    assert_eq!(
        bench.state("a_web.1"),
        "running",
        "it is listed as what it is"
    );
    bench.seconds(3);
    let done = ("running on application01".to_owned(), Some(Settled::Done));
    assert_eq!(last(&bench), done);
    assert!(bench.core.runs.0.is_empty());
}

#[test]
fn b08_a_copy_that_dies_at_once_has_failed_and_is_failing_until_it_has_run_for_longer() {
    let mut bench = started();
    ends(&mut bench, 127);
    let failed = Some(Settled::Failed);
    let text = "failing on application01: exit code 127".to_owned();
    assert_eq!(last(&bench), (text, failed));
    begins(&mut bench);
    assert_eq!(bench.state("a_web.1"), "failing: exit code 127");
    dies(&mut bench, 127);
    dies(&mut bench, 1);
    let shown = "failing: exit code 1; it died 3 times";
    assert_eq!(bench.state("a_web.1"), shown);
    bench.seconds(3);
    assert_eq!(bench.state("a_web.1"), shown);
    bench.seconds(4);
    assert_eq!(bench.state("a_web.1"), "running");
    let done = ("running on application01".to_owned(), Some(Settled::Done));
    assert_eq!(last(&bench), done);
}

#[test]
fn a_death_between_two_looks_counts() {
    let mut bench = started();
    begins(&mut bench);
    let shown = "failing: its process ended, and was started again";
    assert_eq!(bench.state("a_web.1"), shown);
}

#[test]
fn what_ran_for_long_is_failing_after_its_death_only() {
    let mut bench = started();
    bench.pass(60);
    assert_eq!(bench.state("a_web.1"), "running");
    dies(&mut bench, 3);
    assert_eq!(bench.state("a_web.1"), "failing: exit code 3");
    bench.pass(30);
    assert_eq!(bench.state("a_web.1"), "running");
    dies(&mut bench, 4);
    assert_eq!(
        bench.state("a_web.1"),
        "failing: exit code 4",
        "the one before is forgotten"
    );
}
