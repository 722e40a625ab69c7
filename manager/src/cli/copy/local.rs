//! Source and target of a copy on this machine.

use super::{
    place::{End, Place},
    rules::{Conflict, Existing},
};
use std::{
    ffi::OsString,
    fs::{self, FileType},
    io,
    os::unix::fs::FileTypeExt,
    path::PathBuf,
};

/// Upper bound for the links of a target.
const MOST_LINKS: usize = 10;

/// An entry to copy.
#[derive(Debug)]
pub(super) struct Source {
    /// Path without links on the way.
    pub(super) path: PathBuf,
    /// Name under which it goes into a folder; `None` for a folder's content.
    pub(super) name: Option<OsString>,
    pub(super) is_folder: bool,
}

impl Source {
    /// Looks at an entry. A link at the end of the path is followed if asked for, or if the path
    /// says that it is a folder.
    pub(super) fn find(place: &Place, follow: bool) -> io::Result<Self> {
        let path = match place.name() {
            Some(name) if place.end() == End::Plain && !follow => {
                place.folder().canonicalize()?.join(name)
            }
            _ => place.text().canonicalize()?,
        };
        let is_folder = path.symlink_metadata()?.is_dir();
        Ok(Self {
            path,
            name: place.name().map(ToOwned::to_owned),
            is_folder,
        })
    }
}

/// The target of a copy, with links at its end followed.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) place: Place,
    pub(super) existing: Existing,
}

impl Target {
    /// Looks at a target. Its folder must exist.
    pub(super) fn find(place: &Place) -> io::Result<Result<Self, Conflict>> {
        let mut place = place.clone();
        for _ in 0..=MOST_LINKS {
            let text = place.text();
            match fs::symlink_metadata(&text) {
                Ok(meta) if meta.is_symlink() => {
                    let target = place.folder().join(fs::read_link(&text)?);
                    place = place.at(&target);
                }
                Ok(meta) => {
                    let existing = existing(meta.file_type());
                    return Ok(Ok(Self { place, existing }));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(match fs::metadata(place.folder()) {
                        Ok(folder) if folder.is_dir() => Ok(Self {
                            place,
                            existing: Existing::Missing,
                        }),
                        _ => Err(Conflict::NoFolder),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Err(rustix::io::Errno::LOOP.into())
    }
}

fn existing(kind: FileType) -> Existing {
    if kind.is_dir() {
        Existing::Folder
    } else if kind.is_char_device() || kind.is_block_device() {
        Existing::Device
    } else {
        Existing::File
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_as_by_docker() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path().canonicalize().expect("a path");
        fs::create_dir(root.join("folder")).expect("made");
        fs::write(root.join("file"), "x").expect("written");
        for (target, link) in [
            ("folder", "to-folder"),
            ("folder/new", "to-new"),
            ("loop", "loop"),
        ] {
            symlink(target, root.join(link)).expect("linked");
        }
        let place = |name: &str| Place::below(&root, name.as_ref());
        let source = |name: &str, follow| {
            let source = Source::find(&place(name), follow).ok()?;
            let path = source.path.strip_prefix(&root).expect("below").to_owned();
            let name = source.name.map(|name| name.to_string_lossy().into_owned());
            Some((path.display().to_string(), name, source.is_folder))
        };
        let found = |path: &str, name: &str, is_folder| {
            Some((path.to_owned(), Some(name.to_owned()), is_folder))
        };
        assert_eq!(
            source("to-folder", false),
            found("to-folder", "to-folder", false)
        );
        assert_eq!(
            source("to-folder", true),
            found("folder", "to-folder", true)
        );
        assert_eq!(
            source("to-folder/", false),
            found("folder", "to-folder", true)
        );
        assert_eq!(
            source("to-folder/.", false),
            Some(("folder".to_owned(), None, true))
        );
        assert_eq!(source("file/", false), None);
        assert_eq!(source("to-new", true), None, "nothing is there");
        assert_eq!(source("to-new", false), found("to-new", "to-new", false));

        let target = |name: &str| match Target::find(&place(name)) {
            Ok(Ok(target)) => Ok((
                target
                    .place
                    .path()
                    .strip_prefix(&root)
                    .expect("below")
                    .to_owned(),
                target.existing,
            )),
            Ok(Err(conflict)) => Err(Some(conflict)),
            Err(_) => Err(None),
        };
        assert_eq!(target("to-folder"), Ok(("folder".into(), Existing::Folder)));
        assert_eq!(
            target("to-new"),
            Ok(("folder/new".into(), Existing::Missing))
        );
        assert_eq!(target("none/x"), Err(Some(Conflict::NoFolder)));
        assert_eq!((target("file/"), target("loop")), (Err(None), Err(None)));
        assert_eq!(target("new/"), Ok(("new".into(), Existing::Missing)));
    }
}
