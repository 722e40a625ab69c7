//! Renews this machine's certificate when a third of its life is left.

use crate::{
    backoff::Backoff,
    clock,
    dialer::{DialError, Dialer},
    identity::{Identity, IdentityError, replace},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

const PATH: &str = "/v1/agent/renew";
const PATIENCE: Duration = Duration::from_secs(30);
const MOST: usize = 256 << 10;
/// The clock may be set during the wait, so check it now and then.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

#[derive(Serialize)]
struct Question {
    csr: String,
}

#[derive(Deserialize)]
struct Answer {
    certificate: String,
}

/// A failed renewal.
#[derive(Debug, thiserror::Error)]
enum RenewalError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the request cannot be made: {0}")]
    Request(#[from] rcgen::Error),
    #[error("the call failed: {0}")]
    Call(Box<dyn std::error::Error + Send + Sync>),
    #[error("the manager answers {0}: {1}")]
    Refused(hyper::StatusCode, String),
    #[error("the manager's new certificate does not outlive the old one")]
    NoGain,
    #[error("cannot write `{0}`: {1}")]
    Write(PathBuf, std::io::Error),
}

/// Renews the certificate in time, until the process ends. `renewed` is notified of a new one.
pub async fn keep(dialer: Arc<Dialer>, registries: PathBuf, renewed: Arc<Notify>) {
    let mut backoff = Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE);
    loop {
        let Ok(identity) = dialer.files().identity() else {
            // The link logs this already.
            tokio::time::sleep(backoff.pause()).await;
            continue;
        };
        let left = u64::try_from(identity.life.renewal() - now()).unwrap_or_default();
        if left > 0 {
            tokio::time::sleep(Duration::from_secs(left).min(LONGEST_WAIT)).await;
            continue;
        }
        match renew(&dialer, &identity, &registries).await {
            Ok(()) => {
                backoff.reset();
                renewed.notify_one();
            }
            Err(error) => {
                let pause = backoff.pause();
                let left = (identity.life.end - now()).max(0);
                tracing::warn!(
                    "this machine's certificate, good for {left} s more, cannot be renewed: {error}; trying again in {} s",
                    pause.as_secs()
                );
                tokio::time::sleep(pause).await;
            }
        }
    }
}

async fn renew(
    dialer: &Dialer,
    identity: &Identity,
    registries: &Path,
) -> Result<(), RenewalError> {
    let key = KeyPair::from_pem(&dialer.files().key()?)?;
    let mut params = CertificateParams::default();
    // The connection's certificate identifies the caller.
    params.distinguished_name = DistinguishedName::new();
    let question = Question {
        csr: params.serialize_request(&key)?.pem()?,
    };
    let answer = timeout(PATIENCE, ask(dialer, &question))
        .await
        .map_err(|error| RenewalError::Call(error.into()))??;
    let renewed = dialer.files().identity_with(&answer.certificate)?;
    if renewed.life.end <= identity.life.end {
        return Err(RenewalError::NoGain);
    }
    let old = dialer.files().certificate()?;
    let path = dialer.files().folder.join("node.crt");
    replace(&path, &answer.certificate).map_err(|cause| RenewalError::Write(path, cause))?;
    for path in copies(registries, &old) {
        replace(&path, &answer.certificate).map_err(|cause| RenewalError::Write(path, cause))?;
    }
    tracing::info!("this machine's certificate is renewed");
    Ok(())
}

async fn ask(dialer: &Dialer, question: &Question) -> Result<Answer, RenewalError> {
    fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RenewalError {
        RenewalError::Call(error.into())
    }
    let (stream, identity) = dialer.connect().await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(PATH)
        .header(header::HOST, identity.manager.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::<Bytes>::from(
            serde_json::to_vec(question).map_err(failed)?,
        ))
        .map_err(failed)?;
    let response = sender.send_request(request).await.map_err(failed)?;
    let status = response.status();
    let bytes = Limited::new(response.into_body(), MOST)
        .collect()
        .await
        .map_err(failed)?
        .to_bytes();
    if !status.is_success() {
        return Err(RenewalError::Refused(
            status,
            String::from_utf8_lossy(&bytes).into_owned(),
        ));
    }
    serde_json::from_slice(&bytes).map_err(failed)
}

/// Copies of our certificate that the boot script made for the engine to present to registries.
fn copies(registries: &Path, certificate: &str) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(registries)
        .into_iter()
        .flatten()
        .flatten();
    let files = folders.map(|folder| folder.path().join("client.cert"));
    files
        .filter(|file| {
            std::fs::read_to_string(file).is_ok_and(|text| text.trim() == certificate.trim())
        })
        .collect()
}

/// Seconds since the Unix epoch, as certificates have it.
fn now() -> i64 {
    clock::now().as_secs().cast_signed()
}
