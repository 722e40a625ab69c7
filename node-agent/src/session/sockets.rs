//! Unix sockets in a container's folder. No tar can hold them, and the engine leaves them out
//! without a word.

use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat},
};
use std::{
    ffi::{CString, OsStr},
    os::unix::ffi::OsStrExt,
    path::Path,
};

/// Upper bound for the lines.
const MOST: usize = 20;
/// Upper bound for the depth of folders.
const DEEPEST: usize = 1000;

/// Lines that name the sockets at and below this path, which has no links. Folders are opened
/// without following links: the container may exchange them meanwhile.
pub fn below(root: &Path, path: &str) -> Vec<String> {
    let mut found = Found::default();
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let Ok(mut folder) = openat(
        CWD,
        root,
        OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    ) else {
        return Vec::new();
    };
    let Some((last, above)) = names.split_last() else {
        found.walk(&folder, "", 0);
        return found.lines();
    };
    for name in above {
        match open(&folder, OsStr::new(name)) {
            Some(next) => folder = next,
            None => return Vec::new(),
        }
    }
    let above = path.trim_end_matches('/');
    let above = &above[..above.len() - last.len()];
    let name = OsStr::new(last);
    found.look(&folder, name, above.trim_end_matches('/'), 0);
    found.lines()
}

fn open(folder: &OwnedFd, name: &OsStr) -> Option<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::empty()).ok()
}

#[derive(Default)]
struct Found {
    paths: Vec<String>,
    more: usize,
}

impl Found {
    fn look(&mut self, folder: &OwnedFd, name: &OsStr, above: &str, depth: usize) {
        let Ok(stat) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else {
            return;
        };
        let path = || format!("{above}/{}", name.to_string_lossy());
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket if self.paths.len() < MOST => self.paths.push(path()),
            FileType::Socket => self.more += 1,
            FileType::Directory if depth < DEEPEST => {
                if let Some(inner) = open(folder, name) {
                    self.walk(&inner, &path(), depth + 1);
                }
            }
            _ => {}
        }
    }

    fn walk(&mut self, folder: &OwnedFd, path: &str, depth: usize) {
        let Ok(entries) = Dir::read_from(folder) else {
            return;
        };
        // Most entries need no further call.
        let interesting = |kind| {
            matches!(
                kind,
                FileType::Socket | FileType::Directory | FileType::Unknown
            )
        };
        let names: Vec<CString> = entries
            .filter_map(Result::ok)
            .filter(|entry| interesting(entry.file_type()))
            .map(|entry| entry.file_name().to_owned())
            .filter(|name| name.as_bytes() != b"." && name.as_bytes() != b"..")
            .collect();
        for name in names {
            self.look(folder, OsStr::from_bytes(name.as_bytes()), path, depth);
        }
    }

    fn lines(self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .paths
            .iter()
            .map(|path| format!("`{path}`: a socket"))
            .collect();
        if self.more > 0 {
            lines.push(format!("{} more sockets", self.more));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::{fs::symlink, net::UnixListener};

    #[test]
    fn sockets_are_found_and_links_are_not_followed() {
        let root = tempfile::tempdir().expect("a folder");
        let deep = root.path().join("data/a/b");
        std::fs::create_dir_all(&deep).expect("made");
        std::fs::write(deep.join("file"), "x").expect("written");
        let _one = UnixListener::bind(deep.join("one")).expect("bound");
        let _other = UnixListener::bind(root.path().join("other")).expect("bound");
        symlink("/", deep.join("link")).expect("linked");
        symlink(root.path(), root.path().join("out")).expect("linked");
        let one = "`/data/a/b/one`: a socket".to_owned();
        assert_eq!(below(root.path(), "/data"), [one.as_str()]);
        assert_eq!(below(root.path(), "/data/a/b/one"), [one.as_str()]);
        assert_eq!(below(root.path(), "/").len(), 2);
        assert!(below(root.path(), "/out/data").is_empty());
        assert!(below(root.path(), "/none/at/all").is_empty());
    }
}
