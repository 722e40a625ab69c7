//! Use of the manager's own process, under the names that all Prometheus clients give it.

use std::{fs, time::Duration};

/// The process at one moment. What the kernel does not tell is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessReading {
    pub cpu: Option<Duration>,
    /// Resident memory, bytes.
    pub resident: Option<u64>,
    pub open_files: Option<u64>,
    /// Start, in seconds since the Unix epoch.
    pub started: Option<f64>,
}

/// Ticks a second in `/proc`: 100 on every Linux that programs see (`USER_HZ`).
const TICKS: f64 = 100.0;

impl ProcessReading {
    /// Reads `/proc/self`.
    #[must_use]
    pub fn now() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let open_files = fs::read_dir("/proc/self/fd").map(|files| files.count() as u64);
        Self {
            open_files: open_files.ok(),
            ..Self::parse(
                &text("/proc/self/stat"),
                &text("/proc/self/status"),
                &text("/proc/stat"),
            )
        }
    }

    /// From the texts of `/proc/self/stat`, `/proc/self/status` and `/proc/stat`.
    fn parse(stat: &str, status: &str, kernel: &str) -> Self {
        // The name in parentheses may hold anything; the state follows it.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let seconds = |at: usize| Some(fields.get(at)?.parse::<f64>().ok()? / TICKS);
        let word = |text: &str, key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key))?;
            value.split_whitespace().next()?.parse::<u64>().ok()
        };
        let cpu = seconds(11).zip(seconds(12));
        let start = word(kernel, "btime ").zip(seconds(19));
        Self {
            cpu: cpu.map(|(user, system)| Duration::from_secs_f64(user + system)),
            resident: word(status, "VmRSS:").map(|kib| kib << 10),
            open_files: None,
            started: start.map(|(booted, after)| booted as f64 + after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_text_is_read() {
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 17 18 1000 20 7 22\n";
        let status = "VmPeak:\t 9 kB\nVmRSS:\t 7 kB\n";
        let read = ProcessReading::parse(stat, status, "cpu 1\nbtime 1700000000\n");
        assert_eq!(read.cpu, Some(Duration::from_secs(2)));
        assert_eq!(read.resident, Some(7 << 10));
        assert_eq!(read.started, Some(1_700_000_010.0));
        assert_eq!(ProcessReading::parse("", "", ""), ProcessReading::default());
    }

    #[test]
    fn this_process_uses_something() {
        let read = ProcessReading::now();
        assert!(
            read.resident > Some(1 << 20) && read.open_files > Some(2),
            "{read:?}"
        );
        assert!(read.started > Some(1e9), "{read:?}");
    }
}
