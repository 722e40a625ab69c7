//! The agent's own program, for machines that were made from an image without it.

use super::super::{
    ApiState,
    caller::Agent,
    extract::Query,
    refusal::{Answer, Refusal},
};
use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use micado_api::{ErrorBody, ErrorCode};
use std::{env::consts::ARCH, path::Path};
use tokio::fs::File;
use tokio_util::io::ReaderStream;

#[derive(Debug, serde::Deserialize)]
pub(in crate::api) struct Machine {
    /// Its processor, as `uname -m` says.
    machine: String,
}

/// The program, for the machine of an instance and for its processor.
pub(in crate::api) async fn program(
    State(state): State<ApiState>,
    Agent(instance): Agent,
    Query(Machine { machine }): Query<Machine>,
) -> Answer<Response> {
    let Some(path) = &state.gate.agent else {
        return Err(refuse(
            "the manager was told of no program: start it with `--agent FILE`, scripts/node-agent/build makes one",
        ));
    };
    if machine != ARCH {
        return Err(refuse(&format!(
            "the manager's program is for {ARCH}, and the machine is {machine}: load the image with scripts/package made on one like it"
        )));
    }
    let (file, size) = open(path).await.map_err(|error| {
        tracing::warn!(%instance, "its machine has no agent and wants the program `{}`, which cannot be read: {error}", path.display());
        refuse("the manager cannot read it; its log says why")
    })?;
    tracing::info!(%instance, "its machine takes the agent's program");
    Ok((
        [(header::CONTENT_LENGTH, size)],
        Body::from_stream(ReaderStream::new(file)),
    )
        .into_response())
}

async fn open(path: &Path) -> std::io::Result<(File, u64)> {
    let file = File::open(path).await?;
    let size = file.metadata().await?.len();
    Ok((file, size))
}

fn refuse(words: &str) -> Refusal {
    ErrorBody::new(
        ErrorCode::NotFound,
        format!("no program of the node agent: {words}"),
    )
    .into()
}
