//! Trees of version 1. Their values are written by hand, in the formats of the kernel's
//! documentation (`cgroup-v1/`, `accounting/psi.rst`, `proc.rst`); `tests/agent` compares real
//! containers.

use crate::{copy, tree};
use micado_api::{MemoryBytes, Timestamp, agent::ContainerSample};
use micado_node_agent::sampler::{Sampler, files::Kernel};

const ID: &str = "4a95bad0dcd7d0725a0c43bc50b681daf8cda6723f0cc469c5e2d740373ad4fb";
const PID: u32 = 300;
const BEGAN: Timestamp = Timestamp(1_700_000_000_000);

/// Common values of every tree's container; kernels and settings differ in the rest.
fn expected() -> ContainerSample {
    ContainerSample {
        id: ID.to_owned(),
        service: Some("web".to_owned()),
        started_at: Some(BEGAN),
        cpu_ns: 123_456_789_012,
        cpu_throttled_ns: 55_500_000,
        working_set: MemoryBytes(42_000_000),
        working_set_peak: MemoryBytes(62_000_000),
        memory_limit: Some(MemoryBytes::mib(128)),
        oom_kills: 2,
        memory_pressure: Some(1.5),
        cpu_pressure: Some(22.75),
        received: 1_236_567,
        sent: 654_621,
        read: 5096,
        written: 8192,
        ended: false,
    }
}

fn container(name: &str) -> ContainerSample {
    let (_folder, mut sampler) = sampler(name);
    let (_, containers) = sampler.sweep();
    let [container] = containers.try_into().expect("one container");
    container
}

/// A sampler on a copy of a tree, in which files can be changed.
fn sampler(name: &str) -> (tempfile::TempDir, Sampler) {
    let folder = tempfile::tempdir().expect("a folder");
    copy(&tree(name), folder.path());
    let mut sampler = Sampler::new(Kernel::below(folder.path())).expect("cgroups");
    assert!(
        sampler.started(ID, Some("web".to_owned()), Some(BEGAN), PID),
        "{name}: the container is found"
    );
    (folder, sampler)
}

#[test]
fn version_1_by_cgroupfs_with_pressure_from_the_hierarchy_beside() {
    assert_eq!(sampler("v1-cgroupfs").1.version().number(), 1);
    assert_eq!(container("v1-cgroupfs"), expected());
}

#[test]
fn version_1_by_systemd_without_limit_and_pressure() {
    let wanted = ContainerSample {
        memory_limit: None,
        oom_kills: 0,
        memory_pressure: None,
        cpu_pressure: None,
        ..expected()
    };
    assert_eq!(container("v1-systemd"), wanted);
}

#[test]
fn a_machine_reads_proc() {
    for name in ["v1-cgroupfs", "v1-systemd"] {
        let (_folder, mut sampler) = sampler(name);
        sampler.set_data_root("/".into());
        let (machine, _) = sampler.sweep();
        assert_eq!(
            (machine.memory_total, machine.memory_left),
            (MemoryBytes(4_045_000 << 10), MemoryBytes(2_500_000 << 10)),
            "{name}"
        );
        assert_eq!(
            (machine.cpu_ns, machine.cores, machine.load),
            (13_400_000_000, 2_000_000_000, Some(0.75)),
            "{name}"
        );
        assert!(
            machine.disk_left > 0 && machine.disk_left < machine.disk_total,
            "{name}: {machine:?}"
        );
    }
}

#[test]
fn a_machine_in_a_container_reads_its_own_cgroup() {
    let (folder, mut sampler) = sampler("v1-container");
    sampler.set_data_root("/".into());
    let (machine, containers) = sampler.sweep();
    assert_eq!(
        (machine.memory_total, machine.memory_left),
        (MemoryBytes::mib(1024), MemoryBytes((1 << 30) - 300_000_000))
    );
    assert_eq!(
        (machine.cpu_ns, machine.cores, machine.load),
        (900_000_000_000, 1_500_000_000, None)
    );
    assert!(
        machine.disk_left > 0 && machine.disk_left < machine.disk_total,
        "{machine:?}"
    );
    assert_eq!(
        containers,
        [ContainerSample {
            memory_pressure: None,
            cpu_pressure: None,
            ..expected()
        }]
    );
    let own = format!(
        "sys/fs/cgroup/cpuset/docker/{}/cpuset.effective_cpus",
        "b".repeat(64)
    );
    std::fs::write(folder.path().join(own), "1\n").expect("written");
    assert_eq!(
        sampler.sweep().0.cores,
        1_000_000_000,
        "its set of cores, when that is less than its quota"
    );
    std::fs::write(
        folder.path().join("proc/meminfo"),
        "MemTotal: 4045000 kB\nMemAvailable: 1000 kB\n",
    )
    .expect("written");
    assert_eq!(
        sampler.sweep().0.memory_left,
        MemoryBytes(1000 << 10),
        "what the host has left, when that is less"
    );
}

#[test]
fn a_peak_is_told_once_and_limits_when_they_are_said_to_have_changed() {
    let (folder, mut sampler) = sampler("v1-cgroupfs");
    let memory = folder
        .path()
        .join(format!("sys/fs/cgroup/memory/docker/{ID}"));
    let mut sweep = || sampler.sweep().1.remove(0);
    assert_eq!(sweep().working_set_peak, MemoryBytes(62_000_000));
    assert_eq!(
        sweep().working_set_peak,
        MemoryBytes(42_000_000),
        "the same peak is of the time before"
    );
    std::fs::write(memory.join("memory.max_usage_in_bytes"), "90000000\n").expect("written");
    std::fs::write(memory.join("memory.limit_in_bytes"), "100000000\n").expect("written");
    let sample = sweep();
    assert_eq!(
        (sample.working_set_peak, sample.memory_limit),
        (MemoryBytes(82_000_000), Some(MemoryBytes::mib(128)))
    );
    sampler.updated(ID);
    assert_eq!(
        sampler.sweep().1[0].memory_limit,
        Some(MemoryBytes(100_000_000))
    );
}

#[test]
fn file_cache_is_looked_at_when_usage_changes_and_now_and_then() {
    let (folder, mut sampler) = sampler("v1-cgroupfs");
    let memory = folder
        .path()
        .join(format!("sys/fs/cgroup/memory/docker/{ID}"));
    let mut set = || sampler.sweep().1[0].working_set;
    assert_eq!(set(), MemoryBytes(42_000_000));
    std::fs::write(memory.join("memory.stat"), "total_inactive_file 9000000\n").expect("written");
    let sweeps = (1..100).find(|_| set() == MemoryBytes(41_000_000));
    assert!(
        sweeps.is_some_and(|sweeps| (2..=16).contains(&sweeps)),
        "{sweeps:?}"
    );
    std::fs::write(memory.join("memory.stat"), "total_inactive_file 7000000\n").expect("written");
    std::fs::write(memory.join("memory.usage_in_bytes"), "50000001\n").expect("written");
    assert_eq!(
        set(),
        MemoryBytes(41_000_001),
        "what is used counts at once"
    );
    std::fs::write(memory.join("memory.usage_in_bytes"), "51000000\n").expect("written");
    assert_eq!(
        set(),
        MemoryBytes(44_000_000),
        "and the cache with it when it changed by more than a little"
    );
}

#[test]
fn what_stands_still_is_read_at_every_fourth_sweep_and_what_moves_at_each() {
    let (folder, mut sampler) = sampler("v1-cgroupfs");
    let write =
        |file: &str, text: &str| std::fs::write(folder.path().join(file), text).expect("written");
    let mut told = || {
        let sample = sampler.sweep().1.remove(0);
        (sample.sent, sample.oom_kills)
    };
    assert!((0..4).all(|_| told() == (654_621, 2)));
    write(
        "proc/300/net/dev",
        "eth0: 5 1 0 0 0 0 0 0 700000 1 0 0 0 0 0 0\n",
    );
    write(
        &format!("sys/fs/cgroup/memory/docker/{ID}/memory.oom_control"),
        "oom_kill 3\n",
    );
    assert!((0..4).any(|_| told() == (700_000, 3)), "within four sweeps");
    write(
        "proc/300/net/dev",
        "eth0: 5 1 0 0 0 0 0 0 700001 1 0 0 0 0 0 0\n",
    );
    assert_eq!(told(), (700_001, 3), "at once, for it moved");
}

#[test]
fn what_ended_is_told_once_with_its_last_figures() {
    let (folder, mut sampler) = sampler("v1-cgroupfs");
    assert!(sampler.look(ID));
    std::fs::remove_dir_all(folder.path()).expect("removed");
    sampler.ended(ID, None);
    assert!(!sampler.look(ID));
    sampler.ended("never-seen", Some("web".to_owned()));
    let (_, containers) = sampler.sweep();
    assert_eq!(
        containers[0],
        ContainerSample {
            ended: true,
            ..expected()
        }
    );
    assert_eq!(
        containers[1],
        ContainerSample {
            id: "never-seen".to_owned(),
            service: Some("web".to_owned()),
            ended: true,
            ..ContainerSample::default()
        }
    );
    assert_eq!(sampler.sweep().1, []);
}

#[test]
fn a_shared_network_is_counted_once_and_the_machines_own_never() {
    let (folder, mut sampler) = sampler("v1-cgroupfs");
    let proc = folder.path().join("proc");
    for (pid, namespace) in [("301", "net:[4026532281]"), ("302", "net:[4026531840]")] {
        std::fs::create_dir_all(proc.join(pid).join("ns")).expect("a folder");
        std::fs::create_dir_all(proc.join(pid).join("net")).expect("a folder");
        std::fs::copy(proc.join("300/net/dev"), proc.join(pid).join("net/dev")).expect("a copy");
        std::fs::copy(proc.join("300/cgroup"), proc.join(pid).join("cgroup")).expect("a copy");
        std::os::unix::fs::symlink(namespace, proc.join(pid).join("ns/net")).expect("a link");
    }
    assert!(
        sampler.started("shares", None, None, 301)
            && sampler.started("host", None, None, 302)
            && !sampler.started("gone", None, None, 303)
    );
    let (_, containers) = sampler.sweep();
    let received: Vec<_> = containers
        .iter()
        .map(|container| (&container.id[..4], container.received))
        .collect();
    assert_eq!(received, [("4a95", 1_236_567), ("host", 0), ("shar", 0)]);
}
