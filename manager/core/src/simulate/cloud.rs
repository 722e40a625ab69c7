//! Lean cloud of a simulated cluster: machines of one flavour, their boots, and what they cost.

use super::{bill::Bill, faults::Faults, options::Options};
use crate::{control::Config, engine::SwarmNode};
use micado_api::{
    CloudName, ClusterId, FlavourName, InstanceId, MachineName, MemoryBytes, NanoCpus,
    PricePerHour, Resources, Tag, Timestamp,
};
use micado_cloudsetup::{
    Application, BrokerError, BrokerKind, CloudSetup, Flavour, Machine as Listed, MachineState,
    Role,
};
use std::{collections::BTreeMap, time::Duration};

/// First moment of a load: a Monday, 00:00 UTC.
pub const BEGIN: Timestamp = Timestamp(1_767_571_200_000);

/// Names of the one cloud, flavour and application.
pub const CLOUD: &str = "cloud";
pub const FLAVOUR: &str = "machine";
pub const APPLICATION: &str = "Node";

/// Memory that a container reserves, and that its machine has for it: CPU is what is short.
pub const MEMORY: MemoryBytes = MemoryBytes::mib(64);
const MEMORY_EACH: MemoryBytes = MemoryBytes::mib(128);
/// Memory of a machine beside that of its containers.
const MEMORY_BESIDE: MemoryBytes = MemoryBytes::mib(1_024);

/// Units of [`PricePerHour`] in one.
const PRICE_UNIT: f64 = 1e6;

/// A rented machine.
#[derive(Debug)]
pub struct Machine {
    pub tag: Tag,
    pub ordered_at: Timestamp,
    pub joined_at: Option<Timestamp>,
    pub state: MachineState,
    /// Swarm services on it.
    pub copies: u32,
}

/// The machines that are paid for.
#[derive(Debug)]
pub struct Cloud {
    cluster: ClusterId,
    /// First moment of the run.
    pub begin: Timestamp,
    size: Resources,
    pub faults: Faults,
    pub machines: BTreeMap<InstanceId, Machine>,
    pub bill: Bill,
}

/// Settings of a cluster on one cloud.
pub fn config(options: &Options) -> Config {
    let seconds = options.boot.0 / 1_000;
    let flavour = Flavour {
        name: FlavourName::trusted(FLAVOUR),
        id: FLAVOUR.to_owned(),
        size: Some(size(options)),
        price: PricePerHour((options.price * PRICE_UNIT) as u64),
        billing: options.billing,
    };
    let cloud = micado_cloudsetup::Cloud {
        name: CloudName::trusted(CLOUD),
        provider: CLOUD.to_owned(),
        region: CLOUD.to_owned(),
        broker: BrokerKind::Local,
        endpoint: None,
        credentials: None,
        authority: None,
        wire: Default::default(),
        join_timeout: Duration::from_secs((3 * seconds).max(600)),
        flavours: vec![flavour],
    };
    let node = Application {
        name: APPLICATION.to_owned(),
        software: APPLICATION.to_owned(),
        executable: APPLICATION.to_owned(),
        param_template: None,
        rent: Default::default(),
        extra: Vec::new(),
        role: Role::Node,
    };
    let setup = CloudSetup {
        clouds: vec![cloud],
        applications: vec![node],
        locations: Vec::new(),
    };
    Config {
        max_instances: None,
        keep_gone: Duration::from_secs(600),
        ..Config::new(ClusterId::trusted("simulate"), setup)
    }
}

fn size(options: &Options) -> Resources {
    let memory = MEMORY_BESIDE.0 + MEMORY_EACH.0 * u64::from(options.slots);
    let cores = f64::from(options.slots) * options.cores;
    Resources::new(MemoryBytes(memory), NanoCpus((cores * 1e9) as u64))
}

impl Cloud {
    pub fn new(config: &Config, options: &Options, begin: Timestamp) -> Self {
        Self {
            cluster: config.cluster.clone(),
            begin,
            size: size(options),
            faults: Faults::default(),
            machines: BTreeMap::new(),
            bill: Bill::default(),
        }
    }

    /// Second of the run; 0 before it begins.
    pub fn second(&self, now: Timestamp) -> u64 {
        now.since(self.begin).as_secs()
    }

    /// Rents a machine.
    pub fn order(
        &mut self,
        id: &InstanceId,
        tag: Tag,
        now: Timestamp,
    ) -> Result<Listed, BrokerError> {
        if self.faults.refuses(self.second(now)) {
            return Err(BrokerError::Refused("no machine is left".to_owned()));
        }
        let machine = Machine {
            tag,
            ordered_at: now,
            joined_at: None,
            state: MachineState::Pending,
            copies: 0,
        };
        self.bill.orders += 1;
        let listed = self.listed(id, &machine);
        self.machines.insert(id.clone(), machine);
        Ok(listed)
    }

    /// Returns a machine, and pays for it from the beginning of the run at the earliest.
    pub fn give_back(&mut self, id: &InstanceId, now: Timestamp, options: &Options) {
        if let Some(machine) = self.machines.remove(id) {
            self.bill.returns += 1;
            self.bill.pay(machine.used(self.begin, now), options);
        }
    }

    /// Pays for all machines at the end of the run.
    pub fn end(&mut self, now: Timestamp, options: &Options) {
        for machine in self.machines.values() {
            self.bill.pay(machine.used(self.begin, now), options);
        }
    }

    pub fn list(&self) -> Vec<Listed> {
        let machines = self.machines.iter();
        machines
            .map(|(id, machine)| self.listed(id, machine))
            .collect()
    }

    fn listed(&self, id: &InstanceId, machine: &Machine) -> Listed {
        Listed {
            name: MachineName::new(&self.cluster, id).to_string(),
            instance: id.clone(),
            id: id.to_string(),
            state: machine.state,
            address: None,
            tag: None,
            location: None,
            application: None,
            flavour: None,
            detail: None,
        }
    }

    /// The node of a machine.
    pub fn node(&self, id: &InstanceId, tag: &Tag) -> SwarmNode {
        SwarmNode {
            id: node_id(id),
            hostname: tag.to_string(),
            instance: Some(id.clone()),
            labels: BTreeMap::new(),
            ready: true,
            active: true,
            manager: false,
            size: self.size,
            platform: None,
            address: None,
        }
    }
}

impl Machine {
    /// Seconds of the run for which it is used until now.
    pub fn used(&self, begin: Timestamp, now: Timestamp) -> u64 {
        now.since(self.ordered_at.max(begin)).as_secs()
    }
}

/// Swarm id of the node of an instance.
pub fn node_id(id: &InstanceId) -> String {
    format!("node-{id}")
}
