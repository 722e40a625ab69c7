//! A machine's parts and program, from the records.

use crate::{Power, catalogue::What, world::World};

/// Folder of a job's input files, in which its executable is started.
pub(super) const JOB_FOLDER: &str = "opt/cloudbroker/job";
/// Folder of cloud-init's input.
const SEED: &str = "var/lib/cloud/seed/nocloud";

/// A machine to boot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Machine {
    pub(super) id: String,
    /// Name in its order.
    pub(super) name: String,
    pub(super) hostname: String,
    /// Id of the software.
    pub(super) software: String,
    pub(super) cpus: u32,
    /// GiB.
    pub(super) memory: f64,
    /// Paths without the leading slash, and contents. Secret.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// It was booted before, so it must exist.
    pub(super) is_on: bool,
}

impl Machine {
    /// The machine of this instance, unless it is to be stopped already.
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

/// A job's executable on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// Name of the job.
    pub(super) job: String,
    /// Id of the instance.
    pub(super) machine: String,
    /// File in the software's image.
    pub(super) binary: String,
    /// In a shell's notation.
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
