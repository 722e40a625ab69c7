//! A machine's tar as files in a temporary folder, on a thread of its own because writing blocks.
//!
//! The machine may be anybody's: only the entry that was asked for is taken, nothing is written
//! through a link, and no device, setuid bit or capability comes from it.

use super::tree::{Attributes, Folders};
use crate::pieces::{Inlet, WAITING};
use bytes::Bytes;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{
        AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat,
        chownat, fchmod, fchown, fsetxattr, futimens, linkat, mkdirat, mknodat, openat, statat,
        symlinkat, unlinkat, utimensat,
    },
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};
use tar::{Entry, EntryType};
use tokio::{sync::mpsc, task::JoinHandle};

/// Size of a block of zeros that becomes a hole, in bytes.
const BLOCK: usize = 4 << 10;
/// Name of the entry in the temporary folder.
pub(super) const ENTRY: &str = "entry";
/// Bits of a mode that a file from a machine keeps.
const KEPT: u32 = 0o1777;

/// A tar to take.
#[derive(Debug)]
pub(super) struct Unpacking {
    /// Temporary folder.
    pub(super) folder: PathBuf,
    /// Name of the only entry that is taken; `None` for the content of a folder.
    pub(super) asked: Option<OsString>,
    /// Files keep the owners that they have in the tar.
    pub(super) owners: bool,
}

/// Files that came.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    /// Folders, whose modes and times are set when everything is in its place.
    pub(super) folders: Folders,
    /// Entries that were left out, each with its reason.
    pub(super) left_out: Vec<String>,
    /// Number of files without their setuid and setgid bits or capabilities.
    pub(super) weakened: usize,
    /// Something came.
    pub(super) any: bool,
}

/// Reason for which a tar is not taken.
#[derive(Debug)]
pub(super) enum Untaken {
    /// It holds something that was not asked for.
    Other(String),
    Failed(io::Error),
}

impl From<io::Error> for Untaken {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Errno> for Untaken {
    fn from(error: Errno) -> Self {
        Self::Failed(error.into())
    }
}

/// Unpacks a tar. The thread ends at the end of the tar or when the sender is dropped.
pub(super) fn unpack(
    unpacking: Unpacking,
) -> (mpsc::Sender<Bytes>, JoinHandle<Result<Unpacked, Untaken>>) {
    let (to, pieces) = mpsc::channel(WAITING);
    let thread = tokio::task::spawn_blocking(move || {
        let mut inlet = Inlet::plain(pieces);
        let root = openat(CWD, &unpacking.folder, FOLDER, Mode::empty())?;
        let mut unpacker = Unpacker {
            root,
            unpacking: &unpacking,
            done: Unpacked::default(),
            parent: None,
        };
        for entry in tar::Archive::new(&mut inlet).entries()? {
            unpacker.take(&mut entry?)?;
        }
        // The padding at the end of a tar, which its reader ignores.
        io::copy(&mut inlet, &mut io::sink())?;
        Ok(unpacker.done)
    });
    (to, thread)
}

const FOLDER: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

struct Unpacker<'a> {
    root: OwnedFd,
    unpacking: &'a Unpacking,
    done: Unpacked,
    /// The folder of the last entry.
    parent: Option<(Vec<OsString>, OwnedFd)>,
}

impl Unpacker<'_> {
    fn take(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<(), Untaken> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            return Ok(());
        }
        let bytes = entry.path_bytes().into_owned();
        let mut names = self.names(&bytes)?;
        self.done.any = true;
        let own = names.pop().unwrap_or_default();
        self.enter(&names)?;
        let attributes = self.attributes(entry)?;
        let shown = || format!("`{}`", String::from_utf8_lossy(&bytes));
        match kind {
            EntryType::Directory => {
                self.folder(&names, &own, attributes)?;
                return Ok(());
            }
            EntryType::Char | EntryType::Block => {
                let line = format!("{}: a device", shown());
                self.done.left_out.push(line);
                return Ok(());
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.free(&own)?;
                return file(self.parent()?, &own, entry, &attributes);
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default();
                self.free(&own)?;
                symlinkat(OsStr::from_bytes(&target), self.parent()?, &own)?;
            }
            EntryType::Link => return self.link(entry, &names, &own),
            EntryType::Fifo => {
                self.free(&own)?;
                let (parent, mode) = (self.parent()?, Mode::from(0o600));
                mknodat(parent, &own, FileType::Fifo, mode, 0)?;
                chmodat(parent, &own, attributes.mode(), AtFlags::empty())?;
            }
            _ => {
                let line = format!("{}: of an unknown kind", shown());
                self.done.left_out.push(line);
                return Ok(());
            }
        }
        let parent = self.parent()?;
        if let Some((user, group)) = attributes.owner {
            chownat(
                parent,
                &own,
                Some(user),
                Some(group),
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
        }
        utimensat(parent, &own, &attributes.times(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    /// Names of the folders down to an entry, and its own, in the temporary folder.
    fn names(&self, path: &[u8]) -> Result<Vec<OsString>, Untaken> {
        let shown = || Untaken::Other(String::from_utf8_lossy(path).into_owned());
        let mut names = path
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty() && *name != b".");
        if let Some(asked) = &self.unpacking.asked
            && names.next() != Some(asked.as_bytes())
        {
            return Err(shown());
        }
        let mut all = vec![OsString::from(ENTRY)];
        for name in names {
            if name == b".." {
                return Err(shown());
            }
            all.push(OsStr::from_bytes(name).to_owned());
        }
        Ok(all)
    }

    /// Opens the folder of an entry, and makes it if the tar has no entry of it. Links are not
    /// followed.
    fn enter(&mut self, names: &[OsString]) -> Result<(), Untaken> {
        if self.parent.as_ref().is_some_and(|(open, _)| open == names) {
            return Ok(());
        }
        let mut folder = openat(&self.root, ".", FOLDER, Mode::empty())?;
        for name in names {
            match mkdirat(&folder, name, Mode::from(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            folder = openat(&folder, name, FOLDER, Mode::empty())?;
        }
        self.parent = Some((names.to_vec(), folder));
        Ok(())
    }

    fn parent(&self) -> Result<BorrowedFd<'_>, Untaken> {
        match &self.parent {
            Some((_, folder)) => Ok(folder.as_fd()),
            None => Ok(self.root.as_fd()),
        }
    }

    /// Removes an entry of the same name.
    fn free(&self, own: &OsStr) -> Result<(), Untaken> {
        match unlinkat(self.parent()?, own, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn folder(
        &mut self,
        names: &[OsString],
        own: &OsStr,
        attributes: Attributes,
    ) -> Result<(), Untaken> {
        let parent = self.parent()?;
        match statat(parent, own, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {}
            Ok(_) => return Err(Untaken::Failed(io::ErrorKind::NotADirectory.into())),
            Err(_) => mkdirat(parent, own, Mode::from(0o700))?,
        }
        let names = names.iter().map(OsString::as_os_str).chain([own]);
        // Without the name of the entry itself.
        self.done.folders.add(names.skip(1).collect(), attributes);
        Ok(())
    }

    fn link(
        &mut self,
        entry: &Entry<'_, impl Read>,
        names: &[OsString],
        own: &OsStr,
    ) -> Result<(), Untaken> {
        let target = entry.link_name_bytes().unwrap_or_default().into_owned();
        let mut target = self.names(&target)?;
        let name = target.pop().unwrap_or_default();
        self.enter(&target)?;
        let from = self.parent.take();
        self.enter(names)?;
        self.free(own)?;
        let from = from
            .as_ref()
            .map_or(self.root.as_fd(), |(_, folder)| folder.as_fd());
        linkat(from, &name, self.parent()?, own, AtFlags::empty())?;
        Ok(())
    }

    /// Attributes that an entry keeps here.
    fn attributes(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<Attributes, Untaken> {
        let mut extended = Vec::new();
        let mut is_weakened = false;
        for pair in entry.pax_extensions()?.into_iter().flatten() {
            let pair = pair?;
            let Some(name) = pair
                .key()
                .ok()
                .and_then(|key| key.strip_prefix("SCHILY.xattr."))
            else {
                continue;
            };
            if name.starts_with("user.") {
                extended.push((name.to_owned(), pair.value_bytes().to_vec()));
            }
            is_weakened |= name == "security.capability";
        }
        let header = entry.header();
        let mode = header.mode()?;
        // A set group of a folder only hands its group on.
        is_weakened |= mode & 0o6000 != 0 && header.entry_type().is_file();
        self.done.weakened += usize::from(is_weakened);
        let number = |id: u64| u32::try_from(id).map_err(io::Error::other);
        let owner = match self.unpacking.owners {
            true => Some((
                Uid::from_raw(number(header.uid()?)?),
                Gid::from_raw(number(header.gid()?)?),
            )),
            false => None,
        };
        Ok(Attributes {
            mode: mode & KEPT,
            modified: header.mtime()?.try_into().unwrap_or_default(),
            owner,
            extended,
        })
    }
}

/// Writes a file. Blocks of zeros become holes.
fn file(
    parent: BorrowedFd<'_>,
    own: &OsStr,
    entry: &mut Entry<'_, impl Read>,
    attributes: &Attributes,
) -> Result<(), Untaken> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(parent, own, flags, Mode::from(0o600))?);
    let size = entry.size();
    let written = write_with_holes(entry, &mut file)?;
    if written != size {
        return Err(Untaken::Failed(io::ErrorKind::UnexpectedEof.into()));
    }
    file.set_len(written)?;
    attributes.apply(&file)?;
    Ok(())
}

fn write_with_holes(from: &mut impl Read, file: &mut (impl Write + Seek)) -> io::Result<u64> {
    let mut block = [0; BLOCK];
    let mut written = 0;
    loop {
        let mut length = 0;
        while length < BLOCK {
            match from.read(&mut block[length..])? {
                0 => break,
                more => length += more,
            }
        }
        if block[..length].iter().all(|byte| *byte == 0) {
            file.seek(SeekFrom::Current(length as i64))?;
        } else {
            file.write_all(&block[..length])?;
        }
        written += length as u64;
        if length < BLOCK {
            return Ok(written);
        }
    }
}

impl Attributes {
    fn mode(&self) -> Mode {
        Mode::from(self.mode)
    }

    fn times(&self) -> Timestamps {
        let modified = Timespec {
            tv_sec: self.modified,
            tv_nsec: 0,
        };
        Timestamps {
            last_access: modified,
            last_modification: modified,
        }
    }

    /// Sets the attributes of an open file or folder.
    pub(super) fn apply(&self, file: &impl AsFd) -> io::Result<()> {
        if let Some((user, group)) = self.owner {
            fchown(file, Some(user), Some(group))?;
        }
        for (name, value) in &self.extended {
            match fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
                // Not every file system has them.
                Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        fchmod(file, self.mode())?;
        futimens(file, &self.times())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
