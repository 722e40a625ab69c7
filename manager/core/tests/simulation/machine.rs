//! One simulated machine: its order, its state and its faults.

use micado_api::{FlavourName, InstanceId, Location, MachineName, Tag};
use micado_cloudsetup::{Machine as Listed, MachineState};
use std::collections::BTreeMap;

/// Next step of a machine.
#[derive(Debug, Clone, Copy)]
pub enum MachineTurn {
    Boots,
    /// Trades its credential.
    Joins,
    /// Its engine joins the Swarm with the worker token that it received.
    Enters(u64),
    /// Stops running, but stays listed by its cloud.
    Dies,
    /// Comes back after a hang or a cut.
    Returns,
    /// Its return is complete.
    Gone,
}

/// A machine at a broker.
pub struct Machine {
    /// Unlike the instance, never used twice: a late launch can make a second machine of the same
    /// name after the first is gone.
    pub serial: u64,
    pub instance: InstanceId,
    pub tag: Tag,
    pub location: Location,
    pub application: String,
    pub flavour: FlavourName,
    pub state: MachineState,
    pub address: Option<String>,
    /// Node in the Swarm, once it has joined.
    pub node: Option<u64>,
    /// Time of joining.
    pub joined_at: Option<u64>,
    /// Time at which its return will be complete.
    pub gone_at: Option<u64>,
    /// Fault that affected it, if any: a machine without one must not fail.
    pub hurt: Option<&'static str>,
    /// Frozen or cut off.
    pub silent: bool,
    /// Made by a call that had timed out, or by a manager that had died.
    pub late: bool,
    /// Number of lists that showed it to the core.
    pub listed: u32,
}

impl Machine {
    /// Hash of its own key, made when it first booted.
    pub fn key(&self) -> String {
        format!("key of m{}", self.serial)
    }
    pub fn runs(&self) -> bool {
        self.state == MachineState::Running && !self.silent
    }
}

/// State of one cloud.
pub struct Cloud {
    pub setup: micado_cloudsetup::Cloud,
    pub machines: BTreeMap<u64, Machine>,
    /// Does not answer.
    pub down: bool,
    /// Refuses orders: all, or those of one flavour.
    pub refuses: Option<Option<FlavourName>>,
    /// Keeps the properties of an order.
    pub tells: bool,
}

impl Cloud {
    pub fn of(&self, instance: &InstanceId) -> Option<&Machine> {
        self.machines.values().find(|it| it.instance == *instance)
    }
    pub fn list(&self, cluster: &micado_api::ClusterId) -> Vec<Listed> {
        self.machines
            .values()
            .map(|it| self.listed(cluster, it))
            .collect()
    }
    pub fn listed(&self, cluster: &micado_api::ClusterId, machine: &Machine) -> Listed {
        Listed {
            name: MachineName::new(cluster, &machine.instance).to_string(),
            instance: machine.instance.clone(),
            id: format!("m{}", machine.serial),
            state: machine.state,
            address: machine.address.clone(),
            tag: self.tells.then(|| machine.tag.clone()),
            location: self.tells.then(|| machine.location.clone()),
            application: self.tells.then(|| machine.application.clone()),
            flavour: self.tells.then(|| machine.flavour.clone()),
            detail: machine.hurt.map(str::to_owned),
        }
    }
}
