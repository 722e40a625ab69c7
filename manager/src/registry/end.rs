//! One side of the registry, as the manager asks it over HTTP.

use super::{
    certs::{self, Credentials},
    manifest,
};
use crate::engine::{EngineError, docker::chain};
use reqwest::{Method, Response, StatusCode, header};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Time-out of a request.
const QUESTION: Duration = Duration::from_secs(10);
/// Upper bound for the time until [`End::ready`] has a good answer.
const START: Duration = Duration::from_secs(20);
/// Interval of requests until then: a registry announces nothing.
const POLL: Duration = Duration::from_millis(100);

/// The manifests that engines push; asked for by name, or the registry answers with an old format.
const MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";

/// A side of the registry.
#[derive(Debug)]
pub(super) struct End {
    /// `HOST:PORT`.
    pub(super) host: String,
    http: reqwest::Client,
}

impl End {
    pub(super) fn new(host: String, credentials: &Credentials) -> Result<Self, EngineError> {
        let http = certs::client(credentials)?;
        Ok(Self { host, http })
    }

    /// Asks it for nothing in particular.
    ///
    /// # Errors
    /// `Unavailable` if it does not answer as a registry does.
    pub(super) async fn answers(&self) -> Result<(), EngineError> {
        let answer = self.ask(Method::GET, "").await?;
        match answer.status() {
            StatusCode::OK => Ok(()),
            _ => Err(self.odd(&answer)),
        }
    }

    /// Waits until it answers, for at most 20 s.
    ///
    /// # Errors
    /// `Unavailable` with the last thing that went wrong.
    pub(super) async fn ready(&self) -> Result<(), EngineError> {
        let deadline = Instant::now() + START;
        loop {
            match self.answers().await {
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => sleep(POLL).await,
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Returns the digest of the image with this id, if that is what the registry has under the
    /// tag. Whoever may push can move a tag.
    pub(super) async fn stored(
        &self,
        repo: &str,
        tag: &str,
        id: &str,
    ) -> Result<Option<String>, EngineError> {
        let Some(manifest) = self.manifest(repo, tag).await? else {
            return Ok(None);
        };
        let digest = manifest::digest_of(&manifest, id);
        if digest.is_none() {
            tracing::warn!(
                repository = repo,
                image = id,
                "the registry has another image under this image's tag; it is pushed again"
            );
        }
        Ok(digest)
    }

    /// Returns a manifest by its tag or digest, if the registry has it.
    pub(super) async fn manifest(
        &self,
        repo: &str,
        reference: &str,
    ) -> Result<Option<bytes::Bytes>, EngineError> {
        let path = format!("{repo}/manifests/{reference}");
        let answer = self.ask(Method::GET, &path).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => {
                let bytes = answer.bytes().await;
                bytes.map(Some).map_err(|error| self.silent(&error))
            }
            _ => Err(self.odd(&answer)),
        }
    }

    /// Returns true if the registry has a manifest of this digest.
    pub(super) async fn has(&self, repo: &str, digest: &str) -> Result<bool, EngineError> {
        let path = format!("{repo}/manifests/{digest}");
        let answer = self.ask(Method::HEAD, &path).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(false),
            StatusCode::OK => Ok(true),
            _ => Err(self.odd(&answer)),
        }
    }

    pub(super) async fn ask(&self, method: Method, path: &str) -> Result<Response, EngineError> {
        let url = format!("https://{}/v2/{path}", self.host);
        let request = self.http.request(method, url);
        let request = request.header(header::ACCEPT, MANIFESTS).timeout(QUESTION);
        request.send().await.map_err(|error| self.silent(&error))
    }

    pub(super) fn silent(&self, error: &reqwest::Error) -> EngineError {
        EngineError::Unavailable(format!(
            "the registry at `{}` does not answer: {}",
            self.host,
            chain(error)
        ))
    }

    pub(super) fn odd(&self, answer: &Response) -> EngineError {
        EngineError::Unavailable(format!(
            "the registry at `{}` answers `{}` to {}",
            self.host,
            answer.status(),
            answer.url().path()
        ))
    }
}
