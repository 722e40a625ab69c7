//! The machine as a whole. A machine that is itself a container reads its own cgroup: `/proc` shows
//! the host there, or a constant file.

use super::{
    cpu::Cpu,
    files::{Kept, Kernel, Scratch, number},
    hierarchy::{Folders, Hierarchies, Version},
    memory::Memory,
};
use micado_api::{MemoryBytes, agent::MachineSample};
use std::path::{Path, PathBuf};

/// `/proc/stat` counts in hundredths of a second, independent of the kernel's own clock.
const NS_PER_TICK: u64 = 10_000_000;
const NANO: u64 = 1_000_000_000;

/// This machine.
#[derive(Debug)]
pub struct Machine {
    info: Option<Kept>,
    stat: Option<Kept>,
    load: Option<Kept>,
    /// Its own cgroup, if it is a container.
    own: Option<Own>,
    data_root: PathBuf,
}

#[derive(Debug)]
struct Own {
    version: Version,
    folders: Folders,
    cpu: Cpu,
    memory: Memory,
}

impl Machine {
    /// Detects the kind of machine.
    #[must_use]
    pub fn find(kernel: &Kernel, hierarchies: &Hierarchies) -> Self {
        let version = hierarchies.version();
        let own = own_folders(hierarchies).map(|folders| Own {
            version,
            cpu: Cpu::open(version, &folders),
            memory: Memory::open(version, &folders),
            folders,
        });
        let open = |name| Kept::open(Some(&kernel.path("/proc")), name);
        Self {
            info: open("meminfo"),
            stat: open("stat"),
            load: open("loadavg"),
            own,
            data_root: "/var/lib/docker".into(),
        }
    }

    pub fn set_data_root(&mut self, data_root: PathBuf) {
        self.data_root = data_root;
    }

    /// The current values. Unreadable ones are 0.
    pub fn sample(&mut self, scratch: &mut Scratch) -> MachineSample {
        let info = read(&self.info, scratch);
        let (total, available) = (kib(info, "MemTotal:"), kib(info, "MemAvailable:"));
        let (disk_left, disk_total) = disk(&self.data_root);
        let mut sample = MachineSample {
            memory_total: total,
            memory_left: available,
            disk_left,
            disk_total,
            ..MachineSample::default()
        };
        let stat = read(&self.stat, scratch);
        let cpu_ns = cpu_time(stat);
        let host_cores = stat
            .lines()
            .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
            .count() as u64
            * NANO;
        if let Some(own) = &mut self.own {
            let limit = MemoryBytes(own.memory.limit(scratch).unwrap_or(u64::MAX)).min(total);
            let used = own
                .memory
                .read(false, scratch)
                .unwrap_or_default()
                .working_set;
            sample.memory_total = limit;
            sample.memory_left = limit.saturating_sub(MemoryBytes(used)).min(available);
            sample.cpu_ns = own.cpu.read(false, scratch).unwrap_or_default().used;
            sample.cores = own.cores().unwrap_or(host_cores).min(host_cores);
        } else {
            sample.cpu_ns = cpu_ns;
            sample.cores = host_cores;
            sample.load = read(&self.load, scratch)
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok());
        }
        sample
    }
}

impl Own {
    /// Billionths of a core: the lesser of cpuset and quota.
    fn cores(&self) -> Option<u64> {
        let read = |folder: &Option<PathBuf>, name| {
            std::fs::read_to_string(folder.as_ref()?.join(name)).ok()
        };
        let (set, quota) = match self.version {
            Version::One => (
                read(&self.folders.cores, "cpuset.effective_cpus")
                    .or_else(|| read(&self.folders.cores, "cpuset.cpus")),
                read(&self.folders.cpu, "cpu.cfs_quota_us")
                    .zip(read(&self.folders.cpu, "cpu.cfs_period_us")),
            ),
            Version::Two => (
                read(&self.folders.cores, "cpuset.cpus.effective"),
                read(&self.folders.cpu, "cpu.max").and_then(|text| {
                    text.split_once(' ')
                        .map(|(quota, period)| (quota.to_owned(), period.to_owned()))
                }),
            ),
        };
        let set = set.as_deref().and_then(count).map(|cores| cores * NANO);
        // No quota is -1 or `max`.
        let quota = quota.and_then(|(quota, period)| {
            Some(number(&quota)?.saturating_mul(NANO) / number(&period)?.max(1))
        });
        [set, quota].into_iter().flatten().min()
    }
}

/// The cgroup of this machine, if it is a container: that of its first process.
fn own_folders(hierarchies: &Hierarchies) -> Option<Folders> {
    let top = hierarchies.top();
    // A root of version 2 with a type is the root of a cgroup namespace, not the real one.
    if hierarchies.version() == Version::Two && top.memory.as_ref()?.join("cgroup.type").exists() {
        return Some(top);
    }
    let group = hierarchies.memory_group(1).ok()?;
    if group == Path::new("/") || group == Path::new("/init.scope") {
        None
    } else {
        hierarchies.of(1).ok()
    }
}

fn read<'a>(file: &Option<Kept>, scratch: &'a mut Scratch) -> &'a str {
    file.as_ref()
        .and_then(|file| file.read(scratch).ok())
        .unwrap_or_default()
}

fn kib(info: &str, name: &str) -> MemoryBytes {
    let value = info.lines().find_map(|line| {
        line.strip_prefix(name)?
            .trim_ascii()
            .strip_suffix(" kB")?
            .parse::<u64>()
            .ok()
    });
    MemoryBytes(value.unwrap_or_default() * 1024)
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq and others.
/// Stolen time (steal) was not used; guests are included in user.
fn cpu_time(stat: &str) -> u64 {
    let figures: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .skip(1)
        .map_while(|word| word.parse().ok())
        .collect();
    [0, 1, 2, 5, 6]
        .into_iter()
        .filter_map(|index| figures.get(index))
        .sum::<u64>()
        * NS_PER_TICK
}

/// Number of entries in a list such as `0-3,8`.
fn count(list: &str) -> Option<u64> {
    let mut cores = 0;
    for range in list.trim_ascii().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cores += last.parse::<u64>().ok()?.checked_sub(first.parse().ok()?)? + 1;
    }
    Some(cores)
}

/// Bytes available to users other than root, and total bytes.
fn disk(folder: &Path) -> (u64, u64) {
    rustix::fs::statvfs(folder).map_or((0, 0), |stat| {
        (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_counted() {
        assert_eq!(count("0-3,8\n"), Some(5));
        assert_eq!(count("1"), Some(1));
        assert_eq!(count("\n"), None);
        assert_eq!(count("3-1"), None);
    }

    #[test]
    fn stolen_and_idle_time_is_not_used() {
        assert_eq!(
            cpu_time("cpu  1 2 4 100 100 8 16 100 100 100\ncpu0 9 9 9\n"),
            31 * NS_PER_TICK
        );
    }
}
