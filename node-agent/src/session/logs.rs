//! Sends the log of an ended container. The Swarm makes a new container for each start of a
//! service's task, and keeps ended ones for a while.

use super::{SessionError, caller::Caller, copy::whichever};
use crate::engine::{Engine, broken, empty, encoded, multiplex::Demultiplexer, request};
use http_body_util::BodyExt;
use hyper::Method;
use micado_api::agent::channel;

/// Result if no ended container exists.
const NONE: i64 = 1;

/// Sends the log of the newest ended container of this Swarm service; `since` is in seconds since
/// the Unix epoch.
pub async fn previous(
    engine: &Engine,
    caller: &mut Caller,
    service: &str,
    tail: Option<u32>,
    since: Option<i64>,
    timestamps: bool,
) -> Result<i64, SessionError> {
    let Caller { output, input } = caller;
    let send = async {
        let Some(container) = engine.last_ended(service).await? else {
            return Ok(NONE);
        };
        let (id, tail) = (
            encoded(&container.id),
            tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
        );
        let path = format!(
            "/containers/{id}/logs?stdout=1&stderr=1&tail={tail}&since={}&timestamps={}",
            since.unwrap_or(0),
            u8::from(timestamps)
        );
        let one_stream = engine.inspect(&container.id).await?.config.tty;
        let mut body = engine
            .send(request(Method::GET, &path, empty())?)
            .await?
            .into_body();
        let mut streams = Demultiplexer::default();
        while let Some(frame) = body.frame().await {
            let Ok(mut data) = frame.map_err(|cause| broken(&path, cause))?.into_data() else {
                continue;
            };
            if one_stream {
                output.data(channel::OUT, &data).await?;
                continue;
            }
            while let Some((channel, piece)) = streams.next(&mut data) {
                output.data(channel, &piece).await?;
            }
        }
        Ok(0)
    };
    whichever(send, input.cut()).await
}
