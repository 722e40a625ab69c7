//! Bytes through the network interfaces of a network namespace, loopback excluded.

use super::{
    files::{Kept, Kernel, Scratch},
    resting::Resting,
};

/// An open file keeps the namespace alive, so it is closed as soon as the container's end is known.
#[derive(Debug)]
pub struct Network {
    file: Kept,
    namespace: String,
    bytes: Resting<NetworkBytes>,
}

/// Bytes since the namespace was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkBytes {
    pub received: u64,
    pub sent: u64,
}

impl Network {
    /// Opens the file of a process's namespace; `None` for the machine's own.
    #[must_use]
    pub fn open(kernel: &Kernel, pid: u32) -> Option<Self> {
        let theirs = namespace(kernel, &pid.to_string())?;
        if namespace(kernel, "self").is_some_and(|ours| ours == theirs) {
            return None;
        }
        let file = Kept::open(Some(&kernel.path(format!("/proc/{pid}/net"))), "dev")?;
        Some(Self {
            file,
            namespace: theirs,
            bytes: Resting::default(),
        })
    }

    /// The namespace: of two containers that share one, only one may count it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The current values; unchanged ones are read by complete readings only.
    pub fn read(&mut self, whole: bool, scratch: &mut Scratch) -> Option<NetworkBytes> {
        self.bytes
            .look(whole, || self.file.read(scratch).ok().map(sum))
    }
}

fn namespace(kernel: &Kernel, process: &str) -> Option<String> {
    std::fs::read_link(kernel.path(format!("/proc/{process}/ns/net")))
        .ok()?
        .into_os_string()
        .into_string()
        .ok()
}

/// `  eth0:     200       2    0 ...`: received bytes are the first number, sent ones the ninth.
fn sum(text: &str) -> NetworkBytes {
    let mut sum = NetworkBytes::default();
    for line in text.lines() {
        let Some((name, figures)) = line.split_once(':') else {
            continue;
        };
        if name.trim_ascii() == "lo" {
            continue;
        }
        let mut figures = figures
            .split_ascii_whitespace()
            .map(|figure| figure.parse::<u64>().unwrap_or_default());
        sum.received += figures.next().unwrap_or_default();
        sum.sent += figures.nth(7).unwrap_or_default();
    }
    sum
}
