//! Copies files to and from a container as a tar stream through the engine's archive calls, in
//! bounded pieces.

use super::{
    SessionError,
    caller::{Caller, Cut, FromCaller},
    mounts::{LastLink, Mounts, is_below},
    sockets,
};
use crate::engine::{Engine, broken, empty, encoded, request};
use http_body_util::{BodyExt, channel::Channel};
use hyper::{Method, header};
use micado_api::agent::channel;
use std::{future::Future, io};

/// Upper bound for buffered pieces of the tar that the engine has not read.
const WAITING: usize = 2;

/// Unpacks the caller's tar into a folder of the container.
pub async fn to(
    engine: &Engine,
    caller: &mut Caller,
    container: &str,
    path: &str,
    archive: bool,
) -> Result<i64, SessionError> {
    let mounts = Mounts::of(engine, container).await?;
    mounts.check(path, LastLink::Followed)?;
    let (sender, body) = Channel::new(WAITING);
    let query = format!(
        "{}&noOverwriteDirNonDir=true{}",
        archive_path(container, path),
        if archive { "&copyUIDGID=true" } else { "" }
    );
    let mut call = request(Method::PUT, &query, body.boxed_unsync())?;
    call.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/x-tar"),
    );
    let mut sender = Some(sender);
    let feed = async {
        loop {
            match caller.input.next().await {
                Ok(FromCaller::Data(data)) => {
                    // After a refusal by the engine, the rest is read and discarded.
                    if let Some(open) = &mut sender
                        && open.send_data(data).await.is_err()
                    {
                        sender = None;
                    }
                }
                Ok(FromCaller::End) => sender = None,
                Ok(FromCaller::Resize { .. } | FromCaller::Signal(_)) => {}
                Err(cut) => {
                    // An error, so that the engine does not take the truncated tar for complete.
                    if let Some(open) = sender.take() {
                        open.abort(io::Error::other(Cut));
                    }
                    return cut;
                }
            }
        }
    };
    let extract = async { Ok(engine.send(call).await?) };
    whichever(extract, feed).await?;
    Ok(0)
}

/// Sends a file or folder of the container as a tar.
pub async fn from(
    engine: &Engine,
    caller: &mut Caller,
    container: &str,
    path: &str,
) -> Result<i64, SessionError> {
    let Caller { output, input } = caller;
    let mounts = Mounts::of(engine, container).await?;
    mounts.check(path, LastLink::Kept)?;
    let source = path;
    let path = archive_path(container, path);
    let send = async {
        let mut body = engine
            .send(request(Method::GET, &path, empty())?)
            .await?
            .into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(|cause| broken(&path, cause))?.into_data() {
                output.data(channel::OUT, &data).await?;
            }
        }
        for line in absent(mounts, source).await {
            let line = format!("{line}\n");
            output.data(channel::ERROR, line.as_bytes()).await?;
        }
        Ok(())
    };
    whichever(send, input.cut()).await?;
    Ok(0)
}

/// Entries below a path that the engine leaves out without a word, each with its reason.
async fn absent(mounts: Mounts, path: &str) -> Vec<String> {
    let Some((root, path)) = mounts.place(path) else {
        return Vec::new();
    };
    let mut lines: Vec<String> = mounts
        .hidden()
        .iter()
        .filter(|mount| !mount.is_of_the_kernel() && is_below(&mount.path, &path))
        .map(|mount| {
            format!(
                "`{}`: a mount ({}) that no copy can see",
                mount.path, mount.kind
            )
        })
        .collect();
    // Walking blocks.
    let found = tokio::task::spawn_blocking(move || sockets::below(&root, &path)).await;
    lines.extend(found.unwrap_or_default());
    lines
}

/// Returns the result of the work, or cancels it when the caller goes first.
pub async fn whichever<T>(
    work: impl Future<Output = Result<T, SessionError>>,
    cut: impl Future<Output = Cut>,
) -> Result<T, SessionError> {
    tokio::select! {
        // Prefer a finished result over the end of the connection.
        biased;
        outcome = work => outcome,
        cut = cut => Err(cut.into()),
    }
}

pub fn archive_path(container: &str, path: &str) -> String {
    format!(
        "/containers/{}/archive?path={}",
        encoded(container),
        encoded(path)
    )
}
