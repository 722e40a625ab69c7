//! CPU time of a cgroup: used, and throttled by its quota.

use super::{
    files::{Kept, Scratch, field},
    hierarchy::{Folders, Version},
    resting::Resting,
};

#[derive(Debug)]
pub struct Cpu {
    version: Version,
    /// Version 1: `cpuacct.usage`, nanoseconds.
    used: Option<Kept>,
    /// `cpu.stat`: version 1 counts throttled nanoseconds, version 2 used and throttled
    /// microseconds.
    stat: Option<Kept>,
    throttled: Resting<u64>,
}

/// Nanoseconds since the cgroup was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTime {
    pub used: u64,
    pub throttled: u64,
}

impl Cpu {
    #[must_use]
    pub fn open(version: Version, folders: &Folders) -> Self {
        let used = if version == Version::One {
            Kept::open(folders.account.as_deref(), "cpuacct.usage")
        } else {
            None
        };
        Self {
            version,
            used,
            stat: Kept::open(folders.cpu.as_deref(), "cpu.stat"),
            throttled: Resting::default(),
        }
    }

    /// The current values; `None` once the cgroup is gone. On version 1, unchanged throttled time
    /// is read by complete readings only.
    pub fn read(&mut self, whole: bool, scratch: &mut Scratch) -> Option<CpuTime> {
        match self.version {
            Version::One => {
                let used = self.used.as_ref()?.number(scratch)?;
                let throttled = self.throttled.look(whole, || {
                    field(self.stat.as_ref()?.read(scratch).ok()?, "throttled_time")
                });
                Some(CpuTime {
                    used,
                    throttled: throttled.unwrap_or_default(),
                })
            }
            Version::Two => {
                let stat = self.stat.as_ref()?.read(scratch).ok()?;
                Some(CpuTime {
                    used: field(stat, "usage_usec")? * 1000,
                    throttled: field(stat, "throttled_usec").unwrap_or_default() * 1000,
                })
            }
        }
    }
}
