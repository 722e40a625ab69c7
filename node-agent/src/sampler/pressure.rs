//! Pressure stall information of a cgroup: how much of the last ten seconds some task waited.

use super::files::{Kept, Scratch};
use std::path::Path;

/// The file that says it, for one resource.
#[derive(Debug)]
pub struct Pressure(Option<Kept>);

impl Pressure {
    /// Opens `memory.pressure` or `cpu.pressure` of a cgroup.
    #[must_use]
    pub fn open(folder: Option<&Path>, name: &str) -> Self {
        Self(Kept::open(folder, name))
    }

    /// Percent of the last ten seconds; nothing where the kernel does not tell.
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
