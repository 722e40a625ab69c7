//! One container: its open files, and its last values.

use super::{
    block::Block,
    cpu::Cpu,
    files::{Kernel, Scratch},
    hierarchy::{Folders, Version},
    memory::Memory,
    network::Network,
    pressure::Pressure,
};
use micado_api::{MemoryBytes, agent::ContainerSample};

/// Every fourth sweep reads a container completely; the others skip pressure and values that stand
/// still.
const WHOLE: u32 = 4;

/// A running container.
#[derive(Debug)]
pub struct Container {
    pub pid: u32,
    cpu: Cpu,
    memory: Memory,
    block: Block,
    network: Option<Network>,
    memory_pressure: Pressure,
    cpu_pressure: Pressure,
    /// Sweeps since the last complete reading. Containers start at different values, so that no
    /// sweep reads all of them completely.
    turn: u32,
    /// A value that can no longer be read keeps its last state.
    last: ContainerSample,
}

impl Container {
    /// Opens the files of a container and reads them once.
    #[must_use]
    pub fn open(
        kernel: &Kernel,
        version: Version,
        folders: &Folders,
        pid: u32,
        last: ContainerSample,
        scratch: &mut Scratch,
    ) -> Self {
        let pressure = |name| Pressure::open(folders.pressure.as_deref(), name);
        let mut container = Self {
            pid,
            cpu: Cpu::open(version, folders),
            memory: Memory::open(version, folders),
            block: Block::open(version, folders),
            network: Network::open(kernel, pid),
            memory_pressure: pressure("memory.pressure"),
            cpu_pressure: pressure("cpu.pressure"),
            turn: pid % WHOLE,
            last,
        };
        container.read_limit(scratch);
        container.look(true, scratch);
        container
    }

    /// The network namespace that it counts.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.network.as_ref().map(Network::namespace)
    }

    /// Leaves the network to another container that shares the namespace.
    pub fn without_network(mut self) -> Self {
        self.network = None;
        (self.last.received, self.last.sent) = (0, 0);
        self
    }

    pub fn read_limit(&mut self, scratch: &mut Scratch) {
        self.last.memory_limit = self.memory.limit(scratch).map(MemoryBytes);
    }

    /// Reads all values, or those that change.
    pub fn look(&mut self, whole: bool, scratch: &mut Scratch) {
        let last = &mut self.last;
        if let Some(cpu) = self.cpu.read(whole, scratch) {
            (last.cpu_ns, last.cpu_throttled_ns) = (cpu.used, cpu.throttled);
        }
        if let Some(memory) = self.memory.read(whole, scratch) {
            last.working_set = MemoryBytes(memory.working_set);
            last.working_set_peak = last.working_set_peak.max(MemoryBytes(memory.peak));
            last.oom_kills = memory.oom_kills;
        }
        if let Some(block) = self.block.read(whole, scratch) {
            (last.read, last.written) = (block.read, block.written);
        }
        if let Some(network) = self
            .network
            .as_mut()
            .and_then(|network| network.read(whole, scratch))
        {
            // A removed interface takes its count with it.
            (last.received, last.sent) = (
                last.received.max(network.received),
                last.sent.max(network.sent),
            );
        }
        // Averages over ten seconds: reading them more often adds little.
        if whole {
            last.memory_pressure = self.memory_pressure.read(scratch).or(last.memory_pressure);
            last.cpu_pressure = self.cpu_pressure.read(scratch).or(last.cpu_pressure);
        }
    }

    /// Reads the values and restarts the peak.
    pub fn sample(&mut self, scratch: &mut Scratch) -> ContainerSample {
        self.turn = (self.turn + 1) % WHOLE;
        self.look(self.turn == 0, scratch);
        let sample = self.last.clone();
        self.last.working_set_peak = MemoryBytes(0);
        sample
    }

    /// The last values.
    #[must_use]
    pub fn end(mut self, scratch: &mut Scratch) -> ContainerSample {
        self.look(true, scratch);
        self.last.working_set_peak = self.last.working_set_peak.max(self.last.working_set);
        self.last.ended = true;
        self.last
    }
}
