//! A simulator of CloudBroker's REST API, from which tests and `scripts/up` rent their machines. An
//! independent reading of the published clients, see the README.

mod answer;
mod audit;
mod catalogue;
mod config;
mod content;
mod faults;
mod fields;
mod listen;
mod machines;
mod pace;
mod people;
mod random;
mod record;
mod route;
mod server;
mod show;
mod simulator;
mod spelling;
mod state;
mod status;
mod tls;
mod world;
mod xml;

pub use audit::CallRecord;
pub use catalogue::{Catalogue, Executable, InstanceType, Region, Resource, Software};
pub use config::{Certificate, Config, DockerMachines, Https, MachineKind};
pub use content::Content;
pub use faults::{CallKind, Fault, Faults, Happened, Rule};
pub use pace::Pace;
pub use record::{Activity, DataFile, Fate, Instance, Job, Machine, Outcome, Power, Run};
pub use simulator::{Simulator, SimulatorError};
pub use spelling::{Nulls, Spelling};
pub use status::{InstanceStatus, JobStatus, Status};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after another holder's panic: a failed test still reads the state.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
