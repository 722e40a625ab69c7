//! The running simulator, as tests use it.

use crate::{
    CallRecord, Config, DataFile, Faults, Instance, Job, JobStatus, Spelling, Status,
    audit::Audit,
    catalogue::entries,
    listen::Door,
    locked,
    machines::Machines,
    random::Dice,
    state, tls,
    world::{Effect, Hold, Named, World},
};
use jiff::Timestamp;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::Notify,
    task::{JoinHandle, JoinSet},
};

/// Upper bound for removing all machines at the end.
const END_TIMEOUT: Duration = Duration::from_secs(60);

/// A failed start.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// An address is not available.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        address: std::net::SocketAddr,
        cause: io::Error,
    },
    /// A file or folder cannot be read or written.
    #[error("`{path}`: {cause}")]
    File {
        path: PathBuf,
        /// The system's error, or a fault of the content.
        cause: io::Error,
    },
    /// The certificate for HTTPS is unusable.
    #[error("the certificate for HTTPS: {0}")]
    Certificate(String),
    /// The hosting engine failed.
    #[error("{0}")]
    Engine(String),
}

/// A simulator in this process. Dropping it stops serving; machines that are containers stay, see
/// [`Simulator::end`].
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    http: Door,
    https: Option<Door>,
    authority: Option<PathBuf>,
    clock: JoinHandle<()>,
}

/// State shared by requests, the clock and machines.
#[derive(Debug)]
pub(crate) struct Shared {
    world: Mutex<World>,
    dice: Mutex<Dice>,
    pub(crate) faults: Faults,
    pub(crate) audit: Audit,
    pub(crate) spelling: Spelling,
    /// `user:password`.
    pub(crate) account: String,
    machines: Machines,
    /// Running tasks of machines.
    tasks: Mutex<JoinSet<()>>,
    state: Option<PathBuf>,
    /// Notified if something may be due earlier than the clock expects.
    wake: Notify,
}

impl Simulator {
    /// Starts a simulator with the content of the state file.
    ///
    /// # Errors
    /// If an address, a file, the certificate or the engine is unusable.
    pub async fn start(config: Config) -> Result<Self, SimulatorError> {
        let records = config
            .state
            .as_deref()
            .map(state::load)
            .transpose()?
            .unwrap_or_default();
        let mut world = World::new(entries(&config.catalogue), config.pace, records);
        world.with_ghosts = config.spelling.ghosts;
        let machines =
            Machines::prepare(config.machines, &world.catalogue, &world.records().realm).await?;
        world.packaged = machines.packaged().collect();
        let unfinished = world.unfinished();
        let shared = Arc::new(Shared {
            world: Mutex::new(world),
            dice: Mutex::new(Dice::new(config.seed)),
            faults: Faults::new(config.seed, config.fault_rate),
            audit: Audit::default(),
            spelling: config.spelling,
            account: format!("{}:{}", config.user, config.password),
            machines,
            tasks: Mutex::default(),
            state: config.state,
            wake: Notify::new(),
        });
        shared.change(|_, _, _| ((), unfinished));

        let listen = |address| move |cause| SimulatorError::Listen { address, cause };
        let http = Door::claim(config.listen, None).map_err(listen(config.listen))?;
        http.open(&shared).map_err(listen(config.listen))?;
        let (https, authority) = match config.https {
            None => (None, None),
            Some(https) => {
                let (tls, authority) = tls::server(&https.certificate, https.listen.ip())?;
                let door = Door::claim(https.listen, Some(tls)).map_err(listen(https.listen))?;
                door.open(&shared).map_err(listen(https.listen))?;
                (Some(door), authority)
            }
        };
        let clock = tokio::spawn(keep_time(shared.clone()));
        Ok(Self {
            shared,
            http,
            https,
            authority,
            clock,
        })
    }

    /// URL of HTTP, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.http.address())
    }

    /// URL of HTTPS, if served.
    #[must_use]
    pub fn https_url(&self) -> Option<String> {
        self.https
            .as_ref()
            .map(|door| format!("https://{}", door.address()))
    }

    /// The certificate authority (PEM) that clients must trust, if it was made here.
    #[must_use]
    pub fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// The faults.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// All calls since the start, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<CallRecord> {
        self.shared.audit.calls()
    }

    /// Cuts all connections and refuses new ones, until [`Simulator::up`]. Machines keep running.
    pub async fn down(&self) {
        for serving in self.doors().filter_map(Door::shut) {
            // The listener has failed, or was closed: down in both cases.
            let _ = serving.await;
        }
    }

    /// Serves again, at the same addresses.
    ///
    /// # Errors
    /// If an address is not available.
    pub fn up(&self) -> Result<(), SimulatorError> {
        self.doors().try_for_each(|door| {
            door.open(&self.shared)
                .map_err(|cause| SimulatorError::Listen {
                    address: door.address(),
                    cause,
                })
        })
    }

    /// Jobs, without deleted ones, oldest first.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        self.shared
            .look(|world| world.records().jobs.values().cloned().collect())
    }

    /// Input files of a job, by its id.
    #[must_use]
    pub fn files(&self, job: &str) -> Vec<DataFile> {
        self.shared
            .look(|world| world.files_of(job).cloned().collect())
    }

    /// All instances that ever existed, oldest first, halted ones and those of deleted jobs
    /// included.
    #[must_use]
    pub fn instances(&self) -> Vec<Instance> {
        self.shared
            .look(|world| world.records().instances.values().cloned().collect())
    }

    /// Instances paid for now.
    #[must_use]
    pub fn machines_running(&self) -> Vec<Instance> {
        let instances = self.instances().into_iter();
        instances
            .filter(|instance| instance.machine.is_on())
            .collect()
    }

    /// Number of machines ever switched on for orders of this name.
    #[must_use]
    pub fn booted_total(&self, name: &str) -> usize {
        let booted = |instance: &&Instance| {
            instance.ordered_as == name && instance.machine.booted_at.is_some()
        };
        self.shared
            .look(|world| world.records().instances.values().filter(booted).count())
    }

    /// Holds everything that is in this status or reaches it, until [`Simulator::release`].
    pub fn pause_at(&self, status: impl Into<Status>) {
        self.hold(Hold {
            status: status.into(),
            subject: None,
        });
    }

    /// The same, only for subjects with this text in their name or description.
    pub fn pause_one_at(&self, status: impl Into<Status>, subject: &str) {
        self.hold(Hold {
            status: status.into(),
            subject: Some(subject.to_owned()),
        });
    }

    /// Releases everything that is held.
    pub fn release(&self) {
        self.shared
            .change(|world, _, _| (world.holds.clear(), Vec::new()));
    }

    /// Moves the jobs with this text in their name or description through all statuses up to this
    /// one, at once. Their machines follow at their own pace.
    pub fn jump(&self, subject: &str, to: JobStatus) {
        self.shared.change(|world, _, now| {
            let jobs: Vec<_> = world
                .records()
                .jobs
                .values()
                .filter(|job| job.words().contains(subject))
                .map(|job| job.id.clone())
                .collect();
            (
                (),
                jobs.iter()
                    .flat_map(|job| world.jump(job, to, now))
                    .collect(),
            )
        });
    }

    /// Stops serving, and removes every machine and everything made for them.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn end(self) -> Result<(), SimulatorError> {
        self.down().await;
        self.shared
            .change(|world, _, now| ((), world.stop_everything(now)));
        if tokio::time::timeout(END_TIMEOUT, self.shared.finish_tasks())
            .await
            .is_err()
        {
            tracing::warn!(
                "not every machine has been removed within {} s",
                END_TIMEOUT.as_secs()
            );
        }
        match &self.shared.machines {
            Machines::None => Ok(()),
            Machines::Docker(docker) => docker.end().await.map_err(SimulatorError::Engine),
        }
    }

    fn hold(&self, hold: Hold) {
        self.shared
            .change(|world, _, _| (world.holds.push(hold), Vec::new()));
    }

    fn doors(&self) -> impl Iterator<Item = &Door> {
        [Some(&self.http), self.https.as_ref()]
            .into_iter()
            .flatten()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.doors().for_each(|door| drop(door.shut()));
        self.clock.abort();
        self.shared.abandon();
    }
}

impl Shared {
    /// Runs a task of a machine in the background.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = locked(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Waits for all tasks of machines.
    async fn finish_tasks(&self) {
        loop {
            let mut tasks = std::mem::take(&mut *locked(&self.tasks));
            if tasks.is_empty() {
                return;
            }
            while tasks.join_next().await.is_some() {}
        }
    }

    /// Leaves machines as they are.
    fn abandon(&self) {
        locked(&self.tasks).abort_all();
    }

    /// Reads the present world.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&locked(&self.world))
    }

    /// Changes the world, and starts the effects.
    pub(crate) fn change<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut World, &mut Dice, Timestamp) -> (T, Vec<Effect>),
    ) -> T {
        let mut world = locked(&self.world);
        let now = Timestamp::now();
        let before = world.revision();
        // Effects that were due before the call precede it.
        self.turn(&mut world, Vec::new(), now);
        let (answer, effects) = change(&mut world, &mut locked(&self.dice), now);
        self.turn(&mut world, effects, now);
        self.save(&world, before);
        self.wake.notify_one();
        answer
    }

    /// Starts these effects, and those of everything that is due.
    fn turn(self: &Arc<Self>, world: &mut World, mut effects: Vec<Effect>, now: Timestamp) {
        loop {
            effects.extend(world.advance(now));
            let mut again = false;
            for effect in effects.drain(..) {
                again |= self.machines.begin(self, world, effect, now);
            }
            if !again {
                return;
            }
        }
    }

    fn save(&self, world: &World, before: u64) {
        let Some(path) = self.state.as_deref().filter(|_| world.revision() != before) else {
            return;
        };
        if let Err(error) = state::save(path, world.records()) {
            tracing::error!("jobs and machines would not outlive the program: {error}");
        }
    }

    /// Executes what is due; returns the time until the next.
    fn tick(self: &Arc<Self>) -> Duration {
        let mut world = locked(&self.world);
        let now = Timestamp::now();
        let before = world.revision();
        self.turn(&mut world, Vec::new(), now);
        self.save(&world, before);
        let due = world.next_due(now).map(|due| now.duration_until(due));
        due.and_then(|due| Duration::try_from(due).ok())
            .unwrap_or(Duration::from_secs(3600))
    }
}

/// Runs until the end, waking when something is due.
async fn keep_time(shared: Arc<Shared>) {
    loop {
        let pause = shared.tick();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.wake.notified() => {}
        }
    }
}
