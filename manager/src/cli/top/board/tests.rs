//! The board shows the busiest first and fits into its terminal.

use super::*;
use crate::cli::tables::tests::{
    NOW, container, instance, measured, measured_machine, status_view,
};
use micado_api::Tag;

fn seen() -> Seen {
    let machines = vec![
        InstanceView {
            usage: Some(measured_machine(250, 600)),
            ..instance("application01", InstanceState::Active)
        },
        instance("application02", InstanceState::Active),
        InstanceView {
            usage: Some(measured_machine(900, 300)),
            ..instance("application03", InstanceState::Active)
        },
        instance("application04", InstanceState::Booting),
    ];
    let containers = vec![
        ContainerView {
            usage: Some(measured(105, 120)),
            ..container("acme_web.1", ContainerState::Running)
        },
        ContainerView {
            usage: Some(measured(90, 800)),
            ..container("acme_web.2", ContainerState::Running)
        },
        ContainerView {
            instance: Some(Tag::trusted("application02")),
            ..container("acme_web.3", ContainerState::Running)
        },
        // It has just started.
        container("acme_web.5", ContainerState::Running),
        ContainerView {
            instance: None,
            ..container("acme_web.4", ContainerState::Waiting)
        },
    ];
    let status = StatusView {
        blind_instances: vec![Tag::trusted("application02")],
        ..status_view()
    };
    Seen {
        at: NOW,
        status,
        instances: machines,
        containers,
    }
}

fn fitted(sort: Sort, trouble: Option<&str>, columns: usize, rows: usize) -> String {
    let lines = Board::new(&seen(), sort).fit(trouble, columns, rows);
    assert!(
        lines.len() <= rows && lines.iter().all(|line| line.chars().count() <= columns),
        "{lines:?}"
    );
    lines.join("\n")
}

#[test]
fn all_of_it() {
    insta::assert_snapshot!("board", Board::new(&seen(), Sort::Cpu).page().text(false));
    assert_eq!(
        fitted(Sort::Cpu, None, 200, 50) + "\n",
        Board::new(&seen(), Sort::Cpu).page().text(false),
        "it fits into a large terminal as it is"
    );
}

#[test]
fn it_is_cut_to_its_terminal_and_says_how_much_there_is_more() {
    insta::assert_snapshot!(
        "board_small",
        fitted(
            Sort::Memory,
            Some("the manager does not answer since 2026-11-03 10:00:00Z: it says nothing for 5 s"),
            80,
            12
        )
    );
    for rows in 0..20 {
        fitted(Sort::Name, None, 40, rows);
    }
}

#[test]
fn it_is_sorted_as_was_asked() {
    let order = |sort| {
        let text = Board::new(&seen(), sort).page().text(false);
        text.lines()
            .filter(|line| line.starts_with("acme_web"))
            .map(|line| {
                line.split(' ')
                    .next()
                    .unwrap_or_default()
                    .replace("acme_web.", "")
            })
            .collect::<String>()
    };
    assert_eq!(
        [Sort::Cpu, Sort::Memory, Sort::Name].map(order),
        ["21345", "12345", "12345"]
    );
    let mut names = seen();
    names.containers.reverse();
    assert!(
        Board::new(&names, Sort::Name)
            .page()
            .text(false)
            .find("web.1")
            < Board::new(&names, Sort::Name)
                .page()
                .text(false)
                .find("web.2")
    );
}
