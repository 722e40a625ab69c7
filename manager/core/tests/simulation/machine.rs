//! One simulated machine: what was ordered, how far it is, and what befell it.

use micado_api::{FlavourName, InstanceId, Location, MachineName, Tag};
use micado_cloudsetup::{Machine as Listed, MachineState};
use std::collections::BTreeMap;

/// What a machine does next, by itself.
#[derive(Debug, Clone, Copy)]
pub enum MachineTurn {
    /// It starts to run.
    Boots,
    /// It trades its credential for what it needs to join.
    Joins,
    /// Its engine joins the Swarm with the worker token that it was told.
    Enters(u64),
    /// It stops running and stays on the bill.
    Dies,
    /// It comes back after a hang or a cut.
    Returns,
    /// It has been given back.
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
    /// Its node in the Swarm, once it has joined.
    pub node: Option<u64>,
    /// When it joined.
    pub joined_at: Option<u64>,
    /// When it will be gone, once it was told to.
    pub gone_at: Option<u64>,
    /// What befell it: a healthy machine must not be given up.
    pub hurt: Option<&'static str>,
    /// Frozen or cut off.
    pub silent: bool,
    /// Made by a call whose caller had given up on it or died.
    pub late: bool,
    /// In how many lists it reached the core.
    pub listed: u32,
}

impl Machine {
    /// Of its own key, made when it first booted.
    pub fn key(&self) -> String {
        format!("key of m{}", self.serial)
    }
    pub fn runs(&self) -> bool {
        self.state == MachineState::Running && !self.silent
    }
}

/// What one cloud rents out.
pub struct Cloud {
    pub setup: micado_cloudsetup::Cloud,
    pub machines: BTreeMap<u64, Machine>,
    /// It does not answer.
    pub down: bool,
    /// It refuses orders: all, or those of one flavour.
    pub refuses: Option<Option<FlavourName>>,
    /// It can tell what a machine was ordered as.
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
