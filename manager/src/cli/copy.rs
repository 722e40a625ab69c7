//! `micado copy` and `micado cp`: files into containers and out of them, streamed, with owners and
//! modes.

use super::{
    args::{CopyArgs, CopyPlace, CpArgs, Way},
    failure::Failure,
    printer::Printer,
    tarball::{pack, size, unpack},
};
use micado_api::{Client, ClientError, ErrorBody, ErrorCode, SessionPiece, agent::SessionNote};
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

pub(super) async fn copy(
    args: CopyArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let (here, there) = match args.way {
        Way::To => (args.file, args.path),
        Way::From => (args.path, args.file),
    };
    if !there.starts_with('/') {
        return Err(refuse(format!(
            "`{there}` is no absolute path in the container"
        )));
    }
    match args.way {
        Way::To => to(Path::new(&here), &args.container, &there, client, printer).await,
        Way::From => from(&args.container, &there, Path::new(&here), client, printer).await,
    }
}

pub(super) async fn cp(args: CpArgs, client: &Client, printer: &Printer) -> Result<(), Failure> {
    match (args.from, args.to) {
        (CopyPlace::Here(source), CopyPlace::Container { name, path }) => {
            to(&source, &name, &path, client, printer).await
        }
        (CopyPlace::Container { name, path }, CopyPlace::Here(target)) => {
            from(&name, &path, &target, client, printer).await
        }
        _ => Err(refuse(
            "one of both must be in a container, as NAME:PATH, and the other here".to_owned(),
        )),
    }
}

/// Copies into an existing folder of the container, or else under the last name of the path.
async fn to(
    source: &Path,
    container: &str,
    path: &str,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let unreadable =
        |error: io::Error| refuse(format!("cannot read `{}`: {error}", source.display()));
    let real = source.canonicalize().map_err(unreadable)?;
    let total = size(&real).map_err(unreadable)?;
    let own = source.file_name().or(real.file_name()).map_or_else(
        || ".".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    );
    let (folder, name) = if path.ends_with('/') || is_folder(client, container, path).await? {
        (path, own)
    } else {
        split(path)
    };

    let mut session = client.copy_to(container, folder).await?;
    let bar = printer.bytes(Some(total));
    let (mut pieces, packing) = pack(real, name);
    let send = async {
        while let Some(piece) = pieces.recv().await {
            session.input.data(&piece).await?;
            bar.inc(piece.len().try_into().unwrap_or_default());
        }
        packing
            .await
            .unwrap_or_else(|panic| Err(io::Error::other(panic)))
            .map_err(unreadable)?;
        session.input.note(&SessionNote::End).await?;
        Ok::<(), Failure>(())
    };
    let ended = async {
        while !matches!(session.output.next().await?, SessionPiece::Exit(_)) {}
        Ok::<(), Failure>(())
    };
    let mut ended = std::pin::pin!(ended);
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
        })) => ended.await?,
        Err(failure) => return Err(failure),
    }
    bar.finish_and_clear();
    printer.note(&format!(
        "copied {} to {container}:{path}",
        source.display()
    ));
    Ok(())
}

/// Copies into an existing folder here, or else under the last name of the path. An aborted copy
/// leaves nothing under that name.
async fn from(
    container: &str,
    path: &str,
    target: &Path,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let unwritable =
        |error: io::Error| refuse(format!("cannot write `{}`: {error}", target.display()));
    let into = target.is_dir();
    let parent = if into {
        target
    } else {
        target
            .parent()
            .filter(|it| !it.as_os_str().is_empty())
            .unwrap_or(Path::new("."))
    };
    if !parent.is_dir() {
        return Err(refuse(format!("there is no folder `{}`", parent.display())));
    }
    let mut session = client.copy_from(container, path).await?;
    let aside = Aside::below(parent).map_err(unwritable)?;
    let bar = printer.bytes(None);
    let (to, unpacking) = unpack(aside.0.clone());
    let received = async {
        loop {
            match session.output.next().await? {
                SessionPiece::Out(piece) => {
                    bar.inc(piece.len().try_into().unwrap_or_default());
                    if to.send(piece).await.is_err() {
                        // A failure to write is reported below.
                        return Ok::<(), Failure>(());
                    }
                }
                SessionPiece::Error(_) => {}
                SessionPiece::Exit(_) => return Ok(()),
            }
        }
    }
    .await;
    drop(to);
    let unpacked = unpacking
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)));
    received?;
    unpacked.map_err(unwritable)?;
    for name in came(&aside.0, path).map_err(unwritable)?? {
        let place = if into {
            target.join(&name)
        } else {
            target.to_owned()
        };
        std::fs::rename(aside.0.join(&name), place).map_err(unwritable)?;
    }
    bar.finish_and_clear();
    printer.note(&format!(
        "copied {container}:{path} to {}",
        target.display()
    ));
    Ok(())
}

/// Names of what came for a path: the entry that was asked for, and nothing else. The machine that
/// sends it may be anybody's. The content of a folder (`PATH/.`) has any names.
fn came(folder: &Path, path: &str) -> io::Result<Result<Vec<OsString>, Failure>> {
    let entries = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
    let names = entries.collect::<io::Result<Vec<OsString>>>()?;
    let asked = path.trim_end_matches('/').rsplit('/').next();
    let asked = asked.filter(|name| !["", ".", ".."].contains(name));
    let other = names
        .iter()
        .find(|name| asked.is_some_and(|asked| *name != asked));
    Ok(match other {
        Some(other) => Err(conflict(format!(
            "the machine sent `{}` for `{path}`: nothing was copied",
            other.display()
        ))),
        None if names.is_empty() => Err(conflict(format!(
            "the machine sent nothing for `{path}`: nothing was copied"
        ))),
        None => Ok(names),
    })
}

/// Returns true for a folder in the container. Reads only the head of its tar.
async fn is_folder(client: &Client, container: &str, path: &str) -> Result<bool, Failure> {
    let mut session = client.copy_from(container, path).await?;
    let mut head = Vec::new();
    while head.len() < 512 {
        match session.output.next().await {
            Ok(SessionPiece::Out(piece)) => head.extend_from_slice(&piece),
            Ok(SessionPiece::Error(_)) => {}
            Ok(SessionPiece::Exit(_)) => break,
            // It does not exist: the path is the copy's own name.
            Err(ClientError::Refused(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    let mut tar = tar::Archive::new(head.get(..512).unwrap_or_default());
    let entry = tar
        .entries()
        .ok()
        .and_then(|mut entries| entries.next())
        .and_then(Result::ok);
    Ok(entry.is_some_and(|entry| entry.header().entry_type().is_dir()))
}

/// Folder and name of an absolute path.
fn split(path: &str) -> (&str, String) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name.to_owned()),
        Some((folder, name)) => (folder, name.to_owned()),
        None => ("/", path.to_owned()),
    }
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

fn conflict(words: String) -> Failure {
    ErrorBody::new(ErrorCode::Conflict, words).into()
}

fn refuse(words: String) -> Failure {
    ErrorBody::new(ErrorCode::BadRequest, words).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_folder_and_a_name() {
        assert_eq!(split("/srv/www/page"), ("/srv/www", "page".to_owned()));
        assert_eq!(split("/page"), ("/", "page".to_owned()));
    }

    #[test]
    fn m4_only_what_was_asked_for_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let taken = |path: &str| {
            let names = came(folder.path(), path).expect("read");
            names
                .map(|names| names.len())
                .map_err(|failure| match failure {
                    Failure::Error(body) => body.message,
                    other => panic!("{other:?}"),
                })
        };
        let nothing = "the machine sent nothing for `/srv/page`: nothing was copied";
        assert_eq!(taken("/srv/page"), Err(nothing.to_owned()));
        std::fs::write(folder.path().join("page"), "x").expect("written");
        assert_eq!((taken("/srv/page"), taken("/srv/page/")), (Ok(1), Ok(1)));
        assert_eq!(taken("/srv/."), Ok(1));
        std::fs::write(folder.path().join(".bashrc"), "x").expect("written");
        let other = "the machine sent `.bashrc` for `/srv/page`: nothing was copied";
        assert_eq!(taken("/srv/page"), Err(other.to_owned()));
    }

    #[tokio::test]
    async fn a_tar_keeps_what_files_are() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let source = folder.path().join("source");
        std::fs::create_dir_all(source.join("below")).expect("made");
        std::fs::write(source.join("below/tool"), vec![7; 100_000]).expect("written");
        std::fs::set_permissions(
            source.join("below/tool"),
            std::fs::Permissions::from_mode(0o741),
        )
        .expect("set");
        std::os::unix::fs::symlink("below/tool", source.join("link")).expect("linked");
        assert!(size(&source).expect("a size") >= 100_000);
        let target = folder.path().join("target");
        std::fs::create_dir(&target).expect("made");
        let ((mut pieces, packing), (to, unpacking)) =
            (pack(source, "copy".to_owned()), unpack(target.clone()));
        while let Some(piece) = pieces.recv().await {
            to.send(piece).await.expect("it takes all");
        }
        drop(to);
        packing.await.expect("no panic").expect("packed");
        unpacking.await.expect("no panic").expect("unpacked");
        let tool = target.join("copy/below/tool");
        assert_eq!(
            std::fs::metadata(&tool)
                .expect("there")
                .permissions()
                .mode()
                & 0o7777,
            0o741
        );
        assert_eq!(std::fs::read(&tool).expect("there"), vec![7; 100_000]);
        assert_eq!(
            std::fs::read_link(target.join("copy/link")).expect("a link"),
            Path::new("below/tool")
        );
    }
}
