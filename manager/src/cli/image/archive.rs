//! `micado image export` and `micado image import`: archives of `docker save`.

use crate::cli::{
    args::{ExportImageArgs, ImportImageArgs},
    failure::Failure,
    outlet::{self, Said},
    page::Page,
    printer::Printer,
    signals::interrupted,
    terminal::read_input,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use indicatif::ProgressBar;
use micado_api::{
    Client, ClientError, ErrorBody, ErrorCode, ImportEvent, ImportQuery, ImportedView, MemoryBytes,
};
use serde::Serialize;
use std::{
    io::{self, IsTerminal, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    pin::pin,
};
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

/// Standard input or output, as an archive.
const STREAM: &str = "-";
/// Size of a piece that is read, in bytes.
const PIECE: usize = 64 << 10;

/// An archive that was written.
#[derive(Serialize)]
struct Exported<'a> {
    image: &'a str,
    file: String,
    bytes: u64,
}

pub(super) async fn export(
    args: ExportImageArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let image = args.name.as_str();
    let Some(path) = args
        .file
        .as_deref()
        .filter(|file| *file != Path::new(STREAM))
    else {
        if io::stdout().is_terminal() {
            let message = "the archive goes to standard output, which is a terminal here";
            return Err(ErrorBody::new(ErrorCode::BadRequest, message)
                .hint("`-o FILE` writes it to a file")
                .into());
        }
        let mut pieces = pin!(client.export_image(image).await?);
        return outlet::write_all(async move |to| pass(&mut pieces, to).await).await;
    };
    check_target(path, args.force)?;
    let pieces = client.export_image(image).await?;
    let bar = printer.bytes(None);
    let bytes = tokio::select! {
        written = to_file(pieces, path, args.force, &bar) => written?,
        () = interrupted() => {
            let message = format!("interrupted: `{}` was not written", path.display());
            return Err(Failure::Interrupted(message));
        }
    };
    bar.finish_and_clear();
    let file = path.display().to_string();
    let size = MemoryBytes(bytes);
    printer.note(&format!("exported `{image}` to {file}, {size}"));
    let exported = Exported { image, file, bytes };
    Ok(printer.data(&exported, Page::default)?)
}

async fn pass(
    pieces: &mut (impl Stream<Item = Result<Bytes, ClientError>> + Unpin),
    to: mpsc::Sender<Said>,
) -> Result<(), Failure> {
    while let Some(piece) = pieces.try_next().await? {
        // A failure to write is reported by its thread.
        drop(to.send(Said::Out(piece)).await);
    }
    Ok(())
}

/// Refuses to write in place of anything but a file, and of a file unless `force` is set.
fn check_target(path: &Path, force: bool) -> Result<(), Failure> {
    let refusal = |message: String, hint: &str| {
        Err(ErrorBody::new(ErrorCode::Conflict, message)
            .hint(hint)
            .into())
    };
    let shown = path.display();
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() => refusal(
            format!("`{shown}` exists and is no file"),
            "`-o -` writes to standard output",
        ),
        Ok(_) if !force => refusal(format!("`{shown}` exists already"), "`--force` replaces it"),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Writes a file beside its place, and moves it there once it is complete. Returns its size.
async fn to_file(
    pieces: impl Stream<Item = Result<Bytes, ClientError>>,
    path: &Path,
    force: bool,
    bar: &ProgressBar,
) -> Result<u64, Failure> {
    let unwritable = |error: io::Error| {
        let message = format!("cannot write `{}`: {error}", path.display());
        ErrorBody::new(ErrorCode::Unsatisfiable, message)
    };
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .prefix(".micado-")
        // As any new file: less what the process's mask takes away.
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(unwritable)?;
    let (mut pieces, mut bytes) = (pin!(pieces), 0);
    while let Some(piece) = pieces.try_next().await? {
        file.write_all(&piece).map_err(unwritable)?;
        let length = piece.len() as u64;
        bytes += length;
        bar.inc(length);
    }
    file.as_file().sync_all().map_err(unwritable)?;
    let kept = match force {
        true => file.persist(path),
        false => file.persist_noclobber(path),
    };
    kept.map_err(|error| unwritable(error.error))?;
    Ok(bytes)
}

pub(super) async fn import(
    args: ImportImageArgs,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    let query = ImportQuery {
        name: args.name,
        force: args.force,
    };
    let (pieces, size) = open(args.file.as_deref()).await?;
    let bar = printer.bytes(size);
    let sent = bar.clone();
    let pieces = pieces.inspect_ok(move |piece| sent.inc(piece.len() as u64));
    let imported = async {
        let events = client.import_images(&query, pieces).await?;
        last(events, printer, &bar).await
    }
    .await;
    bar.finish_and_clear();
    let images = imported?;
    for ImportedView {
        image, unchanged, ..
    } in &images
    {
        printer.note(&match unchanged {
            true => format!("unchanged: `{image}`"),
            false => format!("imported `{image}`; `micado launch -i {image} -n CLIENT` runs it"),
        });
    }
    let page = || {
        let tags = images.iter().map(|image| &image.tag);
        tags.fold(Page::default(), |page, tag| page.line(tag))
    };
    Ok(printer.data(&images, page)?)
}

/// Pieces of an archive, and its size if that is known.
async fn open(
    path: Option<&Path>,
) -> Result<(BoxStream<'static, io::Result<Bytes>>, Option<u64>), Failure> {
    let Some(path) = path.filter(|path| *path != Path::new(STREAM)) else {
        if io::stdin().is_terminal() {
            let message = "the archive comes from standard input, which is a terminal here";
            return Err(ErrorBody::new(ErrorCode::BadRequest, message)
                .hint("`-f FILE` reads a file")
                .into());
        }
        let input = tokio_stream::wrappers::ReceiverStream::new(read_input());
        return Ok((input.map(Ok).boxed(), None));
    };
    let unreadable = |error: io::Error| {
        let message = format!("cannot read `{}`: {error}", path.display());
        ErrorBody::new(ErrorCode::Unsatisfiable, message)
    };
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let found = file.metadata().await.map_err(unreadable)?;
    if found.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()).into());
    }
    let size = found.is_file().then_some(found.len());
    Ok((ReaderStream::with_capacity(file, PIECE).boxed(), size))
}

/// Prints the events, and returns the images.
async fn last(
    events: impl Stream<Item = Result<ImportEvent, ClientError>>,
    printer: &Printer,
    bar: &ProgressBar,
) -> Result<Vec<ImportedView>, Failure> {
    let (mut events, mut ahead_before) = (pin!(events), None);
    while let Some(event) = events.try_next().await? {
        let text = match &event {
            ImportEvent::Queued { ahead } => {
                let before = ahead_before.replace(*ahead);
                let builds = if *ahead == 1 { "build" } else { "builds" };
                (before != Some(*ahead)).then(|| format!("waiting: {ahead} {builds} before it"))
            }
            ImportEvent::Loading => {
                bar.finish_and_clear();
                Some("the engine loads the archive".to_owned())
            }
            ImportEvent::Pushing { image } => Some(format!("pushing `{image}`")),
            ImportEvent::Imported { .. } | ImportEvent::Failed { .. } => None,
        };
        bar.suspend(|| printer.line(&event, text.as_deref()));
        match event {
            ImportEvent::Imported { images } => return Ok(images),
            ImportEvent::Failed { error } => return Err(error.into()),
            _ => {}
        }
    }
    let message = "the manager ended before the import did";
    Err(ErrorBody::new(ErrorCode::Unavailable, message)
        .hint("repeat the import")
        .into())
}
