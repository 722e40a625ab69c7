//! Copies out of a container.

use super::{
    Copying, Ends, all_or, conflict, denied, interrupted,
    local::Target,
    place::{End, Place},
    rules::{Put, put},
    tree,
    unpack::{ENTRY, Unpacked, Unpacking, Untaken, unpack},
};
use crate::cli::{
    failure::Failure,
    outlet::{self, Said},
    printer::Printer,
};
use bytes::Bytes;
use indicatif::ProgressBar;
use micado_api::{ErrorBody, ErrorCode, PathKind, SessionOutput, SessionPiece};
use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};
use tokio::sync::mpsc;

/// The entry in a container.
struct Source {
    place: Place,
    /// Name under which it goes into a folder; `None` for a folder's content.
    name: Option<OsString>,
    is_folder: bool,
}

impl Source {
    /// Looks at an entry. The engine itself follows a link that the path's end calls a folder.
    async fn find(copying: &Copying<'_>, path: &str) -> Result<Self, Failure> {
        let mut place = Place::in_container(path);
        let name = place.name().map(ToOwned::to_owned);
        let mut entry = copying.stat(&place).await?.entry;
        let link = entry.as_ref().and_then(|it| it.link_target.clone());
        if let Some(target) = link.filter(|_| copying.follow && place.end() == End::Plain) {
            place = Place::in_container(&target);
            entry = copying.stat(&place).await?.entry;
        }
        Ok(Self {
            place,
            name,
            is_folder: entry.is_some_and(|entry| entry.kind == PathKind::Folder),
        })
    }
}

/// Copies an entry of a container to this machine. It takes its place once it is complete: a copy
/// that ends early leaves nothing.
pub(super) async fn out(
    copying: &Copying<'_>,
    path: &str,
    target: &Path,
    printer: &Printer,
) -> Result<(), Failure> {
    let unwritable =
        |error: io::Error| denied(format!("cannot write `{}`: {error}", target.display()));
    let shown = target.display().to_string();
    let place = Place::here(target).map_err(unwritable)?;
    let to = Target::find(&place)
        .map_err(unwritable)?
        .map_err(|reason| conflict(reason.reason(&shown)))?;
    let source = Source::find(copying, path).await?;
    let put = put(source.is_folder, &to.place, to.existing)
        .map_err(|reason| conflict(reason.reason(&shown)))?;
    let destination = match (put, &source.name) {
        (Put::As, _) | (Put::Into, None) => to.place.path().to_owned(),
        (Put::Into, Some(name)) => to.place.path().join(name),
    };
    // Beside the entry's final place, and so on the same file system.
    let aside = match put {
        Put::As => to.place.folder(),
        Put::Into => to.place.path(),
    };
    let aside = Aside::below(aside).map_err(unwritable)?;
    let unpacking = Unpacking {
        folder: aside.0.clone(),
        asked: source.place.name().map(ToOwned::to_owned),
        owners: copying.archive && rustix::process::geteuid().is_root(),
    };
    let mut done = received(copying, &source.place, unpacking, path, target, printer).await?;
    let (entry, left_out) = (aside.0.join(ENTRY), std::mem::take(&mut done.left_out));
    let is_merged = put == Put::Into && source.name.is_none();
    if entry.symlink_metadata().is_ok() {
        settle(&entry, &destination, is_merged, done, printer)?;
    }
    let ends = Ends {
        from: format!("{}:{path}", copying.container),
        to: shown,
    };
    all_or(&ends, left_out, printer)
}

/// Moves a complete entry to its place.
fn settle(
    entry: &Path,
    destination: &Path,
    is_merged: bool,
    done: Unpacked,
    printer: &Printer,
) -> Result<(), Failure> {
    let shown = destination.display();
    let unwritable = |error: io::Error| denied(format!("cannot write `{shown}`: {error}"));
    if let Some(clash) = tree::clash(entry, destination).map_err(unwritable)? {
        let (there, new) = match clash.is_folder {
            true => ("a folder", "a file"),
            false => ("no folder", "a folder"),
        };
        return Err(conflict(format!(
            "`{}` is {there}, and {new} would replace it: nothing was copied",
            clash.path
        )));
    }
    tree::place(entry, destination).map_err(unwritable)?;
    done.folders
        .settle(destination, is_merged)
        .map_err(unwritable)?;
    if done.weakened > 0 {
        printer.note(&format!(
            "{} of the files came without their setuid and setgid bits and capabilities",
            done.weakened
        ));
    }
    Ok(())
}

/// Unpacks what a container sends.
async fn received(
    copying: &Copying<'_>,
    source: &Place,
    unpacking: Unpacking,
    path: &str,
    target: &Path,
    printer: &Printer,
) -> Result<Unpacked, Failure> {
    let mut session = copying.from(source).await?;
    let bar = printer.bytes(None);
    let (to, thread) = unpack(unpacking);
    let mut absent = Vec::new();
    let received = tokio::select! {
        received = receive(&mut session.output, &to, &mut absent, &bar) => received,
        () = interrupted() => Err(Failure::Interrupted(format!(
            "interrupted: nothing was copied to `{}`", target.display()
        ))),
    };
    drop(to);
    let unpacked = thread
        .await
        .unwrap_or_else(|panic| Err(Untaken::Failed(io::Error::other(panic))));
    received?;
    bar.finish_and_clear();
    let mut unpacked = unpacked.map_err(|reason| match reason {
        Untaken::Other(name) => conflict(format!(
            "the machine sent `{name}` for `{path}`: nothing was copied"
        )),
        Untaken::Failed(error) => denied(format!("cannot write `{}`: {error}", target.display())),
    })?;
    if !unpacked.any && absent.is_empty() {
        return Err(conflict(format!(
            "the machine sent nothing for `{path}`: nothing was copied"
        )));
    }
    unpacked.left_out.append(&mut absent);
    Ok(unpacked)
}

/// Passes a session's tar on, until its end or until nobody takes it, and collects lines of its
/// standard error.
async fn receive(
    output: &mut SessionOutput,
    to: &mpsc::Sender<Bytes>,
    absent: &mut Vec<String>,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    loop {
        match output.next().await? {
            SessionPiece::Out(piece) => {
                bar.inc(piece.len().try_into().unwrap_or_default());
                if to.send(piece).await.is_err() {
                    // The thread's result says why.
                    return Ok(());
                }
            }
            SessionPiece::Error(lines) => absent.extend(lines_of(&lines)),
            SessionPiece::Exit(_) => return Ok(()),
        }
    }
}

fn lines_of(piece: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(piece);
    text.lines().map(str::to_owned).collect()
}

/// Passes a container's tar to standard output.
pub(super) async fn to_stdout(
    copying: &Copying<'_>,
    path: &str,
    printer: &Printer,
) -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        let message = "`-` is a tar on standard output, which is a terminal here";
        return Err(ErrorBody::new(ErrorCode::BadRequest, message).into());
    }
    let source = Source::find(copying, path).await?;
    let mut session = copying.from(&source.place).await?;
    let mut absent = Vec::new();
    let (output, lines_to) = (&mut session.output, &mut absent);
    outlet::write_all(async move |to| {
        loop {
            match output.next().await? {
                // A failure to write is reported by its thread.
                SessionPiece::Out(piece) => drop(to.send(Said::Out(piece)).await),
                SessionPiece::Error(lines) => lines_to.extend(lines_of(&lines)),
                SessionPiece::Exit(_) => return Ok(()),
            }
        }
    })
    .await?;
    let ends = Ends {
        from: format!("{}:{path}", copying.container),
        to: "standard output".to_owned(),
    };
    all_or(&ends, absent, printer)
}

/// A temporary folder beside the files' destination. Dropping it deletes it with all its content.
struct Aside(PathBuf);

impl Aside {
    fn below(parent: &Path) -> io::Result<Self> {
        let path = parent.join(format!(".micado-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
