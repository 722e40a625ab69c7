//! Pressure stall information of a cgroup: share of the last ten seconds in which some task waited.

use super::files::{Kept, Scratch};
use std::path::Path;

/// The pressure file of one resource.
#[derive(Debug)]
pub struct Pressure(Option<Kept>);

impl Pressure {
    /// Opens `memory.pressure` or `cpu.pressure` of a cgroup.
    #[must_use]
    pub fn open(folder: Option<&Path>, name: &str) -> Self {
        Self(Kept::open(folder, name))
    }

    /// Percent of the last ten seconds; `None` if the kernel does not report it.
    #[must_use]
    pub fn read(&self, scratch: &mut Scratch) -> Option<f64> {
        let text = self.0.as_ref()?.read(scratch).ok()?;
        text.lines().find_map(|line| {
            line.strip_prefix("some avg10=")?
                .split(' ')
                .next()?
                .parse()
                .ok()
        })
    }
}
