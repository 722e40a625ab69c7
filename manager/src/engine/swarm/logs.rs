//! Logs of Swarm services: those of all tasks one after the other, and a log that is followed.

use crate::engine::{
    EngineError, LogLine, LogOptions,
    docker::{LIMIT, ask, explain},
};
use bollard::{
    Docker, container::LogOutput, errors::Error, models::Task, query_parameters::ListTasksOptions,
    query_parameters::LogsOptions,
};
use bytes::BytesMut;
use futures_util::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use std::{collections::HashMap, time::Duration};

type Lines = BoxStream<'static, Result<LogLine, EngineError>>;
type Outputs = BoxStream<'static, Result<LogOutput, Error>>;

/// Longer lines are cut, so that an endless one does not exhaust memory.
const LONGEST: usize = 1 << 20;

/// The log of a Swarm service: of one task after the other, since the engine itself mixes them.
pub(super) fn whole(docker: Docker, name: String, options: &LogOptions) -> Lines {
    let options = wanted(false, options.tail, options.since);
    let lines = async move {
        let tasks = tasks(&docker, &name).await?;
        let last = tasks.len().saturating_sub(1);
        let logs = tasks.into_iter().enumerate().map(move |(at, task)| {
            let what = format!("read the log of Swarm service `{name}`");
            let output = docker.task_logs(&task, Some(options.clone())).boxed();
            let log = joined(read(output, what, Some(LIMIT)));
            // What is left of an earlier task may be gone at any time.
            match at == last {
                true => log,
                false => log.filter(|line| std::future::ready(line.is_ok())).boxed(),
            }
        });
        Ok::<_, EngineError>(stream::iter(logs).flatten())
    };
    stream::once(lines).try_flatten().boxed()
}

/// Follows the log of a Swarm service, from after this time on or with this many lines.
pub(super) fn follow(
    docker: &Docker,
    name: &str,
    after: Option<String>,
    tail: Option<u32>,
) -> Lines {
    let what = format!("read the log of Swarm service `{name}`");
    let second = after.as_deref().and_then(|at| at.parse().ok());
    let since = second.map(|at: jiff::Timestamp| at.as_second());
    let output = docker.service_logs(name, Some(wanted(true, tail, since)));
    let lines = joined(read(output.boxed(), what, None));
    // The engine knows whole seconds.
    let is_new = move |line: &LogLine| line.at.is_none() || line.at > after;
    lines
        .try_filter(move |line| std::future::ready(is_new(line)))
        .boxed()
}

fn wanted(follow: bool, tail: Option<u32>, since: Option<i64>) -> LogsOptions {
    LogsOptions {
        follow,
        stdout: true,
        stderr: true,
        since: since
            .and_then(|since| i32::try_from(since).ok())
            .unwrap_or_default(),
        until: 0,
        timestamps: true,
        tail: tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
    }
}

/// Ids of the tasks of a Swarm service that had a container, in the order in which they were made.
async fn tasks(docker: &Docker, name: &str) -> Result<Vec<String>, EngineError> {
    let what = || format!("read the log of Swarm service `{name}`");
    let service = ask(what, docker.inspect_service(name, None)).await?;
    let id = service.id.unwrap_or_else(|| name.to_owned());
    let filters = Some(HashMap::from([("service".to_owned(), vec![id])]));
    let options = Some(ListTasksOptions { filters });
    let mut tasks = ask(what, docker.list_tasks(options)).await?;
    tasks.sort_by_key(|task| task.created_at.map(|at| at.unix_timestamp_nanos()));
    let ran = tasks.into_iter().filter(had_container);
    Ok(ran.filter_map(|task| task.id).collect())
}

fn had_container(task: &Task) -> bool {
    let status = task.status.as_ref();
    let container =
        status.and_then(|status| status.container_status.as_ref()?.container_id.as_ref());
    container.is_some_and(|id| !id.is_empty())
}

/// The engine's output until it ends or fails. A log that is not followed is delayed only by a node
/// that does not answer; one that is may be silent for ever.
fn read(
    output: Outputs,
    what: String,
    limit: Option<Duration>,
) -> impl Stream<Item = Result<LogOutput, EngineError>> + Send {
    let state = Some((output, what));
    stream::unfold(state, move |state| async move {
        let (mut output, what) = state?;
        let next = match limit {
            None => Ok(output.next().await),
            Some(limit) => tokio::time::timeout(limit, output.next()).await,
        };
        match next {
            Ok(None) => None,
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some((output, what)))),
            Ok(Some(Err(error))) => Some((Err(explain(&what, &error)), None)),
            Err(_) => {
                let silent = EngineError::Unavailable(format!(
                    "cannot {what} to its end: its node sent nothing for {} s",
                    LIMIT.as_secs()
                ));
                Some((Err(silent), None))
            }
        }
    })
}

/// Joins the parts in which the engine sends long lines.
fn joined(output: impl Stream<Item = Result<LogOutput, EngineError>> + Send + 'static) -> Lines {
    let open = [Part::default(), Part::default()];
    let pieces = output.map(Some).chain(stream::iter([None]));
    let lines = pieces.scan(open, |open, piece| {
        let lines = match piece {
            Some(Ok(piece)) => open[usize::from(is_error(&piece))].add(piece).map(Ok),
            Some(Err(error)) => Some(Err(error)),
            None => {
                let rest = open.iter_mut().filter_map(Part::end).map(Ok);
                return std::future::ready(Some(stream::iter(rest.collect::<Vec<_>>())));
            }
        };
        std::future::ready(Some(stream::iter(lines.into_iter().collect::<Vec<_>>())))
    });
    lines.flatten().boxed()
}

fn is_error(piece: &LogOutput) -> bool {
    matches!(piece, LogOutput::StdErr { .. })
}

/// Begin of a line.
#[derive(Default)]
struct Part {
    at: Option<String>,
    stderr: bool,
    text: BytesMut,
}

impl Part {
    /// Adds a piece; returns the line once it is whole.
    fn add(&mut self, piece: LogOutput) -> Option<LogLine> {
        let stderr = is_error(&piece);
        let (at, text) = LogLine::timed(&piece.into_bytes());
        if self.text.is_empty() {
            (self.at, self.stderr) = (at, stderr);
        }
        self.text.extend_from_slice(&text);
        let whole = text.ends_with(b"\n") || self.text.len() >= LONGEST;
        whole.then(|| self.end()).flatten()
    }

    fn end(&mut self) -> Option<LogLine> {
        (!self.text.is_empty()).then(|| LogLine {
            at: self.at.take(),
            stderr: self.stderr,
            text: self.text.split().freeze(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn out(text: &str) -> Result<LogOutput, EngineError> {
        let message = Bytes::copy_from_slice(text.as_bytes());
        Ok(LogOutput::StdOut { message })
    }
    fn error(text: &str) -> Result<LogOutput, EngineError> {
        let message = Bytes::copy_from_slice(text.as_bytes());
        Ok(LogOutput::StdErr { message })
    }

    #[tokio::test]
    async fn lines_have_their_time_and_are_whole() {
        let pieces = [
            out("2026-11-30T01:02:03.000000001Z one\n"),
            out("2026-11-30T01:02:03.000000002Z a long "),
            error("2026-11-30T01:02:03.000000003Z wrong\n"),
            out("2026-11-30T01:02:03.000000004Z line\n"),
            error("without a time"),
        ];
        let lines: Vec<LogLine> = joined(stream::iter(pieces))
            .try_collect()
            .await
            .expect("a log");
        let shown: Vec<_> = lines
            .iter()
            .map(|line| {
                let at = line.at.as_deref().map(|at| &at[20..]);
                (at, line.stderr, line.text.as_ref())
            })
            .collect();
        let expected: [(Option<&str>, bool, &[u8]); 4] = [
            (Some("000000001Z"), false, b"one\n"),
            (Some("000000003Z"), true, b"wrong\n"),
            (Some("000000002Z"), false, b"a long line\n"),
            (None, true, b"without a time"),
        ];
        assert_eq!(shown, expected);
    }

    #[tokio::test]
    async fn a_failure_comes_after_what_was_read() {
        let pieces = [
            out("2026-11-30T01:02:03.000000001Z one\n"),
            Err(EngineError::Unavailable("gone".to_owned())),
        ];
        let lines: Vec<_> = joined(stream::iter(pieces)).collect().await;
        assert!(matches!(&lines[..], [Ok(_), Err(_)]), "{lines:?}");
    }
}
