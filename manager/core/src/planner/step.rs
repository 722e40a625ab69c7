//! What the planner answers: one step per thing to do, each with its reason.

use micado_api::{CloudName, ContainerName, FlavourName, InstanceId, Location};

/// One thing to do, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Assign a container to a machine that is there or on its way.
    Place {
        /// Which.
        container: ContainerName,
        /// Where.
        instance: InstanceId,
        /// Why there.
        reason: String,
    },
    /// Rent a machine for these containers.
    Rent {
        /// Where.
        cloud: CloudName,
        /// Which size.
        flavour: FlavourName,
        /// Its role.
        location: Location,
        /// What is assigned to it.
        containers: Vec<ContainerName>,
        /// Why.
        reason: String,
    },
    /// Leave a container waiting.
    Wait {
        /// Which.
        container: ContainerName,
        /// Why: per machine, worst first, and why nothing is rented.
        reason: String,
    },
    /// A container that no machine, rented or to rent, could ever hold.
    Refuse {
        /// Which.
        container: ContainerName,
        /// Why, with the largest flavour named.
        reason: String,
    },
}
