//! Invariants of the ends of containers in their records.

use super::{Broken, broken};
use crate::world::World;
use micado_api::{
    InstanceId,
    agent::{ContainerEvent, ContainerHappening},
};

/// A reported end, or a later one, is in the record of the copy, and so survives the manager.
pub fn recorded(
    world: &World,
    instance: &InstanceId,
    event: &ContainerEvent,
) -> Result<(), Broken> {
    let ContainerHappening::Died { .. } = event.what else {
        return Ok(());
    };
    let copies = world.store.containers().flat_map(|it| &it.copies);
    let its = copies.filter(|copy| Some(&copy.swarm_name) == event.service.as_ref());
    for copy in its.filter(|copy| copy.instance == *instance) {
        let last = copy.last_end.as_ref();
        if last.is_none_or(|last| last.at < event.at) {
            return broken(
                "end_recorded",
                format!(
                    "{} ended: {event:?}, its record says {last:?}",
                    copy.swarm_name
                ),
            );
        }
    }
    Ok(())
}
