//! What the node agent and the manager say to each other: JSON text frames on the WebSocket
//! `GET /v1/agent`, which the agent opens with its instance's client certificate.

use crate::{MemoryBytes, Timestamp};
use serde::{Deserialize, Serialize};

/// The longest time between two sweeps of an agent, in milliseconds.
pub const LONGEST_INTERVAL_MS: u64 = 600_000;

/// From the agent to the manager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromAgent {
    /// The first frame of every connection.
    Hello {
        /// The agent's version.
        version: String,
        /// Drawn at random when the agent's process starts: sequences count within it.
        run: String,
        /// 1 or 2.
        cgroup: u8,
    },
    /// What was measured in one sweep.
    Samples(SampleBatch),
    /// Something happened to a container.
    Event(ContainerEvent),
}

/// From the manager to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToAgent {
    /// The batch of this sequence and all before it, and all events sent before, need not be kept
    /// any longer.
    Ack {
        /// Of the run that the connection's `Hello` named.
        sequence: u64,
    },
    /// Open `GET /v1/agent/sessions/{id}` (a WebSocket too) and do this on it.
    Session {
        /// Unguessable, and good for one connection.
        id: String,
        /// What to do.
        work: SessionWork,
    },
}

/// One sweep over the machine and its containers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleBatch {
    /// Rises by one with every batch of a run: a batch that is sent again after a cut is known by
    /// it.
    pub sequence: u64,
    /// When it was measured, by the machine's clock.
    pub at: Timestamp,
    /// It could not be sent when it was measured.
    #[serde(default)]
    pub late: bool,
    /// The machine as a whole.
    pub machine: MachineSample,
    /// The containers that ran, and those that ended since the last sweep, with their last figures.
    pub containers: Vec<ContainerSample>,
}

/// A machine at one moment. Counters rise from the machine's boot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineSample {
    /// Milliseconds by a clock that rises steadily within a run of the agent: `at` may be set at
    /// any time, and what lies between two batches is told by this.
    #[serde(default)]
    pub steady_ms: Option<u64>,
    /// Its memory (the instance's own, where it is a container).
    pub memory_total: MemoryBytes,
    /// What could still be had without swapping.
    pub memory_left: MemoryBytes,
    /// CPU time used by all of it, nanoseconds.
    pub cpu_ns: u64,
    /// Its cores, in billionths.
    pub cores: u64,
    /// Load average over one minute; nothing where the machine cannot tell its own.
    pub load: Option<f64>,
    /// Left on the file system of the engine's data root, bytes.
    pub disk_left: u64,
    /// That file system's size, bytes.
    pub disk_total: u64,
}

/// A container at one moment. Counters rise from its start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerSample {
    /// The engine's id.
    pub id: String,
    /// The Swarm service it is of (the engine's label); nothing for others' containers.
    pub service: Option<String>,
    /// When it began by the engine, by the machine's clock; nothing for one that ended before the
    /// engine could be asked.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// CPU time used, nanoseconds.
    pub cpu_ns: u64,
    /// Time that it wanted to run and was not let, nanoseconds.
    pub cpu_throttled_ns: u64,
    /// Memory used less the file cache that can be dropped at once.
    pub working_set: MemoryBytes,
    /// The largest working set since the last sweep, as far as the kernel tells.
    pub working_set_peak: MemoryBytes,
    /// Its limit; nothing when there is none.
    pub memory_limit: Option<MemoryBytes>,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: u64,
    /// Share of the last ten seconds that some task waited for memory, in percent; where the kernel
    /// tells.
    pub memory_pressure: Option<f64>,
    /// The same for CPU.
    pub cpu_pressure: Option<f64>,
    /// Bytes received over its network interfaces but loopback.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes read from block devices.
    pub read: u64,
    /// Bytes written to block devices.
    pub written: u64,
    /// It no longer ran: these are its last figures.
    #[serde(default)]
    pub ended: bool,
}

/// Something that happened to a container, by the engine's event stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerEvent {
    /// The engine's id.
    pub id: String,
    /// The Swarm service it is of; nothing for others' containers.
    pub service: Option<String>,
    /// When, by the machine's clock.
    pub at: Timestamp,
    /// What.
    pub what: ContainerHappening,
}

/// What can happen to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum ContainerHappening {
    /// Its process runs.
    Started,
    /// Its process ended.
    Died {
        /// The exit code.
        exit_code: i64,
        /// Whether the kernel killed it for want of memory.
        oom: bool,
    },
    /// Its health check says so.
    Healthy,
    /// Its health check says so.
    Unhealthy,
}

impl ContainerHappening {
    /// What happened in one word, the same as on the wire.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Died { .. } => "died",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What a session does on a container, which is named as the engine knows it.
///
/// On the session's WebSocket, binary frames carry data: their first byte is the
/// [channel](channel), the rest the bytes. Text frames carry a [`SessionNote`] in JSON. The
/// caller's WebSocket to the manager speaks the same, and the manager passes frames on as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum SessionWork {
    /// Run a command. Of its input at most [`INPUT_AHEAD`] frames of [`INPUT_FRAME`] may have been
    /// sent that it has not taken: so whatever else is said gets past input that the command does
    /// not want.
    Exec {
        /// The container.
        container: String,
        /// Program and arguments.
        command: Vec<String>,
        /// With a terminal: then there is no separate standard error.
        terminal: bool,
        /// `KEY=VALUE` each, such as `TERM`.
        environment: Vec<String>,
    },
    /// Unpack a tar that comes on channel 0 into a folder of the container; owners and modes are
    /// kept.
    CopyTo {
        /// The container.
        container: String,
        /// An absolute path of a folder that is there.
        path: String,
    },
    /// Send a file or folder of the container as a tar on channel 1.
    CopyFrom {
        /// The container.
        container: String,
        /// An absolute path.
        path: String,
    },
    /// Send the log of a Swarm service's newest container that has ended, its standard output and
    /// standard error as they came, on channels 1 and 2: of the run before the present one, or of
    /// the last. Exit code 1 where there is none.
    PreviousLog {
        /// The Swarm service.
        service: String,
        /// Only so many lines of its end.
        tail: Option<u32>,
        /// Only what is later, in seconds since the Unix epoch.
        since: Option<i64>,
        /// Begin each line with its time.
        timestamps: bool,
    },
}

/// So many frames of input may be on their way to a command, or wait for it, until it says that
/// more may be. Who sends more is refused, for an agent that let them wait on the connection would
/// not hear that its caller has gone.
pub const INPUT_AHEAD: usize = 8;
/// The most input that one such frame may carry, in bytes.
pub const INPUT_FRAME: usize = 64 << 10;

/// The first byte of a session's binary frame.
pub mod channel {
    /// To the work: its standard input, or the tar to unpack. From a command: as it takes its
    /// input, how many more frames may be sent, in one byte.
    pub const IN: u8 = 0;
    /// From the work: its standard output, or the tar.
    pub const OUT: u8 = 1;
    /// From the work: its standard error.
    pub const ERROR: u8 = 2;
}

/// A text frame of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum SessionNote {
    /// To the work: no more input comes.
    End,
    /// To the work: the terminal's size.
    Resize {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// To the work: a signal, such as `INT`.
    Signal {
        /// Its name without `SIG`.
        name: String,
    },
    /// From the work, the last: it ended.
    Exit {
        /// The command's exit code; 0 for copies and logs that went well.
        code: i64,
    },
    /// From the work, the last: it could not be done, in words for people.
    Failed {
        /// Why, and what to do.
        message: String,
    },
}
