//! Checks that agents are told to make, and what is believed of their reports.

use super::{figures::placed_with, *};
use micado_api::{
    HealthCheck, HealthState, HealthView, Probe, RunOptions,
    agent::HealthReport,
    health::{LONGEST_FAILURE, MOST_CHECKS},
};

/// A manager with two machines, and a checked container on the first; its Swarm service.
fn checked() -> (Manager, [InstanceId; 2], String) {
    let health = HealthCheck {
        probe: Some(Probe::Tcp { port: Some(80) }),
        ..HealthCheck::default()
    };
    let (core, ids, service) = placed_with(RunOptions {
        health: Some(health),
        ..RunOptions::default()
    });
    (Manager::on(core), ids, service)
}

fn reports(service: &str, health: HealthState, failure: Option<&str>) -> FromAgent {
    let report = HealthReport {
        service: service.to_owned(),
        health,
        failure: failure.map(str::to_owned),
    };
    FromAgent::Health {
        reports: vec![report],
    }
}

async fn health(manager: &Manager) -> HealthView {
    let containers = manager.by_socket().containers(true).await;
    let container = containers.expect("a list").remove(0);
    container.health.expect("it is checked")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_told_its_own_checks_and_speaks_for_them_alone() {
    let (manager, [own, other], service) = checked();
    let (mut honest, mut liar) = (
        Agent::of(&manager, &own, "a").await,
        Agent::of(&manager, &other, "a").await,
    );
    let ToAgent::Checks { checks } = honest.answer().await else {
        panic!("it is told its checks");
    };
    let told: Vec<_> = checks.iter().map(|check| check.service.as_str()).collect();
    assert_eq!(told, [service.as_str()]);
    assert_eq!(liar.heard().await, [], "it has none");

    honest
        .say(&reports(&service, HealthState::Healthy, None))
        .await;
    honest.heard().await;
    assert_eq!(health(&manager).await.state, HealthState::Healthy);
    let forged = format!("x\n\u{1b}[2J{}", "y".repeat(1 << 20));
    for (service, agent) in [
        (&service, &mut liar),
        (&"c-of-nobody".to_owned(), &mut honest),
    ] {
        agent
            .say(&reports(service, HealthState::Unhealthy, Some("lies")))
            .await;
        agent.heard().await;
        assert_eq!(health(&manager).await.state, HealthState::Healthy);
    }
    honest
        .say(&reports(&service, HealthState::Unhealthy, Some(&forged)))
        .await;
    honest.heard().await;
    let view = health(&manager).await;
    let failure = view.failure.expect("a reason");
    assert!(failure.starts_with(r"x\n\u{1b}[2Jyyy"), "{failure}");
    assert_eq!(failure.chars().count(), LONGEST_FAILURE);
    assert!(!view.unchecked);

    let report = HealthReport {
        service,
        health: HealthState::Healthy,
        failure: None,
    };
    let reports = vec![report; MOST_CHECKS + 1];
    honest.say(&FromAgent::Health { reports }).await;
    let end = honest.0.next().await.expect("a word").expect("readable");
    assert!(
        matches!(&end, tungstenite::Message::Close(Some(end)) if end.reason.as_str().contains("too many")),
        "{end:?}"
    );
}
