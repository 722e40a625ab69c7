//! The log of a container's previous run. It comes from the agent of its machine, because the Swarm
//! returns the logs of all runs as one.

use super::{
    super::{
        ApiState,
        agents::{sessions, silence::Socket},
        refusal::Answer,
    },
    Pieces, last_lines,
};
use crate::engine::EngineError;
use axum::extract::ws::Message;
use bytes::Bytes;
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
) -> Answer<Pieces> {
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
            timestamps: query.timestamps,
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
            _ => return Ok(whole(log).boxed()),
        }
    }
    Ok(stream::iter([Ok(kept(
        source.container.as_str(),
        source.stored.as_deref(),
        query,
    )?)])
    .boxed())
}

/// Returns the saved end of the log of all runs up to a move or removal.
fn kept(container: &str, stored: Option<&str>, query: &LogQuery) -> Result<Bytes, ErrorBody> {
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
    Ok(last_lines(kept, query.tail))
}

/// The data of a session, and its final note.
fn heard(
    messages: impl Stream<Item = Message> + Send,
) -> impl Stream<Item = Result<Bytes, SessionNote>> + Send {
    let cut_short = SessionNote::Failed {
        message: "the manager stops".to_owned(),
    };
    let heard = messages.filter_map(async |message| match message {
        Message::Binary(frame) => Some(Ok(frame.slice(1.min(frame.len())..))),
        Message::Text(text) => serde_json::from_str(&text).ok().map(Err),
        _ => None,
    });
    heard.chain(stream::iter([Err(cut_short)]))
}

/// Returns all data of a complete session, or the reason of its failure.
fn whole(
    heard: impl Stream<Item = Result<Bytes, SessionNote>> + Send,
) -> impl Stream<Item = Result<Bytes, EngineError>> + Send {
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
            kept("acme_web.1", stored, &query).map_err(|refusal| refusal.code)
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
            Ok(Bytes::from("two\n"))
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
            let pieces: Result<Vec<Bytes>, _> = whole(heard(stream::iter(messages.to_vec())))
                .try_collect()
                .await;
            pieces
                .map(|pieces| String::from_utf8_lossy(&pieces.concat()).into_owned())
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
            Ok("one\ntwo\n".to_owned())
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
