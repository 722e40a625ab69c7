//! The running simulator, as tests hold it.

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

/// How long all machines together may take to be removed at the end.
const END_TIMEOUT: Duration = Duration::from_secs(60);

/// Why there is no simulator.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// The system's words.
        cause: io::Error,
    },
    /// A file or folder cannot be read or written.
    #[error("`{path}`: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words, or what it holds that makes no sense.
        cause: io::Error,
    },
    /// The certificate for HTTPS is of no use.
    #[error("the certificate for HTTPS: {0}")]
    Certificate(String),
    /// The engine that the machines run on does not do its part.
    #[error("{0}")]
    Engine(String),
}

/// A simulator in this process. Dropped, it stops serving; machines that are containers stay, see
/// [`Simulator::end`].
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    http: Door,
    https: Option<Door>,
    authority: Option<PathBuf>,
    clock: JoinHandle<()>,
}

/// What requests, the clock and machines share.
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
    /// What is done with machines.
    tasks: Mutex<JoinSet<()>>,
    state: Option<PathBuf>,
    /// Something may be due earlier than the clock thinks.
    wake: Notify,
}

impl Simulator {
    /// Starts one, with what the state file knows.
    ///
    /// # Errors
    /// When an address, a file, the certificate or the engine is of no use.
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

    /// Where HTTP is served, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.http.address())
    }

    /// Where HTTPS is served, if it is.
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

    /// What goes wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Every call since the start, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<CallRecord> {
        self.shared.audit.calls()
    }

    /// Refuses connections and cuts those that there are, until [`Simulator::up`]. Machines run on.
    pub async fn down(&self) {
        for serving in self.doors().filter_map(Door::shut) {
            // Either the listener has failed, which is down, or it has been shut.
            let _ = serving.await;
        }
    }

    /// Serves again, at the same addresses.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub fn up(&self) -> Result<(), SimulatorError> {
        self.doors().try_for_each(|door| {
            door.open(&self.shared)
                .map_err(|cause| SimulatorError::Listen {
                    address: door.address(),
                    cause,
                })
        })
    }

    /// The jobs that have not been deleted, oldest first.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        self.shared
            .look(|world| world.records().jobs.values().cloned().collect())
    }

    /// The input files of a job, by its id.
    #[must_use]
    pub fn files(&self, job: &str) -> Vec<DataFile> {
        self.shared
            .look(|world| world.files_of(job).cloned().collect())
    }

    /// Every instance that there ever was, oldest first; halted ones and those of deleted jobs
    /// among them.
    #[must_use]
    pub fn instances(&self) -> Vec<Instance> {
        self.shared
            .look(|world| world.records().instances.values().cloned().collect())
    }

    /// The instances that are paid for now.
    #[must_use]
    pub fn machines_running(&self) -> Vec<Instance> {
        let instances = self.instances().into_iter();
        instances
            .filter(|instance| instance.machine.is_on())
            .collect()
    }

    /// How many machines were ever switched on for orders of this name.
    #[must_use]
    pub fn booted_total(&self, name: &str) -> usize {
        let booted = |instance: &&Instance| {
            instance.ordered_as == name && instance.machine.booted_at.is_some()
        };
        self.shared
            .look(|world| world.records().instances.values().filter(booted).count())
    }

    /// Keeps everything in this status that comes to it or is in it, until [`Simulator::release`].
    pub fn pause_at(&self, status: impl Into<Status>) {
        self.hold(Hold {
            status: status.into(),
            subject: None,
        });
    }

    /// The same, only for what has this text in its name or description.
    pub fn pause_one_at(&self, status: impl Into<Status>, subject: &str) {
        self.hold(Hold {
            status: status.into(),
            subject: Some(subject.to_owned()),
        });
    }

    /// Nothing is kept back any more.
    pub fn release(&self) {
        self.shared
            .change(|world, _, _| (world.holds.clear(), Vec::new()));
    }

    /// Takes the jobs with this text in their name or description through all statuses up to this
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

    /// Stops serving, and removes every machine and all that was made for them.
    ///
    /// # Errors
    /// When the engine does not do its part.
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
    /// Does something with a machine beside everything else.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = locked(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Returns when nothing is done with machines any more.
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

    /// Looks at the world as it is now.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&locked(&self.world))
    }

    /// Changes the world, and does what follows from that.
    pub(crate) fn change<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut World, &mut Dice, Timestamp) -> (T, Vec<Effect>),
    ) -> T {
        let mut world = locked(&self.world);
        let now = Timestamp::now();
        let before = world.revision();
        // What was due before the call comes before it.
        self.turn(&mut world, Vec::new(), now);
        let (answer, effects) = change(&mut world, &mut locked(&self.dice), now);
        self.turn(&mut world, effects, now);
        self.save(&world, before);
        self.wake.notify_one();
        answer
    }

    /// Lets machines begin with these effects and those of everything that is due.
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

    /// Does what is due, and says how long nothing will be.
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

/// Wakes up when something is due.
async fn keep_time(shared: Arc<Shared>) {
    loop {
        let pause = shared.tick();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.wake.notified() => {}
        }
    }
}
