//! A simulator of CloudBroker's REST API: what tests and the tour rent their machines from. An
//! independent reading of what is known of it, see the README.

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

/// What is behind a lock, also after a panic of another who held it: a test that has failed still
/// wants to look.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
