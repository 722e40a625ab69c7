//! A complete copy, moved to its place: into a folder that may hold files of the same names, or
//! under a name.

use rustix::{
    fd::OwnedFd,
    fs::{CWD, Gid, Mode, OFlags, Uid, openat},
};
use std::{
    ffi::{OsStr, OsString},
    fs, io,
    path::Path,
};

/// Attributes of an entry.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    /// Time of the last modification, in seconds since the Unix epoch.
    pub(super) modified: i64,
    pub(super) owner: Option<(Uid, Gid)>,
    /// Extended ones, by name.
    pub(super) extended: Vec<(String, Vec<u8>)>,
}

/// Folders of a copy with their attributes. Set them last: a folder without write permission takes
/// no files, and files change the folder's time.
#[derive(Debug, Default)]
pub(super) struct Folders(Vec<(Vec<OsString>, Attributes)>);

impl Folders {
    /// Adds a folder by its path below the entry.
    pub(super) fn add(&mut self, names: Vec<&OsStr>, attributes: Attributes) {
        let names = names.into_iter().map(ToOwned::to_owned).collect();
        self.0.push((names, attributes));
    }

    /// Sets the attributes of the folders of the entry that is at this path, inner folders first;
    /// with `below`, not those of the entry itself.
    pub(super) fn settle(mut self, entry: &Path, below: bool) -> io::Result<()> {
        self.0
            .sort_by_key(|(names, _)| std::cmp::Reverse(names.len()));
        for (names, attributes) in self.0 {
            if !(below && names.is_empty()) {
                attributes.apply(&opened(entry, &names)?)?;
            }
        }
        Ok(())
    }
}

/// Opens a folder below another one, without following links.
fn opened(entry: &Path, names: &[OsString]) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut folder = openat(
        CWD,
        entry,
        OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    for name in names {
        folder = openat(&folder, name, flags, Mode::empty())?;
    }
    Ok(folder)
}

/// A folder in place of something else, or the reverse. Nothing was moved.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Clash {
    pub(super) path: String,
    pub(super) is_folder: bool,
}

/// Finds the first entry that cannot take its place.
pub(super) fn clash(from: &Path, to: &Path) -> io::Result<Option<Clash>> {
    let Ok(there) = to.symlink_metadata() else {
        return Ok(None);
    };
    let is_folder = from.symlink_metadata()?.is_dir();
    if is_folder != there.is_dir() {
        return Ok(Some(Clash {
            path: to.display().to_string(),
            is_folder: there.is_dir(),
        }));
    }
    if is_folder {
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            if let Some(clash) = clash(&from.join(&name), &to.join(&name))? {
                return Ok(Some(clash));
            }
        }
    }
    Ok(None)
}

/// Moves an entry to its place. A folder that is there keeps its other entries.
pub(super) fn place(from: &Path, to: &Path) -> io::Result<()> {
    let is_folder = |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    if is_folder(from) && is_folder(to) {
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            place(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    fs::rename(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_merged_and_a_clash_changes_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        for (path, text) in [
            ("from/inner/new", "new"),
            ("from/same", "new"),
            ("to/inner/old", "old"),
            ("to/same", "old"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        fs::create_dir(from.join("clash")).expect("made");
        fs::write(to.join("clash"), "old").expect("written");
        let found = clash(&from, &to).expect("read").expect("a clash");
        assert_eq!(
            found,
            Clash {
                path: to.join("clash").display().to_string(),
                is_folder: false
            }
        );
        fs::remove_file(to.join("clash")).expect("removed");
        assert_eq!(clash(&from, &to).expect("read"), None);
        place(&from, &to).expect("moved");
        let read = |path: &str| fs::read_to_string(to.join(path)).expect("there");
        assert_eq!(
            (read("inner/new"), read("inner/old"), read("same")),
            ("new".to_owned(), "old".to_owned(), "new".to_owned())
        );
        assert!(to.join("clash").is_dir());
    }
}
