//! Logs: from the engine while the container exists, then from its saved end; those of earlier runs
//! from the agent of its machine.

mod previous;

use super::{
    ApiState, Routes,
    extract::{Name, Query},
    peer::Peer,
    refusal::{Answer, Refusal},
};
use crate::{
    control::LogSource,
    engine::{Engine, EngineError, LogOptions},
};
use axum::{
    Extension,
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
use utoipa_axum::routes;

type Pieces = BoxStream<'static, Result<Bytes, EngineError>>;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(logs))
}

/// The log of a container, or of all containers of a service: each line then begins with its
/// container's name.
#[utoipa::path(get, path = "/v1/containers/{name}/logs", operation_id = "show_logs", tag = "containers",
    params(("name" = String, Path, description = "A service's or a container's name."), LogQuery),
    responses(
        (status = 200, description = "The log, as it comes.", body = String, content_type = "text/plain"),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn logs(
    State(state): State<ApiState>,
    Name(name): Name,
    Query(query): Query<LogQuery>,
    peer: Option<Extension<Peer>>,
) -> Answer<Response> {
    let log = match query.previous {
        true => {
            previous::previous(
                &state,
                name,
                &query,
                peer.map(|Extension(peer)| peer.socket),
            )
            .await?
        }
        false => present(&state, name, &query).await?,
    };
    Ok((
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        Body::from_stream(log),
    )
        .into_response())
}

async fn present(state: &ApiState, name: String, query: &LogQuery) -> Answer<Pieces> {
    let options = LogOptions {
        follow: query.follow,
        tail: query.tail,
        since: query.since,
        timestamps: query.timestamps,
    };
    let sources = state
        .handle
        .read(move |core| core.log_sources(&name))
        .await??;
    let log = joined(&*state.engine, &sources, &options).await?;
    Ok(if options.follow {
        log.take_until(state.stopping.clone().cancelled_owned())
            .boxed()
    } else {
        log
    })
}

/// Joins the logs: one after the other, or with `follow` each line as it arrives.
async fn joined(
    engine: &dyn Engine,
    sources: &[LogSource],
    options: &LogOptions,
) -> Answer<Pieces> {
    let mut logs = Vec::with_capacity(sources.len());
    for source in sources {
        let pieces = open(engine, source, options);
        let mut log = if sources.len() > 1 {
            prefixed(source.container.as_str(), pieces)
        } else {
            pieces
        }
        .peekable();
        // Without `follow` the first piece arrives soon, and a refusal can still be sent as one.
        // With it, nothing may ever arrive.
        if !options.follow
            && let Some(Err(error)) = Pin::new(&mut log).peek().await
        {
            return Err(Refusal::engine(
                &format!("the log of `{}`", source.container),
                error.clone(),
            ));
        }
        logs.push(log);
    }
    Ok(if options.follow {
        stream::select_all(logs).boxed()
    } else {
        stream::iter(logs).flatten().boxed()
    })
}

fn open(engine: &dyn Engine, source: &LogSource, options: &LogOptions) -> Pieces {
    match (&source.swarm_name, &source.stored) {
        (Some(name), kept) => {
            // Its service was just removed, which the core has not observed yet. The end of its log
            // is saved.
            let kept = kept
                .as_deref()
                .map(|kept| last_lines(kept, options.tail))
                .unwrap_or_default();
            let or_kept = move |piece| {
                if matches!(piece, Err(EngineError::NotFound(_))) {
                    Ok(kept.clone())
                } else {
                    piece
                }
            };
            engine.logs(name, options).map(or_kept).boxed()
        }
        (None, Some(kept)) => stream::iter([Ok(last_lines(kept, options.tail))]).boxed(),
        (None, None) => stream::empty().boxed(),
    }
}

/// Returns the last lines of a saved log, this many.
fn last_lines(kept: &str, count: Option<u32>) -> Bytes {
    let all: Vec<&str> = kept.lines().collect();
    let count = count
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(all.len());
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
    use super::{super::tests::FakeEngine, *};
    use micado_api::ContainerName;
    use std::collections::BTreeSet;

    #[test]
    fn the_kept_end_is_cut_to_its_last_lines() {
        assert_eq!(last_lines("one\ntwo\nthree", Some(2)), "two\nthree\n");
        assert_eq!(last_lines("one\ntwo\n", None), "one\ntwo\n");
        assert_eq!(last_lines("one\n", Some(0)), "");
        assert_eq!(last_lines("", Some(5)), "");
    }

    fn source(container: &str, swarm_name: Option<&str>, stored: Option<&str>) -> LogSource {
        LogSource {
            container: ContainerName::trusted(container),
            swarm_name: swarm_name.map(str::to_owned),
            machine: None,
            stored: stored.map(str::to_owned),
        }
    }

    async fn read(sources: &[LogSource], options: &LogOptions) -> Result<String, String> {
        let log = joined(&FakeEngine::default(), sources, options)
            .await
            .map_err(|refusal| refusal.to_string())?;
        let pieces: Vec<Bytes> = log.try_collect().await.map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&pieces.concat()).into_owned())
    }

    #[tokio::test]
    async fn one_log_comes_as_it_is_from_the_engine_or_the_record() {
        let plain = LogOptions::default();
        assert_eq!(
            read(&[source("acme_web.1", Some("c-web"), Some("old"))], &plain).await,
            Ok("one\ntwo\n".to_owned())
        );
        assert_eq!(
            read(&[source("acme_web.1", None, Some("old\nolder"))], &plain).await,
            Ok("old\nolder\n".to_owned())
        );
        assert_eq!(
            read(&[source("acme_web.1", None, None)], &plain).await,
            Ok(String::new())
        );
    }

    #[tokio::test]
    async fn of_several_every_line_names_its_container() {
        let both = [
            source("acme_web.1", Some("c-web"), None),
            source("acme_web.2", None, Some("old")),
        ];
        let all = "acme_web.1 | one\nacme_web.1 | two\nacme_web.2 | old\n";
        assert_eq!(
            read(&both, &LogOptions::default()).await,
            Ok(all.to_owned())
        );
        let followed = read(
            &both,
            &LogOptions {
                follow: true,
                ..LogOptions::default()
            },
        )
        .await
        .expect("a log");
        assert_eq!(
            followed.lines().collect::<BTreeSet<_>>(),
            all.lines().collect()
        );
    }

    #[tokio::test]
    async fn an_engine_that_refuses_is_quoted() {
        let refused = read(
            &[source("acme_web.1", Some("c-lost"), None)],
            &LogOptions::default(),
        )
        .await;
        assert_eq!(
            refused,
            Err("the log of `acme_web.1`: no answer".to_owned())
        );
    }
}
