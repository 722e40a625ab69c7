//! Rates of faults in one world: each seed draws its own mixture, so that some worlds have a single
//! kind of fault and some have all.

use crate::clock::Dice;

/// Chances in thousandths.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    /// The manager dies between two actions.
    pub crash: u64,
    /// A commit fails: nothing was written, or the reply was lost.
    pub commit: u64,
    /// A call is lost before its effect.
    pub lost_before: u64,
    /// A call's answer is lost after its effect.
    pub lost_after: u64,
    /// A call takes effect up to minutes later, long after its time-out.
    pub late: u64,
    /// A machine does not boot as it should.
    pub boot: u64,
    /// Kinds of faults of the environment, equally likely.
    pub troubles: Vec<Trouble>,
    /// Mean time between two of them, in milliseconds.
    pub trouble_every: u64,
    /// Behaviour of the Swarm for tasks of a node that is down: true if it replaces them.
    pub replaces_lost_tasks: bool,
    /// Machines have a little less memory than their flavour promises.
    pub short_memory: bool,
}

/// Fault of the manager's environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    MachineDies,
    MachineHangs,
    MachineReboots,
    MachineVanishes,
    NodeCutOff,
    NodeLeaves,
    CloudDown,
    CloudRefuses,
    EngineDown,
    ForeignService,
    ForeignNode,
    CredentialStolen,
    ProcessEnds,
    ProcessFails,
    ManagerDies,
    ManagerCutOff,
}

impl Trouble {
    pub const ALL: [Self; 16] = [
        Self::MachineDies,
        Self::MachineHangs,
        Self::MachineReboots,
        Self::MachineVanishes,
        Self::NodeCutOff,
        Self::NodeLeaves,
        Self::CloudDown,
        Self::CloudRefuses,
        Self::EngineDown,
        Self::ForeignService,
        Self::ForeignNode,
        Self::CredentialStolen,
        Self::ProcessEnds,
        Self::ProcessFails,
        Self::ManagerDies,
        Self::ManagerCutOff,
    ];
}

impl Weather {
    /// No faults.
    pub fn clear() -> Self {
        Self {
            trouble_every: 20_000,
            ..Self::default()
        }
    }
    /// Each kind of fault occurs in half of all worlds.
    pub fn drawn(dice: &mut Dice) -> Self {
        let mut some = |most: u64| {
            if dice.per_mille(500) {
                dice.between(1, most)
            } else {
                0
            }
        };
        let (crash, commit, lost_before, lost_after, late, boot) =
            (some(8), some(12), some(60), some(60), some(40), some(300));
        let many = dice.between(1, 1000);
        Self {
            crash,
            commit,
            lost_before,
            lost_after,
            late,
            boot,
            troubles: Trouble::ALL
                .into_iter()
                .filter(|_| dice.per_mille(many))
                .collect(),
            trouble_every: dice.between(8_000, 60_000),
            replaces_lost_tasks: dice.per_mille(500),
            short_memory: dice.per_mille(250),
        }
    }
}
