//! What a machine is made of, and what runs on it, as the records say.

use crate::{Power, catalogue::What, world::World};

/// Where a job's input files lie, and where its executable is started.
pub(super) const JOB_FOLDER: &str = "opt/cloudbroker/job";
/// Where cloud-init looks for what it is given.
const SEED: &str = "var/lib/cloud/seed/nocloud";

/// A machine to boot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Machine {
    pub(super) id: String,
    /// Under which name it was ordered.
    pub(super) name: String,
    pub(super) hostname: String,
    /// The software's id.
    pub(super) software: String,
    pub(super) cpus: u32,
    /// GiB.
    pub(super) memory: f64,
    /// Paths without the leading slash, and contents. Secret.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// It has been switched on before: it must be there already.
    pub(super) is_on: bool,
}

impl Machine {
    /// The machine of this instance, unless it is to be switched off already.
    pub(super) fn wanted(world: &World, id: &str) -> Option<Self> {
        let instance = world.records().instances.get(id)?;
        let is_on = match instance.machine.power {
            Power::Asked => false,
            Power::On | Power::Up => true,
            Power::Off | Power::Ending | Power::Gone => return None,
        };
        let What::InstanceType { cpus, memory, .. } = world.entry(&instance.instance_type)?.what
        else {
            return None;
        };
        let hostname = format!("vm-{}", id[4..13].replace('-', ""));
        let mut files = Vec::new();
        if let Some(job) = &instance.job {
            files.extend(world.files_of(job).map(|file| {
                (
                    format!("{JOB_FOLDER}/{}", file.name),
                    file.content.0.clone(),
                )
            }));
        }
        if let Some(data) = &instance.user_data {
            let about = format!("instance-id: {id}\nlocal-hostname: {hostname}\n");
            files.extend([
                (format!("{SEED}/meta-data"), about.into_bytes()),
                (format!("{SEED}/user-data"), data.0.clone()),
            ]);
        }
        let (name, software) = (instance.ordered_as.clone(), instance.software.clone());
        Some(Self {
            id: id.to_owned(),
            name,
            hostname,
            software,
            cpus,
            memory,
            files,
            is_on,
        })
    }
}

/// A job's executable, to run on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// The job's name.
    pub(super) job: String,
    /// The instance's id.
    pub(super) machine: String,
    /// The file in the software's image.
    pub(super) binary: String,
    /// As a shell reads them.
    pub(super) arguments: String,
}

impl Program {
    pub(super) fn of(world: &World, job: &str) -> Option<Self> {
        let job = world.records().jobs.get(job)?;
        let What::Executable { binary, .. } = &world.entry(&job.executable)?.what else {
            return None;
        };
        let machine = world
            .instances_of(job)
            .find(|instance| !instance.status.is_over())?;
        let (machine, binary) = (machine.id.clone(), binary.clone());
        Some(Self {
            job: job.name.clone(),
            machine,
            binary,
            arguments: job.arguments.clone().unwrap_or_default(),
        })
    }
}
