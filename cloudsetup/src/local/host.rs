//! What only the machine that the hosting engine runs on can tell or do: its capabilities, and
//! cgroups that stay behind.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Capabilities by their bit. Those after `AUDIT_READ` (PERFMON, BPF, CHECKPOINT_RESTORE) are left
/// out: engine 20.10 does not know their names and `SYS_ADMIN` includes them.
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

/// Where the cgroup file systems are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The socket's path, when the engine is on this machine.
pub(super) fn socket(endpoint: &str) -> Option<&Path> {
    endpoint.strip_prefix("unix://").map(Path::new)
}

/// The capabilities that the engine can give away: its own, where it runs on this machine and lets
/// us see them, else all.
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

/// Asks the kernel who is at the other end of the socket: our own capabilities say nothing when the
/// manager does not run as root.
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

/// Removes the cgroups of a stopped container of this machine, by its full id, together with those
/// that its inner engine made below: on v1 the hosting engine leaves them behind. What does not go
/// within two seconds is left, with a warning: it costs a few kilobytes and nothing else.
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
    // A folder is found before those below it: from the end, each is empty when its turn comes.
    found.iter().rev().try_for_each(|folder| remove_one(folder))
}

/// The folders of one of these names (the engine's driver `systemd` has its own) anywhere below
/// `folder`, and all below those. What vanishes meanwhile or cannot be read is not ours.
fn collect(folder: &Path, names: &[String; 2], inside: bool, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let inside = inside || names.iter().any(|name| entry.file_name() == name.as_str());
            found.extend(inside.then(|| entry.path()));
            collect(&entry.path(), names, inside, found);
        }
    }
}

/// The kernel refuses while a killed process has not been reaped; cgroup v1 offers no event to wait
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
