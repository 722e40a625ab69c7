//! Bytes that a cgroup read from and wrote to block devices, over all devices.

use super::{
    files::{Kept, Scratch},
    hierarchy::{Folders, Version},
    resting::Resting,
};

#[derive(Debug)]
pub struct Block {
    version: Version,
    file: Option<Kept>,
    bytes: Resting<BlockBytes>,
}

/// Bytes since the cgroup was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockBytes {
    pub read: u64,
    pub written: u64,
}

impl Block {
    #[must_use]
    pub fn open(version: Version, folders: &Folders) -> Self {
        let open = |name| Kept::open(folders.block.as_deref(), name);
        let file = match version {
            // These count under every scheduler of the device.
            Version::One => open("blkio.throttle.io_service_bytes_recursive")
                .or_else(|| open("blkio.throttle.io_service_bytes")),
            Version::Two => open("io.stat"),
        };
        Self {
            version,
            file,
            bytes: Resting::default(),
        }
    }

    /// The current values; unchanged ones are read by complete readings only.
    pub fn read(&mut self, whole: bool, scratch: &mut Scratch) -> Option<BlockBytes> {
        let sum = if self.version == Version::One {
            by_line
        } else {
            by_word
        };
        self.bytes
            .look(whole, || self.file.as_ref()?.read(scratch).ok().map(sum))
    }
}

/// `8:0 Read 4096`, one a line.
fn by_line(text: &str) -> BlockBytes {
    let mut sum = BlockBytes::default();
    for line in text.lines() {
        let mut words = line.split(' ').skip(1);
        if let (Some(what), Some(bytes)) = (
            words.next(),
            words.next().and_then(|word| word.parse::<u64>().ok()),
        ) {
            match what {
                "Read" => sum.read += bytes,
                "Write" => sum.written += bytes,
                _ => {}
            }
        }
    }
    sum
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 ...`, a line for each device.
fn by_word(text: &str) -> BlockBytes {
    let mut sum = BlockBytes::default();
    for (key, bytes) in text
        .split_ascii_whitespace()
        .filter_map(|word| word.split_once('='))
    {
        match key {
            "rbytes" => sum.read += bytes.parse::<u64>().unwrap_or_default(),
            "wbytes" => sum.written += bytes.parse::<u64>().unwrap_or_default(),
            _ => {}
        }
    }
    sum
}
