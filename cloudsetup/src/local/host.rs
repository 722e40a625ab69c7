//! Facts and actions tied to the hosting engine's own machine: its capabilities, and cgroups left
//! behind.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Capabilities by bit. Those after `AUDIT_READ` (PERFMON, BPF, CHECKPOINT_RESTORE) are left out:
/// engine 20.10 does not know their names, and `SYS_ADMIN` includes them.
const CAPABILITIES: [&str; 38] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
];

/// Root of the cgroup file systems.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The socket's path, if the engine is on this machine.
pub(super) fn socket(endpoint: &str) -> Option<&Path> {
    endpoint.strip_prefix("unix://").map(Path::new)
}

/// Capabilities that the engine can grant: its own if it runs visibly on this machine, else all.
pub(super) async fn capabilities(endpoint: &str) -> Vec<String> {
    let effective = match socket(endpoint) {
        Some(path) => engine_capabilities(path).await.unwrap_or(u64::MAX),
        None => u64::MAX,
    };
    named(effective)
}

fn named(effective: u64) -> Vec<String> {
    let held = CAPABILITIES
        .iter()
        .enumerate()
        .filter(|(bit, _)| effective >> bit & 1 == 1);
    held.map(|(_, name)| (*name).to_owned()).collect()
}

/// Asks the kernel for the process at the other end of the socket: our own capabilities prove
/// nothing when the manager does not run as root.
async fn engine_capabilities(socket: &Path) -> Option<u64> {
    let peer = tokio::net::UnixStream::connect(socket)
        .await
        .ok()?
        .peer_cred()
        .ok()?;
    let status = fs::read_to_string(format!("/proc/{}/status", peer.pid()?)).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Removes the cgroups of a stopped container of this machine, by its full id, with those that its
/// inner engine made below: on version 1 the hosting engine leaves them behind. After two seconds
/// the rest is left with a warning; it costs a few kilobytes and nothing else.
pub async fn remove_cgroups(container_id: &str) {
    let name = container_id.to_owned();
    let removal = tokio::task::spawn_blocking(move || remove_below(Path::new(CGROUPS), &name));
    if let Ok(Err(error)) = removal.await {
        tracing::warn!(
            container = container_id,
            "cgroups of a machine that was given back stay behind: {error}"
        );
    }
}

fn remove_below(root: &Path, name: &str) -> io::Result<()> {
    let mut found = Vec::new();
    collect(
        root,
        &[name.to_owned(), format!("docker-{name}.scope")],
        false,
        &mut found,
    );
    // A folder is found before those below it: from the end, each is empty when it is removed.
    found.iter().rev().try_for_each(|folder| remove_one(folder))
}

/// Folders of one of these names anywhere below `folder` (the driver `systemd` has its own names),
/// and all below those. Folders that vanish meanwhile or cannot be read are foreign.
fn collect(folder: &Path, names: &[String; 2], inside: bool, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let inside = inside || names.iter().any(|name| entry.file_name() == name.as_str());
            found.extend(inside.then(|| entry.path()));
            collect(&entry.path(), names, inside, found);
        }
    }
}

/// The kernel refuses until a killed process is reaped; cgroup version 1 offers no event to wait
/// for.
fn remove_one(folder: &Path) -> io::Result<()> {
    for _ in 0..100 {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(20))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            done => return done,
        }
    }
    fs::remove_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_of_both_drivers_go_with_all_below_them() {
        let root = tempfile::tempdir().expect("a folder");
        let (ours, others) = (
            [
                "memory/docker/a1/c/b",
                "memory/system.slice/docker-a1.scope/c",
            ],
            ["memory/docker/a2/c", "memory/system.slice/docker-a12.scope"],
        );
        ours.iter()
            .chain(&others)
            .for_each(|path| fs::create_dir_all(root.path().join(path)).expect("a folder"));
        remove_below(root.path(), "a1").expect("removed");
        let there = |path: &str| root.path().join(path).exists();
        assert!(!there("memory/docker/a1") && !there("memory/system.slice/docker-a1.scope"));
        assert!(others.iter().all(|path| there(path)));
    }

    #[test]
    fn only_held_capabilities_are_named() {
        assert_eq!(named(0b101), ["CHOWN", "DAC_READ_SEARCH"]);
        assert!(!named(0x0000_01ff_feff_ffff).contains(&"SYS_RESOURCE".to_owned()));
        assert_eq!(named(u64::MAX).len(), 38);
    }
}
