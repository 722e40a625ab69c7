//! Where nodes get images that only the manager's engine has: a registry over TLS that answers to
//! the cluster's own client certificates only.

mod certs;
mod manifest;
mod server;

pub use server::OwnRegistry;

use crate::{
    engine::{
        EngineError,
        docker::{ask, explain},
        swarm::repository,
    },
    pki::{Identity, Pki, PkiError},
};
use bollard::{
    Docker,
    query_parameters::{PushImageOptions, RemoveImageOptions, TagImageOptions},
};
use certs::Credentials;
use futures_util::StreamExt;
use micado_api::RegistryAccess;
use reqwest::{StatusCode, header};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

/// How long [`Registry::ready`] waits for the first good answer.
const START: Duration = Duration::from_secs(20);
/// Between two questions whether the registry is up: it tells nobody.
const POLL: Duration = Duration::from_millis(100);
/// A push that says nothing for so long is given up.
const PUSH_SILENCE: Duration = Duration::from_secs(120);
/// One question to the registry.
const QUESTION: Duration = Duration::from_secs(10);

/// The manifests that engines push; asked for by name, or the registry answers with an old format.
const MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";

/// A registry that the manager did not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalRegistry {
    /// `HOST:PORT`, by which the manager's engine and all nodes reach it.
    pub host: String,
    /// The authority that its certificate is checked against, PEM.
    pub authority: String,
    /// What the manager's engine and the nodes show to it.
    pub client: Identity,
    /// Where the manager's engine looks for certificates.
    pub certs_dir: PathBuf,
}

/// The registry that nodes pull from.
#[derive(Debug)]
pub struct Registry {
    docker: Docker,
    /// `HOST:PORT`, as all nodes call it. An address, where the manager runs it: a name would have
    /// to be put into the `/etc/hosts` of machines, and an engine reads that file when it starts
    /// and not again for 5 s (measured: first containers on new machines failed, and started 5 s
    /// late).
    host: String,
    /// `HOST:PORT` for the manager and its engine, which push there.
    push_host: String,
    api: reqwest::Client,
    /// The authority that nodes check the registry against.
    authority: String,
    /// What all nodes show to it; without, each shows its own certificate.
    shared: Option<Identity>,
    /// Two pushes of one image would take each other's tag away.
    pushing: Mutex<()>,
}

impl Registry {
    /// Uses a registry that is there. Nothing is sent to it yet.
    ///
    /// # Errors
    /// `Refused` when the certificates are unusable or cannot be put where the engine looks for
    /// them.
    pub fn external(docker: Docker, external: &ExternalRegistry) -> Result<Self, EngineError> {
        let credentials = Credentials {
            authority: external.authority.clone(),
            client: external.client.clone(),
        };
        Self::new(
            docker,
            [external.host.clone(), external.host.clone()],
            &external.certs_dir,
            credentials,
            Some(external.client.clone()),
        )
    }

    /// Runs a registry on the manager's engine, or leaves the one that runs there as it is. Does
    /// not wait for it: see [`Registry::ready`].
    ///
    /// # Errors
    /// `Refused` when its image is missing or files cannot be written, `Unavailable` when the
    /// engine does not answer.
    pub async fn run(docker: Docker, pki: &Pki, own: &OwnRegistry) -> Result<Self, EngineError> {
        let refused = |error: PkiError| EngineError::Refused(error.to_string());
        let writers = pki.writers().map_err(refused)?;
        server::ensure(&docker, pki, &writers, own).await?;
        let client = writers.own_client_certificate("manager").map_err(refused)?;
        let credentials = Credentials {
            authority: pki.authority().to_owned(),
            client,
        };
        // Not by 127.0.0.1: an engine takes a registry on its own loopback addresses for an
        // insecure one, and shows it no certificate.
        Self::new(
            docker,
            [own.port, own.push_port].map(|port| format!("{}:{port}", own.address)),
            &own.certs_dir,
            credentials,
            None,
        )
    }

    fn new(
        docker: Docker,
        [host, push_host]: [String; 2],
        certs_dir: &Path,
        credentials: Credentials,
        shared: Option<Identity>,
    ) -> Result<Self, EngineError> {
        certs::install(certs_dir, &push_host, &credentials)?;
        let api = certs::client(&credentials)?;
        Ok(Self {
            docker,
            host,
            push_host,
            api,
            authority: credentials.authority,
            shared,
            pushing: Mutex::new(()),
        })
    }

    /// Waits until the registry answers, for at most 20 s.
    ///
    /// # Errors
    /// `Unavailable` with the last thing that went wrong.
    pub async fn ready(&self) -> Result<(), EngineError> {
        let deadline = Instant::now() + START;
        loop {
            match self.question(reqwest::Method::GET, "").await {
                Ok(answer) if answer.status() == StatusCode::OK => return Ok(()),
                Ok(answer) if Instant::now() >= deadline => return Err(self.odd(&answer)),
                Err(error) if Instant::now() >= deadline => return Err(error),
                _ => sleep(POLL).await,
            }
        }
    }

    /// Puts an image of the manager's engine into the registry, unless it is there, and says how
    /// nodes pull it: by digest.
    ///
    /// # Errors
    /// `NotFound` when the manager's engine has no such image, `Unavailable` when the registry does
    /// not answer or the push fails.
    pub async fn push(&self, image: &str) -> Result<String, EngineError> {
        let found = ask(
            || format!("look at image `{image}`"),
            self.docker.inspect_image(image),
        )
        .await?;
        let id = found.id.unwrap_or_default();
        let repo = repo_name(image);
        let tag = id.trim_start_matches("sha256:").to_owned();
        let _turn = self.pushing.lock().await;
        let digest = match self.stored(&repo, &tag, &id).await? {
            Some(digest) => digest,
            None => {
                let named = found.repo_tags.is_some_and(|tags| !tags.is_empty());
                let pushed = self.upload(image, &repo, &tag, named).await?;
                let missing = || {
                    EngineError::Unavailable(format!(
                        "the registry at `{}` does not have image `{image}` after it was pushed",
                        self.push_host
                    ))
                };
                match pushed {
                    Some(digest) => digest,
                    None => self.stored(&repo, &tag, &id).await?.ok_or_else(missing)?,
                }
            }
        };
        Ok(format!("{}/{repo}@{digest}", self.host))
    }

    /// Pushes under a name for this purpose only, which is taken away again; unless it is the
    /// image's only name, for then the image would go with it. Returns the digest that the engine
    /// names.
    async fn upload(
        &self,
        image: &str,
        repo: &str,
        tag: &str,
        named: bool,
    ) -> Result<Option<String>, EngineError> {
        let name = format!("{}/{repo}", self.push_host);
        let tagging = self.docker.tag_image(
            image,
            Some(TagImageOptions {
                repo: Some(name.clone()),
                tag: Some(tag.to_owned()),
            }),
        );
        ask(|| format!("name image `{image}` for the registry"), tagging).await?;
        let pushed = self.follow_push(image, &name, tag).await;
        if named {
            let pushed_name = format!("{name}:{tag}");
            let untagged = self.docker.remove_image(
                &pushed_name,
                Some(RemoveImageOptions {
                    noprune: true,
                    ..Default::default()
                }),
                None,
            );
            if let Err(error) =
                ask(|| format!("take the name `{pushed_name}` away"), untagged).await
            {
                tracing::warn!(%error, "a name that was made for a push stays behind");
            }
        }
        pushed
    }

    async fn follow_push(
        &self,
        image: &str,
        name: &str,
        tag: &str,
    ) -> Result<Option<String>, EngineError> {
        let what = format!(
            "push image `{image}` to the registry at `{}`",
            self.push_host
        );
        let mut digest = None;
        let mut steps = self
            .docker
            .push_image(
                name,
                Some(PushImageOptions {
                    tag: Some(tag.to_owned()),
                    platform: None,
                }),
                None,
            )
            .boxed();
        loop {
            match tokio::time::timeout(PUSH_SILENCE, steps.next()).await {
                Ok(None) => return Ok(digest),
                Ok(Some(Ok(step))) => {
                    let named = step.status.as_deref().and_then(manifest::pushed_digest);
                    digest = named.map(str::to_owned).or(digest);
                }
                Ok(Some(Err(error))) => return Err(explain(&what, &error)),
                Err(_) => {
                    return Err(EngineError::Unavailable(format!(
                        "cannot {what}: no progress for {} s",
                        PUSH_SILENCE.as_secs()
                    )));
                }
            }
        }
    }

    /// The digest of the image with this id, if that is what the registry has under the tag. A tag
    /// can be moved by whoever may push.
    async fn stored(&self, repo: &str, tag: &str, id: &str) -> Result<Option<String>, EngineError> {
        let answer = self
            .question(reqwest::Method::GET, &format!("{repo}/manifests/{tag}"))
            .await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => {
                let bytes = answer.bytes().await.map_err(|error| self.silent(&error))?;
                let digest = manifest::digest_of(&bytes, id);
                if digest.is_none() {
                    tracing::warn!(
                        repository = repo,
                        image = id,
                        "the registry has another image under this image's tag; it is pushed again"
                    );
                }
                Ok(digest)
            }
            _ => Err(self.odd(&answer)),
        }
    }

    async fn question(
        &self,
        method: reqwest::Method,
        path: &str,
    ) -> Result<reqwest::Response, EngineError> {
        let url = format!("https://{}/v2/{path}", self.push_host);
        let asked = self
            .api
            .request(method, url)
            .header(header::ACCEPT, MANIFESTS)
            .timeout(QUESTION)
            .send()
            .await;
        asked.map_err(|error| self.silent(&error))
    }

    fn silent(&self, error: &reqwest::Error) -> EngineError {
        EngineError::Unavailable(format!(
            "the registry at `{}` does not answer: {}",
            self.push_host,
            certs::chain(error)
        ))
    }

    fn odd(&self, answer: &reqwest::Response) -> EngineError {
        EngineError::Unavailable(format!(
            "the registry at `{}` answers `{}` to {}",
            self.push_host,
            answer.status(),
            answer.url().path()
        ))
    }

    /// What a machine needs to pull from the registry, which has this client certificate of its
    /// own.
    #[must_use]
    pub fn access(&self, own_certificate: &str) -> RegistryAccess {
        let shared = self.shared.as_ref();
        RegistryAccess {
            host: self.host.clone(),
            authority: self.authority.clone(),
            certificate: shared
                .map_or(own_certificate, |it| &it.certificate)
                .to_owned(),
            key: shared.map(|it| it.key.clone()),
        }
    }
}

/// The image's name as the registry has it: whole, lower case, and nothing in it that separates a
/// host from a port.
fn repo_name(image: &str) -> String {
    repository(image).to_lowercase().replace(':', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere() -> Docker {
        Docker::connect_with_http("tcp://127.0.0.1:1", 1, bollard::API_DEFAULT_VERSION)
            .expect("an address")
    }

    #[test]
    fn repository_names_are_what_registries_take() {
        assert_eq!(repo_name("web"), "web");
        assert_eq!(repo_name("acme/web:1.2"), "acme/web");
        assert_eq!(repo_name("Host:5000/web@sha256:00"), "host-5000/web");
    }

    #[test]
    fn a_told_registry_is_installed_and_handed_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let pki = Pki::open(&folder.path().join("pki")).expect("an authority");
        let external = ExternalRegistry {
            host: "images.example.org:5000".to_owned(),
            authority: pki.authority().to_owned(),
            client: pki.client_certificate("manager").expect("a certificate"),
            certs_dir: folder.path().join("certs.d"),
        };
        let registry = Registry::external(nowhere(), &external).expect("usable certificates");
        let access = registry.access("a machine's own");
        assert_eq!(access.host, "images.example.org:5000");
        assert!(!format!("{access:?}").contains("KEY"), "{access:?}");
        for (name, content) in [
            ("ca.crt", Some(access.authority)),
            ("client.cert", Some(access.certificate)),
            ("client.key", access.key),
        ] {
            let installed = std::fs::read_to_string(
                external
                    .certs_dir
                    .join("images.example.org:5000")
                    .join(name),
            );
            assert_eq!(installed.ok(), content, "{name}");
        }
    }

    #[test]
    fn bad_certificates_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let client = Identity {
            certificate: "none".to_owned(),
            key: "none".to_owned(),
        };
        let external = ExternalRegistry {
            host: "r:1".to_owned(),
            authority: "none".to_owned(),
            client,
            certs_dir: folder.path().to_owned(),
        };
        assert!(
            matches!(Registry::external(nowhere(), &external), Err(EngineError::Refused(text)) if text.contains("certificate"))
        );
    }
}
