//! A small client of the Docker Engine on its unix socket: only the calls that the agent needs,
//! with bodies that stream in bounded memory.
//!
//! Paths carry no version: everything used here is unchanged since API 1.41 (Docker 20.10), and
//! engines serve such paths with their newest version.

pub mod events;
pub mod multiplex;

use crate::{clock::NS_PER_MS, health::address::Networks};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use micado_api::{Timestamp, foreign::excerpt};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{io, path::PathBuf, time::Duration};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::net::UnixStream;

/// Upper bound for a reply that is read whole, in bytes.
const MOST: usize = 16 << 20;
/// Buffer for one direction of one call, in bytes.
const BUFFER: usize = 64 << 10;
/// Time-out of a short reply: the engine of a saturated machine is slow, but after this long it
/// hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Body of a request.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A failed call to the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No engine listens at the socket.
    #[error("the Docker Engine does not answer at `{socket}`: {cause}: is it running?")]
    Unreachable { socket: PathBuf, cause: io::Error },
    /// The engine refused.
    #[error("the Docker Engine says: {message}")]
    Refused {
        status: StatusCode,
        /// The engine's message.
        message: String,
    },
    /// No request can be made of it, such as of a path of a hundred thousand characters.
    #[error("the Docker Engine cannot be asked for {path}: {cause}")]
    Unaskable {
        /// The beginning of the path.
        path: String,
        cause: hyper::http::uri::InvalidUri,
    },
    /// The connection broke, or the reply is malformed.
    #[error("the Docker Engine broke off {path}: {cause}")]
    Broken {
        /// Path of the request.
        path: String,
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

#[derive(Debug, Clone)]
pub struct Engine {
    socket: PathBuf,
}

/// A container in the engine's list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    pub id: String,
    /// Creation time, in seconds since the Unix epoch by the engine's clock.
    pub created: i64,
    pub labels: Labels,
}

/// The Swarm's label with the service's name on the service's containers.
const SERVICE: &str = "com.docker.swarm.service.name";

/// The labels that matter here.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Labels {
    /// Name of its Swarm service.
    #[serde(rename = "com.docker.swarm.service.name")]
    pub service: Option<String>,
}

/// The engine's record of one container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspected {
    pub state: State,
    pub config: Config,
    #[serde(default)]
    pub mounts: Vec<Mounted>,
    #[serde(default)]
    pub network_settings: Networks,
}

/// A mount that the container was made with.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mounted {
    /// `volume`, `bind` or `tmpfs`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Its path in the container.
    pub destination: String,
}

/// State of a container's process.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// The first process; 0 if it does not run.
    pub pid: u32,
    /// Last start, in RFC 3339.
    started_at: String,
    /// Exit code of the last run.
    pub exit_code: i64,
    /// Set if the last run was OOM-killed.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
}

impl State {
    /// Last start, by the engine's clock, which is the machine's; `None` if it is malformed.
    #[must_use]
    pub fn started_at(&self) -> Option<Timestamp> {
        let began = OffsetDateTime::parse(&self.started_at, &Rfc3339).ok()?;
        u64::try_from(began.unix_timestamp_nanos() / i128::from(NS_PER_MS))
            .ok()
            .map(Timestamp)
    }
}

/// Settings from the container's creation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// It has a terminal, so its log is one stream.
    pub tty: bool,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Engine {
    /// The engine at this socket.
    #[must_use]
    pub fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Running containers.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn running(&self) -> Result<Vec<Listed>, EngineError> {
        self.get("/containers/json").await
    }

    /// The newest ended container of a Swarm service, if one is left.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn last_ended(&self, service: &str) -> Result<Option<Listed>, EngineError> {
        let filters = serde_json::json!({ "label": [format!("{SERVICE}={service}")], "status": ["exited", "dead"] }).to_string();
        let ended: Vec<Listed> = self
            .get(&format!(
                "/containers/json?all=1&filters={}",
                encoded(&filters)
            ))
            .await?;
        Ok(newest(ended))
    }

    /// One container.
    ///
    /// # Errors
    /// If there is none, or the engine does not answer.
    pub async fn inspect(&self, id: &str) -> Result<Inspected, EngineError> {
        self.get(&format!("/containers/{}/json", encoded(id))).await
    }

    /// The folder of the engine's data.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn data_root(&self) -> Result<PathBuf, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Info {
            docker_root_dir: PathBuf,
        }
        Ok(self.get::<Info>("/info").await?.docker_root_dir)
    }

    /// A GET with a short reply.
    ///
    /// # Errors
    /// If the engine refuses, or the reply has another form.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        self.short(request(Method::GET, path, empty())?).await
    }

    /// A POST with a short body and a short reply.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        question: &impl Serialize,
    ) -> Result<T, EngineError> {
        self.short(json(path, question)?).await
    }

    async fn short<T: DeserializeOwned>(&self, request: Request<Body>) -> Result<T, EngineError> {
        let path = request.uri().to_string();
        let answer = tokio::time::timeout(PATIENCE, async {
            whole(self.send(request).await?, &path).await
        });
        let bytes = answer
            .await
            .map_err(|_| broken(&path, format!("no answer in {} s", PATIENCE.as_secs())))??;
        serde_json::from_slice(&bytes).map_err(|cause| broken(&path, cause))
    }

    /// Sends a request and returns the reply while its body still arrives; dropping the reply ends
    /// the call. The status is a success.
    ///
    /// # Errors
    /// If the engine refuses.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, EngineError> {
        let path = request.uri().to_string();
        let stream =
            UnixStream::connect(&self.socket)
                .await
                .map_err(|cause| EngineError::Unreachable {
                    socket: self.socket.clone(),
                    cause,
                })?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|cause| broken(&path, cause))?;
        // The connection ends with the reply's body, or with the connection that the reply was
        // upgraded to.
        tokio::spawn(connection.with_upgrades());
        let response = sender
            .send_request(request)
            .await
            .map_err(|cause| broken(&path, cause))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let bytes = whole(response, &path).await?;
        let message = serde_json::from_slice::<Refusal>(&bytes).map_or_else(
            |_| String::from_utf8_lossy(&bytes).trim().to_owned(),
            |refusal| refusal.message,
        );
        Err(EngineError::Refused { status, message })
    }
}

/// The engine lists the newest first, in whole seconds: among equals, take the first.
fn newest(listed: Vec<Listed>) -> Option<Listed> {
    listed
        .into_iter()
        .rev()
        .max_by_key(|container| container.created)
}

async fn whole(response: Response<Incoming>, path: &str) -> Result<Bytes, EngineError> {
    Limited::new(response.into_body(), MOST)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .map_err(|cause| broken(path, cause))
}

pub fn broken(
    path: &str,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> EngineError {
    EngineError::Broken {
        path: path.to_owned(),
        cause: cause.into(),
    }
}

/// Percent-encodes a part of a path or a query value.
#[must_use]
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A request to the engine. The path consists of encoded parts.
///
/// # Errors
/// If the path is too long.
pub fn request(method: Method, path: &str, body: Body) -> Result<Request<Body>, EngineError> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|cause| EngineError::Unaskable {
        path: excerpt(path, 100),
        cause,
    })?;
    request
        .headers_mut()
        .insert(header::HOST, header::HeaderValue::from_static("engine"));
    Ok(request)
}

/// A POST with a JSON body.
///
/// # Errors
/// If it cannot be serialised.
pub fn json(path: &str, question: &impl Serialize) -> Result<Request<Body>, EngineError> {
    let text = serde_json::to_vec(question).map_err(|cause| broken(path, cause))?;
    let mut request = request(
        Method::POST,
        path,
        Full::from(text)
            .map_err(|never| match never {})
            .boxed_unsync(),
    )?;
    request.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    Ok(request)
}

#[must_use]
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_that_were_made_in_one_second_the_newest_is_the_one_listed_first() {
        let listed = |id: &str, created| Listed {
            id: id.to_owned(),
            created,
            labels: Labels::default(),
        };
        let ended = vec![listed("third", 8), listed("second", 8), listed("first", 7)];
        assert_eq!(
            newest(ended).map(|container| container.id).as_deref(),
            Some("third")
        );
        assert!(newest(Vec::new()).is_none());
    }

    #[tokio::test]
    async fn a_path_that_makes_no_request_is_an_error() {
        let path = format!(
            "/containers/c/archive?path={}",
            encoded(&"/".repeat(30_000))
        );
        let error = request(Method::GET, &path, empty()).expect_err("it is too long");
        let text = error.to_string();
        assert!(
            text.contains("cannot be asked for /containers/c/archive") && text.len() < 200,
            "{text}"
        );
        let engine = Engine::at("/nonexistent/docker.sock".into());
        for asked in [
            engine.inspect(&"/".repeat(30_000)).await.err(),
            engine.last_ended(&"/".repeat(30_000)).await.err(),
        ] {
            assert!(
                matches!(asked, Some(EngineError::Unaskable { .. })),
                "{asked:?}"
            );
        }
    }

    #[test]
    fn a_containers_start_is_a_time() {
        let began = |text: &str| {
            State {
                pid: 1,
                started_at: text.to_owned(),
                exit_code: 0,
                oom_killed: false,
            }
            .started_at()
        };
        assert_eq!(
            began("2026-11-20T16:01:24.123456789Z"),
            Some(Timestamp(1_795_190_484_123))
        );
        assert_eq!(
            began("2026-11-20T17:01:24+01:00"),
            Some(Timestamp(1_795_190_484_000))
        );
        assert_eq!(
            [began("0001-01-01T00:00:00Z"), began("")],
            [None, None],
            "it never began"
        );
    }
}
