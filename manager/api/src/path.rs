//! Entries of a container's file system.

use serde::{Deserialize, Serialize};

/// Observation of a path in a container, for a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PathView {
    /// The entry; absent if there is none. A symbolic link at the end of the path is not followed.
    pub entry: Option<PathEntry>,
    /// Mounts of the running container that no copy can see, by their paths.
    pub hidden: Vec<HiddenMount>,
}

/// An entry of a container's file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PathEntry {
    /// Kind of entry.
    pub kind: PathKind,
    /// Size of a file, in bytes.
    pub size: u64,
    /// Target of a symbolic link: an absolute path without links, which may not exist.
    pub link_target: Option<String>,
}

/// Kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PathKind {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A block or character device.
    Device,
    /// A FIFO or a socket.
    Other,
}

/// A mount that exists only for the container's processes, such as `/dev/shm`: the engine copies
/// what lies below it instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HiddenMount {
    /// Its path in the container.
    pub path: String,
    /// Type of its file system, such as `tmpfs`.
    pub kind: String,
}

impl HiddenMount {
    /// Returns true for the mount's own path and for paths below it. The path has no links and no
    /// `..`.
    #[must_use]
    pub fn holds(&self, path: &str) -> bool {
        path.strip_prefix(self.path.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Returns true for file systems that show the kernel's state: nothing in them is a file that
    /// could be copied.
    #[must_use]
    pub fn is_of_the_kernel(&self) -> bool {
        const KERNEL: [&str; 9] = [
            "proc",
            "sysfs",
            "cgroup",
            "cgroup2",
            "devpts",
            "devtmpfs",
            "mqueue",
            "securityfs",
            "debugfs",
        ];
        // The folder of devices is a tmpfs with the engine's device nodes.
        KERNEL.contains(&self.kind.as_str())
            || ["/dev", "/sys", "/proc"].contains(&self.path.as_str())
            || ["/proc/", "/sys/"]
                .iter()
                .any(|folder| self.path.starts_with(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_holds_what_is_below_it() {
        let mount = HiddenMount {
            path: "/dev/shm".to_owned(),
            kind: "tmpfs".to_owned(),
        };
        assert!(mount.holds("/dev/shm") && mount.holds("/dev/shm/a/b"));
        assert!(!mount.holds("/dev") && !mount.holds("/dev/shmem"));
        assert!(!mount.is_of_the_kernel());
    }
}
