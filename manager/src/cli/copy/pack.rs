//! Files as a tar stream, on a thread of its own because reading blocks.

use crate::pieces::{Outlet, PIECE, Valve, WAITING};
use bytes::Bytes;
use micado_api::HiddenMount;
use rustix::fs::{FileType, Mode, OFlags, lgetxattr, llistxattr, major, minor, open};
use std::{
    cell::Cell,
    collections::HashMap,
    ffi::OsString,
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Component, Path, PathBuf},
};
use tar::{EntryType, Header};
use tokio::{sync::mpsc, task::JoinHandle};

/// Length of a name in a tar's header, in bytes. Longer ones go before it.
const NAME: usize = 100;
/// Upper bound for a value of an extended attribute, in bytes.
const ATTRIBUTE: usize = 64 << 10;

/// Files to pack.
#[derive(Debug)]
pub(super) struct Packing {
    /// Path of the entry.
    pub(super) source: PathBuf,
    /// Name in the tar.
    pub(super) name: PathBuf,
    /// Only what is in the folder, without an entry of its own.
    pub(super) is_content: bool,
    /// The container's folder in which the tar is unpacked.
    pub(super) folder: PathBuf,
    /// Mounts of the container that no copy reaches.
    pub(super) hidden: Vec<HiddenMount>,
}

/// Sums of an entry and all below it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Size of the files, in bytes.
    pub(super) size: u64,
    /// A link leads out of the folder in which the entry is unpacked. The engine refuses such a
    /// link below any folder except the root.
    pub(super) escapes: bool,
}

impl Survey {
    /// Looks at an entry with this name.
    pub(super) fn of(source: &Path, name: &Path) -> io::Result<Self> {
        let mut survey = Self::default();
        survey.add(source, name.components().count())?;
        Ok(survey)
    }

    fn add(&mut self, path: &Path, depth: usize) -> io::Result<()> {
        let meta = path.symlink_metadata()?;
        if meta.is_symlink() {
            self.escapes |= leads_out(&fs::read_link(path)?, depth.saturating_sub(1));
        } else if meta.is_file() {
            self.size += meta.len();
        } else if meta.is_dir() {
            // A folder that cannot be read is reported when it is packed.
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                // An entry may vanish meanwhile.
                drop(self.add(&entry.path(), depth + 1));
            }
        }
        Ok(())
    }
}

/// True for a link that leads above the folder which is this many folders above the link's own.
fn leads_out(target: &Path, depth: usize) -> bool {
    let mut depth = Some(depth);
    for part in target.components() {
        depth = match part {
            Component::ParentDir => depth.and_then(|depth| depth.checked_sub(1)),
            Component::Normal(_) => depth.map(|depth| depth + 1),
            _ => depth,
        };
    }
    depth.is_none()
}

/// Packs files. The thread returns the entries that it left out, each with its reason.
pub(super) fn pack(
    packing: Packing,
) -> (mpsc::Receiver<Bytes>, JoinHandle<io::Result<Vec<String>>>) {
    let (to, pieces) = mpsc::channel(WAITING);
    let thread = tokio::task::spawn_blocking(move || {
        let shut = Cell::new(false);
        let out = io::BufWriter::with_capacity(PIECE, Outlet::plain(to));
        let mut packer = Packer {
            tar: tar::Builder::new(Valve::new(out, &shut)),
            packing: &packing,
            seen: HashMap::new(),
            left_out: Vec::new(),
        };
        let packed = packer.add(&packing.source, &packing.name);
        shut.set(packed.is_err());
        let left_out = std::mem::take(&mut packer.left_out);
        let end = packer.tar.into_inner().and_then(|mut out| out.flush());
        packed.and(end).map(|()| left_out)
    });
    (pieces, thread)
}

struct Packer<'a, W: Write> {
    tar: tar::Builder<W>,
    packing: &'a Packing,
    /// Names of files with several links, by device and number.
    seen: HashMap<(u64, u64), PathBuf>,
    left_out: Vec<String>,
}

impl<W: Write> Packer<'_, W> {
    /// Adds an entry and all below it. Fails only if the tar cannot be written.
    fn add(&mut self, path: &Path, name: &Path) -> io::Result<()> {
        let meta = match path.symlink_metadata() {
            Ok(meta) => meta,
            Err(error) => return self.leave_out(path, &error.to_string()),
        };
        let there = self.packing.folder.join(name);
        let holders = self.packing.hidden.iter();
        let holders = holders.filter(|mount| there.to_str().is_some_and(|path| mount.holds(path)));
        let holder = holders.max_by_key(|mount| mount.path.len());
        if let Some(mount) = holder {
            let reason = format!(
                "goes to `{}`, a mount ({}) of the running container that no copy can see",
                mount.path, mount.kind
            );
            return self.leave_out(path, &reason);
        }
        match kind(&meta) {
            Some(EntryType::Regular) => self.file(path, name),
            Some(kind @ EntryType::Symlink) => match fs::read_link(path) {
                Ok(target) => self.entry(path, name, &meta, kind, target.as_os_str().as_bytes()),
                Err(error) => self.leave_out(path, &error.to_string()),
            },
            Some(EntryType::Directory) => self.folder(path, name, &meta),
            Some(special) => self.entry(path, name, &meta, special, b""),
            None => self.leave_out(path, "a socket"),
        }
    }

    fn folder(&mut self, path: &Path, name: &Path, meta: &Metadata) -> io::Result<()> {
        let names = fs::read_dir(path).and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.file_name()))
                .collect::<io::Result<Vec<OsString>>>()
        });
        let mut names = match names {
            Ok(names) => names,
            Err(error) => return self.leave_out(path, &error.to_string()),
        };
        if path != self.packing.source || !self.packing.is_content {
            self.entry(path, name, meta, EntryType::Directory, b"")?;
        }
        names.sort_unstable();
        for own in names {
            self.add(&path.join(&own), &name.join(&own))?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, name: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = open(path, flags, Mode::empty()).map(File::from);
        let (file, meta) = match opened
            .map_err(io::Error::from)
            .and_then(|file| file.metadata().map(|meta| (file, meta)))
        {
            Ok((_, meta)) if !meta.is_file() => {
                return self.leave_out(path, "was exchanged while it was read");
            }
            Ok(opened) => opened,
            Err(error) => return self.leave_out(path, &error.to_string()),
        };
        if meta.nlink() > 1 {
            let first = self.seen.get(&(meta.dev(), meta.ino())).cloned();
            if let Some(first) = first {
                return self.entry(
                    path,
                    name,
                    &meta,
                    EntryType::Link,
                    first.as_os_str().as_bytes(),
                );
            }
            self.seen.insert((meta.dev(), meta.ino()), name.to_owned());
        }
        self.attributes(path)?;
        let mut header = self.header(name, &meta, EntryType::Regular)?;
        header.set_size(meta.len());
        header.set_cksum();
        let mut content = Exact {
            file,
            left: meta.len(),
            shortened: None,
        };
        self.tar.append(&header, &mut content)?;
        match content.shortened {
            Some(reason) => self.leave_out(path, &reason),
            None => Ok(()),
        }
    }

    /// Adds an entry without content.
    fn entry(
        &mut self,
        path: &Path,
        name: &Path,
        meta: &Metadata,
        kind: EntryType,
        link: &[u8],
    ) -> io::Result<()> {
        if kind == EntryType::Directory {
            self.attributes(path)?;
        }
        if link.len() > NAME {
            self.long(EntryType::GNULongLink, link)?;
        }
        let mut header = self.header(name, meta, kind)?;
        header.set_link_name_literal(&link[..link.len().min(NAME)])?;
        if matches!(kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(major(meta.rdev()))?;
            header.set_device_minor(minor(meta.rdev()))?;
        }
        header.set_cksum();
        self.tar.append(&header, io::empty())
    }

    fn header(&mut self, name: &Path, meta: &Metadata, kind: EntryType) -> io::Result<Header> {
        let bytes = name.as_os_str().as_bytes();
        if bytes.len() > NAME {
            self.long(EntryType::GNULongName, bytes)?;
        }
        let mut header = Header::new_gnu();
        let length = bytes.len().min(NAME);
        header.as_old_mut().name[..length].copy_from_slice(&bytes[..length]);
        header.set_entry_type(kind);
        header.set_mode(meta.mode() & 0o7777);
        header.set_uid(meta.uid().into());
        header.set_gid(meta.gid().into());
        header.set_mtime(meta.mtime().try_into().unwrap_or_default());
        header.set_size(0);
        Ok(header)
    }

    /// A name for the next header.
    fn long(&mut self, kind: EntryType, name: &[u8]) -> io::Result<()> {
        const OF_THE_FORMAT: &[u8] = b"././@LongLink";
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..OF_THE_FORMAT.len()].copy_from_slice(OF_THE_FORMAT);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(name.len() as u64 + 1);
        header.set_cksum();
        self.tar.append(&header, [name, b"\0"].concat().as_slice())
    }

    /// Extended attributes for the next header: the user's, and the capabilities of programs.
    fn attributes(&mut self, path: &Path) -> io::Result<()> {
        let attributes: Vec<(String, Vec<u8>)> = names_of_attributes(path)
            .into_iter()
            .filter(|name| name.starts_with("user.") || name == "security.capability")
            .filter_map(|name| {
                let mut value = vec![0; ATTRIBUTE];
                let length = lgetxattr(path, name.as_str(), value.as_mut_slice()).ok()?;
                value.truncate(length);
                Some((format!("SCHILY.xattr.{name}"), value))
            })
            .collect();
        let pairs = attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        self.tar.append_pax_extensions(pairs)
    }

    fn leave_out(&mut self, path: &Path, reason: &str) -> io::Result<()> {
        self.left_out
            .push(format!("`{}`: {reason}", path.display()));
        Ok(())
    }
}

fn names_of_attributes(path: &Path) -> Vec<String> {
    let mut names = vec![0; ATTRIBUTE];
    // Many file systems have none.
    let length = llistxattr(path, names.as_mut_slice()).unwrap_or_default();
    names[..length]
        .split(|byte| *byte == 0)
        .filter_map(|name| Some(std::str::from_utf8(name).ok()?.to_owned()))
        .collect()
}

/// Kind of an entry in a tar; `None` for a socket.
fn kind(meta: &Metadata) -> Option<EntryType> {
    Some(match FileType::from_raw_mode(meta.mode()) {
        FileType::RegularFile => EntryType::Regular,
        FileType::Directory => EntryType::Directory,
        FileType::Symlink => EntryType::Symlink,
        FileType::Fifo => EntryType::Fifo,
        FileType::CharacterDevice => EntryType::Char,
        FileType::BlockDevice => EntryType::Block,
        FileType::Socket | FileType::Unknown => return None,
    })
}

/// Content of a file with exactly this many bytes: zeros follow a file that becomes shorter while
/// it is read.
struct Exact {
    file: File,
    left: u64,
    shortened: Option<String>,
}

impl Read for Exact {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let length = match self.shortened {
            Some(_) => 0,
            None => match self.file.read(&mut into[..most]) {
                Ok(0) => {
                    self.shortened = Some("became shorter while it was read".to_owned());
                    0
                }
                Ok(length) => length,
                Err(error) => {
                    self.shortened = Some(format!("is not complete: {error}"));
                    0
                }
            },
        };
        if length == 0 {
            into[..most].fill(0);
        }
        let length = if length == 0 { most } else { length };
        self.left -= length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
