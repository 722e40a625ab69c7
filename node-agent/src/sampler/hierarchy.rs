//! Cgroup hierarchies of this machine, and the folders of a process in them.

use super::files::Kernel;
use std::{
    io,
    path::{Path, PathBuf},
};

/// Version of the control groups that carry memory and CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for each controller.
    One,
    /// One hierarchy for all.
    Two,
}

impl Version {
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// A mounted hierarchy.
#[derive(Debug, Clone)]
struct Mount {
    /// Its controllers; none for version 2.
    controllers: Vec<String>,
    /// Its folder.
    point: PathBuf,
    /// The group that this folder shows.
    root: PathBuf,
}

/// The hierarchies of this machine.
#[derive(Debug, Clone)]
pub struct Hierarchies {
    version: Version,
    mounts: Vec<Mount>,
    kernel: Kernel,
}

/// The folders of one cgroup, by controller; `None` where the controller is not mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folders {
    /// Throttled CPU time; on version 2 used CPU time too.
    pub cpu: Option<PathBuf>,
    /// Used CPU time; on version 1 a controller of its own.
    pub account: Option<PathBuf>,
    /// Allowed cores.
    pub cores: Option<PathBuf>,
    pub memory: Option<PathBuf>,
    /// Block devices.
    pub block: Option<PathBuf>,
    /// Pressure: always in the hierarchy of version 2, which may stand beside those of version 1.
    pub pressure: Option<PathBuf>,
}

impl Hierarchies {
    /// Finds the hierarchies in the list of mounts.
    ///
    /// # Errors
    /// If that list cannot be read or shows none.
    pub fn find(kernel: &Kernel) -> io::Result<Self> {
        let list = kernel.read("/proc/self/mountinfo")?;
        let mounts: Vec<Mount> = list
            .lines()
            .filter_map(|line| mount(line, kernel))
            .collect();
        let carried = |name: &str| {
            mounts.iter().any(|mount| {
                mount
                    .controllers
                    .iter()
                    .any(|controller| controller == name)
            })
        };
        let version = if carried("memory") || carried("cpuacct") {
            Version::One
        } else if mounts.iter().any(|mount| mount.controllers.is_empty()) {
            Version::Two
        } else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no cgroup hierarchy is mounted: mount /sys/fs/cgroup",
            ));
        };
        Ok(Self {
            version,
            mounts,
            kernel: kernel.clone(),
        })
    }

    /// Version of the hierarchies with memory and CPU.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The folders of a process's cgroup.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn of(&self, pid: u32) -> io::Result<Folders> {
        let list = self.kernel.read(format!("/proc/{pid}/cgroup"))?;
        Ok(self.folders(|controller| group(&list, controller)))
    }

    /// The folders of a container's cgroup, whose name holds its id; its first process may have
    /// moved further down.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn of_container(&self, id: &str, first_process: u32) -> io::Result<Folders> {
        let list = self.kernel.read(format!("/proc/{first_process}/cgroup"))?;
        let named = |path: &&Path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().contains(id))
        };
        Ok(self.folders(|controller| {
            group(&list, controller).map(|path| path.ancestors().find(named).unwrap_or(path))
        }))
    }

    /// The topmost folders visible from here.
    #[must_use]
    pub fn top(&self) -> Folders {
        self.folders(|controller| self.mount(controller).map(|mount| mount.root.as_path()))
    }

    /// The memory group of a process, as the kernel writes it.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn memory_group(&self, pid: u32) -> io::Result<PathBuf> {
        let list = self.kernel.read(format!("/proc/{pid}/cgroup"))?;
        let controller = if self.version == Version::One {
            "memory"
        } else {
            ""
        };
        Ok(group(&list, controller)
            .unwrap_or(Path::new("/"))
            .to_owned())
    }

    fn mount(&self, controller: &str) -> Option<&Mount> {
        // A later mount covers earlier ones.
        self.mounts.iter().rev().find(|mount| {
            if controller.is_empty() {
                mount.controllers.is_empty()
            } else {
                mount.controllers.iter().any(|c| c == controller)
            }
        })
    }

    fn folders<'a>(&'a self, group: impl Fn(&str) -> Option<&'a Path>) -> Folders {
        let folder = |controller: &str| {
            let controller = if self.version == Version::Two {
                ""
            } else {
                controller
            };
            let mount = self.mount(controller)?;
            Some(
                mount
                    .point
                    .join(group(controller)?.strip_prefix(&mount.root).ok()?),
            )
        };
        Folders {
            cpu: folder("cpu"),
            account: folder("cpuacct"),
            cores: folder("cpuset"),
            memory: folder("memory"),
            block: folder("blkio"),
            pressure: folder(""),
        }
    }
}

/// A line of mountinfo: `36 25 0:31 ROOT POINT rw,... shared:9 - TYPE SOURCE rw,cpu,cpuacct`.
fn mount(line: &str, kernel: &Kernel) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let controllers = match kind.next()? {
        "cgroup" => kind
            .nth(1)?
            .split(',')
            .filter(|word| *word != "rw" && *word != "ro")
            .map(str::to_owned)
            .collect(),
        "cgroup2" => Vec::new(),
        _ => return None,
    };
    Some(Mount {
        controllers,
        point: kernel.path(point),
        root: root.into(),
    })
}

/// A process's group in the hierarchy of this controller, from lines such as
/// `3:cpu,cpuacct:/docker/ID`.
fn group<'a>(list: &'a str, controller: &str) -> Option<&'a Path> {
    list.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        parts
            .next()?
            .split(',')
            .any(|name| name == controller)
            .then_some(())?;
        parts.next().map(Path::new)
    })
}
