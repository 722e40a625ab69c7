//! Invariants of every reply to people.

use super::{Broken, broken};
use crate::world::World;
use micado_api::{Critical, ErrorBody, ErrorCode, LaunchRequest, MemoryBytes, NanoCpus, Resources};
use micado_core::control::{Reply, Request};

/// A reply without a request.
pub fn to_nobody(ticket: u64) -> Broken {
    Broken {
        invariant: "answered_once",
        what: format!("#{ticket} is answered and nobody waits for it"),
    }
}

/// Checks a reply that is about to be read.
///
/// # Errors
/// The first violation.
pub fn check(
    world: &World,
    request: &Request,
    reply: &Result<Reply, ErrorBody>,
) -> Result<(), Broken> {
    match (request, reply) {
        (Request::Launch(launch, _), reply) => {
            launch_answered_truly(world, launch.request.as_deref().unwrap_or_default(), reply)?;
            reserved_truly(world, launch, reply)
        }
        (Request::SetImage { image, critical }, reply) => {
            image_set_truly(world, image, *critical, reply)
        }
        (
            Request::Quit {
                name,
                remove: false,
            },
            Err(error),
        ) if error.code == ErrorCode::NotFound => {
            broken("answered_truly", format!("{name} is there and not found"))
        }
        (_, Err(error)) if matches!(error.code, ErrorCode::Internal | ErrorCode::BadRequest) => {
            broken("answered_truly", error.message.clone())
        }
        _ => Ok(()),
    }
}

/// Requests about scaling are well-formed, so only the state of the service refuses them.
pub fn scaled(request: &Request, reply: &Result<Reply, ErrorBody>) -> Result<(), Broken> {
    match reply {
        Err(error) if matches!(error.code, ErrorCode::Internal | ErrorCode::BadRequest) => {
            broken("answered_truly", format!("{request:?}: {}", error.message))
        }
        _ => Ok(()),
    }
}

/// Reports of agents are never refused.
pub fn recorded(reply: &Result<Reply, ErrorBody>) -> Result<(), Broken> {
    match reply {
        Ok(Reply::Recorded) => Ok(()),
        other => broken("reports_recorded", format!("{other:?}")),
    }
}

/// Fits on any machine, so a request for it is never refused as impossible.
const SMALL: Resources = Resources::new(MemoryBytes::mib(1500), NanoCpus::cores(1));

/// A given reservation is the promised one, and that never changes. People always launch a service
/// with the same settings. So whatever was learned meanwhile, no launch is refused as conflicting
/// or impossible.
fn reserved_truly(
    world: &World,
    launch: &LaunchRequest,
    reply: &Result<Reply, ErrorBody>,
) -> Result<(), Broken> {
    let wrong = |why: String| broken("reserved_truly", format!("{:?} {why}", launch.request));
    let (sent, unnamed) = (launch.spec.reservation, launch.unnamed);
    match reply {
        Ok(Reply::Containers(told)) => {
            let Some((name, promised)) = told.first().map(|it| (&it.name, it.reservation)) else {
                return wrong("made nothing".to_owned());
            };
            let before = launch
                .request
                .as_ref()
                .and_then(|it| world.people.promised.get(it));
            if before.is_some_and(|before| *before != promised) {
                return wrong(format!("{name} was promised {before:?} and now {promised}"));
            }
            if !unnamed.memory && promised.memory != sent.memory
                || !unnamed.cpu && promised.cpu != sent.cpu
            {
                return wrong(format!("named {sent} and was promised {promised}"));
            }
            Ok(())
        }
        Err(error) if error.code == ErrorCode::Conflict => {
            wrong(format!("was refused: {}", error.message))
        }
        Err(error) if error.code == ErrorCode::Unsatisfiable && sent.fits_in(&SMALL) => {
            wrong(format!("is small and was refused: {}", error.message))
        }
        _ => Ok(()),
    }
}

/// A launched image gets the values that a person sets; a request for another image is refused.
fn image_set_truly(
    world: &World,
    image: &str,
    critical: Critical,
    reply: &Result<Reply, ErrorBody>,
) -> Result<(), Broken> {
    let stored = world.store.image(image).map(|it| it.critical);
    match reply {
        Ok(Reply::Image(view)) if view.critical == critical && stored == Some(critical) => Ok(()),
        Err(error) if error.code == ErrorCode::NotFound && stored.is_none() => Ok(()),
        other => broken(
            "image_set_truly",
            format!("{image} has {stored:?}, and the answer is {other:?}"),
        ),
    }
}

/// Accepted: durable, and always the same container for the same request. Refused: nothing was
/// made.
fn launch_answered_truly(
    world: &World,
    request: &str,
    reply: &Result<Reply, ErrorBody>,
) -> Result<(), Broken> {
    let wrong = |why: String| broken("launch_answered_truly", format!("{request} {why}"));
    let made = world
        .store
        .containers()
        .find(|it| it.request.as_deref() == Some(request) && it.removed_at.is_none())
        .map(|it| &it.name);
    match reply {
        Ok(Reply::Containers(told)) => {
            let [told] = told.as_slice() else {
                return wrong(format!("was answered with {} containers", told.len()));
            };
            if made != Some(&told.name) {
                return wrong(format!(
                    "was answered with {}, the store holds {made:?}",
                    told.name
                ));
            }
            match world.people.requests.get(request).and_then(Option::as_ref) {
                Some(before) if *before != told.name => wrong(format!(
                    "was answered with {before} before, with {} now",
                    told.name
                )),
                _ => Ok(()),
            }
        }
        Ok(other) => wrong(format!("was answered with {other:?}")),
        Err(error)
            if error.code == ErrorCode::Unsatisfiable || error.code == ErrorCode::Conflict =>
        {
            if made.is_some() {
                wrong(format!("was refused ({}) and made {made:?}", error.message))
            } else {
                Ok(())
            }
        }
        Err(error) => wrong(format!("was answered with {error}")),
    }
}
