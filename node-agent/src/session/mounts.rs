//! Mounts of a running container that the engine's archive calls do not see. The engine mounts the
//! container's layers and volumes by itself for each call: what exists in the container's mount
//! namespace only, such as `/dev/shm`, is covered there by a folder of the image.

use super::SessionError;
use crate::engine::{Engine, EngineError, Mounted};
use micado_api::HiddenMount;
use std::path::{Component, Path, PathBuf};

/// Files that the engine mounts into every container, and for its archive calls too.
const FILES: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
/// Upper bound for the links of a path, as in the kernel.
const MOST_LINKS: usize = 40;

/// A symbolic link at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastLink {
    Followed,
    Kept,
}

/// The mounts of a container, if it runs.
#[derive(Debug)]
pub struct Mounts {
    /// Its root folder, as this process reaches it; `None` for a container without a process.
    root: Option<PathBuf>,
    hidden: Vec<HiddenMount>,
}

impl Mounts {
    /// Reads them.
    pub async fn of(engine: &Engine, container: &str) -> Result<Self, EngineError> {
        let inspected = engine.inspect(container).await?;
        let process = PathBuf::from(format!("/proc/{}", inspected.state.pid));
        let table = match inspected.state.pid {
            0 => None,
            _ => std::fs::read_to_string(process.join("mountinfo")).ok(),
        };
        Ok(Self {
            root: table.is_some().then(|| process.join("root")),
            hidden: hidden(&table.unwrap_or_default(), &inspected.mounts),
        })
    }

    pub fn hidden(&self) -> &[HiddenMount] {
        &self.hidden
    }

    /// The container's root folder, and this path in it without links and `..`.
    pub fn place(&self, path: &str) -> Option<(PathBuf, String)> {
        let root = self.root.clone()?;
        let place = resolved(&root, path, LastLink::Kept);
        Some((root, place))
    }

    /// Refuses a path on a mount that the engine does not see.
    pub fn check(&self, path: &str, last: LastLink) -> Result<(), SessionError> {
        let Some(root) = &self.root else {
            return Ok(());
        };
        let place = resolved(root, path, last);
        match holder(&self.hidden, &place) {
            Some(mount) => Err(SessionError::Hidden {
                path: path.to_owned(),
                mount: mount.path.clone(),
                kind: mount.kind.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// True for a path below another, or the same.
pub fn is_below(path: &str, folder: &str) -> bool {
    Path::new(path).starts_with(folder)
}

/// The innermost hidden mount that holds this path, which has no links.
fn holder<'a>(hidden: &'a [HiddenMount], place: &str) -> Option<&'a HiddenMount> {
    let holders = hidden.iter().filter(|mount| mount.holds(place));
    holders.max_by_key(|mount| mount.path.len())
}

/// Mounts in a table (`/proc/PID/mountinfo`) that the engine does not see, without those below
/// them.
fn hidden(table: &str, mounts: &[Mounted]) -> Vec<HiddenMount> {
    let is_seen = |path: &str| {
        path == "/"
            || FILES.contains(&path)
            || mounts
                .iter()
                .any(|mount| mount.kind != "tmpfs" && mount.destination == path)
    };
    let mut all: Vec<HiddenMount> = table
        .lines()
        .filter_map(mount)
        .filter(|mount| !is_seen(&mount.path))
        .collect();
    all.sort_by(|one, other| one.path.cmp(&other.path));
    all.dedup_by(|one, other| one.path == other.path);
    all
}

/// A line of the table: the fifth field is the mount's path; after ` - ` comes the file system.
fn mount(line: &str) -> Option<HiddenMount> {
    let (fields, system) = line.split_once(" - ")?;
    Some(HiddenMount {
        path: unescaped(fields.split(' ').nth(4)?),
        kind: system.split(' ').next()?.to_owned(),
    })
}

/// Blank, tab, newline and backslash are `\` with three octal digits in the table.
fn unescaped(field: &str) -> String {
    const ESCAPES: [(&str, &str); 4] = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    ESCAPES
        .iter()
        .fold(field.to_owned(), |text, (escape, plain)| {
            text.replace(escape, plain)
        })
}

/// The path without links and `..`, resolved below this root as the container's processes do. Only
/// informs: a container that exchanges links meanwhile gets the answer for some of them.
fn resolved(root: &Path, path: &str, last: LastLink) -> String {
    let mut place = PathBuf::from("/");
    let mut ahead: Vec<PathBuf> = parts(Path::new(path));
    // With a slash or `/.` at its end, the link is a folder on the way.
    let last = match path.ends_with('/') || path.ends_with("/.") {
        true => LastLink::Followed,
        false => last,
    };
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        if part == Path::new("..") {
            place.pop();
            continue;
        }
        let next = place.join(&part);
        let is_last = ahead.is_empty();
        let target = std::fs::read_link(root.join(next.strip_prefix("/").unwrap_or(&next)));
        match target {
            Ok(target) if links < MOST_LINKS && !(is_last && last == LastLink::Kept) => {
                links += 1;
                if target.is_absolute() {
                    place = PathBuf::from("/");
                }
                ahead.extend(parts(&target));
            }
            _ => place = next,
        }
    }
    place.to_string_lossy().into_owned()
}

/// Names in a path, the first one last.
fn parts(path: &Path) -> Vec<PathBuf> {
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(PathBuf::from(name)),
            Component::ParentDir => Some(PathBuf::from("..")),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const TABLE: &str = "\
1024 900 0:92 / / rw,relatime - overlay overlay rw,lowerdir=/l
1025 1024 0:95 / /proc rw,nosuid - proc proc rw
1026 1024 0:96 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k
1027 1026 0:93 / /dev/shm rw,nosuid - tmpfs shm rw,size=65536k
1028 1024 8:1 /volumes/v/_data /data rw,relatime shared:1 - ext4 /dev/sda1 rw
1029 1024 8:1 /c/hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw
1030 1024 0:97 / /with\\040blank rw - tmpfs tmpfs rw
";

    #[test]
    fn volumes_and_the_engines_files_are_seen_and_other_mounts_are_not() {
        let volume = Mounted {
            kind: "volume".to_owned(),
            destination: "/data".to_owned(),
        };
        let all = hidden(&TABLE.replace("\\\\", "\\"), &[volume]);
        let paths: Vec<&str> = all.iter().map(|mount| mount.path.as_str()).collect();
        assert_eq!(paths, ["/dev", "/dev/shm", "/proc", "/with blank"]);
        let shm = holder(&all, "/dev/shm/x").map(|mount| mount.path.as_str());
        assert_eq!(shm, Some("/dev/shm"));
        assert!(holder(&all, "/data/x").is_none() && holder(&all, "/devices").is_none());
        assert_eq!(
            holder(&all, "/with blank/x").map(|mount| mount.kind.as_str()),
            Some("tmpfs")
        );
    }

    #[test]
    fn a_path_is_resolved_below_the_containers_root() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(root.path().join("data/folder")).expect("made");
        for (target, link) in [
            ("/dev/shm", "absolute"),
            ("../../../../dev/shm", "data/up"),
            ("loop", "loop"),
        ] {
            symlink(target, root.path().join(link)).expect("linked");
        }
        let follow = |path| resolved(root.path(), path, LastLink::Followed);
        assert_eq!(follow("/absolute/x"), "/dev/shm/x");
        assert_eq!(follow("/data/folder/../up"), "/dev/shm");
        assert_eq!(follow("/data/none/../x"), "/data/x");
        assert_eq!(follow("/loop/x"), "/loop/x");
        let keep = |path| resolved(root.path(), path, LastLink::Kept);
        assert_eq!(
            (keep("/absolute"), keep("/absolute/.")),
            ("/absolute".to_owned(), "/dev/shm".to_owned())
        );
    }
}
