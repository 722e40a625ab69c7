//! Checks that each machine's agent is to make: the whole set of each machine, for its connection.

use crate::control::Checked;
use ahash::HashMap;
use micado_api::{ContainerName, InstanceId, agent::AgentCheck, health::MOST_CHECKS};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::watch;

/// The checks of one machine, by Swarm service.
pub type MachineChecks = Arc<BTreeMap<String, AgentCheck>>;

/// The checks of all machines.
#[derive(Debug, Default)]
pub struct Checks {
    machines: HashMap<InstanceId, watch::Sender<MachineChecks>>,
    /// Machine and Swarm service of each check of a container.
    of: HashMap<ContainerName, Vec<(InstanceId, String)>>,
}

impl Checks {
    /// Follows the checks of a machine.
    pub fn follow(&mut self, instance: &InstanceId) -> watch::Receiver<MachineChecks> {
        self.machines
            .entry(instance.clone())
            .or_default()
            .subscribe()
    }

    /// Present checks of a machine.
    #[must_use]
    pub fn on(&self, instance: &InstanceId) -> MachineChecks {
        let machine = self.machines.get(instance);
        machine.map_or_else(Arc::default, |machine| machine.borrow().clone())
    }

    /// Takes over the present checks of a container.
    pub fn set(&mut self, container: &ContainerName, checks: Vec<Checked>) {
        let now: Vec<_> = checks
            .iter()
            .map(|checked| (checked.instance.clone(), checked.check.service.clone()))
            .collect();
        let before = match now.is_empty() {
            true => self.of.remove(container),
            false => self.of.insert(container.clone(), now.clone()),
        };
        let gone = before.unwrap_or_default();
        let gone = gone.into_iter().filter(|place| !now.contains(place));
        for (instance, service) in gone {
            if let Some(machine) = self.machines.get(&instance) {
                machine.send_if_modified(|all| Arc::make_mut(all).remove(&service).is_some());
            }
        }
        for Checked { instance, check } in checks {
            let machine = self.machines.entry(instance).or_default();
            machine.send_if_modified(|all| {
                let is_known = all.get(&check.service) == Some(&check);
                if !is_known {
                    Arc::make_mut(all).insert(check.service.clone(), check);
                }
                !is_known
            });
        }
    }

    /// Containers with checks.
    #[must_use]
    pub fn containers(&self) -> BTreeSet<ContainerName> {
        self.of.keys().cloned().collect()
    }

    /// Forgets a machine that is gone.
    pub fn forget(&mut self, instance: &InstanceId) {
        self.machines.remove(instance);
    }
}

/// The checks that an agent is told: those that are too many are left out.
#[must_use]
pub fn told(checks: &MachineChecks) -> Vec<AgentCheck> {
    checks.values().take(MOST_CHECKS).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use micado_api::Probe;

    fn checked(instance: &str, service: &str) -> Checked {
        let probe = Probe::Tcp { port: Some(80) };
        let check = micado_api::HealthCheck {
            probe: Some(probe),
            ..Default::default()
        };
        Checked {
            instance: InstanceId::trusted(instance),
            check: check.by_agent(service, None).expect("a check"),
        }
    }

    #[test]
    fn each_machine_has_its_own_set() {
        let (mut checks, web) = (Checks::default(), ContainerName::trusted("a_web.1"));
        let one = InstanceId::trusted("one");
        let mut seen = checks.follow(&one);
        checks.set(&web, vec![checked("one", "c-1")]);
        assert!(seen.has_changed().expect("it is followed"));
        assert_eq!(seen.borrow_and_update().len(), 1);
        // The same once more is no news, nor is another machine's.
        checks.set(&web, vec![checked("one", "c-1"), checked("two", "c-2")]);
        assert!(!seen.has_changed().expect("it is followed"));
        checks.set(&web, vec![checked("two", "c-2")]);
        assert!(seen.borrow_and_update().is_empty());
        checks.set(&web, Vec::new());
        assert!(checks.on(&InstanceId::trusted("two")).is_empty());
        assert!(checks.containers().is_empty());
    }

    #[test]
    fn an_agent_is_told_so_many() {
        let all = (0..MOST_CHECKS + 5).map(|number| {
            let check = checked("one", &format!("c-{number:05}")).check;
            (check.service.clone(), check)
        });
        let told = told(&Arc::new(all.collect()));
        assert_eq!(told.len(), MOST_CHECKS);
        let frame = micado_api::agent::ToAgent::Checks { checks: told };
        let text = serde_json::to_string(&frame).expect("JSON");
        assert!(text.len() < 1 << 20, "{} bytes fit in no frame", text.len());
    }
}
