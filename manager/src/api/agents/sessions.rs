//! Sessions for people and programs: passed on to the agent of the container's machine, as a
//! WebSocket, or as what the manager itself reads.

use super::{
    super::{
        ApiState,
        extract::{Name, Query},
        peer::Peer,
        refusal::{Answer, Refusal},
    },
    Pending,
    link::{SESSION_FRAME_MAX, Upgrade},
    relay::{self, PACE},
    silence::{Socket, gone},
};
use axum::{
    Extension, Json,
    extract::{State, ws::Message},
    response::Response,
};
use futures_util::{Stream, StreamExt, stream};
use micado_api::{
    ContainerName, CopyQuery, CopyToQuery, ErrorBody, ErrorCode, InstanceId, PathView, Tag,
    agent::{SessionNote, SessionWork},
};
use std::{pin::pin, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::PollSender;

/// How long an agent may take to open its connection.
const OPENING: Duration = Duration::from_secs(10);

/// Runs a command in a container. A WebSocket: binary frames carry data (first byte 0: to standard
/// input, 1: from standard output, 2: from standard error), text frames notes in JSON (`end`,
/// `resize`, `signal`; from the command, the last: `exit` with its code, or `failed`). Of input at
/// most 8 frames of 64 KiB may be sent ahead: as the command takes them, frames come back whose
/// first byte is 0, and whose second is how many more may be sent. Who sends more is refused.
#[utoipa::path(get, path = "/v1/containers/{name}/exec", operation_id = "execute", tag = "containers",
    params(
        ("name" = String, Path, description = "A container's name, or that of a service with one container."),
        ("command" = Vec<String>, Query, description = "Program and arguments: repeated, in order."),
        ("environment" = Option<Vec<String>>, Query, description = "`KEY=VALUE`, repeated."),
        ("terminal" = Option<bool>, Query, description = "With a terminal: then there is no separate standard error."),
    ),
    responses((status = 101, description = "The session."), (status = "default", description = "A refusal.", body = ErrorBody)),
)]
pub(in crate::api) async fn exec(
    State(state): State<ApiState>,
    Name(name): Name,
    Query(query): Query<Vec<(String, String)>>,
    upgrade: Upgrade,
) -> Answer<Response> {
    let (mut command, mut environment, mut terminal) = (Vec::new(), Vec::new(), false);
    for (key, value) in query {
        match key.as_str() {
            "command" => command.push(value),
            "environment" => environment.push(value),
            "terminal" => terminal = value == "true",
            _ => {
                return Err(ErrorBody::new(
                    ErrorCode::BadRequest,
                    format!("`exec` knows no `{key}`"),
                )
                .into());
            }
        }
    }
    if command.is_empty() {
        return Err(ErrorBody::new(ErrorCode::BadRequest, "`exec` needs a `command`").into());
    }
    start(state, name, upgrade, |container| SessionWork::Exec {
        container,
        command,
        terminal,
        environment,
    })
    .await
}

/// Unpacks a tar into a folder of a container. A WebSocket as for `exec`: the tar comes on channel
/// 0, then the note `end`.
#[utoipa::path(get, path = "/v1/containers/{name}/copy-to", operation_id = "copy_to", tag = "containers",
    params(("name" = String, Path, description = "A container's name, or that of a service with one container."), CopyToQuery),
    responses((status = 101, description = "The session."), (status = "default", description = "A refusal.", body = ErrorBody)),
)]
pub(in crate::api) async fn copy_to(
    State(state): State<ApiState>,
    Name(name): Name,
    Query(CopyToQuery { path, archive }): Query<CopyToQuery>,
    upgrade: Upgrade,
) -> Answer<Response> {
    check_length(&path)?;
    start(state, name, upgrade, |container| SessionWork::CopyTo {
        container,
        path,
        archive,
    })
    .await
}

/// Shows the entry at a path of a container, as copies see it.
#[utoipa::path(get, path = "/v1/containers/{name}/path", operation_id = "stat", tag = "containers",
    params(("name" = String, Path, description = "A container's name, or that of a service with one container."), CopyQuery),
    responses((status = 200, description = "The entry, if there is one.", body = PathView), (status = "default", description = "A refusal.", body = ErrorBody)),
)]
pub(in crate::api) async fn stat(
    State(state): State<ApiState>,
    Name(name): Name,
    Query(CopyQuery { path }): Query<CopyQuery>,
    peer: Option<Extension<Peer>>,
) -> Answer<Json<PathView>> {
    check_length(&path)?;
    let place = state
        .handle
        .read(move |core| core.session_place(&name))
        .await??;
    let work = SessionWork::Stat {
        container: place.engine_name,
        path,
    };
    let machine = (place.instance, place.tag);
    let socket = peer.map(|Extension(peer)| peer.socket);
    let messages = read(&state, &machine, &place.container, socket, work).await?;
    let malformed = |error: serde_json::Error| {
        let message = format!("the agent of `{}` is not understood: {error}", machine.1);
        ErrorBody::new(ErrorCode::Unavailable, message)
    };
    let text = collected(messages).await?;
    Ok(Json(serde_json::from_slice(&text).map_err(malformed)?))
}

/// Upper bound for a short reply of an agent, in bytes.
const SHORT: usize = 1 << 20;

/// All data of a session that ends well.
async fn collected(messages: impl Stream<Item = Message>) -> Result<Vec<u8>, ErrorBody> {
    let (mut messages, mut text) = (pin!(messages), Vec::new());
    while let Some(message) = messages.next().await {
        match message {
            Message::Binary(frame) if text.len() + frame.len() <= SHORT => {
                text.extend_from_slice(frame.get(1..).unwrap_or_default());
            }
            Message::Text(note) => match serde_json::from_str(&note) {
                Ok(SessionNote::Exit { .. }) => return Ok(text),
                Ok(SessionNote::Failed { message }) => {
                    return Err(ErrorBody::new(ErrorCode::Unsatisfiable, message));
                }
                _ => {}
            },
            _ => {}
        }
    }
    let message = "the machine broke off its answer; try again";
    Err(ErrorBody::new(ErrorCode::Unavailable, message))
}

/// Sends a file or folder of a container as a tar. A WebSocket as for `exec`: the tar goes on
/// channel 1. Each line on channel 2 names an entry that the tar lacks.
#[utoipa::path(get, path = "/v1/containers/{name}/copy-from", operation_id = "copy_from", tag = "containers",
    params(("name" = String, Path, description = "A container's name, or that of a service with one container."), CopyQuery),
    responses((status = 101, description = "The session."), (status = "default", description = "A refusal.", body = ErrorBody)),
)]
pub(in crate::api) async fn copy_from(
    State(state): State<ApiState>,
    Name(name): Name,
    Query(CopyQuery { path }): Query<CopyQuery>,
    upgrade: Upgrade,
) -> Answer<Response> {
    check_length(&path)?;
    start(state, name, upgrade, |container| SessionWork::CopyFrom {
        container,
        path,
    })
    .await
}

/// No longer path can be opened on Linux, terminator included.
const LONGEST_PATH: usize = 4095;

fn check_length(path: &str) -> Answer<()> {
    if path.len() <= LONGEST_PATH {
        return Ok(());
    }
    let message = format!(
        "the path has {} bytes, and no path may have more than {LONGEST_PATH}",
        path.len()
    );
    Err(ErrorBody::new(ErrorCode::BadRequest, message).into())
}

/// Has the agent of the container's machine open a session, and passes it on.
async fn start(
    state: ApiState,
    name: String,
    Upgrade(upgrade, socket): Upgrade,
    work: impl FnOnce(String) -> SessionWork,
) -> Answer<Response> {
    let place = state
        .handle
        .read(move |core| core.session_place(&name))
        .await??;
    let pending = ask(
        &state,
        &place.instance,
        &place.tag,
        &place.container,
        work(place.engine_name),
    )?;
    let (tag, stopping) = (place.tag, state.stopping);
    Ok(upgrade.max_message_size(SESSION_FRAME_MAX).max_frame_size(SESSION_FRAME_MAX).on_upgrade(move |caller| async move {
        match timeout(OPENING, pending.opened()).await {
            Ok(Some(agent)) => {
                tokio::select! {
                    () = relay::relay(caller.split(), agent.split(), PACE) => {}
                    () = gone(PACE, || socket.is_some_and(Socket::is_unanswered)) => tracing::debug!("a session's caller is gone"),
                    () = stopping.cancelled() => {}
                }
            }
            _ => relay::refuse(caller, &unanswered(&tag)).await,
        }
    }))
}

/// Has the agent of this machine open a session whose work only sends, and gives what it sends, for
/// a caller on this socket. Who does not read makes the agent wait; who drops it ends the session.
pub(in crate::api) async fn read(
    state: &ApiState,
    (instance, tag): &(InstanceId, Tag),
    container: &ContainerName,
    socket: Option<Socket>,
    work: SessionWork,
) -> Answer<impl Stream<Item = Message> + Send + use<>> {
    let pending = ask(state, instance, tag, container, work)?;
    let Ok(Some(agent)) = timeout(OPENING, pending.opened()).await else {
        let hint = "a machine keeps the agent that it was made with: one of an earlier version than this manager may not know what is asked of it, and never answers";
        return Err(ErrorBody::new(ErrorCode::Unavailable, unanswered(tag))
            .hint(hint)
            .into());
    };
    let (to, messages) = mpsc::channel(1);
    let (reader, stopping) = (to.clone(), state.stopping.clone());
    let left = stream::once(async move {
        reader.closed().await;
        Err(axum::Error::new("nobody reads it"))
    });
    tokio::spawn(async move {
        tokio::select! {
            () = relay::relay((PollSender::new(to), Box::pin(left)), agent.split(), PACE) => {}
            () = gone(PACE, || socket.is_some_and(Socket::is_unanswered)) => tracing::debug!("a log's reader is gone"),
            () = stopping.cancelled() => {}
        }
    });
    Ok(ReceiverStream::new(messages))
}

fn ask(
    state: &ApiState,
    instance: &InstanceId,
    tag: &Tag,
    container: &ContainerName,
    work: SessionWork,
) -> Answer<Pending> {
    let away = || {
        let refusal = ErrorBody::new(
            ErrorCode::Unavailable,
            format!("the agent of `{tag}`, the machine of `{container}`, is not connected"),
        );
        Refusal::from(
            refusal.hint("it connects by itself, seconds after its machine has joined or is reached again: try again then; `micado list` shows the machine"),
        )
    };
    state.agents.open(instance, work).ok_or_else(away)
}

fn unanswered(tag: &Tag) -> String {
    format!("the agent of `{tag}` does not answer; try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_that_linux_can_open_is_passed_on() {
        assert!(check_length(&"/".repeat(LONGEST_PATH)).is_ok());
        assert!(check_length(&"/".repeat(30_000)).is_err());
    }
}
