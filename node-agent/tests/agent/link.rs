//! The connection to the manager: hello, batches, acknowledgements, cuts, renewal, and servers that
//! the agent does not trust.

use crate::{
    authority::{Authority, Span},
    bed::{Bed, with_agent},
    manager::Agent,
};
use micado_api::agent::FromAgent;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

#[tokio::test]
async fn batches_come_in_order_and_as_often_as_wanted() {
    with_agent(400, async |_, agent| {
        let FromAgent::Hello { run, cgroup, .. } = &agent.hello else {
            panic!("{:?}", agent.hello)
        };
        assert!(run.len() == 16 && (1..=2).contains(cgroup));
        let first = agent.batch().await;
        assert!(
            first.machine.memory_left.0 > 0
                && first.machine.memory_left < first.machine.memory_total,
            "{:?}",
            first.machine
        );
        assert!(
            first.machine.disk_left > 0
                && first.machine.cores >= 1_000_000_000
                && first.machine.cpu_ns > 0,
            "{:?}",
            first.machine
        );
        let second = agent.batch().await;
        assert_eq!(second.sequence, first.sequence + 1);
        assert!(!second.late);
        let steadily = second
            .machine
            .steady_ms
            .zip(first.machine.steady_ms)
            .map(|(after, before)| after - before);
        assert!(
            steadily.is_some_and(|ms| ms.abs_diff(second.at.0 - first.at.0) < 100),
            "{steadily:?} ms"
        );
        let apart = agent.batch().await.at.since(second.at);
        assert!(apart >= Duration::from_millis(300), "{apart:?} apart");
    })
    .await;
}

/// All frames of a run, by sequence, as first written.
async fn take(
    agent: &mut Agent,
    seen: &mut BTreeMap<u64, String>,
    until: impl Fn(u64) -> bool,
) -> u64 {
    loop {
        if let (FromAgent::Samples(batch), text) = agent.next().await {
            let first = seen.entry(batch.sequence).or_insert_with(|| text.clone());
            assert_eq!(*first, text, "a batch that is sent again is the same");
            if until(batch.sequence) {
                return batch.sequence;
            }
        }
    }
}

#[tokio::test]
async fn no_batch_is_lost_or_changed_by_cuts() {
    with_agent(100, async |bed, agent| {
        let mut seen = BTreeMap::new();
        let last = take(agent, &mut seen, |sequence| sequence >= 5).await;
        agent.acknowledge(last - 2).await;
        take(agent, &mut seen, |sequence| sequence >= last + 2).await;
        // Cut three times, each time with the manager away a little longer.
        for away in [0, 300, 1500] {
            bed.manager.stop().await;
            agent.cut();
            tokio::time::sleep(Duration::from_millis(away)).await;
            bed.manager.listen_again(&bed.authority).await;
            *agent = bed.manager.agent().await;
            let before = *seen.keys().last().expect("some");
            let last = take(agent, &mut seen, |sequence| sequence >= before + 5).await;
            agent.acknowledge(last - 3).await;
        }
        let sequences: Vec<u64> = seen.keys().copied().collect();
        assert_eq!(
            sequences,
            (1..=sequences.len() as u64).collect::<Vec<_>>(),
            "no gap"
        );
        assert!(
            seen.values().any(|text| text.contains("\"late\":true")),
            "what was measured in a cut is late"
        );
    })
    .await;
}

#[tokio::test]
async fn a_dead_peer_is_noticed() {
    with_agent(60_000, async |bed, agent| {
        agent.batch().await;
        // This connection is not read any more, so its pings stay unanswered; new ones are
        // accepted.
        let start = Instant::now();
        let again = bed.manager.agent().await;
        assert_eq!(again.hello, agent.hello, "the same run");
        assert!(
            (10..=24).contains(&start.elapsed().as_secs()),
            "noticed after {:?}",
            start.elapsed()
        );
    })
    .await;
}

#[tokio::test]
async fn a_forged_manager_gets_nothing() {
    with_agent(100, async |bed, agent| {
        agent.batch().await;
        let away = Duration::from_secs(3600);
        // Each of them would accept our certificate.
        let forged = [
            (
                "another authority's",
                Authority::new().server("127.0.0.1", Span::LONG),
            ),
            (
                "expired",
                bed.authority
                    .server("127.0.0.1", Span(2 * away, Duration::ZERO)),
            ),
            (
                "another machine's",
                bed.authority.server("127.0.0.2", Span::LONG),
            ),
        ];
        // A certificate is good until the end of its last second.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        for (what, own) in &forged {
            let before = bed.manager.refused_handshakes();
            bed.manager.stop().await;
            bed.manager.listen_with(own).await;
            agent.cut();
            until(&format!("the agent tries again: {what}"), || {
                bed.manager.refused_handshakes() > before + 1
            })
            .await;
            assert!(bed.manager.nobody_came(), "no connection was made: {what}");
        }
        // The real one is accepted.
        bed.manager.stop().await;
        bed.manager.listen_again(&bed.authority).await;
        let again = bed.manager.agent().await;
        assert_eq!(again.hello, agent.hello);
    })
    .await;
}

#[tokio::test]
async fn one_whose_certificate_was_revoked_tries_ever_more_rarely() {
    with_agent(100, async |bed, agent| {
        agent.batch().await;
        bed.manager.revoke();
        agent.cut();
        until("it tries again", || bed.manager.turned_away().len() >= 4).await;
        let tries = bed.manager.turned_away();
        for (at, least_ms) in [(1, 100), (2, 200), (3, 400)] {
            let pause = tries[at].duration_since(tries[at - 1]);
            assert!(
                pause >= Duration::from_millis(least_ms),
                "{pause:?} before try {at}"
            );
        }
        assert!(bed.manager.nobody_came());
    })
    .await;
}

async fn until(what: &str, happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < crate::manager::PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_when_a_third_is_left() {
    // 100 s of its 400 s are left.
    let span = Span(Duration::from_secs(300), Duration::from_secs(100));
    let mut bed = Bed::make(200, span).await;
    let outcome = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(async {
        let old = std::fs::read_to_string(bed.etc.path().join("node.crt")).expect("a certificate");
        let first = bed.manager.agent().await;
        // The agent reconnects with the new certificate.
        let again = bed.manager.agent().await;
        assert_eq!(first.hello, again.hello);
        assert_eq!(bed.manager.renewals(), 1);
        let new = std::fs::read_to_string(bed.etc.path().join("node.crt")).expect("a certificate");
        assert_ne!(old, new);
        assert!(!bed.etc.path().join("node.new").exists());
    }))
    .await;
    bed.clear().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

#[tokio::test]
async fn a_stranger_is_not_let_in() {
    let mut bed = Bed::make(200, Span::LONG).await;
    let (certificate, key) = Authority::new().client(Span::LONG);
    let mut agent = bed.manager.agent().await;
    std::fs::write(bed.etc.path().join("node.key"), key).expect("written");
    std::fs::write(bed.etc.path().join("node.crt"), certificate).expect("written");
    agent.cut();
    let start = Instant::now();
    while bed.manager.refused_handshakes() == 0 && start.elapsed() < crate::manager::PATIENCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (refused, nobody) = (bed.manager.refused_handshakes(), bed.manager.nobody_came());
    bed.clear().await;
    assert!(refused > 0 && nobody);
}
