//! One container: its files, and its figures as they were last seen.

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

/// One sweep in so many looks at a container as a whole; the others leave out what stood still and
/// pressure.
const WHOLE: u32 = 4;

/// A container that runs.
#[derive(Debug)]
pub struct Container {
    /// Its first process.
    pub pid: u32,
    cpu: Cpu,
    memory: Memory,
    block: Block,
    network: Option<Network>,
    memory_pressure: Pressure,
    cpu_pressure: Pressure,
    /// How many sweeps ago it was looked at as a whole; containers begin at different figures, so
    /// that no sweep has all of them to do.
    turn: u32,
    /// What cannot be read any more stays as it was.
    last: ContainerSample,
}

impl Container {
    /// Opens the files of a container and takes a first look.
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

    /// Leaves the network to another container that shares it.
    pub fn without_network(mut self) -> Self {
        self.network = None;
        (self.last.received, self.last.sent) = (0, 0);
        self
    }

    /// Its limit may have changed.
    pub fn read_limit(&mut self, scratch: &mut Scratch) {
        self.last.memory_limit = self.memory.limit(scratch).map(MemoryBytes);
    }

    /// Reads its figures; all of them, or those that move.
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
            // An interface that is taken away takes its count with it.
            (last.received, last.sent) = (
                last.received.max(network.received),
                last.sent.max(network.sent),
            );
        }
        // Averages over ten seconds: reading them more often tells little more.
        if whole {
            last.memory_pressure = self.memory_pressure.read(scratch).or(last.memory_pressure);
            last.cpu_pressure = self.cpu_pressure.read(scratch).or(last.cpu_pressure);
        }
    }

    /// Reads its figures, and counts the peak from here on anew.
    pub fn sample(&mut self, scratch: &mut Scratch) -> ContainerSample {
        self.turn = (self.turn + 1) % WHOLE;
        self.look(self.turn == 0, scratch);
        let sample = self.last.clone();
        self.last.working_set_peak = MemoryBytes(0);
        sample
    }

    /// Its last figures.
    #[must_use]
    pub fn end(mut self, scratch: &mut Scratch) -> ContainerSample {
        self.look(true, scratch);
        self.last.working_set_peak = self.last.working_set_peak.max(self.last.working_set);
        self.last.ended = true;
        self.last
    }
}
