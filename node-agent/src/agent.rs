//! The agent as a whole: puts its parts together and lets them run.

use crate::{
    clock::{NS_PER_MS, now_ns},
    dialer::Dialer,
    engine::Engine,
    identity::Files,
    link::{Link, Wishes},
    mailbox::Mailbox,
    renewal,
    sampler::{Sampler, files::Kernel},
    session::Sessions,
    settings::{Settings, interval},
    watch::Watch,
};
use micado_api::{
    Timestamp,
    agent::{FromAgent, SampleBatch, SessionWork},
};
use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, timeout},
};

/// The first sweep waits so long for the engine to say what runs: a batch without containers would say that there are none.
const ENGINE_PATIENCE: Duration = Duration::from_secs(5);

/// Runs the agent, for ever.
///
/// # Errors
/// When this machine has no cgroups.
pub async fn run(settings: Settings) -> io::Result<Infallible> {
    let sampler = Sampler::new(Kernel::below(&settings.root))?;
    let hello =
        FromAgent::Hello { version: env!("CARGO_PKG_VERSION").to_owned(), run: format!("{:016x}", rand::random::<u64>()), cgroup: sampler.version().number() };
    let sampler = Arc::new(Mutex::new(sampler));
    let engine = Engine::at(settings.docker_socket.clone());
    let dialer = Arc::new(Dialer::new(Files { folder: settings.etc.clone() }));
    let (mailbox, ready, renewed) = (Arc::new(Mailbox::default()), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (set_pace, pace) = watch::channel(interval(settings.interval_ms));

    tokio::spawn(Watch::new(engine.clone(), Arc::clone(&sampler), Arc::clone(&mailbox), Arc::clone(&ready)).keep());
    tokio::spawn(renewal::keep(Arc::clone(&dialer), settings.registries, Arc::clone(&renewed)));
    let wishes = Manager { pace: set_pace, sessions: Sessions::new(engine, Arc::clone(&dialer)) };
    tokio::spawn(Link { dialer, mailbox: Arc::clone(&mailbox), hello, wishes, renewed }.keep());

    timeout(ENGINE_PATIENCE, ready.notified()).await.ok();
    Ok(sweep(&sampler, &mailbox, pace).await)
}

/// What the manager wants.
struct Manager {
    pace: watch::Sender<Duration>,
    sessions: Sessions,
}

impl Wishes for Manager {
    fn interval(&self, ms: u64) {
        let wanted = interval(ms);
        self.pace.send_if_modified(|pace| std::mem::replace(pace, wanted) != wanted);
    }

    fn session(&self, id: String, work: SessionWork) {
        self.sessions.open(id, work);
    }
}

async fn sweep(sampler: &Mutex<Sampler>, mailbox: &Mailbox, mut pace: watch::Receiver<Duration>) -> Infallible {
    let mut sequence = 0;
    loop {
        let mut ticks = tokio::time::interval(*pace.borrow_and_update());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                Ok(()) = pace.changed() => break,
            }
            let at = Timestamp(now_ns() / NS_PER_MS);
            let (machine, containers) = sampler.lock().unwrap_or_else(PoisonError::into_inner).sweep();
            sequence += 1;
            mailbox.batch(SampleBatch { sequence, at, late: false, machine, containers });
        }
    }
}
