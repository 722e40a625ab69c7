//! Repacking of a context for the engine: every entry is inspected, and written as a plain tar.

use super::{
    format::{Format, detect},
    inspect::{Entry, Inspector, Kind, Limits, Refusal},
};
use crate::pieces::Valve;
use flate2::read::MultiGzDecoder;
use std::{
    cell::Cell,
    ffi::OsStr,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
};

/// Upper bound for what is read between two entries, in bytes: long names, extended headers and
/// maps of sparse files, which the tar library holds in memory.
const BETWEEN: u64 = 1 << 20;
/// Upper bound for the padding after the last entry that is read, in bytes.
const PADDING: u64 = 16 << 20;

/// A context that was not repacked.
#[derive(Debug, thiserror::Error)]
pub enum RepackError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the context is compressed with {0}, which is not read here; send a plain or gzip tar")]
    Format(Format),
    #[error("the context is no valid tar: {0}")]
    Malformed(io::Error),
    /// The sender broke off.
    #[error("the context broke off: {0}")]
    Cut(io::Error),
    /// The engine reads no more; it says why.
    #[error("the engine does not take the context")]
    Closed,
}

impl RepackError {
    pub(crate) fn reading(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionAborted => Self::Cut(error),
            _ => Self::Malformed(error),
        }
    }
}

/// Reads a tar, plain or gzip, and writes the inspected entries. Blocks. An error of `from` with the
/// kind `ConnectionAborted` means that the sender broke off. Returns the bytes of all files.
///
/// # Errors
/// See [`RepackError`]. Something may have been written.
pub fn repack(
    from: impl Read,
    to: impl Write,
    dockerfile: &str,
    limits: Limits,
) -> Result<u64, RepackError> {
    let shut = Cell::new(true);
    let mut inspector = Inspector::new(dockerfile, limits);
    let mut tar = tar::Builder::new(Valve::new(to, &shut));
    each_entry::<RepackError>(from, &mut inspector, |entry, name| {
        shut.set(false);
        copy_entry(entry, &mut tar, &name, None)?;
        shut.set(true);
        Ok(())
    })?;
    inspector.finish()?;
    shut.set(false);
    let mut to = tar.into_inner().map_err(|_| RepackError::Closed)?;
    to.flush().map_err(|_| RepackError::Closed)?;
    Ok(inspector.unpacked())
}

/// Reads a tar, plain or gzip, and passes on each inspected entry with the name that
/// [`Inspector::admit`] returns. Blocks. The content must be read at once, or not at all if it is
/// small.
///
/// # Errors
/// See [`RepackError`]; and those of `take`.
pub fn each_entry<E: From<RepackError>>(
    from: impl Read,
    inspector: &mut Inspector,
    mut take: impl FnMut(&mut tar::Entry<'_, Plain<'_>>, Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let (received, budget) = (Cell::new(0), Cell::new(None));
    let counted = Counted {
        from,
        count: &received,
    };
    let (format, whole) = detect(counted).map_err(RepackError::reading)?;
    let plain: Box<dyn Read + '_> = match format {
        Format::Plain => Box::new(whole),
        Format::Gzip => Box::new(MultiGzDecoder::new(whole)),
        other => return Err(RepackError::Format(other).into()),
    };
    let mut archive = tar::Archive::new(Metered {
        from: plain,
        budget: &budget,
    });
    budget.set(Some(BETWEEN));
    let mut entries = archive.entries().map_err(RepackError::reading)?;
    loop {
        budget.set(Some(BETWEEN));
        let Some(entry) = entries.next() else { break };
        budget.set(None);
        let mut entry = entry.map_err(RepackError::reading)?;
        if entry.header().entry_type().is_pax_global_extensions() {
            budget.set(Some(BETWEEN));
            io::copy(&mut entry, &mut io::sink()).map_err(RepackError::reading)?;
            continue;
        }
        let name = admit(inspector, &entry, received.get()).map_err(RepackError::from)?;
        take(&mut entry, name)?;
    }
    budget.set(None);
    io::copy(&mut archive.into_inner().take(PADDING), &mut io::sink())
        .map_err(RepackError::reading)?;
    Ok(())
}

/// Inspects an entry; see [`Inspector::admit`].
///
/// # Errors
/// See [`Refusal`].
pub fn admit<R: Read>(
    inspector: &mut Inspector,
    entry: &tar::Entry<'_, R>,
    received: u64,
) -> Result<Vec<u8>, Refusal> {
    let (kind, name, target) = (
        kind(entry.header().entry_type()),
        entry.path_bytes(),
        entry.link_name_bytes(),
    );
    let size = if kind == Kind::File { entry.size() } else { 0 };
    let entry = Entry {
        kind,
        name: &name,
        target: target.as_deref(),
        size,
    };
    inspector.admit(&entry, received)
}

fn kind(letter: tar::EntryType) -> Kind {
    use tar::EntryType;
    match letter {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::Hardlink,
        EntryType::Char | EntryType::Block => Kind::Device,
        EntryType::Fifo => Kind::Fifo,
        other => Kind::Other(other.as_byte()),
    }
}

/// Writes an entry under this name, with its content, owner, mode, time and extended attributes. The
/// root of the archive, which has the empty name, is left out. `target`: that of a link, if it is
/// not the entry's own.
///
/// # Errors
/// [`RepackError::Malformed`], [`RepackError::Cut`] or [`RepackError::Closed`].
pub fn copy_entry<R: Read, W: Write>(
    entry: &mut tar::Entry<'_, R>,
    to: &mut tar::Builder<W>,
    name: &[u8],
    target: Option<&[u8]>,
) -> Result<(), RepackError> {
    if name.is_empty() {
        return Ok(());
    }
    let attributes = attributes(entry).map_err(RepackError::reading)?;
    let mut header = header(entry);
    let path = Path::new(OsStr::from_bytes(name));
    if !attributes.is_empty() {
        let pairs = attributes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice()));
        to.append_pax_extensions(pairs)
            .map_err(|_| RepackError::Closed)?;
    }
    let kind = header.entry_type();
    if kind.is_hard_link() || kind.is_symlink() {
        let own = entry.link_name_bytes().unwrap_or_default();
        let target = target.unwrap_or(&own);
        return to
            .append_link(&mut header, path, Path::new(OsStr::from_bytes(target)))
            .map_err(writing);
    }
    let size = header.entry_size().unwrap_or(0);
    let mut content = Whole::new(entry, size);
    let written = to.append_data(&mut header, path, &mut content);
    match content.failed {
        Some(error) => Err(RepackError::reading(error)),
        None => written.map_err(writing),
    }
}

fn writing(error: io::Error) -> RepackError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => RepackError::Closed,
        _ => RepackError::Malformed(error),
    }
}

/// A header with the entry's owner, mode and time. A sparse file becomes a plain one.
/// Absent numbers are those of root, as tar itself reads them.
fn header<R: Read>(entry: &tar::Entry<'_, R>) -> tar::Header {
    let old = entry.header();
    let mut header = tar::Header::new_gnu();
    let kind = match kind(old.entry_type()) {
        Kind::File => tar::EntryType::Regular,
        _ => old.entry_type(),
    };
    header.set_entry_type(kind);
    header.set_size(if kind.is_file() { entry.size() } else { 0 });
    header.set_mode(old.mode().unwrap_or(0o644));
    header.set_uid(old.uid().unwrap_or(0));
    header.set_gid(old.gid().unwrap_or(0));
    header.set_mtime(old.mtime().unwrap_or(0));
    header
}

/// Extended attributes, such as file capabilities.
fn attributes<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut attributes = Vec::new();
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(attributes);
    };
    for extension in extensions {
        let extension = extension?;
        let key = extension.key_bytes();
        if key.starts_with(b"GNU.sparse.") {
            return Err(io::Error::other(
                "it has a sparse file in a format of its own; pack it without `--sparse`",
            ));
        }
        if key.starts_with(b"SCHILY.xattr.") {
            let key = String::from_utf8_lossy(key).into_owned();
            attributes.push((key, extension.value_bytes().to_vec()));
        }
    }
    Ok(attributes)
}

/// Content of an entry, which must be as long as its header says.
pub(crate) struct Whole<R> {
    from: R,
    left: u64,
    /// The error of reading, which the tar library does not tell from one of writing.
    pub(crate) failed: Option<io::Error>,
}

impl<R: Read> Whole<R> {
    pub(crate) fn new(from: R, size: u64) -> Self {
        Self {
            from,
            left: size,
            failed: None,
        }
    }
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match self.from.read(into) {
            Ok(0) if self.left > 0 && !into.is_empty() => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it ends within a file",
            )),
            read => read,
        };
        match read {
            Ok(length) => {
                self.left = self.left.saturating_sub(length as u64);
                Ok(length)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}

/// Counts what is read.
struct Counted<'a, R> {
    from: R,
    count: &'a Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(into)?;
        self.count.set(self.count.get() + length as u64);
        Ok(length)
    }
}

/// The plain tar of an archive.
pub type Plain<'a> = Metered<'a, Box<dyn Read + 'a>>;

/// Refuses to read beyond a budget, where there is one.
pub struct Metered<'a, R> {
    from: R,
    budget: &'a Cell<Option<u64>>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(into)?;
        if let Some(budget) = self.budget.get() {
            let left = budget
                .checked_sub(length as u64)
                .ok_or_else(|| io::Error::other("a header of more than 1 MiB"))?;
            self.budget.set(Some(left));
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
