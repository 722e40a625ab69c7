//! Memory of a cgroup: working set, its peak, limit, and OOM kills.

use super::{
    files::{Kept, Scratch, field, number},
    hierarchy::{Folders, Version},
    resting::Resting,
};

/// Version 1 writes "no limit" as the largest number of pages.
const NO_LIMIT: u64 = 1 << 62;

#[derive(Debug)]
pub struct Memory {
    names: &'static Names,
    usage: Option<Kept>,
    stat: Option<Kept>,
    events: Option<Kept>,
    limit: Option<Kept>,
    peak: Peak,
    inactive: Inactive,
    oom_kills: Resting<u64>,
}

/// File cache that can be dropped at once, as last read. The kernel sums a whole file of values for
/// it: half the cost of reading a container.
#[derive(Debug, Default)]
struct Inactive {
    bytes: u64,
    /// Usage at that time: while usage stays about the same, so does this.
    usage: u64,
    /// Readings left before it is read again in any case.
    looks_left: u8,
}

const LOOKS: u8 = 15;
/// A change of usage by less than 1/128 is not significant.
const ABOUT: u64 = 128;
/// Smallest significant change: the amount that the kernel charges at once (64 pages). Its own
/// usage counter is no more precise.
const CHARGE: u64 = 256 << 10;

/// The kernel's memory of the highest usage.
#[derive(Debug)]
enum Peak {
    /// Since the last reset by this open file (version 2, Linux 6.12).
    SinceReset(Kept),
    /// Since the cgroup was made, with the value last read: a higher one belongs to the time
    /// between.
    SinceStart(Kept, u64),
    Unknown,
}

#[derive(Debug)]
struct Names {
    usage: &'static str,
    peak: &'static str,
    limit: &'static str,
    events: &'static str,
    inactive_file: &'static str,
}

const ONE: Names = Names {
    usage: "memory.usage_in_bytes",
    peak: "memory.max_usage_in_bytes",
    limit: "memory.limit_in_bytes",
    events: "memory.oom_control",
    inactive_file: "total_inactive_file",
};
const TWO: Names = Names {
    usage: "memory.current",
    peak: "memory.peak",
    limit: "memory.max",
    events: "memory.events",
    inactive_file: "inactive_file",
};

/// Bytes at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Usage less the file cache that can be dropped at once.
    pub working_set: u64,
    /// The same at the highest usage since the last reading.
    pub peak: u64,
    /// OOM-killed processes since the cgroup was made.
    pub oom_kills: u64,
}

impl Memory {
    #[must_use]
    pub fn open(version: Version, folders: &Folders) -> Self {
        let names = if version == Version::One { &ONE } else { &TWO };
        let folder = folders.memory.as_deref();
        // On version 1 every reader sees a reset, so nothing is written there.
        let private = if version == Version::Two {
            Kept::open_to_reset(folder, names.peak).filter(|peak| peak.reset().is_ok())
        } else {
            None
        };
        let peak = match private {
            Some(file) => Peak::SinceReset(file),
            None => Kept::open(folder, names.peak)
                .map_or(Peak::Unknown, |file| Peak::SinceStart(file, 0)),
        };
        let open = |name| Kept::open(folder, name);
        Self {
            names,
            usage: open(names.usage),
            stat: open("memory.stat"),
            events: open(names.events),
            limit: open(names.limit),
            peak,
            inactive: Inactive::default(),
            oom_kills: Resting::default(),
        }
    }

    /// The current values; `None` once the cgroup is gone. An unchanged count of OOM kills is read
    /// by complete readings only.
    pub fn read(&mut self, whole: bool, scratch: &mut Scratch) -> Option<MemoryUse> {
        let usage = self.usage.as_ref()?.number(scratch)?;
        let inactive = self.inactive(usage, scratch);
        let oom_kills = self
            .oom_kills
            .look(whole, || {
                field(self.events.as_ref()?.read(scratch).ok()?, "oom_kill")
            })
            .unwrap_or_default();
        let working_set = usage.saturating_sub(inactive);
        let peak = self.peak.take(scratch).map_or(working_set, |peak| {
            peak.saturating_sub(inactive).max(working_set)
        });
        Some(MemoryUse {
            working_set,
            peak,
            oom_kills,
        })
    }

    fn inactive(&mut self, usage: u64, scratch: &mut Scratch) -> u64 {
        if self.inactive.looks_left > 0
            && usage.abs_diff(self.inactive.usage) <= (usage / ABOUT).max(CHARGE)
        {
            self.inactive.looks_left -= 1;
        } else {
            let bytes = self
                .stat
                .as_ref()
                .and_then(|stat| field(stat.read(scratch).ok()?, self.names.inactive_file))
                .unwrap_or_default();
            self.inactive = Inactive {
                bytes,
                usage,
                looks_left: LOOKS,
            };
        }
        self.inactive.bytes
    }

    /// The limit in bytes; `None` if there is none.
    #[must_use]
    pub fn limit(&self, scratch: &mut Scratch) -> Option<u64> {
        number(self.limit.as_ref()?.read(scratch).ok()?).filter(|limit| *limit < NO_LIMIT)
    }
}

impl Peak {
    /// The highest usage since the last call, where the kernel keeps it.
    fn take(&mut self, scratch: &mut Scratch) -> Option<u64> {
        match self {
            Self::SinceReset(file) => {
                let peak = file.number(scratch)?;
                // If the file no longer accepts a reset, the next peak is too high, never too low.
                file.reset().ok();
                Some(peak)
            }
            Self::SinceStart(file, seen) => {
                let peak = file.number(scratch)?;
                let higher = peak > *seen;
                *seen = peak;
                higher.then_some(peak)
            }
            Self::Unknown => None,
        }
    }
}
