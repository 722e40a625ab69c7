//! Names of the images of an archive: which they get, and which they may take. Pure.

use super::{EngineNames, read::Item, spool::Found};
use crate::{
    api::validate,
    engine::swarm::{repository, short},
    images::tagged,
};
use micado_api::{ErrorBody, ErrorCode, Platform, foreign::excerpt};
use std::collections::BTreeSet;

/// Upper bound for a name, and for a tag, in bytes.
const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;
/// Upper bound for the names of an archive.
const NAMES: usize = 256;

/// Returns the names of each image: this one, if it is given, or those that the archive has.
///
/// # Errors
/// `Unsatisfiable` for images without names, a name of one of micado's own images, an invalid name,
/// or several images with a given name.
pub(super) fn given(items: &[Item], name: Option<&str>) -> Result<Vec<Vec<String>>, ErrorBody> {
    let refuse = |message: String| ErrorBody::new(ErrorCode::Unsatisfiable, message);
    if let Some(name) = name {
        return match items {
            [_] => Ok(vec![vec![checked(name)?]]),
            _ => Err(refuse(format!(
                "the archive has {} images, and `{name}` can be the name of one",
                items.len()
            ))
            .hint("leave `-n` out: they keep their names in the archive")),
        };
    }
    let mut taken = BTreeSet::new();
    let mut all = Vec::new();
    for (number, item) in items.iter().enumerate() {
        if item.names.is_empty() {
            let message = match items {
                [_] => "the image of the archive has no name".to_owned(),
                _ => format!("image {} of the archive has no name", number + 1),
            };
            return Err(refuse(message).hint(
                "name it with `-n NAME[:TAG]`, which takes an archive of one image; or pack it by its name, with `docker save NAME:TAG`",
            ));
        }
        let names = item.names.iter().map(|name| checked(name));
        let names: BTreeSet<String> = names.collect::<Result<_, _>>().map_err(|error| {
            let hint = "import it under another name, with `-n NAME[:TAG]`";
            refuse(format!("the archive is refused: {}", error.message)).hint(hint)
        })?;
        for name in &names {
            if !taken.insert(name.clone()) {
                let message = format!("the archive has two images with the name `{name}`");
                return Err(refuse(message));
            }
        }
        if taken.len() > NAMES {
            return Err(refuse(format!("the archive has more than {NAMES} names")));
        }
        all.push(names.into_iter().collect());
    }
    Ok(all)
}

/// Returns a name as the engine shows it, with its tag.
///
/// # Errors
/// `BadRequest` if it is invalid, or one of micado's own.
pub(super) fn checked(name: &str) -> Result<String, ErrorBody> {
    let invalid = || {
        let shown = excerpt(name, NAME_MAX);
        let message = format!("`{shown}` is no image name (expected `[HOST[:PORT]/]NAME[:TAG]`)");
        ErrorBody::new(ErrorCode::BadRequest, message)
    };
    if name.len() > NAME_MAX + TAG_MAX || name.contains('@') {
        return Err(invalid());
    }
    validate::managed_image(name)?;
    let full = tagged(name);
    let repo = repository(&full);
    let tag = full.get(repo.len() + 1..).unwrap_or_default();
    let short = short(repo);
    let path = match short.split_once('/') {
        // A host, as the engine tells it from the first part of a path.
        Some((host, path)) if is_host(host) => path,
        _ => short,
    };
    let is_part = |part: &str| {
        let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let within = |c: char| ends(c) || matches!(c, '.' | '_' | '-');
        part.starts_with(ends) && part.ends_with(ends) && part.chars().all(within)
    };
    let starts = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_tag = tag.starts_with(starts)
        && tag.chars().all(|c| starts(c) || matches!(c, '.' | '-'))
        && tag.len() <= TAG_MAX;
    if repo.len() > NAME_MAX || !path.split('/').all(is_part) || !is_tag {
        return Err(invalid());
    }
    Ok(format!("{short}:{tag}"))
}

fn is_host(part: &str) -> bool {
    let is_port = |port: &str| port.chars().all(|c| c.is_ascii_digit()) && !port.is_empty();
    match part.split_once(':') {
        Some((_, port)) => is_port(port),
        None => part.contains('.') || part == "localhost",
    }
}

/// Refuses names that other images have, unless they may be taken.
///
/// # Errors
/// `Conflict` with the first of them.
pub(super) fn check_free(
    images: &[Found],
    engine: &EngineNames,
    force: bool,
) -> Result<(), ErrorBody> {
    let has_other = |image: &Found, name: &String| {
        let mut others = engine.iter().filter(|(id, _)| **id != image.id);
        others.any(|(_, names)| names.contains(name))
    };
    let taken = images
        .iter()
        .find_map(|image| image.names.iter().find(|name| has_other(image, name)));
    match taken {
        Some(name) if !force => Err(ErrorBody::new(
            ErrorCode::Conflict,
            format!("another image has the name `{name}`"),
        )
        .hint("`--force` takes the name, and what runs keeps its image; `-n NAME[:TAG]` gives another")),
        _ => Ok(()),
    }
}

/// Refuses images for other platforms than the engine's.
///
/// # Errors
/// `Unsatisfiable` with both.
pub(super) fn check_platform(images: &[Found], engine: &Platform) -> Result<(), ErrorBody> {
    let other = images.iter().find(|image| image.platform != *engine);
    let Some(image) = other else {
        return Ok(());
    };
    let name = image.names.first().map_or("", String::as_str);
    Err(ErrorBody::new(
        ErrorCode::Unsatisfiable,
        format!(
            "image `{name}` is made for {}, and the manager's engine is {engine}",
            image.platform
        ),
    )
    .hint("pack the image for that platform"))
}

#[cfg(test)]
mod tests;
