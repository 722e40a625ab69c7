//! Which run of the tests this is: the label on what it makes, and the folder that holds its state.

use std::{path::PathBuf, sync::LazyLock};

/// On everything that tests make on the host's engine: which run made it.
pub(crate) const RUN_LABEL: &str = "micado.test";
/// The process that made it, as `PID:START`.
pub(crate) const OWNER_LABEL: &str = "micado.test.owner";
/// The folder of its cluster.
pub(crate) const FOLDER_LABEL: &str = "micado.test.folder";
/// What the folders of clusters begin with.
pub(crate) const FOLDER_PREFIX: &str = "e2e-";

/// The name of this run; `scripts/test` gives one, so that it can look for what is left.
pub(crate) fn name() -> String {
    std::env::var("MICADO_TEST_RUN").unwrap_or_else(|_| owner().clone())
}

/// Where the folders of clusters are made.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os("MICADO_TEST_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// This process, told apart from a later one with the same number by its start.
pub(crate) fn owner() -> &'static String {
    static OWNER: LazyLock<String> = LazyLock::new(|| {
        let pid = std::process::id();
        format!("{pid}:{}", start_of(pid).unwrap_or_default())
    });
    &OWNER
}

/// Whether the process of this label is still there.
pub(crate) fn is_alive(owner: &str) -> bool {
    let Some((pid, start)) = owner.split_once(':') else {
        return false;
    };
    pid.parse()
        .ok()
        .and_then(start_of)
        .is_some_and(|found| found == start)
}

/// When a process began, in the kernel's ticks since boot.
fn start_of(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the start is the 20th field after it.
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)
        .map(str::to_owned)
}
