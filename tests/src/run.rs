//! A test run: the label on everything it makes, the folder with its state, and our scripts.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// Label on everything that tests make on the host's engine: the run.
pub(crate) const RUN_LABEL: &str = "micado.test";
/// Label with the process that made it, as `PID:START`.
pub(crate) const OWNER_LABEL: &str = "micado.test.owner";
/// Label with the folder of its cluster.
pub(crate) const FOLDER_LABEL: &str = "micado.test.folder";
/// Prefix of the folders of clusters.
pub(crate) const FOLDER_PREFIX: &str = "e2e-";

/// Name of this run; `scripts/test` sets one, so that it can find what is left.
pub(crate) fn name() -> String {
    std::env::var("MICADO_TEST_RUN").unwrap_or_else(|_| owner().clone())
}

/// Folder for the folders of clusters.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os("MICADO_TEST_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// Identity of this process. The start time distinguishes it from a later one with the same id.
pub(crate) fn owner() -> &'static String {
    static OWNER: LazyLock<String> = LazyLock::new(|| {
        let pid = std::process::id();
        format!("{pid}:{}", start_of(pid).unwrap_or_default())
    });
    &OWNER
}

/// Returns true if the process of this label still runs.
pub(crate) fn is_alive(owner: &str) -> bool {
    let Some((pid, start)) = owner.split_once(':') else {
        return false;
    };
    pid.parse()
        .ok()
        .and_then(start_of)
        .is_some_and(|found| found == start)
}

/// Start of a process, in the kernel's ticks since boot.
fn start_of(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the start is the 20th field after it.
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)
        .map(str::to_owned)
}

/// Output of one of our scripts, without the white space around it.
///
/// # Panics
/// If it fails.
pub(crate) fn script(name: &str, arguments: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    let done = Command::new(path.join(name))
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("scripts/{name}: {error}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "scripts/{name}: {said}");
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}
