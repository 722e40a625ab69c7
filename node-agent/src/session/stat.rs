//! Tells a caller the entry at a path of a container, as the engine's archive call sees it.

use super::{
    SessionError,
    caller::Caller,
    copy::{archive_path, whichever},
    mounts::Mounts,
};
use crate::engine::{Engine, EngineError, broken, empty, request};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::{Method, StatusCode, header::HeaderValue};
use micado_api::{PathEntry, PathKind, PathView, agent::channel};
use serde::Deserialize;

/// Header of the engine's reply, with a [`Stat`] in JSON in base 64.
const HEADER: &str = "x-docker-container-path-stat";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stat {
    size: i64,
    /// As Go's `FileMode` has it.
    mode: u32,
    link_target: String,
}

/// Bits of Go's `FileMode`.
const FOLDER: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const FIFO: u32 = 1 << 25;
const SOCKET: u32 = 1 << 24;
const IRREGULAR: u32 = 1 << 19;

/// Sends the view of the path.
pub async fn send(
    engine: &Engine,
    caller: &mut Caller,
    container: &str,
    path: &str,
) -> Result<i64, SessionError> {
    let Caller { output, input } = caller;
    let work = async {
        let mounts = Mounts::of(engine, container).await?;
        let view = PathView {
            entry: entry(engine, container, path).await?,
            hidden: mounts.hidden().to_vec(),
        };
        let text = serde_json::to_vec(&view).map_err(|cause| broken(path, cause))?;
        output.data(channel::OUT, &text).await?;
        Ok(0)
    };
    whichever(work, input.cut()).await
}

async fn entry(
    engine: &Engine,
    container: &str,
    path: &str,
) -> Result<Option<PathEntry>, EngineError> {
    let path = archive_path(container, path);
    let reply = match engine.send(request(Method::HEAD, &path, empty())?).await {
        Ok(reply) => reply,
        // The container exists. The engine reports a file in place of a folder on the way, or a
        // link to itself, as an error of its own; a reply to HEAD has no message.
        Err(EngineError::Refused {
            status: StatusCode::NOT_FOUND | StatusCode::INTERNAL_SERVER_ERROR,
            ..
        }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let header = reply.headers().get(HEADER);
    let stat = header.and_then(decoded);
    let stat = stat.ok_or_else(|| broken(&path, "no description of the entry"))?;
    Ok(Some(view(stat)))
}

fn decoded(header: &HeaderValue) -> Option<Stat> {
    let json = BASE64_STANDARD.decode(header.as_bytes()).ok()?;
    serde_json::from_slice(&json).ok()
}

fn view(stat: Stat) -> PathEntry {
    let is = |bit| stat.mode & bit != 0;
    let kind = if is(FOLDER) {
        PathKind::Folder
    } else if is(SYMLINK) {
        PathKind::Symlink
    } else if is(DEVICE) {
        PathKind::Device
    } else if is(FIFO | SOCKET | IRREGULAR) {
        PathKind::Other
    } else {
        PathKind::File
    };
    PathEntry {
        kind,
        size: stat.size.try_into().unwrap_or_default(),
        link_target: (kind == PathKind::Symlink).then_some(stat.link_target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_description_is_an_entry() {
        let read = |json: &str| {
            let header = HeaderValue::from_str(&BASE64_STANDARD.encode(json)).expect("a header");
            decoded(&header).map(view)
        };
        let link = read(
            r#"{"name":"l","size":4,"mode":134218239,"mtime":"2026-11-30T00:00:00Z","linkTarget":"/srv/x"}"#,
        );
        assert_eq!(
            link,
            Some(PathEntry {
                kind: PathKind::Symlink,
                size: 4,
                link_target: Some("/srv/x".to_owned())
            })
        );
        let kind = |mode: u32| {
            let json = format!(r#"{{"name":"x","size":0,"mode":{mode},"linkTarget":""}}"#);
            read(&json).map(|entry| entry.kind)
        };
        assert_eq!(kind(0o644), Some(PathKind::File));
        assert_eq!(kind(FOLDER | 0o755), Some(PathKind::Folder));
        assert_eq!(kind(DEVICE | 1 << 21), Some(PathKind::Device));
        assert_eq!(kind(FIFO), Some(PathKind::Other));
        assert!(read("{}").is_none());
    }
}
