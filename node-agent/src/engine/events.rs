//! The engine's event stream: one JSON text a line.

use super::{Engine, EngineError, Labels, broken, empty, encoded, request};
use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::{Method, body::Incoming};
use serde::Deserialize;

/// Upper bound for one event, in bytes, a container's labels included.
const LONGEST: usize = 1 << 20;
const FILTERS: &str =
    r#"{"type":["container"],"event":["start","die","oom","update","health_status"]}"#;

/// An event of a container.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    /// Kind, in the engine's terms.
    #[serde(rename = "Action")]
    pub action: String,
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Nanoseconds since the Unix epoch.
    #[serde(rename = "timeNano")]
    pub time_ns: u64,
}

/// The container of an event.
#[derive(Debug, Clone, Deserialize)]
pub struct Actor {
    #[serde(rename = "ID")]
    pub id: String,
    /// Its labels and further attributes.
    #[serde(rename = "Attributes")]
    pub attributes: Attributes,
}

/// Attributes of an event.
#[derive(Debug, Clone, Deserialize)]
pub struct Attributes {
    #[serde(flatten)]
    pub labels: Labels,
    /// Set on `die`.
    #[serde(rename = "exitCode")]
    pub exit_code: Option<String>,
}

/// The stream of events of containers.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    read: BytesMut,
}

impl Events {
    /// All events after this moment (nanoseconds since the Unix epoch) that the engine remembers,
    /// and future ones.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn since(engine: &Engine, time_ns: u64) -> Result<Self, EngineError> {
        let path = format!(
            "/events?since={}.{:09}&filters={}",
            time_ns / 1_000_000_000,
            time_ns % 1_000_000_000,
            encoded(FILTERS)
        );
        let body = engine
            .send(request(Method::GET, &path, empty())?)
            .await?
            .into_body();
        Ok(Self {
            body,
            read: BytesMut::new(),
        })
    }

    /// The next event.
    ///
    /// # Errors
    /// If the stream ends: the engine is gone.
    pub async fn next(&mut self) -> Result<Event, EngineError> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end + 1);
                return serde_json::from_slice(&line).map_err(|cause| broken("/events", cause));
            }
            if self.read.len() > LONGEST {
                return Err(broken("/events", "an event is too long"));
            }
            let frame = self
                .body
                .frame()
                .await
                .ok_or_else(|| broken("/events", "the stream ended"))?
                .map_err(|cause| broken("/events", cause))?;
            if let Ok(data) = frame.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }
}
