//! A login to an external registry. The manager's engine pulls private images with it; it goes to
//! no machine, and into no Swarm service.

use micado_api::{LoginView, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Registry of images without a host in their name.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// Other names of the same registry.
const DEFAULT_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// A login to an external registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// As [`login_host`] spells it.
    pub host: String,
    pub user: String,
    pub secret: Secret,
    /// Time of its last change.
    pub since: Timestamp,
}

/// The secret of a login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    Password(String),
    /// Given by a registry in exchange for the password.
    IdentityToken(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Login {
    /// The login as the API shows it.
    #[must_use]
    pub fn view(&self) -> LoginView {
        LoginView {
            host: self.host.clone(),
            user: self.user.clone(),
            since: self.since,
        }
    }
}

/// Host part of an image name.
#[must_use]
pub fn registry_host(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => DEFAULT_REGISTRY,
    }
}

/// The one spelling of a registry's host: in lower case, and the Docker Hub by one of its names.
#[must_use]
pub fn login_host(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match DEFAULT_ALIASES.contains(&host.as_str()) {
        true => DEFAULT_REGISTRY.to_owned(),
        false => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_image_is_found() {
        for (image, host) in [
            ("nginx:1.27", "docker.io"),
            ("acme/web:1", "docker.io"),
            ("localhost/web", "localhost"),
            ("host:5000/web", "host:5000"),
            ("r.example.org/a/b:2@sha256:00", "r.example.org"),
        ] {
            assert_eq!(registry_host(image), host, "{image}");
        }
    }

    #[test]
    fn a_registry_has_one_spelling() {
        for (host, one) in [
            ("docker.io", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("Registry-1.Docker.io", "docker.io"),
            ("GHCR.io:443", "ghcr.io:443"),
        ] {
            assert_eq!(login_host(host), one, "{host}");
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        let login = Login {
            host: "r.example.org".to_owned(),
            user: "alice".to_owned(),
            secret: Secret::Password("hunter2".to_owned()),
            since: Timestamp(1),
        };
        let shown = format!("{login:?} {:?}", login.view());
        assert!(
            shown.contains("alice") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
