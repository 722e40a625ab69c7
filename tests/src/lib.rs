//! End-to-end tests on real engines, and the simulators they need.

mod checker;
mod cli;
pub mod cloudbroker;
mod cluster;
mod diagnosis;
mod discovery;
mod engine;
mod faulty;
mod host;
mod machine;
mod manager;
mod mongod;
mod prometheus;
mod run;
mod setup;
mod tree;
mod view;

pub use checker::{Checked, Checker};
pub use cli::{Outcome, Running, run as run_micado};
pub use cloudbroker::Rented;
pub use cluster::{Cluster, Options};
pub use discovery::{Reader, Watch, dig, py_consul};
pub use faulty::{Fault, FaultyBroker};
pub use host::HostContainer;
pub use manager::{free_port, micado};
pub use mongod::{Mongod, Store};
pub use prometheus::{Prometheus, PromtoolCheck, Series};
pub use setup::{Request, Setup, job, small_machine, tools, web};
pub use tree::{Tree, tree};
pub use view::{View, is_full, measured, wait};
