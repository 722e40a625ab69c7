//! Executes the world's effects on machines, which are records only or containers.

mod docker;
mod exec;
mod order;
mod software;

use crate::{
    SimulatorError,
    catalogue::Entry,
    config::MachineKind,
    simulator::Shared,
    world::{Effect, World},
};
pub(crate) use docker::Docker;
use jiff::Timestamp;
use order::{Machine, Program};
use std::{sync::Arc, time::Duration};

/// Pause between attempts that the engine refuses.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) enum Machines {
    /// Records only.
    None,
    /// Containers with an engine of their own.
    Docker(Arc<Docker>),
}

impl Machines {
    /// Prepares the engine: its network, and the images of the softwares with a package.
    pub(crate) async fn prepare(
        kind: MachineKind,
        catalogue: &[Entry],
        realm: &str,
    ) -> Result<Self, SimulatorError> {
        match kind {
            MachineKind::None => Ok(Self::None),
            MachineKind::Docker(config) => {
                let docker = Docker::prepare(config, catalogue, realm)
                    .await
                    .map_err(SimulatorError::Engine)?;
                Ok(Self::Docker(Arc::new(docker)))
            }
        }
    }

    /// Softwares (ids) with real executables.
    pub(crate) fn packaged(&self) -> impl Iterator<Item = String> {
        let images = match self {
            Self::None => None,
            Self::Docker(docker) => Some(docker.images.keys().cloned()),
        };
        images.into_iter().flatten()
    }

    /// Begins an effect. True if it is complete already, so that more may be due.
    pub(crate) fn begin(
        &self,
        shared: &Arc<Shared>,
        world: &mut World,
        effect: Effect,
        now: Timestamp,
    ) -> bool {
        let Self::Docker(docker) = self else {
            pretend(world, effect, now);
            return true;
        };
        let (shared, docker) = (shared.clone(), docker.clone());
        let tasks = shared.clone();
        match effect {
            Effect::Boot(id) => tasks.spawn(live(shared, docker, id)),
            Effect::Halt(id, politely) => tasks.spawn(halt(shared, docker, id, politely)),
            Effect::Run(job) => tasks.spawn(run(shared, docker, job)),
        }
        false
    }
}

/// A machine that is a record completes everything at once.
fn pretend(world: &mut World, effect: Effect, now: Timestamp) {
    match effect {
        Effect::Boot(id) => {
            world.started(&id, now);
            let address = made_up(world.records().instances.len());
            world.up(&id, &address, now);
        }
        Effect::Halt(id, _) => world.gone(&id, now),
        Effect::Run(job) => world.ran(&job, 0, now),
    }
}

/// A unique made-up address.
fn made_up(number: usize) -> String {
    format!(
        "10.{}.{}.{}",
        64 + number / 62_500 % 64,
        number / 250 % 250,
        number % 250 + 2
    )
}

/// A machine's life, from its boot (or its state at the program's restart) to an unrequested end.
async fn live(shared: Arc<Shared>, docker: Arc<Docker>, id: String) {
    let booted = {
        let _turn = docker.turn(&id).await;
        let Some(machine) = shared.look(|world| Machine::wanted(world, &id)) else {
            return;
        };
        docker.boot(&machine).await
    };
    let end = match booted {
        Err(why) => why,
        Ok(()) => {
            shared.change(|world, _, now| (world.started(&id, now), Vec::new()));
            match docker.wait_until_up(&id).await {
                Err(why) => why,
                Ok(address) => {
                    shared.change(|world, _, now| (world.up(&id, &address, now), Vec::new()));
                    docker.wait_for_end(&id).await
                }
            }
        }
    };
    shared.change(|world, _, now| {
        let effects = world.died(&id, &end, now);
        if !effects.is_empty() {
            tracing::warn!(instance = id, "{end}");
        }
        ((), effects)
    });
}

async fn halt(shared: Arc<Shared>, docker: Arc<Docker>, id: String, politely: bool) {
    let _turn = docker.turn(&id).await;
    while let Err(error) = docker.remove(&id, politely).await {
        tracing::warn!(instance = id, "it cannot be removed yet: {error}");
        tokio::time::sleep(RETRY).await;
    }
    shared.change(|world, _, now| (world.gone(&id, now), Vec::new()));
}

/// Runs a job's executable on the first of its machines. Losing that machine fails the job
/// elsewhere.
async fn run(shared: Arc<Shared>, docker: Arc<Docker>, job: String) {
    let Some(program) = shared.look(|world| Program::of(world, &job)) else {
        return;
    };
    let said = |text: &str| {
        text.lines()
            .for_each(|line| tracing::info!(job = program.job, "{line}"));
        shared.change(|world, _, _| (world.said(&job, text), Vec::new()));
    };
    match docker.run(&program, said).await {
        Ok(code) => shared.change(|world, _, now| (world.ran(&job, code, now), Vec::new())),
        Err(error) => tracing::warn!(
            job = program.job,
            "its executable is lost from sight: {error}"
        ),
    }
}
