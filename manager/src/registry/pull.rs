//! Pulls of private images by the manager's engine, before they are pushed to the registry.

use super::{PUSH_SILENCE, Registry};
use crate::{
    engine::{
        EngineError,
        docker::{ask, explain, words},
        login::{credentials, is_denial},
        swarm::{is_pulled, repository},
    },
    model::Login,
};
use bollard::{errors::Error, query_parameters::CreateImageOptions};
use futures_util::StreamExt;
use micado_api::foreign::excerpt;

/// Upper bound for a registry's message in an error, in characters.
const MESSAGE: usize = 1000;

impl Registry {
    /// Pulls an image with a login, unless it was made on the manager's engine. If that fails, the
    /// image that the engine has will do.
    pub(super) async fn fetch(&self, image: &str, login: &Login) -> Result<(), EngineError> {
        let what = || format!("look at image `{image}`");
        let is_there = match ask(what, self.docker.inspect_image(image)).await {
            Ok(found) if !is_pulled(&found, image) => return Ok(()),
            Ok(_) => true,
            Err(EngineError::NotFound(_)) => false,
            Err(error) => return Err(error),
        };
        match self.pull(image, login).await {
            Err(error) if is_there => {
                tracing::warn!(image, %error, "a private image could not be pulled; the engine's own is used");
                Ok(())
            }
            pulled => pulled,
        }
    }

    /// Pulls an image with a login.
    pub(super) async fn pull(&self, image: &str, login: &Login) -> Result<(), EngineError> {
        let options = CreateImageOptions {
            from_image: Some(image.to_owned()),
            tag: default_tag(image),
            ..CreateImageOptions::default()
        };
        let credentials = Some(credentials(login));
        let mut steps = self
            .docker
            .create_image(Some(options), None, credentials)
            .boxed();
        loop {
            match tokio::time::timeout(PUSH_SILENCE, steps.next()).await {
                Ok(None) => return Ok(()),
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => return Err(failed(image, login, &error)),
                Err(_) => {
                    return Err(EngineError::Unavailable(format!(
                        "cannot pull image `{image}` from {}: no progress for {} s",
                        login.host,
                        PUSH_SILENCE.as_secs()
                    )));
                }
            }
        }
    }
}

/// Tag of an image that names none: an engine pulls all tags without one.
fn default_tag(image: &str) -> Option<String> {
    (repository(image) == image).then(|| "latest".to_owned())
}

/// The failure of a pull. A registry that refuses the login says so, with the next step.
fn failed(image: &str, login: &Login, error: &Error) -> EngineError {
    let Login { host, user, .. } = login;
    let said = words(error);
    if !is_denial(&said) {
        return explain(&format!("pull image `{image}` from {host}"), error);
    }
    EngineError::Refused(format!(
        "{host} does not give image `{image}` to `{user}` ({host} said: {}): check its rights there, or log in again with `micado registry login {host}`",
        excerpt(&said, MESSAGE)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;
    use micado_api::Timestamp;

    #[test]
    fn one_tag_is_pulled() {
        assert_eq!(default_tag("r:5000/web").as_deref(), Some("latest"));
        assert_eq!(default_tag("r:5000/web:1"), None);
        assert_eq!(default_tag("web@sha256:00"), None);
    }

    #[test]
    fn a_refused_login_names_the_next_step() {
        let login = Login {
            host: "r.example.org".to_owned(),
            user: "alice".to_owned(),
            secret: Secret::Password("hunter2".to_owned()),
            since: Timestamp(1),
        };
        let after = |error: &str| {
            let error = Error::DockerStreamError {
                error: error.to_owned(),
            };
            failed("r.example.org/web", &login, &error)
        };
        let refused = after("unauthorized: the token has expired");
        assert!(matches!(refused, EngineError::Refused(_)), "{refused:?}");
        let text = refused.to_string();
        for part in [
            "has expired",
            "`alice`",
            "micado registry login r.example.org",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
        let lost = after("dial tcp: connection refused");
        assert!(matches!(lost, EngineError::Unavailable(_)), "{lost:?}");
    }
}
