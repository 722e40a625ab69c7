//! Protocol between node agent and manager: JSON text frames on the WebSocket `GET /v1/agent`,
//! which the agent opens with its instance's client certificate.

pub use crate::health::{AgentCheck, HealthReport};
use crate::{MemoryBytes, Timestamp};
use serde::{Deserialize, Serialize};

/// The longest interval between two sweeps of an agent, in milliseconds.
pub const LONGEST_INTERVAL_MS: u64 = 600_000;

/// Upper bound for an id in these frames: of an engine's container, or of a run of the agent.
pub const LONGEST_ID: usize = 64;

/// True for a text that can be an engine's id: short, and of letters and digits only.
#[must_use]
pub fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// From the agent to the manager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromAgent {
    /// The first frame of every connection.
    Hello {
        /// The agent's version.
        version: String,
        /// Random id of this run of the agent: sequences count within a run.
        run: String,
        /// Cgroup version: 1 or 2.
        cgroup: u8,
    },
    /// Measurements of one sweep.
    Samples(SampleBatch),
    /// An event of a container.
    Event(ContainerEvent),
    /// Health of checked copies: all of them after connecting, later those that changed.
    Health {
        /// At most [`crate::health::MOST_CHECKS`].
        reports: Vec<HealthReport>,
    },
}

/// From the manager to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToAgent {
    /// The agent may discard the batch of this sequence, all earlier ones, and all events sent
    /// before.
    Ack {
        /// Sequence within the run that the connection's `Hello` named.
        sequence: u64,
    },
    /// Open `GET /v1/agent/sessions/{id}` (a WebSocket too) and run this work on it.
    Session {
        /// Unguessable, valid for one connection.
        id: String,
        /// The work.
        work: SessionWork,
    },
    /// Sweep at this interval until the connection ends, if it is shorter than the agent's own.
    Pace {
        /// Milliseconds; absent for the agent's own interval.
        interval_ms: Option<u64>,
    },
    /// Check these copies and no others.
    Checks {
        /// At most [`crate::health::MOST_CHECKS`].
        checks: Vec<AgentCheck>,
    },
}

/// One sweep over the machine and its containers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleBatch {
    /// Rises by one with every batch of a run; identifies a batch that is sent again after a cut.
    pub sequence: u64,
    /// Time of measurement, by the machine's clock.
    pub at: Timestamp,
    /// Set if the batch could not be sent when it was measured.
    #[serde(default)]
    pub late: bool,
    /// The machine as a whole.
    pub machine: MachineSample,
    /// Containers that ran, and those that ended since the last sweep, with their last values.
    pub containers: Vec<ContainerSample>,
}

/// A machine at one moment. Counters rise from the machine's boot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineSample {
    /// Milliseconds on a clock that rises steadily within a run of the agent. Gives the time
    /// between two batches, because `at` may be set at any time.
    #[serde(default)]
    pub steady_ms: Option<u64>,
    /// Memory of the machine (the instance's own, if it is a container).
    pub memory_total: MemoryBytes,
    /// Memory that could be allocated without swapping.
    pub memory_left: MemoryBytes,
    /// CPU time used by the whole machine, nanoseconds.
    pub cpu_ns: u64,
    /// Cores, in billionths.
    pub cores: u64,
    /// Load average over one minute; absent where the machine has none of its own.
    pub load: Option<f64>,
    /// Bytes left on the file system of the engine's data root.
    pub disk_left: u64,
    /// Size of that file system, bytes.
    pub disk_total: u64,
}

/// A container at one moment. Counters rise from its start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerSample {
    /// The engine's id.
    pub id: String,
    /// Its Swarm service (the engine's label); absent for foreign containers.
    pub service: Option<String>,
    /// Start time as the engine reports it, by the machine's clock; absent for a container that
    /// ended before the engine could be asked.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// CPU time used, nanoseconds.
    pub cpu_ns: u64,
    /// Time in which it wanted to run and was throttled, nanoseconds.
    pub cpu_throttled_ns: u64,
    /// Memory usage less the file cache that can be dropped at once.
    pub working_set: MemoryBytes,
    /// The largest working set since the last sweep, as far as the kernel reports it.
    pub working_set_peak: MemoryBytes,
    /// Memory limit; absent if there is none.
    pub memory_limit: Option<MemoryBytes>,
    /// OOM-killed processes.
    pub oom_kills: u64,
    /// Percent of the last ten seconds in which some task waited for memory; absent if the kernel
    /// does not report it.
    pub memory_pressure: Option<f64>,
    /// The same for CPU.
    pub cpu_pressure: Option<f64>,
    /// Bytes received over its network interfaces, loopback excluded.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes read from block devices.
    pub read: u64,
    /// Bytes written to block devices.
    pub written: u64,
    /// Set once it no longer runs: these are its last values.
    #[serde(default)]
    pub ended: bool,
}

/// An event of a container, from the engine's event stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerEvent {
    /// The engine's id.
    pub id: String,
    /// Its Swarm service; absent for foreign containers.
    pub service: Option<String>,
    /// Time, by the machine's clock.
    pub at: Timestamp,
    /// Kind of event, with details.
    pub what: ContainerHappening,
}

/// Kinds of events of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum ContainerHappening {
    /// Its process runs.
    Started,
    /// Its process ended.
    Died {
        /// The exit code.
        exit_code: i64,
        /// Set if one of its processes was OOM-killed.
        oom: bool,
    },
    /// Its health check passes.
    Healthy,
    /// Its health check fails.
    Unhealthy,
}

impl ContainerHappening {
    /// The kind in one word, as on the wire.
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

/// Work of a session on a container, which is named by the engine's id.
///
/// On the session's WebSocket, binary frames carry data: the first byte is the [channel](channel),
/// the rest the bytes. Text frames carry a [`SessionNote`] in JSON. The caller's WebSocket to the
/// manager uses the same frames, and the manager relays them unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum SessionWork {
    /// Run a command. At most [`INPUT_AHEAD`] input frames of [`INPUT_FRAME`] bytes may be in
    /// flight until the command takes them, so notes get past input that the command does not want.
    Exec {
        /// The container.
        container: String,
        /// Program and arguments.
        command: Vec<String>,
        /// Allocate a terminal; there is no separate standard error then.
        terminal: bool,
        /// `KEY=VALUE` each, such as `TERM`.
        environment: Vec<String>,
    },
    /// Unpack a tar from channel 0 into a folder of the container; owners and modes are kept.
    CopyTo {
        /// The container.
        container: String,
        /// Absolute path of an existing folder.
        path: String,
        /// Files belong to the user that the container runs as, instead of the tar's owners.
        #[serde(default)]
        archive: bool,
    },
    /// Send a file or folder of the container as a tar on channel 1. Each line on channel 2 names
    /// an entry that the tar lacks.
    CopyFrom {
        /// The container.
        container: String,
        /// An absolute path.
        path: String,
    },
    /// Send a [`PathView`](crate::PathView) in JSON on channel 1.
    Stat {
        /// The container.
        container: String,
        /// An absolute path.
        path: String,
    },
    /// Send the log of a Swarm service's newest ended container: standard output and standard error
    /// in their order, on channels 1 and 2. This is the run before the present one, or the last
    /// one. Exit code 1 if there is none.
    PreviousLog {
        /// The Swarm service.
        service: String,
        /// Only this many lines from its end.
        tail: Option<u32>,
        /// Only later lines, in seconds since the Unix epoch.
        since: Option<i64>,
        /// Prefix each line with its time.
        timestamps: bool,
    },
}

/// Flow-control window in frames: the command's unconsumed input may not exceed it. A sender that
/// exceeds it is refused: an agent with unread frames on the connection would not notice that its
/// caller has gone.
pub const INPUT_AHEAD: usize = 8;
/// Upper bound for one input frame, in bytes.
pub const INPUT_FRAME: usize = 64 << 10;

/// The first byte of a session's binary frame.
pub mod channel {
    /// To the work: standard input, or the tar to unpack. From a command: flow-control credit, as
    /// one byte with the number of further frames.
    pub const IN: u8 = 0;
    /// From the work: standard output, or the tar.
    pub const OUT: u8 = 1;
    /// From the work: standard error.
    pub const ERROR: u8 = 2;
}

/// A text frame of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum SessionNote {
    /// To the work: end of input.
    End,
    /// To the work: size of the terminal.
    Resize {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// To the work: a signal, such as `INT`.
    Signal {
        /// Name without `SIG`.
        name: String,
    },
    /// From the work, as the last frame: it ended.
    Exit {
        /// The command's exit code; 0 for successful copies and logs.
        code: i64,
    },
    /// From the work, as the last frame: it failed, with a message for people.
    Failed {
        /// Reason and next step.
        message: String,
    },
}
