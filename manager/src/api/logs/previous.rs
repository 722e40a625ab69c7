//! The log of a container's previous run. It comes from the agent of its machine, because the Swarm
//! returns the logs of all runs as one.

use super::{
    super::{
        ApiState,
        agents::{sessions, silence::Socket},
        refusal::Answer,
    },
    Mixed, saved,
};
use crate::engine::{EngineError, LogLine};
use axum::extract::ws::Message;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt, future::ready, stream};
use micado_api::{
    ErrorBody, ErrorCode, LogQuery,
    agent::{SessionNote, SessionWork},
};
use std::pin::Pin;

/// Returns the log of the previous run: from the container's machine, or the saved end after a move
/// or removal.
pub(super) async fn previous(
    state: &ApiState,
    name: String,
    query: &LogQuery,
    socket: Option<Socket>,
) -> Answer<Mixed> {
    if query.follow {
        return Err(ErrorBody::new(
            ErrorCode::BadRequest,
            "a run that has ended writes no more: `previous` does not go with `follow`",
        )
        .into());
    }
    let source = state
        .handle
        .read(move |core| core.log_source(&name))
        .await??;
    if let (Some(service), Some(machine)) = (source.swarm_name, source.machine) {
        let work = SessionWork::PreviousLog {
            service,
            tail: query.tail,
            since: query.since,
            timestamps: true,
        };
        let mut log =
            heard(sessions::read(state, &machine, &source.container, socket, work).await?)
                .boxed()
                .peekable();
        match Pin::new(&mut log).peek().await {
            Some(Err(SessionNote::Failed { message })) => {
                return Err(ErrorBody::new(
                    ErrorCode::Unavailable,
                    format!("the log of `{}`: {message}", source.container),
                )
                .into());
            }
            Some(Err(SessionNote::Exit { code: 1.. })) => {}
            _ => {
                let lines = split(whole(log));
                let named = lines.map_ok(move |line| (source.container.clone(), line));
                return Ok(named.boxed());
            }
        }
    }
    let container = source.container;
    let lines = kept(container.as_str(), source.stored.as_deref(), query)?;
    let named = lines
        .into_iter()
        .map(move |line| Ok((container.clone(), line)));
    Ok(stream::iter(named).boxed())
}

/// First byte of a session's frame of standard error.
const STDERR: u8 = 2;

/// Output of a process: true for standard error, and its bytes.
type Output = (bool, Bytes);

/// The lines of a process's output.
fn split(
    output: impl Stream<Item = Result<Output, EngineError>> + Send,
) -> impl Stream<Item = Result<LogLine, EngineError>> + Send {
    let pieces = output.map(Some).chain(stream::iter([None]));
    let lines = pieces.scan([BytesMut::new(), BytesMut::new()], |rest, piece| {
        let mut lines = Vec::new();
        match piece {
            Some(Ok((stderr, piece))) => {
                let rest = &mut rest[usize::from(stderr)];
                rest.extend_from_slice(&piece);
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    lines.push(Ok(line(stderr, &rest.split_to(end + 1).freeze())));
                }
            }
            Some(Err(error)) => lines.push(Err(error)),
            None => {
                let rests = [false, true].into_iter().zip(rest);
                let rests = rests.filter(|(_, rest)| !rest.is_empty());
                lines.extend(rests.map(|(stderr, rest)| Ok(line(stderr, &rest.split().freeze()))));
            }
        }
        ready(Some(stream::iter(lines)))
    });
    lines.flatten()
}

fn line(stderr: bool, text: &Bytes) -> LogLine {
    let (at, text) = LogLine::timed(text);
    LogLine { at, stderr, text }
}

/// Returns the saved end of the log of all runs up to a move or removal.
fn kept(
    container: &str,
    stored: Option<&str>,
    query: &LogQuery,
) -> Result<Vec<LogLine>, ErrorBody> {
    let Some(kept) = stored else {
        let hint = format!("`micado logs -n {container}` shows the present one");
        return Err(ErrorBody::new(
            ErrorCode::NotFound,
            format!("no earlier run of `{container}` is known"),
        )
        .hint(hint));
    };
    if query.since.is_some() || query.timestamps {
        let message = format!(
            "of earlier runs of `{container}` only the end of the log was kept, without its times: `since` and `timestamps` do not go with that"
        );
        return Err(
            ErrorBody::new(ErrorCode::Conflict, message).hint("leave them out; `tail` does")
        );
    }
    Ok(saved(kept, query.tail))
}

/// The data of a session, and its final note.
fn heard(
    messages: impl Stream<Item = Message> + Send,
) -> impl Stream<Item = Result<Output, SessionNote>> + Send {
    let cut_short = SessionNote::Failed {
        message: "the manager stops".to_owned(),
    };
    let heard = messages.filter_map(async |message| match message {
        Message::Binary(frame) => {
            let stderr = frame.first() == Some(&STDERR);
            Some(Ok((stderr, frame.slice(1.min(frame.len())..))))
        }
        Message::Text(text) => serde_json::from_str(&text).ok().map(Err),
        _ => None,
    });
    heard.chain(stream::iter([Err(cut_short)]))
}

/// Returns all data of a complete session, or the reason of its failure.
fn whole(
    heard: impl Stream<Item = Result<Output, SessionNote>> + Send,
) -> impl Stream<Item = Result<Output, EngineError>> + Send {
    let unended = heard.take_while(|it| ready(!matches!(it, Err(SessionNote::Exit { .. }))));
    unended.map_err(|note| match note {
        SessionNote::Failed { message } => EngineError::Unavailable(message),
        other => EngineError::Unavailable(format!("the machine's agent says {other:?}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_by_time_is_refused_of_a_log_that_was_kept_without_times() {
        let code = |stored, query: LogQuery| {
            let lines = kept("acme_web.1", stored, &query).map_err(|refusal| refusal.code)?;
            Ok(lines.into_iter().map(|line| line.text).collect::<Vec<_>>())
        };
        let stored = Some("one\ntwo\n");
        assert_eq!(
            code(
                stored,
                LogQuery {
                    tail: Some(1),
                    ..LogQuery::default()
                }
            ),
            Ok(vec![Bytes::from("two\n")])
        );
        assert_eq!(
            code(
                stored,
                LogQuery {
                    since: Some(7),
                    ..LogQuery::default()
                }
            ),
            Err(ErrorCode::Conflict)
        );
        assert_eq!(
            code(
                stored,
                LogQuery {
                    timestamps: true,
                    ..LogQuery::default()
                }
            ),
            Err(ErrorCode::Conflict)
        );
        assert_eq!(
            code(
                None,
                LogQuery {
                    since: Some(7),
                    ..LogQuery::default()
                }
            ),
            Err(ErrorCode::NotFound)
        );
    }

    #[tokio::test]
    async fn a_session_that_does_not_say_that_it_has_ended_makes_no_whole_log() {
        let read = async |messages: &[Message]| {
            let output = whole(heard(stream::iter(messages.to_vec())));
            let lines: Result<Vec<LogLine>, _> = split(output).try_collect().await;
            let shown = |line: LogLine| {
                let to = if line.stderr { "err" } else { "out" };
                format!("{to} {}", String::from_utf8_lossy(&line.text))
            };
            lines
                .map(|lines| lines.into_iter().map(shown).collect::<String>())
                .map_err(|error| error.to_string())
        };
        let note = |note: &SessionNote| Message::text(serde_json::to_string(note).expect("JSON"));
        let (out, error) = (
            Message::binary(b"\x01one\n".as_slice()),
            Message::binary(b"\x02two\n".as_slice()),
        );
        let end = note(&SessionNote::Exit { code: 0 });
        assert_eq!(
            read(&[out.clone(), error.clone(), end.clone(), out.clone()]).await,
            Ok("out one\nerr two\n".to_owned())
        );
        assert_eq!(read(&[end]).await, Ok(String::new()));
        assert_eq!(
            read(std::slice::from_ref(&out)).await,
            Err("the manager stops".to_owned())
        );
        let failed = note(&SessionNote::Failed {
            message: "the disk is gone".to_owned(),
        });
        assert_eq!(
            read(&[out, failed]).await,
            Err("the disk is gone".to_owned())
        );
    }
}
