//! Builds the agent from its parts and runs it.

use crate::{
    clock::{NS_PER_MS, now_ns},
    dialer::Dialer,
    engine::Engine,
    health::Checker,
    identity::Files,
    link::Link,
    mailbox::Mailbox,
    renewal,
    sampler::{Sampler, files::Kernel},
    session::Sessions,
    settings::{SHORTEST_INTERVAL_MS, Settings},
    watch::Watch,
};
use micado_api::{
    Timestamp,
    agent::{FromAgent, MachineSample, SampleBatch},
};
use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval, interval_at, timeout},
};

/// Time that the first sweep waits for the engine's list: a batch without containers would mean
/// that there are none.
const ENGINE_PATIENCE: Duration = Duration::from_secs(5);

/// Runs the agent until the process ends.
///
/// # Errors
/// If this machine has no cgroups.
pub async fn run(settings: Settings) -> io::Result<Infallible> {
    let sampler = Sampler::new(Kernel::below(&settings.root))?;
    let hello = FromAgent::Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        run: format!("{:016x}", rand::random::<u64>()),
        cgroup: sampler.version().number(),
    };
    let sampler = Arc::new(Mutex::new(sampler));
    let engine = Engine::at(settings.docker_socket.clone());
    let dialer = Arc::new(Dialer::new(Files {
        folder: settings.etc.clone(),
    }));
    let (mailbox, ready, renewed) = (
        Arc::new(Mailbox::default()),
        Arc::new(Notify::new()),
        Arc::new(Notify::new()),
    );

    let checker = Checker::new(engine.clone(), Arc::clone(&mailbox));
    tokio::spawn(
        Watch::new(
            engine.clone(),
            checker.clone(),
            Arc::clone(&sampler),
            Arc::clone(&mailbox),
            Arc::clone(&ready),
        )
        .keep(),
    );
    tokio::spawn(renewal::keep(
        Arc::clone(&dialer),
        settings.registries,
        Arc::clone(&renewed),
    ));
    let sessions = Sessions::new(engine, Arc::clone(&dialer));
    let pace = watch::Sender::new(None);
    let mut paced = pace.subscribe();
    tokio::spawn(
        Link {
            dialer,
            mailbox: Arc::clone(&mailbox),
            hello,
            sessions,
            checker,
            renewed,
            pace,
        }
        .keep(),
    );

    timeout(ENGINE_PATIENCE, ready.notified()).await.ok();
    Ok(sweep(
        &sampler,
        &mailbox,
        Duration::from_millis(settings.interval_ms),
        &mut paced,
    )
    .await)
}

/// Interval between sweeps: the agent's own, or a shorter one that the manager asks for.
fn shorter(own: Duration, asked: Option<Duration>) -> Duration {
    let asked = asked.map(|asked| asked.max(Duration::from_millis(SHORTEST_INTERVAL_MS)));
    asked.map_or(own, |asked| own.min(asked))
}

async fn sweep(
    sampler: &Mutex<Sampler>,
    mailbox: &Mailbox,
    own: Duration,
    paced: &mut watch::Receiver<Option<Duration>>,
) -> Infallible {
    let mut ticks = interval(own);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let start = Instant::now();
    let mut sequence = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Ok(()) = paced.changed() => {
                let every = shorter(own, *paced.borrow_and_update());
                if every != ticks.period() {
                    ticks = interval_at(tokio::time::Instant::now() + every, every);
                    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
                }
                continue;
            }
        }
        let at = Timestamp(now_ns() / NS_PER_MS);
        let steady_ms = u64::try_from(start.elapsed().as_millis()).ok();
        let (machine, containers) = sampler
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .sweep();
        sequence += 1;
        mailbox.batch(SampleBatch {
            sequence,
            at,
            late: false,
            machine: MachineSample {
                steady_ms,
                ..machine
            },
            containers,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_interval_counts_and_none_is_too_short() {
        let ms = Duration::from_millis;
        let cases = [
            (None, 2000),
            (Some(1000), 1000),
            (Some(5000), 2000),
            (Some(0), 100),
        ];
        for (asked, expected) in cases {
            assert_eq!(shorter(ms(2000), asked.map(ms)), ms(expected), "{asked:?}");
        }
    }
}
