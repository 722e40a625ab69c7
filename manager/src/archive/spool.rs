//! The file that an archive is kept in until the engine has loaded it. It has no name in its folder,
//! and so it goes with the process that holds it.

use super::{
    names,
    read::{self, ArchiveError, Facts, LIMITS},
};
use crate::{engine::EngineError, pieces::PIECE, registry::check_folder};
use micado_api::{ErrorBody, ErrorCode, Platform};
use std::{
    cell::RefCell,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    path::Path,
};

/// Bytes that are written between two looks at the disk.
const STEP: u64 = 64 << 20;

/// An archive without names that the engine may load.
#[derive(Debug)]
pub(super) struct Spool {
    pub(super) file: File,
    pub(super) images: Vec<Found>,
}

/// An image of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) platform: Platform,
    /// The names that it gets, as `NAME:TAG`.
    pub(super) names: Vec<String>,
}

/// Checks that the disk has room for an archive.
///
/// # Errors
/// `Refused` with the free space.
pub(super) fn check_room(folder: &Path) -> Result<(), EngineError> {
    check_folder(folder, "the manager's state folder")
}

/// Receives an archive and keeps what the engine may read of it in a file of this folder. `name`: of
/// its one image, in place of those in the archive. Blocks.
///
/// # Errors
/// `Unsatisfiable` for a refused archive, or if the disk is too full; `Unavailable` if it broke off
/// or cannot be written.
pub(super) fn receive(
    from: impl Read,
    folder: &Path,
    name: Option<&str>,
) -> Result<Spool, ErrorBody> {
    let unwritable = |error: io::Error| {
        let message = format!("the archive cannot be kept in the state folder: {error}");
        ErrorBody::new(ErrorCode::Unavailable, message)
    };
    let file = tempfile::tempfile_in(folder).map_err(unwritable)?;
    let fault = RefCell::new(None);
    let guarded = Guarded {
        file: &file,
        folder,
        until_look: STEP,
        fault: &fault,
    };
    let to = BufWriter::with_capacity(PIECE, guarded);
    let items = read::strip(from, to, LIMITS).map_err(|error| match error {
        ArchiveError::Unwritable => fault.take().unwrap_or_else(|| error.into()),
        error => error.into(),
    })?;
    let given = names::given(&items, name)?;
    let mut reader = &file;
    reader.rewind().map_err(unwritable)?;
    let facts = read::facts(BufReader::with_capacity(PIECE, reader), &items, LIMITS)?;
    reader.rewind().map_err(unwritable)?;
    let found = |(Facts { id, platform }, names)| Found {
        id,
        platform,
        names,
    };
    let images = facts.into_iter().zip(given).map(found).collect();
    Ok(Spool { file, images })
}

/// Writes to a file while its disk has room. The tar library gets an error of the kind
/// `BrokenPipe`; the cause is in `fault`.
struct Guarded<'a> {
    file: &'a File,
    folder: &'a Path,
    until_look: u64,
    fault: &'a RefCell<Option<ErrorBody>>,
}

impl Guarded<'_> {
    fn fail(&self, code: ErrorCode, message: String) -> io::Error {
        self.fault.replace(Some(ErrorBody::new(code, message)));
        io::ErrorKind::BrokenPipe.into()
    }
}

impl Write for Guarded<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.until_look == 0 {
            check_room(self.folder)
                .map_err(|error| self.fail(ErrorCode::Unsatisfiable, error.to_string()))?;
            self.until_look = STEP;
        }
        let written = self.file.write(data).map_err(|error| {
            let message = format!("the archive cannot be kept in the state folder: {error}");
            self.fail(ErrorCode::Unavailable, message)
        })?;
        self.until_look = self.until_look.saturating_sub(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
