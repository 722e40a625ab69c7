//! Machine ports of containers: those that a person names, and those that are chosen here when a
//! copy is placed, so that they are known before it runs and no engine chooses one anew.

use super::{
    Core,
    owner::{Known, Owner},
};
use crate::{model::Copy, planner::HostPort};
use ahash::HashMap;
use micado_api::{ContainerName, InstanceId, PortMapping, ServiceSpec, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// First of the ports to choose from. All are outside the range that Linux gives to connections
/// (32768 to 60999), and that engines choose from.
const FIRST: u16 = 25_000;
/// Number of ports to choose from.
const COUNT: u16 = 5_000;
/// Ports in that range that programs on a machine are known to have: MongoDB's.
const KNOWN: [u16; 1] = [27_017];
/// Time for which a port is not given to another copy: whoever still has the old address must not
/// reach a stranger.
const QUARANTINE: Duration = Duration::from_secs(600);
/// Number of times that other ports are chosen because a process on the machine has one of them.
const RETRIES: u32 = 3;
/// Distance of a retry from the search before.
const RETRY_STEP: u64 = 1_237;

/// The fixed machine ports among these.
pub(super) fn host_ports(ports: impl Iterator<Item = PortMapping>) -> BTreeSet<HostPort> {
    ports
        .filter_map(|port| Some((port.host?, port.protocol)))
        .collect()
}

/// Number of published ports, those without a fixed machine port included.
pub(super) fn published(ports: &[PortMapping]) -> u32 {
    u32::try_from(ports.len()).unwrap_or(u32::MAX)
}

/// Begin of a search. It moves with time, so that a new manager, which knows of no quarantine, does
/// not choose a port that fell free just now; and far with each retry, out of a range that a process
/// has.
fn begin(now: Timestamp, retries: u32) -> u16 {
    let place = now.0 / 1000 + RETRY_STEP * u64::from(retries);
    u16::try_from(place % u64::from(COUNT)).unwrap_or_default()
}

/// Chooses free ports; none if there are too few.
fn choose(count: usize, begin: u16, is_free: impl Fn(u16) -> bool) -> Box<[u16]> {
    let ports = (0..COUNT).map(|step| FIRST + (begin + step) % COUNT);
    let free = ports.filter(|port| !KNOWN.contains(port) && is_free(*port));
    let chosen: Box<[u16]> = free.take(count).collect();
    match chosen.len() == count {
        true => chosen,
        false => Box::default(),
    }
}

/// Ports that are not to be chosen.
#[derive(Debug, Clone, Default)]
pub(super) struct Ports {
    /// Ports of ended copies, and until when they are in quarantine.
    released: BTreeMap<InstanceId, BTreeMap<u16, Timestamp>>,
    /// Number of copies of a container that lacked a port in a row, and the instance of the last.
    lacked: HashMap<ContainerName, (u32, InstanceId)>,
}

impl Owner for Ports {
    fn prune(&mut self, known: &Known<'_>) {
        self.released.retain(|id, ports| {
            ports.retain(|_, until| *until > known.now);
            !ports.is_empty() && known.ledger.instance(id).is_some()
        });
        self.lacked
            .retain(|name, _| known.ledger.container(name).is_some());
    }
}

impl Ports {
    fn is_quarantined(&self, id: &InstanceId, port: u16, now: Timestamp) -> bool {
        let until = self.released.get(id).and_then(|ports| ports.get(&port));
        until.is_some_and(|until| *until > now)
    }
}

impl Core {
    /// Chooses machine ports for a copy of a container with this spec, for those of its ports that
    /// name none.
    pub(super) fn choose_ports(
        &self,
        name: &ContainerName,
        id: &InstanceId,
        spec: &ServiceSpec,
    ) -> Box<[u16]> {
        let count = spec.ports.iter().filter(|port| port.host.is_none()).count();
        if count == 0 {
            return Box::default();
        }
        let mut taken: BTreeSet<u16> = spec.ports.iter().filter_map(|port| port.host).collect();
        for container in self.ledger.containers_on(id) {
            let service = self.ledger.service_of(container);
            let copies = container.copies_on(id);
            let ports = copies.flat_map(|copy| copy.published(service.spec_at(copy.spec)));
            taken.extend(ports.filter_map(|port| port.host));
        }
        if let Some(instance) = self.ledger.instance(id) {
            taken.extend(self.foreign_on(instance).ports.iter().map(|(port, _)| port));
        }
        let retries = self.ports.lacked.get(name).map_or(0, |(count, _)| *count);
        choose(count, begin(self.now, retries), |port| {
            !taken.contains(&port) && !self.ports.is_quarantined(id, port, self.now)
        })
    }

    /// Begins the quarantine of a copy's ports: it has ended, or could not have them.
    pub(super) fn release_ports(&mut self, copy: &Copy) {
        if copy.ports.is_empty() {
            return;
        }
        let until = self.now.plus(QUARANTINE);
        let released = self.ports.released.entry(copy.instance.clone());
        let ports = copy.ports.iter().map(|port| (*port, until));
        released.or_default().extend(ports);
    }

    /// Returns true until a copy that lacked a port has ended, and the planner knows: its room, and
    /// its other ports, are for the next one.
    pub(super) fn frees_ports(&mut self, name: &ContainerName) -> bool {
        let lacked = self.ports.lacked.get(name);
        let Some((container, (_, instance))) = self.ledger.container(name).zip(lacked) else {
            return false;
        };
        let ends = container.copies_on(instance).any(|copy| !copy.is_live());
        let is_unknown = self.ledger.dirty.instances.contains(instance);
        if is_unknown && !ends {
            // The next pass shows the planner the instance first.
            self.ledger.dirty.containers.insert(name.clone());
        }
        ends || is_unknown
    }

    /// Gives up a copy whose machine has another process on a port that was chosen for it: the next
    /// one gets other ports. After some in a row it is left to be failing.
    pub(super) fn check_ports(&mut self, name: &ContainerName, generation: u32) {
        let copy = self
            .ledger
            .container(name)
            .and_then(|it| it.copy(generation));
        let Some((copy, observed)) = copy.zip(self.observed.as_ref()) else {
            return;
        };
        if !copy.is_live() || copy.ports.is_empty() {
            return;
        }
        let failure = observed.failure(&copy.swarm_name);
        let Some(failure) = failure.filter(|task| task.lacked_port()) else {
            if observed.runs(&copy.swarm_name) {
                self.ports.lacked.remove(name);
            }
            return;
        };
        let message = failure.message.clone().unwrap_or_default();
        let copy = copy.clone();
        let count = self.ports.lacked.get(name).map_or(0, |(count, _)| *count);
        if count >= RETRIES {
            return;
        }
        let lacked = (count + 1, copy.instance.clone());
        self.ports.lacked.insert(name.clone(), lacked);
        self.release_ports(&copy);
        let tag = self.tag_of(&copy.instance);
        let why = format!("a process on {tag} has one of the ports chosen for it ({message})");
        self.give_up(name, generation, &why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::tests::{Bench, spec},
        engine::TaskState,
    };
    use micado_api::Protocol;

    #[test]
    fn free_ports_are_chosen_in_order_from_a_place_that_moves() {
        let at = |seconds: u64, retries| begin(Timestamp(seconds * 1000), retries);
        assert_eq!(*choose(2, at(0, 0), |_| true), [25_000, 25_001]);
        assert_eq!(*choose(2, at(4_999, 0), |_| true), [29_999, 25_000]);
        assert_eq!(*choose(1, at(5_000, 1), |_| true), [26_237]);
        assert_eq!(
            *choose(2, at(5_007, 0), |port| port != 25_008),
            [25_007, 25_009]
        );
        assert_eq!(*choose(2, at(2_016, 0), |_| true), [27_016, 27_018]);
    }

    #[test]
    fn too_few_free_ports_are_left_to_the_engine() {
        assert!(choose(2, 0, |port| port == 25_100).is_empty());
        assert_eq!(*choose(1, 0, |port| port == 25_100), [25_100]);
    }

    fn publishing(client: &str, host: Option<u16>) -> ServiceSpec {
        let port = |host, container| PortMapping {
            host,
            container,
            protocol: Protocol::Tcp,
        };
        ServiceSpec {
            ports: vec![port(host, 80), port(None, 81)],
            ..spec(client, 64)
        }
    }

    /// A bench with one machine and a container on it.
    fn bench() -> (Bench, String) {
        let mut bench = Bench::new(|_| ());
        let name = bench.launch(publishing("a", Some(80)), None);
        bench.machine_comes();
        bench.pass(20);
        (bench, name.expect("a machine is rented"))
    }

    /// Ports of the present copy.
    fn ports(bench: &Bench, name: &str) -> Vec<u16> {
        let name = ContainerName::trusted(name);
        let container = bench.core.ledger.container(&name).expect("it is there");
        container.primary().expect("a copy").ports.to_vec()
    }

    #[test]
    fn a_copy_has_ports_of_its_own_before_it_runs() {
        let (mut bench, first) = bench();
        let chosen = ports(&bench, &first);
        assert_eq!(chosen.len(), 1, "the other one was named");
        let second = bench.launch(publishing("b", None), None).expect("room");
        let others = ports(&bench, &second);
        assert_eq!(others.len(), 2);
        assert!(others.iter().all(|port| !chosen.contains(port)));
        let views = bench.core.containers(true);
        let view = views.iter().find(|it| it.name.as_str() == second);
        let shown = view.expect("it is listed").ports.iter();
        assert_eq!(
            shown.map(|port| port.host).collect::<Vec<_>>(),
            [Some(others[0]), Some(others[1])]
        );
    }

    #[test]
    fn ports_of_an_ended_copy_are_given_to_nobody_for_a_while() {
        let (mut bench, first) = bench();
        let chosen = ports(&bench, &first);
        let id = bench.core.instances(false)[0].id.clone();
        let other = ContainerName::trusted("b_web.1");
        // A search that begins at its place.
        let next = |bench: &mut Bench| {
            bench.core.now = Timestamp(u64::from(chosen[0] - FIRST) * 1_000);
            bench
                .core
                .choose_ports(&other, &id, &publishing("b", Some(80)))
        };
        assert_eq!(*next(&mut bench), [chosen[0] + 1], "it is taken");
        bench.quit("a_web");
        assert!(bench.core.containers(true).is_empty());
        assert_eq!(*next(&mut bench), [chosen[0] + 1], "it is in quarantine");
        bench.core.ports = Ports::default();
        assert_eq!(*next(&mut bench), *chosen);
    }

    #[test]
    fn a_port_that_a_foreign_process_has_is_replaced() {
        let (mut bench, name) = bench();
        let id = bench.core.instances(false)[0].id.clone();
        let fail = |bench: &mut Bench| {
            let task = bench.seen.tasks.last_mut().expect("a task");
            task.state = TaskState::Failed;
            task.message = Some("Bind for 0.0.0.0:25001 failed: port is already allocated".into());
            bench.look();
        };
        let before = ports(&bench, &name);
        fail(&mut bench);
        bench.pass(20);
        let given = ports(&bench, &name);
        assert_ne!(given, before);
        assert_eq!(bench.core.instances(false).len(), 1, "its room is there");
        let said = bench.core.explain(&name).expect("it is known");
        let mut decisions = said[0].decisions.iter().map(|it| it.text.as_str());
        assert!(decisions.any(|text| text.contains("has one of the ports chosen for it")));

        let often = (RETRIES, id);
        let lacked = &mut bench.core.ports.lacked;
        lacked.insert(ContainerName::trusted(name.clone()), often);
        fail(&mut bench);
        assert_eq!(ports(&bench, &name), given, "it is left to be failing");
    }
}
