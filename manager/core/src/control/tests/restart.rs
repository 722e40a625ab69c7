//! Cases in which the end of a process is the end of its container.

use super::*;

/// A container of this policy with a single task in this state, with this exit code: the bench, and
/// the state of the container.
fn ended(policy: &str, state: TaskState, exit_code: Option<i64>) -> (Bench, String) {
    let mut bench = Bench::new(|_| {});
    let service = ServiceSpec {
        restart: policy.parse().expect("a policy"),
        ..spec("a", 64)
    };
    bench.launch(service, None).expect("room can be rented");
    bench.machine_comes();
    bench.settle();
    let task = &mut bench.seen.tasks[0];
    (task.state, task.wanted, task.exit_code) = (state, false, exit_code);
    bench.look();
    let shown = bench.state("a_web.1");
    (bench, shown)
}

#[test]
fn only_a_job_is_completed() {
    for (policy, state, code, shown) in [
        (
            "on-failure",
            TaskState::Complete,
            0,
            "completed: its process ended with 0",
        ),
        (
            "on-failure:3",
            TaskState::Complete,
            0,
            "completed: its process ended with 0",
        ),
        ("on-failure", TaskState::Failed, 3, "failing: exit code 3"),
        (
            "no",
            TaskState::Complete,
            0,
            "completed: its process ended with 0",
        ),
        (
            "no",
            TaskState::Failed,
            3,
            "completed: its process ended with 3",
        ),
        ("always", TaskState::Failed, 3, "failing: exit code 3"),
        (
            "always",
            TaskState::Complete,
            0,
            "failing: its process ended with 0, and is started again",
        ),
    ] {
        assert_eq!(ended(policy, state, Some(code)).1, shown, "{policy} {code}");
    }
}

#[test]
fn what_never_ran_has_not_ended() {
    for policy in ["no", "on-failure", "always"] {
        let (_, shown) = ended(policy, TaskState::Failed, None);
        assert!(shown.starts_with("failing"), "{policy}: {shown}");
    }
}

#[test]
fn a_service_that_is_started_again_keeps_its_place() {
    let (mut bench, _) = ended("always", TaskState::Complete, Some(0));
    let mut next = bench.seen.tasks[0].clone();
    (next.id, next.version, next.state) = ("next".to_owned(), 2, TaskState::Running);
    (next.wanted, next.exit_code) = (true, None);
    bench.seen.tasks.push(next);
    bench.look();
    bench.seconds(6);
    assert_eq!(bench.state("a_web.1"), "running");
    assert_eq!(bench.seen.services.len(), 1);
}
