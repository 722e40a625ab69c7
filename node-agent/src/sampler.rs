//! Reads the kernel's metrics of the machine and of each running container. It does not look for
//! containers; callers report them.

pub mod block;
pub mod container;
pub mod cpu;
pub mod files;
pub mod hierarchy;
pub mod machine;
pub mod memory;
pub mod network;
pub mod pressure;
pub mod resting;

use container::Container;
use files::{Kernel, Scratch};
use hierarchy::{Hierarchies, Version};
use machine::Machine;
use micado_api::{
    Timestamp,
    agent::{ContainerSample, MachineSample},
};
use std::{collections::BTreeMap, io, path::PathBuf};

/// Upper bound for ended containers kept for the next sweep; beyond it the oldest are dropped.
const MOST_ENDED: usize = 1000;

/// The machine, and its running containers.
#[derive(Debug)]
pub struct Sampler {
    kernel: Kernel,
    hierarchies: Hierarchies,
    machine: Machine,
    running: BTreeMap<String, Container>,
    ended: Vec<ContainerSample>,
    scratch: Scratch,
}

impl Sampler {
    /// A sampler of this kernel's machine, without containers.
    ///
    /// # Errors
    /// If it has no cgroups.
    pub fn new(kernel: Kernel) -> io::Result<Self> {
        let hierarchies = Hierarchies::find(&kernel)?;
        let machine = Machine::find(&kernel, &hierarchies);
        Ok(Self {
            kernel,
            hierarchies,
            machine,
            running: BTreeMap::new(),
            ended: Vec::new(),
            scratch: Scratch::default(),
        })
    }

    #[must_use]
    pub fn version(&self) -> Version {
        self.hierarchies.version()
    }

    /// Adds a container with its first process. False if it is not found: it may have ended
    /// already.
    pub fn started(
        &mut self,
        id: &str,
        service: Option<String>,
        started_at: Option<Timestamp>,
        pid: u32,
    ) -> bool {
        if self.running.get(id).is_some_and(|known| known.pid == pid) {
            return true;
        }
        let Ok(folders) = self.hierarchies.of_container(id, pid) else {
            return false;
        };
        let last = ContainerSample {
            id: id.to_owned(),
            service,
            started_at,
            ..ContainerSample::default()
        };
        let mut container = Container::open(
            &self.kernel,
            self.version(),
            &folders,
            pid,
            last,
            &mut self.scratch,
        );
        if container.namespace().is_some_and(|theirs| {
            self.running
                .values()
                .any(|other| other.namespace() == Some(theirs))
        }) {
            container = container.without_network();
        }
        self.running.insert(id.to_owned(), container);
        true
    }

    /// Rereads a container's limits after a change.
    pub fn updated(&mut self, id: &str) {
        if let Some(container) = self.running.get_mut(id) {
            container.read_limit(&mut self.scratch);
        }
    }

    /// Removes a container. Its last values go with the next sweep, even if it was never seen
    /// running.
    pub fn ended(&mut self, id: &str, service: Option<String>) {
        let last = match self.running.remove(id) {
            Some(container) => container.end(&mut self.scratch),
            None => ContainerSample {
                id: id.to_owned(),
                service,
                ended: true,
                ..ContainerSample::default()
            },
        };
        if self.ended.len() == MOST_ENDED {
            self.ended.remove(0);
        }
        self.ended.push(last);
    }

    /// Reads one container completely between two sweeps; true if it runs.
    pub fn look(&mut self, id: &str) -> bool {
        self.running
            .get_mut(id)
            .map(|container| container.look(true, &mut self.scratch))
            .is_some()
    }

    /// Reads everything now.
    pub fn sweep(&mut self) -> (MachineSample, Vec<ContainerSample>) {
        let machine = self.machine.sample(&mut self.scratch);
        let mut containers = std::mem::take(&mut self.ended);
        containers.reserve_exact(self.running.len());
        containers.extend(
            self.running
                .values_mut()
                .map(|container| container.sample(&mut self.scratch)),
        );
        (machine, containers)
    }

    /// Sets the folder of the engine's data; its disk is measured.
    pub fn set_data_root(&mut self, data_root: PathBuf) {
        self.machine.set_data_root(data_root);
    }
}
