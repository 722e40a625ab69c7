//! Copies into a container.

use super::{
    Copying, Ends, all_or, conflict, denied, interrupted,
    local::Source,
    pack::{Packing, Survey, pack},
    place::Place,
    rules::{Existing, Put, put},
};
use crate::cli::{failure::Failure, printer::Printer, terminal::read_input};
use bytes::Bytes;
use indicatif::ProgressBar;
use micado_api::{
    ErrorBody, ErrorCode, PathKind, PathView, Session, SessionPiece, agent::SessionNote,
};
use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};
use tokio::sync::mpsc;

/// The target in a container, with a link at its end followed.
struct Target {
    place: Place,
    existing: Existing,
    view: PathView,
}

impl Target {
    async fn find(copying: &Copying<'_>, path: &str) -> Result<Self, Failure> {
        let mut place = Place::in_container(path);
        let mut view = copying.stat(&place).await?;
        let link = view.entry.as_ref().and_then(|it| it.link_target.clone());
        if let Some(target) = link {
            place = Place::in_container(&target);
            view = copying.stat(&place).await?;
        }
        let existing = match view.entry.as_ref().map(|entry| entry.kind) {
            None => Existing::Missing,
            Some(PathKind::Folder) => Existing::Folder,
            Some(PathKind::Device) => Existing::Device,
            Some(PathKind::File | PathKind::Symlink | PathKind::Other) => Existing::File,
        };
        Ok(Self {
            place,
            existing,
            view,
        })
    }
}

/// Copies an entry of this machine into a container.
pub(super) async fn into(
    copying: &Copying<'_>,
    source: &Path,
    path: &str,
    printer: &Printer,
) -> Result<(), Failure> {
    let unreadable =
        |error: io::Error| denied(format!("cannot read `{}`: {error}", source.display()));
    let there = format!("{}:{path}", copying.container);
    let target = Target::find(copying, path).await?;
    let from = Source::find(&Place::here(source).map_err(unreadable)?, copying.follow)
        .map_err(unreadable)?;
    let put = put(from.is_folder, &target.place, target.existing)
        .map_err(|reason| conflict(reason.reason(&there)))?;
    let (folder, name) = match (put, target.place.name()) {
        (Put::As, Some(name)) => (target.place.folder().to_owned(), Some(name.to_owned())),
        _ => (target.place.text(), from.name),
    };
    let (packing, total) = prepared(copying, from.path, folder, name, target.view).await?;
    let bar = printer.bytes(Some(total));
    let session = copying.to(&packing.folder).await?;
    let (mut pieces, thread) = pack(packing);
    sent(session, &mut pieces, &bar, &there).await?;
    let left_out = thread
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
        .map_err(unreadable)?;
    bar.finish_and_clear();
    let ends = Ends {
        from: source.display().to_string(),
        to: there,
    };
    all_or(&ends, left_out, printer)
}

/// The files to pack and their size. If a link among them leads out of the folder, they are
/// unpacked in the root, with the folder in their names: the engine takes any link there.
async fn prepared(
    copying: &Copying<'_>,
    source: PathBuf,
    folder: PathBuf,
    name: Option<OsString>,
    view: PathView,
) -> Result<(Packing, u64), Failure> {
    let own = PathBuf::from(name.clone().unwrap_or_default());
    let survey = Survey::of(&source, &own)
        .map_err(|error| denied(format!("cannot read `{}`: {error}", source.display())))?;
    let mut packing = Packing {
        source,
        name: own,
        is_content: name.is_none(),
        folder,
        hidden: view.hidden,
    };
    if survey.escapes {
        let place = Place::in_container(&packing.folder.to_string_lossy());
        let entry = copying.stat(&place).await?.entry;
        if entry.is_some_and(|entry| entry.kind != PathKind::File) {
            let below = place.path().strip_prefix("/").unwrap_or(place.path());
            packing.name = below.join(&packing.name);
            packing.folder = PathBuf::from("/");
        }
    }
    Ok((packing, survey.size))
}

/// Passes a tar on standard input to a folder of a container.
pub(super) async fn from_stdin(
    copying: &Copying<'_>,
    path: &str,
    printer: &Printer,
) -> Result<(), Failure> {
    let there = format!("{}:{path}", copying.container);
    if io::stdin().is_terminal() {
        let message = "`-` is a tar on standard input, which is a terminal here";
        return Err(ErrorBody::new(ErrorCode::BadRequest, message).into());
    }
    let target = Target::find(copying, path).await?;
    if target.existing != Existing::Folder {
        return Err(conflict(format!(
            "`{there}` is no folder: a tar is unpacked in one that exists"
        )));
    }
    let session = copying.to(&target.place.text()).await?;
    let bar = printer.bytes(None);
    sent(session, &mut read_input(), &bar, &there).await?;
    bar.finish_and_clear();
    printer.note(&format!("copied the tar to {there}"));
    Ok(())
}

/// Sends pieces to a session until they end, and waits for its end.
async fn sent(
    session: Session,
    pieces: &mut mpsc::Receiver<Bytes>,
    bar: &ProgressBar,
    there: &str,
) -> Result<(), Failure> {
    let Session {
        mut input,
        mut output,
    } = session;
    let send = async {
        while let Some(piece) = pieces.recv().await {
            input.data(&piece).await?;
            bar.inc(piece.len().try_into().unwrap_or_default());
        }
        input.note(&SessionNote::End).await?;
        Ok::<(), Failure>(())
    };
    let ended = async {
        while !matches!(output.next().await?, SessionPiece::Exit(_)) {}
        Ok::<(), Failure>(())
    };
    let mut ended = std::pin::pin!(ended);
    let transfer = async {
        let sent = tokio::select! {
            biased;
            // It ended before everything was sent: it was refused.
            end = &mut ended => return end,
            sent = send => sent,
        };
        match sent {
            // A broken connection: the session's final note says more.
            Ok(())
            | Err(Failure::Error(ErrorBody {
                code: ErrorCode::Unavailable,
                ..
            })) => ended.await,
            Err(failure) => Err(failure),
        }
    };
    tokio::select! {
        done = transfer => done,
        () = interrupted() => Err(Failure::Interrupted(format!(
            "interrupted: `{there}` may hold a part, with a file that is cut short; the same copy replaces it"
        ))),
    }
}
