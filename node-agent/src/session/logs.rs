//! Sends the log of a container, one that has stopped, too.

use super::{SessionError, caller::Caller, copy::whichever};
use crate::engine::{Engine, broken, empty, encoded, multiplex::Demultiplexer, request};
use http_body_util::BodyExt;
use hyper::Method;
use micado_api::agent::channel;

/// Sends it; with `follow` until the container ends.
pub async fn send(engine: &Engine, caller: &mut Caller, container: &str, tail: Option<u32>, follow: bool) -> Result<i64, SessionError> {
    let Caller { output, input } = caller;
    let tail = tail.map_or("all".to_owned(), |lines| lines.to_string());
    let path = format!("/containers/{}/logs?stdout=1&stderr=1&tail={tail}&follow={}", encoded(container), u8::from(follow));
    let send = async {
        let one_stream = engine.inspect(container).await?.config.tty;
        let mut body = engine.send(request(Method::GET, &path, empty())).await?.into_body();
        let mut streams = Demultiplexer::default();
        while let Some(frame) = body.frame().await {
            let Ok(mut data) = frame.map_err(|cause| broken(&path, cause))?.into_data() else { continue };
            if one_stream {
                output.data(channel::OUT, &data).await?;
                continue;
            }
            while let Some((channel, piece)) = streams.next(&mut data) {
                output.data(channel, &piece).await?;
            }
        }
        Ok(())
    };
    whichever(send, input.cut()).await?;
    Ok(0)
}
