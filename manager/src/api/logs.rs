//! Logs: from the engine while the container is there, from the kept end of it after that.

use super::{
    ApiState,
    extract::{Name, Query},
    refusal::{Answer, Refusal},
};
use crate::{
    control::LogSource,
    engine::{Engine, EngineError, LogOptions},
};
use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use micado_api::{ErrorBody, LogQuery, lines::lines};
use std::pin::Pin;

type Pieces = BoxStream<'static, Result<Bytes, EngineError>>;

/// The log of a container, or of all containers of a service: each line then begins with its container's name.
#[utoipa::path(get, path = "/v1/containers/{name}/logs", tag = "containers",
    params(("name" = String, Path, description = "A service's or a container's name."), LogQuery),
    responses(
        (status = 200, description = "The log, as it comes.", body = String, content_type = "text/plain"),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
pub(super) async fn logs(State(state): State<ApiState>, Name(name): Name, Query(query): Query<LogQuery>) -> Answer<Response> {
    let options = LogOptions { follow: query.follow, tail: query.tail, since: query.since, timestamps: query.timestamps };
    let sources = state.handle.read(move |core| core.log_sources(&name)).await??;
    let several = sources.len() > 1;
    let mut logs = Vec::with_capacity(sources.len());
    for source in &sources {
        let pieces = open(&*state.engine, source, &options);
        let mut log = if several { prefixed(source.container.as_str(), pieces) } else { pieces }.peekable();
        // Without `follow` the first piece comes soon, and a refusal can still be sent as one. With it, it may never come.
        if !options.follow
            && let Some(Err(error)) = Pin::new(&mut log).peek().await
        {
            return Err(Refusal::engine(&format!("the log of `{}`", source.container), error.clone()));
        }
        logs.push(log);
    }
    let all = if options.follow {
        stream::select_all(logs).take_until(state.stopping.clone().cancelled_owned()).boxed()
    } else {
        stream::iter(logs).flatten().boxed()
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(all)).into_response())
}

fn open(engine: &dyn Engine, source: &LogSource, options: &LogOptions) -> Pieces {
    match (&source.swarm_name, &source.stored) {
        (Some(name), _) => engine.logs(name, options),
        (None, Some(kept)) => stream::iter([Ok(last_lines(kept, options.tail))]).boxed(),
        (None, None) => stream::empty().boxed(),
    }
}

/// The last so many lines of a kept log.
fn last_lines(kept: &str, count: Option<u32>) -> Bytes {
    let all: Vec<&str> = kept.lines().collect();
    let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(all.len());
    let mut text = BytesMut::with_capacity(kept.len() + 1);
    for line in &all[all.len().saturating_sub(count)..] {
        text.put(line.as_bytes());
        text.put_u8(b'\n');
    }
    text.freeze()
}

fn prefixed(container: &str, pieces: Pieces) -> Pieces {
    let prefix = format!("{container} | ");
    let prefixed = lines(pieces).map_ok(move |line| {
        let mut text = BytesMut::with_capacity(prefix.len() + line.len() + 1);
        text.put(prefix.as_bytes());
        text.put(line);
        text.put_u8(b'\n');
        text.freeze()
    });
    prefixed.boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_end_is_cut_to_its_last_lines() {
        assert_eq!(last_lines("one\ntwo\nthree", Some(2)), "two\nthree\n");
        assert_eq!(last_lines("one\ntwo\n", None), "one\ntwo\n");
        assert_eq!(last_lines("one\n", Some(0)), "");
        assert_eq!(last_lines("", Some(5)), "");
    }

    #[tokio::test]
    async fn every_line_names_its_container() {
        let pieces = stream::iter([Ok(Bytes::from("one\nt")), Ok(Bytes::from("wo\n"))]).boxed();
        let text: Vec<Bytes> = prefixed("acme_web.1", pieces).try_collect().await.expect("no piece is an error");
        assert_eq!(text, ["acme_web.1 | one\n", "acme_web.1 | two\n"]);
    }
}
