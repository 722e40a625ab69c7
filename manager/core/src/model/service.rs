//! A service: an image and its settings, in numbered versions, which its containers share.

use micado_api::{Platform, ServiceName, ServiceSpec, Timestamp, names::NameError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Settings that copies of a service still run with, and that new copies do not get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecVersion {
    pub version: u32,
    pub spec: ServiceSpec,
    /// Reference that nodes pull.
    pub pull: Option<String>,
    /// Id of that image in the manager's engine, if it was pushed from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
}

/// A service and the image that its nodes pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub name: ServiceName,
    /// Number of the present settings. Rises with every change.
    pub version: u32,
    /// Present settings.
    pub spec: ServiceSpec,
    /// Reference that nodes pull; `None` until the image was pushed to the registry.
    pub pull: Option<String>,
    /// Id of that image in the manager's engine, if it was pushed from there. If the registry loses
    /// the image, it is pushed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// Platforms that its image is made for; empty if unknown.
    #[serde(default)]
    pub platforms: BTreeSet<Platform>,
    /// Earlier settings that copies still run with, oldest first.
    pub older: Vec<SpecVersion>,
    /// Number of the next container; never used twice.
    pub next_number: u32,
    /// Time of its first launch.
    pub created_at: Timestamp,
    /// Its plain name on the network; `None` if another service had it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

impl Service {
    /// A service that is launched for the first time.
    #[must_use]
    pub fn new(name: ServiceName, spec: ServiceSpec, pull: Option<String>, now: Timestamp) -> Self {
        Self {
            name,
            version: 1,
            spec,
            pull,
            image_id: None,
            platforms: BTreeSet::new(),
            older: Vec::new(),
            next_number: 1,
            created_at: now,
            alias: None,
        }
    }

    /// Returns the settings of this version, or the present ones if it was dropped.
    #[must_use]
    pub fn spec_at(&self, version: u32) -> &ServiceSpec {
        let older = self.older.iter().find(|older| older.version == version);
        older.map_or(&self.spec, |older| &older.spec)
    }

    /// Returns the service as of this version.
    #[must_use]
    pub fn at(&self, version: u32) -> Self {
        let older = self.older.iter().find(|older| older.version == version);
        older.map_or_else(
            || self.clone(),
            |older| Self {
                version,
                spec: older.spec.clone(),
                pull: older.pull.clone(),
                image_id: older.image_id.clone(),
                ..self.clone()
            },
        )
    }

    /// Changes the settings. The previous ones are kept while copies run with them.
    pub fn change(&mut self, spec: ServiceSpec, pull: Option<String>, in_use: &[u32]) {
        let (spec, pull) = (
            std::mem::replace(&mut self.spec, spec),
            std::mem::replace(&mut self.pull, pull),
        );
        let version = self.version;
        self.older.push(SpecVersion {
            version,
            spec,
            pull,
            image_id: self.image_id.take(),
        });
        self.older.retain(|older| in_use.contains(&older.version));
        self.version += 1;
    }
}

/// Returns the name of the service that a client's image runs as: `CLIENT_IMAGE`, where `IMAGE` is
/// the last part of the image's path without tag and digest.
///
/// # Errors
/// If there is no such part, if the whole is not a valid name, or if it ends like a container's
/// name (`.3`), so that the two would be ambiguous.
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
