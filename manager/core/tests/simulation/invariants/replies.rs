//! What must hold of every answer that people get.

use super::{Broken, broken};
use crate::world::World;
use micado_api::{ErrorBody, ErrorCode};
use micado_core::control::{Reply, Request};

/// Nobody asked.
pub fn to_nobody(ticket: u64) -> Broken {
    Broken { invariant: "answered_once", what: format!("#{ticket} is answered and nobody waits for it") }
}

/// All that must hold of an answer that is about to be read.
///
/// # Errors
/// The first that does not.
pub fn check(world: &World, request: &Request, reply: &Result<Reply, ErrorBody>) -> Result<(), Broken> {
    match (request, reply) {
        (Request::Launch(launch, _), reply) => launch_answered_truly(world, launch.request.as_deref().unwrap_or_default(), reply),
        (Request::Quit { name, remove: false }, Err(error)) if error.code == ErrorCode::NotFound => {
            broken("answered_truly", format!("{name} is there and not found"))
        }
        (_, Err(error)) if matches!(error.code, ErrorCode::Internal | ErrorCode::BadRequest) => broken("answered_truly", error.message.clone()),
        _ => Ok(()),
    }
}

/// Accepted: durable, and the same container as ever for this request. Refused: nothing was made.
fn launch_answered_truly(world: &World, request: &str, reply: &Result<Reply, ErrorBody>) -> Result<(), Broken> {
    let wrong = |why: String| broken("launch_answered_truly", format!("{request} {why}"));
    let made = world.store.containers().find(|it| it.request.as_deref() == Some(request) && it.removed_at.is_none()).map(|it| &it.name);
    match reply {
        Ok(Reply::Containers(told)) => {
            let [told] = told.as_slice() else { return wrong(format!("was answered with {} containers", told.len())) };
            if made != Some(&told.name) {
                return wrong(format!("was answered with {}, the store holds {made:?}", told.name));
            }
            match world.people.requests.get(request).and_then(Option::as_ref) {
                Some(before) if *before != told.name => wrong(format!("was answered with {before} before, with {} now", told.name)),
                _ => Ok(()),
            }
        }
        Ok(other) => wrong(format!("was answered with {other:?}")),
        Err(error) if error.code == ErrorCode::Unsatisfiable || error.code == ErrorCode::Conflict => {
            if made.is_some() {
                wrong(format!("was refused ({}) and made {made:?}", error.message))
            } else {
                Ok(())
            }
        }
        Err(error) => wrong(format!("was answered with {error}")),
    }
}
