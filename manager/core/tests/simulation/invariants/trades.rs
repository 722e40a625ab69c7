//! Invariants of the trades by which machines join.

use super::{Broken, broken};
use crate::{machine::Machine, world::World};
use micado_api::{ErrorBody, ErrorCode, InstanceId};
use micado_core::control::Reply;

/// Key of a thief with another machine's credential.
pub const THIEFS_KEY: &str = "key of a thief";

/// A thief is granted a trade only if the machine has not used its credential.
///
/// # Errors
/// If the trade is granted, but the record is not bound to the thief's key.
pub fn thief_answered_rightly(
    world: &World,
    instance: &InstanceId,
    reply: &Result<Reply, ErrorBody>,
) -> Result<(), Broken> {
    let bound = world
        .store
        .instance(instance)
        .and_then(|it| it.joining.as_ref())
        .is_some_and(|it| it.key == THIEFS_KEY);
    if reply.is_err() || bound {
        Ok(())
    } else {
        broken(
            "thief_answered_rightly",
            format!("a thief may join as {instance}"),
        )
    }
}

/// A machine joins only with the key in its record.
///
/// # Errors
/// If it has another key, or the record none.
pub fn joins_rightly(world: &World, machine: &Machine) -> Result<(), Broken> {
    let bound = world
        .store
        .instance(&machine.instance)
        .and_then(|it| it.joining.as_ref())
        .map(|it| it.key.as_str());
    if bound == Some(machine.key().as_str()) {
        return Ok(());
    }
    broken(
        "joins_rightly",
        format!(
            "m{} of {} joins, its record is bound to {bound:?}",
            machine.serial, machine.instance
        ),
    )
}

/// Granted: durable, and bound to this machine's key. Refused for good: its record is bound to
/// another key, its time is over, or it is not wanted any more.
///
/// # Errors
/// If the reply does not match the record.
pub fn answered_truly(
    world: &World,
    serial: u64,
    reply: &Result<Reply, ErrorBody>,
) -> Result<(), Broken> {
    let Some(machine) = world.machines().find(|it| it.serial == serial) else {
        return Ok(());
    };
    let record = world.store.instance(&machine.instance);
    let wrong = |why: String| {
        broken(
            "trade_answered_truly",
            format!(
                "m{serial} of {}: {why}, the record is {record:?}",
                machine.instance
            ),
        )
    };
    let bound = record
        .and_then(|it| it.joining.as_ref())
        .map(|it| it.key == machine.key());
    let late = record.is_some_and(|it| {
        let patience = world
            .config
            .setup
            .clouds
            .iter()
            .find(|cloud| cloud.name == it.cloud)
            .map_or(0, |cloud| cloud.join_timeout.as_secs() * 1000);
        world.clock.now >= it.created_at.0 + patience
    });
    let wanted = record.is_some_and(|it| {
        it.is_arriving()
            || it.joined_at.is_some() && !late && it.accepts_work() && bound == Some(true)
    });
    match reply {
        Ok(Reply::MayJoin) if bound == Some(true) => Ok(()),
        Err(error) if error.code == ErrorCode::Unavailable => Ok(()),
        Err(error) if error.code == ErrorCode::Conflict && bound == Some(false) => Ok(()),
        Err(error) if error.code == ErrorCode::Gone && (late || !wanted) => Ok(()),
        other => wrong(format!("it is answered {other:?}")),
    }
}
