//! Look-up of an image: in the manager's engine first, then, through it, in the image's registry.

use crate::{
    engine::{
        EngineError, ImageFacts,
        docker::{ask, status, words},
        login::{credentials, is_denial},
    },
    model::{DEFAULT_REGISTRY, Login, login_host, registry_host},
};
use bollard::{Docker, errors::Error, models};
use micado_api::{Platform, PortMapping, Protocol};
use std::collections::BTreeSet;

/// Looks an image up. With a login, its registry comes before the engine, unless the image was made
/// there: there may be a newer one, which the engine pulls before it is pushed.
///
/// # Errors
/// `Refused` for an invalid name, for an image that the registry does not give to the login, or for
/// one that is not made for the engine's platform; `NotFound` if neither has the image,
/// `Unavailable` if the engine does not answer.
pub(super) async fn facts(
    docker: &Docker,
    image: &str,
    login: Option<&Login>,
) -> Result<ImageFacts, EngineError> {
    check(image)?;
    let local = ask(
        || format!("look for image `{image}`"),
        docker.inspect_image(image),
    )
    .await;
    match (local, login) {
        (Ok(found), Some(login)) if is_pulled(&found, image) => {
            match distribution(docker, image, Some(login)).await {
                Ok(known) => for_engine(docker, known).await,
                Err(error) => {
                    tracing::warn!(image, %error, "a registry does not show a private image; the engine's own will do");
                    Ok(local_facts(found))
                }
            }
        }
        (Ok(found), _) => Ok(local_facts(found)),
        (Err(EngineError::NotFound(_)), login) => {
            let known = distribution(docker, image, login).await?;
            match login {
                Some(_) => for_engine(docker, known).await,
                None => Ok(known),
            }
        }
        (Err(error), _) => Err(error),
    }
}

/// Facts of an image that the engine has.
fn local_facts(found: models::ImageInspect) -> ImageFacts {
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
    ImageFacts {
        pull: None,
        exposed,
        platforms: platform.into_iter().collect(),
    }
}

/// Facts of a private image, which the manager's engine pulls and pushes for all machines: it has
/// that engine's platform only.
async fn for_engine(docker: &Docker, known: ImageFacts) -> Result<ImageFacts, EngineError> {
    let what = || "ask the engine for its platform".to_owned();
    let engine = ask(what, docker.version()).await?;
    let platform = engine.os.zip(engine.arch);
    let Some(platform) = platform.map(|(os, arch)| Platform::new(&os, &arch)) else {
        return Ok(ImageFacts {
            pull: None,
            ..known
        });
    };
    if !known.platforms.is_empty() && !known.platforms.contains(&platform) {
        let offered: Vec<_> = known.platforms.iter().map(ToString::to_string).collect();
        return Err(EngineError::Refused(format!(
            "it is made for {} only; private images are pulled by the manager's engine, which is {platform}",
            offered.join(", ")
        )));
    }
    Ok(ImageFacts {
        pull: None,
        platforms: [platform].into(),
        ..known
    })
}

/// Returns true if an image of the engine came from the registry of this name. One that was built or
/// loaded there has no digest of it.
pub(crate) fn is_pulled(found: &models::ImageInspect, image: &str) -> bool {
    let digests = found.repo_digests.iter().flatten();
    let mut repositories = digests.map(|digest| short(repository(digest)));
    repositories.any(|name| name == short(repository(image)))
}

/// The name as the engine shows it: without the Docker Hub's host and its folder.
pub(crate) fn short(repository: &str) -> &str {
    let hub = repository.split_once('/');
    let hub = hub.filter(|(host, _)| login_host(host) == DEFAULT_REGISTRY);
    let path = hub.map_or(repository, |(_, path)| path);
    let official = path.strip_prefix("library/");
    official.filter(|name| !name.contains('/')).unwrap_or(path)
}

/// Asks the image's registry. The exposed ports stay unknown: only a pull would show them.
async fn distribution(
    docker: &Docker,
    image: &str,
    login: Option<&Login>,
) -> Result<ImageFacts, EngineError> {
    let asked = tokio::time::timeout(
        crate::engine::docker::LIMIT,
        docker.inspect_registry_image(image, login.map(credentials)),
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
    if let Some(Login { user, .. }) = login.filter(|_| is_denial(&said)) {
        return Err(EngineError::Refused(format!(
            "{host} does not give it to `{user}`: {said}"
        )));
    }
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
        for (image, name) in [
            ("nginx", "nginx"),
            ("nginx:1.27", "nginx"),
            ("localhost/web", "localhost/web"),
            ("host:5000/web", "host:5000/web"),
            ("r.example.org/a/b:2@sha256:00", "r.example.org/a/b"),
        ] {
            assert_eq!(repository(image), name, "{image}");
            assert_eq!(check(image), Ok(()), "{image}");
        }
    }

    #[test]
    fn a_pulled_image_is_told_from_one_that_was_made_here() {
        let pulled = |digests: &[&str], image| {
            let digests = digests.iter().map(|digest| (*digest).to_owned());
            let found = models::ImageInspect {
                repo_digests: Some(digests.collect()),
                ..models::ImageInspect::default()
            };
            is_pulled(&found, image)
        };
        assert!(!pulled(&[], "acme/web"));
        for image in ["acme/web", "acme/web:1", "docker.io/acme/web:1"] {
            assert!(pulled(&["acme/web@sha256:00"], image), "{image}");
        }
        assert!(pulled(
            &["nginx@sha256:00"],
            "index.docker.io/library/nginx"
        ));
        assert!(!pulled(&["r.example.org/web@sha256:00"], "web"));
        assert!(pulled(&["r:5/a/web@sha256:00"], "r:5/a/web:2"));
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
