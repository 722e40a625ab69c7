//! Logs: from the engine while the container exists, then from its saved end; those of earlier runs
//! from the agent of its machine. All lines of all runs and containers are in order of time.

mod merge;
mod previous;

use super::{
    ApiState, Routes,
    extract::{Name, Query},
    peer::Peer,
    refusal::{Answer, Refusal},
};
use crate::{
    control::LogSource,
    engine::{Engine, EngineError, LogLine, LogOptions},
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
    FutureExt, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use micado_api::{ContainerName, ErrorBody, LOG_CONTAINERS, LogEntry, LogQuery, LogStream};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use utoipa_axum::routes;

/// Lines of one log.
type Lines = BoxStream<'static, Result<LogLine, EngineError>>;

/// Lines of several containers' logs.
type Mixed = BoxStream<'static, Result<(ContainerName, LogLine), EngineError>>;

/// Logs that are opened at the same time.
const OPENED: usize = 16;

pub(super) fn routes() -> Routes {
    Routes::default().routes(routes!(logs))
}

/// The log of a container, or of all containers of a service: each line then begins with its
/// container's name. Lines are in order of time.
#[utoipa::path(get, path = "/v1/containers/{name}/logs", operation_id = "show_logs", tag = "containers",
    params(("name" = String, Path, description = "A service's or a container's name."), LogQuery),
    responses(
        (status = 200, description = "The log, as it comes.", headers(("micado-containers" = u32, description = "Number of containers whose log it is.")),
            content((String = "text/plain"), (LogEntry = "application/x-ndjson"))),
        (status = "default", description = "A refusal.", body = ErrorBody),
))]
async fn logs(
    State(state): State<ApiState>,
    Name(name): Name,
    Query(query): Query<LogQuery>,
    peer: Option<Extension<Peer>>,
) -> Answer<Response> {
    let socket = peer.map(|Extension(peer)| peer.socket);
    let (containers, log) = match query.previous {
        true => (1, previous::previous(&state, name, &query, socket).await?),
        false => present(&state, name, &query).await?,
    };
    let kind = match query.lines {
        true => "application/x-ndjson",
        false => "text/plain; charset=utf-8",
    };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (
            header::HeaderName::from_static(LOG_CONTAINERS),
            containers.to_string(),
        ),
    ];
    let pieces = match query.lines {
        true => log
            .map_ok(|(container, line)| as_json(container, &line))
            .boxed(),
        false => as_text(log, containers > 1, query.timestamps),
    };
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Lines as JSON, one object each.
fn as_json(container: ContainerName, line: &LogLine) -> Bytes {
    let stream = match line.stderr {
        true => LogStream::Stderr,
        false => LogStream::Stdout,
    };
    let entry = LogEntry::new(container, line.at.clone(), stream, &line.text);
    let mut json = serde_json::to_vec(&entry).unwrap_or_default();
    json.push(b'\n');
    json.into()
}

/// Lines as a person reads them.
fn as_text(
    log: Mixed,
    named: bool,
    timestamps: bool,
) -> BoxStream<'static, Result<Bytes, EngineError>> {
    let text = log.map_ok(move |(container, line)| {
        let at = line.at.filter(|_| timestamps);
        if !named && at.is_none() {
            return line.text;
        }
        let mut text = BytesMut::new();
        if named {
            text.put(format!("{container} | ").as_bytes());
        }
        if let Some(at) = at {
            text.put(format!("{at} ").as_bytes());
        }
        let unended = !line.text.ends_with(b"\n");
        text.put(line.text);
        // The next line is of another container.
        if named && unended {
            text.put_u8(b'\n');
        }
        text.freeze()
    });
    text.boxed()
}

async fn present(state: &ApiState, name: String, query: &LogQuery) -> Answer<(usize, Mixed)> {
    let sources = state
        .handle
        .read(move |core| core.log_sources(&name))
        .await??;
    let containers = sources.len();
    let log = joined(&state.engine, sources, query).await?;
    if !query.follow {
        return Ok((containers, log));
    }
    let stopping = state.stopping.clone().cancelled_owned();
    Ok((containers, log.take_until(stopping).boxed()))
}

/// Joins the logs by time; with `follow`, each line as it arrives after that.
async fn joined(
    engine: &Arc<dyn Engine>,
    sources: Vec<LogSource>,
    query: &LogQuery,
) -> Answer<Mixed> {
    let options = LogOptions {
        tail: query.tail,
        since: query.since,
    };
    // A log of which nothing is wanted but what comes is not read before.
    let only_new = query.follow && query.tail == Some(0);
    let opened = stream::iter(sources.clone()).map(|source| {
        let lines = match only_new {
            true => stream::empty().boxed(),
            false => open(&**engine, &source, &options),
        };
        first(source.container, lines)
    });
    let heads: Vec<merge::Head> = opened.buffered(OPENED).try_collect().await?;
    let whole = merge::by_time(heads);
    let past = match query.tail {
        Some(tail) if !only_new => merge::last(whole, tail),
        _ => whole,
    };
    if !query.follow {
        return Ok(past);
    }
    Ok(and_follow(engine.clone(), sources, past, only_new))
}

/// Reads the first line of a log: a refusal can still be sent as one.
async fn first(container: ContainerName, mut lines: Lines) -> Answer<merge::Head> {
    let what = || format!("the log of `{container}`");
    let next = lines.try_next().await;
    let next = next.map_err(|error| Refusal::engine(&what(), error))?;
    Ok(merge::Head::new(container, next, lines))
}

/// Past lines, and then new ones. The engine is asked for all from the last line on.
fn and_follow(
    engine: Arc<dyn Engine>,
    sources: Vec<LogSource>,
    past: Mixed,
    only_new: bool,
) -> Mixed {
    let shown: Arc<Mutex<BTreeMap<ContainerName, String>>> = Arc::default();
    let note = shown.clone();
    let past = past.inspect_ok(move |(container, line)| {
        if let Some(at) = &line.at {
            let mut shown = note.lock().expect("no holder of the lock panics");
            shown.insert(container.clone(), at.clone());
        }
    });
    let live = async move {
        let mut shown = std::mem::take(&mut *shown.lock().expect("no holder of the lock panics"));
        let followed = sources.into_iter().filter_map(|source| {
            let after = shown.remove(&source.container);
            let tail = only_new.then_some(0);
            let lines = engine.follow(source.swarm_name.as_deref()?, after, tail);
            Some(lines.map_ok(move |line| (source.container.clone(), line)))
        });
        // The log of a container that was removed meanwhile has an end.
        let live = stream::select_all(followed);
        live.filter(|line| std::future::ready(!matches!(line, Err(EngineError::NotFound(_)))))
    };
    past.chain(live.into_stream().flatten()).boxed()
}

fn open(engine: &dyn Engine, source: &LogSource, options: &LogOptions) -> Lines {
    let kept = source
        .stored
        .as_deref()
        .map(|kept| saved(kept, options.tail));
    let Some(name) = &source.swarm_name else {
        return stream::iter(kept.unwrap_or_default().into_iter().map(Ok)).boxed();
    };
    // Its service was just removed, which the core has not observed yet. The end of its log is
    // saved.
    let or_kept = move |line| match line {
        Err(EngineError::NotFound(_)) => {
            stream::iter(kept.clone().unwrap_or_default().into_iter().map(Ok)).left_stream()
        }
        line => stream::iter([line]).right_stream(),
    };
    engine.logs(name, options).flat_map(or_kept).boxed()
}

/// Returns the last lines of a saved log, this many.
fn saved(kept: &str, count: Option<u32>) -> Vec<LogLine> {
    let lines: Vec<&str> = kept.lines().collect();
    let count = count.and_then(|count| usize::try_from(count).ok());
    let first = lines.len().saturating_sub(count.unwrap_or(lines.len()));
    let line = |line: &&str| LogLine {
        at: None,
        stderr: false,
        text: Bytes::from(format!("{line}\n")),
    };
    lines[first..].iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::FakeEngine, *};

    #[test]
    fn the_kept_end_is_cut_to_its_last_lines() {
        let last = |kept: &str, count| {
            let lines = saved(kept, count);
            lines
                .iter()
                .flat_map(|line| line.text.to_vec())
                .collect::<Vec<u8>>()
        };
        assert_eq!(last("one\ntwo\nthree", Some(2)), b"two\nthree\n");
        assert_eq!(last("one\ntwo\n", None), b"one\ntwo\n");
        assert_eq!(last("one\n", Some(0)), b"");
        assert_eq!(last("", Some(5)), b"");
    }

    fn source(container: &str, swarm_name: Option<&str>, stored: Option<&str>) -> LogSource {
        LogSource {
            container: ContainerName::trusted(container),
            swarm_name: swarm_name.map(str::to_owned),
            machine: None,
            stored: stored.map(str::to_owned),
        }
    }

    async fn read(sources: &[LogSource], query: &LogQuery) -> Result<String, String> {
        let engine: Arc<dyn Engine> = Arc::new(FakeEngine::default());
        let log = joined(&engine, sources.to_vec(), query)
            .await
            .map_err(|refusal| refusal.to_string())?;
        let text = as_text(log, sources.len() > 1, query.timestamps);
        let pieces: Vec<Bytes> = text
            .try_collect()
            .await
            .map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&pieces.concat()).into_owned())
    }

    #[tokio::test]
    async fn one_log_comes_as_it_is_from_the_engine_or_the_record() {
        let plain = LogQuery::default();
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

    /// Three containers: the log of the last was kept without times.
    fn three() -> [LogSource; 3] {
        [
            source("acme_web.1", Some("c-web"), None),
            source("acme_web.2", Some("c-late"), None),
            source("acme_web.3", None, Some("old")),
        ]
    }

    #[tokio::test]
    async fn lines_of_several_are_in_order_of_time_and_name_their_container() {
        let all = "acme_web.3 | old\nacme_web.1 | one\nacme_web.2 | late\nacme_web.2 | r\nacme_web.1 | two\n";
        assert_eq!(
            read(&three(), &LogQuery::default()).await,
            Ok(all.to_owned())
        );
    }

    #[tokio::test]
    async fn the_last_lines_are_those_of_all_together() {
        let query = LogQuery {
            tail: Some(2),
            timestamps: true,
            ..LogQuery::default()
        };
        let last = "acme_web.2 | 2026-11-30T01:02:03.000000000Z r\nacme_web.1 | 2026-11-30T01:02:04.000000000Z two\n";
        assert_eq!(read(&three(), &query).await, Ok(last.to_owned()));
    }

    #[tokio::test]
    async fn a_log_is_followed_from_its_last_line_on() {
        let query = LogQuery {
            follow: true,
            ..LogQuery::default()
        };
        let only = &three()[..1];
        let followed = "one\ntwo\nc-web after Some(\"2026-11-30T01:02:04.000000000Z\")\n";
        assert_eq!(read(only, &query).await, Ok(followed.to_owned()));
        let new = LogQuery {
            tail: Some(0),
            ..query
        };
        assert_eq!(read(only, &new).await, Ok("c-web after None\n".to_owned()));
    }

    #[tokio::test]
    async fn an_engine_that_refuses_is_quoted() {
        let refused = read(
            &[source("acme_web.1", Some("c-lost"), None)],
            &LogQuery::default(),
        )
        .await;
        assert_eq!(
            refused,
            Err("the log of `acme_web.1`: no answer".to_owned())
        );
    }
}
