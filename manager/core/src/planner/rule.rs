//! The rules of placement, one struct each: whether a machine may take a container, and how to say
//! that it may not.

use super::{
    HostPort, Readiness,
    explain::port,
    problem::{Kind, Problem},
    yard::Machine,
};
use micado_api::Resources;
use std::collections::BTreeSet;

/// One reason to refuse a machine.
pub(super) trait Rule: Sync {
    /// Whether the machine of this number may take one of this kind.
    fn allows(&self, kind: &Kind<'_>, number: usize, machine: &Machine) -> bool;
    /// What is said after the machine's name when it may not.
    fn refusal(&self, problem: &Problem<'_>, kind: &Kind<'_>, machine: &Machine) -> String;
    /// What the machine has too little of.
    fn lack(&self, _kind: &Kind<'_>, _machine: &Machine) -> Lack {
        Lack::default()
    }
}

/// What a container asks for in vain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lack {
    memory: bool,
    cpu: bool,
    ports: BTreeSet<HostPort>,
}

/// Every rule. A machine that breaks several is refused by the first: the one that lasts longest.
pub(super) const RULES: [&dyn Rule; 6] = [&Located, &Up, &Open, &NotAvoided, &PortsFree, &Room];

/// The rule that forbids this machine, if any does.
pub(super) fn broken(
    kind: &Kind<'_>,
    number: usize,
    machine: &Machine,
) -> Option<&'static dyn Rule> {
    RULES
        .into_iter()
        .find(|rule| !rule.allows(kind, number, machine))
}

/// A container runs on machines of the location it asks for.
pub(super) struct Located;

/// A machine must answer, or be on its way.
pub(super) struct Up;

/// A machine that is being emptied takes nothing.
pub(super) struct Open;

/// A container that is moved away from a machine does not come back to it in the same breath.
pub(super) struct NotAvoided;

/// A port of a machine belongs to one container.
pub(super) struct PortsFree;

/// Nothing is promised twice.
pub(super) struct Room;

impl Rule for Located {
    fn allows(&self, kind: &Kind<'_>, _: usize, machine: &Machine) -> bool {
        machine.location == kind.location
    }
    fn refusal(&self, problem: &Problem<'_>, _: &Kind<'_>, machine: &Machine) -> String {
        format!("is location {}", problem.locations[machine.location])
    }
}

impl Rule for Up {
    fn allows(&self, _: &Kind<'_>, _: usize, machine: &Machine) -> bool {
        machine.readiness != Readiness::Down
    }
    fn refusal(&self, _: &Problem<'_>, _: &Kind<'_>, _: &Machine) -> String {
        "is down".to_owned()
    }
}

impl Rule for Open {
    fn allows(&self, _: &Kind<'_>, _: usize, machine: &Machine) -> bool {
        machine.readiness != Readiness::Draining
    }
    fn refusal(&self, _: &Problem<'_>, _: &Kind<'_>, _: &Machine) -> String {
        "is draining".to_owned()
    }
}

impl Rule for NotAvoided {
    fn allows(&self, kind: &Kind<'_>, number: usize, _: &Machine) -> bool {
        kind.avoid != Some(number)
    }
    fn refusal(&self, _: &Problem<'_>, _: &Kind<'_>, _: &Machine) -> String {
        "is the one it leaves".to_owned()
    }
}

impl PortsFree {
    fn taken(kind: &Kind<'_>, machine: &Machine) -> BTreeSet<HostPort> {
        machine
            .ports
            .iter()
            .filter(|port| kind.sample.ports.contains(port))
            .copied()
            .collect()
    }
}

impl Rule for PortsFree {
    fn allows(&self, kind: &Kind<'_>, _: usize, machine: &Machine) -> bool {
        !machine
            .ports
            .iter()
            .any(|port| kind.sample.ports.contains(port))
    }
    fn refusal(&self, _: &Problem<'_>, kind: &Kind<'_>, machine: &Machine) -> String {
        format!(
            "has {} taken",
            listed(Self::taken(kind, machine).into_iter().map(port))
        )
    }
    fn lack(&self, kind: &Kind<'_>, machine: &Machine) -> Lack {
        Lack {
            ports: Self::taken(kind, machine),
            ..Lack::default()
        }
    }
}

impl Rule for Room {
    fn allows(&self, kind: &Kind<'_>, _: usize, machine: &Machine) -> bool {
        kind.needs().fits_in(&machine.room)
    }
    fn refusal(&self, _: &Problem<'_>, kind: &Kind<'_>, machine: &Machine) -> String {
        format!(
            "has {} left",
            self.lack(kind, machine).amounts(machine.room)
        )
    }
    fn lack(&self, kind: &Kind<'_>, machine: &Machine) -> Lack {
        Lack::between(kind.needs(), machine.room)
    }
}

impl Lack {
    /// What `room` has too little of for `needs`.
    pub fn between(needs: Resources, room: Resources) -> Self {
        Self {
            memory: needs.memory > room.memory,
            cpu: needs.cpu > room.cpu,
            ports: BTreeSet::new(),
        }
    }

    /// Both together.
    pub fn and(mut self, other: Self) -> Self {
        self.ports.extend(other.ports);
        Self {
            memory: self.memory || other.memory,
            cpu: self.cpu || other.cpu,
            ports: self.ports,
        }
    }

    /// The amounts of what is lacking that `resources` has; its memory if nothing is.
    pub fn amounts(&self, resources: Resources) -> String {
        listed(self.parts(resources, self.ports.is_empty()))
    }

    /// What a container of this kind needs of what is lacking; its memory if nothing is.
    pub fn of(&self, kind: &Kind<'_>) -> String {
        listed(
            self.parts(kind.needs(), self.ports.is_empty())
                .chain(self.ports.iter().copied().map(port)),
        )
    }

    fn parts(&self, resources: Resources, something: bool) -> impl Iterator<Item = String> {
        let memory = (self.memory || something && !self.cpu).then(|| resources.memory.to_string());
        let cpu = self.cpu.then(|| format!("{} cores", resources.cpu));
        memory.into_iter().chain(cpu)
    }
}

fn listed(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" and ")
}
