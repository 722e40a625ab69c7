//! Look-up of an image: in the manager's engine first, then, through it, in the image's registry.

use crate::engine::{
    EngineError, ImageFacts,
    docker::{ask, status, words},
};
use bollard::{Docker, errors::Error, models};
use micado_api::{Platform, PortMapping, Protocol};
use std::collections::BTreeSet;

/// Registry of images without a host in their name.
const DEFAULT_REGISTRY: &str = "docker.io";

/// Looks an image up.
///
/// # Errors
/// `Refused` for an invalid name, `NotFound` if neither has the image, `Unavailable` if the engine
/// does not answer.
pub(super) async fn facts(docker: &Docker, image: &str) -> Result<ImageFacts, EngineError> {
    check(image)?;
    let local = ask(
        || format!("look for image `{image}`"),
        docker.inspect_image(image),
    )
    .await;
    match local {
        Ok(found) => {
            let platform = found.os.zip(found.architecture);
            let platform = platform.map(|(os, architecture)| Platform::new(&os, &architecture));
            let exposed = found
                .config
                .and_then(|config| config.exposed_ports)
                .unwrap_or_default();
            let mut exposed: Vec<_> = exposed
                .iter()
                .filter_map(|port| exposed_port(port))
                .collect();
            exposed.sort_unstable();
            Ok(ImageFacts {
                pull: None,
                exposed,
                platforms: platform.into_iter().collect(),
            })
        }
        Err(EngineError::NotFound(_)) => distribution(docker, image).await,
        Err(error) => Err(error),
    }
}

/// Asks the image's registry. The exposed ports stay unknown: only a pull would show them.
async fn distribution(docker: &Docker, image: &str) -> Result<ImageFacts, EngineError> {
    let asked = tokio::time::timeout(
        crate::engine::docker::LIMIT,
        docker.inspect_registry_image(image, None),
    )
    .await;
    let said = match asked {
        Ok(Ok(found)) => match found.descriptor.digest {
            Some(digest) => {
                return Ok(ImageFacts {
                    pull: Some(format!("{}@{digest}", repository(image))),
                    exposed: Vec::new(),
                    platforms: platforms(found.platforms),
                });
            }
            None => "it has no digest".to_owned(),
        },
        // Without a status the engine itself failed to answer, and the image's existence is
        // unknown.
        Ok(Err(error))
            if status(&error).is_none() && !matches!(error, Error::RequestTimeoutError) =>
        {
            return Err(crate::engine::docker::explain(
                &format!("ask for image `{image}`"),
                &error,
            ));
        }
        Ok(Err(Error::RequestTimeoutError)) | Err(_) => "nothing, for a long time".to_owned(),
        Ok(Err(error)) => words(&error),
    };
    let host = registry_host(image);
    Err(EngineError::NotFound(format!(
        "image `{image}` is neither on the manager's engine nor in a registry that it can reach ({host} said: {said})"
    )))
}

/// The platforms of an image in a registry. Attestations are listed as platform `unknown`.
fn platforms(listed: Vec<models::OciPlatform>) -> BTreeSet<Platform> {
    let known = listed
        .into_iter()
        .filter_map(|platform| platform.os.zip(platform.architecture))
        .filter(|(os, _)| os != "unknown");
    let platforms = known.map(|(os, architecture)| Platform::new(&os, &architecture));
    platforms.collect()
}

/// Refuses characters that no image name has: the name becomes part of a path of the engine's API.
pub(crate) fn check(image: &str) -> Result<(), EngineError> {
    let good =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@');
    let first = image
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    if first
        && image.chars().all(good)
        && image
            .split('/')
            .all(|part| !part.is_empty() && part.chars().any(|c| c != '.'))
    {
        return Ok(());
    }
    Err(EngineError::Refused(format!(
        "`{image}` is no image name (expected `[HOST[:PORT]/]NAME[:TAG]`)"
    )))
}

/// Host part of an image name.
fn registry_host(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => DEFAULT_REGISTRY,
    }
}

/// Image name without its tag and digest.
pub(crate) fn repository(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

/// Parses `80/tcp`, as image configurations write it.
fn exposed_port(text: &str) -> Option<PortMapping> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    Some(PortMapping {
        host: None,
        container: port.parse().ok()?,
        protocol,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_names_are_taken_apart() {
        for (image, host, name) in [
            ("nginx", "docker.io", "nginx"),
            ("nginx:1.27", "docker.io", "nginx"),
            ("acme/web:1", "docker.io", "acme/web"),
            ("localhost/web", "localhost", "localhost/web"),
            ("host:5000/web", "host:5000", "host:5000/web"),
            (
                "r.example.org/a/b:2@sha256:00",
                "r.example.org",
                "r.example.org/a/b",
            ),
        ] {
            assert_eq!(
                (registry_host(image), repository(image)),
                (host, name),
                "{image}"
            );
            assert_eq!(check(image), Ok(()), "{image}");
        }
    }

    #[test]
    fn what_is_no_image_name_reaches_no_engine() {
        for image in ["", "a b", "../info", "a/../b", "a//b", "x?y=1", "-x", "a\n"] {
            assert!(
                matches!(check(image), Err(EngineError::Refused(_))),
                "{image:?}"
            );
        }
    }

    #[test]
    fn exposed_ports_are_read() {
        assert_eq!(
            exposed_port("80/tcp"),
            Some(PortMapping {
                host: None,
                container: 80,
                protocol: Protocol::Tcp
            })
        );
        assert_eq!(
            exposed_port("53/udp"),
            Some(PortMapping {
                host: None,
                container: 53,
                protocol: Protocol::Udp
            })
        );
        assert_eq!(exposed_port("1/sctp"), None);
    }
}
