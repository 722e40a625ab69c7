//! Where nodes get images that only the manager's engine has: a registry over TLS that answers to
//! the cluster's own client certificates only.

mod certs;
mod collect;
mod end;
mod keeper;
mod manifest;
mod pull;
mod push;
mod room;
mod server;
mod shelf;

pub use room::check_folder;
pub use server::OwnRegistry;

use crate::{
    engine::{EngineError, Pushed, docker::ask},
    images::repo_name,
    model::{Login, Service},
    pki::{Identity, Pki, PkiError},
};
use bollard::Docker;
use certs::Credentials;
use end::End;
use keeper::{Keeper, Trouble};
use micado_api::RegistryAccess;
use push::Upload;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Mutex, time::timeout};

/// Upper bound for the check that the registry still has an image: a machine may have it anyway.
const CHECK: Duration = Duration::from_secs(2);
/// Upper bound for silence of the engine during a pull or a push.
const PUSH_SILENCE: Duration = Duration::from_secs(120);
/// Length of a shortened digest in messages.
const DIGEST: usize = "sha256:".len() + 12;

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

/// Puts what a reader of a registry needs where docker, skopeo and podman look for it.
///
/// # Errors
/// `Refused` when files cannot be written.
pub fn install_reader(
    certs_dir: &Path,
    host: &str,
    authority: String,
    client: Identity,
) -> Result<(), EngineError> {
    certs::install(certs_dir, host, &Credentials { authority, client })
}

/// The registry that nodes pull from.
#[derive(Debug)]
pub struct Registry {
    docker: Docker,
    /// Side that machines pull from. An address, where the manager runs it: a name would have to be put into
    /// the `/etc/hosts` of machines, and an engine reads that file when it starts and not again for
    /// 5 s (measured: first containers on new machines failed, and started 5 s late).
    reading: End,
    /// Side that the manager and its engine push to.
    writing: End,
    /// The authority that nodes check the registry against.
    authority: String,
    /// Certificate that all nodes show to it; without, each shows its own.
    shared: Option<Identity>,
    /// Two pushes of one image would take each other's tag away.
    pushing: Mutex<()>,
    /// Upkeep of the manager's own registry.
    keeper: Option<Keeper>,
    trouble: Trouble,
}

impl Registry {
    /// Uses an existing registry. Nothing is sent to it yet.
    ///
    /// # Errors
    /// `Refused` when the certificates are unusable or cannot be put where the engine looks for
    /// them.
    pub fn external(docker: Docker, external: &ExternalRegistry) -> Result<Self, EngineError> {
        let credentials = Credentials {
            authority: external.authority.clone(),
            client: external.client.clone(),
        };
        certs::install(&external.certs_dir, &external.host, &credentials)?;
        Ok(Self {
            docker,
            reading: End::new(external.host.clone(), &credentials)?,
            writing: End::new(external.host.clone(), &credentials)?,
            authority: credentials.authority,
            shared: Some(external.client.clone()),
            pushing: Mutex::new(()),
            keeper: None,
            trouble: Trouble::default(),
        })
    }

    /// Runs a registry on the manager's engine, or leaves the one that runs there as it is. Does
    /// not wait for it: see [`Registry::ready`].
    ///
    /// # Errors
    /// `Refused` when its image is missing or files cannot be written, `Unavailable` when the
    /// engine does not answer.
    pub async fn run(
        docker: Docker,
        pki: &Arc<Pki>,
        own: &OwnRegistry,
    ) -> Result<Self, EngineError> {
        let refused = |error: PkiError| EngineError::Refused(error.to_string());
        let writers = pki.writers().map_err(refused)?;
        let credentials = |signer: &Pki| {
            let client = signer.own_client_certificate("manager").map_err(refused)?;
            Ok::<_, EngineError>(Credentials {
                authority: pki.authority().to_owned(),
                client,
            })
        };
        let (reader, writer) = (credentials(pki)?, credentials(&writers)?);
        // Not by 127.0.0.1: an engine takes a registry on its own loopback addresses for an
        // insecure one, and shows it no certificate.
        let [host, push_host] =
            [own.port, own.push_port].map(|port| format!("{}:{port}", own.address));
        let registry = Self {
            reading: End::new(host, &reader)?,
            writing: End::new(push_host, &writer)?,
            authority: pki.authority().to_owned(),
            shared: None,
            pushing: Mutex::new(()),
            keeper: Some(Keeper::new(
                docker.clone(),
                own.clone(),
                pki.clone(),
                writers,
                writer,
            )),
            trouble: Trouble::default(),
            docker,
        };
        registry.mend().await?;
        Ok(registry)
    }

    /// Waits until both sides answer, for at most 20 s each.
    ///
    /// # Errors
    /// `Unavailable` with the last thing that went wrong.
    pub async fn ready(&self) -> Result<(), EngineError> {
        self.reading.ready().await?;
        self.writing.ready().await
    }

    /// Puts an image of the manager's engine into the registry, unless it is there. With a login to
    /// its own registry, the engine pulls it before. Returns the reference that nodes pull, by
    /// digest, and the image's id.
    ///
    /// # Errors
    /// `NotFound` when the manager's engine has no such image, `Refused` when it may not pull it,
    /// `Unavailable` when a registry does not answer or the push fails.
    pub async fn push(&self, image: &str, login: Option<&Login>) -> Result<Pushed, EngineError> {
        if let Some(login) = login {
            self.fetch(image, login).await?;
        }
        self.push_as(image, &repo_name(image)).await
    }

    /// As [`Registry::push`], of an image by name or id, into this repository.
    async fn push_as(&self, image: &str, repo: &str) -> Result<Pushed, EngineError> {
        let found = ask(
            || format!("look at image `{image}`"),
            self.docker.inspect_image(image),
        )
        .await?;
        let id = found.id.unwrap_or_default();
        let upload = Upload {
            image,
            repo,
            id: &id,
            named: found.repo_tags.is_some_and(|tags| !tags.is_empty()),
        };
        // Without a turn: an image that is there needs no push.
        let stored = self.reading.stored(repo, upload.tag(), &id).await;
        let digest = match stored {
            Ok(Some(digest)) => digest,
            Ok(None) | Err(_) => self.put(upload).await?,
        };
        Ok(Pushed {
            reference: format!("{}/{repo}@{digest}", self.reading.host),
            id,
        })
    }

    /// Pushes an image. A registry that does not answer is mended, and asked once more.
    async fn put(&self, upload: Upload<'_>) -> Result<String, EngineError> {
        let _turn = self.pushing.lock().await;
        self.check_room().await?;
        match self.upload(upload).await {
            Err(EngineError::Unavailable(message)) if self.keeper.is_some() => {
                tracing::warn!(%message, "an image could not be pushed; the registry is checked");
                self.mend().await?;
                self.ready().await?;
                self.upload(upload).await
            }
            outcome => outcome,
        }
    }

    /// Checks that the registry has the image of a service, and pushes it again if it was lost. If
    /// the manager's engine has lost it too, it is pulled with the login. Returns the reference to
    /// pull if that is another than the service's: an engine that was updated packs the same image
    /// differently.
    ///
    /// # Errors
    /// `NotFound` when the manager's engine no longer has the image either, `Unavailable` when the
    /// push fails. A registry that does not answer is no error: the machine may have the image.
    pub async fn provide(
        &self,
        service: &Service,
        login: Option<&Login>,
    ) -> Result<Option<String>, EngineError> {
        let Some((repo, digest)) = self.place_of(service.pull.as_deref()) else {
            return Ok(None);
        };
        match timeout(CHECK, self.reading.has(repo, digest)).await {
            Ok(Ok(false)) => {}
            Ok(Ok(true) | Err(_)) | Err(_) => return Ok(None),
        }
        let name = &service.spec.image;
        tracing::warn!(
            image = name,
            digest,
            "the registry has lost an image; it is pushed again"
        );
        let short = digest.get(..DIGEST).unwrap_or(digest);
        let id = service.image_id.as_deref();
        let mut pushed = self.push_as(id.unwrap_or(name), repo).await;
        if let (Err(EngineError::NotFound(_)), Some(login)) = (&pushed, login) {
            if let Err(error) = self.pull(name, login).await {
                tracing::warn!(image = name, %error, "a lost image could not be pulled again");
            }
            pushed = self.push_as(id.unwrap_or(name), repo).await;
        }
        let pushed = match pushed {
            Err(EngineError::NotFound(_)) => {
                return Err(EngineError::NotFound(format!(
                    "the registry has lost image `{name}` ({short}), and the manager's engine no longer has it; load that image there again, or remove the service and launch it with another"
                )));
            }
            pushed => pushed?,
        };
        let is_same = pushed.reference.ends_with(digest);
        if id.is_none() && !is_same {
            return Err(EngineError::NotFound(format!(
                "the registry has lost image `{name}` ({short}), and the manager's engine has another image of this name; remove the service and launch it again"
            )));
        }
        Ok((!is_same).then_some(pushed.reference))
    }

    /// Checks that the manager runs the registry, so that it may delete images and let people in.
    ///
    /// # Errors
    /// `Refused` if it does not.
    pub fn is_own(&self) -> Result<(), EngineError> {
        if self.keeper.is_some() {
            return Ok(());
        }
        let host = &self.reading.host;
        Err(EngineError::Refused(format!(
            "the registry at `{host}` is not run by this manager: use its own means"
        )))
    }

    /// Repository and digest of a reference to this registry.
    fn place_of<'a>(&self, reference: Option<&'a str>) -> Option<(&'a str, &'a str)> {
        let path = reference?.strip_prefix(&self.reading.host)?;
        path.strip_prefix('/')?.split_once('@')
    }

    /// What a machine needs to pull from the registry, which has this client certificate of its
    /// own.
    #[must_use]
    pub fn access(&self, own_certificate: &str) -> RegistryAccess {
        let shared = self.shared.as_ref();
        RegistryAccess {
            host: self.reading.host.clone(),
            authority: self.authority.clone(),
            certificate: shared
                .map_or(own_certificate, |it| &it.certificate)
                .to_owned(),
            key: shared.map(|it| it.key.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere() -> Docker {
        Docker::connect_with_http("tcp://127.0.0.1:1", 1, bollard::API_DEFAULT_VERSION)
            .expect("an address")
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
