//! Bytes that went through the network interfaces of a network namespace, loopback left out.

use super::{
    files::{Kept, Kernel, Scratch},
    resting::Resting,
};

/// The file that says it. While it is open the namespace stays, so it is closed as soon as the
/// container is known to have ended.
#[derive(Debug)]
pub struct Network {
    file: Kept,
    namespace: String,
    bytes: Resting<NetworkBytes>,
}

/// Bytes since the namespace was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkBytes {
    /// Received.
    pub received: u64,
    /// Sent.
    pub sent: u64,
}

impl Network {
    /// Opens the file of a process's namespace; nothing when that is the machine's own.
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

    /// Which namespace it is: two containers that share one must not both count it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What it says; what stood still is read by a whole look only.
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

/// `  eth0:     200       2    0 ...`: received bytes are the first figure, sent ones the ninth.
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
