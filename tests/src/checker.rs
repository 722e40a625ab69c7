//! A container that asks a service for an answer again and again, by the name that all of its
//! containers share.

use crate::{Cluster, Request, Running, tools};
use micado_api::ContainerState;

/// Requests until the file `/stop` is there. Prints the time of each that failed, in seconds since
/// the Unix epoch, and then the number of those that did not. The programs are static ones, which
/// cannot look names up by themselves.
const ASK: &str = "n=0; while [ ! -e /stop ]; do \
    a=$(nslookup $0 | awk '/^Name:/ { found = 1 } found && /^Address:/ { print $2; exit }'); \
    if timeout 2 wget -q -O /data/answer http://$a:8080/; then n=$((n+1)); else date +%s; fi; \
    sleep 0.1; done; echo answered $n";

/// A checker that runs.
#[derive(Debug)]
pub struct Checker {
    name: String,
    running: Running,
}

/// Result of a checker.
#[derive(Debug)]
pub struct Checked {
    pub answered: u64,
    /// Seconds from the first failed request to the last; 0 without two.
    pub failing_for: u64,
    pub failed: usize,
}

impl Cluster {
    /// Starts to ask the service of this container.
    ///
    /// # Panics
    /// If no checker runs.
    pub async fn check(&self, container: &str) -> Checker {
        self.load_tools().await;
        let [shared, _, _] = self.names_of(container).await;
        let request = tools("checker").memory_mib(32);
        let name = self.launch(&request).await.name.to_string();
        self.until_container(&name, ContainerState::Running, 60)
            .await;
        self.until_reached(&name, 30).await;
        let ask = ["execute", "-n", &name, "-c", "sh", "-c", ASK, &shared];
        let running = self.start_micado(&ask);
        Checker { name, running }
    }

    /// Ends a checker.
    ///
    /// # Panics
    /// If it does not end well.
    pub async fn checked(&self, checker: Checker) -> Checked {
        let Checker { name, running } = checker;
        self.execute(&name, &["mkdir", "/stop"], b"").await.ok();
        let said = running.end(b"", 30).await.ok().stdout;
        let (failed, answered): (Vec<&str>, Vec<&str>) = said
            .lines()
            .partition(|line| !line.starts_with("answered "));
        let number = |text: &str| -> u64 { text.trim().parse().expect("a number") };
        let times: Vec<u64> = failed.iter().map(|line| number(line)).collect();
        let answered = answered.first().and_then(|line| line.split_once(' '));
        Checked {
            answered: answered.map_or(0, |(_, count)| number(count)),
            failing_for: times
                .last()
                .zip(times.first())
                .map_or(0, |(last, first)| last - first),
            failed: times.len(),
        }
    }
}
