//! Files below a folder as text that can be compared.

use rustix::fs::{FileType, lgetxattr, major, minor};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

/// Each path below a folder, escaped, and what is there.
pub type Tree = BTreeMap<String, String>;

/// Describes all files below a folder: kind, mode, owners, content, links, whether the time of the
/// last modification is `time`, capabilities.
///
/// # Panics
/// If a file cannot be read.
#[must_use]
pub fn tree(root: &Path, time: i64) -> Tree {
    let (mut tree, mut seen) = (Tree::new(), HashMap::new());
    add(root, "", time, &mut tree, &mut seen);
    tree
}

fn add(
    path: &Path,
    name: &str,
    time: i64,
    tree: &mut Tree,
    seen: &mut HashMap<(u64, u64), String>,
) {
    let meta = fs::symlink_metadata(path).expect("an entry");
    let kind = FileType::from_raw_mode(meta.mode());
    let twin = if meta.is_file() && meta.nlink() > 1 {
        let twin = seen.entry((meta.dev(), meta.ino()));
        Some(twin.or_insert_with(|| name.to_owned()).clone())
    } else {
        None
    };
    let what = match kind {
        FileType::RegularFile => content(&fs::read(path).expect("a file")),
        FileType::Symlink => escaped(fs::read_link(path).expect("a link").as_os_str().as_bytes()),
        FileType::CharacterDevice | FileType::BlockDevice => {
            format!("{}:{}", major(meta.rdev()), minor(meta.rdev()))
        }
        _ => String::new(),
    };
    // The mode of a link means nothing, and its owner is the kernel's choice for none.
    let mode = match kind {
        FileType::Symlink => 0,
        _ => meta.mode() & 0o7777,
    };
    let mut capability = [0; 64];
    let capability = lgetxattr(path, "security.capability", capability.as_mut_slice()).is_ok();
    if !name.is_empty() {
        tree.insert(
            name.to_owned(),
            format!(
                "{kind:?} {mode:o} {}:{} {what} twin {twin:?} old {} capability {capability}",
                meta.uid(),
                meta.gid(),
                meta.mtime() == time,
            ),
        );
    }
    if meta.is_dir() {
        let mut names: Vec<_> = fs::read_dir(path)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        for own in names {
            let name = format!("{name}/{}", escaped(own.as_bytes()));
            add(
                &path.join(&own),
                name.trim_start_matches('/'),
                time,
                tree,
                seen,
            );
        }
    }
}

fn content(bytes: &[u8]) -> String {
    match bytes.iter().all(|byte| *byte == 0) {
        true => format!("{} zeros", bytes.len()),
        false => escaped(bytes),
    }
}

fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
