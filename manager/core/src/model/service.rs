//! A service: an image and its settings, which all its containers share.

use micado_api::{ServiceName, ServiceSpec, Timestamp, names::NameError};
use serde::{Deserialize, Serialize};

/// A service and the image its nodes pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// `CLIENT_IMAGE`.
    pub name: ServiceName,
    /// What was asked for.
    pub spec: ServiceSpec,
    /// The reference that nodes pull; `None` while the image is still on its way to the registry.
    pub pull: Option<String>,
    /// The number that the next container gets; never used twice.
    pub next_number: u32,
    /// When it was first launched.
    pub created_at: Timestamp,
}

/// The name of the service that an image of a client runs as: `CLIENT_IMAGE`, where `IMAGE` is the
/// last part of the image's path without tag and digest.
///
/// # Errors
/// When there is no such part, when the whole is no good name, or when it ends like a container's
/// name (`.3`), so that the two could not be told apart.
pub fn service_name(client: &str, image: &str) -> Result<ServiceName, NameError> {
    let refuse = |kind, name: &str, problem| NameError {
        kind,
        name: name.to_owned(),
        problem,
    };
    if client.is_empty() {
        return Err(refuse("client", client, "is empty"));
    }
    let untagged = image.split_once('@').map_or(image, |(name, _digest)| name);
    let last = untagged.rsplit('/').next().unwrap_or_default();
    let last = last.split_once(':').map_or(last, |(name, _tag)| name);
    if last.is_empty() {
        return Err(refuse("image", image, "has no name"));
    }
    if last
        .rsplit_once('.')
        .is_some_and(|(_, end)| !end.is_empty() && end.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(refuse(
            "image",
            image,
            "must not end in a dot and a number: containers are named so",
        ));
    }
    format!("{client}_{last}").parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(client: &str, image: &str) -> String {
        service_name(client, image).map_or_else(|error| error.to_string(), |name| name.to_string())
    }

    #[test]
    fn a_service_is_named_after_client_and_image() {
        assert_eq!(named("acme", "nginx"), "acme_nginx");
        assert_eq!(named("acme", "nginx:1.27"), "acme_nginx");
        assert_eq!(
            named("acme", "registry.example:5000/team/web-app:2@sha256:0123"),
            "acme_web-app"
        );
        assert_eq!(named("acme", "registry.example:5000/web"), "acme_web");
    }

    #[test]
    fn names_that_would_mislead_are_refused() {
        assert_eq!(named("", "nginx"), "client `` is empty");
        assert_eq!(named("acme", "team/"), "image `team/` has no name");
        assert_eq!(
            named("acme", "web.2:latest"),
            "image `web.2:latest` must not end in a dot and a number: containers are named so"
        );
        assert_eq!(
            named("a b", "web"),
            "service `a b_web` may hold only letters, digits, `-`, `_` and `.`"
        );
    }
}
