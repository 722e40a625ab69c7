//! Invariants of the records of images.

use super::{Broken, broken};
use crate::{clock::BEGINNING, world::World};
use micado_core::model::Image;

const DAY: u64 = 24 * 3_600_000;

/// The footprint is never below the observed use of the last day; no world lasts longer.
pub fn never_below_what_was_seen(world: &World) -> Result<(), Broken> {
    if world.clock.now - BEGINNING > DAY {
        return Ok(());
    }
    for ((name, digest), most) in &world.agents.seen {
        let needs = world
            .store
            .image(name)
            .and_then(|it| it.learned_of(digest))
            .map(|it| it.needs());
        if !needs.is_some_and(|needs| most.fits_in(&needs)) {
            return broken(
                "never_below_what_was_seen",
                format!("{name}@{digest} was seen with {most}, and is said to need {needs:?}"),
            );
        }
    }
    Ok(())
}

/// A write of an image never discards what was learned.
pub fn nothing_unlearned(before: &Image, after: Option<&Image>) -> Result<(), Broken> {
    let wrong = |what: &str| broken("nothing_unlearned", format!("{}: {what}", before.name));
    let Some(after) = after else {
        return wrong("its record is gone");
    };
    for old in &before.learned {
        let Some(new) = after.learned_of(&old.digest) else {
            return wrong("a digest is gone");
        };
        let same =
            old.windows.iter().zip(&new.windows).all(|(old, new)| {
                old.at == new.at && old.memory <= new.memory && old.cpu <= new.cpu
            });
        if !same || new.windows.len() < old.windows.len() || new.measured_ms < old.measured_ms {
            return wrong("a figure fell");
        }
    }
    Ok(())
}
